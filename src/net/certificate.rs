//! The certificate for TLS while the loop runs: another one takes its place, and people are told when it is out of
//! date.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::Machine;
use super::hub::Hub;
use crate::config::Config;
use crate::console::certificate;
use crate::console::control::Certificate;
use crate::switch::Instant;
use crate::tls::{self, Identity, Material, Origin};

/// How often people are told that it is out of date, or will be soon.
const REMIND: Duration = Duration::from_secs(86_400);

impl<M: Machine> Hub<'_, M> {
    /// Begins with this one; whoever has made it has told people what there is to know.
    pub(super) fn introduce(&mut self, identity: Option<Arc<Identity>>) {
        self.validity = identity.is_some().then(|| self.now() + REMIND);
        self.identity = identity;
    }

    /// The one that another configuration wants.
    pub(super) fn identity_for(
        &mut self,
        config: &Config,
        material: Option<&Material>,
    ) -> io::Result<Option<Arc<Identity>>> {
        let own = self.identity.as_ref().filter(|identity| identity.about().origin == Origin::Own);
        if let (None, Some(own)) = (material, own) {
            return Ok(tls::is_spoken(config).then(|| own.clone()));
        }
        let state = self.is_recording().then_some(config.state.as_path());
        let (identity, notice) = tls::identity(config, material, state).map_err(io::Error::other)?;
        if let Some(notice) = notice {
            self.notice(notice);
        }
        Ok(identity)
    }

    /// Goes on with the one in these files.
    pub(super) fn take(&mut self, material: &Material) -> Result<(), tls::Error> {
        // Otherwise TLS is not spoken any more.
        if self.identity.is_some() {
            let identity = Arc::new(Identity::new(material, Origin::Given)?);
            self.renew(Some(identity));
            let now = self.now();
            self.flush(now);
        }
        Ok(())
    }

    /// Goes on with another one: connections that are open do not notice. People are told if it is news.
    pub(super) fn renew(&mut self, identity: Option<Arc<Identity>>) {
        let about = |identity: &Option<Arc<Identity>>| identity.as_ref().map(|it| it.about().clone());
        let (before, after) = (about(&self.identity), about(&identity));
        self.introduce(identity);
        if let Some(after) = after.filter(|after| before.as_ref() != Some(after)) {
            self.remark(certificate(&after));
            self.remind();
        }
    }

    /// Tells people of a certificate that is out of date, once a day.
    pub(super) fn check_validity(&mut self, now: Instant) {
        if self.validity.is_some_and(|validity| validity <= now) {
            self.validity = Some(now + REMIND);
            self.remind();
        }
    }

    fn remind(&mut self) {
        let now = self.clock.wall() / 1_000;
        let trouble = self.identity.as_ref().and_then(|identity| identity.about().trouble(now));
        if let Some(trouble) = trouble {
            self.notice(trouble);
        }
    }

    /// What operators are shown of it.
    pub(super) fn certificate(&self) -> Option<Certificate> {
        let about = self.identity.as_ref()?.about();
        Some(Certificate {
            self_signed: about.origin == Origin::Own,
            sha256_fingerprint: about.fingerprint_text(),
            not_after_unix: about.not_after,
            trouble: about.trouble(self.clock.wall() / 1_000),
        })
    }
}
