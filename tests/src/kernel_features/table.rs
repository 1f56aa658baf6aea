//! The table. A row is a name, the version, the stable versions that got it later, what it depends on, where that is
//! written, and how it is tried.

use super::Need::{BootOption, Config, SecurityModule};
use super::Trial::{IoUring, Landlock, SystemCall, Works};
use super::trying as call;
use super::{Feature, Need, Trial, Version};

/// No file descriptor, address, flag or length that any of these calls takes.
const NONSENSE: [i64; 6] = [-1; 6];

const fn row(
    name: &'static str,
    since: (u32, u32),
    needs: &'static [Need],
    source: &'static str,
    trial: Trial,
) -> Feature {
    Feature { name, since: (since.0, since.1, 0), backports: &[], needs, source, trial }
}

const fn number(number: i64) -> Trial {
    SystemCall { number, arguments: NONSENSE }
}

const fn landlock(name: &'static str, since: (u32, u32), version: i64) -> Feature {
    const NEEDS: &[Need] = &[Config("SECURITY_LANDLOCK"), SecurityModule("landlock")];
    row(name, since, NEEDS, "landlock(7), Documentation/userspace-api/landlock.rst", Landlock(version))
}

const fn io_uring(name: &'static str, since: (u32, u32), operation: u8) -> Feature {
    row(
        name,
        since,
        &[Config("IO_URING")],
        "io_uring_enter(2), include/uapi/linux/io_uring.h",
        IoUring(operation),
    )
}

/// 5.10 got the io_uring of 5.15 in its 162nd stable release, as far as the rest of that kernel allows.
const fn io_uring_of_5_15(name: &'static str, since: (u32, u32), operation: u8) -> Feature {
    const IMPORT: &[Version] = &[(5, 10, 162)];
    Feature { backports: IMPORT, ..io_uring(name, since, operation) }
}

