"""What the kernel counts for each user, and not for each container."""

from __future__ import annotations

from tests.attacks.attack import Group, held
from tests.attacks.concurrently import run_beside
from tests.attacks.target import Target

group = Group("concurrency")

HOLD = """
import ctypes, os, time
libc = ctypes.CDLL(None)
{take}
time.sleep(600)
"""


def taken_from_others(target: Target, take: str, need: str) -> str:
    """What the kernel counts for a user is not to run out for all containers."""
    holder, answer = run_beside(target, HOLD.format(take=take), need, seconds=4)
    held(holder["status"] in ("TO", "SG"), f"it did not hold on: {holder}")
    held(answer["stdout"] == "there\n", f"another sandbox gets none: {answer}")
    return str(answer["session_id"])


@group.attack()
def all_inotify_instances(target: Target) -> str:
    """Takes all inotify instances of its user, while another sandbox wants one."""
    return taken_from_others(
        target,
        "while libc.inotify_init() >= 0: pass",
        "import ctypes; print('there' if ctypes.CDLL(None).inotify_init() >= 0 else 'none')",
    )


@group.attack()
def all_signals_that_wait(target: Target) -> str:
    """Makes as many timers as its user may have, while another sandbox wants one."""
    make = "libc.timer_create(1, None, ctypes.byref(ctypes.c_void_p()))"
    return taken_from_others(
        target,
        f"while {make} == 0: pass",
        f"import ctypes; libc = ctypes.CDLL(None); print('there' if {make} == 0 else 'none')",
    )


@group.attack()
def all_pages_of_pipes(target: Target) -> str:
    """Makes pipes as large as its user may, while another sandbox wants an ordinary one."""
    take = """
import fcntl
held = []
try:
    while True:
        held.append(os.pipe())
        fcntl.fcntl(held[-1][0], 1031, 2**20)
except OSError:
    pass
try:
    while True: held.append(os.pipe())
except OSError:
    pass
"""
    need = (
        "import fcntl, os; print('there' if fcntl.fcntl(os.pipe()[0], 1032) >= 65536 else 'none')"
    )
    return taken_from_others(target, take, need)


@group.attack()
def all_locks_and_watches(target: Target) -> str:
    """Takes all watches of files and of events that its user may have."""
    take = """
import select
inotify = libc.inotify_init()
reader, _ = os.pipe()
for n in range(15000):
    try: os.mkdir(f"/dev/shm/{n}")
    except OSError: break
    if libc.inotify_add_watch(inotify, b"/dev/shm/%d" % n, 2) < 0: break
"""
    need = """
import ctypes, os, select
libc = ctypes.CDLL(None)
select.epoll().register(os.pipe()[0])
watch = libc.inotify_add_watch(libc.inotify_init(), b"/tmp", 2)
print("there" if watch > 0 else "none")
"""
    return taken_from_others(target, take, need)
