//! RFC 3263: what is asked, and what follows from the answers.

use super::server::{Server, record};
use super::*;
use crate::dns::Reason;

const ZONE: &str = "
    example.net 300 NAPTR 50 50 s SIP+D2S _sip._sctp.example.net
    example.net 300 NAPTR 90 50 s SIP+D2T _sip._tcp.example.net
    example.net 300 NAPTR 90 60 S sip+d2u _other._udp.example.net
    example.net 300 NAPTR 91 10 s SIP+D2U _never._udp.example.net
    _sip._tcp.example.net 600 SRV 0 1 5060 one.example.net
    _sip._tcp.example.net 600 SRV 1 0 5070 two.example.net
    _other._udp.example.net 100 SRV 0 0 5080 one.example.net
    _sip._udp.example.net 100 SRV 0 0 5090 two.example.net
    one.example.net 900 A 192.0.2.1
    one.example.net 900 AAAA 2001:db8::1
    two.example.net 900 A 192.0.2.2
    example.net 900 A 192.0.2.9
";

#[test]
fn a_domain_says_by_naptr_and_srv_where_it_is() {
    let server = Server::of(ZONE);
    let found = locate(&resolver(&[&server]), &[&server], "Example.NET").unwrap();
    assert_eq!(
        places(&found),
        [
            "tcp [2001:db8::1]:5060",
            "tcp 192.0.2.1:5060",
            "tcp 192.0.2.2:5070",
            "udp [2001:db8::1]:5080",
            "udp 192.0.2.1:5080",
        ]
    );
    assert_eq!(found.valid.as_secs(), 100, "the shortest time on the way");
    assert_eq!(
        server.heard(),
        [
            "_other._udp.example.net SRV",
            "_sip._tcp.example.net SRV",
            "example.net NAPTR",
            "one.example.net A",
            "one.example.net AAAA",
            "two.example.net A",
            "two.example.net AAAA",
        ],
        "each once"
    );
}

#[test]
fn a_domain_that_prefers_tls_gets_it() {
    let zone = "
        example.net 300 NAPTR 50 50 s SIPS+D2T _sips._tcp.example.net
        example.net 300 NAPTR 90 50 s SIP+D2U _sip._udp.example.net
        _sips._tcp.example.net 600 SRV 0 1 5071 one.example.net
        _sip._udp.example.net 600 SRV 0 1 5060 one.example.net
        one.example.net 900 A 192.0.2.1";
    assert_eq!(located(zone, "example.net"), ["tls 192.0.2.1:5071"]);
    assert_eq!(located(zone, "example.net;tls"), ["tls 192.0.2.1:5071"]);
    assert_eq!(located("a.example.net 60 A 192.0.2.3", "a.example.net;tls"), ["tls 192.0.2.3:5061"]);
}

#[test]
fn with_a_transport_its_srv_records_are_asked_for() {
    assert_eq!(located(ZONE, "example.net;udp"), ["udp 192.0.2.2:5090"]);
    assert_eq!(located(ZONE, "example.net;tcp").len(), 3);
}

#[test]
fn with_a_port_it_is_a_host() {
    let server = Server::of(ZONE);
    let resolver = resolver(&[&server]);
    let found = |text| places(&locate(&resolver, &[&server], text).unwrap());
    assert_eq!(found("one.example.net:5062"), ["udp [2001:db8::1]:5062", "udp 192.0.2.1:5062"]);
    assert_eq!(found("two.example.net:5060;tcp"), ["tcp 192.0.2.2:5060"]);
    assert!(server.heard().iter().all(|asked| asked.ends_with('A')));
}

#[test]
fn nobody_is_asked_about_an_address_or_a_machine_known_here() {
    let server = Server::of(ZONE);
    let resolver = resolver(&[&server]);
    let found = |text| places(&locate(&resolver, &[&server], text).unwrap());
    assert_eq!(found("192.0.2.5"), ["udp 192.0.2.5:5060"]);
    assert_eq!(found("[2001:db8::5]:5070;tcp"), ["tcp [2001:db8::5]:5070"]);
    assert_eq!(found("2001:db8::5"), ["udp [2001:db8::5]:5060"]);
    assert_eq!(found("PBX.example"), ["udp [2001:db8::77]:5060", "udp 192.0.2.77:5060"]);
    assert_eq!(found("localhost:5070;tcp"), ["tcp [::1]:5070", "tcp 127.0.0.1:5070"]);
    assert_eq!(server.heard(), [""; 0]);
}

