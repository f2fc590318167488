# SPDX-License-Identifier: Apache-2.0
"""One interface to the simulation of every kind of robot; a kind names its own class
(metarl_robot.core.robot.Robot.simulation).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.training_data import ResidualSeries, TrainingData
from metarl_robot.core.robot import Robot, kind_of, named
from metarl_robot.core.signals import Reference, State
from metarl_robot.sim.demo import Demo
from metarl_robot.sim.scenario import Scenario, Task

Array = NDArray[np.float64]


class Violations(Protocol):
    """A dataclass of numbers of physics steps, each with something beyond a limit of the robot; `any` counts each step
    once.
    """

    __dataclass_fields__: Any

    @property
    def any(self) -> int: ...


class Plant(Protocol):
    """One simulated robot under one task at a time. Deterministic."""

    def reset(self, q: Array | None = None, v: Array | None = None) -> State:
        """Start again at t = 0 with q (nq,), v (dof,); default: at rest at home. Returns the first measurement."""
        ...

    def step(self, effort: Array, duration_s: float) -> State:
        """Issue a command (nu,) and run for a whole number of physics steps. Returns the measurement at the end."""
        ...

    def set_task(self, task: Any) -> None:
        """Change the physical conditions now: positions and velocities do not jump."""
        ...

    def measure(self) -> State:
        """The last measurement again."""
        ...

    @property
    def task(self) -> Task: ...

    @property
    def time(self) -> float:
        """Seconds since the reset."""
        ...

    @property
    def stamp(self) -> float:
        """When the present measurement was taken."""
        ...

    @property
    def truth(self) -> State:
        """The true state now."""
        ...

    @property
    def applied_effort(self) -> Array:
        """(nu,) what the motors gave last."""
        ...

    @property
    def crashed(self) -> bool:
        """Whether the run is over: a flying robot that hit the ground."""
        ...

    @property
    def violations(self) -> Violations: ...


RolloutArrays = dict[str, NDArray[np.float32]]
"""Arrays of a metarl_robot.sim.dataset.DataSet by name."""


class RolloutMaker(Protocol):
    """Simulates rollouts for learning: robots of one kind, each under its own task and on its own random motion."""

    def draw_task(self, rng: np.random.Generator, ranges: Any) -> Any:
        """A random task; ranges: what it is drawn from, None for those of training."""
        ...

    def simulate(
        self, tasks: list[Any], rng: np.random.Generator, steps: int, threads: int
    ) -> tuple[RolloutArrays, NDArray[np.bool_]]:
        """So many control steps under each of T tasks: arrays (T, ...), and which rollouts kept within the robot's
        limits (T,).
        """
        ...


class Lessons(Protocol):
    """Data of one kind of robot in the form that learning takes it.

    adapters: those that can be trained. dynamics: nominal. groups: of raw features. ranges: what tasks for learning are
    drawn from. velocity_scale, force_scale: (dof,) what velocities and residuals are compared with; unit: (dof,) of the
    training data's residuals [Nm, N].
    """

    adapters: tuple[str, ...]
    dynamics: Any
    groups: tuple[str, ...]
    ranges: Any
    velocity_scale: Array
    force_scale: Array
    unit: Array

    def training_data(self, data: Any, groups: tuple[str, ...]) -> TrainingData:
        """A DataSet as training data, with those raw features."""
        ...

    def truth(self, data: Any) -> TrainingData:
        """Likewise, its residual that at the effort that acted."""
        ...

    def residual_series(
        self, data: Any, progress: Callable[[int, int], None] | None = None
    ) -> tuple[ResidualSeries, Array]:
        """What MAML learns from, where `adapters` has it, and the scale (n,) of its network's output.

        progress: called with (done, total).
        """
        ...

    def told(self, data: Any, task: int) -> Array:
        """(S, nu) what an adapter on the robot would be told has acted, in each control step of one rollout."""
        ...


class Simulation(Protocol):
    """What can be simulated with a robot. physics_dt_s: length of a physics step."""

    robot: Robot
    physics_dt_s: float

    def suite_names(self) -> tuple[str, ...]:
        """Every suite that can be named."""
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
        """(N, 3) where tracking errors are measured, for q (N, nq) [m; world]."""
        ...

    def angle_errors(self, q: Array, q_reference: Array) -> Array:
        """(N, m) angles by which q (N, nq) is off [rad]."""
        ...

    def nominal_task(self) -> Task:
        """Exactly the nominal model."""
        ...

    @staticmethod
    def task_from_dict(content: dict[str, Any]) -> Task:
        """The inverse of a task's to_dict. Raises SignalError."""
        ...

    def effort_use(self, task: Any, reference: Reference, start_s: float, end_s: float) -> float:
        """Largest share of an effort limit that following the reference takes."""
        ...

    def rollout_maker(self) -> RolloutMaker:
        """What makes data for learning: see metarl_robot.sim.dataset.collect."""
        ...

    def lessons(self, knots: int = 1) -> Lessons:
        """What learning and its scores take from data; knots: states that residuals are predicted at in one call."""
        ...

    def demo(self, seed: int, mass_kg: float | None = None, offset_m: tuple[float, ...] | None = None) -> Demo:
        """Make the kind's demo.

        Arguments:
            seed: seed of all random draws.
            mass_kg, offset_m: payload mass and its centre of mass in the payload frame (3,); default: drawn.

        Raises:
            UnknownNameError: this kind of robot has no demo.
            MetaRLError: the motors cannot carry the payload along the motion.
        """
        ...

    def own_gravity(self) -> Callable[[Array], Array] | None:
        """What a robot that compensates gravity itself adds to a command (nu,) at q (nq,) [Nm, N]: that of the nominal
        model. None: commands to this kind always include gravity.
        """
        ...

    @property
    def make_oracle(self) -> Any:
        """What `oracle_mpc` makes its adapter with, which is told the true task."""
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
