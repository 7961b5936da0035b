//! waxwing-core
