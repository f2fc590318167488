# SPDX-License-Identifier: Apache-2.0
"""Files of racelines as references, and the edges of their course."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path as File

import numpy as np
import pytest

from metarl_robot.core.errors import SignalError, UnknownNameError
from metarl_robot.core.robot import load_robot
from metarl_robot.robots.ground.description import GRAVITY_M_S2, Ground
from metarl_robot.robots.ground.flat_outputs import GroundOutputs
from metarl_robot.robots.ground.raceline import GIVEN_GRIP_SHARE, raceline
from metarl_robot.sim.ground.course_edges import edge_margin
from metarl_robot.trajectories.flat_outputs import check_motion, flat_outputs_of

CAR, HUSKY = load_robot("f1tenth"), load_robot("husky")
assert isinstance(CAR, Ground) and isinstance(HUSKY, Ground)
TURN = np.linspace(0.0, 2.0 * np.pi, 120, endpoint=False)
OVAL = np.column_stack([8.0 * np.cos(TURN) + 3.0, 4.0 * np.sin(TURN) - 1.0])
WIDTHS = np.column_stack([0.6 + 0.2 * np.cos(TURN), 0.9 + 0.0 * TURN])
Write = Callable[..., File]


@pytest.fixture
def write(tmp_path: File) -> Write:
    def write(rows: np.ndarray, head: str = "", mark: str = ", ", tail: str = "") -> File:
        file = tmp_path / "line.csv"
        text = "\n".join(mark.join(f"{value:.7f}" for value in row) for row in rows)
        file.write_text(f"{head}{text}\n{tail}", encoding="utf-8")
        return file

    return write


@pytest.mark.parametrize(("robot", "gain"), [(CAR, 0.95), (HUSKY, 1.0)])  # the husky drives at its limit on both
def test_without_speeds_the_line_is_driven_in_minimum_time_for_the_friction(
    write: Write, robot: Ground, gain: float
) -> None:
    file = write(np.column_stack([OVAL, WIDTHS]), "# a comment\n# x_m, y_m, w_tr_right_m, w_tr_left_m\n")
    laps = []
    for friction in (0.3, 0.6):
        reference = raceline(robot, file, friction)
        laps.append(reference.lap_s)
        points = reference.sample(np.arange(0.0, 3.0 * reference.lap_s, 0.02))
        assert np.linalg.norm(points.a[:, :2], axis=1).max() < 1.05 * friction * GRAVITY_M_S2
        away = np.linalg.norm(points.q[:, None, :2] - OVAL, axis=2)
        assert away.min(axis=1).max() < 0.3 and away.min(axis=0).max() < 0.3  # all of the line, and nothing else
        assert reference.path.closed and reference.remark == "" and not points.v[0].any()
    assert laps[1] <= gain * laps[0]
    GroundOutputs(robot).check(raceline(robot, file), 0.0, 20.0)


def test_an_optimisers_columns_are_found_by_their_names(write: Write) -> None:
    plain = raceline(CAR, write(np.column_stack([OVAL, WIDTHS, 0.0 * TURN + 2.0])))
    rows = np.column_stack([0.0 * TURN, OVAL, 0.0 * TURN, 0.0 * TURN, 0.0 * TURN + 2.0, 0.0 * TURN])
    ring = np.concatenate([rows, rows[:1]])  # the first point again
    named = raceline(CAR, write(ring, "# 17b4de0d\n# s_m; x_m; y_m; psi_rad; kappa_radpm; vx_mps; ax_mps2\n", "; "))
    assert np.allclose(plain.speed, 2.0) and np.allclose(named.speed, 2.0)
    assert np.allclose(plain.path.at(plain.along).position, named.path.at(named.along).position, atol=1e-6)
    assert plain.remark == named.remark == "" and named.widths is None and plain.widths is not None
    bare = raceline(CAR, write(rows[:, :7], "s_m,x_m,y_m,psi_rad,kappa_radpm,velocity,ax_mps2\n", ","))
    assert np.allclose(bare.speed, 2.0)


def test_speeds_beyond_the_vehicles_are_lowered_and_that_is_said(write: Write) -> None:
    slow, fast = 1.5, 30.0
    speeds = np.where(np.cos(TURN) > 0.0, slow, fast)
    reference = raceline(CAR, write(np.column_stack([OVAL, WIDTHS, speeds])))
    assert reference.speed.min() == pytest.approx(slow) and reference.speed.max() <= CAR.velocity_limit[0]
    bend = np.abs(reference.path.at(reference.along).curvature)
    grip = GIVEN_GRIP_SHARE * CAR.friction * GRAVITY_M_S2
    assert np.max(reference.speed**2 * bend) < 1.001 * grip
    assert "lowered on 51 % of the line, at most from 30.00 to" in reference.remark
    flat = flat_outputs_of(CAR)
    flat.check(reference, 0.0, 20.0)
    assert flat.paced(reference, 0.5).sample(np.array([50.0])).v.any()


def test_an_open_line_begins_and_ends_at_rest(write: Write) -> None:
    x = np.linspace(0.0, 12.0, 40)
    file = write(np.column_stack([x, np.sin(0.4 * x)]))
    reference = flat_outputs_of(CAR).motion(str(file), np.random.default_rng(0), 10.0)
    points = reference.sample(np.array([0.0, 60.0]))
    assert np.allclose(points.q[:, :2], [[0.0, 0.0], [12.0, np.sin(4.8)]], atol=1e-6) and not points.v.any()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"row": (5, 0, np.nan)}, r"line 6 has 'nan'; allowed: finite numbers"),
        ({"row": (5, 1, 1e9)}, r"line 6 has '1000000000.0000000'"),
        ({"row": (5, 2, -0.1)}, r"line 6 has a width of -0.1 m; widths must be >= 0"),
        ({"row": (5, 2, 0.1)}, r"at line 6 the edges are 0.1 m to the right and 0.9 m to the left; f1tenth is 0.3"),
        ({"row": (5, 4, 0.0)}, r"line 6 has a speed of 0 m/s; speeds must be > 0"),
        ({"same": 7}, r"line 8 is at the place of line 7; each point must be given once"),
        ({"tail": "1.0, 2.0, 3.0\n"}, r"line 121 has 3 columns; line 1 has 5"),
        ({"tail": "1.0, 2.0, 1.0, 1.0, fast\n"}, r"line 121 has 'fast'"),
        ({"columns": 3}, r"line 1 has 3 columns; allowed: x_m, y_m \[, w_tr_right_m"),
        ({"rows": 2}, r"has 2 points; must have at least 3"),
        ({"scale": 0.05}, r"near line \d+ its radius is 0.09\d+ m; f1tenth can drive 0.742 m and more"),
        ({"scale": 500.0}, r"is 19\d+ m long; allowed: up to 10000 m"),
    ],
)
def test_a_file_that_cannot_be_driven_is_refused_in_one_sentence(write: Write, changes: dict, words: str) -> None:
    rows = np.column_stack([changes.get("scale", 1.0) * OVAL, WIDTHS, 0.0 * TURN + 2.0])
    if "row" in changes:
        row, column, value = changes["row"]
        rows[row, column] = value
    if "same" in changes:
        rows[changes["same"]] = rows[changes["same"] - 1]
    file = write(rows[: changes.get("rows"), : changes.get("columns")], tail=changes.get("tail", ""))
    with pytest.raises(SignalError, match=words) as refused:
        raceline(CAR, file)
    assert str(file) in str(refused.value) and "\n" not in str(refused.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: File) -> None:
    with pytest.raises(SignalError, match=r"nowhere.csv: cannot be read as text: .*No such file"):
        raceline(CAR, tmp_path / "nowhere.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(SignalError, match="cannot be read as text"):
        raceline(CAR, tmp_path / "binary.csv")
    with pytest.raises(SignalError, match="friction is 0; must be > 0"):
        (tmp_path / "line.csv").write_text("\n".join(f"{x}, {y}" for x, y in OVAL))
        raceline(CAR, tmp_path / "line.csv", 0.0)


def test_only_vehicles_read_racelines() -> None:
    with pytest.raises(UnknownNameError, match=r"FILE\.csv"):
        check_motion(flat_outputs_of(CAR), "line.txt")
    with pytest.raises(UnknownNameError, match="line.csv"):
        check_motion(flat_outputs_of(load_robot("x500")), "line.csv")


def test_the_margin_is_the_distance_of_the_outline_from_the_nearer_edge(write: Write) -> None:
    reference = raceline(CAR, write(np.column_stack([OVAL, WIDTHS])))
    times = np.arange(0.0, 1.5 * reference.lap_s, 0.05)
    along, _, _ = reference.progress(times)
    place = reference.path.at(along)
    left = np.column_stack([-np.sin(place.yaw), np.cos(place.yaw)])
    half_m = 0.5 * CAR.description.size_m[1]
    right_m = np.interp(along % reference.path.length_m, reference.along, reference.widths[:, 0])
    for aside in (-0.5, 0.0, 0.6):
        poses = np.column_stack([place.position + aside * left, place.yaw])
        margin = edge_margin(CAR, reference, times, poses)
        wanted = np.minimum(aside + right_m, 0.9 - aside) - half_m
        assert np.abs(margin - wanted).max() < 0.05  # corners are a quarter of a metre ahead on a bend
        assert (margin < 0.0).any() == (wanted < 0.0).any()
    turned = np.column_stack([place.position, place.yaw + 0.5 * np.pi])
    half_length_m = 0.5 * CAR.description.size_m[0]
    across = edge_margin(CAR, reference, times, turned)
    assert np.abs(across - (np.minimum(right_m, 0.9) - half_length_m)).max() < 0.05
