//! The document itself: the types of the schema, and what a configuration comes to in them.

use std::net::IpAddr;

use serde::{Serialize, Serializer};

use super::text::Text;
use super::{is_private, reach};
use crate::config::{self, Config, Kind, Listen, Number, Terminal, Transport};

/// What is to be found at [`super::PATH`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// Which version of the schema it follows.
    pub version: Text,
    /// The exchange whose it is.
    pub about_me: AboutMe,
    /// Who can be called there.
    pub extensions: Vec<Extension>,
    /// The exchanges that it is joined with.
    pub providers: Vec<Provider>,
}

/// The exchange whose document it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AboutMe {
    /// Its name for people.
    pub name: Text,
    /// Which prefixes others might dial for it.
    pub preferred_prefix: Prefixes,
    /// Its name for machines.
    pub identifier: Text,
    /// Where it is reached.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sip_uri: Vec<Text>,
    /// Whether it cannot be called at present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<bool>,
    /// Where on Earth it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub geolocation_coordinates: Option<Coordinates>,
    /// The address of a picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Text>,
}

/// Where on Earth something is. The other measures of the schema are read over.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Coordinates {
    /// Degrees to the north.
    pub latitude: f64,
    /// Degrees to the east.
    pub longitude: f64,
}

/// One prefix, or a list of them: a string or an array in the schema.
#[derive(Clone, Debug, PartialEq)]
pub struct Prefixes(pub Vec<Text>);

/// Somebody who can be called.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Extension {
    /// A name for people.
    pub name: Text,
    /// What is dialled behind the prefix; some exchanges hide it (`XXXX`).
    pub extension: Text,
    /// A name for machines, unlike all others of this document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identifier: Option<Text>,
    /// What kind it is; one of the schema's words, if the other side keeps to that.
    #[serde(rename = "type")]
    pub kind: Text,
    /// Which model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Text>,
    /// Of a number that forwards, the identifiers of those who ring.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transfer_to: Option<Vec<Text>>,
    /// Whether it cannot be called at present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<bool>,
}

/// An exchange that the one of the document is joined with.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Provider {
    /// Its name for people.
    pub name: Text,
    /// What is dialled for it.
    pub prefix: Text,
    /// Its name for machines.
    pub identifier: Text,
    /// Where its own document is.
    pub mantela: Text,
    /// Whether it cannot be called at present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<bool>,
}

impl Document {
    /// As it is served.
    pub fn to_json(&self) -> Vec<u8> {
        // It has no map whose keys are no strings, and nothing else can fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl Serialize for Prefixes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            several => several.serialize(serializer),
        }
    }
}

/// What a configuration publishes; `None` where it lacks what the schema requires, and so serves nothing either.
pub fn document(config: &Config) -> Option<Document> {
    let mantela = &config.mantela;
    let identifier = mantela.identifier(config.domain.as_deref())?;
    let identifier = identifier.as_str();
    if mantela.prefixes.is_empty() {
        return None;
    }
    let about_me = AboutMe {
        name: Text::new(mantela.name.as_deref().unwrap_or(identifier)),
        preferred_prefix: Prefixes(
            mantela.prefixes.iter().map(|prefix| Text::new(prefix.as_str())).collect(),
        ),
        identifier: Text::new(identifier),
        sip_uri: sip_uris(config),
        unavailable: mantela.unavailable.then_some(true),
        geolocation_coordinates: None,
        image: None,
    };
    let (extensions, providers) = (extensions(config), providers(config));
    Some(Document { version: Text::new("0.1.x"), about_me, extensions, providers })
}

/// Where others reach us: at the domain, if that is a name of the Internet, else at what is advertised, else at
/// addresses that are listened on; by the first place of each transport that is there for everybody.
fn sip_uris(config: &Config) -> Vec<Text> {
    let is_open = |place: &&Listen| !config.gates.iter().any(|(gated, _)| gated == *place);
    let place = |transport| {
        let mut of_it = config.listen.iter().filter(|place| place.transport == transport).filter(is_open);
        of_it.next()
    };
    let places = [Transport::Udp, Transport::Tcp, Transport::Tls].into_iter().filter_map(place);
    let hosts = |place: &Listen| -> Vec<String> {
        let as_host = |address: &IpAddr| match address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        match &config.domain {
            Some(domain) if reach::is_of_the_internet(domain) => return vec![domain.clone()],
            _ => {}
        }
        let mut addresses = config.advertise.clone();
        addresses.extend(place.address.filter(|address| addresses.is_empty() && !is_private(*address)));
        addresses.sort_by_key(IpAddr::is_ipv4);
        addresses.iter().map(as_host).collect()
    };
    let uri = |host: &String, place: &Listen| {
        Text::new(&format!("sip:{host}:{};transport={}", place.port, place.transport))
    };
    places.flat_map(|place| hosts(place).iter().map(|host| uri(host, place)).collect::<Vec<_>>()).collect()
}

