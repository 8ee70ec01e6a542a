//! The place where it happens: a folder with a state folder and its surroundings.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process;

use denwa::sandbox::{User, prepare_state};

/// Where the inner processes find the folder.
pub(crate) const FOLDER: &str = "DENWA_CAGE_SCENE";

/// Some files and folders, removed at the end by the process that made them.
pub(crate) struct Scene {
    pub(crate) folder: PathBuf,
    pub(crate) is_root: bool,
    /// Kept by the outermost process: what must not be reached from inside.
    _services: Option<(UnixListener, UnixListener, UnixDatagram)>,
    made_by: Option<u32>,
}

impl Scene {
    pub(crate) fn make() -> Scene {
        let folder = std::env::temp_dir().join(format!("denwa-cage-{}", process::id()));
        let name = abstract_name(&folder);
        fs::create_dir(&folder).unwrap();
        let mut scene = Scene {
            is_root: rustix::process::geteuid().is_root(),
            _services: None,
            made_by: Some(process::id()),
            folder,
        };
        let open = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        open(&scene.folder, 0o755);
        scene._services = Some((
            UnixListener::bind_addr(&name).unwrap(),
            UnixListener::bind(scene.service()).unwrap(),
            UnixDatagram::bind(scene.mailbox()).unwrap(),
        ));
        open(&scene.service(), 0o666);
        open(&scene.mailbox(), 0o666);
        fs::create_dir(scene.closed()).unwrap();
        fs::copy(std::env::current_exe().unwrap(), scene.program()).unwrap();
        open(&scene.program(), 0o755);
        fs::hard_link(scene.program(), scene.closed().join("program")).unwrap();
        open(&scene.closed(), 0o700);
        scene
    }

    /// The scene that the outermost process made.
    pub(crate) fn inherited() -> Scene {
        let folder = PathBuf::from(std::env::var_os(FOLDER).expect("the scene's folder"));
        let is_root = rustix::process::geteuid().is_root();
        Scene { folder, is_root, _services: None, made_by: None }
    }

    /// Puts everything where it was, with a state folder for `user`.
    pub(crate) fn fill(&self, user: Option<&User>) {
        for folder in [self.state(), self.outside(), self.settings()] {
            let _ = fs::remove_dir_all(&folder);
        }
        prepare_state(&self.state(), user).unwrap();
        for (folder, mode) in [(self.outside(), 0o777), (self.settings(), 0o700)] {
            fs::create_dir(&folder).unwrap();
            fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
        }
        for (file, mode) in
            [(self.outside().join("file"), 0o666), (self.settings().join("denwa.conf"), 0o600)]
        {
            fs::write(&file, "something").unwrap();
            fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        }
    }

    /// The folder to write.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// A folder that every user may write, and the cage does not mention.
    pub(crate) fn outside(&self) -> PathBuf {
        self.folder.join("outside")
    }

    /// A folder of the configuration's kind: only its owner may read it.
    pub(crate) fn settings(&self) -> PathBuf {
        self.folder.join("settings")
    }

    /// A folder that only its owner may pass; the program lies in it too.
    pub(crate) fn closed(&self) -> PathBuf {
        self.folder.join("closed")
    }

    /// This very program, where every user may execute it.
    pub(crate) fn program(&self) -> PathBuf {
        self.folder.join("program")
    }

    /// An abstract socket that the outermost process listens on.
    pub(crate) fn abstract_socket(&self) -> SocketAddr {
        abstract_name(&self.folder)
    }

    /// A local socket that every user may connect to, as D-Bus has one.
    pub(crate) fn service(&self) -> PathBuf {
        self.folder.join("service")
    }

    /// A local socket that every user may send to, as logs have one.
    pub(crate) fn mailbox(&self) -> PathBuf {
        self.folder.join("mailbox")
    }

    /// The listening socket that every inner process gets as its standard input.
    pub(crate) fn listener() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").unwrap()
    }
}

fn abstract_name(folder: &Path) -> SocketAddr {
    SocketAddr::from_abstract_name(folder.as_os_str().as_encoded_bytes()).unwrap()
}

impl Drop for Scene {
    fn drop(&mut self) {
        if self.made_by == Some(process::id()) {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}
