# SPDX-License-Identifier: Apache-2.0
"""Parquet and HDF5 files give the recording that a table of text gives; what cannot be right is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metarl_robot.core.robot import load_robot
from metarl_robot.logs.log_map import LogMap
from metarl_robot.logs.reading import read_log
from metarl_robot.logs.recording import LogError
from tests.logs.made_log import Made, default_names
from tests.logs.test_reading import assert_same, made, said

h5py = pytest.importorskip("h5py", reason="needs the extra 'logs'")
pyarrow = pytest.importorskip("pyarrow", reason="needs the extra 'logs'")
parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra 'logs'")

ROBOT = load_robot("planar2")
WIDE = LogMap.model_validate(
    {
        "time": {"column": "stamp", "unit": "ns"},
        "position": {"columns": "arm/q[{i}]", "unit": "deg"},
        "velocity": None,
        "effort": {"columns": "arm/effort[{i}]", "unit": "mNm"},
    }
)


def write_parquet(path: Path, columns: dict[str, object]) -> Path:
    parquet.write_table(pyarrow.table(columns), path)
    return path


def write_hdf5(path: Path, columns: dict[str, object]) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file.create_dataset(name, data=values)
    return path


WRITERS = {"log.parquet": write_parquet, "log.h5": write_hdf5}


def flat(log: Made) -> dict[str, object]:
    table = np.column_stack([log.time_s, log.q, log.v, log.effort])
    return dict(zip(("time_s", *default_names(ROBOT)), table.T, strict=True))


@pytest.mark.parametrize("name", WRITERS)
def test_our_names_need_no_map(name: str, tmp_path: Path) -> None:
    log = made()
    recording = read_log(ROBOT, WRITERS[name](tmp_path / name, flat(log)))
    assert_same(recording, log)
    assert recording.repairs == ()


@pytest.mark.parametrize("name", WRITERS)
def test_a_map_names_places_of_wide_columns_units_and_stamps_since_1970(name: str, tmp_path: Path) -> None:
    log = made(count=2000)
    stamp = 1_764_000_000_000_000_000 + np.round(1e9 * log.time_s).astype(np.int64)
    wide = {"arm/q": np.rad2deg(log.q), "arm/effort": 1e3 * log.effort}
    columns = {key: list(values) if name.endswith("parquet") else values for key, values in wide.items()}
    recording = read_log(ROBOT, WRITERS[name](tmp_path / name, {"stamp": stamp, **columns}), WIDE)
    np.testing.assert_allclose(recording.q, log.q, atol=1e-12)
    np.testing.assert_allclose(recording.effort, log.effort, atol=1e-12)
    np.testing.assert_allclose(recording.time_s, log.time_s, atol=1e-8)
    assert said(recording, "positions differentiated") == 2000


def test_time_stamps_of_parquet_have_their_own_unit(tmp_path: Path) -> None:
    log = made()
    stamps = np.datetime64("2026-11-29T15:00:00", "us") + np.round(1e6 * log.time_s).astype("timedelta64[us]")
    path = write_parquet(tmp_path / "log.parquet", {**flat(log), "time_s": stamps})
    assert_same(read_log(ROBOT, path), log)


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"time_s": None}, "unknown column 'time_s'"),
        ({"shoulder/position_rad": np.array([b"a"] * 400)}, "'shoulder/position_rad' holds no numbers"),
        ({"time_s": np.zeros(0)}, "has no rows|different lengths"),
        ({"elbow/effort_nm": np.zeros((400, 3))}, r"is of shape \(400, 3\); a map names one of its columns"),
    ],
    ids=["missing", "text", "empty", "wide"],
)
def test_what_is_no_column_of_numbers_is_refused(
    name: str, change: dict[str, object], words: str, tmp_path: Path
) -> None:
    columns = {key: value for key, value in {**flat(made()), **change}.items() if value is not None}
    if name.endswith("parquet"):
        if not len(columns.get("time_s", "1")):
            columns = {key: np.zeros(0) for key in columns}
        columns = {key: list(value) if np.ndim(value) == 2 else value for key, value in columns.items()}
    with pytest.raises(LogError, match=words):
        read_log(ROBOT, WRITERS[name](tmp_path / name, columns))


@pytest.mark.parametrize("name", WRITERS)
def test_another_file_under_this_name_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"time_s,q1\n0,0\n")
    with pytest.raises(LogError, match="cannot be read as"):
        read_log(ROBOT, tmp_path / name)


@pytest.mark.parametrize("name", WRITERS)
def test_a_damaged_file_is_refused(name: str, tmp_path: Path) -> None:
    path = WRITERS[name](tmp_path / name, flat(made()))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(LogError):
        read_log(ROBOT, path)


def test_a_place_beyond_the_width_is_refused(tmp_path: Path) -> None:
    log = made()
    path = write_hdf5(tmp_path / "log.h5", {"stamp": log.time_s, "arm/q": log.q[:, :1], "arm/effort": log.effort})
    with pytest.raises(LogError, match="'arm/q' is of shape"):
        read_log(ROBOT, path, WIDE)
