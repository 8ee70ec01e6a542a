//! Servers that do not serve: the next one does, or people are told why nobody does.

use std::cell::Cell;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Instant;

use super::server::{Server, framed};
use super::*;
use crate::dns::Reason;

const ZONE: &str = "a.example 60 A 192.0.2.1";

fn silent() -> Server<'static> {
    Server::new(|_| Vec::new())
}

fn failing(code: u16) -> Server<'static> {
    Server::new(move |asked| vec![asked.message(0x8180 | code, &[], &[])])
}

#[test]
fn when_one_is_silent_the_next_is_asked_and_stays_the_first() {
    let (one, two) = (silent(), Server::of(ZONE));
    let resolver = resolver(&[&one, &two]);
    let start = Instant::now();
    let found = locate(&resolver, &[&one, &two], "a.example:5060").unwrap();
    assert_eq!(places(&found), ["udp 192.0.2.1:5060"]);
    assert!(start.elapsed() >= Duration::from_millis(200));
    assert_eq!(one.heard().len(), 2);

    let start = Instant::now();
    locate(&resolver, &[&one, &two], "b.example:5060").unwrap_err();
    assert!(start.elapsed() < Duration::from_millis(200), "nobody waits for the silent one again");
    assert_eq!(one.heard().len(), 2);
}

#[test]
fn when_all_are_silent_that_is_told_in_time() {
    let (one, two) = (silent(), silent());
    let resolver = resolver(&[&one, &two]);
    let error = locate(&resolver, &[&one, &two], "a.example:5060").unwrap_err();
    assert_eq!((error.reason, error.asked), (Reason::NoAnswer, vec![one.address(), two.address()]));
    assert_eq!(one.heard().len(), 4, "A and AAAA, twice each");
    // For a moment nobody is asked again.
    locate(&resolver, &[&one, &two], "a.example:5060").unwrap_err();
    assert_eq!(one.heard().len(), 4);
}

#[test]
fn a_question_ends_at_its_deadline() {
    let server = silent();
    let list = vec![server.address()];
    let resolver = Resolver::with(Servers::of(list), "", [7; 16]);
    let name = crate::dns::Name::new("a.example").unwrap();
    let start = Instant::now();
    let question = resolver.addresses(&name, start + Duration::from_millis(300));
    let error = serve(&[&server], question).map(|_| ()).unwrap_err();
    assert_eq!(error.reason, Reason::NoAnswer);
    assert!((300..1_500).contains(&start.elapsed().as_millis()));
}

#[test]
fn who_fails_is_not_asked_twice() {
    let (one, two) = (failing(2), Server::of(ZONE));
    let found = locate(&resolver(&[&one, &two]), &[&one, &two], "a.example:5060").unwrap();
    assert_eq!(places(&found).len(), 1);
    assert_eq!(one.heard().len(), 2);

    let (one, two) = (failing(5), failing(2));
    let error = locate(&resolver(&[&one, &two]), &[&one, &two], "a.example:5060").unwrap_err();
    assert_eq!(error.reason, Reason::Failed(2));
    assert_eq!((one.heard().len(), two.heard().len()), (2, 2));
    assert!(error.to_string().contains("cannot find out (SERVFAIL)"), "{error}");
}

#[test]
fn a_closed_port_is_not_waited_for() {
    let nobody = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let two = Server::of(ZONE);
    let resolver = Resolver::with(Servers::of(vec![address, two.address()]), "", [7; 16]);
    let start = Instant::now();
    let found = locate(&resolver, &[&two], "a.example:5060").unwrap();
    assert_eq!(places(&found).len(), 1);
    assert!(start.elapsed() < Duration::from_secs(1), "two seconds would be the usual time");
    let resolver = Resolver::with(Servers::of(vec![address]), "", [7; 16]);
    let error = locate(&resolver, &[], "a.example:5060").unwrap_err();
    assert!(matches!(error.reason, Reason::Unreachable(_)), "{error}");
}

