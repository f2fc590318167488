# SPDX-License-Identifier: Apache-2.0
"""Raceline files in the formats of F1TENTH teams and TUM's optimisers: a row for each point, columns with , or ;.

Without names the columns are x_m, y_m [, w_tr_right_m, w_tr_left_m [, speed]]. A line of names, with # or not, gives
another order and further columns, which are skipped: # s_m; x_m; y_m; psi_rad; kappa_radpm; vx_mps; ax_mps2.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import SignalError, shown

Array = NDArray[np.float64]

PLACE, WIDTHS, SPEED = ("x_m", "y_m"), ("w_tr_right_m", "w_tr_left_m"), "speed"
OTHER_NAMES = ("vx_mps", "v_mps", "speed_m_s", "velocity")
"""Other names of the column SPEED."""
_UNNAMED = {2: PLACE, 4: (*PLACE, *WIDTHS), 5: (*PLACE, *WIDTHS, SPEED)}
ALLOWED = "x_m, y_m [, w_tr_right_m, w_tr_left_m [, speed]], or a line with their names"
MOST_BYTES = 20_000_000
_FURTHEST = 1e5
_CLOSEST_M = 1e-3


class Stations(NamedTuple):
    """Points (K, 2) [m; world] of a raceline, and the lines (K,) of the file in which they are.

    widths: (K, 2) distance of the course's right and left edge [m]; speeds: (K,) [m/s]; None: not in the file.
    """

    points: Array
    lines: NDArray[np.intp]
    widths: Array | None
    speeds: Array | None
    closed: bool


def read_stations(file: Path) -> Stations:
    """Read a file. The line is closed if its ends are as near to each other as its points. Raises SignalError."""
    names, rows, lines = _parsed(file)
    columns = {name: rows[:, k] for k, name in enumerate(names)}
    place = np.column_stack([columns[name] for name in PLACE])
    widths = np.column_stack([columns[name] for name in WIDTHS]) if set(WIDTHS) <= set(columns) else None
    speeds = columns.get(SPEED)
    steps = np.linalg.norm(np.diff(place, axis=0), axis=1)
    near = np.flatnonzero(steps < _CLOSEST_M)
    if len(near):
        k = int(near[0])
        raise _wrong(file, int(lines[k + 1]), f"is at the place of line {lines[k]}; each point must be given once")
    gap_m = float(np.linalg.norm(place[-1] - place[0]))
    closed = len(place) > 2 and gap_m <= 1.5 * float(steps.max())
    last = len(place) - 1 if closed and gap_m < _CLOSEST_M else len(place)
    _check_columns(file, lines, widths, speeds)
    widths, speeds = (None if part is None else part[:last] for part in (widths, speeds))
    return Stations(place[:last], lines[:last], widths, speeds, closed)


def _parsed(file: Path) -> tuple[tuple[str, ...], Array, NDArray[np.intp]]:
    """Names of the columns, rows (K, columns) and their lines (K,)."""
    names: tuple[str, ...] = ()
    rows: list[list[float]] = []
    lines: list[int] = []
    for number, line in enumerate(_text(file).splitlines(), 1):
        line = line.strip()
        fields = _fields(line.lstrip("#"))
        if set(PLACE) <= set(fields):
            names = fields
        elif line and not line.startswith("#"):
            if rows and len(fields) != len(rows[0]):
                raise _wrong(file, number, f"has {len(fields)} columns; line {lines[0]} has {len(rows[0])}")
            rows.append([_number(file, number, field) for field in fields])
            lines.append(number)
    if len(rows) < 3:
        raise SignalError(f"raceline {file}: has {len(rows)} points; must have at least 3, with columns {ALLOWED}")
    if len(names) != len(rows[0]):
        names = _UNNAMED.get(len(rows[0]), ())
    if not names:
        raise _wrong(file, lines[0], f"has {len(rows[0])} columns; allowed: {ALLOWED}")
    return names, np.array(rows), np.array(lines)


def _text(file: Path) -> str:
    try:
        if file.stat().st_size > MOST_BYTES:
            raise SignalError(f"raceline {file}: is larger than {MOST_BYTES // 1_000_000} MB; leave out points")
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SignalError(f"raceline {file}: cannot be read as text: {error}") from error


def _fields(line: str) -> tuple[str, ...]:
    fields = tuple(field.strip() for field in line.split(";" if ";" in line else ","))
    return tuple(SPEED if field in OTHER_NAMES else field for field in fields)


def _number(file: Path, line: int, field: str) -> float:
    try:
        value = float(field)
    except ValueError:
        value = np.nan
    if not abs(value) <= _FURTHEST:
        raise _wrong(file, line, f"has {shown(field)}; allowed: finite numbers within {_FURTHEST:g}")
    return value


def _check_columns(file: Path, lines: NDArray[np.intp], widths: Array | None, speeds: Array | None) -> None:
    if widths is not None and widths.min() < 0.0:
        worst = int(np.argmin(widths.min(axis=1)))
        raise _wrong(file, int(lines[worst]), f"has a width of {widths[worst].min():g} m; widths must be >= 0")
    if speeds is not None and speeds[1:-1].min() <= 0.0:
        worst = 1 + int(np.argmin(speeds[1:-1]))
        raise _wrong(file, int(lines[worst]), f"has a speed of {speeds[worst]:g} m/s; speeds must be > 0")


def _wrong(file: Path, line: int, text: str) -> SignalError:
    return SignalError(f"raceline {file}: line {line} {text}")
