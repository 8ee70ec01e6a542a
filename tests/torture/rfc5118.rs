//! One message and more for each section of RFC 5118: IPv6 where SIP lets it stand.

use crate::{Case, Expected::*, message};

/// The messages, in the order of the RFC's sections.
pub(crate) fn cases() -> Vec<Case> {
    let case = |section, title, expected, bytes| Case { section, title, expected, bytes };
    vec![
        case(
            "4.1",
            "references where they belong",
            Served,
            register(
                b"REGISTER sip:[2001:db8::10] SIP/2.0",
                b"SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKgood",
            ),
        ),
        case(
            "4.2",
            "an address without brackets",
            Refused(400),
            register(b"REGISTER sip:2001:db8::10 SIP/2.0", b"SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKbare"),
        ),
        case(
            "4.3",
            "a port inside the brackets is none",
            Served,
            register(
                b"REGISTER sip:[2001:db8::10:5070] SIP/2.0",
                b"SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKinside",
            ),
        ),
        case(
            "4.4",
            "a port behind the brackets",
            Served,
            register(
                b"REGISTER sip:[2001:db8::10]:5070 SIP/2.0",
                b"SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKbehind",
            ),
        ),
        case(
            "4.5",
            "received with brackets",
            Served,
            register(
                b"REGISTER sip:[2001:db8::10] SIP/2.0",
                b"SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=z9hG4bKwith",
            ),
        ),
        case(
            "4.5",
            "received without brackets",
            Served,
            register(
                b"REGISTER sip:[2001:db8::10] SIP/2.0",
                b"SIP/2.0/UDP [2001:db8::9:1];received=2001:db8::9:255;branch=z9hG4bKwithout",
            ),
        ),
        case(
            "4.6",
            "an address in the session description",
            Served,
            invite(
                &[b"Via: SIP/2.0/UDP [2001:db8::20];branch=z9hG4bKsdp"],
                b"v=0\r\no=101 2890844526 2890844526 IN IP6 2001:db8::20\r\ns=-\r\nc=IN IP6 2001:db8::20\r\n\
              t=0 0\r\nm=audio 49170 RTP/AVP 0\r\n",
            ),
        ),
        case(
            "4.7",
            "addresses of both families in headers",
            Served,
            invite(
                &[
                    b"Via: SIP/2.0/UDP [2001:db8::20];branch=z9hG4bKboth",
                    b"Via: SIP/2.0/TCP [2001:db8::9:1]:6050;branch=z9hG4bKhop1",
                    b"Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKhop2;received=192.0.2.200",
                ],
                b"",
            ),
        ),
        case(
            "4.8",
            "addresses of both families in the session description",
            Served,
            invite(
                &[b"Via: SIP/2.0/UDP [2001:db8::20];branch=z9hG4bKfamilies"],
                b"v=0\r\no=101 2890844526 2890844526 IN IP6 2001:db8::20\r\ns=-\r\nt=0 0\r\n\
              m=audio 22334 RTP/AVP 0\r\nc=IN IP4 192.0.2.11\r\n\
              m=video 6024 RTP/AVP 107\r\nc=IN IP6 2001:db8::20\r\na=rtpmap:107 H263-1998/90000\r\n",
            ),
        ),
        case(
            "4.9",
            "IPv4 inside IPv6",
            Served,
            invite(
                &[b"Via: SIP/2.0/UDP [::ffff:192.0.2.11]:5060;branch=z9hG4bKmapped"],
                b"v=0\r\no=101 2890844526 2890844526 IN IP6 ::ffff:192.0.2.11\r\ns=-\r\n\
              c=IN IP6 ::ffff:192.0.2.11\r\nt=0 0\r\nm=audio 49170 RTP/AVP 0\r\n",
            ),
        ),
        case(
            "4.10",
            "three colons, as RFC 3261's grammar has them",
            Served,
            register(
                b"REGISTER sip:[2001:db8:::192.0.2.1] SIP/2.0",
                b"SIP/2.0/UDP [2001:db8:::192.0.2.11];branch=z9hG4bKthree",
            ),
        ),
        case(
            "4.10",
            "two colons, as they ought to be",
            Served,
            register(
                b"REGISTER sip:[2001:db8::192.0.2.1] SIP/2.0",
                b"SIP/2.0/UDP [2001:db8::192.0.2.11];branch=z9hG4bKcolons",
            ),
        ),
    ]
}

fn register(line: &[u8], via: &[u8]) -> Vec<u8> {
    message(
        &[
            line,
            b"To: sip:101@pbx.example.net",
            b"From: sip:101@pbx.example.net;tag=81x2",
            &[b"Via: ", via].concat(),
            b"Call-ID: rfc5118@192.0.2.11",
            b"Max-Forwards: 70",
            b"Contact: \"Caller\" <sip:101@[2001:db8::1]>",
            b"CSeq: 98176 REGISTER",
            b"Content-Length: 0",
        ],
        b"",
    )
}

fn invite(vias: &[&[u8]], sdp: &[u8]) -> Vec<u8> {
    let first = vias.first().copied().unwrap_or_default();
    let call = [b"Call-ID: ", &first[first.len() - 8..], b"@[2001:db8::20]"].concat();
    let mut lines = vec![b"INVITE sip:102@pbx.example.net SIP/2.0".as_slice()];
    lines.extend(vias);
    lines.extend([
        b"To: sip:102@pbx.example.net".as_slice(),
        b"From: sip:101@pbx.example.net;tag=81x2",
        &call,
        b"Max-Forwards: 70",
        b"Contact: \"Caller\" <sip:101@[2001:db8::20]>",
        b"CSeq: 8612 INVITE",
        b"Content-Type: application/sdp",
        b"Content-Length: *",
    ]);
    message(&lines, sdp)
}
