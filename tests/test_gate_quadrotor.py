# SPDX-License-Identifier: Apache-2.0
"""The gate of a quadrotor in closed loop: levelling, descent, landing, flight without odometry, and measurements that
lie.
"""

from __future__ import annotations

from dataclasses import replace

import mujoco
import numpy as np
import pytest
from pydantic import ValidationError

from metarl_robot.core import rotation
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Inertial, State
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, MotorModel
from metarl_robot.robots.quadrotor.fallback import DescendConfig
from metarl_robot.safety.fallback_law import gate_config
from metarl_robot.safety.gate import Decision, Gate, GateState
from metarl_robot.safety.input_validation import JUMP_M, RELOCATED_COUNT, Rejection

ROBOTS = ("x500", "hummingbird", "crazyflie")
X500 = load_robot("x500")
HOVER = X500.mass_kg * GRAVITY_M_S2 / 4 * np.ones(4)
DT = 0.001


class Flight:
    """A quadrotor in MuJoCo with motor lag and latency, and its sensors. effectiveness: (4,) of the rotors'
    thrust.
    """

    def __init__(
        self, name: str = "x500", start: State | None = None, load: float = 0.0, effectiveness: object = 1.0
    ) -> None:
        self.robot = load_robot(name)
        self.period = self.robot.control_period_s
        spec = self.robot.mj_spec()
        spec.body("base_link").mass *= 1.0 + load
        self.model = spec.compile()
        self.data = mujoco.MjData(self.model)
        start = start or State(np.array([0.0, 0.0, 3.0, 1.0, 0.0, 0.0, 0.0]), np.zeros(6))
        self.data.qpos[:], self.data.qvel[:] = start.q, start.v
        self.weight = (1.0 + load) * self.robot.mass_kg * GRAVITY_M_S2
        self.effectiveness = effectiveness * np.ones(4)
        self.hover = self.weight / 4 / self.effectiveness
        self.motors = MotorModel(self.robot, self.hover)
        self.pending = [self.hover] * round(0.01 / self.period)  # 10 ms
        self.force = np.array([0.0, 0.0, GRAVITY_M_S2])
        self.time = 0.0
        self.rng = np.random.default_rng(0)

    @property
    def state(self) -> State:
        return State(self.data.qpos.copy(), self.data.qvel.copy(), self.force)

    @property
    def measured(self) -> State:
        """With noise, as an odometry has."""
        state, rng = self.state, self.rng
        attitude = rotation.multiply(state.q[3:], rotation.exp(rng.normal(0.0, 2e-3, 3)))
        noise = np.concatenate([rng.normal(0.0, 0.02, 3), rng.normal(0.0, 0.01, 3)])
        return State(
            np.concatenate([state.q[:3] + rng.normal(0.0, 1e-3, 3), attitude]),
            state.v + noise,
            self.inertial().specific_force,
        )

    def inertial(self, attitude: bool = False) -> Inertial:
        force = self.force + self.rng.normal(0.0, 0.2, 3) + [0.0, 0.0, 0.1]  # noise and an offset
        rate = self.data.qvel[3:] + self.rng.normal(0.0, 0.01, 3) + 0.005
        return Inertial(force, rate, self.data.qpos[3:].copy() if attitude else None)

    def fly(self, command: np.ndarray) -> None:
        """One control period under commanded thrusts."""
        assert np.all(np.isfinite(command)) and np.all(command <= self.robot.effort_limit)
        assert np.all(command >= self.robot.effort_lower) or np.all(command == 0.0)
        self.pending.append(command)
        acting = self.pending.pop(0)
        before = self.data.qvel[:3].copy()
        for _ in range(round(self.period / DT)):
            self.motors.advance(acting, DT)
            wrench = np.append(np.zeros(2), self.robot.allocation @ (self.effectiveness * self.motors.thrusts))
            turned = rotation.to_matrix(self.data.qpos[3:])
            self.data.qfrc_applied[:3], self.data.qfrc_applied[3:] = turned @ wrench[:3], wrench[3:]
            mujoco.mj_step(self.model, self.data)
        self.time += self.period
        acceleration = (self.data.qvel[:3] - before) / self.period
        self.force = rotation.rotate_back(self.data.qpos[3:], acceleration + [0.0, 0.0, GRAVITY_M_S2])

    def pilot(self, state: State) -> np.ndarray:
        """A controller that hovers at (0, 0, 3)."""
        gain = 1.0 / (2.0 * (max(self.robot.motor_time_s) + 0.02))
        wanted = 0.3 * (np.array([0.0, 0.0, 3.0]) - state.q[:3]) - 1.2 * state.v[:3] + [0.0, 0.0, GRAVITY_M_S2]
        axis = np.cross([0.0, 0.0, 1.0], rotation.rotate_back(state.q[3:], wanted / np.linalg.norm(wanted)))
        torque = self.robot.inertia @ (gain * (gain / 4.0 * axis - state.v[3:]))
        return self.robot.thrusts(self.weight / GRAVITY_M_S2 * wanted[2], torque) / self.effectiveness.mean()


