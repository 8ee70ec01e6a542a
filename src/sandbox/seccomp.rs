//! seccomp: which system calls are refused, with EPERM.
//!
//! The list names what is forbidden, not what is allowed: what the exchange calls depends on libc, on
//! the architecture and on what a library does tomorrow; what it must never do does not. A call of
//! another architecture ends the process.

use std::collections::BTreeMap;

use libc::c_long;
use rustix::io::Errno;
use rustix::process::getpid;
use seccompiler::SeccompCmpArgLen::{Dword, Qword};
use seccompiler::SeccompCmpOp::{self, Eq, MaskedEq, Ne};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCondition, SeccompFilter, SeccompRule,
    sock_filter,
};

/// Forbidden whatever the arguments.
const FORBIDDEN: &[c_long] = &[
    // Other programs.
    libc::SYS_execve,
    libc::SYS_execveat,
    // Connections from outside: the keeper listens.
    libc::SYS_listen,
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_kcmp,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
    libc::SYS_setpriority,
    libc::SYS_ioprio_set,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_setattr,
    libc::SYS_sched_setaffinity,
    // System V and POSIX queues and shared memory; the latter could also be mapped executable.
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_semget,
    libc::SYS_msgget,
    libc::SYS_mq_open,
    // New code: files without a name.
    libc::SYS_memfd_create,
    libc::SYS_memfd_secret,
    // Another user, other capabilities.
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
    libc::SYS_capset,
    // Another view of the system.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mknodat,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    // Large, rarely used parts of the kernel, in which holes are found again and again.
    libc::SYS_bpf,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_vmsplice,
    libc::SYS_lookup_dcookie,
    libc::SYS_remap_file_pages,
    libc::SYS_mbind,
    libc::SYS_set_mempolicy,
    // The machine.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    KEXEC_FILE_LOAD,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_syslog,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
    // Another personality: memory that is readable would be executable.
    libc::SYS_personality,
];

/// Forbidden too where the architecture has them: older forms of the above, and doors to the hardware.
#[cfg(target_arch = "x86_64")]
const FORBIDDEN_HERE: &[c_long] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_mknod,
    libc::SYS_modify_ldt,
    libc::SYS_ioperm,
    libc::SYS_iopl,
    libc::SYS_uselib,
    libc::SYS_sysfs,
    libc::SYS__sysctl,
];
#[cfg(not(target_arch = "x86_64"))]
const FORBIDDEN_HERE: &[c_long] = &[];

/// The libc crate does not know it on every architecture.
#[cfg(target_arch = "aarch64")]
const KEXEC_FILE_LOAD: c_long = 294;
#[cfg(not(target_arch = "aarch64"))]
const KEXEC_FILE_LOAD: c_long = libc::SYS_kexec_file_load;

/// A condition on an argument: its index, how much of it the kernel looks at, the comparison, a value.
type Condition = (u8, SeccompCmpArgLen, SeccompCmpOp, u64);

