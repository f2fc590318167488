# SPDX-License-Identifier: Apache-2.0
"""Compares what a multirotor's controllers assume with the simulation, and flies it to test the controllers.

Compared at random states: mass matrix and bias force with MuJoCo's, and the wrench of each rotor with the simulation's.
The bound of the flight is for a healthy description: the nominal controller, which knows no drag, follows a random
motion in still air to BOUND_M. The shipped quadrotors have 21, 38 and 49 mm.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_robot.control.factory import make_controller
from metarl_robot.core import rotation
from metarl_robot.core.robot import Robot
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, UP, Quadrotor
from metarl_robot.robots.quadrotor.dynamics import QuadrotorDynamics
from metarl_robot.robots.quadrotor.rotor_loss import hovers_without
from metarl_robot.sim.episode import Episode, run_episode
from metarl_robot.sim.kinds import simulation
from metarl_robot.sim.quadrotor.aerodynamics import Aerodynamics
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask
from metarl_robot.sim.robot_check import CONTROLLER, Check, Motion, RotorRow

Array = NDArray[np.float64]

BOUND_M = 0.1
"""Largest RMS error of the position."""
LEAST_THRUST_TO_WEIGHT = 1.5
LEAST_YAW_RAD_S2 = 2.0
"""Angular acceleration of yaw below which a warning is given."""
_OVERLAP, _COAXIAL_M = 1.8, 0.02
_STATES = 50
_SEED = 1000
_SETTLED_S, _DURATION_S = 1.0, 6.0


def check_multirotor(robot: Robot) -> Check:
    """Compare and fly a multirotor. Raises MetaRLError: no motion within the limits of its rotors is found."""
    craft = cast(Quadrotor, robot)
    mass, bias, wrench = differences(craft)
    run = _flight(craft)
    settled = run.log.times >= _SETTLED_S
    return Check(
        _rows(craft),
        mass,
        max(bias, wrench),
        float(np.sqrt(np.mean(run.log.error_m[settled] ** 2))),
        BOUND_M,
        run.result.violations,
        run.result.failed_steps,
        tuple(_warnings(craft)),
        Motion(
            craft.home[:3] + craft.rotor_positions,
            craft.rotor_axes,
            craft.home[:3] + craft.payload_position,
            run.log.position,
            run.log.times,
            run.log.error_m,
            chain=False,
        ),
    )


def differences(robot: Quadrotor) -> tuple[float, float, float]:
    """Relative differences of mass matrix, bias force and rotors' wrenches at random states."""
    model, dynamics, rng = robot.mj_model, QuadrotorDynamics(robot), np.random.default_rng(_SEED)
    air = Aerodynamics(robot, [QuadrotorTask(ground_effect=False, drag_scale=np.zeros(2))])
    data, mass, bias, wrench = mujoco.MjData(model), [], [], []
    for _ in range(_STATES):
        q = data.qpos[:] = np.concatenate([rng.uniform(5.0, 9.0, 3), rotation.normalise(rng.normal(size=4))])
        v = data.qvel[:] = rng.uniform(-robot.velocity_limit, robot.velocity_limit)
        mujoco.mj_forward(model, data)
        full, matrix = np.zeros((6, 6)), rotation.to_matrix(q[3:])
        mujoco.mj_fullM(model, data, full)
        mass.append((full, dynamics.mass_matrix(q)))
        angular = rotation.cross(v[3:], robot.inertia @ v[3:])
        bias.append((data.qfrc_bias.copy(), np.append(robot.mass_kg * GRAVITY_M_S2 * np.array(UP), angular)))
        thrusts = rng.uniform(robot.effort_lower, robot.effort_limit)
        square = thrusts[None] / robot.thrust_coefficient
        acting = air.force(matrix[None], q[None, 2:3], np.zeros((1, 6)), np.zeros((1, 3)), square)[0]
        wrench.append((acting, dynamics.input_map(q) @ thrusts))
    return _relative(mass), _relative(bias), _relative(wrench)


def _relative(pairs: list[tuple[Array, Array]]) -> float:
    given, other = (np.array(values) for values in zip(*pairs, strict=True))
    return float(np.abs(given - other).max() / max(np.abs(given).max(), 1e-9))


def _flight(robot: Quadrotor) -> Episode:
    scenario = simulation(robot).scenario("nominal", "undisturbed", _SEED)
    scenario = replace(scenario, duration_s=_DURATION_S)
    return run_episode(robot, lambda _: make_controller(robot, CONTROLLER), scenario, CONTROLLER)


def _rows(robot: Quadrotor) -> tuple[RotorRow, ...]:
    return tuple(
        RotorRow(
            name,
            tuple(robot.rotor_positions[i].tolist()),
            tuple(robot.rotor_axes[i].tolist()),
            "ccw" if robot.spin[i] > 0.0 else "cw",
            (float(robot.effort_lower[i]), float(robot.effort_limit[i])),
            float(robot.hover_thrust[i]),
            hovers_without(robot, i),
        )
        for i, name in enumerate(robot.channel_names)
    )


def _warnings(robot: Quadrotor) -> Iterator[str]:
    ratio = robot.collective(robot.effort_limit) / (robot.mass_kg * GRAVITY_M_S2)
    if ratio < LEAST_THRUST_TO_WEIGHT:
        yield f"thrust over weight is {ratio:.2g}: little is left for manoeuvres and payloads"
    reach = float(np.abs(robot.allocation[3]) @ (robot.effort_limit - robot.effort_lower)) / 2.0
    if reach / robot.inertia[2, 2] < LEAST_YAW_RAD_S2:
        yield f"yaw reaches {reach / robot.inertia[2, 2]:.2g} rad/s²: headings are followed slowly"
    yield from _overlaps(robot)


def _overlaps(robot: Quadrotor) -> Iterator[str]:
    places = robot.rotor_positions
    for i in range(robot.nu):
        for j in range(i):
            apart = float(np.linalg.norm(places[i, :2] - places[j, :2]))
            if _COAXIAL_M < apart < _OVERLAP * robot.rotor_radius_m:
                names = f"'{robot.channel_names[j]}' and '{robot.channel_names[i]}'"
                yield f"{names} overlap: {apart:.3g} m apart, propellers of {robot.rotor_radius_m:.3g} m radius"
