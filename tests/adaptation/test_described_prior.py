# SPDX-License-Identifier: Apache-2.0
"""Robots without trained weights: the prior follows from their description, and an arm adapts at once."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from metarl_robot.adaptation.factory import is_described, weights_of
from metarl_robot.adaptation.feature_spec import described_groups, feature_groups, true_contexts
from metarl_robot.control.factory import make_controller, remark_on_weights
from metarl_robot.core.errors import CheckpointError
from metarl_robot.core.robot import MODELS_DIR, Robot, load_robot
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.robots.ground.dynamics import GroundDynamics
from metarl_robot.sim.arm.task import draw_task as draw_arm
from metarl_robot.sim.episode import run_episode
from metarl_robot.sim.ground.suites import draw_task as draw_vehicle
from metarl_robot.sim.kinds import simulation

DRAWN = {"arm": (draw_arm, ArmDynamics), "ground": (draw_vehicle, GroundDynamics)}
"""By kind: a simulated task, and the dynamics."""
ASKED = 0.8
"""Error after a pick-up, over that of offset_free_mpc."""


@pytest.fixture
def untrained(tmp_path: Path) -> Robot:
    """The shipped two-joint arm without its weights."""
    return without_weights("planar2", tmp_path / "mine")


def without_weights(name: str, folder: Path) -> Robot:
    """A shipped robot without its weights, in a folder."""
    shutil.copytree(MODELS_DIR / name, folder, ignore=shutil.ignore_patterns("dynamics*"))
    return load_robot(folder)


@pytest.mark.parametrize("name", ["panda", "planar2", "f1tenth", "husky"])
def test_the_prior_is_that_of_simulated_tasks(name: str, tmp_path: Path) -> None:
    robot = without_weights(name, tmp_path / "mine")
    made, groups = weights_of("last_layer", robot, None), described_groups(robot.kind)
    assert made is not None and made.meta["features"] == list(groups)
    rng, (draw, dynamics) = np.random.default_rng(1000), DRAWN[robot.kind]
    features = feature_groups(robot, dynamics(robot), groups)
    drawn = true_contexts(robot, [draw(robot, rng) for _ in range(1500)], groups, features)
    drawn = drawn / np.concatenate([group.scale for group in features])
    mean, std = made.tensors["prior_mean"], np.sqrt(np.diagonal(made.tensors["prior_covariance"]))
    assert np.all(np.abs(np.sqrt(np.mean((drawn - mean) ** 2, axis=0)) / std - 1.0) < 0.35)


def test_an_arm_without_weights_adapts_at_once_and_says_so(untrained: Robot) -> None:
    assert is_described(untrained) and not is_described(load_robot("planar2"))
    remark = remark_on_weights(untrained, ["pid", "meta_mpc"])
    assert "has no trained weights" in remark and f"metarl train {untrained.folder}" in remark
    assert remark_on_weights(untrained, ["pid"]) == remark_on_weights(load_robot("planar2"), ["meta_mpc"]) == ""
    errors = {}
    for name in ("offset_free_mpc", "meta_mpc"):
        scenario = simulation(untrained).scenario("heldout", "pickup", 1001)
        errors[name] = run_episode(
            untrained, lambda _, name=name: make_controller(untrained, name), scenario, name
        ).result.rmse_after_m
    assert errors["meta_mpc"] < ASKED * errors["offset_free_mpc"]


def test_weights_that_are_damaged_or_named_are_never_replaced_by_the_prior(untrained: Robot, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        make_controller(untrained, "meta_mpc", checkpoint=tmp_path / "dynamics.safetensors")
    shutil.copy(MODELS_DIR / "planar2" / "dynamics.json", untrained.folder)
    with pytest.raises(CheckpointError):
        make_controller(untrained, "meta_mpc")


def test_a_vehicle_without_weights_adapts_at_once(tmp_path: Path) -> None:
    robot, errors = without_weights("f1tenth", tmp_path / "mine"), {}
    for name in ("offset_free_mpc", "meta_mpc"):
        scenario = simulation(robot).scenario("heldout", "surface", 1001)
        errors[name] = run_episode(
            robot, lambda _, name=name: make_controller(robot, name), scenario, name
        ).result.rmse_after_m
    assert errors["meta_mpc"] < ASKED * errors["offset_free_mpc"]


def test_kinds_whose_features_have_no_such_prior_ask_for_training() -> None:
    assert described_groups("quadrotor") == ()
