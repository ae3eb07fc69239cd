"""Programs: the same tests on the fake and on the real engine."""

from __future__ import annotations

import time

import pytest

from sandbox.channel import OutputSoFar
from sandbox.errors import ContainerLost
from sandbox.runner.protocol import VERSION
from tests.containers import MB, Sandbox, run_limits

VARIABLES = """
    PATH HOME PWD USER LOGNAME SHELL LANG LC_ALL TMPDIR XDG_CACHE_HOME MPLCONFIGDIR MPLBACKEND
    PYTHONDONTWRITEBYTECODE OMP_NUM_THREADS OPENBLAS_NUM_THREADS MKL_NUM_THREADS SHLVL _
"""


def test_the_runner_is_of_our_version_and_says_what_it_can_run(sandbox: Sandbox) -> None:
    with sandbox.attach() as channel:
        hello = channel.hello(timeout=10)
    assert hello.version == VERSION
    assert set(hello.languages) == {"py", "js", "bash"}


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("py", "import sys; print('hello', *sys.argv[1:])"),
        ("js", "console.log('hello', ...process.argv.slice(2))"),
        (
            "js",
            "import process from 'node:process'\nconsole.log('hello', ...process.argv.slice(2))",
        ),
        ("js", "const hi = await 'hello'\nconsole.log(hi, ...process.argv.slice(2))"),
        ("bash", 'echo hello "$@"'),
    ],
)
def test_a_program_prints_its_arguments(sandbox: Sandbox, language: str, code: str) -> None:
    result = sandbox.run(code, "a", "b c", "größe", language=language)
    assert result.stdout.decode() == "hello a b c größe\n"
    assert (result.stderr, result.exit_code, result.signal) == (b"", 0, None)
    assert (result.reason, result.oom_kills) == ("exit", 0)
    assert result.stdout_bytes == len(result.stdout)
    assert result.peak_memory_bytes


def test_what_a_program_has_used_is_told(sandbox: Sandbox) -> None:
    # More than the tick of a clock, which is ten milliseconds under gVisor.
    result = sandbox.run("for i in range(2_000_000): pass")
    assert result.cpu_ms > 0


@pytest.mark.parametrize("language", ["py", "js", "bash"])
def test_an_empty_program_succeeds(sandbox: Sandbox, language: str) -> None:
    result = sandbox.run("", language=language)
    assert (result.exit_code, result.stdout, result.stderr) == (0, b"", b"")


def test_a_failing_program_is_a_result(sandbox: Sandbox) -> None:
    result = sandbox.run("import sys\nprint('out')\nprint('err', file=sys.stderr)\nsys.exit(3)")
    assert (result.exit_code, result.stdout, result.stderr) == (3, b"out\n", b"err\n")


def test_a_traceback_shows_the_source_line_and_its_file(sandbox: Sandbox) -> None:
    stderr = sandbox.run("x = 1\nx / 0  # here").stderr.decode()
    assert '/main.py", line 2, in <module>\n    x / 0  # here\n' in stderr
    assert stderr.endswith("ZeroDivisionError: division by zero\n")


def test_a_program_that_dies_of_a_signal_has_no_exit_code(sandbox: Sandbox) -> None:
    result = sandbox.run("kill -SEGV $$", language="bash")
    assert (result.exit_code, result.signal, result.reason) == (None, "SIGSEGV", "exit")


def test_there_is_nothing_to_read_on_stdin(sandbox: Sandbox) -> None:
    assert sandbox.output("import sys; print(repr(sys.stdin.read()))") == "''\n"


def test_output_keeps_its_bytes_and_their_order(sandbox: Sandbox) -> None:
    code = "import sys\nfor i in range(3000): sys.stdout.buffer.write(bytes(range(256)))"
    assert sandbox.run(code).stdout == bytes(range(256)) * 3000


def test_output_over_the_limit_is_cut_and_counted_and_the_program_ends_well(
    sandbox: Sandbox,
) -> None:
    code = "import sys\nfor i in range(5_000_000): print(i)\nprint('done', file=sys.stderr)"
    result = sandbox.run(code, output_bytes=100_000)
    whole = "".join(f"{i}\n" for i in range(5_000_000)).encode()
    assert result.stdout == whole[:100_000]
    assert result.stdout_bytes == len(whole)
    assert (result.exit_code, result.stderr) == (0, b"done\n")


