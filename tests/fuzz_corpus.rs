//! Plays what the fuzzer has kept: each input of `tests/fuzz/corpus/` leads somewhere else in the code, each
//! of `tests/fuzz/findings/` once broke a promise. Nothing panics, and no input is slow. `scripts/fuzz`
//! looks for more.

// A test target exports nothing, so its modules say `pub` for what they offer each other.
#![allow(unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used)]

#[path = "simulation/relay.rs"]
mod relay;
#[path = "torture/strict.rs"]
mod strict;
#[path = "fuzz/targets/mod.rs"]
mod targets;

use std::path::{Path, PathBuf};

/// Tests take no longer than what they test.
const SLOWDOWN: u32 = 1;

/// The inputs of one target, in the order of their names.
fn inputs(folder: &str, target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(folder).join(target);
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Plays all inputs of one target; those that fail are named.
fn play(name: &str) {
    let (_, run) = targets::ALL.into_iter().find(|(target, _)| *target == name).unwrap();
    let inputs = [inputs("corpus", name), inputs("findings", name)];
    assert!(!inputs[0].is_empty(), "there is no corpus");
    let mut failed = Vec::new();
    for path in inputs.iter().flatten() {
        let bytes = std::fs::read(path).unwrap();
        if std::panic::catch_unwind(|| run(&bytes)).is_err() {
            failed.push(path);
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn message() {
    play("message");
}

#[test]
fn framer() {
    play("framer");
}

#[test]
fn sdp() {
    play("sdp");
}

#[test]
fn config() {
    play("config");
}

#[test]
fn digest() {
    play("digest");
}

#[test]
fn dns() {
    play("dns");
}

#[test]
fn control() {
    play("control");
}

#[test]
fn guard() {
    play("guard");
}

#[test]
fn journal() {
    play("journal");
}

#[test]
fn switch() {
    play("switch");
}

#[test]
fn each_folder_is_a_target_that_is_played() {
    for folder in ["corpus", "findings"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(folder);
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name();
            assert!(targets::ALL.iter().any(|(target, _)| name == *target), "{name:?}");
        }
    }
}

#[test]
fn what_is_slow_is_seen() {
    let spin = |time| {
        let start = targets::cost::now();
        while targets::cost::now() - start < time {}
    };
    let limit = targets::cost::limit(2_500);
    assert_eq!(limit, std::time::Duration::from_millis(3), "1 ms for each kB that is begun");
    targets::cost::bounded(2_500, || spin(limit / 4));
    let slow = std::panic::catch_unwind(|| targets::cost::bounded(2_500, || spin(limit)));
    assert!(slow.is_err());
}
