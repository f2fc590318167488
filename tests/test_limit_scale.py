# SPDX-License-Identifier: Apache-2.0
"""Scaled limits of the gate (limit_scale): what commands may use of effort, rate and velocity, and what stops may."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from pydantic import ValidationError

from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.core.signals import State
from metarl_robot.safety.fallback_law import GateConfig, gate_config
from metarl_robot.safety.gate import Decision, Gate, GateState
from metarl_robot.safety.gate_invariants import WatchedGate
from metarl_robot.safety.limit_scale import REST_S

SCALE = 0.2
ROUNDING = 1e-9


def config(robot: Robot, **changes: object) -> GateConfig:
    return gate_config(robot)(**changes)


def resting(robot: Robot) -> State:
    return State(robot.home.copy(), np.zeros(robot.dof))


def commands(robot: Robot, count: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Commands that leap between the ends of the range and anything within it, and stay for a while."""
    rng = np.random.default_rng(seed)
    lower, upper = robot.effort_lower, robot.effort_limit
    effort = 0.5 * (lower + upper)
    for _ in range(count):
        if rng.random() < 0.05:
            effort = rng.choice([lower, upper, rng.uniform(lower, upper)])
        yield effort


def passed(gate: Gate | WatchedGate, robot: Robot, efforts: Iterator[np.ndarray]) -> list[Decision]:
    """Decisions on commands to a robot at rest."""
    decisions, period = [], robot.control_period_s
    for k, effort in enumerate(efforts):
        now_s = k * period
        gate.on_state(resting(robot), now_s, now_s)
        gate.on_command(effort, now_s, now_s)
        decisions.append(gate.tick(now_s, now_s))
    return decisions


def sent(decisions: list[Decision]) -> np.ndarray:
    assert all(decision.state is GateState.PASSING for decision in decisions)
    return np.array([decision.effort for decision in decisions])


@pytest.mark.parametrize("name", ["panda", "x500", "husky"])
def test_the_whole_range_is_the_default_and_changes_nothing(name: str) -> None:
    robot = load_robot(name, check_model=False)
    plain = sent(passed(Gate(robot, config(robot)), robot, commands(robot, 500)))
    scaled = sent(passed(Gate(robot, config(robot, limit_scale=1.0)), robot, commands(robot, 500)))
    assert np.array_equal(plain, scaled)
    assert np.any(plain == robot.effort_limit)  # the commands reach the end of the range


@pytest.mark.parametrize("name", ["panda", "x500", "husky"])
def test_efforts_change_by_the_scaled_rate_at_most(name: str) -> None:
    robot = load_robot(name, check_model=False)
    gate = WatchedGate(robot, config(robot, limit_scale=SCALE))
    efforts = sent(passed(gate, robot, commands(robot, 2000)))
    step = SCALE * robot.effort_rate_limit * robot.control_period_s
    assert np.all(np.abs(np.diff(efforts, axis=0)) <= step * (1.0 + ROUNDING))
    assert gate.violations == [] and gate.gate.counts["scale_limited"] > 0


@pytest.mark.parametrize(("name", "changes"), [("panda", {"effort_includes_gravity": False}), ("husky", {})])
def test_where_nothing_must_be_held_efforts_stay_within_the_scaled_limits(name: str, changes: dict) -> None:
    robot = load_robot(name, check_model=False)
    efforts = sent(passed(Gate(robot, config(robot, limit_scale=SCALE, **changes)), robot, commands(robot, 2000)))
    assert np.all(np.abs(efforts) <= SCALE * robot.effort_limit * (1.0 + ROUNDING))


