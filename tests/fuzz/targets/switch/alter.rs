//! A message, made somewhat different.

use super::super::rest::Rest;

/// What stands in messages, or should not.
const PIECES: [&[u8]; 48] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b",",
    b";",
    b":",
    b"\"",
    b"<",
    b">",
    b"\\",
    b"%",
    b"@",
    b"[",
    b"]",
    b"=",
    b"\r\n\r\n",
    b"\xff",
    b"-1",
    b"99999999999999999999",
    b"SIP/2.0",
    b"sip:",
    b"\r\nVia: ",
    b"\r\nContent-Length: 0",
    b";tag=",
    b"z9hG4bK",
    b"\r\nRoute: ",
    b"\r\nRecord-Route: ",
    b"\r\nContact: *",
    b"\r\nExpires: 0",
    b"\r\nRequire: 100rel\r\nRSeq: 1",
    b"\r\nMax-Forwards: 0",
    b"\r\nMax-Breadth: 1",
    b"\r\nReplaces: ",
    b"\r\nRefer-To: <sip:102@pbx.example.net>",
    b"\r\nPrivacy: id",
    b"\r\nPath: <sip:x;lr>",
    b"\r\nP-Asserted-Identity: <sip:103@pbx.example.net>",
    b";lr",
    b";rport",
    b";received=192.0.2.12",
    b"INVITE",
    b"CANCEL",
    b"ACK",
    b"REGISTER",
    b"[2001:db8::13]",
];

/// Alters a message by what the input says, in up to four places.
pub fn alter(bytes: &[u8], rest: &mut Rest<'_>) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..1 + rest.byte() % 4 {
        let kind = rest.byte();
        let at = usize::from(rest.word()) % (bytes.len() + 1);
        let end = (at + usize::from(rest.byte())).min(bytes.len());
        match kind % 8 {
            0 if at < bytes.len() => bytes[at] = rest.byte(),
            1 => drop(bytes.drain(at..end)),
            2 => drop(bytes.splice(at..at, rest.pick(&PIECES).iter().copied())),
            3 => {
                let copy = bytes[at..end].to_vec();
                let to = usize::from(rest.word()) % (bytes.len() + 1);
                drop(bytes.splice(to..to, copy));
            }
            4 => {
                let length = usize::from(rest.byte() % 64);
                drop(bytes.splice(at..end, rest.take(length).iter().copied()));
            }
            5 => bytes.truncate(at.max(1)),
            6 => {
                // In front of a line: one of ours, whole.
                let line =
                    bytes[at..].iter().position(|b| *b == b'\n').map_or(bytes.len(), |found| at + found);
                let put = rest.pick(&PIECES);
                drop(bytes.splice(line.saturating_sub(1)..line.saturating_sub(1), put.iter().copied()));
            }
            _ => {
                // One line takes the place of another.
                let line = |from: usize| {
                    let start = bytes[..from].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
                    let end = bytes[from..]
                        .iter()
                        .position(|b| *b == b'\n')
                        .map_or(bytes.len(), |at| from + at + 1);
                    start..end
                };
                let (from, to) = (line(at), line(usize::from(rest.word()) % (bytes.len() + 1)));
                let copy = bytes[from].to_vec();
                drop(bytes.splice(to, copy));
            }
        }
    }
    bytes.truncate(65_535);
    bytes
}
