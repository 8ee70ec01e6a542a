//! Transfers: REFER and its NOTIFY (RFC 3515), and Replaces (RFC 3891).

use super::call::{CallKey, Outcome, Stage};
use super::transaction::{ServerKey, Task};
use super::{Phone, reason};
use crate::sip::{Message, uri_of};

/// A call's part in a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transfer {
    /// We sent REFER in this call; with success this and the other call end.
    Asked { other: Option<CallKey> },
    /// This call was started because of a REFER in that one.
    For(CallKey),
}

impl Phone {
    /// Sends the peer of the newest call to a number.
    pub(super) fn transfer_blind(&mut self, number: &str) {
        let newest = self.calls.iter().rev().find(|call| call.is_up());
        if let Some(key) = newest.map(|call| call.key) {
            let target = format!("<sip:{number}@{}>", self.spec.domain);
            self.refer(key, target, None);
        }
    }

    /// Joins the peers of the two newest calls, of which the newest is replaced.
    pub(super) fn transfer_attended(&mut self) {
        let up: Vec<CallKey> = self.calls.iter().filter(|call| call.is_up()).map(|call| call.key).collect();
        let [.., first, second] = up[..] else { return };
        let Some(dialog) = self.call(second).and_then(|call| call.dialog.as_ref()) else {
            return;
        };
        // The peer's view: its own tag is the to-tag (RFC 3891 §3).
        let replaces =
            format!("{};to-tag={};from-tag={}", dialog.call_id, dialog.remote_tag, dialog.local_tag);
        let target = format!("<{}?Replaces={}>", dialog.remote_target, escape(&replaces));
        self.refer(first, target, Some(second));
    }

    fn refer(&mut self, key: CallKey, target: String, other: Option<CallKey>) {
        let own = format!("<sip:{}@{}>", self.spec.number, self.spec.domain);
        let Some(call) = self.call(key) else { return };
        let Some(dialog) = &mut call.dialog else {
            return;
        };
        let contact = format!("<{}>", dialog.contact());
        let refer = dialog
            .request("REFER")
            .with("Contact", contact)
            .with("Refer-To", target)
            .with("Referred-By", own);
        call.transfer = Some(Transfer::Asked { other });
        self.start_client(refer, Task::Refer(key), 0);
    }

    pub(super) fn on_refer_answer(&mut self, key: CallKey, response: &Message) {
        let Some(call) = self.call(key) else { return };
        if response.status() >= 300 {
            call.transfer = None;
            if response.status() == 481 {
                self.bye(key, Outcome::TimedOut);
            }
        }
    }

    /// Somebody sends us elsewhere.
    pub(super) fn on_refer(&mut self, key: CallKey, server: &ServerKey, refer: &Message) {
        let target = uri_of(refer.get("Refer-To").unwrap_or_default()).to_owned();
        let (_, host) = target.split_once('@').unwrap_or_default();
        let foreign = match self.spec.address.is_ipv6() {
            true => host.starts_with(|c: char| c.is_ascii_digit()),
            false => host.starts_with('['),
        };
        if foreign {
            self.complain(format!("sent to {target}, which is out of reach"));
        }
        self.answer_plainly(server, refer, 202);
        self.notify(key, 100);
        let (uri, query) = target.split_once('?').unwrap_or((&target, ""));
        let mut extra = Vec::new();
        if let Some(replaces) = query.strip_prefix("Replaces=") {
            extra.push(("Replaces", unescape(replaces)));
        }
        if let Some(by) = refer.get("Referred-By") {
            extra.push(("Referred-By", by.to_owned()));
        }
        self.start_call(uri, extra, Some(Transfer::For(key)));
    }

    /// A call has its final answer: whoever asked for it is told.
    pub(super) fn tell_transferor(&mut self, key: CallKey, status: u16) {
        if let Some(Transfer::For(parent)) = self.call(key).and_then(|call| call.transfer) {
            self.notify(parent, status);
        }
    }

    fn notify(&mut self, key: CallKey, status: u16) {
        let Some(call) = self.call(key).filter(|call| call.stage == Stage::Up) else {
            return;
        };
        let Some(dialog) = &mut call.dialog else {
            return;
        };
        let state = match status {
            100 => "active;expires=60",
            _ => "terminated;reason=noresource",
        };
        let contact = format!("<{}>", dialog.contact());
        let notify = dialog
            .request("NOTIFY")
            .with("Contact", contact)
            .with("Event", "refer")
            .with("Subscription-State", state)
            .with_body("message/sipfrag", format!("SIP/2.0 {status} {}\r\n", reason(status)).into_bytes());
        self.start_client(notify, Task::Other, 0);
    }

    pub(super) fn on_notify(&mut self, key: CallKey, server: &ServerKey, notify: &Message) {
        self.answer_plainly(server, notify, 200);
        let done = notify.body_text().starts_with("SIP/2.0 2");
        let asked = self.call(key).and_then(|call| call.transfer);
        if let (true, Some(Transfer::Asked { other })) = (done, asked) {
            self.bye(key, Outcome::HungUp);
            // The replaced call is ended by its other side; a phone that heard nothing ends it.
            if let Some(other) = other {
                self.hang_up_call(other);
            }
        }
    }

    /// The call that a Replaces header means, if it is up (RFC 3891 §3).
    pub(super) fn find_replaced(&self, replaces: &str) -> Option<CallKey> {
        let mut parts = replaces.split(';');
        let call_id = parts.next()?.trim();
        let (mut to, mut from) = ("", "");
        for part in parts {
            match part.trim().split_once('=') {
                Some(("to-tag", tag)) => to = tag,
                Some(("from-tag", tag)) => from = tag,
                _ => {}
            }
        }
        let meant = |call: &&super::Call| {
            let Some(dialog) = &call.dialog else {
                return false;
            };
            dialog.call_id == call_id && dialog.local_tag == to && dialog.remote_tag == from
        };
        self.calls.iter().filter(|call| call.is_up()).find(meant).map(|call| call.key)
    }
}

fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte);
    let mut escaped = String::new();
    for byte in text.bytes() {
        match plain(byte) {
            true => escaped.push(byte as char),
            false => escaped += &format!("%{byte:02X}"),
        }
    }
    escaped
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let escaped = |rest: &mut std::str::Bytes| {
            let digits = [rest.next()?, rest.next()?];
            u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()
        };
        bytes.push(if byte == b'%' { escaped(&mut rest).unwrap_or(b'?') } else { byte });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn what_is_escaped_comes_back() {
    let text = "a+b@[2001:db8::1];to-tag=x;from-tag=y";
    assert_eq!(escape("a@b;c"), "a%40b%3Bc");
    assert_eq!(unescape(&escape(text)), text);
}