def test_an_endless_program_is_ended_with_what_it_has_printed(sandbox: Sandbox) -> None:
    began = time.monotonic()
    code = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    result = sandbox.run(
        code + "print('begun', flush=True)\nwhile True: time.sleep(1)", wall_seconds=1
    )
    assert time.monotonic() - began < 4
    assert (result.reason, result.exit_code, result.signal) == ("timeout", None, "SIGKILL")
    assert result.stdout == b"begun\n"
    assert 900 < result.wall_ms < 3000
    assert sandbox.output("print('next')") == "next\n"


def test_an_endless_flood_of_output_is_ended_as_well(sandbox: Sandbox) -> None:
    result = sandbox.run("yes", language="bash", wall_seconds=1, output_bytes=1000)
    assert (result.reason, result.stdout) == ("timeout", b"y\n" * 500)
    assert result.stdout_bytes > 1000


def test_processor_time_is_limited_on_its_own(sandbox: Sandbox) -> None:
    result = sandbox.run("while True: pass", cpu_seconds=1)
    assert (result.reason, result.signal) == ("exit", "SIGXCPU")
    assert result.limit_signals == {"SIGXCPU"}


def test_a_program_that_hits_no_limit_is_reported_so(sandbox: Sandbox) -> None:
    result = sandbox.run("kill -TERM $$", language="bash")
    assert result.refused_forks == 0
    assert result.limit_signals == result.full == set()


def test_open_files_are_limited_for_each_run_anew(sandbox: Sandbox) -> None:
    code = "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    assert sandbox.run(code, open_files=40).stdout == b"(40, 40)\n"
    assert sandbox.run(code, open_files=90).stdout == b"(90, 90)\n"
    # Also where its source comes from a file that is larger than it may write.
    long = code + " " * 3 * MB
    assert sandbox.run(long, open_files=40, file_bytes=MB).stdout == b"(40, 40)\n"


def test_the_size_of_files_is_limited_for_each_run_anew(sandbox: Sandbox) -> None:
    code = "exec head -c 3000000 /dev/zero > big"
    result = sandbox.run(code, language="bash", file_bytes=MB)
    assert (result.signal, result.limit_signals) == ("SIGXFSZ", frozenset({"SIGXFSZ"}))
    assert len(sandbox.files()["big"]) == MB
    assert sandbox.run(code, language="bash", file_bytes=4 * MB).exit_code == 0
    assert len(sandbox.files()["big"]) == 3_000_000


@pytest.mark.parametrize(
    ("limits", "kept_out_by"),
    [
        ({}, set()),
        ({"max_files": 2}, {"max_files"}),
        ({"file_bytes": 999}, {"file_bytes"}),
        ({"total_bytes": 2999}, {"total_bytes"}),
        ({"max_files": 1, "total_bytes": 1000}, {"total_bytes"}),
        ({"depth": 1}, set()),
    ],
)
def test_what_is_not_collected_names_the_limit(
    sandbox: Sandbox, limits: dict[str, int], kept_out_by: set[str]
) -> None:
    sandbox.put({name: bytes(1000) for name in ("a", "b", "c", "deep/d")})
    sandbox.remove(["deep/d"] if limits != {"depth": 1} else [])
    collection, _ = sandbox.collect({}, **limits)
    assert collection.skipped.limits == kept_out_by


def test_an_abandoned_program_is_cancelled(sandbox: Sandbox) -> None:
    began = time.monotonic()
    result = sandbox.run(
        "print('begun', flush=True)\nwhile True: pass",
        abandoned=lambda: time.monotonic() - began > 0.5,
    )
    assert time.monotonic() - began < 5
    assert (result.reason, result.exit_code, result.signal) == ("cancelled", None, "SIGKILL")
    assert sandbox.output("print('next')") == "next\n"