def gate_of(flight: Flight, **changes: object) -> Gate:
    return Gate(flight.robot, gate_config(flight.robot)(**changes))


def tick(
    flight: Flight, gate: Gate, odometry: bool = True, imu: bool = True, command: bool = True, attitude: bool = False
) -> Decision:
    """One control period of an undisturbed clock."""
    t = flight.time
    if imu:
        gate.on_inertial(flight.inertial(attitude), t, t)
    if odometry:
        measured = flight.measured
        gate.on_state(measured, t, t)
        if command:
            gate.on_command(flight.pilot(measured), t, t)
    decision = gate.tick(t, t)
    flight.fly(HOVER if decision.effort is None else decision.effort)
    return decision


def run(flight: Flight, gate: Gate, duration_s: float, **what: bool) -> tuple[list[Decision], np.ndarray, np.ndarray]:
    """(decisions, true positions (N, 7), true velocities (N, 6))."""
    decisions, q, v = [], [], []
    for _ in range(round(duration_s / flight.period)):
        decisions.append(tick(flight, gate, **what))
        q.append(flight.data.qpos.copy())
        v.append(flight.data.qvel.copy())
    return decisions, np.array(q), np.array(v)


def in_flight(name: str = "x500", **flight: object) -> tuple[Flight, Gate]:
    """Some seconds into a hover."""
    made = Flight(name, **flight)
    gate = gate_of(made)
    assert run(made, gate, 2.0)[0][-1].state is GateState.PASSING
    return made, gate


def landed(q: np.ndarray, v: np.ndarray) -> bool:
    return q[-1, 2] < 0.2 and np.abs(v[-1]).max() < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("name", ROBOTS)
@pytest.mark.parametrize("load", [0.0, 0.3])
def test_without_commands_it_levels_comes_down_and_stops_its_motors(name: str, load: float) -> None:
    flight, gate = in_flight(name, load=load)
    decisions, q, v = run(flight, gate, 12.0, command=False)
    assert landed(q, v) and decisions[-1].state is GateState.HOLDING and decisions[-1].latched
    assert np.all(decisions[-1].effort == 0.0)
    off = next(k for k, d in enumerate(decisions) if np.all(d.effort == 0.0))
    assert q[off, 2] < 0.2  # not before it stands
    assert v[:, 2].min() > -1.3 and np.degrees(rotation.tilt(q[:off, 3:])).max() < 25.0
    steady = (q[:, 2] > 0.7) & (q[:, 2] < 1.8)
    assert np.abs(v[steady, 2] + 0.7).max() < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("name", ROBOTS)
