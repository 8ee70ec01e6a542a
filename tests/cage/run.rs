//! The processes: a parent for each setting, and a child for each probe.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};

use denwa::config::Sandbox;
use denwa::sandbox::{self, Achieved, Rights, User};
use rustix::process::{PTracer, Pid, Signal, kill_process, set_ptracer};

use crate::scene::{FOLDER, Scene};
use crate::{Probe, forbidden, needed, poor};

/// The first argument of an inner process.
pub(crate) const INSIDE: &str = "--inside";

/// How many files the exchange may have open here.
pub(crate) const OPEN_FILES: u64 = 600;

/// With this, a child says that its probe was refused.
const REFUSED: u8 = 10;

/// Who tries the probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Setting {
    /// Root, without a cage.
    OpenRoot,
    /// An ordinary user without a cage, whose parent is that same user.
    OpenUser,
    /// The exchange, its keeper started by root.
    Caged,
    /// The exchange, its keeper started as an ordinary user.
    CagedUser,
}

impl Setting {
    const ALL: [Setting; 4] = [Setting::OpenRoot, Setting::OpenUser, Setting::Caged, Setting::CagedUser];

    fn is_user(self) -> bool {
        matches!(self, Setting::OpenUser | Setting::CagedUser)
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Setting::OpenRoot => "open_to_root",
            Setting::OpenUser => "open_to_users",
            Setting::Caged => "caged",
            Setting::CagedUser => "caged_user",
        })
    }
}

/// What came of a probe.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    Done,
    Refused(String),
    Broken(String),
}

/// By the probe's name.
pub(crate) type Outcomes = BTreeMap<String, Outcome>;

pub(crate) fn every_probe() -> impl Iterator<Item = &'static Probe> {
    forbidden::PROBES.iter().chain(needed::PROBES)
}

/// A user that has nothing: whom the keeper becomes, too.
pub(crate) fn nobody() -> User {
    User { name: "nobody".into(), uid: 65534, gid: 65534 }
}

/// Runs a process in the role that `arguments` say, and gives what it wrote to its standard output.
pub(crate) fn inside(
    scene: &Scene,
    program: &Path,
    as_user: bool,
    arguments: &[&str],
) -> (ExitStatus, String) {
    let mut command = Command::new(program);
    command.arg(INSIDE).args(arguments).env(FOLDER, &scene.folder).current_dir("/");
    if as_user && scene.is_root {
        command.uid(nobody().uid).gid(nobody().gid);
    }
    command.stdin(OwnedFd::from(Scene::listener())).stderr(Stdio::inherit());
    let output = command.output().unwrap();
    (output.status, String::from_utf8(output.stdout).unwrap())
}

/// Tries every probe in a setting.
pub(crate) fn all_probes(scene: &Scene, setting: Setting) -> Outcomes {
    let user = (scene.is_root && setting != Setting::OpenRoot).then(nobody);
    scene.fill(user.as_ref());
    // Root's keeper can start what lies where its child's user could not even look.
    let program = match setting {
        Setting::Caged => scene.closed().join("program"),
        _ => scene.program(),
    };
    let (status, output) = inside(scene, &program, setting.is_user(), &["parent", &setting.to_string()]);
    assert!(status.success(), "{setting}: {status}\n{output}");
    let outcome = |line: &str| {
        let (name, outcome) = line.split_once(' ')?;
        let outcome = match outcome.split_once(' ') {
            None if outcome == "done" => Outcome::Done,
            Some(("refused", why)) => Outcome::Refused(why.into()),
            _ => Outcome::Broken(outcome.into()),
        };
        Some((name.to_owned(), outcome))
    };
    output.lines().map(|line| outcome(line).unwrap_or_else(|| panic!("{setting}: {line}"))).collect()
}

/// What an inner process does.
pub(crate) fn role(arguments: &[String]) -> ExitCode {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let setting = |name: &str| Setting::ALL.into_iter().find(|setting| setting.to_string() == name).unwrap();
    match words.as_slice() {
        ["parent", name] => parent(setting(name)),
        ["child", name, probe] => child(setting(name), probe),
        ["poor", name] => poor::inside(name, &Scene::inherited()),
        ["exit"] => ExitCode::SUCCESS,
        ["wait"] => report(io::stdin().read_to_end(&mut Vec::new()).map(drop)),
        other => panic!("no such role: {other:?}"),
    }
}

