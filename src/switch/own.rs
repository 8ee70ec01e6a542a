//! What denwa itself says in a dialog, in the name of whoever is on the other side.

use super::Switch;
use super::call::{Party, index};
use super::flow::Flow;
use super::fork::Kind;
use super::forward::{routed, via};
use super::transaction::ClientId;
use crate::media::Side;
use crate::sip::Message;
use crate::sip::originate::{Originate, OwnMethod};

/// A request that is to be sent.
pub(super) struct Own {
    /// The number of its client transaction.
    pub(super) client: ClientId,
    /// Where it goes.
    pub(super) flow: Flow,
    pub(super) bytes: Vec<u8>,
}

impl Switch {
    /// A request to one side of a dialog with this CSeq number, these headers besides, and a body of a type. `None`:
    /// nobody is there.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn own_request(
        &mut self,
        id: u64,
        dialog: usize,
        to: Side,
        method: OwnMethod,
        cseq: u32,
        headers: &[(&str, &[u8])],
        (kind, body): (&str, &[u8]),
    ) -> Option<Own> {
        let client = self.next_client();
        let branch = self.branch_text(client, 0);
        let call = self.calls.get(&id)?;
        let leg = call.leg(dialog, to).filter(|leg| leg.party != Party::Inside)?;
        let they = &call.dialogs.get(dialog)?.ends[index(to)];
        let (names, flow) = (call.names(dialog, to)?, self.flow_of(leg));
        let (target, routes) = routed(&they.target, they.routes.to_vec());
        let routes: &[&[u8]] = if routes.is_empty() { &[] } else { &[&routes] };
        let bytes = Originate {
            method,
            uri: &target,
            via: via(&self.config, &flow, &branch).as_bytes(),
            routes,
            from: &names.from,
            to: &names.to,
            call_id: &names.call_id,
            cseq,
            headers,
        }
        .print_with(kind, body);
        Some(Own { client, flow, bytes })
    }

    /// Opens a fork for an INVITE that denwa itself asks; nobody waits for its response.
    pub(super) fn open_own_fork(&mut self, flow: Flow, request: &Message<'_>, kind: Kind) -> u64 {
        let server = self.server_key(&flow, request, b"INVITE");
        let id = self.open_fork(server, flow, request, kind);
        if let Some(fork) = self.forks.get_mut(&id) {
            fork.own = true;
        }
        id
    }
}
