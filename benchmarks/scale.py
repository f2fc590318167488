# SPDX-License-Identifier: Apache-2.0
"""Growth of cost with the horizon, the joints, the network's width, and the tasks in a batch."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from metarl_robot.adaptation.compiled_network import fast_network
from metarl_robot.benchmarks.catalogue import Report
from metarl_robot.benchmarks.chain import chain
from metarl_robot.benchmarks.record import Benchmark, Curve, Row, alone
from metarl_robot.benchmarks.timing import Call, interleaved
from metarl_robot.control.base import Controller
from metarl_robot.control.factory import load_config, make_controller
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.core.signals import Reference, State
from metarl_robot.learning.models.maml import Maml, TaskBatch
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.sim.kinds import simulation
from metarl_robot.trajectories.flat_outputs import flat_outputs_of

Array = NDArray[np.float64]

HORIZONS = (10, 20, 40, 80, 160)
JOINTS = (2, 7, 14)
WIDTHS = (32, 64, 128, 256, 512)
TASKS = (2, 5, 10, 20, 50)
_KNOTS = 20
_STEPS = 200


class _Case:
    """One line of a plot: the calls at each size."""

    def __init__(self, figure: str, label: str, size_name: str, calls: dict[int, Call]) -> None:
        self.figure, self.label, self.size_name, self.calls = figure, label, size_name, calls


def run(report: Report, quick: bool) -> Benchmark:
    """Measure every curve."""
    rows: list[Row] = []
    curves: list[Curve] = []
    with tempfile.TemporaryDirectory() as folder:
        cases = list(_cases(Path(folder)))
        for done, case in enumerate(cases):
            report("scale", done, len(cases), f"{case.figure}, {case.label}")
            calls = {str(size): call for size, call in case.calls.items()}
            times = interleaved(calls, problems=30 if quick else 200, repetitions=2 if quick else 5)
            medians = tuple(1e6 * float(np.median(times[str(size)])) for size in case.calls)
            curves.append(Curve(case.figure, case.label, case.size_name, tuple(case.calls), medians))
            rows += [alone(f"{case.label}: {case.size_name} {size}", times[str(size)]) for size in case.calls]
        report("scale", len(cases), len(cases))
    return Benchmark(
        "scale",
        tuple(rows),
        ("A step is a whole control step: it samples the reference, optimises the plan and limits the command.",),
        tuple(curves),
    )


def _cases(folder: Path) -> Iterator[_Case]:
    for name in ("x500", "panda"):
        robot = load_robot(name)
        calls = {horizon: _step(robot, horizon) for horizon in HORIZONS}
        yield _Case("control step against horizon", f"{name} nominal_mpc", "horizon", calls)
    robots = {joints: chain(joints, folder) for joints in JOINTS}
    yield _Case(
        "cost against joints",
        "control step, nominal_mpc",
        "joints",
        {n: _step(robot, 20) for n, robot in robots.items()},
    )
    slopes = {n: _jacobian(robot) for n, robot in robots.items()}
    yield _Case("cost against joints", "Jacobian of the inverse dynamics, 20 knots", "joints", slopes)
    widths = {width: _network(width) for width in WIDTHS}
    yield _Case("cost against network width", "value and Jacobian, 3 layers, 20 knots", "width", widths)
    yield _Case(
        "cost against tasks",
        "second-order MAML, 3x64: outer gradient",
        "tasks",
        {tasks: _maml(tasks) for tasks in TASKS},
    )


def _step(robot: Robot, horizon: int) -> Call:
    """Call for step i of a closed-loop run."""
    controller = make_controller(robot, "nominal_mpc", load_config(robot, "nominal_mpc", {"horizon": horizon}))
    reference, samples = _reference(robot), list(_run(robot, controller))

    def step(i: int) -> object:
        if i == 0:
            controller.reset()
        return controller.step(*samples[i], reference)

    return step


def _run(robot: Robot, controller: Controller) -> Iterator[tuple[float, State]]:
    """Times and states that the controller receives in closed loop, step by step."""
    reference = _reference(robot)
    plant = simulation(robot).plant(simulation(robot).nominal_task())
    start = reference.sample(np.zeros(1))
    state = plant.reset(start.q[0], start.v[0])
    for _ in range(_STEPS):
        yield plant.stamp, state
        state = plant.step(controller.step(plant.stamp, state, reference).effort, robot.control_period_s)


def _reference(robot: Robot) -> Reference:
    return flat_outputs_of(robot).motion(
        "tracking" if robot.attitude is None else "random", np.random.default_rng(0), _STEPS * robot.control_period_s
    )


def _jacobian(robot: Robot) -> Call:
    dynamics, rng = ArmDynamics(robot, _KNOTS), np.random.default_rng(0)
    q, v, a = rng.normal(size=(3, _KNOTS, robot.dof))
    return lambda i: dynamics.efforts_jacobian(q, v, a)


def _network(width: int) -> Call:
    """Call of a network with the Panda's inputs and outputs."""
    rng, dof = np.random.default_rng(0), 7
    sizes = (3 * dof, width, width, width, dof)
    weights = [rng.normal(size=(b, a)) / np.sqrt(a) for a, b in pairwise(sizes)]
    network = fast_network(weights, [np.zeros(b) for b in sizes[1:]])
    q, v = rng.normal(size=(2, _KNOTS, dof))
    return lambda i: network.value_and_jacobian(q, v, np.ones(dof), np.ones(1))


def _maml(tasks: int) -> Call:
    """Call of a MAML gradient: 16 + 16 samples a task, one inner step, the Panda's inputs and outputs."""
    model = Maml(49, 7, (64, 64, 64), 1, True, torch.Generator().manual_seed(0))
    shape = (tasks, 16)
    x, query_x = torch.randn(2, *shape, 49)
    y, query_y = torch.randn(2, *shape, 7)
    batch = TaskBatch(x, y, torch.ones(shape), query_x, query_y)
    return lambda i: model.loss_after(batch).mean().backward()
