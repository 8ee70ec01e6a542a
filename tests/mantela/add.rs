//! `denwa peer add` against servers of every kind.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use denwa::config::{Config, Kind};

use super::folder::Folder;

const FILE: &str = "ext.101 = secret-of-101\nlisten = udp:192.0.2.1:5060\npeer.osaka = sip:192.0.2.9\n\
                    peer.osaka.prefix = 806\n\necho = 114\n";

/// What a friend publishes.
fn friend(name: &str, prefix: &str, uri: &str) -> String {
    format!(
        r#"{{"version": "0.1.x", "aboutMe": {{"name": "{name}", "preferredPrefix": {prefix}, "identifier": "tokyo.example",
        "sipUri": ["{uri}"]}}, "extensions": [{{"name": "Bot{name}", "extension": "117", "type": "information"}}],
        "providers": []}}"#
    )
}

fn json(body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into()
}

/// A web server that answers each request by a function of its path.
fn server(answer: impl Fn(&str, &mut TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut piece = [0; 1024];
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut piece) {
                    Ok(0) | Err(_) => break,
                    Ok(count) => request.extend(&piece[..count]),
                }
            }
            let request = String::from_utf8_lossy(&request).into_owned();
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            answer(&path, &mut stream);
        }
    });
    at
}

/// One that always says the same.
fn says(octets: Vec<u8>) -> SocketAddr {
    server(move |_, stream| drop(stream.write_all(&octets)))
}

fn folder() -> Folder {
    let folder = Folder::new();
    fs::write(folder.0.join("denwa.conf"), FILE).unwrap();
    folder
}

