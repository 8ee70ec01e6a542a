//! Answers that are none: of others, to other questions, or of no sense at all.

use std::cell::RefCell;
use std::net::{Ipv4Addr, UdpSocket};

use super::server::{Server, framed, name, record};
use super::*;
use crate::dns::message::{self, Unfit};
use crate::dns::record::{Kind, Question};
use crate::dns::{Name, Reason};

const LIE: &str = "a.example 60 A 203.0.113.66";
const TRUTH: &str = "a.example 60 A 192.0.2.1";

/// What is located at a server that says first this, then the truth.
fn after(lie: impl Fn(&server::Asked) -> Vec<u8>) -> Vec<String> {
    let server = Server::new(|asked| vec![lie(asked), asked.answer(TRUTH)]);
    places(&locate(&resolver(&[&server]), &[&server], "a.example:5060").unwrap())
}

#[test]
fn what_answers_another_question_is_ignored() {
    let truth = ["udp 192.0.2.1:5060"];
    let with = |asked: &server::Asked, index: usize, change: u8| {
        let mut lie = asked.answer(LIE);
        lie[index] ^= change;
        lie
    };
    assert_eq!(after(|asked| with(asked, 0, 1)), truth, "another number");
    assert_eq!(after(|asked| with(asked, 1, 0x80)), truth, "another number");
    assert_eq!(after(|asked| with(asked, 2, 0x80)), truth, "a question");
    assert_eq!(after(|asked| with(asked, 2, 0x08)), truth, "another kind of question");
    assert_eq!(after(|asked| with(asked, 13, 1)), truth, "another name");
    assert_eq!(after(|asked| with(asked, 24, 2)), truth, "another type");
    assert_eq!(after(|asked| with(asked, 26, 2)), truth, "another class");
    assert_eq!(after(|_| Vec::new()), truth, "nothing");
    assert_eq!(after(|asked| asked.answer(LIE)[..30].to_vec()), truth, "a part");
}

#[test]
fn letters_of_either_case_are_the_same_question() {
    let server = Server::new(|asked| {
        let mut answer = asked.answer(TRUTH);
        answer[13] ^= 0x20;
        vec![answer]
    });
    let found = locate(&resolver(&[&server]), &[&server], "a.example:5060").unwrap();
    assert_eq!(places(&found), ["udp 192.0.2.1:5060"]);
}

#[test]
fn what_comes_from_somebody_else_is_ignored() {
    let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let server = Server::new(|asked| {
        other.send_to(&asked.answer(LIE), asked.client.unwrap()).unwrap();
        vec![asked.answer(TRUTH)]
    });
    let found = locate(&resolver(&[&server]), &[&server], "a.example:5060").unwrap();
    assert_eq!(places(&found), ["udp 192.0.2.1:5060"]);
}

#[test]
fn each_question_has_another_number_and_port() {
    let (numbers, ports) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
    let server = Server::new(|asked| {
        let answer = asked.answer(TRUTH);
        numbers.borrow_mut().push(u16::from_be_bytes([answer[0], answer[1]]));
        ports.borrow_mut().push(asked.client.unwrap().port());
        vec![answer]
    });
    let resolver = resolver(&[&server]);
    for n in 0..20 {
        let _ = locate(&resolver, &[&server], &format!("h{n}.example:5060"));
    }
    for (what, mut all) in [("numbers", numbers.take()), ("ports", ports.take())] {
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert!(count == 40 && all.len() + 3 >= count, "{what}: {all:?}");
    }
}

#[test]
fn who_guesses_often_makes_us_ask_by_tcp() {
    let server = Server::new(|asked| match asked.is_tcp {
        true => vec![framed(asked.answer(TRUTH))],
        false => (1..=20)
            .map(|n| {
                let mut guess = asked.answer(LIE);
                guess[0] ^= n;
                guess
            })
            .collect(),
    });
    let found = locate(&resolver(&[&server]), &[&server], "a.example:5060").unwrap();
    assert_eq!(places(&found), ["udp 192.0.2.1:5060"]);
}

#[test]
fn records_of_others_do_not_count() {
    let server = Server::new(|asked| {
        let about = |name: &str| record(&[name, "60", "A", "203.0.113.66"]);
        let mut other_class = about("a.example");
        other_class[12] = 3;
        vec![asked.message(0x8180, &[about("b.example"), other_class], &[])]
    });
    let error = locate(&resolver(&[&server]), &[&server], "a.example:5060").unwrap_err();
    assert_eq!(error.reason, Reason::NoAddress);
}

