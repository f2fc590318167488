# SPDX-License-Identifier: Apache-2.0
"""Input validation of a task's fields, and their form in JSON."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metarl_robot.core.errors import SignalError, shown

Array = NDArray[np.float64]


def finite_vector(name: str, values: ArrayLike, size: int | None = None) -> Array:
    """Return a read-only copy of `size` (or any number of) finite numbers. Raises SignalError."""
    array = np.array(values, float)
    if array.ndim != 1 or (size is not None and len(array) != size) or not np.isfinite(array).all():
        raise SignalError(f"task: {name} must be {size or 'n'} finite numbers; given {shown(array.tolist())}")
    array.flags.writeable = False
    return array


def plain(value: Any) -> Any:
    """Convert arrays to lists in nested dictionaries, ready for JSON."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def known_keys(kind: type, content: Any, required: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a copy of a dictionary with fields of the dataclass `kind` as keys. Raises SignalError."""
    names = [field.name for field in fields(kind)]
    given = shown(sorted(content) if isinstance(content, dict) else content)
    if not isinstance(content, dict) or not set(content) <= set(names) or not set(required) <= set(content):
        raise SignalError(f"task: a {kind.__name__} has the keys {names}; given {given}")
    return dict(content)
