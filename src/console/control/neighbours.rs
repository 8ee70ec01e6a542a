//! `denwa peer show`: other exchanges, and what a friend writes into an Asterisk.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::super::words::{Brief, Foreign, Things};
use super::Certificate;
use super::Paint;
use super::table::{Table, clip};
use crate::config::{Account, Kind, Listen, Neighbour, Transport};
use crate::switch::view::{NeighbourView, WayView};

/// A line for each way to each of these exchanges.
pub fn neighbours(all: &[NeighbourView], width: Option<usize>, paint: Paint) -> String {
    if all.is_empty() {
        return "There is no other exchange in the configuration (peer.NAME, trunk.NAME).\n".into();
    }
    let mut table = Table::new(["NAME", "HOST", "ADDRESS", "VIA", "ANSWERS", "CALLS", "REGISTERED"]);
    let mut bad = Vec::new();
    for view in all {
        let calls = format!("{} of {}", view.calls, view.calls_limit);
        let registered = match &view.registration {
            None => "-".to_owned(),
            Some(registration) => match (registration.expires_in_s, &registration.trouble) {
                (Some(left), _) => format!("for {}", Brief(Duration::from_secs(left))),
                (None, Some(why)) => format!("no: {}", Foreign { text: why, most: 80 }),
                (None, None) => "not yet".to_owned(),
            },
        };
        for host in &view.hosts {
            let name = || view.name.clone();
            if host.ways.is_empty() {
                let why = host.trouble.as_deref().unwrap_or("being looked for");
                let why = Foreign { text: why, most: 80 }.to_string();
                table.row([
                    name(),
                    host.host.clone(),
                    why,
                    "-".into(),
                    "no".into(),
                    calls.clone(),
                    registered.clone(),
                ]);
                bad.push(true);
            }
            for way in &host.ways {
                table.row([
                    name(),
                    host.host.clone(),
                    way.address.to_string(),
                    way.transport.clone(),
                    answers(way),
                    calls.clone(),
                    registered.clone(),
                ]);
                bad.push(way.alive == Some(false));
            }
        }
    }
    let mut out = String::new();
    for (n, line) in table.lines().iter().enumerate() {
        let line = clip(line, width);
        let painted = match bad.get(n.wrapping_sub(1)) {
            _ if n == 0 => paint.bold(line).to_string(),
            Some(true) => paint.bad(line).to_string(),
            _ => line,
        };
        let _ = writeln!(out, "{painted}");
    }
    out
}

/// What a friend writes to know us by our certificate.
pub fn for_pinning(certificate: &Certificate) -> String {
    let lasts = match certificate.self_signed {
        true => "",
        false => " It is another one whenever the certificate is renewed.",
    };
    format!(
        "\nOur certificate, for the friend's configuration (with our name there in the place of NAME).{lasts}\n\n    \
         peer.NAME.pin = {}\n",
        certificate.sha256_fingerprint
    )
}

fn answers(way: &WayView) -> String {
    match (way.alive, way.round_trip_ms) {
        (Some(true), Some(time)) => format!("in {time} ms"),
        (Some(false), _) => "no".into(),
        _ => "not asked yet".into(),
    }
}

/// What of other exchanges is to be said in the status: how many can be reached, and which cannot.
pub(super) fn summary(all: &[NeighbourView]) -> String {
    let lost: Vec<&str> = all.iter().filter(|view| !view.reachable).map(|view| view.name.as_str()).collect();
    let unregistered = all.iter().filter(|view| {
        view.reachable
            && view.registration.as_ref().is_some_and(|registration| registration.expires_in_s.is_none())
    });
    let unregistered: Vec<&str> = unregistered.map(|view| view.name.as_str()).collect();
    let mut text =
        format!("{} of {} can be reached", all.len() - lost.len(), Things(all.len() as u64, "exchange"));
    for (what, which) in [("not", &lost), ("not registered:", &unregistered)] {
        if !which.is_empty() {
            let more = if which.len() > 5 { ", and others" } else { "" };
            let few: Vec<&str> = which.iter().take(5).copied().collect();
            // Writing to a string cannot fail.
            let _ = write!(text, "; {what} {}{more}", few.join(", "));
        }
    }
    text
}

/// The lines that a friend pastes into the files of an Asterisk with PJSIP, to be joined with us as `neighbour` says.
/// `place` is where we listen for its calls, at `host` if that is known; `prefix` is what is dialled there for us.
///
/// The password is in them: that is what they are for.
pub fn for_asterisk(
    name: &str,
    neighbour: &Neighbour,
    host: Option<IpAddr>,
    place: Listen,
    prefix: &str,
) -> String {
    let unknown = "YOUR-ADDRESS";
    let at = match host {
        Some(host) => SocketAddr::new(host, place.port).to_string(),
        None => format!("{unknown}:{}", place.port),
    };
    let host = host.map_or_else(|| unknown.to_owned(), |host| host.to_string());
    let (way, needs, keys) = match place.transport {
        Transport::Udp => ("", "", ""),
        // What follows a bare semicolon is a comment there.
        Transport::Tcp => ("\\;transport=tcp", "; needs a transport with protocol = tcp\n", ""),
        Transport::Tls => (
            "\\;transport=tls",
            "; needs a transport with protocol = tls, cert_file and priv_key_file; they know you by that certificate\n",
            "media_encryption = sdes\nmedia_encryption_optimistic = yes\n",
        ),
    };
    let account = match &neighbour.account {
        Some(Account { user, password }) => format!(
            "auth = {name}\noutbound_auth = {name}\n\n[{name}]\ntype = auth\nauth_type = userpass\n\
             username = {}\npassword = {}\n",
            user.replace(';', "\\;"),
            password.reveal().replace(';', "\\;")
        ),
        None => String::new(),
    };
    let hop = match &neighbour.kind {
        Kind::Peer(peer) if peer.hop => "; a 0 behind the prefix goes on through their exchange\n",
        _ => "",
    };
    let digits = prefix.len();
    format!(
        "; pjsip.conf\n{needs}[{name}]\ntype = endpoint\ncontext = from-{name}\ndisallow = all\nallow = ulaw,alaw,g722\n\
         direct_media = no\n{keys}aors = {name}\n{account}\n[{name}]\ntype = aor\ncontact = sip:{at}{way}\n\
         qualify_frequency = 60\n\n[{name}]\ntype = identify\nendpoint = {name}\nmatch = {host}\n\n\
         ; extensions.conf, in the context of your phones\n{hop}\
         exten => _{prefix}.,1,Dial(PJSIP/${{EXTEN:{digits}}}@{name})\n\n\
         ; extensions.conf: what they may dial here, for example your phone 201, which is shown a number that it can call\n\
         ; back\n[from-{name}]\n\
         ; exten => 201,1,Set(CALLERID(num)={prefix}${{CALLERID(num)}})\n;  same => n,Dial(PJSIP/201)\n"
    )
}
