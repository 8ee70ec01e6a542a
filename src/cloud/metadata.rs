//! The instance metadata service of EC2, version 2: HTTP with a token.

use std::fmt;
use std::time::{Duration, Instant};

use ureq::Agent;

/// Where it is, in the order in which it is tried: instances without IPv4 have it by IPv6.
pub const ENDPOINTS: [&str; 2] = ["http://169.254.169.254", "http://[fd00:ec2::254]"];

/// The most octets of an answer that are read; what is asked for here has a hundred.
pub const MAX_BODY: u64 = 4096;

/// The most octets of an answer's header.
const MAX_HEADER: usize = 8192;

/// How long each part of a question may take: to connect, to ask, to be answered, to read the answer. The service
/// is on the same machine, and takes some milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a token is to hold, in seconds: the longest there is.
const TOKEN_HOLDS: u64 = 21_600;

/// Why something was not found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataError {
    /// Nobody can be reached, or what comes is no answer in time; a sentence says why.
    Unreachable(String),
    /// The service refuses to answer, with this status.
    Refused(u16),
}

impl fmt::Display for MetadataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MetadataError::Unreachable(why) => write!(f, "it cannot be reached ({why})"),
            MetadataError::Refused(status) => {
                write!(f, "it refuses to answer ({status}); it may be switched off for this instance")
            }
        }
    }
}

/// Somebody to ask.
pub struct Metadata {
    agent: Agent,
    endpoints: Vec<String>,
    /// The place in these of the one that answered last.
    current: usize,
    /// It, and when another one is to be had.
    token: Option<(String, Instant)>,
}

impl Metadata {
    /// Asks at these addresses: the first that answers, as long as it does.
    pub fn new(endpoints: Vec<String>) -> Metadata {
        let agent = Agent::config_builder()
            .timeout_connect(Some(PATIENCE))
            .timeout_send_request(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .timeout_recv_body(Some(PATIENCE))
            .max_response_header_size(MAX_HEADER)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(0)
            .http_status_as_error(false)
            .proxy(None)
            .user_agent("denwa")
            .build()
            .new_agent();
        Metadata { agent, endpoints, current: 0, token: None }
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
        let url = format!("{}/latest/meta-data/{path}", self.endpoint());
        taken(self.agent.get(url).header("X-aws-ec2-metadata-token", token).call())
    }

    fn token(&mut self) -> Result<String, MetadataError> {
        let now = Instant::now();
        if let Some((token, until)) = &self.token
            && now < *until
        {
            return Ok(token.clone());
        }
        let url = format!("{}/latest/api/token", self.endpoint());
        let asked =
            self.agent.put(url).header("X-aws-ec2-metadata-token-ttl-seconds", TOKEN_HOLDS.to_string());
        let (status, token) = taken(asked.send_empty())?;
        let token = token.trim().to_owned();
        // What cannot stand in a header would be refused by whoever writes it there.
        if status != 200 || token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(MetadataError::Refused(status));
        }
        self.token = Some((token.clone(), now + Duration::from_secs(TOKEN_HOLDS / 2)));
        Ok(token)
    }

    fn endpoint(&self) -> &str {
        self.endpoints.get(self.current).map_or("", String::as_str)
    }
}

/// The status and the body of an answer.
fn taken(
    answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
) -> Result<(u16, String), MetadataError> {
    let unreachable = |error: ureq::Error| MetadataError::Unreachable(error.to_string());
    let mut answer = answer.map_err(unreachable)?;
    let status = answer.status().as_u16();
    let body = answer.body_mut().with_config().limit(MAX_BODY).read_to_string().map_err(unreachable)?;
    Ok((status, body))
}
