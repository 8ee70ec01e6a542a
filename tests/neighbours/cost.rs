//! What other exchanges cost; `scripts/bench costs` runs it.

use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::kit::*;

/// Calls of each kind.
const CALLS: u32 = 2_000;

/// How long the processor works for a call, from its INVITE to the end of its BYE, in microseconds; `number` is
/// answered by `callee`, who wants a proof of each request if it `asks`.
fn a_call(world: &mut World, number: &str, callee: std::net::SocketAddr, asks: bool) -> f64 {
    let challenge = "Proxy-Authenticate: Digest realm=\"isp.example\", nonce=\"n\", qop=\"auth\"\r\n";
    let proved = |world: &mut World, sent: Sent, method: &str| {
        let request = one(&sent, callee, method).to_owned();
        match asks {
            true => {
                let sent = world.say(callee, &answer(&request, 407, "t", challenge, ""));
                one(&sent, callee, method).to_owned()
            }
            false => request,
        }
    };
    let mut spent = Duration::ZERO;
    for call in 0..CALLS {
        world.spent = Duration::ZERO;
        let (sent, invite) = world.dial(101, number);
        let rung = proved(world, sent, "INVITE");
        world.say(callee, &answer(&rung, 180, "far", "", ""));
        let contact = format!("Contact: <sip:x@{callee}>\r\n");
        let sent = world.say(callee, &answer(&rung, 200, "far", &contact, &sdp(callee, 7_000)));
        let ok = one(&sent, World::at(101), "SIP/2.0 200").to_owned();
        world.say(World::at(101), &in_dialog(&ok, "ACK", cseq(&invite), World::at(101)));
        let sent = world.say(World::at(101), &in_dialog(&ok, "BYE", cseq(&invite) + 1, World::at(101)));
        let bye = proved(world, sent, "BYE");
        world.say(callee, &answer(&bye, 200, "far", "", ""));
        if call >= CALLS / 10 {
            spent += world.spent;
        }
        world.wait(Duration::from_millis(50));
    }
    spent.as_secs_f64() * 1e6 / f64::from(CALLS - CALLS / 10)
}

#[test]
#[ignore = "measures"]
fn cost_of_a_call_by_a_trunk_beside_one_between_phones() {
    let text = "trunk.isp = sip:u@203.0.113.20\ntrunk.isp.password = p\ntrunk.isp.register = no\nroute.0 = trunk.isp\n\
        trunk.isp.max-calls = 900\ntrunk.isp.max-calls-extension = 900\ntrunk.isp.max-calls-hour = 90000\n\
        trunk.isp.max-minutes-day = 40000\nregister-expires = 60s 7d\next.101.max-calls-hour = 100000\n";
    let provider = "203.0.113.20:5060".parse().unwrap();
    let (mut world, _) = World::new(text, &[101, 102]);
    world.alive = vec![provider, World::at(101), World::at(102)];
    let rounds: Vec<[f64; 3]> = (0..5)
        .map(|_| {
            [
                a_call(&mut world, "102", World::at(102), false),
                a_call(&mut world, "0451234567", provider, false),
                a_call(&mut world, "0451234567", provider, true),
            ]
        })
        .collect();
    let median = |at: usize| {
        let mut all: Vec<f64> = rounds.iter().map(|round| round[at]).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let [phones, trunk, asked] = [median(0), median(1), median(2)];
    println!(
        "a call between phones {phones:.1} µs, by a trunk {trunk:.1} µs, by one that asks twice {asked:.1} µs"
    );
    println!("ratios {:.2} and {:.2}", trunk / phones, asked / phones);
    assert!(asked / phones <= 2.0, "at most twice");
}

/// An exchange with so many peers on one machine, which answer; its memory in KiB and its processor time in seconds,
/// once it has been left alone for a while.
fn idle(peers: usize) -> (u64, f64) {
    let folder = std::env::temp_dir().join(format!("denwa-idle-{}-{peers}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let there = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let _ = socket.send_to(answer(&text, 200, "x", "", "").as_bytes(), from);
        }
    });
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut text = format!(
        "ext.101 = a-long-password\nlisten = udp:127.0.0.1:{port}\nstate = {}\nsandbox = off\nmedia-ports = 40000-40099\n",
        folder.display()
    );
    for n in 0..peers {
        text += &format!("peer.p{n} = sip:{there}\npeer.p{n}.prefix = 9{n:03}\npeer.p{n}.user = u{n}\n");
        text += &format!("peer.p{n}.password = a-long-password\n");
    }
    std::fs::write(folder.join("denwa.conf"), text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_denwa"));
    command.args(["run", "--config"]).arg(folder.join("denwa.conf"));
    let mut keeper: Child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(keeper.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("SIP on ")));
    std::thread::spawn(move || lines.for_each(drop));
    std::thread::sleep(Duration::from_secs(5));
    let id = keeper.id();
    let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    let child: u32 = children.split_whitespace().next().unwrap().parse().unwrap();
    let ticks = || -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap();
        let words: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        words[11].parse::<u64>().unwrap() + words[12].parse::<u64>().unwrap()
    };
    let before = ticks();
    std::thread::sleep(Duration::from_secs(100));
    let seconds = (ticks() - before) as f64 / 100.0;
    let status = std::fs::read_to_string(format!("/proc/{child}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let memory = line.trim().trim_end_matches(" kB").parse().unwrap();
    keeper.kill().unwrap();
    keeper.wait().unwrap();
    let _ = std::fs::remove_dir_all(folder);
    (memory, seconds)
}

#[test]
#[ignore = "measures"]
fn cost_of_a_hundred_peers_that_are_asked_whether_they_are_there() {
    let ((without, quiet), (with, busy)) = (idle(0), idle(100));
    println!(
        "without peers {without} KiB, with a hundred {with} KiB; {quiet:.2} s and {busy:.2} s of processor in 100 s"
    );
    assert!(with.saturating_sub(without) <= 1024, "at most 1 MB more");
    assert!(busy - quiet <= 0.1, "at most a thousandth of the processor");
}
