"""What `show()` does where there is no screen: every open figure is saved as plot_N.png.

A figure stands for a window, and so for one file: shown again, it is drawn into the same file.
"""

from itertools import count
from pathlib import Path
from weakref import WeakKeyDictionary

from matplotlib import is_interactive
from matplotlib._pylab_helpers import Gcf
from matplotlib.backend_bases import FigureManagerBase
from matplotlib.figure import Figure

# Not the current directory: a program that went to /tmp would lose its figures.
WORKSPACE = Path("/mnt/data")

_files: WeakKeyDictionary[Figure, Path] = WeakKeyDictionary()


class FigureManager(FigureManagerBase):
    def show(self) -> None:
        figure = self.canvas.figure
        path = _files.get(figure) or _new_file()
        try:
            figure.savefig(path, format="png")
        except BaseException:
            path.unlink(missing_ok=True)
            _files.pop(figure, None)
            raise
        _files[figure] = path


def show(*, block: bool | None = None) -> None:
    """Save all open figures and, where a window would have waited to be closed, close them."""
    for manager in sorted(Gcf.get_all_fig_managers(), key=lambda manager: manager.num):
        manager.show()
    if not is_interactive() if block is None else block:
        Gcf.destroy_all()


def _new_file() -> Path:
    for number in count(1):
        path = WORKSPACE / f"plot_{number}.png"
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            continue
        return path
    raise AssertionError("count() has no end")
