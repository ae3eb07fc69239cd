from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from gunicorn.http import Request, RequestParser, wsgi
from gunicorn.http.errors import ConfigurationProblem, ParseException
from gunicorn.workers.gthread import TConn, ThreadWorker

from interpreter_site.answers import ANSWERS, FAILURE, RETRY_SECONDS, STOPPING, TooSlow, answer
from interpreter_site.connections import Farewell, Head, PacedSocket, Patience

if TYPE_CHECKING:
    from concurrent.futures import Future

    from gunicorn._types import _AddressType
    from gunicorn.config import Config
    from gunicorn.glogging import Logger


# Who asks whether the service works must be told so also when every thread has a run.
PROBES = (b"GET /health", b"HEAD /health")
METRICS_PORT = int(os.environ.get("METRICS_PORT", "0"))


class QuietResponse(wsgi.Response):
    """Does not tell which server this is."""

    def default_headers(self) -> list[str]:
        return [line for line in super().default_headers() if not line.startswith("Server:")]


# There is no setting for it.
wsgi.Response = QuietResponse  # type: ignore[misc]


class PatientWorker(ThreadWorker):
    """Gives a connection a thread once its request's head, and its body if that is small, is there,
    until the end of its answer.

    gunicorn reads heads in the threads, so that a few clients who send a byte now and then have all
    of them. It closes in its event loop, where one slow client keeps all others out for two
    seconds, and after 64 KiB of unread upload, so that the client sees a reset instead of its
    answer. Connections are never kept (see gunicorn.conf.py).
    """

    # A whole head with a small body, from the connection on.
    head_seconds = 20.0
    # The same for the worker that is stopping or has as many connections as it can.
    hurried_head_seconds = 1.0
    # Beside those for requests, for who watches the service.
    watch_threads = 2
    patience = Patience()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.heads: dict[TConn, Head] = {}
        # Those that have a thread or wait for one, and those that came when it was stopping.
        self.requests: set[TConn] = set()
        self.late: set[TConn] = set()
        self.farewells: dict[TConn, Farewell] = {}

    @classmethod
    def check_config(cls, cfg: Config, log: Logger) -> None:
        super().check_config(cfg, log)
        if cfg.is_ssl or cfg.keepalive:
            raise ConfigurationProblem("Leave TLS and kept connections to a proxy in front.")

    def init_process(self) -> None:
        # It serves until the worker ends.
        self.watch_pool = ThreadPoolExecutor(self.watch_threads, thread_name_prefix="watch")
        super().init_process()

    def run(self) -> None:
        """Once told to stop, it answers what comes with 503 for as long as requests are worked on:
        a client that is refused a connection cannot tell a server that restarts from none."""
        self.poller.register(
            self.method_queue,  # type: ignore[arg-type]  # It has a descriptor from init() on.
            selectors.EVENT_READ,
            self.method_queue.run_callbacks,
        )
        while self.alive and self.is_parent_alive():
            self.turn()
        self.alive = False
        until = time.monotonic() + self.cfg.graceful_timeout
        while (self.requests or self.heads.keys() - self.late) and time.monotonic() < until:
            self.turn()
        # They may still be reading their answers.
        self.set_accept_enabled(False)
        while self.nr_conns and time.monotonic() < until:
            self.turn(accepting=False)
        for pool in (self.tpool, self.watch_pool):
            pool.shutdown(wait=False)
        self.poller.close()
        self.method_queue.close()
        for listener in self.sockets:
            listener.close()

    def turn(self, *, accepting: bool = True) -> None:
        """Of the event loop."""
        self.notify()
        self.set_accept_enabled(accepting and self.nr_conns < self.worker_connections)
        self.wait_for_and_dispatch_events(timeout=1.0)
        self.murder_pending()

    def accept(self, listener: socket.socket) -> None:
        try:
            accepted, address = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                # gunicorn would end the worker with all its runs.
                self.log.error("No connection could be accepted: %s", error)
                time.sleep(0.1)
            elif error.errno not in (errno.EAGAIN, errno.ECONNABORTED):
                raise
            return
        self.nr_conns += 1
        connection = PacedSocket(accepted, self.patience)
        conn = TConn(self.cfg, connection, address, listener.getsockname())
        self.heads[conn] = Head(time.monotonic() + self.head_seconds)
        if not self.alive:
            self.late.add(conn)
        self.poller.register(connection, selectors.EVENT_READ, partial(self.on_head, conn))

    def on_head(self, conn: TConn, connection: socket.socket) -> None:
        head = self.heads[conn]
        before = len(head.received)
        try:
            complete = head.receive(connection)
        except BlockingIOError:
            return
        except ParseException as error:
            self.refuse(conn, error)
            return
        except (EOFError, OSError):
            self.drop(conn)
            return
        if not complete:
            # Whoever gets on is given time, though never more than at the beginning.
            earned = (len(head.received) - before) / self.patience.bytes_per_second
            head.ends_at = min(head.ends_at + earned, time.monotonic() + self.head_seconds)
            return
        self.release(conn)
        if conn in self.late:
            self.turn_away(conn)
            return
        parser = RequestParser(self.cfg, conn.sock, conn.client)
        parser.unreader.unread(bytes(head.received))
        conn.parser = parser
        conn.data_ready = True
        if is_watching(conn, head):
            self.hand_over(conn, self.watch_pool)
        else:
            self.requests.add(conn)
            self.hand_over(conn, self.tpool)

    def hand_over(self, conn: TConn, pool: ThreadPoolExecutor) -> None:
        future = pool.submit(self.handle, conn)
        future.add_done_callback(partial(self.method_queue.defer, self.finish_request, conn))

    def murder_pending(self) -> None:
        """gunicorn calls it about every second, and after each event."""
        hurry = not self.alive or self.nr_conns >= self.worker_connections
        now = time.monotonic() + (self.head_seconds - self.hurried_head_seconds if hurry else 0)
        for conn, head in list(self.heads.items()):
            if head.ends_at > now:
                continue
            if head.received:
                self.refuse(conn, TooSlow())
            else:
                self.drop(conn)
        for conn, farewell in list(self.farewells.items()):
            if farewell.is_over():
                self.drop(conn)

    def refuse(self, conn: TConn, error: ParseException) -> None:
        self.release(conn)
        self.handle_error(None, conn.sock, conn.client, error)
        self.say_farewell(conn)

    def turn_away(self, conn: TConn) -> None:
        status = HTTPStatus.SERVICE_UNAVAILABLE
        answer(conn.sock, status, STOPPING, {"Retry-After": str(RETRY_SECONDS)})
        self.say_farewell(conn)

    def finish_request(self, conn: TConn, fs: Future[bool]) -> None:
        self.requests.discard(conn)
        self.say_farewell(conn)

    def say_farewell(self, conn: TConn) -> None:
        farewell = Farewell(conn.sock)
        try:
            farewell.begin()
        except OSError:
            self.drop(conn)
            return
        self.farewells[conn] = farewell
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_farewell, conn))

    def on_farewell(self, conn: TConn, connection: socket.socket) -> None:
        try:
            if self.farewells[conn].listen():
                return
        except OSError:
            pass
        self.drop(conn)

    def release(self, conn: TConn) -> None:
        """The event loop has nothing more to do with it for now."""
        waited = self.heads.pop(conn, None) or self.farewells.pop(conn, None)
        if waited:
            self.poller.unregister(conn.sock)

    def drop(self, conn: TConn) -> None:
        self.release(conn)
        self.late.discard(conn)
        self.nr_conns -= 1
        conn.close()

    def handle_request(self, req: Request, conn: TConn) -> bool:
        try:
            return super().handle_request(req, conn)
        except TimeoutError:
            self.log.warning("A client stopped reading its answer")
            return False

    def handle_error(
        self,
        req: Request | None,
        client: socket.socket,
        addr: _AddressType,
        exc: BaseException,
    ) -> None:
        """gunicorn answers in HTML, and logs and returns what it could not read, keys included."""
        status, error = next((answer for kind, answer in ANSWERS if isinstance(exc, kind)), FAILURE)
        if status is HTTPStatus.INTERNAL_SERVER_ERROR:
            self.log.exception("Error handling request %s", req.uri if req else "(not read)")
        else:
            origin = addr[0] if isinstance(addr, tuple) else "a local client"
            self.log.warning("Refused a request from %s: %s", origin, type(exc).__name__)
        answer(client, status, {"error": error})


def is_watching(conn: TConn, head: Head) -> bool:
    is_apart = isinstance(conn.server, tuple) and conn.server[1] == METRICS_PORT
    return is_apart or head.received.startswith(PROBES)
