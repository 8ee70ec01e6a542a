//! What the cloud says of the machine that this runs on, for the exchange and for people.

use std::cell::RefCell;

use smol::channel::Receiver;

use super::Machine;
use super::hub::Hub;
use crate::cloud::News;
use crate::switch::Input;

/// Feeds what comes, until nothing can come any more.
pub(super) async fn listen<M: Machine>(hub: &RefCell<Hub<'_, M>>, news: Receiver<News>) {
    while let Ok(news) = news.recv().await {
        hub.borrow_mut().hear(news);
    }
}

impl<M: Machine> Hub<'_, M> {
    fn hear(&mut self, news: News) {
        let now = self.now();
        match news {
            News::Addresses(addresses) => {
                self.handle(now, Input::Advertised(addresses));
                self.web.forget();
            }
            News::Stopping(action, after) => {
                self.notice(format!(
                    "spot: the cloud {action} this server in {} s; calls end before, and registrations are short from \
                     now on, so that phones come back soon",
                    after.as_secs()
                ));
                self.handle(now, Input::MachineStops(Some(after)));
            }
            News::Spared => {
                self.remark("spot: the cloud leaves this server alone, after all".into());
                self.handle(now, Input::MachineStops(None));
            }
            News::Trouble(Some(why)) => self.notice(format!(
                "the cloud's metadata service: {why}; until it answers, what is left to it is not known: the public \
                 address (advertise = auto), and whether this server will be stopped (spot)"
            )),
            News::Trouble(None) => self.remark("the cloud's metadata service answers".into()),
        }
        self.flush(now);
    }
}
