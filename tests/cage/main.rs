//! Whoever takes over the exchange can touch nothing: proven from inside.
//!
//! A probe tries one thing that a burglar would like, or one that the exchange needs. Each runs in a
//! process of its own, once in the cage as the keeper builds it, and in the open to show that there it
//! works: a probe that fails everywhere proves nothing. The processes have one thread, as the exchange
//! has when it enters; that is why this test does without libtest.
//!
//! As root all of it is tried, as an ordinary user what such a user can try.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod forbidden;
mod needed;
mod poor;
mod run;
mod scene;
mod sys;

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

use run::{Outcome, Outcomes, Setting};
use scene::Scene;

/// One thing to try.
struct Probe {
    name: &'static str,
    expect: Expect,
    run: fn(&Scene) -> std::io::Result<()>,
}

/// What must come of it.
#[derive(Clone, Copy, PartialEq)]
enum Expect {
    /// It works, in the cage as well.
    Needed,
    /// It works for every user, but not in the cage, if the kernel has this version of Landlock (0: even
    /// without).
    Forbidden { landlock: i32 },
    /// It works for root, but not in the cage.
    ForbiddenToRoot,
    /// It works in the open where the kernel has such a thing at all, but not in the cage.
    ForbiddenIfThere,
}

/// What a test came to: passed, or not to be tried here for this reason. A failure panics.
type Verdict = Result<(), String>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [inside, role @ ..] = arguments.as_slice()
        && inside == run::INSIDE
    {
        return run::role(role);
    }
    let wanted = arguments.iter().find(|argument| !argument.starts_with('-'));
    let mut tests = Tests { wanted: wanted.cloned().unwrap_or_default(), passed: 0, failed: 0, ignored: 0 };
    let scene = Scene::make();
    probes(&scene, &mut tests);
    for (name, test) in poor::TESTS {
        tests.run(name, || test(&scene));
    }
    tests.finish()
}

/// Every probe in every setting.
fn probes(scene: &Scene, tests: &mut Tests) {
    let landlock = sys::landlock_abi();
    let settings: &[Setting] = match scene.is_root {
        true => &[Setting::OpenRoot, Setting::OpenUser, Setting::Caged, Setting::CagedUser],
        false => &[Setting::OpenUser, Setting::CagedUser],
    };
    let outcomes: BTreeMap<Setting, Outcomes> =
        settings.iter().map(|setting| (*setting, run::all_probes(scene, *setting))).collect();
    for probe in run::every_probe() {
        for (setting, outcomes) in &outcomes {
            let name = format!("{setting}::{}", probe.name);
            tests.run(&name, || judge(probe, *setting, &outcomes[probe.name], landlock));
        }
    }
}

fn judge(probe: &Probe, setting: Setting, outcome: &Outcome, landlock: i32) -> Verdict {
    let is_caged = matches!(setting, Setting::Caged | Setting::CagedUser);
    let must_work = match probe.expect {
        Expect::Needed => true,
        Expect::Forbidden { landlock: needed } if is_caged && landlock < needed => {
            return Err(format!("the kernel has Landlock ABI {landlock}, {needed} is needed"));
        }
        Expect::Forbidden { .. } => !is_caged,
        Expect::ForbiddenToRoot if setting == Setting::OpenUser => {
            return Err("only root could".into());
        }
        Expect::ForbiddenToRoot if !is_caged && *outcome != Outcome::Done && !sys::is_almighty() => {
            return Err("this root has lost capabilities".into());
        }
        Expect::ForbiddenToRoot => !is_caged,
        Expect::ForbiddenIfThere if !is_caged && *outcome != Outcome::Done => {
            return Err(format!("this system has no such thing: {outcome:?}"));
        }
        Expect::ForbiddenIfThere => !is_caged,
    };
    match (must_work, outcome) {
        (true, Outcome::Done) | (false, Outcome::Refused(_)) => Ok(()),
        (true, other) => panic!("{} must work, but {other:?}", probe.name),
        (false, other) => panic!("{} must be refused, but {other:?}", probe.name),
    }
}

/// Counts, and speaks like libtest.
struct Tests {
    wanted: String,
    passed: usize,
    failed: usize,
    ignored: usize,
}

impl Tests {
    fn run(&mut self, name: &str, test: impl FnOnce() -> Verdict) {
        if !name.contains(&self.wanted) {
            return;
        }
        match panic::catch_unwind(AssertUnwindSafe(test)) {
            Ok(Ok(())) => {
                self.passed += 1;
                println!("test {name} ... ok");
            }
            Ok(Err(reason)) => {
                self.ignored += 1;
                println!("test {name} ... ignored, {reason}");
            }
            Err(_) => {
                self.failed += 1;
                println!("test {name} ... FAILED");
            }
        }
    }

    fn finish(self) -> ExitCode {
        let Tests { passed, failed, ignored, .. } = self;
        let (word, code) = match failed {
            0 => ("ok", ExitCode::SUCCESS),
            _ => ("FAILED", ExitCode::FAILURE),
        };
        println!("\ntest result: {word}. {passed} passed; {failed} failed; {ignored} ignored");
        code
    }
}
