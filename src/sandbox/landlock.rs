//! Landlock: which files, TCP ports and processes the kernel still gives us. Older kernels know less of
//! it; what they know is used.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, make_bitflags,
};

use super::{Rights, Who};

/// The rights over files that we know, of which all are taken but those given back. A newer kernel
/// may know more; those stay as they are, so that a new kernel cannot break an old exchange.
const KNOWN: ABI = ABI::V10;

/// What may be done with what is to be read.
const READ: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});

/// What may be done in folders to write: files and folders, but no devices, no links out of it, no
/// sockets.
const WRITE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
    ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | RemoveFile | RemoveDir
});

/// What may be done with what is to be executed.
const EXECUTE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{Execute | ReadFile | ReadDir});

/// What holds of Landlock.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Domain {
    /// Its version, from 1 on.
    pub(super) abi: i32,
    /// Whether binding TCP ports is forbidden, where the version can.
    pub(super) ports: bool,
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = if self.abi < ABI::V3 as i32 { "files, but not truncating them" } else { "files" };
        let ports = (self.ports && self.abi >= ABI::V4 as i32).then_some("TCP ports");
        let signals = (self.abi >= ABI::V6 as i32).then_some("signals");
        let all: Vec<&str> = [Some(files), ports, signals].into_iter().flatten().collect();
        write!(f, "Landlock ABI {} ({})", self.abi, all.join(", "))
    }
}

/// Takes everything that is not in `rights`, or says why that cannot be done.
pub(super) fn restrict(rights: &Rights, who: Who) -> Result<Domain, String> {
    let status = ruleset(rights, who)
        .and_then(RulesetCreated::restrict_self)
        .map_err(|error| format!("the kernel refuses it: {error}"))?;
    match status.landlock {
        LandlockStatus::Available { effective_abi, .. } if status.ruleset != RulesetStatus::NotEnforced => {
            Ok(Domain { abi: effective_abi as i32, ports: who == Who::Exchange })
        }
        LandlockStatus::NotEnabled => {
            Err("this kernel has it, but it is not among those enabled by `lsm=` on the \
                                           kernel's command line"
                .into())
        }
        _ => Err(not_there()),
    }
}

fn ruleset(rights: &Rights, who: Who) -> Result<RulesetCreated, RulesetError> {
    let mut ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))?
        .scope(Scope::AbstractUnixSocket | Scope::Signal)?;
    // TCP connections and UDP are never handled: the ports of phones and SRV records are arbitrary.
    if who == Who::Exchange {
        ruleset = ruleset.handle_access(AccessNet::BindTcp)?;
    }
    let libraries = match rights.execute {
        [] => BTreeSet::new(),
        _ => library_folders(),
    };
    let libraries = libraries.iter().map(PathBuf::as_path);
    ruleset
        .create()?
        .add_rules(rules(rights.read.iter().copied(), READ))?
        .add_rules(rules(rights.write.iter().copied(), WRITE))?
        .add_rules(rules(rights.execute.iter().copied().chain(libraries), EXECUTE))
}

/// A rule for each of `paths` that can be reached; what cannot be reached needs none.
fn rules<'a>(
    paths: impl Iterator<Item = &'a Path>,
    access: BitFlags<AccessFs>,
) -> impl Iterator<Item = Result<PathBeneath<PathFd>, RulesetError>> {
    paths.filter_map(|path| PathFd::new(path).ok()).map(move |path| Ok(PathBeneath::new(path, access)))
}

/// The folders of the shared libraries that this process uses; none in a static binary. Folders rather
/// than files, so that a program can still be started after an update of the libraries.
fn library_folders() -> BTreeSet<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let files = maps.lines().filter_map(|line| line.find('/').and_then(|start| line.get(start..)));
    let libraries = files.filter(|file| file.contains(".so"));
    libraries.filter_map(|file| Path::new(file).parent()).map(Path::to_owned).collect()
}

/// Why there is no Landlock.
fn not_there() -> String {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    match is_old(&release) {
        true => format!("Linux {release} has none, 5.13 is needed"),
        false => format!("Linux {release} was built without it, or a container hides it"),
    }
}

/// Whether a kernel's release is before the one that brought Landlock, 5.13.
fn is_old(release: &str) -> bool {
    let mut numbers =
        release.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) < (Some(5), Some(13))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_each_version_holds() {
        let said = |abi, ports| Domain { abi, ports }.to_string();
        assert_eq!(said(1, true), "Landlock ABI 1 (files, but not truncating them)");
        assert_eq!(said(3, true), "Landlock ABI 3 (files)");
        assert_eq!(said(4, true), "Landlock ABI 4 (files, TCP ports)");
        assert_eq!(said(10, true), "Landlock ABI 10 (files, TCP ports, signals)");
        assert_eq!(said(6, false), "Landlock ABI 6 (files, signals)");
    }

    #[test]
    fn knows_which_kernels_are_old() {
        for old in ["3.10.0-1160.el7.x86_64", "4.19.0", "5.4.0-200-generic", "5.12.19"] {
            assert!(is_old(old), "{old}");
        }
        for new in ["5.13.0", "5.15", "6.1.0-44-amd64", "10.0"] {
            assert!(!is_old(new), "{new}");
        }
    }
}
