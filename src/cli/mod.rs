//! The subcommands that speak to a denwa which runs: their arguments, and one function for each.

pub(crate) mod act;
mod ask;
pub(crate) mod follow;
pub(crate) mod keeper;
pub(crate) mod look;
pub(crate) mod watch;
