"""What each version of LibreChat sends: one table. Everything else here goes by it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering

VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)(?:-[a-z0-9.]+)?")
NEWEST_NAMES = ("newest", "main", "latest")
FIRST = (0, 7, 5)
# What is later than every number.
NEWEST = (999, 0, 0)


class UnknownVersion(ValueError):
    """Says what a version is written like."""


@total_ordering
@dataclass(frozen=True, slots=True)
class Release:
    number: tuple[int, int, int]

    @classmethod
    def of(cls, text: str) -> Release:
        """A candidate of a version counts as that version, `newest` as what comes after all."""
        if text.lower() in NEWEST_NAMES:
            return cls(NEWEST)
        match = VERSION.fullmatch(text)
        if match is None:
            raise UnknownVersion(f"{text!r} is no version of LibreChat; write 0.8.6, or newest")
        major, minor, patch = map(int, match.groups())
        if (major, minor, patch) < FIRST:
            raise UnknownVersion(f"LibreChat {text} has no code interpreter that can be its own")
        return cls((major, minor, patch))

    def __lt__(self, other: Release) -> bool:
        return self.number < other.number

    def __str__(self) -> str:
        return "newest" if self.number == NEWEST else ".".join(map(str, self.number))

    @property
    def sends_key(self) -> bool:
        """In an `X-API-Key`, and in the body of each run. The last one is 0.8.5."""
        return self.number < (0, 8, 6)

    @property
    def signs(self) -> bool:
        """With CODEAPI_JWT_ENABLED."""
        return not self.sends_key

    @property
    def has_files(self) -> bool:
        return self.number >= (0, 7, 6)

    @property
    def runs_bash(self) -> bool:
        """Its models get a shell, and Python from in there; before, Python by itself."""
        return not self.sends_key

    @property
    def has_objects(self) -> bool:
        """Asks for one file by `/sessions/<session>/objects/<file>`, in place of a listing."""
        return not self.sends_key

    @property
    def has_batches(self) -> bool:
        return not self.sends_key

    @property
    def expects_profile(self) -> bool:
        return self.number >= (0, 8, 8)

    @property
    def asks_listing_again(self) -> bool:
        """Whether a file is alive, and the one route to delete it: what came after 0.8.8."""
        return self.number > (0, 8, 8)

    @property
    def shows_url_of_errors(self) -> bool:
        """To the model and to the user, with the key that is in it."""
        return (0, 8, 6) <= self.number < (0, 8, 8)

    @property
    def changes(self) -> tuple[str, ...]:
        """What an operator has to know of it."""
        notes = []
        if self.sends_key:
            notes.append("sends the key with each call")
        else:
            notes.append("sends no key by itself: it goes into the URL, or calls are signed")
        if not self.has_files:
            notes.append("knows no uploads")
        if self.runs_bash:
            notes.append("runs nearly everything as bash, and uploads skills in batches")
        if self.shows_url_of_errors:
            notes.append("shows its users the whole URL, key included, when a call fails")
        if self.expects_profile:
            notes.append("says of each call which execution profile it expects")
        return tuple(notes)
