//! What a number means, and to whom.
//!
//! First come our own numbers, then what `route.PATTERN` and the peers' prefixes say: the longest that matches. What
//! goes to a provider may cost money, so some kinds of numbers are closed there unless a pattern names them.

use crate::config::{Config, Kind, Label, Number, Peer, Route};

/// Kinds of numbers in Japan that are closed, by what they begin with: why they are. The longest counts. A route opens
/// what its pattern names.
const KINDS: [(&str, &str); 12] = [
    ("00", "numbers of other carriers (00XY) are closed"),
    ("010", "international numbers are closed"),
    ("+", "international numbers are closed"),
    ("020", "020 numbers are closed"),
    ("060", "mobile numbers are closed"),
    ("122", "numbers of other carriers (122) are closed"),
    ("0180", "0180 numbers cost extra and are closed"),
    ("0570", "0570 numbers cost extra and are closed"),
    ("070", "mobile numbers are closed"),
    ("080", "mobile numbers are closed"),
    ("090", "mobile numbers are closed"),
    ("0990", "0990 numbers cost extra and are closed"),
];

/// Kinds that cost what any call does, by what they begin with and how many digits they have.
const OPEN: [(&str, usize); 3] = [("0120", 10), ("0800", 11), ("050", 11)];

/// How many digits all other numbers have that a network in Japan leads to a telephone line: 0AB-J.
const LINE: usize = 10;

/// Where a number leads.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Destination {
    /// To the phones of one extension, with its forwards.
    Extension(Number),
    /// To the phones of several, all at once, without theirs.
    Group(Vec<Number>),
    /// To the echo test.
    Echo,
    /// To the first of these exchanges that can be reached, each with the number that it is asked for.
    Neighbours(Vec<(Label, String)>),
    /// Nowhere, for this reason: 403.
    Closed(String),
    /// Nowhere: 404.
    Unknown,
}

/// What of the plan matched a number.
struct Match<'c> {
    /// How much of it was named, digit by digit.
    named: usize,
    /// The pattern or prefix.
    pattern: &'c str,
    goal: Goal<'c>,
}

#[derive(Clone, Copy)]
enum Goal<'c> {
    Route(&'c Route),
    Peer(&'c Label, &'c Peer),
}

impl Destination {
    /// Looks a number of ours up.
    pub(super) fn of(config: &Config, number: &str) -> Destination {
        if let Some((number, _)) = config.extensions.get_key_value(number) {
            return Destination::Extension(number.clone());
        }
        if let Some(members) = config.groups.get(number) {
            return Destination::Group(members.clone());
        }
        match &config.echo {
            Some(echo) if echo.as_str() == number => Destination::Echo,
            _ => Destination::Unknown,
        }
    }

    /// What an extension of ours means by a number.
    pub(super) fn dialled(config: &Config, dialled: &str) -> Destination {
        match Destination::of(config, dialled) {
            Destination::Unknown => outward(config, dialled),
            own => own,
        }
    }

    /// What another exchange means by a number.
    pub(super) fn asked_by(config: &Config, label: &Label, dialled: &str) -> Destination {
        let Some(neighbour) = config.neighbours.get(label) else { return Destination::Unknown };
        let peer = match &neighbour.kind {
            Kind::Peer(peer) => peer,
            Kind::Trunk(trunk) => {
                return match trunk.numbers.as_slice() {
                    [] => Destination::Unknown,
                    [number] => Destination::of(config, number.as_str()),
                    numbers => Destination::Group(numbers.to_vec()),
                };
            }
        };
        let is_granted = |number: &str| match &peer.numbers {
            Some(granted) => granted.iter().any(|granted| granted.as_str() == number),
            None => true,
        };
        let own = |number: &str| match Destination::of(config, number) {
            Destination::Unknown => None,
            own => is_granted(number).then_some(own),
        };
        if let Some(own) = own(dialled) {
            return own;
        }
        let hops = dialled.strip_prefix('0').filter(|rest| peer.hop && !rest.is_empty());
        if let Some(own) = hops.and_then(own) {
            return own;
        }
        let may_take = |(to, _): &(Label, String)| match config.neighbours.get(to).map(|to| &to.kind) {
            Some(Kind::Peer(_)) => hops.is_some(),
            Some(Kind::Trunk(_)) => peer.trunks.contains(to),
            None => false,
        };
        let wanted = hops.unwrap_or(dialled);
        match outward(config, wanted) {
            // Whoever is in need there is not here, where help would be sent.
            _ if is_emergency(&national(wanted).1) => Destination::Unknown,
            Destination::Neighbours(all) => match all.into_iter().filter(may_take).collect::<Vec<_>>() {
                granted if granted.is_empty() => Destination::Unknown,
                granted => Destination::Neighbours(granted),
            },
            _ => Destination::Unknown,
        }
    }
}

