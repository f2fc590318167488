# SPDX-License-Identifier: Apache-2.0
"""C files of a room, compiled when they are first asked for, and called on arrays that they share with Python."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.compile.c_struct import Layout, StructError, assertions, layouts
from metarl_robot.compile.compiler import compiled

Array = NDArray[np.float64]

_HEADER = Path(__file__).with_name("kernel.h")
"""What the C files share."""
_INCLUDED = re.compile(rf'^#include "(?:\S*/)?{_HEADER.name}"$', re.MULTILINE)


class Kernel(ctypes.CDLL):
    """A compiled C file: its functions are attributes."""

    def __init__(self, library: Path, structs: Mapping[str, Layout]) -> None:
        super().__init__(str(library))
        self._structs = structs

    def struct(self, name: str, **fields: Any) -> ctypes.Structure:
        """One of the C file's structs, filled by field name with numbers, contiguous arrays and addresses.

        Raises:
            StructError: there is no such struct, a field is missing or unknown, or a value is of another type than its
                field.
        """
        if name not in self._structs:
            raise StructError(f"unknown C struct '{name}'; the C file's structs: {', '.join(self._structs)}.")
        return self._structs[name].filled(fields)


@cache
def kernel(room: str, name: str, include: Path | None = None, **constants: float) -> Kernel | None:
    """The library of `room`/`name`.c with constants defined; None where there is no C compiler. Calls release Python's
    lock.

    include: a folder of headers beside the system's.
    """
    source = with_header(files(f"metarl_robot.{room}").joinpath(f"{name}.c").read_text(encoding="utf-8"))
    head = "".join(f"#define {constant} {value!r}\n" for constant, value in constants.items())
    structs = layouts(source)
    library = compiled(head + source + assertions(structs), include=include)
    return None if library is None else Kernel(library, structs)


def with_header(source: str) -> str:
    """A C source with the text of kernel.h in the place of its #include: the cache's key depends on it."""
    header = _HEADER.read_text(encoding="utf-8")
    return _INCLUDED.sub(lambda _: header, source)


def address(array: Array) -> int:
    """Where a contiguous, writable array is; three times as fast as array.ctypes.data."""
    return ctypes.addressof(ctypes.c_char.from_buffer(array.data))
