//! The thread that asks.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use smol::channel::{Receiver, Sender, bounded};
use smol::future::or;

use super::metadata::{Metadata, MetadataError};
use super::notice::{Action, Notice};
use crate::config::{Config, Spot};

/// How often it is asked whether the machine will be stopped: EC2 gives two minutes.
const OFTEN: Duration = Duration::from_secs(5);

/// How often for the public address, which another one may be bound to at any time.
const SELDOM: Duration = Duration::from_secs(60);

/// How long after a question in vain the next one comes, at first; twice as long each time, up to [`SELDOM`].
const AGAIN: Duration = Duration::from_secs(1);

/// How long the first answer is waited for.
const AT_ONCE: Duration = Duration::from_millis(100);

/// How long questions may be in vain before people are told: machines start before their network does.
const TOLD_AFTER: Duration = Duration::from_secs(60);

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
    /// Starts to ask at these addresses of the service. It ends with the last receiver.
    ///
    /// # Errors
    ///
    /// There can be no thread.
    pub fn start(config: &Config, endpoints: Vec<String>) -> io::Result<Watch> {
        let (sender, news) = bounded(WAITING);
        let wanted = Arc::new(Wanted::default());
        wanted.set(config);
        let for_thread = wanted.clone();
        thread::Builder::new().name("cloud".into()).spawn(move || {
            Asking {
                metadata: Metadata::new(endpoints),
                wanted: for_thread,
                news: sender,
                known: Known::default(),
            }
            .run();
        })?;
        Ok(Watch { news, wanted })
    }

    /// Another configuration may want something else, from the next question on.
    pub fn reload(&self, config: &Config) {
        self.wanted.set(config);
    }

    /// What comes.
    pub fn news(&self) -> Receiver<News> {
        self.news.clone()
    }

    /// The public addresses, if they are known at once: within a tenth of a second. Later they come with the
    /// other news.
    pub fn addresses_now(&self) -> Option<Vec<IpAddr>> {
        if !self.wanted.addresses.load(Ordering::Relaxed) {
            return None;
        }
        let first = async { self.news.recv().await.ok() };
        let late = async {
            smol::Timer::after(AT_ONCE).await;
            None
        };
        match smol::block_on(or(first, late)) {
            Some(News::Addresses(addresses)) => Some(addresses),
            _ => None,
        }
    }
}

/// The thread itself.
struct Asking {
    metadata: Metadata,
    wanted: Arc<Wanted>,
    news: Sender<News>,
    known: Known,
}

/// What was told.
#[derive(Default)]
struct Known {
    addresses: Option<Vec<IpAddr>>,
    /// Whether the cloud may take the machine back at any time.
    is_spot: Option<bool>,
    notice: Option<Notice>,
    is_trouble: bool,
}

impl Asking {
    fn run(mut self) {
        let mut asked_addresses: Option<Instant> = None;
        let mut in_vain: Option<(Instant, Duration)> = None;
        while !self.news.is_closed() {
            let is_due = self.known.addresses.is_none()
                || asked_addresses.is_none_or(|asked| asked.elapsed() >= SELDOM);
            let done = self.ask(is_due);
            let pause = match done {
                Ok(()) => {
                    if is_due {
                        asked_addresses = Some(Instant::now());
                    }
                    in_vain = None;
                    if std::mem::take(&mut self.known.is_trouble) {
                        self.tell(News::Trouble(None));
                    }
                    OFTEN
                }
                Err(error) => {
                    let (since, pause) = in_vain.unwrap_or((Instant::now(), AGAIN));
                    in_vain = Some((since, (pause * 2).min(SELDOM)));
                    if since.elapsed() >= TOLD_AFTER && !std::mem::replace(&mut self.known.is_trouble, true) {
                        self.tell(News::Trouble(Some(error.to_string())));
                    }
                    pause
                }
            };
            thread::sleep(pause);
        }
    }

    /// Asks for what is wanted, and tells what is new.
    fn ask(&mut self, addresses_too: bool) -> Result<(), MetadataError> {
        if addresses_too && self.wanted.addresses.load(Ordering::Relaxed) {
            let found = self.metadata.get("public-ipv4")?;
            let address: Option<Ipv4Addr> = found.and_then(|text| text.parse().ok());
            let addresses: Vec<IpAddr> = address.into_iter().map(IpAddr::V4).collect();
            if self.known.addresses.as_ref() != Some(&addresses) {
                self.known.addresses = Some(addresses.clone());
                self.tell(News::Addresses(addresses));
            }
        }
        if self.wanted.notice.load(Ordering::Relaxed) {
            self.look_for_a_notice()?;
        }
        Ok(())
    }

    fn look_for_a_notice(&mut self) -> Result<(), MetadataError> {
        if self.known.is_spot.is_none() {
            self.known.is_spot = Some(self.metadata.get("instance-life-cycle")?.as_deref() == Some("spot"));
        }
        if self.known.is_spot != Some(true) {
            return Ok(());
        }
        let notice = self.metadata.get("spot/instance-action")?.as_deref().and_then(Notice::read);
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
