# SPDX-License-Identifier: Apache-2.0
"""The gate: passing, stopping, braking, holding and coming back."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import yaml

from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.core.signals import State
from metarl_robot.safety.fallback_law import GateConfig, GateError, gate_config
from metarl_robot.safety.gate import RESUME_STREAK_S, Decision, Gate, GateState
from metarl_robot.safety.input_validation import RESYNC_COUNT, ClockCheck, Rejection
from metarl_robot.safety.stop_and_hold import BrakeRamp
from metarl_robot.sim.arm.plant import ArmPlant
from metarl_robot.sim.arm.task import Task, nominal_task
from metarl_robot.sim.payload import Payload

ROBOT = load_robot("planar2")
PERIOD = ROBOT.control_period_s
REST = State(ROBOT.home.copy(), np.zeros(ROBOT.dof))
STEADY = np.array([10.0, 2.0])


def shipped(robot: Robot, **changes: object) -> GateConfig:
    content = yaml.safe_load((robot.folder / "config" / "gate.yaml").read_text())
    return gate_config(robot)(**{**content["/**"]["ros__parameters"], **changes})


def run(
    gate: Gate, start_s: float, count: int, command: np.ndarray | None = STEADY, state: State | None = REST
) -> list[Decision]:
    """Ticks of an undisturbed clock: state (or none), command (or none), tick."""
    decisions = []
    for k in range(count):
        t = start_s + k * PERIOD
        if state is not None:
            gate.on_state(state, t, t)
        if command is not None:
            gate.on_command(command, t, t)
        decisions.append(gate.tick(t, t))
    return decisions


def started(**changes: object) -> Gate:
    """A gate that has passed commands for ten ticks, until t = 9 periods."""
    gate = Gate(ROBOT, shipped(ROBOT, **changes))
    assert run(gate, 0.0, 10)[-1].state is GateState.PASSING
    return gate


def test_nothing_is_sent_before_the_first_command() -> None:
    gate = Gate(ROBOT, shipped(ROBOT))
    decision = run(gate, 0.0, 5, command=None)[-1]
    assert decision.effort is None and decision.state is GateState.WAITING


def test_good_commands_pass_unchanged() -> None:
    rng = np.random.default_rng(1)
    gate = started()
    command = STEADY
    for k in range(200):
        command = command + rng.uniform(-0.9, 0.9, 2) * ROBOT.effort_rate_limit * PERIOD
        command = np.clip(command, -ROBOT.effort_limit, ROBOT.effort_limit)
        decision = run(gate, (10 + k) * PERIOD, 1, command)[0]
        assert np.array_equal(decision.effort, command) and not decision.limited


def test_states_that_catch_up_after_a_delay_let_no_effort_change_faster_than_the_rate() -> None:
    """Delayed states stop coming late: their stamps, and so the gate's time, run ahead of the steady clock."""
    gate, delay_s, largest = started(), 0.03, ROBOT.effort_rate_limit * PERIOD * (1.0 + 1e-9)
    before = gate.tick(9 * PERIOD, 9 * PERIOD).effort
    for k in range(10, 30):
        stamp_s = k * PERIOD - (delay_s if k < 20 else 0.0)
        gate.on_state(REST, stamp_s, k * PERIOD)
        gate.on_command(ROBOT.effort_limit * (-1) ** k, stamp_s, k * PERIOD)
        effort = gate.tick(gate.time_now_s(k * PERIOD), k * PERIOD).effort
        assert np.all(np.abs(effort - before) <= largest)
        before = effort


def test_effort_limit_clips_and_counts() -> None:
    gate = started()
    decisions = run(gate, 10 * PERIOD, 20, command=10 * ROBOT.effort_limit)
    assert all(np.all(np.abs(d.effort) <= ROBOT.effort_limit) for d in decisions)
    assert np.array_equal(decisions[-1].effort, ROBOT.effort_limit)
    assert decisions[-1].limited and gate.counts["effort_limited"] == 20


