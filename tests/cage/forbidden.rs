//! What a burglar would like.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::{CommandExt, parent_id};
use std::path::Path;
use std::process::Command;

use libc::c_long;
use rustix::net::{AddressFamily, Protocol, SocketType, bind, listen, socket};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, setrlimit};

use crate::Expect::{Forbidden, ForbiddenIfThere, ForbiddenToRoot};
use crate::run::INSIDE;
use crate::scene::Scene;
use crate::sys::{self, call, reaches};
use crate::{Expect, Probe};

/// Forbidden by seccomp, whatever Landlock the kernel has.
const ALWAYS: Expect = Forbidden { landlock: 0 };
/// Forbidden by the first Landlock.
const FILES: Expect = Forbidden { landlock: 1 };

const fn probe(name: &'static str, expect: Expect, run: fn(&Scene) -> io::Result<()>) -> Probe {
    Probe { name, expect, run }
}

pub(crate) const PROBES: &[Probe] = &[
    // Files.
    probe("read_passwd", FILES, |_| fs::read("/etc/passwd").map(drop)),
    probe("read_shadow", ForbiddenToRoot, |_| fs::read("/etc/shadow").map(drop)),
    probe("list_home", FILES, |scene| fs::read_dir(&scene.folder).map(drop)),
    probe("read_outside", FILES, |scene| fs::read(scene.outside().join("file")).map(drop)),
    probe("write_outside", FILES, |scene| fs::write(scene.outside().join("new"), "mine")),
    probe("overwrite_outside", FILES, |scene| {
        OpenOptions::new().write(true).open(scene.outside().join("file")).map(drop)
    }),
    probe("truncate_outside", Forbidden { landlock: 3 }, |scene| {
        with_path(&scene.outside().join("file"), |path| call(libc::SYS_truncate, &[path, 0]))
    }),
    probe("remove_outside", FILES, |scene| {
        let doomed = scene.outside().join("file");
        fs::remove_file(&doomed)?;
        fs::write(&doomed, "again")
    }),
    probe("folder_outside", FILES, |scene| fs::create_dir(scene.outside().join("folder"))),
    probe("write_settings", ForbiddenToRoot, |scene| {
        OpenOptions::new().append(true).open(scene.settings().join("denwa.conf")).map(drop)
    }),
    probe("move_out", FILES, |scene| {
        let file = scene.state().join("to-move");
        fs::write(&file, "mine")?;
        fs::rename(file, scene.outside().join("moved"))
    }),
    probe("link_in", FILES, |scene| {
        fs::hard_link(scene.outside().join("file"), scene.state().join("linked"))
    }),
    probe("symlink", FILES, |scene| symlink("/etc", scene.state().join("etc"))),
    probe("local_socket", ALWAYS, |scene| UnixDatagram::bind(scene.state().join("socket")).map(drop)),
    probe("fifo", ALWAYS, |scene| {
        let mode = libc::S_IFIFO | 0o600;
        with_path(&scene.state().join("fifo"), |path| {
            call(libc::SYS_mknodat, &[libc::AT_FDCWD as usize, path, mode as usize, 0])
        })
    }),
    probe("device", ForbiddenToRoot, |scene| {
        let (mode, null) = (libc::S_IFCHR | 0o600, libc::makedev(1, 3));
        with_path(&scene.state().join("device"), |path| {
            call(libc::SYS_mknodat, &[libc::AT_FDCWD as usize, path, mode as usize, null as usize])
        })
    }),
    // The parent.
    probe("read_parents_memory", FILES, |_| File::open(format!("/proc/{}/mem", parent_id())).map(drop)),
    probe("read_parents_environment", FILES, |_| {
        fs::read(format!("/proc/{}/environ", parent_id())).map(drop)
    }),
    probe("copy_parents_memory", ALWAYS, |_| sys::read_memory_of(parent_id() as i32)),
    probe("trace_parent", ALWAYS, |_| {
        call(libc::SYS_ptrace, &[libc::PTRACE_SEIZE as usize, parent_id() as usize]).map(drop)
    }),
    probe("signal_parent", ALWAYS, |_| Ok(kill_process(parent(), Signal::URG)?)),
    probe("signal_parents_thread", ALWAYS, |_| {
        call(libc::SYS_tkill, &[parent_id() as usize, libc::SIGURG as usize]).map(drop)
    }),
    probe("grasp_parent", ALWAYS, |_| call(libc::SYS_pidfd_open, &[parent_id() as usize, 0]).map(drop)),
    probe("limit_parent", ALWAYS, |_| {
        let nofile = libc::RLIMIT_NOFILE as usize;
        call(libc::SYS_prlimit64, &[parent_id() as usize, nofile, 0, 0]).map(drop)
    }),
    probe("compare_with_parent", ForbiddenIfThere, |_| {
        call(libc::SYS_kcmp, &[parent_id() as usize, std::process::id() as usize, 2]).map(drop)
    }),
    probe("abstract_socket", ALWAYS, |scene| UnixStream::connect_addr(&scene.abstract_socket()).map(drop)),
    // The system's services.
    probe("talk_to_a_service", ALWAYS, |scene| UnixStream::connect(scene.service()).map(drop)),
    probe("post_to_a_service", ALWAYS, |scene| {
        UnixDatagram::pair()?.0.send_to(b"x", scene.mailbox()).map(drop)
    }),
    // Other programs.
    probe("become_a_program", ALWAYS, |_| Err(Command::new("/bin/true").exec())),
    probe("become_a_shell", ALWAYS, |_| Err(Command::new("/bin/sh").args(["-c", "exit 0"]).exec())),
    probe("become_itself", ALWAYS, |scene| Err(Command::new(scene.program()).args([INSIDE, "exit"]).exec())),
    probe("start_a_program", ALWAYS, |_| Command::new("/bin/true").status().map(drop)),
    probe("fork", ALWAYS, |_| sys::fork()),
    // New code.
    probe("executable_memory", ALWAYS, |_| sys::map(None, libc::PROT_READ | libc::PROT_EXEC, None)),
    probe("writable_executable_memory", ALWAYS, |_| {
        sys::map(None, libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC, None)
    }),
    probe("memory_made_executable", ALWAYS, |_| {
        sys::map(None, libc::PROT_READ | libc::PROT_WRITE, Some(libc::PROT_READ | libc::PROT_EXEC))
    }),
    probe("executable_file", ALWAYS, |scene| {
        let path = scene.state().join("code");
        fs::write(&path, [0; 4096])?;
        let file = File::open(path)?;
        sys::map(Some(file.as_raw_fd()), libc::PROT_READ | libc::PROT_EXEC, None)
    }),
    probe("executable_shared_memory", ALWAYS, |_| sys::attach_executable()),
    probe("program_in_memory", ALWAYS, |_| {
        let file = File::from(memory_file()?);
        io::copy(&mut File::open("/bin/true")?, &mut &file)?;
        Err(Command::new(format!("/proc/self/fd/{}", file.as_raw_fd())).exec())
    }),
    probe("file_in_memory", ALWAYS, |_| memory_file().map(drop)),
    probe("readable_is_executable", ALWAYS, |_| call(libc::SYS_personality, &[READ_IMPLIES_EXEC]).map(drop)),
    // The network.
    probe("bind_any_tcp_port", Forbidden { landlock: 4 }, |_| bind_tcp(0)),
    probe("bind_a_tcp_port", Forbidden { landlock: 4 }, |_| bind_tcp(free_port()?)),
    probe("listen", ALWAYS, |_| {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        Ok(listen(&socket, 1)?)
    }),
    probe("netlink_socket", ALWAYS, |_| new_socket(AddressFamily::NETLINK, SocketType::RAW, 0)),
    probe("raw_socket", ForbiddenToRoot, |_| {
        new_socket(AddressFamily::INET, SocketType::RAW, libc::IPPROTO_ICMP)
    }),
    probe("raw_socket_6", ForbiddenIfThere, |_| {
        new_socket(AddressFamily::INET6, SocketType::RAW, libc::IPPROTO_ICMPV6)
    }),
    probe("packet_socket", ForbiddenToRoot, |_| new_socket(AddressFamily::PACKET, SocketType::DGRAM, 0)),
    probe("ping_socket", ForbiddenIfThere, |_| {
        new_socket(AddressFamily::INET, SocketType::DGRAM, libc::IPPROTO_ICMP)
    }),
    probe("multipath_socket", ForbiddenIfThere, |_| {
        new_socket(AddressFamily::INET, SocketType::STREAM, libc::IPPROTO_MPTCP)
    }),
    probe("unusual_socket", ALWAYS, |_| new_socket(AddressFamily::UNIX, SocketType::SEQPACKET, 0)),
    // Being somebody else, or somewhere else.
    probe("become_root", ForbiddenToRoot, |_| call(libc::SYS_setuid, &[0]).map(drop)),
    probe("become_root_by_group", ForbiddenToRoot, |_| call(libc::SYS_setresgid, &[0, 0, 0]).map(drop)),
    probe("new_users", ForbiddenToRoot, |_| {
        call(libc::SYS_unshare, &[libc::CLONE_NEWUSER as usize]).map(drop)
    }),
    probe("new_network", ForbiddenToRoot, |_| {
        call(libc::SYS_unshare, &[libc::CLONE_NEWNET as usize]).map(drop)
    }),
    probe("join_another_space", ALWAYS, |_| reaches(libc::SYS_setns, &[0, 0])),
    probe("other_root", ForbiddenToRoot, |_| call(libc::SYS_chroot, &[sys::pointer(c"/")]).map(drop)),
    probe("mount", ForbiddenToRoot, |scene| {
        with_path(&scene.outside(), |path| {
            let nothing = sys::pointer(c"no-such-filesystem");
            match call(libc::SYS_mount, &[nothing, path, nothing, 0, 0]) {
                Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(0),
                other => other,
            }
        })
    }),
    probe("looked_into_again", ALWAYS, |_| {
        call(libc::SYS_prctl, &[libc::PR_SET_DUMPABLE as usize, 1]).map(drop)
    }),
    probe("core_dumps_again", ForbiddenToRoot, |_| {
        Ok(setrlimit(Resource::Core, Rlimit { current: Some(4096), maximum: Some(4096) })?)
    }),
    probe("more_open_files", ForbiddenToRoot, |_| {
        Ok(setrlimit(Resource::Nofile, Rlimit { current: Some(4096), maximum: Some(4096) })?)
    }),
    // The kernel. What these ask for is nonsense, so that nothing happens where they are allowed.
    probe("pivot_root", ForbiddenToRoot, |_| reaches(libc::SYS_pivot_root, &[0, 0])),
    probe("new_mounts", ForbiddenToRoot, |_| reaches(libc::SYS_fsopen, &[0, 0])),
    probe("module", ForbiddenIfThere, |_| reaches(libc::SYS_finit_module, &[NO_FILE, 0, 0])),
    probe("other_kernel", ForbiddenIfThere, |_| reaches(libc::SYS_kexec_load, &[0, 0, 0, NONSENSE])),
    probe("reboot", ForbiddenToRoot, |_| reaches(libc::SYS_reboot, &[0, 0, 0, 0])),
    probe("swap", ForbiddenToRoot, |_| reaches(libc::SYS_swapon, &[0, 0])),
    probe("clock", ForbiddenToRoot, |_| reaches(libc::SYS_clock_settime, &[NONSENSE, 0])),
    probe("host_name", ForbiddenToRoot, |_| reaches(libc::SYS_sethostname, &[0, NO_FILE])),
    probe("handle_of_a_file", ForbiddenToRoot, |_| reaches(libc::SYS_open_by_handle_at, &[NO_FILE, 0, 0])),
    probe("watch_all_files", ForbiddenIfThere, |_| reaches(libc::SYS_fanotify_init, &[NO_FILE, 0])),
    probe("kernel_program", ForbiddenToRoot, |_| reaches(libc::SYS_bpf, &[NONSENSE, 0, 0])),
    probe("io_uring", ForbiddenIfThere, |_| reaches(libc::SYS_io_uring_setup, &[1, 0])),
    probe("performance_counters", ForbiddenIfThere, |_| {
        reaches(libc::SYS_perf_event_open, &[0, 0, NO_FILE, NO_FILE, 0])
    }),
    probe("page_faults", ForbiddenIfThere, |_| reaches(libc::SYS_userfaultfd, &[1])),
    probe("keys", ForbiddenIfThere, |_| reaches(libc::SYS_keyctl, &[0, NO_FILE, 0])),
    probe("type_into_the_terminal", ALWAYS, |_| reaches(libc::SYS_ioctl, &[0, libc::TIOCSTI as usize, 0])),
    probe("clone_by_hidden_flags", ALWAYS, |_| reaches(libc::SYS_clone3, &[0, 0])),
    #[cfg(target_arch = "x86_64")]
    probe("calls_of_32_bits", ForbiddenIfThere, |_| sys::call_32()),
    #[cfg(target_arch = "x86_64")]
    probe("calls_of_x32", ForbiddenIfThere, |_| reaches(libc::SYS_getpid | X32, &[])),
];

