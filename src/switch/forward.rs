//! What a message becomes on its way through (RFC 3261 §16.6, §16.7): edits over the received bytes.

use std::net::SocketAddr;

use super::flow::{Flow, Transport};
use super::persona::{Alias, rack};
use super::secret::Sealed;
use crate::config::Config;
use crate::sip::digest::Credentials;
use crate::sip::{Edit, Message, Name, NameAddr, Uri, decimal, put_top_via, split};

/// Where denwa is, seen by whoever is at the other end of a flow: `advertise` of the family, or
/// the address that the flow came to, and a port where it is heard.
pub(super) fn face(config: &Config, flow: &Flow) -> SocketAddr {
    let advertised = config.advertise.iter().find(|ip| ip.is_ipv6() == flow.local.is_ipv6());
    let port = config.port_for(flow.transport, flow.local);
    SocketAddr::new(advertised.copied().unwrap_or(flow.local.ip()), port)
}

/// A URI of denwa's, as the other end of a flow can use it.
pub(super) fn own_uri(config: &Config, flow: &Flow, user: &str) -> String {
    let transport = match flow.transport {
        Transport::Udp => "",
        Transport::Tcp => ";transport=tcp",
        Transport::Tls => ";transport=tls",
    };
    format!("sip:{user}@{}{transport}", face(config, flow))
}

/// The same with a token, for Record-Route or a masked Contact.
pub(super) fn token_uri(config: &Config, flow: &Flow, token: &Sealed, route: bool) -> String {
    let uri = own_uri(config, flow, std::str::from_utf8(token).unwrap_or_default());
    if route { uri + ";lr" } else { uri }
}

/// Our own Via on a flow, without what follows the branch's cookie.
pub(super) fn via(config: &Config, flow: &Flow, branch: &Sealed) -> String {
    let transport = match flow.transport {
        Transport::Udp => "UDP",
        Transport::Tcp => "TCP",
        Transport::Tls => "TLS",
    };
    let branch = std::str::from_utf8(branch).unwrap_or_default();
    format!("SIP/2.0/{transport} {};branch=z9hG4bK{branch}", face(config, flow))
}

/// How a request is changed.
pub(super) struct Onward<'o> {
    /// Our Via value.
    pub(super) via: &'o str,
    /// Where it came from: goes into the Via below ours.
    pub(super) source: SocketAddr,
    /// The digest realm: credentials for it end here, for the next hop could try passwords on them.
    pub(super) realm: &'o str,
    /// The new Request-URI; `None` leaves it.
    pub(super) uri: Option<&'o [u8]>,
    /// How many Route values from the top are ours.
    pub(super) pop: usize,
    /// Whether the last Route value became the Request-URI (a strict router before us, §16.4).
    pub(super) drop_last_route: bool,
    /// A Route value to be put in front; empty for none.
    pub(super) routes: &'o [u8],
    /// How many hops it may take at most from here on.
    pub(super) hops: Option<u32>,
    /// Into how many it may still be forked (RFC 5393 §5.3); `None` leaves what it says.
    pub(super) breadth: Option<usize>,
    /// Our Record-Route URI.
    pub(super) record_route: Option<&'o str>,
    /// The URI that masks the sender's Contact.
    pub(super) contact: Option<&'o str>,
    /// The URI that takes Refer-To's place.
    pub(super) refer_to: Option<&'o [u8]>,
    /// Whole header lines that say who it is from; what the phone claimed is taken out.
    pub(super) identity: &'o [u8],
    /// The new body.
    pub(super) body: Option<&'o [u8]>,
    /// Whether it leaves on a stream, where Content-Length is mandatory (§18.3).
    pub(super) stream: bool,
    /// What it is called where it goes, if that is not what it was called where it came from: then it has nothing
    /// of the way that it came.
    pub(super) alias: Option<&'o Alias>,
}