def test_effort_rate_is_bounded_however_often_it_ticks() -> None:
    rng = np.random.default_rng(2)
    gate = started()
    t, last, began = 9 * PERIOD, STEADY, 9 * PERIOD
    efforts, times = [last], [began]
    for _ in range(400):
        t += rng.choice([1e-4, PERIOD, 3 * PERIOD])
        gate.on_state(REST, t, t)
        gate.on_command(rng.choice([-1.0, 1.0]) * ROBOT.effort_limit, t, t)
        efforts.append(gate.tick(t, t).effort)
        times.append(t)
    for window in (1, 5, 20):
        change = np.abs(np.array(efforts[window:]) - np.array(efforts[:-window]))
        elapsed = (np.array(times[window:]) - np.array(times[:-window]))[:, None]
        assert np.all(change <= ROBOT.effort_rate_limit * (elapsed + PERIOD) + 1e-9)
    assert gate.counts["rate_limited"] > 100


@pytest.mark.parametrize("gravity", [True, False])
def test_first_command_jumps_only_where_it_includes_gravity(gravity: bool) -> None:
    gate = Gate(ROBOT, shipped(ROBOT, effort_includes_gravity=gravity))
    first = run(gate, 0.0, 1)[0].effort
    assert np.array_equal(first, STEADY if gravity else np.minimum(STEADY, ROBOT.effort_rate_limit * PERIOD))


def test_whatever_comes_in_what_goes_out_is_finite_and_within_limits() -> None:
    rng = np.random.default_rng(3)
    values = [0.0, 1.0, -5.0, 1e308, -1e308, np.nan, np.inf, -np.inf]
    for _ in range(20):
        gate = Gate(ROBOT, shipped(ROBOT))
        t = 0.0
        for _step in range(150):
            t += PERIOD
            stamp = t + rng.choice([0.0, 0.0, 0.0, -1.0, 1.0, 1e6, -0.02])
            size = rng.choice([2, 2, 2, 1, 3])
            if rng.random() < 0.7:
                gate.on_state(State(rng.choice(values, size), rng.choice(values, size)), stamp, t)
            else:
                gate.on_state(REST, t, t)
            if rng.random() < 0.7:
                gate.on_command(rng.choice(values, size), stamp, t)
            else:
                gate.on_command(STEADY, t, t)
            if rng.random() < 0.02:
                gate.estop()
            effort = gate.tick(t, t).effort
            if effort is not None:
                assert np.all(np.isfinite(effort)) and np.all(np.abs(effort) <= ROBOT.effort_limit)


@pytest.mark.parametrize(
    ("effort", "offset_s", "why"),
    [
        (np.array([1.0]), 0.0, Rejection.SIZE),
        (np.array([1.0, 2.0, 3.0]), 0.0, Rejection.SIZE),
        (np.array([np.nan, 0.0]), 0.0, Rejection.NOT_FINITE),
        (np.array([np.inf, 0.0]), 0.0, Rejection.NOT_FINITE),
        (STEADY, -1.0, Rejection.STALE),
        (STEADY, 1.0, Rejection.FUTURE),
        (STEADY, -2 * PERIOD, Rejection.STAMP_BACKWARDS),
    ],
)
def test_bad_commands_are_refused_and_counted(effort: np.ndarray, offset_s: float, why: Rejection) -> None:
    gate = started()
    t = 9 * PERIOD
    assert gate.on_command(effort, t + offset_s, t) is why
    assert gate.counts[f"command_{why.value}"] == 1
    assert np.array_equal(gate.tick(t + PERIOD, t + PERIOD).effort, STEADY)  # the last good one stays


def test_a_command_before_any_state_is_refused() -> None:
    assert Gate(ROBOT, shipped(ROBOT)).on_command(STEADY, 0.0, 0.0) is Rejection.NO_STATE


