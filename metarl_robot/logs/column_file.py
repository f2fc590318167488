# SPDX-License-Identifier: Apache-2.0
"""Reads Parquet and HDF5 files: columns of numbers by name, under the same map as a table of text.

A column of a two-dimensional dataset or of a list of numbers is named NAME[i]; i counts from 1, as {i} of a map does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import UnknownNameError, one_line, shortened
from metarl_robot.core.robot import Robot
from metarl_robot.logs.log_map import UNITS, TableMap
from metarl_robot.logs.recording import LogError
from metarl_robot.logs.series import MOST_SAMPLES, RawLog
from metarl_robot.logs.table_file import Table, check_period, raw_log

Array = NDArray[np.float64]

PARQUET, HDF5 = (".parquet", ".pq"), (".h5", ".hdf5")
SUFFIXES = (*PARQUET, *HDF5)
_PLACE = re.compile(r"(.+)\[(\d+)\]")


def read_columns(robot: Robot, path: Path, log_map: TableMap) -> RawLog:
    """Read the signals of a Parquet or HDF5 file.

    Raises:
        LogError: it is none, lacks a column, or a column holds no numbers.
        ImportError: pyarrow or h5py is not installed.
    """
    content = _parquet(path) if path.suffix in PARQUET else _hdf5(path)
    names = tuple(content)
    wanted = log_map.columns(robot, names)
    time_s = _time(path, content, names, log_map)
    columns = [_column(path, content, names, name) for each in wanted.values() for name in each]
    sizes = {len(each) for each in (time_s, *columns)}
    if len(sizes) > 1:
        raise LogError(
            f"{path}: columns have different lengths: {', '.join(map(str, sorted(sizes)))}; expected one row each"
        )
    if not len(time_s):
        raise LogError(f"{path}: has no rows; expected one for each sample")
    check_period(path, time_s, log_map.time)
    return raw_log(Table(np.column_stack([time_s, *columns]), 0), wanted, log_map)


_Content = dict[str, Callable[[], Any]]
"""Readers of the columns, by name."""


def _parquet(path: Path) -> _Content:
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (OSError, ValueError) as error:
        raise LogError(f"{shortened(str(path))}: cannot be read as Parquet: {one_line(error)}") from error

    def reader(name: str) -> Callable[[], Any]:
        return lambda: _from_arrow(file.read(columns=[name]).column(name)[:MOST_SAMPLES])

    return {name: reader(name) for name in file.schema_arrow.names}


def _from_arrow(column: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type):
        return np.array(column.to_pylist())
    return column.to_numpy()


def _hdf5(path: Path) -> _Content:
    import h5py

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise LogError(f"{shortened(str(path))}: cannot be read as HDF5: {one_line(error)}") from error
    found: _Content = {}

    def reader(dataset: Any) -> Callable[[], Any]:
        return lambda: dataset[:MOST_SAMPLES]

    def visit(name: str, each: Any) -> None:
        if isinstance(each, h5py.Dataset) and each.ndim in (1, 2):
            found[name] = reader(each)

    file.visititems(visit)
    return found


def _time(path: Path, content: _Content, names: Sequence[str], log_map: TableMap) -> Array:
    """Times in the unit of the map, from 0: stamps since 1970 in nanoseconds have more digits than a float."""
    values = _raw(path, content, names, log_map.time.column)
    if values.dtype.kind == "M":  # a time stamp has a unit of its own
        since = values - values[:1]
        return since.astype("timedelta64[ns]").astype(np.float64) * (UNITS["ns"] / UNITS[log_map.time.unit])
    return _numbers(path, log_map.time.column, values - values[:1] if values.dtype.kind in "iu" else values)


def _column(path: Path, content: _Content, names: Sequence[str], name: str) -> Array:
    return _numbers(path, name, _raw(path, content, names, name))


def _raw(path: Path, content: _Content, names: Sequence[str], name: str) -> Any:
    """Values (K,) of a column, or of one place of a wider one."""
    place = None if name in content else _PLACE.fullmatch(name)
    source = name if place is None else place[1]
    if source not in content:
        raise LogError(f"{path}: {UnknownNameError('column', source, names)} Name them in a map.")
    try:
        values = np.asarray(content[source]())
    except (OSError, ValueError) as error:
        raise LogError(f"{path}: column '{source}' cannot be read: {one_line(error)}") from error
    if place is None and values.ndim == 1:
        return values
    if place is None or values.ndim != 2 or not 1 <= int(place[2]) <= values.shape[1]:
        said = f"is of shape {values.shape}; a map names one of its columns as {source}[i], with i from 1"
        raise LogError(f"{path}: column '{source}' {said}")
    return values[:, int(place[2]) - 1]


def _numbers(path: Path, name: str, values: Any) -> Array:
    if values.dtype.kind not in "fiub":
        raise LogError(f"{path}: column '{name}' holds no numbers, but {values.dtype}")
    return np.asarray(values, dtype=np.float64)
