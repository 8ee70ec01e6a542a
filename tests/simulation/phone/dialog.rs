//! Dialogs (RFC 3261 §12): who talks to whom, and by which way requests go.

use std::time::Duration;

use denwa::switch::Instant;

use crate::sip::{Message, uri_of, uri_param};

/// How long a peer may not know of a new Contact.
const ON_ITS_WAY: Duration = Duration::from_secs(75);

/// One dialog, as its owner sees it.
#[derive(Clone, Debug)]
pub struct Dialog {
    pub call_id: String,
    pub local_tag: String,
    pub remote_tag: String,
    /// `From` of what is sent, without tag.
    local: String,
    /// `To` of what is sent, without tag.
    remote: String,
    /// Where requests go: the peer's Contact.
    pub remote_target: String,
    /// The Record-Route that stood in what made the dialog, in the order in which to use it.
    pub route_set: Vec<String>,
    pub local_seq: u32,
    pub remote_seq: Option<u32>,
    /// What the owner gives as its Contact, and gave before.
    pub contacts: Vec<String>,
    /// When that last changed.
    changed: Instant,
}

impl Dialog {
    /// The caller's, from a response with a To tag (RFC 3261 §12.1.2).
    pub fn of_caller(invite: &Message, response: &Message, contact: &str) -> Option<Dialog> {
        let mut route_set = owned(response.all("Record-Route"));
        route_set.reverse();
        Some(Dialog {
            call_id: invite.call_id().into(),
            local_tag: invite.sender_tag()?.into(),
            remote_tag: response.to_tag()?.into(),
            local: without_tag(invite.get("From")?),
            remote: without_tag(invite.get("To")?),
            remote_target: uri_of(response.get("Contact")?).into(),
            route_set,
            local_seq: invite.cseq().0,
            remote_seq: None,
            contacts: vec![contact.into()],
            changed: Instant(0),
        })
    }

    /// The callee's, from the INVITE (RFC 3261 §12.1.1).
    pub fn of_callee(invite: &Message, tag: &str, contact: &str) -> Option<Dialog> {
        Some(Dialog {
            call_id: invite.call_id().into(),
            local_tag: tag.into(),
            remote_tag: invite.sender_tag()?.into(),
            local: without_tag(invite.get("To")?),
            remote: without_tag(invite.get("From")?),
            remote_target: uri_of(invite.get("Contact")?).into(),
            route_set: owned(invite.all("Record-Route")),
            local_seq: 0,
            remote_seq: Some(invite.cseq().0),
            contacts: vec![contact.into()],
            changed: Instant(0),
        })
    }

    /// A request within the dialog, without Via (RFC 3261 §12.2.1.1); all routes are loose.
    pub fn request(&mut self, method: &str) -> Message {
        if method != "ACK" && method != "CANCEL" {
            self.local_seq += 1;
        }
        let mut request = Message::request(method, &self.remote_target);
        for route in &self.route_set {
            request = request.with("Route", route.clone());
        }
        request
            .with("Max-Forwards", "70")
            .with("From", format!("{};tag={}", self.local, self.local_tag))
            .with("To", format!("{};tag={}", self.remote, self.remote_tag))
            .with("Call-ID", self.call_id.clone())
            .with("CSeq", format!("{} {method}", self.local_seq))
    }

    /// The ACK of a 2xx to the INVITE with this CSeq number.
    pub fn ack(&mut self, invite_seq: u32) -> Message {
        let mut ack = self.request("ACK");
        ack.set("CSeq", format!("{invite_seq} ACK"));
        ack
    }

    /// Whether a request from the peer is in this dialog.
    pub fn holds(&self, request: &Message) -> bool {
        request.call_id() == self.call_id
            && request.to_tag() == Some(&self.local_tag)
            && request.sender_tag() == Some(&self.remote_tag)
    }

    /// The Contact that is in force.
    pub fn contact(&self) -> &str {
        self.contacts.last().map_or("", String::as_str)
    }

    /// The owner gives another Contact.
    pub fn give(&mut self, contact: String, now: Instant) {
        self.contacts.push(contact);
        self.changed = now;
    }

    /// The peer refused the newest Contact with what carried it; the one before is in force.
    pub fn take_back(&mut self, now: Instant) {
        if let Some(refused) = self.contacts.pop() {
            self.contacts.insert(0, refused);
            self.changed = now;
        }
    }

    /// Whether the owner may be reached at a URI: its Contact, or shortly after a change any before.
    pub fn accepts(&self, uri: &str, now: Instant) -> bool {
        let known = self.contacts.iter().any(|contact| contact == uri);
        uri == self.contact() || (known && now < self.changed + ON_ITS_WAY)
    }

    /// Takes over the peer's new Contact, if there is one (RFC 3261 §12.2).
    pub fn refresh_target(&mut self, message: &Message) {
        if let Some(contact) = message.get("Contact") {
            self.remote_target = uri_of(contact).into();
        }
    }

    /// The URIs of the exchange by which requests go out; what it answers itself needs no route.
    pub fn ways(&self) -> Vec<String> {
        match self.route_set.is_empty() {
            true => vec![self.remote_target.clone()],
            false => self.route_set.clone(),
        }
    }

    /// What is wrong with the route set, which the exchange alone wrote.
    pub fn fault_in_route_set(&self) -> Option<String> {
        match &self.route_set[..] {
            [] => None,
            [route] if uri_param(uri_of(route), "lr").is_some() => None,
            [route] => Some(format!("a strict route: {route}")),
            routes => Some(format!("{} Record-Route values instead of one", routes.len())),
        }
    }
}

fn without_tag(value: &str) -> String {
    match value.find(";tag=") {
        Some(at) => value[..at].to_owned(),
        None => value.to_owned(),
    }
}

fn owned(values: Vec<&str>) -> Vec<String> {
    values.into_iter().map(str::to_owned).collect()
}
