# SPDX-License-Identifier: Apache-2.0
"""Recordings with whole messages and damaged contents are refused with file and reason."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from metarl_robot.cli.recording import RecordingError, read_run
from metarl_robot.cli.run_metrics import result_of
from tests.fuzz.recordings import recording


def written(folder: Path, topic: str, path: str, value: object) -> Path:
    """A recording in which one field of every message on a topic is another; path: `a.0.b`."""

    def change(name: str, message: dict[str, Any]) -> dict[str, Any]:
        if name == topic:
            place: Any = message
            *way, last = (int(part) if part.isdigit() else part for part in path.split("."))
            for part in way:
                place = place[part]
            place[last] = value
        return message

    (folder / "run.mcap").write_bytes(recording(change))
    return folder / "run.mcap"


@pytest.mark.parametrize(
    ("topic", "path", "value", "why"),
    [
        ("/mpc/setpoint", "position", [], "2 positions and 2 velocities"),
        ("/mpc/setpoint", "velocity", [math.nan, 0.0], "all finite"),
        ("/mpc/step", "layout.dim.1.label", "a,b,c", "no column 'step_ms'"),
        ("/mpc/step", "data.1", math.nan, "not finite"),
        ("/mpc/step", "layout.dim.0.label", "9.000000000 step", "no step on /mpc/step"),
        ("/mpc/step", "layout.dim.0.label", "².000000000 step", "9 digits"),
        ("/plant/truth", "data.0", math.inf, "not finite"),
        ("/plant/truth", "data.7", math.nan, "not finite"),
    ],
)
def test_a_table_that_cannot_be_is_refused(tmp_path: Path, topic: str, path: str, value: object, why: str) -> None:
    with pytest.raises(RecordingError, match=f"run.mcap: .*{why}"):
        read_run(written(tmp_path, topic, path, value))


def test_a_robot_in_a_namespace_is_read_as_one_without(tmp_path: Path) -> None:
    runs = []
    for robot in ("", "/left", "/cell/left"):
        (tmp_path / "run.mcap").write_bytes(recording(robots=(robot,)))
        runs.append(read_run(tmp_path / "run.mcap"))
    for run in runs[1:]:
        assert run.robot == runs[0].robot == "planar2"
        assert np.array_equal(run.time_s, runs[0].time_s) and np.array_equal(run.error_m, runs[0].error_m)


def test_a_recording_of_several_robots_is_refused_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "run.mcap").write_bytes(recording(robots=("/left", "/right")))
    with pytest.raises(RecordingError, match="several robots were recorded: /left, /right; record each"):
        read_run(tmp_path / "run.mcap")


def test_a_run_that_crashed_in_its_first_state_has_results(tmp_path: Path) -> None:
    result = result_of(read_run(written(tmp_path, "/plant/truth", "data.6", 1.0)), "recording", seed=0)
    assert result.score.crashed
