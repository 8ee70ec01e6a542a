//! Asking the relay how its sessions are, while everything else goes on.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::Machine;
use super::hub::Hub;
use crate::media::{Measured, Relay};

/// How each end of each session is: a measurement that the relay made after it was asked for.
pub(super) async fn measured<M: Machine>(hub: &RefCell<Hub<'_, M>>) -> Rc<[Measured]> {
    let number = hub.borrow_mut().measure();
    poll_fn(|cx| hub.borrow_mut().measuring.poll(number, cx)).await
}

/// What was asked and answered. Who asks while an answer is on its way shares it, so that however many ask,
/// the relay measures one at a time.
#[derive(Default)]
pub(super) struct Measuring {
    newest: Rc<[Measured]>,
    /// How many answers came.
    answers: u64,
    is_asked: bool,
    /// No more than there are connections of operators.
    waiting: Vec<Waker>,
}

impl Measuring {
    /// Asks the relay, unless it has not answered yet; returns the number of the answer.
    pub(super) fn ask(&mut self, relay: Option<&Relay>) -> u64 {
        if !std::mem::replace(&mut self.is_asked, true)
            && let Some(relay) = relay
        {
            relay.measure();
        }
        self.answers + 1
    }

    /// Asks another relay for the answer that is awaited, if one is.
    pub(super) fn ask_again(&mut self, relay: Option<&Relay>) {
        if std::mem::take(&mut self.is_asked) {
            self.ask(relay);
        }
    }

    /// Takes the relay's answer.
    pub(super) fn answer(&mut self, measured: Vec<Measured>) {
        self.newest = measured.into();
        self.answers += 1;
        self.is_asked = false;
        self.waiting.drain(..).for_each(Waker::wake);
    }

    /// The newest answer, if the one of this number has come.
    fn poll(&mut self, number: u64, cx: &mut Context<'_>) -> Poll<Rc<[Measured]>> {
        if self.answers >= number {
            return Poll::Ready(self.newest.clone());
        }
        self.waiting.push(cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::media::{Counters, SessionId, Side};
    use crate::net::operators::Operators;

    #[test]
    fn whoever_asks_meanwhile_shares_the_answer() {
        let (relay, mut measuring) = (Relay::start().unwrap(), Measuring::default());
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!((measuring.ask(Some(&relay)), measuring.ask(Some(&relay))), (1, 1));
        assert!(measuring.poll(1, &mut cx).is_pending());
        let one = Measured {
            session: SessionId(1),
            stream: 0,
            side: Side::A,
            counters: Counters::default(),
            jitter: 0,
            round_trip: 0,
            payload_type: None,
            source: None,
            heard: None,
        };
        measuring.answer(vec![one]);
        assert_eq!(measuring.poll(1, &mut cx), Poll::Ready(Rc::from([one])));
        assert_eq!(measuring.ask(Some(&relay)), 2, "the next one wants to know how it is now");
        assert!(measuring.poll(2, &mut cx).is_pending());
    }

    #[test]
    fn the_answer_is_kept_from_the_machine_and_given_to_who_asked() {
        use crate::journal::Record;
        use crate::switch::{Input, Instant, Output};

        struct Deaf;

        impl Machine for Deaf {
            fn handle(&mut self, _: Instant, input: Input<'_>) {
                assert!(matches!(input, Input::Clock(_)), "{input:?}");
            }

            fn poll(&mut self) -> Option<Output> {
                None
            }

            fn deadline(&self) -> Option<Instant> {
                None
            }

            fn calls(&self) -> usize {
                0
            }

            fn snapshot(&self, _: &mut dyn FnMut(&Record)) {}
        }

        let mut tell = |_: &_| ();
        let operators = Operators::new(crate::net::Desk::default());
        let hub =
            Hub::new(Deaf, None, Relay::start().unwrap(), operators, smol::channel::unbounded().0, &mut tell);
        let hub = RefCell::new(hub);
        let report = async {
            loop {
                hub.borrow_mut().report();
                smol::Timer::after(std::time::Duration::from_millis(1)).await;
            }
        };
        let both = smol::future::zip(measured(&hub), measured(&hub));
        let answers = smol::block_on(smol::future::or(both, report));
        assert_eq!(answers, (Rc::from([]), Rc::from([])));
    }
}
