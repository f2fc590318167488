# SPDX-License-Identifier: Apache-2.0
"""Finds the mesh files that a URDF names: package://…, model://…, file://… and relative paths."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

FORMATS = (".stl", ".obj", ".msh")
"""Formats that MuJoCo reads."""
_SCHEMES = ("package://", "model://")


def find_mesh(name: str, urdf: Path, folders: Sequence[Path]) -> Path | None:
    """The file that a URDF means by a mesh's file name, or None.

    folders: searched first. Then follow the URDF's folder and those above it, ROS_PACKAGE_PATH and the share folders
    of AMENT_PREFIX_PATH.
    """
    for candidate in _candidates(name, urdf, folders):
        try:
            if candidate.is_file():
                return candidate.resolve()
        except OSError:  # not a valid file name
            continue
    return None


def _candidates(name: str, urdf: Path, folders: Sequence[Path]) -> Iterator[Path]:
    scheme = next((scheme for scheme in _SCHEMES if name.startswith(scheme)), "")
    if not scheme:
        plain = Path(name.removeprefix("file://"))
        yield from (root / plain for root in (urdf.parent, *folders))
        yield from (root / plain.name for root in folders)
        return
    package, _, inside = name.removeprefix(scheme).partition("/")
    for root in (*folders, urdf.parent, *urdf.resolve().parents, *_ros_folders()):
        yield root / package / inside
        if root.name == package or root in folders:
            yield root / inside
    yield from (root / Path(inside).name for root in folders)


def _ros_folders() -> Iterator[Path]:
    for root in filter(None, os.environ.get("ROS_PACKAGE_PATH", "").split(os.pathsep)):
        yield Path(root)
    for prefix in filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)):
        yield Path(prefix, "share")
