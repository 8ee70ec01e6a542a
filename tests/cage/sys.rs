//! System calls as a burglar makes them: without a library in between.

#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::ptr;

use libc::{c_long, c_void};
use rustix::thread::{CapabilitySet, capabilities};

/// A call with plain numbers. Pointers among them must be null or live as long as the call.
pub(crate) fn call(number: c_long, arguments: &[usize]) -> io::Result<c_long> {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    let [a, b, c, d, e, f] = all;
    // SAFETY: the callers pass numbers, null or pointers that are valid for what the call does with them;
    // a call that fails touches nothing.
    match unsafe { libc::syscall(number, a, b, c, d, e, f) } {
        -1 => Err(io::Error::last_os_error()),
        value => Ok(value),
    }
}

/// Whether the kernel itself looks at a call: it may find fault with the arguments, but does not refuse.
pub(crate) fn reaches(number: c_long, arguments: &[usize]) -> io::Result<()> {
    match call(number, arguments) {
        Err(error) if is_refusal(&error) => Err(error),
        _ => Ok(()),
    }
}

fn is_refusal(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES | libc::ENOSYS))
}

pub(crate) fn pointer(text: &CStr) -> usize {
    text.as_ptr() as usize
}

/// The kernel's version of Landlock; 0 without.
pub(crate) fn landlock_abi() -> i32 {
    call(libc::SYS_landlock_create_ruleset, &[0, 0, 1]).map_or(0, |abi| abi as i32)
}

/// Whether root is what it used to be; in many containers it is not.
pub(crate) fn is_almighty() -> bool {
    let needed =
        CapabilitySet::SYS_ADMIN | CapabilitySet::SYS_BOOT | CapabilitySet::NET_RAW | CapabilitySet::MKNOD;
    capabilities(None).is_ok_and(|has| has.effective.contains(needed))
}

/// Starts a process that ends at once.
pub(crate) fn fork() -> io::Result<()> {
    // SAFETY: the child does nothing but end.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => unsafe { libc::_exit(0) },
        child => {
            // SAFETY: no status is asked for.
            unsafe { libc::waitpid(child, ptr::null_mut(), 0) };
            Ok(())
        }
    }
}

/// Maps a page of memory, or of a file, with these rights; then changes them to others.
pub(crate) fn map(file: Option<i32>, rights: i32, then: Option<i32>) -> io::Result<()> {
    const LENGTH: usize = 4096;
    let (flags, fd) = match file {
        Some(fd) => (libc::MAP_PRIVATE, fd),
        None => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1),
    };
    // SAFETY: a new mapping touches none that exist; it is given back below.
    let page = unsafe { libc::mmap(ptr::null_mut(), LENGTH, rights, flags, fd, 0) };
    if page == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let changed = match then {
        // SAFETY: the page is ours alone.
        Some(rights) if unsafe { libc::mprotect(page, LENGTH, rights) } != 0 => {
            Err(io::Error::last_os_error())
        }
        _ => Ok(()),
    };
    // SAFETY: nobody knows the page but us.
    unsafe { libc::munmap(page, LENGTH) };
    changed
}

/// Shared memory of System V, attached executable.
pub(crate) fn attach_executable() -> io::Result<()> {
    // SAFETY: plain numbers.
    let id = unsafe { libc::shmget(libc::IPC_PRIVATE, 4096, libc::IPC_CREAT | 0o700) };
    if id == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel chooses a free address; nobody uses the memory; it goes with the last process.
    let (at, error) = unsafe {
        let at = libc::shmat(id, ptr::null(), libc::SHM_EXEC);
        let error = io::Error::last_os_error();
        libc::shmctl(id, libc::IPC_RMID, ptr::null_mut());
        (at, error)
    };
    if at == usize::MAX as *mut c_void { Err(error) } else { Ok(()) }
}

/// Copies memory of another process; the address is one that it does not have.
pub(crate) fn read_memory_of(process: i32) -> io::Result<()> {
    let mut byte = 0u8;
    let local = libc::iovec { iov_base: ptr::from_mut(&mut byte).cast(), iov_len: 1 };
    let remote = libc::iovec { iov_base: ptr::without_provenance_mut(16), iov_len: 1 };
    // SAFETY: at most the one byte that is ours is written.
    match unsafe { libc::process_vm_readv(process, &local, 1, &remote, 1, 0) } {
        -1 => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::EFAULT) => Ok(()),
            error => Err(error),
        },
        _ => Ok(()),
    }
}

/// A system call of the 32-bit kind: `getpid`.
#[cfg(target_arch = "x86_64")]
pub(crate) fn call_32() -> io::Result<()> {
    let pid: i32;
    // SAFETY: the call changes nothing but eax.
    unsafe {
        std::arch::asm!("int 0x80", inout("eax") 20 => pid,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    }
    if pid > 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-pid)) }
}