/// What the question for the SRV records of `a.example` is answered with: these octets behind it.
fn read(counts: [u16; 4], behind: &[u8]) -> Result<message::Reply, Unfit> {
    let question = Question { name: Name::new("a.example").unwrap(), kind: Kind::Srv };
    let mut octets = vec![0, 7, 0x81, 0x80];
    octets.extend(counts.iter().flat_map(|count| count.to_be_bytes()));
    octets.extend(name("a.example"));
    octets.extend([0, 33, 0, 1]);
    octets.extend(behind);
    message::read(&octets, 7, &question)
}

#[test]
fn lengths_that_lie_are_seen() {
    let srv = record(&["a.example", "60", "SRV", "1", "2", "5060", "b.example"]);
    assert!(matches!(read([1, 1, 0, 0], &srv), Ok(message::Reply::Answer(_))));
    for end in 0..srv.len() {
        assert_eq!(read([1, 1, 0, 0], &srv[..end]), Err(Unfit::Garbled), "{end}");
    }
    // The length of the data is at 19.
    for length in (0_u16..17).chain([18, 100, 0xffff]) {
        let mut lie = srv.clone();
        lie[19..21].copy_from_slice(&length.to_be_bytes());
        assert_eq!(read([1, 1, 0, 0], &lie), Err(Unfit::Garbled), "{length}");
    }
    for counts in [[1, 2, 0, 0], [1, 0xffff, 0, 0], [1, 1, 1, 0], [0xffff; 4], [0, 1, 0, 0], [2, 1, 0, 0]] {
        assert_eq!(read(counts, &srv), Err(Unfit::Garbled), "{counts:?}");
    }
}

#[test]
fn names_that_point_at_themselves_are_seen() {
    let at = 12 + 11 + 4;
    let pointing = |to: u8| {
        [&[0xc0, to][..], &[0, 33, 0, 1, 0, 0, 0, 60, 0, 8, 0, 1, 0, 1, 0x13, 0xc4, 0xc0, to]].concat()
    };
    assert!(matches!(read([1, 1, 0, 0], &pointing(12)), Ok(message::Reply::Answer(_))));
    for to in [at, at + 1, at + 18, 255] {
        assert_eq!(read([1, 1, 0, 0], &pointing(to)), Err(Unfit::Garbled), "{to}");
    }
    // A label and a pointer back to it, which never ends.
    let circle = [&[1, b'x', 0xc0, at][..], &pointing(12)[2..]].concat();
    assert_eq!(read([1, 1, 0, 0], &circle), Err(Unfit::Garbled));
    // Labels of kinds that there are not.
    for kind in [0x40, 0x80] {
        let odd = [&[kind, 1, 0][..], &pointing(12)[2..]].concat();
        assert_eq!(read([1, 1, 0, 0], &odd), Err(Unfit::Garbled));
    }
}

#[test]
fn names_that_nobody_can_have_are_not_taken() {
    for odd in ["\u{1b}[31m", "a b", "a\nb", "電話"] {
        let srv = record(&["a.example", "60", "SRV", "1", "2", "5060", odd]);
        let Ok(message::Reply::Answer(answer)) = read([1, 1, 0, 0], &srv) else { panic!("{odd}") };
        assert_eq!(answer.content, crate::dns::record::Content::NoRecords);
    }
    // A dot within a label.
    let mut srv = record(&["a.example", "60", "SRV", "1", "2", "5060", "b-example"]);
    let dash = srv.iter().rposition(|octet| *octet == b'-').unwrap();
    srv[dash] = b'.';
    let Ok(message::Reply::Answer(answer)) = read([1, 1, 0, 0], &srv) else { panic!() };
    assert_eq!(answer.content, crate::dns::record::Content::NoRecords);
}

#[test]
fn garbage_is_an_error_that_says_so() {
    let server = Server::new(|asked| {
        let mut answer = asked.answer(TRUTH);
        answer.truncate(answer.len() - 3);
        vec![answer]
    });
    let resolver = resolver(&[&server]);
    // The other family has no records, and so no answer to cut.
    let error = locate(&resolver, &[&server], "a.example:5060").unwrap_err();
    assert_eq!(error.reason, Reason::Unreadable);
    assert!(error.to_string().contains("cannot be read"), "{error}");
}

#[test]
fn any_octets_at_all_can_be_read() {
    let random = crate::dns::random::Random::new([9; 16]);
    let srv = record(&["a.example", "60", "SRV", "1", "2", "5060", "b.example"]);
    let cname = record(&["a.example", "60", "CNAME", "b.example"]);
    let good = [srv.clone(), cname, srv].concat();
    for _ in 0..20_000 {
        let mut octets = good.clone();
        for _ in 0..=random.up_to(3) {
            let at = random.up_to(good.len() as u32 - 1) as usize;
            octets[at] = random.draw() as u8;
        }
        let _ = read([1, 3, 0, 0], &octets);
    }
}