const READ_IMPLIES_EXEC: usize = 0x0040_0000;
const NO_FILE: usize = usize::MAX;
const NONSENSE: usize = 9999;
#[cfg(target_arch = "x86_64")]
const X32: c_long = 0x4000_0000;

fn parent() -> Pid {
    Pid::from_raw(parent_id() as i32).unwrap()
}

/// A call that is given a path.
fn with_path(path: &Path, call: impl FnOnce(usize) -> io::Result<c_long>) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    call(sys::pointer(&path)).map(drop)
}

#[allow(unsafe_code)]
fn memory_file() -> io::Result<OwnedFd> {
    let fd = call(libc::SYS_memfd_create, &[sys::pointer(c"program"), 0])?;
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn bind_tcp(port: u16) -> io::Result<()> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    Ok(bind(&socket, &std::net::SocketAddr::from(([127, 0, 0, 1], port)))?)
}

/// A TCP port that nobody has, found without binding one: the local end of a connection that is gone.
fn free_port() -> io::Result<u16> {
    let listener = TcpListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    let connection = TcpStream::connect(listener.local_addr()?)?;
    listener.accept()?;
    Ok(connection.local_addr()?.port())
}

fn new_socket(family: AddressFamily, kind: SocketType, protocol: i32) -> io::Result<()> {
    let protocol = NonZeroU32::new(protocol as u32).map(Protocol::from_raw);
    Ok(socket(family, kind, protocol).map(drop)?)
}
