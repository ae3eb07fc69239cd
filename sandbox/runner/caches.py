"""Caches that were made with the image, put where programs can also add to them."""

from __future__ import annotations

import os

from .layout import Layout


def copy_caches(layout: Layout) -> None:
    # Here, in a helper that ends afterwards: PID 1 needs none of it.
    import shutil

    if os.path.isdir(layout.caches):
        target = f"{layout.temporary}/.cache"
        shutil.copytree(layout.caches, target, copy_function=shutil.copyfile, dirs_exist_ok=True)
