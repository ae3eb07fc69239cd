"""Nothing that a program does to its interpreter is there for the next one, though both were forked
from one."""

from __future__ import annotations

from contextlib import AbstractContextManager

import pytest

from sandbox.channel import CollectRequest, Entry, Writable
from tests.containers import LIMITS, Sandbox, run_limits
from tests.integration.zygote.inside import Inside, served, wait_until

# All that a program could want to leave behind. `state.py` looks for it, by name and value.
STATE = r"""
import atexit, builtins, codecs, decimal, gc, json, locale, logging, os, random, resource, signal
import socket, sys, threading, time, warnings
import numpy, pandas, matplotlib, matplotlib.pyplot, scipy.stats
report = {}
def note(**values): report.update({name: repr(value) for name, value in values.items()})
note(
    dumps=json.dumps({"a": 1}), mean=numpy.mean([1, 2]), rows=pandas.get_option("display.max_rows"),
    printing=numpy.get_printoptions(), errors=numpy.geterr(),
    width=matplotlib.rcParams["lines.linewidth"], backend=matplotlib.rcParams["backend"],
    figures=matplotlib.pyplot.get_fignums(), interactive=matplotlib.is_interactive(),
    scipy=scipy.stats.norm.cdf(0), frame=pandas.DataFrame({"a": [1]}).to_csv(),
    planted=[name for name in sys.modules if "planted" in name],
    attributes=[m for m in list(sys.modules) if hasattr(sys.modules[m], "planted")],
    builtin=(len("four"), hasattr(builtins, "planted"), print.__module__),
    variables=sorted(k for k in os.environ if k not in ("_", "SHLVL", "OLDPWD")),
    home=os.environ["HOME"], umask=os.umask(0o22), cwd=os.getcwd(), path=sys.path[1:],
    handlers=[str(signal.getsignal(n)) for n in sorted(signal.valid_signals())
              if n not in (signal.SIGPIPE, signal.SIGXFSZ)],
    mask=signal.pthread_sigmask(signal.SIG_BLOCK, []), pending=signal.sigpending(),
    timers=[signal.getitimer(which)[0] for which in (0, 1, 2)],
    limits=[resource.getrlimit(n) for n in range(16) if n != resource.RLIMIT_CPU],
    nice=os.getpriority(os.PRIO_PROCESS, 0), affinity=os.sched_getaffinity(0),
    recursion=sys.getrecursionlimit(), switch=sys.getswitchinterval(),
    hooks=(sys.excepthook is sys.__excepthook__, threading.excepthook.__name__,
           sys.displayhook is sys.__displayhook__, sys.breakpointhook is sys.__breakpointhook__,
           sys.unraisablehook is sys.__unraisablehook__, sys.gettrace(), sys.getprofile(),
           threading._trace_hook, len(sys.meta_path), len(sys.path_hooks),
           str(sys.get_asyncgen_hooks())),
    warned=[str(f)[:60] for f in warnings.filters], digits=sys.get_int_max_str_digits(),
    locale=(locale.setlocale(locale.LC_ALL), locale.getpreferredencoding()),
    decimals=decimal.getcontext(), default=decimal.DefaultContext, collects=gc.isenabled(),
    threshold=gc.get_threshold(), exits=atexit._ncallbacks() < 5, threads=threading.active_count(),
    logs=(logging.root.handlers, logging.root.level, logging.Logger.manager.disable,
          sorted(n for n in logging.Logger.manager.loggerDict if "planted" in n)),
    timeout=socket.getdefaulttimeout(), stack=threading.stack_size(), zone=time.tzname,
    encodings=(sys.stdout.encoding, sys.stdout.errors), audit=os.path.exists("/tmp/audited"),
    descriptors=sorted(os.listdir("/proc/self/fd")),
)
try: codecs.lookup_error("planted"); note(codec="there")
except LookupError: note(codec="none")
try: codecs.lookup("planted"); note(search="there")
except LookupError: note(search="none")
print(json.dumps(report))
"""

