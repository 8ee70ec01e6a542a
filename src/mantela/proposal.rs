//! What a friend's document comes to in our configuration.

use super::reach::is_private_host;
use super::text::Text;
use super::{Document, is_private};
use crate::config::{
    Account, Identifier, Listed, MAX_HOSTS, NewPeer, Number, Target, TargetHost, Transport, WebAddress,
    peer_on_line, prefix_conflicts,
};
use crate::sip::{Host, Uri};

/// What the owner wants to be so.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// How the friend is called in the file.
    pub name: Option<Number>,
    /// What is dialled for the friend.
    pub prefix: Option<Number>,
    /// What both prove themselves with.
    pub account: Option<Account>,
    /// Whether the friend may be in a private network.
    pub private: bool,
}

/// What would be added.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// The peer.
    pub peer: NewPeer,
    /// What the owner should know before.
    pub notes: Vec<String>,
}

/// What a friend's document, which was at `address`, comes to beside what is in `file`, which has no mistakes.
///
/// # Errors
///
/// Why the friend cannot be added: a sentence, with lines of `file` where something of it is in the way.
pub fn propose(
    document: &Document,
    address: &WebAddress,
    wishes: &Wishes,
    file: &[u8],
) -> Result<Proposal, String> {
    let about = &document.about_me;
    let mut notes = Vec::new();
    if about.unavailable == Some(true) {
        notes.push("the exchange says that it cannot be called at present".into());
    }
    let name = match &wishes.name {
        Some(name) => name.clone(),
        None => name_for(&about.name, address)
            .ok_or("neither its name nor its address makes a name for the file: say --name NAME")?,
    };
    if let Some(line) = peer_on_line(file, &name) {
        return Err(format!(
            "there is a peer.{name} already, on line {line}: choose another --name, or remove that"
        ));
    }
    let hosts = hosts(&about.sip_uri, wishes.private, &mut notes)?;
    let prefix = prefix(&about.preferred_prefix.0, wishes.prefix.as_ref(), file, &mut notes)?;
    let identifier = Identifier::new(about.identifier.as_str());
    if identifier.is_none() {
        notes.push("its identifier is none, so that your own mantela.json will not tell of it".into());
    }
    let listed = identifier.map(|identifier| Listed { mantela: address.clone(), identifier });
    let title = about.name.shortened(64);
    let account = wishes.account.clone();
    Ok(Proposal { peer: NewPeer { name, hosts, prefix, account, listed, title }, notes })
}

/// The places that denwa can call, in the friend's order.
fn hosts(uris: &[Text], private: bool, notes: &mut Vec<String>) -> Result<Vec<Target>, String> {
    if uris.is_empty() {
        return Err(
            "it does not say where it is reached (aboutMe.sipUri): ask your friend for the address".into()
        );
    }
    let mut hosts: Vec<Target> = Vec::new();
    for uri in uris {
        let shown = uri.shortened(60);
        match target(uri.as_str()) {
            None => notes.push(format!("{shown} is left out: denwa calls sip: URIs by UDP, TCP and TLS")),
            Some(target) if !private && is_near(&target.host) => {
                return Err(format!(
                    "its SIP URI {shown} leads into a private network, where no friend's exchange should be; if yours \
                     is (by a VPN), say --private"
                ));
            }
            Some(target) if hosts.contains(&target) => {}
            Some(_) if hosts.len() == MAX_HOSTS => {
                notes.push(format!("{shown} is left out: {MAX_HOSTS} are the most"));
            }
            Some(target) => hosts.push(target),
        }
    }
    match hosts.is_empty() {
        true => Err("none of its SIP URIs is one that denwa can call".into()),
        false => Ok(hosts),
    }
}

fn is_near(host: &TargetHost) -> bool {
    match host {
        TargetHost::Ip(address) => is_private(*address),
        name => is_private_host(name),
    }
}

/// Where a URI leads; nothing of what it says besides.
fn target(uri: &str) -> Option<Target> {
    let uri = Uri::parse(uri.as_bytes()).filter(|uri| uri.scheme.eq_ignore_ascii_case(b"sip"))?;
    let host = match uri.host {
        Host::Ip(address) if address.is_unspecified() || address.is_multicast() => return None,
        Host::Ip(address) => TargetHost::Ip(address),
        Host::Name(name) if name.len() <= 253 => {
            TargetHost::Name(std::str::from_utf8(name).ok()?.to_ascii_lowercase())
        }
        Host::Name(_) => return None,
    };
    let transport = match uri.param("transport") {
        None => None,
        Some(name) if name.eq_ignore_ascii_case(b"udp") => Some(Transport::Udp),
        Some(name) if name.eq_ignore_ascii_case(b"tcp") => Some(Transport::Tcp),
        Some(name) if name.eq_ignore_ascii_case(b"tls") => Some(Transport::Tls),
        Some(_) => return None,
    };
    (uri.port != Some(0)).then_some(Target { host, port: uri.port, transport })
}

