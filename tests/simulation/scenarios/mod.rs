//! Exact stories in perfect weather, one promise each.

mod calls;
mod registration;
mod reload;
mod stopping;
mod strangers;
mod talks;
mod trouble;

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use denwa::config::{Config, Extension, Number, Password, Transport};

use crate::digest::Algorithm;
use crate::network::Weather;
use crate::phone::{Action, Call, Forking, Manners, Reaction, Ringing, Spec, Stage};
use crate::sip::Hand;
use crate::town::{Deed, Place, Town};

/// The exchange on IPv4 and on IPv6.
pub const V4: &str = "192.0.2.1:5060";
pub const V6: &str = "[2001:db8::1]:5060";
/// A second address on IPv6, as servers have.
pub const OTHER_V6: &str = "[2001:db8::1:2]:5060";
pub const DOMAIN: &str = "pbx.example.net";

/// A town in perfect weather, with the extensions 101 to 105, the group 600, and the echo test at
/// 114. When the story ends, all calls have to be over or [`Story::close`] ends them, and the laws
/// have had their say; a broken one fails the test with the ladder of all that happened.
pub struct Story(Town);

impl Story {
    pub fn new() -> Story {
        Story::with(|_| {})
    }

    /// The same with another configuration.
    pub fn with(change: impl FnOnce(&mut Config)) -> Story {
        let mut config = Config { domain: Some(DOMAIN.into()), stealth: true, ..Config::default() };
        for n in ["101", "102", "103", "104", "105"] {
            config.extensions.insert(number(n), extension(n));
        }
        config.groups.insert(number("600"), vec![number("102"), number("103")]);
        config.echo = Some(number("114"));
        change(&mut config);
        Story::in_places(config, &places())
    }

    /// The same with an exchange somewhere else.
    pub fn in_places(config: Config, places: &[Place]) -> Story {
        let mut town = Town::new(1, config, Weather::PERFECT, places);
        town.keep_trace();
        Story(town)
    }

    /// A registered phone on IPv4 and UDP.
    pub fn phone(&mut self, number: &str) -> usize {
        self.phone_with(number, |_| {})
    }

    /// The same with other properties.
    pub fn phone_with(&mut self, number: &str, change: impl FnOnce(&mut Spec)) -> usize {
        let id = self.unregistered(number, change);
        self.act(id, Action::Register);
        self.pass(1);
        let until = self.phones[id].registration.until;
        assert!(until.is_some(), "phone {id} could not register\n{}", self.ladder());
        id
    }

    /// A phone that is on, and not registered.
    pub fn unregistered(&mut self, number: &str, change: impl FnOnce(&mut Spec)) -> usize {
        let at = self.phones.len() as u8 + 10;
        let mut spec = spec(number, SocketAddr::from(([198, 51, 100, at], 5060)), V4);
        change(&mut spec);
        self.0.add(spec)
    }

    /// So many seconds pass.
    pub fn pass(&mut self, seconds: u64) {
        self.pass_ms(seconds * 1000);
    }

    pub fn pass_ms(&mut self, milliseconds: u64) {
        self.0.run(Duration::from_millis(milliseconds));
        self.assert_lawful();
    }

    /// One calls a number, and some seconds pass.
    pub fn call(&mut self, phone: usize, number: &str) {
        self.act(phone, Action::Call(number.into()));
        self.pass(3);
    }

    /// Does something, and a second passes.
    pub fn then(&mut self, phone: usize, action: Action) {
        self.act(phone, action);
        self.pass(1);
    }

    pub fn deed(&mut self, phone: usize, deed: Deed) {
        self.plan(Duration::ZERO, phone, deed);
        self.pass_ms(1);
    }

    /// What the phone does from now on when it is called.
    pub fn behave(&mut self, phone: usize, reaction: Reaction) {
        self.phones[phone].spec.manners.reaction = reaction;
    }

    /// A phone's newest call.
    pub fn newest(&self, phone: usize) -> &Call {
        let call = self.phones[phone].calls.last();
        call.unwrap_or_else(|| panic!("phone {phone} had no call\n{}", self.ladder()))
    }

    pub fn is_up(&self, phone: usize) -> bool {
        self.phones[phone].calls.last().is_some_and(Call::is_up)
    }

