# SPDX-License-Identifier: Apache-2.0
"""Runs of ground vehicles: a course, the ground, the load and the sensors, and a change at 5 s.

The reference's speeds use a share of the smaller grip of those before and after the change, so that the vehicle can
stay on the path.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import MetaRLError
from metarl_robot.robots.ground import courses
from metarl_robot.robots.ground.description import Ground
from metarl_robot.robots.ground.path import Path
from metarl_robot.robots.ground.path_reference import driven
from metarl_robot.sim.ground import layouts
from metarl_robot.sim.ground.proof import stays_on_course
from metarl_robot.sim.ground.task import GroundTask, PatchedTask
from metarl_robot.sim.scenario import Scenario, no_obstacles
from metarl_robot.sim.suite_table import SuiteTable, stream

Array = NDArray[np.float64]
Range = tuple[float, float]

CHANGE_S, DURATION_S, SCORED_FROM_S = 5.0, 12.0, 1.0
GRIP_SHARE = 0.8
"""Share of the ground's friction that the reference's speeds use."""
LAPS_S = 30.0
COURSE_WIDTHS = 3.0
"""Distance of a course's edges from its line, in widths of the vehicle."""
PATCH_WIDTHS, PATCH_PLACE = (1.5, 4.0), (0.2, 0.9)
"""Radius of a patch in widths of the vehicle, and its place, share of the lap."""
SPLIT_SHARE = (0.4, 0.8)
"""Friction of the slippery side over that of the other."""
PROVED = ("surfaces",)
"""Suites whose draws are repeated until the course can be kept."""
MOST_DRAWS = 40
PAIRED = ("sensors",)
"""Suites whose scenarios of one seed differ in the sensors only."""
ACCELEROMETER_NOISE_M_S2, ACCELEROMETER_BIAS_M_S2, GYRO_BIAS_RAD_S = 0.3, 0.3, 0.01
"""Noise, and largest biases, of an IMU."""


@dataclass(frozen=True)
class GroundRanges:
    """Lowest and highest value of each condition; friction is that of dry asphalt, wet asphalt, gravel."""

    friction: Range = (0.4, 1.1)
    stiffness_scale: Range = (0.6, 1.2)
    rolling_resistance: Range = (0.01, 0.06)
    slope_rad: Range = (-0.08, 0.08)
    payload_share: Range = (0.0, 0.4)
    steering_offset_rad: Range = (-0.03, 0.03)
    motor_strength: Range = (0.8, 1.1)
    command_delay_s: Range = (0.0, 0.015)
    sensor_delay_s: Range = (0.0, 0.015)
    noise: Range = (0.2, 1.0)
    """Of the sensors, as a share of _NOISE."""


TRAIN = GroundRanges()
BEYOND = replace(TRAIN, friction=(0.15, 0.35), slope_rad=(-0.2, 0.2), rolling_resistance=(0.05, 0.15))
_NOISE = {
    "position_noise_m": 0.005,
    "yaw_noise_rad": 0.003,
    "velocity_noise_m_s": 0.03,
    "yaw_rate_noise_rad_s": 0.02,
}
_GROUND = ("friction", "stiffness_scale", "rolling_resistance")


def draw_task(robot: Ground, rng: np.random.Generator, ranges: GroundRanges = TRAIN) -> GroundTask:
    """Draw a random task."""
    names = (*_GROUND, "steering_offset_rad", "motor_strength", "command_delay_s", "sensor_delay_s")
    numbers: dict[str, Any] = {name: float(rng.uniform(*getattr(ranges, name))) for name in names}
    noise = float(rng.uniform(*ranges.noise))
    errors: dict[str, Any] = {name: noise * value for name, value in _NOISE.items()}
    length, width, height = robot.description.size_m
    place = rng.uniform(-0.3, 0.3, 3) * (length, width, 0.0) + (0.0, 0.0, 0.5 * height)
    return GroundTask(
        **numbers,
        slope_rad=rng.uniform(*ranges.slope_rad, 2),
        payload_mass_kg=float(rng.uniform(*ranges.payload_share)) * robot.mass_kg,
        payload_position_m=place,
        **errors,
    )


