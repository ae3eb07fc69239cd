"""What programs do, with the system calls that they are left in a real container."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.containers import Sandbox, docker_engine, started

# Language, program, output.
WORKING: dict[str, tuple[str, str, str]] = {
    "start methods": (
        "py",
        """
import multiprocessing, os
if __name__ == "__main__":
    for method in multiprocessing.get_all_start_methods():
        context = multiprocessing.get_context(method)
        with context.Pool(2) as pool: print(method, pool.map(abs, [-1, -2]))
        queue, lock = context.Queue(), context.Lock()
        with lock: process = context.Process(target=queue.put, args=[7])
        process.start(); print(queue.get()); process.join()
        value = context.Value("i", 3); print(value.value)
""",
        "fork [1, 2]\n7\n3\nspawn [1, 2]\n7\n3\nforkserver [1, 2]\n7\n3\n",
    ),
    "shared memory": (
        "py",
        """
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.shared_memory import SharedMemory
import numpy as np
def double(name):
    memory = SharedMemory(name)
    np.ndarray(4, buffer=memory.buf)[:] *= 2
    memory.close()
if __name__ == "__main__":
    memory = SharedMemory(create=True, size=32)
    array = np.ndarray(4, buffer=memory.buf); array[:] = [1, 2, 3, 4]
    with ProcessPoolExecutor(1) as pool: pool.submit(double, memory.name).result()
    print(array); del array; memory.close(); memory.unlink()
""",
        "[2. 4. 6. 8.]\n",
    ),
    "threads": (
        "py",
        """
import faulthandler, signal, threading, time
faulthandler.enable(); faulthandler.dump_traceback_later(60, exit=True)
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(8) as pool: print(sum(pool.map(lambda n: n * n, range(100))))
signal.signal(signal.SIGALRM, lambda *_: print("alarm"))
signal.setitimer(signal.ITIMER_REAL, 0.01); signal.pause()
""",
        "328350\nalarm\n",
    ),
    "linear algebra": (
        "py",
        """
import numpy as np, scipy.linalg, threadpoolctl
a = np.random.default_rng(0).random((300, 300))
with threadpoolctl.threadpool_limits(2):
    print(np.allclose(a @ np.linalg.inv(a), np.eye(300)), scipy.linalg.lu(a)[0].shape)
""",
        "True (300, 300)\n",
    ),
    "tables": (
        "py",
        """
import pandas as pd, pyarrow as pa, pyarrow.parquet as pq, sqlite3
frame = pd.DataFrame({"a": range(1000)})
frame.to_parquet("a.parquet"); print(pd.read_parquet("a.parquet").a.sum())
with pa.memory_map("a.parquet") as file: print(pq.read_table(file, use_threads=True).num_rows)
with sqlite3.connect("a.db") as db:
    print(db.execute("pragma journal_mode = wal").fetchone())
    frame.to_sql("a", db); print(db.execute("select count(*) from a").fetchone())
""",
        "499500\n1000\n('wal',)\n(1000,)\n",
    ),
    "joblib": (
        "py",
        """
from joblib import Parallel, delayed
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score
import numpy as np
x = np.arange(200.0).reshape(-1, 1)
if __name__ == "__main__":
    print(Parallel(n_jobs=2)(delayed(abs)(n) for n in (-1, -2, -3)))
    forest = RandomForestClassifier(10, random_state=0, n_jobs=2)
    print(cross_val_score(forest, x, x[:, 0] > 99, cv=2, n_jobs=2).shape)
""",
        "[1, 2, 3]\n(2,)\n",
    ),
    "asyncio": (
        "py",
        """
import asyncio, os, socket
async def main():
    print(await (await asyncio.create_subprocess_exec("echo", "x")).wait())
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_unix_connection(sock=ours)
    theirs.send(b"line\\n"); print(await reader.readline()); writer.close(); theirs.close()
asyncio.run(main())
child = os.pidfd_open(os.posix_spawn("/bin/true", ["true"], {}))
print(os.waitid(os.P_PIDFD, child, os.WEXITED).si_status)
""",
        "x\n0\nb'line\\n'\n0\n",
    ),
    "files": (
        "py",
        """
