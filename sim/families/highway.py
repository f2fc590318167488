# SPDX-License-Identifier: Apache-2.0
"""Racetrack of highway-env (Leurent 2018): a car follows two lanes among obstacles; what car it is, is not observed.

Track, steering, car model (single track with slipping tyres, at a constant 10 m/s), reward and ends of an episode are
those of highway-env's racetrack-v1 with `dynamical` cars and without traffic. A task is the car's mass, the friction of
its front and rear tyres, and a layout of obstacles, each of which blocks one lane. A car that is stiffer in front
oversteers: between the extremes, the same steering angle turns the car up to seven times as much. All cars are stable
at this speed. An episode succeeds if the car stays on the road and hits nothing for 20 s, about 0.6 laps.

Observations: place across the road (-0.5, 0.5: middles of the lanes 0 and 1), sine of the road's direction at AHEAD_M
relative to the car's, lateral speed [5 m/s], yaw rate [2 rad/s], and free length of each lane [SEEN_M].
"""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium
import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import MissingPackageError
from metarl_robot.learning.policies.family import Family

Array = NDArray[np.float32]

HORIZON, STEP_S = 100, 0.2
LANES = 2
AHEAD_M = (0.0, 6.0, 12.0, 20.0)
SEEN_M = 40.0
_LATERAL_M_S, _YAW_RATE_RAD_S = 5.0, 2.0
_LANE_M = 5.0
_BESIDE_M = 3.5
"""Distance from which on a car and an obstacle are beside each other: half their lengths."""
_FIRST_M, _LAST_M, _APART_M = (80.0, 100.0), 320.0, (30.0, 50.0)
"""Places of obstacles along the lap; episodes begin at 20 … 50 m, and the lap has about 350 m."""


class Car(NamedTuple):
    """A task. mass [highway-env's], friction of front and rear tyres [N/rad]: highway-env's are 1, 15 and 15.

    obstacles: (place along the lap [m], lane) of each.
    """

    mass: float
    front: float
    rear: float
    obstacles: tuple[tuple[float, int], ...] = ()


LIGHTEST, HEAVIEST = 1.0, 1.5
WEAKEST, STRONGEST = 6.0, 15.0
PLAIN = Car(1.0, 15.0, 15.0)


class Racetrack(gymnasium.Wrapper[Array, Any, Any, Any]):
    """highway-env's racetrack with the car and obstacles of a task."""

    def __init__(self, env: gymnasium.Env[Any, Any], car: Car) -> None:
        super().__init__(env)
        self._track: Any = env.unwrapped
        self._car = car
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (len(AHEAD_M) + 3 + LANES,), np.float32)

    def reset(self, **given: Any) -> tuple[Array, dict[str, Any]]:
        self.env.reset(**given)
        vehicle, (mass, front, rear, _) = self._track.vehicle, self._car
        vehicle.MASS, vehicle.INERTIA_Z = mass, mass * type(vehicle).INERTIA_Z
        vehicle.FRICTION_FRONT, vehicle.FRICTION_REAR = front, rear
        self._segments = _segments(self._track.road.network)
        self._ends = np.cumsum([self._lane(index).length for index in self._segments])
        self._track.road.objects = [self._obstacle(*each) for each in self._car.obstacles]
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        _, reward, ended, late, _ = self.env.step(action)
        return self._observation(), float(reward), bool(ended), bool(late), {"success": bool(late and not ended)}

    def _lane(self, segment: tuple[str, str], lane: int = 0) -> Any:
        return self._track.road.network.get_lane((*segment, lane))

    def _place(self, along_m: float) -> tuple[tuple[str, str], float]:
        """Segment at a place of the lap, and the distance from its beginning."""
        along_m %= self._ends[-1]
        k = int(np.searchsorted(self._ends, along_m, side="right"))
        return self._segments[k], along_m - (self._ends[k - 1] if k else 0.0)

    def _obstacle(self, along_m: float, lane: int) -> Any:
        from highway_env.vehicle.objects import Obstacle

        segment, since_m = self._place(along_m)
        own = self._lane(segment, lane)
        share = since_m / self._lane(segment).length
        return Obstacle(self._track.road, own.position(share * own.length, 0.0))

    def _observation(self) -> Array:
        vehicle = self._track.vehicle
        segment = vehicle.lane_index[:2]
        since_m, across_m = self._lane(segment).local_coordinates(vehicle.position)
        k = self._segments.index(segment)
        along_m = since_m + (self._ends[k - 1] if k else 0.0)
        turns = []
        for ahead_m in AHEAD_M:
            there, there_m = self._place(along_m + ahead_m)
            turns.append(np.sin(self._lane(there).heading_at(there_m) - vehicle.heading))
        free = np.ones(LANES)
        for place_m, lane in self._car.obstacles:
            ahead_m = (place_m - along_m + _BESIDE_M) % self._ends[-1] - _BESIDE_M
            free[lane] = min(free[lane], ahead_m / SEEN_M)
        return np.array(
            [across_m / _LANE_M - 0.5, *turns, vehicle.lateral_speed / _LATERAL_M_S, vehicle.yaw_rate / _YAW_RATE_RAD_S,
             *free],
            dtype=np.float32,
        )  # fmt: skip


class HighwayFamily(Family):
    """Cars with different tyres and loads among different obstacles."""

    name, horizon, tells_success, scored = "highway-racetrack", HORIZON, True, (40, 5)

    def sample_task(self, rng: np.random.Generator) -> Car:
        """Draw a car and a layout, uniformly."""
        mass, front, rear = rng.uniform((LIGHTEST, WEAKEST, WEAKEST), (HEAVIEST, STRONGEST, STRONGEST)).tolist()
        return Car(mass, front, rear, _layout(rng))

    def env(self, task: Car) -> Racetrack:
        """The racetrack with this car and these obstacles."""
        try:
            import highway_env  # noqa: F401  its import registers the environments
        except ModuleNotFoundError as error:
            raise MissingPackageError("highway-env", "pip install 'metarl_robot[highway]'") from error
        config = {
            "action": {"type": "ContinuousAction", "longitudinal": False, "lateral": True, "dynamical": True},
            "observation": {"type": "AttributesObservation", "attributes": []},  # the others cost most of a step
            "other_vehicles": 0,
            "duration": HORIZON * STEP_S - 0.5 * STEP_S,  # it sums up steps, with rounding
        }
        return Racetrack(gymnasium.make("racetrack-v1", config=config, disable_env_checker=True), task)


def _layout(rng: np.random.Generator) -> tuple[tuple[float, int], ...]:
    """Random obstacles, far enough apart to change the lane between two."""
    places, along_m = [], rng.uniform(*_FIRST_M)
    while along_m < _LAST_M:
        places.append((float(along_m), int(rng.integers(LANES))))
        along_m += rng.uniform(*_APART_M)
    return tuple(places)


def _segments(network: Any) -> list[tuple[str, str]]:
    """The lap's segments in order."""
    return [(start, end) for start, ends in network.graph.items() for end in ends]


FAMILY = HighwayFamily()
