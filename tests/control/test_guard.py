# SPDX-License-Identifier: Apache-2.0
"""Every controller, and samples that it cannot use: wrong types are named, wrong values cost nothing."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from metarl_robot.control.base import ControllerSpec
from metarl_robot.control.bumpless_transfer import BumplessTransfer
from metarl_robot.control.factory import controller_names, make_controller
from metarl_robot.control.guard import HOLD_S, GuardedController
from metarl_robot.core.errors import SignalError
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.core.signals import Command, Setpoints, State, Status
from metarl_robot.safety.sample_check import AGREEING
from metarl_robot.sim.kinds import simulation

ROBOTS = {"arm": "planar2", "quadrotor": "x500"}
CASES = [(kind, name) for kind in ROBOTS for name in controller_names(kind)]
PERIOD = 0.005
NAN = float("nan")


@cache
def robot_of(kind: str) -> Robot:
    return load_robot(ROBOTS[kind])


@cache
def made(kind: str, name: str) -> GuardedController:
    oracle = simulation(robot_of(kind)).make_oracle
    return make_controller(robot_of(kind), name, oracle=oracle if name == "oracle_mpc" else None)


def ready(kind: str, name: str) -> GuardedController:
    controller = made(kind, name)
    controller.reset()
    if name == "oracle_mpc":
        controller.observe_truth(simulation(robot_of(kind)).nominal_task())
    return controller


class Swing:
    """Home, and a joint or the height that swings about it."""

    def __init__(self, robot: Robot) -> None:
        self._robot = robot

    def sample(self, times: np.ndarray) -> Setpoints:
        q = np.tile(self._robot.home, (len(times), 1))
        v, a, w = np.zeros((len(times), self._robot.dof)), np.zeros((len(times), self._robot.dof)), 2.0
        i = 2 if self._robot.attitude is not None else 0
        q[:, i] += 0.2 * np.sin(w * times)
        v[:, i], a[:, i] = 0.2 * w * np.cos(w * times), -0.2 * w * w * np.sin(w * times)
        return Setpoints(q, v, a)


def settled(robot: Robot) -> State:
    return State(robot.home.copy(), np.zeros(robot.dof))


def changed(state: State, **entries: Any) -> State:
    """The state with entries of q or v replaced: q0=…"""
    q, v = state.q.copy(), state.v.copy()
    for key, value in entries.items():
        (q if key[0] == "q" else v)[int(key[1:])] = value
    return State(q, v, state.specific_force)


WRONG_VALUES = {
    "time is not a number": lambda t, s: (NAN, s),
    "time is infinite": lambda t, s: (np.inf, s),
    "time is huge": lambda t, s: (1e300, s),
    "time leaps": lambda t, s: (t + 3600.0, s),
    "time goes back": lambda t, s: (t - 1.0, s),
    "time stands still": lambda t, s: (t - PERIOD, s),
    "position is not a number": lambda t, s: (t, changed(s, q0=NAN)),
    "position of 1e6": lambda t, s: (t, changed(s, q0=1e6)),
    "position of 999": lambda t, s: (t, changed(s, q0=999.0)),
    "position leaps": lambda t, s: (t, changed(s, q0=s.q[0] + 2.5)),
    "velocity is not a number": lambda t, s: (t, changed(s, v1=NAN)),
    "velocity of 999": lambda t, s: (t, changed(s, v0=999.0)),
}
WRONG_ATTITUDES = {
    "quaternion of norm 2": lambda t, s: (t, State(np.concatenate([s.q[:3], 2.0 * s.q[3:]]), s.v)),
    "quaternion of norm 1.02": lambda t, s: (t, State(np.concatenate([s.q[:3], 1.02 * s.q[3:]]), s.v)),
    "quaternion of norm 0": lambda t, s: (t, State(np.concatenate([s.q[:3], np.zeros(4)]), s.v)),
}


def wrong_values(kind: str) -> dict[str, Any]:
    return WRONG_VALUES | (WRONG_ATTITUDES if kind == "quadrotor" else {})


def drive(controller: Any, robot: Robot, steps: int, wrong: list[Any] | None = None) -> np.ndarray:
    """Distances from the reference (K,) [m or rad] in a closed loop; each 7th sample comes wrong, before or in place of
    the right one.
    """
    plant, reference = simulation(robot).plant(simulation(robot).nominal_task(), 1), Swing(robot)
    start = reference.sample(np.zeros(1))
    state, errors = plant.reset(start.q[0], start.v[0]), []
    for k in range(steps):
        sample = plant.stamp, state
        if wrong and k > 20 and k % 7 == 0:
            sample = wrong[k // 7 % len(wrong)](*sample)
        command = controller.step(*sample, reference)
        within = (command.effort >= robot.effort_lower) & (command.effort <= robot.effort_limit)
        assert within.all(), command
        assert (command.status is not Status.SOLVED) or sample[1] is state
        state = plant.step(command.effort, robot.control_period_s)
        i = 2 if robot.attitude is not None else 0
        errors.append(abs(plant.truth.q[i] - reference.sample(np.array([plant.time])).q[0, i]))
    return np.array(errors)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), CASES)
def test_sporadic_wrong_samples_leave_the_error_as_it_was(kind: str, name: str) -> None:
    """One of seven: within 20 % and half a millimetre (or mrad) of the error without, in the second half of two
    seconds.
    """
    robot = robot_of(kind)
    without = drive(ready(kind, name), robot, 400)
    with_them = drive(ready(kind, name), robot, 400, list(wrong_values(kind).values()))
    rms = [float(np.sqrt(np.mean(errors[200:] ** 2))) for errors in (without, with_them)]
    assert rms[1] < 1.2 * rms[0] + 5e-4 * (4.0 if kind == "quadrotor" else 1.0), rms


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_wrong_value_is_a_status_and_the_next_good_sample_is_as_if_it_had_not_come(kind: str, name: str) -> None:
    robot, controller, reference = robot_of(kind), ready(kind, name), Swing(robot_of(kind))
    state = settled(robot)
    for what, wrong in wrong_values(kind).items():
        controller.reset()
        for k in range(3):
            last = controller.step(k * PERIOD, state, reference)
        bad = controller.step(*wrong(3 * PERIOD, state), reference)
        assert bad.status is not Status.SOLVED and bad.message, what
        assert np.all(np.abs(bad.effort - last.effort) <= robot.effort_rate_limit * PERIOD + 1e-9), what
        good = controller.step(4 * PERIOD, state, reference)
        assert good.status is Status.SOLVED and np.all(np.isfinite(good.effort)), what


def wrong_types(robot: Robot) -> dict[str, tuple[Any, Any, Any]]:
    good, reference = settled(robot), Swing(robot)
    return {
        "time None": (None, good, reference),
        "time a word": ("now", good, reference),
        "time true": (True, good, reference),
        "state None": (0.5, None, reference),
        "state a tuple": (0.5, (good.q, good.v), reference),
        "q a list": (0.5, State(good.q.tolist(), good.v), reference),
        "q None": (0.5, State(None, good.v), reference),
        "q short": (0.5, State(good.q[:-1], good.v), reference),
        "q a matrix": (0.5, State(good.q[None], good.v), reference),
        "v long": (0.5, State(good.q, np.tile(good.v, 2)), reference),
        "v of words": (0.5, State(good.q, good.v.astype(str)), reference),
        "v complex": (0.5, State(good.q, good.v.astype(complex)), reference),
        "force short": (0.5, State(good.q, good.v, np.zeros(2)), reference),
        "reference None": (0.5, good, None),
    }


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_wrong_type_is_named_before_anything_changes(kind: str, name: str) -> None:
    robot, reference = robot_of(kind), Swing(robot_of(kind))

    def efforts(wrong: bool) -> list[np.ndarray]:
        controller, found = ready(kind, name), []
        for k in range(6):
            found.append(controller.step(k * PERIOD, settled(robot), reference).effort)
            for what, arguments in (wrong_types(robot) if wrong else {}).items():
                with pytest.raises(SignalError, match="must .*; given: ") as error:
                    controller.step(*arguments)
                assert what.split()[0] in str(error.value)
        return found

    assert np.array_equal(efforts(True), efforts(False))


class Misshapen:
    """A swing whose setpoints are changed."""

    def __init__(self, robot: Robot, change: Any) -> None:
        self._swing, self._change = Swing(robot), change

    def sample(self, times: np.ndarray) -> Any:
        return self._change(self._swing.sample(times))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda s: Setpoints(s.q[:, :1], s.v, s.a), "q: .*shape.*given: \\(2, 1\\)"),  # numpy would repeat it
        (lambda s: Setpoints(s.q, s.v[0], s.a), "v: .*shape.*given: \\(2,\\)"),
        (lambda s: Setpoints(s.q, s.v, s.a[:1]), "a: .*shape.*given: \\(1, 2\\)"),
        (lambda s: Setpoints(s.q.tolist(), s.v, s.a), "q: .*given: list"),
        (lambda s: None, "q: .*given: NoneType"),
    ],
)
def test_a_reference_of_another_shape_is_named(change: Any, what: str) -> None:
    robot, controller = robot_of("arm"), ready("arm", "pid")
    with pytest.raises(SignalError, match=what):
        controller.step(0.0, settled(robot), Misshapen(robot, change))


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in ROBOTS for name in ("nominal_mpc", "meta_mpc")])
@pytest.mark.parametrize("rates", ["v", "a", "va"])
@pytest.mark.parametrize("times", [1e4, 1e12])
def test_rates_of_a_reference_that_no_robot_has_cost_nothing(kind: str, name: str, rates: str, times: float) -> None:
    robot, controller = robot_of(kind), ready(kind, name)
    good = Swing(robot)
    wrong = Misshapen(robot, lambda s: replace(s, **{rate: times * getattr(s, rate) for rate in rates}))
    plant, start, errors = simulation(robot).plant(simulation(robot).nominal_task(), 1), good.sample(np.zeros(1)), []
    state = plant.reset(start.q[0], start.v[0])
    for k in range(120):
        command = controller.step(plant.stamp, state, wrong if 20 <= k < 60 else good)
        state = plant.step(command.effort, robot.control_period_s)
        errors.append(np.abs(plant.truth.q - good.sample(np.array([plant.time])).q[0]).max())
        assert command.status is Status.SOLVED, command.message
    assert max(errors) < 0.03  # [rad, m]; without wrong rates up to 0.015


def test_integers_and_single_precision_are_converted() -> None:
    robot = robot_of("arm")
    controller, reference = ready("arm", "pid"), Swing(robot)
    command = controller.step(0, State(np.zeros(2, dtype=np.int64), np.zeros(2, dtype=np.float32)), reference)
    assert command.status is Status.SOLVED and command.effort.dtype == np.float64


@pytest.mark.parametrize("kind", ROBOTS)
def test_another_time_base_is_believed_after_some_samples(kind: str) -> None:
    robot, controller, reference = robot_of(kind), ready(kind, "pid"), Swing(robot_of(kind))
    for k in range(5):
        controller.step(100.0 + k * PERIOD, settled(robot), reference)
    commands = [controller.step(k * PERIOD, settled(robot), reference) for k in range(AGREEING + 1)]
    solved = [command.status is Status.SOLVED for command in commands]
    assert solved == [False] * (AGREEING - 1) + [True] * 2
    change = np.abs(commands[AGREEING].effort - commands[AGREEING - 1].effort)
    assert np.all(change <= robot.effort_rate_limit * PERIOD + 1e-9)


class Careless:
    """A third party's controller: returns its input, or raises."""

    def reset(self) -> None:
        pass

    def step(self, time: float, state: State, reference: Any) -> Command:
        if state.q[0] > 0.5:
            raise ZeroDivisionError("division by zero")
        return Command(np.array([NAN, 1e9]) if time > 0.02 else np.zeros(2))