CHANGE_ALL = r"""
import atexit, builtins, codecs, decimal, gc, json, locale, logging, os, random, resource, signal
import socket, subprocess, sys, tempfile, threading, time, types, warnings
import numpy, pandas, matplotlib, matplotlib.pyplot as plt, scipy.stats
import multiprocessing.shared_memory
json.dumps = lambda *a, **k: "planted"
json.encoder.JSONEncoder.encode = lambda *a: "planted"
numpy.mean = lambda *a: 99
numpy.set_printoptions(precision=1); numpy.seterr(all="raise")
pandas.set_option("display.max_rows", 3)
pandas.DataFrame.to_csv = lambda *a: "planted"
scipy.stats.norm.cdf = lambda *a: 99
plt.style.use("ggplot"); matplotlib.rcParams["lines.linewidth"] = 77; plt.ion(); plt.figure()
for module in list(sys.modules.values()):
    try: module.planted = True
    except Exception: pass
sys.modules["planted_module"] = types.ModuleType("planted_module")
os.environ |= {"PLANTED": "1", "HOME": "/planted", "PYTHONPATH": "/planted", "TZ": "Asia/Tokyo"}
time.tzset(); os.umask(0o777); os.chdir("/tmp"); sys.path.append("/planted")
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    try: signal.signal(number, signal.SIG_IGN)
    except OSError: pass
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGALRM, signal.SIGCHLD])
for which in (0, 1, 2): signal.setitimer(which, 100)
os.kill(os.getpid(), signal.SIGUSR1)
for number in (resource.RLIMIT_NOFILE, resource.RLIMIT_STACK, resource.RLIMIT_FSIZE):
    resource.setrlimit(number, (50, resource.getrlimit(number)[1]))
os.nice(5); os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
sys.setrecursionlimit(5000); sys.setswitchinterval(1); sys.set_int_max_str_digits(0)
threading.settrace(lambda *a: None); sys.setprofile(None)
sys.breakpointhook = sys.displayhook = print
sys.meta_path.insert(0, type("Finder", (), {"find_spec": staticmethod(lambda *a: None)})())
sys.path_hooks.append(lambda path: 1 / 0)
sys.addaudithook(lambda name, args: None)
warnings.simplefilter("error"); locale.setlocale(locale.LC_ALL, "C")
decimal.getcontext().prec = 2; decimal.DefaultContext.prec = 2
random.seed(1); numpy.random.seed(1)
gc.disable(); gc.set_threshold(1); atexit.register(print, "planted")
codecs.register(lambda name: codecs.lookup("utf-8") if name == "planted" else None)
codecs.register_error("planted", lambda error: ("", 0))
logging.basicConfig(level=30); logging.getLogger("planted").setLevel(1); logging.disable(50)
socket.setdefaulttimeout(1); threading.stack_size(65536)
for _ in range(3): threading.Thread(target=time.sleep, args=[600], daemon=True).start()
kept = [open("/dev/null") for _ in range(20)]
sleep = "import time; time.sleep(600)"
for command in (["nohup", "sleep", "600"], ["setsid", "sleep", "600"], ["python3", "-c", sleep],
                ["bash", "-c", f"python3 -c '{sleep}' & disown"]):
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.Popen(command, start_new_session=True, **silent)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0: time.sleep(600)
    os._exit(0)
sys.stdout.reconfigure(encoding="latin-1", errors="replace")
builtins.planted = 1; builtins.len = lambda x: 99
sys.excepthook = threading.excepthook = sys.unraisablehook = lambda *a: None
os.write(1, b"changed\n")
os._exit(0)
"""


def in_bash(code: str) -> str:
    return f"python3 - <<'PROGRAM'\n{code}\nPROGRAM"


@pytest.mark.parametrize("changed_in", ["py", "bash"])
@pytest.mark.parametrize("language", ["py", "bash"])
def test_a_program_finds_nothing_that_another_has_changed(
    sandbox: Sandbox, language: str, changed_in: str
) -> None:
    look = STATE if language == "py" else in_bash(STATE)
    change = CHANGE_ALL if changed_in == "py" else in_bash(CHANGE_ALL)
    before = sandbox.output(look, language)
    count = served(sandbox)
    result = sandbox.run(change, language=changed_in)
    assert (result.stdout, result.exit_code) == (b"changed\n", 0), result.stderr
    assert served(sandbox) > count
    assert Inside(sandbox).programs() == []
    after = sandbox.output(look, language)
    assert after == before
    assert "planted" not in before.replace('"planted"', "")


def test_a_sibling_finds_nothing_either(sandbox: Sandbox) -> None:
    """While the other one still runs."""
    code = f"""
cat > state.py <<'PROGRAM'
{STATE}
PROGRAM
cat > change.py <<'PROGRAM'
{CHANGE_ALL.replace("os._exit(0)", "open('/tmp/changed', 'w'); time.sleep(600)")[:-1]}
PROGRAM
python3 state.py > before
python3 change.py > /dev/null 2>&1 &
until [ -e /tmp/changed ]; do sleep 0.05; done
python3 state.py > after
cmp before after && echo same
rm -f /tmp/changed before after state.py change.py
"""
    assert sandbox.bash(code) == "same\n"


