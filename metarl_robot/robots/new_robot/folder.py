# SPDX-License-Identifier: Apache-2.0
"""Writes a robot folder completely or not at all; replaces another one only with `force`."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from metarl_robot.core.errors import RobotError

_OWN = ("robot.yaml", "robot.xml", "meshes", "config/pid.yaml")


def check_free(folder: Path, force: bool) -> None:
    """Raise RobotError if the folder holds a robot already and force is not set."""
    if folder.exists() and not folder.is_dir():
        raise RobotError(f"{folder}: is a file; a robot is a folder")
    held = [name for name in _OWN if (folder / name).exists()]
    if held and not force:
        raise RobotError(f"{folder}: has {', '.join(held)} already; give another folder, or --force to replace them")


def write_folder(folder: Path, files: Mapping[str, bytes], check: Callable[[Path], object]) -> None:
    """Write the files; other files of the folder stay. robot.yaml is written last.

    check: called with a folder of the new files before anything is replaced; if it raises, nothing changes.
    """
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=folder))
    try:
        for name, content in files.items():
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            (fresh / name).write_bytes(content)
        check(fresh)
        if (folder / "meshes").is_dir():
            shutil.rmtree(folder / "meshes")
        for name in sorted(files, key=lambda name: name == "robot.yaml"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(fresh / name, folder / name)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        if is_new and not any(folder.iterdir()):
            folder.rmdir()
