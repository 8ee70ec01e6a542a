//! The transports by which SIP is spoken here, and what they are called in the DNS (RFC 3263 §4.1).

use super::Name;
use super::record::Naptr;
use crate::config::Transport;

/// A transport.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Service {
    pub(super) transport: Transport,
    /// The name of the service in NAPTR records.
    pub(super) naptr: &'static str,
    /// What SRV records are below.
    pub(super) srv: &'static str,
    /// Where a server listens of which nobody says it.
    pub(super) port: u16,
}

/// Those that are spoken, in the order in which they are tried where a domain leaves the choice to us.
pub(super) const SUPPORTED: &[Service] = &[
    Service { transport: Transport::Udp, naptr: "SIP+D2U", srv: "_sip._udp", port: 5060 },
    Service { transport: Transport::Tcp, naptr: "SIP+D2T", srv: "_sip._tcp", port: 5060 },
    Service { transport: Transport::Tls, naptr: "SIPS+D2T", srv: "_sips._tcp", port: 5061 },
];

/// The one that is taken where nothing says otherwise (RFC 3263 §4.1).
pub(super) const DEFAULT: Service = SUPPORTED[0];

/// Those that may be used: the one that is wanted, or all.
pub(super) fn wanted(transport: Option<Transport>) -> Vec<&'static Service> {
    SUPPORTED.iter().filter(|service| transport.is_none_or(|wanted| wanted == service.transport)).collect()
}

/// What a domain's NAPTR records say of SIP.
#[derive(Debug, PartialEq)]
pub(super) enum Choice {
    /// Nothing.
    Open,
    /// It is spoken, but not by a transport that is supported.
    Elsewhere,
    /// These services have SRV records there, the preferred one first.
    Of(Vec<(&'static Service, Name)>),
}

/// Chooses as RFC 3263 §4.1 and RFC 3403 §4.1 say: among those that are supported, only the lowest order counts.
pub(super) fn choose(mut records: Vec<Naptr>, supported: &[&'static Service]) -> Choice {
    let is_sip = |record: &Naptr| record.service.starts_with("SIP+") || record.service.starts_with("SIPS+");
    records.retain(is_sip);
    records.sort_by_key(|record| (record.order, record.preference));
    let is_open = records.is_empty();
    let service_of =
        |record: &Naptr| supported.iter().find(|service| service.naptr == record.service).copied();
    let usable = records.into_iter().filter_map(|record| Some((service_of(&record)?, record)));
    let usable: Vec<(&Service, Naptr)> = usable.collect();
    match usable.first().map(|(_, record)| record.order) {
        None if is_open => Choice::Open,
        None => Choice::Elsewhere,
        Some(order) => {
            let counts = usable.into_iter().filter(|(_, record)| record.order == order);
            Choice::Of(counts.map(|(service, record)| (service, record.replacement)).collect())
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn naptr(order: u16, preference: u16, service: &str) -> Naptr {
        let replacement = Name::new(&format!("{}.example.net", service.replace('+', "-"))).unwrap();
        Naptr { order, preference, service: service.into(), replacement }
    }

    fn chosen(records: &[Naptr], transport: Option<Transport>) -> Choice {
        choose(records.to_vec(), &wanted(transport))
    }

    #[test]
    fn the_domain_says_which_transport_is_tried_first() {
        let [udp, tcp] = [&SUPPORTED[0], &SUPPORTED[1]];
        let name = |text| Name::new(text).unwrap();
        let both = [naptr(10, 50, "SIP+D2U"), naptr(10, 20, "SIP+D2T"), naptr(5, 1, "SIPS+D2X")];
        assert_eq!(
            chosen(&both, None),
            Choice::Of(vec![(tcp, name("sip-d2t.example.net")), (udp, name("sip-d2u.example.net"))])
        );
        let udp_alone = Choice::Of(vec![(udp, name("sip-d2u.example.net"))]);
        assert_eq!(chosen(&both, Some(Transport::Udp)), udp_alone);
        assert_eq!(chosen(&[naptr(20, 0, "SIP+D2T"), naptr(10, 99, "SIP+D2U")], None), udp_alone);
    }

    #[test]
    fn who_speaks_otherwise_is_not_spoken_to() {
        assert_eq!(chosen(&[naptr(1, 1, "SIP+D2W")], None), Choice::Elsewhere);
        assert_eq!(chosen(&[naptr(1, 1, "E2U+SIP")], None), Choice::Open);
        assert_eq!(chosen(&[], None), Choice::Open);
    }
}