#[test]
fn without_naptr_each_transport_is_asked_for_by_its_usual_name() {
    let zone = "
        _sip._udp.example.org 60 SRV 0 0 5060 a.example.org
        _sip._tcp.example.org 60 SRV 0 0 5062 a.example.org
        a.example.org 60 A 192.0.2.1
        example.org 60 NAPTR 1 1 u E2U+sip .
        example.org 60 NAPTR 1 1 s SIP+D2U .";
    assert_eq!(located(zone, "example.org"), ["udp 192.0.2.1:5060", "tcp 192.0.2.1:5062"]);
}

#[test]
fn hosts_are_told_from_mistakes() {
    for good in ["example.net", "192.0.2.1", "[2001:db8::1]", "2001:db8::1", "pbx", "4u.example"] {
        assert!(Host::new(good).is_some(), "{good}");
    }
    for bad in ["192.0.2.300", "192.0.2", "[192.0.2.1]", "[pbx]", "2001:db8::1::", "", "a b"] {
        assert_eq!(Host::new(bad), None, "{bad}");
    }
}

#[test]
fn without_srv_the_domain_is_the_host() {
    let zone = "
        !_sip._udp.example.org
        !_sip._tcp.example.org
        example.org 86400 A 192.0.2.1
        example.org 86400 AAAA 2001:db8::1";
    let server = Server::of(zone);
    let found = locate(&resolver(&[&server]), &[&server], "example.org").unwrap();
    assert_eq!(found.valid.as_secs(), 300, "it may begin to say more");
    assert_eq!(located(zone, "example.org"), ["udp [2001:db8::1]:5060", "udp 192.0.2.1:5060"]);
    assert_eq!(located(zone, "example.org;tcp"), ["tcp [2001:db8::1]:5060", "tcp 192.0.2.1:5060"]);
}

#[test]
fn a_domain_may_say_that_it_does_not_speak_sip() {
    let why = "example.org: it does not offer SIP by this transport";
    let zone = "_sip._udp.example.org 60 SRV 0 0 0 .\n example.org 60 A 192.0.2.1";
    assert_eq!(refused(zone, "example.org;udp"), why);
    assert_eq!(refused(zone, "example.org"), why);
    assert_eq!(located(zone, "example.org;tcp"), ["tcp 192.0.2.1:5060"]);
    let zone = "example.org 60 NAPTR 1 1 s SIP+D2W _sip._ws.example.org\n example.org 60 A 192.0.2.1";
    assert_eq!(refused(zone, "example.org"), why);
}

#[test]
fn who_cannot_be_located_is_told_to_people() {
    assert_eq!(refused("!example.org", "example.org:5060"), "example.org: no such name (asked it)");
    assert_eq!(refused("!example.org", "example.org"), "example.org: no such name (asked it)");
    assert_eq!(refused("", "example.org"), "example.org: the name has no address (asked it)");
    let srv = "_sip._udp.example.org 60 SRV 0 0 5060 gone.example.org\n !gone.example.org";
    assert_eq!(refused(srv, "example.org;udp"), "gone.example.org: no such name (asked it)");
}

#[test]
fn hosts_of_which_nothing_is_known_leave_the_others() {
    let zone = "
        _sip._udp.example.org 60 SRV 0 0 5060 gone.example.org
        _sip._udp.example.org 60 SRV 1 0 5060 here.example.org
        _sip._udp.example.org 60 SRV 2 0 0 zero.example.org
        !gone.example.org
        here.example.org 60 A 192.0.2.1
        here.example.org 60 A 0.0.0.0
        here.example.org 60 A 224.0.0.1
        here.example.org 60 A 255.255.255.255
        here.example.org 60 AAAA ::
        here.example.org 60 AAAA ff02::1
        here.example.org 60 AAAA ::ffff:192.0.2.1";
    assert_eq!(located(zone, "example.org;udp"), ["udp 192.0.2.1:5060"]);
}