def test_braking_starts_within_the_timeout_and_not_before() -> None:
    gate = started()
    decisions = run(gate, 10 * PERIOD, 20, command=None)
    ages = [d.time_s - 9 * PERIOD for d in decisions]
    assert [d.state is GateState.PASSING for d in decisions] == [
        age <= gate.config.command_timeout_s + 1e-6 for age in ages
    ]
    first = next(age for d, age in zip(decisions, ages, strict=True) if d.state is not GateState.PASSING)
    assert first <= 0.05
    assert gate.counts["stop_command"] == 1 and "command" in decisions[-1].reason


def test_either_clock_stops_it() -> None:
    by_arrival = started()
    t = 9 * PERIOD
    by_arrival.on_command(STEADY, t, 9 * PERIOD)
    assert by_arrival.tick(t, t + 0.03).state is GateState.PASSING
    assert by_arrival.tick(t, t + 0.05).state is not GateState.PASSING  # stamps stand still, the steady clock does not
    by_stamp = started()
    for k in range(1, 12):
        by_stamp.on_state(REST, t + k * PERIOD, t)
        by_stamp.on_command(STEADY, t + PERIOD, t)
    # stamps go on, the steady clock stands still
    assert by_stamp.tick(t + 11 * PERIOD, t).state is not GateState.PASSING
    assert by_stamp.counts["command_stale"] > 0


def test_without_a_steady_clock_only_stamps_count() -> None:
    gate = started()
    t = 10 * PERIOD
    gate.on_state(REST, t, 0.0)
    gate.on_command(STEADY, t, 0.0)
    assert gate.tick(t).state is GateState.PASSING


def test_commands_back_in_time_resume_by_themselves_and_late_ones_do_not() -> None:
    brief = started(auto_resume_s=0.2)
    run(brief, 10 * PERIOD, 20, command=None)
    assert brief.state is not GateState.PASSING
    back = [d.state is GateState.PASSING for d in run(brief, 30 * PERIOD, 20)]
    assert not any(back[: round(RESUME_STREAK_S / PERIOD)]) and all(back[round(RESUME_STREAK_S / PERIOD) + 1 :])
    long = started(auto_resume_s=0.2)
    run(long, 10 * PERIOD, 80, command=None)
    decision = run(long, 90 * PERIOD, 20)[-1]
    assert decision.state is GateState.HOLDING and decision.latched
    never = started(auto_resume_s=0.0)
    run(never, 10 * PERIOD, 12, command=None)
    assert run(never, 22 * PERIOD, 20)[-1].latched


def test_a_controller_that_fails_again_and_again_is_not_let_back_in() -> None:
    gate = started(auto_resume_s=0.5)
    t, latched_s = 10 * PERIOD, None
    while latched_s is None and t < 5.0:  # 80 ms of commands, 60 ms of silence
        silent = (t % 0.14) > 0.08
        decision = run(gate, t, 1, command=None if silent else STEADY)[0]
        latched_s = t if decision.latched else None
        t += PERIOD
    assert latched_s is not None and latched_s < 1.0
    steady = started(auto_resume_s=0.5)
    for k in range(5):  # the same trouble, but seldom
        run(steady, 10 * PERIOD + k * 1.0, 180)
        decision = run(steady, 190 * PERIOD + k * 1.0, 20, command=None)[-1]
        assert not decision.latched
    assert steady.counts["stop_command"] == 5


def test_overspeed_stops_and_latches() -> None:
    gate = started()
    fast = State(ROBOT.home, 1.6 * ROBOT.velocity_limit * np.array([1.0, 0.0]))
    decision = run(gate, 10 * PERIOD, 1, state=fast)[0]
    assert decision.state is GateState.BRAKING and decision.latched
    assert decision.reason == "joint 'shoulder' moves at 9.60 rad/s (limit 6.00 rad/s)"
    assert run(gate, 11 * PERIOD, 100)[-1].latched and gate.counts["stop_overspeed"] == 1


