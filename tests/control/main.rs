//! What an operator sees and does from a terminal, with the real program: `denwa status` and its like.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bad_input;
#[path = "../credentials/mod.rs"]
mod credentials;
#[path = "../folder/mod.rs"]
mod folder;
mod phone;
#[allow(dead_code, reason = "other tests start it again")]
mod program;
#[path = "../said/mod.rs"]
mod said;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::geteuid;

use phone::Phone;
use program::{Program, SOON};

#[test]
fn status_says_how_it_is_and_goes_on_after_a_crash() {
    let mut program = Program::start("");
    let status = program.json("status");
    assert_eq!(status["extensions"], 3);
    assert_eq!(status["registered"], 0);
    assert_eq!(status["restarts"], 0);
    assert_eq!(status["keeper_pid"], program.keeper_pid());
    assert_eq!(status["pid"], program.exchange().as_raw_pid());
    assert_eq!(status["state"], "written");
    assert_eq!(status["listening"][0]["address"], program.at.to_string());
    let advice = status["advice"][0].as_str().unwrap();
    assert!(advice.starts_with("no phone is registered"), "{advice}");

    let mut phone = Phone::new("101", &program);
    phone.register();
    let text = program.says("status");
    assert!(text.contains("1 of 3 registered, 1 phone\n"), "{text}");
    let is_path = |line: &str| line.contains("denwa.conf") || line.contains("state folder");
    assert!(text.lines().all(|line| line.chars().count() <= 80 || is_path(line)), "{text}");
    assert!(!text.contains('\x1b'), "no colours in a pipe");

    // Whoever asks at the moment of a crash is answered by the next exchange.
    program.crash();
    let status = program.json("status");
    assert_eq!((&status["restarts"], &status["registered"]), (&1.into(), &1.into()));
    assert!(program.says("status").contains("it died"));

    program.stop();
    for command in ["status", "phones --json", "calls", "why", "bans", "hangup all", "unban all", "trace"] {
        let (code, said) = program.fails(command);
        assert_eq!(code, 2, "{command}: {said}");
        assert!(said.contains("no exchange is running"), "{command}: {said}");
    }
}

#[test]
fn an_exchange_is_asked_whatever_its_configuration_says_by_now() {
    let mut program = Program::start("");
    let config = program.folder.0.join("denwa.conf");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}ekho = 114\next.104.name = Attic\n")).unwrap();
    let warns = |output: &Output| {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.starts_with(&format!("{} has 2 mistakes", config.display())), "{said}");
        assert!(said.contains("`denwa check` shows"), "{said}");
        said
    };
    // It is not taken, …
    let (code, said) = program.fails("reload");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("ekho"), "{said}");
    // … and all else goes on.
    for command in ["status", "phones", "calls", "why", "bans", "ban 192.0.2.9", "unban 192.0.2.9"] {
        let output = program.run(command);
        assert_eq!(output.status.code(), Some(0), "{command}: {output:?}");
        assert_eq!(warns(&output).lines().count(), 1, "{command}");
    }
    assert_eq!(program.json("status")["extensions"], 3);
    let output = program.run("hangup all");
    assert!(output.stdout == b"no calls\n" && warns(&output).lines().count() == 1, "{output:?}");
    let output = program.run("stop");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    warns(&output);
    program.stop();
    let output = program.run("status");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(warns(&output).contains("no exchange is running"), "{output:?}");
    // A file that cannot be read says nothing of where the exchange is.
    fs::remove_file(&config).unwrap();
    assert_eq!(program.fails("status").0, 1);
}

#[test]
fn a_disk_without_room_is_seen() {
    // No file may be larger than 16 blocks of 512 bytes. Whoever has too much is told, not killed.
    let shell = "trap '' XFSZ; ulimit -f 16; exec \"$0\" run --config \"$1\"";
    let program = Program::start_by(Some(shell), "ext.102.max-contacts = 1");
    assert_eq!(program.json("status")["state"], "written");
    for _ in 0..100 {
        // Each time it is another phone, which takes the place of the one before.
        Phone::new("102", &program).register();
    }
    program.expect("cannot be written");
    let status = program.json("status");
    assert_eq!(status["state"], "unwritable");
    assert!(status["advice"][0].as_str().unwrap().contains("see whether the disk is full"), "{status}");
    assert!(program.says("status").contains("CANNOT"));
    assert!(program.says("why 102").contains("(ext.102.max-contacts)"));
}