/// What says whether the caller's number is shown (184, 186), and the number itself as it is dialled in Japan, without
/// what people write between digits (RFC 3966 §5.1.1).
fn national(dialled: &str) -> (&str, String) {
    let code = ["184", "186"].into_iter().find(|code| dialled.starts_with(code)).unwrap_or_default();
    let mut number: String = dialled.chars().filter(|c| !"-.() ".contains(*c)).collect();
    while let Some(rest) = ["184", "186"].iter().find_map(|code| number.strip_prefix(code)) {
        number = rest.to_owned();
    }
    if let Some(rest) = number.strip_prefix("+81") {
        number = format!("0{rest}");
    }
    (code, number)
}

/// What a dialled number means, for people: a line for what decides, and one for each thing that would happen.
/// `from` is an extension, or another exchange by its label.
pub fn explain(config: &Config, from: &str, dialled: &str) -> Vec<String> {
    let asks = Label::new(from).filter(|label| config.neighbours.contains_key(label));
    let destination = match &asks {
        Some(label) => Destination::asked_by(config, label, dialled),
        None => match Destination::dialled(config, dialled) {
            Destination::Unknown => {
                Destination::dialled(config, super::emergency::emergency(dialled).unwrap_or(dialled))
            }
            known => known,
        },
    };
    let wanted = asks.as_ref().map_or(dialled, |label| wanted_by(config, label, dialled));
    let (code, number) = national(wanted);
    let line = asks.as_ref().filter(|label| config.trunk(label).is_some());
    let rule = match (&destination, longest(config, &number)) {
        (_, _) if let Some(line) = line => format!("{line}.numbers"),
        (Destination::Extension(number), _) => format!("ext.{number}"),
        (Destination::Group(_), _) if config.groups.contains_key(wanted) => format!("group.{wanted}"),
        (Destination::Echo, _) => "echo".into(),
        (_, Some(Match { pattern, goal: Goal::Route(_), .. })) => format!("route.{pattern}"),
        (_, Some(Match { pattern, goal: Goal::Peer(label, _), .. })) => format!("{label}.prefix = {pattern}"),
        (_, None) => "nothing matches".into(),
    };
    let mut lines = vec![rule];
    match destination {
        Destination::Extension(number) => lines.push(format!("rings the phones of {number}")),
        Destination::Group(members) => {
            let members: Vec<&str> = members.iter().map(Number::as_str).collect();
            lines.push(format!("rings {}", members.join(" ")));
        }
        Destination::Echo => lines.push("is answered by the echo test".into()),
        Destination::Closed(why) => lines.push(format!("is refused (403): {why}")),
        Destination::Unknown if is_emergency(&number) => {
            lines.push("is refused (403): no emergency calls from here".into());
        }
        Destination::Unknown => {
            let why = asks.as_ref().and_then(|label| denied(config, label, dialled));
            lines.push(format!("is refused (404): {}", why.unwrap_or_else(|| "no such number".into())));
        }
        Destination::Neighbours(all) => {
            for (n, (label, number)) in all.iter().enumerate() {
                let Some(neighbour) = config.neighbours.get(label) else { continue };
                let shown = match &neighbour.kind {
                    Kind::Trunk(trunk) => {
                        trunk.caller_id.as_ref().map_or(trunk.user.as_str(), Number::as_str)
                    }
                    Kind::Peer(_) if code == "184" => "nobody",
                    Kind::Peer(_) if asks.is_some() => "the number by which the caller can be called back",
                    Kind::Peer(_) => from,
                };
                let hosts: Vec<String> =
                    neighbour.hosts.iter().map(|host| format!("sip:{number}@{host}")).collect();
                let else_ = if n == 0 { "" } else { "else " };
                lines.push(format!("{else_}goes to {} by {label}, from {shown}", hosts.join(" or ")));
            }
        }
    }
    lines
}

