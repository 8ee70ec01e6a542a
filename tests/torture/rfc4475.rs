//! One message for each section of RFC 4475, in its spirit: written by nobody's phone, to be
//! survived by everybody's exchange. All come from extension 101, most are for 102.

use crate::{Case, Expected::*, message};

/// The messages, in the order of the RFC's sections.
pub(crate) fn cases() -> Vec<Case> {
    [valid(), invalid(), transaction(), application(), compatible()].concat()
}

fn case(section: &'static str, title: &'static str, expected: crate::Expected, bytes: Vec<u8>) -> Case {
    Case { section, title, expected, bytes }
}

/// §3.1.1: valid, however it looks.
fn valid() -> Vec<Case> {
    let long = |length: usize| "long".repeat(length);
    let mut cases = vec![
        case("3.1.1.1", "a short tortuous INVITE", Served, message(
            &[
                b"INVITE sip:102@pbx.example.net;unknown-param SIP/2.0",
                b"TO :",
                b"\tsip:102@pbx.example.net ;",
                b" odd  =\tvalue",
                b"fROM   : \"A. \\\"Grizzly\\\" \\\\ Adams\"       <sip:101@pbx.example.net>",
                b"  ;",
                b"  tag  =  98asjd8",
                b"MAX-forwards:  0068",
                b"cAll-iD:tortuous.1@192.0.2.11",
                b"x-EMPTY:",
                b"NobodyKnows  : a; b = \"c",
                b"\td\" ; e;; f",
                b"cseq: 0009",
                b"  INVITE",
                b"v:  SIP  / 2.0",
                b"  /UDP",
                b"    192.0.2.11 ;",
                b"  branch  =",
                b"  z9hG4bKtortuous1",
                b"VIA  :SIP/2.0/TCP  one.example.net  ;branch=z9hG4bKa, SIP/2.0/UDP",
                b" two.example.net : 5061;branch=z9hG4bKb",
                b"s :",
                b"m: \"Quoted <, ;\" <sip:101@192.0.2.11;odd>;",
                b"  expires = 100",
                b"Content-Type: text/x-odd",
                b"l:  0004",
            ],
            b"odd\n",
        )),
        case("3.1.1.2", "all characters that there are", Served, message(
            &[
                b"!weird.M%ethod`~*_+' sip:1_~!.'*()%&=+$,;?/:;pw&=+$,@pbx.example.net:5060 SIP/2.0",
                b"Via: SIP/2.0/UDP 192.0.2.11:5060;branch=z9hG4bK-.!%*_+`'~",
                b"To: \"BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f\" <sip:1_~!.'*()%&=+$,;?/:;@pbx.example.net>",
                b"From: J\xc3\xb6rg.token-'~ <sip:101@pbx.example.net>;tag=_token~1'+`*%!-.;\xd0\xb4=\"\xe6\x97\xa5\"",
                b"Call-ID: word%ZK-!.*_+'@word`~)(><:\\/\"][?}{",
                b"CSeq: 139122385 !weird.M%ethod`~*_+'",
                b"Max-Forwards: 255",
                b"X-.!%*_+`'~: \xe3\x81\x84\xe3\x82\x8d\xe3\x81\xaf \x7f",
            ],
            b"",
        )),
        case("3.1.1.3", "escapes that stay escaped", Served, message(
            &[
                b"INVITE sip:sips%3A102%40pbx.example.net@pbx.example.net SIP/2.0",
                b"To: sip:%31%30%32@pbx.example.net",
                b"From: <sip:%31%301@pbx.example.net>;tag=esc1",
                b"Max-Forwards: 70",
                b"Call-ID: esc1@192.0.2.11",
                b"CSeq: 1 INVITE",
                b"Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKesc1",
                b"Contact: <sip:101@192.0.2.11>, <sip:cal%6C%65r@192.0.2.11;%6C%72;n%61me=v%61lue>",
            ],
            b"",
        )),
        case("3.1.1.4", "escaped zero bytes", Served, message(
            &[
                b"REGISTER sip:pbx.example.net SIP/2.0",
                b"To: sip:101@pbx.example.net",
                b"From: sip:101@pbx.example.net;tag=null",
                b"Max-Forwards: 70",
                b"Call-ID: null@192.0.2.11",
                b"CSeq: 14398234 REGISTER",
                b"Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKnull",
                b"Contact: <sip:%00@192.0.2.11>",
                b"Contact: <sip:%00%00@192.0.2.11>",
            ],
            b"",
        )),
        case("3.1.1.5", "percent signs that are no escapes", Served, message(
            &[
                b"RE%47IST%45R sip:pbx.example.net SIP/2.0",
                b"To: \"%Z%45\" <sip:102@pbx.example.net>",
                b"From: \"%Z%45\" <sip:101@pbx.example.net>;tag=percent",
                b"Max-Forwards: 70",
                b"Call-ID: percent@192.0.2.11",
                b"CSeq: 29344 RE%47IST%45R",
                b"Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKpercent",
                b"C%6Fntact: <sip:alias1@192.0.2.11>",
                b"Contact: <sip:alias2@192.0.2.11>",
            ],
            b"",
        )),
        case("3.1.1.6", "no blank before the bracket", Served, message(
            &[
                b"OPTIONS sip:102@pbx.example.net SIP/2.0",
                b"To: callee<sip:102@pbx.example.net>",
                b"From: caller<sip:101@pbx.example.net>;tag=close",
                b"Max-Forwards: 70",
                b"Call-ID: close@192.0.2.11",
                b"CSeq: 60 OPTIONS",
                b"Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKclose",
            ],
            b"",
        )),
        case("3.1.1.8", "a second message behind the first", Served, message(
            &[
                b"REGISTER sip:pbx.example.net SIP/2.0",
                b"To: sip:101@pbx.example.net",
                b"From: sip:101@pbx.example.net;tag=two",
                b"Max-Forwards: 8",
                b"Contact: sip:101@192.0.2.11",
                b"Call-ID: two@192.0.2.11",
                b"CSeq: 8 REGISTER",
                b"Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKtwo",
                b"Content-Length: 0",
            ],
            b"INVITE sip:102@pbx.example.net SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKhidden\r\n\r\n",
        )),
        case("3.1.1.9", "parameters of the user", Served, message(
            &[
                b"OPTIONS sip:user;par=102%40pbx.example.net@pbx.example.net SIP/2.0",
                b"To: sip:102@pbx.example.net",
                b"From: sip:101@pbx.example.net;tag=semi",
                b"Max-Forwards: 70",
                b"Call-ID: semi@192.0.2.11",
                b"CSeq: 8 OPTIONS",
                b"Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKsemi",
            ],
            b"",
        )),
        case("3.1.1.10", "transports of all kinds", Served, message(
            &[
                b"OPTIONS sip:102@pbx.example.net SIP/2.0",
                b"To: sip:102@pbx.example.net",
                b"From: <sip:101@pbx.example.net>;tag=transports",
                b"Max-Forwards: 70",
                b"Call-ID: transports@192.0.2.11",
                b"CSeq: 60 OPTIONS",
                b"Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKudp",
                b"Via: SIP/2.0/SCTP t2.example.net;branch=z9hG4bKsctp",
                b"Via: SIP/2.0/TLS t3.example.net;branch=z9hG4bKtls",
                b"Via: SIP/2.0/UNKNOWN t4.example.net;branch=z9hG4bKunknown",
                b"Via: SIP/2.0/TCP t5.example.net;branch=z9hG4bKtcp",
            ],
            b"",
        )),
        case("3.1.1.11", "a body of bytes", Served, message(
            &[
                b"MESSAGE sip:102@pbx.example.net SIP/2.0",
                b"Via: SIP/2.0/UDP 192.0.2.11:5060;branch=z9hG4bKmpart",
                b"Max-Forwards: 70",
                b"From: <sip:101@pbx.example.net>;tag=mpart",
                b"To: <sip:102@pbx.example.net>",
                b"Call-ID: mpart@192.0.2.11",
                b"CSeq: 127 MESSAGE",
                b"MIME-Version: 1.0",
                b"Content-Type: multipart/mixed;boundary=7a9cbec02ceef655",
                b"Content-Length: *",
            ],
            b"--7a9cbec02ceef655\r\nContent-Type: text/plain\r\n\r\nHello\r\n--7a9cbec02ceef655\r\n\
              Content-Type: x/y\r\n\r\n\x00\x01\xff\xfe\r\n\r\n\x80\r\n--7a9cbec02ceef655--",
        )),
        case("3.1.1.12", "a reason in another alphabet", Served, message(
            &[
                b"SIP/2.0 200 = 2**3 * 5**2 \xd0\xbd\xd0\xbe \xe4\xb8\x80?;:,/",
                b"Via: SIP/2.0/UDP 203.0.113.5;branch=z9hG4bKours, SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKreason",
                b"Call-ID: reason@192.0.2.11",
                b"CSeq: 35 INVITE",
                b"From: <sip:101@pbx.example.net>;tag=reason",
                b"To: <sip:102@pbx.example.net>;tag=2229",
                b"Contact: <sip:102@192.0.2.12>",
            ],
            b"",
        )),
        case("3.1.1.13", "no reason at all", Served, message(
            &[
                b"SIP/2.0 100 ",
                b"Via: SIP/2.0/UDP 203.0.113.5;branch=z9hG4bKours, SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKreason",
                b"Call-ID: noreason@192.0.2.11",
                b"CSeq: 35 INVITE",
                b"From: <sip:101@pbx.example.net>;tag=noreason",
                b"To: <sip:102@pbx.example.net>;tag=39",
            ],
            b"",
        )),
    ];
    let vias: String = (0..34)
        .map(|n| format!("Via: SIP/2.0/TCP hop{n}.{}.example.net;branch=z9hG4bK{}{n}\r\n", long(4), long(8)))
        .collect();
    let text = format!(
        "INVITE sip:102@pbx.example.net SIP/2.0\r\n\
         To: \"I have a {name} name\" <sip:102@pbx.example.net:5060;{param}=value>\r\n\
         F: sip:101@pbx.example.net;tag=12{tag}8;{param}={param};no-value-{param}\r\n\
         Call-ID: {tag}.callid\r\n\
         CSeq: 3882340 INVITE\r\n\
         Unknown-{name}-Name: unknown-{name}-value;unknown-{param}-name=\"{tag}\"\r\n\
         Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bK{tag}\r\n\
         {vias}\
         Max-Forwards: 70\r\n\
         Contact: <sip:101@192.0.2.11;{param}=value>\r\n\r\n",
        name = long(60),
        param = long(30),
        tag = long(50),
    );
    cases.insert(6, case("3.1.1.7", "long everything", Served, text.into_bytes()));
    cases
}