impl Onward<'_> {
    /// Nothing is changed but what each hop changes.
    pub(super) fn untouched() -> Onward<'static> {
        Onward {
            via: "",
            source: SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0),
            realm: "",
            uri: None,
            pop: 0,
            drop_last_route: false,
            routes: b"",
            hops: None,
            breadth: None,
            record_route: None,
            contact: None,
            refer_to: None,
            identity: b"",
            body: None,
            stream: false,
            alias: None,
        }
    }

    /// The request as it leaves.
    pub(super) fn apply(&self, request: &Message<'_>) -> Vec<u8> {
        let mut edit = Edit::new(request);
        if let Some(uri) = self.uri {
            edit.replace(request.span(request.uri()), &[uri]);
        }
        let top = request.headers().iter().find(|h| h.name == Name::Via).map(|h| h.line().start);
        let top = top.unwrap_or_else(|| end_of_headers(request));
        edit.insert(top, &[b"Via: ", self.via.as_bytes(), b"\r\n"]);
        if let Some(value) = request.list(Name::Via).next().filter(|_| self.alias.is_none()) {
            let mut stamped = Vec::with_capacity(value.len() + 64);
            put_top_via(&mut stamped, value, self.source);
            edit.replace(request.span(value), &[&stamped]);
        }
        match request.first(Name::MaxForwards) {
            Some(hops) => {
                let left =
                    decimal(hops).unwrap_or(70).saturating_sub(1).min(self.hops.map_or(u64::MAX, u64::from));
                edit.replace(request.span(hops), &[left.to_string().as_bytes()]);
            }
            None => {
                let left = self.hops.unwrap_or(70).to_string();
                edit.insert(top, &[b"Max-Forwards: ", left.as_bytes(), b"\r\n"]);
            }
        }
        if let Some(breadth) = self.breadth {
            let breadth = breadth.to_string();
            match request.first(Name::MaxBreadth) {
                Some(old) => edit.replace(request.span(old), &[breadth.as_bytes()]),
                None => edit.insert(top, &[b"Max-Breadth: ", breadth.as_bytes(), b"\r\n"]),
            }
        }
        if let Some(uri) = self.record_route {
            edit.insert(top, &[b"Record-Route: <", uri.as_bytes(), b">\r\n"]);
        }
        if !self.routes.is_empty() {
            edit.insert(top, &[b"Route: ", self.routes, b"\r\n"]);
        }
        edit.insert(top, &[self.identity]);
        match self.alias {
            Some(alias) => alias.apply(&mut edit, request),
            None => self.pop_routes(&mut edit, request),
        }
        for header in request.headers() {
            match header.name {
                Name::PAssertedIdentity | Name::PPreferredIdentity | Name::RemotePartyId => {
                    edit.remove(header.line());
                }
                Name::ProxyAuthorization | Name::Authorization => {
                    let ours = Credentials::parse(request.value(header))
                        .is_some_and(|credentials| credentials.realm.is(self.realm.as_bytes()));
                    if ours || self.alias.is_some() {
                        edit.remove(header.line());
                    }
                }
                _ => {}
            }
        }
        if let Some(uri) = self.contact {
            mask_contact(&mut edit, request, uri);
        }
        if let Some(uri) = self.refer_to
            && let Some(old) = request.first(Name::ReferTo).and_then(NameAddr::parse)
        {
            replace_uri(&mut edit, request, old.uri, uri);
        }
        replace_body(&mut edit, request, self.body, self.stream);
        edit.finish()
    }

    fn pop_routes(&self, edit: &mut Edit<'_>, request: &Message<'_>) {
        let all = request.list(Name::Route).count();
        let mut index = 0;
        for header in request.lines(Name::Route) {
            let values: Vec<&[u8]> = crate::sip::split(request.value(header), b',').collect();
            let goes = |at: usize| at < self.pop || (self.drop_last_route && at + 1 == all);
            let kept: Vec<&[u8]> =
                values.iter().enumerate().filter(|(n, _)| !goes(index + n)).map(|(_, v)| *v).collect();
            index += values.len();
            if kept.is_empty() {
                edit.remove(header.line());
            } else if kept.len() < values.len() {
                edit.replace(
                    request.span(request.value(header)),
                    &[&super::registrar::join(kept.into_iter())],
                );
            }
        }
    }
}

impl Alias {
    /// Writes what a request is called here over what it was called there, and takes the way out that it came, and what
    /// tells of other people's phones. A phone of ours does not answer by itself because a stranger wants it to.
    fn apply(&self, edit: &mut Edit<'_>, request: &Message<'_>) {
        for header in request.headers() {
            let value = request.value(header);
            match header.name {
                Name::Via | Name::Route | Name::RecordRoute => edit.remove(header.line()),
                Name::From => edit.replace(request.span(value), &[&self.from]),
                Name::To => edit.replace(request.span(value), &[&self.to]),
                Name::Require if self.for_phone => {
                    let others = split(value, b',').filter(|option| !option.eq_ignore_ascii_case(b"timer"));
                    match super::registrar::join(others) {
                        others if others.is_empty() => edit.remove(header.line()),
                        others => edit.replace(request.span(value), &[&others]),
                    }
                }
                Name::AlertInfo | Name::CallInfo | Name::AnswerMode if self.for_phone => {
                    edit.remove(header.line())
                }
                Name::ReferredBy | Name::Diversion | Name::UserAgent => edit.remove(header.line()),
                Name::Replaces if !self.for_phone => edit.remove(header.line()),
                Name::CallId => edit.replace(request.span(value), &[&self.call_id]),
                Name::CSeq => {
                    let digits = value.iter().take_while(|b| b.is_ascii_digit()).count();
                    let (number, _) = value.split_at(digits);
                    edit.replace(request.span(number), &[self.cseq.to_string().as_bytes()]);
                }
                _ => {}
            }
        }
        if let (Some((_, number)), Some(outside)) = (rack(request), self.rack) {
            edit.replace(request.span(number), &[outside.to_string().as_bytes()]);
        }
    }
}