fn is_public(config: &Config, number: &Number) -> bool {
    config.mantela.numbers.contains(number)
        || config.extensions.get(number).is_some_and(|extension| extension.listing.is_public)
}

/// Extensions, then groups, then the echo test.
fn extensions(config: &Config) -> Vec<Extension> {
    let entry = |number: &Number, name: Option<&str>, kind: &str| Extension {
        name: Text::new(name.unwrap_or(number.as_str())),
        extension: Text::new(number.as_str()),
        // A number means one thing, so it tells them apart.
        identifier: Some(Text::new(number.as_str())),
        kind: Text::new(kind),
        model: None,
        transfer_to: None,
        unavailable: None,
    };
    let extensions = config.extensions.iter().filter(|(number, _)| is_public(config, number));
    let mut all: Vec<Extension> = extensions
        .map(|(number, extension)| Extension {
            model: extension.listing.model.as_deref().map(Text::new),
            ..entry(number, extension.name.as_deref(), word(extension.listing.terminal))
        })
        .collect();
    let groups = config.groups.iter().filter(|(number, _)| config.mantela.numbers.contains(number));
    all.extend(groups.map(|(number, members)| {
        // Who is not public is not told of as a member either.
        let members = members.iter().filter(|member| is_public(config, member));
        let transfer_to = Some(members.map(|member| Text::new(member.as_str())).collect());
        Extension { transfer_to, ..entry(number, None, "main") }
    }));
    let echo = config.echo.iter().filter(|number| config.mantela.numbers.contains(number));
    all.extend(echo.map(|number| entry(number, Some("Echo test"), "application")));
    all
}

/// The schema's word.
fn word(terminal: Terminal) -> &'static str {
    match terminal {
        Terminal::Application => "application",
        Terminal::Cellphone => "cellphone",
        Terminal::Conference => "conference",
        Terminal::Dialphone => "dialphone",
        Terminal::Fax => "fax",
        Terminal::Information => "information",
        Terminal::Modem => "modem",
        Terminal::Music => "music",
        Terminal::Other => "other",
        Terminal::Phone => "phone",
        Terminal::Pushphone => "pushphone",
        Terminal::Reserved => "reserved",
        Terminal::Smartphone => "smartphone",
        Terminal::Unknown => "unknown",
    }
}

