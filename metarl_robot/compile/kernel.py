# SPDX-License-Identifier: Apache-2.0
"""C files of a room, compiled on first use and called on arrays shared with Python."""

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
"""Header shared by the C files."""
_INCLUDED = re.compile(rf'^#include "(?:\S*/)?{_HEADER.name}"$', re.MULTILINE)


class Kernel(ctypes.CDLL):
    """A compiled C file with its functions as attributes."""

    def __init__(self, library: Path, structs: Mapping[str, Layout]) -> None:
        super().__init__(str(library))
        self._structs = structs

    def struct(self, name: str, **fields: Any) -> ctypes.Structure:
        """Build one of the C file's structs from numbers, contiguous arrays and addresses by field name.

        Raises:
            StructError: there is no such struct, a field is missing or unknown, or a value does not have its field's
            type.
        """
        if name not in self._structs:
            raise StructError(f"unknown C struct '{name}'; the C file's structs: {', '.join(self._structs)}.")
        return self._structs[name].filled(fields)


@cache
def kernel(room: str, name: str, include: Path | None = None, **constants: float) -> Kernel | None:
    """The library of `room`/`name`.c with constants defined; None without a C compiler.

    Calls release Python's global lock.

    include: a further folder of headers.
    """
    source = with_header(files(f"metarl_robot.{room}").joinpath(f"{name}.c").read_text(encoding="utf-8"))
    head = "".join(f"#define {constant} {value!r}\n" for constant, value in constants.items())
    structs = layouts(source)
    library = compiled(head + source + assertions(structs), include=include)
    return None if library is None else Kernel(library, structs)


def with_header(source: str) -> str:
    """Replace the #include of kernel.h by its text, so that the cache's key depends on it."""
    header = _HEADER.read_text(encoding="utf-8")
    return _INCLUDED.sub(lambda _: header, source)


def address(array: Array) -> int:
    """Address of a contiguous, writable array; three times as fast as array.ctypes.data."""
    return ctypes.addressof(ctypes.c_char.from_buffer(array.data))