/// How a response is changed.
pub(super) struct Backward<'b> {
    /// Our Record-Route URI as the reader can use it, in place of the one with this token.
    pub(super) record_route: Option<(&'b [u8], &'b str)>,
    /// Whole header lines in place of all its Record-Route lines, if it has come from another dialog.
    pub(super) routes: Option<&'b [u8]>,
    /// The URI that masks the sender's Contact.
    pub(super) contact: Option<&'b str>,
    /// The new body.
    pub(super) body: Option<&'b [u8]>,
    /// Whether it leaves on a stream.
    pub(super) stream: bool,
}

impl Backward<'_> {
    /// The response as it leaves, our Via taken off.
    pub(super) fn apply(&self, response: &Message<'_>) -> Vec<u8> {
        let mut edit = Edit::new(response);
        if let Some(header) = response.lines(Name::Via).next() {
            let value = response.value(header);
            match crate::sip::split(value, b',').nth(1) {
                // The next one stands in the same line: it stays, to the letter.
                Some(next) => {
                    let start = response.span(value).start;
                    edit.remove(start..response.span(next).start);
                }
                None => edit.remove(header.line()),
            }
        }
        if let Some(routes) = self.routes {
            response.lines(Name::RecordRoute).for_each(|header| edit.remove(header.line()));
            edit.insert(end_of_headers(response), &[routes]);
        }
        for header in response.headers() {
            if matches!(header.name, Name::PAssertedIdentity | Name::PPreferredIdentity | Name::RemotePartyId)
            {
                edit.remove(header.line());
            }
        }
        if let Some((token, uri)) = self.record_route
            && let Some(ours) = own_record_route(response, token)
        {
            replace_uri(&mut edit, response, ours.uri, uri.as_bytes());
        }
        if let Some(uri) = self.contact {
            mask_contact(&mut edit, response, uri);
        }
        replace_body(&mut edit, response, self.body, self.stream);
        edit.finish()
    }
}

/// The Record-Route value that has this token for its user.
fn own_record_route<'a>(message: &Message<'a>, token: &[u8]) -> Option<NameAddr<'a>> {
    message
        .list(Name::RecordRoute)
        .filter_map(NameAddr::parse)
        .find(|route| Uri::parse(route.uri).is_some_and(|uri| uri.user == Some(token)))
}

/// All routes that a response recorded, the one nearest to us first: those to another exchange, where we are the
/// agent that asked (RFC 3261 §12.1.2).
pub(super) fn all_routes(response: &Message<'_>) -> Vec<u8> {
    let mut all: Vec<&[u8]> = response.list(Name::RecordRoute).collect();
    all.reverse();
    super::registrar::join(all.into_iter())
}

/// The routes between denwa and whoever sent a response: what was recorded behind us, nearest
/// first (RFC 3261 §12.1.2).
pub(super) fn routes_behind(response: &Message<'_>, token: &[u8]) -> Vec<u8> {
    let ours = own_record_route(response, token).map(|route| response.span(route.uri).start);
    let Some(ours) = ours else { return Vec::new() };
    let mut behind: Vec<&[u8]> =
        response.list(Name::RecordRoute).take_while(|value| response.span(value).end <= ours).collect();
    behind.reverse();
    // A value that starts before our URI and ends behind it is our own.
    super::registrar::join(behind.into_iter())
}

/// Request-URI and Route of a request to `target` by these routes. Where the first of them is a strict router's, without
/// `lr`, it takes the target's place, and the target is the last route (RFC 3261 §12.2.1.1).
pub(super) fn routed(target: &[u8], routes: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    let mut values = split(&routes, b',');
    let first = values.next().and_then(NameAddr::parse);
    let strict = first.filter(|first| first.sip_uri().is_some_and(|uri| uri.param("lr").is_none()));
    let Some(strict) = strict else { return (target.to_vec(), routes) };
    // What stands behind a `?` has no place in a Request-URI.
    let uri = strict.uri.split(|&b| b == b'?').next().unwrap_or_default().to_vec();
    let last = [b"<", target, b">"].concat();
    (uri, super::registrar::join(values.chain([&*last])))
}

