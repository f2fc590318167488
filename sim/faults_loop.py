# SPDX-License-Identifier: Apache-2.0
"""One closed loop under a fault, in one process: plant, state input, controller and gate.

The parts follow the rules of the nodes in real time. Time is simulated, so a run is the same on any machine. Messages
arrive at times between two control periods; each topic keeps its newest message while a node is stopped; a step may
take long; the robot's clock may differ from the machine's:

    robot --states, IMU--> mpc --commands--> gate --commands--> last hop, plant

The gate follows ros_nodes/gate.py: it passes a command on as it arrives, answers each state while it stops the robot,
and ticks by a watchdog when nothing arrives. The controller follows ros_nodes/mpc.py: it rests while the gate holds,
and brings the robot to rest after a new time base. The plant follows ros_nodes/plant.py: a command acts from the
physics step in which it arrived, and the last hop stops the robot when commands stop arriving. A fault (sim/faults.py)
acts on the messages and nodes.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_robot.control.base import Controller
from metarl_robot.control.bumpless_transfer import BumplessTransfer
from metarl_robot.core.errors import SignalError
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import Inertial, Reference, State
from metarl_robot.safety.gate import Gate, GateState
from metarl_robot.safety.input_validation import ClockCheck, Measurement, Rejection, StateValidation
from metarl_robot.safety.last_hop import LastHop
from metarl_robot.sim.faults_witness import Witness
from metarl_robot.sim.kinds import simulation
from metarl_robot.sim.scenario import Scenario
from metarl_robot.trajectories.flat_outputs import flat_outputs_of
from metarl_robot.trajectories.shifted import Shifted

Array = NDArray[np.float64]

_WATCHDOG_PERIODS = 1.5  # as in ros_nodes/gate.py
_WATCH_PHASE = 0.9  # of a period: time of the gate's watchdog
COMMAND_DEADLINE_S = 0.1  # as in ros_nodes/plant.py: of the last hop
CLOCK_START_S = 1000.0  # of the robot's and the machine's clock at the start of a run


@dataclass(frozen=True)
class StateMessage:
    """A measured state in transit. at_s: arrival [s]; stamp_s: by the robot's clock [s]."""

    at_s: float
    stamp_s: float
    state: State


@dataclass(frozen=True)
class CommandMessage:
    """A command (nu,) in transit to the gate. issued_s: time when the controller issued it [s]."""

    at_s: float
    stamp_s: float
    effort: Array
    issued_s: float


def _alone(time_s: float, message: Any) -> list[Any]:
    return [message]


@dataclass(frozen=True)
class Fault:
    """A fault as functions of the true time [s]; each defaults to no fault.

    what: description with numbers. states, commands: map a message to the messages that arrive. clock: the robot's
    clock. controller: replaces the controller. step_s: duration of a step. alive: whether a node ('mpc', 'gate') runs.
    tune: called with the gate each period.
    """

    what: str
    states: Callable[[float, StateMessage], list[StateMessage]] = _alone
    commands: Callable[[float, CommandMessage], list[CommandMessage]] = _alone
    clock: Callable[[float], float] = lambda time_s: CLOCK_START_S + time_s
    controller: Callable[[Controller], Controller] = lambda controller: controller
    reference: Callable[[Reference], Reference] = lambda reference: reference
    step_s: Callable[[float], float] = lambda time_s: 0.0
    alive: Callable[[str, float], bool] = lambda node, time_s: True
    tune: Callable[[float, Gate], None] = lambda time_s, gate: None


@dataclass
class Events:
    """Deliveries in the order of their times."""

    now_s: float = 0.0
    _queue: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _count: int = 0

    def at(self, time_s: float, deliver: Callable[[], None]) -> None:
        """Call `deliver` at a time, no earlier than now."""
        self._count += 1
        heapq.heappush(self._queue, (max(time_s, self.now_s), self._count, deliver))

    def run_until(self, time_s: float) -> None:
        """Deliver everything that is due before a time."""
        while self._queue and self._queue[0][0] < time_s - 1e-9:
            self.now_s, _, deliver = heapq.heappop(self._queue)
            deliver()
        self.now_s = time_s


