# SPDX-License-Identifier: Apache-2.0
"""An MCAP file that is complete at any moment, so that a killed process leaves a readable file.

New records and the end of an MCAP file (no summary) are written over the previous end. A kill can cut a long write off
between two pages. So a long one is made inside a private record, which readers skip (MCAP's opcodes from 0x80 on), with
the new end behind it; then the first bytes of the new records replace the header of the private one.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

MAGIC = b"\x89MCAP0\r\n"
_DATA_END = b"\x0f" + (4).to_bytes(8, "little") + bytes(4)
_FOOTER = b"\x02" + (20).to_bytes(8, "little") + bytes(20)
END = _DATA_END + _FOOTER + MAGIC
_PRIVATE, _HEADER = b"\x80", 9  # opcode, and size of a record's header: opcode and length


class WholeMcap:
    """Output file for mcap.writer.Writer. Records are held until `commit`."""

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o666)
        self._size = 0
        self.pending = bytearray()

    def write(self, data: bytes) -> int:
        self.pending += data
        return len(data)

    def tell(self) -> int:
        return self._size + len(self.pending)

    def flush(self) -> None:
        """Do nothing: only whole records are written."""

    def commit(self, end: bytes = END) -> None:
        """Write the held records. Raises OSError; the file then ends at its previous end."""
        data = bytes(self.pending) + end
        try:
            if len(data) > len(END) + _HEADER:
                self._write_hidden(data)
                data = data[:_HEADER]
            _write_at(self._file, data, self._size)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file, self._size)
                _write_at(self._file, END, self._size)
            raise
        self._size += len(self.pending)
        self.pending.clear()

    def _write_hidden(self, data: bytes) -> None:
        """Write all of the data but its first _HEADER bytes, which are the header of a private record meanwhile."""
        hidden, tail = data[_HEADER : -len(END)], data[-len(END) :]
        place = self._size + _HEADER
        _write_at(self._file, END, place + len(hidden))
        _write_at(self._file, _PRIVATE + len(hidden).to_bytes(8, "little"), self._size)
        _write_at(self._file, hidden, place)
        if tail != END:
            _write_at(self._file, tail, place + len(hidden))

    def close(self) -> None:
        os.close(self._file)


def _write_at(file: int, data: bytes, place: int) -> None:
    while data:
        written = os.pwrite(file, data, place)
        data, place = data[written:], place + written