def test_emergency_stop_latches_until_rearmed() -> None:
    gate = started()
    gate.estop()
    stopped = run(gate, 10 * PERIOD, 400)
    assert stopped[0].state is not GateState.PASSING and all(d.latched for d in stopped)
    assert stopped[-1].state is GateState.HOLDING and stopped[-1].reason == "emergency stop"
    assert np.all(np.abs(stopped[-1].effort) > 0.0)  # held, not limp
    gate.rearm(409 * PERIOD, 409 * PERIOD)
    assert run(gate, 410 * PERIOD, 1)[0].state is GateState.PASSING
    assert gate.counts["stop_estop"] == 1 and gate.counts["rearmed"] == 1


def test_an_emergency_stop_cannot_be_taken_back_before_it_has_begun() -> None:
    gate = started()
    gate.estop()
    with pytest.raises(GateError, match="yet to begin"):
        gate.rearm(9 * PERIOD, 9 * PERIOD)
    assert run(gate, 10 * PERIOD, 1)[0].state is not GateState.PASSING and gate.latched


def test_rearming_needs_fresh_states_fresh_commands_and_a_robot_at_rest() -> None:
    gate = started()
    gate.estop()
    for k in range(30):
        moving = State(ROBOT.home + [k * PERIOD, 0.0], np.array([1.0, 0.0]))
        run(gate, (10 + k) * PERIOD, 1, state=moving)
    with pytest.raises(GateError, match="braking"):
        gate.rearm(39 * PERIOD, 39 * PERIOD)
    run(gate, 40 * PERIOD, 200, command=None)
    with pytest.raises(GateError, match="command"):
        gate.rearm(239 * PERIOD, 239 * PERIOD)
    run(gate, 240 * PERIOD, 20)
    with pytest.raises(GateError, match="state"):
        gate.rearm(259 * PERIOD + 0.1, 259 * PERIOD + 0.1)
    assert gate.latched
    run(gate, 260 * PERIOD, 1)
    gate.rearm(260 * PERIOD, 260 * PERIOD)
    assert not gate.latched


def test_a_gate_that_is_not_armed_at_start_waits_for_rearm() -> None:
    gate = Gate(ROBOT, shipped(ROBOT, arm_at_start=False))
    assert run(gate, 0.0, 10)[-1].effort is None
    gate.rearm(9 * PERIOD, 9 * PERIOD)
    assert run(gate, 10 * PERIOD, 1)[0].state is GateState.PASSING


def test_short_loss_of_states_is_tolerated_and_a_long_one_is_blind() -> None:
    gate = started()
    broken = State(np.array([np.nan, 0.0]), np.zeros(2))
    first = run(gate, 10 * PERIOD, 5, state=broken)
    assert all(d.state is GateState.PASSING for d in first)
    blind = run(gate, 15 * PERIOD, 30, command=None, state=broken)
    assert blind[-1].state is GateState.BLIND
    assert np.allclose(blind[-1].effort, STEADY)  # the effort that held the arm stays
    assert np.array_equal(blind[-1].effort, blind[-10].effort)
    assert gate.states.rejections["not_finite"] == 35
    back = run(gate, 45 * PERIOD, 200, command=None)
    assert back[0].state is not GateState.BLIND and back[-1].state is GateState.HOLDING


@pytest.mark.parametrize(("jump_s", "why"), [(-100.0, "stamp_backwards"), (100.0, "stamp_jumped")])
def test_a_clock_that_jumps_is_refused_then_believed_and_old_commands_are_forgotten(jump_s: float, why: str) -> None:
    now = 200.0 + jump_s
    gate = Gate(ROBOT, shipped(ROBOT))
    run(gate, 200.0, 10)
    results = [gate.on_state(REST, now + k * PERIOD, 0.0) for k in range(RESYNC_COUNT)]
    assert [r is not None for r in results] == [True] * (RESYNC_COUNT - 1) + [False]
    assert gate.states.rejections[why] == RESYNC_COUNT - 1
    assert gate.tick(now + (RESYNC_COUNT - 1) * PERIOD).state is not GateState.PASSING
    assert run(gate, now + RESYNC_COUNT * PERIOD, 20)[-1].state is GateState.PASSING


