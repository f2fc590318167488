# SPDX-License-Identifier: Apache-2.0
"""Every ordered pair of controllers of both kinds of robot, with a payload that no controller is told of, exchanged in
motion.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml

from metarl_robot.control.base import Controller
from metarl_robot.control.bumpless_transfer import FADE_S, LEARN_S, BumplessTransfer
from metarl_robot.control.factory import controller_names, make_controller
from metarl_robot.core.robot import load_robot
from metarl_robot.safety.fallback_law import gate_config
from metarl_robot.safety.gate import Gate, GateState
from metarl_robot.sim.kinds import simulation
from metarl_robot.sim.payload import Payload
from metarl_robot.trajectories.flat_outputs import flat_outputs_of


class Case(NamedTuple):
    """A robot, its motion and payload, the time of the exchange, and its largest allowed cost.

    step: largest change of an effort from one command to the next, as a share of the effort rate limit's, where neither
    controller alone changes it by more. error_m: largest error of position beyond that of the worse of the two
    controllers alone. names: the controllers; none: all of the kind.
    """

    robot: str
    motion: str
    mass_kg: float
    exchange_s: float
    step: float
    error_m: float
    names: tuple[str, ...] = ()


CASES = [
    Case("planar2", "tracking", 1.0, 1.0, 0.5, 0.03),
    Case("panda", "tracking", 1.25, 1.6, 0.35, 0.005, ("pid", "meta_mpc")),
    Case("x500", "random", 0.5, 1.0, 0.05, 0.03, ("se3", "nominal_mpc", "meta_mpc")),
]


@cache
def controllers(robot: str) -> dict[str, Controller]:
    made = load_robot(robot)
    return {name: make_controller(made, name) for name in controller_names(made.kind) if name != "oracle_mpc"}


class Run(NamedTuple):
    """From the exchange on: (K,) largest change of an effort, as a share of the rate limit's, and error [m]; why the
    gate stopped.
    """

    steps: np.ndarray
    errors_m: np.ndarray
    stops: list[str]


@cache
def run(case: Case, first: str, then: str = "") -> Run:
    """Drive with one controller, and from `exchange_s` on with another, behind a gate in lockstep."""
    robot = load_robot(case.robot)
    period, sim = robot.control_period_s, simulation(robot)
    reference = flat_outputs_of(robot).motion(case.motion, np.random.default_rng(0), 60.0)
    plant = sim.plant(replace(sim.nominal_task(), payload=Payload(case.mass_kg)), 1)  # type: ignore[type-var]
    start = reference.sample(np.zeros(1))
    state, gate = plant.reset(start.q[0], start.v[0]), Gate(robot, gate_config(robot)(**_gate_numbers(robot)))
    made = controllers(case.robot)
    made[first].reset()
    transfer = BumplessTransfer(robot, made[first])
    efforts, errors, stops = [], [], []
    exchange = round(case.exchange_s / period)
    for k in range(exchange + round((LEARN_S + FADE_S + 0.05) / period)):
        now = plant.stamp
        if k == exchange and then:
            transfer.switch(made[then])
        gate.on_state(state, now, now)
        gate.on_command(transfer.step(now, state, reference).effort, now, now)
        decision = gate.tick(now, now)
        if decision.state is not GateState.PASSING:
            stops.append(f"{now:.3f} s: {decision.reason}")
        assert decision.effort is not None
        efforts.append(decision.effort)
        reached, wanted = sim.positions(np.stack([plant.truth.q, reference.sample(np.array([now])).q[0]]))
        errors.append(float(np.linalg.norm(reached - wanted)))
        state = plant.step(decision.effort, period)
    steps = np.abs(np.diff(np.array(efforts[exchange - 1 :]), axis=0)) / (robot.effort_rate_limit * period)
    return Run(steps.max(axis=1), np.array(errors[exchange:]), stops)


def _gate_numbers(robot: Any) -> dict[str, Any]:
    shipped = robot.folder / "config" / "gate.yaml"
    return yaml.safe_load(shipped.read_text(encoding="utf-8"))["/**"]["ros__parameters"] if shipped.exists() else {}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.robot}-{case.exchange_s}")
def test_no_exchange_jumps_errs_or_stops_the_robot(case: Case) -> None:
    """A bound below the controller's own error cannot be met."""
    wrong = []
    names = case.names or tuple(controllers(case.robot))
    for first in names:
        for then in (name for name in names if name != first):
            alone, changed = (run(case, first), run(case, then)), run(case, first, then)
            step = max(case.step, *(float(one.steps.max()) for one in alone))
            error_m = max(float(one.errors_m.max()) for one in alone) + case.error_m
            if changed.steps.max() > step or changed.errors_m.max() > error_m or changed.stops:
                found = (
                    f"step {changed.steps.max():.3f} (allowed {step:.3f}), error {changed.errors_m.max():.4f} "
                    f"({error_m:.4f}) m"
                )
                wrong.append(f"{first} -> {then}: {found} {changed.stops[:1]}")
    assert not wrong, "\n".join(wrong)
