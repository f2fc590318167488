# SPDX-License-Identifier: Apache-2.0
"""The problems handed to the peers are ours, and IPOPT, converged, finds our controllers' solution."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from metarl_robot.benchmarks.mpc_problem import Judge, Plan, Problem, limited_bounds
from metarl_robot.benchmarks.mpc_recording import Recording, Replay, Run, leaping_run, record, suite_run
from metarl_robot.benchmarks.peers.casadi_solvers import CasadiSolver, available
from metarl_robot.control.riccati_qp import RiccatiQP
from metarl_robot.core.robot import load_robot
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.robots.quadrotor.mpc import FlightMPCConfig
from metarl_robot.robots.quadrotor.plan import QuadrotorPlan

needs_ipopt = pytest.mark.skipif(not available("IPOPT"), reason="this CasADi cannot load IPOPT")


def _leaping_quadrotor(share: float = 1.0) -> Run:
    return leaping_run(
        load_robot("x500"), "nominal_mpc", share * np.array([1.2, 0.8, 0.4, 0.0, 0.0, 0.0, 0.0]), 0.7, 0.8
    )


def _leaping_arm() -> Run:
    return leaping_run(load_robot("panda"), "nominal_mpc", np.array([0.3, 0.3, -0.3, 0.3, 0.3, 0.3, 0.3]), 0.3, 0.4)


def _learning_quadrotor() -> Run:
    return suite_run(load_robot("x500"), "meta_mpc", "payload", 0, 0.3)


def _learning_arm() -> Run:
    return suite_run(load_robot("panda"), "meta_mpc", "pickup", 0, 0.3)


@pytest.mark.parametrize("make", [_leaping_arm, _learning_arm])
def test_the_arm_s_problem_has_the_efforts_of_our_plan(make: Callable[[], Run]) -> None:
    """Dynamics, payload, friction, network and motor strength: the same numbers as the controller's own plan."""
    recording = record(make(), 5)
    judge, replay = Judge(recording.family), Replay(recording)
    for i, problem in enumerate(recording.problems):
        replay.prepare(i)
        command = replay.step(i)
        assert command.plan is not None
        np.testing.assert_allclose(
            judge.efforts(problem, problem.found.inputs), command.plan.effort, rtol=0.0, atol=1e-6
        )


@pytest.mark.parametrize("make", [_leaping_quadrotor, _learning_quadrotor])
def test_the_quadrotor_s_problem_is_what_our_plan_was_made_for(make: Callable[[], Run]) -> None:
    """Our plan's step from knot to knot is the problem's, up to the square of one iteration's change."""
    recording = record(make(), 20)
    for problem in recording.problems[::5]:
        changed = np.abs(problem.found.states - problem.guess.states).max()
        for k, u in enumerate(problem.found.inputs):
            reached = np.array(recording.family.step(problem.found.states[k], u, problem.parameters[k]))[:, 0]
            assert np.abs(reached - problem.found.states[k + 1]).max() < 10.0 * changed**2 + 1e-9


@pytest.mark.slow
@needs_ipopt
@pytest.mark.parametrize(("share", "apart"), [(1.0, 5e-3), (0.1, 1e-4)])
def test_our_real_time_iteration_repeated_converges_to_what_ipopt_finds(share: float, apart: float) -> None:
    """Bounds are met exactly. Errors of the attitude are moved as if they were vectors, which is exact for small ones:
    hence `apart`.
    """
    recording = record(_leaping_quadrotor(share), 40)
    family, at_bounds = recording.family, 0
    solver, judge = CasadiSolver(family, "IPOPT", tolerance=1e-9, compiled=False), Judge(family)
    for problem in recording.problems[::8]:
        solver.solve(solver.prepared(problem))
        ours, theirs = _converged(recording, problem), solver.plan()
        span = family.efforts.upper - family.efforts.lower
        np.testing.assert_allclose(ours.inputs / span, theirs.inputs / span, rtol=0.0, atol=apart)
        assert judge.cost(problem, ours.inputs) == pytest.approx(judge.cost(problem, theirs.inputs), rel=1e-4)
        assert judge.excess(problem, ours.inputs) < 1e-9
        at_bounds += int(
            np.sum((ours.inputs <= family.inputs.lower + 1e-9) | (ours.inputs >= family.inputs.upper - 1e-9))
        )
    assert share < 1.0 or at_bounds > 20


def _converged(recording: Recording, problem: Problem) -> Plan:
    """Our real-time iteration, repeated on one problem until nothing changes."""
    robot, family = recording.run.robot, recording.family
    assert isinstance(robot, Quadrotor)
    config = FlightMPCConfig()
    functions = QuadrotorPlan(robot, config.horizon, config.knot_spacing_s)
    qp = RiccatiQP(config.horizon, family.weights, functions.by_state, functions.by_input)
    model = functions.model(np.zeros(10), np.ones(4))
    target, offset = problem.parameters[:, :17], problem.parameters[:-1, 17:21]
    lower, upper = (np.tile(x, (config.horizon, 1)) for x in (family.inputs.lower, family.inputs.upper))
    lower[:1], upper[:1] = problem.first.lower, problem.first.upper
    states, inputs = problem.guess.states.copy(), problem.guess.inputs.copy()
    for _ in range(60):
        linear = functions.linearise(states, inputs, np.zeros((config.horizon, 6)), model, target)
        solution = qp.solve(linear, inputs - offset, lower - inputs, upper - inputs)
        assert solution.optimal
        change = np.abs(solution.inputs).max()
        states, inputs = functions.moved(states, solution.states).copy(), inputs + solution.inputs
        if change < 1e-10:
            break
    return Plan(states, inputs)


@pytest.mark.slow
@needs_ipopt
def test_our_arm_s_plan_is_what_ipopt_finds_where_no_limit_is_met_and_close_to_it_elsewhere() -> None:
    recording = record(_leaping_arm(), 80)
    family = recording.family
    solver, judge = CasadiSolver(family, "IPOPT", tolerance=1e-9, compiled=False), Judge(family)
    limited = 0
    for problem in recording.problems[::8]:
        solver.solve(solver.prepared(problem))
        theirs = solver.plan()
        efforts = judge.efforts(problem, theirs.inputs)
        cost, best = judge.cost(problem, problem.found.inputs), judge.cost(problem, theirs.inputs)
        lower, upper = limited_bounds(family, problem)
        free = bool(np.all((efforts > lower + 1e-3) & (efforts < upper - 1e-3)))
        if free:
            np.testing.assert_allclose(
                problem.found.inputs, theirs.inputs, atol=1e-4 * np.abs(theirs.inputs).max() + 1e-6
            )
            assert cost == pytest.approx(best, rel=1e-6)
        else:
            limited += 1
            assert cost == pytest.approx(best, rel=0.02)
            assert judge.excess(problem, problem.found.inputs) < 0.03
    assert limited > 0
