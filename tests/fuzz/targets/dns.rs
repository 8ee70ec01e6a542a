//! What a name server says, and the files that name it: nothing is taken that nobody can be reached by, and nothing
//! in excess.

use denwa::dns::message::{Reply, read};
use denwa::dns::record::{Content, Kind, Question, Record};
use denwa::dns::{Host, MAX_ALIASES, MAX_NAME, MAX_RECORDS, Name, Resolver};

use super::cost;

/// What can be asked for.
const KINDS: [Kind; 4] = [Kind::A, Kind::Aaaa, Kind::Srv, Kind::Naptr];

/// What is asked for, in two bits, and a message that may answer it; the third bit makes it a file instead.
pub fn run(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    cost::bounded(bytes.len(), || match first & 4 {
        0 => answer(rest, KINDS[usize::from(first & 3)]),
        _ => files(&String::from_utf8_lossy(rest)),
    });
}

fn answer(message: &[u8], kind: Kind) {
    let id = message.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
    let question = Question { name: name("a.example"), kind };
    let reply = read(message, id, &question);
    assert_eq!(read(message, id, &question), reply, "the same each time");
    assert!(read(message, !id, &question).is_err(), "the number does not matter");
    let other = Question { name: name("b.example"), kind };
    let Ok(Reply::Answer(answer)) = reply else { return };
    assert!(read(message, id, &other).is_err(), "the question does not matter");
    assert!(answer.aliases <= MAX_ALIASES);
    match answer.content {
        Content::Alias(to) => named(&to),
        Content::NoRecords | Content::NoSuchName => {}
        Content::Records(records) => {
            assert!((1..=MAX_RECORDS).contains(&records.len()));
            records.iter().for_each(|record| recorded(record, kind));
        }
    }
}

fn recorded(record: &Record, kind: Kind) {
    match (record, kind) {
        (Record::Address(address), Kind::A | Kind::Aaaa) => {
            assert!(!address.is_unspecified() && !address.is_multicast());
            assert_eq!(*address, address.to_canonical());
        }
        (Record::Srv(srv), Kind::Srv) => {
            if let Some(target) = &srv.target {
                named(target);
                assert_ne!(srv.port, 0);
            }
        }
        (Record::Naptr(naptr), Kind::Naptr) => named(&naptr.replacement),
        (other, kind) => panic!("{other:?} is no {kind:?}"),
    }
}

/// A name that can be shown to people and be asked for.
fn named(name: &Name) {
    assert!((1..=MAX_NAME).contains(&name.as_str().len()));
    assert_eq!(Name::new(name.as_str()).as_ref(), Some(name));
}

fn files(text: &str) {
    Resolver::new(text, text, [7; 16]);
    if let Some(Host::Name(host)) = Host::new(text) {
        named(&host);
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}
