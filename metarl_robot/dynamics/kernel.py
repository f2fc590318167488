# SPDX-License-Identifier: Apache-2.0
"""C files of a room, compiled when they are first asked for, and called on arrays that they share with Python."""

from __future__ import annotations

import ctypes
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.dynamics.compiler import compiled

Array = NDArray[np.float64]


@cache
def kernel(room: str, name: str, include: Path | None = None, **constants: float) -> ctypes.CDLL | None:
    """The library of `room`/`name`.c with constants defined; None where there is no C compiler. Calls release Python's lock.

    include: a folder of headers beside the system's.
    """
    head = "".join(f"#define {constant} {value!r}\n" for constant, value in constants.items())
    library = compiled(head + files(f"metarl_robot.{room}").joinpath(f"{name}.c").read_text(encoding="utf-8"), include=include)
    return None if library is None else ctypes.CDLL(str(library))


def address(array: Array) -> int:
    """Where a contiguous, writable array is; three times as fast as array.ctypes.data."""
    return ctypes.addressof(ctypes.c_char.from_buffer(array.data))


def struct(**fields: int | float | NDArray[Any]) -> ctypes.Structure:
    """A C struct of longs, doubles and pointers into arrays, in the order given.

    The arrays are contiguous, and must outlive it: nothing else refers to them.
    """
    types = {int: ctypes.c_long, float: ctypes.c_double, np.ndarray: ctypes.c_void_p}
    layout = [(name, types[type(value)]) for name, value in fields.items()]
    values = [value.ctypes.data if isinstance(value, np.ndarray) else value for value in fields.values()]
    made: ctypes.Structure = type("Struct", (ctypes.Structure,), {"_fields_": layout})(*values)
    return made
