//! The sound of many calls: 50 packets a second each way with 160 octets of G.711, sent on time
//! and judged at the other end.

use crate::phones::Relay;
use crate::sys::{BATCH, Inbox, Outbox, realtime, roomy_socket, stamp_receipts};
use rustix::event::{Timespec, epoll};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// RTP header and 20 ms of G.711.
const PACKET: usize = 12 + 160;
/// The time between two packets of a stream.
const PERIOD: u64 = 20_000_000;
/// A packet that comes later than this after it was sent is of no use to a listener, in ns.
const LATE: u64 = 60_000_000;

/// Both sides' sockets and the streams between them.
pub(crate) struct Media {
    /// The callers' sockets, then as many of the callees'.
    sockets: Vec<UdpSocket>,
    waiter: OwnedFd,
    streams: Vec<Stream>,
    inbox: Inbox,
    outboxes: Vec<Outbox>,
    /// Tells packets of this run from late ones of the run before.
    run: u8,
}

/// One direction of one call.
struct Stream {
    /// Indexes of the sockets.
    from: usize,
    to: usize,
    relay: SocketAddr,
    sequence: u16,
    /// How many left and came in the present run.
    sent: u64,
    received: u64,
    /// When something came last, and the longest time in which nothing did, by the real-time clock.
    heard: u64,
    silence: Range<u64>,
}

impl Stream {
    /// Something has come.
    fn hears(&mut self, now: u64) {
        if now.saturating_sub(self.heard) > self.silence.end - self.silence.start {
            self.silence = self.heard..now;
        }
        self.heard = self.heard.max(now);
    }
}

/// What became of the packets of one run.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// Of the received ones, how many came after more than 60 ms.
    pub(crate) late: u64,
    /// How far the bench itself fell behind its timetable, in ns.
    pub(crate) behind: u64,
    /// From the call of send to the kernel's receipt at the other phone, in ns, sorted.
    pub(crate) latencies: Vec<u64>,
    /// The longest time in which nothing came, for each stream, in ns of the real-time clock: a call's two
    /// streams are beside each other. It lasts until [`Outcome::end`] if the stream has fallen silent for good.
    pub(crate) silences: Vec<Range<u64>>,
    /// When all was over.
    pub(crate) end: u64,
}

impl Outcome {
    /// Lost or late, as a share of all that were sent.
    pub(crate) fn missing(&self) -> f64 {
        (self.sent.saturating_sub(self.received) + self.late) as f64 / self.sent.max(1) as f64
    }

    /// A percentile of the latencies, in µs.
    pub(crate) fn latency(&self, percent: usize) -> f64 {
        let i = (self.latencies.len() * percent / 100).min(self.latencies.len().saturating_sub(1));
        self.latencies.get(i).map_or(f64::NAN, |ns| *ns as f64 / 1000.0)
    }
}

impl Media {
    /// `count` sockets for each side, on ports from `first`. A phone has one of its own where
    /// there are as many sockets as calls; with fewer, phones share them, which makes the bench
    /// cheaper.
    pub(crate) fn open(ip: IpAddr, first: u16, count: u16) -> Result<Media, String> {
        let open = || -> std::io::Result<(Vec<UdpSocket>, OwnedFd)> {
            let waiter = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            let mut sockets = Vec::new();
            for i in 0..2 * count {
                let socket = roomy_socket(SocketAddr::new(ip, first + i))?;
                stamp_receipts(&socket)?;
                let data = epoll::EventData::new_u64(u64::from(i));
                epoll::add(&waiter, socket.as_fd(), data, epoll::EventFlags::IN)?;
                sockets.push(socket);
            }
            Ok((sockets, waiter))
        };
        let (sockets, waiter) = open().map_err(|e| format!("media sockets: {e}"))?;
        let outboxes = sockets.iter().map(|_| Outbox::default()).collect();
        Ok(Media { sockets, waiter, streams: Vec::new(), inbox: Inbox::default(), outboxes, run: 0 })
    }

