//! waxwing-terminal
