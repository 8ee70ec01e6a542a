//! People go on talking: the real program is killed or stopped in the middle of calls, and started again.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../credentials/mod.rs"]
mod credentials;
#[path = "../folder/mod.rs"]
mod folder;
mod phone;
#[path = "../control/program.rs"]
#[allow(dead_code, reason = "no test needs all that can be asked of the program")]
mod program;
#[path = "../said/mod.rs"]
mod said;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Pid;
use rustix::time::{ClockId, clock_gettime};

use phone::{Dialog, Phone, speak};
use program::{Program, SOON};

/// How long a call may be silent, from the start of the process that goes on with it.
const GAP: Duration = Duration::from_millis(300);

/// No phone is asked whether it is there.
const QUIET: &str = "keep-alive = 0s";

/// A call between two phones.
struct Talk {
    caller: Dialog,
    callee: Dialog,
    /// Where each of them sends.
    relay: [SocketAddr; 2],
}

/// Calls, and is answered.
fn talk(caller: &mut Phone, callee: &mut Phone, number: &str) -> Talk {
    let mut dialog = caller.dial(number);
    let invite = callee.expect("INVITE ");
    let answer = callee.accepts(&invite);
    let here = caller.is_answered(&mut dialog);
    callee.expect("ACK ");
    Talk { caller: dialog, callee: answer.0, relay: [here, answer.1] }
}

/// Both speak until each hears what the other says from now on. It comes from where each of them sends to.
fn both_hear(one: &Phone, two: &Phone, relay: [SocketAddr; 2]) {
    static SAID: AtomicU16 = AtomicU16::new(0);
    let first = SAID.load(Ordering::Relaxed);
    let until = Instant::now() + SOON;
    let mut heard = [false; 2];
    while heard != [true; 2] {
        assert!(Instant::now() < until, "no sound: {heard:?}");
        let number = SAID.fetch_add(1, Ordering::Relaxed);
        one.speaks(relay[0], 1, number);
        two.speaks(relay[1], 2, number);
        for (at, (phone, other)) in [(one, 2), (two, 1)].into_iter().enumerate() {
            for (from, ssrc, number) in phone.listens() {
                assert_eq!((from, ssrc), (relay[at], other));
                heard[at] |= number >= first;
            }
        }
    }
}

/// How long there has been a process; that is told in hundredths of a second.
fn age(process: Pid) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).unwrap();
    // After the name, which is the second of them (proc_pid_stat(5)).
    let start: u64 = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap();
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32).saturating_sub(Duration::from_millis(start * 10))
}

/// Kills the process that serves, and waits until both hear each other again, on the same ports.
fn crash(program: &Program, one: &Phone, two: &Phone, relay: [SocketAddr; 2]) {
    let killed = Instant::now();
    program.crash();
    both_hear(one, two, relay);
    let (gap, age) = (killed.elapsed(), age(program.exchange()));
    println!("both hear again {gap:?} after the kill, {age:?} after the start");
    assert!(age <= GAP, "{age:?} after the start");
    program.expect(" runs ");
}

/// Becomes true when it is dropped, whatever happens.
struct AtEnd<'a>(&'a AtomicBool);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn after_kill_9_they_hear_each_other_and_hold_and_hang_up() {
    let program = Program::start(QUIET);
    let (mut one, mut two) = (Phone::udp("101", &program), Phone::udp("102", &program));
    one.register();
    two.register();
    let Talk { mut caller, mut callee, relay } = talk(&mut one, &mut two, "102");
    both_hear(&one, &two, relay);
    crash(&program, &one, &two, relay);
    one.changes(&mut caller, "sendonly", &mut two, "recvonly");
    // What was agreed on after one crash is there after the next.
    crash(&program, &one, &two, relay);
    two.changes(&mut callee, "sendrecv", &mut one, "sendrecv");
    both_hear(&one, &two, relay);
    two.hangs_up_to(&mut callee, &mut one);
    program.expect("call 1: 101 → 102 ended");
    // It is over for good.
    program.crash();
    program.expect(" runs ");
    assert_eq!(program.json("calls").as_array().map(Vec::len), Some(0));
}

