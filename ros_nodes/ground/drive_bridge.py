# SPDX-License-Identifier: Apache-2.0
"""The drive bridge converts the gate's efforts to speeds for a driver. It is the last process before the driver.

    topic (as launched)              type                             from → to
    /drive_controller/commands                                        gate → drive_bridge, see interface.py
    /odom                                                             driver → drive_bridge, see odometry.py
    /cmd_vel, /drive or /drive_controller/speed_steering              drive_bridge → driver, see drive_messages.py

Each effort is answered by one command (robots/ground/speed_commands.py), with the effort's stamp. Nothing is sent
before the first effort. When efforts or odometry are older than `deadline_s`, also because the gate has died, the
speed falls to zero and stays there until both are back. A bridge that is asked to end does so after its gate.

Lockstep: an effort waits for the state with its stamp. The deadline is then `grace_s`, in real time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import Any, Literal, NamedTuple

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from numpy.typing import NDArray
from pydantic import Field
from std_msgs.msg import Float64MultiArray

from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import State
from metarl_robot.robots.ground.speed_commands import TWIST, DriverLoop, SpeedCommands
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.convert import status_message
from metarl_robot.ros_nodes.ending import REST_WITHIN_S
from metarl_robot.ros_nodes.frames import frames_of
from metarl_robot.ros_nodes.ground.drive_messages import drive_messages
from metarl_robot.ros_nodes.guarded import readable
from metarl_robot.ros_nodes.interface import interface_of
from metarl_robot.ros_nodes.managed import REALTIME_PRIORITY, ManagedNode, StateParameters
from metarl_robot.ros_nodes.message_options import message_options
from metarl_robot.ros_nodes.parameters import Declarer, OnChange, fixed
from metarl_robot.ros_nodes.publishers import LOOK_PERIOD_S, SolePublishers
from metarl_robot.ros_nodes.runtime import run
from metarl_robot.safety.gate import GateState
from metarl_robot.safety.refusals import ADVICE, Rejection

Array = NDArray[np.float64]

_GATE_SILENT_S = 5.0  # after this silence a bridge that was asked to end does not wait for its gate
_LONGEST_STEP_S = 0.05  # a longer gap counts as this much time


class DriveParameters(StateParameters):
    """The form of the driver's commands."""

    realtime_priority: int = fixed(30, ge=0, le=49, description=REALTIME_PRIORITY)
    commands: Literal["speed_steering", "twist", "ackermann"] = fixed(TWIST, description="the driver's commands")


class BridgeParameters(DriveParameters):
    """Parameters of the drive bridge, without those of DriverLoop."""

    deadline_s: float = Field(
        0.1, ge=0.01, le=2.0, description="the vehicle stops when efforts or odometry are older than this [s]"
    )
    grace_s: float = Field(10.0, ge=0.05, le=600.0, description="lockstep: deadline_s, in real time [s]")
    stop_deceleration_m_s2: float = Field(
        2.5, ge=0.1, le=1e6, description="deceleration of that stop; large: at once [m/s^2]"
    )
    standstill_m_s: float = fixed(
        0.05, ge=0.001, le=1.0, description="while the gate stops the vehicle, commands below this speed are zero [m/s]"
    )


class Effort(NamedTuple):
    """A gate's command: its stamp [ns] and its efforts (nu,)."""

    stamp_ns: int
    values: Array


def declared(parameters: Declarer, on_own: OnChange = None) -> tuple[BridgeParameters, DriverLoop, Any]:
    """See Declarer. Raises MetaRLError."""
    own = parameters.declare(BridgeParameters, on_change=on_own)
    loop = parameters.declare(DriverLoop, read_only=True)
    return own, loop, load_robot(own.robot, check_model=False, of_kind=own.robot_kind)


