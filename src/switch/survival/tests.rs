//! What an exchange leaves behind, and what the next one makes of it.

use std::time::Duration;

use super::*;
use crate::switch::{Input, Operation, Output, StreamId, Transport};
use crate::time::Instant;

#[test]
fn what_an_exchange_without_bindings_leaves_behind() {
    let mut before = Switch::new(Config::default(), [1; 32]);
    before.handle(Instant(50), Input::Clock(1_790_000_000_000));
    let clocks = Clocks { now: Instant(50), wall: 1_790_000_000_000 };
    assert!(matches!(before.poll(), Some(Output::Record(Record::Clock(told))) if told == clocks));
    let mut records = Vec::new();
    before.snapshot(&mut |record| records.push(record.clone()));
    assert_eq!(records, [Record::Secret(Secret([1; 32])), Record::Clock(clocks), Record::Numbered(0)]);

    let mut state = State::default();
    records.into_iter().for_each(|record| state.apply(record));
    let clocks = Clocks { now: Instant(7), wall: 1_790_000_009_000 };
    state.resume(clocks);
    let mut after = Switch::restore(Config::default(), [2; 32], state, clocks, &[]);
    let mut records = Vec::new();
    after.snapshot(&mut |record| records.push(record.clone()));
    assert_eq!(records, [Record::Secret(Secret([1; 32])), Record::Clock(clocks), Record::Numbered(0)]);
    assert!(after.is_empty() && after.poll().is_none());
    after.handle(Instant(8), Input::HangUp("no call is lost"));
    assert!(!matches!(after.poll(), Some(Output::Event(Event::Notice(_)))));
}

/// A firewall of which its owner knows nothing.
#[test]
fn who_is_never_reached_is_told_once() {
    let told = |packet_from: Option<&str>| {
        let clocks = Clocks { now: Instant(0), wall: 0 };
        let mut switch = Switch::restore(Config::default(), [1; 32], State::default(), clocks, &[]);
        let mut told = 0;
        if let Some(from) = packet_from {
            let (local, remote) = ("192.0.2.1:5060".parse().unwrap(), from.parse().unwrap());
            let flow = Flow { transport: Transport::Udp, local, remote, stream: StreamId(0) };
            switch.handle(Instant(1_000), Input::Packet { flow, bytes: b"x" });
        }
        for minute in 1..100 {
            switch.handle(Instant(minute * 60_000), Input::Tick);
            while let Some(output) = switch.poll() {
                told += u32::from(
                    matches!(output, Output::Event(Event::Notice(text)) if text.contains("security group")),
                );
            }
        }
        told
    };
    assert_eq!((told(None), told(Some("192.168.1.9:5060"))), (1, 1));
    assert_eq!(told(Some("198.51.100.9:5060")), 0);
}

/// What an exchange puts on record while it takes these inputs.
fn recorded(switch: &mut Switch, now: u64, inputs: Vec<Input<'_>>) -> State {
    let mut state = State::default();
    switch.snapshot(&mut |record| state.apply(record.clone()));
    for input in inputs {
        switch.handle(Instant(now), input);
        while let Some(output) = switch.poll() {
            if let Output::Record(record) = output {
                state.apply(record);
            }
        }
    }
    state
}

#[test]
fn who_is_banned_stays_so_and_who_is_heard_again_too() {
    let [one, two] = ["192.0.2.7", "2001:db8:7::1"].map(|address| address.parse().unwrap());
    let ban = |address| Input::Operator(Operation::Ban(address, Duration::from_secs(600)));
    let mut before = Switch::new(Config::default(), [1; 32]);
    let unban = Input::Operator(Operation::Unban(Some(one)));
    let mut state = recorded(&mut before, 50, vec![ban(one), ban(two), unban]);
    let mut snapshot = State::default();
    before.snapshot(&mut |record| snapshot.apply(record.clone()));
    assert_eq!(snapshot.bans, state.bans);

    let clocks = Clocks { now: Instant(200_050), wall: 0 };
    state.resume(clocks);
    let after = Switch::restore(Config::default(), [2; 32], state.clone(), clocks, &[]);
    let bans = after.bans();
    assert_eq!((bans.len(), &*bans[0].source, bans[0].left_s), (1, "2001:db8:7::/64", 400));
    let clocks = Clocks { now: Instant(600_050), wall: 0 };
    state.resume(clocks);
    assert!(Switch::restore(Config::default(), [2; 32], state, clocks, &[]).bans().is_empty());
}

#[test]
fn forms_of_another_version_or_damaged_are_told_of_and_left() {
    for form in [&b""[..], &[2, 0], &[1; 40], &[0xff; 300]] {
        let mut state = State::default();
        state.apply(Record::Call(Kept { id: 7, at: Instant(0), form: form.into() }));
        state.apply(Record::Invite(7, Kept { id: 9, at: Instant(0), form: form.into() }));
        state.apply(Record::Locks(Kept { id: 7, at: Instant(0), form: form.into() }));
        let clocks = Clocks { now: Instant(0), wall: 0 };
        let mut switch = Switch::restore(Config::default(), [2; 32], state, clocks, &[]);
        let outputs: Vec<Output> = std::iter::from_fn(|| switch.poll()).collect();
        let is_gone = |output: &Output| matches!(output, Output::Record(Record::CallGone(7)));
        assert!(outputs.iter().any(is_gone), "{outputs:?}");
        let is_told = |output: &Output| matches!(output, Output::Event(Event::Notice(said)) if said.starts_with("call 7 did not survive"));
        assert!(outputs.iter().any(is_told) && switch.is_empty(), "{outputs:?}");
    }
}
