//! The folder in which one scenario plays.

use std::fs;
use std::path::{Path, PathBuf};

/// A folder for the files of one scenario. Make it first: what is made first is dropped last, and
/// when the scenario has failed, dropping it shows the end of every log in it.
pub struct Scene {
    dir: PathBuf,
}

/// How much of each log a failure shows.
const SHOWN_LINES: usize = 250;

impl Scene {
    /// An empty folder, named for the test.
    pub fn new() -> Scene {
        Scene::called("")
    }

    /// One of several of the same test.
    pub fn called(name: &str) -> Scene {
        let test = std::thread::current().name().unwrap_or_default().replace("::", "-");
        let dir = std::env::temp_dir().join(format!("denwa-{}-{test}{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Scene { dir }
    }

    /// The path of a file or folder in it.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.join(name)
    }

    /// Writes a file, and says where it is.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// The text of a file in it.
    pub fn read(&self, name: &str) -> String {
        let path = self.path(name);
        let bytes = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn show_logs(&self) {
        let mut logs: Vec<PathBuf> = fs::read_dir(&self.dir)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|e| e == "log" || e == "conf"))
            .collect();
        logs.sort();
        for log in logs {
            let bytes = fs::read(&log).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<&str> = text.lines().collect();
            let start = lines.len().saturating_sub(SHOWN_LINES);
            eprintln!("──── {} (line {} on)", log.display(), start + 1);
            for line in &lines[start..] {
                eprintln!("{line}");
            }
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_logs();
        } else {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}
