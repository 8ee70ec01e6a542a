//! What a number means.

use crate::config::{Config, Number};

/// Where a number leads.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Destination {
    /// To the phones of one extension, with its forwards.
    Extension(Number),
    /// To the phones of several, all at once, without theirs.
    Group(Vec<Number>),
    /// To the echo test.
    Echo,
    /// Nowhere: 404.
    Unknown,
}

impl Destination {
    /// Looks a number up.
    pub(super) fn of(config: &Config, number: &str) -> Destination {
        if let Some((number, _)) = config.extensions.get_key_value(number) {
            return Destination::Extension(number.clone());
        }
        if let Some(members) = config.groups.get(number) {
            return Destination::Group(members.clone());
        }
        match &config.echo {
            Some(echo) if echo.as_str() == number => Destination::Echo,
            _ => Destination::Unknown,
        }
    }
}