    pub fn was_rung(&self, phone: usize) -> bool {
        !self.phones[phone].calls.is_empty()
    }

    /// Something that has to be so.
    pub fn expect(&self, so: bool, what: &str) {
        assert!(so, "expected: {what}\n{}", self.ladder());
    }

    pub fn expect_up(&self, phones: &[usize]) {
        for phone in phones {
            self.expect(self.is_up(*phone), &format!("phone {phone} is in a call"));
        }
    }

    /// Nobody is in a call, and the exchange agrees.
    pub fn expect_idle(&self) {
        for phone in &self.phones {
            let idle = phone.active_calls().count() == 0;
            self.expect(idle, &format!("phone {} is idle", phone.id));
        }
        self.expect(self.live_calls() == 0, "the exchange has no call");
    }

    /// Everybody hangs up, time passes, nothing may be left.
    pub fn close(mut self) {
        for id in 0..self.phones.len() {
            while self.phones[id].active_calls().any(|call| call.stage != Stage::Accepted) {
                let before = self.phones[id].active_calls().count();
                self.act(id, Action::HangUp);
                self.pass(1);
                if self.phones[id].active_calls().count() == before {
                    break;
                }
            }
        }
        self.pass(600);
        self.0.check_quiet();
        self.assert_lawful();
    }

    fn assert_lawful(&self) {
        if let Some(broken) = self.violations.first() {
            panic!("a law is broken: {broken}\n{}", self.ladder());
        }
    }

    pub fn ladder(&self) -> String {
        self.trace().join("\n")
    }
}

impl Deref for Story {
    type Target = Town;

    fn deref(&self) -> &Town {
        &self.0
    }
}

impl DerefMut for Story {
    fn deref_mut(&mut self) -> &mut Town {
        &mut self.0
    }
}

/// A plain phone that answers after a second.
pub fn spec(number: &str, address: SocketAddr, server: &str) -> Spec {
    Spec {
        number: number.into(),
        shows: None,
        password: password(number),
        domain: DOMAIN.into(),
        transport: Transport::Udp,
        address,
        nat: None,
        server: server.parse().unwrap(),
        hand: Hand::Plain,
        instance: false,
        algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
        keeps_nonce: false,
        expires: 600,
        rport: true,
        reliable: false,
        late_offer: false,
        video: false,
        preloads_route: false,
        hasty: false,
        lines: 2,
        restless: false,
        stubborn: false,
        forking: Forking::Alone,
        manners: Manners {
            ringing: Ringing::Bell,
            reaction: Reaction::Answer,
            after: Duration::from_secs(1),
        },
    }
}

pub fn places() -> Vec<Place> {
    [V4, V6, OTHER_V6].into_iter().map(|place| place_of(place.parse().unwrap())).collect()
}

/// The exchange where nothing translates its address.
pub fn place_of(server: SocketAddr) -> Place {
    Place { public: server, local: server }
}

/// An address on IPv6, for [`Spec::address`].
pub fn v6(host: u16) -> SocketAddr {
    SocketAddr::from(([0x2001, 0xdb8, 0, 2, 0, 0, 0, host], 5060))
}

/// Puts a phone on IPv6.
pub fn on_v6(spec: &mut Spec) {
    let host = match spec.address.ip() {
        std::net::IpAddr::V4(ip) => u16::from(ip.octets()[3]),
        std::net::IpAddr::V6(_) => 99,
    };
    spec.address = v6(host);
    spec.server = V6.parse().unwrap();
}

pub fn on_tcp(spec: &mut Spec) {
    spec.transport = Transport::Tcp;
}

/// Puts a phone behind a NAT.
pub fn behind_nat(spec: &mut Spec) {
    spec.nat = Some("203.0.113.77".parse().unwrap());
    spec.address = "192.168.1.20:5060".parse().unwrap();
}

pub fn number(text: &str) -> Number {
    Number::new(text).unwrap()
}

pub fn password(number: &str) -> String {
    format!("secret of {number}")
}

pub fn extension(number: &str) -> Extension {
    Extension { name: Some(format!("Phone {number}")), ..Extension::new(Password::new(&password(number))) }
}
