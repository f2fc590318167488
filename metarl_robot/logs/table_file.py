# SPDX-License-Identifier: Apache-2.0
"""Reads tables of numbers as text (CSV): one line of column names, then a line for each sample.

Lines above the names and comments (#) are passed over. Cells are separated by commas, semicolons, tabs, bars or spaces,
as the line of names shows. A text with a byte order mark may be in UTF-16, as of Excel. Decimal commas are read where
they cannot be separators. A line of units under the names must agree with the map.
"""

from __future__ import annotations

import codecs
import csv
import itertools
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import UnknownNameError, shortened, shown
from metarl_robot.core.robot import Robot
from metarl_robot.logs.log_map import UNITS, TableMap, TimeMap
from metarl_robot.logs.recording import LogError, Repair
from metarl_robot.logs.series import MOST_SAMPLES, RawLog, Series

Array = NDArray[np.float64]

SUFFIXES = (".csv", ".tsv", ".txt")
_SEPARATORS = (",", ";", "\t", "|", None)  # None: spaces
_LONGEST_LINE = 100_000
_MOST_ABOVE, _SAMPLED = 100, 100  # lines above the names; lines of which the number of cells is compared
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_SPELLED = {"°": "deg", "°/s": "deg/s", "degrees": "deg", "radians": "rad", "sec": "s", "seconds": "s", "N·m": "Nm"}
_NANOSECONDS = 1e9
PERIODS_S = (2e-5, 0.5)
"""Usual time between two rows, from 50 kHz to 2 Hz; another one shows another unit of time."""


LONGEST_S = 9e9
"""Times farther from the others are none: nanoseconds could not hold them."""


class Table(NamedTuple):
    """Numbers (K, C) of the wanted columns.

    wrong: lines without a number in each. commas: lines with decimal ones. units: lines of units under the names.
    """

    values: Array
    wrong: int
    commas: int = 0
    units: int = 0


def read_table(robot: Robot, path: Path, log_map: TableMap) -> RawLog:
    """Read the signals of a table.

    Raises:
        LogError: it is no table, lacks a column, or has no line of numbers.
    """
    with _open(path) as file:
        separator, header = _header(path, file, log_map.time.column)
        wanted = log_map.columns(robot, header)
        names = (log_map.time.column, *(name for columns in wanted.values() for name in columns))
        places = _places(path, header, names)
        units = _units_below(path, file, separator, places, _units_of(log_map, wanted))
        table = _numbers(path, file, separator, places, len(header))._replace(units=units)
    if not len(table.values):
        raise LogError(
            f"{path}: no line holds a number in each of its {len(header)} columns; expected one line for each sample. "
            "Decimal commas need another separator than ',': export with ';' or tabs, or with decimal points"
        )
    check_period(path, table.values[:, 0], log_map.time)
    return raw_log(table, wanted, log_map)


def check_period(path: Path, times: Array, time: TimeMap) -> None:
    """Raise LogError where times (K,) cannot be in the map's unit; it names the unit that would be right."""
    steps = np.diff(times[np.isfinite(times)])
    if not (steps > 0.0).any():
        return
    usual, (least, most) = float(np.median(steps[steps > 0.0])), PERIODS_S
    if not least <= usual * UNITS[time.unit] <= most:
        right = [unit for unit in ("s", "ms", "us", "ns") if least <= usual * UNITS[unit] <= most]
        remedy = f" They would be right in {right[0]}: say 'time: {{unit: {right[0]}}}' in a map." if right else ""
        raise LogError(
            f"{path}: rows are {usual * UNITS[time.unit]:.3g} s apart by column '{time.column}' in {time.unit}; "
            f"expected {least:g} … {most:g} s.{remedy}"
        )


def raw_log(table: Table, wanted: dict[str, tuple[str, ...]], log_map: TableMap) -> RawLog:
    """The signals of a table. Its columns are the time, then those wanted."""
    time_s = table.values[:, 0] * UNITS[log_map.time.unit]
    known = np.isfinite(time_s)
    known[known] = np.abs(time_s[known] - np.median(time_s[known])) < LONGEST_S
    start_s = float(time_s[known][0]) if known.any() else 0.0
    stamps = np.round((time_s[known] - start_s) * _NANOSECONDS).astype(np.int64)
    ends = np.cumsum([1, *(len(columns) for columns in wanted.values())])
    signals = {
        key: Series(stamps, np.ascontiguousarray(table.values[known, begin:end]))
        for key, begin, end in zip(wanted, ends[:-1], ends[1:], strict=True)
    }
    counted = (
        ("lines that are no row of numbers: left out", table.wrong),
        ("lines with decimal commas: read as points", table.commas),
        ("lines of units under the names: left out", table.units),
    )
    without = (("rows without a time: left out", int(len(known) - known.sum())),)
    cut = (("rows beyond the most that are read: left out", int(len(table.values) >= MOST_SAMPLES)),)
    return RawLog(signals, tuple(Repair(*each) for each in (*counted, *without, *cut) if each[1]))


