//! What the cloud knows of this machine and the machine itself does not: its public address where that belongs to
//! somebody else's router, and that it will be stopped.
//!
//! On EC2, a thread of its own ([`Watch`]) asks the instance metadata service (IMDSv2) and tells the exchange the
//! [`News`]; elsewhere there is nobody to ask, and no thread. Nothing of it is ever waited for, but for a tenth of
//! a second at the start.

mod metadata;
mod notice;
mod watch;

use std::fs;
use std::path::Path;

pub use metadata::{ENDPOINTS, MAX_BODY, Metadata, MetadataError};
pub use notice::{Action, Notice};
pub use watch::{News, Pace, Watch};

/// Where the firmware says who made this machine: a folder.
pub(crate) const FIRMWARE: &str = "/sys/class/dmi/id";

/// Whether this machine is one of Amazon's, as its firmware says. To be asked before the cage, in which no such
/// file can be read; the keeper's own may be.
pub fn is_ec2() -> bool {
    is_ec2_by(Path::new(FIRMWARE))
}

/// Instances of this decade have `Amazon EC2` as their maker; those on Xen have a version with `amazon` in it.
fn is_ec2_by(firmware: &Path) -> bool {
    let says = |name: &str, word: &str| {
        let text = fs::read_to_string(firmware.join(name)).unwrap_or_default();
        text.to_ascii_lowercase().contains(word)
    };
    says("sys_vendor", "amazon ec2") || says("bios_version", "amazon")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn amazons_machines_are_told_from_others() {
        let folder = std::env::temp_dir().join(format!("denwa-{}-firmware", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let is_ec2 = |vendor: &str, version: &str| {
            fs::write(folder.join("sys_vendor"), vendor).unwrap();
            fs::write(folder.join("bios_version"), version).unwrap();
            is_ec2_by(&folder)
        };
        assert!(is_ec2("Amazon EC2\n", "1.0\n") && is_ec2("Xen\n", "4.11.amazon\n"));
        assert!(!is_ec2("QEMU\n", "1.16\n") && !is_ec2("OpenStack Foundation\n", "\n"));
        fs::remove_dir_all(&folder).unwrap();
        assert!(!is_ec2_by(&folder));
    }
}
