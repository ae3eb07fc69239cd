import json
import os
import select
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.librechat.releases import Release

HERE = Path(__file__).parent


class CallFailed(Exception):
    """What LibreChat's own call would have thrown, with the HTTP answer behind it if any."""

    def __init__(self, message: str, status: int | None, body: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = body


class NodeProcess:
    """One Node process, alive for many calls as LibreChat itself is: connections and state stay."""

    def __init__(self, release: Release, base_url: str, key: str = "", token: str = "") -> None:
        self.release = release
        self.folder = Path(tempfile.mkdtemp(prefix="librechat-"))
        self._unread = b""
        # Nothing is inherited: a proxy of this machine must not come between client and server.
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "AGENTS_VERSION": release.agents,
            "AXIOS_VERSION": release.axios,
            "EXECUTION_PROFILE": release.profile,
            "LIBRECHAT_CODE_BASEURL": base_url,
            "LIBRECHAT_CODE_API_KEY": key,
            "CODEAPI_TOKEN": token,
        }
        self._process = subprocess.Popen(
            ["node", str(HERE / "librechat.mjs")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            cwd=self.folder,
            env=environment,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()
        shutil.rmtree(self.folder)

    def ask(self, operation: str, *, seconds: float = 90, **request: Any) -> Any:
        assert self._process.stdin is not None
        unsent = memoryview(json.dumps({"operation": operation, **request}).encode() + b"\n")
        while unsent:
            unsent = unsent[self._process.stdin.write(unsent) or 0 :]
        answer = json.loads(self._read_line(operation, seconds))
        if error := answer.get("error"):
            raise CallFailed(error["message"], error["status"], error["body"])
        return answer["result"]

    def requests(self) -> list[str]:
        """Method and path of every HTTP request since the last look."""
        return list(self.ask("takeRequests"))

    def _read_line(self, operation: str, seconds: float) -> bytes:
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        while b"\n" not in self._unread:
            readable, _, _ = select.select([pipe], [], [], seconds)
            assert readable, f"{operation}: LibreChat did not answer within {seconds} s"
            chunk = os.read(pipe, 1 << 20)
            assert chunk, f"{operation}: LibreChat's process ended, see its stderr"
            self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        return line
