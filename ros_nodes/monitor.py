# SPDX-License-Identifier: Apache-2.0
"""Prints the state of a running controller as JSON lines, for live views and scripts without rclpy.

    python -m metarl_robot.ros_nodes.monitor --robot panda --hz 10

    {"time_s": 5.2, "error_m": 0.0004, "estimates": {"payload mass": [1.1, 0.2, "kg"]}, "step_ms": 0.8,
     "missed_deadlines": 0, "status": "solved", "held": "", "stopped": ""}

time_s: stamp of the state. error_m: distance between the tracked point and its reference, both at that stamp.
estimates: mean, standard deviation and unit of the scored quantities of the kind's reports. held: the reason that the
gate holds the robot until it is re-armed; else empty. stopped: the reason of the last stop by the gate after the first
second of the run, also of a short one; else empty. Values that were not published yet are null. With
--arm-when-recorded, the monitor waits until a recorder has subscribed and then re-arms the gate (started with
arm_at_start: false), so that the recording holds every step.

Unreadable messages are skipped and reported on standard error; so is a robot that sends no states. To use little
processor time, the monitor wakes up `hz` times a second and reads only the newest message of each topic. It ends with
SIGINT, SIGTERM, or when its output pipe is closed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from threading import Event
from time import monotonic, sleep
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from numpy.typing import NDArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.subscription import Subscription
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

from metarl_robot.core.quantities import Report
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.core.signals import Context, State
from metarl_robot.core.tables import NANOSECONDS, table_of
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.convert import UnusableError
from metarl_robot.ros_nodes.guarded import RCLError, described
from metarl_robot.ros_nodes.interface import interface_of
from metarl_robot.ros_nodes.message_options import ANY, MessageOptions
from metarl_robot.ros_nodes.polled import Polled, take
from metarl_robot.ros_nodes.run_watcher import run_watcher
from metarl_robot.ros_nodes.step_statistics import STATUS_CODES
from metarl_robot.sim.kinds import simulation

Array = NDArray[np.float64]

_SCORED = (topics.TRUTH, topics.SETPOINT, topics.STEP, topics.CONTEXT)
_ANSWER_WITHIN_S = 1.0
_TRY_EVERY_S = 0.02
_PAIR_WITHIN_S = 0.04  # longest wait for a setpoint and a state of the same stamp
_TAKE_EVERY_S = 0.004
_SERVE_EVERY_S = 0.5  # an executor of rclpy takes longer to look than all topics together
_SILENT_S = 2.0  # without a state: gives a warning
_FIELDS = ("time_s", "error_m", "estimates", "step_ms", "missed_deadlines", "status", "held", "stopped")
_STARTED_S = 1.0
_STATUS = {code: status.value for status, code in STATUS_CODES.items()}


class Monitor(Node):
    """Keeps the values of the newest messages.

    q: (nq,) of the newest state. q_reference: (nq,) of the newest setpoint that has a state of the same stamp.
    """

    q: Array | None = None
    q_reference: Array | None = None

    def __init__(self, robot: Robot, name: str = "monitor") -> None:
        self._polled = Polled()
        super().__init__(name)
        self.simulation, self.interface = simulation(robot), interface_of(robot, MessageOptions(ANY, ANY))
        self._error_m = self.simulation.error_meter()
        self._paired_ns = 0
        self._served_s = -_SERVE_EVERY_S
        self._reports = robot.reports
        self._states: dict[int, Array] = {}
        self._setpoint: tuple[int, Array] | None = None
        self._seen: dict[str, Any] = dict.fromkeys(_FIELDS)
        self._state_s: float | None = None
        self._refused: set[str] = set()
        setpoint = self.interface.setpoint_type
        self._setpoints = (self.create_subscription(setpoint, topics.SETPOINT, self._on_setpoint, topics.STATE_IN),)
        self.interface.watch(self, self._on_state)
        self.create_subscription(Float64MultiArray, topics.STEP, self._on_step, topics.STATE_IN)
        self.create_subscription(Float64MultiArray, topics.CONTEXT, self._on_context, topics.STATE_IN)
        self.create_subscription(DiagnosticArray, topics.DIAGNOSTICS, self._on_diagnostics, topics.REPORT)
        self.create_subscription(DiagnosticStatus, topics.GATE_STATE, self._on_gate, topics.EVENTS)
        self._rearm = self.create_client(Trigger, "gate/rearm")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)

    def create_subscription(self, msg_type: Any, topic: str, callback: Any, *args: Any, **options: Any) -> Subscription:
        """Create a subscription like rclpy's; no message can end the monitor."""

        def guarded(message: Any) -> None:
            try:
                callback(message)
            except Exception as error:
                self._refuse(topic, error)

        options.setdefault("callback_group", self._polled)
        return super().create_subscription(msg_type, topic, guarded, *args, **options)

    def _refuse(self, topic: str, error: Exception) -> None:
        if topic not in self._refused:  # reported once
            self._refused.add(topic)
            print(f"warning: a message on {topic} is left out: {described(error)}", file=sys.stderr, flush=True)

    @property
    def silent_s(self) -> float:
        """Time since the last state [s]; 0 before the first."""
        return 0.0 if self._state_s is None else monotonic() - self._state_s

    def recorded(self) -> bool:
        """Whether another node subscribes to all topics that a run is scored from."""
        return all(
            any(e.node_name != self.get_name() for e in self.get_subscriptions_info_by_topic(topic))
            for topic in _SCORED
        )

    def arm(self) -> str:
        """Ask the gate to let commands pass; returns its reason not to, or an empty text."""
        if not self._rearm.service_is_ready():
            return "the gate does not answer"
        future = self._rearm.call_async(Trigger.Request())
        self._executor.spin_until_future_complete(future, timeout_sec=_ANSWER_WITHIN_S)
        if not future.done():
            self._rearm.remove_pending_request(future)
            return "the gate does not answer"
        answer = future.result()
        return "" if answer is not None and answer.success else f"{answer.message if answer else ''}"

    def look(self) -> dict[str, Any]:
        """Current values.

        Takes messages until a state and a setpoint have the same stamp, or until a short timeout.
        """
        self._states.clear()
        self._setpoint = None
        deadline = monotonic() + _PAIR_WITHIN_S
        self._take(self.subscriptions)
        while not self._paired() and monotonic() < deadline:
            sleep(_TAKE_EVERY_S)
            self._take(self._setpoints if self._awaits_setpoint() else self.subscriptions)
        if monotonic() - self._served_s > _SERVE_EVERY_S:
            self.serve()
        return dict(self._seen)

    def serve(self) -> None:
        """Hand over an answer of a service, or answer a request for parameters; `look` does so now and then."""
        self._served_s = monotonic()
        self._executor.spin_once(timeout_sec=0.0)

    def _take(self, subscriptions: Iterable[Subscription]) -> None:
        for subscription in subscriptions:
            try:
                take(subscription)
            except RCLError as error:
                self._refuse(subscription.topic_name, error)

    def _awaits_setpoint(self) -> bool:
        """Whether there is a state of which the setpoint may still come."""
        return bool(self._states) and (self._setpoint is None or self._setpoint[0] < max(self._states))

    def _paired(self) -> bool:
        """Whether state and setpoint have the same stamp; if so, measure the error."""
        if self._setpoint is None or self._setpoint[0] not in self._states:
            return False
        stamp_ns, self.q_reference = self._setpoint
        if stamp_ns < self._paired_ns:  # a new run
            self._error_m = self.simulation.error_meter()
        self._paired_ns = stamp_ns
        self._seen["error_m"] = self._error_m(self.q_reference, self._states[stamp_ns])
        return True

    def _on_state(self, stamp_ns: int, read: Callable[[], State]) -> None:
        try:
            self._states[stamp_ns] = self.q = read().q
        except UnusableError:
            return
        self._seen["time_s"], self._state_s = stamp_ns / NANOSECONDS, monotonic()

    def _on_setpoint(self, message: Any) -> None:
        stamp_ns, q, _ = self.interface.read_setpoint(message)
        self._setpoint = stamp_ns, q

    def _on_step(self, message: Float64MultiArray) -> None:
        table = table_of(message)
        self._seen["step_ms"] = table.value("step_ms")
        self._seen["status"] = _STATUS[table.value("status")]

    def _on_context(self, message: Float64MultiArray) -> None:
        table = table_of(message)
        estimates = scored_estimates(self._reports, Context(table.columns, table.row("mean"), table.row("std")))
        if estimates:
            self._seen["estimates"] = estimates

    def _on_gate(self, message: DiagnosticStatus) -> None:
        values = {pair.key: pair.value for pair in message.values}
        held = values.get("latched") == "True" and values.get("state") != "waiting"
        self._seen["held"] = message.message if held else ""
        if values.get("state") not in ("passing", "waiting") and (self._seen["time_s"] or 0.0) > _STARTED_S:
            self._seen["stopped"] = message.message

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        mine = self.get_namespace().strip("/")
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            if status.name.rpartition("/")[0] == mine and "missed_deadlines" in values:
                self._seen["missed_deadlines"] = int(values["missed_deadlines"])


