//! What to type into a phone, and the same for an app that reads it from a QR code.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use super::{Config, Extension, Number, Transport};

/// The port that phones take if nobody says which.
const USUAL_PORT: u16 = 5060;

/// What a phone needs to register as one extension. `Display` gives a line for each thing that is to be
/// typed, the password among them.
#[derive(Debug)]
pub struct Settings<'a> {
    number: &'a Number,
    extension: &'a Extension,
    /// The domain, or the addresses of which any will do.
    servers: Vec<String>,
    /// Where to send everything, if the domain leads nowhere.
    proxies: Vec<String>,
    port: u16,
    transport: &'static str,
}

impl<'a> Settings<'a> {
    /// Those of each extension of `config`. `own` are the addresses that this machine speaks from.
    pub fn all(config: &'a Config, own: &[IpAddr]) -> impl Iterator<Item = Settings<'a>> {
        let (transport, name, port) = spoken(config);
        let addresses = addresses(config, (transport, port), own);
        // A word that is no name of the Internet is known to the exchange alone.
        let is_word = |domain: &String| !domain.contains(['.', ':']);
        let (servers, proxies) = match &config.domain {
            None => (addresses, Vec::new()),
            Some(domain) if is_word(domain) => (vec![domain.clone()], addresses),
            Some(domain) => (vec![domain.clone()], Vec::new()),
        };
        config.extensions.iter().map(move |(number, extension)| Settings {
            number,
            extension,
            servers: servers.clone(),
            proxies: proxies.clone(),
            port,
            transport: name,
        })
    }

    /// The extension that they are for.
    pub fn number(&self) -> &Number {
        self.number
    }

    /// The account as the app Grandstream Wave reads it from a QR code (and any that does as it does): XML
    /// that holds all of it. Other apps find in a code the address of a web server that has their settings.
    /// `None` where the app, which speaks UDP, cannot register.
    pub fn account(&self) -> Option<String> {
        if !self.transport.starts_with("UDP") {
            return None;
        }
        // Without a name there is a choice of addresses. Mobile networks and homes all have IPv4.
        let first =
            |hosts: &[String]| hosts.iter().find(|host| !host.contains(':')).or(hosts.first()).cloned();
        let with_port = |host: String| {
            let host = match host.parse() {
                Ok(IpAddr::V6(address)) => format!("[{address}]"),
                _ => host,
            };
            match self.port {
                USUAL_PORT => host,
                port => format!("{host}:{port}"),
            }
        };
        let server = first(&self.servers)?;
        let (server, proxy) = match first(&self.proxies) {
            Some(proxy) => (server, Some(with_port(proxy))),
            None => (with_port(server), None),
        };
        let number = self.number.as_str();
        let mut xml =
            String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?><AccountConfig version=\"1\"><Account>");
        for (name, text) in [
            ("RegisterServer", Some(server.as_str())),
            ("OutboundServer", proxy.as_deref()),
            ("UserID", Some(number)),
            ("AuthID", Some(number)),
            ("AuthPass", Some(self.extension.password.reveal())),
            ("AccountName", Some(number)),
            ("DisplayName", self.extension.name.as_deref()),
        ] {
            if let Some(text) = text {
                let _ = write!(xml, "<{name}>{}</{name}>", escaped(text));
            }
        }
        xml += "</Account></AccountConfig>";
        Some(xml)
    }
}

impl fmt::Display for Settings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let any_of = |hosts: &[String]| match hosts {
            [] => "this machine's address".to_string(),
            hosts => hosts.join("  or  "),
        };
        let Settings { number, extension, port, transport, .. } = self;
        writeln!(f, "    user       {number}")?;
        writeln!(f, "    password   {}", extension.password.reveal())?;
        writeln!(f, "    server     {}", any_of(&self.servers))?;
        if !self.proxies.is_empty() {
            writeln!(f, "    proxy      {}  (outbound proxy)", any_of(&self.proxies))?;
        }
        writeln!(f, "    port       {port}")?;
        writeln!(f, "    transport  {transport}")
    }
}

/// What is to be said of how SIP is spoken: over UDP if it is, and at the first port of that.
fn spoken(config: &Config) -> (Transport, &'static str, u16) {
    let port = |transport| {
        let mut listen = config.listen.iter();
        listen.find(|listen| listen.transport == transport).map(|listen| listen.port)
    };
    match (port(Transport::Udp), port(Transport::Tcp)) {
        (Some(udp), Some(tcp)) if udp == tcp => (Transport::Udp, "UDP or TCP", udp),
        (Some(udp), _) => (Transport::Udp, "UDP", udp),
        (None, Some(tcp)) => (Transport::Tcp, "TCP", tcp),
        (None, None) => match port(Transport::Tls) {
            Some(tls) => (Transport::Tls, "TLS", tls),
            None => (Transport::Udp, "UDP", USUAL_PORT),
        },
    }
}

