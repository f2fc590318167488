# SPDX-License-Identifier: Apache-2.0
"""Springs and gravity compensation of an MJCF are in the nominal model; other elements are refused by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import mujoco
import numpy as np
import pytest

from metarl_robot.core.errors import RobotError
from metarl_robot.core.robot import MODELS_DIR, load_robot
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.sim.kinds import simulation


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(MODELS_DIR / "planar2", tmp_path / "mine")
    return tmp_path / "mine"


def changed(folder: Path, old: str, new: str) -> Path:
    file = folder / "robot.xml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    return folder


PASSIVE = [
    ('name="shoulder" range', 'name="shoulder" stiffness="30" springref="0.4" range'),
    ('<body name="fore"', '<body name="fore" gravcomp="0.7"'),
    ('<body name="upper"', '<body name="upper" gravcomp="1"'),
]


@pytest.mark.parametrize(("old", "new"), PASSIVE, ids=["spring", "gravcomp", "gravcomp of the base link"])
def test_passive_forces_are_in_the_nominal_model_as_mujoco_has_them(folder: Path, old: str, new: str) -> None:
    robot = load_robot(changed(folder, old, new))
    dynamics, data, rng = ArmDynamics(robot), mujoco.MjData(robot.mj_model), np.random.default_rng(0)
    bare = ArmDynamics(load_robot("planar2"))
    for _ in range(5):
        q, v, a = rng.uniform(-1.0, 1.0, 2), rng.uniform(-2.0, 2.0, 2), rng.uniform(-5.0, 5.0, 2)
        data.qpos[:], data.qvel[:], data.qacc[:] = q, v, a
        mujoco.mj_inverse(robot.mj_model, data)
        effort = dynamics.inverse_dynamics(q, v, a)
        np.testing.assert_allclose(effort, data.qfrc_inverse, atol=1e-9)
        assert np.abs(effort - bare.inverse_dynamics(q, v, a)).max() > 0.1
        beta = dynamics.momentum(q, np.zeros(2))[2]
        np.testing.assert_allclose(beta, -dynamics.bias(q, np.zeros(2)), atol=1e-9)
    own = simulation(robot).own_gravity()
    np.testing.assert_allclose(own(q), dynamics.bias(q, np.zeros(2)), atol=1e-9)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('<motor name="elbow" joint="elbow" ctrlrange="-20 20"/>', '<position name="elbow" joint="elbow" kp="50"/>',
         "actuator 'elbow': is no torque motor.*<motor joint"),
        ('<motor name="elbow" joint="elbow" ctrlrange="-20 20"/>', '<velocity name="elbow" joint="elbow" kv="5"/>',
         "actuator 'elbow': is no torque motor"),
        ('joint="elbow" ctrlrange', 'joint="elbow" gear="50" ctrlrange',
         "actuator 'elbow': gear times gain is 50.*set it to 1"),
        ('name="elbow" range', 'name="elbow" frictionloss="3" range', "joint 'elbow': frictionloss is 3.*set it to 0"),
        ('name="elbow" range="-2.6 2.6"', 'name="elbow" range="-1 2.6"',
         r"joint 'elbow': range: \[-1, 2.6\] is narrower than \[-2.6"),
        ('ctrlrange="-40 40"', 'ctrlrange="-30 30"',
         r"actuator 'shoulder': ctrlrange: \[-30, 30\] is narrower.*robot.yaml"),
        ('ctrlrange="-40 40"', 'ctrlrange="-40 40" forcerange="-9 9"', "actuator 'shoulder': forcerange"),
        ('name="elbow" range', 'name="elbow" stiffness="1e9" range', "jnt_stiffness"),
    ],
)  # fmt: skip
def test_what_the_nominal_model_cannot_hold_is_refused(folder: Path, old: str, new: str, says: str) -> None:
    with pytest.raises(RobotError, match=says) as raised:
        load_robot(changed(folder, old, new))
    assert "robot.xml" in str(raised.value) and "\n" not in str(raised.value)


def test_motors_in_another_order_than_the_joints_drive_their_own_joints(folder: Path) -> None:
    text = (folder / "robot.xml").read_text()
    first, second = (line for line in text.splitlines() if "<motor" in line)
    (folder / "robot.xml").write_text(text.replace(first, "@").replace(second, first).replace("@", second))
    own, shipped = (simulation(load_robot(name)) for name in (folder, "planar2"))
    states = [room.plant(room.nominal_task()).step(np.array([6.0, 3.0]), 0.05) for room in (own, shipped)]
    np.testing.assert_array_equal(states[0].q, states[1].q)
