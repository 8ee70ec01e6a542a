//! The thread that asks.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use smol::channel::{Receiver, Sender, bounded};

use super::metadata::{Metadata, MetadataError};
use super::notice::{Action, Notice};
use crate::config::{Config, Spot};

/// How soon and how often the service is asked.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Whether the machine will be stopped: EC2 gives two minutes. Default 5 s.
    pub often: Duration,
    /// For the public address, which another one may be bound to at any time. Default 60 s.
    pub seldom: Duration,
    /// How long after a question in vain the next one comes, at first; twice as long each time, up to `seldom`. Default
    /// 1 s.
    pub again: Duration,
    /// How long questions may be in vain before people are told: machines start before their network does. Default
    /// 60 s.
    pub told_after: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        let [again, often, minute] = [1, 5, 60].map(Duration::from_secs);
        Pace { often, seldom: minute, again, told_after: minute }
    }
}

/// How many news wait for the exchange.
const WAITING: usize = 16;

/// What was found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// The machine's public addresses that it does not have itself; none if there are none.
    Addresses(Vec<IpAddr>),
    /// The cloud will do this to the machine, after that time.
    Stopping(Action, Duration),
    /// It will not.
    Spared,
    /// Nobody can be asked, a sentence says why; or (`None`) somebody can again.
    Trouble(Option<String>),
}

/// Who watches.
pub struct Watch {
    news: Receiver<News>,
    wanted: Arc<Wanted>,
    first: Arc<First>,
}

/// The public addresses that were found first, for who waits for them.
#[derive(Default)]
struct First {
    found: Mutex<Option<Vec<IpAddr>>>,
    is_found: Condvar,
}

/// What the configuration wants to know.
#[derive(Default)]
struct Wanted {
    addresses: AtomicBool,
    notice: AtomicBool,
}

impl Wanted {
    fn set(&self, config: &Config) {
        self.addresses.store(config.advertise_auto, Ordering::Relaxed);
        self.notice.store(config.spot == Spot::Auto, Ordering::Relaxed);
    }
}

impl Watch {
    /// Starts to ask at these addresses of the service. It ends when nobody receives any more.
    ///
    /// # Errors
    ///
    /// There can be no thread.
    pub fn start(config: &Config, endpoints: Vec<String>, pace: Pace) -> io::Result<Watch> {
        let (sender, news) = bounded(WAITING);
        let (wanted, first) = (Arc::new(Wanted::default()), Arc::new(First::default()));
        wanted.set(config);
        let asking = Asking {
            metadata: Metadata::new(endpoints),
            pace,
            wanted: wanted.clone(),
            first: first.clone(),
            news: sender,
            known: Known::default(),
        };
        thread::Builder::new().name("cloud".into()).spawn(move || asking.run())?;
        Ok(Watch { news, wanted, first })
    }

    /// Another configuration may want something else, from the next question on.
    pub fn reload(&self, config: &Config) {
        self.wanted.set(config);
    }

    /// What comes.
    pub fn news(&self) -> Receiver<News> {
        self.news.clone()
    }

    /// The public addresses, if they are known within this time; they come with the other news as well, then or later.
    pub fn addresses_within(&self, time: Duration) -> Option<Vec<IpAddr>> {
        if !self.wanted.addresses.load(Ordering::Relaxed) {
            return None;
        }
        let found = self.first.found.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.first.is_found.wait_timeout_while(found, time, |found| found.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    }
}

/// The thread itself.
struct Asking {
    metadata: Metadata,
    pace: Pace,
    wanted: Arc<Wanted>,
    first: Arc<First>,
    news: Sender<News>,
    known: Known,
}

/// What was told.
#[derive(Default)]
struct Known {
    addresses: Option<Vec<IpAddr>>,
    /// When they were asked for.
    asked: Option<Instant>,
    /// Whether the cloud may take the machine back at any time.
    is_spot: Option<bool>,
    notice: Option<Notice>,
    is_trouble: bool,
}

impl Asking {
    fn run(mut self) {
        let mut in_vain: Option<(Instant, Duration)> = None;
        while !self.news.is_closed() {
            let (addresses, notice) = (self.look_for_addresses(), self.look_for_a_notice());
            // Whoever is asked for a notice in vain is not left alone for long.
            let is_answered = notice.is_ok() && (addresses.is_ok() || self.known.is_spot == Some(true));
            let pause = match addresses.and(notice) {
                Ok(()) => {
                    in_vain = None;
                    if std::mem::take(&mut self.known.is_trouble) {
                        self.tell(News::Trouble(None));
                    }
                    self.pace.often
                }
                Err(error) => {
                    let (since, pause) = in_vain.unwrap_or((Instant::now(), self.pace.again));
                    in_vain = Some((since, (pause * 2).min(self.pace.seldom)));
                    if since.elapsed() >= self.pace.told_after
                        && !std::mem::replace(&mut self.known.is_trouble, true)
                    {
                        self.tell(News::Trouble(Some(error.to_string())));
                    }
                    if is_answered { self.pace.often } else { pause }
                }
            };
            thread::sleep(pause);
        }
    }

    /// Asks for the public addresses, if they are wanted and it is time to; tells them if they are others.
    fn look_for_addresses(&mut self) -> Result<(), MetadataError> {
        if !self.wanted.addresses.load(Ordering::Relaxed) {
            // Whoever wants them again knows nothing of them.
            self.known.addresses = None;
            return Ok(());
        }
        let is_due = self.known.asked.is_none_or(|asked| asked.elapsed() >= self.pace.seldom);
        if self.known.addresses.is_some() && !is_due {
            return Ok(());
        }
        let addresses: Vec<IpAddr> = match self.metadata.get("public-ipv4")? {
            None => Vec::new(),
            Some(text) => {
                let address: Option<Ipv4Addr> = text.parse().ok().filter(is_somebodys);
                vec![address.ok_or(MetadataError::Nonsense("the public address"))?.into()]
            }
        };
        self.known.asked = Some(Instant::now());
        if self.known.addresses.as_ref() != Some(&addresses) {
            self.known.addresses = Some(addresses.clone());
            *self.first.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(addresses.clone());
            self.first.is_found.notify_all();
            self.tell(News::Addresses(addresses));
        }
        Ok(())
    }

    /// Asks whether the machine will be stopped, if that is wanted and the machine is one that may be.
    fn look_for_a_notice(&mut self) -> Result<(), MetadataError> {
        if !self.wanted.notice.load(Ordering::Relaxed) {
            self.known.notice = None;
            return Ok(());
        }
        if self.known.is_spot.is_none() {
            self.known.is_spot = Some(self.metadata.get("instance-life-cycle")?.as_deref() == Some("spot"));
        }
        if self.known.is_spot != Some(true) {
            return Ok(());
        }
        let notice = match self.metadata.get("spot/instance-action")? {
            None => None,
            Some(body) => Some(Notice::read(&body).ok_or(MetadataError::Nonsense("when it stops"))?),
        };
        if notice != self.known.notice {
            self.known.notice = notice;
            let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
            self.tell(match notice {
                Some(notice) => News::Stopping(notice.action, notice.left(unix)),
                None => News::Spared,
            });
        }
        Ok(())
    }

    /// Waits if too much waits already; the thread ends where nobody listens any more.
    fn tell(&self, news: News) {
        let _ = self.news.send_blocking(news);
    }
}

/// Whether somebody can be reached at an address.
fn is_somebodys(address: &Ipv4Addr) -> bool {
    !address.is_unspecified() && !address.is_loopback() && !address.is_multicast() && !address.is_broadcast()
}
