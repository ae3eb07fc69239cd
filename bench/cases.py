"""What is measured, and what the project wants to reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DESCRIBE = """\
import numpy as np
import pandas as pd

values = np.random.default_rng(1).normal(size=(1000, 4))
print(pd.DataFrame(values, columns=list("abcd")).describe())
"""
# Another title each time, or the file would not have changed and nothing had to be stored.
SAVEFIG = """\
import matplotlib.pyplot as plt

plt.plot([1, 4, 9, 16])
plt.title("round ROUND")
plt.savefig("plot.png")
print("saved")
"""
CHANGE = """\
data = bytearray(open("input.bin", "rb").read())
data[0] ^= 255
open("output.bin", "wb").write(data)
print(len(data))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyCase:
    """One program, run by the interpreter and by `docker exec` in turn."""

    name: str
    title: str
    # How long the interpreter may take, as a part of what `docker exec` takes.
    target: float
    code: str
    prints: str
    language: Literal["py", "bash"] = "py"
    writes: str = ""
    new_session: bool = False

    def source(self, number: int) -> str:
        return self.code.replace("ROUND", str(number))

    def command(self, number: int) -> list[str]:
        interpreter = "python3" if self.language == "py" else "bash"
        return [interpreter, "-c", self.source(number)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferCase:
    """Upload a file, have a program read it and write a changed one, download that."""

    name: str
    title: str
    megabytes: int
    # Large files are moved less often.
    every: int = 1

    def rounds(self, rounds: int) -> int:
        return max(1, rounds // self.every)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThroughputCase:
    name: str
    title: str
    target: float
    new_session: bool
    clients: int = 8
    code: str = "print(1)"


LATENCY = (
    LatencyCase(
        name="print",
        title="print(1), continued session",
        target=0.25,
        code="print(1)",
        prints="1\n",
    ),
    LatencyCase(
        name="pandas",
        title="pandas describe(), continued session",
        target=0.04,
        code=DESCRIBE,
        prints="1000.0",
    ),
    LatencyCase(
        name="bash",
        title="the same, bash + python3 - <<EOF",
        target=0.08,
        language="bash",
        code=f"python3 - <<'EOF'\n{DESCRIBE}EOF\n",
        prints="1000.0",
    ),
    LatencyCase(
        name="savefig",
        title="matplotlib savefig, file stored",
        target=0.30,
        code=SAVEFIG,
        prints="saved",
        writes="plot.png",
    ),
    LatencyCase(
        name="new-session",
        title="new session, pool hit, pandas",
        target=0.06,
        code=DESCRIBE,
        prints="1000.0",
        new_session=True,
    ),
)
TRANSFER = (
    TransferCase(name="1mb", title="1 MB file in, changed, out", megabytes=1),
    TransferCase(name="50mb", title="50 MB file in, changed, out", megabytes=50, every=10),
)
THROUGHPUT = (
    ThroughputCase(
        name="throughput-continued",
        title="print(1), continued sessions",
        target=40,
        new_session=False,
    ),
    ThroughputCase(
        name="throughput-new",
        title="print(1), new session per run",
        target=6,
        new_session=True,
    ),
)
# Of the private service's containers: nobody else lets us look into theirs.
START = "start"
MEMORY = "memory"
# Of its image, in a plain container.
LIBRARIES = "libraries"
NAMES = (*(case.name for case in (*LATENCY, *TRANSFER, *THROUGHPUT)), START, MEMORY, LIBRARIES)
