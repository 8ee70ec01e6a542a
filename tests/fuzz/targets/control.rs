//! What comes by the operator's socket, and what an operator is shown of what comes by the others: requests
//! and replies are read as what they are or not at all, and a message that is shown hides its secrets.

use denwa::console::control::{
    HEADER, MAX_REPLY, MAX_REQUEST, Reply, Request, decode, encode, length, masked,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cost;

/// A frame without its length; and a message.
pub fn run(bytes: &[u8]) {
    cost::bounded(bytes.len(), || look(bytes));
}

fn look(bytes: &[u8]) {
    again::<Request>(bytes, MAX_REQUEST);
    again::<Reply>(bytes, MAX_REPLY);
    if let Some(header) = bytes.first_chunk::<HEADER>()
        && let Ok(length) = length(*header, MAX_REQUEST)
    {
        assert!((1..=MAX_REQUEST).contains(&length));
    }
    hides(bytes);
}

/// What was read is written and read again as the same.
fn again<T: Serialize + DeserializeOwned>(bytes: &[u8], most: usize) {
    let Ok(message) = decode::<T>(bytes) else { return };
    let Ok(frame) = encode(&message, most) else { return };
    let (header, body) = frame.split_first_chunk::<HEADER>().unwrap();
    assert_eq!(length(*header, most), Ok(body.len()));
    let second = encode(&decode::<T>(body).unwrap(), most).unwrap();
    assert_eq!(second, frame);
}

/// Whatever stands around it, an answer to a challenge is not shown, nor a key.
fn hides(bytes: &[u8]) {
    const SECRET: &str = "t0p-s3cr3t";
    if bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()) {
        return;
    }
    let (before, behind) = bytes.split_at(bytes.len() / 2);
    for line in [
        "\r\nAuthorization: Digest response=\"t0p-s3cr3t\"",
        "\r\nProxy-Authorization: Digest a,\r\n b=\"t0p-s3cr3t\"",
        "\r\na=crypto:1 X inline:t0p-s3cr3t",
        "\r\nTo: <sip:101:t0p-s3cr3t@h>",
    ] {
        let shown = masked(&[before, line.as_bytes(), b"\r\n", behind].concat());
        assert!(!shown.contains(SECRET), "{shown}");
        assert!(shown.bytes().all(|b| b == b'\n' || (b' '..=b'~').contains(&b)));
    }
}