/// What a peer asks for, without the `0` behind which it is routed on.
fn wanted_by<'d>(config: &Config, label: &Label, dialled: &'d str) -> &'d str {
    let hops = match config.neighbours.get(label).map(|neighbour| &neighbour.kind) {
        Some(Kind::Peer(peer)) => peer.hop,
        _ => false,
    };
    let is_ours = Destination::of(config, dialled) != Destination::Unknown;
    dialled.strip_prefix('0').filter(|rest| hops && !is_ours && !rest.is_empty()).unwrap_or(dialled)
}

/// Why a peer may not have a number that there is, and the key that governs it.
fn denied(config: &Config, label: &Label, dialled: &str) -> Option<String> {
    let Kind::Peer(peer) = &config.neighbours.get(label)?.kind else { return None };
    let behind = dialled.strip_prefix('0').filter(|rest| !rest.is_empty());
    [Some(dialled), behind].into_iter().flatten().find_map(|wanted| {
        if Destination::of(config, wanted) != Destination::Unknown {
            return Some(format!("it is not granted ({label}.numbers)"));
        }
        let Destination::Neighbours(all) = outward(config, wanted) else { return None };
        let is_line = |(to, _): &(Label, String)| config.trunk(to).is_some();
        match all.iter().any(|to| !is_line(to)) {
            true if peer.hop => Some("others are reached behind a 0".into()),
            true => Some(format!("calls from there are not routed on ({label}.hop)")),
            false => Some(format!("no line is granted that would take it ({label}.trunks)")),
        }
    })
}

/// Where a number leads that is not ours.
fn outward(config: &Config, dialled: &str) -> Destination {
    let (mut shows, mut national) = national(dialled);
    // In some networks these are services of their own.
    if let Some(Match { named: 3.., .. }) = longest(config, dialled).filter(|_| !shows.is_empty()) {
        (shows, national) = ("", dialled.to_owned());
    }
    // What is asked for stands in a request to somebody else: it must be nothing but a number.
    if Number::new(&national).is_none() {
        return Destination::Unknown;
    }
    let Some(found) = longest(config, &national) else { return Destination::Unknown };
    match found.goal {
        Goal::Route(Route::Reject(why)) if why.is_empty() => {
            Destination::Closed("this number is closed here".into())
        }
        Goal::Route(Route::Reject(why)) => Destination::Closed(why.clone()),
        Goal::Route(Route::Group(group)) => Destination::of(config, group.as_str()),
        Goal::Peer(label, peer) => match beyond(&national, peer) {
            Some(number) if !is_emergency(&national) && !is_emergency(&number) => {
                Destination::Neighbours(vec![(label.clone(), number)])
            }
            Some(_) | None => Destination::Unknown,
        },
        Goal::Route(Route::Neighbours(labels)) => {
            let mut closed = None;
            let mut open = Vec::new();
            for label in labels {
                match config.neighbours.get(label).map(|neighbour| &neighbour.kind) {
                    Some(Kind::Trunk(_)) if !is_plain(&national) => {}
                    Some(Kind::Trunk(trunk)) => match closed_at(&national, found.named, trunk.emergency) {
                        None => open.push((label.clone(), format!("{shows}{national}"))),
                        Some(why) => closed = Some(why),
                    },
                    Some(Kind::Peer(_)) if !is_emergency(&national) => {
                        open.push((label.clone(), national.clone()));
                    }
                    Some(Kind::Peer(_)) | None => {}
                }
            }
            match (open.is_empty(), closed) {
                (false, _) => Destination::Neighbours(open),
                (true, Some(why)) => Destination::Closed(why),
                (true, None) => Destination::Unknown,
            }
        }
    }
}