#[test]
fn a_phone_on_tcp_that_comes_back_has_its_call() {
    let program = Program::start(QUIET);
    let (mut one, mut two) = (Phone::udp("101", &program), Phone::tcp("102", &program));
    one.register();
    two.register();
    for hangs_up in ["caller", "callee"] {
        let Talk { mut caller, mut callee, relay } = talk(&mut one, &mut two, "102");
        both_hear(&one, &two, relay);
        crash(&program, &one, &two, relay);
        two.reconnect();
        two.register();
        match hangs_up {
            "caller" => one.hangs_up_to(&mut caller, &mut two),
            _ => two.hangs_up_to(&mut callee, &mut one),
        }
    }
}

#[test]
fn a_phone_on_tcp_that_calls_before_it_registers_again_can_be_called() {
    let program = Program::start(QUIET);
    let (mut one, mut two) = (Phone::udp("101", &program), Phone::tcp("102", &program));
    one.register();
    two.register();
    program.crash();
    program.expect(" runs ");
    two.reconnect();
    let mut echo = two.dial("114");
    two.is_answered(&mut echo);
    two.hangs_up(&mut echo);
    let Talk { mut caller, relay, .. } = talk(&mut one, &mut two, "102");
    both_hear(&one, &two, relay);
    one.hangs_up_to(&mut caller, &mut two);
    // Nothing has happened since, and time passes all the same.
    program.says("ban 198.51.100.7 1s");
    thread::sleep(Duration::from_millis(1_100));
    assert_eq!(program.json("bans").as_array().map(Vec::len), Some(0));
}

#[test]
fn a_stop_and_a_start_keep_the_call() {
    let mut program = Program::start(QUIET);
    let (mut one, mut two) = (Phone::udp("101", &program), Phone::udp("102", &program));
    one.register();
    two.register();
    let Talk { mut caller, relay, .. } = talk(&mut one, &mut two, "102");
    both_hear(&one, &two, relay);
    program.stop();
    program.start_again();
    both_hear(&one, &two, relay);
    one.hangs_up_to(&mut caller, &mut two);
}

#[test]
fn what_rang_ends_with_cancel_and_503() {
    let program = Program::start(QUIET);
    let (mut one, mut two) = (Phone::udp("101", &program), Phone::udp("102", &program));
    one.register();
    two.register();
    let caller = one.dial("102");
    let invite = two.expect("INVITE ");
    two.answer(&invite, "180 Ringing", "");
    one.expect("SIP/2.0 180");
    program.crash();
    let cancel = two.expect("CANCEL ");
    // At once, not when it is sent again after 500 ms (T1).
    let age = age(program.exchange());
    assert!(age <= GAP, "{age:?} after the start");
    two.answer(&cancel, "200 OK", "");
    two.answer(&invite, "487 Request Terminated", "");
    two.expect("ACK ");
    one.is_refused(&caller, "503");
    // The next one works.
    let Talk { mut caller, relay, .. } = talk(&mut one, &mut two, "102");
    both_hear(&one, &two, relay);
    one.hangs_up_to(&mut caller, &mut two);
}

#[test]
fn what_rings_for_long_at_an_upgrade_ends_with_cancel_and_503_on_its_connections() {
    let program = Program::start(QUIET);
    let (mut one, mut two) = (Phone::tcp("101", &program), Phone::tcp("102", &program));
    one.register();
    two.register();
    let caller = one.dial("102");
    let invite = two.expect("INVITE ");
    two.answer(&invite, "180 Ringing", "");
    one.expect("SIP/2.0 180");
    program.says("upgrade");
    let cancel = two.expect("CANCEL ");
    two.answer(&cancel, "200 OK", "");
    two.answer(&invite, "487 Request Terminated", "");
    one.is_refused(&caller, "503");
}

