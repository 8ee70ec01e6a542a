//! What the cage came to, in one line.

use std::fmt;

use rustix::thread::CapabilitySet;

use super::landlock::Domain;
use super::limits::OpenFiles;

/// What was achieved. `Display` is one line for the log:
///
/// ```text
/// sandbox: user nobody, no capabilities, Landlock ABI 7 (files, TCP ports, signals), seccomp, no core dumps
/// sandbox: user nobody, no capabilities, seccomp, no core dumps; but no Landlock: Linux 5.10.0 has none, 5.13 is needed
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Achieved {
    /// `None` where there is no cage.
    bars: Option<Bars>,
}

impl Achieved {
    pub(super) fn off() -> Achieved {
        Achieved { bars: None }
    }

    pub(super) fn with(bars: Bars) -> Achieved {
        Achieved { bars: Some(bars) }
    }

    /// Whether nothing is missing that [`crate::config::Sandbox::Require`] asks for. If something is,
    /// people should be warned.
    pub fn is_complete(&self) -> bool {
        self.bars.as_ref().is_some_and(|bars| bars.missing().is_empty())
    }
}

/// What holds, and the reasons why something does not.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bars {
    /// The name of the unprivileged user.
    pub(super) user: Result<String, String>,
    /// Those that are left.
    pub(super) capabilities: CapabilitySet,
    pub(super) landlock: Result<Domain, String>,
    /// `None` for who does without.
    pub(super) seccomp: Option<Result<(), String>>,
    pub(super) open_files: OpenFiles,
}

impl Bars {
    /// What is missing, and why.
    pub(super) fn missing(&self) -> Vec<String> {
        let user = self.user.as_ref().err().map(|why| format!("no unprivileged user: {why}"));
        let landlock = self.landlock.as_ref().err().map(|why| format!("no Landlock: {why}"));
        let seccomp = self.seccomp.as_ref().and_then(|seccomp| seccomp.as_ref().err());
        let seccomp = seccomp.map(|why| format!("no seccomp: {why}"));
        [user, landlock, seccomp].into_iter().flatten().collect()
    }

    fn holding(&self) -> Vec<String> {
        let mut holding = Vec::new();
        if let Ok(user) = &self.user {
            holding.push(format!("user {user}"));
        }
        let left = [
            (CapabilitySet::NET_BIND_SERVICE, "CAP_NET_BIND_SERVICE"),
            (CapabilitySet::DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH"),
        ];
        let left: Vec<&str> =
            left.iter().filter(|(one, _)| self.capabilities.contains(*one)).map(|(_, name)| *name).collect();
        holding.push(match left.as_slice() {
            [] => "no capabilities".into(),
            left => format!("no capabilities but {}", left.join(" and ")),
        });
        if let Ok(domain) = &self.landlock {
            holding.push(domain.to_string());
        }
        if let Some(Ok(())) = &self.seccomp {
            holding.push("seccomp".into());
        }
        holding.push("no core dumps".into());
        holding
    }
}

impl fmt::Display for Achieved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(bars) = &self.bars else {
            return write!(
                f,
                "sandbox: none, as `sandbox = off` says: whoever finds a hole in the exchange can do all that \
                 its user may"
            );
        };
        write!(f, "sandbox: {}", bars.holding().join(", "))?;
        for missing in bars.missing() {
            write!(f, "; but {missing}")?;
        }
        let OpenFiles { wanted, given } = bars.open_files;
        match given < wanted {
            true => write!(f, "; but at most {given} open files, where {wanted} may be needed"),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Bars {
        Bars {
            user: Ok("denwa".into()),
            capabilities: CapabilitySet::empty(),
            landlock: Ok(Domain { abi: 7, ports: true }),
            seccomp: Some(Ok(())),
            open_files: OpenFiles { wanted: 4096, given: 4096 },
        }
    }

    #[test]
    fn all_of_it() {
        let achieved = Achieved::with(all());
        assert!(achieved.is_complete());
        assert_eq!(
            achieved.to_string(),
            "sandbox: user denwa, no capabilities, Landlock ABI 7 (files, TCP ports, signals), seccomp, no core dumps"
        );
    }

    #[test]
    fn what_is_missing_stands_out() {
        let bars = Bars {
            user: Err("it is root".into()),
            capabilities: CapabilitySet::empty(),
            landlock: Err("too old".into()),
            seccomp: Some(Err("not built in".into())),
            open_files: OpenFiles { wanted: 4096, given: 1024 },
        };
        let achieved = Achieved::with(bars);
        assert!(!achieved.is_complete());
        assert_eq!(
            achieved.to_string(),
            "sandbox: no capabilities, no core dumps; but no unprivileged user: it is root; but no Landlock: \
             too old; but no seccomp: not built in; but at most 1024 open files, where 4096 may be needed"
        );
    }

    #[test]
    fn the_keeper_has_its_own_measure() {
        let bars = Bars {
            capabilities: CapabilitySet::NET_BIND_SERVICE,
            landlock: Ok(Domain { abi: 7, ports: false }),
            seccomp: None,
            ..all()
        };
        let achieved = Achieved::with(bars);
        assert!(achieved.is_complete());
        assert_eq!(
            achieved.to_string(),
            "sandbox: user denwa, no capabilities but CAP_NET_BIND_SERVICE, Landlock ABI 7 (files, signals), no \
             core dumps"
        );
    }

    #[test]
    fn off_is_said_to_be_off() {
        assert!(!Achieved::off().is_complete());
        assert!(Achieved::off().to_string().contains("sandbox = off"));
    }
}