def test_a_third_party_s_controller_is_guarded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from metarl_robot.robots.arm.pid import PIDConfig

    spec = ControllerSpec(PIDConfig, lambda robot, config, checkpoint, oracle: Careless())
    point = SimpleNamespace(name="careless", load=lambda: spec)
    monkeypatch.setattr("metarl_robot.core.registry.entry_points", lambda group: [point])
    robot, reference = robot_of("arm"), Swing(robot_of("arm"))
    controller = make_controller(robot, "careless")
    last = np.zeros(2)
    for k in range(40):
        command = controller.step(k * PERIOD, settled(robot), reference)
        assert np.all(np.abs(command.effort - last) <= robot.effort_rate_limit * PERIOD + 1e-9)
        assert np.all(np.abs(command.effort) <= robot.effort_limit)
        last = command.effort
    for k in range(40, 80):
        failed = controller.step(k * PERIOD, State(np.array([0.6, 0.0]), np.zeros(2)), reference)
        assert "ZeroDivisionError" in failed.message or "leaps" in failed.message
        assert failed.status is (Status.DEGRADED if (k - 39) * PERIOD <= HOLD_S + 1e-9 else Status.FAILED)


@pytest.mark.parametrize("rate_hz", [200, 500, 1000])
@pytest.mark.parametrize(("kind", "name"), CASES)
def test_the_effort_rate_is_per_second_of_the_stamps(kind: str, name: str, rate_hz: int) -> None:
    """Measured positions jump to and fro, so each command is at its rate; at 1000 Hz it was five times too fast."""
    robot, transfer = robot_of(kind), BumplessTransfer(robot_of(kind), ready(kind, name))
    if name == "oracle_mpc":
        transfer.controller.observe_truth(simulation(robot).nominal_task())
    reference, last, fastest = Swing(robot), None, 0.0
    axis = 2 if robot.attitude is not None else 0
    for k in range(60):
        if k == 40:
            transfer.switch(transfer.controller)
        state = changed(
            settled(robot),
            **{f"q{axis}": robot.home[axis] + 0.1 * (k // 5 % 2)},
        )
        effort = transfer.step(k / rate_hz, state, reference).effort
        if last is not None:
            fastest = max(fastest, float(np.max(np.abs(effort - last) * rate_hz / robot.effort_rate_limit)))
        last = effort
    assert 0.3 < fastest < 1.0 + 1e-6


def test_an_arm_is_braked_at_its_present_state_when_its_adapter_raises_at_every_sample() -> None:
    """Braking at the state before the first error would push the arm away for good."""
    robot = robot_of("arm")
    controller, plant = make_controller(robot, "nominal_mpc"), simulation(robot).plant(simulation(robot).nominal_task())
    state, reference = plant.reset(robot.home), Swing(robot)

    def broken(*_: Any) -> None:
        raise ArithmeticError("broken")

    for k in range(400):
        if k == 200:
            controller.inner.adapter.update = broken  # type: ignore[method-assign]
        state = plant.step(controller.step(plant.stamp, state, reference).effort, PERIOD)
    assert np.abs(plant.truth.v).max() < 0.01
    assert np.abs(plant.truth.q - robot.home).max() < 0.3
    assert plant.violations.any == 0
