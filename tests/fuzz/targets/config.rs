//! A configuration file: every mistake has its line, nothing shows a password, what is accepted can be
//! explained and run, and a change of it changes nothing else.

use denwa::config::{
    Config, EditError, MAX_EXTENSIONS, MAX_GROUPS, MAX_KEPT, MAX_LISTEN, MAX_MEMBERS, Password,
    add_extension, remove_extension, set_password,
};
use denwa::console::{Names, Summary};
use denwa::switch::Switch;

use super::cost;

/// A file.
pub fn run(bytes: &[u8]) {
    cost::bounded(bytes.len(), || look(bytes));
    let Ok(config) = Config::parse("denwa.conf", bytes) else { return };
    cost::bounded(bytes.len(), || change_password(bytes, &config));
    cost::bounded(bytes.len(), || add_and_remove(bytes, &config));
}

fn look(bytes: &[u8]) {
    match Config::parse("denwa.conf", bytes) {
        Err(mistakes) => {
            let text = mistakes.to_string();
            // A line may have a list in which nothing is right.
            let told = mistakes.len().min(MAX_KEPT);
            assert!(!text.is_empty() && text.len() <= 1000 * (told + 1), "{text}");
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

fn change_password(bytes: &[u8], config: &Config) {
    let Some((number, extension)) = config.extensions.first_key_value() else { return };
    let password = Password::new("r7mkp2xh9fwd4tzc8ybn");
    let mut edited = set_password("denwa.conf", bytes, number.as_str(), &password).expect("it is there");
    let new = edited.config.extensions.get_mut(number).expect("it is there still");
    assert_eq!(std::mem::replace(&mut new.password, extension.password.clone()), password);
    assert_eq!(edited.config, *config);
    let [old, new] = [extension.password.reveal(), password.reveal()].map(str::len);
    assert_eq!(edited.file.len() + old, bytes.len() + new);
    assert!(around(bytes, &edited.file) + old >= bytes.len(), "something else has changed");
}

fn add_and_remove(bytes: &[u8], config: &Config) {
    const NUMBER: &str = "+fuzz-777";
    let password = Password::new("r7mkp2xh9fwd4tzc8ybn");
    let added = match add_extension("denwa.conf", bytes, NUMBER, Some("Study"), &password) {
        Ok(added) => added,
        // There are too many, or it is taken.
        Err(EditError::Mistakes(_) | EditError::Taken { .. }) => return,
        Err(other) => panic!("{other}"),
    };
    assert!(around(bytes, &added.file) >= bytes.len(), "something else has changed");
    let mut after = added.config;
    assert!(after.extensions.remove(NUMBER).is_some_and(|extension| extension.password == password));
    assert_eq!(after, *config);
    let removed = remove_extension("denwa.conf", &added.file, NUMBER).expect("nothing needs it");
    assert_eq!(removed.config, *config);
}

/// How many bytes of a file are what they were before and behind a change.
fn around(old: &[u8], new: &[u8]) -> usize {
    let same = |(a, b): &(&u8, &u8)| a == b;
    let before = old.iter().zip(new).take_while(same).count();
    let behind = old.iter().rev().zip(new.iter().rev()).take_while(same).count();
    before + behind
}