@dataclass(frozen=True)
class _Run:
    """Conditions before and after the change (the same object: no change), the course, and obstacles (K, 3).

    half_width_m: of the course; None: it has no edges. speed_grip: share of the estimated friction by which the
    controller chooses the speeds; 0: the reference gives them.
    """

    before: GroundTask
    after: GroundTask
    path: Path
    obstacles: Array = field(default_factory=no_obstacles)
    half_width_m: float | None = None
    speed_grip: float = 0.0
    duration_s: float = DURATION_S


Draw = Callable[[Ground, np.random.Generator], _Run]


def _surface(ranges: GroundRanges) -> Draw:
    """The ground changes; everything else stays."""

    def draw(robot: Ground, rng: np.random.Generator) -> _Run:
        before, other = draw_task(robot, rng), draw_task(robot, rng, ranges)
        return _Run(before, replace(before, **{name: getattr(other, name) for name in _GROUND}), _course(robot, rng))

    return draw


def _load(robot: Ground, rng: np.random.Generator) -> _Run:
    """A load is put on."""
    task = replace(draw_task(robot, rng), payload_mass_kg=float(rng.uniform(0.2, 0.4)) * robot.mass_kg)
    return _Run(replace(task, payload_mass_kg=0.0), task, _course(robot, rng))


def _slope(ranges: GroundRanges) -> Draw:
    """The ground begins to rise."""

    def draw(robot: Ground, rng: np.random.Generator) -> _Run:
        before = replace(draw_task(robot, rng), slope_rad=np.zeros(2))
        return _Run(before, replace(before, slope_rad=rng.uniform(*ranges.slope_rad, 2)), _course(robot, rng))

    return draw


def _undisturbed(robot: Ground, rng: np.random.Generator) -> _Run:
    task = GroundTask(friction=robot.friction, rolling_resistance=robot.rolling)
    return _Run(task, task, _course(robot, rng))


def _obstacles(layout: Callable[[Ground, Path, np.random.Generator], Array]) -> Draw:
    """Nothing changes; obstacles lie on the course."""

    def draw(robot: Ground, rng: np.random.Generator) -> _Run:
        task, path = draw_task(robot, rng), _course(robot, rng)
        return _Run(task, task, path, layout(robot, path, rng))

    return draw


def _ice_patch(robot: Ground, rng: np.random.Generator) -> _Run:
    """A patch of ice lies on the course; the vehicle meets it in every lap."""
    task, path, width_m = draw_task(robot, rng), _course(robot, rng), float(robot.description.size_m[1])
    place = path.at(np.array([rng.uniform(*PATCH_PLACE) * path.length_m])).position[0]
    patch = PatchedTask(
        **vars(task),
        patch_x_m=float(place[0]),
        patch_y_m=float(place[1]),
        patch_radius_m=float(rng.uniform(*PATCH_WIDTHS)) * width_m,
        patch_friction=float(rng.uniform(*BEYOND.friction)),
    )
    return _Run(patch, patch, path, half_width_m=COURSE_WIDTHS * width_m)


def _fastest(robot: Ground, rng: np.random.Generator) -> _Run:
    """Laps as fast as the estimated friction allows, on unknown, uniform ground."""
    task, path = draw_task(robot, rng), _course(robot, rng)
    half_m = COURSE_WIDTHS * float(robot.description.size_m[1])
    return _Run(task, task, path, half_width_m=half_m, speed_grip=GRIP_SHARE, duration_s=LAPS_S)


def _split(robot: Ground, rng: np.random.Generator) -> _Run:
    """The ground under the wheels of one side turns slippery."""
    before, path = draw_task(robot, rng), _course(robot, rng)
    share = float(rng.uniform(*SPLIT_SHARE))
    right = replace(before, right_share=share)
    left = replace(before, friction=share * before.friction, right_share=1.0 / share)
    half_m = COURSE_WIDTHS * float(robot.description.size_m[1])
    return _Run(before, left if rng.random() < 0.5 else right, path, half_width_m=half_m)