/// Where that can be reached, IPv6 first: at what is advertised, for the families of that, else at the
/// addresses that are listened on.
fn addresses(config: &Config, (transport, port): (Transport, u16), own: &[IpAddr]) -> Vec<String> {
    let places = || config.listen.iter().filter(|place| (place.transport, place.port) == (transport, port));
    let listened = match places().any(|place| place.address.is_none()) {
        true => own.to_vec(),
        false => places().filter_map(|place| place.address).collect(),
    };
    let is_hidden = |address: &IpAddr| config.advertise.iter().any(|a| a.is_ipv4() == address.is_ipv4());
    let mut all = config.advertise.clone();
    all.extend(listened.into_iter().filter(|address| !is_hidden(address)));
    all.sort_by_key(IpAddr::is_ipv4);
    all.iter().map(IpAddr::to_string).collect()
}

/// A text inside an element (XML 1.0 §2.4).
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const OWN: [&str; 2] = ["2001:db8::5", "192.0.2.5"];

    /// The lines for 101 in a configuration that says this too, and the account.
    fn settings(more: &str) -> (Vec<String>, Option<String>) {
        let file = format!("ext.101 = a<b&c\next.101.name = Küche\next.9 = x\n{more}\n");
        let config = Config::parse("x", file.as_bytes()).unwrap();
        let own = OWN.map(|address| address.parse().unwrap());
        let settings = Settings::all(&config, &own).find(|it| it.number().as_str() == "101").unwrap();
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        (settings.to_string().lines().map(words).collect(), settings.account())
    }

    #[test]
    fn without_a_domain_the_addresses() {
        let (lines, account) = settings("");
        assert_eq!(
            lines,
            [
                "user 101",
                "password a<b&c",
                "server 2001:db8::5 or 192.0.2.5",
                "port 5060",
                "transport UDP or TCP"
            ]
        );
        assert_eq!(
            account.unwrap(),
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><AccountConfig version=\"1\"><Account>\
             <RegisterServer>192.0.2.5</RegisterServer><UserID>101</UserID><AuthID>101</AuthID>\
             <AuthPass>a&lt;b&amp;c</AuthPass><AccountName>101</AccountName>\
             <DisplayName>Küche</DisplayName></Account></AccountConfig>"
        );
    }

    #[test]
    fn what_the_world_sees_comes_before_what_the_machine_has() {
        let server = |more: &str| settings(more).0[2].clone();
        assert_eq!(server("advertise = 203.0.113.7"), "server 2001:db8::5 or 203.0.113.7");
        let listen = "listen = udp:10.0.0.1:5060 tcp:192.0.2.9:5060 udp:[2001:db8::9]:5060";
        assert_eq!(server(listen), "server 2001:db8::9 or 10.0.0.1");
        assert_eq!(
            server(&format!("{listen}\nadvertise = 203.0.113.7")),
            "server 2001:db8::9 or 203.0.113.7"
        );
    }

    #[test]
    fn a_name_stands_for_the_addresses_and_a_word_needs_them() {
        let (lines, account) = settings("domain = pbx.example.net\nlisten = udp:5070");
        assert_eq!(lines[2..], ["server pbx.example.net", "port 5070", "transport UDP"]);
        assert!(account.unwrap().contains("<RegisterServer>pbx.example.net:5070</RegisterServer><UserID>"));

        let (lines, account) = settings("domain = any-word\nlisten = udp:5070");
        let proxy = "proxy 2001:db8::5 or 192.0.2.5 (outbound proxy)";
        assert_eq!(lines[2..4], ["server any-word", proxy]);
        let expected =
            "<RegisterServer>any-word</RegisterServer><OutboundServer>192.0.2.5:5070</OutboundServer>";
        assert!(account.unwrap().contains(expected));
    }

    #[test]
    fn an_account_is_for_udp_and_for_what_there_is() {
        assert_eq!(settings("listen = tcp:5060").1, None);
        let server = |listen: &str| {
            let account = settings(listen).1.unwrap();
            let (_, server) = account.split_once("<RegisterServer>").unwrap();
            server.split_once('<').unwrap().0.to_string()
        };
        assert_eq!(server("listen = udp:[2001:db8::9]:5070"), "[2001:db8::9]:5070");
        assert_eq!(server("listen = udp:[2001:db8::9]:5060"), "[2001:db8::9]");
        let config = Config::parse("x", b"ext.101 = x").unwrap();
        let nowhere = Settings::all(&config, &[]).next().unwrap();
        assert_eq!(nowhere.account(), None);
        assert!(nowhere.to_string().contains("server     this machine's address"));
    }
}