/// §3.1.2: invalid.
fn invalid() -> Vec<Case> {
    vec![
        case(
            "3.1.2.1",
            "separators too many",
            Lenient(400),
            message(
                &[
                    b"INVITE sip:102@pbx.example.net SIP/2.0",
                    b"To: sip:102@pbx.example.net",
                    b"From: sip:101@pbx.example.net;tag=134161461246",
                    b"Max-Forwards: 7",
                    b"Call-ID: badinv@192.0.2.11",
                    b"CSeq: 8 INVITE",
                    b"Via: SIP/2.0/UDP 192.0.2.11;;,;,,",
                    b"Contact: \"Joe\" <sip:101@192.0.2.11>;;;;",
                    b"Content-Length: 0",
                ],
                b"",
            ),
        ),
        case(
            "3.1.2.2",
            "a length beyond the datagram",
            Refused(400),
            message(
                &[
                    b"INVITE sip:102@pbx.example.net SIP/2.0",
                    b"Max-Forwards: 80",
                    b"To: sip:102@pbx.example.net",
                    b"From: sip:101@pbx.example.net;tag=93942939o2",
                    b"Contact: <sip:101@192.0.2.11>",
                    b"Call-ID: clerr@192.0.2.11",
                    b"CSeq: 8 INVITE",
                    b"Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKclerr",
                    b"Content-Type: text/plain",
                    b"Content-Length: 9999",
                ],
                b"not that much",
            ),
        ),
        case(
            "3.1.2.3",
            "a length below zero",
            Refused(400),
            message(
                &[
                    b"INVITE sip:102@pbx.example.net SIP/2.0",
                    b"Max-Forwards: 254",
                    b"To: sip:102@pbx.example.net",
                    b"From: sip:101@pbx.example.net;tag=3",
                    b"Call-ID: ncl@192.0.2.11",
                    b"CSeq: 8 INVITE",
                    b"Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKncl",
                    b"Contact: <sip:101@192.0.2.11>",
                    b"Content-Length: -999",
                ],
                b"x",
            ),
        ),
        case(
            "3.1.2.4",
            "numbers too large in a request",
            Refused(400),
            message(
                &[
                    b"REGISTER sip:pbx.example.net SIP/2.0",
                    b"Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKscalar",
                    b"To: <sip:101@pbx.example.net>",
                    b"From: <sip:101@pbx.example.net>;tag=239232jh3",
                    b"CSeq: 36893488147419103232 REGISTER",
                    b"Call-ID: scalar@192.0.2.11",
                    b"Max-Forwards: 300",
                    b"Expires: 10000000000000000000000000000000000000000000000000000000000000000000000000",
                    b"Contact: <sip:101@192.0.2.11>;expires=280297596632815",
                    b"Content-Length: 0",
                ],
                b"",
            ),
        ),
        case(
            "3.1.2.5",
            "numbers too large in a response",
            Dropped,
            message(
                &[
                    b"SIP/2.0 503 Service Unavailable",
                    b"Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKlarge",
                    b"To: <sip:102@pbx.example.net>;tag=2229",
                    b"From: <sip:101@pbx.example.net>;tag=large",
                    b"Call-ID: large@192.0.2.11",
                    b"CSeq: 9292394834772304023312 OPTIONS",
                    b"Retry-After: 949302838503028349304023988",
                    b"Warning: 1812 overture \"In Progress\"",
                    b"Content-Length: 0",
                ],
                b"",
            ),
        ),
        case(
            "3.1.2.6",
            "a quote that does not end",
            Refused(400),
            message(
                &[
                    b"INVITE sip:102@pbx.example.net SIP/2.0",
                    b"To: \"Mr. 102 <sip:102@pbx.example.net>",
                    b"From: sip:101@pbx.example.net;tag=93334",
                    b"Max-Forwards: 10",
                    b"Call-ID: quotbal@192.0.2.11",
                    b"Contact: <sip:101@192.0.2.11>",
                    b"CSeq: 8 INVITE",
                    b"Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKquote",
                ],
                b"",
            ),
        ),
        request_line(
            "3.1.2.7",
            "brackets around the Request-URI",
            b"INVITE <sip:102@pbx.example.net> SIP/2.0",
        ),
        request_line(
            "3.1.2.8",
            "blanks inside the Request-URI",
            b"INVITE sip:102@pbx.example.net; lr SIP/2.0",
        ),
        request_line("3.1.2.9", "blanks around the Request-URI", b"INVITE  sip:102@pbx.example.net  SIP/2.0"),
        request_line("3.1.2.10", "blanks behind the version", b"INVITE sip:102@pbx.example.net SIP/2.0  "),
        request_line(
            "3.1.2.11",
            "headers in the Request-URI",
            b"INVITE sip:102@pbx.example.net?Route=%3Csip:evil.example.com%3E SIP/2.0",
        ),
        case(
            "3.1.2.12",
            "a date in another time zone",
            Served,
            message(
                &[
                    b"INVITE sip:102@pbx.example.net SIP/2.0",
                    b"To: sip:102@pbx.example.net",
                    b"From: sip:101@pbx.example.net;tag=2234923",
                    b"Max-Forwards: 70",
                    b"Call-ID: baddate@192.0.2.11",
                    b"CSeq: 1392934 INVITE",
                    b"Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKdate",
                    b"Date: Fri, 01 Jan 2010 16:00:00 EST",
                    b"Contact: <sip:101@192.0.2.11>",
                ],
                b"",
            ),
        ),
        case(
            "3.1.2.13",
            "a Contact that lacks its brackets",
            Later(400),
            message(
                &[
                    b"REGISTER sip:pbx.example.net SIP/2.0",
                    b"To: sip:101@pbx.example.net",
                    b"From: sip:101@pbx.example.net;tag=998332",
                    b"Max-Forwards: 70",
                    b"Call-ID: regbadct@192.0.2.11",
                    b"CSeq: 1 REGISTER",
                    b"Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKcontact",
                    b"Contact: sip:101@192.0.2.11?Route=%3Csip:evil.example.com%3E",
                    b"Content-Length: 0",
                ],
                b"",
            ),
        ),
        case(
            "3.1.2.14",
            "blanks inside To's URI",
            Refused(400),
            message(
                &[
                    b"OPTIONS sip:102@pbx.example.net SIP/2.0",
                    b"Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKaspec",
                    b"Max-Forwards: 70",
                    b"From: \"101\" <sip:101@pbx.example.net>;tag=1",
                    b"To: \"102\" < sip:102@pbx.example.net >",
                    b"Call-ID: badaspec@192.0.2.11",
                    b"CSeq: 60 OPTIONS",
                ],
                b"",
            ),
        ),
        case(
            "3.1.2.15",
            "a display name that wants quotes",
            Lenient(400),
            message(
                &[
                    b"OPTIONS sip:102@pbx.example.net SIP/2.0",
                    b"Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKdn",
                    b"Max-Forwards: 70",
                    b"From: Bell, Alexander <sip:101@pbx.example.net>;tag=43",
                    b"To: Watson, Thomas <sip:102@pbx.example.net>",
                    b"Call-ID: baddn@192.0.2.11",
                    b"CSeq: 31 OPTIONS",
                ],
                b"",
            ),
        ),
        case(
            "3.1.2.16",
            "a version that is still to come",
            Refused(505),
            message(
                &[
                    b"OPTIONS sip:102@pbx.example.net SIP/7.0",
                    b"Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKversion",
                    b"Max-Forwards: 70",
                    b"From: A <sip:101@pbx.example.net>;tag=323",
                    b"To: B <sip:102@pbx.example.net>",
                    b"Call-ID: badvers@192.0.2.11",
                    b"CSeq: 31 OPTIONS",
                ],
                b"",
            ),
        ),
        case(
            "3.1.2.17",
            "two methods in one request",
            Refused(400),
            message(
                &[
                    b"OPTIONS sip:102@pbx.example.net SIP/2.0",
                    b"To: sip:102@pbx.example.net",
                    b"From: sip:101@pbx.example.net;tag=34525",
                    b"Max-Forwards: 6",
                    b"Call-ID: mismatch1@192.0.2.11",
                    b"CSeq: 8 INVITE",
                    b"Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKmismatch1",
                ],
                b"",
            ),
        ),
        case(
            "3.1.2.18",
            "two methods, one of them unknown",
            Refused(400),
            message(
                &[
                    b"NEWMETHOD sip:102@pbx.example.net SIP/2.0",
                    b"To: sip:102@pbx.example.net",
                    b"From: sip:101@pbx.example.net;tag=34525",
                    b"Max-Forwards: 6",
                    b"Call-ID: mismatch2@192.0.2.11",
                    b"CSeq: 8 INVITE",
                    b"Contact: <sip:101@192.0.2.11>",
                    b"Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKmismatch2",
                ],
                b"",
            ),
        ),
        case(
            "3.1.2.19",
            "a status that does not fit",
            Dropped,
            message(
                &[
                    b"SIP/2.0 4294967301 better not break the receiver",
                    b"Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKbig",
                    b"Call-ID: bigcode@192.0.2.11",
                    b"CSeq: 35 INVITE",
                    b"From: <sip:101@pbx.example.net>;tag=big",
                    b"To: <sip:102@pbx.example.net>;tag=2229",
                    b"Contact: <sip:102@192.0.2.12>",
                ],
                b"",
            ),
        ),
    ]
}

