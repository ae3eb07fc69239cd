"""What is being done right now, for somebody who waits or who reads the log later."""

from __future__ import annotations

import time
from typing import TextIO

LOG_SECONDS = 10.0
CLEAR = "\r\033[K"


class Progress:
    """One line that is written over on a terminal; a line now and then in the log."""

    def __init__(self, out: TextIO, log: TextIO) -> None:
        self._on_terminal = out.isatty()
        self._terminal = out
        self._logs = (log,) if self._on_terminal else (log, out)
        self._started = self._said = time.monotonic()
        self._open_line = False

    def say(self, text: str) -> None:
        """A line that stays."""
        line = self._stamped(text)
        self._log(line)
        if self._on_terminal:
            self._write(f"{CLEAR if self._open_line else ''}{line}")
            self._open_line = False

    def update(self, text: str) -> None:
        """A line that the next one replaces."""
        if self._on_terminal:
            self._write(f"{CLEAR}    {text}")
            self._open_line = True
        if time.monotonic() - self._said > LOG_SECONDS:
            self._log(self._stamped(f"  {text}"))

    def _stamped(self, text: str) -> str:
        elapsed = int(time.monotonic() - self._started)
        return f"[{elapsed // 60:02}:{elapsed % 60:02}] {text}\n"

    def _log(self, line: str) -> None:
        self._said = time.monotonic()
        for log in self._logs:
            log.write(line)
            log.flush()

    def _write(self, text: str) -> None:
        self._terminal.write(text)
        self._terminal.flush()
