"""The cases one after the other, on the services that they need."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime

from bench import cases, engine, idle, latency, libraries, throughput, transfer
from bench.arguments import Options
from bench.cases import LatencyCase, ThroughputCase
from bench.client import Interpreter
from bench.progress import Progress
from bench.records import Inside, NotReady, Records
from bench.report import Comparison, Measured, Report, Throughput
from bench.service import Service, ServiceFailed

IMAGE = "custom-rce-kernel:latest"
MEMORY_MB = "512"
LATENCY_CPUS, LOAD_CPUS = "0.5", "1"
# Of another server we cannot see when its pool is full again.
REFILL_SECONDS = 3.0
NOTHING_KNOWN = Inside({}, {})


def service_settings(options: Options) -> dict[str, str]:
    """What differs from the defaults, and what both sides of the comparison have to share."""
    if options.base_url:
        return {}
    given = {
        name: value
        for name, value in sorted(os.environ.items())
        if name.startswith(("SANDBOX_", "WEB_"))
        and name not in ("SANDBOX_STORE_DIR", "SANDBOX_INSTALLATION")
    }
    return (
        {"SANDBOX_IMAGE": IMAGE, "SANDBOX_POOL_SIZE": "2"}
        | given
        | {
            "SANDBOX_CPUS": LATENCY_CPUS,
            "SANDBOX_MEMORY_MB": MEMORY_MB,
        }
    )


def nothing() -> None:
    pass


class Server:
    """What is measured, and its records if it is ours."""

    def __init__(self, interpreter: Interpreter, records: Records | None) -> None:
        self.interpreter = interpreter
        self.records = records
        self._since: datetime | None = None

    def begin(self) -> None:
        """What is recorded from now on is of the case that is measured."""
        if self.records:
            self._since = self.records.now()

    def inside(self) -> Inside:
        if self.records is None or self._since is None:
            return NOTHING_KNOWN
        return self.records.inside(self._since)

    def settle(self) -> None:
        """Let it get a new session's container ready."""
        if self.records:
            self.records.wait_for_pool()
        else:
            time.sleep(REFILL_SECONDS)


class Measuring:
    def __init__(self, options: Options, report: Report, progress: Progress) -> None:
        self._options = options
        self._report = report
        self._progress = progress

    def run(self) -> None:
        loads = [case for case in cases.THROUGHPUT if case.name in self._options.cases]
        if self._options.cases - {case.name for case in cases.THROUGHPUT}:
            with self._server("latency", LATENCY_CPUS) as server:
                self._one_at_a_time(server)
        if loads:
            with self._server("throughput", LOAD_CPUS) as server:
                for load in loads:
                    self._under_load(load, server)

    @contextmanager
    def _server(self, label: str, cpus: str) -> Iterator[Server]:
        if self._options.base_url:
            yield Server(Interpreter(self._options.base_url, self._options.api_key), None)
            return
        self._progress.say(f"Starting a private service, {cpus} CPU for each container")
        settings = self._report.settings | {"SANDBOX_CPUS": cpus}
        with Service(label=label, settings=settings) as service:
            yield Server(Interpreter(service.base_url, service.api_key), service.records)
            self._progress.say("Stopping it")

    def _one_at_a_time(self, server: Server) -> None:
        with ExitStack() as stack:
            wanted = [case for case in cases.LATENCY if case.name in self._options.cases]
            theirs = self._docker_exec(stack) if wanted else None
            for case in wanted:
                self._latency(case, server, theirs)
        if cases.LIBRARIES in self._options.cases:
            self._libraries()
        for moved in cases.TRANSFER:
            if moved.name in self._options.cases:
                self._progress.say(f"{moved.name}: {moved.title}")
                self._report.transfers.append(
                    transfer.measure(
                        moved,
                        server.interpreter,
                        rounds=self._options.rounds,
                        progress=self._progress,
                    )
                )
        if server.records:
            self._containers(server.interpreter, server.records)

    def _containers(self, interpreter: Interpreter, records: Records) -> None:
        if cases.START in self._options.cases:
            self._progress.say("start: from nothing to a hot container")
            self._report.start = idle.start(
                interpreter,
                records,
                rounds=max(3, self._options.rounds // 5),
                progress=self._progress,
            )
        if cases.MEMORY in self._options.cases:
            self._progress.say("memory: of a hot container that waits")
            try:
                self._report.memory = idle.memory(records)
            except PermissionError:
                self._report.notes.append(
                    "Memory NOT measured: other users' processes are root's to look at"
                )
            except NotReady as error:
                self._report.notes.append(f"Memory NOT measured: {error}")

    def _docker_exec(self, stack: ExitStack) -> latency.OneRun | None:
        if not self._options.docker:
            self._report.notes.append("docker exec NOT measured: --no-docker")
            return None
        if self._options.base_url:
            self._report.notes.append("docker exec: on this machine, whatever the server's is")
        return latency.docker_exec_runs(stack.enter_context(self._plain_container()))

    def _libraries(self) -> None:
        if not self._options.docker:
            self._report.notes.append("Libraries NOT measured: --no-docker")
            return
        self._progress.say("libraries: what each costs that is loaded ahead, and others")
        with self._plain_container() as container:
            self._report.libraries = libraries.measure(
                container, rounds=max(3, self._options.rounds // 10), progress=self._progress
            )

    def _plain_container(self) -> engine.PlainContainer:
        image = self._report.settings.get("SANDBOX_IMAGE", os.environ.get("SANDBOX_IMAGE", IMAGE))
        try:
            return engine.PlainContainer(
                engine.connect(),
                image,
                name=f"bench-plain-{os.getpid()}",
                cpus=float(LATENCY_CPUS),
                memory_mb=int(MEMORY_MB),
            )
        except engine.FAILURES as error:
            raise ServiceFailed(
                f"no container for docker exec (--no-docker leaves it out): {error}"
            ) from error

    def _latency(self, case: LatencyCase, server: Server, theirs: latency.OneRun | None) -> None:
        self._progress.say(f"{case.name}: {case.title}")
        ours = latency.InterpreterRuns(server.interpreter)
        settle: Callable[[], None] = server.settle if case.new_session else nothing
        our_times, their_times = latency.measure(
            case,
            ours,
            theirs,
            rounds=self._options.rounds,
            settle=settle,
            begin=server.begin,
            progress=self._progress,
        )
        if not ours.continued:
            self._report.notes.append(
                f"{case.name}: the server did NOT continue the session, each run had a new one"
            )
        inside = server.inside()
        self._report.comparisons.append(
            Comparison(
                case=case.name,
                title=case.title,
                target=case.target,
                ours=Measured.of(our_times),
                docker_exec=Measured.of(their_times) if theirs else None,
                steps_ms=inside.steps,
                containers_from=inside.sources,
            )
        )

    def _under_load(self, case: ThroughputCase, server: Server) -> None:
        self._progress.say(f"{case.name}: {case.clients} clients, {case.title}")
        if server.records:
            server.records.wait_for_pool()
        server.begin()
        load = throughput.Load(case, server.interpreter)
        seconds = load.run(self._options.seconds, self._progress)
        self._report.throughputs.append(
            Throughput(
                case=case.name,
                title=case.title,
                target=case.target,
                clients=case.clients,
                seconds=round(seconds, 2),
                runs=Measured.of(load.times),
                containers_from=server.inside().sources,
            )
        )
