"""Caches that were made with the image, put where programs can also add to them."""

from __future__ import annotations

import os
import shutil

from .layout import Layout


def copy_caches(layout: Layout) -> None:
    if os.path.isdir(layout.caches):
        target = f"{layout.temporary}/.cache"
        shutil.copytree(layout.caches, target, copy_function=shutil.copyfile, dirs_exist_ok=True)
