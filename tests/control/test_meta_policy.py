# SPDX-License-Identifier: Apache-2.0
"""The controller `meta_policy`: deterministic, bounded, without torch, better than computed torque; wrong weights."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from metarl_robot.control.bumpless_transfer import BumplessTransfer
from metarl_robot.control.factory import compared_controllers, load_config, make_controller
from metarl_robot.core.errors import CheckpointError
from metarl_robot.core.robot import MODELS_DIR, Robot, load_robot
from metarl_robot.core.signals import Setpoints, State, Status
from metarl_robot.learning.policies.checkpoint import load_policy, save_policy
from metarl_robot.sim.episode import run_episode
from metarl_robot.sim.kinds import simulation

PERIOD_S = 0.005


@pytest.fixture(scope="module")
def robot() -> Robot:
    return load_robot("planar2")


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A copy of planar2 without a policy."""
    folder = tmp_path / "planar2"
    shutil.copytree(MODELS_DIR / "planar2", folder, ignore=shutil.ignore_patterns("policy.*"))
    return folder


class Still:
    def __init__(self, q: np.ndarray) -> None:
        self._q = q

    def sample(self, times: np.ndarray) -> Setpoints:
        rest = np.zeros((len(times), len(self._q)))
        return Setpoints(np.tile(self._q, (len(times), 1)), rest, rest)


def efforts(controller: object, robot: Robot, off_rad: float = 0.01) -> np.ndarray:
    """Commands at rest beside the reference."""
    state, reference = State(robot.home - off_rad, np.zeros(robot.dof)), Still(robot.home)
    return np.array([controller.step(k * PERIOD_S, state, reference).effort for k in range(60)])  # type: ignore[attr-defined]


def test_commands_are_the_same_every_time_and_after_a_reset(robot: Robot) -> None:
    controller = make_controller(robot, "meta_policy")
    first = efforts(controller, robot)
    controller.reset()
    np.testing.assert_array_equal(efforts(controller, robot), first)
    np.testing.assert_array_equal(efforts(make_controller(robot, "meta_policy"), robot), first)
    assert np.all(first[-1] > first[0]), "the policy pushes on against a lasting error"


def test_without_its_share_it_is_computed_torque(robot: Robot) -> None:
    alone = make_controller(robot, "meta_policy", load_config(robot, "meta_policy", {"share": 0.0}))
    gains = load_config(robot, "computed_torque", {"kp": 900.0, "kd": 60.0})
    expected = efforts(make_controller(robot, "computed_torque", gains), robot)
    np.testing.assert_allclose(efforts(alone, robot), expected, atol=1e-9)


def test_commands_are_within_limits_and_rate_in_any_state(robot: Robot) -> None:
    controller = make_controller(robot, "meta_policy")
    rng, last = np.random.default_rng(1000), None
    for k in range(200):
        q = rng.uniform(robot.position_lower, robot.position_upper)
        v = rng.uniform(-1.0, 1.0, robot.dof) * robot.velocity_limit
        command = controller.step(k * PERIOD_S, State(q, v), Still(robot.home))
        assert np.all(np.isfinite(command.effort)) and np.all(np.abs(command.effort) <= robot.effort_limit)
        if last is not None:
            assert np.all(np.abs(command.effort - last) <= robot.effort_rate_limit * PERIOD_S + 1e-9)
        last = command.effort


@pytest.mark.parametrize("kind", ["pickup", "drop", "friction_step"])
def test_it_adapts_to_what_it_is_not_told(kind: str) -> None:
    """Computed torque leaves an error in proportion to the unknown force; the policy removes most of it."""
    robot = load_robot("panda")
    scenario = simulation(robot).scenario("train", kind, 1001)
    found, fixed = (
        run_episode(robot, lambda _, name=name: make_controller(robot, name), scenario).result  # type: ignore[misc]
        for name in ("meta_policy", "computed_torque")
    )
    assert found.violations == 0 and found.failed_steps == 0
    assert found.rmse_after_m < 0.5 * fixed.rmse_after_m