def scored_estimates(reports: Sequence[Report], context: Context) -> dict[str, tuple[float, float, str]]:
    """Mean, standard deviation and unit of the scored quantities in a context, by report and title."""
    return {
        f"{report.name} {quantity.title}": (float(mean), float(std), quantity.unit)
        for report in reports
        if (estimate := report.estimate(context)) is not None
        for quantity, mean, std in zip(report.quantities, *estimate, strict=True)
        if quantity.scored
    }


def arm_when_recorded(monitor: Monitor, stop: Event) -> None:
    """Wait for a recorder, then re-arm the gate; retry until it accepts."""
    while not (stop.is_set() or monitor.recorded()):
        stop.wait(_TRY_EVERY_S)
    while not stop.is_set() and monitor.arm():
        stop.wait(_TRY_EVERY_S)


def watch(monitor: Monitor, hz: float, stop: Event) -> None:
    """Print a line `hz` times a second until `stop`, or until the output pipe is closed."""
    silent = False
    while not stop.is_set():
        started_s = monotonic()
        if (monitor.silent_s > _SILENT_S) != silent:
            silent = not silent
            if silent:
                print(f"warning: no state of the robot for {monitor.silent_s:.1f} s", file=sys.stderr, flush=True)
        try:
            print(json.dumps(monitor.look()), flush=True)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # no flush error at exit
            return
        stop.wait(max(0.0, 1.0 / hz - (monotonic() - started_s)))


def main(args: Sequence[str] | None = None) -> int:
    """Entry point of the monitor."""
    parser = argparse.ArgumentParser(prog="monitor", description="Print what a controller does as JSON lines.")
    parser.add_argument("--robot", default="panda", help="name of the robot, or the folder of its description")
    parser.add_argument("--hz", type=float, default=10.0, help="lines a second (default: %(default)s)")
    parser.add_argument(
        "--arm-when-recorded", action="store_true", help="re-arm the gate as soon as a recorder listens"
    )
    options, ros_arguments = parser.parse_known_args(args)

    def run(stop: Event) -> None:
        monitor = Monitor(load_robot(options.robot))
        if options.arm_when_recorded:
            arm_when_recorded(monitor, stop)
        watch(monitor, options.hz, stop)

    return run_watcher(run, ros_arguments)


if __name__ == "__main__":
    raise SystemExit(main())
