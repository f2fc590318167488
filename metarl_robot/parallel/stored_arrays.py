# SPDX-License-Identifier: Apache-2.0
"""Large arrays in files, which several processes map into memory instead of getting copies of their own.

Pages are read when they are needed, and the system may drop them again. The files are temporary: made and read by one
run.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

Value = TypeVar("Value")


class ArrayFile(NamedTuple):
    """An array in a file."""

    path: Path


def stored(value: Value, folder: Path) -> Value:
    """A named tuple or dataclass with its arrays in new files of a folder: see `loaded`. Shared arrays are kept once.

    Named tuples and dataclasses within it are treated alike.
    """
    files: dict[int, ArrayFile] = {}

    def keep(part: Any) -> Any:
        if not isinstance(part, np.ndarray):
            return part
        if id(part) not in files:
            files[id(part)] = ArrayFile(folder / f"{len(files)}.npy")
            np.save(files[id(part)].path, part, allow_pickle=False)
        return files[id(part)]

    return _with(value, keep)


def loaded(value: Value) -> Value:
    """The data of `stored`. What is written to its arrays stays in this process."""

    def there(part: Any) -> Any:
        if not isinstance(part, ArrayFile):
            return part
        return np.load(part.path, mmap_mode="c", allow_pickle=False).view(np.ndarray)

    return _with(value, there)


def _with(value: Any, changed: Any) -> Any:
    """A value whose parts are changed."""
    if isinstance(value, ArrayFile):
        return changed(value)
    if isinstance(value, tuple) and hasattr(value, "_make"):
        return type(value)._make(_with(part, changed) for part in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{each.name: _with(getattr(value, each.name), changed) for each in fields(value)})
    return changed(value)
