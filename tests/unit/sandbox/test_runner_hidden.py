"""In an interpreter of its own, since what is tried out here changes how modules are imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SANDBOX = Path(__file__).parents[3] / "sandbox"
BEFORE = f"""
import sys
baseline = set(sys.modules)
sys.path.insert(0, {str(SANDBOX)!r})
from runner.hidden import HiddenModules
from runner.traces import Traces
traces = Traces(baseline)
with traces.recorded():
    import xml.dom.minidom, xml.sax.saxutils, warned
modules = {{n: m for n, m in sys.modules.items() if n.partition(".")[0] in ("xml", "warned")}}
hidden = HiddenModules(
    modules,
    {{
        "xml": ["xml"],
        "xml.dom": ["xml.dom"],
        "xml.dom.minidom": ["xml.dom", "xml.dom.minicompat", "xml.dom.minidom"],
        "warned": ["warned"],
    }},
    traces,
)
hidden.hide()
"""
WARNED = """
import atexit, copyreg, warnings
warnings.filterwarnings("ignore", message="for good")
with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="for a moment")
class Kept: pass
copyreg.pickle(Kept, str)
atexit.register(print, "at the end")
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "warned.py").write_text(WARNED)
    return tmp_path


def output(directory: Path, code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", BEFORE + code],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_what_is_loaded_cannot_be_seen(run: Path) -> None:
    code = "print([n for n in sys.modules if n.startswith('xml')], 'warned' in sys.modules)"
    assert output(run, code) == "[] False\n"


def test_an_import_shows_what_it_brings_along_and_no_more(run: Path) -> None:
    code = """
import xml.dom
print(sorted(n for n in sys.modules if n.startswith("xml")), hasattr(xml, "sax"))
print(xml.dom is modules["xml.dom"], hasattr(xml.dom, "minidom"))
import xml.dom.minidom
print(xml.dom.minidom is modules["xml.dom.minidom"], "xml.dom.minicompat" in sys.modules)
"""
    assert output(run, code).splitlines() == [
        "['xml', 'xml.dom'] False",
        "True False",
        "True True",
    ]


def test_another_file_of_the_name_is_another_module(run: Path) -> None:
    (run / "own").mkdir()
    (run / "own" / "xml.py").write_text("print('mine')")
    assert output(run, "sys.path.insert(0, 'own')\nimport xml") == "mine\n"


def test_a_module_that_was_removed_is_loaded_again(run: Path) -> None:
    code = "import xml.dom\ndel sys.modules['xml.dom']\nimport xml.dom as dom\n"
    assert output(run, code + "print(dom is modules['xml.dom'])") == "False\n"


def test_a_failing_import_tells_nothing_of_us(run: Path) -> None:
    (run / "broken.py").write_text("1 / 0")
    code = """
import traceback
try:
    import broken
except ZeroDivisionError:
    text = traceback.format_exc()
print("hidden" in text, "importlib" in text, "broken.py" in text)
"""
    assert output(run, code) == "False False True\n"


def test_what_an_import_leaves_elsewhere_comes_with_it(run: Path) -> None:
    code = """
import atexit, copyreg, warnings
def left():
    texts = [str(f[1] and f[1].pattern) for f in warnings.filters]
    kept = any(cls.__name__ == "Kept" for cls in copyreg.dispatch_table)
    return "for good" in texts, "for a moment" in texts, kept, atexit._ncallbacks()
print(*left())
import warned
print(*left())
"""
    assert output(run, code) == "False False False 0\nTrue False True 1\nat the end\n"