/// What a peer is asked for, of a number with its prefix.
fn beyond(number: &str, peer: &Peer) -> Option<String> {
    let rest = number.get(usize::from(peer.strip)..).filter(|rest| !rest.is_empty())?;
    Some(format!("{}{rest}", peer.add.as_ref().map_or("", Number::as_str)))
}

/// The route or prefix that matches most of a number.
fn longest<'c>(config: &'c Config, number: &str) -> Option<Match<'c>> {
    let routes = config.routes.iter().filter_map(|(pattern, route)| {
        let named = matches(pattern.as_str(), number)?;
        Some(Match { named, pattern: pattern.as_str(), goal: Goal::Route(route) })
    });
    let peers = config.neighbours.iter().filter_map(|(label, neighbour)| {
        let Kind::Peer(peer) = &neighbour.kind else { return None };
        let prefix = peer.prefix.as_ref()?.as_str();
        let named = number.starts_with(prefix).then_some(prefix.len())?;
        Some(Match { named, pattern: prefix, goal: Goal::Peer(label, peer) })
    });
    routes.chain(peers).max_by_key(|found| (found.pattern.len(), found.named))
}

/// Whether a number begins with a pattern: how many of its digits the pattern names before the first `x`.
fn matches(pattern: &str, number: &str) -> Option<usize> {
    let start = number.get(..pattern.len())?;
    let fits = |(p, n): (u8, u8)| p == n || (p.eq_ignore_ascii_case(&b'x') && n.is_ascii_digit());
    let named = pattern.bytes().take_while(|b| !b.eq_ignore_ascii_case(&b'x')).count();
    pattern.bytes().zip(start.bytes()).all(fits).then_some(named)
}

/// Why a number is closed to a trunk by a route that names so many of its digits, and what would open it.
fn closed_at(number: &str, named: usize, takes_emergencies: bool) -> Option<String> {
    if is_emergency(number) {
        return (!takes_emergencies).then(|| "emergency calls are not taken there".into());
    }
    if OPEN.iter().any(|(start, digits)| number.starts_with(start) && number.len() == *digits) {
        return None;
    }
    let kind = KINDS.iter().filter(|(start, _)| number.starts_with(start));
    match kind.max_by_key(|(start, _)| start.len()) {
        Some((start, why)) if start.len() > named => Some(format!("{why} (route.{start} would open them)")),
        Some(_) => None,
        // 0AB-J, or what the owner has named at least two digits of, as it is elsewhere in the world.
        None if number.starts_with('0') && (number.len() == LINE || named > 1) => None,
        None if number.starts_with('0') => {
            let start: String = number.chars().take(2).collect();
            Some(format!("numbers of an unknown kind are closed (route.{start} would open them)"))
        }
        None if named > 0 => None,
        None => Some("numbers of an unknown kind are closed".into()),
    }
}

/// The longest code for a service of a network that begins with `*` or `#`. Behind a longer one a number could hide.
const MAX_CODE: usize = 6;

/// Whether a telephone network can make no more of it than we do: digits, with a `+` in front at most; or a short code
/// for a service.
fn is_plain(number: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    match number.strip_prefix('+') {
        Some(rest) => digits(rest),
        None if number.starts_with(['*', '#']) => {
            number.len() <= MAX_CODE && number.bytes().all(|b| b.is_ascii_digit() || b"*#".contains(&b))
        }
        None => digits(number),
    }
}

