"""Which files below a folder are somebody's data: what a system puts beside them is not."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

SYSTEM_FOLDERS: frozenset[str] = frozenset(("__macosx", "@eadir", "$recycle.bin", "lost+found"))
"""Folders of macOS archives, Synology disks, Windows and Linux, in lower case; hidden ones begin with a point."""


def files_below(root: Path, suffixes: Collection[str]) -> list[Path]:
    """Return all files below a folder with one of these endings, in an order that no file system changes.

    Args:
        root: the folder; hidden ones and those of the system in it are left out, and so are hidden files.
        suffixes: in lower case.
    """
    found = []
    for folder, inner, names in os.walk(root):
        inner[:] = [name for name in inner if not _is_the_systems(name)]
        found += [Path(folder) / name for name in names if not _is_the_systems(name)]
    return sorted(path for path in found if path.suffix.lower() in suffixes and path.is_file())


def _is_the_systems(name: str) -> bool:
    return name.startswith(".") or name.lower() in SYSTEM_FOLDERS
