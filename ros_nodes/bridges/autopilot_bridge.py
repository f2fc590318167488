# SPDX-License-Identifier: Apache-2.0
"""Base of the bridges between the gate and an autopilot's rate loop; a subclass opens the transport.

    topic (as launched)              type                             from → to
    /thrust_controller/commands                                       gate → bridge, see quadrotor/interface.py
    /gate/state                      diagnostic_msgs/DiagnosticStatus gate → bridge: whether commands pass
    /thrust_controller/acting        std_msgs/Float64MultiArray       bridge → mpc: thrusts that acted, in the form of
                                                                      the commands; also while the autopilot flies by
                                                                      itself, so that the adapter does not learn from
                                                                      commands that do not act, and the reference is
                                                                      the present place (yielding.py)
    /odom, /imu/data                                                  bridge → mpc, gate: see odometry.py
    /<bridge>/state                  diagnostic_msgs/DiagnosticStatus bridge → all, latched: phase and its reason

    service                          type
    /<bridge>/engage                 std_srvs/Trigger: stream setpoints, then ask for the mode in which they act
    /<bridge>/hand_back              std_srvs/Trigger: send nothing any more

Each effort that answers a new state gives one setpoint (robots/quadrotor/autopilot/), while commands pass the gate.
Nothing is repeated: without states, without the solver, or while the gate's fallback law acts, setpoints stop within
one control period. The autopilot then acts by its own failsafe, which is closer to the rotors than our fallback law.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any, cast

from diagnostic_msgs.msg import DiagnosticStatus
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Imu
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import Inertial, State
from metarl_robot.core.tables import NANOSECONDS
from metarl_robot.robots.quadrotor.autopilot.commander import Commander, Settings
from metarl_robot.robots.quadrotor.autopilot.offboard import Phase, Vehicle
from metarl_robot.robots.quadrotor.autopilot.thrust_curve import HIGHEST_HOVER
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.bridges.autopilot_link import TICK_S, AutopilotLink
from metarl_robot.ros_nodes.convert import status_message
from metarl_robot.ros_nodes.frames import frames_of
from metarl_robot.ros_nodes.guarded import readable
from metarl_robot.ros_nodes.interface import interface_of
from metarl_robot.ros_nodes.managed import REALTIME_PRIORITY, ManagedNode, StateParameters
from metarl_robot.ros_nodes.message_options import message_options
from metarl_robot.ros_nodes.odometry import IMU, imu_message
from metarl_robot.ros_nodes.parameters import Declarer, fixed
from metarl_robot.ros_nodes.publishers import LOOK_PERIOD_S, SolePublishers
from metarl_robot.ros_nodes.quadrotor.interface import OdometryInterface
from metarl_robot.safety.gate import GateState

_LEVELS = {
    Phase.WAITING: DiagnosticStatus.WARN,
    Phase.STREAMING: DiagnosticStatus.OK,
    Phase.ENGAGED: DiagnosticStatus.OK,
    Phase.HANDED_BACK: DiagnosticStatus.WARN,
}


class AutopilotParameters(StateParameters):
    """Parameters of every autopilot bridge."""

    robot: str = fixed("x500", description="name of the robot, or the folder of its description")
    realtime_priority: int = fixed(30, ge=0, le=49, description=REALTIME_PRIORITY)
    auto_arm: bool = fixed(
        False,
        description="take control and arm at the start, for simulation: the rotors turn unasked",
    )
    hover_thrust: float = fixed(
        0.0,
        ge=0.0,
        le=HIGHEST_HOVER,
        description="normalised thrust of a hover to start from (PX4: MPC_THR_HOVER); 0: from the robot's limits",
    )
    rate_loop_s: float = fixed(
        0.0, ge=0.0, le=1.0, description="time constant of the autopilot's rate loop; 0: from the motors' [s]"
    )
    deadline_s: float = fixed(
        0.1, ge=0.01, le=0.5, description="a command for a state that is older than this gives no setpoint [s]"
    )

    def settings(self) -> Settings:
        """Of the commander. Raises MetaRLError for values that contradict each other."""
        return Settings(self.hover_thrust, self.rate_loop_s, self.deadline_s, self.auto_arm)


def declared_for(model: type[AutopilotParameters], parameters: Declarer) -> tuple[Any, Quadrotor]:
    """See Declarer. model: the bridge's parameters. Raises MetaRLError."""
    own = parameters.declare(model)
    own.settings()
    return own, cast(Quadrotor, load_robot(own.robot, check_model=False, of_kind="quadrotor"))


