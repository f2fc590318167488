# SPDX-License-Identifier: Apache-2.0
"""The simulation interface common to all kinds of robot.

A kind names its own class (metarl_robot.core.robot.Robot.simulation).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.training_data import ResidualSeries, TrainingData
from metarl_robot.core.robot import Robot, kind_of, named
from metarl_robot.core.signals import Reference, State
from metarl_robot.sim.demo import Demo
from metarl_robot.sim.demo_settings import DemoSettings
from metarl_robot.sim.disturbances import Disturbances
from metarl_robot.sim.scenario import Scenario, Task
from metarl_robot.sim.task_settings import TaskSettings

if TYPE_CHECKING:
    from metarl_robot.sim.run_log import Log

Array = NDArray[np.float64]


class Violations(Protocol):
    """A dataclass of counts of physics steps, each for one limit exceeded; `any` counts each step once."""

    __dataclass_fields__: Any

    @property
    def any(self) -> int: ...


class Plant(Protocol):
    """One simulated robot under one task at a time. Deterministic."""

    def reset(self, q: Array | None = None, v: Array | None = None) -> State:
        """Restart at t = 0 with q (nq,), v (dof,); default: at rest at home. Returns the first measurement."""
        ...

    def step(self, effort: Array, duration_s: float) -> State:
        """Issue a command (nu,) and run for a whole number of physics steps. Returns the measurement at the end."""
        ...

    def set_task(self, task: Any) -> None:
        """Change the physical conditions now; positions and velocities do not jump."""
        ...

    def measure(self) -> State:
        """Return the last measurement again."""
        ...

    @property
    def task(self) -> Task: ...

    @property
    def quantities(self) -> Array:
        """Present true values of the quantities of the robot's reports, in order (core/quantities.py)."""
        ...

    @property
    def time(self) -> float:
        """Seconds since the reset."""
        ...

    @property
    def stamp(self) -> float:
        """Time of the present measurement."""
        ...

    @property
    def truth(self) -> State:
        """Present true state."""
        ...

    @property
    def applied_effort(self) -> Array:
        """Last effort (nu,) of the motors."""
        ...

    @property
    def crashed(self) -> bool:
        """Whether the run is over: a flying robot hit the ground."""
        ...

    @property
    def violations(self) -> Violations: ...


RolloutArrays = dict[str, NDArray[np.float32]]
"""Arrays of a metarl_robot.sim.dataset.DataSet by name."""


class RolloutMaker(Protocol):
    """Simulates training rollouts of robots of one kind, each under its own task and on its own random motion."""

    def draw_task(self, rng: np.random.Generator, ranges: Any) -> Any:
        """Draw a random task; ranges: its ranges, None for those of training."""
        ...

    def simulate(
        self, tasks: list[Any], rng: np.random.Generator, steps: int, threads: int
    ) -> tuple[RolloutArrays, NDArray[np.bool_]]:
        """Simulate a number of control steps under each of T tasks.

        Returns arrays (T, ...), and whether each rollout stayed within the robot's limits (T,).
        """
        ...


class TrainingDataBuilder(Protocol):
    """Training data of one kind of robot.

    dynamics: nominal. groups: of raw features that can be learned. ranges: of the tasks for learning.
    velocity_scale, force_scale: (dof,) scales of velocities and residuals; unit: (dof,) of the training data's
    residuals [Nm, N].
    """

    dynamics: Any
    groups: tuple[str, ...]
    ranges: Any
    velocity_scale: Array
    force_scale: Array
    unit: Array

    def training_data(self, data: Any, groups: tuple[str, ...]) -> TrainingData:
        """Convert a DataSet to training data with the given raw features."""
        ...

    def truth(self, data: Any) -> TrainingData:
        """Convert a DataSet to training data with the residual at the effort that acted."""
        ...

    def residual_series(
        self, data: Any, progress: Callable[[int, int], None] | None = None
    ) -> tuple[ResidualSeries, Array]:
        """Return MAML's training series, if the kind has this adapter, and the scale (n,) of its network's output.

        progress: called with (done, total).
        """
        ...

    def commanded(self, data: Any, task: int) -> Array:
        """Commands (S, nu) as the on-robot adapter sees them, in each control step of one rollout."""
        ...