#[test]
fn what_rang_by_tcp_ends_once_the_phones_are_back() {
    let program = Program::start(QUIET);
    let (mut one, mut two) = (Phone::tcp("101", &program), Phone::tcp("102", &program));
    one.register();
    two.register();
    // The second time the caller's connection is another one before that as well.
    for was_away in [false, true] {
        let caller = one.dial("102");
        let invite = two.expect("INVITE ");
        two.answer(&invite, "180 Ringing", "");
        one.expect("SIP/2.0 180");
        if was_away {
            one.reconnect();
            one.register();
        }
        program.crash();
        program.expect(" runs ");
        two.reconnect();
        two.asks_to_register();
        let cancel = two.expect("CANCEL ");
        two.answer(&cancel, "200 OK", "");
        two.answer(&invite, "487 Request Terminated", "");
        two.expect("ACK ");
        one.reconnect();
        one.asks_to_register();
        one.is_refused(&caller, "503");
    }
    let Talk { mut caller, relay, .. } = talk(&mut one, &mut two, "102");
    both_hear(&one, &two, relay);
    one.hangs_up_to(&mut caller, &mut two);
}

/// As where a network was lost without a word, and the phone is back by another before that is noticed here.
#[test]
fn who_calls_is_answered_on_its_next_connection_however_late_the_first_one_ends() {
    let program = Program::start(QUIET);
    let (mut one, mut two) = (Phone::tcp("101", &program), Phone::tcp("102", &program));
    one.register();
    two.register();
    let mut caller = one.dial("102");
    let invite = two.expect("INVITE ");
    two.answer(&invite, "180 Ringing", "");
    one.expect("SIP/2.0 180");
    let before = one.connect_besides();
    one.register();
    drop(before);
    thread::sleep(Duration::from_millis(200));
    let (_, there) = two.accepts(&invite);
    let here = one.is_answered(&mut caller);
    two.expect("ACK ");
    both_hear(&one, &two, [here, there]);
    one.hangs_up_to(&mut caller, &mut two);
}

#[test]
fn the_echo_test_goes_on() {
    let program = Program::start(QUIET);
    let mut phone = Phone::udp("101", &program);
    let mut dialog = phone.dial("114");
    let relay = phone.is_answered(&mut dialog);
    let echoes = |numbers: std::ops::Range<u16>| {
        let until = Instant::now() + SOON;
        let comes = |number: u16| {
            phone.speaks(relay, 1, number);
            phone.listens().iter().any(|(from, _, heard)| *from == relay && numbers.contains(heard))
        };
        while !numbers.clone().any(comes) {
            assert!(Instant::now() < until, "there is no echo");
        }
    };
    echoes(0..100);
    for round in 1..3 {
        program.crash();
        echoes(round * 100..(round + 1) * 100);
        let age = age(program.exchange());
        assert!(age <= GAP, "{age:?} after the start");
        program.expect(" runs ");
    }
    phone.hangs_up(&mut dialog);
}

#[test]
fn who_spoke_before_is_heard_afterwards_and_nobody_else() {
    let program = Program::start(QUIET);
    let mut one = Phone::udp("101", &program);
    // What it writes is of no use to others, so it is known by its sound; as behind NAT.
    let home = Ipv4Addr::new(127, 0, 0, 2);
    let mut two = Phone::at(home, "102", &program).that_writes(Ipv4Addr::LOCALHOST);
    one.register();
    two.register();
    let Talk { mut caller, relay, .. } = talk(&mut one, &mut two, "102");
    both_hear(&one, &two, relay);
    // The relay tells of it, and then it is on record.
    thread::sleep(Duration::from_millis(200));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = AtEnd(&is_over);
        // From the same house, and from another one; they hope to be first.
        for at in [home, Ipv4Addr::new(127, 0, 0, 3)] {
            let (stranger, is_over) = (UdpSocket::bind((at, 0)).unwrap(), &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    speak(&stranger, relay[1], 666, 666);
                    thread::sleep(Duration::from_micros(500));
                }
            });
        }
        // Each packet of theirs that arrives fails this; so does silence for the one who says nothing.
        program.crash();
        let until = Instant::now() + SOON;
        loop {
            one.speaks(relay[0], 1, 7);
            if !two.listens().is_empty() {
                break;
            }
            assert!(Instant::now() < until, "{} hears nothing", two.mouth());
        }
        both_hear(&one, &two, relay);
        thread::sleep(Duration::from_millis(200));
        both_hear(&one, &two, relay);
    });
    one.hangs_up_to(&mut caller, &mut two);
}
