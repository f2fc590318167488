# SPDX-License-Identifier: Apache-2.0
"""Problems recorded from closed-loop runs in simulation, and replay of our controller in the same run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from metarl_robot.adaptation.features import Xi
from metarl_robot.benchmarks.mpc_problem import Bounds, Family, Layers, Plan, Problem, arm_family, flight_family
from metarl_robot.control.factory import load_config, make_controller
from metarl_robot.core.checkpoint import default_checkpoint, load_checkpoint
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Command, Reference, Setpoints, State
from metarl_robot.robots.arm.features.armature import ArmatureFeatures
from metarl_robot.robots.arm.features.friction import FrictionFeatures
from metarl_robot.robots.arm.mpc import MIN_EFFORT_GAIN, ArmMPC, MPCConfig
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.robots.quadrotor.mpc import MIN_STRENGTH, FlightMPC, FlightMPCConfig
from metarl_robot.robots.quadrotor.plan import QuadrotorPlan
from metarl_robot.sim.kinds import simulation

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """A closed-loop run that is recorded from a time on.

    task_at: time [s] → task. overrides: settings of the controller that differ from the shipped ones.
    """

    robot: Robot
    controller: str
    reference: Reference
    task_at: Callable[[float], Any]
    noise_seed: int
    from_s: float
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> BaseModel:
        """Configuration of the controller."""
        return load_config(self.robot, self.controller, self.overrides)


@dataclass(frozen=True)
class Recording:
    """Times and states (K,) that the controller received from the start on, and the problems of the last steps."""

    run: Run
    family: Family
    times: tuple[float, ...]
    states: tuple[State, ...]
    problems: tuple[Problem, ...]


def suite_run(robot: Robot, controller: str, kind: str, seed: int, from_s: float) -> Run:
    """A run of suite `heldout`."""
    scenario = simulation(robot).scenario("heldout", kind, seed)
    return Run(robot, controller, scenario.reference, scenario.task_at, scenario.noise_seed, from_s)


def leaping_run(robot: Robot, controller: str, by: Array, every_s: float, from_s: float) -> Run:
    """Run of the nominal robot at home with a setpoint that alternates by `by` (nq,); limits are always active.

    A quadrotor heads straight for it: on the way that it flies otherwise no limit is active.
    """
    task = simulation(robot).nominal_task()
    straight = {"reach_m": 100.0, "reach_speed": 10.0} if isinstance(robot, Quadrotor) else {}
    return Run(robot, controller, Leaps(robot.home, by, robot.dof, every_s), lambda time: task, 0, from_s, straight)


@dataclass(frozen=True)
class Leaps:
    """Setpoint at rest that alternates between home and home + by (nq,), each for `every_s`."""

    home: Array
    by: Array
    dof: int
    every_s: float

    def sample(self, times: Array) -> Setpoints:
        away = np.floor(np.asarray(times) / self.every_s) % 2 == 1
        still = np.zeros((len(away), self.dof))
        return Setpoints(self.home + away[:, None] * self.by, still, still)


def record(run: Run, count: int) -> Recording:
    """Record `count` consecutive problems of a run."""
    controller = make_controller(run.robot, run.controller, run.config)
    notes = _notes(run)
    taking = False
    problems: list[Problem] = []

    def noted(*arguments: Any) -> Any:
        problem = notes.before(controller.inner, *arguments) if taking else None
        result = optimise(*arguments)
        notes.after(result)
        if problem is not None and notes.last is not None:
            problems.append(replace(problem, found=notes.last.plan))
        return result

    optimise = _replaced(controller, noted)
    plant = simulation(run.robot).plant(run.task_at(0.0), run.noise_seed)
    point = run.reference.sample(np.zeros(1))
    state, task = plant.reset(point.q[0], point.v[0]), run.task_at(0.0)
    times: list[float] = []
    states: list[State] = []
    while len(problems) < count:
        taking = len(times) >= round(run.from_s / run.robot.control_period_s)
        if run.task_at(plant.time + 1e-9) is not task:
            task = run.task_at(plant.time + 1e-9)
            plant.set_task(task)
        times.append(plant.stamp)
        states.append(state)
        state = plant.step(controller.step(plant.stamp, state, run.reference).effort, run.robot.control_period_s)
    return Recording(run, notes.family, tuple(times), tuple(states), tuple(problems))


class Replay:
    """Replay of our controller in the recorded run, with the same inputs at every step.

    `optimise_s` collects the durations of its optimisation.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording, self._first = recording, len(recording.times) - len(recording.problems)
        self._controller = make_controller(recording.run.robot, recording.run.controller, recording.run.config)
        self._optimise = _replaced(self._controller, self._timed)
        self.optimise_s: list[float] = []

    def prepare(self, i: int) -> None:
        """Before the first problem, run all earlier steps."""
        if i == 0:
            known = len(self.optimise_s)
            self._controller.reset()
            for k in range(-self._first, 0):
                self.step(k)
            del self.optimise_s[known:]

    def step(self, i: int) -> Command:
        """Run the control step that solves problem i."""
        k = self._first + i
        return self._controller.step(self._recording.times[k], self._recording.states[k], self._recording.run.reference)

    def _timed(self, *arguments: Any) -> Any:
        start = perf_counter()
        result = self._optimise(*arguments)
        self.optimise_s.append(perf_counter() - start)
        return result


