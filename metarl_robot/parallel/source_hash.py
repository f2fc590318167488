# SPDX-License-Identifier: Apache-2.0
"""Hash of this project's sources, by which machines of a cluster notice that they run different code."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path

_SOURCES = (".py", ".c", ".h")


@cache
def source_hash() -> str:
    """SHA-256 of the names and contents of all sources of the package."""
    root = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for path in sorted(_files(root)):
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _files(root: Path) -> list[Path]:
    """Sources below a folder; sim/ and others are links in a checkout, folders where the package is installed."""
    found = []
    for folder, names, files in os.walk(root, followlinks=True):
        names[:] = [name for name in names if name not in ("models", "__pycache__")]
        found += [Path(folder, name) for name in files if name.endswith(_SOURCES)]
    return found