#[test]
fn the_socket_is_for_its_owner() {
    let program = Program::start("");
    let socket = fs::symlink_metadata(program.socket()).unwrap();
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
    assert_eq!(socket.uid(), fs::metadata(program.state()).unwrap().uid());
    if !geteuid().is_root() {
        return; // nobody else can be played
    }
    // Whoever has the folder closed in front of it, …
    let stranger = || {
        let mut command = program.command("status");
        command.uid(12_345).gid(12_345);
        command.output().unwrap()
    };
    let refused = stranger();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("only root and the user that the exchange runs as"), "{said}");
    // … and whoever finds it open, is not heard.
    fs::set_permissions(program.state(), fs::Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(program.socket(), fs::Permissions::from_mode(0o666)).unwrap();
    let refused = stranger();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("closed the connection"), "{said}");
    // The user that it runs as may ask.
    let mut command = program.command("status");
    command.uid(socket.uid()).gid(socket.gid());
    assert_eq!(command.output().unwrap().status.code(), Some(0));
}

#[test]
fn phones_and_calls_are_shown_and_calls_can_be_ended() {
    let program = Program::start("keep-alive = 1s");
    let (mut one, mut two) = (Phone::new("101", &program), Phone::new("102", &program));
    one.register();
    two.register();
    one.is_asked_whether_it_is_there();
    let phones = program.json("phones");
    assert_eq!(phones.as_array().unwrap().len(), 3);
    assert_eq!(phones[0]["name"], "Kitchen");
    let phone = &phones[0]["phones"][0];
    assert_eq!(phone["address"], one.socket.local_addr().unwrap().to_string());
    assert_eq!((&phone["alive"], &phone["behind_nat"]), (&"yes".into(), &false.into()));
    assert!(phone["user_agent"].as_str().unwrap().starts_with("a telephone"));
    assert!(phones[2]["phones"].as_array().unwrap().is_empty());
    let text = program.says("phones");
    assert!(text.lines().any(|line| line.starts_with("103") && line.ends_with("not registered")), "{text}");

    assert_eq!(program.says("calls"), "no calls\n");
    let answer = thread::scope(|scope| {
        let answer = scope.spawn(|| one.call("102"));
        let invite = two.hear().unwrap();
        two.answer(&invite, "180 Ringing", "");
        let ringing = loop {
            let calls = program.json("calls");
            if calls[0]["legs"].as_array().is_some_and(|legs| legs.len() == 2) {
                break calls;
            }
        };
        assert_eq!(
            (&ringing[0]["state"], &ringing[0]["talked_s"]),
            (&"ringing".into(), &serde_json::Value::Null)
        );
        two.answer(&invite, "200 OK", &two.offer());
        answer.join().unwrap()
    });
    one.talk(&answer, 50);
    // What was sent may still wait for the relay.
    let begin = Instant::now();
    let calls = loop {
        let calls = program.json("calls");
        let heard = &calls[0]["legs"][0]["streams"][0]["measured"]["packets"];
        if *heard == 50 || begin.elapsed() > SOON {
            break calls;
        }
    };
    assert_eq!((&calls[0]["state"], &calls[0]["answered_by"]), (&"up".into(), &"102".into()));
    let stream = &calls[0]["legs"][0]["streams"][0];
    assert_eq!(stream["codec"], "PCMA");
    assert_eq!(stream["measured"]["source"], one.rtp.local_addr().unwrap().to_string());
    assert_eq!((&stream["measured"]["packets"], &stream["measured"]["lost"]), (&50.into(), &0.into()));
    assert_eq!(calls[0]["legs"][1]["streams"][0]["measured"]["packets"], 0);
    let text = program.says("calls");
    assert!(text.contains("call 1: 101 → 102, up for"), "{text}");

    // Not by a number that is neither, …
    assert_eq!(program.fails("hangup 7").0, 1);
    assert_eq!(program.fails("hangup nobody").0, 1);
    assert!(program.fails("hangup 103").1.contains("no such call"));
    // … but by that of the callee.
    assert_eq!(program.says("hangup 102"), "call 1: 101 → 102 is ended\n");
    for phone in [&one, &two] {
        loop {
            let heard = phone.hear().expect("a BYE comes");
            if heard.starts_with("BYE ") {
                phone.answer(&heard, "200 OK", "");
                break;
            }
        }
    }
    assert_eq!(program.says("calls"), "no calls\n");
    // Who wants all to be ended has what he wants where there is none.
    assert_eq!(program.says("hangup all"), "no calls\n");
    program.expect("the operator ended it");
    assert!(program.says("why 102").contains("the operator ended it"));
}