#[test]
fn an_old_server_is_asked_without_edns() {
    let old = Server::new(|asked| match asked.has_edns {
        true => vec![[&asked.message(0x8181, &[], &[])[..4], &[0; 8]].concat()],
        false => vec![asked.answer(ZONE)],
    });
    let found = locate(&resolver(&[&old]), &[&old], "a.example:5060").unwrap();
    assert_eq!(places(&found).len(), 1);
    assert_eq!(old.asked.borrow().iter().filter(|asked| asked.has_edns).count(), 2);
}

#[test]
fn what_does_not_fit_is_asked_for_by_tcp() {
    let zone: String = (0..200).map(|n| format!("a.example 60 A 192.0.2.{n}\n")).collect();
    let server = Server::new(|asked| match asked.is_tcp {
        true => vec![framed(asked.answer(&zone))],
        false => vec![asked.message(0x8380, &[], &[])],
    });
    let found = locate(&resolver(&[&server]), &[&server], "a.example:5060").unwrap();
    assert_eq!(places(&found).len(), 4);
    assert_eq!(server.asked.borrow().iter().filter(|asked| asked.is_tcp).count(), 2);
}

#[test]
fn tcp_that_stops_in_the_middle_is_not_waited_for_for_ever() {
    for cut in [0, 1, 2, 20] {
        let server = Server::new(move |asked| match asked.is_tcp {
            true => vec![framed(asked.answer(ZONE))[..cut].to_vec()],
            false => vec![asked.message(0x8380, &[], &[])],
        });
        let error = locate(&resolver(&[&server]), &[&server], "a.example:5060").unwrap_err();
        assert!(error.reason.is_failure(), "{error}");
    }
}

#[test]
fn without_naptr_answers_the_usual_names_are_asked_for() {
    let server = Server::new(|asked| match asked.kind.as_str() {
        "NAPTR" => Vec::new(),
        _ => vec![asked.answer("_sip._udp.a.example 600 SRV 0 0 5070 b.example\n b.example 600 A 192.0.2.1")],
    });
    let found = locate(&resolver(&[&server]), &[&server], "a.example").unwrap();
    assert_eq!(places(&found), ["udp 192.0.2.1:5070"]);
    assert_eq!(found.valid.as_secs(), 30, "who was not heard is asked again soon");
}

#[test]
fn without_srv_answers_nobody_else_is_taken_for_the_server() {
    let server = Server::new(|asked| match asked.kind.as_str() {
        "SRV" => Vec::new(),
        _ => vec![asked.answer(ZONE)],
    });
    let error = locate(&resolver(&[&server]), &[&server], "a.example").unwrap_err();
    assert_eq!(error.reason, Reason::NoAnswer);
}

#[test]
fn without_an_answer_for_one_family_the_other_serves() {
    let server = Server::new(|asked| match asked.kind.as_str() {
        "AAAA" => Vec::new(),
        _ => vec![asked.answer("a.example 600 A 192.0.2.1")],
    });
    let found = locate(&resolver(&[&server]), &[&server], "a.example:5060").unwrap();
    assert_eq!((places(&found).len(), found.valid.as_secs()), (1, 30));
}

#[test]
fn questions_under_way_are_bounded() {
    let (now, most) = (Cell::new(0), Cell::new(0));
    let server = Server::new(|_| {
        now.set(now.get() + 1);
        most.set(most.get().max(now.get()));
        Vec::new()
    });
    let resolver = resolver(&[&server]);
    let targets: Vec<Target> = (0..100).map(|n| target(&format!("h{n}.example:5060"))).collect();
    let executor = smol::LocalExecutor::new();
    let tasks: Vec<_> = targets.iter().map(|target| executor.spawn(resolver.locate(target))).collect();
    // Before the first of them gives up.
    serve(&[&server], executor.run(smol::Timer::after(Duration::from_millis(150))));
    assert_eq!(most.get(), 64);
    let all = executor.run(async {
        for task in tasks {
            task.await.unwrap_err();
        }
    });
    serve(&[&server], all);
    assert!(resolver.under_way.borrow().is_empty());
}
