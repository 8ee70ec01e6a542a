//! Whom root becomes.

use std::fs::File;
use std::io::{self, Read};

use rustix::process::geteuid;

use super::Error;

/// Where the users are. Nothing else is asked (LDAP and the like): a static binary cannot.
const PASSWD: &str = "/etc/passwd";

/// The most of it that is read, in bytes.
const MAX_PASSWD: u64 = 1 << 20;

/// Whom root becomes where nobody else is named, if they are there.
const USUAL: [&str; 2] = ["denwa", "nobody"];

/// Nobody's number on every Linux, with a file of users or without.
const NOBODY: u32 = 65534;

/// An unprivileged user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name, as `user` and `/etc/passwd` have it.
    pub name: String,
    /// The user's number.
    pub uid: u32,
    /// The number of the user's own group, the only one that is kept.
    pub gid: u32,
}

impl User {
    /// Whom root becomes: the one named by `user`, else `denwa`, else `nobody`; where there is no such
    /// user in `/etc/passwd`, the number that nobody has everywhere. `None` if this process is not root,
    /// and so cannot become anybody.
    ///
    /// # Errors
    ///
    /// The named user does not exist, or `/etc/passwd` cannot be read.
    pub fn find(wanted: Option<&str>) -> Result<Option<User>, Error> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        let users = read().map_err(Error::Users)?;
        choose(&users, wanted).map(Some)
    }

    /// The name of who this process is, or its number where that has no name.
    pub(super) fn current() -> String {
        let uid = geteuid().as_raw();
        let users = read().unwrap_or_default();
        let known = lines(&users).find(|user| user.uid == uid);
        known.map_or_else(|| uid.to_string(), |user| user.name)
    }
}

fn choose(users: &str, wanted: Option<&str>) -> Result<User, Error> {
    let named = |name: &str| lines(users).find(|user| user.name == name);
    match wanted {
        Some(name) => named(name).ok_or_else(|| Error::NoSuchUser(name.into())),
        None => Ok(USUAL.into_iter().find_map(named).unwrap_or_else(|| User {
            name: "nobody".into(),
            uid: NOBODY,
            gid: NOBODY,
        })),
    }
}

/// Everything in `/etc/passwd`; nothing where there is none, as in the smallest images.
fn read() -> io::Result<String> {
    let mut bytes = Vec::new();
    match File::open(PASSWD) {
        Ok(file) => file.take(MAX_PASSWD).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The users in a file of the form of passwd(5); lines of another form are left out.
fn lines(users: &str) -> impl Iterator<Item = User> {
    users.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(User { name, uid, gid })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0:root:/root:/bin/sh\n# no user\n+::::::\nbroken:x:one:2\n\
                         nobody:x:65534:65533:nobody:/:/sbin/nologin\nalice:x:1000:1000::/home/alice:/bin/sh\n";

    fn user(name: &str, uid: u32, gid: u32) -> User {
        User { name: name.into(), uid, gid }
    }

    #[test]
    fn denwa_or_else_nobody() {
        assert_eq!(choose(USERS, None).unwrap(), user("nobody", 65534, 65533));
        let more = format!("{USERS}denwa:x:101:102::/var/lib/denwa:/sbin/nologin\n");
        assert_eq!(choose(&more, None).unwrap(), user("denwa", 101, 102));
        assert_eq!(choose("", None).unwrap(), user("nobody", 65534, 65534));
    }

    #[test]
    fn the_one_that_is_named() {
        assert_eq!(choose(USERS, Some("alice")).unwrap(), user("alice", 1000, 1000));
        let error = choose(USERS, Some("broken")).unwrap_err().to_string();
        assert!(error.starts_with("user = broken: /etc/passwd has no such user"), "{error}");
    }
}
