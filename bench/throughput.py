"""How many runs a second there are when several clients never pause."""

from __future__ import annotations

import threading
import time

from bench.cases import ThroughputCase
from bench.client import CallFailed, Interpreter, check_run
from bench.progress import Progress
from bench.summary import Times

# A client that is refused does not ask again at once: a server that is down would be measured as
# the client's own speed.
AFTER_ERROR_SECONDS = 0.2


class Load:
    def __init__(self, case: ThroughputCase, interpreter: Interpreter) -> None:
        self._case = case
        self._interpreter = interpreter
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._started = threading.Barrier(case.clients + 1)
        self.times = Times()

    def run(self, seconds: float, progress: Progress) -> float:
        """For how long it ran: to the end of the last run that began in time."""
        clients = [threading.Thread(target=self._client) for _ in range(self._case.clients)]
        for client in clients:
            client.start()
        try:
            self._started.wait()
            began = time.perf_counter()
            while (passed := time.perf_counter() - began) < seconds:
                time.sleep(min(1.0, seconds - passed))
                with self._lock:
                    done, failed = len(self.times.milliseconds), self.times.failed
                progress.update(
                    f"{self._case.name}: {passed:.0f} of {seconds:.0f} s,"
                    f" {done} runs, {failed} errors"
                )
        finally:
            self._stop.set()
            self._started.abort()
            for client in clients:
                client.join()
        return time.perf_counter() - began

    def _client(self) -> None:
        session_id = ""
        if not self._case.new_session:
            # The session's first run, which needs a container, comes before the clock starts.
            session_id = self._once("", Times(errors=self.times.errors))
        try:
            self._started.wait()
        except threading.BrokenBarrierError:
            return
        while not self._stop.is_set():
            answered = self._once(session_id, self.times)
            if not self._case.new_session:
                session_id = answered or session_id

    def _once(self, session_id: str, times: Times) -> str:
        started = time.perf_counter()
        try:
            answer = self._interpreter.execute("py", self._case.code, session_id=session_id)
            check_run(answer, "1\n")
        except CallFailed as error:
            with self._lock:
                times.errors[str(error)] += 1
            time.sleep(AFTER_ERROR_SECONDS)
            return ""
        passed = time.perf_counter() - started
        with self._lock:
            times.add(passed)
        return str(answer.get("session_id", ""))