def test_a_single_wrong_stamp_changes_nothing() -> None:
    gate = started()
    assert gate.on_state(REST, 5000.0, 0.0) is Rejection.STAMP_JUMPED
    assert all(d.state is GateState.PASSING for d in run(gate, 10 * PERIOD, 10))
    assert gate.states.epoch == 0


@pytest.mark.parametrize("key", ["hold_stiffness_nm_rad", "brake_deceleration_rad_s2"])
def test_numbers_for_another_robot_are_refused(key: str) -> None:
    with pytest.raises(GateError, match=f"{key} has 3 values; planar2 needs none, one or 2"):
        Gate(ROBOT, gate_config(ROBOT)(**{key: (1.0, 2.0, 3.0)}))


@pytest.mark.parametrize("value", [0.0, 5.0, float("nan")])
def test_a_timeout_out_of_range_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="command_timeout_s"):
        GateConfig(command_timeout_s=value)


@pytest.mark.slow
def test_the_ramp_is_a_motion_and_ends_at_rest() -> None:
    rng = np.random.default_rng(5)
    lower, upper = np.array([-3.0, -2.6]), np.array([3.0, 2.6])
    for _ in range(50):
        q, v = rng.uniform(0.8 * lower, 0.8 * upper), rng.uniform(-6, 6, 2)
        ramp = BrakeRamp(q, v, np.array([15.0, 15.0]), lower, upper)
        times = np.linspace(0.0, ramp.duration_s + 0.1, 2000)
        points = [ramp.at(t) for t in times]
        position, velocity = np.array([p for p, _ in points]), np.array([s for _, s in points])
        assert np.allclose(np.gradient(position, times, axis=0)[1:-1], velocity[1:-1], atol=0.05)
        assert np.all(velocity[-1] == 0.0) and np.all(np.abs(np.diff(np.abs(velocity), axis=0)) >= 0.0)
        assert np.all((position > lower) & (position < upper))


def brake_in_simulation(
    robot: Robot, task: Task, start: State, stand_s: float, share: float
) -> tuple[np.ndarray, np.ndarray, Gate]:
    """Positions and velocities after commands stopped: the arm was moving under an effort that holds this share of its
    weight.
    """
    plant = ArmPlant(robot, task, seed=0)
    measured = plant.reset(start.q, start.v)
    gate = Gate(robot, shipped(robot))
    gate.on_state(measured, 0.0, 0.0)
    gate.on_command(share * plant.applied_effort / task.motor_strength, 0.0, 0.0)
    positions, velocities = [], []
    for _ in range(round(stand_s / robot.control_period_s)):
        gate.on_state(measured, plant.time, 0.0)
        measured = plant.step(gate.tick(plant.time).effort, robot.control_period_s)
        positions.append(plant.truth.q)
        velocities.append(plant.truth.v)
    return np.array(positions), np.array(velocities), gate


def loaded(robot: Robot, delay_s: float) -> Task:
    mass = robot.description.payload.rated_mass_kg
    payload = Payload(mass, np.array([0.0, 0.03, 0.05]), mass * np.array([1e-3, 1e-3, 1e-3, 0.0, 0.0, 0.0]))
    return replace(
        nominal_task(robot),
        payload=payload,
        command_delay_s=delay_s,
        sensor_delay_s=delay_s,
        velocity_noise_rad_s=0.005,
    )


