# SPDX-License-Identifier: Apache-2.0
"""Named sets of flights with fixed seeds.

    nominal          the nominal quadrotor, undisturbed, with latency and noise only
    train, heldout   wind_0, wind_4, wind_8, wind_8_gusty, wind_12: a figure eight from hover, with wind from the start
                     payload, drop: hooked on, dropped
                     weak_rotor: one rotor loses thrust
                     wind_wall: a wall of wind, crossed at 5 s
    extrapolation    heavy: a payload of 30 to 45 % of the mass (of an x500, limited by its thrust, to 35 %)
                     strong_wind: it rises beyond the trained range
                     two_weak_rotors
                     slung: a payload on a sling
    upset            upside_down, over (120 to 180 degrees), tumbling, spinning: released 20 m above the ground. Only
                     contact is a crash.
    sensors          noisy, without_imu: noise of 5 mm, 5 mrad, 0.05 m/s, 0.02 rad/s, and 20 ms of delay
                     accelerometer_bias: of 0.5 to 1 m/s²
    mismatch         mass, inertia, thrust: wrong by 20 % either way; centre_of_mass: 2 cm off, on a smaller quadrotor
                     less; voltage_sag: by 15 % from 5 s on

    contact          tap: a force of 10 to 30 % of the weight for 0.5 s, from any side
                     ground_effect: from 4 s on, the rotors fly 0.75 to 1.5 radii above the ground
                     landing: with a payload of 10 to 25 % of the mass, at up to 0.5 m/s, to a reference
                     5 to 30 mm below the ground; take-off at 6 s

In all suites but upset and contact, contact with the ground or a tilt beyond 100 degrees is a crash. In contact, an
impact at 1 m/s or faster is one, and while the force acts, position is not judged: errors 'after' count from 1 s after
the tap or the take-off.
wind_4 is 4.2 m/s, wind_8 8.5, wind_8_gusty 8.5 + 2.4 sin t, wind_12 12.1. All winds are scaled by reference_wind /
12.1. A payload of heldout weighs 30 % of the quadrotor. Drag, battery, latency, noise and, where it is not the subject,
a light wind are drawn from the ranges.

Every flight lasts 12 s; changes happen at 5 s. Conditions in which a hover needs more than 80 % of a rotor's thrust or
of the tilt limit, or the figure eight more than 85 %, are redrawn. Other paths are slowed until they need at most 85 %,
before and after the change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core import rotation
from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.signals import Reference, State
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, Quadrotor
from metarl_robot.robots.quadrotor.flatness import FlatTrajectory
from metarl_robot.robots.quadrotor.random_trajectories import random_flight
from metarl_robot.robots.quadrotor.trajectories import FigureEight, Hover, MinimumSnap, Paced, Steps
from metarl_robot.robots.quadrotor.trajectory_limits import check_flight
from metarl_robot.sim.payload.body import Payload
from metarl_robot.sim.quadrotor.feasibility import flight_use, hover_use
from metarl_robot.sim.quadrotor.ranges import (
    FASTEST_WIND_M_S,
    HEAVY,
    LIGHT_WIND,
    STRONG_WIND,
    TRAIN,
    QuadrotorRanges,
    arm_length,
    draw_direction,
    draw_payload,
    draw_task,
    draw_wind,
    reference_wind,
    weakened,
    with_sensors,
)
from metarl_robot.sim.quadrotor.tasks import QuadrotorTask, Wall, Wind
from metarl_robot.sim.scenario import Scenario
from metarl_robot.sim.suite_table import SuiteTable

Array = NDArray[np.float64]

CHANGE_S = 5.0
DURATION_S = 12.0
SCORED_FROM_S = 2.0
HEIGHT_M = 2.0
UPSET_HEIGHT_M = 20.0
_HIGHER_M = 3.0
_AFTER_END_S = 2.0  # a reference extends beyond the episode for the controllers' horizon
_MOST_HOVER_USE, _MOST_USE = 0.80, 0.85
_SLOWER = 0.93
_ATTEMPTS = 1000
_EXACTLY_30 = (0.3, 0.3)
_WEAK = replace(TRAIN, effectiveness=(0.7, 0.9))  # a substantial loss
_POOR: dict[str, Any] = {
    "position_noise_m": 0.005,
    "attitude_noise_rad": 0.005,
    "velocity_noise_m_s": 0.05,
    "gyro_noise_rad_s": 0.02,
    "command_delay_s": 0.0,
    "sensor_delay_s": 0.02,
}
_EIGHT_SIZE_M = (1.25, 0.75)
CRASH_IMPACT_M_S = 1.0
"""In suite contact, an impact at this speed or faster is a crash."""
_TAP_S, _LEAVES_S = 0.5, 6.0
_LOW_WAY_M, _CLEAR_M, _DEPTH_M = 0.5, 0.03, (0.005, 0.03)
_GENTLE = (0.5, 1.0, 10.0, 100.0)  # of a landing: limits of speed, acceleration, jerk, snap


@dataclass(frozen=True)
class _Flight:
    """A drawn flight: conditions before and after the change (the same object: no change), and the path.

    as_it_is: the path is not slowed; conditions in which it needs too much thrust are redrawn. start: state at t = 0;
    None: that of the path. later: further changes, (time [s], task from then on). released_s: see Scenario.
    """

    before: QuadrotorTask
    after: QuadrotorTask
    path: FlatTrajectory
    as_it_is: bool = False
    start: State | None = None
    later: tuple[tuple[float, QuadrotorTask], ...] = ()
    released_s: float | None = None


Kind = Callable[[Quadrotor, np.random.Generator], _Flight]


def _undisturbed(robot: Quadrotor, rng: np.random.Generator) -> _Flight:
    task = with_sensors(QuadrotorTask(), rng)
    return _Flight(task, task, _random_path(robot, rng))


def _wind(speed_m_s: float, swing_m_s: float, robot: Quadrotor, rng: np.random.Generator) -> _Flight:
    scale = reference_wind(robot) / FASTEST_WIND_M_S
    direction = draw_direction(rng)
    task = replace(_bare(robot, rng), wind=Wind(scale * speed_m_s * direction, scale * swing_m_s * direction))
    return _Flight(task, task, FigureEight(np.array([0.0, 0.0, HEIGHT_M]), _EIGHT_SIZE_M), as_it_is=True)


def _payload(ratio: tuple[float, float], robot: Quadrotor, rng: np.random.Generator) -> _Flight:
    before = _bare(robot, rng)
    payload = draw_payload(robot, rng, replace(TRAIN, payload_ratio=ratio))
    return _Flight(before, replace(before, payload=payload), _random_path(robot, rng))


def _drop(ratio: tuple[float, float], robot: Quadrotor, rng: np.random.Generator) -> _Flight:
    hooked = _payload(ratio, robot, rng)
    return replace(hooked, before=hooked.after, after=hooked.before)


def _weak_rotors(count: int, robot: Quadrotor, rng: np.random.Generator) -> _Flight:
    before = _bare(robot, rng)
    return _Flight(before, weakened(robot, before, rng, count, _WEAK), _random_path(robot, rng))


def _wind_wall(robot: Quadrotor, rng: np.random.Generator) -> _Flight:
    normal = draw_direction(rng)
    wind = draw_wind(robot, rng, replace(TRAIN, wind_ratio=(0.3, 0.8)))
    task = replace(_bare(robot, rng), wind=replace(wind, wall=Wall(normal, 0.0, rng.uniform(0.3, 1.0))))
    return _Flight(task, replace(task), _path_through_wall(rng, normal))


def _strong_wind(robot: Quadrotor, rng: np.random.Generator) -> _Flight:
    before = _bare(robot, rng)
    return _Flight(before, replace(before, wind=draw_wind(robot, rng, STRONG_WIND)), _random_path(robot, rng))


def _slung(robot: Quadrotor, rng: np.random.Generator) -> _Flight:
    before = _bare(robot, rng)
    payload = Payload(rng.uniform(0.1, 0.3) * robot.mass_kg)
    sling = rng.uniform(*TRAIN.sling_ratio) * arm_length(robot)
    return _Flight(before, replace(before, payload=payload, sling_m=sling), _random_path(robot, rng))


def _upset(
    tilt_deg: tuple[float, float], rates: tuple[float, float, float], robot: Quadrotor, rng: np.random.Generator
) -> _Flight:
    """Released at a tilt about any horizontal axis. rates: largest body rates, share of their limits."""
    task = replace(with_sensors(QuadrotorTask(), rng), crash_tilt_deg=180.0)
    turn = np.deg2rad(rng.uniform(*tilt_deg)) * draw_direction(rng)
    attitude = rotation.multiply(rotation.from_yaw(rng.uniform(-np.pi, np.pi)), rotation.exp(turn))
    spin = np.array(rates) * rng.uniform(0.5, 1.0, 3) * rng.choice([-1.0, 1.0], 3) * robot.velocity_limit[3:]
    place = np.array([0.0, 0.0, UPSET_HEIGHT_M])
    start = State(np.concatenate([place, attitude]), np.concatenate([rng.uniform(-1.0, 1.0, 3), spin]))
    return _Flight(task, task, Hover(place), start=start)


def _poor_sensors(imu: bool, robot: Quadrotor, rng: np.random.Generator) -> _Flight:
    before = replace(_bare(robot, rng), imu=imu, **_POOR)
    payload = draw_payload(robot, rng, replace(TRAIN, payload_ratio=(0.1, 0.25)))
    return _Flight(before, replace(before, payload=payload), _random_path(robot, rng, _HIGHER_M))


def _accelerometer_bias(robot: Quadrotor, rng: np.random.Generator) -> _Flight:
    bias = rng.standard_normal(3)
    bias *= rng.uniform(0.5, 1.0) / np.linalg.norm(bias)
    before = replace(_bare(robot, rng), accelerometer_bias_m_s2=bias)
    return _Flight(before, replace(before), _random_path(robot, rng, _HIGHER_M))


def _mismatch(error: str, robot: Quadrotor, rng: np.random.Generator) -> _Flight:
    """The quadrotor itself is not as described, from the start."""
    wrong = 1.0 + rng.uniform(0.1, 0.2) * rng.choice([-1.0, 1.0])
    task = _bare(robot, rng)
    changes: dict[str, dict[str, Any]] = {
        "mass": {"mass_scale": wrong},
        "inertia": {"inertia_scale": np.full(3, wrong)},
        "thrust": {"battery": wrong},
        "centre_of_mass": {"com_m": min(0.02, 0.1 * arm_length(robot)) * draw_direction(rng)},
    }
    task = replace(task, **changes[error])
    return _Flight(task, task, _random_path(robot, rng, _HIGHER_M))


def _voltage_sag(robot: Quadrotor, rng: np.random.Generator) -> _Flight:
    before = replace(_bare(robot, rng), battery=1.0)
    sagging = [replace(before, battery=1.0 - 0.15 * share) for share in np.linspace(0.0, 1.0, 31)[1:]]
    later = tuple((CHANGE_S + 0.2 * k, task) for k, task in enumerate(sagging))
    return _Flight(before, sagging[-1], _random_path(robot, rng, _HIGHER_M), later=later)


def _touchable(robot: Quadrotor, rng: np.random.Generator) -> QuadrotorTask:
    return replace(with_sensors(QuadrotorTask(), rng), crash_impact_m_s=CRASH_IMPACT_M_S)


def _tap(robot: Quadrotor, rng: np.random.Generator) -> _Flight:
    before, side = _touchable(robot, rng), rng.normal(size=3)
    force_n = rng.uniform(0.1, 0.3) * robot.mass_kg * GRAVITY_M_S2
    pushed = replace(before, push_n=force_n * side / np.linalg.norm(side))
    changes = (CHANGE_S, pushed), (CHANGE_S + _TAP_S, before)
    return _Flight(before, before, _random_path(robot, rng), later=changes, released_s=CHANGE_S + _TAP_S)


def _ground_effect(robot: Quadrotor, rng: np.random.Generator) -> _Flight:
    """Down, then from side to side; 'after' is near the ground."""
    task, aside = _touchable(robot, rng), _LOW_WAY_M * draw_direction(rng)
    low_m = max(rng.uniform(0.75, 1.5) * robot.rotor_radius_m - _hub_m(robot), _standing_m(robot) + _CLEAR_M)
    down = np.array([0.0, 0.0, low_m])
    places = [[0.0, 0.0, HEIGHT_M], down, down + aside, down - aside, down]
    return _Flight(task, task, Steps(np.array([1.0, 1.0, 4.0, 6.5, 9.0]), np.array(places), _GENTLE))


def _landing(robot: Quadrotor, rng: np.random.Generator) -> _Flight:
    payload = draw_payload(robot, rng, replace(TRAIN, payload_ratio=(0.1, 0.25)))
    task, high = replace(_touchable(robot, rng), payload=payload), np.array([0.0, 0.0, 1.0])
    landed = np.array([0.0, 0.0, _standing_m(robot) - rng.uniform(*_DEPTH_M)])
    path = Steps(np.array([1.0, 1.0, _LEAVES_S]), np.array([high, landed, high]), _GENTLE)
    return _Flight(task, task, path, released_s=_LEAVES_S + 0.5)


def _standing_m(robot: Quadrotor) -> float:
    """Height of the body's origin when it stands on the ground."""
    return 0.5 * float(robot.description.size_m[2])


