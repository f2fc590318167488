# SPDX-License-Identifier: Apache-2.0
"""Base of all nodes: life cycle, `autostart`, parameters, diagnostics at 1 Hz, and error reports.

A node configures (loads its parts), activates (starts to act), deactivates and cleans up through ROS's lifecycle
services. With `autostart` it configures and activates itself. If that fails, its process ends with an error, so that
a launch reports it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from time import monotonic
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from pydantic import BaseModel, ConfigDict, Field
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.publisher import Publisher
from rclpy.timer import Timer

from metarl_robot.compile.compiler_process import CompilationStopped, is_stopped
from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.signals import State
from metarl_robot.core.tables import NANOSECONDS
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.convert import UnusableError, status_message
from metarl_robot.ros_nodes.guarded import GuardedNode, readable
from metarl_robot.ros_nodes.message_options import FrameParameters, SensorParameters
from metarl_robot.ros_nodes.parameters import Parameters, fixed
from metarl_robot.ros_nodes.runtime import prefer_process, settle_memory
from metarl_robot.safety.input_validation import ClockCheck, Refused, Rejection, StateValidation

DIAGNOSTICS_PERIOD_S = 1.0
_START_S = 0.02  # a timer without a period, if its only event is lost, would never start the node
ROBOT_KIND = "refuse a robot of another kind; empty: any"
REALTIME_PRIORITY = (
    "real time: SCHED_FIFO priority of the process's threads, locked memory and no processor sleep states, if the "
    "system allows them; 0: none of these"
)


def heard(publisher: Publisher) -> bool:
    """Whether a publisher has subscribers; without any its report can be skipped."""
    return publisher.get_subscription_count() > 0


class NodeParameters(BaseModel):
    """Parameters of every node."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    autostart: bool = fixed(True, description="configure and activate at the start")


class RobotParameters(NodeParameters, FrameParameters):
    """Parameters of every node that uses the robot."""

    robot: str = fixed("panda", description="name of the robot, or the folder of its description")
    robot_kind: str = fixed("", description=ROBOT_KIND)
    lockstep: bool = fixed(
        False, description="simulated time waits for every command, so that a run is the same on any machine"
    )
    niceness: int = fixed(
        -10, ge=-20, le=19, description="real time: scheduling priority of the process, where the system allows it"
    )
    realtime_priority: int = fixed(20, ge=0, le=49, description=REALTIME_PRIORITY)


class StateParameters(RobotParameters, SensorParameters):
    """Parameters of every node that reads states."""

    max_state_age_s: float = Field(
        0.1,
        ge=0.0,
        le=10.0,
        description="real time: refuse states stamped further than this from the clock; 0: accept any [s]",
    )