def _open(path: Path) -> TextIO:
    try:
        with path.open("rb") as file:
            begin = file.read(_LONGEST_LINE)
        encoding = next((name for mark, name in _MARKS.items() if begin.startswith(mark)), "utf-8")
        if encoding == "utf-8" and b"\0" in begin:
            raise LogError(f"{path}: holds bytes that are no text in UTF-8; save it as CSV in UTF-8")
        return path.open(encoding=encoding, errors="replace")
    except (OSError, ValueError) as problem:
        raise LogError(f"{shortened(str(path))}: cannot be read: {problem}") from problem


def _header(path: Path, file: TextIO, time: str) -> tuple[str | None, list[str]]:
    """Separator and column names of the first line with the column of times; without one, the first line's."""
    texts: list[str] = []
    for line in itertools.islice(iter(lambda: file.readline(_LONGEST_LINE), ""), _MOST_ABOVE):
        text = line.lstrip("#").strip()
        for separator in _SEPARATORS:
            names = _cells(text, separator)
            if time in names:
                return separator, names
        texts += [text] if text else []
    if not texts:
        raise LogError(f"{path}: is empty; expected a line of column names, then a line of numbers for each sample")
    usual = max(_SEPARATORS[:-1], key=lambda separator: texts[0].count(str(separator)))
    return usual, _cells(texts[0], usual)


def _cells(line: str, separator: str | None) -> list[str]:
    cells = line.split() if separator is None else next(csv.reader([line], delimiter=separator), [])
    return [cell.strip().strip('"') for cell in cells]


def _row(line: str, separator: str | None, width: int) -> list[str]:
    """The cells of a line, without empty ones after the last column."""
    cells = _cells(line.rstrip("\n"), separator)
    return cells if any(cells[width:]) else cells[:width]


def _units_of(log_map: TableMap, wanted: dict[str, tuple[str, ...]]) -> list[tuple[str, str | None]]:
    """Key of the map and unit of each wanted column; None: the map has no unit for it."""
    found: list[tuple[str, str | None]] = [("time", log_map.time.unit)]
    for key, columns in wanted.items():
        found += [(key, getattr(getattr(log_map, key, None), "unit", None))] * len(columns)
    return found


def _units_below(
    path: Path, file: TextIO, separator: str | None, places: list[int], units: list[tuple[str, str | None]]
) -> int:
    """Pass over a line of units under the names; returns whether there is one. Raises LogError where they differ."""
    start = file.tell()
    cells = _cells(file.readline(_LONGEST_LINE).strip(), separator)
    given = [cells[place].strip("[]() ") for place in places] if len(cells) > max(places) else []
    read = [_SPELLED.get(unit, unit) for unit in given]
    if not any(unit in UNITS for unit in read):
        file.seek(start)
        return 0
    for unit, (key, mapped) in zip(read, units, strict=True):
        if mapped is not None and unit in UNITS and UNITS[unit] != UNITS[mapped]:
            raise LogError(
                f"{path}: its line of units gives {unit} for {key}, which is read in {mapped}: say "
                f"'{key}: {{unit: {unit}}}' in a map"
            )
    return 1


def _places(path: Path, header: list[str], names: tuple[str, ...]) -> list[int]:
    """Index of each named column."""
    for name in names:
        if name not in header:
            raise LogError(
                f"{path}: {UnknownNameError('column', name, header, 'of its first line')} Name them in a map."
            )
    return [header.index(name) for name in names]


def _numbers(path: Path, file: TextIO, separator: str | None, places: list[int], width: int) -> Table:
    """The columns at `places`: quickly where all lines are alike, else line by line."""
    start = file.tell()
    sample = [file.readline(_LONGEST_LINE) for _ in range(_SAMPLED)]
    file.seek(start)
    if all(len(_row(line, separator, width)) == width for line in sample if line.strip() and not line.startswith("#")):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # no lines: said by the caller
                values = np.loadtxt(
                    file, delimiter=separator, usecols=places, ndmin=2, max_rows=MOST_SAMPLES, quotechar='"'
                )
            return Table(values, 0)
        except ValueError:
            file.seek(start)
    return _line_by_line(path, file, separator, places, width)


def _line_by_line(path: Path, file: TextIO, separator: str | None, places: list[int], width: int) -> Table:
    wrong = commas = 0

    def rows() -> Iterator[list[float]]:
        nonlocal wrong, commas
        for line in file:
            if not line.strip() or line.startswith("#"):
                continue
            try:
                cells = _row(line, separator, width)
                if len(cells) != width:
                    raise ValueError("cut short")
                wanted = [cells[place] for place in places]
                commas += any("," in cell for cell in wanted)
                yield [_number(path, cell) for cell in wanted]
            except (ValueError, csv.Error):
                wrong += 1

    row: Any = np.dtype((np.float64, len(places)))
    values: Any = np.fromiter(itertools.islice(rows(), MOST_SAMPLES), row)
    return Table(values, wrong, commas)


def _number(path: Path, cell: str) -> float:
    """The number of a cell, which may have a decimal comma. Raises ValueError for no number, LogError for groups."""
    if cell.count(",") > 1 or ("," in cell and "." in cell):
        raise LogError(f"{path}: {shown(cell)} has separators of thousands: export numbers without them")
    return float(cell.replace(",", ".") or "nan")
