"""Programs that go up against one limit each, and print as JSON how far they got."""

from __future__ import annotations

# Two seconds of all processors. On a busy machine there is nothing to be had anyway, so it also
# looks up what the kernel has been told; 0 where that is not to be seen.
CPUS = """
import json, os, time

def quota():
    group = "/sys/fs/cgroup"
    try:
        with open(f"{group}/cpu.max") as file:
            most, period = file.read().split()
            return 0 if most == "max" else int(most) / int(period)
    except OSError:
        pass
    try:
        with (
            open(f"{group}/cpu/cpu.cfs_quota_us") as most,
            open(f"{group}/cpu/cpu.cfs_period_us") as period,
        ):
            return max(0, int(most.read())) / int(period.read())
    except OSError:
        return 0

processors = os.cpu_count()
began = time.monotonic()
for _ in range(processors):
    if os.fork() == 0:
        while time.monotonic() < began + 2:
            pass
        os._exit(0)
for _ in range(processors):
    os.wait()
times = os.times()
seconds = time.monotonic() - began
used = (times.children_user + times.children_system) / seconds
print(json.dumps([processors, used, quota()]))
"""


def threads(most: int) -> str:
    return f"""
import json, threading

threading.stack_size(64 * 1024)
over = threading.Event()
made = []
try:
    while len(made) < {most}:
        thread = threading.Thread(target=over.wait)
        thread.start()
        made.append(thread)
except RuntimeError:
    pass
over.set()
print(json.dumps([len(made)]))
"""


def open_files(most: int) -> str:
    return f"""
import json, os

opened = []
try:
    while len(opened) < {most}:
        opened.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
count = len(opened)
for descriptor in opened:
    os.close(descriptor)
print(json.dumps([count]))
"""


def grow(size: int) -> str:
    return f"""
import json

with open("grown", "wb") as file:
    try:
        file.truncate({size})
    except OSError:
        grew = False
    else:
        grew = True
print(json.dumps([int(grew)]))
"""


def print_bytes(count: int) -> str:
    return f"print('x' * {count})"


def files(places: tuple[str, ...], most: int) -> str:
    return f"""
import json, os

counts = []
for place in {places!r}:
    count = 0
    try:
        while count < {most}:
            os.close(os.open(f"{{place}}/{{count}}", os.O_CREAT | os.O_WRONLY))
            count += 1
    except OSError:
        pass
    for number in range(count):
        os.unlink(f"{{place}}/{{number}}")
    counts.append(count)
print(json.dumps(counts))
"""


def fill(place: str, most_mb: int) -> str:
    return f"""
import json, os

block, written = bytes(1024 * 1024), 0
descriptor = os.open("{place}/filling", os.O_CREAT | os.O_WRONLY)
os.unlink("{place}/filling")
try:
    while written < {most_mb} * len(block):
        written += os.write(descriptor, block)
except OSError:
    pass
print(json.dumps([written // len(block)]))
"""


def memory(most_mb: int) -> str:
    return f"""
taken = []
while len(taken) < {most_mb}:
    taken.append(b"x" * 1024 * 1024)
    if len(taken) % 16 == 0:
        print(len(taken), flush=True)
"""
