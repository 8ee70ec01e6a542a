//! The subcommands that ask the exchange which runs: their arguments, and one function for each.

pub(crate) mod act;
mod ask;
pub(crate) mod follow;
pub(crate) mod look;
pub(crate) mod watch;