    /// The addresses of callers and callees, as they write them into their session descriptions:
    /// call `i` has the `i`th of each, in turn.
    pub(crate) fn addresses(&self) -> Result<(Vec<SocketAddr>, Vec<SocketAddr>), String> {
        let all: Result<Vec<SocketAddr>, _> = self.sockets.iter().map(UdpSocket::local_addr).collect();
        let mut callers = all.map_err(|e| e.to_string())?;
        let callees = callers.split_off(callers.len() / 2);
        Ok((callers, callees))
    }

    /// Tells where these calls are relayed. Calls that were known before stay as they were.
    pub(crate) fn point(&mut self, relays: &[Relay]) {
        let side = self.sockets.len() / 2;
        for (call, relay) in relays.iter().enumerate().skip(self.streams.len() / 2) {
            let (a, b) = (call % side, side + call % side);
            let stream = |from, to, relay| Stream {
                from,
                to,
                relay,
                sequence: 0,
                sent: 0,
                received: 0,
                heard: 0,
                silence: 0..0,
            };
            self.streams.push(stream(a, b, relay.for_caller));
            self.streams.push(stream(b, a, relay.for_callee));
        }
    }

    /// Runs the first `calls` calls for `time`, and a little longer to let the last ones arrive.
    /// With `single` each packet is sent on its own at its own moment, which is what latency is
    /// measured with; else those that are due leave together, which costs the bench least.
    pub(crate) fn run(&mut self, calls: usize, time: Duration, single: bool) -> Result<Outcome, String> {
        self.run_beside(calls, time, single, &mut || Ok(()))
    }