fn request_line(section: &'static str, title: &'static str, line: &[u8]) -> Case {
    let branch = format!("Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bK{section}");
    let call = format!("Call-ID: {section}@192.0.2.11");
    case(
        section,
        title,
        Refused(400),
        message(
            &[
                line,
                b"To: sip:102@pbx.example.net",
                b"From: sip:101@pbx.example.net;tag=line",
                b"Max-Forwards: 8",
                call.as_bytes(),
                b"CSeq: 1 INVITE",
                branch.as_bytes(),
                b"Contact: <sip:101@192.0.2.11>",
            ],
            b"",
        ),
    )
}

/// §3.2: transactions.
fn transaction() -> Vec<Case> {
    vec![case(
        "3.2.1",
        "a branch that is its cookie alone",
        Lenient(400),
        message(
            &[
                b"OPTIONS sip:102@pbx.example.net SIP/2.0",
                b"To: sip:102@pbx.example.net",
                b"From: sip:101@pbx.example.net;tag=33242",
                b"Max-Forwards: 3",
                b"Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bK",
                b"Call-ID: badbranch@192.0.2.11",
                b"CSeq: 8 OPTIONS",
            ],
            b"",
        ),
    )]
}

/// §3.3: well-formed, and still not to be served, or not by everybody.
fn application() -> Vec<Case> {
    vec![
        // The RFC would like a 400; but what a response must repeat is not there.
        case(
            "3.3.1",
            "headers missing",
            Dropped,
            message(
                &[
                    b"INVITE sip:102@pbx.example.net SIP/2.0",
                    b"CSeq: 193942 INVITE",
                    b"Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKinsuf",
                    b"Content-Length: 0",
                ],
                b"",
            ),
        ),
        case(
            "3.3.2",
            "a scheme that nobody knows",
            Refused(416),
            message(
                &[
                    b"OPTIONS nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0",
                    b"To: sip:102@pbx.example.net",
                    b"From: sip:101@pbx.example.net;tag=384",
                    b"Max-Forwards: 3",
                    b"Call-ID: unkscm@192.0.2.11",
                    b"CSeq: 3923423 OPTIONS",
                    b"Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKscheme",
                ],
                b"",
            ),
        ),
        case(
            "3.3.3",
            "a scheme for something else",
            Refused(416),
            message(
                &[
                    b"OPTIONS soap.beep://192.0.2.103:3002 SIP/2.0",
                    b"To: sip:102@pbx.example.net",
                    b"From: sip:101@pbx.example.net;tag=384",
                    b"Max-Forwards: 3",
                    b"Call-ID: novelsc@192.0.2.11",
                    b"CSeq: 3923423 OPTIONS",
                    b"Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKnovel",
                ],
                b"",
            ),
        ),
        case(
            "3.3.4",
            "unknown schemes in headers",
            Later(400),
            message(
                &[
                    b"REGISTER sip:pbx.example.net SIP/2.0",
                    b"To: isbn:2983792873",
                    b"From: <http://www.example.com>;tag=3234233",
                    b"Max-Forwards: 70",
                    b"Call-ID: unksm2@192.0.2.11",
                    b"CSeq: 234902 REGISTER",
                    b"Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKschemes",
                    b"Contact: <name:John_Smith>",
                ],
                b"",
            ),
        ),
        case(
            "3.3.5",
            "extensions that nobody has",
            Later(420),
            message(
                &[
                    b"OPTIONS sip:102@pbx.example.net SIP/2.0",
                    b"To: sip:102@pbx.example.net",
                    b"From: sip:101@pbx.example.net;tag=242etr",
                    b"Max-Forwards: 6",
                    b"Call-ID: bext@192.0.2.11",
                    b"Require: nothingSupportsThis, nothingSupportsThisEither",
                    b"Proxy-Require: noProxiesSupportThis, norDoAnyProxiesSupportThis",
                    b"CSeq: 8 OPTIONS",
                    b"Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKbext",
                    b"Content-Length: 0",
                ],
                b"",
            ),
        ),
        case(
            "3.3.6",
            "a body of a type unknown",
            Served,
            message(
                &[
                    b"INVITE sip:102@pbx.example.net SIP/2.0",
                    b"Contact: <sip:101@192.0.2.11>",
                    b"To: sip:102@pbx.example.net",
                    b"From: sip:101@pbx.example.net;tag=8392034",
                    b"Max-Forwards: 70",
                    b"Call-ID: invut@192.0.2.11",
                    b"CSeq: 235448 INVITE",
                    b"Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKinvut",
                    b"Content-Type: application/unknownformat",
                    b"Content-Length: *",
                ],
                b"<audio>\r\n <pcmu/>\r\n</au",
            ),
        ),
        case(
            "3.3.7",
            "an authorization of a scheme unknown",
            Later(401),
            message(
                &[
                    b"REGISTER sip:pbx.example.net SIP/2.0",
                    b"To: sip:101@pbx.example.net",
                    b"From: sip:101@pbx.example.net;tag=87321hj23128",
                    b"Max-Forwards: 8",
                    b"Call-ID: regaut@192.0.2.11",
                    b"CSeq: 9338 REGISTER",
                    b"Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKregaut",
                    b"Authorization: NoOneKnowsThisScheme opaque-data=here",
                    b"Content-Length: 0",
                ],
                b"",
            ),
        ),
        case(
            "3.3.8",
            "single headers twice",
            Refused(400),
            message(
                &[
                    b"INVITE sip:102@pbx.example.net SIP/2.0",
                    b"Contact: <sip:101@192.0.2.11>",
                    b"Call-ID: multi1@192.0.2.11",
                    b"CSeq: 59 INVITE",
                    b"Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKmulti",
                    b"CSeq: 92 INVITE",
                    b"From: sip:101@pbx.example.net;tag=3413415",
                    b"To: sip:102@pbx.example.net",
                    b"Max-Forwards: 70",
                    b"From: sip:102@pbx.example.net;tag=2923420123",
                    b"Call-ID: multi2@192.0.2.11",
                    b"To: sip:101@pbx.example.net",
                    b"Max-Forwards: 5",
                    b"Content-Length: 0",
                ],
                b"",
            ),
        ),
        case(
            "3.3.9",
            "two lengths",
            Refused(400),
            message(
                &[
                    b"OPTIONS sip:102@pbx.example.net SIP/2.0",
                    b"Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKmcl",
                    b"To: sip:102@pbx.example.net",
                    b"From: sip:101@pbx.example.net;tag=3413415",
                    b"Call-ID: mcl@192.0.2.11",
                    b"CSeq: 15932 OPTIONS",
                    b"Max-Forwards: 70",
                    b"Content-Length: 13",
                    b"Content-Length: 5",
                    b"Content-Type: text/plain",
                ],
                b"There's no way to know how many octets are supposed to be here.",
            ),
        ),
        case(
            "3.3.10",
            "an answer that wants to be broadcast",
            Dropped,
            message(
                &[
                    b"SIP/2.0 200 OK",
                    b"Via: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bKbcast",
                    b"Call-ID: bcast@192.0.2.11",
                    b"CSeq: 35 INVITE",
                    b"From: <sip:101@pbx.example.net>;tag=11141343",
                    b"To: <sip:102@pbx.example.net>;tag=2229",
                    b"Content-Length: 0",
                    b"Contact: <sip:102@192.0.2.12>",
                ],
                b"",
            ),
        ),
        case(
            "3.3.11",
            "no hop left",
            Later(483),
            message(
                &[
                    b"OPTIONS sip:102@pbx.example.net SIP/2.0",
                    b"To: sip:102@pbx.example.net",
                    b"From: sip:101@pbx.example.net;tag=3ghsd41",
                    b"Call-ID: zeromf@192.0.2.11",
                    b"CSeq: 39234321 OPTIONS",
                    b"Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKzero",
                    b"Max-Forwards: 0",
                    b"Content-Length: 0",
                ],
                b"",
            ),
        ),
        register("3.3.12", "a parameter of the Contact header", b"Contact: sip:101@192.0.2.11;unknownparam"),
        register("3.3.13", "a parameter of the Contact's URI", b"Contact: <sip:101@192.0.2.11;unknownparam>"),
        register(
            "3.3.14",
            "headers in the Contact's URI",
            b"Contact: <sip:101@192.0.2.11?Route=%3Csip:192.0.2.11%3Blr%3E>",
        ),
        case(
            "3.3.15",
            "an answer is wanted that cannot be",
            Served,
            message(
                &[
                    b"INVITE sip:102@pbx.example.net SIP/2.0",
                    b"To: sip:102@pbx.example.net",
                    b"Contact: <sip:101@192.0.2.11>",
                    b"From: sip:101@pbx.example.net;tag=234",
                    b"Max-Forwards: 5",
                    b"Call-ID: sdp@192.0.2.11",
                    b"CSeq: 122 INVITE",
                    b"Accept: text/nobodyKnowsThis",
                    b"Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bKsdp",
                    b"Content-Length: 0",
                ],
                b"",
            ),
        ),
    ]
}