def _wheel_odometry(imu: bool) -> Draw:
    """The ground changes, and states come from wheels that slip and a localiser, with or without an IMU."""

    def draw(robot: Ground, rng: np.random.Generator) -> _Run:
        run = _surface(TRAIN)(robot, rng)
        sensors: dict[str, Any] = {"wheel_odometry": True}
        if imu:
            bias = rng.uniform(-ACCELEROMETER_BIAS_M_S2, ACCELEROMETER_BIAS_M_S2, 3)
            sensors |= {"imu": True, "accelerometer_noise_m_s2": ACCELEROMETER_NOISE_M_S2,
                        "accelerometer_bias_m_s2": bias,
                        "gyro_bias_rad_s": float(rng.uniform(-GYRO_BIAS_RAD_S, GYRO_BIAS_RAD_S))}  # fmt: skip
        return replace(run, before=replace(run.before, **sensors), after=replace(run.after, **sensors))

    return draw


def _course(robot: Ground, rng: np.random.Generator) -> Path:
    named = (courses.oval, courses.figure_eight, courses.circle)
    choice = int(rng.integers(len(named) + 3))
    return named[choice](robot) if choice < len(named) else courses.raceway(robot, rng)


_USUAL: dict[str, Draw] = {"surface": _surface(TRAIN), "load": _load, "slope": _slope(TRAIN)}
SUITES: SuiteTable[Draw] = SuiteTable(
    {
        "train": _USUAL,
        "heldout": _USUAL,
        "extrapolation": {"ice": _surface(BEYOND), "steep": _slope(BEYOND)},
        "nominal": {"undisturbed": _undisturbed},
        "obstacles": {"passable": _obstacles(layouts.passable), "blocked": _obstacles(layouts.blocked)},
        "surfaces": {"ice_patch": _ice_patch, "split": _split},
        "laps": {"fastest": _fastest},
        "sensors": {"wheels": _wheel_odometry(False), "wheels_imu": _wheel_odometry(True)},
    }
)


def scenario(robot: Ground, suite: str, kind: str, seed: int) -> Scenario[GroundTask]:
    """One run of a suite. Raises UnknownNameError, MetaRLError."""
    draw, rng = SUITES.pick(suite, kind, seed)
    if suite in PROVED:
        return _proved(robot, suite, kind, seed)
    if suite in PAIRED:
        rng = stream(suite, seed)
    return _made(robot, kind, draw(robot, rng), seed, rng)


@lru_cache(maxsize=64)
def _proved(robot: Ground, suite: str, kind: str, seed: int) -> Scenario[GroundTask]:
    """The first draw in which an oracle without foresight stays on the course (proof.py)."""
    draw, rng = SUITES.pick(suite, kind, seed)
    for _ in range(MOST_DRAWS):
        made = _made(robot, kind, draw(robot, rng), seed, rng)
        if stays_on_course(robot, made):
            return made
    raise MetaRLError(
        f"scenario '{kind}' of suite '{suite}', seed {seed}: in {MOST_DRAWS} draws '{robot.name}' left its course"
    )


def _made(robot: Ground, kind: str, run: _Run, seed: int, rng: np.random.Generator) -> Scenario[GroundTask]:
    noise_seed = int(rng.integers(2**31))
    friction = GRIP_SHARE * min(run.before.mean_friction, run.after.mean_friction, robot.friction)
    reference = driven(robot, run.path, robot.friction if run.speed_grip else friction)
    if run.half_width_m is not None:
        edges = np.full((len(reference.along), 2), run.half_width_m)
        reference = replace(reference, widths=edges, speed_grip=run.speed_grip)
    changes = () if run.after is run.before else ((CHANGE_S, run.after),)
    return Scenario(
        kind, run.before, changes, reference, run.duration_s, seed, noise_seed, SCORED_FROM_S, obstacles=run.obstacles
    )
