//! The subcommands that have a file of their own: their arguments, and one function for each.

pub(crate) mod operate;
