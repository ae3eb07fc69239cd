"""What many programs do, done once before the first of them: what is only loaded, compiled or
looked up at a first use is then there, and the interpreter has adapted to it. Of libraries that are
not loaded ahead, nothing is.

Leaves no file, figure or thread behind.
"""

import ctypes
import gc
import io
import sys


def rehearse_tables() -> None:
    import numpy as np
    import pandas as pd

    rows = np.linspace(0, 1, 1000)
    table = pd.DataFrame({"a": rows, "b": rows[::-1], "c": ["x", "y"] * 500})
    for _ in range(3):
        for text in (table, table.describe(), table.head(), table["a"]):
            str(text)
            repr(text)
        table.info(buf=io.StringIO())
        table.groupby("c")["a"].agg(["mean", "sum"]).sort_values("sum")
        table.merge(table.head(10), on="a")
        table.isna().sum()
        table.value_counts("c")
        pd.to_datetime(["2024-01-31", "2024-02-29"]).strftime("%Y-%m")
        text = table.to_csv(index=False)
        pd.read_csv(io.StringIO(text))
        np.random.default_rng(1).normal(size=(10, 4))
        np.linalg.inv(np.eye(3) + 1)


def rehearse_figures() -> None:
    import matplotlib.pyplot as plt

    for _ in range(2):
        figure, (left, right) = plt.subplots(1, 2)
        left.plot([1, 4, 9, 16], label="line")
        left.set_title("title")
        left.set_xlabel("x")
        left.legend()
        left.grid(visible=True)
        right.bar(["a", "b"], [1, 2])
        right.scatter([1, 2], [2, 1])
        figure.tight_layout()
        figure.savefig(io.BytesIO(), format="png")
        plt.close("all")
    # A program may choose another one before its first figure.
    plt._backend_mod = None


def rehearse() -> None:
    if "pandas" in sys.modules:
        rehearse_tables()
    if "matplotlib.pyplot" in sys.modules:
        rehearse_figures()
    gc.collect()
    # Back to the system, what they needed for some moments.
    ctypes.CDLL(None).malloc_trim(0)
