//! Whom to ask: `/etc/resolv.conf`, and the questions themselves.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::{Duration, Instant};

use super::exchange::{self, NoReply};
use super::message::Reply;
use super::random::Random;
use super::record::{Answer, Question};
use super::{DnsError, Reason};

/// The most name servers that are asked, as everywhere.
const MAX_SERVERS: usize = 3;

/// Where name servers listen.
const PORT: u16 = 53;

/// How long an answer is waited for (`timeout:`): 1 to 5 s. Default 2 s.
const PATIENCE: (u64, u64, u64) = (1, 2, 5);

/// How often all servers are asked (`attempts:`): 1 to 3 times. Default 2.
const ROUNDS: (u64, u64, u64) = (1, 2, 3);

/// Those that are asked.
pub(super) struct Servers {
    list: Vec<SocketAddr>,
    patience: Duration,
    rounds: u64,
    /// Which one is asked first: the first, until it fails; then whoever answers.
    first: Cell<usize>,
}

impl Servers {
    /// Reads a `resolv.conf`: `nameserver`, and of `options` `timeout:` and `attempts:`. Names are complete, so
    /// `search` and `domain` do not matter. Whoever names no server has one himself.
    pub(super) fn read(text: &str) -> Servers {
        let mut servers = Servers::of(Vec::new());
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") if servers.list.len() < MAX_SERVERS => {
                    servers.list.extend(words.next().and_then(server));
                }
                Some("options") => {
                    for word in words {
                        if let Some(seconds) = word.strip_prefix("timeout:") {
                            servers.patience = Duration::from_secs(within(PATIENCE, seconds));
                        } else if let Some(rounds) = word.strip_prefix("attempts:") {
                            servers.rounds = within(ROUNDS, rounds);
                        }
                    }
                }
                _ => {}
            }
        }
        if servers.list.is_empty() {
            servers.list.push((Ipv4Addr::LOCALHOST, PORT).into());
        }
        servers
    }

    /// These, wherever they listen.
    pub(super) fn of(list: Vec<SocketAddr>) -> Servers {
        Servers { list, patience: Duration::from_secs(PATIENCE.1), rounds: ROUNDS.1, first: Cell::new(0) }
    }

    /// With less patience, for tests.
    #[cfg(test)]
    pub(super) fn hurried(self) -> Servers {
        Servers { patience: Duration::from_millis(200), ..self }
    }

    /// Asks one after the other until one answers; one that says that it cannot is not asked a second time.
    ///
    /// # Errors
    ///
    /// What the last of them said, if none answers by the `deadline`.
    pub(super) async fn ask(
        &self,
        question: &Question,
        random: &Random,
        deadline: Instant,
    ) -> Result<Answer, DnsError> {
        let mut asked = Vec::new();
        let mut useless = [false; MAX_SERVERS];
        let mut reason = Reason::NoAnswer;
        let first = self.first.get();
        let turns = (0..self.rounds).flat_map(|_| (0..self.list.len()).map(|turn| first + turn));
        for turn in turns.map(|turn| turn % self.list.len()) {
            let (Some(&server), Some(useless)) = (self.list.get(turn), useless.get_mut(turn)) else {
                continue;
            };
            let until = deadline.min(Instant::now() + self.patience);
            if *useless || until <= Instant::now() {
                continue;
            }
            if !asked.contains(&server) {
                asked.push(server);
            }
            let error = |reason| DnsError { name: question.name.clone(), reason, asked: vec![server] };
            match exchange::ask(server, question, random, until).await {
                Ok(Reply::Answer(answer)) => {
                    self.first.set(turn);
                    return Ok(Answer { server: Some(server), ..answer });
                }
                Ok(Reply::AliasLoop) => return Err(error(Reason::AliasLoop)),
                Ok(Reply::TooManyAliases) => return Err(error(Reason::TooManyAliases)),
                Ok(Reply::Failed(code)) => {
                    *useless = true;
                    reason = Reason::Failed(code);
                }
                // Somebody asked by TCP has no reason to say so.
                Ok(Reply::Truncated) | Err(NoReply::Garbled) => reason = Reason::Unreadable,
                Err(NoReply::Silence) => {
                    reason = Reason::NoAnswer;
                    self.pass_over(turn);
                }
                Err(NoReply::Unreachable(kind)) => {
                    reason = Reason::Unreachable(kind);
                    self.pass_over(turn);
                }
            }
        }
        Err(DnsError { name: question.name.clone(), reason, asked })
    }

    /// The next question goes to the next server, if nobody has changed that meanwhile.
    fn pass_over(&self, turn: usize) {
        if self.first.get() == turn {
            self.first.set((turn + 1) % self.list.len());
        }
    }
}

/// A server's address, which may name the network of a link-local one: `fe80::1%eth0`.
fn server(word: &str) -> Option<SocketAddr> {
    if let Ok(address) = word.parse::<IpAddr>() {
        return Some((address, PORT).into());
    }
    let (address, zone) = word.split_once('%')?;
    let address: Ipv6Addr = address.parse().ok()?;
    Some(SocketAddrV6::new(address, PORT, 0, zone.parse().ok().or_else(|| interface(zone))?).into())
}

/// The number of a network interface.
fn interface(name: &str) -> Option<u32> {
    use rustix::net::{AddressFamily, SocketType, netdevice::name_to_index, socket};
    let socket = socket(AddressFamily::INET6, SocketType::DGRAM, None).ok()?;
    name_to_index(socket, name).ok()
}

/// What an option says, within its bounds; its default if it says nothing.
fn within((least, default, most): (u64, u64, u64), text: &str) -> u64 {
    text.parse().map_or(default, |number: u64| number.clamp(least, most))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<String> {
        Servers::read(text).list.iter().map(SocketAddr::to_string).collect()
    }

    #[test]
    fn resolv_conf_is_read() {
        assert_eq!(
            list(
                "# made by hand\nsearch example.net\nnameserver 192.0.2.1\n nameserver\t2001:db8::1 # ours\n"
            ),
            ["192.0.2.1:53", "[2001:db8::1]:53"]
        );
        assert_eq!(list(";nameserver 192.0.2.1\nnameserver one\nnameserver\n"), ["127.0.0.1:53"]);
        assert_eq!(list(""), ["127.0.0.1:53"]);
        let many: String = (1..9).map(|n| format!("nameserver 192.0.2.{n}\n")).collect();
        assert_eq!(list(&many).len(), MAX_SERVERS);
    }

    #[test]
    fn a_link_local_server_is_on_its_network() {
        assert_eq!(list("nameserver fe80::1%7\n"), ["[fe80::1%7]:53"]);
        assert_eq!(list("nameserver fe80::1%lo\n"), ["[fe80::1%1]:53"]);
        assert_eq!(list("nameserver fe80::1%there-is-none\n"), ["127.0.0.1:53"]);
    }

    #[test]
    fn options_are_bounded() {
        let options = |text| {
            let servers = Servers::read(text);
            (servers.patience.as_secs(), servers.rounds)
        };
        assert_eq!(options(""), (2, 2));
        assert_eq!(options("options rotate timeout:3 attempts:1\n"), (3, 1));
        assert_eq!(options("options timeout:0 attempts:0\n"), (1, 1));
        assert_eq!(options("options timeout:999\noptions attempts:999 edns0\n"), (5, 3));
        assert_eq!(options("options timeout:x attempts:-1\n"), (2, 2));
    }
}
