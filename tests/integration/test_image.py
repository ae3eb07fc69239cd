"""What is in the sandbox image. Programs are started without the runner here; what the runner adds
has tests of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import docker
import pytest
from django.conf import settings
from docker.models.containers import Container

from tests.containers import docker_engine

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {
    "HOME": "/mnt/data",
    "MPLCONFIGDIR": "/tmp/.cache/matplotlib",
    "PYTHONDONTWRITEBYTECODE": "1",
}


@dataclass(frozen=True)
class Finished:
    exit_code: int
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def container() -> Iterator[Container]:
    docker_engine()
    client = docker.from_env()
    writable = "uid=10001,gid=10001,mode=1777,exec"
    container = client.containers.run(
        settings.SANDBOX_IMAGE,
        entrypoint=["sleep", "600"],
        # Should nobody remove it, it goes by itself.
        remove=True,
        detach=True,
        init=True,
        network_mode="none",
        read_only=True,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        tmpfs={"/mnt/data": writable, "/tmp": writable},
    )
    yield container
    container.remove(force=True)
    client.close()


@pytest.fixture
def run(container: Container) -> Callable[..., Finished]:
    """Runs a command as the sandbox user in an empty workspace."""
    container.exec_run(["sh", "-c", "rm -rf /mnt/data/* /tmp/.cache"], user="10001")

    def run(*command: str, user: str = "10001") -> Finished:
        result = container.exec_run(
            list(command), user=user, workdir="/mnt/data", environment=ENVIRONMENT, demux=True
        )
        assert result.exit_code is not None
        # types-docker does not know of `demux`.
        stdout, stderr = cast("tuple[bytes | None, bytes | None]", result.output)
        return Finished(result.exit_code, (stdout or b"").decode(), (stderr or b"").decode())

    return run


Run = Callable[..., Finished]


def python(run: Run, source: str) -> str:
    """What a program prints that ends well and quietly."""
    finished = run("python3", "-c", source)
    assert (finished.exit_code, finished.stderr) == (0, "")
    return finished.stdout


def pinned() -> dict[str, str]:
    lines = (ROOT / "rce_requirements.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {name.lower().replace("_", "-"): version for name, version in pairs}


def test_every_listed_package_is_installed_as_pinned_and_nothing_else(run: Run) -> None:
    source = (
        "import json; from importlib.metadata import distributions\n"
        "print(json.dumps({d.name.lower().replace('_', '-'): d.version for d in distributions()}))"
    )
    installed = json.loads(python(run, source))
    installed.pop("pip")
    assert installed == pinned()


def test_every_package_can_be_imported_and_says_nothing(run: Run) -> None:
    source = """
from importlib import import_module
from importlib.metadata import packages_distributions
for name in packages_distributions():
    # Some install their own tests beside themselves, which the image leaves out.
    if name.isidentifier() and not name.startswith("_") and name != "tests":
        import_module(name)
"""
    assert python(run, source) == ""


def test_tables_are_read_back_from_every_common_format(run: Run) -> None:
    source = """
import pandas as pd
table = pd.DataFrame({"city": ["Köln", "Malmö"], "n": [1, 2]})
for kind, write, read in [
    ("csv", lambda n: table.to_csv(n, index=False), pd.read_csv),
    ("xlsx", lambda n: table.to_excel(n, index=False), pd.read_excel),
    ("parquet", lambda n: table.to_parquet(n), pd.read_parquet),
    ("json", lambda n: table.to_json(n), pd.read_json),
]:
    write("t." + kind)
    print(kind, read("t." + kind).equals(table))