/// The peers of which the owner has said where their document is, and which have a prefix.
fn providers(config: &Config) -> Vec<Provider> {
    let provider = |(label, neighbour): (&config::Label, &config::Neighbour)| {
        let Kind::Peer(peer) = &neighbour.kind else { return None };
        let (prefix, listed) = (peer.prefix.as_ref()?, peer.listed.as_ref()?);
        Some(Provider {
            name: Text::new(label.as_str().strip_prefix("peer.")?),
            prefix: Text::new(prefix.as_str()),
            identifier: Text::new(listed.identifier.as_str()),
            mantela: Text::new(listed.mantela.as_str()),
            unavailable: None,
        })
    };
    config.neighbours.iter().filter_map(provider).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{MAX_DOCUMENT, read};
    use super::*;
    use crate::config::{MAX_NEIGHBOURS, MAX_PUBLIC};

    const FILE: &str = "\
domain = pbx.kyoto.example
listen = udp:5060 tcp:5070
allow = 192.0.2.0/24
mantela.listen = 8080
mantela.name = 京都 Exchange
mantela.prefix = 8075 075
mantela.numbers = 600 114
ext.101 = secret-of-101
ext.101.name = Kitchen
ext.101.public = yes
ext.101.type = dialphone
ext.101.model = 601-A2
ext.101.allow = 203.0.113.7
ext.102 = secret-of-102
ext.102.name = Bedroom
group.600 = 101 102
group.700 = 102
echo = 114
peer.tokyo = sip:[2001:db8::1]:5060
peer.tokyo.prefix = 8023
peer.tokyo.user = user-at-tokyo
peer.tokyo.password = secret-of-tokyo
peer.tokyo.mantela = https://tokyo.example/.well-known/mantela.json
peer.tokyo.identifier = tokyo.example
peer.osaka = sip:osaka.example
peer.osaka.prefix = 8066
trunk.isp = sip:0312345678@sip.isp.example
trunk.isp.auth-user = user-at-isp
trunk.isp.password = secret-of-isp
";

    fn of(text: &str) -> Document {
        document(&Config::parse("x", text.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn what_is_published_of_a_configuration() {
        let json: serde_json::Value = serde_json::from_slice(&of(FILE).to_json()).unwrap();
        let expected = serde_json::json!({
            "version": "0.1.x",
            "aboutMe": {
                "name": "京都 Exchange",
                "preferredPrefix": ["8075", "075"],
                "identifier": "pbx.kyoto.example",
                "sipUri": ["sip:pbx.kyoto.example:5060;transport=udp", "sip:pbx.kyoto.example:5070;transport=tcp"],
            },
            "extensions": [
                {"name": "Kitchen", "extension": "101", "identifier": "101", "type": "dialphone", "model": "601-A2"},
                {"name": "600", "extension": "600", "identifier": "600", "type": "main", "transferTo": ["101"]},
                {"name": "Echo test", "extension": "114", "identifier": "114", "type": "application"},
            ],
            "providers": [{
                "name": "tokyo", "prefix": "8023", "identifier": "tokyo.example",
                "mantela": "https://tokyo.example/.well-known/mantela.json",
            }],
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn nothing_secret_is_published() {
        let json = String::from_utf8(of(FILE).to_json()).unwrap();
        for word in
            ["secret", "user-at", "102", "Bedroom", "700", "isp", "0312345678", "osaka", "192.0.2", "203.0"]
        {
            assert!(!json.contains(word), "{word}: {json}");
        }
        // Whatever the secrets look like: of each of them, nothing.
        let config = Config::parse("x", FILE.as_bytes()).unwrap();
        let accounts = config.neighbours.values().filter_map(|neighbour| neighbour.account.as_ref());
        let users = accounts.clone().map(|account| account.user.as_str());
        let passwords = accounts.map(|account| account.password.reveal());
        let own = config.extensions.values().map(|extension| extension.password.reveal());
        for secret in users.chain(passwords).chain(own) {
            assert!(!json.contains(secret), "{secret}");
        }
    }

    #[test]
    fn a_domain_that_is_a_mere_word_is_not_told() {
        let text = "ext.101 = x\ndomain = open-sesame\nadvertise = 203.0.113.5\nmantela.prefix = 80\n\
                    mantela.identifier = 01K5NQ22CRQVM18R4X60BYC8AN\nmantela.unavailable = yes\n";
        let document = of(text);
        assert!(!String::from_utf8(document.to_json()).unwrap().contains("sesame"));
        assert_eq!(document.about_me.sip_uri[0].as_str(), "sip:203.0.113.5:5060;transport=udp");
        assert_eq!(document.about_me.unavailable, Some(true));
        assert_eq!(document.about_me.name.as_str(), "01K5NQ22CRQVM18R4X60BYC8AN");
        assert_eq!(document.about_me.preferred_prefix.0.len(), 1);
        assert!(String::from_utf8(document.to_json()).unwrap().contains("\"preferredPrefix\":\"80\""));
    }

    #[test]
    fn where_nobody_else_comes_is_not_told() {
        let text = "ext.101 = x\nmantela.prefix = 80\nmantela.identifier = x\nlisten = udp:10.0.0.1:5060\n";
        assert!(of(text).about_me.sip_uri.is_empty());
        let text =
            format!("{text}listen.lan = udp:5070\nlisten.lan.allow = 10.0.0.0/8\nadvertise = 2001:db8::5\n");
        assert_eq!(of(&text).about_me.sip_uri, [Text::new("sip:[2001:db8::5]:5060;transport=udp")]);
        assert!(document(&Config::parse("x", b"ext.101 = x").unwrap()).is_none());
    }

    #[test]
    fn the_largest_can_be_read_by_others() {
        let name = "\"".repeat(64);
        let mut text = format!("mantela.prefix = 80\nmantela.identifier = x\nmantela.name = {name}\n");
        for n in 0..MAX_PUBLIC {
            let number = format!("{n:032}");
            text += &format!("ext.{number} = x\next.{number}.name = {name}\next.{number}.public = yes\n");
            text += &format!("ext.{number}.type = application\next.{number}.model = {name}\n");
        }
        for n in 0..MAX_NEIGHBOURS {
            let peer = format!("peer.{n:032}");
            text += &format!("{peer} = sip:192.0.2.1\n{peer}.prefix = {n:032}\n{peer}.identifier = {name}\n");
            text += &format!("{peer}.mantela = http://x/{}\n", "x".repeat(191));
        }
        let json = of(&text).to_json();
        assert!(json.len() <= MAX_DOCUMENT, "{}", json.len());
        let read = read(&json).unwrap();
        assert_eq!((read.extensions.len(), read.providers.len()), (MAX_PUBLIC, MAX_NEIGHBOURS));
        // One more is a mistake.
        text += "ext.9 = x\next.9.public = yes\n";
        let told = Config::parse("x", text.as_bytes()).unwrap_err().to_string();
        assert!(told.contains("too many; 350 are the most"), "{told}");
    }
}