class AutopilotBridge(ManagedNode):
    """See the module's docstring. Locked: everything that the transport's thread touches, too."""

    GIVE_UP_AFTER = 0  # never: a bridge without its callbacks could not hand back

    def __init__(self, name: str, declared: Callable[[Declarer], tuple[Any, Quadrotor]]) -> None:
        super().__init__(name)
        self._own, self._robot = declared(self.parameters)
        self._link: AutopilotLink | None = None
        self._lock = threading.RLock()
        self.start(self._own.autostart)

    def open_link(self) -> AutopilotLink:
        """Open the transport; its listener is this node. Raises MetaRLError."""
        raise NotImplementedError

    def configure(self) -> None:
        own = self._own
        if own.lockstep and not self.get_parameter("use_sim_time").value:
            raise MetaRLError(
                "lockstep: an autopilot has its own time and does not wait; set lockstep:=false. A simulated one that "
                "waits and publishes /clock also needs use_sim_time:=true"
            )
        options = message_options(own, self.get_namespace())
        self._interface = cast(OdometryInterface, interface_of(self._robot, options))
        self._imu_frame = frames_of(self._robot, options).imu.name
        self._commander = Commander(self._robot, own.settings())
        self._passes, self._shown, self._counts = False, (Phase.WAITING, ""), Counter[str]()
        self._odometry_out = self.create_lifecycle_publisher(Odometry, self._interface.state_topic, topics.STATE_OUT)
        self._imu_out = self.create_lifecycle_publisher(Imu, IMU, topics.STATE_OUT)
        self._acting_out = self.create_lifecycle_publisher(Float64MultiArray, self._interface.acting, topics.COMMAND)
        self._state_out = self.create_publisher(DiagnosticStatus, "~/state", topics.LATCHED)
        efforts = self.create_subscription(Float64MultiArray, self._interface.commands, self._on_effort, topics.COMMAND)
        gate = self.create_subscription(DiagnosticStatus, topics.GATE_STATE, self._on_gate, topics.LATCHED)
        self._inputs = (efforts, gate)
        self.expect(self._interface.commands, "gate")
        self._sole = SolePublishers(self, (self._interface.commands, self._interface.state_topic))
        self._offered = (
            self.create_service(Trigger, "~/engage", self._on_engage),
            self.create_service(Trigger, "~/hand_back", self._on_hand_back),
        )
        self._tickers = (
            self.every(self._robot.control_period_s, self._watch),
            self.every(TICK_S, self._tick),
            self.every(LOOK_PERIOD_S, self._sole.look),
        )
        self._link = self.open_link()

    def activate(self) -> None:
        self.prefer_me(self._own)

    def deactivate(self) -> None:
        """A vehicle that follows our setpoints is handed back."""
        with self._lock:
            if self._commander.offboard.phase is Phase.ENGAGED:
                self._commander.offboard.hand_back()
            self._show()

    def cleanup(self) -> None:
        self.close()
        for publisher in (self._odometry_out, self._imu_out, self._acting_out):
            self.destroy_lifecycle_publisher(publisher)
        self.destroy_publisher(self._state_out)
        for timer in self._tickers:
            self.destroy_timer(timer)
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        for service in self._offered:
            self.destroy_service(service)

    def close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def diagnose(self) -> list[DiagnosticStatus]:
        if self._link is None:
            return []
        with self._lock:
            offboard, curve = self._commander.offboard, self._commander.curve
            vehicle = offboard.vehicle or Vehicle(False, False, "unknown")
            values: dict[str, Any] = {
                "phase": offboard.phase.value, "mode": vehicle.mode, "armed": vehicle.armed,
                "failsafe": vehicle.failsafe, "flying": self._commander.flying,
                "hover_thrust": round(curve.hover_thrust, 4), "hover_thrust_std": round(curve.hover_std, 4),
            }  # fmt: skip
            words, level = f"{offboard.phase.value}: {offboard.words}", _LEVELS[offboard.phase]
        return [status_message(self.get_name(), level, words, {**values, **self._counts})]

    def troubles(self) -> list[str]:
        own = [] if self._link is None else [*self._sole.problems(), *self._link.problems()]
        return super().troubles() + own

    # From the gate.

    def _on_gate(self, message: DiagnosticStatus) -> None:
        state = {pair.key: pair.value for pair in message.values}.get("state")
        self._passes = state == GateState.PASSING.value

    def _now_s(self) -> float:
        """The clock of watchdogs [s]: in lockstep the simulation's, which stands still while it waits for commands."""
        return self.get_clock().now().nanoseconds / NANOSECONDS if self._own.lockstep else monotonic()

    def _on_effort(self, message: Float64MultiArray) -> None:
        stamp_ns, read, _ = readable(partial(self._interface.read_gate_command, message))
        effort = readable(read)
        link = self._link
        if link is None or not self.active:
            return
        with self._lock:
            clock_ns = self.get_clock().now().nanoseconds
            setpoint = self._commander.setpoint(self._now_s(), clock_ns, stamp_ns, effort) if self._passes else None
            acting, own = self._commander.acting(), self._commander.offboard.phase is not Phase.ENGAGED
        self._acting_out.publish(self._interface.acting_effort(stamp_ns, acting, own))
        if not self._passes:
            self._counts["stopped_by_gate"] += 1
            return
        if setpoint is None:
            self._counts["not_sent"] += 1
            return
        link.send(setpoint)
        self._counts["sent"] += 1

    def _on_engage(self, request: Any, response: Any) -> Any:
        with self._lock:
            missing = self._commander.offboard.engage()
        response.success = True
        response.message = f"as soon as possible; now {missing}" if missing else "asking for control"
        return response

    def _on_hand_back(self, request: Any, response: Any) -> Any:
        with self._lock:
            self._commander.offboard.hand_back()
        response.success, response.message = True, "no setpoints are sent until ~/engage"
        return response

    def _watch(self) -> None:
        """Look at the clock; make requests; tell of changes."""
        link = self._link
        if link is None or not self.active:
            return
        with self._lock:
            request = self._commander.offboard.poll(self._now_s())
        if request is not None:
            self.get_logger().info(f"asking the autopilot for {request.value}")
            link.ask(request)
        self._show()

    def _show(self) -> None:
        offboard = self._commander.offboard
        shown = (offboard.phase, offboard.words)
        if shown == self._shown:
            return
        self._shown = shown
        text = f"{offboard.phase.value}: {offboard.words}"
        level = _LEVELS[offboard.phase]
        self._state_out.publish(status_message(self.get_name(), level, text, {"phase": offboard.phase.value}))
        if offboard.phase is Phase.HANDED_BACK:
            if self._link is not None:
                self._link.release()
            self.get_logger().warning(f"{text}; setpoints have stopped; {self.get_name()}/engage takes control again")
        else:
            self.get_logger().info(text)

    def _tick(self) -> None:
        if self._link is not None:
            with self._lock:
                alive = self._commander.offboard.alive(self._now_s())
            self._link.tick(alive)

    # From the autopilot, on any thread (autopilot_link.Listener).

    def on_state(self, stamp_ns: int, state: State) -> None:
        with self._lock:
            self._commander.state(stamp_ns, state)
        if self.active:
            self._odometry_out.publish(self._interface.setpoint(stamp_ns, state.q, state.v))

    def on_inertial(self, stamp_ns: int, inertial: Inertial) -> None:
        with self._lock:
            self._commander.inertial(self._now_s(), stamp_ns, inertial)
        if self.active:
            self._imu_out.publish(imu_message(self._imu_frame, stamp_ns, inertial))

    def on_vehicle(self, vehicle: Vehicle) -> None:
        with self._lock:
            self._commander.report(self._now_s(), vehicle)

    def on_flying(self, flying: bool) -> None:
        with self._lock:
            self._commander.flying = flying

    def on_thrust(self, thrust: float) -> None:
        with self._lock:
            self._commander.reported_thrust(self._now_s(), thrust)

    def on_text(self, text: str, is_problem: bool) -> None:
        if is_problem:  # rclpy allows one severity a line
            self.get_logger().warning(text)
        else:
            self.get_logger().info(text)