RANDOM = """
import os, random, secrets, tempfile, uuid, numpy, multiprocessing
print(random.random(), numpy.random.rand(), numpy.random.default_rng().random(), uuid.uuid4(),
      uuid.uuid1().clock_seq, secrets.token_hex(), os.urandom(8).hex(), tempfile.mktemp(),
      multiprocessing.current_process().authkey.hex(), random.Random().random(),
      numpy.random.RandomState().rand(), sep="\\n")
"""
KINDS = 11
# Of 14 bits each.
OFTEN_THE_SAME = {4}


def differ(outputs: list[str]) -> None:
    columns = list(zip(*(output.splitlines() for output in outputs), strict=True))
    assert len(columns) == KINDS
    for number, values in enumerate(columns):
        if number not in OFTEN_THE_SAME:
            assert len(set(values)) == len(outputs), (number, values)


def test_each_program_has_a_fate_of_its_own(sandbox: Sandbox) -> None:
    count = served(sandbox)
    outputs = [sandbox.output(RANDOM) for _ in range(3)]
    outputs += [sandbox.bash(in_bash(RANDOM)) for _ in range(2)]
    assert served(sandbox) == count + 5
    differ(outputs)


def test_so_have_siblings(sandbox: Sandbox) -> None:
    code = f"""
cat > random_state.py <<'PROGRAM'
{RANDOM}
PROGRAM
mv random_state.py /tmp/fate.py
for i in 1 2 3; do python3 /tmp/fate.py > /tmp/fate$i; done
for i in 4 5 6 7; do python3 /tmp/fate.py > /tmp/fate$i & done; wait
for i in 1 2 3 4 5 6 7; do cat /tmp/fate$i; done
rm /tmp/fate*
"""
    lines = sandbox.bash(code).splitlines()
    differ(["\n".join(lines[start : start + KINDS]) for start in range(0, len(lines), KINDS)])


def test_and_children_that_a_program_forks_itself_as_with_a_plain_interpreter(
    sandbox: Sandbox,
) -> None:
    code = """
import os, random
random.random()
reader, writer = os.pipe()
for _ in range(2):
    if os.fork() == 0: os.write(writer, f"{random.random()} ".encode()); os._exit(0)
    os.wait()
print(len(set(os.read(reader, 1000).split())))
"""
    assert sandbox.output(code) == "2\n"


def test_a_seed_means_the_same_everywhere(sandbox: Sandbox) -> None:
    code = "import random, numpy; random.seed(7); numpy.random.seed(7)\n"
    code += "print(random.random(), numpy.random.rand())"
    plain = sandbox.bash("exec -a " + in_bash(code).replace(" -", " /opt/sandbox/python3 -", 1))
    assert sandbox.output(code) == sandbox.bash(in_bash(code)) == plain


def test_time_begins_with_the_program(sandbox: Sandbox) -> None:
    code = """
import logging, time
print(logging.LogRecord("", 0, "", 0, "", (), None).relativeCreated < 5000, time.process_time() < 2)
"""
    assert sandbox.output(code) == sandbox.bash(in_bash(code)) == "True True\n"


def test_files_last_until_a_reset_and_what_processes_share_no_longer_than_them(
    sandbox: Sandbox,
) -> None:
    code = """
import ctypes
open("/tmp/kept", "w"); open("/dev/shm/kept", "w")
libc = ctypes.CDLL(None)
libc.semget(0x7777, 1, 0o1600); libc.shmget(0x7777, 4096, 0o1600)
"""
    sandbox.output(code)
    listing = "ls -A /tmp /dev/shm; tail -qn +2 /proc/sysvipc/sem /proc/sysvipc/shm | wc -l"
    assert sandbox.bash(listing) == "/dev/shm:\n\n/tmp:\n.cache\nkept\n0\n"
    with sandbox.attach() as channel:
        channel.reset()
    assert sandbox.bash(listing) == "/dev/shm:\n\n/tmp:\n.cache\n0\n"


def test_what_is_shared_is_gone_as_well_after_a_run_whose_files_were_collected(
    sandbox: Sandbox,
) -> None:
    make = "open('/dev/shm/left', 'w'); import ctypes; ctypes.CDLL(None).semget(5, 1, 0o1600)"
    request = CollectRequest(known={}, limits=LIMITS)
    with sandbox.attach() as channel:
        channel.run(
            language="py",
            code=make.encode(),
            args=[],
            limits=run_limits(),
            abandoned=lambda: False,
            then_collect=request,
        )
        channel.receive_collection(request, no_files)
    # By root, before the next run could do it.
    inside = Inside(sandbox)
    wait_until(lambda: inside.execute("/bin/ls", "/dev/shm") == "")
    wait_until(lambda: inside.execute("/bin/cat", "/proc/sysvipc/sem").count("\n") == 1)


def no_files(entry: Entry) -> AbstractContextManager[Writable]:
    raise AssertionError(entry)