/// The rights of the keeper or of the exchange in `scene`; they go into `then`.
pub(crate) fn with_rights<T>(
    scene: &Scene,
    level: Sandbox,
    user: Option<&User>,
    execute: &[&Path],
    then: impl FnOnce(&Rights) -> T,
) -> T {
    let (state, settings) = (scene.state(), scene.settings());
    then(&Rights {
        level,
        user,
        read: &[&settings],
        read_any: false,
        write: &[&state],
        execute,
        open_files: OPEN_FILES,
    })
}

/// This program, even where its path cannot be walked.
pub(crate) const MYSELF: &str = "/proc/self/exe";

/// This program by a descriptor, so that whoever executes it is not asked for its path.
pub(crate) struct Myself(File);

impl Myself {
    pub(crate) fn open() -> Myself {
        Myself(File::open(MYSELF).unwrap())
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(format!("/proc/self/fd/{}", self.0.as_raw_fd()));
        command.arg(INSIDE).args(arguments);
        command
    }
}

/// A process of nobody's that started before any cage, and ends when it is dropped or its parent is gone.
pub(crate) struct Stranger(Child);

impl Stranger {
    pub(crate) fn start(scene: &Scene) -> Stranger {
        let mut command = Command::new(scene.program());
        if scene.is_root {
            command.uid(nobody().uid).gid(nobody().gid);
        }
        Stranger(command.args([INSIDE, "wait"]).stdin(Stdio::piped()).spawn().unwrap())
    }

    /// Sends it a signal that it does not mind.
    pub(crate) fn signal(&self) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.0), Signal::URG)?)
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Tries one probe after the other, each in a child.
fn parent(setting: Setting) -> ExitCode {
    let myself = Myself::open();
    match setting {
        Setting::OpenRoot | Setting::OpenUser => {
            // Yama would protect a parent from its child; the cage is what is tested.
            let _ = set_ptracer(PTracer::Any);
        }
        Setting::Caged | Setting::CagedUser => {
            let scene = Scene::inherited();
            let user = scene.is_root.then(nobody);
            let achieved = with_rights(
                &scene,
                Sandbox::BestEffort,
                user.as_ref(),
                &[Path::new(MYSELF)],
                sandbox::confine_keeper,
            );
            check_line(&achieved.unwrap());
        }
    }
    for probe in every_probe() {
        let output =
            myself.command(&["child", &setting.to_string(), probe.name]).stdin(Stdio::inherit()).output();
        let output = output.expect("the keeper starts its child");
        let said = String::from_utf8_lossy(&output.stdout);
        let outcome = match (output.status.code(), output.status.signal()) {
            (Some(0), _) => "done".into(),
            (Some(code), _) if code == i32::from(REFUSED) => format!("refused {}", said.trim()),
            // The end that seccomp makes.
            (_, Some(libc::SIGSYS)) => "refused by the end of the process".into(),
            _ => format!("broken {} {:?}", output.status, String::from_utf8_lossy(&output.stderr)),
        };
        println!("{} {outcome}", probe.name);
    }
    ExitCode::SUCCESS
}

/// Where the kernel has everything, nothing may be missing.
fn check_line(achieved: &Achieved) {
    if crate::sys::landlock_abi() > 0 {
        assert!(achieved.is_complete(), "{achieved}");
    }
}

/// Tries one probe.
fn child(setting: Setting, name: &str) -> ExitCode {
    let scene = Scene::inherited();
    if matches!(setting, Setting::Caged | Setting::CagedUser) {
        let achieved = with_rights(&scene, Sandbox::BestEffort, None, &[], sandbox::enter);
        check_line(&achieved.unwrap());
    }
    let probe = every_probe().find(|probe| probe.name == name).unwrap();
    report((probe.run)(&scene))
}

pub(crate) fn report(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::from(REFUSED)
        }
    }
}