class ManagedNode(GuardedNode):
    """A lifecycle node; subclasses implement configure, activate, deactivate, cleanup and diagnose.

    active: between activation and deactivation. failed: the node gave up; its process ends.
    clock_checks: comparison of stamps with the node's clock, by source.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.active = self.failed = False
        self.clock_checks: defaultdict[str, ClockCheck] = defaultdict(ClockCheck)
        self.parameters = Parameters(self, self.fault)
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._publisher = self.create_publisher(DiagnosticArray, topics.DIAGNOSTICS, topics.REPORT)
        self.every(DIAGNOSTICS_PERIOD_S, self._publish_diagnostics)

    def start(self, autostart: bool) -> None:
        """Start the node once it spins, with autostart; call it at the end of a subclass's constructor."""
        if autostart:
            self._starter: Timer | None = self.every(_START_S, self._autostart)

    def configure(self) -> None:
        """Load and build; may raise MetaRLError."""

    def activate(self) -> None:
        """Start to act; may raise MetaRLError."""

    def deactivate(self) -> None:
        """Stop acting; may raise MetaRLError to refuse."""

    def cleanup(self) -> None:
        """Release the parts that configure built."""

    def diagnose(self) -> list[DiagnosticStatus]:
        """Entries for /diagnostics; their names get the node's namespace, as in 'left/gate'."""
        return []

    def close(self) -> None:
        """Release resources at the end of the process."""

    def prepare_end(self, why: str) -> None:
        """Prepare the end of the process, which continues until `may_end`. why: the cause."""

    def may_end(self, waited_s: float) -> bool:
        """Whether the process may end now, `waited_s` after the request."""
        return True

    def every(self, period_s: float, callback: Callable[[], None]) -> Timer:
        """A timer on the steady clock, independent of simulated time."""
        return self.create_timer(period_s, callback, clock=self._steady)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.forget_faults()
        return self._transition("configure", self.configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = super().on_activate(state)
        if result is TransitionCallbackReturn.SUCCESS:
            result = self._transition("activate", self.activate)
            self.active = result is TransitionCallbackReturn.SUCCESS
            settle_memory()
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = self._transition("deactivate", self.deactivate)
        if result is not TransitionCallbackReturn.SUCCESS:
            return result
        self.active = False
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._transition("cleanup", self.cleanup)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        return TransitionCallbackReturn.SUCCESS

    def prefer_me(self, wanted: RobotParameters) -> None:
        """In real time: request a higher priority for all threads of this process."""
        if not wanted.lockstep:
            prefer_process(wanted.niceness, wanted.realtime_priority)

    def off_clock(self, stamp_ns: int, wanted: StateParameters, source: str = "states") -> Refused | None:
        """Refuse a stamp of a state, or of another source's measurement, that is too far from this node's clock.

        In lockstep the stamps are the clock.
        """
        if wanted.lockstep or wanted.max_state_age_s == 0.0:
            return None
        now_s = self.get_clock().now().nanoseconds / NANOSECONDS
        return self.clock_checks[source].check(stamp_ns / NANOSECONDS, now_s, monotonic(), wanted.max_state_age_s)

    def take_state(
        self,
        validation: StateValidation,
        stamp_ns: int,
        read: Callable[[], State],
        received_s: float,
        wanted: StateParameters,
    ) -> bool:
        """Offer a state, received at `received_s`, to its validation. False if it is unusable, which is logged."""
        stamp_s = stamp_ns / NANOSECONDS
        try:
            off_clock = self.off_clock(stamp_ns, wanted)
            if off_clock is not None:
                problem: Rejection | None = off_clock.why
                validation.reject(*off_clock)
            else:
                problem = validation.offer(readable(read), stamp_s, received_s)
        except UnusableError as error:
            validation.reject(error.why, str(error))
            validation.offer_time(stamp_s)
            self.refuse(f"state refused: {error}")
            return False
        if problem is not None and problem is not Rejection.DUPLICATE:
            self.refuse(f"state refused: {validation.refusals.words(problem)}")
            return False
        return True

    def _transition(self, name: str, action: Callable[[], Any]) -> TransitionCallbackReturn:
        try:
            action()
        except CompilationStopped:  # the process is to end
            return TransitionCallbackReturn.FAILURE
        except MetaRLError as error:
            self.get_logger().error(f"cannot {name}: {error}")
            return TransitionCallbackReturn.FAILURE
        except Exception as error:  # rclpy would hide it
            self.fault(name, error)
            return TransitionCallbackReturn.FAILURE if name == "deactivate" else TransitionCallbackReturn.ERROR
        self.get_logger().info(f"{name}d" if name.endswith("e") else f"{name} done")
        return TransitionCallbackReturn.SUCCESS

    def _autostart(self) -> None:
        if self._starter is None:
            return
        self._starter.cancel()
        self._starter = None
        for step in (self.trigger_configure, self.trigger_activate):
            if step() is not TransitionCallbackReturn.SUCCESS:
                self.failed = not is_stopped()
                return

    def _publish_diagnostics(self) -> None:
        try:
            status = self.diagnose()
        except Exception as error:
            self.fault("diagnostics", error)
            status = []
        status = self._with_health(status)
        for entry in status:
            entry.name = f"{self.get_namespace()}/{entry.name}".lstrip("/")
        if status:
            message = DiagnosticArray(status=status)
            message.header.stamp = self.get_clock().now().to_msg()
            self._publisher.publish(message)

    def _with_health(self, status: list[DiagnosticStatus]) -> list[DiagnosticStatus]:
        """Add the guard's counts and troubles to the first of the node's own entries."""
        troubles, counts = self.troubles(), self.health()
        if troubles and not status:
            status = [status_message(self.get_name(), DiagnosticStatus.ERROR, "", {})]
        if status and troubles:
            status[0].level = DiagnosticStatus.ERROR
            status[0].message = "; ".join(filter(None, (status[0].message, *troubles)))
        if status:
            status[0].values = [*status[0].values, *status_message("", DiagnosticStatus.OK, "", counts).values]
        return status
