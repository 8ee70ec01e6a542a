//! What denwa writes into Record-Route and masked Contacts, so that it recognises what comes back.
//!
//! A token names a call and a leg, and is sealed together with the Call-ID: whoever did not get it
//! from denwa in this very dialog cannot make one, so the server is nobody's open relay.

use super::secret::{Purpose, Sealed, Secret, peek};

/// A leg of a call, and which header speaks of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// Below 2⁴⁰.
    pub(super) call: u64,
    /// The leg that was given the token: 0 is the caller.
    pub(super) leg: u8,
    /// Whether it stands for the contact of the other side, not for the route through us.
    pub(super) contact: bool,
}

/// The most legs that a call can have in its life.
pub(super) const MAX_LEGS: usize = 128;

impl Token {
    /// Seals it: 23 characters.
    pub(super) fn seal(self, secret: &Secret, call_id: &[u8]) -> Sealed {
        let call = self.call.to_be_bytes();
        let leg = self.leg & 0x7f | if self.contact { 0x80 } else { 0 };
        secret.seal(Purpose::Token, &[call[3], call[4], call[5], call[6], call[7], leg], call_id)
    }

    /// What a text claims to be; believe only [`Token::is_sealed`].
    pub(super) fn peek(text: &[u8]) -> Option<Token> {
        let [a, b, c, d, e, leg] = peek::<6>(text)?;
        let call = u64::from_be_bytes([0, 0, 0, a, b, c, d, e]);
        Some(Token { call, leg: leg & 0x7f, contact: leg & 0x80 != 0 })
    }

    /// Whether denwa made this text for a dialog with this Call-ID.
    pub(super) fn is_sealed(text: &[u8], secret: &Secret, call_id: &[u8]) -> bool {
        secret.open::<6>(Purpose::Token, text, call_id).is_some()
    }
}
