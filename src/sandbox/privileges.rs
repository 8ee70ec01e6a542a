//! Being root, and the parts of being root that Linux calls capabilities.

use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::process::geteuid;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_keep_capabilities, set_no_new_privs,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use super::limits::failed;
use super::{Error, User};

/// Becomes `user` if this is root. Gives the name of the
/// unprivileged user that the process then has, or the reason why it has none.
pub(super) fn leave_root(user: Option<&User>) -> Result<String, String> {
    if !geteuid().is_root() {
        return Ok(User::current());
    }
    let user = match user {
        None => return Err("the exchange was started as root and told to stay it".into()),
        Some(user) if user.uid == 0 => return Err(format!("`user = {}` is root", user.name)),
        Some(user) => user,
    };
    become_user(user).map(|()| user.name.clone()).map_err(|errno| match errno {
        Errno::INVAL => format!("this container has no user {} (uid {})", user.name, user.uid),
        Errno::PERM => "root may not become another user here: the capabilities CAP_SETUID and CAP_SETGID \
                        are missing"
            .into(),
        other => format!("root cannot become {}: {other}", user.name),
    })
}

/// Groups first: without being root, nobody may change them. Of these the own one, which shows whether
/// the user exists here at all.
fn become_user(user: &User) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_groups(&[])?;
    set_thread_res_uid(uid, uid, uid)
}

/// Takes every capability out of what a program executed from here could get. Where the process may
/// not do that, it had none to give either, but those that [`gain_none`] takes.
pub(super) fn empty_bounding_set() {
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        // The first one that the kernel does not know ends the list.
        if capability_is_in_bounding_set(capability).is_err() {
            break;
        }
        let _ = remove_capability_from_bounding_set(capability);
    }
}

const WHAT: &str = "giving up capabilities";

/// Lets capabilities outlive the change of user, until [`give_up_capabilities`].
pub(super) fn hold_capabilities() -> Result<(), Error> {
    set_keep_capabilities(true).map_err(failed(WHAT))
}

/// Gives up all capabilities but those of `kept` that the process has; and all for programs executed from
/// here. Returns what it still has.
pub(super) fn give_up_capabilities(kept: CapabilitySet) -> Result<CapabilitySet, Error> {
    // Before Linux 4.3 there is no ambient set, and nothing in it.
    let _ = clear_ambient_capability_set();
    let kept = capabilities(None).map_err(failed(WHAT))?.permitted & kept;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(failed(WHAT))?;
    set_keep_capabilities(false).map_err(failed(WHAT))?;
    Ok(kept)
}

/// Executing a program gains no rights from now on, whatever its setuid bit says.
pub(super) fn gain_none() -> Result<(), Error> {
    set_no_new_privs(true).map_err(failed("refusing new privileges"))
}
