# SPDX-License-Identifier: Apache-2.0
"""Kinds and controllers of other packages: entry points in a dist-info folder on sys.path, as pip installs them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from metarl_robot.cli.launch import show_args
from metarl_robot.cli.launch_check import check_controller, check_start
from metarl_robot.cli.launch_file import evaluate, find_launch_file
from metarl_robot.control.factory import controller_names, make_controller
from metarl_robot.core.errors import RobotError, UnknownNameError
from metarl_robot.core.kinds import BUILT_IN, GROUP, kind_names
from metarl_robot.core.robot import MODELS_DIR, Robot, kind_of, load_robot

Install = Callable[[str, str], None]

KIND = """
from metarl_robot.robots.arm.description import Arm

class Crane(Arm):
    kind = "crane"

class Truck:
    kind = "truck"
"""
CONTROLLER = """
from metarl_robot.control.base import ControllerSpec
from metarl_robot.robots.arm.pid import SPEC as PID

SPEC = ControllerSpec(PID.config, PID.build, kinds=("arm",))
ANY = ControllerSpec(PID.config, PID.build)
"""


def test_ours_are_found_without_an_installed_package() -> None:
    assert set(kind_names()) >= set(BUILT_IN)
    assert all(kind_of(name).kind == name and issubclass(kind_of(name), Robot) for name in BUILT_IN)


def test_a_kind_of_another_package_is_loaded_by_its_robot_yaml(install: Install, tmp_path: Path) -> None:
    install(KIND, f"[{GROUP}]\ncrane = other_package:Crane\n")
    shutil.copytree(MODELS_DIR / "planar2", tmp_path / "mine")
    text = (tmp_path / "mine" / "robot.yaml").read_text(encoding="utf-8")
    (tmp_path / "mine" / "robot.yaml").write_text(text.replace("kind: arm", "kind: crane"), encoding="utf-8")
    robot = load_robot(tmp_path / "mine")
    assert (robot.kind, robot.attitude, robot.dof) == ("crane", None, 2)
    assert "crane" in kind_names() and "pid" in controller_names("crane")


def test_no_other_package_replaces_a_kind_of_ours(install: Install) -> None:
    install(KIND, f"[{GROUP}]\narm = other_package:Crane\n")
    assert kind_of("arm").__name__ == "Arm"


@pytest.mark.parametrize(
    ("point", "name", "reason"),
    [
        ("truck = other_package:Truck", "truck", f"other_package:Truck of {GROUP}.*missing: file, interface"),
        ("lorry = other_package:Crane", "lorry", f"of {GROUP}.*'crane'.*entry point's name"),
        ("tram = other_package:Tram", "tram", f"of {GROUP}. cannot be loaded: AttributeError"),
    ],
)
def test_an_entry_point_that_is_no_kind_is_named(install: Install, point: str, name: str, reason: str) -> None:
    install(KIND, f"[{GROUP}]\n{point}\n")
    with pytest.raises(RobotError, match=reason):
        kind_of(name)


def test_an_unknown_kind_names_the_group_and_those_there_are() -> None:
    with pytest.raises(UnknownNameError, match=f"'boat'.*{GROUP}.*arm, ground, quadrotor"):
        kind_of("boat")


def test_a_third_party_s_controller_is_offered_to_its_kinds_alone(install: Install) -> None:
    install(CONTROLLER, "[metarl_robot.controllers]\nsoft = other_package:SPEC\nplain = other_package:ANY\n")
    assert {"soft", "plain"} <= set(controller_names("arm"))
    assert "soft" not in controller_names("quadrotor") and "plain" in controller_names("quadrotor")
    make_controller(load_robot("planar2"), "soft")
    with pytest.raises(UnknownNameError, match="'soft'"):
        make_controller(load_robot("x500"), "soft")


def test_a_third_party_s_controller_is_launched_by_name(install: Install) -> None:
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    install(CONTROLLER, "[metarl_robot.controllers]\nsoft = other_package:SPEC\n")
    arm, quad = find_launch_file("arm"), find_launch_file("quad")
    check_start(arm, evaluate(arm, {"controller": "soft"}))
    with pytest.raises(UnknownNameError, match="'soft'.*se3"):
        check_start(quad, evaluate(quad, {"controller": "soft"}))
    assert "'soft'" in show_args("arm") and "'soft'" not in show_args("quad")


def test_a_controller_that_no_node_offers_is_refused_before_a_launch() -> None:
    for name in ("oracle_mpc", "pidd"):
        with pytest.raises(UnknownNameError, match="Valid: .*meta_mpc"):
            check_controller("arm", name)
