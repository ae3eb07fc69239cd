"""What LibreChat's model reads of an answer, as its code tools put it together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NOTHING_PRINTED = "stdout: Empty. Ensure you're writing output explicitly."


def to_model(answer: Mapping[str, Any]) -> str:
    stdout, stderr = answer["stdout"], answer["stderr"]
    parts = [f"stdout:\n{stdout}" if stdout else NOTHING_PRINTED]
    if stderr:
        parts.append(f"stderr:\n{stderr}")
    return "\n".join(parts).strip()


def beside(status: int, answer: Mapping[str, Any]) -> str:
    """What the client says in its own words, which differ from version to version."""
    if status == 429:
        return "LibreChat tells the model that there are too many runs, and when to try again."
    if status in (401, 403):
        return "LibreChat tells the model that it may not run code."
    if status in (400, 422):
        return "LibreChat tells the model that the call was refused, and to look at its arguments."
    if status != 200:
        return "LibreChat tells the model that code cannot be run at the moment."
    new = [file for file in answer["files"] if not file.get("inherited")]
    if not new:
        return ""
    files = "file" if len(new) == 1 else "files"
    return f"LibreChat adds that the run has made {len(new)} {files}, and shows them to the user."
