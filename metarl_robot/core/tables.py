# SPDX-License-Identifier: Apache-2.0
"""Named tables of numbers in a std_msgs/Float64MultiArray, for data that has no ROS message of its own.

A table has a stamp, and its rows and columns have names. The label of the first dimension holds the stamp and the
rows' names, `12.345000000 mean,std`; a command adds its source, `12.345000000 effort 4f0c2a91`. The label of the
second dimension holds the columns' names, `payload_mass_kg,…`. The data is row by row, so a reader that ignores the
labels sees a plain matrix. This module does not import ROS: it also reads messages from a recording.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import SignalError, shortened, shown

Array = NDArray[np.float64]

NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, eq=False)
class Table:
    """A stamp [ns], names of rows (R,) and columns (C,), and values (R, C).

    source: name of the sender's process; may be empty.
    """

    stamp_ns: int
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: Array
    source: str = ""

    @property
    def stamp_s(self) -> float:
        return self.stamp_ns / NANOSECONDS

    def row(self, name: str) -> Array:
        """Values of one row, (C,). Raises SignalError for an unknown name."""
        if name not in self.rows:
            raise SignalError(f"table: no row '{name}'; there are: {shortened(', '.join(self.rows))}")
        return self.values[self.rows.index(name)]

    def value(self, column: str, row: str | None = None) -> float:
        """One number, by default of the first row. Raises SignalError for an unknown name."""
        if column not in self.columns:
            raise SignalError(f"table: no column '{column}'; there are: {shortened(', '.join(self.columns))}")
        values = self.values[0] if row is None else self.row(row)
        return float(values[self.columns.index(column)])

    @property
    def labels(self) -> tuple[str, str]:
        """The labels of the message's two dimensions."""
        seconds, nanoseconds = divmod(self.stamp_ns, NANOSECONDS)
        first = f"{seconds}.{nanoseconds:09d} {','.join(self.rows)}"
        return f"{first} {self.source}" if self.source else first, ",".join(self.columns)


MOST_LABEL_CHARACTERS = 20_000
MOST_NUMBERS = 100_000
_STAMP = re.compile(r"([0-9]{1,11})\.([0-9]{9})")
_SOURCE = re.compile(r"[!-~]{0,64}")  # visible ASCII
_LAST_NS = 2**63 - 1


def table_of(message: Any) -> Table:
    """Parse a Float64MultiArray.

    Raises:
        SignalError: the labels do not have this format, contradict the sizes, or the table is too large.
    """
    dimensions = message.layout.dim
    if len(dimensions) != 2:
        raise SignalError(f"table: needs two labelled dimensions; given {len(dimensions)}")
    first, second = dimensions[0].label, dimensions[1].label
    if len(first) + len(second) > MOST_LABEL_CHARACTERS or len(message.data) > MOST_NUMBERS:
        raise SignalError(
            f"table: may have {MOST_LABEL_CHARACTERS} characters of labels and {MOST_NUMBERS} numbers; given more"
        )
    stamp, _, rest = first.partition(" ")
    row_names, _, source = rest.partition(" ")
    stamp_ns = _stamp_ns(stamp)
    if stamp_ns is None or not row_names or _SOURCE.fullmatch(source) is None:
        raise SignalError(
            f"table: the first label must be '<seconds>.<9 digits> <rows> [<source>]'; given {shown(first)}"
        )
    rows, columns = tuple(row_names.split(",")), tuple(second.split(","))
    if len(message.data) != len(rows) * len(columns):
        raise SignalError(
            f"table: {len(rows)} rows of {len(columns)} columns were announced; {len(message.data)} numbers came"
        )
    return Table(
        stamp_ns, rows, columns, np.array(message.data, dtype=np.float64).reshape(len(rows), len(columns)), source
    )


def _stamp_ns(text: str) -> int | None:
    """Nanoseconds of `<seconds>.<9 digits>` in ASCII; None if it is malformed or exceeds 64 bits."""
    found = _STAMP.fullmatch(text)
    if found is None:
        return None
    stamp_ns = int(found[1]) * NANOSECONDS + int(found[2])
    return stamp_ns if stamp_ns <= _LAST_NS else None