def _hub_m(robot: Quadrotor) -> float:
    return float(robot.rotor_positions[:, 2].mean())


def _bare(robot: Quadrotor, rng: np.random.Generator) -> QuadrotorTask:
    """Draw a task without payload, with sound rotors and at most a light wind."""
    ranges: QuadrotorRanges = replace(LIGHT_WIND, payload_probability=0.0, weak_probability=0.0)
    return draw_task(robot, rng, ranges)


def _random_path(robot: Quadrotor, rng: np.random.Generator, height_m: float = HEIGHT_M) -> FlatTrajectory:
    return random_flight(robot, rng, DURATION_S + _AFTER_END_S, (0.0, 0.0, height_m))


def _path_through_wall(rng: np.random.Generator, normal: Array) -> MinimumSnap:
    """Waypoints in the calm, across the origin at 5 s, then in the wind."""
    across = np.array([-normal[1], normal[0], 0.0])
    depth = np.array([-1.2, -1.5, 0.0, 1.2, 0.8, 1.4])
    aside = np.where(depth == 0.0, 0.0, rng.uniform(-1.0, 1.0, len(depth)))
    height = HEIGHT_M + rng.uniform(-0.5, 0.5, len(depth))
    points = depth[:, None] * normal + aside[:, None] * across + height[:, None] * np.array([0.0, 0.0, 1.0])
    return MinimumSnap(points, np.array([0.0, 2.5, CHANGE_S, 7.5, 10.0, DURATION_S + _AFTER_END_S]))


