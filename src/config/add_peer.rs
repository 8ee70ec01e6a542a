//! A change of the file: one more peer, in a paragraph of its own behind the others.

use super::edit::{EditError, Edited, behind, blank_line_behind, checked, line_end};
use super::lines::{self, Line};
use super::mistake::{Mistakes, printable};
use super::{Account, Config, Label, Listed, Number, Target};

/// A peer as it is to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct NewPeer {
    /// How it is called in the file: the NAME of `peer.NAME`.
    pub name: Number,
    /// Where it is.
    pub hosts: Vec<Target>,
    /// What is dialled for it.
    pub prefix: Number,
    /// What both prove themselves with, if that is known.
    pub account: Option<Account>,
    /// What is published of it.
    pub listed: Option<Listed>,
    /// What people call it, for a comment above its lines.
    pub title: String,
}

impl NewPeer {
    /// The lines that are written for it.
    pub fn lines(&self) -> Vec<String> {
        let key = format!("peer.{}", self.name);
        let hosts: Vec<String> = self.hosts.iter().map(|host| format!("sip:{host}")).collect();
        let account = self.account.as_ref();
        let values = [
            ("", Some(hosts.join(" "))),
            (".prefix", Some(self.prefix.to_string())),
            (".user", account.map(|account| account.user.clone())),
            (".password", account.map(|account| account.password.reveal().to_owned())),
            (".mantela", self.listed.as_ref().map(|listed| listed.mantela.to_string())),
            (".identifier", self.listed.as_ref().map(|listed| listed.identifier.to_string())),
        ];
        let width = key.len() + ".identifier".len();
        let values = values.into_iter().filter_map(|(below, value)| Some((below, value?)));
        let line = |(below, value)| format!("{:width$} = {value}", format!("{key}{below}"));
        // Nothing in a comment can end its line.
        [format!("# {}", printable(&self.title, 64))].into_iter().chain(values.map(line)).collect()
    }
}

/// `file` with one more peer, behind the paragraph that has the last one, else at its end.
///
/// # Errors
///
/// There is one of that name already, or the file has mistakes, before the change or because of it.
pub fn add_peer(file_name: &str, file: &[u8], peer: &NewPeer) -> Result<Edited, EditError> {
    Config::parse(file_name, file).map_err(EditError::Mistakes)?;
    let lines = lines::lines(file, &mut Mistakes::new(file_name));
    if let Some(line) = line_of_peer(&lines, &peer.name) {
        return Err(EditError::Value(format!("there is a peer.{} already, on line {line}", peer.name)));
    }
    let (before, after) = file.split_at(behind("peer.", file, &lines));
    let end = line_end(before);
    let mut new = blank_line_behind(before, end);
    peer.lines().iter().for_each(|line| new += &format!("{line}{end}"));
    checked(file_name, [before, new.as_bytes(), after].concat(), peer.name.clone())
}

/// Where a file speaks of a peer of this name first.
pub fn peer_on_line(file: &[u8], name: &Number) -> Option<u32> {
    line_of_peer(&lines::lines(file, &mut Mistakes::new("")), name)
}

fn line_of_peer(lines: &[Line<'_>], name: &Number) -> Option<u32> {
    let label = Label::new(&format!("peer.{name}"))?;
    let is_of_it = |line: &&Line<'_>| {
        line.key.strip_prefix(label.as_str()).is_some_and(|below| below.is_empty() || below.starts_with('.'))
    };
    lines.iter().filter(is_of_it).map(|line| line.number).min()
}

