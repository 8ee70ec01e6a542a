//! What the relay does not spend: memory on packets, and time on nothing. A program of its own, so that what is
//! counted is the relay's alone.

#![allow(clippy::unwrap_used)]
#![allow(unsafe_code)] // an allocator that counts

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use denwa::media::{Admit, Command, End, Event, Far, Relay, Remote, SessionId, Stream};
use rustix::event::{PollFd, PollFlags, poll};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: it does what the system's allocator does, and counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn packets_cost_no_memory_and_idleness_costs_no_time() {
    let relay = Relay::start().unwrap();
    let phone = UdpSocket::bind("127.0.6.1:0").unwrap();
    phone.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let ours = phone.local_addr().unwrap();
    let end = |port, silence| End {
        local: SocketAddr::from(([127, 0, 6, 2], port)),
        remote: Some(Remote { rtp: ours, rtcp: ours }),
        admit: Admit::Address(ours.ip()),
        window: 0,
        silence,
    };

    // Without sessions it sleeps.
    let thread = thread_named("relay");
    assert_eq!(wake_ups_in(Duration::from_millis(500), thread), 0);

    let silence = Some(Duration::from_secs(60));
    let (a, b) = (end(40_000, silence), end(40_002, silence));
    let (local_a, local_b) = (a.local, b.local);
    relay.send(Command::Set {
        session: SessionId(1),
        streams: vec![
            Some(Stream { a, b: Far::End(b) }),
            Some(Stream { a: end(40_004, None), b: Far::Echo }),
        ],
    });
    relay.send(Command::Close { session: SessionId(2) });
    assert!(matches!(wait(&relay), Event::Closed { .. }));

    // With sessions where nothing happens it sleeps too.
    assert_eq!(wake_ups_in(Duration::from_millis(500), thread), 0);

    let echo = SocketAddr::new(local_a.ip(), 40_004);
    let stranger = UdpSocket::bind("127.0.6.66:0").unwrap();
    let mut packet = [0x80; 172];
    let mut buffer = [0; 200];
    let mut burst = |sequences: std::ops::Range<u16>| {
        for sequence in sequences {
            packet[2..4].copy_from_slice(&sequence.to_be_bytes());
            packet[6..8].copy_from_slice(&sequence.wrapping_mul(160).to_be_bytes());
            for to in [local_a, local_b, echo] {
                stranger.send_to(&packet, to).unwrap();
                phone.send_to(&packet, to).unwrap();
                assert_eq!(phone.recv(&mut buffer).unwrap(), packet.len());
            }
            // A sender report, multiplexed.
            let report =
                [0x80, 200, 0, 6, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            phone.send_to(&report, local_b).unwrap();
            assert_eq!(phone.recv(&mut buffer).unwrap(), report.len());
        }
    };
    burst(0..10);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    burst(10..2_000);
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed), before);

    // For people who change the relay; the figure is the machine's as much as ours.
    const ROUNDS: u16 = 400;
    const TOGETHER: u16 = 50;
    let before = time_of(thread);
    for round in 0..ROUNDS {
        for sequence in 0..TOGETHER {
            packet[2..4].copy_from_slice(&(2_000 + round * TOGETHER + sequence).to_be_bytes());
            phone.send_to(&packet, local_a).unwrap();
        }
        (0..TOGETHER).for_each(|_| assert_eq!(phone.recv(&mut buffer).unwrap(), packet.len()));
        // No more than a second may bear.
        std::thread::sleep(Duration::from_millis(5));
    }
    let packets = u64::from(ROUNDS) * u64::from(TOGETHER);
    println!("{} ns of the relay's thread for each packet", (time_of(thread) - before) / packets);

    relay.send(Command::Close { session: SessionId(1) });
    match wait(&relay) {
        Event::Closed { a, b, .. } => {
            assert_eq!((a.packets, a.lost, a.strangers), (4_000 + packets, 0, 4_000));
            assert_eq!((b.packets, b.lost, b.strangers), (2_000, 0, 2_000));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(wake_ups_in(Duration::from_millis(500), thread), 0);
}

fn wait(relay: &Relay) -> Event {
    poll(&mut [PollFd::from_borrowed_fd(relay.as_fd(), PollFlags::IN)], None).unwrap();
    let mut events = Vec::new();
    relay.drain(&mut events);
    events.pop().unwrap()
}

/// The number of this process's thread of a name, once it has given itself that name.
fn thread_named(name: &str) -> u32 {
    let named = |id: &String| {
        std::fs::read_to_string(format!("/proc/self/task/{id}/comm")).is_ok_and(|comm| comm.trim() == name)
    };
    for _ in 0..500 {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let mut ids = tasks.map(|task| task.unwrap().file_name().into_string().unwrap());
        if let Some(id) = ids.find(named) {
            return id.parse().unwrap();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("no thread is named {name}");
}

/// How much processor time a thread has taken, in nanoseconds.
fn time_of(thread: u32) -> u64 {
    let schedstat = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).unwrap();
    schedstat.split_whitespace().next().unwrap().parse().unwrap()
}

/// How often a thread went to sleep meanwhile, and so woke up.
fn wake_ups_in(time: Duration, thread: u32) -> u64 {
    let sleeps = || {
        let status = std::fs::read_to_string(format!("/proc/self/task/{thread}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    // What it was doing when it was asked is done by then.
    std::thread::sleep(Duration::from_millis(50));
    let before = sleeps();
    std::thread::sleep(time);
    sleeps() - before
}
