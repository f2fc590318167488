# SPDX-License-Identifier: Apache-2.0
"""The invariants of the gate (gate_invariants.py), searched for a counterexample.

Two searches. The stateful one chooses each step by itself and finds the shortest sequence that breaks an invariant. The
other chooses a seed and how often something is wrong, and runs hundreds of steps of a robot that mostly works: it gets
further. In all `METARL_GATE_STEPS` steps (default 1e5); a campaign of 1e7: METARL_GATE_STEPS=1e7
python -m pytest --timeout=0 -s tests/test_gate_invariants.py
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.core.signals import Inertial, State
from metarl_robot.safety.fallback_law import GateConfig, GateError, gate_config
from metarl_robot.safety.gate import Gate, GateState
from metarl_robot.safety.gate_invariants import EffortWatch, WatchedGate

STEPS = int(float(os.environ.get("METARL_GATE_STEPS", "1e5")))
EXAMPLE = 500  # steps of one seed
SHARES = {"panda": 0.4, "planar2": 0.4, "x500": 0.1, "crazyflie": 0.1}  # of the steps
ROBOTS = {name: load_robot(name, check_model=False) for name in SHARES}
WRONG_TIMES = (float("nan"), float("inf"), -float("inf"), 1e300, -1e300, -1.0)
WRONG_NUMBERS = (float("nan"), float("inf"), -float("inf"), 1e308, -1e308, 1e6, 1e-300)
SHIFTS_S = (-7200.0, -1.0, -0.02, -1e-4, 0.1, 0.24, 0.3, 1.0, 7200.0, 1e7)
QUIET = settings(deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))


def settled(robot: Robot) -> State:
    return State(robot.home.copy(), np.zeros(robot.dof))


def random_config(robot: Robot, rng: Random) -> GateConfig:
    return gate_config(robot)(
        command_timeout_s=rng.choice([0.002, 0.04, 1.0]),
        state_timeout_s=rng.choice([0.002, 0.04, 1.0]),
        future_tolerance_s=rng.choice([0.0, 0.05, 1.0]),
        auto_resume_s=rng.choice([0.0, 0.5, 60.0]),
        overspeed_ratio=rng.choice([1.0, 1.5, 10.0]),
        feed_forward_time_s=rng.choice([0.001, 0.05, 10.0]),
        limit_scale=rng.choice([0.05, 0.2, 1.0]),
    )


@dataclass
class World:
    """A robot, its gate, and messages to it, each of them wrong now and then."""

    robot: Robot
    rng: Random
    wrong: float
    steady: bool = True
    seen: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.gate = WatchedGate(self.robot, gate_config(self.robot)())
        self.time_s, self.steady_s = self.rng.choice([0.0, 100.0, 1.7e9]), self.rng.choice([0.0, 5e4])
        self.stamp_s = self.time_s
        self.state = settled(self.robot)
        self.effort = 0.5 * (self.robot.effort_lower + self.robot.effort_limit)

    def step(self) -> None:
        """One control period: a state, a command, now and then another call, a tick."""
        self.pass_time(self.robot.control_period_s * (self.rng.random() if self.unlucky() else 1.0))
        if self.unlucky():
            self.shift(self.rng.choice(SHIFTS_S))
        if not self.unlucky():
            self.measure()
        if self.unlucky():
            self.wrong_state()
        if self.unlucky() or self.robot.attitude is not None:
            self.feel()
        if not self.unlucky():
            self.command(self.rng.choice([0.02, 1.0]))
        if self.unlucky():
            self.wrong_command()
        if self.rng.random() < 0.1:
            self.call()
        self.tick(self.rng.choice(WRONG_TIMES) if self.unlucky() else None)

    def unlucky(self) -> bool:
        return self.rng.random() < self.wrong

    def pass_time(self, duration_s: float) -> None:
        self.time_s += duration_s
        self.steady_s += duration_s

    def shift(self, by_s: float) -> None:
        self.time_s += by_s

    def measure(self) -> None:
        noise = np.array([self.rng.uniform(-0.01, 0.01) for _ in range(self.robot.dof)])
        self.state = State(self.state.q, 0.99 * self.state.v + noise)
        self.stamp_s = self.time_s
        self.gate.on_state(self.state, self.time_s, self.steady_s)

    def wrong_state(self) -> None:
        stamp_s, state, number = self.time_s, settled(self.robot), self.rng.choice(WRONG_NUMBERS)
        kind = self.rng.randrange(7)
        if kind == 0:
            state.q[self.rng.randrange(self.robot.nq)] = number
        elif kind == 1:
            state.v[self.rng.randrange(self.robot.dof)] = number
        elif kind == 2:
            state = State(state.q[:-1], np.tile(state.v, 2))
        elif kind == 3:
            stamp_s = self.rng.choice([self.stamp_s, self.stamp_s - 0.01, *WRONG_TIMES])
        elif kind == 4:
            state.v[:] = self.rng.choice([-999.0, 30.0, 999.0])
        elif kind == 5 and self.robot.attitude is not None:
            turned = np.array([self.rng.gauss(0.0, 1.0) for _ in range(4)])
            state.q[3:] = turned / np.linalg.norm(turned)
        else:
            state.q[:3] = self.rng.choice([-999.0, 5.0, 999.0])
        self.gate.on_state(state, stamp_s, self.steady_s)

    def feel(self) -> None:
        parts = [np.array([0.0, 0.0, 9.81]), np.zeros(3)]
        if self.unlucky():
            self.rng.choice(parts)[self.rng.randrange(3)] = self.rng.choice([*WRONG_NUMBERS, 999.0, -999.0])
        stamp_s = self.rng.choice(WRONG_TIMES) if self.unlucky() else self.time_s
        attitude = np.array([1.0, 0.0, 0.0, 0.0]) if self.rng.random() < 0.5 else None
        self.gate.on_inertial(Inertial(*parts, attitude), stamp_s, self.steady_s)

    def command(self, share: float) -> None:
        """Within the limits and near the last one, or anywhere, and beyond."""
        span = self.robot.effort_limit - self.robot.effort_lower
        target = self.robot.effort_lower + span * np.array([self.rng.uniform(-0.2, 1.2) for _ in span])
        self.effort = self.effort + share * (target - self.effort)
        self.gate.on_command(self.effort, self.stamp_s, self.steady_s)

    def wrong_command(self) -> None:
        effort, number = self.effort.copy(), self.rng.choice(WRONG_NUMBERS)
        kind = self.rng.randrange(5)
        source = "stranger" if kind == 4 else ""
        if kind == 0:
            effort[self.rng.randrange(self.robot.nu)] = number
        elif kind == 1:
            effort = self.rng.choice(
                [effort[:-1], np.zeros(0), np.array(1.0), np.zeros((1, self.robot.nu)), None, "x", [[1], 2]]
            )
        stamp_s = self.rng.choice([self.stamp_s - 0.01, *WRONG_TIMES]) if kind == 2 else self.stamp_s
        received_s = self.rng.choice(WRONG_TIMES) if kind == 3 else self.steady_s
        self.gate.on_command(effort, stamp_s, received_s, source)

    def call(self) -> None:
        kind = self.rng.randrange(20)
        if kind == 0:
            self.gate.estop()
        elif kind == 1:
            self.gate.new_clock("a clock was set")
        elif kind == 2:
            self.gate.configure(random_config(self.robot, self.rng))
        else:
            self.seen["rearmed"] += self.gate.rearm(self.time_s, self.steady_s if self.steady else None)

    def tick(self, wrong_s: float | None = None) -> None:
        now_s = steady_s = None
        if wrong_s is not None:
            now_s, steady_s = self.rng.choice([(wrong_s, None), (None, wrong_s), (wrong_s, wrong_s)])
        now_s = self.time_s if now_s is None else now_s
        steady_s = (self.steady_s if steady_s is None else steady_s) if self.steady else None
        decision = self.gate.tick(now_s, steady_s)
        self.seen[decision.state.value] += 1
        self.seen["off"] += decision.off
        self.seen["latched"] += decision.latched


def searched(robot: Robot, seed: int, wrong: float, steady: bool, steps: int = EXAMPLE) -> World:
    """A world after so many steps, or after the first that broke an invariant."""
    world = World(robot, Random(seed), wrong, steady)
    for _ in range(steps):
        world.step()
        if world.gate.violations:
            break
    return world


@pytest.mark.slow
@pytest.mark.parametrize("name", ROBOTS)
def test_no_sequence_of_messages_times_and_calls_breaks_an_invariant(name: str) -> None:
    seen: Counter[str] = Counter()

    @settings(QUIET, max_examples=max(round(SHARES[name] * STEPS / EXAMPLE), 1))
    @given(st.integers(0, 2**32), st.sampled_from([0.003, 0.02, 0.1, 0.5]), st.booleans())
    def search(seed: int, wrong: float, steady: bool) -> None:
        world = searched(ROBOTS[name], seed, wrong, steady)
        assert world.gate.violations == []
        seen.update(world.seen)

    search()
    print(f"{name}: {sum(seen[state.value] for state in GateState)} steps, {dict(seen)}")
    reached = {
        "passing",
        "braking",
        "blind",
        "latched",
        "rearmed",
        "off" if ROBOTS[name].attitude is not None else "holding",
    }
    assert STEPS < 1e5 or all(seen[what] > 0 for what in reached), seen  # the search got everywhere


class GateMachine(RuleBasedStateMachine):
    """Any call at any time, with any time."""

    name = "planar2"

    def __init__(self) -> None:
        super().__init__()
        self.world = World(ROBOTS[self.name], Random(0), 0.5)

    @rule(duration_s=st.sampled_from([0.0, 1e-4, 0.005, 0.005, 0.005, 0.05]))
    def cycle(self, duration_s: float) -> None:
        self.world.pass_time(duration_s)
        self.world.measure()
        self.world.command(1.0)
        self.world.tick()

    @rule(by_s=st.sampled_from(SHIFTS_S))
    def leap(self, by_s: float) -> None:
        self.world.shift(by_s)

    @rule(count=st.integers(1, 20))
    def silence(self, count: int) -> None:
        for _ in range(count):
            self.world.pass_time(0.005)
            self.world.tick()

    @rule(wrong_s=st.none() | st.floats(width=64))
    def tick(self, wrong_s: float | None) -> None:
        self.world.tick(wrong_s)

    @rule(what=st.sampled_from(["wrong_state", "wrong_command", "measure", "feel", "call"]))
    def message(self, what: str) -> None:
        getattr(self.world, what)()

    @rule()
    def estop(self) -> None:
        self.world.gate.estop()

    @invariant()
    def hold(self) -> None:
        assert self.world.gate.violations == []


@pytest.mark.parametrize("name", ["planar2", "crazyflie"])
def test_no_short_sequence_breaks_an_invariant(name: str) -> None:
    machine = type("Machine", (GateMachine,), {"name": name})
    run_state_machine_as_test(machine, settings=settings(QUIET, max_examples=30, stateful_step_count=25))


@pytest.mark.parametrize(
    ("method", "by"),
    [
        ("_clip", lambda gate, wanted, dt_s: (wanted, False)),
        ("_age_text", lambda gate, *arguments: None),
        ("_may_pass", lambda gate: True),
        ("_command_problem", lambda gate, *arguments: None),
        ("_admits", lambda gate, *arguments: True),
        ("_brake", lambda gate, no_state: setattr(gate, "_state", GateState.BLIND)),
    ],
)
def test_the_search_finds_a_gate_that_is_broken(monkeypatch: pytest.MonkeyPatch, method: str, by: object) -> None:
    monkeypatch.setattr(Gate, method, by)

    def broken(seed: int) -> bool:
        try:
            return bool(searched(ROBOTS["planar2"], seed, 0.1, seed % 2 == 0).gate.violations)
        except (TypeError, ValueError):  # an effort that cannot even be read
            return True

    assert any(broken(seed) for seed in range(10))


def test_the_search_finds_a_gate_whose_clocks_run_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metarl_robot.safety.gate._Clock.passed_s", lambda clock, now_s: 0.05)
    assert any(searched(ROBOTS["planar2"], seed, 0.1, seed % 2 == 0).gate.violations for seed in range(10))


def test_the_watch_sees_what_is_not_finite_beyond_a_limit_or_too_fast() -> None:
    robot = ROBOTS["planar2"]
    step = robot.effort_rate_limit * robot.control_period_s

    def watched(*efforts: np.ndarray) -> list[str]:
        watch, found = EffortWatch(robot), []
        for k, effort in enumerate(efforts):
            watch.time(k * robot.control_period_s)
            found += [words.split(":")[0] for words in watch.sent(effort)]
        return found

    zero = np.zeros(2)
    assert watched(zero, 2.0 * step, 3.0 * step) == []  # a period's credit at the start, then as time allows
    assert watched(zero, 2.0 * step, 3.1 * step) == ["rate"]
    assert watched(zero, np.array([np.nan, 0.0])) == ["finite"]
    assert watched(robot.effort_limit, 1.01 * robot.effort_limit) == ["limits"]


def test_a_time_that_is_not_a_number_stops_the_robot() -> None:
    robot = ROBOTS["planar2"]
    for wrong in [(np.nan, 0.1), (0.1, np.nan), (np.nan, None), (np.inf, None)]:
        gate = WatchedGate(robot, gate_config(robot)())
        gate.on_state(settled(robot), 0.1, 0.1)
        gate.on_command(np.zeros(2), 0.1, 0.1)
        assert gate.tick(0.1, 0.1).state is GateState.PASSING
        assert gate.tick(*wrong).state is not GateState.PASSING
        with pytest.raises(GateError):
            gate.gate.rearm(*wrong)


@pytest.mark.parametrize("name", ROBOTS)
def test_a_clock_that_stands_still_gives_no_credit(name: str) -> None:
    """It doubled at each tick once its rest had been rounded below zero: 2e18 N were sent."""
    robot = ROBOTS[name]
    for seed in range(5):
        rng, gate = np.random.default_rng(seed), WatchedGate(robot, gate_config(robot)())
        for now_s in np.repeat(1.0 + np.cumsum(rng.uniform(0.0, 0.006, 3)), 100):
            gate.on_state(settled(robot), now_s, now_s)
            gate.on_command(rng.uniform(robot.effort_lower, robot.effort_limit), now_s, now_s)
            gate.tick(now_s)
        assert gate.violations == []
