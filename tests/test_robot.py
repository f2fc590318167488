"""robot.yaml: what is wrong is named with file, key and what is allowed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from metarl_robot.errors import RobotError, UnknownNameError
from metarl_robot.robot import MODELS_DIR, available_robots, load_robot


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(MODELS_DIR / "planar2", tmp_path / "mine")
    return tmp_path / "mine"


def test_shipped_robots_load_and_hold_their_home() -> None:
    assert set(available_robots()) >= {"panda", "planar2"}
    for name in available_robots():
        robot = load_robot(name)
        assert robot.dof == robot.mj_model.nv and robot.nq == robot.mj_model.nq == len(robot.home)
        assert robot.nu == len(robot.effort_limit) and np.all(robot.effort_lower < robot.effort_limit)


def test_a_folder_of_ones_own_loads(folder: Path) -> None:
    assert load_robot(folder).dof == 2


def test_unknown_robot_lists_the_valid_ones() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'panda'.*Valid: .*planar2"):
        load_robot("pandas")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("control_rate_hz: 200", "control_rate_hz: fast", "control_rate_hz.*'fast'"),
        ("position_rad: [-3.0, 3.0]", "position_deg: [-170, 170]", "position_deg.*allowed keys: .*position_rad"),
        ("position_rad: [-3.0, 3.0]", "position_rad: [-170, 170]", "joints.0.position_rad.*degrees"),
        ("position_rad: [-3.0, 3.0]", "position_rad: [3.0, -3.0]", "lower < upper"),
        ("name: shoulder", "name: elbow_b", "names and order.*shoulder"),
        ("site: tip", "site: tool", "payload.site: 'tool'.*tip"),
        ("home_rad: 0.5", "home_rad: 9.0", "home_rad 9.0"),
        ("effort_nm: 40", "effort_nm: -40", "effort_nm"),
    ],
)
def test_mistakes_are_named(folder: Path, old: str, new: str, reason: str) -> None:
    file = folder / "robot.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(RobotError, match=reason) as caught:
        load_robot(folder)
    assert "robot.yaml" in str(caught.value)