def _winds() -> dict[str, Kind]:
    speeds = {
        "wind_0": (0.0, 0.0),
        "wind_4": (4.2, 0.0),
        "wind_8": (8.5, 0.0),
        "wind_8_gusty": (8.5, 2.4),
        "wind_12": (12.1, 0.0),
    }
    return {name: partial(_wind, *speed) for name, speed in speeds.items()}


def _both(payload_ratio: tuple[float, float]) -> dict[str, Kind]:
    changes: dict[str, Kind] = {
        "payload": partial(_payload, payload_ratio),
        "drop": partial(_drop, payload_ratio),
        "weak_rotor": partial(_weak_rotors, 1),
        "wind_wall": _wind_wall,
    }
    return {**_winds(), **changes}


_SUITES: SuiteTable[Kind] = SuiteTable(
    {
        "train": _both((0.1, 0.3)),
        "heldout": _both(_EXACTLY_30),
        "extrapolation": {
            "heavy": partial(_payload, HEAVY.payload_ratio),
            "strong_wind": _strong_wind,
            "two_weak_rotors": partial(_weak_rotors, 2),
            "slung": _slung,
        },
        "nominal": {"undisturbed": _undisturbed},
        "upset": {
            "upside_down": partial(_upset, (180.0, 180.0), (0.0, 0.0, 0.0)),
            "over": partial(_upset, (120.0, 180.0), (0.1, 0.1, 0.1)),
            "tumbling": partial(_upset, (120.0, 180.0), (0.8, 0.8, 0.3)),
            "spinning": partial(_upset, (150.0, 180.0), (0.1, 0.1, 1.0)),
        },
        "sensors": {
            "noisy": partial(_poor_sensors, True),
            "without_imu": partial(_poor_sensors, False),
            "accelerometer_bias": _accelerometer_bias,
        },
        "contact": {"tap": _tap, "ground_effect": _ground_effect, "landing": _landing},
        "mismatch": {
            **{name: partial(_mismatch, name) for name in ("mass", "inertia", "thrust", "centre_of_mass")},
            "voltage_sag": _voltage_sag,
        },
    }
)


