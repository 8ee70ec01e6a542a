//! Getting a friend's document from the friend's web server, of which nothing is believed:
//!
//! | what | bound | what happens there |
//! |---|---|---|
//! | the document | 256 KiB | it is cut off there, and is an error |
//! | the head of an answer | 16 KiB | an error |
//! | going on to another address | 3 times, never from https to http | an error |
//! | each address, from the question for its host to the end of the document | 10 s | an error |
//! | a host in a private network, by its address, its name, or what its name leads to | only if that is wanted | an error |

use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read};
use std::net::IpAddr;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use ureq::http::{Response, Uri, header};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Body};

use super::text::Text;
use super::{MAX_DOCUMENT, is_private, is_private_host};
use crate::config::WebAddress;
use crate::tls::{BUNDLES, provider};

/// How many times another address is gone on to.
pub const MAX_REDIRECTS: usize = 3;

/// How long one address may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most octets of the system's list of authorities.
const MAX_BUNDLE: u64 = 4 << 20;

/// The most octets of an answer's head.
const MAX_HEADER: usize = 16 << 10;

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
                write!(f, "it is larger than {} KiB, and no mantela.json is; it was not read on", MAX_DOCUMENT >> 10)
            }
            FetchError::Redirects => {
                write!(f, "the server sends on to another address, and that again: more than {MAX_REDIRECTS} times")
            }
            FetchError::Redirect(why) => write!(f, "the server sends on to another address, and {why}"),
        }
    }
}

/// Gets what is at an address; from hosts in private networks only if `private`. It takes as long as it takes, at
/// most 40 s.
///
/// # Errors
///
/// Why there is nothing.
pub fn fetch(address: &WebAddress, private: bool) -> Result<Fetched, FetchError> {
    let authorities = authorities();
    let has_authorities = !authorities.is_empty();
    let agent = agent(private, authorities);
    let mut from = address.clone();
    for _ in 0..=MAX_REDIRECTS {
        if !private && is_private_host(from.host()) {
            return Err(FetchError::Private(from.host().to_string()));
        }
        if !has_authorities && is_https(&from) {
            return Err(FetchError::NoAuthorities);
        }
        let mut answer = agent
            .get(from.as_str())
            .header(header::ACCEPT, "application/json")
            .call()
            .map_err(|error| reason(error, &from))?;
        match answer.status().as_u16() {
            200 => return Ok(Fetched { octets: body(&mut answer, &from)?, from }),
            301 | 302 | 303 | 307 | 308 => from = next(&answer, &from)?,
            status => return Err(FetchError::Refused(status)),
        }
    }
    Err(FetchError::Redirects)
}

/// Whom this machine believes who somebody is, as its system says.
fn authorities() -> Vec<Certificate<'static>> {
    let Some(file) = BUNDLES.iter().find_map(|path| File::open(path).ok()) else { return Vec::new() };
    // One that cannot be read is nobody's.
    let all = CertificateDer::pem_reader_iter(BufReader::new(file.take(MAX_BUNDLE))).flatten();
    all.map(|certificate| Certificate::from_der(&certificate).to_owned()).collect()
}

fn is_https(address: &WebAddress) -> bool {
    address.as_str().starts_with("https:")
}

fn agent(private: bool, authorities: Vec<Certificate<'static>>) -> Agent {
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(authorities.into()))
        .unversioned_rustls_crypto_provider(provider())
        .build();
    let config = Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .max_response_header_size(MAX_HEADER)
        // Each address is looked at before it is gone to.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_idle_connections(0)
        .http_status_as_error(false)
        .proxy(None)
        .tls_config(tls)
        .user_agent("denwa")
        .build();
    Agent::with_parts(config, DefaultConnector::new(), Near { private, resolver: DefaultResolver::default() })
}

fn body(answer: &mut Response<Body>, from: &WebAddress) -> Result<Vec<u8>, FetchError> {
    let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if kind.is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/html")) {
        return Err(FetchError::WebPage);
    }
    if answer.body().content_length().is_some_and(|length| length > MAX_DOCUMENT as u64) {
        return Err(FetchError::TooLarge);
    }
    let read = answer.body_mut().with_config().limit(MAX_DOCUMENT as u64).read_to_vec();
    read.map_err(|error| reason(error, from))
}

/// Where an answer sends to.
fn next(answer: &Response<Body>, from: &WebAddress) -> Result<WebAddress, FetchError> {
    let wrong = |why: &str| FetchError::Redirect(Text::new(why));
    let to = answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    let to = to.ok_or_else(|| wrong("does not say to which"))?;
    // Relative to the host; more than that is never used for a document.
    let whole = match from.as_str().parse::<Uri>() {
        Ok(uri) if to.starts_with('/') && !to.starts_with("//") => {
            let scheme = uri.scheme_str().unwrap_or("http");
            format!("{scheme}://{}{to}", uri.authority().map_or("", |authority| authority.as_str()))
        }
        _ => to.to_owned(),
    };
    let next = WebAddress::parse(&whole).map_err(|why| wrong(&why))?;
    match is_https(from) && !is_https(&next) {
        true => Err(wrong("from https to http, where anybody on the way can change what is read")),
        false => Ok(next),
    }
}

/// What an error of the library means.
fn reason(error: ureq::Error, from: &WebAddress) -> FetchError {
    match error {
        ureq::Error::BodyExceedsLimit(_) => FetchError::TooLarge,
        ureq::Error::Other(error) => match error.downcast_ref::<IsNear>() {
            Some(IsNear(address)) => FetchError::Private(format!("{} ({address})", from.host())),
            None => FetchError::Unreachable(Text::new(&error.to_string())),
        },
        ureq::Error::HostNotFound => {
            FetchError::Unreachable(Text::new(&format!("no host is called {}", from.host())))
        }
        other => FetchError::Unreachable(Text::new(&other.to_string())),
    }
}

/// Finds the addresses of a host, none of which may be near unless that is wanted. So there is no moment between
/// looking at an address and going there.
#[derive(Debug)]
struct Near {
    private: bool,
    resolver: DefaultResolver,
}

/// A host turned out to be near.
#[derive(Debug)]
struct IsNear(IpAddr);

impl std::error::Error for IsNear {}

impl fmt::Display for IsNear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is in a private network", self.0)
    }
}

impl Resolver for Near {
    fn resolve(
        &self,
        uri: &Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.resolver.resolve(uri, config, timeout)?;
        match found.iter().find(|address| !self.private && is_private(address.ip())) {
            Some(near) => Err(ureq::Error::Other(Box::new(IsNear(near.ip())))),
            None => Ok(found),
        }
    }
}
