//! Whether what a file says makes sense together.

mod mantela;
mod neighbours;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::de::Said;
use super::file::{
    Advertised, Each, ExtensionKeys, File, Key, List, Named, PlaceName, Places, Time, TlsKeys, YesNo,
};
use super::mistake::{Mistakes, Reason};
use super::{
    Access, Config, ExpiresRange, Extension, Listen, Listing, MAX_EXTENSIONS, MAX_GROUPS, MAX_LISTEN,
    MAX_MEMBERS, MAX_NETWORKS, Network, NoAnswer, Number, Password, PortRange, TlsFiles, Transport,
};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86400);

/// The configuration that `file` describes, with defaults for what it does not say. It is worth
/// something only if `mistakes` is still empty afterwards.
pub(super) fn check(file: File, mistakes: &mut Mistakes) -> Config {
    let numbers = Numbers::of(&file, mistakes);
    let default = Config::default();
    let mut check = Check { mistakes, networks: 0 };

    let has_domain = file.domain.is_some();
    let access =
        Access { allow: check.networks("allow", file.allow), deny: check.networks("deny", file.deny) };
    let (advertise, advertise_auto) = check.advertise(&file.advertise);
    let (listen_said, gates) = check.places(file.listen);
    let listen = check.listen(&listen_said, default.listen);
    let neighbours = check.neighbours(file.peer, file.trunk, &numbers);
    let extensions = check.extensions(file.ext, &numbers);
    let groups = check.groups(file.group, &numbers);
    let domain = said(file.domain).map(|domain| domain.0);
    let line_of =
        |place: &Listen| listen_said.iter().find(|said| said.value == Some(*place)).map(|said| said.line);
    let spoken: Vec<(Listen, Option<u32>)> = listen.iter().map(|place| (*place, line_of(place))).collect();
    let mantela = check.mantela(file.mantela, domain.as_deref(), &spoken, &extensions, &groups, &numbers);
    Config {
        domain,
        advertise,
        advertise_auto,
        media_ports: check
            .media_ports(file.media_ports, &listen_said, &listen)
            .unwrap_or(default.media_ports),
        listen,
        tls: check.tls(file.tls),
        state: said(file.state).unwrap_or(default.state),
        sync: check
            .time(|| "sync".into(), file.sync, "0s to 1m", |t| t <= SECOND * 60)
            .unwrap_or(default.sync),
        call_records: said(file.call_records).map_or(default.call_records, |records| records.0),
        register_expires: check.register_expires(file.register_expires).unwrap_or(default.register_expires),
        keep_alive: check
            .time(
                || "keep-alive".into(),
                file.keep_alive,
                "0s for never, or 1s to 1h",
                |t| t.is_zero() || (SECOND..=DAY / 24).contains(&t),
            )
            .unwrap_or(default.keep_alive),
        extensions,
        groups,
        routes: check.routes(file.route, &numbers, &neighbours),
        neighbours,
        echo: said(file.echo),
        mantela,
        call_limit: check
            .time(|| "call-limit".into(), file.call_limit, "1s to 30d", |t| (SECOND..=DAY * 30).contains(&t))
            .unwrap_or(default.call_limit),
        media_timeout: check
            .time(|| "media-timeout".into(), file.media_timeout, "1s to 1d", |t| (SECOND..=DAY).contains(&t))
            .unwrap_or(default.media_timeout),
        log: said(file.log).unwrap_or(default.log),
        access,
        gates,
        stealth: check.stealth(file.stealth, has_domain),
        rate_stranger: said(file.rate.stranger).unwrap_or(default.rate_stranger),
        rate_strangers: said(file.rate.strangers).unwrap_or(default.rate_strangers),
        rate_phone: said(file.rate.phone).unwrap_or(default.rate_phone),
        ban: said(file.ban).map_or(default.ban, |ban| ban.0),
        sandbox: said(file.sandbox).unwrap_or(default.sandbox),
        spot: said(file.spot).unwrap_or(default.spot),
        user: said(file.user).map(|user| user.0),
    }
}

/// The value of a key that is there and was right.
fn said<T>(key: Key<T>) -> Option<T> {
    key.and_then(|said| said.value)
}

/// Every number that means something, what it means, and the line that says so.
struct Numbers(BTreeMap<Number, (Meaning, u32)>);

#[derive(Clone, Copy, PartialEq)]
enum Meaning {
    Extension,
    Group,
    Echo,
}

impl Numbers {
    fn of(file: &File, mistakes: &mut Mistakes) -> Numbers {
        let mut numbers = Numbers(BTreeMap::new());
        for (number, _) in &file.ext.0 {
            numbers.take(number, Meaning::Extension, "ext", mistakes);
        }
        for (number, _) in &file.group.0 {
            numbers.take(number, Meaning::Group, "group", mistakes);
        }
        if let Some(number) = &file.echo {
            numbers.take(number, Meaning::Echo, "echo", mistakes);
        }
        numbers
    }

