//! Whether what is said of other exchanges, and of the numbers that go there, makes sense.

use std::collections::BTreeMap;

use super::{Check, Meaning, Numbers, said};
use crate::config::de::Said;
use crate::config::file::{Address, Each, Goal, Key, List, PeerKeys, TrunkKeys, Word};
use crate::config::mistake::Reason;
use crate::config::{
    Account, Identifier, Kind, Label, Listed, MAX_HOSTS, MAX_MEMBERS, MAX_NEIGHBOURS, MAX_ROUTES, Neighbour,
    Number, Password, Peer, Route, Target, Trunk, WebAddress,
};

/// Numbers to which somebody must answer ([`Trunk::emergency`]).
const EMERGENCY: [&str; 3] = ["110", "118", "119"];

impl Check<'_> {
    /// All peers and trunks.
    pub(super) fn neighbours(
        &mut self,
        peers: Each<PeerKeys>,
        trunks: Each<TrunkKeys>,
        numbers: &Numbers,
    ) -> BTreeMap<Label, Neighbour> {
        let all = peers.0.iter().map(|(name, _)| name).chain(trunks.0.iter().map(|(name, _)| name));
        if let Some(beyond) = all.skip(MAX_NEIGHBOURS).min_by_key(|name| name.line) {
            self.wrong(beyond.line, "peer", Reason::TooMany { most: MAX_NEIGHBOURS });
        }
        let mut neighbours = BTreeMap::new();
        for (name, keys) in trunks.0 {
            if let Some(label) = label("trunk", &name) {
                let trunk = self.trunk(&label, name.line, keys, numbers);
                neighbours.insert(label, trunk);
            }
        }
        let mut prefixes: BTreeMap<Number, (Label, u32)> = BTreeMap::new();
        for (name, keys) in peers.0 {
            let Some(label) = label("peer", &name) else { continue };
            if let Some(Said { line, value: Some(prefix) }) = &keys.prefix {
                match prefixes.get(prefix) {
                    Some((other, first)) => {
                        let reason = Reason::PrefixTwice { other: format!("{other}.prefix"), first: *first };
                        self.wrong(*line, &format!("{label}.prefix"), reason);
                    }
                    None => {
                        prefixes.insert(prefix.clone(), (label.clone(), *line));
                    }
                }
            }
            let peer = self.peer(&label, name.line, keys, numbers, &neighbours);
            neighbours.insert(label, peer);
        }
        neighbours
    }

    /// `route.PATTERN`.
    pub(super) fn routes(
        &mut self,
        routes: Each<Key<Goal>>,
        numbers: &Numbers,
        neighbours: &BTreeMap<Label, Neighbour>,
    ) -> BTreeMap<Number, Route> {
        if let Some((pattern, _)) = routes.0.get(MAX_ROUTES) {
            self.wrong(pattern.line, "route", Reason::TooMany { most: MAX_ROUTES });
        }
        let mut checked = BTreeMap::new();
        for (pattern, goal) in routes.0 {
            let (Some(number), Some(Said { line, value: Some(goal) })) = (pattern.value, goal) else {
                continue;
            };
            let key = format!("route.{number}");
            let route = match goal {
                Goal::Reject(why) => Route::Reject(why),
                Goal::Group(group) => {
                    if numbers.meaning(&group) != Some(Meaning::Group) {
                        self.wrong(line, &key, Reason::NoSuchNumber(format!("group.{group}")));
                    }
                    Route::Group(group)
                }
                Goal::Neighbours(words) => {
                    let found: Vec<Label> = words.iter().filter_map(|word| Label::new(word)).collect();
                    for word in &words {
                        let known = neighbours.get(word.as_str());
                        let takes_emergencies =
                            known.is_some_and(|n| matches!(&n.kind, Kind::Trunk(trunk) if trunk.emergency));
                        match known {
                            None => self.wrong(line, &key, Reason::NoSuchNeighbour(word.clone())),
                            Some(_) if EMERGENCY.contains(&number.as_str()) && !takes_emergencies => {
                                self.wrong(line, &key, Reason::NoEmergency(word.clone()));
                            }
                            Some(_) => {}
                        }
                    }
                    Route::Neighbours(found)
                }
            };
            checked.insert(number, route);
        }
        checked
    }

    fn peer(
        &mut self,
        label: &Label,
        line: u32,
        keys: PeerKeys,
        numbers: &Numbers,
        trunks: &BTreeMap<Label, Neighbour>,
    ) -> Neighbour {
        if keys.hosts.is_empty() {
            self.wrong(line, label.as_str(), Reason::NoAddress);
        }
        if let Some(beyond) = keys.hosts.get(MAX_HOSTS) {
            self.wrong(beyond.line, label.as_str(), Reason::TooMany { most: MAX_HOSTS });
        }
        let has_user = |said: &&Said<Address>| said.value.as_ref().is_some_and(|host| host.user.is_some());
        if let Some(said) = keys.hosts.iter().find(has_user) {
            self.wrong(said.line, label.as_str(), Reason::UserOfPeer);
        }
        let user = keys.user.as_ref().map(|said| said.line);
        let password = keys.password.as_ref().map(|said| said.line);
        if let (Some(line), None) | (None, Some(line)) = (user, password) {
            self.wrong(line, label.as_str(), Reason::HalfAccount);
        }
        let mantela = keys.mantela.as_ref().map(|said| said.line);
        let identifier = keys.identifier.as_ref().map(|said| said.line);
        if let (Some(line), None) | (None, Some(line)) = (mantela, identifier) {
            self.wrong(line, label.as_str(), Reason::HalfListed);
        }
        let key = |key: &str| format!("{label}.{key}");
        let prefix = said(keys.prefix);
        if let (Some(first), None, None) = (keys.trunks.first(), password, &keys.pin) {
            self.wrong(first.line, &key("trunks"), Reason::CostsWithoutPassword);
        }
        let mut may_call = Vec::new();
        for Said { line, value } in keys.trunks {
            let Some(name) = value else { continue };
            match Label::new(&format!("trunk.{name}")).filter(|trunk| trunks.contains_key(trunk)) {
                Some(trunk) => may_call.push(trunk),
                None => self.wrong(line, &key("trunks"), Reason::NoSuchNeighbour(format!("trunk.{name}"))),
            }
        }
        // As much room as is needed: otherwise they would keep that of what the file says of them.
        let hosts: Box<[Target]> =
            keys.hosts.into_iter().filter_map(|said| said.value).map(|host| host.target).collect();
        Neighbour {
            hosts: hosts.into_vec(),
            account: account(said(keys.user), said(keys.password)),
            allow: self.networks(&key("allow"), keys.allow),
            max_calls: said(keys.max_calls).map_or(10, |most| most.0),
            pin: said(keys.pin).map(|pin| pin.0),
            kind: Kind::Peer(Peer {
                strip: said(keys.strip)
                    .map_or_else(|| prefix.as_ref().map_or(0, |p| p.as_str().len() as u8), |digits| digits.0),
                prefix,
                add: said(keys.add),
                numbers: keys.numbers.map(|said| self.known(&key("numbers"), said, numbers)),
                hop: said(keys.hop).is_some_and(|yes| yes.0),
                trunks: may_call,
                listed: listed(said(keys.mantela), said(keys.identifier)),
            }),
        }
    }

    fn trunk(&mut self, label: &Label, line: u32, keys: TrunkKeys, numbers: &Numbers) -> Neighbour {
        let at = keys.address.as_ref().map_or(line, |said| said.line);
        if keys.address.is_none() {
            self.wrong(line, label.as_str(), Reason::NoAddress);
        }
        let address = said(keys.address);
        if address.as_ref().is_some_and(|address| address.user.is_none()) {
            self.wrong(at, label.as_str(), Reason::NoUser);
        }
        let (user, hosts) = match address {
            Some(Address { user, target }) => (user.unwrap_or_default(), vec![target]),
            None => (String::new(), Vec::new()),
        };
        let key = |key: &str| format!("{label}.{key}");
        if let (Some(said), None) = (&keys.auth_user, &keys.password) {
            self.wrong(said.line, label.as_str(), Reason::HalfAccount);
        }
        let password = said(keys.password);
        let register =
            keys.register.as_ref().map(|said| (said.line, said.value.as_ref().is_some_and(|yes| yes.0)));
        if let (Some((line, true)), None) = (register, &password) {
            self.wrong(line, &key("register"), Reason::NothingToRegisterBy);
        }
        let auth_user = said(keys.auth_user).unwrap_or_else(|| Word(user.clone()));
        Neighbour {
            hosts,
            allow: self.networks(&key("allow"), keys.allow),
            max_calls: said(keys.max_calls).map_or(2, |most| most.0),
            pin: said(keys.pin).map(|pin| pin.0),
            kind: Kind::Trunk(Trunk {
                register: register.map_or(password.is_some(), |(_, yes)| yes),
                numbers: self.rung(&key("numbers"), keys.numbers, numbers),
                caller_id: said(keys.caller_id),
                emergency: said(keys.emergency).is_some_and(|yes| yes.0),
                max_calls_extension: said(keys.max_calls_extension).map_or(2, |most| most.0),
                max_calls_hour: said(keys.max_calls_hour).map_or(30, |most| most.0),
                max_minutes: said(keys.max_minutes).map_or(60, |most| most.0),
                max_minutes_day: said(keys.max_minutes_day).map_or(120, |most| most.0),
                user,
            }),
            account: account(Some(auth_user), password),
        }
    }

    /// Numbers of ours, of any meaning.
    pub(super) fn known(&mut self, key: &str, listed: List<Number>, numbers: &Numbers) -> Vec<Number> {
        let mut known = Vec::new();
        for Said { line, value } in listed {
            let Some(number) = value else { continue };
            match numbers.meaning(&number) {
                None => self.wrong(line, key, Reason::NoSuchNumber(number.to_string())),
                Some(_) => known.push(number),
            }
        }
        known
    }

    /// What rings when somebody calls from outside: extensions, or one number that is none.
    fn rung(&mut self, key: &str, listed: List<Number>, numbers: &Numbers) -> Vec<Number> {
        let line = listed.first().map(|said| said.line);
        let rung = self.known(key, listed, numbers);
        let other = rung.iter().find(|number| numbers.meaning(number) != Some(Meaning::Extension));
        if let (Some(line), Some(other), true) = (line, other, rung.len() > 1) {
            self.wrong(line, key, Reason::NotAnExtension(other.to_string()));
        }
        if let (Some(line), true) = (line, rung.len() > MAX_MEMBERS) {
            self.wrong(line, key, Reason::TooMany { most: MAX_MEMBERS });
        }
        rung
    }
}

fn label(kind: &str, name: &Said<Number>) -> Option<Label> {
    Label::new(&format!("{kind}.{}", name.value.as_ref()?))
}

fn listed(mantela: Option<WebAddress>, identifier: Option<Identifier>) -> Option<Listed> {
    Some(Listed { mantela: mantela?, identifier: identifier? })
}

fn account(user: Option<Word>, password: Option<Password>) -> Option<Account> {
    Some(Account { user: user?.0, password: password? })
}
