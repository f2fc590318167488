# SPDX-License-Identifier: Apache-2.0
"""Compares the assumptions of an arm's controllers with MuJoCo, and moves the arm to test the controllers.

The bound of the run is for a healthy description: the nominal controller tracks a random motion without disturbance
to BOUND_SHARE of the arm's reach. The shipped Panda and planar2 stay seven times below it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_robot.control.factory import make_controller
from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.robot import Robot
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.robots.arm.plausibility import doubtful_links
from metarl_robot.sim.arm.geometry import home_position, reach_m
from metarl_robot.sim.episode import Episode, run_episode
from metarl_robot.sim.kinds import simulation
from metarl_robot.sim.robot_check import CONTROLLER, Check, JointRow, Motion

Array = NDArray[np.float64]

BOUND_SHARE = 1e-3
"""Largest RMS error of the payload frame, as a share of the reach."""
_SHORTEST_REACH_M = 0.1
_STATES = 50
_SEED = 1000
_SETTLED_S, _DURATION_S = 1.0, 4.0
_WEIGHT_SHARE = 0.5  # of an effort limit; beyond, a payload and a weak motor may leave no room for motion


def check_arm(robot: Robot) -> Check:
    """Compare and move an arm. Raises MetaRLError: no motion within the limits of its motors is found."""
    mass, bias = dynamics_differences(robot)
    rows = joint_rows(robot)
    run = _run_or_remedy(robot, rows)
    settled = run.log.times >= _SETTLED_S
    return Check(
        rows,
        mass,
        bias,
        float(np.sqrt(np.mean(run.log.error_m[settled] ** 2))),
        BOUND_SHARE * max(reach_m(robot), _SHORTEST_REACH_M),
        run.result.violations,
        run.result.failed_steps,
        tuple(_warnings(robot, rows)),
        _motion(robot, run),
    )


def _run_or_remedy(robot: Robot, rows: tuple[JointRow, ...]) -> Episode:
    try:
        return tracking_run(robot)
    except MetaRLError as error:
        worst = max(rows, key=lambda row: row.weight_share)
        need = f"needs {worst.weight_share:.0%} of its effort limit for the arm's own weight at home"
        raise MetaRLError(f"{error}; joint '{worst.name}' {need}: are both right in robot.yaml?") from error


def _motion(robot: Robot, run: Episode) -> Motion:
    model, data = robot.mj_model, mujoco.MjData(robot.mj_model)
    data.qpos[:] = robot.home
    mujoco.mj_kinematics(model, data)
    places = data.xanchor.copy(), data.xaxis.copy(), home_position(robot)
    return Motion(*places, run.log.position, run.log.times, run.log.error_m)


def dynamics_differences(robot: Robot) -> tuple[float, float]:
    """Differences of mass matrix and bias force at random states, relative to the largest entries."""
    model, dynamics = robot.mj_model, ArmDynamics(robot)
    data, rng, mass, bias = mujoco.MjData(model), np.random.default_rng(_SEED), [], []
    for _ in range(_STATES):
        q = data.qpos[:] = rng.uniform(robot.position_lower, robot.position_upper)
        v = data.qvel[:] = rng.uniform(-robot.velocity_limit, robot.velocity_limit)
        mujoco.mj_fwdPosition(model, data)
        mujoco.mj_fwdVelocity(model, data)
        full = np.zeros((robot.dof, robot.dof))
        mujoco.mj_fullM(model, data, full)
        mass.append((full, dynamics.mass_matrix(q)))
        bias.append((data.qfrc_bias - data.qfrc_passive, dynamics.bias(q, v)))
    return _relative(mass), _relative(bias)


def _relative(pairs: list[tuple[Array, Array]]) -> float:
    given, other = (np.array(values) for values in zip(*pairs, strict=True))
    return float(np.abs(given - other).max() / max(np.abs(given).max(), 1e-9))


def joint_rows(robot: Robot) -> tuple[JointRow, ...]:
    """A row for each joint, measured by MuJoCo's forces at home."""
    model, data = robot.mj_model, mujoco.MjData(robot.mj_model)
    gains = _efforts(robot, data, 0.1 * robot.effort_limit) / (0.1 * robot.effort_limit)
    efforts = _efforts(robot, data, 10.0 * robot.effort_limit)
    weight = np.abs(data.qfrc_bias - data.qfrc_passive) / robot.effort_limit
    infinite = (-np.inf, np.inf)
    ranges = [tuple(model.jnt_range[j]) if model.jnt_limited[j] else infinite for j in range(robot.dof)]
    damping = np.ravel(model.dof_damping)
    return tuple(
        JointRow(
            name,
            (1.0, float(gains[j])),
            (float(robot.effort_limit[j]), float(efforts[j])),
            ((float(robot.position_lower[j]), float(robot.position_upper[j])), ranges[j]),
            float(model.dof_armature[j]),
            float(damping[j]),
            float(model.jnt_stiffness[j]),
            float(robot.velocity_limit[j]),
            float(weight[j]),
        )
        for j, name in enumerate(robot.channel_names)
    )


def _efforts(robot: Robot, data: mujoco.MjData, command: Array) -> Array:
    """Efforts (n,) at the joints that commands (n,) cause at home, at rest."""
    model = robot.mj_model
    data.qpos[:], data.qvel[:] = robot.home, 0.0
    data.ctrl[:] = command[model.actuator_trnid[:, 0]]
    mujoco.mj_forward(model, data)
    return data.qfrc_actuator.copy()


def tracking_run(robot: Robot) -> Episode:
    """A few seconds of the nominal controller on an undisturbed random motion."""
    scenario = simulation(robot).scenario("nominal", "undisturbed", _SEED)
    scenario = replace(scenario, duration_s=_DURATION_S)
    return run_episode(robot, lambda _: make_controller(robot, CONTROLLER), scenario, CONTROLLER)


def _warnings(robot: Robot, rows: tuple[JointRow, ...]) -> Iterator[str]:
    for row in rows:
        if row.weight_share > _WEIGHT_SHARE:
            share = f"{100 * row.weight_share:.0f} % of its effort limit"
            yield f"joint '{row.name}' needs {share} for the arm's own weight at home"
        if row.armature == 0.0:
            yield f"joint '{row.name}' has no armature: its rotor's inertia times the gear ratio squared is missing"
    yield from doubtful_links(robot.mj_model, reach_m(robot))
