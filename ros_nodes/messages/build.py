# SPDX-License-Identifier: Apache-2.0
"""Built packages of messages in the user's cache: each is built once.

A build is the folder <cache>/messages/<package>-<key>, a prefix with lib/, include/, share/ and python/. The key
stands for the definitions, the packages that they use, the generators' versions and Python. A build appears in one
step (rename), under a lock, so that processes that start together build once, and an interrupted build leaves
nothing behind that is used.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import IO

from metarl_robot.compile.code_cache import private_folder
from metarl_robot.compile.compiler import scratch_folder
from metarl_robot.compile.compiler_process import check_not_stopped
from metarl_robot.ros_nodes.messages.compile import check_compilers, compile_package
from metarl_robot.ros_nodes.messages.generate import GENERATORS, generate
from metarl_robot.ros_nodes.messages.package import (
    DEFINITIONS,
    MessagePackage,
    MessagesError,
    package_at,
    shipped,
    shipped_names,
)
from metarl_robot.ros_nodes.messages.prefixes import REMEDY, installed_prefixes, manifest_of, prefix_of

_TRY_EVERY_S = 0.1  # while another process builds
_RECIPE = "1"
"""Part of the key: changes when generate.py or compile.py build something else from the same definitions."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Built:
    """A built package. tree: its prefix. needs: the builds that it uses."""

    package: MessagePackage
    tree: Path
    needs: tuple[Built, ...]

    @property
    def all(self) -> tuple[Built, ...]:
        """This build and all that it uses, without duplicates."""
        builds = (self, *(each for need in self.needs for each in need.all))
        return tuple({build.tree: build for build in builds}.values())

    @property
    def python_folders(self) -> tuple[Path, ...]:
        """Folders for Python's search path."""
        return tuple(build.tree / "python" for build in self.all)


def build(package: MessagePackage, say: Say = lambda text: None, under: tuple[str, ...] = ()) -> Built:
    """The built package: from the cache, or built now, with the packages that it needs.

    say: is told before a build, which takes from seconds to a minute. under: packages that need this one.

    Raises:
        MessagesError: definitions are wrong or circular, a package is missing, or there are no tools to build.
    """
    if package.name in under:
        raise MessagesError(f"packages need each other in a circle: {' → '.join((*under, package.name))}")
    installed = installed_prefixes()
    own = [need for need in package.needs if prefix_of(need, installed) is None]
    needs = tuple(build(_found(need, package), say, (*under, package.name)) for need in own)
    tree = messages_folder() / f"{package.name}-{_key(package, needs, installed)}"
    if not tree.is_dir():
        with _locked(tree.parent / f"{package.name}.lock"):
            if not tree.is_dir():
                _build(package, needs, installed, tree, say)
    return Built(package, tree, needs)


def is_built(package: MessagePackage) -> bool:
    """Whether any build of these definitions is in the cache."""
    return any(messages_folder().glob(f"{package.name}-{package.digest[:12]}-*"))


def messages_folder() -> Path:
    """The folder of builds: in the user's cache, or in a temporary one of this process if that is not safe."""
    folder = (private_folder() or scratch_folder()) / "messages"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _found(name: str, user: MessagePackage) -> MessagePackage:
    """The definitions of a package that is not installed: shipped, or in a folder beside the package that needs it."""
    if name in shipped_names():
        return shipped(name)
    beside = user.folder.parent / name
    if user.folder.parent != DEFINITIONS and beside.is_dir():
        return package_at(beside)
    raise MessagesError(f"{user.name} needs {name}, which is not installed: {REMEDY}, or put it beside {user.folder}")


def _key(package: MessagePackage, needs: tuple[Built, ...], installed: tuple[Path, ...]) -> str:
    versions = [manifest_of(name, installed) for name in (*GENERATORS, "rosidl_adapter", *package.needs)]
    python = (sysconfig.get_config_var("SOABI") or "", sysconfig.get_paths()["include"])
    places = (*python, *map(str, installed), *(need.tree.name for need in needs), os.environ.get("ROS_DISTRO", ""))
    rest = hashlib.sha256("\n".join((_RECIPE, *places)).encode() + b"\n".join(versions)).hexdigest()
    return f"{package.digest[:12]}-{rest[:12]}"


def _build(
    package: MessagePackage, needs: tuple[Built, ...], installed: tuple[Path, ...], tree: Path, say: Say
) -> None:
    check_compilers()
    say(f"building {package.name} ({len(package.files)} definitions): once, into {tree.parent}")
    prefixes = (*dict.fromkeys(build.tree for need in needs for build in need.all), *installed)
    with tempfile.TemporaryDirectory(dir=tree.parent, prefix=f".{package.name}-") as scratch:
        place = Path(scratch) / "tree"
        place.mkdir()
        compile_package(package, generate(package, place, prefixes), place, prefixes)
        place.rename(tree)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        while not _is_locked(file):
            check_not_stopped()
            sleep(_TRY_EVERY_S)
        yield


def _is_locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