    fn take(&mut self, number: &Said<Number>, meaning: Meaning, key: &str, mistakes: &mut Mistakes) {
        let Some(value) = &number.value else {
            return;
        };
        match self.0.get(value) {
            None => {
                self.0.insert(value.clone(), (meaning, number.line));
            }
            Some(&(taken, first)) => {
                let key = match meaning {
                    Meaning::Echo => key.to_string(),
                    _ => format!("{key}.{value}"),
                };
                let by = match taken {
                    Meaning::Extension => "extension",
                    Meaning::Group => "group",
                    Meaning::Echo => "echo test",
                };
                mistakes.add(Some(number.line), &key, Reason::NumberTaken { by, first });
            }
        }
    }

    fn meaning(&self, number: &Number) -> Option<Meaning> {
        self.0.get(number).map(|&(meaning, _)| meaning)
    }
}

/// One place to listen at, as it is said.
struct PlaceSaid {
    key: String,
    line: u32,
    value: Option<Listen>,
}

struct Check<'m> {
    mistakes: &'m mut Mistakes,
    /// How many there were so far, in all lists.
    networks: usize,
}

impl Check<'_> {
    fn wrong(&mut self, line: u32, key: &str, reason: Reason) {
        self.mistakes.add(Some(line), key, reason);
    }

    fn time(
        &mut self,
        key: impl Fn() -> String,
        said: Key<Time>,
        allowed: &'static str,
        is_allowed: impl Fn(Duration) -> bool,
    ) -> Option<Duration> {
        let said = said?;
        let Time(time) = said.value?;
        if !is_allowed(time) {
            self.wrong(said.line, &key(), Reason::OutOfRange { allowed });
        }
        Some(time)
    }

    /// The places of all names in the order of the file, and the lists that only some of them have.
    fn places(&mut self, said: Places) -> (Vec<PlaceSaid>, Vec<(Listen, Access)>) {
        let (mut all, mut gates) = (Vec::new(), Vec::new());
        for Named { name: PlaceName(name), line, keys } in said.0 {
            let key = match name.as_str() {
                "" => "listen".to_string(),
                name => format!("listen.{name}"),
            };
            let access = Access {
                allow: self.networks(&format!("{key}.allow"), keys.allow),
                deny: self.networks(&format!("{key}.deny"), keys.deny),
            };
            let Some(places) = keys.places else {
                self.wrong(line, &key, Reason::NoPlaces);
                continue;
            };
            if access != Access::default() {
                let some = places.iter().filter_map(|place| place.value);
                gates.extend(some.map(|listen| (listen, access.clone())));
            }
            let key =
                |place: Said<Listen>| PlaceSaid { key: key.clone(), line: place.line, value: place.value };
            all.extend(places.into_iter().map(key));
        }
        all.sort_by_key(|place| place.line);
        (all, gates)
    }

    /// All places: those that are said, and the usual ones where nothing is said but where TLS is spoken beside them.
    fn listen(&mut self, said: &[PlaceSaid], usual: Vec<Listen>) -> Vec<Listen> {
        let is_beside = |said: &PlaceSaid| {
            said.key != "listen" && said.value.is_none_or(|place| place.transport == Transport::Tls)
        };
        let usual = if said.iter().all(is_beside) { usual } else { Vec::new() };
        let mut listen: Vec<(Listen, u32)> = Vec::new();
        for entry in said {
            let Some(new) = entry.value else {
                continue;
            };
            // Without an address all of them are meant, so another socket beside it cannot be bound.
            let covers = |old: &Listen| {
                (old.transport.is_stream(), old.port) == (new.transport.is_stream(), new.port)
                    && (old.address == new.address || old.address.is_none() || new.address.is_none())
            };
            match listen.iter().find(|(old, _)| covers(old)) {
                Some(&(old, first)) => {
                    let (word, with) = (new.to_string(), old.to_string());
                    let reason = match word == with {
                        true => Reason::ListedTwice { word, first },
                        false if old.transport != new.transport => Reason::OnePort { word, with, first },
                        false => Reason::Overlap { word, with, first },
                    };
                    self.wrong(entry.line, &entry.key, reason);
                }
                None if listen.len() == MAX_LISTEN => {
                    self.wrong(entry.line, &entry.key, Reason::TooMany { most: MAX_LISTEN });
                    break;
                }
                None => listen.push((new, entry.line)),
            }
        }
        let said: Vec<Listen> = listen.into_iter().map(|(listen, _)| listen).collect();
        let is_free = |place: &Listen| {
            let port = |place: &Listen| (place.transport.is_stream(), place.port);
            said.iter().all(|said| port(said) != port(place))
        };
        usual.into_iter().filter(is_free).chain(said.iter().copied()).collect()
    }

    /// The files for TLS: both, or none.
    fn tls(&mut self, keys: TlsKeys) -> Option<TlsFiles> {
        match (keys.cert, keys.key) {
            (Some(cert), Some(key)) => Some(TlsFiles { cert: cert.value?, key: key.value? }),
            (Some(cert), None) => {
                self.wrong(cert.line, "tls.cert", Reason::Alone { other: "tls.key" });
                None
            }
            (None, Some(key)) => {
                self.wrong(key.line, "tls.key", Reason::Alone { other: "tls.cert" });
                None
            }
            (None, None) => None,
        }
    }

    /// The networks of one list. Those that overlap are no mistake.
    fn networks(&mut self, key: &str, said: List<Network>) -> Vec<Network> {
        let mut networks = Vec::new();
        for entry in said {
            self.networks += 1;
            match entry.value {
                _ if self.networks == MAX_NETWORKS + 1 => {
                    self.wrong(entry.line, key, Reason::TooManyNetworks)
                }
                Some(network) if self.networks <= MAX_NETWORKS => networks.push(network),
                _ => {}
            }
        }
        networks
    }

    fn stealth(&mut self, said: Key<YesNo>, has_domain: bool) -> bool {
        let Some(said) = said else {
            return has_domain;
        };
        let stealth = said.value.is_some_and(|YesNo(yes)| yes);
        if stealth && !has_domain {
            self.wrong(said.line, "stealth", Reason::NoDomain);
        }
        stealth
    }

    /// The addresses, and whether they are to be found out instead.
    fn advertise(&mut self, said: &List<Advertised>) -> (Vec<IpAddr>, bool) {
        let mut advertise: Vec<(IpAddr, u32)> = Vec::new();
        let auto = said.iter().find(|entry| matches!(entry.value, Some(Advertised(None))));
        if let Some(auto) = auto
            && said.len() > 1
        {
            self.wrong(auto.line, "advertise", Reason::NotAlone { word: "auto" });
        }
        for entry in said {
            let Some(Advertised(Some(new))) = entry.value else {
                continue;
            };
            let same_family = |(old, _): &&(IpAddr, u32)| old.is_ipv6() == new.is_ipv6();
            let first = advertise.iter().find(same_family).map(|&(_, line)| line);
            if new.is_unspecified() || new.is_multicast() || new.to_canonical() != new {
                self.wrong(entry.line, "advertise", Reason::UselessAddress);
            } else if let Some(first) = first {
                self.wrong(entry.line, "advertise", Reason::FamilyTwice { first });
            } else {
                advertise.push((new, entry.line));
            }
        }
        (advertise.into_iter().map(|(address, _)| address).collect(), auto.is_some())
    }

    fn media_ports(
        &mut self,
        said: Key<PortRange>,
        listen_said: &[PlaceSaid],
        listen: &[Listen],
    ) -> Option<PortRange> {
        let line = said.as_ref().map(|said| said.line);
        let default = Config::default().media_ports;
        let range = match said {
            Some(said) => said.value?,
            None => default,
        };
        let mut wrong = |line: Option<u32>, reason| self.mistakes.add(line, "media-ports", reason);
        if range.first > range.last {
            wrong(line, Reason::Reversed);
            return None;
        }
        if range.pairs() < 2 {
            wrong(line, Reason::TooFewPorts);
        }
        let spoken = |listen: &&Listen| {
            listen.transport == Transport::Udp && (range.first..=range.last).contains(&listen.port)
        };
        for listen in listen.iter().filter(spoken) {
            let listen_line =
                listen_said.iter().find(|said| said.value == Some(*listen)).map(|said| said.line);
            let (port, said_on) = (listen.port, listen_line);
            wrong(line.or(said_on), Reason::PortsOverlap { port, line: said_on });
        }
        Some(range)
    }

    fn register_expires(&mut self, said: Key<(Time, Time)>) -> Option<ExpiresRange> {
        const KEY: &str = "register-expires";
        let said = said?;
        let (Time(min), Time(max)) = said.value?;
        let allowed: RangeInclusive<Duration> = SECOND..=DAY * 7;
        let is_whole = |time: Duration| time.subsec_nanos() == 0 && allowed.contains(&time);
        if !is_whole(min) || !is_whole(max) {
            let allowed = "two durations of whole seconds, from 1s to 7d";
            self.wrong(said.line, KEY, Reason::OutOfRange { allowed });
        } else if min > max {
            self.wrong(said.line, KEY, Reason::Reversed);
        }
        Some(ExpiresRange { min, max })
    }

    fn extensions(&mut self, said: Each<ExtensionKeys>, numbers: &Numbers) -> BTreeMap<Number, Extension> {
        if said.0.is_empty() {
            self.mistakes.add(None, "", Reason::NoExtensions);
        }
        if let Some((number, _)) = said.0.get(MAX_EXTENSIONS) {
            let most = MAX_EXTENSIONS;
            self.wrong(number.line, "ext", Reason::TooMany { most });
        }
        let extension = |(number, keys): (Said<Number>, ExtensionKeys)| {
            let value = number.value?;
            let extension = self.extension(&value, number.line, keys, numbers);
            Some((value, extension))
        };
        said.0.into_iter().filter_map(extension).collect()
    }

    fn extension(&mut self, number: &Number, line: u32, keys: ExtensionKeys, numbers: &Numbers) -> Extension {
        if keys.password.is_none() {
            self.wrong(line, &format!("ext.{number}"), Reason::NoPassword);
        }
        let busy = self.target(number, "busy", keys.busy, numbers);
        let offline = self.target(number, "offline", keys.offline, numbers);
        let no_answer = said(keys.no_answer).and_then(|(after, to)| {
            let to = self.target(number, "no-answer", Some(to), numbers);
            let key = || format!("ext.{number}.no-answer");
            let after =
                self.time(key, Some(after), "1s to 3m", |t| (SECOND..=Duration::from_secs(180)).contains(&t));
            Some(NoAnswer { after: after?, to: to? })
        });
        let default = Extension::new(said(keys.password).unwrap_or(Password::new("")));
        Extension {
            name: said(keys.name).map(|name| name.0),
            max_contacts: said(keys.max_contacts).map_or(default.max_contacts, |most| most.0),
            busy,
            no_answer,
            offline,
            identity: said(keys.identity).unwrap_or(default.identity),
            digest: said(keys.digest).unwrap_or(default.digest),
            nat_media: said(keys.nat_media).unwrap_or(default.nat_media),
            allow: self.networks(&format!("ext.{number}.allow"), keys.allow),
            max_calls: said(keys.max_calls).map_or(default.max_calls, |most| most.0),
            max_calls_hour: said(keys.max_calls_hour).map_or(default.max_calls_hour, |most| most.0),
            listing: Listing {
                is_public: said(keys.public).is_some_and(|YesNo(yes)| yes),
                terminal: said(keys.r#type).unwrap_or_default(),
                model: said(keys.model).map(|model| model.0),
            },
            password: default.password,
        }
    }

    /// Where calls for `number` are forwarded. A loop is no mistake: it may depend on who is busy,
    /// and a call in one is refused.
    fn target(&mut self, number: &Number, key: &str, said: Key<Number>, numbers: &Numbers) -> Option<Number> {
        let said = said?;
        let target = said.value?;
        if numbers.meaning(&target).is_none() {
            let reason = Reason::NoSuchNumber(target.to_string());
            self.wrong(said.line, &format!("ext.{number}.{key}"), reason);
        }
        Some(target)
    }

    fn groups(&mut self, said: Each<List<Number>>, numbers: &Numbers) -> BTreeMap<Number, Vec<Number>> {
        if let Some((number, _)) = said.0.get(MAX_GROUPS) {
            self.wrong(number.line, "group", Reason::TooMany { most: MAX_GROUPS });
        }
        let mut groups = BTreeMap::new();
        for (number, members) in said.0 {
            if let Some(value) = number.value {
                let members = self.members(&value, members, numbers);
                groups.insert(value, members);
            }
        }
        groups
    }

    fn members(&mut self, group: &Number, said: List<Number>, numbers: &Numbers) -> Vec<Number> {
        let key = format!("group.{group}");
        let mut members: BTreeMap<Number, u32> = BTreeMap::new();
        let mut in_order = Vec::new();
        for entry in said {
            let Some(member) = entry.value else {
                continue;
            };
            let reason = match (numbers.meaning(&member), members.get(&member)) {
                (None, _) => Some(Reason::NoSuchNumber(member.to_string())),
                (Some(Meaning::Group | Meaning::Echo), _) => Some(Reason::NotAnExtension(member.to_string())),
                (_, Some(&first)) => Some(Reason::ListedTwice { word: member.to_string(), first }),
                _ if in_order.len() == MAX_MEMBERS => Some(Reason::TooMany { most: MAX_MEMBERS }),
                _ => None,
            };
            match reason {
                Some(reason) => self.wrong(entry.line, &key, reason),
                None => {
                    members.insert(member.clone(), entry.line);
                    in_order.push(member);
                }
            }
        }
        in_order
    }
}