    /// The same, with something else to do in each spare moment, for at most some 100 µs.
    pub(crate) fn run_beside(
        &mut self,
        calls: usize,
        time: Duration,
        single: bool,
        aside: &mut dyn FnMut() -> Result<(), String>,
    ) -> Result<Outcome, String> {
        let active = (calls * 2).min(self.streams.len());
        if active == 0 {
            return Err("no call is up".into());
        }
        self.run = self.run.wrapping_add(1);
        self.let_settle()?;
        let mut outcome = Outcome::default();
        // Streams are spread evenly over the 20 ms, in an order that mixes calls and directions.
        let stride = coprime(active);
        let begun = realtime();
        for stream in &mut self.streams {
            (stream.sent, stream.received) = (0, 0);
            (stream.heard, stream.silence) = (begun, begun..begun);
        }
        let active64 = active as u64;
        let due = |n: u64| begun + n / active64 * PERIOD + n % active64 * PERIOD / active64;
        let stream = |n: u64| (n % active64) as usize * stride % active;
        let total = time.as_nanos() as u64 / PERIOD * active64;
        let mut next = 0;
        while next < total {
            let now = realtime();
            outcome.behind = outcome.behind.max(now.saturating_sub(due(next)));
            aside()?;
            if single {
                if due(next) <= now {
                    self.send(stream(next))?;
                    next += 1;
                }
                self.receive(&mut outcome, 1, true)?;
            } else {
                let until = total.min(next + 4 * BATCH as u64);
                while next < until && due(next) <= now {
                    self.put(stream(next));
                    next += 1;
                }
                self.flush()?;
                self.receive(&mut outcome, EVENTS, single)?;
                if next < total && due(next) > realtime() + 400_000 {
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
        }
        let last = realtime();
        let end = last + 2 * LATE;
        while realtime() < end {
            aside()?;
            self.receive(&mut outcome, EVENTS, single)?;
        }
        outcome.end = realtime();
        for stream in &mut self.streams[..active] {
            outcome.sent += stream.sent;
            outcome.received += stream.received;
            // What was sent at the very end had no time to come.
            if stream.heard + LATE < last {
                stream.hears(outcome.end);
            }
            outcome.silences.push(stream.silence.clone());
        }
        outcome.latencies.sort_unstable();
        Ok(outcome)
    }

    /// Takes what an overloaded relay still has of the run before, until it is silent for 50 ms, for
    /// at most 3 s.
    fn let_settle(&mut self) -> Result<(), String> {
        let begun = realtime();
        let mut heard = begun;
        while realtime() < heard + 50_000_000 && heard < begun + 3_000_000_000 {
            if self.receive(&mut Outcome::default(), EVENTS, false)? > 0 {
                heard = realtime();
            }
        }
        Ok(())
    }

    /// Sends one packet of a stream now.
    fn send(&mut self, index: usize) -> Result<(), String> {
        let stream = &mut self.streams[index];
        let packet = packet(stream, index, self.run);
        match self.sockets[stream.from].send_to(&packet, stream.relay) {
            Ok(_) => Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => Ok(()),
            Err(e) => Err(format!("sending sound: {e}")),
        }
    }

    /// Puts one packet of a stream into its socket's outbox.
    fn put(&mut self, index: usize) {
        let stream = &mut self.streams[index];
        let packet = packet(stream, index, self.run);
        self.outboxes[stream.from].put(stream.relay, |out| out.extend_from_slice(&packet));
    }

    fn flush(&mut self) -> Result<(), String> {
        for (outbox, socket) in self.outboxes.iter_mut().zip(&self.sockets) {
            outbox.flush(socket).map_err(|e| format!("sending sound: {e}"))?;
        }
        Ok(())
    }

    /// Takes a batch from each of at most `limit` sockets that have something; returns how many
    /// packets there were.
    fn receive(&mut self, outcome: &mut Outcome, limit: usize, single: bool) -> Result<usize, String> {
        let mut total = 0;
        let mut events: heapless::Vec<usize, EVENTS> = heapless::Vec::new();
        let mut space = [std::mem::MaybeUninit::uninit(); EVENTS];
        let (ready, _) =
            epoll::wait(&self.waiter, &mut space[..limit], Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))
                .map_err(|e| format!("waiting for sound: {e}"))?;
        for event in ready {
            // There are as many slots as events could come.
            let _ = events.push(event.data.u64() as usize);
        }
        for socket in events {
            let n = self.inbox.receive(&self.sockets[socket]).map_err(|e| format!("receiving sound: {e}"))?;
            total += n;
            for i in 0..n {
                let packet = self.inbox.datagram(i);
                let Some((index, run, sent)) = read(packet) else {
                    return Err(format!(
                        "{} octets came that are no packet of ours: {packet:02x?}",
                        packet.len()
                    ));
                };
                if run != self.run {
                    continue;
                }
                match self.streams.get_mut(index) {
                    Some(stream) if stream.to == socket => {
                        stream.received += 1;
                        stream.hears(self.inbox.stamp(i));
                    }
                    _ => return Err("sound came to the wrong phone".into()),
                }
                let under_way = self.inbox.stamp(i).saturating_sub(sent);
                outcome.late += u64::from(under_way > LATE);
                if single {
                    outcome.latencies.push(under_way);
                }
            }
        }
        Ok(total)
    }
}

/// Events taken with one wait.
const EVENTS: usize = 32;
/// What the sound is, past the stamp.
const SOUND: u8 = 0xd5;

/// The next packet of a stream (RFC 3550 §5.1): the SSRC says which, the sound begins with the
/// run and the time of sending.
fn packet(stream: &mut Stream, index: usize, run: u8) -> [u8; PACKET] {
    let mut packet = [SOUND; PACKET];
    stream.sequence = stream.sequence.wrapping_add(1);
    stream.sent += 1;
    packet[0] = 0x80;
    packet[1] = 0; // PCMU
    packet[2..4].copy_from_slice(&stream.sequence.to_be_bytes());
    packet[4..8].copy_from_slice(&(u32::from(stream.sequence) * 160).to_be_bytes());
    packet[8..12].copy_from_slice(&(index as u32).to_be_bytes());
    packet[12] = run;
    packet[13..21].copy_from_slice(&realtime().to_be_bytes());
    packet
}

/// Stream, run and time of sending of a packet that is ours, unaltered.
fn read(packet: &[u8]) -> Option<(usize, u8, u64)> {
    if packet.len() != PACKET || packet[0] != 0x80 || packet[21..].iter().any(|b| *b != SOUND) {
        return None;
    }
    let index = u32::from_be_bytes(packet[8..12].try_into().ok()?);
    let sent = u64::from_be_bytes(packet[13..21].try_into().ok()?);
    Some((index as usize, packet[12], sent))
}

/// A step that visits all of `n` streams, far from the one before.
fn coprime(n: usize) -> usize {
    let gcd = |mut a: usize, mut b: usize| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    (n * 5 / 8 + 1..).find(|&step| gcd(step, n) == 1).unwrap_or(1)
}