#[test]
fn why_explains_what_did_not_work() {
    let program = Program::start("domain = pbx.test\next.103.allow = 192.0.2.0/24");
    let phone = |number| Phone::new(number, &program).with_domain("pbx.test");
    let said = program.says("why");
    assert!(said.contains("Nothing was refused"), "{said}");

    // A wrong password, again and again.
    let mut wrong = phone("102").with_password("wrong");
    for _ in 0..3 {
        assert!(wrong.registers().unwrap().starts_with("SIP/2.0 401"));
    }
    // The address instead of the domain: silence.
    let mut lost = Phone::new("101", &program).with_domain("127.0.0.1");
    lost.socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert_eq!(lost.registers(), None);
    // From where it may not.
    assert!(phone("103").registers().unwrap().starts_with("SIP/2.0 401"));
    // Then a scanner goes by.
    for n in 0..600 {
        let mut scanner = Phone::new(["900", "101", "102", "103"][n % 4], &program).with_domain("127.0.0.1");
        scanner.socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        scanner.number = ["9001", "9002", "9003", "9004", "9005"][n % 5];
        assert_eq!(scanner.registers(), None);
    }
    let mut one = phone("101");
    one.register();
    assert!(one.call("999").starts_with("SIP/2.0 404"));
    assert!(one.call("102").starts_with("SIP/2.0 480"));

    let of = |whom: &str| program.json(&format!("why {whom}"));
    let wrong = &of("102")[0];
    assert_eq!(
        (&wrong["what"], &wrong["method"], &wrong["count"]),
        (&"refused".into(), &"REGISTER".into(), &3.into())
    );
    assert_eq!((&wrong["key"], &wrong["reason"]), (&"ext.102".into(), &"wrong password".into()));
    assert!(wrong["advice"].as_str().unwrap().contains("type the password that ext.102 has"));
    let call = &of("102")[1];
    assert_eq!(
        (&call["what"], &call["status"], &call["number"]),
        (&"call_failed".into(), &480.into(), &"101".into())
    );
    let silence = &of("101")[0];
    assert_eq!((&silence["what"], &silence["key"]), (&"not_answered".into(), &"domain, stealth".into()));
    assert!(of("103")[0]["key"] == "ext.103.allow");
    let unknown = of("999");
    assert_eq!((&unknown[0]["reason"], &unknown[0]["number"]), (&"no such number".into(), &"101".into()));
    assert!(of("127.0.0.1").as_array().unwrap().len() >= 4);
    assert!(program.json("why").as_array().unwrap().len() < 64, "the scanner is counted, not repeated");

    let text = program.says("why 102");
    for part in
        ["(3 times since ", "REGISTER refused: wrong password (ext.102)", "call came to nothing (480)"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let status = program.json("status");
    let reasons = status["refused"].as_array().unwrap();
    assert!(reasons.iter().any(|refused| refused["reason"] == "wrong password" && refused["count"] == 3));
}

#[test]
fn a_ban_holds_until_it_is_lifted_and_for_phones_too() {
    let program = Program::start("");
    let mut phone = Phone::new("101", &program);
    phone.register();
    assert_eq!(program.says("bans"), "everybody is heard\n");
    assert_eq!(program.says("ban 127.0.0.1 2h"), "127.0.0.1 is not heard for 2 h\n");
    program.expect("the operator has banned 127.0.0.1");
    phone.socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert_eq!(phone.registers(), None);
    let bans = program.json("bans");
    assert_eq!(
        (&bans[0]["source"], &bans[0]["wrong_passwords"]),
        (&"127.0.0.1".into(), &serde_json::Value::Null)
    );
    assert!(
        program.says("why 127.0.0.1").contains("banned by the operator"),
        "{}",
        program.says("why 127.0.0.1")
    );
    assert_eq!(program.says("unban 127.0.0.1"), "127.0.0.1 is heard again\n");
    phone.socket.set_read_timeout(Some(SOON)).unwrap();
    phone.register();
    let (code, said) = program.fails("unban 127.0.0.1");
    assert!(code == 1 && said.contains("nobody there is banned"), "{said}");
    for wrong in ["ban nobody", "ban 192.0.2.1 10", "ban 192.0.2.1 0s", "ban 192.0.2.1 367d", "unban nobody"]
    {
        assert_eq!(program.fails(wrong).0, 1, "{wrong}");
    }

    // Too many wrong passwords are listed and lifted alike.
    let program = Program::start("ban = 3 10m");
    let mut wrong = Phone::new("101", &program).with_password("wrong");
    for _ in 0..3 {
        wrong.registers().unwrap();
    }
    assert_eq!(program.json("bans")[0]["wrong_passwords"], 3);
    assert_eq!(program.says("unban all"), "127.0.0.1 is heard again\n");
    Phone::new("101", &program).register();
}

#[test]
fn a_trace_shows_messages_and_no_secret() {
    let program = Program::start("");
    let start = |words: &str| {
        let mut child = program.command(words).stdout(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        (child, lines)
    };
    let mut traces = ["trace", "trace 101 --full", "trace 102", "trace --json"].map(start);
    thread::sleep(Duration::from_millis(500));
    let mut one = Phone::new("101", &program);
    one.register();
    let answer = one.call("114");
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    let mut of_call = start("trace call 1");
    thread::sleep(Duration::from_millis(500));
    program.says("hangup all");
    assert!(one.hear().unwrap().starts_with("BYE "));
    thread::sleep(Duration::from_millis(300));

    let mut text = |trace: &mut (std::process::Child, mpsc::Receiver<String>)| {
        trace.0.kill().unwrap();
        trace.0.wait().unwrap();
        trace.1.iter().collect::<Vec<_>>().join("\n")
    };
    let [ladder, full, other, json] = traces.each_mut().map(&mut text);
    for part in [
        "    101? ─▶ denwa  REGISTER sip:denwa  [1 REGISTER ",
        "◀─ denwa  401 Unauthorized  [1 REGISTER ",
        "     101 ─▶ denwa  REGISTER sip:denwa  [2 REGISTER ",
        "     101 ─▶ denwa  INVITE sip:114@denwa  [",
        "     101 ◀─ denwa  200 OK  [",
        "     101 ◀─ denwa  BYE ",
    ] {
        assert!(ladder.contains(part), "{part}\n{ladder}");
    }
    assert_eq!(other, "", "102 has nothing to do with it");
    let call = text(&mut of_call);
    assert!(call.contains("BYE ") && !call.contains("REGISTER"), "{call}");
    for part in [
        "    Authorization: ***",
        "    a=crypto:***",
        "    Contact: <sip:101:***@",
        "m=audio ",
        "WWW-Authenticate",
    ] {
        assert!(full.contains(part), "{part}\n{full}");
    }
    for secret in ["s3cr3t", "c2VjcmV0", "response=\"", phone::PASSWORD] {
        assert!(
            !full.contains(secret) && !ladder.contains(secret) && !json.contains(secret),
            "{secret}\n{full}"
        );
    }
    let first: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!((&first["came"], &first["claims"]), (&true.into(), &"101".into()));
    assert_eq!(program.fails("trace call 99").0, 1);
}

#[test]
fn watch_follows_on_a_terminal_and_gives_it_back() {
    let program = Program::start("");
    let (code, said) = program.fails("watch");
    assert!(code == 1 && said.contains("needs a terminal"), "{said}");
    let denwa = env!("CARGO_BIN_EXE_denwa");
    let config = program.folder.0.join("denwa.conf");
    let inside =
        format!("stty rows 24 cols 80; {denwa} watch --config {}; echo status $?; stty -a", config.display());
    let mut script = Command::new("script");
    script.args(["-qec", &inside, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut script) = script.spawn() else { return }; // there is none to play a terminal with
    let mut keys = script.stdin.take().unwrap();
    let mut output = script.stdout.take().unwrap();
    let reader = thread::spawn(move || {
        let mut all = Vec::new();
        output.read_to_end(&mut all).unwrap();
        String::from_utf8_lossy(&all).into_owned()
    });
    thread::sleep(Duration::from_millis(2_500));
    keys.write_all(b"x").unwrap();
    thread::sleep(Duration::from_millis(500));
    let start = Instant::now();
    keys.write_all(b"q").unwrap();
    let status = script.wait().unwrap();
    assert!(start.elapsed() < SOON);
    let shown = reader.join().unwrap();
    assert!(status.success(), "{shown}");
    let (before, after) = shown.rsplit_once("\x1b[?1049l").expect("the screen is given back");
    assert!(before.contains("\x1b[?1049h") && before.contains("0 of 3 registered"), "{before}");
    assert!(before.matches("\x1b[H").count() >= 3, "it is drawn each second");
    assert!(after.contains("status 0"), "{after}");
    for mode in ["isig icanon ", " echo "] {
        assert!(after.contains(mode), "{mode}: {after}");
    }
}