fn add(folder: &Folder, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_denwa"));
    command
        .args(["peer", "add"])
        .args(arguments)
        .current_dir(&folder.0)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// What is said where nothing may change.
fn refused(folder: &Folder, arguments: &[&str]) -> String {
    let output = add(folder, arguments);
    let (out, error) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {out}{error}");
    assert_eq!(fs::read_to_string(folder.0.join("denwa.conf")).unwrap(), FILE, "{arguments:?}");
    assert!(!(out + &error).contains(|c: char| c.is_control() && c != '\n'), "{error:?}");
    error
}

#[test]
fn a_friend_is_added() {
    let folder = folder();
    let at = says(json(&friend("Tokyo", r#"["806", "8023"]"#, "sip:pbx.tokyo.example:5070;transport=tcp")));
    let url = format!("http://{at}");
    // Nobody is there to agree.
    assert!(refused(&folder, &[&url, "--private"]).contains("say --yes. Nothing was changed."));
    let output =
        add(&folder, &[&url, "--private", "--yes", "--user", "kyoto", "--password", "correct horse"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let lines = format!(
        "\n# Tokyo\npeer.tokyo            = sip:pbx.tokyo.example:5070;transport=tcp\npeer.tokyo.prefix     = 8023\n\
         peer.tokyo.user       = kyoto\npeer.tokyo.password   = correct horse\n\
         peer.tokyo.mantela    = http://{at}/.well-known/mantela.json\npeer.tokyo.identifier = tokyo.example\n"
    );
    let file = fs::read_to_string(folder.0.join("denwa.conf")).unwrap();
    assert_eq!(file, FILE.replace("806\n", &format!("806\n{lines}")));
    let config = Config::parse("x", file.as_bytes()).unwrap();
    assert!(matches!(&config.neighbours["peer.tokyo"].kind, Kind::Peer(peer) if peer.listed.is_some()));
    for part in [
        "    name        Tokyo\n",
        "    numbers     117 BotTokyo\n",
        "    peer.tokyo.password   = ***\n",
        "Your phones would dial 8023 and a number of theirs.\n",
        "peer.tokyo is in denwa.conf. ",
        "    peer.you = sip:192.0.2.1:5060\n",
        "    peer.you.password = correct horse\n",
    ] {
        assert!(said.contains(part), "{part:?}: {said}");
    }
    // A second time it is in the way.
    let again = add(&folder, &[&url, "--private", "--yes"]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("there is a peer.tokyo already, on line 7"));
    let other = add(&folder, &[&url, "--private", "--yes", "--name", "edo"]);
    let told = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(told.contains("806 meets peer.osaka.prefix = 806, on line 4; 8023 meets"), "{told}");
    assert_eq!(fs::read_to_string(folder.0.join("denwa.conf")).unwrap(), file);
}

#[test]
fn escape_codes_do_nothing() {
    let folder = folder();
    let name = "\\u001b[2J\\u001b]0;owned\\u0007\\n ext.9 = x \\u202e\\u009b6n";
    let at = says(json(&friend(name, "\"8023\"", "sip:pbx.tokyo.example")));
    let output = add(&folder, &[&format!("http://{at}/"), "--private", "--yes", "--name", "tokyo"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let file = fs::read_to_string(folder.0.join("denwa.conf")).unwrap();
    for text in [&said, &file] {
        assert!(!text.contains(|c: char| (c.is_control() && c != '\n') || c == '\u{202e}'), "{text:?}");
    }
    assert!(file.contains("# ?[2J?]0;owned?? ext.9 = x ??6n\n"), "{file}");
    assert!(!Config::parse("x", file.as_bytes()).unwrap().extensions.contains_key("9"));
    // Nor do they in what is wrong.
    let wrong = friend("x", "\"8023\"", "sip:x").replace("\"0.1.x\"", "\"\\u001b[2J\"");
    assert!(
        refused(&folder_of("wrong"), &[&format!("http://{}", says(json(&wrong))), "--private"])
            .contains("?[2J")
    );
    let field = friend("x", "{\"\\u001b[2J\": 1}", "sip:x");
    assert!(
        refused(&folder_of("field"), &[&format!("http://{}", says(json(&field))), "--private"])
            .contains("preferredPrefix")
    );
}

/// Another folder of the same test.
fn folder_of(name: &str) -> Folder {
    let path = std::env::temp_dir().join(format!("denwa-{}-add-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("denwa.conf"), FILE).unwrap();
    Folder(path)
}

#[test]
fn fifty_megabytes_are_not_read() {
    let folder = folder();
    // With a length, and without one.
    for head in ["Content-Length: 52428800\r\n", ""] {
        let at = server(move |_, stream| {
            let _ =
                stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}Connection: close\r\n\r\n[").as_bytes());
            let piece = [b' '; 65_536];
            for _ in 0..800 {
                if stream.write_all(&piece).is_err() {
                    return;
                }
            }
        });
        let told = refused(&folder, &[&format!("http://{at}"), "--private", "--yes"]);
        assert!(told.contains("it is larger than 256 KiB"), "{told}");
    }
}

#[test]
fn what_is_no_document_is_refused() {
    let folder = folder();
    let told =
        |octets: Vec<u8>| refused(&folder, &[&format!("http://{}", says(octets)), "--private", "--yes"]);
    let good = friend("Tokyo", "\"8023\"", "sip:pbx.tokyo.example");
    for (from, to, says) in [
        ("\"Tokyo\"", "5", "its aboutMe.name is wrong"),
        ("[\"sip:pbx.tokyo.example\"]", "\"sip:x\"", "its aboutMe.sipUri is wrong"),
        ("\"8023\"", "{}", "its aboutMe.preferredPrefix is wrong"),
        ("\"information\"", "[]", "its extensions[0].type is wrong"),
        ("sip:pbx.tokyo.example", "sip:10.0.0.1", ""),
        ("\"8023\"", "\"110\"", "would take the emergency number 110"),
        ("\"8023\"", "\"8 0\"", "--prefix DIGITS"),
    ] {
        assert!(good.contains(from));
        if !says.is_empty() {
            let said = told(json(&good.replacen(from, to, 1)));
            assert!(said.contains(says) && said.contains("Nothing was changed."), "{said}");
        }
    }
    assert!(
        told(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>".to_vec())
            .contains("a web page is there")
    );
    assert!(told(b"HTTP/1.1 200 OK\r\n\r\nnonsense".to_vec()).contains("it is not JSON"));
    assert!(
        told(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec()).contains("no such document")
    );
    assert!(told(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n".to_vec()).contains("(503)"));
    told(b"\x1b[2J SIP/2.0 200 OK\r\n\r\n".to_vec());
    told(Vec::new());
}

#[test]
fn private_addresses_are_for_those_who_want_them() {
    let folder = folder();
    let at = says(json(&friend("Tokyo", "\"8023\"", "sip:10.0.0.1")));
    for url in
        [format!("http://{at}"), format!("http://localhost:{}", at.port()), "http://169.254.169.254/x".into()]
    {
        let told = refused(&folder, &[&url, "--yes"]);
        assert!(told.contains("private network") && told.contains("--private"), "{told}");
    }
    let output = add(&folder, &[&format!("http://{at}"), "--private", "--yes"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn whoever_redirects_for_ever_is_not_followed() {
    let folder = folder();
    let redirect =
        |to: &str| format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").into_bytes();
    let told =
        |octets: Vec<u8>| refused(&folder, &[&format!("http://{}", says(octets)), "--private", "--yes"]);
    assert!(told(redirect("/round")).contains("more than 3 times"));
    assert!(told(redirect("file:///etc/passwd")).contains("is not an address of the web"));
    assert!(told(redirect("http://user:x@friend.example/")).contains("has a user in it"));
    assert!(
        told(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n".to_vec()).contains("does not say to which")
    );
    // Three times is all right, and the last address is the one that counts.
    let body = json(&friend("Tokyo", "\"8023\"", "sip:pbx.tokyo.example"));
    let at = server(move |path, stream| {
        let step: usize = path.trim_start_matches("/step").parse().unwrap_or(0);
        let _ = match step {
            3 => stream.write_all(&body),
            step => stream.write_all(&redirect(&format!("/step{}", step + 1))),
        };
    });
    let output = add(&folder, &[&format!("http://{at}/m.json"), "--private", "--yes"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let file = fs::read_to_string(folder.0.join("denwa.conf")).unwrap();
    assert!(file.contains(&format!("peer.tokyo.mantela    = http://{at}/step3\n")), "{file}");
}

#[test]
fn whoever_says_nothing_is_not_waited_for_for_ever() {
    let folder = folder();
    let at = server(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        for _ in 0..300 {
            thread::sleep(Duration::from_millis(100));
            if stream.write_all(b" ").is_err() {
                return;
            }
        }
    });
    let begin = Instant::now();
    let told = refused(&folder, &[&format!("http://{at}"), "--private", "--yes"]);
    assert!(told.contains("it cannot be had"), "{told}");
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
}

#[test]
fn https_needs_a_server_that_proves_itself() {
    let folder = folder();
    let told =
        refused(&folder, &[&format!("https://{}", says(b"HTTP/1.1 200 OK\r\n\r\n".to_vec())), "--private"]);
    assert!(told.contains("it cannot be had") || told.contains("ca-certificates"), "{told}");
}

#[test]
fn a_configuration_with_mistakes_is_left_alone() {
    let folder = folder();
    fs::write(folder.0.join("denwa.conf"), format!("{FILE}ekho = 1\n")).unwrap();
    let output = add(&folder, &["http://192.0.2.1", "--yes"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("did you mean `echo`?"));
    let output = add(&folder, &["http://192.0.2.1", "--yes", "--user", "x"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("belong together"));
}
