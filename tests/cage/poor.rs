//! Systems that lack something, configurations that cannot work, and what the keeper keeps.

use std::ffi::CString;
use std::fs::{self, Permissions};
use std::io;
use std::net::UdpSocket;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use denwa::config::Sandbox;
use denwa::sandbox::{self, Rights, User, prepare_state};
use rustix::process::{Gid, Pid, Signal, getegid, geteuid, getgroups, kill_process};
use rustix::thread::{
    CapabilitySet, capabilities, capability_is_in_bounding_set, no_new_privs, set_thread_groups,
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use crate::run::{self, MYSELF, Myself, Stranger, nobody, with_rights};
use crate::scene::Scene;
use crate::{Verdict, sys};

type Test = (&'static str, fn(&Scene) -> Verdict);

pub(crate) const TESTS: &[Test] = &[
    ("poor::off_does_nothing_and_says_so", off),
    ("poor::a_kernel_without_landlock", no_landlock),
    ("poor::a_kernel_without_seccomp", no_seccomp),
    ("poor::a_container_with_one_user", one_user),
    ("poor::root_that_stays_root", stays_root),
    ("poor::a_state_folder_of_somebody_elses", state_of_another),
    ("poor::a_state_folder_behind_a_closed_one", state_closed),
    ("poor::a_state_folder_that_is_a_file", state_is_a_file),
    ("poor::a_state_folder_is_made_and_given", state_is_given),
    ("poor::a_user_that_is_not_there", no_such_user),
    ("poor::a_failure_ends_as_everywhere", abort),
    ("keeper::keeps_what_it_needs", keeper),
    ("keeper::reads_what_is_roots_alone_where_it_has_to_and_nothing_else", keeper_reads),
];

/// Enters the cage of a poor system and tells what became of it.
pub(crate) fn inside(name: &str, scene: &Scene) -> ExitCode {
    let (system, level) = name.split_once(' ').unwrap();
    let level = match level {
        "require" => Sandbox::Require,
        "best-effort" => Sandbox::BestEffort,
        _ => Sandbox::Off,
    };
    let mut user = scene.is_root.then(nobody);
    let stranger = system.starts_with("no-").then(|| Stranger::start(scene));
    match system {
        "no-landlock" => hide(libc::SYS_landlock_create_ruleset),
        "no-seccomp" => hide(libc::SYS_seccomp),
        "one-user" => only_one_user(),
        "stays-root" => user = None,
        "is-root" => user = Some(User { name: "toor".into(), uid: 0, gid: 0 }),
        "keeper" => return inside_keeper(scene, false),
        "keeper-reads" => return inside_keeper(scene, true),
        "keepers-child" => return inside_keepers_child(),
        _ => (),
    }
    match with_rights(scene, level, user.as_ref(), &[], sandbox::enter) {
        Ok(achieved) => println!("complete: {}\n{achieved}", achieved.is_complete()),
        Err(error) => {
            println!("error\n{error}");
            return ExitCode::SUCCESS;
        }
    }
    if system == "abort" {
        std::process::abort();
    }
    println!("passwd: {}", fs::read("/etc/passwd").is_ok());
    println!("netlink: {}", sys::call(libc::SYS_socket, &[libc::AF_NETLINK as usize, 3, 0]).is_ok());
    if let Some(stranger) = stranger {
        println!("signal: {}", stranger.signal().is_ok());
    }
    println!("program: {}", Command::new("/bin/true").status().is_ok());
    println!("own program: {}", own_program(scene).is_ok());
    println!("state: {}", fs::write(scene.state().join("file"), "text").is_ok());
    println!("thread: {}", std::thread::spawn(|| true).join().unwrap());
    ExitCode::SUCCESS
}

/// Executes a file that it has written itself; whether there is a program in it shows only afterwards.
fn own_program(scene: &Scene) -> io::Result<()> {
    let path = scene.state().join("program");
    fs::write(&path, "nothing of the kind")?;
    fs::set_permissions(&path, Permissions::from_mode(0o700))?;
    let path = CString::new(path.as_os_str().as_encoded_bytes())?;
    match sys::call(libc::SYS_execve, &[sys::pointer(&path), 0, 0]) {
        Err(error) if error.raw_os_error() == Some(libc::ENOEXEC) => Ok(()),
        other => other.map(drop),
    }
}

/// What `inside` says of a system under a level of `sandbox`.
fn told(scene: &Scene, system: &str, level: &str) -> String {
    scene.fill(scene.is_root.then(nobody).as_ref());
    told_of(scene, system, level)
}

/// The same, with the scene as it is.
fn told_of(scene: &Scene, system: &str, level: &str) -> String {
    let (status, output) =
        run::inside(scene, &scene.program(), false, &["poor", &format!("{system} {level}")]);
    assert!(status.success(), "{system} {level}: {status}\n{output}");
    output
}

#[track_caller]
fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

fn only_root(scene: &Scene) -> Verdict {
    if scene.is_root { Ok(()) } else { Err("only root can make such a system".into()) }
}

fn needs_landlock() -> Verdict {
    if sys::landlock_abi() > 0 { Ok(()) } else { Err("this kernel has no Landlock".into()) }
}

fn off(scene: &Scene) -> Verdict {
    let told = told(scene, "no-cage", "off");
    assert_has(&told, &["complete: false", "sandbox: none, as `sandbox = off` says"]);
    assert_has(
        &told,
        &["passwd: true", "netlink: true", "signal: true", "\nprogram: true", "own program: true"],
    );
    assert_has(&told, &["state: true", "thread: true"]);
    Ok(())
}

fn no_landlock(scene: &Scene) -> Verdict {
    let best = told(scene, "no-landlock", "best-effort");
    assert_has(
        &best,
        &["complete: false", "no capabilities, seccomp, no core dumps; but no Landlock: Linux "],
    );
    assert_has(
        &best,
        &["passwd: true", "netlink: false", "signal: false", "\nprogram: false", "own program: false"],
    );
    assert_has(&best, &["state: true", "thread: true"]);
    let required = told(scene, "no-landlock", "require");
    assert_has(
        &required,
        &["error\nsandbox = require, but there is no Landlock: Linux ", "`sandbox = best-effort`"],
    );
    Ok(())
}

fn no_seccomp(scene: &Scene) -> Verdict {
    needs_landlock()?;
    let best = told(scene, "no-seccomp", "best-effort");
    assert_has(
        &best,
        &["complete: false", "Landlock ABI ", "no core dumps; but no seccomp: the kernel does not do it"],
    );
    assert_has(&best, &["passwd: false", "netlink: true", "\nprogram: false", "own program: false"]);
    assert_has(&best, &["state: true", "thread: true"]);
    if sys::landlock_abi() >= 6 {
        assert_has(&best, &["signal: false"]);
    }
    let required = told(scene, "no-seccomp", "require");
    assert_has(&required, &["error\nsandbox = require, but there is no seccomp: the kernel "]);
    Ok(())
}

fn one_user(scene: &Scene) -> Verdict {
    only_root(scene)?;
    needs_landlock()?;
    scene.fill(None);
    let best = told_of(scene, "one-user", "best-effort");
    assert_has(
        &best,
        &["complete: false", "but no unprivileged user: this container has no user nobody (uid 65534)"],
    );
    assert_has(&best, &["sandbox: no capabilities, Landlock"]);
    assert_has(&best, &["passwd: false", "netlink: false", "state: true", "thread: true"]);
    let required = told_of(scene, "one-user", "require");
    assert_has(&required, &["error\nsandbox = require, but there is no unprivileged user: this container"]);
    Ok(())
}

fn stays_root(scene: &Scene) -> Verdict {
    only_root(scene)?;
    needs_landlock()?;
    let told = |system, level| {
        scene.fill(None);
        told_of(scene, system, level)
    };
    let best = told("stays-root", "best-effort");
    assert_has(&best, &["complete: false", "sandbox: no capabilities, ", "but no unprivileged user: "]);
    assert_has(&best, &["passwd: false", "netlink: false", "state: true", "thread: true"]);
    assert_has(
        &told("stays-root", "require"),
        &["error\nsandbox = require, but there is no unprivileged user"],
    );
    assert_has(
        &told("is-root", "best-effort"),
        &["complete: false", "no unprivileged user: `user = toor` is root"],
    );
    assert_has(&told("is-root", "require"), &["error\nsandbox = require", "`user = toor` is root"]);
    Ok(())
}

fn state_of_another(scene: &Scene) -> Verdict {
    only_root(scene)?;
    scene.fill(None);
    // With something in it, it is not taken from its owner.
    fs::write(scene.state().join("journal"), "root's").unwrap();
    prepare_state(&scene.state(), Some(&nobody())).unwrap();
    let state = scene.state();
    for level in ["best-effort", "require"] {
        assert_has(
            &told_of(scene, "any", level),
            &[&format!(
                "error\nstate = {state} cannot be used by the user nobody: Permission denied (os error 13); give \
                 it that folder (`chown -R nobody {state}`), or choose another one in `state`",
                state = state.display()
            )],
        );
    }
    Ok(())
}

fn state_closed(scene: &Scene) -> Verdict {
    only_root(scene)?;
    scene.fill(Some(&nobody()));
    let open = |mode| fs::set_permissions(&scene.folder, Permissions::from_mode(mode)).unwrap();
    open(0o700);
    let told = told_of(scene, "any", "best-effort");
    open(0o755);
    let (state, closed) = (scene.state(), &scene.folder);
    let (state, closed) = (state.display(), closed.display());
    assert_has(
        &told,
        &[&format!(
            "error\nstate = {state} cannot be used by the user nobody: {closed} is closed to it; choose"
        )],
    );
    Ok(())
}

fn state_is_a_file(scene: &Scene) -> Verdict {
    scene.fill(None);
    let file = scene.outside().join("file");
    let error = prepare_state(&file, None).unwrap_err().to_string();
    assert_has(
        &error,
        &[&format!("state = {} cannot be made: ", file.display()), "choose another one in `state`"],
    );
    Ok(())
}

fn state_is_given(scene: &Scene) -> Verdict {
    only_root(scene)?;
    scene.fill(None);
    let owner = |path: &Path| {
        fs::metadata(path).map(|found| (found.uid(), found.gid(), found.mode() & 0o777)).unwrap()
    };
    let new = scene.outside().join("var/lib/denwa");
    prepare_state(&new, Some(&nobody())).unwrap();
    assert_eq!(owner(&new), (65534, 65534, 0o700));
    // Those above it are nobody's business.
    assert_eq!(owner(new.parent().unwrap()).0, 0);
    // Once more changes nothing.
    prepare_state(&new, Some(&nobody())).unwrap();
    assert_eq!(owner(&new), (65534, 65534, 0o700));
    // An empty folder of root's was made for this; a third user's was not.
    chown(&new, Some(0), Some(0)).unwrap();
    prepare_state(&new, Some(&nobody())).unwrap();
    assert_eq!(owner(&new).0, 65534);
    chown(&new, Some(12345), Some(12345)).unwrap();
    prepare_state(&new, Some(&nobody())).unwrap();
    assert_eq!(owner(&new).0, 12345);
    Ok(())
}

/// What watches the exchange is told how it ended: each libc has its own way to abort.
fn abort(scene: &Scene) -> Verdict {
    scene.fill(scene.is_root.then(nobody).as_ref());
    let (status, output) = run::inside(scene, &scene.program(), false, &["poor", "abort best-effort"]);
    assert_eq!(status.signal(), Some(libc::SIGABRT), "{output}");
    assert!(!status.core_dumped());
    Ok(())
}

fn no_such_user(scene: &Scene) -> Verdict {
    match scene.is_root {
        true => {
            let error = User::find(Some("no-such-user")).unwrap_err().to_string();
            assert_has(&error, &["user = no-such-user: /etc/passwd has no such user"]);
            assert_ne!(User::find(None).unwrap().unwrap().uid, 0);
        }
        false => assert_eq!(User::find(Some("no-such-user")).unwrap(), None),
    }
    Ok(())
}

fn keeper(scene: &Scene) -> Verdict {
    only_root(scene)?;
    needs_landlock()?;
    scene.fill(Some(&nobody()));
    let program = scene.closed().join("program");
    let (status, output) = run::inside(scene, &program, false, &["poor", "keeper best-effort"]);
    assert!(status.success(), "{status}\n{output}");
    assert_has(
        &output,
        &[
            "sandbox: user nobody, no capabilities but CAP_NET_BIND_SERVICE, Landlock ABI ",
            "capabilities: 1024\n",
            "\nlow port: true",
            "child's low port: false",
            // Only root may read these.
            "settings: false",
            "shadow: false",
            "write settings: false",
            "program: false",
            "child: user 65534, group 65534, groups [], permitted 0, inheritable 0, bounding 0, no new privileges true",
        ],
    );
    if sys::landlock_abi() >= 6 {
        assert_has(&output, &["signal to a stranger: false", "signal to a child: true"]);
    }
    Ok(())
}

fn keeper_reads(scene: &Scene) -> Verdict {
    only_root(scene)?;
    needs_landlock()?;
    scene.fill(Some(&nobody()));
    let program = scene.closed().join("program");
    let (status, output) = run::inside(scene, &program, false, &["poor", "keeper-reads best-effort"]);
    assert!(status.success(), "{status}\n{output}");
    assert_has(
        &output,
        &[
            "no capabilities but CAP_NET_BIND_SERVICE and CAP_DAC_READ_SEARCH, Landlock ABI ",
            "settings: true",
            "shadow: false",
            "write settings: false",
            "permitted 0, inheritable 0, bounding 0, no new privileges true",
        ],
    );
    Ok(())
}

fn inside_keeper(scene: &Scene, read_any: bool) -> ExitCode {
    let myself = Myself::open();
    let stranger = Stranger::start(scene);
    set_thread_groups(&[Gid::from_raw(4242)]).unwrap();
    let confine = |rights: &Rights<'_>| sandbox::confine_keeper(&Rights { read_any, ..*rights });
    let confined = with_rights(scene, Sandbox::Require, Some(&nobody()), &[Path::new(MYSELF)], confine);
    println!("{}", confined.unwrap());
    println!("capabilities: {}", capabilities(None).unwrap().permitted.bits());
    println!("low port: {}", has_low_port());
    let settings = scene.settings().join("denwa.conf");
    println!("settings: {}", fs::read(&settings).is_ok());
    println!("write settings: {}", fs::OpenOptions::new().append(true).open(&settings).is_ok());
    println!("shadow: {}", fs::read("/etc/shadow").is_ok());
    println!("program: {}", Command::new("/bin/true").status().is_ok());
    println!("signal to a stranger: {}", stranger.signal().is_ok());
    let mut child =
        myself.command(&["poor", "keepers-child best-effort"]).stdin(Stdio::inherit()).spawn().unwrap();
    let pid = Pid::from_child(&child);
    println!("signal to a child: {}", kill_process(pid, Signal::URG).is_ok());
    assert!(child.wait().unwrap().success());
    ExitCode::SUCCESS
}

fn has_low_port() -> bool {
    (1..1024).any(|port| UdpSocket::bind(("127.0.0.1", port)).is_ok())
}

fn inside_keepers_child() -> ExitCode {
    println!("child's low port: {}", has_low_port());
    let has = capabilities(None).unwrap();
    let all = (0..64).map(|bit| CapabilitySet::from_bits_retain(1 << bit));
    let bounding = all.take_while(|one| capability_is_in_bounding_set(*one).is_ok());
    let bounding = bounding.filter(|one| capability_is_in_bounding_set(*one).unwrap()).count();
    println!(
        "child: user {}, group {}, groups {:?}, permitted {}, inheritable {}, bounding {bounding}, no new privileges {}",
        geteuid(),
        getegid(),
        getgroups().unwrap(),
        has.permitted.bits(),
        has.inheritable.bits(),
        no_new_privs().unwrap()
    );
    ExitCode::SUCCESS
}

/// Makes a system call as unknown as in an old kernel.
fn hide(call: libc::c_long) {
    let rules = [(call, Vec::new())].into();
    let unknown = SeccompAction::Errno(libc::ENOSYS as u32);
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, unknown, arch).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
}

/// Enters a container of the rootless kind, in which only root exists.
fn only_one_user() {
    sys::call(libc::SYS_unshare, &[libc::CLONE_NEWUSER as usize]).unwrap();
    fs::write("/proc/self/setgroups", "deny").unwrap();
    fs::write("/proc/self/uid_map", "0 0 1").unwrap();
    fs::write("/proc/self/gid_map", "0 0 1").unwrap();
}
