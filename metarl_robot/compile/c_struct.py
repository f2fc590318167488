# SPDX-License-Identifier: Apache-2.0
"""The structs of a C source as ctypes structures, filled by field name from Python.

`layouts` reads order and types of the fields from each `typedef struct { … } Name;` of a source. A struct with a tag
is private to C and is not read. `assertions` returns C code that compiles only if the compiler agrees with the
layout: the size of each struct, and the offset and type of each field.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from metarl_robot.core.errors import MetaRLError

_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_STRUCT = re.compile(r"\btypedef\s+struct\s*\{([^{}]*)\}\s*(\w+)\s*;")
_DECLARATION = re.compile(r"((?:const )?\w+)\b ?(.+)")
_DECLARATOR = re.compile(r"((?:\* ?(?:const ?)?)*)(\w+)(?: ?\[(\d+)\])?")
_NUMBERS: dict[str, Any] = {"long": ctypes.c_long, "double": ctypes.c_double}
_ARRAYS = {"long": np.dtype(np.int_), "double": np.dtype(np.float64), "float": np.dtype(np.float32)}


class StructError(MetaRLError):
    """The declaration of a C struct is unreadable, or the given values do not fit its fields."""

    bad_input = False


class Field(NamedTuple):
    """One field of a C struct.

    type: as declared (`const double *`). length: of an array of that type, else None.
    """

    name: str
    type: str
    length: int | None

    @property
    def ctype(self) -> Any:
        """The ctypes type: c_long, c_double, or else an address."""
        one = _NUMBERS.get(self.type, ctypes.c_void_p)
        return one if self.length is None else one * self.length

    def converted(self, value: Any) -> Any:
        """Convert a value for ctypes. Raises StructError."""
        if self.length is None:
            return self._one(value)
        if not isinstance(value, Sequence) or len(value) != self.length:
            raise StructError(f"C field '{self.name}' takes a sequence of {self.length} values; given: {value!r:.100}.")
        return self.ctype(*map(self._one, value))

    def _one(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return self._address(value)
        if isinstance(value, ctypes.Array | ctypes.Structure) and self.type not in _NUMBERS:
            return ctypes.addressof(value)
        try:
            return _NUMBERS.get(self.type, ctypes.c_size_t)(value).value
        except TypeError:
            raise StructError(f"C field '{self.name}' is a {self.type}; given: {value!r:.100}.") from None

    def _address(self, array: np.ndarray[Any, Any]) -> int:
        if array.dtype not in [
            dtype for name, dtype in _ARRAYS.items() if self.type in (f"{name} *", f"const {name} *")
        ]:
            raise StructError(f"C field '{self.name}' is a {self.type}; given: an array of {array.dtype}.")
        if not array.flags.c_contiguous:
            raise StructError(
                f"C field '{self.name}' takes contiguous arrays; the one given has strides {array.strides}."
            )
        return array.ctypes.data


class Layout:
    """Layout of a C struct."""

    def __init__(self, name: str, fields: Sequence[Field]) -> None:
        self.name, self.fields = name, tuple(fields)
        members = [(field.name, field.ctype) for field in fields]
        self.ctype: type[ctypes.Structure] = type(name, (ctypes.Structure,), {"_fields_": members})

    def filled(self, values: Mapping[str, Any]) -> ctypes.Structure:
        """Build a struct with these values, which keeps the arrays it points to alive. Raises StructError."""
        names = {field.name for field in self.fields}
        for kind, wrong in (("without a value", names - values.keys()), ("unknown", values.keys() - names)):
            if wrong:
                raise StructError(f"C struct '{self.name}': fields {kind}: {', '.join(sorted(wrong))}.")
        made = self.ctype(*(field.converted(values[field.name]) for field in self.fields))
        made.kept = values
        return made


def layouts(source: str) -> dict[str, Layout]:
    """The structs without a tag in a C source, by name. Raises StructError."""
    text = " ".join(_COMMENT.sub(" ", source).split())
    return {name: Layout(name, list(_fields(name, body))) for body, name in _STRUCT.findall(text)}


def _fields(struct: str, body: str) -> Iterator[Field]:
    for declaration in filter(None, map(str.strip, body.split(";"))):
        parts = _DECLARATION.fullmatch(declaration)
        for declarator in (parts[2] if parts else "").split(","):
            read = _DECLARATOR.fullmatch(declarator.strip())
            if parts is None or read is None:
                raise StructError(f"C struct '{struct}': this declaration is not understood: {declaration};")
            stars = read[1].strip()
            yield Field(read[2], f"{parts[1]} {stars}".strip(), int(read[3]) if read[3] else None)


def assertions(structs: Mapping[str, Layout]) -> str:
    """C code that checks the layouts, to append to the source they were read from."""
    return "".join(f"{line}\n" for struct in structs.values() for line in _asserted(struct))


def _asserted(struct: Layout) -> Iterator[str]:
    name = struct.name
    yield f'_Static_assert(sizeof({name}) == {ctypes.sizeof(struct.ctype)}, "size of {name}");'
    for field in struct.fields:
        member, place = f"(({name} *)0)->{field.name}", getattr(struct.ctype, field.name)
        declared = field.type if field.length is None else f"__typeof__({field.type})[{field.length}]"
        said = f'"{name}.{field.name}: {field.type} at byte {place.offset}"'
        yield f"_Static_assert(__builtin_offsetof({name}, {field.name}) == {place.offset}, {said});"
        yield f"_Static_assert(sizeof({member}) == {place.size}, {said});"
        yield f"_Static_assert(__builtin_types_compatible_p(__typeof__({member}), {declared}), {said});"
