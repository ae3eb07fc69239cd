"""What the zygote and its spares do with holders (image/python/holder.c): processes that keep the
memory of programs that have ended, so that it is taken down when nobody waits for anything."""

from __future__ import annotations

import os
import resource
import signal
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from .counters import memory_limit_bytes, memory_used_bytes, process_limit
from .leftovers import has_executed

# What a spare says: its holder's number, 0 for none, -1 for one that has failed.
HOLDER = struct.Struct("=i")
# So many programs have one: to the container's limit, each is two processes.
MOST = 4
# With a lower limit, no program has one.
LEAST_PROCESSES = 64
# Of a program that took so much more than it shared, or shared some with others, the memory is
# taken down at once: somebody may need it, or look at what is left of it.
LARGE_BYTES = 64 * 1024 * 1024
# A program that runs out of memory must take all of it along when it dies, or whoever asks next is
# killed as well. So one that goes on for longer has no holder any more, as its end is a small part
# of the run then; and with less room than can be used up in that time, none has one.
HELD_SECONDS = 0.03
ROOM_BYTES = 256 * 1024 * 1024


class Held(NamedTuple):
    """What holds a program's memory, and until when."""

    holder: int
    until: float


class Holders:
    def __init__(self) -> None:
        self._memory_bytes = memory_limit_bytes()
        # Whether spares are to have one.
        self._wanted = process_limit() >= LEAST_PROCESSES and not self._is_memory_short()
        self._shared_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        self._by_program: dict[int, Held] = {}
        # Killed before their programs have ended.
        self._let_go: dict[int, int] = {}
        # Of programs that have ended.
        self._due: set[int] = set()
        # And those that are not reaped yet.
        self._killed: set[int] = set()

    @property
    def due(self) -> bool:
        """Whether some could go."""
        return bool(self._due)

    @property
    def held_until(self) -> float | None:
        """When the next program goes on without; none where no program has one."""
        return min((held.until for held in self._by_program.values()), default=None)

    def have_one(self, begin: Callable[[], int], work: socket.socket) -> None:
        """In a spare, before it reads anything: have a holder, and tell the zygote which."""
        # gVisor's kernel does not say that we were forked only: it has no use for a holder, and
        # that of 2022 does not survive one.
        holder = begin() if self._wanted and not has_executed(os.getpid()) else 0
        with suppress(BrokenPipeError):
            # Otherwise the zygote has died, which is found out as soon as there is nothing to read.
            work.send(HOLDER.pack(holder))
        if holder < 0:
            # It may be anything, and shares this memory.
            os._exit(126)

    def spare_became(self, program: int, spare: socket.socket) -> None:
        """Wait for what it says, which is the first thing that it does."""
        holder = self._told(spare)
        if holder and len(self._by_program) < MOST and not self._is_memory_short():
            self._by_program[program] = Held(holder, time.monotonic() + HELD_SECONDS)
        elif holder:
            self._let_go_of(program, holder)

    def _is_memory_short(self) -> bool:
        return self._memory_bytes - memory_used_bytes() < ROOM_BYTES

    def spare_died(self, spare: socket.socket) -> None:
        if holder := self._told(spare, socket.MSG_DONTWAIT):
            self._kill(holder)

    def _told(self, spare: socket.socket, flags: int = 0) -> int:
        for _ in range(2):
            try:
                (holder,) = HOLDER.unpack(spare.recv(HOLDER.size, flags))
            except ConnectionResetError:
                # It died with something unread, of which we are told first.
                continue
            except (OSError, struct.error):
                return 0
            if holder < 0:
                self._wanted = False
                return 0
            return int(holder)
        return 0

    def program_ended(self, program: int, peak_memory_bytes: int) -> None:
        """Before anybody is told: what must not be kept is gone by then, as after any other
        process."""
        if killed := self._let_go.pop(program, None):
            self._await(killed)
        held = self._by_program.pop(program, None)
        if held is None:
            return
        holder = held.holder
        if peak_memory_bytes < self._shared_bytes + LARGE_BYTES and not _shares_with_others(holder):
            self._due.add(holder)
        else:
            self._kill(holder)
            self._await(holder)

    def let_go(self) -> None:
        """Of programs that go on."""
        now = time.monotonic()
        for program in [each for each, held in self._by_program.items() if held.until <= now]:
            self._let_go_of(program, self._by_program.pop(program).holder)

    def _let_go_of(self, program: int, holder: int) -> None:
        self._kill(holder)
        self._let_go[program] = holder

    def end_due(self) -> None:
        """Those whose programs have ended."""
        while self._due:
            self._kill(self._due.pop())

    def await_killed(self) -> None:
        """A run is not to find anything of the one before."""
        for holder in list(self._killed):
            self._await(holder)

    def has_ended(self, pid: int) -> None:
        """This process is reaped now, which may be one: also with its program, for want of
        memory."""
        self._killed.discard(pid)
        self._due.discard(pid)
        for program in [each for each, held in self._by_program.items() if held.holder == pid]:
            del self._by_program[program]
        for program in [each for each, holder in self._let_go.items() if holder == pid]:
            del self._let_go[program]

    def _kill(self, holder: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(holder, signal.SIGKILL)
            self._killed.add(holder)

    def _await(self, holder: int) -> None:
        with suppress(ChildProcessError):
            os.waitpid(holder, 0)
        self.has_ended(holder)


def _shares_with_others(holder: int) -> bool:
    """Whether there is memory in which others see what one writes, such as a file's."""
    try:
        for thread in os.listdir(f"/proc/{holder}/task"):
            with open(f"/proc/{holder}/task/{thread}/status", "rb") as file:
                for line in file:
                    if line.startswith(b"RssShmem:"):
                        return int(line.split()[1]) > 0
    except OSError:
        return True
    # Where the kernel does not tell.
    return True
