//! With what TLS is spoken: a certificate and its key, given (`tls.cert`, `tls.key`) or made here.
//!
//! Given files are read by the [`keeper`](crate::keeper), at the start and whenever they have changed, and handed
//! over as [`Material`]: the exchange in its cage has no right to any file but those of its state folder, and so a
//! key that only root may read stays a key that the exchange cannot read. What was handed over becomes an
//! [`Identity`] there. Where no files are given, the exchange makes an identity of its own and keeps it in the state
//! folder, so that its fingerprint stays the same (file `own`).
//!
//! Both sides may show a certificate: we do to those that we call, and those that call us are asked for theirs, by which a
//! friend's exchange is known (file `visitor`).
//!
//! TLS 1.2 and 1.3, with cipher suites that all have forward secrecy (file `provider`).

mod client;
mod identity;
mod material;
mod own;
mod provider;
mod visitor;
mod x509;

pub(crate) use client::Client;
pub use client::{Authorities, BUNDLES};
pub use identity::{About, Identity, Origin, fingerprint_text};
pub use material::{Error, MAX_FILE, Material};
pub use own::{OWN, about_own, copy_own};
pub(crate) use provider::provider;
pub(crate) use visitor::proved_by;

use std::path::Path;
use std::sync::Arc;

use crate::config::Config;

/// What TLS is spoken with: what was handed over, or else our own, which is kept in the folder `state` if there is
/// one. `None` where TLS is spoken nowhere. Also what people should know although it went well.
///
/// # Errors
///
/// Why there is none.
pub fn identity(
    config: &Config,
    material: Option<&Material>,
    state: Option<&Path>,
) -> Result<(Option<Arc<Identity>>, Option<String>), Error> {
    match material {
        _ if !is_spoken(config) => Ok((None, None)),
        Some(material) => Ok((Some(Arc::new(Identity::new(material, Origin::Given)?)), None)),
        None => {
            let (identity, notice) = own::identity(config, state)?;
            Ok((Some(Arc::new(identity)), notice))
        }
    }
}

/// What deserves a look in the files that a configuration names, for whoever asks before it is used, at this time in
/// seconds since 1970: a sentence.
///
/// # Errors
///
/// What is wrong with them. That whoever asks may not read them is not: denwa may be somebody else.
pub fn check(config: &Config, now: u64) -> Result<Option<String>, Error> {
    let Some(files) = &config.tls else { return Ok(None) };
    if !is_spoken(config) {
        return Ok(Some("tls.cert: TLS is spoken nowhere; add `tls:5061` to `listen`".into()));
    }
    match Material::read(files) {
        Err(error) if error.is_forbidden() => {
            Ok(Some(format!("this could not be looked at by you: {error}")))
        }
        material => Ok(Identity::new(&material?, Origin::Given)?.about().trouble(now)),
    }
}

/// Whether TLS is spoken anywhere.
pub fn is_spoken(config: &Config) -> bool {
    config.listen.iter().any(|listen| listen.transport == crate::config::Transport::Tls)
}
