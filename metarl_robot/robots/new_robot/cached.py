# SPDX-License-Identifier: Apache-2.0
"""Descriptions that the package `robot_descriptions` has on this machine, by name: `robot_descriptions:NAME`.

Importing one of the package's modules downloads its repository. Here its module is read, not imported: it assigns
constant paths below the repository's folder in the cache.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from metarl_robot.core.errors import MetaRLError, MissingPackageError, UnknownNameError

PREFIX = "robot_descriptions:"
_PACKAGE = "robot_descriptions"
_FORMATS = ("URDF_PATH", "MJCF_PATH")


@dataclass(frozen=True)
class Found:
    """file: the URDF or MJCF. mesh_dirs: folders in which its meshes are searched."""

    file: Path
    mesh_dirs: tuple[Path, ...] = ()


def find_source(given: Path) -> Found:
    """The file that a user names: itself, or the cached description of `robot_descriptions:NAME`.

    Raises:
        MissingPackageError: the package is not installed.
        UnknownNameError: it has no such description.
        MetaRLError: the description is not in the cache, or has neither a URDF nor an MJCF.
    """
    if not str(given).startswith(PREFIX):
        return Found(given)
    name = str(given).removeprefix(PREFIX)
    paths = _paths(_module_file(name), _cached)
    file = next((Path(paths[key]) for key in _FORMATS if key in paths), None)
    if file is None:
        xacro = paths.get("XACRO_PATH", "its xacro")
        raise MetaRLError(f"{given}: it has neither a URDF nor an MJCF; write it out: xacro {xacro} > robot.urdf")
    if not file.is_file():
        raise MetaRLError(
            f"{given}: {file} is not on this machine, and nothing is downloaded; fetch it with: "
            f'python -c "import {_PACKAGE}.{name}"'
        )
    folders = (paths.get("PACKAGE_PATH"), paths.get("REPOSITORY_PATH"))
    return Found(file, tuple(Path(folder) for folder in folders if folder))


def _module_file(name: str) -> Path:
    package = find_spec(_PACKAGE)
    if package is None or not package.submodule_search_locations:
        raise MissingPackageError(_PACKAGE, "pip install robot_descriptions")
    folder = Path(next(iter(package.submodule_search_locations)))
    names = sorted(path.stem for path in folder.glob("*_description.py") if not path.stem.startswith("_"))
    if name not in names:
        raise UnknownNameError("robot description", name, names)
    return folder / f"{name}.py"


def _cached(repository: str) -> str:
    """Folder of a repository in the cache, as the package names it."""
    path = str(import_module(f"{_PACKAGE}._repositories").REPOSITORIES[repository].cache_path)
    commit = os.environ.get("ROBOT_DESCRIPTION_COMMIT")
    cache = os.path.expanduser(os.environ.get("ROBOT_DESCRIPTIONS_CACHE", "~/.cache/robot_descriptions"))
    return os.path.join(cache, path if commit is None else f"{path}-{commit}/{path}")


def _paths(module: Path, folder_of: Callable[[str], str]) -> dict[str, str]:
    """Paths that a module assigns: texts, other paths, `clone_to_cache(…)` and `path.join(…)` of these."""
    found: dict[str, str] = {}
    for line in ast.parse(module.read_text(encoding="utf-8")).body:
        target = line.target if isinstance(line, ast.AnnAssign) else None
        if isinstance(line, ast.AnnAssign) and isinstance(target, ast.Name) and line.value is not None:
            value = _value(line.value, found, folder_of)
            if value is not None:
                found[target.id] = value
    return found


def _value(node: ast.expr, known: Mapping[str, str], folder_of: Callable[[str], str]) -> str | None:
    """A path as text; None: the expression is of another form."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if not isinstance(node, ast.Call):
        return None
    parts = [_value(part, known, folder_of) for part in node.args]
    texts = [part for part in parts if part is not None]
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if len(texts) < len(parts) or not texts:
        return None
    if name == "join":
        return os.path.join(*texts)
    return folder_of(texts[0]) if name.endswith("clone_to_cache") else None