/// Forbidden with arguments that fulfil all of these conditions. A call may stand here several times.
fn forbidden_with(own_pid: u64) -> Vec<(c_long, Vec<Condition>)> {
    let int = |value: libc::c_int| value as u64;
    let executable = || vec![(2, Qword, MaskedEq(int(libc::PROT_EXEC)), int(libc::PROT_EXEC))];
    let only_to_us = || vec![(0, Dword, Ne, own_pid)];
    let mut forbidden = vec![
        // Processes; threads are free.
        (libc::SYS_clone, vec![(0, Qword, MaskedEq(int(libc::CLONE_THREAD)), 0)]),
        // New code.
        (libc::SYS_mmap, executable()),
        (libc::SYS_mprotect, executable()),
        (libc::SYS_pkey_mprotect, executable()),
        // Signals to others, before Landlock ABI 6 could forbid them. By thread nobody can say whose
        // it is; musl aborts that way.
        (libc::SYS_kill, only_to_us()),
        (libc::SYS_tgkill, only_to_us()),
        (libc::SYS_rt_sigqueueinfo, only_to_us()),
        (libc::SYS_rt_tgsigqueueinfo, only_to_us()),
        (libc::SYS_tkill, vec![(1, Dword, Ne, int(libc::SIGABRT))]),
        // The limits of others.
        (libc::SYS_prlimit64, vec![(0, Dword, Ne, 0)]),
        // Families and protocols besides UDP and TCP. Local sockets lead to the system's services (D-Bus,
        // containers, logs), which Landlock does not keep out of reach before ABI 9.
        (libc::SYS_socket, vec![(0, Dword, Ne, int(libc::AF_INET)), (0, Dword, Ne, int(libc::AF_INET6))]),
        (
            libc::SYS_socket,
            vec![
                (2, Dword, Ne, 0),
                (2, Dword, Ne, int(libc::IPPROTO_TCP)),
                (2, Dword, Ne, int(libc::IPPROTO_UDP)),
            ],
        ),
    ];
    // All types but SOCK_STREAM and SOCK_DGRAM, the first two of them; higher bits are flags.
    for kind in libc::SOCK_RAW..=0xf {
        forbidden.push((libc::SYS_socket, vec![(1, Dword, MaskedEq(0xf), int(kind))]));
    }
    // A pair of streams stays a pair; one of datagrams could be connected to something else.
    for kind in libc::SOCK_DGRAM..=0xf {
        forbidden.push((libc::SYS_socketpair, vec![(1, Dword, MaskedEq(0xf), int(kind))]));
    }
    // Being looked into again, or only by a chosen one, or with memory laid out anew.
    for option in [libc::PR_SET_DUMPABLE, libc::PR_SET_PTRACER, libc::PR_SET_MM] {
        forbidden.push((libc::SYS_prctl, vec![(0, Dword, Eq, int(option))]));
    }
    // Typing into the terminal that we were started from.
    #[allow(clippy::unnecessary_cast)] // musl's are signed
    for request in [libc::TIOCSTI as u64, libc::TIOCLINUX as u64, libc::TIOCSETD as u64] {
        forbidden.push((libc::SYS_ioctl, vec![(1, Dword, Eq, request)]));
    }
    forbidden
}

/// From here on a number on x86-64 is one of the x32 ABI: the same calls by other numbers, which a list of
/// numbers does not see. No architecture has others there.
const X32: u32 = 0x4000_0000;

/// Installs the filter for this thread and all that it starts, for good; or says why that cannot be
/// done.
pub(super) fn install() -> Result<(), String> {
    let program = program().map_err(|error| error.to_string())?;
    seccompiler::apply_filter(&program).map_err(|error| match error {
        seccompiler::Error::Seccomp(error) => {
            format!(
                "the kernel does not do it ({error}); Linux 3.17, built with CONFIG_SECCOMP_FILTER, is needed"
            )
        }
        other => other.to_string(),
    })
}

fn program() -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<c_long, Vec<SeccompRule>> = BTreeMap::new();
    for (call, conditions) in forbidden_with(getpid().as_raw_nonzero().get() as u64) {
        let conditions: Result<Vec<_>, _> = conditions
            .into_iter()
            .map(|(index, len, operator, value)| SeccompCondition::new(index, len, operator, value))
            .collect();
        rules.entry(call).or_default().push(SeccompRule::new(conditions?)?);
    }
    rules.extend(FORBIDDEN.iter().chain(FORBIDDEN_HERE).map(|call| (*call, Vec::new())));
    let refuse = SeccompAction::Errno(Errno::PERM.raw_os_error() as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, std::env::consts::ARCH.try_into()?)?;
    let filter: BpfProgram = filter.try_into()?;
    let mut program = not_there().to_vec();
    program.extend(filter);
    Ok(program)
}

