"""What programs must not have because nobody could take it away again.

Shared memory, semaphores and queues of System V outlive the processes. The host's kernel makes an
end of them as the container's settings say, or lists them; gVisor's has neither such settings nor
the lists, so there nobody gets any.
"""

from __future__ import annotations

import ctypes
import errno
import os

ENDS_WITH_ITS_PROCESSES = "/proc/sys/kernel/shm_rmid_forced"
# Of `shmget`, `semget` and `msgget`, on the machines for which there is a gVisor.
SYSTEM_CALLS = {"x86_64": (29, 64, 68), "aarch64": (194, 190, 186)}

PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
SECCOMP_RET_ERRNO, SECCOMP_RET_ALLOW = 0x00050000, 0x7FFF0000
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06


class Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("if_true", ctypes.c_uint8),
        ("if_false", ctypes.c_uint8),
        ("value", ctypes.c_uint32),
    )


class Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(Instruction)))


def refuse_what_would_stay() -> None:
    """To this process and all that it starts. Takes `no_new_privs`."""
    if not _ends_by_itself():
        _refuse(SYSTEM_CALLS[os.uname().machine])


def _ends_by_itself() -> bool:
    try:
        with open(ENDS_WITH_ITS_PROCESSES) as file:
            return file.read().strip() == "1"
    except FileNotFoundError:
        return False


def _refuse(numbers: tuple[int, ...]) -> None:
    """As a kernel does that was built without them."""
    # The number of the call is the first word of what a filter is shown. A jump is as many
    # instructions on: from the last comparison one, to the answer that says no.
    comparisons = [
        Instruction(JUMP_IF_EQUAL, len(numbers) - index, 0, number)
        for index, number in enumerate(numbers)
    ]
    steps = [
        Instruction(LOAD_WORD, 0, 0, 0),
        *comparisons,
        Instruction(RETURN, 0, 0, SECCOMP_RET_ALLOW),
        Instruction(RETURN, 0, 0, SECCOMP_RET_ERRNO | errno.ENOSYS),
    ]
    program = Filter(len(steps), (Instruction * len(steps))(*steps))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp: {os.strerror(number)}")