def test_a_change_of_controller_hands_over_the_correction(robot: Robot) -> None:
    """A controller that holds a robot off its reference; meta_policy learns the effort before it acts."""
    transfer = BumplessTransfer(robot, make_controller(robot, "computed_torque"))
    state, reference = State(robot.home - 0.01, np.zeros(robot.dof)), Still(robot.home)
    sent = []
    for k in range(200):
        if k == 20:
            transfer.switch(make_controller(robot, "meta_policy"))
        sent.append(transfer.step(k * PERIOD_S, state, reference).effort)
    assert np.abs(np.diff(sent, axis=0)).max() < 0.25 * robot.effort_rate_limit.min() * PERIOD_S


def test_a_robot_without_a_policy_says_how_to_train_one(bare: Path) -> None:
    robot = load_robot(bare)
    with pytest.raises(CheckpointError, match=r"'planar2' has no policy: .*metarl train-policy .*-reach --algo rl2"):
        make_controller(robot, "meta_policy")
    assert "meta_policy" not in compared_controllers(robot) and "meta_mpc" in compared_controllers(robot)
    shipped = load_robot("planar2")
    assert "meta_policy" in compared_controllers(shipped)
    assert "meta_policy" not in compared_controllers(shipped, Path("dynamics.safetensors"))
    given = make_controller(robot, "meta_policy", checkpoint=MODELS_DIR / "planar2" / "policy.safetensors")
    assert given.step(0.0, State(robot.home, np.zeros(2)), Still(robot.home)).status is Status.SOLVED


def test_weights_of_another_robot_family_sort_or_shape_are_refused(robot: Robot, tmp_path: Path) -> None:
    def refused(path: Path, said: str) -> None:
        with pytest.raises(CheckpointError, match=said):
            make_controller(robot, "meta_policy", checkpoint=path)

    refused(MODELS_DIR / "panda" / "policy.safetensors", "family 'panda-reach'; this is 'planar2-reach'")
    navigation = MODELS_DIR / "policies" / "point-navigation" / "pg.safetensors"
    refused(navigation, "family 'point-navigation'; this is 'planar2-reach'")
    refused(MODELS_DIR / "planar2" / "dynamics.safetensors", "no policy, but weights of another sort")
    source = load_policy(navigation)
    save_policy(tmp_path / "policy.safetensors", source.tensors, {**source.meta, "family": "planar2-reach"})
    refused(tmp_path / "policy.safetensors", "2 observations and 2 actions; 'planar2' needs 12 and 2")
    record = tmp_path / "policy.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "algo": "rl2"}))
    refused(tmp_path / "policy.safetensors", "its record says")


def test_a_policy_without_memory_runs_too(robot: Robot, tmp_path: Path) -> None:
    """One layer, whose action is the sum of the observed errors of the joints."""
    source = load_policy(MODELS_DIR / "policies" / "point-navigation" / "pg.safetensors")
    weight = np.zeros((2, 12), dtype=np.float32)
    weight[:, :2] = 1.0
    rest = np.zeros(2, dtype=np.float32)
    tensors = {
        "network.0.weight": np.eye(12, dtype=np.float32),
        "network.0.bias": np.zeros(12, dtype=np.float32),
        "network.1.weight": weight,
        "network.1.bias": rest,
        "log_std": rest,
    }
    config = {**source.meta["config"], "hidden": [12]}
    facts = {**source.meta, "family": "planar2-reach", "observations": 12, "config": config}
    save_policy(tmp_path / "policy.safetensors", tensors, facts)
    controller = make_controller(robot, "meta_policy", checkpoint=tmp_path / "policy.safetensors")
    efforts(controller, robot, off_rad=0.002)
    correction = controller._correction[0]
    np.testing.assert_allclose(correction, 0.4 * 200.0 * 60 * PERIOD_S * np.ones(2), rtol=1e-5)


def test_inference_loads_no_torch() -> None:
    program = (
        "import sys, metarl_robot as mr; mr.make_controller(mr.load_robot('planar2'), 'meta_policy'); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
