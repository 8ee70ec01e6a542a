//! CSeq (RFC 3261 §20.16).

use super::Method;
use super::text::{decimal, is_blank, trim};

/// A CSeq value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CSeq<'a> {
    /// Below 2³¹ (RFC 3261 §8.1.1.5).
    pub number: u32,
    /// The method.
    pub method: Method,
    /// The method as it was written.
    pub method_name: &'a [u8],
}

impl<'a> CSeq<'a> {
    /// Reads a value.
    pub fn parse(value: &'a [u8]) -> Option<CSeq<'a>> {
        let blank = value.iter().position(|&b| is_blank(b))?;
        let number = decimal(&value[..blank]).filter(|n| *n < 1 << 31)? as u32;
        let method_name = trim(&value[blank..]);
        Some(CSeq { number, method: Method::parse(method_name), method_name })
    }
}
