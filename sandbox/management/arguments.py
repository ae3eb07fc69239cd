"""What the commands of the sandbox read from their command line."""

from __future__ import annotations

from argparse import ArgumentTypeError

from sandbox.librechat.releases import Release, UnknownVersion


def release(text: str) -> Release:
    try:
        return Release.of(text)
    except UnknownVersion as error:
        raise ArgumentTypeError(str(error)) from error