/// The one that is wanted, else the first of the friend's that takes nothing from others.
fn prefix(
    preferred: &[Text],
    wanted: Option<&Number>,
    file: &[u8],
    notes: &mut Vec<String>,
) -> Result<Number, String> {
    if let Some(prefix) = wanted {
        notes.extend(prefix_conflicts(file, prefix));
        return Ok(prefix.clone());
    }
    let mut conflicts = Vec::new();
    // Digits alone: whatever else somebody might want to have dialled can be said by --prefix.
    let is_prefix = |text: &&Text| text.as_str().bytes().all(|b| b.is_ascii_digit());
    let wished = preferred.iter().filter(is_prefix).filter_map(|text| Number::new(text.as_str()));
    for prefix in wished.take(crate::config::MAX_PREFIXES) {
        match prefix_conflicts(file, &prefix) {
            none if none.is_empty() => return Ok(prefix),
            some => conflicts.extend(some),
        }
    }
    match conflicts.is_empty() {
        true => Err("it wishes for no prefix that can be dialled: choose one, --prefix DIGITS".into()),
        false => Err(format!(
            "no prefix that it wishes for is free ({}): choose one, --prefix DIGITS",
            conflicts.join("; ")
        )),
    }
}

/// A name for the file: of what the friend is called, what is in ASCII, else the first part of the host.
fn name_for(name: &Text, address: &WebAddress) -> Option<Number> {
    const LONGEST: usize = 16;
    let made = |text: &str| {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        let joined = words.collect::<Vec<_>>().join("-").to_ascii_lowercase();
        let short: String = joined.chars().take(LONGEST).collect();
        Number::new(short.trim_end_matches('-'))
            .filter(|name| name.as_str().contains(|c: char| c.is_ascii_alphabetic()))
    };
    let of_host = match address.host() {
        TargetHost::Name(host) => host.strip_prefix("www.").unwrap_or(host).split('.').next(),
        TargetHost::Ip(_) => None,
    };
    // Half a name is worse than the host's.
    let is_all = name.as_str().is_ascii();
    (if is_all { made(name.as_str()) } else { None }).or_else(|| made(of_host?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::read;
    use super::*;

    const FILE: &[u8] = b"ext.101 = x\npeer.osaka = sip:192.0.2.9\npeer.osaka.prefix = 806\n";

    fn friend(name: &str, prefixes: &str, uris: &str, wishes: &Wishes) -> Result<Proposal, String> {
        let json = format!(
            r#"{{"version": "0.1.x", "aboutMe": {{"name": "{name}", "preferredPrefix": {prefixes}, "identifier": "id-1",
            "sipUri": {uris}}}, "extensions": [], "providers": []}}"#
        );
        let address = WebAddress::parse("https://www.friend.example/.well-known/mantela.json").unwrap();
        propose(&read(json.as_bytes()).unwrap(), &address, wishes, FILE)
    }

    #[test]
    fn what_would_be_added() {
        let uris = r#"["sip:user:secret@PBX.friend.example:5070;transport=udp", "sips:x.example", "iax:y",
                       "sip:[2001:db8::1]", "sip:[2001:db8::1]"]"#;
        let Proposal { peer, notes } =
            friend("Tokyo \\u001b[2J Exchange", r#"["8066", "8023"]"#, uris, &Wishes::default()).unwrap();
        assert_eq!(
            peer.lines(),
            [
                "# Tokyo ?[2J Exchange",
                "peer.tokyo-2j-exchang            = sip:pbx.friend.example:5070 sip:[2001:db8::1]",
                "peer.tokyo-2j-exchang.prefix     = 8023",
                "peer.tokyo-2j-exchang.mantela    = https://www.friend.example/.well-known/mantela.json",
                "peer.tokyo-2j-exchang.identifier = id-1",
            ]
        );
        assert_eq!(notes.len(), 2, "{notes:?}");
        let edited = crate::config::add_peer("x", FILE, &peer).unwrap();
        assert!(edited.config.neighbours.contains_key("peer.tokyo-2j-exchang"));
        // What is not in ASCII is called by its host.
        let named =
            |name: &str| friend(name, "\"8023\"", "[\"sip:a.example\"]", &Wishes::default()).unwrap().peer;
        assert_eq!(named("東京 7").name.as_str(), "friend");
        assert_eq!((named("").name.as_str(), named("77").name.as_str()), ("friend", "friend"));
    }

    #[test]
    fn what_cannot_be_added_says_why() {
        let told =
            |prefixes: &str, uris: &str, wishes: &Wishes| friend("T", prefixes, uris, wishes).unwrap_err();
        let none = Wishes::default();
        assert!(told("\"8023\"", "[]", &none).contains("aboutMe.sipUri"));
        assert!(told("\"8023\"", r#"["sips:a.example", "x"]"#, &none).contains("none of its SIP URIs"));
        for near in ["10.0.0.1", "127.0.0.1", "[::1]", "[fe80::1]", "localhost", "pbx", "169.254.169.254"] {
            let uris = format!("[\"sip:a.example\", \"sip:{near}\"]");
            assert!(told("\"8023\"", &uris, &none).contains("say --private"), "{near}");
            assert!(
                friend("T", "\"8023\"", &uris, &Wishes { private: true, ..Wishes::default() }).is_ok(),
                "{near}"
            );
        }
        let uris = "[\"sip:a.example\"]";
        assert!(
            told("[\"806\", \"11\"]", uris, &none)
                .contains("806 meets peer.osaka.prefix = 806, on line 3; 11 would")
        );
        assert!(told("[\"\", \"XXXX\", \"8 0\"]", uris, &none).contains("--prefix DIGITS"));
        let osaka = Wishes { name: Number::new("osaka"), ..Wishes::default() };
        assert!(told("\"8023\"", uris, &osaka).contains("peer.osaka already, on line 2"));
        // Whoever says it knows it.
        let wanted = Wishes { prefix: Number::new("10"), ..Wishes::default() };
        let proposal = friend("T", "\"806\"", uris, &wanted).unwrap();
        assert_eq!(proposal.notes, ["your own 101 begins with 10, on line 1"]);
    }
}
