# SPDX-License-Identifier: Apache-2.0
"""robot.yaml: errors name file, key and allowed values."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from metarl_robot.core.errors import RobotError, UnknownNameError
from metarl_robot.core.robot import MODELS_DIR, Robot, RobotFile, available_robots, kind_of, load_robot


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


@pytest.mark.parametrize("path", ["./nowhere", "/tmp/no robot"])
def test_a_path_without_a_robot_says_what_is_missing(path: str) -> None:
    with pytest.raises(UnknownNameError, match=rf"unknown robot '{path}'.*\(or a folder with a robot.yaml"):
        load_robot(path)


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
        ("effort_nm: 40", "effort_nm: -40", "effort_nm.*allowed: .0.001, 100000"),
        ("effort_nm: 40", "effort_nm: 1.0e308", "effort_nm.*allowed: .0.001, 100000"),
        ("effort_rate_nm_s: 1500", "effort_rate_nm_s: 1.0e-12", "effort_rate_nm_s.*allowed: .0.01, "),
        ("velocity_rad_s: 6.0", "velocity_rad_s: 0", "velocity_rad_s.*allowed"),
        ("rated_mass_kg: 1.0", "rated_mass_kg: .nan", "payload.rated_mass_kg.*finite.*allowed"),
        ("rated_mass_kg: 1.0", "rated_mass_kg: -5", "payload.rated_mass_kg.*-5.*allowed"),
        ("position_rad: [-3.0, 3.0]", "position_rad: [.nan, 3.0]", "position_rad"),
        ("name: planar2", "name: ''", "name.*''"),
        ("name: planar2", "name: ../../outside", "name.*outside"),
        ("name: planar2", "name: 3", "name.*string"),
        ("name: shoulder", "name: 'two words'", "joints.0.name"),
        ("name: elbow", "name: shoulder", "'shoulder' is given twice"),
        ("base_frame: base", "base_frame: 'a,b'", "base_frame"),
        ("kind: arm", "kind: [1]", r"kind: unknown kind of robot '\[1\]'"),
        ("control_rate_hz: 200", "control_rate_hz: " + "9" * 5000, "a number of 5000 characters"),
        ("kind: arm", "kind: arm\nkind: quadrotor", "line 4, column 1: key 'kind' is given twice"),
    ],
)
def test_mistakes_are_named(folder: Path, old: str, new: str, reason: str) -> None:
    file = folder / "robot.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(RobotError, match=reason) as caught:
        load_robot(folder)
    assert "robot.yaml" in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("mass_kg: 2.064", "mass_kg: 1.0e9", "mass_kg.*allowed"),
        ("inertia_kg_m2: [0.02167, 0.02167, 0.0400]", "inertia_kg_m2: [0.02, 0.02, 0.05]", "principal moment"),
        ("inertia_kg_m2: [0.02167, 0.02167, 0.0400]", "inertia_kg_m2: [0.02, -0.02, 0.05]", "inertia_kg_m2.1.*allowed"),
        ("mass_kg: 2.064", "mass_kg: 20.64", "weight of 202 N"),
        ("position_m: [0.174, -0.174, 0.06]", "position_m: [.nan, -0.174, 0.06]", "rotors.0.position_m"),
        ("name: rotor1", "name: '\"/><light/>'", "rotors.0.name"),
        ("name: rotor2", "name: rotor1", "'rotor1' is given twice"),
    ],
)
def test_a_quadrotor_that_cannot_be_is_refused(tmp_path: Path, old: str, new: str, reason: str) -> None:
    text = (MODELS_DIR / "x500" / "robot.yaml").read_text()
    assert old in text
    (tmp_path / "robot.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(RobotError, match=reason):
        load_robot(tmp_path)


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 10_000, "\udcff", "../../etc", "panda/../../"])
def test_a_name_that_no_folder_can_have_is_no_robot(name: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        load_robot(name)
    assert len(str(caught.value)) < 600 and str(caught.value).isprintable()


def test_a_robot_of_another_kind_is_refused_where_a_kind_is_asked_for() -> None:
    assert load_robot("planar2", check_model=False, of_kind="arm").kind == "arm"
    with pytest.raises(RobotError, match="'planar2' is of kind 'arm'.*'quadrotor' is needed"):
        load_robot("planar2", check_model=False, of_kind="quadrotor")


def test_a_payload_is_the_kinds_own_choice(tmp_path: Path) -> None:
    common = {"name": "cart", "kind": "cart", "description": "a cart", "base_frame": "base", "control_rate_hz": 50.0}
    cart = Robot(RobotFile.model_validate(common), tmp_path)
    assert cart.ratings == () and "payload" not in RobotFile.model_fields
    for kind in ("arm", "quadrotor"):
        assert kind_of(kind).file.model_fields["payload"].is_required()
