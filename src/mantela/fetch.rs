//! Getting a friend's document from the friend's web server, of which nothing is believed:
//!
//! | what | bound | what happens there |
//! |---|---|---|
//! | the document | 256 KiB | it is cut off there, and is an error |
//! | the head of an answer | 16 KiB | an error |
//! | going on to another address | 3 times, never from https to http | an error |
//! | where a host is, by the name servers that the exchange asks as well | 10 s | an error |
//! | each address, from there to the end of the document | 10 s | an error |
//! | a host in a private network, by its address, its name, or what its name leads to | only if that is wanted | an error |

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::text::Text;
use super::{MAX_DOCUMENT, is_private, is_private_host};
use crate::config::{Transport, WebAddress};
use crate::dns::{Host, Resolver, Target};
use crate::tls::{Authorities, Client};
use crate::web::{Question, WebError};

/// How many times another address is gone on to.
pub const MAX_REDIRECTS: usize = 3;

/// How long one address may take, once it is known where its host is.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most addresses of a host that are tried.
const MAX_ADDRESSES: usize = 8;

/// What was got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// At most [`MAX_DOCUMENT`] octets.
    pub octets: Vec<u8>,
    /// Where they were in the end.
    pub from: WebAddress,
}

/// Why there is no document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// The host is near, which was not wanted; its name and address.
    Private(String),
    /// Nobody can be reached, or what comes is no answer in time.
    Unreachable(Text),
    /// The address is https, and this machine has no list of certificate authorities.
    NoAuthorities,
    /// The server answers with this status.
    Refused(u16),
    /// It sends a web page.
    WebPage,
    /// The document has more than [`MAX_DOCUMENT`] octets.
    TooLarge,
    /// It sends to another address once too often.
    Redirects,
    /// It sends to an address that is none, or less safe; a sentence says which.
    Redirect(Text),
}

impl std::error::Error for FetchError {}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FetchError::Private(host) => write!(
                f,
                "{host} is in a private network, where no friend's exchange should be; if yours is (by a VPN), say \
                 --private"
            ),
            FetchError::Unreachable(why) => write!(f, "it cannot be had: {why}"),
            FetchError::NoAuthorities => f.write_str(
                "this machine has no list of certificate authorities, so that nobody can prove to be who an https \
                 address means: install the package ca-certificates",
            ),
            FetchError::Refused(404) => f.write_str("there is no such document (404)"),
            FetchError::Refused(status) => write!(f, "the server does not give it ({status})"),
            FetchError::WebPage => f.write_str("a web page is there, and no mantela.json"),
            FetchError::TooLarge => {
                write!(
                    f,
                    "it is larger than {} KiB, and no mantela.json is; it was not read on",
                    MAX_DOCUMENT >> 10
                )
            }
            FetchError::Redirects => {
                write!(
                    f,
                    "the server sends on to another address, and that again: more than {MAX_REDIRECTS} times"
                )
            }
            FetchError::Redirect(why) => write!(f, "the server sends on to another address, and {why}"),
        }
    }
}

/// Gets what is at an address; from hosts in private networks only if `private`. It takes as long as it takes, at
/// most 80 s.
///
/// # Errors
///
/// Why there is nothing.
pub fn fetch(address: &WebAddress, private: bool) -> Result<Fetched, FetchError> {
    let authorities = Authorities::open();
    let has_authorities = authorities.are_there();
    let mut tls = Client::new(authorities);
    let resolver = Resolver::from_system()?;
    let mut from = address.clone();
    for _ in 0..=MAX_REDIRECTS {
        let at = found(&resolver, &from, private)?;
        let client = match from.is_https() {
            true if !has_authorities => return Err(FetchError::NoAuthorities),
            true => Some(tls.connect(&from.host().to_string(), None, None).map_err(io::Error::other)?),
            false => None,
        };
        let (path, header) = (from.path(), ("Accept", "application/json"));
        let question = Question { method: "GET", address: &from, path, header };
        let answer = question.ask(&at, client, Instant::now() + PATIENCE)?;
        match answer.status {
            200 if answer.kind.as_deref().is_some_and(is_web_page) => return Err(FetchError::WebPage),
            200 => return Ok(Fetched { octets: answer.body(MAX_DOCUMENT)?, from }),
            301 | 302 | 303 | 307 | 308 => from = next(answer.location.as_deref(), &from)?,
            status => return Err(FetchError::Refused(status)),
        }
    }
    Err(FetchError::Redirects)
}

/// Where a host is. None of its addresses may be near unless that is wanted; it is these that are gone to, so that
/// there is no moment between looking at an address and going there.
fn found(resolver: &Resolver, address: &WebAddress, private: bool) -> Result<Vec<SocketAddr>, FetchError> {
    let host = address.host();
    if !private && is_private_host(host) {
        return Err(FetchError::Private(host.to_string()));
    }
    let host_there = Host::of(host).map_err(io::Error::other)?;
    let target = Target { host: host_there, port: Some(address.port()), transport: Some(Transport::Tcp) };
    let located = smol::block_on(resolver.locate(&target)).map_err(io::Error::other)?;
    let at: Vec<SocketAddr> =
        located.places.into_iter().map(|place| place.address).take(MAX_ADDRESSES).collect();
    match at.iter().find(|at| !private && is_private(at.ip())) {
        Some(near) => Err(FetchError::Private(format!("{host} ({})", near.ip()))),
        None => Ok(at),
    }
}

fn is_web_page(kind: &str) -> bool {
    kind.trim_start().to_ascii_lowercase().starts_with("text/html")
}

/// Where an answer sends to.
fn next(to: Option<&str>, from: &WebAddress) -> Result<WebAddress, FetchError> {
    let wrong = |why: &str| FetchError::Redirect(Text::new(why));
    let to = to.ok_or_else(|| wrong("does not say to which"))?;
    // Relative to the host; more than that is never used for a document.
    let whole = match to.starts_with('/') && !to.starts_with("//") {
        true => from.beside(to),
        false => to.to_owned(),
    };
    let next = WebAddress::parse(&whole).map_err(|why| wrong(&why))?;
    match from.is_https() && !next.is_https() {
        true => Err(wrong("from https to http, where anybody on the way can change what is read")),
        false => Ok(next),
    }
}

impl From<io::Error> for FetchError {
    fn from(error: io::Error) -> FetchError {
        FetchError::Unreachable(Text::new(&error.to_string()))
    }
}

impl From<WebError> for FetchError {
    fn from(error: WebError) -> FetchError {
        match error {
            WebError::TooLarge => FetchError::TooLarge,
            WebError::Io(error) => error.into(),
        }
    }
}