def suite_names() -> tuple[str, ...]:
    """Names of all suites."""
    return _SUITES.names()


def scenario_names(suite_name: str) -> tuple[str, ...]:
    """The kinds of run in a suite. Raises UnknownNameError."""
    return _SUITES.kinds(suite_name)


def suite(robot: Quadrotor, name: str, seeds: Iterable[int]) -> tuple[Scenario[QuadrotorTask], ...]:
    """One run of each of the suite's kinds for every seed >= 0. Raises UnknownNameError."""
    return tuple(scenario(robot, name, kind, seed) for seed in seeds for kind in scenario_names(name))


def scenario(robot: Quadrotor, suite_name: str, kind: str, seed: int) -> Scenario[QuadrotorTask]:
    """One run of a suite. Raises UnknownNameError."""
    draw, rng = _SUITES.pick(suite_name, kind, seed)
    for _ in range(_ATTEMPTS):
        flight = draw(robot, rng)
        if _can_be_flown(robot, flight):
            break
    else:
        raise MetaRLError(
            f"{suite_name}/{kind}: none of {_ATTEMPTS} draws can be flown with the thrust and tilt of '{robot.name}'"
        )
    changes = flight.later or (() if flight.after is flight.before else ((CHANGE_S, flight.after),))
    reference = _feasible(robot, flight)
    return Scenario(
        kind,
        flight.before,
        changes,
        reference,
        DURATION_S,
        seed,
        int(rng.integers(2**31)),
        0.0 if flight.start is not None else SCORED_FROM_S,
        start=flight.start,
        released_s=flight.released_s,
    )


def _can_be_flown(robot: Quadrotor, flight: _Flight) -> bool:
    if max(hover_use(robot, flight.before), hover_use(robot, flight.after)) > _MOST_HOVER_USE:
        return False
    return not flight.as_it_is or _use(robot, flight, flight.path) <= _MOST_USE


def _feasible(robot: Quadrotor, flight: _Flight) -> Reference:
    """Return the path, slowed until thrust and tilt suffice."""
    pace, reference = 1.0, flight.path
    while _use(robot, flight, reference) > _MOST_USE:
        pace *= _SLOWER
        reference = Paced(flight.path, pace)
    check_flight(robot, reference, 0.0, DURATION_S)
    return reference


def _use(robot: Quadrotor, flight: _Flight, path: FlatTrajectory) -> float:
    """Largest share of thrust or tilt that the path needs before and after the change."""
    return max(
        flight_use(robot, flight.before, path, 0.0, CHANGE_S),
        flight_use(robot, flight.after, path, CHANGE_S, DURATION_S),
    )