/// Every feature, by age.
pub const FEATURES: &[Feature] = &[
    row("pidfd_open", (5, 3), &[], "pidfd_open(2)", number(434)),
    row("clone3", (5, 3), &[], "clone3(2)", number(435)),
    row("openat2", (5, 6), &[], "openat2(2)", number(437)),
    row("pidfd_getfd", (5, 6), &[], "pidfd_getfd(2)", number(438)),
    io_uring("io_uring_openat2", (5, 6), 28),
    io_uring("io_uring_splice", (5, 7), 30),
    io_uring("io_uring_tee", (5, 8), 33),
    row("faccessat2", (5, 8), &[], "access(2)", number(439)),
    row("close_range", (5, 9), &[], "close_range(2)", Works(call::close_range)),
    row("process_madvise", (5, 10), &[Config("ADVISE_SYSCALLS")], "process_madvise(2)", number(440)),
    row("epoll_pwait2", (5, 11), &[Config("EPOLL")], "epoll_wait(2)", number(441)),
    io_uring_of_5_15("io_uring_shutdown", (5, 11), 34),
    io_uring_of_5_15("io_uring_renameat", (5, 11), 35),
    io_uring_of_5_15("io_uring_unlinkat", (5, 11), 36),
    row("mount_setattr", (5, 12), &[], "mount_setattr(2)", number(442)),
    landlock("landlock_abi_1", (5, 13), 1),
    row("quotactl_fd", (5, 14), &[Config("QUOTACTL")], "quotactl(2)", number(443)),
    row(
        "memfd_secret",
        (5, 14),
        &[Config("SECRETMEM"), BootOption("secretmem.enable=1", (6, 5, 0))],
        "memfd_secret(2)",
        Works(call::memfd_secret),
    ),
    row("madvise_populate", (5, 14), &[], "madvise(2)", Works(call::madvise_populate)),
    row(
        "prctl_sched_core",
        (5, 14),
        &[Config("SCHED_CORE")],
        "prctl(2), core-scheduling.rst",
        Works(call::sched_core),
    ),
    row("process_mrelease", (5, 15), &[], "process_mrelease(2)", number(448)),
    io_uring("io_uring_mkdirat", (5, 15), 37),
    io_uring("io_uring_symlinkat", (5, 15), 38),
    io_uring("io_uring_linkat", (5, 15), 39),
    row("futex_waitv", (5, 16), &[Config("FUTEX")], "futex_waitv(2), futex2.rst", number(449)),
    row("set_mempolicy_home_node", (5, 17), &[Config("NUMA")], "numa_memory_policy.rst", number(450)),
    row(
        "anon_vma_name",
        (5, 17),
        &[Config("ANON_VMA_NAME")],
        "PR_SET_VMA(2const)",
        Works(call::anon_vma_name),
    ),
    io_uring("io_uring_msg_ring", (5, 18), 40),
    landlock("landlock_abi_2", (5, 19), 2),
    io_uring("io_uring_setxattr", (5, 19), 42),
    io_uring("io_uring_socket", (5, 19), 45),
    io_uring("io_uring_uring_cmd", (5, 19), 46),
    io_uring("io_uring_send_zc", (6, 0), 47),
    io_uring("io_uring_sendmsg_zc", (6, 1), 48),
    landlock("landlock_abi_3", (6, 2), 3),
    row(
        "memfd_noexec_seal",
        (6, 3),
        &[Config("MEMFD_CREATE")],
        "memfd_create(2)",
        Works(call::memfd_noexec_seal),
    ),
    row("prctl_mdwe", (6, 3), &[], "PR_SET_MDWE(2const)", Works(call::mdwe)),
    row("prctl_memory_merge", (6, 4), &[Config("KSM")], "prctl(2), ksm.rst", Works(call::memory_merge)),
    row("cachestat", (6, 5), &[Config("CACHESTAT_SYSCALL")], "cachestat(2)", Works(call::cachestat)),
    row("socket_peer_pidfd", (6, 5), &[], "unix(7), SO_PEERPIDFD", Works(call::peer_pidfd)),
    row("fchmodat2", (6, 6), &[], "chmod(2)", number(452)),
    row("map_shadow_stack", (6, 6), &[Config("X86_USER_SHADOW_STACK")], "shstk.rst", number(453)),
    landlock("landlock_abi_4", (6, 7), 4),
    row("futex_wake", (6, 7), &[Config("FUTEX")], "futex2.rst", number(454)),
    row("futex_wait", (6, 7), &[Config("FUTEX")], "futex2.rst", number(455)),
    row("futex_requeue", (6, 7), &[Config("FUTEX")], "futex2.rst", number(456)),
    io_uring("io_uring_read_multishot", (6, 7), 49),
    io_uring("io_uring_waitid", (6, 7), 50),
    io_uring("io_uring_futex_wait", (6, 7), 51),
    row("statmount", (6, 8), &[], "statmount(2)", number(457)),
    row("listmount", (6, 8), &[], "listmount(2)", number(458)),
    row(
        "lsm_get_self_attr",
        (6, 8),
        &[Config("SECURITY")],
        "Documentation/userspace-api/lsm.rst",
        number(459),
    ),
    row(
        "lsm_list_modules",
        (6, 8),
        &[Config("SECURITY")],
        "Documentation/userspace-api/lsm.rst",
        number(461),
    ),
    row("statx_mnt_id_unique", (6, 8), &[], "statx(2)", Works(call::statx_mnt_id_unique)),
    io_uring("io_uring_fixed_fd_install", (6, 8), 54),
    io_uring("io_uring_ftruncate", (6, 9), 55),
    row("pidfd_thread", (6, 9), &[], "pidfd_open(2)", Works(call::pidfd_thread)),
    landlock("landlock_abi_5", (6, 10), 5),
    row("mseal", (6, 10), &[], "mseal(2), mseal.rst", Works(call::mseal)),
    row("fcntl_dupfd_query", (6, 10), &[], "F_DUPFD_QUERY(2const)", Works(call::dupfd_query)),
    row("map_droppable", (6, 11), &[], "mmap(2)", Works(call::map_droppable)),
    io_uring("io_uring_bind", (6, 11), 56),
    io_uring("io_uring_listen", (6, 11), 57),
    landlock("landlock_abi_6", (6, 12), 6),
    row("setxattrat", (6, 13), &[], "setxattr(2)", number(463)),
    row("getxattrat", (6, 13), &[], "getxattr(2)", number(464)),
    row("listxattrat", (6, 13), &[], "listxattr(2)", number(465)),
    row("removexattrat", (6, 13), &[], "removexattr(2)", number(466)),
    row("madvise_guard", (6, 13), &[], "madvise(2)", Works(call::madvise_guard)),
    landlock("landlock_abi_7", (6, 15), 7),
    row("open_tree_attr", (6, 15), &[], "open_tree_attr(2)", number(467)),
    io_uring("io_uring_epoll_wait", (6, 15), 59),
    io_uring("io_uring_readv_fixed", (6, 15), 60),
    io_uring("io_uring_pipe", (6, 16), 62),
    row("file_getattr", (6, 17), &[], "file_getattr(2)", number(468)),
    row("file_setattr", (6, 17), &[], "file_getattr(2)", number(469)),
    row("listns", (6, 19), &[Config("NAMESPACES")], "listns(2)", number(470)),
    landlock("landlock_abi_8", (7, 0), 8),
    row(
        "rseq_slice_yield",
        (7, 0),
        &[Config("RSEQ_SLICE_EXTENSION")],
        "Documentation/userspace-api/rseq.rst",
        number(471),
    ),
    landlock("landlock_abi_9", (7, 1), 9),
    landlock("landlock_abi_10", (7, 2), 10),
];