@pytest.mark.parametrize("name", ["panda", "x500"])
def test_the_band_around_the_holding_effort_follows_a_command_at_its_edge_slowly(name: str) -> None:
    """Within a time t, no effort leaves one that was held by more than s (1 + t / REST_S) times half the range."""
    robot = load_robot(name, check_model=False)
    lower, upper = robot.effort_lower, robot.effort_limit
    held, half = lower + 0.4 * (upper - lower), 0.5 * (upper - lower)
    settled, count = round(5.0 * REST_S / robot.control_period_s), 200
    decisions = passed(Gate(robot, config(robot, limit_scale=SCALE)), robot, iter([held] * settled + [upper] * count))
    since_s = robot.control_period_s * np.arange(1, count + 1)[:, None]
    rise = sent(decisions)[settled:] - held
    assert np.all(rise <= SCALE * half * (1.0 + since_s / REST_S) * (1.0 + ROUNDING))
    within = since_s[:, 0] < 0.1 * REST_S
    assert np.max(rise[within] / half) > 0.9 * SCALE  # the band's edge is reached, then followed
    assert np.array_equal(sent(decisions)[settled - 1], held)


@pytest.mark.parametrize(("name", "axis"), [("panda", 0), ("x500", 0), ("husky", 0)])
def test_a_scaled_velocity_stops_and_latches_and_the_reason_names_the_scale(name: str, axis: int) -> None:
    robot = load_robot(name, check_model=False)

    def at(share: float, **changes: object) -> Gate:
        """A gate that has seen a velocity: this share of its limit."""
        gate, state, period = Gate(robot, config(robot, **changes)), resting(robot), robot.control_period_s
        middle = 0.5 * (robot.effort_lower + robot.effort_limit)
        passed(gate, robot, iter([middle] * 20))
        state.v[axis] = share * robot.velocity_limit[axis]
        for k in range(20, 25):
            now_s = k * period
            moved = State(state.q.copy(), state.v)
            moved.q[axis] += (k - 19) * period * state.v[axis]
            gate.on_state(moved, now_s, now_s)
            gate.on_command(middle, now_s, now_s)
            gate.tick(now_s, now_s)
        return gate

    ratio = config(robot).overspeed_ratio
    assert at(0.9 * SCALE * ratio, limit_scale=SCALE).state is GateState.PASSING
    stopped = at(1.1 * SCALE * ratio, limit_scale=SCALE)
    assert stopped.latched and "limit_scale is 0.2" in stopped.reason
    assert at(1.1 * SCALE * ratio).state is GateState.PASSING


def test_a_stop_may_use_the_whole_range() -> None:
    robot = load_robot("panda", check_model=False)
    gate, period = Gate(robot, config(robot, limit_scale=0.05)), robot.control_period_s
    passed(gate, robot, iter([np.zeros(robot.nu)] * 100))
    gate.estop()
    moving = resting(robot)
    moving.v[:] = 0.06 * robot.velocity_limit
    largest = np.zeros(robot.nu)
    for k in range(100, 300):
        now_s = k * period
        gate.on_state(State(moving.q + (k - 99) * period * moving.v, moving.v), now_s, now_s)
        decision = gate.tick(now_s, now_s)
        assert decision.state is GateState.BRAKING
        largest = np.maximum(largest, np.abs(decision.effort))
    assert np.any(largest > 2.0 * 0.05 * robot.effort_limit)


def test_the_scale_can_be_raised_in_motion() -> None:
    robot = load_robot("panda", check_model=False)
    gate, period = Gate(robot, config(robot, limit_scale=SCALE)), robot.control_period_s
    passed(gate, robot, iter([np.zeros(robot.nu)] * 20))
    gate.configure(config(robot, limit_scale=1.0))
    for k in range(20, 60):
        gate.on_state(resting(robot), k * period, k * period)
        gate.on_command(robot.effort_limit, k * period, k * period)
        decision = gate.tick(k * period, k * period)
    assert np.array_equal(decision.effort, robot.effort_limit)


@pytest.mark.parametrize("value", [0.0, 0.04, 1.01, float("nan")])
def test_a_scale_out_of_range_is_refused(value: float) -> None:
    with pytest.raises(ValidationError, match="limit_scale"):
        config(load_robot("panda", check_model=False), limit_scale=value)
