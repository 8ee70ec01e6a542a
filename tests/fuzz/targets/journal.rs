//! A journal, as another process or nobody has left it: whatever is in it, it is read, an exchange goes on
//! with it, serves, ends what it has to end, and leaves a journal from which the next one is the same.

use denwa::config::Config;
use denwa::journal::{Clocks, State, VERSION, backup};
use denwa::media;
use denwa::switch::{Flow, Input, Instant, Output, StreamId, Switch, Transport};

use super::cost;

/// Where an exchange listens that has these extensions.
const CONFIG: &str = "ext.101 = a-long-password\next.102 = another-password\next.103 = a-third-password\n\
                      group.200 = 101 102\necho = 114\nlisten = udp:5060 tcp:5060\n";
const WALL: u64 = 1_795_000_000_000;
/// Octets before the first record: what a journal is known by, and its version.
const HEADER: usize = 12;
/// Before each record: its length, and its checksum.
const PREFIX: usize = 6;
/// More than any transaction lives, in milliseconds.
const SETTLED: u64 = 200_000;
/// How often an exchange may want to be woken in that time, for each 16 octets that it was restored from: a
/// call takes more of them, and wants less.
const WAKES: usize = 40;

/// A file.
pub fn run(bytes: &[u8]) {
    cost::bounded(bytes.len(), || drop(backup::replay(bytes)));
    let file = repaired(bytes);
    cost::bounded(file.len(), || drop(backup::replay(&file)));
    let Ok((end, mut state)) = backup::replay(&file) else { return };
    assert!(end <= file.len());
    // The next process.
    let clocks = state.clocks(WALL);
    // No clock of ours goes on for thousands of years; moments are written as they are.
    if clocks.now.0 > 1 << 50 {
        return;
    }
    state.resume(clocks);
    let mut exchange = Exchange::restore(state, clocks);
    exchange.serve(&file);
    let first = exchange.left();
    // And the one after it, which has nothing to end any more.
    let mut state = first.clone();
    let clocks = Clocks { now: exchange.now, wall: clocks.wall + (exchange.now.0 - clocks.now.0) };
    state.resume(clocks);
    let mut next = Exchange::restore(state.clone(), clocks);
    next.drain();
    assert!(same(&next.left(), &state), "{:#?}\n{state:#?}", next.left());
}

/// The same with checksums that are right, which a fuzzer does not find, as far as lengths are.
fn repaired(bytes: &[u8]) -> Vec<u8> {
    let mut file = bytes.to_vec();
    if file.len() >= HEADER {
        file[..8].copy_from_slice(b"denwa\xe9\r\n");
        let version = u32::from(file[8]) % VERSION + 1;
        file[8..HEADER].copy_from_slice(&version.to_le_bytes());
    }
    let mut at = HEADER;
    while let Some(prefix) = file.get(at..at + PREFIX) {
        let length = usize::from(u16::from_le_bytes([prefix[0], prefix[1]]));
        let begin = at + PREFIX;
        let Some(payload) = file.get(begin..begin + length) else { break };
        let checksum = crc32fast::hash(payload).to_le_bytes();
        file[at + 2..begin].copy_from_slice(&checksum);
        at = begin + length;
    }
    file
}

/// Whether two say the same of what survives; what the clocks say is not meant.
fn same(one: &State, two: &State) -> bool {
    (&one.secret, &one.bindings, &one.calls, &one.over, &one.locks)
        == (&two.secret, &two.bindings, &two.calls, &two.over, &two.locks)
        && (&one.invites, one.numbered, &one.used, &one.bans)
            == (&two.invites, two.numbered, &two.used, &two.bans)
}

struct Exchange {
    switch: Switch,
    now: Instant,
    /// What was put on record.
    journal: State,
}

impl Exchange {
    fn restore(state: State, clocks: Clocks) -> Exchange {
        let config = Config::parse("denwa.conf", CONFIG.as_bytes()).expect("it is right");
        let switch = Switch::restore(config, [9; 32], state.clone(), clocks, &[]);
        Exchange { switch, now: clocks.now, journal: state }
    }

    fn handle(&mut self, input: Input<'_>) {
        self.switch.handle(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.switch.poll() {
            match output {
                Output::Record(record) => self.journal.apply(record),
                Output::Media(media::Command::Close { session }) => {
                    let (a, b) = Default::default();
                    self.switch.handle(self.now, Input::Media(media::Event::Closed { session, a, b }));
                }
                Output::Media(_)
                | Output::Send(..)
                | Output::Close(_)
                | Output::Locate { .. }
                | Output::Connect { .. }
                | Output::Event(_) => {}
            }
        }
    }

    /// Serves until nothing is under way.
    fn serve(&mut self, file: &[u8]) {
        self.drain();
        let flow = Flow {
            transport: Transport::Udp,
            local: "127.0.0.1:5060".parse().unwrap(),
            remote: "127.0.0.1:40000".parse().unwrap(),
            stream: StreamId(0),
        };
        self.handle(Input::Clock(WALL));
        for bytes in [
            &b"OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:40000;branch=z9hG4bK1\r\n\
            From: <sip:101@h>;tag=1\r\nTo: <sip:h>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n"[..],
            file,
        ] {
            self.handle(Input::Packet { flow, bytes });
        }
        let end = Instant(self.now.0 + SETTLED);
        let mut wakes = 0;
        while let Some(due) = self.switch.deadline().filter(|due| *due < end) {
            self.now = self.now.max(due);
            self.handle(Input::Tick);
            wakes += 1;
            assert!(wakes <= WAKES * (file.len() / 16 + 10), "it does not come to rest");
        }
        self.now = end;
        self.handle(Input::Tick);
    }

    /// What the next one finds: a snapshot, which says what the records have said.
    fn left(&self) -> State {
        let mut state = State::default();
        self.switch.snapshot(&mut |record| state.apply(record.clone()));
        state
    }
}
