# SPDX-License-Identifier: Apache-2.0
"""Controllers in closed loop with the simulated planar arm: they settle, keep to limits and never raise."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from metarl_robot.control.base import Controller
from metarl_robot.control.factory import ConfigError, controller_names, load_config, make_controller
from metarl_robot.core.errors import UnknownNameError
from metarl_robot.core.robot import MODELS_DIR, Robot, load_robot
from metarl_robot.core.signals import Reference, State, Status
from metarl_robot.robots.arm.mpc import ArmMPC
from metarl_robot.sim.arm.plant import ArmPlant
from metarl_robot.sim.arm.task import Task, nominal_task
from metarl_robot.sim.payload import Payload
from metarl_robot.trajectories.splines import Hold

CONTROLLERS = ("pid", "computed_torque", "nominal_mpc", "offset_free_mpc")


@pytest.fixture(scope="module")
def robot() -> Robot:
    return load_robot("planar2")


def _run(robot: Robot, controller: Controller, task: Task, reference: Reference, seconds: float) -> ArmPlant:
    plant = ArmPlant(robot, task, seed=0)
    state = plant.reset(robot.home)
    controller.reset()
    for _ in range(round(seconds / robot.control_period_s)):
        command = controller.step(plant.stamp, state, reference)
        assert np.all(np.isfinite(command.effort)) and np.all(np.abs(command.effort) <= robot.effort_limit)
        state = plant.step(command.effort, robot.control_period_s)
    return plant


@pytest.mark.parametrize("name", CONTROLLERS)
def test_a_far_step_is_followed_within_the_limits(robot: Robot, name: str) -> None:
    goal = robot.home + np.array([0.8, -0.9]) * (1.0 if "mpc" in name else 0.05)
    plant = _run(robot, make_controller(robot, name), nominal_task(robot), Hold(goal), 3.0)
    assert plant.violations.any == 0
    assert np.allclose(plant.truth.q, goal, atol=2e-3)


def test_offset_free_mpc_carries_an_unknown_load_without_offset_and_nominal_mpc_does_not(robot: Robot) -> None:
    loaded = replace(
        nominal_task(robot), payload=Payload(0.8, np.array([0.02, 0.0, 0.0]), np.array([1e-3] * 3 + [0.0] * 3))
    )
    errors = {}
    for name in ("nominal_mpc", "offset_free_mpc"):
        plant = _run(robot, make_controller(robot, name), loaded, Hold(robot.home), 2.0)
        errors[name] = float(np.abs(plant.truth.q - robot.home).max())
    assert errors["offset_free_mpc"] < 2e-4
    assert errors["offset_free_mpc"] < 0.05 * errors["nominal_mpc"]


def test_a_state_that_is_not_finite_follows_the_plan_then_brakes_and_says_so(robot: Robot) -> None:
    controller = make_controller(robot, "nominal_mpc")
    good, bad = State(robot.home, np.array([0.5, -0.5])), State(np.full(2, np.nan), np.zeros(2))
    controller.step(0.0, good, Hold(robot.home))
    following = controller.step(0.005, bad, Hold(robot.home))
    assert following.status is Status.DEGRADED and "last plan" in following.message
    braking = controller.step(10.0, bad, Hold(robot.home))
    assert braking.status is Status.FAILED and "braking" in braking.message
    assert np.all(np.isfinite(braking.effort))


def test_a_failed_solve_is_a_status_not_an_exception(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    controller = make_controller(robot, "nominal_mpc").inner
    assert isinstance(controller, ArmMPC)
    controller.step(0.0, State(robot.home, np.zeros(2)), Hold(robot.home))
    monkeypatch.setattr(controller, "_violates", lambda knots: True)
    monkeypatch.setattr(controller._active_set, "constrain", lambda outputs, by_motion: (None, False))
    command = controller.step(0.005, State(robot.home, np.zeros(2)), Hold(robot.home))
    assert command.status is Status.DEGRADED and "could not be solved" in command.message


def test_steps_in_the_command_keep_to_the_effort_rate(robot: Robot) -> None:
    controller = make_controller(robot, "nominal_mpc")
    first = controller.step(0.0, State(robot.home, np.zeros(2)), Hold(robot.home)).effort
    second = controller.step(0.005, State(robot.home + 0.5, np.zeros(2)), Hold(robot.home)).effort
    assert np.all(np.abs(second - first) <= robot.effort_rate_limit * 0.005 + 1e-9)


def test_a_former_name_of_a_setting_is_accepted_with_one_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "planar2"
    shutil.copytree(MODELS_DIR / "planar2", folder)
    file = folder / "config" / "meta_mpc.yaml"
    file.write_text(file.read_text().replace("change_detection: 1.0e-6", "surprise: 1.0e-3"), encoding="utf-8")
    configs = [load_config(load_robot(folder), "meta_mpc") for _ in range(2)]
    assert [config.change_detection for config in configs] == [1e-3, 1e-3]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: {file}: 'surprise' is now named 'change_detection'")
    given = load_config(load_robot(folder), "meta_mpc", {"surprise": 1e-4})
    assert given.change_detection == 1e-4 and "overrides: 'surprise'" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="change_detection: .*allowed"):
        load_config(load_robot(folder), "meta_mpc", {"surprise": 2.0})


def test_names_and_configuration_are_checked(robot: Robot, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'meta_mpc'"):
        make_controller(robot, "meta_mcp")
    with pytest.raises(ConfigError, match="kp.*greater than or equal to 0"):
        load_config(robot, "pid", {"kp": -1.0})
    with pytest.raises(ConfigError, match="kq.*allowed keys: kp, kd, ki"):
        load_config(robot, "pid", {"kq": 1.0})
    assert set(controller_names("arm")) >= {
        "pid",
        "computed_torque",
        "nominal_mpc",
        "offset_free_mpc",
        "meta_mpc",
        "meta_policy",
        "oracle_mpc",
    }