def test_a_little_output_is_seen_while_its_program_goes_on(sandbox: Sandbox) -> None:
    output = OutputSoFar()
    with sandbox.attach() as channel:
        result = channel.run(
            language="py",
            code=b"import sys, time; print('out', flush=True); print('bad', file=sys.stderr)\n"
            b"time.sleep(60)",
            args=(),
            limits=run_limits(),
            # It ends by this alone before its time is over.
            abandoned=lambda: output.stdout == b"out\n" and output.stderr == b"bad\n",
            output=output,
        )
    assert result.reason == "cancelled"
    assert (result.stdout, result.stderr) == (b"out\n", b"bad\n")


def test_what_a_program_started_does_not_outlive_it(sandbox: Sandbox) -> None:
    began = time.monotonic()
    result = sandbox.run("(sleep 1; echo late > late.txt) & echo early", language="bash")
    assert (result.stdout, result.exit_code) == (b"early\n", 0)
    assert time.monotonic() - began < 1
    time.sleep(1.2)
    assert sandbox.files() == {}


def test_files_of_one_run_are_there_in_the_next(sandbox: Sandbox) -> None:
    sandbox.output("open('a.txt', 'w').write('kept')")
    assert sandbox.output("print(open('a.txt').read())") == "kept\n"


def test_modules_beside_the_source_can_be_imported(sandbox: Sandbox) -> None:
    sandbox.put({"helper.py": b"answer = 42", "helper.js": b"exports.answer = 42"})
    assert sandbox.output("import helper; print(helper.answer)") == "42\n"
    assert sandbox.output("console.log(require('./helper').answer)", "js") == "42\n"


def test_the_source_is_called_as_if_by_hand(sandbox: Sandbox) -> None:
    code = "import os, sys; print(sys.argv, __file__ == os.path.abspath('main.py'), __name__)"
    assert sandbox.output(code) == "['main.py'] True __main__\n"
    assert sandbox.output("import sys, os; print(sys.path[0] == os.getcwd())") == "True\n"


def test_the_source_is_not_among_the_files_afterwards(sandbox: Sandbox) -> None:
    sandbox.output("print(open('main.py').read())")
    assert sandbox.files() == {}
    sandbox.output("print(1)")
    assert "main.py" not in sandbox.bash("ls -A")
    assert "script.sh" not in sandbox.bash("ls -A")


def test_a_file_with_the_sources_name_is_left_alone(sandbox: Sandbox) -> None:
    sandbox.put({"main.py": b"answer = 42", "index.js": b"exports.answer = 42"})
    assert sandbox.output("import main; print(main.answer)") == "42\n"
    assert sandbox.output("console.log(require('./index').answer)", "js") == "42\n"
    assert sandbox.files() == {"main.py": b"answer = 42", "index.js": b"exports.answer = 42"}


def test_what_a_program_makes_of_its_own_source_is_a_file(sandbox: Sandbox) -> None:
    sandbox.output("open('main.py', 'w').write('new')")
    assert sandbox.files() == {"main.py": b"new"}


def test_a_long_program_runs(sandbox: Sandbox) -> None:
    code = "text = '''" + "0123456789abcde\n" * 200_000 + "'''\nprint(len(text))"
    assert sandbox.output(code) == "3200000\n"


@pytest.mark.parametrize("argument", ["nul\0byte", "x" * 200_000], ids=["nul", "long"])
def test_an_argument_that_no_program_can_have_is_reported_by_the_run(
    sandbox: Sandbox, argument: str
) -> None:
    result = sandbox.run("print(1)", argument)
    assert result.exit_code == 126
    assert result.stderr.startswith(b"python3: ")
    assert sandbox.output("print('next')") == "next\n"


def test_the_environment_is_a_fixed_one(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_SERVER", "x")
    lines = sandbox.bash("env").splitlines()
    assert {line.partition("=")[0] for line in lines} == set(VARIABLES.split())
    assert "MPLBACKEND=Agg" in lines


def test_home_is_where_the_files_are(sandbox: Sandbox) -> None:
    assert sandbox.bash('[ "$HOME" = "$(pwd)" ] && echo yes') == "yes\n"


def test_an_unknown_language_is_an_error_of_ours(sandbox: Sandbox) -> None:
    with pytest.raises(ContainerLost, match="cobol"):
        sandbox.run("x" * 1000, language="cobol")
    assert sandbox.output("print('next')") == "next\n"
