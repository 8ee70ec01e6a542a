//! Collections of messages beside the project, run where they are there: those of the RFCs themselves,
//! and those that real phones, exchanges and attackers have sent.

use std::path::PathBuf;

use denwa::sip::digest::Credentials;
use denwa::sip::{Edit, Message, Name, Via};

use crate::wire::{Verdict, judge};

/// Name and bytes of each message; empty, and said so, where the folder is not there.
pub(crate) fn messages(folder: &str, extension: &str) -> Vec<(String, Vec<u8>)> {
    let path = PathBuf::from("../shared/corpus").join(folder);
    let Ok(entries) = std::fs::read_dir(&path) else {
        println!("skipped: {} is not there", path.display());
        return Vec::new();
    };
    let mut messages: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), std::fs::read(path).unwrap()))
        .collect();
    messages.sort();
    assert!(!messages.is_empty(), "{} is empty", path.display());
    messages
}

/// The index of the RFCs' messages, in the words of the index beside them.
#[test]
fn the_messages_of_the_rfcs_get_their_verdicts() {
    let Ok(index) = std::fs::read_to_string("../shared/corpus/torture/INDEX.tsv") else {
        return println!("skipped: ../shared/corpus/torture is not there");
    };
    let messages = messages("torture", "dat");
    let mut wrong = Vec::new();
    for line in index.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let (name, wanted) = (columns[0].trim_end_matches(".dat"), columns[4]);
        let bytes = &messages.iter().find(|(n, _)| n == name).unwrap().1;
        let verdict = judge(bytes);
        let ok = match wanted {
            // Who is asked, and for whom, is not for the parser to say; the exchange decides.
            "accept" | "accept-lenient" | "accept-syntax" | "415-at-UAS" | "406-or-ignore" | "483-or-200"
            | "420" => verdict == Verdict::Fine,
            "lenient-or-400" | "accept-or-400" => [Verdict::Fine, Verdict::Answer(400)].contains(&verdict),
            // A display name that wants quotes is clear enough; a Contact is the registrar's to read.
            "400" if ["rfc4475-baddn", "rfc4475-regbadct"].contains(&name) => verdict == Verdict::Fine,
            // What an answer would have to repeat is not there.
            "400" if name == "rfc4475-insuf" => verdict == Verdict::Drop,
            "400" | "400-or-501" => verdict == Verdict::Answer(400),
            "416" => verdict == Verdict::Answer(416),
            // Its Via is of version 7 as well, so nobody can say where an answer would have to go.
            "505" => verdict == Verdict::Drop,
            "discard" => !matches!(verdict, Verdict::Answer(_)),
            other => panic!("{name}: the index says {other}"),
        };
        if !ok {
            wrong.push(format!("{name}: {verdict:?}, the index says {wanted}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The messages of real devices that are broken beyond use, and how that is seen. Most were cut
/// short by whoever published them. `None`: they are not to be answered, but dropped.
const BROKEN: [(&str, Option<u16>, &str); 12] = [
    ("aastra-intelligate-register-broken", None, "the port in Via is `5060port`"),
    ("cisco-cp8865nr-refer-remotecc-conference", Some(400), "Content-Length beyond the end"),
    ("cisco-ios-gateway-invite", Some(400), "Content-Length beyond the end"),
    ("freeswitch-200-digest-leak", None, "Content-Length beyond the end, in a response"),
    ("hgw-ngn-200-multivia-ipv6", None, "no From, Call-ID, CSeq"),
    ("microsip-reinvite-hold-resume", Some(400), "Content-Length beyond the end"),
    ("netgear-ta612v-invite", Some(400), "Content-Length beyond the end"),
    ("polycom601-invite-replaces-header-uri", Some(400), "headers in the Request-URI"),
    ("snom300-invite-sdes-header-only", Some(400), "Content-Length beyond the end"),
    ("snom821-publish-vq-rtcpxr", Some(400), "Content-Length beyond the end"),
    ("tpl-yealink-t21p-pnp-subscribe", None, "a dot behind the port in Via"),
    ("yealink-t46g-notify-dialog-info", Some(400), "Content-Length beyond the end"),
];

#[test]
fn what_real_devices_send_is_understood() {
    let mut wrong = Vec::new();
    for (name, bytes) in messages("realworld", "sip") {
        let verdict = judge(&bytes);
        let expected = match BROKEN.iter().find(|(broken, ..)| *broken == name) {
            Some((_, Some(status), _)) => Verdict::Answer(*status),
            Some((_, None, _)) => Verdict::Drop,
            None => Verdict::Fine,
        };
        // Of what is hostile any verdict will do, as long as there is one.
        if verdict != expected && !name.starts_with("hostile-") {
            wrong.push(format!("{name}: {verdict:?} and not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn nothing_is_lost_between_index_and_edit() {
    let real = messages("realworld", "sip");
    for (name, bytes) in real.iter().chain(&messages("torture", "dat")) {
        let Ok(message) = Message::parse(bytes) else { continue };
        assert_eq!(Edit::new(&message).finish(), message.bytes(), "{name}");
        if judge(bytes) != Verdict::Fine {
            continue;
        }
        // The lines of the index, one after the other, are all there is before the body.
        let start = message.headers()[0].line().start;
        let end = message.headers().iter().fold(start, |end, header| {
            assert_eq!(header.line().start, end, "{name}");
            header.line().end
        });
        let blank = &message.bytes()[end..message.bytes().len() - message.body().len()];
        assert!(blank == b"\r\n" || blank == b"\n" || blank.is_empty(), "{name}: {}", blank.escape_ascii());
        let vias_are_read = message.list(Name::Via).all(|via| Via::parse(via).is_some());
        assert!(vias_are_read || name.ends_with("badinv01"), "{name}");
        for header in [Name::Authorization, Name::ProxyAuthorization] {
            for value in message.values(header) {
                // Another scheme; and one that was cut short by whoever published it.
                let foreign = name.contains("regaut01") || name.contains("leaked");
                assert!(Credentials::parse(value).is_some() || foreign, "{name}");
            }
        }
    }
}