def test_out_of_a_fast_tilted_flight_it_stops_and_lands(name: str) -> None:
    robot = load_robot(name)
    q = np.concatenate([[0.0, 0.0, 8.0], rotation.exp(np.array([0.5, 0.4, 0.3]))])
    start = State(q, np.concatenate([[3.0, -2.0, -0.5], np.minimum(0.3 * robot.velocity_limit[3:], 3.0)]))
    flight = Flight(name, start)
    gate = gate_of(flight)
    tick(flight, gate)
    gate.estop()
    decisions, q, v = run(flight, gate, 25.0, command=False)
    assert landed(q, v) and decisions[-1].state is GateState.HOLDING
    assert np.linalg.norm(v[round(9.0 / flight.period), :2]) < 0.5  # its way has been braked
    assert gate.counts["stop_estop"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ROBOTS)
def test_what_the_commands_before_have_shown_is_corrected_when_a_payload_falls_off(name: str) -> None:
    flight, gate = in_flight(name, load=0.3)
    flight.model.body("base_link").mass /= 1.3
    decisions, q, v = run(flight, gate, 14.0, command=False)
    assert landed(q, v) and decisions[-1].state is GateState.HOLDING
    assert q[:, 2].max() < 3.6 and v[:, 2].min() > -1.0


@pytest.mark.slow
@pytest.mark.parametrize("name", ROBOTS)
def test_out_of_a_strong_climb_it_lands(name: str) -> None:
    """Commands of a climb carry more than the weight; the landing must not take this for a payload."""
    flight, gate = in_flight(name)
    thrusts = np.minimum(1.8 * flight.robot.hover_thrust, flight.robot.effort_limit)
    for _ in range(round(0.3 / flight.period)):
        gate.on_state(flight.measured, flight.time, flight.time)
        gate.on_command(thrusts, flight.time, flight.time)
        flight.fly(gate.tick(flight.time, flight.time).effort)
    height_m, speed = flight.data.qpos[2], flight.data.qvel[2]
    gate.estop()
    decisions, q, v = run(flight, gate, 25.0, command=False)
    assert landed(q, v) and decisions[-1].state is GateState.HOLDING
    assert q[:, 2].max() < height_m + speed**2 and v[:, 2].min() > -1.0  # braked with 0.5 m/s² at least


@pytest.mark.slow
def test_a_weak_rotor_is_held_by_what_the_commands_before_have_shown() -> None:
    flight, gate = in_flight(effectiveness=np.array([0.8, 1.0, 1.0, 1.0]))
    decisions, q, v = run(flight, gate, 14.0, command=False)
    assert landed(q, v) and decisions[-1].state is GateState.HOLDING
    assert np.degrees(rotation.tilt(q[:, 3:])).max() < 40.0


@pytest.mark.slow
@pytest.mark.parametrize("name", ROBOTS)
@pytest.mark.parametrize(("silence_s", "back"), [(0.1, True), (0.5, True), (2.0, False)])
def test_odometry_that_stops_in_flight(name: str, silence_s: float, back: bool) -> None:
    flight, gate = in_flight(name)
    decisions, q, _ = run(flight, gate, silence_s, odometry=False)
    assert decisions[-1].state is GateState.BLIND
    assert np.degrees(rotation.tilt(q[:, 3:])).max() < 10.0
    late = next(d.time_s for d in decisions if d.state is not GateState.PASSING) - decisions[0].time_s
    assert late <= 0.04 + flight.period
    again, q, v = run(flight, gate, 12.0)
    if back:
        assert again[-1].state is GateState.PASSING and not again[-1].latched
        assert np.linalg.norm(q[-1, :3] - [0.0, 0.0, 3.0]) < 0.3
    else:
        assert again[-1].latched and again[-1].state is GateState.HOLDING and landed(q, v)


