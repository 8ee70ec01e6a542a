//! Days on which phones, a friend and a provider do whatever comes to their minds. Some things hold all the same.

use std::net::SocketAddr;
use std::time::Duration;

use crate::kit::*;
use denwa::switch::Input;

const TOWN: &str = "echo = 114\npeer.tokyo = sip:203.0.113.9\npeer.tokyo.prefix = 8023\npeer.tokyo.user = link\n\
    peer.tokyo.password = shared-secret\npeer.tokyo.hop = yes\npeer.tokyo.max-calls = 50\n\
    trunk.isp = sip:0312345678@203.0.113.20\ntrunk.isp.password = pstn-secret\ntrunk.isp.numbers = 101 102\n\
    trunk.isp.max-calls = 50\ntrunk.isp.max-calls-extension = 50\ntrunk.isp.max-calls-hour = 9000\n\
    trunk.isp.max-minutes-day = 9000\ntrunk.two = sip:u@203.0.113.21\nroute.0 = trunk.isp trunk.two\n\
    ext.101.no-answer = 20s 102\n";

/// How many days are played, and how much happens on each.
const DAYS: u64 = 1_500;
const DEEDS: usize = 60;

fn far() -> [SocketAddr; 3] {
    ["203.0.113.9:5060", "203.0.113.20:5060", "203.0.113.21:5060"].map(|at| at.parse().unwrap())
}

/// By which tag somebody answers.
fn tag(who: SocketAddr) -> String {
    format!("tag-of-{}", who.ip().to_string().rsplit('.').next().unwrap())
}

struct Day {
    world: World,
    seed: u64,
    serial: u32,
    /// Requests of denwa that may still be answered.
    open: Vec<(SocketAddr, String)>,
    /// INVITEs that the others got, and 2xx that callers got.
    invites: Vec<(SocketAddr, String)>,
    answers: Vec<(SocketAddr, String)>,
    /// Requests that were proved to the others, and calls that were answered there, for a phone here.
    proved: u32,
    talked: u32,
    /// Phones that were told that somebody has answered whom they have named.
    given: u32,
}

