# SPDX-License-Identifier: Apache-2.0
"""Base of the bridges between the gate and a controller of ros2_control; a subclass sends what that controller takes.

topic (as launched)              type                             from → to
/effort_controller/commands                                       gate → bridge, see arm/interface.py
/gate/state                      diagnostic_msgs/DiagnosticStatus gate → bridge
/<bridge>/state                  diagnostic_msgs/DiagnosticStatus bridge → all, latched: phase, its reason, and whether
                                                                  efforts are sent

service that is called                    type
/controller_manager/list_controllers      controller_manager_msgs/ListControllers: 10 Hz
/<controller>/get_parameters              rcl_interfaces/GetParameters: its joints and interfaces
/gate/estop, /gate/rearm                  std_srvs/Trigger: around taking over

service that is offered          type
/<bridge>/engage                 std_srvs/Trigger: take over as soon as possible
/<bridge>/hold                   std_srvs/Trigger: let the robot's controller hold the arm
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from numpy.typing import NDArray
from rcl_interfaces.srv import GetParameters
from rclpy.parameter import parameter_value_to_python
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

from metarl_robot.core.robot import load_robot
from metarl_robot.core.tables import NANOSECONDS
from metarl_robot.robots.arm.controller_switch import ControllerSwitch, Phase, Request
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.bridges.service_calls import ServiceCalls
from metarl_robot.ros_nodes.convert import status_message
from metarl_robot.ros_nodes.guarded import readable
from metarl_robot.ros_nodes.interface import interface_of
from metarl_robot.ros_nodes.managed import REALTIME_PRIORITY, ManagedNode, StateParameters
from metarl_robot.ros_nodes.message_options import message_options
from metarl_robot.ros_nodes.messages.provide import provide
from metarl_robot.ros_nodes.parameters import Declarer, fixed
from metarl_robot.ros_nodes.publishers import LOOK_PERIOD_S, SolePublishers
from metarl_robot.ros_nodes.table_commands import TableCommands
from metarl_robot.safety.gate import GateState

Array = NDArray[np.float64]

LIST_S = 0.1
_LEVELS = {Phase.ENGAGED: DiagnosticStatus.OK, Phase.HELD: DiagnosticStatus.ERROR}


class ControllerParameters(StateParameters):
    """Parameters of every bridge to a controller."""

    realtime_priority: int = fixed(30, ge=0, le=49, description=REALTIME_PRIORITY)
    controller_manager: str = fixed("controller_manager", description="name of the controller manager")
    deadline_s: float = fixed(0.05, ge=0.005, le=1.0, description="efforts of the gate that are older are refused [s]")


def declared_for(model: type[ControllerParameters], parameters: Declarer) -> tuple[Any, Any]:
    """See Declarer. model: the bridge's parameters. Raises MetaRLError."""
    own = parameters.declare(model)
    return own, load_robot(own.robot, check_model=False, of_kind="arm")