#[test]
fn there_are_sixteen_places_at_most_and_some_for_each_host() {
    let hosts = (0..40).map(|n| format!("_sip._udp.example.org 60 SRV {n} 0 5060 h{n}.example.org\n"));
    let addresses = (0..400).map(|n| format!("h{}.example.org 60 A 192.0.{}.{n}\n", n / 10, n / 256));
    let addresses: String = addresses.map(|line| line.replace(".256", ".1")).collect();
    let addresses: String = addresses
        .lines()
        .filter(|line| line.rsplit('.').next().unwrap().parse::<u8>().is_ok())
        .map(|line| format!("{line}\n"))
        .collect();
    let found = located(&(hosts.collect::<String>() + &addresses), "example.org;udp");
    assert_eq!(found.len(), 16);
    assert_eq!(&found[3..5], ["udp 192.0.0.3:5060", "udp 192.0.0.10:5060"], "four of each");
}

#[test]
fn hosts_come_in_proportion_to_their_weights() {
    let zone = "
        _sip._udp.example.org 60 SRV 5 80 5060 a.example.org
        _sip._udp.example.org 60 SRV 5 20 5060 b.example.org
        a.example.org 60 A 192.0.2.1
        b.example.org 60 A 192.0.2.2";
    let server = Server::of(zone);
    let resolver = resolver(&[&server]);
    let mut first = 0;
    for _ in 0..1000 {
        let found = places(&locate(&resolver, &[&server], "example.org;udp").unwrap());
        assert_eq!(found.len(), 2);
        first += usize::from(found[0] == "udp 192.0.2.1:5060");
    }
    assert!((740..860).contains(&first), "{first}");
}

#[test]
fn aliases_are_followed() {
    let zone = "
        sip.example.org 300 CNAME a.example.org
        a.example.org 50 CNAME b.example.com
        b.example.com 300 A 192.0.2.1";
    let server = Server::of(zone);
    let found = locate(&resolver(&[&server]), &[&server], "SIP.example.org:5060").unwrap();
    assert_eq!((places(&found).len(), found.valid.as_secs()), (1, 50));
    // A server that says no more than the first step.
    let server = Server::new(|asked| {
        let own: String = zone.lines().filter(|line| line.trim().starts_with(&asked.name)).collect();
        let is_alias = own.contains("CNAME") && !own.is_empty();
        vec![match is_alias {
            true => asked.message(0x8180, &[record(&own.split_whitespace().collect::<Vec<_>>())], &[]),
            false => asked.answer(zone),
        }]
    });
    let found = locate(&resolver(&[&server]), &[&server], "sip.example.org:5060").unwrap();
    assert_eq!(places(&found), ["udp 192.0.2.1:5060"]);
}

#[test]
fn aliases_in_a_circle_and_without_end_are_errors() {
    let circle = "
        a.example.org 60 CNAME b.example.org
        b.example.org 60 CNAME c.example.org
        c.example.org 60 CNAME a.example.org";
    let why = "a.example.org: its aliases (CNAME) lead in a circle (asked it)";
    assert_eq!(refused(circle, "a.example.org:5060"), why);
    assert!(refused("me.example 60 CNAME me.example", "me.example:5060").contains("circle"));

    let chain = |last: usize| {
        let steps: String =
            (0..last).map(|n| format!("n{n}.example 60 CNAME n{}.example\n", n + 1)).collect();
        format!("{steps}n{last}.example 60 A 192.0.2.1")
    };
    assert_eq!(located(&chain(8), "n0.example:5060").len(), 1);
    let why = "n0.example: more than 8 aliases (CNAME) in a row (asked it)";
    assert_eq!(refused(&chain(9), "n0.example:5060"), why);

    // The same, one step at a time.
    let steps = |last: usize| {
        Server::new(move |asked| {
            let n: usize = asked.name[1..].trim_end_matches(".example").parse().unwrap();
            let next = if n == last { 0 } else { n + 1 };
            let alias = record(&[&asked.name, "60", "CNAME", &format!("n{next}.example")]);
            vec![asked.message(0x8180, &[alias], &[])]
        })
    };
    let told = |server: Server<'_>| locate(&resolver(&[&server]), &[&server], "n0.example:5060").unwrap_err();
    assert_eq!(told(steps(3)).reason, Reason::AliasLoop);
    assert_eq!(told(steps(100)).reason, Reason::TooManyAliases);
}
