//! A name server on the loopback, by UDP and TCP at the same port, which says what a test wants.

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use smol::Async;
use smol::future::or;
use smol::io::{AsyncReadExt, AsyncWriteExt};

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    pub(super) name: String,
    /// As in a zone: `A`, `SRV`.
    pub(super) kind: String,
    pub(super) is_tcp: bool,
    pub(super) has_edns: bool,
    /// Where it comes from, by UDP.
    pub(super) client: Option<SocketAddr>,
    /// The whole question.
    octets: Vec<u8>,
}

/// What is done about it: messages to send, after their lengths by TCP. None is silence.
pub(super) type Script<'a> = dyn Fn(&Asked) -> Vec<Vec<u8>> + 'a;

/// A server.
pub(super) struct Server<'a> {
    udp: Async<UdpSocket>,
    tcp: Async<TcpListener>,
    script: Box<Script<'a>>,
    /// All that was asked, in its order.
    pub(super) asked: RefCell<Vec<Asked>>,
}

impl<'a> Server<'a> {
    pub(super) fn new(script: impl Fn(&Asked) -> Vec<Vec<u8>> + 'a) -> Server<'a> {
        // Somebody else's TCP port may have the number of the UDP port.
        let both = || {
            let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            Some((TcpListener::bind(udp.local_addr().unwrap()).ok()?, udp))
        };
        let (tcp, udp) = std::iter::repeat_with(both).find_map(|both| both).unwrap();
        Server {
            udp: Async::new(udp).unwrap(),
            tcp: Async::new(tcp).unwrap(),
            script: Box::new(script),
            asked: RefCell::default(),
        }
    }

    /// One that answers from a zone.
    pub(super) fn of(zone: &'a str) -> Server<'a> {
        Server::new(move |asked| vec![asked.answer(zone)])
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.udp.get_ref().local_addr().unwrap()
    }

    /// What was asked, as `NAME KIND` each.
    pub(super) fn heard(&self) -> Vec<String> {
        let mut heard: Vec<String> =
            self.asked.borrow().iter().map(|asked| format!("{} {}", asked.name, asked.kind)).collect();
        heard.sort();
        heard
    }

    /// Serves for ever.
    pub(super) async fn run<T>(&self) -> T {
        or(self.run_udp(), self.run_tcp()).await
    }

    async fn run_udp<T>(&self) -> T {
        let mut datagram = [0; 1024];
        loop {
            let (len, client) = self.udp.recv_from(&mut datagram).await.unwrap();
            for message in self.say(&datagram[..len], Some(client)) {
                let _ = self.udp.send_to(&message, client).await;
            }
        }
    }

    async fn run_tcp<T>(&self) -> T {
        loop {
            let (mut stream, _) = self.tcp.accept().await.unwrap();
            let mut length = [0; 2];
            stream.read_exact(&mut length).await.unwrap();
            let mut question = vec![0; u16::from_be_bytes(length).into()];
            stream.read_exact(&mut question).await.unwrap();
            for message in self.say(&question, None) {
                stream.write_all(&message).await.unwrap();
            }
        }
    }

    fn say(&self, question: &[u8], client: Option<SocketAddr>) -> Vec<Vec<u8>> {
        let asked = Asked::read(question, client);
        let said = (self.script)(&asked);
        self.asked.borrow_mut().push(asked);
        said
    }
}

impl Asked {
    fn read(question: &[u8], client: Option<SocketAddr>) -> Asked {
        let mut labels: Vec<String> = Vec::new();
        let mut at = 12;
        while question[at] != 0 {
            let end = at + 1 + usize::from(question[at]);
            labels.push(String::from_utf8(question[at + 1..end].to_vec()).unwrap());
            at = end;
        }
        let kind = u16::from_be_bytes([question[at + 1], question[at + 2]]);
        Asked {
            name: labels.join("."),
            kind: KINDS.iter().find(|(_, number)| *number == kind).unwrap().0.into(),
            is_tcp: client.is_none(),
            client,
            has_edns: question[11] == 1,
            octets: question.to_vec(),
        }
    }

    /// An answer from a zone, in which each line is a record: `NAME TTL KIND DATA`. `!NAME` is a name that there
    /// is not, and what no line is about has no records, for 60 s.
    pub(super) fn answer(&self, zone: &str) -> Vec<u8> {
        let lines = zone.lines().map(str::trim).filter(|line| !line.is_empty());
        let records: Vec<Vec<u8>> = lines
            .clone()
            .filter(|line| !line.starts_with('!'))
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|words| self.is_about(words, zone))
            .map(|words| record(&words))
            .collect();
        let is_missing = lines.clone().any(|line| line == format!("!{}", self.name));
        let soa = record(&["example", "60", "SOA", ""]);
        match (records.is_empty(), is_missing) {
            (true, true) => self.message(0x8183, &[], &[soa]),
            (true, false) => self.message(0x8180, &[], &[soa]),
            _ => self.message(0x8180, &records, &[]),
        }
    }

    /// Whether a record is of the name and kind, or an alias on the way there; the server follows as long as
    /// it knows more.
    fn is_about(&self, words: &[&str], zone: &str) -> bool {
        let mut name = self.name.clone();
        for _ in 0..20 {
            if words[0] == name && (words[2] == self.kind || words[2] == "CNAME") {
                return true;
            }
            let alias = zone.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            let alias =
                alias.filter(|words| words.len() > 3).find(|words| words[0] == name && words[2] == "CNAME");
            match alias {
                Some(alias) => name = alias[3].to_owned(),
                None => return false,
            }
        }
        false
    }

    /// A message with these flags and sections, and with the number and the question of this one.
    pub(super) fn message(&self, flags: u16, answer: &[Vec<u8>], authority: &[Vec<u8>]) -> Vec<u8> {
        let end = self.octets.len() - if self.has_edns { 11 } else { 0 };
        let mut message = self.octets[..2].to_vec();
        let counts = [flags, 1, answer.len() as u16, authority.len() as u16, 0];
        message.extend(counts.iter().flat_map(|number| number.to_be_bytes()));
        message.extend(&self.octets[12..end]);
        message.extend(answer.iter().chain(authority).flatten());
        message
    }
}

const KINDS: [(&str, u16); 6] =
    [("A", 1), ("CNAME", 5), ("SOA", 6), ("AAAA", 28), ("SRV", 33), ("NAPTR", 35)];

/// A record, of the words of its line.
pub(super) fn record(words: &[&str]) -> Vec<u8> {
    let number = |index: usize| words[index].parse::<u16>().unwrap().to_be_bytes().to_vec();
    let string = |text: &str| [vec![text.len() as u8], text.into()].concat();
    let data = match words[2] {
        "A" => words[3].parse::<std::net::Ipv4Addr>().unwrap().octets().to_vec(),
        "AAAA" => words[3].parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec(),
        "CNAME" => name(words[3]),
        "SOA" => [name("ns.example"), name("root.example"), [60_u32.to_be_bytes(); 5].concat()].concat(),
        "SRV" => [number(3), number(4), number(5), name(words[6])].concat(),
        "NAPTR" => {
            [number(3), number(4), string(words[5]), string(words[6]), string(""), name(words[7])].concat()
        }
        other => panic!("{other}"),
    };
    let kind = KINDS.iter().find(|(kind, _)| *kind == words[2]).unwrap().1;
    let seconds: u32 = words[1].parse().unwrap();
    let header =
        [&kind.to_be_bytes()[..], &[0, 1], &seconds.to_be_bytes(), &(data.len() as u16).to_be_bytes()];
    [name(words[0]), header.concat(), data].concat()
}

/// A name on the wire.
pub(super) fn name(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    let mut octets: Vec<u8> =
        labels.flat_map(|label| [vec![label.len() as u8], label.into()].concat()).collect();
    octets.push(0);
    octets
}

/// A message after its length, as by TCP.
pub(super) fn framed(message: Vec<u8>) -> Vec<u8> {
    [(message.len() as u16).to_be_bytes().to_vec(), message].concat()
}
