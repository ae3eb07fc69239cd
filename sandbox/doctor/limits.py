"""Whether limits hold: a program goes up against each, in a container like the service's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from keys.limits import Limits
from sandbox.doctor import programs
from sandbox.errors import ContainerLost
from sandbox.findings import Finding, fail, ok, skip
from sandbox.outcome import out_of_memory
from sandbox.probe import MB, Probe

ADVICE = (
    "The engine does not keep what it was asked for: see its cgroup version and controllers above, "
    "and `docker info` for warnings."
)
# Ours are a few processes and threads; what a measurement may be off.
SLACK = 1.25
MOUNTS = ("/mnt/data", "/tmp", "/dev/shm")  # noqa: S108


@dataclass(frozen=True)
class Trial:
    probe: Probe
    limits: Limits
    under_gvisor: bool = False

    def check(self) -> Iterator[Finding]:
        for one in (
            self.wall_clock,
            self.cpu_time,
            self.cpus,
            self.processes,
            self.open_files,
            self.file_size,
            self.output,
            self.inodes,
            self.bytes_of_files,
            # Last: under gVisor it takes the container with it.
            self.memory,
        ):
            yield from self._whole(one)

    def _whole(self, one: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
        """What the container dies of is not enforced as it should be."""
        try:
            yield from one()
        except ContainerLost as error:
            text = f"the container did not survive the trial: {error}"
            yield fail(f"limit.{one.__name__}", text, ADVICE)

    def wall_clock(self) -> Iterator[Finding]:
        result = self.probe.run("import time; time.sleep(300)", wall_seconds=1)
        held = result.reason == "timeout"
        yield judge("wall_clock", held, f"a program with 1 s was ended after {result.wall_ms} ms")

    def cpu_time(self) -> Iterator[Finding]:
        result = self.probe.run("while True: pass", cpu_seconds=1, wall_seconds=60)
        held = result.reason == "exit" and result.signal in ("SIGXCPU", "SIGKILL")
        yield judge("cpu_time", held, f"a program with 1 s of CPU had {result.cpu_ms} ms")

    def cpus(self) -> Iterator[Finding]:
        processors, used, quota = self._numbers(programs.CPUS)
        if processors <= self.limits.cpus:
            yield skip("limit.cpus", f"the engine's machine has no more than {processors} CPUs")
            return
        most = self.limits.cpus
        held = used <= most * SLACK + 0.1 and quota <= most * SLACK
        text = f"{processors:.0f} busy processes had {used:.2f} of {most}"
        if used < most / SLACK and not quota:
            yield skip("limit.cpus", f"{text}: the machine is too busy to tell")
            return
        yield judge("cpus", held, f"{text}; the kernel's limit is {quota or 'not to be seen'}")

    def processes(self) -> Iterator[Finding]:
        [made] = self._numbers(programs.threads(self.limits.pids * 2))
        yield self._count("processes", made, self.limits.pids, "processes and threads")

    def open_files(self) -> Iterator[Finding]:
        [opened] = self._numbers(programs.open_files(self.limits.open_files * 2))
        yield self._count("open_files", opened, self.limits.open_files, "open files")

    def file_size(self) -> Iterator[Finding]:
        # Without a byte in it, as there is no room for so many.
        [grew] = self._numbers(programs.grow(self.limits.write_mb * MB + 1))
        text = f"a file of more than {self.limits.write_mb} MB was {'made' if grew else 'refused'}"
        yield judge("file_size", not grew, text)

    def output(self) -> Iterator[Finding]:
        most = self.limits.output_bytes
        result = self.probe.run(programs.print_bytes(2 * most), output_bytes=most)
        held = len(result.stdout) == most < result.stdout_bytes
        yield judge("output", held, f"{len(result.stdout)} of {result.stdout_bytes} bytes came")

    def inodes(self) -> Iterator[Finding]:
        if self.under_gvisor:
            yield skip("limit.inodes", "gVisor's kernel has none; files without end end by memory")
            return
        made = self._numbers(programs.files(MOUNTS, self.limits.inodes + 100))
        for mount, count in zip(MOUNTS, made, strict=True):
            yield self._count("inodes", count, self.limits.inodes, f"files in {mount}")

    def bytes_of_files(self) -> Iterator[Finding]:
        for mount, most in zip(
            MOUNTS,
            (self.limits.workspace_mb, self.limits.tmp_mb, self.limits.shm_mb),
            strict=True,
        ):
            [written] = self._numbers(programs.fill(mount, most + 16))
            yield self._count("bytes", written, most, f"MB in {mount}")

    def memory(self) -> Iterator[Finding]:
        most = self.limits.memory_mb
        try:
            result = self.probe.run(programs.memory(most + 64))
        except ContainerLost:
            yield judge("memory", self.probe.was_out_of_memory(), f"of {most} MB: killed")
            return
        took = result.stdout.split()[-1:]
        reached = int(took[0]) if took else 0
        held = result.oom_kills > 0 or (result.exit_code != 0 and reached <= most)
        said = out_of_memory().message if held else "and lived"
        yield judge("memory", held, f"a program took {reached} of {most} MB: {said}")

    def _numbers(self, program: str) -> list[float]:
        result = self.probe.run(program)
        try:
            numbers: list[float] = json.loads(result.stdout)
        except ValueError:
            said = " ".join(result.stderr.decode(errors="replace").split()[-12:])
            raise ContainerLost(
                f"its program ended with {result.exit_code or result.signal}: {said}"
            ) from None
        return numbers

    def _count(self, name: str, reached: float, most: int, what: str) -> Finding:
        return judge(name, 0 < reached <= most, f"{reached:.0f} of {most} {what}")


def judge(name: str, held: bool, text: str) -> Finding:
    check = f"limit.{name}"
    return ok(check, text) if held else fail(check, f"NOT ENFORCED: {text}", ADVICE)
