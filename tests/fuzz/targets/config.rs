//! A configuration file: every mistake has its line, nothing shows a password, and what is accepted can
//! be explained and run.

use denwa::config::{Config, MAX_EXTENSIONS, MAX_GROUPS, MAX_KEPT, MAX_LISTEN, MAX_MEMBERS};
use denwa::console::{Names, Summary};
use denwa::switch::Switch;

use super::cost;

/// A file.
pub fn run(bytes: &[u8]) {
    cost::bounded(bytes.len(), || look(bytes));
}

fn look(bytes: &[u8]) {
    match Config::parse("denwa.conf", bytes) {
        Err(mistakes) => {
            let text = mistakes.to_string();
            let lines = bytes.iter().filter(|b| **b == b'\n' || **b == b'\r').count() + 1;
            assert!(!text.is_empty() && text.len() <= 1000 * (lines.min(MAX_KEPT) + 2), "{text}");
            assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        }
        Ok(config) => accepted(bytes, config),
    }
}

fn accepted(bytes: &[u8], config: Config) {
    assert!((1..=MAX_EXTENSIONS).contains(&config.extensions.len()));
    assert!(config.groups.len() <= MAX_GROUPS && config.listen.len() <= MAX_LISTEN);
    for members in config.groups.values() {
        assert!((1..=MAX_MEMBERS).contains(&members.len()));
        assert!(members.iter().all(|member| config.extensions.contains_key(member)));
    }
    assert!(config.media_ports.pairs() >= 2);
    assert!(config.register_expires.min <= config.register_expires.max);

    let remarks = config.remarks();
    let shown = [Summary(&config).to_string(), remarks.join("\n"), format!("{config:?}")];
    for text in &shown {
        // A path may have a tab in it.
        let tab = |c| c == '\t' && config.state.as_os_str().as_encoded_bytes().contains(&b'\t');
        assert!(text.chars().all(|c| c == '\n' || !c.is_control() || tab(c)), "{text:?}");
    }
    for extension in config.extensions.values() {
        let secret = extension.password.reveal();
        assert!((1..=128).contains(&secret.len()));
        // A short one, or one that something else is called by, may be seen by chance.
        let times = || bytes.windows(secret.len()).filter(|part| *part == secret.as_bytes()).count();
        if secret.len() >= 16 && times() == 1 {
            assert!(!shown.iter().any(|text| text.contains(secret)), "the password {secret:?} is shown");
        }
    }
    Names::of(&config);
    assert_eq!(Config::parse("denwa.conf", bytes).as_ref(), Ok(&config), "the same each time");
    let mut switch = Switch::new(config, [7; 32]);
    assert!(switch.poll().is_none());
}
