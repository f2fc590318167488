# SPDX-License-Identifier: Apache-2.0
"""Decodes sensor_msgs/JointState quickly: all messages of one publisher have their numbers at the same places.

CDR, little-endian, of ROS 2: a header of 4 bytes, from which on numbers are aligned to their size; stamp, frame, names,
then three sequences of doubles.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Stamps = NDArray[np.int64]

TYPE = "sensor_msgs/msg/JointState"
_STAMP, _FRAME = 4, 12
_ENCODING = b"\x00\x01"
_LONGEST = 10_000


class _Layout(NamedTuple):
    """head: bytes from the frame to the last name. fields: (offset of the count, offset, count) of each sequence."""

    head: bytes
    size: int
    names: tuple[str, ...]
    fields: tuple[tuple[int, int, int], ...]


class JointStates(NamedTuple):
    """One message: stamp [ns], names, and position, velocity and effort as recorded; any may be empty."""

    stamp_ns: int
    name: tuple[str, ...]
    position: Array
    velocity: Array
    effort: Array


class JointStatesBlock(NamedTuple):
    """K messages of one layout: stamps (K,) [ns], names, and position, velocity and effort (K, ·) as recorded."""

    stamps_ns: Stamps
    name: tuple[str, ...]
    position: Array
    velocity: Array
    effort: Array


def decoded_block(raw: Sequence[bytes]) -> JointStatesBlock | None:
    """Decode messages at once; None if they differ in more than numbers.

    Raises:
        ValueError, struct.error: the first one is no such message.
    """
    layout = _read_layout(raw[0])
    if any(len(each) != layout.size for each in raw):
        return None
    table = np.frombuffer(b"".join(raw), np.uint8).reshape(len(raw), layout.size)
    alike = [(0, _STAMP), (_FRAME, _FRAME + len(layout.head)), *((at, at + 4) for at, _, _ in layout.fields)]
    if not all((table[:, begin:end] == table[0, begin:end]).all() for begin, end in alike):
        return None
    seconds, nanoseconds = _column(table, _STAMP, "<i4", 1), _column(table, _STAMP + 4, "<u4", 1)
    stamps_ns = seconds[:, 0].astype(np.int64) * 1_000_000_000 + nanoseconds[:, 0]
    values = [_column(table, offset, "<f8", count) for _, offset, count in layout.fields]
    return JointStatesBlock(stamps_ns, layout.names, *values)


def _column(table: NDArray[np.uint8], at: int, kind: str, count: int) -> NDArray[Any]:
    """The numbers (K, count) from byte `at` on."""
    size = count * np.dtype(kind).itemsize
    return np.ascontiguousarray(table[:, at : at + size]).view(kind) if count else np.empty((len(table), 0), kind)


class JointStateDecoder:
    """Decodes messages of one topic."""

    def __init__(self) -> None:
        self._layout: _Layout | None = None

    def __call__(self, raw: bytes) -> JointStates:
        """Decode a message. Raises ValueError or struct.error for anything else."""
        layout = self._layout
        if layout is None or not _fits(layout, raw):
            layout = self._layout = _read_layout(raw)
        second, nanosecond = struct.unpack_from("<iI", raw, _STAMP)
        values = [np.frombuffer(raw, "<f8", count, offset) for _, offset, count in layout.fields]
        return JointStates(second * 1_000_000_000 + nanosecond, layout.names, *values)


def _fits(layout: _Layout, raw: bytes) -> bool:
    same = len(raw) == layout.size and raw[_FRAME : _FRAME + len(layout.head)] == layout.head
    return same and all(struct.unpack_from("<I", raw, at)[0] == count for at, _, count in layout.fields)


def _read_layout(raw: bytes) -> _Layout:
    if raw[:2] != _ENCODING:
        raise ValueError("not little-endian CDR")
    _, at = _text(raw, _FRAME)
    count, at = _count(raw, at)
    names = []
    for _ in range(count):
        name, at = _text(raw, at)
        names.append(name)
    end, fields = at, []
    for _ in range(3):
        place = _aligned(at, 4)
        count, at = _count(raw, at)
        at = _aligned(at, 8) if count else at
        if at + 8 * count > len(raw):
            raise ValueError("cut short")
        fields.append((place, at, count))
        at += 8 * count
    return _Layout(raw[_FRAME:end], len(raw), tuple(names), tuple(fields))


def _aligned(at: int, size: int) -> int:
    return at + (4 - at) % size


def _count(raw: bytes, at: int) -> tuple[int, int]:
    at = _aligned(at, 4)
    (count,) = struct.unpack_from("<I", raw, at)
    if count > _LONGEST:
        raise ValueError(f"{count} entries")
    return count, at + 4


def _text(raw: bytes, at: int) -> tuple[str, int]:
    size, at = _count(raw, at)
    if at + size > len(raw):
        raise ValueError("cut short")
    return raw[at : at + size].rstrip(b"\x00").decode("utf-8", "replace"), at + size
