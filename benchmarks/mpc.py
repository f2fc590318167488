# SPDX-License-Identifier: Apache-2.0
"""Benchmark of one controller step against CasADi's solvers, do-mpc and acados, on problems of closed-loop runs.

Ours is timed as `Controller.step`: everything from state to command, with adaptation, latency prediction and reference.
A peer is timed from prepared arrays to its first input, so it does less work.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metarl_robot.benchmarks.catalogue import Report
from metarl_robot.benchmarks.mpc_problem import Judge, Plan, Problem
from metarl_robot.benchmarks.mpc_recording import Recording, Replay, Run, leaping_run, record, suite_run
from metarl_robot.benchmarks.peers.casadi_solvers import METHODS, CasadiSolver, available
from metarl_robot.benchmarks.record import Benchmark, Row, SameAnswer, against, alone, missing
from metarl_robot.benchmarks.timing import Call, interleaved
from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.robot import load_robot

Array = NDArray[np.float64]

PICKED_UP_S = 5.0
"""Time of the change in runs `payload` and `pickup` [s]."""
_REMARKS = (
    "Problems: consecutive control steps of closed-loop simulations, N = 20. Quadrotor (x500: 17 states, of which "
    "four are motor thrusts; 4 inputs; bounds on thrust and its rate): suite heldout, `payload`, from 0.2 s before "
    "the payload is attached; at its limits: a setpoint that jumps by 1.5 m every 0.7 s. Arm (panda: 14 states; 7 "
    "inputs; limits on torque, its rate, velocity and position): `pickup`, from 0.2 s before; at its limits: jumps by"
    " 0.3 rad every 0.3 s.",
    "All solvers get the same expression of the dynamics, the same cost with its terminal weight, and the same "
    "bounds, start, targets and guess (our last plan, shifted). Learned: meta_mpc. The peers get the same residual: "
    "for the quadrotor as numbers (its wrench at each knot, and the model of payload and rotors), for the arm as "
    "expressions (payload, friction, motor strength and the learned network).",
    "Our time covers everything from state to command. The peers' times cover the solver alone, from prepared arrays "
    "to the first input: no adaptation, prediction, reference or residual. That favours the peers; `ratio to our "
    "optimisation alone` compares equal work. The peers' code is compiled beforehand with our flags.",
    "Ours, SQP and acados do one real-time iteration from the same guess; IPOPT, FATROP and do-mpc converge to 1e-4. "
    "Same answer: cost of the planned inputs, simulated with the exact dynamics. Relative cost difference: median of "
    "peer / ours - 1. First effort difference: median of the largest difference over channels, as a share of the "
    "effort range. Largest limit violation: as a share of the same range.",
)


@dataclass(frozen=True)
class Case:
    """Problems under one name."""

    name: str
    run: Run


@dataclass(frozen=True)
class Contestant:
    """A peer on one family of problems.

    prepare(i): untimed preparation of problem i. solve(i): the timed solution. plan: the last solution. inside_s: time
    of the last solve as reported by the library [s], if it does.
    """

    name: str
    prepare: Call
    solve: Call
    plan: Callable[[], Plan]
    inside_s: Callable[[], float] | None = None


def cases(from_s: float = PICKED_UP_S - 0.2) -> tuple[Case, ...]:
    """Cases for both robots: nominal, with the learned residual, and at the limits.

    from_s: start of the recording in cases that change [s].
    """
    quadrotor, arm = load_robot("x500"), load_robot("panda")
    by_quadrotor, by_arm = np.array([1.2, 0.8, 0.4, 0.0, 0.0, 0.0, 0.0]), np.array([0.3, 0.3, -0.3, 0.3, 0.3, 0.3, 0.3])
    return (
        Case("quadrotor", suite_run(quadrotor, "nominal_mpc", "payload", 0, from_s)),
        Case("quadrotor, learned", suite_run(quadrotor, "meta_mpc", "payload", 0, from_s)),
        Case("quadrotor, at its limits", leaping_run(quadrotor, "nominal_mpc", by_quadrotor, 0.7, 1.0)),
        Case("arm", suite_run(arm, "nominal_mpc", "pickup", 0, from_s)),
        Case("arm, learned", suite_run(arm, "meta_mpc", "pickup", 0, from_s)),
        Case("arm, at its limits", leaping_run(arm, "nominal_mpc", by_arm, 0.3, 1.0)),
    )


def run(report: Report, quick: bool) -> Benchmark:
    """See catalogue.Runner."""
    chosen = cases(from_s=0.3) if quick else cases()
    rows: list[Row] = []
    for i, case in enumerate(chosen):
        report("mpc", i, len(chosen), case.name)

        def building(peer: str, done: int = i, name: str = case.name) -> None:
            report(f"build {peer}", done, len(chosen), f"{name}; the first time takes up to a minute")

        rows += _rows(case, 8 if quick else 60, 1 if quick else 2, building)
    report("mpc", len(chosen), len(chosen))
    return Benchmark("mpc", tuple(rows), _REMARKS)


def _rows(case: Case, problems: int, repetitions: int, building: Callable[[str], None]) -> list[Row]:
    recording = record(case.run, problems)
    contestants, absent = _contestants(recording, building)
    judge = Judge(recording.family)
    answers = [_Answers.of(contestant, recording.problems) for contestant in contestants]
    ours = Replay(recording)
    calls: dict[str, Call] = {"ours": ours.step, **{contestant.name: contestant.solve for contestant in contestants}}
    prepare: dict[str, Call] = {
        "ours": ours.prepare,
        **{contestant.name: contestant.prepare for contestant in contestants},
    }
    times = interleaved(calls, problems, repetitions, prepare=prepare, often="ours")
    optimise_s = np.array(ours.optimise_s[-len(times["ours"]) :])
    excess = max(judge.excess(problem, problem.found.inputs) for problem in recording.problems)
    rows = [
        alone(
            case.name,
            times["ours"],
            note="everything from state to command",
            details={"largest limit violation": excess},
        ),
        alone(f"{case.name}: optimisation", optimise_s, note="without adaptation, prediction and reference"),
    ]
    for contestant, answer in zip(contestants, answers, strict=True):
        same, details = _compared(judge, recording, answer.plans)
        details["ratio to our optimisation alone"] = float(np.median(times[contestant.name]) / np.median(optimise_s))
        rows.append(against(case.name, times["ours"], contestant.name, times[contestant.name], same, details=details))
        if answer.inside_s:
            rows.append(
                against(case.name, times["ours"], f"{contestant.name}, inside its library", answer.inside_s, same)
            )
    return rows + [missing(case.name, times["ours"], name, why) for name, why in absent.items()]


@dataclass(frozen=True)
class _Answers:
    """A peer's solution of each problem, and its library's own times."""

    plans: list[Plan]
    inside_s: list[float]

    @classmethod
    def of(cls, contestant: Contestant, problems: tuple[Problem, ...]) -> _Answers:
        plans: list[Plan] = []
        inside_s: list[float] = []
        for i in range(len(problems)):
            contestant.prepare(i)
            contestant.solve(i)
            plans.append(contestant.plan())
            if contestant.inside_s is not None:
                inside_s.append(contestant.inside_s())
        return cls(plans, inside_s)


def _compared(judge: Judge, recording: Recording, plans: list[Plan]) -> tuple[SameAnswer, dict[str, float]]:
    problems, efforts = recording.problems, recording.family.efforts
    ours = np.array([judge.cost(problem, problem.found.inputs) for problem in problems])
    theirs = np.array([judge.cost(problem, plan.inputs) for problem, plan in zip(problems, plans, strict=True)])
    apart = [
        np.abs(judge.efforts(problem, plan.inputs)[0] - judge.efforts(problem, problem.found.inputs)[0])
        / (efforts.upper - efforts.lower)
        for problem, plan in zip(problems, plans, strict=True)
    ]
    details = {
        "relative cost difference": float(np.median(theirs / ours - 1.0)),
        "first effort difference": float(np.median(np.max(apart, axis=1))),
        "largest limit violation": max(
            judge.excess(problem, plan.inputs) for problem, plan in zip(problems, plans, strict=True)
        ),
    }
    return SameAnswer("median cost", float(np.median(ours)), float(np.median(theirs))), details


def _contestants(recording: Recording, building: Callable[[str], None]) -> tuple[list[Contestant], dict[str, str]]:
    """Make every peer that can run; returns them, and the reason for each of the others.

    building: called with a peer's name before its solver is compiled.
    """
    makers: dict[str, Callable[[str, Recording], Contestant]] = {f"CasADi {method}": _casadi for method in METHODS}
    makers |= {"do-mpc": _do_mpc, "acados": _acados}
    present: list[Contestant] = []
    absent: dict[str, str] = {}
    for name, make in makers.items():
        building(name)
        try:
            present.append(make(name, recording))
        except ImportError as error:
            absent[name] = f"not installed ({error})"
        except MetaRLError as error:
            absent[name] = str(error)
    return present, absent


def _casadi(name: str, recording: Recording) -> Contestant:
    method = name.removeprefix("CasADi ")
    if not available(method):
        raise MetaRLError(
            "this CasADi cannot load it: another package may have replaced CasADi's core; reinstall casadi"
        )
    solver = CasadiSolver(recording.family, method)
    prepared = [solver.prepared(problem) for problem in recording.problems]
    return Contestant(name, lambda i: None, lambda i: solver.solve(prepared[i]), solver.plan)


def _do_mpc(name: str, recording: Recording) -> Contestant:
    from metarl_robot.benchmarks.peers.do_mpc import DoMpcSolver

    solver, problems = DoMpcSolver(recording.family), recording.problems
    return Contestant(name, lambda i: solver.prepare(problems[i]), lambda i: solver.solve(problems[i]), solver.plan)


def _acados(name: str, recording: Recording) -> Contestant:
    from metarl_robot.benchmarks.peers.acados import AcadosSolver

    solver, problems = AcadosSolver(recording.family), recording.problems
    return Contestant(
        name,
        lambda i: solver.prepare(problems[i]),
        lambda i: solver.solve(problems[i]),
        solver.plan,
        inside_s=lambda: solver.solve_s,
    )