def _replaced(controller: Any, by: Callable[..., Any]) -> Callable[..., Any]:
    """Replace the controller's optimisation by `by`; returns the original."""
    controller = controller.inner
    original: Callable[..., Any] = controller._optimise
    controller._optimise = by
    return original


class _Found(NamedTuple):
    """A plan and the times of its knots (N + 1,)."""

    times: Array
    plan: Plan

    def shifted(self, times: Array) -> Plan:
        """Interpolate the plan at other times."""
        states = np.array([np.interp(times, self.times, column) for column in self.plan.states.T]).T
        inputs = np.array([np.interp(times[:-1], self.times[:-1], column) for column in self.plan.inputs.T]).T
        return Plan(states, inputs)


class _Notes(Protocol):
    """Extracts the problem from the arguments of one kind's optimisation, and the plan from its result."""

    family: Family
    last: _Found | None

    def before(self, controller: Any, *arguments: Any) -> Problem | None: ...

    def after(self, result: Any) -> None: ...


def _notes(run: Run) -> _Notes:
    learned = run.controller != "nominal_mpc"
    config = run.config
    if isinstance(run.robot, Quadrotor):
        assert isinstance(config, FlightMPCConfig)
        return _FlightNotes(run.robot, config, learned)
    assert isinstance(config, MPCConfig)
    return _ArmNotes(run.robot, config, learned)


class _FlightNotes:
    def __init__(self, robot: Quadrotor, config: FlightMPCConfig, learned: bool) -> None:
        self.family = flight_family(robot, config, learned)
        self.last: _Found | None = None
        self._learned = learned
        self._functions = QuadrotorPlan(robot, config.horizon, config.knot_spacing_s)
        self._grid = np.linspace(0.0, config.horizon * config.knot_spacing_s, config.horizon + 1)

    def before(self, controller: FlightMPC, start: float, here: Array, target: Setpoints, *_: object) -> Problem | None:
        if self.last is None:
            return None
        guess, adapter = self.last.shifted(start + self._grid), controller.adapter
        guess.states[:, 3:7] /= np.linalg.norm(guess.states[:, 3:7], axis=1, keepdims=True)
        q, v = guess.states[:, :7], guess.states[:, 7:13]
        idle = np.zeros((len(q), 4))
        residual = adapter.evaluate(Xi(q, v, np.zeros_like(v), idle, np.stack([idle, idle])))
        model = self._functions.model(adapter.attached_body(), np.maximum(1.0 + adapter.effort_gain(), MIN_STRENGTH))
        states, thrusts = self._functions.target(target.q, target.v, target.a, residual, model)
        parts = [states, thrusts, *([residual, np.tile(model, (len(q), 1))] if self._learned else [])]
        lower, upper = controller._limiter.bounds()
        guess.states[0] = here
        return Problem(here.copy(), np.hstack(parts), Bounds(lower[None].copy(), upper[None].copy()), guess, guess)

    def after(self, result: Any) -> None:
        (start, states, inputs), _ = result
        self.last = _Found(start + self._grid, Plan(states.copy(), inputs.copy()))


