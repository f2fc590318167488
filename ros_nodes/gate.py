# SPDX-License-Identifier: Apache-2.0
"""The gate node: the last process before the robot. Its logic is metarl_robot.safety.gate.

It loads no torch, no CasADi and no simulator.

Real time: a command is passed on when it arrives. While the gate stops the robot, it answers each state, or each IMU
measurement if there are no states. A watchdog ensures that an effort is sent every control period in any case. An
effort carries the stamp of the accepted command or state that it answers (`Decision.stamp_s`), in nanoseconds; the
stamp of a refused message is never sent.

Lockstep: the gate answers every state exactly once, in simulated time. It waits for the mpc node's command for that
state, so that the run is the same on any machine. After `grace_s` (real seconds) without one, the mpc node counts as
absent: states are answered at once, by the rules of the gate (the last command until its deadline in simulated time,
then the fallback law), until commands return. A repeated state gets the same answer again, so that lost messages do
not stop the simulation.

The gate may share a process with the mpc node (mpc_with_gate.py). It then has its own thread, gets commands by a link
instead of a topic, and hands on measurements and its own messages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from numpy.typing import NDArray
from pydantic import Field
from rclpy.subscription import Subscription
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

from metarl_robot.core.errors import shown
from metarl_robot.core.parameter_file import read_parameters
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.core.signals import Inertial, State
from metarl_robot.core.tables import NANOSECONDS, Table
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.convert import UnusableError, status_message, table_message
from metarl_robot.ros_nodes.ending import REST_WITHIN_S
from metarl_robot.ros_nodes.guarded import readable
from metarl_robot.ros_nodes.interface import SOURCE, interface_of
from metarl_robot.ros_nodes.managed import REALTIME_PRIORITY, ManagedNode, StateParameters
from metarl_robot.ros_nodes.message_options import message_options
from metarl_robot.ros_nodes.parameters import Declarer, OnChange, fixed
from metarl_robot.ros_nodes.publishers import LOOK_PERIOD_S, SolePublishers
from metarl_robot.ros_nodes.runtime import run
from metarl_robot.ros_nodes.sources import refused_counts, source_trouble, sources_trouble
from metarl_robot.ros_nodes.thread_link import ACTIVATED, HandedCommand, HandedOn, Link
from metarl_robot.safety.fallback_law import GateConfig, GateError, gate_config
from metarl_robot.safety.gate import Decision, Gate, GateState
from metarl_robot.safety.input_validation import Refused, Rejection
from metarl_robot.safety.refusals import ADVICE

Array = NDArray[np.float64]

FAREWELL_S = 0.2  # a gate at rest continues this long, so that its last messages arrive
# a robot without states holds a constant effort for this long before a gate that was asked to end does so
UNSEEN_WITHIN_S = 10.0
_COMMAND = "~/command"
_WATCHDOG_PERIODS = 1.5  # silence, in control periods, after which the watchdog ticks each period


class GateNodeParameters(StateParameters):
    """Parameters of the gate node, without those of GateConfig and of the fallback law."""

    realtime_priority: int = fixed(
        30, ge=0, le=49, description=REALTIME_PRIORITY + "; above the other nodes', because the gate guards the robot"
    )
    allow_other_publishers: bool = Field(
        False, description="arm even if other nodes publish on the topics that drive the robot"
    )
    grace_s: float = Field(
        5.0, ge=0.05, le=600.0, description="lockstep: wait this long for a command, in real time [s]"
    )


def declared(
    parameters: Declarer, on_own: OnChange = None, on_config: OnChange = None
) -> tuple[GateNodeParameters, Robot, GateConfig]:
    """See Declarer. Raises MetaRLError."""
    own = parameters.declare(GateNodeParameters, on_change=on_own)
    robot = load_robot(own.robot, check_model=False, of_kind=own.robot_kind)
    return own, robot, parameters.declare(gate_config(robot), defaults=shipped(robot), on_change=on_config)


class GateNode(ManagedNode):
    """The gate's shell; see the module's docstring."""

    GIVE_UP_AFTER = 0  # never: without its callbacks the gate would be blind

    def __init__(self, link: Link | None = None) -> None:
        super().__init__("gate")
        self._link = link
        if link is not None:
            link.gate.open(self)
        self._own, self._robot, self._config = declared(self.parameters, self._on_parameters, self._retune)
        self._gate: Gate | None = None
        self._ending = False
        self._done_s: float | None = None
        self.start(self._own.autostart)

    def configure(self) -> None:
        self._gate = Gate(self._robot, self._config)
        self._interface = interface_of(self._robot, message_options(self._own, self.get_namespace()))
        self._pending_ns: int | None = None
        self._spoken_ns = self._answered_ns = -1
        self._state_ns = self._command_ns = 0  # stamps of the newest accepted state and command
        self._answer_message: Float64MultiArray | None = None
        self._pending_since_s = self._ticked_s = self._asked_s = monotonic()
        self._absent = False
        self._shown: tuple[GateState, bool, str] | None = None
        self._commands = self.create_lifecycle_publisher(Float64MultiArray, self._interface.commands, topics.COMMAND)
        self._state_out = self.create_publisher(DiagnosticStatus, "~/state", topics.LATCHED)
        node: Any = self if self._link is None else HandedOn(self, self._link.mpc)
        measured = self._interface.listen(node, self._on_state, self._own.lockstep, self._on_inertial)
        self._inputs = (*measured, *self._listen_to_commands())
        self._command_topic = self.resolve_topic_name(_COMMAND)
        self._sole = SolePublishers(self, (self._interface.commands, _COMMAND))
        self._clocks = SolePublishers(self, (topics.CLOCK,))
        self.expect(measured[0].topic, "robot's driver or plant")
        self.expect(_COMMAND, "mpc node")
        self._estop_service = self.create_service(Trigger, "~/estop", self._on_estop)
        self._rearm_service = self.create_service(Trigger, "~/rearm", self._on_rearm)
        self._watchdog = self.every(self._robot.control_period_s, self._watch)
        self._looker = self.every(LOOK_PERIOD_S, self._look)
        self._show(self._gate)

    def _listen_to_commands(self) -> tuple[Subscription, ...]:
        """Subscribe to commands, or take them from the link."""
        if self._link is None:
            kind = self._interface.gate_command_type
            return (self.create_subscription(kind, _COMMAND, self._on_command, topics.COMMAND),)
        self._link.gate.listen(_COMMAND, self.guarded(_COMMAND, self._on_handed), topics.COMMAND.depth)
        self._link.gate.listen(ACTIVATED, self.guarded(ACTIVATED, self._on_activated), 1)
        return ()

    def _on_activated(self, _: bool) -> None:
        """Prefer the whole process once the mpc node acts: before, it compiles code, which must not be preferred."""
        self.prefer_me(self._own)

    def activate(self) -> None:
        if self._link is None:
            self.prefer_me(self._own)
        self._ticked_s = monotonic()

    def deactivate(self) -> None:
        if self._gate is not None and self._gate.state not in (GateState.WAITING, GateState.HOLDING):
            raise GateError(f"the gate is {self._gate.state.value}; stop the robot first (~/estop)")

    def cleanup(self) -> None:
        self._gate = None
        self.destroy_lifecycle_publisher(self._commands)
        self.destroy_publisher(self._state_out)
        for timer in (self._watchdog, self._looker):
            self.destroy_timer(timer)
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        for service in (self._estop_service, self._rearm_service):
            self.destroy_service(service)

    def prepare_end(self, why: str) -> None:
        """Stop the robot first: from now on no command passes."""
        gate = self._gate
        if gate is None or self._is_done(gate, 0.0):
            return
        self.get_logger().warning(
            f"{why}: the robot is brought to rest before the gate ends; a second Ctrl-C ends it at once"
        )
        self._ending = self._absent = True
        gate.estop()
        if self._own.lockstep:
            self._answer(gate)
        else:
            self._tick(gate)

    def may_end(self, waited_s: float) -> bool:
        if self._gate is None or (self._done_s is None and not self._is_done(self._gate, waited_s)):
            return self._gate is None
        self._done_s = self._done_s or monotonic()
        return not self._ending or monotonic() - self._done_s > FAREWELL_S

    def _is_done(self, gate: Gate, waited_s: float) -> bool:
        """Whether the robot is at rest, has landed, or no longer receives commands."""
        if not self.active or gate.at_rest or self._commands.get_subscription_count() == 0:
            return True
        unseen = gate.state is GateState.BLIND and not self._robot.lands
        return waited_s > (UNSEEN_WITHIN_S if unseen else REST_WITHIN_S)

    def diagnose(self) -> list[DiagnosticStatus]:
        gate = self._gate
        if gate is None:
            return []
        values = {"state": gate.state.value, "latched": gate.latched, "reason": gate.reason, "mpc_absent": self._absent}
        shares = {"saturation": gate.saturation}
        counts = {f"state_{name}": count for name, count in gate.states.rejections.items()} | dict(gate.counts)
        counts |= {f"imu_{name}": count for name, count in gate.inertials.rejections.items()}
        level, words = _level(gate), _words(gate)
        if gate.saturated:
            level, words = max(level, DiagnosticStatus.WARN), f"{words}; commands are at a limit most of the time"
        for worse, trouble in (
            source_trouble(self, self._interface.state_topic, gate.states.refusals),
            source_trouble(self, self._interface.imu_topic, gate.inertials.refusals, "IMU"),
        ):
            level, words = (max(level, worse), f"{words}; {trouble}") if trouble else (level, words)
        level, words = sources_trouble(self, self._interface.sources, level, words)
        counts |= refused_counts(self._interface.sources)
        if gate.state is GateState.WAITING:
            self._show(gate)  # publishes a changed reason
        return [status_message("gate", level, words, {**values, **shares, **counts})]

    def troubles(self) -> list[str]:
        return super().troubles() + ([] if self._gate is None else self._sole.problems() + self._clocks.problems())

    def on_fault(self, reason: str) -> None:
        """Stop the robot by the fallback law and latch, because the extent of the fault is unknown."""
        if self._gate is not None:
            self._gate.estop(f"unforeseen error in {reason}", "fault")
            self._show(self._gate)

    def _look(self) -> None:
        self._sole.look()
        if self.get_parameter("use_sim_time").value:
            self._clocks.look()

    def _not_alone(self) -> str:
        """Other publishers that keep the gate from arming; empty if there are none or they are allowed."""
        if self._own.allow_other_publishers:
            return ""
        self._sole.look()
        return "; ".join(self._sole.problems())

    def _crowded(self) -> bool:
        """Whether commands without a source may come from several publishers."""
        return not self._own.allow_other_publishers and self.count_publishers(self._command_topic) > 1

    def _on_parameters(self, new: GateNodeParameters) -> None:
        self._own = new

    def _retune(self, config: GateConfig) -> None:
        (self._gate or Gate(self._robot, config)).configure(config)
        self._config = config

    def _on_state(self, stamp_ns: int, read: Callable[[], State]) -> None:
        gate, received_s = self._gate, monotonic()
        if gate is None or not self.active:
            return
        if self._own.lockstep and stamp_ns == self._answered_ns and self._answer_message is not None:
            self._commands.publish(self._answer_message)
            return
        usable = self._take(gate, stamp_ns, read, received_s)
        if self._own.lockstep:
            if stamp_ns != self._pending_ns:
                self._pending_ns, self._pending_since_s = stamp_ns, received_s
            self._answer(gate, waited=not usable)  # the mpc node also refuses a state that the gate refuses
        elif gate.state not in (GateState.PASSING, GateState.WAITING):
            self._tick(gate)

    def _take(self, gate: Gate, stamp_ns: int, read: Callable[[], State], received_s: float) -> bool:
        """Pass a state to the gate; False if it was refused."""
        stamp_s = stamp_ns / NANOSECONDS
        try:
            off_clock = self._states_off_clock(gate, stamp_ns)
            if off_clock is not None:
                problem: Rejection | None = off_clock.why
                gate.states.reject(*off_clock)
            else:
                problem = gate.on_state(readable(read), stamp_s, received_s)
        except UnusableError as error:
            gate.states.reject(error.why, str(error))
            gate.states.offer_time(stamp_s)
            self.refuse(f"state refused: {error}")
            return False
        if problem is None:
            self._state_ns = stamp_ns
        if problem is None or problem is Rejection.DUPLICATE:
            return True
        self.refuse(f"state refused: {gate.states.refusals.words(problem)}")
        return False

    def _states_off_clock(self, gate: Gate, stamp_ns: int) -> Refused | None:
        """Call off_clock; stop the robot if a clock was set."""
        clock = self.clock_checks["states"]
        changes, refused = clock.changes, self.off_clock(stamp_ns, self._own)
        if clock.changes != changes:
            gate.new_clock(clock.reason)
        return refused

    def _on_inertial(self, stamp_ns: int, read: Callable[[], Inertial]) -> None:
        gate, received_s = self._gate, monotonic()
        if gate is None or not self.active:
            return
        try:
            off_clock = self.off_clock(stamp_ns, self._own, "IMU")
            if off_clock is not None:
                problem: Rejection | None = off_clock.why
                gate.inertials.reject(*off_clock)
            else:
                problem = gate.on_inertial(readable(read), stamp_ns / NANOSECONDS, received_s)
        except UnusableError as error:
            gate.inertials.reject(error.why, str(error))
            self.refuse(f"IMU refused: {error}")
            return
        if problem not in (None, Rejection.DUPLICATE):
            self.refuse(f"IMU refused: {gate.inertials.refusals.words(problem)}")
        elif not self._own.lockstep and gate.state is GateState.BLIND:
            self._tick(gate)

    def _on_command(self, message: Any) -> None:
        received_s = monotonic()
        self._take_command(received_s, *readable(partial(self._interface.read_gate_command, message)))

    def _on_handed(self, command: HandedCommand) -> None:
        """Take a command of the mpc node in this process."""
        self._take_command(monotonic(), command.stamp_ns, lambda: command.effort, SOURCE)

    def _take_command(self, received_s: float, stamp_ns: int, read: Callable[[], Array], source: str) -> None:
        gate = self._gate
        if gate is None or not self.active:
            return
        if gate.state is GateState.WAITING and (others := self._not_alone()):
            gate.counts["command_not_alone"] += 1
            self.refuse(f"not armed: {others}")
            return
        if source == gate.source == "" and self._crowded():
            gate.counts["command_not_alone"] += 1
            self.refuse(
                f"commands refused: several publishers on {self._command_topic}, and their commands do not name their "
                "source"
            )
            return
        if gate.source in (None, source):
            self._spoken_ns = stamp_ns
        try:
            problem = gate.on_command(readable(read), stamp_ns / NANOSECONDS, received_s, source)
        except UnusableError as error:
            gate.counts[f"command_{error.why.value}"] += 1
            self.refuse(str(error))
            return
        if problem is None:
            self._absent, self._command_ns = self._ending, stamp_ns
            self._spoken_ns = stamp_ns
        else:
            self.refuse(f"command refused: {ADVICE[problem] if problem is Rejection.OTHER_SOURCE else problem.value}")
        if self._own.lockstep:
            self._answer(gate)
        elif gate.state in (GateState.PASSING, GateState.WAITING):
            self._tick(gate)

    def _answer(self, gate: Gate, waited: bool = False) -> None:
        """Lockstep: answer the pending state if its command has come, or if none will come."""
        alone = (self._absent or waited) and gate.state is not GateState.WAITING
        if self._pending_ns is None or gate.states.time_s is None or not (alone or self._spoken_ns == self._pending_ns):
            return
        stamp_ns, self._pending_ns = self._pending_ns, None
        message = self._publish(gate, gate.tick(gate.states.time_s), stamp_ns)
        if message is not None:
            self._answered_ns, self._answer_message = stamp_ns, message

    def _tick(self, gate: Gate, asked: bool = True) -> None:
        """Real time: decide now.

        asked: by a message or a service; False for the watchdog.
        """
        steady_s = monotonic()
        now_s = gate.time_now_s(steady_s)
        self._asked_s = steady_s if asked else self._asked_s
        still_s, self._ticked_s = steady_s - self._ticked_s, steady_s
        if gate.state is not GateState.WAITING and gate.stood_still(still_s):
            gate.estop(f"the gate's process stood still for {still_s:.2f} s", "stood_still")
        if now_s is not None:
            decision = gate.tick(now_s, steady_s)
            self._publish(gate, decision, self._command_ns if decision.state is GateState.PASSING else self._state_ns)

    def _watch(self) -> None:
        gate, steady_s = self._gate, monotonic()
        if gate is None or not self.active:
            return
        if not self._own.lockstep:
            if steady_s - self._asked_s > _WATCHDOG_PERIODS * self._robot.control_period_s:
                self._tick(gate, asked=False)
        elif (
            self._pending_ns is not None
            and steady_s - self._pending_since_s > self._own.grace_s
            and gate.state is not GateState.WAITING
        ):
            if not self._absent:
                self.get_logger().error(f"no command within {self._own.grace_s} s of real time: going on without")
            self._absent = True
            self._answer(gate)

    def _publish(self, gate: Gate, decision: Decision, stamp_ns: int) -> Float64MultiArray | None:
        message = None
        if decision.effort is not None:
            message = table_message(
                Table(stamp_ns, ("effort",), self._robot.channel_names, decision.effort[None], SOURCE)
            )
            self._commands.publish(message)
            if self._link is not None:
                self._link.mpc.post(self._interface.commands, message, wake=False)
        self._show(gate)
        return message

    def _show(self, gate: Gate) -> None:
        """Publish and log the gate's state if it changed."""
        now = (gate.state, gate.latched, gate.reason)
        if now == self._shown:
            return
        self._shown = now
        values = {"state": gate.state.value, "latched": gate.latched, "reason": gate.reason, "robot": self._own.robot}
        message = status_message("gate", _level(gate), _words(gate), values)
        self._state_out.publish(message)
        if self._link is not None:
            self._link.mpc.post(topics.GATE_STATE, message, keep=True)
        if gate.state in (GateState.PASSING, GateState.WAITING):  # rclpy fixes one severity a line of code
            self.get_logger().info(_words(gate))
        else:
            self.get_logger().warning(_words(gate))

    def _on_estop(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._gate is not None:
            self._gate.estop()
            if not self._own.lockstep and self.active:
                self._tick(self._gate)
            self._show(self._gate)
        response.success = self._gate is not None
        response.message = "stopping; ~/rearm lets commands pass again"
        return response

    def _on_rearm(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        gate, steady_s = self._gate, monotonic()
        try:
            if gate is None or not self.active:
                raise GateError("not re-armed: the gate is not active")
            if self._ending:
                raise GateError("not re-armed: the gate was asked to end")
            if others := self._not_alone():
                raise GateError(f"not re-armed: {others}, or set allow_other_publishers")
            now_s = gate.states.time_s if self._own.lockstep else gate.time_now_s(steady_s)
            gate.rearm(now_s or 0.0, None if self._own.lockstep else steady_s)
            response.success, response.message = True, "re-armed"
        except GateError as error:
            response.success, response.message = False, str(error)
        return response


def shipped(robot: Robot) -> dict[str, object]:
    """The gate's parameters shipped with a robot: `config/gate.yaml` in its folder, a ROS parameter file."""
    path = robot.folder / "config" / "gate.yaml"
    if not path.is_file():
        return {}
    nodes = read_parameters(path, GateError)
    if list(nodes) != ["/**"]:
        raise GateError(f"{path}: must have one top-level key, '/**'; given: {shown(list(nodes))}")
    values: dict[str, object] = dict(nodes["/**"])
    known = gate_config(robot).model_fields
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise GateError(f"{path}: unknown key {shown(unknown[0])}; allowed: {', '.join(known)}")
    return values


def _words(gate: Gate) -> str:
    text = gate.state.value if gate.state is GateState.PASSING else f"{gate.state.value}: {gate.reason}"
    return text + ("; latched, call ~/rearm" if gate.latched else "")


def _level(gate: Gate) -> bytes:
    if gate.state is GateState.BLIND or gate.latched:
        return DiagnosticStatus.ERROR
    return DiagnosticStatus.OK if gate.state is GateState.PASSING else DiagnosticStatus.WARN


def main(args: Sequence[str] | None = None) -> int:
    """Entry point of the gate node."""
    return run(GateNode, args)


if __name__ == "__main__":
    raise SystemExit(main())
