"""System calls by name: their numbers, as libseccomp knows them, by which the engine's runtime
reads a profile too; and those that a program is refused."""

from __future__ import annotations

import ctypes
import os

import pytest

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
EPERM, ENOSYS = "EPERM", "ENOSYS"

# Younger than many a libseccomp. Calls this young have the same number everywhere, if they are
# not for one architecture alone.
YOUNG = {
    "uretprobe": 335,
    "uprobe": 336,
    "cachestat": 451,
    "fchmodat2": 452,
    "map_shadow_stack": 453,
    "futex_wake": 454,
    "futex_wait": 455,
    "futex_requeue": 456,
    "statmount": 457,
    "listmount": 458,
    "mseal": 462,
    "setxattrat": 463,
    "getxattrat": 464,
    "listxattrat": 465,
    "removexattrat": 466,
}
ONLY_X86 = {"uprobe", "uretprobe"}

NOWHERE = -1
SELF = 0
# What is refused, with arguments that do no harm where it is not.
LEFT_OUT: dict[str, tuple[int, ...]] = {
    "acct": (0,),
    "add_key": (0, 0, 0, 0, 0),
    "adjtimex": (0,),
    "bpf": (99, 0, 0),
    "cachestat": (NOWHERE, 0, 0, 0),
    "chroot": (0,),
    "clock_adjtime": (0, 0),
    "clock_settime": (0, 0),
    "clone3": (0, 0),
    "delete_module": (0, 0),
    "fanotify_init": (0, 0),
    "fanotify_mark": (NOWHERE, 0, 0, 0, 0),
    "finit_module": (NOWHERE, 0, 0),
    "fsconfig": (NOWHERE, 0, 0, 0, 0),
    "fsmount": (NOWHERE, 0, 0),
    "fsopen": (0, 0),
    "fspick": (NOWHERE, 0, 0),
    "get_mempolicy": (0, 0, 0, 0, 0),
    "init_module": (0, 0, 0),
    "io_cancel": (0, 0, 0),
    "io_destroy": (0,),
    "io_getevents": (0, 0, 0, 0, 0),
    "io_pgetevents": (0, 0, 0, 0, 0, 0),
    "io_setup": (1, 0),
    "io_submit": (0, 0, 0),
    "io_uring_enter": (NOWHERE, 0, 0, 0, 0, 0),
    "io_uring_register": (NOWHERE, 0, 0, 0),
    "io_uring_setup": (1, 0),
    "ioperm": (0, 1, 0),
    "iopl": (0,),
    "kcmp": (SELF, SELF, 0, 0, 0),
    "kexec_file_load": (NOWHERE, NOWHERE, 0, 0, 0),
    "kexec_load": (0, 0, 0, 0),
    "keyctl": (0, 0, 0, 0, 0),
    "listmount": (0, 0, 0, 0),
    "lookup_dcookie": (0, 0, 0),
    "mbind": (0, 0, 0, 0, 0, 0),
    "memfd_secret": (0,),
    "migrate_pages": (SELF, 0, 0, 0),
    "modify_ldt": (0, 0, 0),
    "mount": (0, 0, 0, 0, 0),
    "mount_setattr": (NOWHERE, 0, 0, 0, 0),
    "move_mount": (NOWHERE, 0, NOWHERE, 0, 0),
    "move_pages": (SELF, 0, 0, 0, 0, 0),
    "mq_getsetattr": (NOWHERE, 0, 0),
    "mq_notify": (NOWHERE, 0),
    "mq_open": (0, 0, 0, 0),
    "mq_timedreceive": (NOWHERE, 0, 0, 0, 0),
    "mq_timedsend": (NOWHERE, 0, 0, 0, 0),
    "mq_unlink": (0,),
    "msgctl": (NOWHERE, 0, 0),
    "msgget": (0, 0o1600),
    "msgrcv": (NOWHERE, 0, 0, 0, 0),
    "msgsnd": (NOWHERE, 0, 0, 0),
    "name_to_handle_at": (NOWHERE, 0, 0, 0, 0),
    "open_by_handle_at": (NOWHERE, 0, 0),
    "open_tree": (NOWHERE, 0, 0),
    "perf_event_open": (0, 0, NOWHERE, NOWHERE, 0),
    "pidfd_getfd": (NOWHERE, 0, 0),
    "pivot_root": (0, 0),
    "process_madvise": (NOWHERE, 0, 0, 0, 0),
    "process_mrelease": (NOWHERE, 0),
    "process_vm_readv": (SELF, 0, 0, 0, 0, 0),
    "process_vm_writev": (SELF, 0, 0, 0, 0, 0),
    "ptrace": (0, 0, 0, 0),
    "quotactl": (0, 0, 0, 0),
    "quotactl_fd": (NOWHERE, 0, 0, 0),
    "reboot": (0, 0, 0, 0),
    "remap_file_pages": (0, 0, 0, 0, 0),
    "request_key": (0, 0, 0, 0),
    "seccomp": (99, 0, 0),
    "set_mempolicy": (0, 0, 0),
    "set_mempolicy_home_node": (0, 0, 0, 0),
    "setdomainname": (0, 0),
    "setfsgid": (NOWHERE,),
    "setfsuid": (NOWHERE,),
    "sethostname": (0, 0),
    "setns": (NOWHERE, 0),
    "settimeofday": (0, 0),
    "statmount": (0, 0, 0, 0),
    "swapoff": (0,),
    "swapon": (0, 0),
    "sync": (),
    "syncfs": (NOWHERE,),
    "syslog": (10, 0, 0),
    "umount2": (0, 0),
    "unshare": (0,),
    "userfaultfd": (0,),
    "vhangup": (),
    "vmsplice": (NOWHERE, 0, 0, 0),
}
# Of these the kernel would let anybody have a try, in any of its versions that this runs on.
OTHERWISE_ALLOWED = {
    "adjtimex", "clock_adjtime", "fanotify_mark", "io_destroy", "io_setup", "keyctl",
    "mq_getsetattr", "mq_open", "msgctl", "name_to_handle_at", "open_tree", "pidfd_getfd",
    "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace", "remap_file_pages",
    "seccomp", "setfsgid", "setfsuid", "setns", "unshare", "vmsplice",
}  # fmt: skip


def number(name: str, architecture: str = os.uname().machine) -> int | None:
    """None for a call that there is not on this architecture, or that nobody knows."""
    library = _libseccomp()
    found: int = library.seccomp_syscall_resolve_name_arch(
        ARCHITECTURES[architecture], name.encode()
    )
    if found >= 0:
        return found
    return None if name in ONLY_X86 and architecture != "x86_64" else YOUNG.get(name)


def _libseccomp() -> ctypes.CDLL:
    if os.uname().machine not in ARCHITECTURES:
        pytest.skip(f"NOT tested, this is none of {', '.join(ARCHITECTURES)}: system calls")
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        reason = "NOT tested, there is no libseccomp.so.2: the names in a seccomp profile"
        if os.environ.get("REQUIRE_ENGINE") == "1":
            pytest.fail(f"{reason}; install libseccomp2")
        pytest.skip(reason)
    library.seccomp_syscall_resolve_name_arch.argtypes = (ctypes.c_uint32, ctypes.c_char_p)
    return library
