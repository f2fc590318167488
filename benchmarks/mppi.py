# SPDX-License-Identifier: Apache-2.0
"""Benchmark of path integral control: one iteration, with compiled steps of all samples and with plain numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.factory import bare_adapter
from metarl_robot.adaptation.tuning import AdapterTuning
from metarl_robot.benchmarks.catalogue import Report
from metarl_robot.benchmarks.peers.numpy_car import NumpyCar
from metarl_robot.benchmarks.record import Benchmark, Row, SameAnswer, against
from metarl_robot.benchmarks.timing import Call, interleaved
from metarl_robot.control.mppi import MPPI, Advance, Bounds, Sampling
from metarl_robot.core.robot import load_robot
from metarl_robot.robots.ground.description import Ground
from metarl_robot.robots.ground.dynamics import N_PARAMETERS, GroundDynamics
from metarl_robot.robots.ground.flat_outputs import GroundOutputs
from metarl_robot.robots.ground.mppi import GroundMPPI, PathCost, SampledPlanConfig
from metarl_robot.robots.ground.plan import GroundPlan, Samples
from metarl_robot.robots.ground.plan_follower import Problem, Trajectory, weights
from metarl_robot.sim.kinds import simulation

Array = NDArray[np.float64]

SAMPLES = (256, 1024)
PEER = "plain numpy"
REMARKS = (
    "Problems: consecutive control steps of f1tenth on its oval, from rest; horizon 25, two substeps a knot. Both "
    "draw the same noise from the same seed and share the code of costs and weights. They differ in the steps of the "
    "dynamics: ours are one compiled call a knot for all samples; the peer's are written in numpy over all samples, "
    "with Jacobians by finite differences.",
    "Same answer: median cost of the improved plans, by the exact steps.",
)


class _Recorder(GroundMPPI):
    """Keeps the problems that it solves."""

    problems: list[Problem]

    def _optimise(self, problem: Problem) -> tuple[Trajectory, bool]:
        self.problems.append(problem)
        return super()._optimise(problem)


def run(report: Report, quick: bool) -> Benchmark:
    """See catalogue.Runner."""
    robot = load_robot("f1tenth")
    assert isinstance(robot, Ground)
    rows: list[Row] = []
    for done, samples in enumerate(SAMPLES):
        report("mppi", done, len(SAMPLES), f"{samples} samples")
        rows.append(_row(robot, SampledPlanConfig(samples=samples), 8 if quick else 40, 1 if quick else 3))
    report("mppi", len(SAMPLES), len(SAMPLES))
    return Benchmark("mppi", tuple(rows), REMARKS)


def _row(robot: Ground, config: SampledPlanConfig, count: int, repetitions: int) -> Row:
    problems, functions = _recorded(robot, config, count), GroundPlan(robot, config.horizon, config.knot_spacing_s)
    cost = PathCost(*weights(robot, functions, config))
    noise = config.noise * robot.effort_limit
    sampling = Sampling(config.samples, config.temperature, noise, config.correlation, config.seed)
    compiled, car = Samples(robot, config.samples, config.knot_spacing_s), NumpyCar(robot, config.knot_spacing_s)
    residual, parameters = np.zeros(3), np.zeros(N_PARAMETERS)
    steps: dict[str, Advance] = {
        "ours": lambda states, inputs, _: compiled.advance(states, inputs, residual, parameters),
        PEER: lambda states, inputs, _: car.advance(states, inputs),
    }
    contestants = {name: MPPI(sampling, step, cost) for name, step in steps.items()}
    change = robot.effort_rate_limit * config.knot_spacing_s
    calls = {name: _improving(one, cost, problems, change) for name, one in contestants.items()}
    prepare: dict[str, Call] = {name: _from_the_seed(one) for name, one in contestants.items()}
    plans: dict[str, list[Array]] = {name: [] for name in contestants}
    for name, found in plans.items():
        for i in range(count):
            prepare[name](i)
            found.append(calls[name](i))
    medians = [_median_cost(functions, cost, problems, plans[name]) for name in ("ours", PEER)]
    apart = float(np.abs(np.array(plans["ours"]) - np.array(plans[PEER])).max())
    times = interleaved(calls, count, repetitions, prepare=prepare)
    case = f"f1tenth: {config.samples} samples, horizon {config.horizon}"
    same = SameAnswer("median cost", *medians)
    return against(case, times["ours"], PEER, times[PEER], same, details={"largest difference of inputs": apart})


def _improving(mppi: MPPI, cost: PathCost, problems: list[Problem], change: Array) -> Callable[[int], Array]:
    def improve(i: int) -> Array:
        problem = problems[i]
        cost.targets, cost.ahead = problem.targets, problem.ahead
        bounds = Bounds(problem.lower, problem.upper, change)
        return mppi.improve(problem.here, problem.begin().inputs, bounds).inputs

    return improve


def _from_the_seed(mppi: MPPI) -> Call:
    return lambda _: mppi.reset()


def _median_cost(functions: GroundPlan, cost: PathCost, problems: list[Problem], plans: list[Array]) -> float:
    """Median cost of plans, by steps of one state after the other."""
    still, costs = np.zeros((len(plans[0]), 3)), list[float]()
    for problem, inputs in zip(problems, plans, strict=True):
        cost.targets, cost.ahead = problem.targets, problem.ahead
        states = functions.rolled_out(problem.here, inputs, still, np.zeros(N_PARAMETERS))
        costs.append(float(cost(states[:, None], inputs[:, None])[0]))
    return float(np.median(costs))


def _recorded(robot: Ground, config: SampledPlanConfig, count: int) -> list[Problem]:
    """The problems of the first control steps on an oval."""
    adapter = bare_adapter("none", robot, GroundDynamics(robot), AdapterTuning(1.0))
    controller, room = _Recorder(robot, adapter, config), simulation(robot)
    controller.problems = []
    plant = room.plant(room.nominal_task())
    reference = GroundOutputs(robot).motion("oval", np.random.default_rng(0), 5.0)
    state = plant.reset(reference.sample(np.zeros(1)).q[0])
    for k in range(count):
        step_s = robot.control_period_s
        state = plant.step(controller.step(step_s * k, state, reference).effort, step_s)
    return controller.problems