impl Day {
    fn roll(&mut self, sides: usize) -> usize {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed >> 11) as usize % sides
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() { None } else { Some(from[self.roll(from.len())].clone()) }
    }

    /// Looks at what was sent.
    fn see(&mut self, sent: Sent) {
        for (to, message) in sent {
            let is_far = far().contains(&to);
            let is_phone = [101, 102].map(World::at).contains(&to);
            assert!(is_far || is_phone, "to a stranger: {to} {message}");
            assert!(!message.contains("secret"), "a password: {message}");
            let head = message.split("\r\n\r\n").next().unwrap();
            let is_request = status(&message) == 0;
            if is_far && is_request {
                assert_eq!(count(head, "Via"), 1, "{message}");
                assert_eq!(count(head, "Record-Route"), 0, "{message}");
                assert!(!head.contains("198.51.100."), "where a phone is: {message}");
                assert!(!head.contains("realm=\"pbx.test\""), "a phone's proof: {message}");
                assert!(!message.starts_with("REFER"), "what denwa does itself: {message}");
                self.proved += u32::from(head.contains("uthorization: Digest"));
            }
            if is_phone {
                self.given += u32::from(message.starts_with("NOTIFY") && message.contains("SIP/2.0 200 OK"));
                assert!(!head.contains("isp.example"), "another's challenge: {message}");
                assert!(!head.contains("203.0.113."), "where another exchange is: {message}");
            }
            match message.split(' ').next().unwrap() {
                "ACK" => {}
                "INVITE" => {
                    self.invites.push((to, message.clone()));
                    self.open.push((to, message));
                }
                "SIP/2.0" if status(&message) == 200 && header(&message, "CSeq").ends_with("INVITE") => {
                    self.talked += u32::from(is_phone && !header(&message, "To").contains("sip:10"));
                    self.answers.push((to, message));
                }
                "SIP/2.0" => {}
                _ => self.open.push((to, message)),
            }
        }
    }

    fn say(&mut self, from: SocketAddr, text: &str) {
        let sent = self.world.say(from, text);
        self.see(sent);
    }

    fn answer_something(&mut self) {
        let open = std::mem::take(&mut self.open);
        let Some((who, request)) = self.pick(&open) else { return };
        self.open = open;
        let is_invite = request.starts_with("INVITE");
        let choices: &[u16] = match is_invite {
            true => &[100, 180, 183, 200, 200, 200, 401, 407, 404, 486, 503, 302, 408],
            false => &[200, 200, 200, 401, 407, 423, 481, 500, 100],
        };
        let status = self.pick(choices).unwrap();
        let tag = format!("{}{}", ["", "fork"][self.roll(2)], tag(who));
        let nonce = self.roll(1_000);
        let stale = ["", ", stale=true"][self.roll(2)];
        let challenge =
            format!(": Digest realm=\"isp.example\", nonce=\"n{nonce}\", qop=\"auth\"{stale}\r\n");
        let contact = format!("Contact: <sip:x@{who}>\r\n");
        let more = match status {
            401 => format!("WWW-Authenticate{challenge}"),
            407 => format!("Proxy-Authenticate{challenge}"),
            423 => "Min-Expires: 900\r\n".into(),
            503 => "Retry-After: 30\r\n".into(),
            302 => "Contact: <sip:102@pbx.test>\r\n".into(),
            180..300 => contact,
            _ => String::new(),
        };
        let body = if is_invite && matches!(status, 183 | 200) { sdp(who, 7_000) } else { String::new() };
        // A challenge of a phone is passed to the caller; that is another story.
        if matches!(status, 401 | 407) && !far().contains(&who) {
            return;
        }
        let text = answer(&request, status, &tag, &more, &body);
        self.say(who, &text);
    }

    /// Whoever was called last answers.
    fn answer_the_last(&mut self) {
        if let Some((who, invite)) = self.invites.last().cloned() {
            let contact = format!("Contact: <sip:x@{who}>\r\n");
            self.say(who, &answer(&invite, 200, &tag(who), &contact, &sdp(who, 7_000)));
        }
    }

    /// A REFER names somebody, or the other side of a call.
    fn referring(&mut self, request: String) -> String {
        let number = ["102", "101", "114", "8023555", "0451234567", "nobody"][self.roll(6)];
        let answers = self.answers.clone();
        let replaced = self.pick(&answers).filter(|_| self.roll(2) == 0);
        let replaces = replaced.map_or(String::new(), |(_, ok)| {
            let tag = |name| header(&ok, name).split(";tag=").nth(1).unwrap_or_default();
            let (to, from) = (tag("To"), tag("From"));
            format!("?Replaces={}%3Bto-tag%3D{to}%3Bfrom-tag%3D{from}", header(&ok, "Call-ID"))
        });
        let named = format!("Refer-To: <sip:{number}@pbx.test{replaces}>\r\nMax-Forwards");
        if request.starts_with("REFER") { request.replacen("Max-Forwards", &named, 1) } else { request }
    }

    fn deed(&mut self) {
        match self.roll(14) {
            0 | 1 => {
                let phone = [101, 102][self.roll(2)];
                let number =
                    ["0451234567", "8023555", "102", "101", "114", "0901", "1860312345678"][self.roll(7)];
                let (sent, _) = self.world.dial(phone, number);
                self.see(sent);
            }
            2 => {
                self.serial += 1;
                let (from, number) =
                    [(far()[0], "101"), (far()[0], "08023777"), (far()[2], "x")][self.roll(3)];
                let request = super::peers::invite(from, number, "555", &format!("in{}", self.serial));
                let sent = self.world.say(from, &request);
                let challenge = sent.iter().find(|(_, m)| status(m) == 407).map(|(_, m)| m.clone());
                self.see(sent);
                if let Some(challenge) = challenge {
                    self.say(from, &prove(&request, &challenge, "link", "shared-secret"));
                }
            }
            3..8 => self.answer_something(),
            8 | 9 => {
                let answers = self.answers.clone();
                let Some((who, ok)) = self.pick(&answers) else { return };
                let (method, cseq) =
                    [("ACK", cseq(&ok)), ("BYE", 8_000), ("INFO", 7_000), ("REFER", 7_500)][self.roll(4)];
                let request = in_dialog(&ok, method, cseq, who);
                let request = self.referring(request);
                self.say(who, &request);
                if method == "REFER" && self.roll(2) == 0 {
                    self.answer_the_last();
                }
            }
            10 => {
                let invites = self.invites.clone();
                let Some((who, invite)) = self.pick(&invites) else { return };
                let method = ["BYE", "INFO", "UPDATE", "REFER"][self.roll(4)];
                let cseq = 1 + self.roll(50) as u32;
                let request = back_in_dialog(&invite, &tag(who), method, cseq, who);
                let request = self.referring(request);
                self.say(who, &request);
                if method == "REFER" && self.roll(2) == 0 {
                    self.answer_the_last();
                }
            }
            11 | 12 => {
                let time = Duration::from_millis([20, 600, 1_100, 5_000, 21_000, 40_000][self.roll(6)]);
                let sent = self.world.wait(time);
                self.see(sent);
            }
            _ if self.roll(6) == 0 => {
                let sent = self.world.restart();
                self.see(sent);
            }
            _ => {}
        }
    }
}

#[test]
fn whatever_comes_nobody_is_told_what_is_not_his_business_and_nothing_is_left() {
    let (mut proved, mut talked, mut given) = (0, 0, 0);
    for seed in 1..=DAYS {
        let (mut world, sent) = World::new(TOWN, &[101, 102]);
        world.alive = far().to_vec();
        let mut day = Day {
            world,
            seed: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            serial: 0,
            open: Vec::new(),
            invites: Vec::new(),
            answers: Vec::new(),
            proved: 0,
            talked: 0,
            given: 0,
        };
        day.see(sent);
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            (0..DEEDS).for_each(|_| day.deed());
            let sent = day.world.input(Input::HangUp("the day is over"));
            day.see(sent);
            let sent = day.world.wait(Duration::from_secs(400));
            day.see(sent);
            day.world.is_at_rest();
        }));
        if let Err(why) = played {
            eprintln!("on day {seed}");
            std::panic::resume_unwind(why);
        }
        (proved, talked, given) = (proved + day.proved, talked + day.talked, given + day.given);
    }
    let happened = format!("days on which little happens: {proved} {talked} {given}");
    assert!(proved > 3_000 && talked > 1_000 && given > 100, "{happened}");
}
