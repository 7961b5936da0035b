//! waxwing-setup