fn register(section: &'static str, title: &'static str, contact: &[u8]) -> Case {
    let branch = format!("Via: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bK{section}");
    let call = format!("Call-ID: {section}@192.0.2.11");
    case(
        section,
        title,
        Served,
        message(
            &[
                b"REGISTER sip:pbx.example.net SIP/2.0",
                branch.as_bytes(),
                b"Max-Forwards: 70",
                b"From: sip:101@pbx.example.net;tag=998332",
                b"To: sip:101@pbx.example.net",
                call.as_bytes(),
                b"CSeq: 1 REGISTER",
                contact,
                b"Content-Length: 0",
            ],
            b"",
        ),
    )
}

/// §3.4: from the time before branches and tags.
fn compatible() -> Vec<Case> {
    vec![case(
        "3.4.1",
        "an INVITE of RFC 2543",
        Served,
        message(
            &[
                b"INVITE sip:102@pbx.example.net SIP/2.0",
                b"Via: SIP/2.0/UDP 192.0.2.11:5060",
                b"From: <sip:101@pbx.example.net>",
                b"To: <sip:102@pbx.example.net>",
                b"Record-Route: <sip:192.0.2.11;lr>",
                b"CSeq: 1 INVITE",
                b"Call-ID: 2543@192.0.2.11",
                b"Content-Type: text/plain",
                b"Content-Length: *",
            ],
            b"hi",
        ),
    )]
}
