"""What it takes to import each of the modules that are named as arguments, one after the other.

Runs in a container, in a plain interpreter. Prints, for each, the milliseconds of CPU, and the KiB
of memory that is no file's, of all since the interpreter's start.
"""

import contextlib
import ctypes
import gc
import importlib
import io
import json
import sys
import time
from pathlib import Path


def anonymous_kib() -> int:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    status = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in status if line.startswith("RssAnon:")]
    return int(line.split()[1])


lines = []
for name in sys.argv[1:]:
    began = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        importlib.import_module(name)
    milliseconds = (time.process_time() - began) * 1000
    lines.append(json.dumps([round(milliseconds, 1), anonymous_kib()]))
sys.stdout.write("\n".join(lines))
