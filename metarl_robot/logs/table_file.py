# SPDX-License-Identifier: Apache-2.0
"""Reads tables of numbers as text (CSV): one line of column names, then a line for each sample."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import UnknownNameError, shortened
from metarl_robot.core.robot import Robot
from metarl_robot.logs.log_map import UNITS, TableMap, TimeMap
from metarl_robot.logs.recording import LogError, Repair
from metarl_robot.logs.series import MOST_SAMPLES, RawLog, Series

Array = NDArray[np.float64]

SUFFIXES = (".csv", ".tsv", ".txt")
_SEPARATORS = (",", ";", "\t")
_LONGEST_LINE = 100_000
_NANOSECONDS = 1e9
PERIODS_S = (2e-5, 0.5)
"""Usual time between two rows, from 50 kHz to 2 Hz; another one shows another unit of time."""


LONGEST_S = 9e9
"""Times farther from the others are none: nanoseconds could not hold them."""


class Table(NamedTuple):
    """Numbers (K, C) of the wanted columns; wrong: lines without a number in each; commas: lines with decimal ones."""

    values: Array
    wrong: int
    commas: int = 0


def read_table(robot: Robot, path: Path, log_map: TableMap) -> RawLog:
    """Read the signals of a table.

    Raises:
        LogError: it is no table, lacks a column, or has no line of numbers.
    """
    with _open(path) as file:
        separator, header = _header(path, file)
        wanted = log_map.columns(robot, header)
        names = (log_map.time.column, *(name for columns in wanted.values() for name in columns))
        table = _numbers(file, separator, _places(path, header, names), len(header))
    if not len(table.values):
        raise LogError(f"{path}: no line holds a number in each of its columns; expected one line for each sample")
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
    )
    without = (("rows without a time: left out", int(len(known) - known.sum())),)
    cut = (("rows beyond the most that are read: left out", int(len(table.values) >= MOST_SAMPLES)),)
    return RawLog(signals, tuple(Repair(*each) for each in (*counted, *without, *cut) if each[1]))


def _open(path: Path) -> TextIO:
    try:
        return path.open(encoding="utf-8-sig", errors="replace")
    except (OSError, ValueError) as problem:
        raise LogError(f"{shortened(str(path))}: cannot be read: {problem}") from problem


def _header(path: Path, file: TextIO) -> tuple[str, list[str]]:
    """Separator and column names in the first line that is not empty."""
    for line in iter(lambda: file.readline(_LONGEST_LINE), ""):
        text = line.lstrip("#").strip()
        if text:
            separator = max(_SEPARATORS, key=text.count)
            return separator, [name.strip().strip('"') for name in text.split(separator)]
    raise LogError(f"{path}: is empty; expected a line of column names, then a line of numbers for each sample")


def _places(path: Path, header: list[str], names: tuple[str, ...]) -> list[int]:
    """Index of each named column."""
    for name in names:
        if name not in header:
            raise LogError(
                f"{path}: {UnknownNameError('column', name, header, 'of its first line')} Name them in a map."
            )
    return [header.index(name) for name in names]


def _numbers(file: TextIO, separator: str, places: list[int], width: int) -> Table:
    """The columns at `places`: quickly where all lines are alike, else line by line."""
    start = file.tell()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # no lines: said by the caller
            values = np.loadtxt(file, delimiter=separator, usecols=places, ndmin=2, max_rows=MOST_SAMPLES)
        return Table(values, 0)
    except ValueError:
        file.seek(start)
        return _line_by_line(file, separator, places, width)


def _line_by_line(file: TextIO, separator: str, places: list[int], width: int) -> Table:
    wrong = commas = 0

    def rows() -> Iterator[list[float]]:
        nonlocal wrong, commas
        for line in file:
            cells = line.split(separator)
            if not line.strip() or line.startswith("#"):
                continue
            try:
                if len(cells) != width:
                    raise ValueError("cut short")
                if separator != "," and "," in line:
                    cells = [cell.replace(",", ".") for cell in cells]
                    commas += 1
                yield [float(cells[place].strip().strip('"') or "nan") for place in places]
            except ValueError:
                wrong += 1

    row: Any = np.dtype((np.float64, len(places)))
    values: Any = np.fromiter(itertools.islice(rows(), MOST_SAMPLES), row)
    return Table(values, wrong, commas)
