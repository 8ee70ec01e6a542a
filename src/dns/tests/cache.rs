//! What is still known is not asked for, and old knowledge is better than none.

use std::cell::RefCell;

use super::server::Server;
use super::*;
use crate::dns::Reason;

#[test]
fn what_holds_is_not_asked_for_again() {
    let zone = RefCell::new("a.example 100 A 192.0.2.1");
    let server = Server::new(|asked| vec![asked.answer(*zone.borrow())]);
    let resolver = resolver(&[&server]);
    let found = |text| locate(&resolver, &[&server], text).unwrap();
    assert_eq!(found("a.example:5060").valid.as_secs(), 100);
    assert_eq!(server.heard().len(), 2);

    *zone.borrow_mut() = "a.example 100 A 192.0.2.2";
    resolver.ahead.set(Duration::from_secs(50));
    let again = found("A.EXAMPLE.:5070");
    assert_eq!(places(&again), ["udp 192.0.2.1:5070"]);
    assert!((48..=50).contains(&again.valid.as_secs()), "{:?}", again.valid);
    assert_eq!(server.heard().len(), 2);

    resolver.ahead.set(Duration::from_secs(101));
    assert_eq!(places(&found("a.example:5060")), ["udp 192.0.2.2:5060"]);
    // That there are no IPv6 addresses held for a minute.
    assert_eq!(server.heard().len(), 4);
}

#[test]
fn what_is_not_there_is_not_asked_for_again() {
    let server = Server::of("!a.example");
    let resolver = resolver(&[&server]);
    let missing = || locate(&resolver, &[&server], "a.example:5060").unwrap_err().reason;
    assert_eq!((missing(), missing()), (Reason::NoSuchName, Reason::NoSuchName));
    assert_eq!(server.heard().len(), 2);
    resolver.ahead.set(Duration::from_secs(61));
    missing();
    assert_eq!(server.heard().len(), 4);
}

#[test]
fn an_old_answer_is_used_while_nobody_answers() {
    let works = RefCell::new(true);
    let zone = "
        _sip._udp.a.example 100 SRV 0 0 5070 b.example
        b.example 100 A 192.0.2.1";
    let server = Server::new(|asked| match *works.borrow() {
        true => vec![asked.answer(zone)],
        false => vec![asked.message(0x8182, &[], &[])],
    });
    let resolver = resolver(&[&server]);
    let found = || locate(&resolver, &[&server], "a.example").map(|located| places(&located));
    assert_eq!(found().unwrap(), ["udp 192.0.2.1:5070"]);
    *works.borrow_mut() = false;
    resolver.ahead.set(Duration::from_secs(3_000));
    assert_eq!(found().unwrap(), ["udp 192.0.2.1:5070"]);
    resolver.ahead.set(Duration::from_secs(3_800));
    assert_eq!(found().unwrap_err().reason, Reason::Failed(2));
    *works.borrow_mut() = true;
    resolver.ahead.set(Duration::from_secs(3_806));
    assert_eq!(found().unwrap(), ["udp 192.0.2.1:5070"]);
}

#[test]
fn those_who_ask_the_same_at_once_ask_once() {
    let server = Server::of("a.example 100 A 192.0.2.1");
    let resolver = resolver(&[&server]);
    let targets: Vec<Target> = (0..50).map(|n| target(&format!("a.example:{}", 5060 + n))).collect();
    let executor = smol::LocalExecutor::new();
    let tasks: Vec<_> = targets.iter().map(|target| executor.spawn(resolver.locate(target))).collect();
    let all = executor.run(async {
        for (n, task) in tasks.into_iter().enumerate() {
            assert_eq!(places(&task.await.unwrap()), [format!("udp 192.0.2.1:{}", 5060 + n)]);
        }
    });
    serve(&[&server], all);
    assert_eq!(server.heard(), ["a.example A", "a.example AAAA"]);
    assert!(resolver.under_way.borrow().is_empty());
}

#[test]
fn who_does_not_wait_for_the_answer_leaves_nothing_behind() {
    let server = Server::new(|_| Vec::new());
    let resolver = resolver(&[&server]);
    let wanted = target("a.example:5060");
    let given_up = or(async { resolver.locate(&wanted).await.map(|_| ()).ok() }, async {
        smol::Timer::after(Duration::from_millis(20)).await;
        None
    });
    assert_eq!(serve(&[&server], given_up), None);
    assert!(resolver.under_way.borrow().is_empty());
}
