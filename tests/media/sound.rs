//! What passes: packets of any kind, both ways.

use std::net::SocketAddr;

use denwa::media::{Counters, Far, Remote, Stream};

use crate::scene::{Call, Exchange, Phone, end, heard, local, next, rtp};

#[test]
fn packets_go_both_ways_in_each_family_and_across() {
    let mut exchange = Exchange::start();
    for (ip_a, ip_b) in
        [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("127.0.0.1", "::1"), ("::1", "127.0.0.1")]
    {
        let phone = |ip: &str| Phone::at(&SocketAddr::new(ip.parse().unwrap(), 0).to_string());
        let (a, b) = (phone(ip_a), phone(ip_b));
        let (local_a, local_b) = (local(ip_a), local(ip_b));
        exchange.join(1, end(local_a, &a), end(local_b, &b));
        for sequence in 0..10 {
            a.say(&rtp(sequence, 1), local_a);
            assert_eq!(b.hear(), (rtp(sequence, 1), local_b), "{ip_a} to {ip_b}");
            b.say(&rtp(sequence, 2), local_b);
            assert_eq!(a.hear(), (rtp(sequence, 2), local_a), "{ip_b} to {ip_a}");
        }
        assert_eq!(exchange.close(1), (heard(10, 1720, 0, 0), heard(10, 1720, 0, 0)));
    }
}

#[test]
fn any_bytes_pass_whatever_they_are() {
    let mut call = Call::new();
    let t38 = [0x00, 0x00, 0x03, 0x06, 0x00, 0x00];
    let stun = [0x00, 0x01, 0x00, 0x00, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    let dtls = [22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0];
    let video = vec![0xab; 1_500];
    let longest = vec![0xcd; 65_507];
    for bytes in [&[][..], &[0x80], &t38, &stun, &dtls, &video, &longest] {
        call.passes(&call.phone_a, bytes);
    }
    let (a, _) = call.close();
    assert_eq!((a.packets, a.bytes), (7, 1 + 6 + 20 + 13 + 1_500 + 65_507));
}

#[test]
fn noise_harms_nothing() {
    let mut call = Call::new();
    let mut random = 88_172_645_463_325_252_u64;
    let mut media = 0;
    for _ in 0..2_000 {
        let mut bytes = Vec::new();
        for _ in 0..random % 5 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            bytes.extend(random.to_le_bytes());
        }
        random = random.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        call.passes(&call.phone_a, &bytes);
        media += u64::from(!matches!(*bytes, [0x80..0xc0, 192..=223, ..]));
    }
    assert_eq!(call.close().0.packets, media);
}

#[test]
fn rtcp_goes_from_port_to_port_and_multiplexed_with_rtp() {
    let rtcp_a = Phone::at("127.0.1.1:0");
    let rtcp_b = Phone::at("127.0.2.1:0");
    let mut call = Call::with(|a, b| {
        a.remote.as_mut().unwrap().rtcp = rtcp_a.address();
        b.remote.as_mut().unwrap().rtcp = rtcp_b.address();
    });
    let report = [0x80, 200, 0, 6, 0, 0, 0, 1, 9, 9, 9, 9, 9, 9, 9, 9];
    rtcp_a.say(&report, next(call.a.local));
    assert_eq!(rtcp_b.hear(), (report.to_vec(), next(call.b.local)));
    rtcp_b.say(&report, next(call.b.local));
    assert_eq!(rtcp_a.hear(), (report.to_vec(), next(call.a.local)));

    call.passes(&call.phone_a, &report);
    assert_eq!(call.close().0, Counters::default(), "reports are no sound");
}

/// Packets to nowhere are lost, and nothing else is.
#[test]
fn unreachable_remotes_do_no_harm() {
    for remote in ["127.0.2.1:0", "[::1]:9", "255.255.255.255:9", "0.0.0.0:0", "240.0.0.1:9"] {
        let remote = remote.parse().unwrap();
        let mut call = Call::with(|_, b| b.remote = Some(Remote { rtp: remote, rtcp: remote }));
        for sequence in 0..3 {
            call.phone_a.say(&rtp(sequence, 1), call.a.local);
            call.phone_b.say(&rtp(sequence, 2), call.b.local);
            assert_eq!(call.phone_a.hear().0, rtp(sequence, 2), "{remote}");
        }
        assert_eq!(call.close().0.packets, 3, "{remote}");
    }
}

#[test]
fn the_echo_returns_sound_with_another_ssrc_and_nothing_else() {
    let mut exchange = Exchange::start();
    let phone = Phone::at("127.0.1.1:0");
    let local = local("127.0.0.1");
    exchange.set(1, vec![Some(Stream { a: end(local, &phone), b: Far::Echo })]);
    phone.say(&[0x80, 200, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0], local);
    phone.say(&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0], local);
    phone.say(&rtp(5, 0xffff_ffff), local);
    assert_eq!(phone.hear(), (rtp(5, 0), local));
    phone.say(&rtp(6, 41), local);
    assert_eq!(phone.hear(), (rtp(6, 42), local));
    phone.hears_nothing();
    let (a, b) = exchange.close(1);
    assert_eq!((a.packets, b), (3, Counters::default()));
}