@pytest.mark.slow
@pytest.mark.parametrize("attitude", [False, True])
@pytest.mark.parametrize("name", ROBOTS)
def test_without_odometry_for_good_it_lands_by_its_imu(name: str, attitude: bool) -> None:
    flight, gate = in_flight(name)
    decisions, q, v = run(flight, gate, 15.0, odometry=False, attitude=attitude)
    off = next(k for k, d in enumerate(decisions) if np.all(d.effort == 0.0))
    assert q[off, 2] < 0.2 and landed(q, v)
    assert v[:, 2].min() > -2.0 and v[:off, 2].max() < 0.5
    assert np.degrees(rotation.tilt(q[:off, 3:])).max() < 15.0
    assert decisions[-1].state is GateState.BLIND and decisions[-1].latched


@pytest.mark.slow
def test_the_motors_stay_off_when_odometry_comes_back_after_landing() -> None:
    flight, gate = in_flight()
    run(flight, gate, 15.0, odometry=False)
    decisions, _, _ = run(flight, gate, 1.0)
    assert decisions[-1].state is GateState.HOLDING and all(np.all(d.effort == 0.0) for d in decisions)
    gate.rearm(flight.time, flight.time)
    decisions, q, _ = run(flight, gate, 20.0)
    assert decisions[-1].state is GateState.PASSING and q[-1, 2] > 2.5  # and takes off again when it is told to


def test_with_neither_odometry_nor_imu_the_motors_are_stopped_soon() -> None:
    flight, gate = in_flight()
    decisions, _, _ = run(flight, gate, 2.0, odometry=False, imu=False)
    off = next(d.time_s for d in decisions if np.all(d.effort == 0.0)) - decisions[0].time_s
    assert 0.5 < off < 0.65


def test_tipping_over_stops_and_latches_and_on_its_back_the_motors_stop() -> None:
    flight, gate = in_flight(start=State(np.array([0.0, 0.0, 0.1, 1.0, 0.0, 0.0, 0.0]), np.zeros(6)))
    flight.data.qpos[3:] = [0.0, 1.0, 0.0, 0.0]  # on its back, near the ground
    decisions, _, _ = run(flight, gate, 4.0)
    assert decisions[0].latched and gate.counts["stop_tilt"] == 1 and "tilted by 180°" in decisions[0].reason
    assert np.all(decisions[-1].effort == 0.0) and decisions[-1].state is GateState.HOLDING


def test_spinning_is_overspeed() -> None:
    gate = Gate(X500, DescendConfig())
    for k in range(3):
        gate.on_state(State(X500.home, np.array([0, 0, 0, 0, 0, 5.0 if k == 2 else 0.0])), k * 0.005, 0.0)
        gate.on_command(HOVER, k * 0.005, 0.0)
        decision = gate.tick(k * 0.005)
    assert decision.latched and decision.reason == "turns at 5.00 rad/s along z (limit 3.00 rad/s)"


def test_a_quaternion_of_the_other_sign_or_slightly_off_is_put_right() -> None:
    gate = Gate(X500, DescendConfig())
    q = np.concatenate([X500.home[:3], rotation.exp(np.array([0.1, 0.2, 3.0]))])
    for k, factor in enumerate([1.0, -1.0, 1.009, -0.992]):
        assert gate.on_state(State(np.concatenate([q[:3], factor * q[3:]]), np.zeros(6)), k * 0.005, 0.0) is None
        assert np.allclose(gate.states.latest.state.q, q, atol=1e-12)
    for factor in (0.98, 1.02, 0.0):
        k += 1
        state = State(np.concatenate([q[:3], factor * q[3:]]), np.zeros(6))
        assert gate.on_state(state, k * 0.005, 0.0) is Rejection.NOT_NORMALISED
    assert gate.states.rejections["not_normalised"] == 3


def leap(state: State, by_m: float) -> State:
    return replace(state, q=np.concatenate([state.q[:3] + [by_m, 0.0, 0.0], state.q[3:]]))