fn is_emergency(number: &str) -> bool {
    super::emergency::emergency(number) == Some(number)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const FILE: &str = "ext.101 = secret-one\next.102 = secret-two\ngroup.600 = 101 102\necho = 114\n\
        trunk.isp = sip:0312345678@sip.example.jp\ntrunk.isp.password = pw\ntrunk.isp.numbers = 101\n\
        trunk.other = sip:u@192.0.2.1\ntrunk.other.numbers = 101 102\n\
        peer.tokyo = sip:[2001:db8::1]\npeer.tokyo.prefix = 8023\npeer.tokyo.hop = yes\n\
        peer.osaka = sip:192.0.2.9\npeer.osaka.prefix = 806\npeer.osaka.add = 9\npeer.osaka.trunks = isp\n\
        peer.osaka.user = u\npeer.osaka.password = p\npeer.osaka.numbers = 600\n\
        route.0 = trunk.isp trunk.other\nroute.117 = peer.tokyo\nroute.0909 = trunk.isp\nroute.03x = trunk.other\n\
        route.0120 = reject Not from here\nroute.7 = group.600\n";

    fn config() -> Config {
        Config::parse("x", FILE.as_bytes()).unwrap()
    }

    fn said(destination: Destination) -> String {
        match destination {
            Destination::Neighbours(all) => {
                all.iter().map(|(label, number)| format!("{label}:{number}")).collect::<Vec<_>>().join(" ")
            }
            Destination::Extension(number) => format!("ext.{number}"),
            Destination::Group(members) => format!("{} phones", members.len()),
            Destination::Echo => "echo".into(),
            Destination::Closed(why) => format!("closed: {why}"),
            Destination::Unknown => "unknown".into(),
        }
    }

    #[test]
    fn what_an_extension_dials() {
        let config = config();
        for (dialled, expected) in [
            ("101", "ext.101"),
            ("114", "echo"),
            ("0452345678", "trunk.isp:0452345678 trunk.other:0452345678"),
            ("+81452345678", "trunk.isp:0452345678 trunk.other:0452345678"),
            ("1840452345678", "trunk.isp:1840452345678 trunk.other:1840452345678"),
            ("0312345678", "trunk.other:0312345678"),
            ("09012345678", "closed: mobile numbers are closed (route.090 would open them)"),
            ("09091234567", "trunk.isp:09091234567"),
            ("0+12025550100", "unknown"),
            ("+81+12025550100", "unknown"),
            ("0#010", "unknown"),
            ("0101*101", "unknown"),
            ("0311", "trunk.other:0311"),
            ("0411", "closed: numbers of an unknown kind are closed (route.04 would open them)"),
            ("04523456789", "closed: numbers of an unknown kind are closed (route.04 would open them)"),
            ("01", "closed: numbers of an unknown kind are closed (route.01 would open them)"),
            ("05012345678", "trunk.isp:05012345678 trunk.other:05012345678"),
            ("080012345678", "closed: mobile numbers are closed (route.080 would open them)"),
            ("08001234567", "trunk.isp:08001234567 trunk.other:08001234567"),
            ("0120123456", "closed: Not from here"),
            ("0101202", "closed: international numbers are closed (route.010 would open them)"),
            ("8023201", "peer.tokyo:201"),
            ("8023", "unknown"),
            ("806201", "peer.osaka:9201"),
            ("0-9012345678", "closed: mobile numbers are closed (route.090 would open them)"),
            ("0(45)234-5678", "trunk.isp:0452345678 trunk.other:0452345678"),
            ("18418609012345678", "closed: mobile numbers are closed (route.090 would open them)"),
            ("0452345678 SIP/2.0\r\nX: y", "unknown"),
            ("0452345678@h", "unknown"),
            ("8023110", "unknown"),
            ("117", "peer.tokyo:117"),
            ("71", "2 phones"),
            ("110", "unknown"),
            ("999", "unknown"),
            ("", "unknown"),
        ] {
            assert_eq!(said(Destination::dialled(&config, dialled)), expected, "{dialled}");
        }
    }

    #[test]
    fn what_other_exchanges_may_dial() {
        let config = config();
        let [tokyo, osaka, isp, other] =
            ["peer.tokyo", "peer.osaka", "trunk.isp", "trunk.other"].map(|label| Label::new(label).unwrap());
        for (who, dialled, expected) in [
            (&tokyo, "101", "ext.101"),
            (&tokyo, "0101", "ext.101"),
            (&tokyo, "0806201", "peer.osaka:9201"),
            (&tokyo, "806201", "unknown"),
            (&tokyo, "00312345678", "unknown"),
            (&tokyo, "0312345678", "unknown"),
            (&osaka, "101", "unknown"),
            (&osaka, "600", "2 phones"),
            (&osaka, "0400", "unknown"),
            (&osaka, "0452345678", "trunk.isp:0452345678"),
            (&osaka, "8023201", "unknown"),
            (&osaka, "110", "unknown"),
            (&osaka, "184119", "unknown"),
            (&isp, "0312345678", "ext.101"),
            (&isp, "anything", "ext.101"),
            (&other, "", "2 phones"),
        ] {
            assert_eq!(said(Destination::asked_by(&config, who, dialled)), expected, "{who} {dialled}");
        }
    }

    #[test]
    fn tells_what_it_does() {
        let config = config();
        let told = |from, dialled| explain(&config, from, dialled).join("\n");
        assert_eq!(told("101", "102"), "ext.102\nrings the phones of 102");
        assert_eq!(told("101", "600"), "group.600\nrings 101 102");
        assert_eq!(
            told("101", "8023201"),
            "peer.tokyo.prefix = 8023\ngoes to sip:201@[2001:db8::1] by peer.tokyo, from 101"
        );
        assert_eq!(
            told("101", "0452345678"),
            "route.0\ngoes to sip:0452345678@sip.example.jp by trunk.isp, from 0312345678\nelse goes to \
             sip:0452345678@192.0.2.1 by trunk.other, from u"
        );
        assert_eq!(
            told("101", "09012345678"),
            "route.0\nis refused (403): mobile numbers are closed (route.090 would open them)"
        );
        assert_eq!(told("101", "119"), "nothing matches\nis refused (403): no emergency calls from here");
        let refused = "is refused (404):";
        for (from, dialled, expected) in [
            ("peer.osaka", "101", format!("nothing matches\n{refused} it is not granted (peer.osaka.numbers)")),
            ("peer.osaka", "999", format!("nothing matches\n{refused} no such number")),
            (
                "peer.osaka",
                "8023201",
                format!(
                    "peer.tokyo.prefix = 8023\n{refused} calls from there are not routed on (peer.osaka.hop)"
                ),
            ),
            (
                "peer.tokyo",
                "806201",
                format!("peer.osaka.prefix = 806\n{refused} others are reached behind a 0"),
            ),
            (
                "peer.tokyo",
                "0452345678",
                format!("nothing matches\n{refused} no line is granted that would take it (peer.tokyo.trunks)"),
            ),
            (
                "peer.tokyo",
                "0806201",
                "peer.osaka.prefix = 806\ngoes to sip:9201@192.0.2.9 by peer.osaka, from the number by which the \
                 caller can be called back"
                    .into(),
            ),
            ("trunk.isp", "0312345678", "trunk.isp.numbers\nrings the phones of 101".into()),
            (
                "101",
                "184806555",
                "peer.osaka.prefix = 806\ngoes to sip:9555@192.0.2.9 by peer.osaka, from nobody".into(),
            ),
        ] {
            assert_eq!(told(from, dialled), expected, "{from} {dialled}");
        }
    }

    #[test]
    fn emergency_calls_go_where_they_are_taken_and_nowhere_else() {
        let file = "ext.101 = secret-one\ntrunk.a = sip:u@192.0.2.1\ntrunk.b = sip:u@192.0.2.2\n\
            trunk.b.emergency = yes\nroute.1 = trunk.a trunk.b\n";
        let config = Config::parse("x", file.as_bytes()).unwrap();
        assert_eq!(said(Destination::dialled(&config, "119")), "trunk.b:119");
        assert_eq!(said(Destination::dialled(&config, "104")), "trunk.a:104 trunk.b:104");
    }
}