class ControllerManagerBridge(ManagedNode):
    """See the module's docstring.

    controller: name of the controller that takes our commands. asked: its parameters that are read, `joints` first.
    held_by: answer of ~/hold.
    """

    GIVE_UP_AFTER = 0  # never: the controller would keep its last command
    asked: tuple[str, ...]
    held_by: str

    def __init__(self, name: str, declared: Callable[[Declarer], tuple[Any, Any]]) -> None:
        super().__init__(name)
        self._own, self._robot = declared(self.parameters)
        self._switch: ControllerSwitch | None = None
        self.start(self._own.autostart)

    @property
    def controller(self) -> str:
        raise NotImplementedError

    def make_switch(self) -> ControllerSwitch:
        """The rules by which the controller is taken over."""
        raise NotImplementedError

    def open_output(self) -> tuple[str, Any]:
        """Topic of the controller, and a publisher of it. Raises MetaRLError."""
        raise NotImplementedError

    def on_usable_effort(self, effort: Array) -> None:
        """An effort (nu,) of the gate, finite and fresh."""

    def on_phase(self, phase: Phase) -> None:
        """The phase or its reason has changed."""

    def take_parameters(self, values: dict[str, Any]) -> str:
        """Take the controller's parameters; returns why it is unusable, or an empty text."""
        raise NotImplementedError

    def configure(self) -> None:
        own = self._own
        provide("controller_manager_msgs", self.get_logger().info)
        from controller_manager_msgs import srv

        self._srv = srv
        self._interface: Any = interface_of(self._robot, message_options(own, self.get_namespace()))
        self._table = TableCommands(self._robot)
        self._known = False
        self._shown = (Phase.WAITING, "", False)
        self._counts: Counter[str] = Counter()
        topic, self._out = self.open_output()
        services = {
            "list": (srv.ListControllers, f"{own.controller_manager}/list_controllers"),
            "switch": (srv.SwitchController, f"{own.controller_manager}/switch_controller"),
            "parameters": (GetParameters, f"{self.controller}/get_parameters"),
            "estop": (Trigger, "gate/estop"),
            "rearm": (Trigger, "gate/rearm"),
        }
        self._calls = ServiceCalls(self, services)
        self._state_out = self.create_publisher(DiagnosticStatus, "~/state", topics.LATCHED)
        self._inputs = [
            self.create_subscription(Float64MultiArray, self._interface.commands, self._on_effort, topics.COMMAND),
            self.create_subscription(DiagnosticStatus, topics.GATE_STATE, self._on_gate, topics.LATCHED),
        ]
        self.expect(self._interface.commands, "gate")
        self._sole = SolePublishers(self, (self._interface.commands, topic))
        self._offered = (
            self.create_service(Trigger, "~/engage", self._on_engage),
            self.create_service(Trigger, "~/hold", self._on_hold),
        )
        self._switch = self.make_switch()
        self._tickers = (
            self.every(self._robot.control_period_s, self._watch),
            self.every(LIST_S, self._list),
            self.every(LOOK_PERIOD_S, self._sole.look),
        )

    def activate(self) -> None:
        self.prefer_me(self._own)

    def cleanup(self) -> None:
        self._switch = None
        self.destroy_lifecycle_publisher(self._out)
        self.destroy_publisher(self._state_out)
        self._calls.destroy()
        for timer in self._tickers:
            self.destroy_timer(timer)
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        for service in self._offered:
            self.destroy_service(service)

    def diagnose(self) -> list[DiagnosticStatus]:
        switch = self._switch
        if switch is None:
            return []
        values = {"phase": switch.phase.value, "controller_active": switch.active, **self._counts}
        level = _LEVELS.get(switch.phase, DiagnosticStatus.WARN)
        return [status_message(self.get_name(), level, f"{switch.phase.value}: {switch.words}", values)]

    def troubles(self) -> list[str]:
        return super().troubles() + ([] if self._switch is None else self._sole.problems())

    # From the gate.

    def _on_gate(self, message: DiagnosticStatus) -> None:
        values = {pair.key: pair.value for pair in message.values}
        if self._switch is not None:
            state = values.get("state")
            rests = state == GateState.HOLDING.value and values.get("latched") == "True"
            self._switch.gate(state == GateState.PASSING.value, rests)

    def _on_effort(self, message: Float64MultiArray) -> None:
        stamp_ns, read, _ = readable(partial(self._table.read_gate_command, message))
        effort, switch = readable(read), self._switch
        if switch is None or not self.active:
            return
        if not np.isfinite(effort).all():
            self._counts["not_finite"] += 1
        elif self.age_s(stamp_ns) > self._own.deadline_s:
            self._counts["late"] += 1
        else:
            switch.effort(monotonic())
            self.on_usable_effort(effort)

    def age_s(self, stamp_ns: int) -> float:
        """Age of a stamp by this node's clock."""
        return float((self.get_clock().now().nanoseconds - stamp_ns) / NANOSECONDS)

    # Requests.

    def _watch(self) -> None:
        """Look at the clock; make requests; tell of changes."""
        switch = self._switch
        if switch is None or not self.active:
            return
        request = switch.poll(monotonic())
        if request is not None:
            self.get_logger().info(f"asking for {request.value}")
            self.ask(request)
        shown = (switch.phase, switch.words, switch.sends)
        if shown != self._shown:
            told, self._shown = self._shown[:2], shown
            text = f"{switch.phase.value}: {switch.words}"
            level = _LEVELS.get(switch.phase, DiagnosticStatus.WARN)
            values = {"phase": switch.phase.value, "sends": switch.sends}
            self._state_out.publish(status_message(self.get_name(), level, text, values))
            if shown[:2] == told:
                return
            self.on_phase(switch.phase)
            if switch.phase is Phase.HELD:
                self.get_logger().error(text)
            else:
                self.get_logger().info(text)

    def ask(self, request: Request) -> None:
        """Make a request of the gate; a subclass makes those of the controller manager."""
        name = "estop" if request is Request.STOP else "rearm"
        self._calls.call(name, Trigger.Request(), lambda answer: self.judge(request, answer.success, answer.message))

    def switch_controllers(self, request: Request, activate: str, deactivate: str) -> None:
        """Ask the controller manager to exchange two controllers, STRICT."""
        kind = self._srv.SwitchController.Request
        message = kind(activate_controllers=[activate], deactivate_controllers=[deactivate], strictness=kind.STRICT)
        self._calls.call(
            "switch", message, lambda answer: self.judge(request, answer.ok, getattr(answer, "message", ""))
        )

    def judge(self, request: Request, ok: bool, why: str) -> None:
        """Report an answer to a request."""
        if not ok:
            self._counts["refused"] += 1
            self.get_logger().error(f"{request.value} was refused: {' '.join(why.split()) or 'no reason given'}")

    def _list(self) -> None:
        if self._switch is None or not self.active:
            return
        self._calls.call("list", self._srv.ListControllers.Request(), self._on_list)
        if not self._known:
            self._calls.call(
                "parameters", GetParameters.Request(names=list(self.asked)), self._on_controller_parameters
            )

    def _on_list(self, answer: Any) -> None:
        if self._switch is not None:
            self._switch.controllers(monotonic(), {each.name: each.state for each in answer.controller})

    def _on_controller_parameters(self, answer: Any) -> None:
        values = [parameter_value_to_python(value) for value in answer.values]
        if self._switch is not None:
            found = dict(zip(self.asked, values, strict=False))
            self._switch.unusable = self._wrong_joints(found) or self.take_parameters(found)
            self._known = not self._switch.unusable

    def _wrong_joints(self, found: dict[str, Any]) -> str:
        joints, names = list(found.get("joints") or []), list(self._robot.channel_names)
        return "" if sorted(joints) == sorted(names) else f"its joints are {joints}; must be {names}, in any order"

    def _on_engage(self, request: Any, response: Any) -> Any:
        switch = self._switch
        missing = "not configured" if switch is None else switch.engage(monotonic())
        response.success = switch is not None
        response.message = f"as soon as possible; now {missing}" if missing else "taking over"
        return response

    def _on_hold(self, request: Any, response: Any) -> Any:
        if self._switch is not None:
            self._switch.hold(monotonic(), "told to hold")
        response.success, response.message = self._switch is not None, self.held_by
        return response
