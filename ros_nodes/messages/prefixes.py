# SPDX-License-Identifier: Apache-2.0
"""Places where ROS 2 packages are installed.

A prefix is a folder with share/<package>, include/<package> and lib, such as /opt/ros/jazzy; the wheels' prefix is
that of Python. Our own builds have the same form (build.py), so that one package can use another.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from metarl_robot.ros_nodes.messages.package import KINDS, MessagesError

REMEDY = "source a ROS 2 installation, or pip install 'metarl_robot[messages]'"


def installed_prefixes() -> tuple[Path, ...]:
    """Prefixes of the sourced ROS 2 installations, then that of Python."""
    sourced = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    places = (Path(place) for place in (*sourced, sys.prefix) if place)
    return tuple(dict.fromkeys(place for place in places if place.is_dir()))


def prefix_of(package: str, prefixes: Iterable[Path]) -> Path | None:
    """The first prefix that holds the package's interfaces; None if there is none."""
    return next((place for place in prefixes if any(_interfaces(place, package))), None)


def resources_of(generator: str, prefixes: Iterable[Path]) -> Path:
    """The folder of a generator's templates. Raises MessagesError if it is not installed."""
    found = next((place for place in prefixes if (place / "share" / generator / "resource").is_dir()), None)
    if found is None:
        raise MessagesError(f"this needs {generator}, which is not installed: {REMEDY}")
    return found / "share" / generator / "resource"


def manifest_of(package: str, prefixes: Iterable[Path]) -> bytes:
    """A package's package.xml, which names its version; empty if there is none."""
    files = (place / "share" / package / "package.xml" for place in prefixes)
    return next((file.read_bytes() for file in files if file.is_file()), b"")


def interface_files(packages: Iterable[str], prefixes: Iterable[Path]) -> list[tuple[str, Path]]:
    """(package, IDL file) of all interfaces of the packages, in each one's first prefix."""
    places = tuple(prefixes)
    found = ((package, prefix_of(package, places)) for package in packages)
    return [(package, file) for package, place in found if place for file in sorted(_interfaces(place, package))]


def include_folders(prefixes: Iterable[Path]) -> list[Path]:
    """Folders of headers: include/<package> of each prefix, as ROS 2 installs them, and include itself."""
    tops = [place / "include" for place in prefixes if (place / "include").is_dir()]
    return [*(folder for top in tops for folder in sorted(top.iterdir()) if folder.is_dir()), *tops]


def _interfaces(prefix: Path, package: str) -> Iterable[Path]:
    return (file for kind in KINDS for file in (prefix / "share" / package / kind).glob("*.idl"))