"""
    assert python(run, source) == "csv True\nxlsx True\nparquet True\njson True\n"


@pytest.mark.parametrize(
    "command",
    [
        ["bash", "-c", "true"],
        ["bash", "-lc", "true"],
        ["python3", "-c", ""],
        ["python3", "-I", "-c", ""],
        ["python", "-c", ""],
        ["node", "-e", ""],
        ["jq", "-n", "empty"],
        ["sqlite3", ":memory:", ""],
    ],
    ids=" ".join,
)
def test_it_starts_with_nothing_on_stderr(run: Run, command: list[str]) -> None:
    assert run(*command) == Finished(0, "", "")


@pytest.mark.parametrize("name", ["python3", "python"])
@pytest.mark.parametrize("shell", [["bash", "-c"], ["bash", "-lc"]], ids=["bash", "login bash"])
def test_python_is_the_one_with_the_packages(run: Run, name: str, shell: list[str]) -> None:
    finished = run(*shell, f"{name} -c 'import sys; print(sys.prefix, sys.version_info[:2])'")
    assert finished == Finished(0, "/opt/venv (3, 11)\n", "")


def test_the_runners_python_knows_nothing_of_the_packages(run: Run) -> None:
    source = "import sys; print([p for p in sys.path if 'packages' in p], sys.prefix)"
    assert run("/opt/sandbox/python3", "-I", "-S", "-c", source).stdout.startswith("[] /usr")


def test_node_is_recent_enough_for_fetch_and_test_runner(run: Run) -> None:
    major = run("node", "-p", "process.versions.node.split('.')[0]").stdout
    assert int(major) >= 18


@pytest.mark.parametrize("tool", ["file", "unzip", "zip", "xz", "bzip2", "ps", "bc", "tree"])
def test_the_usual_tools_are_there(run: Run, tool: str) -> None:
    assert run("bash", "-c", f"command -v {tool}").exit_code == 0


def test_the_sandbox_user_has_a_name_and_the_workspace_as_home(run: Run) -> None:
    assert run("id").stdout == "uid=10001(sandbox) gid=10001(sandbox) groups=10001(sandbox)\n"
    assert run("getent", "passwd", "sandbox").stdout.split(":")[5] == "/mnt/data"


def test_the_other_known_name_of_the_workspace_leads_to_it(run: Run) -> None:
    run("bash", "-c", "echo here > /usr/src/app/a")
    assert run("cat", "/mnt/data/a").stdout == "here\n"


def test_text_is_utf8_and_messages_are_english(run: Run) -> None:
    assert python(run, "import sys; print(sys.stdout.encoding, 'ü')") == "utf-8 ü\n"
    assert run("cat", "Übersicht").stderr == "cat: Übersicht: No such file or directory\n"


def test_no_file_gives_other_rights_to_whoever_runs_it(run: Run) -> None:
    found = run("find", "/", "-xdev", "-perm", "/6000", user="0")
    assert (found.exit_code, found.stdout) == (0, "")


def test_nothing_but_the_mounts_belongs_to_programs(run: Run) -> None:
    found = run("find", "/", "-xdev", "-user", "10001", user="0")
    assert (found.exit_code, sorted(found.stdout.split())) == (0, ["/mnt/data", "/tmp"])


def test_all_bytecode_is_there_as_nothing_can_be_written_later(run: Run) -> None:
    source = """
import os, sys, sysconfig
from importlib.util import cache_from_source
from pathlib import Path
skip = {"test", "tests", "idlelib", "lib2to3", "dist-packages", "__pycache__"}
for top in (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), "/opt/sandbox/runner"):
    for folder, folders, names in os.walk(top):
        folders[:] = set(folders) - skip
        for name in names:
            path = os.path.join(folder, name)
            if name.endswith(".py") and not os.path.exists(cache_from_source(path)):
                print(path)
"""
    assert python(run, source) == ""


@pytest.mark.parametrize(
    ("loaded", "used"),
    [("numpy", set()), ("pandas", {"pandas"}), ("matplotlib.pyplot", {"matplotlib"})],
)
def test_what_is_not_loaded_ahead_is_not_rehearsed_either(
    run: Run, loaded: str, used: set[str]
) -> None:
    code = f"""
import sys
import {loaded}
sys.path.insert(0, "/opt/sandbox/python")
import rehearsal
rehearsal.rehearse()
print(*{{"pandas", "matplotlib"}} & sys.modules.keys())
"""
    assert set(run("python3", "-c", code).stdout.split()) == used


def test_the_list_of_fonts_was_made_with_the_image(run: Run) -> None:
    """matplotlib would otherwise look at every font at its first import in each container."""
    source = """
import os, shutil, stat
target = os.environ["MPLCONFIGDIR"]
shutil.copytree("/opt/sandbox/cache/matplotlib", target)
before = {e.name: e.stat().st_mtime_ns for e in os.scandir(target)}
from matplotlib import font_manager
print(before == {e.name: e.stat().st_mtime_ns for e in os.scandir(target)}, len(before))
print(font_manager.findfont("DejaVu Sans").rsplit("/")[-1])
"""
    assert python(run, source) == "True 1\nDejaVuSans.ttf\n"


@pytest.mark.parametrize(
    "source",
    [
        "import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.show()",
        "import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.show(block=True)",
        "import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.show(block=False)",
        "import matplotlib.pyplot as plt; plt.ion(); plt.plot([1, 2]); plt.show()",
        "import matplotlib.pyplot as plt; f, a = plt.subplots(); a.plot([1, 2]); f.show()",
        "import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.gcf().canvas.manager.show()",
        "import matplotlib; matplotlib.use('Agg')\nfrom matplotlib.pyplot import plot, show\n"
        "plot([1, 2]); show()",
        "from pylab import *; plot([1, 2]); show()",
        "import matplotlib.pyplot as plt; plt.switch_backend('agg'); plt.plot([1]); plt.show()",
        "import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.pause(0.01)",
        "import os; os.chdir('/tmp'); import matplotlib.pyplot as plt; plt.plot([1]); plt.show()",
        "import pandas as pd; pd.Series([1, 2]).plot()\n"
        "import matplotlib.pyplot as plt; plt.show()",
        "import seaborn as sns, matplotlib.pyplot as plt\n"
        "sns.scatterplot(x=[1, 2], y=[3, 4]); plt.show()",
    ],
)
def test_show_saves_the_figure(run: Run, source: str) -> None:
    assert python(run, source) == ""
    assert run("bash", "-c", "file -b --mime-type *").stdout == "image/png\n"
    assert run("ls").stdout == "plot_1.png\n"


def test_every_open_figure_is_saved_in_the_order_of_its_number_and_then_closed(run: Run) -> None:
    source = """
