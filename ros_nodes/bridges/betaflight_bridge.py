# SPDX-License-Identifier: Apache-2.0
"""The bridge to Betaflight: the gate's rotor thrusts become RC channels, over MSP. The last process before the drone.

    topic (as launched)              type                             from → to
    /thrust_controller/commands                                       gate → betaflight_bridge, see interface.py
    /odom                                                             motion capture or estimator → betaflight_bridge,
                                                                      mpc, gate: Betaflight estimates no position
    /thrust_controller/acting        std_msgs/Float64MultiArray       betaflight_bridge → mpc: thrusts that the motors
                                                                      were given, in the form of the commands; all 0:
                                                                      not in flight

    service                          type
    /betaflight_bridge/arm, disarm   std_srvs/Trigger

Each effort is answered by one RC frame (robots/quadrotor/betaflight). When efforts or odometry stop, no frame is sent,
and the flight controller's own failsafe acts. The bridge arms only when told to, by `auto_arm` or the service. A link
that is lost is opened again; a flight controller that has disarmed by itself is not armed again.

Lockstep: an effort waits for the state with its stamp, and time is that of the stamps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import Any, NamedTuple

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from numpy.typing import NDArray
from pydantic import Field
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import State
from metarl_robot.core.tables import NANOSECONDS
from metarl_robot.robots.quadrotor.betaflight.bridge import RATE_LOOP_S, BetaflightBridge
from metarl_robot.robots.quadrotor.betaflight.msp_link import LinkError, MspLink
from metarl_robot.robots.quadrotor.betaflight.pilot import Phase
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.convert import status_message
from metarl_robot.ros_nodes.ending import REST_WITHIN_S
from metarl_robot.ros_nodes.guarded import readable
from metarl_robot.ros_nodes.interface import interface_of
from metarl_robot.ros_nodes.managed import REALTIME_PRIORITY, ManagedNode, StateParameters
from metarl_robot.ros_nodes.message_options import message_options
from metarl_robot.ros_nodes.parameters import Declarer, OnChange, fixed
from metarl_robot.ros_nodes.publishers import LOOK_PERIOD_S, SolePublishers
from metarl_robot.ros_nodes.runtime import run
from metarl_robot.safety.refusals import ADVICE, Rejection

Array = NDArray[np.float64]

_CONNECT_S = 1.0
_GATE_SILENT_S = 5.0  # after this silence a bridge that was asked to end does not wait for its gate


class BridgeParameters(StateParameters):
    """Parameters of the bridge."""

    realtime_priority: int = fixed(30, ge=0, le=49, description=REALTIME_PRIORITY)
    url: str = fixed("/dev/ttyACM0", description="flight controller: a serial device, or tcp://HOST:PORT")
    baud: int = fixed(115200, ge=9600, le=4000000, description="speed of a serial device [bit/s]")
    auto_arm: bool = fixed(False, description="arm at the first command; for simulation")
    rate_loop_s: float = fixed(
        RATE_LOOP_S, ge=0.005, le=0.5, description="time constant of the flight controller's rate loop [s]"
    )
    deadline_s: float = Field(
        0.1, ge=0.01, le=0.3, description="no RC frame is sent when the odometry is older than this [s]"
    )


class _Effort(NamedTuple):
    """A gate's command: its stamp [ns] and its thrusts (4,) [N]."""

    stamp_ns: int
    values: Array


def declared(parameters: Declarer, on_own: OnChange = None) -> tuple[BridgeParameters, Any]:
    """See Declarer. Raises MetaRLError."""
    own = parameters.declare(BridgeParameters, on_change=on_own)
    return own, load_robot(own.robot, check_model=False, of_kind="quadrotor")