@pytest.mark.parametrize("name", ["planar2", "panda"])
@pytest.mark.parametrize("delay_s", [0.0, 0.005])
def test_a_loaded_arm_is_braked_and_held_without_drift(name: str, delay_s: float) -> None:
    robot = load_robot(name)
    start = State(robot.home, 0.3 * robot.velocity_limit)
    position, velocity, gate = brake_in_simulation(robot, loaded(robot, delay_s), start, stand_s=6.0, share=0.8)
    assert gate.state is GateState.HOLDING
    per_second = round(1.0 / robot.control_period_s)
    speed = np.abs(velocity).max(axis=1)
    assert speed[per_second // 4] < 0.7 * speed[0]
    assert speed[-per_second:].max() < 0.02
    assert np.abs(position[-per_second:] - position[-1]).max() < 5e-3  # no drift: the integral's last few milliradians
    assert np.abs(position[-1] - position[per_second // 2]).max() < 0.15  # nor a detour


def test_a_robot_that_runs_at_a_limit_stops_before_it() -> None:
    start = State(np.array([2.6, 0.5]), np.array([3.0, 0.0]))
    position, _, _ = brake_in_simulation(ROBOT, nominal_task(ROBOT), start, stand_s=3.0, share=1.0)
    assert position[:, 0].max() < ROBOT.position_upper[0]


@pytest.mark.parametrize("module", ["metarl_robot.safety.gate", "metarl_robot.ros_nodes.gate"])
def test_the_gate_imports_no_learning_solver_or_simulator(module: str) -> None:
    pytest.importorskip("rclpy")
    heavy = "[m for m in ('torch', 'casadi', 'mujoco', 'scipy') if m in sys.modules]"
    code = f"import sys, {module}; print({heavy})"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_the_commands_of_another_source_are_refused_while_commands_pass_and_never_act() -> None:
    gate = Gate(ROBOT, shipped(ROBOT))
    for k in range(100):
        t = k * PERIOD
        gate.on_state(REST, t, t)
        assert gate.on_command(STEADY, t, t, "own") is None
        for source in ("stranger", ""):
            refused = gate.on_command(-STEADY, t, t, source)
            assert refused is Rejection.OTHER_SOURCE
        assert np.array_equal(gate.tick(t, t).effort, STEADY)
    assert gate.counts["command_other_source"] == 200


def test_when_its_source_falls_silent_the_gate_stops_beside_a_stranger_and_only_rearming_lets_another_in() -> None:
    gate, passed = Gate(ROBOT, shipped(ROBOT)), []
    for k in range(400):
        t = k * PERIOD
        gate.on_state(REST, t, t)
        if k < 100:
            gate.on_command(STEADY, t, t, "own")
        gate.on_command(-STEADY, t, t, "new")
        passed.append(gate.tick(t, t).state is GateState.PASSING)
    assert all(passed[:100]) and not any(passed[110:]) and gate.latched
    assert gate.on_command(STEADY, t, t, "own") is Rejection.OTHER_SOURCE  # it comes too late
    gate.rearm(t, t)
    assert gate.tick(t, t).state is GateState.PASSING and gate.source == "new"


def test_a_clock_that_is_set_in_motion_stops_the_robot_by_its_law_latched_until_it_is_rearmed() -> None:
    gate, clock = started(), ClockCheck()
    states = []
    for k in range(10, 300):
        t, stamp_s = k * PERIOD, k * PERIOD - 5.0 * (k >= 100) + 5.0
        changes = clock.changes
        if clock.check(stamp_s, 5.0 + t, t, 0.1) is None:
            if clock.changes != changes:
                gate.new_clock(clock.reason)
            gate.on_state(REST, stamp_s - 5.0 * (k < 100), t)
        gate.on_command(STEADY, stamp_s - 5.0 * (k < 100), t)
        now_s = gate.time_now_s(t)
        states.append(gate.tick(now_s, t).state)
    blind = [k for k, state in enumerate(states) if state is GateState.BLIND]
    assert len(blind) <= 4 and states[-1] is GateState.HOLDING and gate.latched and "a clock was set" in gate.reason
    gate.rearm(now_s, t)
    assert gate.tick(now_s, t).state is GateState.PASSING


def test_a_command_timeout_shorter_than_a_period_is_no_process_that_stood_still() -> None:
    gate = started(command_timeout_s=0.002, auto_resume_s=0.0)
    assert not gate.stood_still(2 * PERIOD) and gate.stood_still(0.2)