class _ArmNotes:
    def __init__(self, robot: Robot, config: MPCConfig, learned: bool) -> None:
        self.family = arm_family(robot, config, _layers(robot) if learned else None)
        self.last: _Found | None = None
        self._learned, self._step_s = learned, config.knot_spacing_s
        self._grid = np.linspace(0.0, config.horizon * config.knot_spacing_s, config.horizon + 1)
        self._friction = FrictionFeatures(robot.dof)
        self._armature = ArmatureFeatures(np.array(robot.mj_model.dof_armature))
        self._time = 0.0

    def before(self, controller: ArmMPC, time: float, q: Array, v: Array, target: Setpoints) -> Problem | None:
        if self.last is None:
            return None
        self._time = time
        guess, start = self.last.shifted(time + self._grid), np.concatenate([q, v])
        guess.states[0] = start
        parts = [
            target.q,
            target.v,
            target.a,
            self._drift(target),
            *(self._residual(controller, target) if self._learned else []),
        ]
        return Problem(start, np.hstack(parts), Bounds(*controller._reachable_efforts()), guess, guess)

    def after(self, result: Any) -> None:
        knots, _ = result
        if knots is not None:
            plan = Plan(np.hstack([knots.q, knots.v]), knots.a[:-1].copy())
            self.last = _Found(self._time + self._grid, plan)

    def _drift(self, target: Setpoints) -> Array:
        """Difference of the reference from a double integrator under the reference's acceleration, (N + 1, 2n)."""
        h = self._step_s
        drift = np.zeros((len(target.q), 2 * target.q.shape[1]))
        by_q = target.q[1:] - target.q[:-1] - h * target.v[:-1] - 0.5 * h**2 * target.a[:-1]
        drift[:-1] = np.hstack([by_q, target.v[1:] - target.v[:-1] - h * target.a[:-1]])
        return drift

    def _residual(self, controller: ArmMPC, target: Setpoints) -> list[Array]:
        adapter: Any = controller.adapter
        context = adapter.context
        z = {
            group: np.array(
                [mean for name, mean in zip(context.names, context.mean, strict=True) if name.startswith(starts)]
            )
            for group, starts in (
                ("payload", ("payload_",)),
                ("friction", ("coulomb_", "viscous_")),
                ("armature", ("armature_",)),
                ("learned", ("learned_",)),
            )
        }
        idle = np.zeros_like(target.q)
        xi = Xi(target.q, target.v, target.a, idle, np.stack([idle, idle]))
        constant = self._friction.value(xi, z["friction"]) + adapter.compensated
        gain = np.maximum(1.0 + adapter.effort_gain(), MIN_EFFORT_GAIN)
        knots = len(self._grid)
        return [
            np.tile(z["payload"], (knots, 1)),
            np.tile(z["learned"], (knots, 1)),
            constant,
            np.tile(self._armature.inertia(z["armature"]), (knots, 1)),
            np.tile(gain, (knots, 1)),
        ]


def _layers(robot: Robot) -> Layers:
    """Layers of the network in the shipped weights."""
    tensors = load_checkpoint(default_checkpoint(robot, "last_layer"), robot).tensors
    count = sum(name.startswith("network.") and name.endswith(".weight") for name in tensors)
    return [(tensors[f"network.{i}.weight"], tensors[f"network.{i}.bias"]) for i in range(count)]
