# SPDX-License-Identifier: Apache-2.0
"""Tasks: the physical conditions of one episode, their ranges, and random draws from them.

A payload is a rigid body in the payload frame (the robot's payload site). Its inertia is that of a uniform box of sides
a, b, c in a random orientation, I_xx = m (b^2 + c^2) / 12 and so on, and therefore always physically possible. A cable
pulls the tool towards an anchor with tension T(e) = k1 e + k2 e^2, e the extension beyond its slack length. A slack
cable does not push.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import SignalError, one_line
from metarl_robot.core.robot import Robot
from metarl_robot.robots.arm.description import Arm
from metarl_robot.sim.arm.geometry import home_position, outward_axis, reach_m
from metarl_robot.sim.arm.model_errors import (
    FrictionLaw,
    LinkErrors,
    Ripple,
    draw_friction_law,
    draw_links,
    draw_ripple,
)
from metarl_robot.sim.arm.obstacle import Obstacle
from metarl_robot.sim.payload.body import Payload, draw_box
from metarl_robot.sim.physics_time import MAX_DELAY_S
from metarl_robot.sim.sensor_errors import SensorErrors
from metarl_robot.sim.task_fields import finite_vector, known_keys, plain

Array = NDArray[np.float64]

_CABLE_TRAVEL = 0.5  # of the reach
_RIPPLE_CYCLES = 32  # per turn of a joint, at most


@dataclass(frozen=True, eq=False)
class Cable:
    """A cable from an anchor to the tool.

    anchor_m: (3,) world. point_m: (3,) attachment point, payload frame. slack_m: length without tension. stiffness_n_m,
    stiffening_n_m2: k1 and k2 of the tension law.
    """

    anchor_m: Array
    point_m: Array
    slack_m: float
    stiffness_n_m: float
    stiffening_n_m2: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "anchor_m", finite_vector("cable anchor_m", self.anchor_m, 3))
        object.__setattr__(self, "point_m", finite_vector("cable point_m", self.point_m, 3))
        for name in ("slack_m", "stiffness_n_m", "stiffening_n_m2"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) >= 0.0):
                raise SignalError(f"task: cable {name} must be finite and >= 0; given {getattr(self, name)}")

    def tension(self, length_m: float) -> float:
        """Tension [N] at a distance between anchor and tool."""
        e = max(0.0, length_m - self.slack_m)
        return self.stiffness_n_m * e + self.stiffening_n_m2 * e * e


@dataclass(frozen=True, eq=False)
class Task:
    """One draw of physical conditions, as plain data.

    payload: carried by the arm. swing: the payload hangs from the payload site and swings, its centre |com_m| below.
    coulomb_nm, viscous_nm_s: (n,) joint friction beyond the nominal model's. motor_strength: (n,) torque delivered per
    torque commanded. command_delay_s, sensor_delay_s: time from a command to its effect, and from a state to its
    measurement. encoder_resolution_rad: step of the measured position. velocity_noise_rad_s: standard deviation of the
    measured velocity's noise. links, friction_law, ripple: model_errors.py. sensor_errors: sim/sensor_errors.py.
    push_n: (3,) force on the payload's centre of mass [N; world]. obstacle: obstacle.py.
    """

    payload: Payload
    coulomb_nm: Array
    viscous_nm_s: Array
    motor_strength: Array
    cable: Cable | None = None
    command_delay_s: float = 0.0
    sensor_delay_s: float = 0.0
    encoder_resolution_rad: float = 0.0
    velocity_noise_rad_s: float = 0.0
    swing: bool = False
    links: LinkErrors | None = None
    friction_law: FrictionLaw | None = None
    ripple: Ripple | None = None
    sensor_errors: SensorErrors | None = None
    push_n: Array | None = None
    obstacle: Obstacle | None = None

    def __post_init__(self) -> None:
        for name in ("coulomb_nm", "viscous_nm_s", "motor_strength"):
            object.__setattr__(self, name, finite_vector(name, getattr(self, name)))
            if np.any(getattr(self, name) < 0.0) or len(getattr(self, name)) != len(self.coulomb_nm):
                raise SignalError(
                    f"task: {name} must hold one number >= 0 per joint; given {getattr(self, name).tolist()}"
                )
        for name in ("command_delay_s", "sensor_delay_s"):
            if not 0.0 <= getattr(self, name) <= MAX_DELAY_S:
                raise SignalError(f"task: {name} must be in [0, {MAX_DELAY_S}] s; given {getattr(self, name)}")
        for name in ("encoder_resolution_rad", "velocity_noise_rad_s"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) >= 0.0):
                raise SignalError(f"task: {name} must be finite and >= 0; given {getattr(self, name)}")
        if self.swing and not (self.payload.mass_kg > 0.0 and np.any(self.payload.com_m)):
            raise SignalError("task: a swinging payload needs a mass and a centre of mass away from the payload site")
        if self.push_n is not None:
            object.__setattr__(self, "push_n", finite_vector("push_n", self.push_n, 3))
        for name, first in (("links", "mass"), ("friction_law", "load_share"), ("ripple", "phase_rad")):
            part = getattr(self, name)
            if part is not None and len(getattr(part, first)) != len(self.coulomb_nm):
                raise SignalError(f"task: {name} must hold one number per joint; given {len(getattr(part, first))}")

    @property
    def position_resolution(self) -> float:
        """Step of the measured position [rad]."""
        return self.encoder_resolution_rad

    @property
    def velocity_noise(self) -> float:
        """Standard deviation of the measured velocity [rad/s]."""
        return self.velocity_noise_rad_s

    def to_dict(self) -> dict[str, Any]:
        """Numbers, lists, booleans and nested dictionaries, ready for JSON."""
        content: dict[str, Any] = plain(asdict(self))
        return content

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Task:
        """Invert to_dict.

        Raises:
            SignalError: a key is missing, unknown or of the wrong kind; the message names it.
        """
        content = known_keys(cls, content, required=("payload",))
        try:
            for name, kind in _PARTS.items():
                if content.get(name) is not None:
                    content[name] = kind(**known_keys(kind, content[name]))
            return cls(**content)
        except (TypeError, ValueError) as error:
            raise SignalError(f"task: {one_line(error)}") from error


_PARTS: dict[str, type] = {
    "payload": Payload,
    "cable": Cable,
    "links": LinkErrors,
    "friction_law": FrictionLaw,
    "ripple": Ripple,
    "sensor_errors": SensorErrors,
    "obstacle": Obstacle,
}


@dataclass(frozen=True)
class TaskRanges:
    """Lowest and highest value of every condition, relative to the robot so that one table serves all arms.

    payload_ratio: mass over rated payload; payload_probability: share of tasks with a payload. com_m: distance of its
    centre of mass from the payload site, in a direction up to 90 degrees from outward. box_side_m: sides of the box
    that gives its inertia. swing_m: length on which a swinging payload hangs. coulomb_ratio: Coulomb friction over
    effort limit; viscous_ratio_s: viscous friction over effort limit. cable_probability, cable_force_ratio: share of
    tasks with a cable; its tension, over the rated payload's weight, with the tool 0.5 x reach farther from the anchor
    than at home. latency_s: command and sensor delay together; command_share is the command's part. (Seen through its
    sensors, an arm with both delays moves exactly as one with all of the latency in its commands.)

    Not in training: link_error: largest relative error of the links. stribeck: F_s over Coulomb friction;
    stribeck_rad_s, load_share: v_s and μ. ripple_ratio: amplitude over effort limit. The rest: sensor_errors.py;
    effort_noise over the largest effort limit. The fields after `velocity_noise_rad_s` are drawn last, and only where
    their range is not zero, so that draws without them stay the same.
    """

    payload_probability: float = 0.85
    payload_ratio: tuple[float, float] = (0.0, 1.0)
    com_m: tuple[float, float] = (0.0, 0.1)
    box_side_m: tuple[float, float] = (0.03, 0.15)
    swing_m: tuple[float, float] = (0.1, 0.25)
    coulomb_ratio: tuple[float, float] = (0.0, 0.02)
    viscous_ratio_s: tuple[float, float] = (0.0, 0.012)
    motor_strength: tuple[float, float] = (0.8, 1.2)
    cable_probability: float = 0.5
    cable_force_ratio: tuple[float, float] = (0.1, 0.5)
    latency_s: tuple[float, float] = (0.0, 0.010)
    command_share: tuple[float, float] = (0.0, 1.0)
    encoder_resolution_rad: tuple[float, float] = (0.0, 1e-4)
    velocity_noise_rad_s: tuple[float, float] = (0.001, 0.010)
    link_error: float = 0.0
    stribeck: tuple[float, float] = (0.0, 0.0)
    stribeck_rad_s: tuple[float, float] = (0.02, 0.2)
    load_share: tuple[float, float] = (0.0, 0.0)
    ripple_ratio: tuple[float, float] = (0.0, 0.0)
    position_noise_rad: tuple[float, float] = (0.0, 0.0)
    jitter_s: tuple[float, float] = (0.0, 0.0)
    velocity_lag_s: tuple[float, float] = (0.0, 0.0)
    differences: bool = False
    lost: tuple[float, float] = (0.0, 0.0)
    effort_noise_ratio: tuple[float, float] = (0.0, 0.0)


TRAIN = TaskRanges()
EXTRAPOLATION = replace(
    TRAIN, payload_ratio=(1.0, 4.0 / 3.0), coulomb_ratio=(0.02, 0.04), viscous_ratio_s=(0.012, 0.024)
)


def nominal_task(robot: Robot) -> Task:
    """The nominal model: no payload, perfect sensors, and motors and Coulomb friction as robot.yaml states."""
    arm = cast(Arm, robot)
    return Task(Payload(), arm.coulomb, np.zeros(arm.dof), arm.motor_strength)


def draw_task(robot: Robot, rng: np.random.Generator, ranges: TaskRanges = TRAIN) -> Task:
    """Draw a random task within `ranges`."""
    payload = draw_payload(robot, rng, ranges) if rng.random() < ranges.payload_probability else Payload()
    friction = _friction(robot, rng, ranges)
    strength = cast(Arm, robot).motor_strength * rng.uniform(*ranges.motor_strength, robot.dof)
    cable = draw_cable(robot, rng, ranges) if rng.random() < ranges.cable_probability else None
    task = Task(payload, motor_strength=strength, cable=cable, **friction, **_sensors(rng, ranges))
    return replace(task, **_errors(robot, rng, ranges, task.coulomb_nm))


def _errors(robot: Robot, rng: np.random.Generator, ranges: TaskRanges, coulomb_nm: Array) -> dict[str, Any]:
    """Errors of the model and of the sensors that training has none of."""
    drawn: dict[str, Any] = {}
    if ranges.link_error > 0.0:
        drawn["links"] = draw_links(robot, rng, ranges.link_error)
    if max(*ranges.stribeck, *ranges.load_share) > 0.0:
        law = ranges.stribeck, ranges.stribeck_rad_s, ranges.load_share
        drawn["friction_law"] = draw_friction_law(rng, coulomb_nm, *law)
    if ranges.ripple_ratio[1] > 0.0:
        drawn["ripple"] = draw_ripple(robot, rng, ranges.ripple_ratio, _RIPPLE_CYCLES)
    sensors = ranges.position_noise_rad, ranges.jitter_s, ranges.velocity_lag_s, ranges.lost, ranges.effort_noise_ratio
    if ranges.differences or max(upper for _, upper in sensors) > 0.0:
        noise, jitter, lag, lost, effort = (rng.uniform(*each) for each in sensors)
        effort *= float(robot.effort_limit.max())
        drawn["sensor_errors"] = SensorErrors(noise, jitter, lag, ranges.differences, lost, effort)
    return drawn


def draw_payload(robot: Robot, rng: np.random.Generator, ranges: TaskRanges = TRAIN) -> Payload:
    """Draw a box of random mass, size, place and orientation."""
    mass = rng.uniform(*ranges.payload_ratio) * robot.description.payload.rated_mass_kg
    return draw_box(rng, mass, ranges.com_m, ranges.box_side_m, outward_axis(robot))


def draw_swinging(robot: Robot, rng: np.random.Generator, ranges: TaskRanges = TRAIN) -> Payload:
    """Draw a payload for a task with swing; it hangs at a random distance below the payload site."""
    payload = draw_payload(robot, rng, ranges)
    return replace(payload, com_m=rng.uniform(*ranges.swing_m) * outward_axis(robot))


def with_friction(robot: Robot, task: Task, rng: np.random.Generator, ranges: TaskRanges = TRAIN) -> Task:
    """Return the task with redrawn joint friction."""
    return replace(task, **_friction(robot, rng, ranges))


def _friction(robot: Robot, rng: np.random.Generator, ranges: TaskRanges) -> dict[str, Any]:
    coulomb = cast(Arm, robot).coulomb + rng.uniform(*ranges.coulomb_ratio, robot.dof) * robot.effort_limit
    viscous = rng.uniform(*ranges.viscous_ratio_s, robot.dof) * robot.effort_limit
    return {"coulomb_nm": coulomb, "viscous_nm_s": viscous}


def with_sensors(task: Task, rng: np.random.Generator, ranges: TaskRanges = TRAIN) -> Task:
    """Return the task with redrawn latency, encoder resolution and velocity noise."""
    return replace(task, **_sensors(rng, ranges))


def _sensors(rng: np.random.Generator, ranges: TaskRanges) -> dict[str, Any]:
    latency, share = rng.uniform(*ranges.latency_s), rng.uniform(*ranges.command_share)
    return {
        "command_delay_s": share * latency,
        "sensor_delay_s": (1.0 - share) * latency,
        "encoder_resolution_rad": rng.uniform(*ranges.encoder_resolution_rad),
        "velocity_noise_rad_s": rng.uniform(*ranges.velocity_noise_rad_s),
    }


def draw_cable(robot: Robot, rng: np.random.Generator, ranges: TaskRanges = TRAIN) -> Cable:
    """Draw a cable from a random side, tied within 5 cm of the payload site.

    It is about taut with the robot at home.
    """
    reach, home = reach_m(robot), home_position(robot)
    direction = rng.normal(size=3)
    distance = rng.uniform(0.4, 0.8) * reach
    slack = max(0.0, distance + rng.uniform(-0.15, 0.1) * reach)
    stretch = distance + _CABLE_TRAVEL * reach - slack
    force = rng.uniform(*ranges.cable_force_ratio) * robot.description.payload.rated_mass_kg * 9.81
    linear = rng.uniform(0.1, 0.6)  # share of that force due to k1
    return Cable(
        anchor_m=home + distance * direction / np.linalg.norm(direction),
        point_m=rng.uniform(-0.03, 0.03, 3),
        slack_m=slack,
        stiffness_n_m=linear * force / stretch,
        stiffening_n_m2=(1.0 - linear) * force / stretch**2,
    )