def test_a_position_that_jumps_and_comes_back_changes_nothing() -> None:
    flight, gate = in_flight()
    for k in range(100):
        t, measured = flight.time, flight.measured
        wrong = 40 <= k < 45
        problem = gate.on_state(leap(measured, 3.0) if wrong else measured, t, t)
        assert problem is (Rejection.POSITION_JUMPED if wrong else None)
        gate.on_command(flight.pilot(measured), t, t)
        decision = gate.tick(t, t)
        assert decision.state is GateState.PASSING
        flight.fly(decision.effort)
    assert gate.states.rejections["position_jumped"] == 5 and gate.states.epoch == 0


def test_a_position_that_stays_elsewhere_is_believed_and_the_old_command_forgotten() -> None:
    flight, gate = in_flight()
    problems = []
    for _ in range(2 * RELOCATED_COUNT):
        problems.append(gate.on_state(leap(flight.measured, 2.0 * JUMP_M), flight.time, flight.time))
        flight.fly(gate.tick(flight.time, flight.time).effort)
    assert problems.count(Rejection.POSITION_JUMPED) == RELOCATED_COUNT - 1 and problems[-1] is None
    assert gate.states.epoch == 1 and gate.state is GateState.BRAKING


def test_thrust_at_its_limit_for_long_is_said_and_a_moment_is_not() -> None:
    gate = Gate(X500, DescendConfig(saturation_s=1.0))
    state = State(X500.home, np.zeros(6))

    def command(start_s: float, thrust: np.ndarray, duration_s: float) -> None:
        for k in range(round(duration_s / 0.005)):
            t = start_s + k * 0.005
            gate.on_state(state, t, t)
            gate.on_command(thrust, t, t)
            gate.tick(t, t)

    command(0.0, HOVER, 1.0)
    command(1.0, X500.effort_limit, 0.3)
    assert not gate.saturated
    command(1.3, np.array([1.1, 0.5, 0.5, 0.5]) * X500.effort_limit, 1.0)  # one rotor is enough
    assert gate.saturated and gate.saturation > 0.5 and gate.counts["effort_limited"] > 100
    command(2.3, HOVER, 2.0)
    assert not gate.saturated


@pytest.mark.slow
def test_whatever_comes_in_what_goes_out_is_finite_and_within_limits() -> None:
    rng = np.random.default_rng(3)
    values = [0.0, 1.0, -5.0, 900.0, 1e308, np.nan, np.inf, -np.inf]
    for _ in range(20):
        gate = Gate(X500, DescendConfig())
        t = 0.0
        for _step in range(300):
            t += 0.005
            stamp = t + rng.choice([0.0, 0.0, 0.0, -1.0, 1.0, 1e6, -0.02])
            good = State(X500.home + [*rng.uniform(-1, 1, 3), 0, 0, 0, 0], rng.normal(0.0, 1.0, 6))
            if rng.random() < 0.4:
                gate.on_state(State(rng.choice(values, 7), rng.choice(values, 6)), stamp, t)
            else:
                gate.on_state(good, t, t)
            if rng.random() < 0.5:
                gate.on_inertial(
                    Inertial(rng.choice(values, 3), rng.choice(values, 3), rng.choice(values, 4)), stamp, t
                )
            else:
                gate.on_inertial(Inertial(rng.normal(0.0, 50.0, 3), rng.normal(0.0, 20.0, 3)), t, t)
            gate.on_command(rng.choice(values, 4) if rng.random() < 0.5 else HOVER, t, t)
            if rng.random() < 0.01:
                gate.estop()
            effort = gate.tick(t, t).effort
            if effort is not None:
                assert np.all(np.isfinite(effort)) and np.all(effort <= X500.effort_limit)
                assert np.all(effort >= X500.effort_lower) or np.all(effort == 0.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [("descent_time_s", 0.0), ("inertial_time_s", 0.0), ("blind_time_s", 0.0), ("descent_speed_m_s", 3.0)],
)
def test_numbers_that_let_a_quadrotor_fall_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValidationError, match=name):
        DescendConfig(**{name: value})