class BetaflightBridgeNode(ManagedNode):
    """See the module's docstring."""

    GIVE_UP_AFTER = 0  # never: the flight controller's failsafe would drop the drone

    def __init__(self) -> None:
        super().__init__("betaflight_bridge")
        self._own, self._robot = declared(self.parameters, self._on_parameters)
        self._bridge: BetaflightBridge | None = None
        self._link: MspLink | None = None
        self.start(self._own.autostart)

    def configure(self) -> None:
        interface = self._interface = interface_of(self._robot, message_options(self._own, self.get_namespace()))
        self._state: tuple[int, State] | None = None
        self._pending: _Effort | None = None
        self._source: str | None = None
        self._state_s = self._effort_s = -np.inf
        self._arm = self._own.auto_arm
        self._trouble = "not connected yet"
        self._counts: Counter[str] = Counter()
        self._acting_out = self.create_lifecycle_publisher(Float64MultiArray, interface.acting, topics.COMMAND)
        efforts = self.create_subscription(Float64MultiArray, interface.commands, self._on_effort, topics.COMMAND)
        self._inputs = (*interface.listen(self, self._on_state, self._own.lockstep), efforts)
        self.expect(interface.state_topic, "motion capture or estimator")
        self.expect(interface.commands, "gate")
        self._sole = SolePublishers(self, (interface.commands,))
        self._own_services = (
            self.create_service(Trigger, "~/arm", partial(self._on_arm, True)),
            self.create_service(Trigger, "~/disarm", partial(self._on_arm, False)),
        )
        self._timers_own = (self.every(_CONNECT_S, self._connect), self.every(LOOK_PERIOD_S, self._sole.look))

    def activate(self) -> None:
        self.prefer_me(self._own)

    def cleanup(self) -> None:
        self._disconnect("not configured")
        self.destroy_lifecycle_publisher(self._acting_out)
        for timer in self._timers_own:
            self.destroy_timer(timer)
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        for service in self._own_services:
            self.destroy_service(service)

    def close(self) -> None:
        self._disconnect("ended")

    def may_end(self, waited_s: float) -> bool:
        """Whether the gate has ended or is silent: until then its last commands bring the drone down."""
        if self._bridge is None or not self.active or self._source is None:
            return True
        silent = monotonic() - self._effort_s > _GATE_SILENT_S
        return silent or waited_s > REST_WITHIN_S or self.count_publishers(self._interface.commands) == 0

    def diagnose(self) -> list[DiagnosticStatus]:
        values: dict[str, object] = {"url": self._own.url, "arm": getattr(self, "_arm", False)}
        bridge = self._bridge
        if bridge is None:
            text = getattr(self, "_trouble", "not configured")
            return [status_message("betaflight_bridge", DiagnosticStatus.ERROR, text, values)]
        pilot = bridge.pilot
        values |= {
            "firmware": pilot.settings.version,
            "phase": pilot.phase.value,
            "armed": pilot.status.armed,
            "not_arming": ", ".join(pilot.status.not_arming),
            "disarms": pilot.disarms,
            **self._counts,
        }
        level = DiagnosticStatus.ERROR if pilot.phase is Phase.LOST else DiagnosticStatus.OK
        return [status_message("betaflight_bridge", level, pilot.phase.value, values)]

    def troubles(self) -> list[str]:
        return super().troubles() + (self._sole.problems() if hasattr(self, "_sole") else [])

    def _on_parameters(self, new: BridgeParameters) -> None:
        self._own = new

    # The link.

    def _connect(self) -> None:
        if self._bridge is not None or not self.active:
            return
        try:
            self._link = MspLink(self._own.url, self._own.baud)
            self._bridge = BetaflightBridge(self._robot, self._link, self._own.rate_loop_s)
        except MetaRLError as error:
            self._disconnect(str(error))
            return
        self._bridge.pilot.arm = self._arm
        self.get_logger().info(f"connected to {self._bridge.pilot.settings.version} at {self._own.url}")

    def _disconnect(self, why: str) -> None:
        if self._link is not None:
            self._link.close()
        if why != getattr(self, "_trouble", ""):
            self.get_logger().warning(why)
        self._link, self._bridge, self._trouble = None, None, why

    def _on_arm(self, arm: bool, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._arm = arm
        if self._bridge is not None:
            self._bridge.pilot.arm = arm
        response.success = self._bridge is not None
        response.message = self._trouble if self._bridge is None else "will arm" if arm else "disarms"
        return response

    # Commands.

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
        if source != self._source and monotonic() - self._effort_s <= self._own.deadline_s:
            self._refuse(Rejection.OTHER_SOURCE, f"effort refused: {ADVICE[Rejection.OTHER_SOURCE]}")
            return
        effort = _Effort(stamp_ns, readable(read))
        self._source, self._effort_s = source, monotonic()
        self._answer(effort)

    def _answer(self, effort: _Effort) -> None:
        """Send the frame for an effort, or keep the effort until its state arrives."""
        bridge, state, lockstep = self._bridge, self._state, self._own.lockstep
        self._pending = effort
        if bridge is None or state is None or not self.active or (lockstep and state[0] != effort.stamp_ns):
            return
        if not lockstep and monotonic() - self._state_s > self._own.deadline_s:
            self._counts["late_states"] += 1
            return
        self._pending = None
        stamp_s = state[0] / NANOSECONDS
        try:
            bridge.update(stamp_s if lockstep else monotonic(), stamp_s, state[1])
            bridge.command(state[1], effort.values)
        except LinkError as error:
            self._disconnect(str(error))
            return
        acting = np.zeros(self._robot.nu) if bridge.acting is None else bridge.acting
        self._acting_out.publish(self._interface.gate_command(effort.stamp_ns, acting))

    def _refuse(self, why: Rejection, text: str) -> None:
        self._counts[why.value] += 1
        self.refuse(text)


def main(args: Sequence[str] | None = None) -> int:
    """Entry point of the bridge to Betaflight."""
    return run(BetaflightBridgeNode, args)


if __name__ == "__main__":
    raise SystemExit(main())