/// What a prefix would take from others, one sentence each with its line: another peer's prefix, a route, a
/// number of ours, an emergency number.
pub fn prefix_conflicts(file: &[u8], prefix: &Number) -> Vec<String> {
    const EMERGENCY: [&str; 3] = ["110", "118", "119"];
    let prefix = prefix.as_str();
    // An `x` of a route is any digit.
    let fits =
        |(p, n): (u8, u8)| p.eq_ignore_ascii_case(&n) || p.eq_ignore_ascii_case(&b'x') && n.is_ascii_digit();
    let meets = |pattern: &str| pattern.bytes().zip(prefix.bytes()).all(fits);
    let mut conflicts: Vec<String> = EMERGENCY
        .iter()
        .filter(|number| meets(number))
        .map(|number| format!("{prefix} would take the emergency number {number}"))
        .collect();
    let mut found: Vec<(u32, String)> = Vec::new();
    for line in lines::lines(file, &mut Mistakes::new("")) {
        let Line { number, key, value } = line;
        let what = match (key.split('.').collect::<Vec<_>>().as_slice(), value) {
            (["peer", _, "prefix"], other) if meets(other) => format!("{prefix} meets {key} = {other}"),
            (["route", pattern], _) if meets(pattern) => format!("{prefix} meets {key}"),
            // Ours are found first, so that nobody could dial what begins so behind the prefix.
            (["ext" | "group", own], _) if own.starts_with(prefix) => {
                format!("your own {own} begins with {prefix}")
            }
            (["echo"], own) if own.starts_with(prefix) => format!("your own {own} begins with {prefix}"),
            _ => continue,
        };
        found.push((number, format!("{what}, on line {number}")));
    }
    found.sort();
    conflicts.extend(found.into_iter().map(|(_, what)| what));
    conflicts
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::{Identifier, Kind, Password, TargetHost, Transport, WebAddress};

    const FILE: &str = "ext.101 = x\npeer.osaka = sip:192.0.2.9\npeer.osaka.prefix = 806\n\necho = 114\r\n";

    fn peer() -> NewPeer {
        let target =
            |host: &str, transport| Target { host: TargetHost::Name(host.into()), port: None, transport };
        NewPeer {
            name: Number::new("tokyo").unwrap(),
            hosts: vec![target("a.example", None), target("b.example", Some(Transport::Tcp))],
            prefix: Number::new("8023").unwrap(),
            account: Some(Account { user: "kyoto".into(), password: Password::new("long-password") }),
            listed: Some(Listed {
                mantela: WebAddress::parse("https://a.example/.well-known/mantela.json").unwrap(),
                identifier: Identifier::new("a.example").unwrap(),
            }),
            title: "東京\next.9 = x".into(),
        }
    }

    #[test]
    fn a_peer_stands_behind_the_others() {
        let edited = add_peer("x", FILE.as_bytes(), &peer()).unwrap();
        let new = "\n# 東京?ext.9 = x\n\
                   peer.tokyo            = sip:a.example sip:b.example;transport=tcp\n\
                   peer.tokyo.prefix     = 8023\npeer.tokyo.user       = kyoto\n\
                   peer.tokyo.password   = long-password\n\
                   peer.tokyo.mantela    = https://a.example/.well-known/mantela.json\n\
                   peer.tokyo.identifier = a.example\n";
        let expected = FILE.replace("806\n", &format!("806\n{new}"));
        assert_eq!(String::from_utf8(edited.file).unwrap(), expected);
        let neighbour = &edited.config.neighbours["peer.tokyo"];
        let Kind::Peer(read) = &neighbour.kind else { panic!() };
        let expected = peer();
        assert_eq!((&neighbour.hosts, &neighbour.account), (&expected.hosts, &expected.account));
        assert_eq!((&read.prefix, &read.listed), (&Some(expected.prefix), &expected.listed));
        // The same a second time is none.
        let again = add_peer("x", edited_file(), &peer()).unwrap_err().to_string();
        assert_eq!(again, "there is a peer.tokyo already, on line 6");
    }

    fn edited_file() -> &'static [u8] {
        b"ext.101 = x\n\n\n\n#\npeer.tokyo.prefix = 8023\npeer.tokyo = sip:a.example\n"
    }

    #[test]
    fn without_another_it_stands_at_the_end() {
        let peer = NewPeer { account: None, listed: None, ..peer() };
        let edited = add_peer("x", b"ext.101 = x\r\necho = 9", &peer).unwrap();
        let text = String::from_utf8(edited.file).unwrap();
        assert!(
            text.starts_with("ext.101 = x\r\necho = 9\r\n\r\n# ") && text.ends_with("= 8023\r\n"),
            "{text:?}"
        );
        assert!(matches!(add_peer("x", b"ext.101 = x\necko = 9", &peer), Err(EditError::Mistakes(_))));
        let twice = NewPeer { prefix: Number::new("806").unwrap(), ..peer };
        let told = add_peer("x", FILE.as_bytes(), &twice).unwrap_err().to_string();
        assert!(told.contains("peer.osaka.prefix on line 3"), "{told}");
    }

    #[test]
    fn what_a_prefix_would_take() {
        let file = format!("{FILE}trunk.isp = sip:1@isp.example\nroute.0 = trunk.isp\nroute.5x7 = reject\n");
        let told = |prefix: &str| prefix_conflicts(file.as_bytes(), &Number::new(prefix).unwrap());
        assert_eq!(told("8023"), [""; 0]);
        assert_eq!(told("8066"), ["8066 meets peer.osaka.prefix = 806, on line 3"]);
        assert_eq!(told("80"), ["80 meets peer.osaka.prefix = 806, on line 3"]);
        assert_eq!(told("0150"), ["0150 meets route.0, on line 7"]);
        assert_eq!(told("53"), ["53 meets route.5x7, on line 8"]);
        assert_eq!(told("10"), ["your own 101 begins with 10, on line 1"]);
        assert_eq!(told("119"), ["119 would take the emergency number 119"]);
        assert_eq!(told("1").len(), 5);
        assert_eq!(told("114"), ["your own 114 begins with 114, on line 5"]);
    }
}
