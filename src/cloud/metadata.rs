//! The instance metadata service of EC2, version 2: HTTP with a token.

use std::fmt;
use std::time::{Duration, Instant};

use crate::config::{TargetHost, WebAddress};
use crate::web::{Question, WebError};

/// Where it is, in the order in which it is tried: instances without IPv4 have it by IPv6.
pub const ENDPOINTS: [&str; 2] = ["http://169.254.169.254", "http://[fd00:ec2::254]"];

/// The most octets of an answer that are read; what is asked for here has a hundred.
pub const MAX_BODY: usize = 4096;

/// How long a question may take. The service is on the same machine, and takes some milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a token is to hold, in seconds: the longest there is.
const TOKEN_HOLDS: u64 = 21_600;

/// Why something was not found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataError {
    /// Nobody can be reached, or what comes is no answer in time; a sentence says why.
    Unreachable(String),
    /// The service answers with this status.
    Refused(u16),
    /// What it says of this makes no sense.
    Nonsense(&'static str),
}

impl fmt::Display for MetadataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MetadataError::Unreachable(why) => write!(f, "it cannot be reached ({why})"),
            MetadataError::Refused(status @ (401 | 403 | 404)) => {
                write!(f, "it refuses to answer ({status}); it may be switched off for this instance")
            }
            MetadataError::Refused(status) => write!(f, "it does not answer as it should ({status})"),
            MetadataError::Nonsense(what) => write!(f, "what it says of {what} makes no sense"),
        }
    }
}

/// Somebody to ask.
pub struct Metadata {
    endpoints: Vec<String>,
    /// The place in these of the one that answered last.
    current: usize,
    /// It, and when another one is to be had.
    token: Option<(String, Instant)>,
}

impl Metadata {
    /// Asks at these addresses: the first that answers, as long as it does.
    pub fn new(endpoints: Vec<String>) -> Metadata {
        Metadata { endpoints, current: 0, token: None }
    }

    /// What the service says below `/latest/meta-data/`; `None` if there is no such thing.
    ///
    /// # Errors
    ///
    /// Why it does not say. If nobody is there, the other address is tried next time.
    pub fn get(&mut self, path: &str) -> Result<Option<String>, MetadataError> {
        let found = self.try_get(path);
        if let Err(MetadataError::Unreachable(_)) = found {
            self.token = None;
            self.current = (self.current + 1) % self.endpoints.len().max(1);
        }
        found
    }

    fn try_get(&mut self, path: &str) -> Result<Option<String>, MetadataError> {
        let (status, body) = self.ask(path)?;
        // A token that does not hold any more, as after the machine was hibernated.
        let (status, body) = if status == 401 { self.ask_anew(path)? } else { (status, body) };
        match status {
            200 => Ok(Some(body.trim().to_owned())),
            404 => Ok(None),
            status => Err(MetadataError::Refused(status)),
        }
    }

    fn ask_anew(&mut self, path: &str) -> Result<(u16, String), MetadataError> {
        self.token = None;
        self.ask(path)
    }

    fn ask(&mut self, path: &str) -> Result<(u16, String), MetadataError> {
        let token = self.token()?;
        self.say("GET", &format!("/latest/meta-data/{path}"), ("X-aws-ec2-metadata-token", &token))
    }

    fn token(&mut self) -> Result<String, MetadataError> {
        let now = Instant::now();
        if let Some((token, until)) = &self.token
            && now < *until
        {
            return Ok(token.clone());
        }
        let wanted = TOKEN_HOLDS.to_string();
        let (status, token) =
            self.say("PUT", "/latest/api/token", ("X-aws-ec2-metadata-token-ttl-seconds", &wanted))?;
        let token = token.trim().to_owned();
        if status != 200 {
            return Err(MetadataError::Refused(status));
        }
        // What cannot stand in a header would be refused by whoever writes it there.
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(MetadataError::Nonsense("a token"));
        }
        self.token = Some((token.clone(), now + Duration::from_secs(TOKEN_HOLDS / 2)));
        Ok(token)
    }

    /// The status and, if that is 200, the body of the answer.
    fn say(
        &self,
        method: &'static str,
        path: &str,
        header: (&'static str, &str),
    ) -> Result<(u16, String), MetadataError> {
        let endpoint = self.endpoints.get(self.current).map_or("", String::as_str);
        let address = WebAddress::parse(endpoint).map_err(MetadataError::Unreachable)?;
        let TargetHost::Ip(ip) = address.host() else {
            return Err(MetadataError::Unreachable(format!("{address} is no address of a machine")));
        };
        let question = Question { method, address: &address, path, header };
        let answer = question.ask(&[(*ip, address.port()).into()], None, Instant::now() + PATIENCE)?;
        match answer.status {
            200 => Ok((200, String::from_utf8_lossy(&answer.body(MAX_BODY)?).into_owned())),
            status => Ok((status, String::new())),
        }
    }
}

impl From<WebError> for MetadataError {
    fn from(error: WebError) -> MetadataError {
        MetadataError::Unreachable(error.to_string())
    }
}
