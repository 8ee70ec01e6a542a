//! What the cloud knows of the machine, asked of a service like EC2's over HTTP.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use denwa::cloud::{Action, MAX_BODY, Metadata, MetadataError, News, Pace, Watch};
use denwa::config::Config;

/// How soon an address is known.
const SOON: Duration = Duration::from_secs(1);

/// A service on loopback, and what it says; without a token it says nothing.
struct Service {
    address: String,
    said: Arc<Mutex<Said>>,
}

#[derive(Default)]
struct Said {
    texts: BTreeMap<&'static str, String>,
    /// How many tokens there were; only the last one holds.
    tokens: u32,
    /// Requests for anything else.
    asked: Vec<String>,
    /// What it says to everybody instead, whole.
    instead: Option<Vec<u8>>,
}

impl Service {
    fn start(texts: &[(&'static str, &str)]) -> Service {
        Service::start_at("127.0.0.1:0", texts)
    }

    fn start_at(place: &str, texts: &[(&'static str, &str)]) -> Service {
        let listener = TcpListener::bind(place).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let said = Arc::new(Mutex::new(Said::default()));
        let service = Service { address, said: said.clone() };
        texts.iter().for_each(|(path, text)| service.say(path, text));
        thread::spawn(move || {
            for socket in listener.incoming() {
                let _ = answer(socket.unwrap(), &said);
            }
        });
        service
    }

    fn say(&self, path: &'static str, text: &str) {
        self.said.lock().unwrap().texts.insert(path, text.to_owned());
    }

    fn unsay(&self, path: &str) {
        self.said.lock().unwrap().texts.remove(path);
    }

    fn metadata(&self) -> Metadata {
        Metadata::new(vec![self.address.clone()])
    }

    fn asked(&self, path: &str) -> usize {
        self.said.lock().unwrap().asked.iter().filter(|asked| *asked == path).count()
    }
}

fn answer(socket: TcpStream, said: &Mutex<Said>) -> std::io::Result<()> {
    let mut lines = BufReader::new(socket.try_clone()?).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let header: Vec<String> = lines.map_while(|line| line.ok().filter(|line| !line.is_empty())).collect();
    let value = |name: &str| {
        let named = |line: &&String| line.to_ascii_lowercase().starts_with(name);
        header.iter().find(named).and_then(|line| line.split_once(": ")).map(|(_, value)| value.to_owned())
    };
    let mut said = said.lock().unwrap();
    if let Some(instead) = said.instead.clone() {
        return (&socket).write_all(&instead);
    }
    let (status, body) = if first.starts_with("PUT /latest/api/token ") {
        assert_eq!(value("x-aws-ec2-metadata-token-ttl-seconds").as_deref(), Some("21600"));
        said.tokens += 1;
        (200, format!("token-{}", said.tokens))
    } else if value("x-aws-ec2-metadata-token") != Some(format!("token-{}", said.tokens)) {
        (401, String::new())
    } else {
        let path = first.strip_prefix("GET /latest/meta-data/").unwrap().strip_suffix(" HTTP/1.1").unwrap();
        said.asked.push(path.to_owned());
        match said.texts.get(path) {
            Some(text) => (200, text.clone()),
            None => (404, "<html>not found</html>".into()),
        }
    };
    write!(
        &socket,
        "HTTP/1.1 {status} x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn config(text: &str) -> Config {
    Config::parse("x", format!("ext.101 = correct-horse\n{text}").as_bytes()).unwrap()
}

fn next(watch: &Watch) -> News {
    let news = watch.news();
    let begin = Instant::now();
    loop {
        match news.try_recv() {
            Ok(news) => return news,
            Err(_) if begin.elapsed() < Duration::from_secs(30) => thread::sleep(Duration::from_millis(5)),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn what_is_there_is_told_and_a_token_is_used_again_as_long_as_it_holds() {
    let service = Service::start(&[("public-ipv4", "203.0.113.5\n")]);
    let mut metadata = service.metadata();
    for _ in 0..3 {
        assert_eq!(metadata.get("public-ipv4"), Ok(Some("203.0.113.5".into())));
        assert_eq!(metadata.get("spot/instance-action"), Ok(None));
    }
    assert_eq!(service.said.lock().unwrap().tokens, 1);
    // One that somebody else had, as after hibernation.
    service.said.lock().unwrap().tokens += 1;
    assert_eq!(metadata.get("public-ipv4"), Ok(Some("203.0.113.5".into())));
    assert_eq!(service.said.lock().unwrap().tokens, 3);
}

#[test]
fn where_one_address_does_not_answer_the_other_one_is_asked() {
    let service = Service::start_at("[::1]:0", &[("public-ipv4", "203.0.113.5")]);
    let mut metadata = Metadata::new(vec!["http://127.0.0.1:1".into(), service.address.clone()]);
    assert!(matches!(metadata.get("public-ipv4"), Err(MetadataError::Unreachable(_))));
    assert_eq!(metadata.get("public-ipv4"), Ok(Some("203.0.113.5".into())));
}

#[test]
fn nonsense_is_an_error_soon() {
    let service = Service::start(&[]);
    let large =
        format!("HTTP/1.1 200 x\r\nContent-Length: {0}\r\n\r\n{1}", MAX_BODY + 1, "x".repeat(MAX_BODY + 1));
    let header = format!("HTTP/1.1 200 x\r\n{}: x\r\n\r\n", "x".repeat(100_000));
    let endless = format!("HTTP/1.1 200 x\r\n{}", "X: y\r\n".repeat(10_000));
    let to_itself = format!("HTTP/1.1 302 x\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", service.address);
    let nonsense: [&[u8]; 9] = [
        b"",
        b"\xff\xfe\x00",
        b"HTTP/1.1 200",
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 x\r\nContent-Length: 20\r\n\r\nevil\r\nX: y\r\n\r\n       ",
        large.as_bytes(),
        header.as_bytes(),
        endless.as_bytes(),
        to_itself.as_bytes(),
    ];
    for instead in nonsense {
        service.said.lock().unwrap().instead = Some(instead.to_vec());
        let begin = Instant::now();
        let error = service.metadata().get("public-ipv4").unwrap_err();
        assert!(!error.to_string().is_empty() && begin.elapsed() < Duration::from_secs(4), "{error}");
    }
}

#[test]
fn who_never_answers_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let held = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        socket.read_exact(&mut [0; 10]).unwrap();
        // An octet at a time, for ever.
        while socket.write_all(b"H").is_ok() {
            thread::sleep(Duration::from_millis(100));
        }
    });
    let begin = Instant::now();
    assert!(Metadata::new(vec![address]).get("public-ipv4").is_err());
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    held.join().unwrap();
}

#[test]
fn the_address_comes_at_once_and_a_notice_within_seconds() {
    let service = Service::start(&[("public-ipv4", "203.0.113.5"), ("instance-life-cycle", "spot")]);
    let watch =
        Watch::start(&config("advertise = auto"), vec![service.address.clone()], Pace::default()).unwrap();
    let address = vec!["203.0.113.5".parse().unwrap()];
    assert_eq!(watch.addresses_within(SOON), Some(address.clone()));
    assert_eq!(next(&watch), News::Addresses(address));
    let notice = "{\"action\": \"stop\", \"time\": \"2020-01-01T00:00:00Z\"}";
    service.say("spot/instance-action", notice);
    assert_eq!(next(&watch), News::Stopping(Action::Stop, Duration::ZERO));
    service.unsay("spot/instance-action");
    assert_eq!(next(&watch), News::Spared);
    assert_eq!(service.asked("public-ipv4"), 1);
}

#[test]
fn another_address_is_found_and_trouble_is_told_once_and_its_end() {
    let service = Service::start(&[("public-ipv4", "203.0.113.5")]);
    let [again, often, seldom, told_after] = [5, 10, 20, 200].map(Duration::from_millis);
    let pace = Pace { often, seldom, again, told_after };
    let endpoints = vec![service.address.clone()];
    let watch = Watch::start(&config("advertise = auto\nspot = off"), endpoints, pace).unwrap();
    for address in ["203.0.113.5", "198.51.100.7"] {
        service.say("public-ipv4", address);
        assert_eq!(next(&watch), News::Addresses(vec![address.parse().unwrap()]));
    }
    let (begin, broken) = (Instant::now(), b"HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n");
    service.said.lock().unwrap().instead = Some(broken.to_vec());
    let News::Trouble(Some(why)) = next(&watch) else { panic!("no trouble") };
    assert!(why.contains("500") && begin.elapsed() >= told_after, "{why} after {:?}", begin.elapsed());
    thread::sleep(told_after * 2);
    service.said.lock().unwrap().instead = None;
    assert_eq!(next(&watch), News::Trouble(None));
}

/// Only what is not there is not: what makes no sense changes nothing.
#[test]
fn nonsense_takes_nothing_back() {
    let service = Service::start(&[
        ("public-ipv4", "<html>"),
        ("instance-life-cycle", "spot"),
        ("spot/instance-action", "{\"action\": \"stop\", \"time\": \"2020-01-01T00:00:00Z\"}"),
    ]);
    let watch =
        Watch::start(&config("advertise = auto"), vec![service.address.clone()], Pace::default()).unwrap();
    assert_eq!(next(&watch), News::Stopping(Action::Stop, Duration::ZERO));
    for wrong in ["", "127.0.0.1", "0.0.0.0", "203.0.113.5\n203.0.113.6"] {
        service.say("public-ipv4", wrong);
        service.say("spot/instance-action", "soon");
        let asked = service.asked("public-ipv4");
        while service.asked("public-ipv4") == asked {
            thread::sleep(Duration::from_millis(20));
        }
    }
    service.say("public-ipv4", "203.0.113.5");
    assert_eq!(next(&watch), News::Addresses(vec!["203.0.113.5".parse().unwrap()]));
}

#[test]
fn nothing_is_asked_that_nobody_wants() {
    let service = Service::start(&[("public-ipv4", "203.0.113.5"), ("instance-life-cycle", "spot")]);
    let endpoints = || vec![service.address.clone()];
    let off = Watch::start(&config("spot = off"), endpoints(), Pace::default()).unwrap();
    assert_eq!(off.addresses_within(SOON), None);
    thread::sleep(Duration::from_millis(200));
    assert!(service.said.lock().unwrap().asked.is_empty());
    // Until another configuration wants it.
    off.reload(&config("advertise = auto\nspot = off"));
    assert_eq!(next(&off), News::Addresses(vec!["203.0.113.5".parse().unwrap()]));
    assert_eq!(service.asked("instance-life-cycle"), 0);
    // Who does not want it any more forgets it, and has to be told again.
    off.reload(&config("spot = off"));
    thread::sleep(Duration::from_secs(6));
    off.reload(&config("advertise = auto\nspot = off"));
    assert_eq!(next(&off), News::Addresses(vec!["203.0.113.5".parse().unwrap()]));

    // Nobody takes away what was not lent.
    service.say("instance-life-cycle", "on-demand");
    let _lasting = Watch::start(&config(""), endpoints(), Pace::default()).unwrap();
    thread::sleep(Duration::from_secs(6));
    assert_eq!((service.asked("instance-life-cycle"), service.asked("spot/instance-action")), (1, 0));
}
