//! What other versions and machines have written, and what nobody has.

use super::super::frame::Found;
use super::*;

/// One record of each kind, all numbers in them different.
fn each_kind() -> Vec<Record> {
    let clocks = Clocks { now: Instant(300), wall: WALL };
    let kept = |id| Kept { id, at: Instant(70_000), form: (&b"\x01\xff"[..]).into() };
    let refresh = |id| Refresh { id, term: Term::new(9, Instant(80_000), 60 * SECOND, 30 * SECOND) };
    let at = |address: &str| address.parse::<SocketAddr>().unwrap().into();
    let binding = Binding {
        id: 0x0102_0304_0506,
        number: "101".into(),
        uri: (&b"sip:101@[2001:db8::1]:5060;transport=tcp"[..]).into(),
        params: (&b";a=b"[..]).into(),
        device: Some(((&b"\"<urn:uuid:0>\""[..]).into(), 1)),
        path: (&b"<sip:p;lr>"[..]).into(),
        q: 500,
        flow: Flow {
            transport: Transport::Tcp,
            local: at("192.0.2.1:5060"),
            remote: at("[fe80::1%3]:40000"),
        },
        behind_nat: true,
        call_id: (&b"call@1"[..]).into(),
        term: Term::new(1 << 31, Instant(5_000), 3600 * SECOND, 1800 * SECOND),
    };
    vec![
        Record::Secret(Secret([7; 32])),
        Record::Started(clocks),
        Record::Clock(clocks),
        Record::Bound(Box::new(binding)),
        Record::Refreshed(refresh(2)),
        Record::Extended(refresh(3)),
        Record::Unbound(1 << 63),
        Record::Call(kept(4)),
        Record::CallOver(5),
        Record::CallGone(6),
        Record::Invite(7, kept(8)),
        Record::InviteGone(9),
        Record::Numbered(10),
        Record::Used(Used { number: "102".into(), hour: 497_000, begun: [11, 300] }),
        Record::Locks(kept(12)),
        Record::Banned(Ban { source: 1 << 40, failures: Some(30), at: Instant(13), until: Instant(600_013) }),
        Record::Heard(1 << 40, true),
    ]
}

/// The same as a file of version 2, whatever machine has written it.
const GOLDEN: &str = "
64656e7761e90d0a020000002100eb4baec000070707070707070707070707070707070707070707070707070707070707070709
00d8e0b59e01ac0280d8c1a28c3409001ddc38a702ac0280d8c1a28c348b0020928e9703868a9098a02003313031287369703a31
3031405b323030313a6462383a3a315d3a353036303b7472616e73706f72743d746370043b613d62010e223c75726e3a75756964
3a303e22010a3c7369703a703b6c723ef4030100c0000201c4270001fe800000000000000000000000000001c0b8020301066361
6c6c40318080808008882780dddb01c0ee6d0c0086e73d1304020980f104e0d403b0ea010c002974164905030980f104e0d403b0
ea010b00e5bcf1370680808080808080808001080079ba223c0704f0a2040201ff0200786c6af908050200830c78790906090054
9187ed0a0708f0a2040201ff02009073f1db0b090200edb4b90d0c0a0b002337f0580d03313032e8aa1e0bac02080035ef82100e
0cf0a2040201ff0d001874042c0f808080808020011e0dcdcf240800751936d01080808080802001";

fn golden() -> Vec<u8> {
    let digits: Vec<u8> = GOLDEN.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn a_file_is_the_same_on_any_machine() {
    let mut written = frame::header().to_vec();
    for record in each_kind() {
        assert!(frame::write(&mut written, &record));
    }
    let lines =
        written.chunks(52).map(|line| line.iter().map(|octet| format!("{octet:02x}")).collect::<String>());
    assert!(written == golden(), "it is\n{}", lines.collect::<Vec<_>>().join("\n"));
    let mut read = Vec::new();
    let found = frame::read(&golden()[..], |record| read.push(record)).unwrap();
    assert_eq!(found, Found::Records { end: golden().len() as u64, is_old: false });
    assert_eq!(read, each_kind());
}

#[test]
fn one_of_version_1_is_read_and_written_anew() {
    let folder = Folder::new("first-version");
    // As it was, when there were registrations and nothing else.
    let mut octets = b"denwa\xe9\r\n\x01\0\0\0".to_vec();
    for record in
        [Record::Secret(Secret([7; 32])), Record::Clock(CLOCKS), bound(0), bound(1), Record::Unbound(0)]
    {
        frame::write(&mut octets, &record);
    }
    fs::write(folder.path(NAME), &octets).unwrap();
    let Opened { mut journal, state, notices, .. } = folder.open();
    assert_eq!((ids(&state), state.secret, notices.len()), (vec![1], Some(Secret([7; 32])), 0));
    assert!(journal.turn(Instant(0), snapshot(1..2)).is_none());
    wait(&mut journal, |journal| !journal.disk.is_busy());
    assert_eq!(ids(&reopened(journal, &folder)), [1]);
    assert!(fs::read(folder.path(NAME)).unwrap().starts_with(&frame::header()));
}

#[test]
fn random_octets_are_put_aside_or_cut_off() {
    let folder = Folder::new("random");
    let mut random = 1u64;
    for round in 0..200 {
        let mut octets: Vec<u8> = (0..round * 17)
            .map(|_| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (random >> 56) as u8
            })
            .collect();
        // Every other one begins as a journal does.
        let is_ours = round % 2 == 0;
        if is_ours {
            octets.splice(0..0, frame::header());
        }
        fs::write(folder.path(NAME), &octets).unwrap();
        let Opened { mut journal, state, notices, .. } = folder.open();
        assert_eq!((state.bindings.len(), state.calls.len()), (0, 0));
        let damage = if is_ours { "were cut off" } else { "is no journal of denwa" };
        assert_eq!(notices.iter().filter(|notice| notice.contains(damage)).count(), usize::from(round > 0));
        assert!(journal.turn(Instant(0), snapshot(0..3)).is_none());
        wait(&mut journal, |journal| !journal.disk.is_busy());
        assert_eq!(ids(&reopened(journal, &folder)), [0, 1, 2]);
    }
}
