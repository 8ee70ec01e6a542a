//! One question, whoever answers it: this machine's own names, what is still known, the name servers.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use smol::Timer;
use smol::future::{or, zip};
use smol::lock::Mutex;

use super::record::{Answer, Content, Kind, Question, Record};
use super::{DnsError, MAX_ALIASES, Name, Reason, Resolver};

/// The most addresses of each family that are taken of a host, so that no host leaves others no place.
const MAX_ADDRESSES: usize = 4;

/// How long the addresses hold that this machine knows by itself.
const OWN_HOLD: Duration = Duration::from_secs(86_400);

/// What was found, and for how long it holds.
pub(super) struct Found<T> {
    pub(super) items: T,
    pub(super) ttl: Duration,
}

impl Resolver {
    /// The addresses of a host, those of IPv6 first: at least one.
    pub(super) async fn addresses(
        &self,
        host: &Name,
        deadline: Instant,
    ) -> Result<Found<Vec<IpAddr>>, DnsError> {
        let own = self.hosts.borrow().addresses(host);
        if let Some(addresses) = own {
            let (six, four): (Vec<IpAddr>, Vec<IpAddr>) = addresses.into_iter().partition(IpAddr::is_ipv6);
            return Ok(Found { items: chosen(six, four), ttl: OWN_HOLD });
        }
        let records = |kind| self.records(host, kind, deadline);
        match zip(records(Kind::Aaaa), records(Kind::A)).await {
            (Ok(six), Ok(four)) => Ok(Found {
                ttl: six.ttl.min(four.ttl),
                items: chosen(addresses_of(&six.items), addresses_of(&four.items)),
            }),
            // What the other family has may be known soon.
            (Ok(one), Err(other)) | (Err(other), Ok(one)) => {
                let ttl = if other.reason.is_failure() { Duration::ZERO } else { one.ttl };
                let addresses = addresses_of(&one.items);
                let (six, four) = addresses.into_iter().partition(IpAddr::is_ipv6);
                Ok(Found { items: chosen(six, four), ttl })
            }
            // What nobody knows may be there; a name with no address is there.
            (Err(six), Err(four)) => {
                let weight =
                    |error: &DnsError| (error.reason.is_failure(), error.reason != Reason::NoSuchName);
                Err(if weight(&four) >= weight(&six) { four } else { six })
            }
        }
    }

    /// The records of a name and, where it is an alias, those of the name that it stands for: at least one.
    pub(super) async fn records(
        &self,
        name: &Name,
        kind: Kind,
        deadline: Instant,
    ) -> Result<Found<Rc<[Record]>>, DnsError> {
        let error = |reason, asked| DnsError { name: name.clone(), reason, asked };
        let mut question = Question { name: name.clone(), kind };
        let mut ttl = Duration::MAX;
        let mut aliases = 0;
        let mut seen = Vec::new();
        loop {
            let answer =
                self.answer(&question, deadline).await.map_err(|why| error(why.reason, why.asked))?;
            ttl = ttl.min(answer.ttl);
            aliases += answer.aliases;
            let asked = || answer.server.into_iter().collect();
            match answer.content {
                _ if aliases > MAX_ALIASES => return Err(error(Reason::TooManyAliases, asked())),
                Content::Records(items) => return Ok(Found { items, ttl }),
                Content::NoRecords => return Err(error(Reason::NoAddress, asked())),
                Content::NoSuchName => return Err(error(Reason::NoSuchName, asked())),
                Content::Alias(to) => {
                    seen.push(std::mem::replace(&mut question.name, to));
                    if seen.contains(&question.name) {
                        return Err(error(Reason::AliasLoop, asked()));
                    }
                }
            }
        }
    }

    /// The answer to a question: one that still holds, or a new one. Whoever asks the same meanwhile waits for it.
    async fn answer(&self, question: &Question, deadline: Instant) -> Result<Answer, DnsError> {
        let known = || self.cache.borrow().get(question, self.now());
        if let Some(known) = known() {
            return known;
        }
        let late = || DnsError { name: question.name.clone(), reason: Reason::NoAnswer, asked: Vec::new() };
        let line = self.stand_in_line(question);
        let first = by(deadline, line.mutex.lock()).await.ok_or_else(late)?;
        if let Some(known) = known() {
            return known;
        }
        let permit = by(deadline, self.permits.acquire()).await.ok_or_else(late)?;
        let servers = Rc::clone(&self.servers.borrow());
        let found = servers.ask(question, &self.random, deadline).await;
        drop(permit);
        let found = match Rc::ptr_eq(&servers, &self.servers.borrow()) {
            true => self.cache.borrow_mut().put(question, found, self.now()),
            // Others are asked by now, and may know it otherwise.
            false => found,
        };
        drop(first);
        found
    }

    fn stand_in_line(&self, question: &Question) -> Line<'_> {
        let mutex = self.under_way.borrow_mut().entry(question.clone()).or_default().clone();
        Line { resolver: self, question: question.clone(), mutex }
    }
}

/// A place among those who ask the same.
struct Line<'a> {
    resolver: &'a Resolver,
    question: Question,
    mutex: Rc<Mutex<()>>,
}

impl Drop for Line<'_> {
    /// The last one closes the line: no more than this and the table's own hold it.
    fn drop(&mut self) {
        if Rc::strong_count(&self.mutex) <= 2 {
            self.resolver.under_way.borrow_mut().remove(&self.question);
        }
    }
}

/// What comes of it, unless it takes too long.
async fn by<T>(deadline: Instant, future: impl Future<Output = T>) -> Option<T> {
    let late = async {
        Timer::at(deadline).await;
        None
    };
    or(async { Some(future.await) }, late).await
}

fn addresses_of(records: &[Record]) -> Vec<IpAddr> {
    let address = |record: &Record| match record {
        Record::Address(address) => Some(*address),
        _ => None,
    };
    records.iter().filter_map(address).collect()
}

/// The first few of each family.
fn chosen(mut six: Vec<IpAddr>, mut four: Vec<IpAddr>) -> Vec<IpAddr> {
    six.truncate(MAX_ADDRESSES);
    four.truncate(MAX_ADDRESSES);
    six.extend(four);
    six
}
