//! waxwing-e2ee