import matplotlib.pyplot as plt
plt.figure(2, figsize=(2, 1), dpi=100); plt.figure(1, figsize=(1, 1), dpi=100)
plt.show()
print(plt.get_fignums())
plt.figure(figsize=(3, 1), dpi=100); plt.show()
from PIL import Image
print([Image.open(f"plot_{n}.png").size for n in (1, 2, 3)])
"""
    assert python(run, source) == "[]\n[(100, 100), (200, 100), (300, 100)]\n"


@pytest.mark.parametrize("style", ["normal", "bold"])
def test_a_figure_has_the_letters_of_many_languages_and_nothing_to_say(
    run: Run, style: str
) -> None:
    source = f'''
import matplotlib.pyplot as plt
plt.title("Größe 数据 データ 데이터", fontweight="{style}")
plt.savefig("figure.png")
'''
    assert python(run, source) == ""


def test_libraries_of_javascript_are_there_however_they_are_asked_for(run: Run) -> None:
    listed = json.loads((ROOT / "image/node/package.json").read_text())["dependencies"]
    source = (
        f"const names = {json.dumps(list(listed))};"
        "for (const name of names) require(name);"
        # Its package names a module for `import` that node does not take for one.
        "const others = names.filter((name) => name !== 'pptxgenjs');"
        "Promise.all(others.map((name) => import(name))).then((all) => console.log(all.length));"
    )
    assert run("node", "-e", source) == Finished(0, f"{len(listed) - 1}\n", "")


def test_show_overwrites_nothing(run: Run) -> None:
    source = """
from pathlib import Path
Path("plot_1.png").write_text("mine"); Path("plot_2.png").symlink_to("/nowhere")
import matplotlib.pyplot as plt
plt.plot([1]); plt.show()
print(Path("plot_1.png").read_text(), Path("plot_3.png").stat().st_size > 1000)
"""
    assert python(run, source) == "mine True\n"


def test_a_figure_shown_again_is_drawn_into_its_own_file(run: Run) -> None:
    source = """
import matplotlib.pyplot as plt
figure = plt.figure(figsize=(1, 1), dpi=100); figure.show()
assert plt.get_fignums(), "a window stays open"
figure.set_size_inches(4, 1); plt.show()
from PIL import Image
print(Image.open("plot_1.png").size)
"""
    assert python(run, source) == "(400, 100)\n"
    assert run("ls").stdout == "plot_1.png\n"


def test_a_figure_that_cannot_be_drawn_leaves_no_file(run: Run) -> None:
    source = "import matplotlib.pyplot as plt; plt.title('$\\\\nonsense$'); plt.show()"
    finished = run("python3", "-c", source)
    assert finished.exit_code == 1
    assert "Unknown symbol" in finished.stderr
    assert run("ls").stdout == ""


def test_nothing_to_show_is_no_error(run: Run) -> None:
    assert python(run, "import matplotlib.pyplot as plt; plt.show()") == ""
    assert run("ls").stdout == ""


def test_show_changes_nothing_else_about_agg(run: Run) -> None:
    source = """
import matplotlib, matplotlib.pyplot as plt
plt.plot([1]); plt.savefig("a.png"); plt.savefig("b.pdf")
print(matplotlib.get_backend(), plt.isinteractive(), plt.get_fignums())
"""
    assert python(run, source) == "Agg False [1]\n"
    assert run("ls").stdout == "a.png\nb.pdf\n"


def test_programs_that_draw_nothing_do_not_pay_for_it(run: Run) -> None:
    source = "import sys; print([m for m in sys.modules if 'matplotlib' in m or 'show' in m])"
    assert python(run, source) == "[]\n"
    # Files that Python reads, and runs, at each of its starts.
    assert run("find", "/opt/venv/lib", "-name", "*.pth").stdout == ""


def test_pip_does_not_wait_for_a_network(run: Run) -> None:
    started = time.monotonic()
    missing = run("pip", "install", "some-package")
    assert time.monotonic() - started < 10
    assert missing.exit_code == 1
    assert "No matching distribution found for some-package" in missing.stderr
    assert run("python3", "-m", "pip", "install", "pandas").exit_code == 0


def test_nothing_of_the_host_that_built_it_remains(run: Run, container: Container) -> None:
    assert run("ls", "/build", "/etc/pip.conf", user="0").stdout == ""
    assert "host-ca" not in run("find", "/", "-xdev", "-name", "host-ca*", user="0").stdout
    assert container.image is not None
    names = {entry.split("=")[0].lower() for entry in container.image.attrs["Config"]["Env"]}
    assert not {name for name in names if "proxy" in name or "pip" in name or "cert" in name}
    assert run("bash", "-c", "cat /etc/apt/apt.conf.d/* | grep -ci proxy").stdout == "0\n"