/// The URI of the first Contact, as it was written, if requests can be sent to it.
pub(super) fn contact_uri<'a>(message: &Message<'a>) -> Option<&'a [u8]> {
    let contact = message.list(Name::Contact).next().and_then(NameAddr::parse)?;
    contact.sip_uri().map(|_| contact.uri)
}

fn mask_contact(edit: &mut Edit<'_>, message: &Message<'_>, uri: &str) {
    if let Some(old) = contact_uri(message) {
        replace_uri(edit, message, old, uri.as_bytes());
    }
}

/// Replaces a URI inside a header; one without brackets gets them, so that its parameters stay
/// the header's and ours stay the URI's (RFC 3261 §20.10).
fn replace_uri(edit: &mut Edit<'_>, message: &Message<'_>, old: &[u8], uri: &[u8]) {
    let span = message.span(old);
    let bracketed = span.start > 0 && message.bytes()[span.start - 1] == b'<';
    match bracketed {
        true => edit.replace(span, &[uri]),
        false => edit.replace(span, &[b"<", uri, b">"]),
    }
}

fn replace_body(edit: &mut Edit<'_>, message: &Message<'_>, body: Option<&[u8]>, stream: bool) {
    let length = message.first(Name::ContentLength);
    if body.is_none() && (length.is_some() || !stream) {
        return;
    }
    let new = body.unwrap_or(message.body());
    let digits = new.len().to_string();
    match length {
        Some(old) => edit.replace(message.span(old), &[digits.as_bytes()]),
        None => edit.insert(end_of_headers(message), &[b"Content-Length: ", digits.as_bytes(), b"\r\n"]),
    }
    if body.is_some() {
        edit.replace(message.span(message.body()), &[new]);
    }
}

fn end_of_headers(message: &Message<'_>) -> usize {
    message.headers().last().map_or(message.bytes().len(), |h| h.line().end)
}

/// Who a request is from, for phones to show: `P-Asserted-Identity` (RFC 3325) and
/// `Remote-Party-ID`, the only one that Cisco's read. Nothing for a caller who wants privacy.
pub(super) fn identity(name: Option<&str>, number: &str, host: &str) -> Vec<u8> {
    asserted(&named(name, number, host))
}

/// The header lines that say so of a From value without tag.
pub(super) fn asserted(who: &[u8]) -> Vec<u8> {
    let parts: [&[u8]; 5] =
        [b"P-Asserted-Identity: ", who, b"\r\nRemote-Party-ID: ", who, b";party=calling;screen=yes\r\n"];
    parts.concat()
}

/// A From value without tag.
pub(super) fn named(name: Option<&str>, number: &str, host: &str) -> Vec<u8> {
    let mut value = Vec::with_capacity(128);
    if let Some(name) = name {
        value.push(b'"');
        for b in name.bytes() {
            if matches!(b, b'"' | b'\\') {
                value.push(b'\\');
            }
            value.push(b);
        }
        value.extend_from_slice(b"\" ");
    }
    value.extend_from_slice(format!("<sip:{}@{host}>", escape(number)).as_bytes());
    value
}

/// A number as the user of a URI: `#` stands for something else there.
pub(super) fn escape(number: &str) -> String {
    number.replace('#', "%23")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::switch::StreamId;

    #[test]
    fn a_connection_that_we_opened_leads_back_to_where_we_listen() {
        let found = |listen: &str, transport: Transport, local: &str| {
            let text = format!("ext.101 = correct-horse\nlisten = {listen}\n");
            let config = Config::parse("test", text.as_bytes()).unwrap();
            let remote = "[2001:db8::9]:5060".parse().unwrap();
            let flow = Flow { transport, local: local.parse().unwrap(), remote, stream: StreamId(1) };
            face(&config, &flow).to_string()
        };
        let opened = "[2001:db8::1]:49152";
        assert_eq!(found("udp:5070 tcp:5080", Transport::Tcp, opened), "[2001:db8::1]:5080");
        assert_eq!(found("tcp:5060 tcp:5080", Transport::Tcp, "[2001:db8::1]:5080"), "[2001:db8::1]:5080");
        assert_eq!(
            found("tcp:192.0.2.1:5060 tcp:[2001:db8::1]:5080", Transport::Tcp, opened),
            "[2001:db8::1]:5080"
        );
        assert_eq!(found("udp:5060", Transport::Tcp, opened), opened, "nowhere else");
    }
}