class Node:
    """A process that may be stopped; while stopped, each topic keeps its newest message."""

    def __init__(self, name: str, loop: Loop) -> None:
        self._name, self._loop = name, loop
        self._kept: dict[str, Callable[[], None]] = {}

    @property
    def running(self) -> bool:
        return self._loop.fault.alive(self._name, self._loop.events.now_s)

    def take(self, topic: str, callback: Callable[[], None]) -> None:
        """Handle a message now, or when the node runs again. Errors are recorded and do not end the node."""
        if not self.running:
            self._kept[topic] = callback
            return
        self.resume()
        self._guarded(callback)

    def resume(self) -> None:
        """Handle the kept messages, if the node runs."""
        while self._kept and self.running:
            self._guarded(self._kept.pop(next(iter(self._kept))))

    def _guarded(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except IntendedError:
            pass
        except Exception as error:
            self._loop.raised.append(f"{self._name}: {type(error).__name__}: {error}")


class IntendedError(RuntimeError):
    """An error that is the fault itself."""


class MpcNode(Node):
    """State in, command to the gate out."""

    def __init__(self, loop: Loop, controller: Controller, reference: Reference) -> None:
        super().__init__("mpc", loop)
        robot = loop.robot
        self._transfer = BumplessTransfer(robot, loop.fault.controller(controller))
        self._clock = ClockCheck()
        self._validation, self._flat = StateValidation(robot), flat_outputs_of(robot)
        self.reference: Reference = loop.fault.reference(reference)
        self.stamp_s = CLOCK_START_S
        self._epoch = 0
        self._free_s = 0.0
        self._waiting: StateMessage | None = None
        self._suspended = self._stopped = False
        self._acting: Array | None = None

    def on_state(self, message: StateMessage) -> None:
        """Answer a state; during a step, keep the newest one for later."""
        now_s = self._loop.events.now_s
        if now_s < self._free_s - 1e-9:
            if self._waiting is None:
                self._loop.events.at(self._free_s, self._late)
            self._waiting = message
            return
        if self._loop.off_clock(self._clock, message.stamp_s) or self._refused(message, now_s):
            return
        effort = self._acting if self._suspended else self._step(message)
        if effort is not None:
            self._free_s = now_s + self._loop.fault.step_s(now_s)
            self._loop.send_command(CommandMessage(self._free_s, message.stamp_s, effort, now_s))

    def on_gate(self, state: GateState, latched: bool, effort: Array | None) -> None:
        """Take the gate's state and the effort that it sends."""
        self._acting = effort
        self._stopped = state not in (GateState.PASSING, GateState.WAITING)
        held = latched and state is not GateState.WAITING
        if self._suspended and not held and self._validation.latest is not None:
            self._stand(self._validation.latest)
        self._suspended = held

    def _late(self) -> None:
        message, self._waiting = self._waiting, None
        if message is not None:
            self.take("late", lambda: self.on_state(message))

    def _refused(self, message: StateMessage, now_s: float) -> bool:
        problem = self._validation.offer(message.state, message.stamp_s, now_s)
        if self._validation.latest is not None and self._validation.epoch != self._epoch:
            self._epoch = self._validation.epoch
            self._stand(self._validation.latest)
        return problem is not None

    def _stand(self, measured: Measurement) -> None:
        """Brake from the measured state, and stand."""
        self.reference = self._flat.brake(measured.state, measured.stamp_s)
        self._transfer.take_over(self._acting)

    def _step(self, message: StateMessage) -> Array:
        if self._stopped and self._acting is not None:
            self._transfer.acted(self._acting)
        self.stamp_s = message.stamp_s
        state = message.state if self._validation.latest is None else self._validation.latest.state
        return self._transfer.step(message.stamp_s, state, self.reference).effort


class GateNode(Node):
    """The gate in real time: its decisions reach the plant at once."""

    def __init__(self, loop: Loop, gate: Gate) -> None:
        super().__init__("gate", loop)
        self.gate = gate
        self._clock, self._imu_clock = ClockCheck(), ClockCheck()
        self._ticked_s = self._asked_s = 0.0
        self._newest: CommandMessage | None = None
        self.reasons: list[str] = []

    def on_state(self, message: StateMessage) -> None:
        gate, now_s = self.gate, self._loop.events.now_s
        changes, off_clock = self._clock.changes, self._loop.off_clock(self._clock, message.stamp_s)
        if self._clock.changes != changes:
            gate.new_clock(self._clock.reason)
        if off_clock:
            gate.states.reject(Rejection.STALE)
        else:
            gate.on_state(message.state, message.stamp_s, now_s)
        if gate.state not in (GateState.PASSING, GateState.WAITING):
            self._tick()

    def on_inertial(self, message: StateMessage) -> None:
        state, now_s = message.state, self._loop.events.now_s
        if state.specific_force is None:
            return
        if self._loop.off_clock(self._imu_clock, message.stamp_s):
            return
        inertial = Inertial(state.specific_force, state.v[3:], state.q[3:])
        problem = self.gate.on_inertial(inertial, message.stamp_s, now_s)
        if problem is None and self.gate.state is GateState.BLIND:
            self._tick()

    def on_command(self, message: CommandMessage) -> None:
        gate = self.gate
        if gate.on_command(message.effort, message.stamp_s, self._loop.events.now_s) is None:
            self._newest = message
        if gate.state in (GateState.PASSING, GateState.WAITING):
            self._tick()

    def watch(self) -> None:
        silent_s = self._loop.events.now_s - self._asked_s
        if silent_s > _WATCHDOG_PERIODS * self._loop.robot.control_period_s:
            self._tick(asked=False)

    def _tick(self, asked: bool = True) -> None:
        gate, steady_s = self.gate, self._loop.events.now_s
        still_s, self._ticked_s = steady_s - self._ticked_s, steady_s
        self._asked_s = steady_s if asked else self._asked_s
        if gate.state is not GateState.WAITING and gate.stood_still(still_s):
            gate.estop(f"the gate's process stood still for {still_s:.2f} s", "stood_still")
        now_s = gate.time_now_s(steady_s)
        if now_s is None:
            return
        decision = gate.tick(now_s, steady_s)
        if decision.reason and decision.reason not in self.reasons and decision.effort is not None:
            self.reasons.append(decision.reason)
        if decision.effort is not None:
            self._loop.send_effort(decision.effort, self._newest if gate.state is GateState.PASSING else None)
        self._loop.mpc.on_gate(gate.state, decision.latched, decision.effort)


class Loop:
    """One run of one scenario under one fault; `advance` it period by period.

    raised: unexpected errors of the nodes. witness: records the commands that the plant received. error_m: distance of
    the robot from the controller's reference, once a period.
    """

    def __init__(
        self,
        robot: Robot,
        scenario: Scenario[Any],
        controller: Controller,
        gate: Gate,
        fault: Fault,
        state_age_s: float,
    ) -> None:
        self.robot, self.fault = robot, fault
        self._simulation, self._scenario = simulation(robot), scenario
        self._age_s = state_age_s
        self.plant = self._simulation.plant(scenario.initial, scenario.noise_seed)
        start = scenario.reference.sample(np.zeros(1))
        self._measured = self.plant.reset(start.q[0], start.v[0])
        self.events, self.witness = Events(), Witness(robot)
        self.last_hop = LastHop(robot, gate.config, COMMAND_DEADLINE_S)
        self.raised: list[str] = []
        self.mpc = MpcNode(self, controller, Shifted(scenario.reference, CLOCK_START_S))
        self.gate = GateNode(self, gate)
        self.error_m: list[float] = []
        self.landing: tuple[float, float] | None = None
        self._timeouts_s = deque([0.0], maxlen=3)
        self._arrivals: list[tuple[float, Array]] = []
        self._effort: Array | None = None
        self._acting: CommandMessage | None = None
        self._overridden, self._was_running = False, True

    @property
    def time_s(self) -> float:
        """True time."""
        return self.events.now_s

    def off_clock(self, clock: ClockCheck, stamp_s: float) -> bool:
        """Whether a node rejects a stamp as too far from the machine's clock."""
        now_s = self.events.now_s
        return self._age_s > 0.0 and clock.check(stamp_s, CLOCK_START_S + now_s, now_s, self._age_s) is not None

    def advance(self) -> None:
        """Run one control period."""
        begin_s, period_s = self.time_s, self.robot.control_period_s
        self.fault.tune(begin_s, self.gate.gate)
        self._timeouts_s.append(self.gate.gate.config.command_timeout_s)
        self._measure(begin_s)
        self.events.at(begin_s + _WATCH_PHASE * period_s, lambda: self.gate.take("watchdog", self.gate.watch))
        self.events.run_until(begin_s + period_s)
        self._note_error()
        self._move(begin_s)
        self._look_at_age()
        self._was_running = self.gate.running

    def _measure(self, now_s: float) -> None:
        stamp_s = self.fault.clock(self.plant.stamp)
        imu = StateMessage(now_s, stamp_s, self._measured)
        self.events.at(now_s, partial(self.gate.take, "imu", partial(self.gate.on_inertial, imu)))
        for message in self.fault.states(now_s, StateMessage(now_s, stamp_s, self._measured)):
            self.events.at(message.at_s, partial(self._hear, message))

    def _hear(self, message: StateMessage) -> None:
        self.gate.take("state", lambda: self.gate.on_state(message))
        if self.gate.running or self.fault.alive("gate", np.inf):  # a killed gate leaves no receiver
            self.mpc.take("state", lambda: self.mpc.on_state(message))

    def send_command(self, message: CommandMessage) -> None:
        """Send a command from the controller to the gate."""
        for one in self.fault.commands(self.events.now_s, message):
            deliver = partial(self.gate.on_command, one)
            self.events.at(one.at_s, partial(self.gate.take, "command", deliver))

    def send_effort(self, effort: Array, command: CommandMessage | None) -> None:
        """Send an effort from the gate to the plant. command: the one passed on, None for the gate's own."""
        self._look_at_age()
        self._acting = command
        try:
            accepted = self.last_hop.accept(effort, self.events.now_s)
        except SignalError:
            self.witness.not_finite()
            return
        if not self._overridden:
            self.witness.received(self.events.now_s, effort)
        self._arrivals.append((self.events.now_s, accepted))

    def _look_at_age(self) -> None:
        """Record the age of the command that has acted until now; a new timeout counts from a tick on."""
        if self._acting is None or self._overridden:
            return
        guarded = self.gate.running and self._was_running
        timeout_s = max(self._timeouts_s) if guarded else COMMAND_DEADLINE_S
        allowed_s = timeout_s + self.robot.control_period_s + 1e-6
        self.witness.acts(self.events.now_s - self._acting.issued_s, allowed_s)

    def _note_error(self) -> None:
        target = self.mpc.reference.sample(np.array([self.mpc.stamp_s])).q
        places = self._simulation.positions(np.stack([self.plant.truth.q, target[0]]))
        self.error_m.append(float(np.linalg.norm(places[0] - places[1])))

    def _move(self, begin_s: float) -> None:
        """Advance the physics until now, under commands or under the last hop's law."""
        if self._effort is None and not self._arrivals:
            return  # the brakes are closed until the first command
        period_s, state = self.robot.control_period_s, self._measured
        segments = self._segments(begin_s)
        override = self.last_hop.override(state, begin_s, period_s)
        self._overridden = override is not None
        if override is None:
            self.last_hop.passed(segments[-1][0], state, period_s)
        else:
            self.witness.received(begin_s, override)
            segments = [(override, sum(steps for _, steps in segments))]
        for effort, steps in segments:
            self._measured = self.plant.step(effort, steps * self._simulation.physics_dt_s)
        self._look_at_landing()

    def _segments(self, begin_s: float) -> list[tuple[Array, int]]:
        """(effort, physics steps): each command acts from the step in which it arrived."""
        step_s = self._simulation.physics_dt_s
        steps = round(self.robot.control_period_s / step_s)
        edges = [min(int(np.ceil((at_s - begin_s) / step_s - 1e-6)), steps) for at_s, _ in self._arrivals]
        efforts = [effort for _, effort in self._arrivals]
        first = efforts[0] if self._effort is None else self._effort
        acting = zip([first, *efforts], [0, *edges], [*edges, steps], strict=True)
        self._effort = [first, *efforts][-1]
        self._arrivals.clear()
        return [(effort, end - start) for effort, start, end in acting if end > start]

    def _look_at_landing(self) -> None:
        """Record speed and tilt of a flying robot when it first touches the ground."""
        if self.landing is None and self.plant.crashed:
            from metarl_robot.core import rotation

            truth = self.plant.truth
            self.landing = float(np.linalg.norm(truth.v[:3])), float(rotation.tilt(truth.q[3:]))
