//! What a phone is and what its user does: all that the town decides about it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use denwa::switch::Transport;

use crate::digest::Algorithm;
use crate::sip::Hand;

/// What a phone is, from the shop and by its user's settings.
#[derive(Clone, Debug)]
pub struct Spec {
    pub number: String,
    /// What it says that its number is, if it lies.
    pub shows: Option<String>,
    pub password: String,
    /// The host in its own address and in what it dials.
    pub domain: String,
    pub transport: Transport,
    /// Where it believes to be.
    pub address: SocketAddr,
    /// From where others see it, if a NAT stands between.
    pub nat: Option<IpAddr>,
    /// The exchange, as it reaches it.
    pub server: SocketAddr,
    pub hand: Hand,
    /// Whether it names its device (RFC 5626).
    pub instance: bool,
    pub algorithms: Vec<Algorithm>,
    /// Whether it uses a nonce again, with a higher count.
    pub keeps_nonce: bool,
    /// For how long it registers, in seconds.
    pub expires: u32,
    /// Whether its Via asks for the source port (RFC 3581).
    pub rport: bool,
    /// Whether it does reliable provisional responses (RFC 3262).
    pub reliable: bool,
    /// Whether its INVITE comes without offer.
    pub late_offer: bool,
    pub video: bool,
    /// Whether it puts the exchange as Route into what starts a dialog.
    pub preloads_route: bool,
    /// Whether it sends CANCEL without waiting for a provisional response.
    pub hasty: bool,
    /// How many calls it can have at once.
    pub lines: usize,
    /// Whether its Contact changes with each re-INVITE that it answers.
    pub restless: bool,
    /// Whether it refuses to negotiate again.
    pub stubborn: bool,
    /// Whether it stands for several phones that ring, or answer, in its place.
    pub forking: Forking,
    pub manners: Manners,
}

/// What else answers where a phone is called: a peer may fork further on (RFC 3261 §16.7, step 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forking {
    Alone,
    /// Another early dialog comes first, and comes to nothing.
    Rings,
    /// Another phone answers in the same instant.
    Answers,
}

/// What happens when somebody calls.
#[derive(Clone, Debug)]
pub struct Manners {
    pub ringing: Ringing,
    pub reaction: Reaction,
    /// From the INVITE to the reaction.
    pub after: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ringing {
    /// Nothing but 100 before the final answer.
    Quiet,
    /// 180.
    Bell,
    /// 183 with a description.
    EarlyMedia,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reaction {
    Answer,
    /// It rings until somebody gives up.
    Ring,
    Refuse(u16),
    /// 302 to another number.
    Redirect(String),
}

/// What a user does with the phone.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Register,
    Unregister,
    UnregisterAll,
    Call(String),
    /// Picks up now.
    Answer,
    /// Refuses now.
    Refuse(u16),
    /// Ends the newest call, whatever state it is in.
    HangUp,
    Hold,
    Resume,
    /// A re-INVITE without offer.
    Refresh,
    /// A re-INVITE with a new Contact and new ports.
    Move,
    /// A re-INVITE with one more stream.
    Video,
    /// A re-INVITE that makes T.38 of the first stream.
    Fax,
    /// A re-INVITE that makes audio of it again.
    Voice,
    /// An UPDATE with an offer (RFC 3311).
    Update,
    Info,
    Message(String),
    /// A request of this method to the exchange, about ourselves.
    Ask(String),
    BlindTransfer(String),
    /// Joins the peers of the two newest calls.
    AttendedTransfer,
    /// A CRLF keep-alive (RFC 5626 §3.5.1).
    Ping,
}