class DriveBridge(ManagedNode):
    """See the module's docstring."""

    GIVE_UP_AFTER = 0  # never: the driver would keep its last speed

    def __init__(self) -> None:
        super().__init__("drive_bridge")
        self._own, self._loop, self._robot = declared(self.parameters, self._on_parameters)
        self._commands: SpeedCommands | None = None
        self.start(self._own.autostart)

    def configure(self) -> None:
        own, robot = self._own, self._robot
        options = message_options(own, self.get_namespace())
        self._interface = interface_of(robot, options)
        base_frame = frames_of(robot, options).base.name
        self._messages = drive_messages(own.commands, base_frame, self.get_logger().info)
        self._commands = SpeedCommands(robot, self._messages.form, self._loop, own.standstill_m_s)
        self._state: tuple[int, State] | None = None
        self._pending: Effort | None = None
        self._source: str | None = None
        self._state_s = self._effort_s = self._sent_s = -np.inf
        self._gate_passes = self._stopping = False
        self._last = np.zeros(2)
        self._counts: Counter[str] = Counter()
        self._out = self.create_lifecycle_publisher(self._messages.type, self._messages.topic, topics.COMMAND)
        efforts = self.create_subscription(Float64MultiArray, self._interface.commands, self._on_effort, topics.COMMAND)
        gate = self.create_subscription(DiagnosticStatus, topics.GATE_STATE, self._on_gate, topics.LATCHED)
        self._inputs = (*self._interface.listen(self, self._on_state, own.lockstep), efforts, gate)
        self.expect(self._interface.state_topic, "robot's driver or plant")
        self.expect(self._interface.commands, "gate")
        self._sole = SolePublishers(self, (self._interface.commands, self._messages.topic))
        self._watchdog = self.every(robot.control_period_s, self._watch)
        self._looker = self.every(LOOK_PERIOD_S, self._sole.look)

    def activate(self) -> None:
        self.prefer_me(self._own)

    def cleanup(self) -> None:
        self._commands = None
        self.destroy_lifecycle_publisher(self._out)
        for timer in (self._watchdog, self._looker):
            self.destroy_timer(timer)
        for subscription in self._inputs:
            self.destroy_subscription(subscription)

    def may_end(self, waited_s: float) -> bool:
        """Whether the gate has ended or is silent."""
        if self._commands is None or not self.active or self._source is None:
            return True
        silent = monotonic() - self._effort_s > _GATE_SILENT_S
        return silent or waited_s > REST_WITHIN_S or self.count_publishers(self._interface.commands) == 0

    def diagnose(self) -> list[DiagnosticStatus]:
        if self._commands is None:
            return []
        values = {"commands": self._own.commands, "speed_m_s": float(self._last[0]), "stopping": self._stopping}
        if self._source is None:
            level, text = DiagnosticStatus.WARN, "waits for the gate's first command"
        elif self._stopping:
            level, text = DiagnosticStatus.ERROR, f"the vehicle is stopped: {self._late()}"
        else:
            level, text = DiagnosticStatus.OK, "running"
        return [status_message("drive_bridge", level, text, {**values, **self._counts})]

    def troubles(self) -> list[str]:
        return super().troubles() + ([] if self._commands is None else self._sole.problems())

    def _on_parameters(self, new: BridgeParameters) -> None:
        self._own = new

    def _on_gate(self, message: DiagnosticStatus) -> None:
        state = {pair.key: pair.value for pair in message.values}.get("state")
        self._gate_passes = state == GateState.PASSING.value

    def _on_state(self, stamp_ns: int, read: Callable[[], State]) -> None:
        refused = self.off_clock(stamp_ns, self._own)
        if refused is not None:
            self._refuse(refused.why, f"state refused: {refused.text}")
            return
        self._state, self._state_s = (stamp_ns, readable(read)), monotonic()
        if self._pending is not None:
            self._answer(self._pending)

    def _on_effort(self, message: Float64MultiArray) -> None:
        stamp_ns, read, source = readable(partial(self._interface.read_gate_command, message))
        if source != self._source and monotonic() - self._effort_s <= self._deadline_s:
            self._refuse(Rejection.OTHER_SOURCE, f"effort refused: {ADVICE[Rejection.OTHER_SOURCE]}")
            return
        effort = Effort(stamp_ns, readable(read))
        self._source, self._effort_s = source, monotonic()
        self._answer(effort)

    def _answer(self, effort: Effort) -> None:
        """Send the command for an effort, or keep the effort until its state arrives."""
        commands, state = self._commands, self._state
        self._pending = effort
        waits = state is None or (self._own.lockstep and state[0] != effort.stamp_ns)
        if commands is None or state is None or waits or not self.active or self._late():
            return
        self._pending = None
        if self._stopping:
            self._stopping = False
            self.get_logger().info("efforts and odometry are back")
        command = commands.command(state[1], effort.values, self._step_s(), stopping=not self._gate_passes)
        self._send(effort.stamp_ns, command)

    def _watch(self) -> None:
        """Stop the vehicle when efforts or odometry are late."""
        commands, own = self._commands, self._own
        if commands is None or not self.active or self._source is None or not self._late():
            return
        if not self._stopping:
            self._stopping = True
            self._counts["stops"] += 1
            self.get_logger().error(f"the vehicle is stopped: {self._late()}")
        command = commands.stop(own.stop_deceleration_m_s2, self._step_s())
        self._send(self.get_clock().now().nanoseconds, command)

    @property
    def _deadline_s(self) -> float:
        return self._own.grace_s if self._own.lockstep else self._own.deadline_s

    def _late(self) -> str:
        """The message that is older than its deadline; empty if none is."""
        now_s = monotonic()
        ages = (("efforts", self._interface.commands, self._effort_s),
                ("odometry", self._interface.state_topic, self._state_s))  # fmt: skip
        late = [
            f"no {name} on {self.resolve_topic_name(topic)} within {self._deadline_s:g} s"
            for name, topic, heard_s in ages
            if now_s - heard_s > self._deadline_s
        ]
        return "; ".join(late)

    def _step_s(self) -> float:
        """Time since the last command [s]: in lockstep one control period."""
        if self._own.lockstep:
            return float(self._robot.control_period_s)
        return min(monotonic() - self._sent_s, _LONGEST_STEP_S)

    def _send(self, stamp_ns: int, command: Array) -> None:
        self._last, self._sent_s = command, monotonic()
        self._out.publish(self._messages.make(stamp_ns, command))

    def _refuse(self, why: Rejection, text: str) -> None:
        self._counts[why.value] += 1
        self.refuse(text)


def main(args: Sequence[str] | None = None) -> int:
    """Entry point of the drive bridge."""
    return run(DriveBridge, args)


if __name__ == "__main__":
    raise SystemExit(main())