/// The beginning of the program, in which calls do not seem to exist: those of x32, and `clone3`, whose
/// flags lie in memory where no filter can see them. On ENOSYS, libc starts threads by `clone`.
fn not_there() -> [sock_filter; 4] {
    let load_number = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let at_least = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let answer = libc::BPF_RET | libc::BPF_K;
    let step = |code: u32, jt, jf, k| sock_filter { code: code as u16, jt, jf, k };
    [
        step(load_number, 0, 0, 0),
        step(at_least, 1, 0, X32),
        step(equal, 0, 1, libc::SYS_clone3 as u32),
        step(answer, 0, 0, libc::SECCOMP_RET_ERRNO | Errno::NOSYS.raw_os_error() as u32),
    ]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    const REFUSE: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    const UNKNOWN: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

    /// What the program says to a call, as the kernel would run it. `architecture` stands where the kernel
    /// puts it; `None` is ours.
    fn say(call: c_long, arguments: &[u64], architecture: Option<u32>) -> u32 {
        let program = program().unwrap();
        // The number to compare with comes from the program itself: its first load of that field.
        let own = program.windows(2).find(|pair| pair[0].code == 0x20 && pair[0].k == 4).unwrap()[1].k;
        let mut data = [call as u32, architecture.unwrap_or(own)].map(u32::to_ne_bytes).concat();
        data.extend([0; 8]);
        let all = arguments.iter().copied().chain(std::iter::repeat(0));
        data.extend(all.take(6).flat_map(u64::to_le_bytes));

        let (mut accumulator, mut at) = (0, 0);
        loop {
            let step = &program[at];
            let (k, jump) = (step.k, |taken| usize::from(if taken { step.jt } else { step.jf }));
            at += 1;
            match step.code {
                0x20 => accumulator = u32::from_ne_bytes(*data[k as usize..].first_chunk().unwrap()),
                0x54 => accumulator &= k,
                0x05 => at += k as usize,
                0x15 => at += jump(accumulator == k),
                0x35 => at += jump(accumulator >= k),
                0x06 => return k,
                other => panic!("{other:#x}"),
            }
        }
    }

    fn says(call: c_long, arguments: &[u64]) -> u32 {
        say(call, arguments, None)
    }

    #[test]
    fn the_list_is_refused_and_the_rest_is_not() {
        for call in FORBIDDEN.iter().chain(FORBIDDEN_HERE) {
            assert_eq!(says(*call, &[]), REFUSE, "{call}");
        }
        let daily = [
            libc::SYS_read,
            libc::SYS_write,
            libc::SYS_openat,
            libc::SYS_bind,
            libc::SYS_connect,
            libc::SYS_accept4,
            libc::SYS_recvmmsg,
            libc::SYS_sendmmsg,
            libc::SYS_epoll_pwait,
            libc::SYS_futex,
            libc::SYS_getrandom,
            libc::SYS_exit_group,
            libc::SYS_rt_sigreturn,
        ];
        for call in daily {
            assert_eq!(says(call, &[]), ALLOW, "{call}");
        }
    }

    #[test]
    fn no_other_numbers_lead_around_the_list() {
        let x32 = c_long::from(X32);
        assert_eq!(says(libc::SYS_execve | x32, &[]), UNKNOWN);
        assert_eq!(says(libc::SYS_read | x32, &[]), UNKNOWN);
        assert_eq!(says(-1, &[]), UNKNOWN);
        assert_eq!(say(libc::SYS_read, &[], Some(3)), libc::SECCOMP_RET_KILL_PROCESS);
    }

    #[test]
    fn threads_but_no_processes() {
        let thread = (libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND) as u64;
        assert_eq!(says(libc::SYS_clone, &[thread]), ALLOW);
        assert_eq!(says(libc::SYS_clone, &[libc::SIGCHLD as u64]), REFUSE);
        assert_eq!(says(libc::SYS_clone, &[(libc::CLONE_VM | libc::CLONE_VFORK) as u64]), REFUSE);
        assert_eq!(says(libc::SYS_clone3, &[thread]), UNKNOWN);
    }

    #[test]
    fn memory_but_no_code() {
        let rights = |rights: i32| [0, 4096, rights as u64];
        for call in [libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_pkey_mprotect] {
            assert_eq!(says(call, &rights(libc::PROT_READ | libc::PROT_WRITE)), ALLOW);
            assert_eq!(says(call, &rights(libc::PROT_EXEC)), REFUSE);
            assert_eq!(says(call, &rights(libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC)), REFUSE);
        }
    }

    #[test]
    fn udp_and_tcp_sockets_and_pairs_of_streams() {
        let socket = |family: i32, kind: i32, protocol: i32| {
            says(libc::SYS_socket, &[family as u64, kind as u64, protocol as u64])
        };
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        for family in [libc::AF_INET, libc::AF_INET6] {
            assert_eq!(socket(family, libc::SOCK_DGRAM | flags, libc::IPPROTO_UDP), ALLOW);
            assert_eq!(socket(family, libc::SOCK_DGRAM, 0), ALLOW);
            assert_eq!(socket(family, libc::SOCK_STREAM | flags, libc::IPPROTO_TCP), ALLOW);
            assert_eq!(socket(family, libc::SOCK_RAW | flags, libc::IPPROTO_UDP), REFUSE);
            assert_eq!(socket(family, libc::SOCK_STREAM, libc::IPPROTO_SCTP), REFUSE);
            assert_eq!(socket(family, libc::SOCK_STREAM, libc::IPPROTO_MPTCP), REFUSE);
            assert_eq!(socket(family, libc::SOCK_SEQPACKET, 0), REFUSE);
        }
        for family in [libc::AF_UNIX, libc::AF_NETLINK, libc::AF_PACKET, libc::AF_VSOCK, libc::AF_ALG] {
            assert_eq!(socket(family, libc::SOCK_STREAM | flags, 0), REFUSE);
            assert_eq!(socket(family, libc::SOCK_DGRAM, 0), REFUSE);
        }
        let pair = |kind: i32| says(libc::SYS_socketpair, &[libc::AF_UNIX as u64, (kind | flags) as u64, 0]);
        assert_eq!(pair(libc::SOCK_STREAM), ALLOW);
        for kind in [libc::SOCK_DGRAM, libc::SOCK_RAW, libc::SOCK_SEQPACKET] {
            assert_eq!(pair(kind), REFUSE);
        }
    }

    #[test]
    fn signals_to_itself() {
        let own = std::process::id().into();
        assert_eq!(says(libc::SYS_kill, &[own, 10]), ALLOW);
        assert_eq!(says(libc::SYS_tgkill, &[own, own, 6]), ALLOW);
        assert_eq!(says(libc::SYS_tkill, &[own, libc::SIGABRT as u64]), ALLOW);
        // Another process, the own group, everybody.
        for process in [1, 0, -1i64 as u64] {
            assert_eq!(says(libc::SYS_kill, &[process, 10]), REFUSE);
        }
        assert_eq!(says(libc::SYS_tkill, &[own, libc::SIGTERM as u64]), REFUSE);
    }

    #[test]
    fn its_own_limits_and_terminal() {
        assert_eq!(says(libc::SYS_prlimit64, &[0]), ALLOW);
        assert_eq!(says(libc::SYS_prlimit64, &[1]), REFUSE);
        assert_eq!(says(libc::SYS_prctl, &[libc::PR_SET_NAME as u64]), ALLOW);
        assert_eq!(says(libc::SYS_prctl, &[libc::PR_SET_DUMPABLE as u64, 1]), REFUSE);
        assert_eq!(says(libc::SYS_ioctl, &[0, libc::FIONBIO]), ALLOW);
        // The kernel looks at 32 bits of it.
        assert_eq!(says(libc::SYS_ioctl, &[0, libc::TIOCSTI | 1 << 32]), REFUSE);
    }

    #[test]
    fn no_call_is_forbidden_both_ways() {
        // One would hide the other.
        for (call, _) in forbidden_with(1) {
            assert!(!FORBIDDEN.contains(&call), "{call}");
        }
    }
}