import mmap, os, pty, shutil, tempfile
os.mkfifo("fifo"); os.symlink("fifo", "link"); os.link("fifo", "hard")
with open("a", "wb") as file: file.write(b"x" * 10000); os.posix_fallocate(file.fileno(), 0, 20000)
shutil.copy2("a", "b"); shutil.copytree("/usr/share/zoneinfo/Europe", "zones"); os.sync()
print(os.stat("b").st_size, os.memfd_create("m") > 2, os.eventfd(0) > 2, len(pty.openpty()))
with open("a", "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped: mapped.flush(); os.fsync(file)
print(os.copy_file_range(os.open("a", 0), os.open("c", os.O_CREAT | os.O_WRONLY), 100))
""",
        "20000 True True 2\n100\n",
    ),
    "no network": (
        "py",
        """
import socket, urllib.request, urllib.error
try: socket.getaddrinfo("example.com", 80)
except socket.gaierror as error: print(error)
print(socket.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)[0][:3])
try: urllib.request.urlopen("http://192.0.2.1/")
except urllib.error.URLError as error: print(error.reason)
try: print(socket.if_nameindex())
except OSError as error: print(error)
""",
        "[Errno -3] Temporary failure in name resolution\n"
        "(<AddressFamily.AF_INET: 2>, <SocketKind.SOCK_STREAM: 1>, 6)\n"
        "[Errno 101] Network is unreachable\n"
        "[Errno 1] Operation not permitted\n",
    ),
    "node": (
        "js",
        """
const { Worker } = require("worker_threads"), { once } = require("events");
const fs = require("fs"), os = require("os"), dns = require("dns"), net = require("net");
const { execFileSync } = require("child_process");
(async () => {
  fs.writeFileSync("a", "text"); fs.watch("a").close();
  const code = "require('worker_threads').parentPort.postMessage(6 * 7)";
  console.log(...await once(new Worker(code, { eval: true }), "message"));
  console.log(execFileSync("echo", ["x"]).toString().trim(), os.cpus().length > 0);
  console.log(await fs.promises.readFile("a", "utf8"));
  const server = net.createServer((socket) => socket.end("bye")).listen("/tmp/socket");
  await once(server, "listening");
  console.log(String(...await once(net.connect("/tmp/socket"), "data"))); server.close();
  await dns.promises.lookup("example.com").catch((error) => console.log(error.code));
  try { os.networkInterfaces(); } catch (error) { console.log(error.code); }
})();
""",
        "42\nx true\ntext\nbye\nEAI_AGAIN\nERR_SYSTEM_ERROR\n",
    ),
    "shell": (
        "bash",
        """
set -m
sleep 60 & kill -STOP %1; until jobs -s | grep -q Stopped; do sleep 0.05; done; echo stopped
kill -CONT %1; kill %1; wait %1 2>/dev/null; set +m
timeout 0.1 sleep 60; echo $?
(echo 1; echo 2) | sort -r | tee >(cat >/dev/null) | xargs -n 1 -P 2 echo | wc -l
cp -a /etc/apt copy && tar cf - copy | tar tf - | grep -c apt >/dev/null && echo copied
echo x > a && zip -q a.zip a && unzip -p a.zip; gzip -c a | zcat; xz -c a | xzcat
nice -n 5 ionice -c 3 true && chrt -b 0 true && taskset 1 true && flock a true && echo nice
mkfifo p; cat p & echo through > p; wait
ps ax | grep -c bash >/dev/null && df /tmp | wc -l; stdbuf -o0 date +%Y | wc -c; sync
sqlite3 :memory: 'select 1' | jq . ; file -b a
python3 -m venv --without-pip v && v/bin/python -c 'print(3)'
""",
        "stopped\n124\n2\ncopied\nx\nx\nx\nnice\nthrough\n2\n5\n1\nASCII text\n3\n",
    ),
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with started(docker_engine()) as sandbox:
        yield sandbox


@pytest.mark.parametrize("what", WORKING)
def test_what_programs_do_works(sandbox: Sandbox, what: str) -> None:
    language, code, expected = WORKING[what]
    result = sandbox.run(code, language=language, wall_seconds=120, cpu_seconds=120)
    assert (result.exit_code, result.stdout.decode(), result.stderr) == (0, expected, b"")
