//! The certificate for TLS, as long as it is in files that somebody else renews: they are looked at now and then,
//! and what is new in them is handed to the exchange, which could not read them itself.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::watch::{State, Watch};
use crate::config::{Config, LogLevel, TlsFiles};
use crate::tls::{self, Identity, Material, Origin};

/// How often the files are looked at. Two stat(2) cost nothing.
const LOOK: Duration = Duration::from_secs(10);

/// The two files, and what was last seen of them.
pub(super) struct Certificate {
    files: TlsFiles,
    seen: [Option<Stamp>; 2],
    /// Why what was seen cannot be used, until people were told. That waits until the next look, since one file is
    /// written before the other.
    trouble: Option<tls::Error>,
    /// When they are looked at next.
    next: Instant,
}

/// What is different for a file that was written, replaced or opened to us: device, number, size, times.
type Stamp = (u64, u64, u64, (i64, i64), (i64, i64));

fn stamp(path: &Path) -> Option<Stamp> {
    // Where a link leads to, if it is one.
    let file = fs::metadata(path).ok()?;
    let (written, changed) = ((file.mtime(), file.mtime_nsec()), (file.ctime(), file.ctime_nsec()));
    Some((file.dev(), file.ino(), file.size(), written, changed))
}

/// Reads the files that a configuration names, if TLS is spoken with them at all.
///
/// # Errors
///
/// What is wrong with them.
pub(super) fn read(config: &Config) -> Result<(Option<Certificate>, Option<Material>), tls::Error> {
    let Some(files) = config.tls.clone().filter(|_| tls::is_spoken(config)) else { return Ok((None, None)) };
    let mut certificate = Certificate { files, seen: [None; 2], trouble: None, next: Instant::now() + LOOK };
    let material = certificate.read()?;
    Ok((Some(certificate), Some(material)))
}

impl Certificate {
    /// When the files are looked at next.
    pub(super) fn deadline(&self) -> Instant {
        self.next
    }

    fn read(&mut self) -> Result<Material, tls::Error> {
        // Before the files, so that what is written meanwhile is seen the next time.
        self.seen = self.stamps();
        let material = Material::read(&self.files)?;
        Identity::new(&material, Origin::Given)?;
        Ok(material)
    }

    fn stamps(&self) -> [Option<Stamp>; 2] {
        [stamp(&self.files.cert), stamp(&self.files.key)]
    }

    /// Looks whether there is something new.
    fn look(&mut self, now: Instant) -> Look {
        self.next = now + LOOK;
        if self.stamps() == self.seen {
            return self.trouble.take().map_or(Look::Same, Look::Trouble);
        }
        match self.read() {
            Ok(material) => {
                self.trouble = None;
                Look::New(Box::new(material))
            }
            Err(error) => {
                self.trouble = Some(error);
                Look::Same
            }
        }
    }
}

/// What is seen.
#[derive(Debug, PartialEq)]
enum Look {
    /// Nothing that would have to be told or done.
    Same,
    New(Box<Material>),
    /// There is something new that cannot be used.
    Trouble(tls::Error),
}

impl Watch {
    /// Looks at the files if it is time, and hands over what is new.
    pub(super) fn look_at_certificate(&mut self, now: Instant) {
        let is_busy = self.is_busy();
        let Some(certificate) = &mut self.keeper.certificate else { return };
        if certificate.next > now {
            return;
        }
        if is_busy {
            // Whoever takes over gets what there is, and what is new a little later.
            certificate.next = now + LOOK;
            return;
        }
        let material = match certificate.look(now) {
            Look::Same => return,
            Look::New(material) => material,
            Look::Trouble(error) => {
                let sentence = format!("the new certificate is not used, that of before is: {error}");
                return self.keeper.log.say(LogLevel::Warn, &sentence);
            }
        };
        let renewed = self.keeper.parcel.renew(&material);
        self.orders = self.orders.wrapping_add(1);
        let ordered = renewed.and_then(|()| match &mut self.state {
            State::Running(exchange) => exchange.renew(&self.keeper.parcel, self.orders),
            // The next one starts with it.
            State::Waiting(_) => Ok(()),
        });
        if let Err(error) = ordered {
            let sentence =
                format!("the new certificate cannot be handed over, that of before is used: {error}");
            self.keeper.log.say(LogLevel::Warn, &sentence);
        }
    }
}