class Simulation(Protocol):
    """The simulation of a robot.

    physics_dt_s: length of a physics step. settled_m: least bound of a settled error (sim/settling.py).
    task_settings: conditions that a user of the plant node may set.
    disturbances: those that a user changes while it runs.
    demo_settings: those that a user of the demo may set.
    """

    robot: Robot
    physics_dt_s: float
    settled_m: float
    task_settings: type[TaskSettings]
    disturbances: type[Disturbances]
    demo_settings: type[DemoSettings]

    def suite_names(self) -> tuple[str, ...]:
        """Names of all suites."""
        ...

    def scenario_names(self, suite: str) -> tuple[str, ...]:
        """The kinds of run in a suite. Raises UnknownNameError."""
        ...

    def scenario(self, suite: str, kind: str, seed: int) -> Scenario[Any]:
        """One run of a suite. Raises UnknownNameError."""
        ...

    def plant(self, task: Any, seed: int = 0) -> Plant:
        """A robot under a task; seed: of its sensors' noise."""
        ...

    def positions(self, q: Array) -> Array:
        """Positions (N, 3) at which tracking errors are measured, for q (N, nq) [m; world]."""
        ...

    def reference_positions(self, q_reference: Array, q: Array) -> Array:
        """Positions (N, 3) of a reference (N, nq) from which the errors of q (N, nq) are measured [m; world].

        Those at the same times, or, for a robot that follows paths, the nearest ones.
        """
        ...

    def error_meter(self) -> Callable[[Array, Array], float]:
        """A function that gives the error [m] for a reference (nq,) and a position (nq,), called in order of time.

        The error is the distance between the rows of `reference_positions` and `positions`, in constant time a call.
        """
        ...

    def measures(self, plant: Any, scenario: Scenario[Any], log: Log) -> Mapping[str, float | None]:
        """More numbers about a finished run of a plant, by name with unit."""
        ...

    def angle_errors(self, q: Array, q_reference: Array) -> Array:
        """Angle errors (N, m) of q (N, nq) [rad]."""
        ...

    def nominal_task(self) -> Task:
        """The task of the nominal model."""
        ...

    @staticmethod
    def task_from_dict(content: dict[str, Any]) -> Task:
        """Invert a task's to_dict. Raises SignalError."""
        ...

    def effort_use(self, task: Any, reference: Reference, start_s: float, end_s: float) -> float:
        """Largest share of an effort limit needed to follow the reference."""
        ...

    def rollout_maker(self) -> RolloutMaker:
        """Maker of training rollouts; see metarl_robot.sim.dataset.collect."""
        ...

    def training_data_builder(self, knots: int = 1) -> TrainingDataBuilder:
        """Training data and scores; knots: number of states for which residuals are predicted in one call."""
        ...

    def demo(self, seed: int, **settings: Any) -> Demo:
        """Make the kind's demo.

        Arguments:
            seed: seed of all random draws.
            settings: values of `demo_settings` by name; default: drawn.

        Raises:
            UnknownNameError: this kind of robot has no demo.
            MetaRLError: a setting is unknown or out of range, or the motors are too weak for the demo.
        """
        ...

    def own_gravity(self) -> Callable[[Array], Array] | None:
        """Effort that a robot with its own gravity compensation adds to a command (nu,) at q (nq,) [Nm, N].

        It is that of the nominal model. None: commands to this kind always include gravity.
        """
        ...

    @property
    def make_oracle(self) -> Any:
        """Factory of `oracle_mpc`'s adapter, which receives the true task."""
        ...


def simulation(robot: Robot) -> Simulation:
    """The simulation of a robot."""
    made: Simulation = named(robot.simulation)(robot)
    return made


def task_from_dict(kind: str, content: dict[str, Any]) -> Task:
    """A task of a kind of robot from its plain data.

    Raises:
        UnknownNameError: no such kind.
        SignalError: the data are wrong.
    """
    task: Task = named(kind_of(kind).simulation).task_from_dict(content)
    return task
