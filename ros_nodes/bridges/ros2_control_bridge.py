# SPDX-License-Identifier: Apache-2.0
"""The bridge to ros2_control: the gate's efforts to an effort controller of the robot. The last process before it.

    topic (as launched)              type                             from → to
    /effort_controller/commands                                       gate → bridge, see arm/interface.py
    /gate/state                      diagnostic_msgs/DiagnosticStatus gate → bridge
    /<controller>/commands           std_msgs/Float64MultiArray       bridge → forward_command_controller or
                                                                      JointGroupEffortController: efforts [Nm, N] in
                                                                      the order of its parameter `joints`
    /ros2_control_bridge/state       diagnostic_msgs/DiagnosticStatus bridge → all, latched: phase and its reason

    service that is called                    type
    /controller_manager/list_controllers      controller_manager_msgs/ListControllers: 10 Hz
    /controller_manager/switch_controller     controller_manager_msgs/SwitchController: STRICT, see controller_switch.py
    /<controller>/get_parameters              rcl_interfaces/GetParameters: joints, interface_name
    /gate/estop, /gate/rearm                  std_srvs/Trigger: around taking over

    service that is offered          type
    /ros2_control_bridge/engage      std_srvs/Trigger                 take over from the holding controller
    /ros2_control_bridge/hold        std_srvs/Trigger                 activate the holding controller

States are the joint_state_broadcaster's /joint_states, which mpc and gate read. An effort that is not finite, or
answers an old state, is not sent; without usable efforts for `deadline_s` the holding controller is activated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
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

from metarl_robot.core.errors import MetaRLError, one_line
from metarl_robot.core.robot import load_robot
from metarl_robot.core.tables import NANOSECONDS
from metarl_robot.robots.arm.controller_switch import ControllerSwitch, Phase, Request
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.convert import status_message
from metarl_robot.ros_nodes.ending import REST_WITHIN_S
from metarl_robot.ros_nodes.guarded import readable
from metarl_robot.ros_nodes.interface import interface_of
from metarl_robot.ros_nodes.managed import REALTIME_PRIORITY, ManagedNode, StateParameters
from metarl_robot.ros_nodes.message_options import message_options
from metarl_robot.ros_nodes.messages.provide import provide
from metarl_robot.ros_nodes.parameters import fixed
from metarl_robot.ros_nodes.publishers import LOOK_PERIOD_S, SolePublishers
from metarl_robot.ros_nodes.runtime import run
from metarl_robot.ros_nodes.table_commands import TableCommands
from metarl_robot.safety.gate import GateState

Array = NDArray[np.float64]

LIST_S = 0.1
UNANSWERED_S = 2.0
"""A service call without an answer is given up after this time."""
_LEVELS = {Phase.ENGAGED: DiagnosticStatus.OK, Phase.HELD: DiagnosticStatus.ERROR}


class BridgeParameters(StateParameters):
    """Parameters of the bridge."""

    realtime_priority: int = fixed(30, ge=0, le=49, description=REALTIME_PRIORITY)
    controller_manager: str = fixed("controller_manager", description="name of the controller manager")
    effort_controller: str = fixed(
        "forward_effort_controller", description="effort controller: forward_command_controller, JointGroupEffort"
    )
    holding_controller: str = fixed(
        "joint_trajectory_controller", description="controller that holds the arm, activated on a fault"
    )
    deadline_s: float = fixed(
        0.05, ge=0.005, le=1.0, description="the holding controller is activated after this time without efforts [s]"
    )


class Ros2ControlBridge(ManagedNode):
    """See the module's docstring."""

    GIVE_UP_AFTER = 0  # never: the effort controller would keep its last effort

    def __init__(self) -> None:
        super().__init__("ros2_control_bridge")
        self._own = self.parameters.declare(BridgeParameters)
        self._robot: Any = load_robot(self._own.robot, check_model=False, of_kind="arm")
        self._switch: ControllerSwitch | None = None
        self.start(self._own.autostart)

    def configure(self) -> None:
        own = self._own
        provide("controller_manager_msgs", self.get_logger().info)
        from controller_manager_msgs import srv

        self._srv = srv
        self._interface = interface_of(self._robot, message_options(own, self.get_namespace()))
        commands = f"{own.effort_controller}/commands"
        self._table = TableCommands(self._robot)
        self._check_names(commands)
        self._order: list[int] = []
        self._shown = (Phase.WAITING, "")
        self._counts: Counter[str] = Counter()
        self._waits: dict[str, float] = {}
        self._own_clients = {
            "list": self.create_client(srv.ListControllers, f"{own.controller_manager}/list_controllers"),
            "switch": self.create_client(srv.SwitchController, f"{own.controller_manager}/switch_controller"),
            "joints": self.create_client(GetParameters, f"{own.effort_controller}/get_parameters"),
            "estop": self.create_client(Trigger, "gate/estop"),
            "rearm": self.create_client(Trigger, "gate/rearm"),
        }
        self._out = self.create_lifecycle_publisher(Float64MultiArray, commands, topics.COMMAND)
        self._state_out = self.create_publisher(DiagnosticStatus, "~/state", topics.LATCHED)
        self._inputs = (
            self.create_subscription(Float64MultiArray, self._interface.commands, self._on_effort, topics.COMMAND),
            self.create_subscription(DiagnosticStatus, topics.GATE_STATE, self._on_gate, topics.LATCHED),
        )
        self.expect(self._interface.commands, "gate")
        self._sole = SolePublishers(self, (self._interface.commands, commands))
        self._offered = (
            self.create_service(Trigger, "~/engage", self._on_engage),
            self.create_service(Trigger, "~/hold", self._on_hold),
        )
        self._switch = ControllerSwitch(own.effort_controller, own.holding_controller, own.deadline_s)
        self._tickers = (
            self.every(self._robot.control_period_s, self._watch),
            self.every(LIST_S, self._list),
            self.every(LOOK_PERIOD_S, self._sole.look),
        )

    def _check_names(self, commands: str) -> None:
        """Raise MetaRLError for names that cannot work."""
        own = self._own
        if self.resolve_topic_name(commands) == self.resolve_topic_name(self._interface.commands):
            raise MetaRLError(
                f"effort_controller is '{own.effort_controller}', whose topic is the gate's own "
                f"({self._interface.commands}); give the robot's controller another name, or remap the gate's topic"
            )
        if not own.holding_controller or own.holding_controller == own.effort_controller:
            raise MetaRLError(
                f"holding_controller is '{own.holding_controller}'; must name another controller than "
                f"'{own.effort_controller}', one that holds the arm, such as joint_trajectory_controller"
            )

    def activate(self) -> None:
        self.prefer_me(self._own)

    def deactivate(self) -> None:
        if self._switch is not None and self._switch.sends:
            raise MetaRLError("the effort controller acts; call ~/hold first")

    def cleanup(self) -> None:
        self._switch = None
        self.destroy_lifecycle_publisher(self._out)
        self.destroy_publisher(self._state_out)
        for client in self._own_clients.values():
            self.destroy_client(client)
        for timer in self._tickers:
            self.destroy_timer(timer)
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        for service in self._offered:
            self.destroy_service(service)

    def may_end(self, waited_s: float) -> bool:
        """Whether the holding controller has taken over: a gate that ends brings the arm to rest first."""
        return self._switch is None or not (self.active and self._switch.sends) or waited_s > REST_WITHIN_S

    def diagnose(self) -> list[DiagnosticStatus]:
        switch = self._switch
        if switch is None:
            return []
        values = {"phase": switch.phase.value, "effort_controller_active": switch.active, **self._counts}
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
        age_s = (self.get_clock().now().nanoseconds - stamp_ns) / NANOSECONDS
        if not np.isfinite(effort).all():
            self._counts["not_finite"] += 1
        elif age_s > self._own.deadline_s:
            self._counts["late"] += 1
        else:
            switch.effort(monotonic())
            if switch.sends and self._order:
                within = np.clip(effort, self._robot.effort_lower, self._robot.effort_limit)
                self._out.publish(Float64MultiArray(data=within[self._order].tolist()))
                self._counts["sent"] += 1

    # Requests.

    def _watch(self) -> None:
        """Look at the clock; make requests; tell of changes."""
        switch = self._switch
        if switch is None or not self.active:
            return
        request = switch.poll(monotonic())
        if request is not None:
            self.get_logger().info(f"asking for {request.value}")
            self._ask(request)
        shown = (switch.phase, switch.words)
        if shown != self._shown:
            self._shown = shown
            text = f"{switch.phase.value}: {switch.words}"
            level = _LEVELS.get(switch.phase, DiagnosticStatus.WARN)
            self._state_out.publish(status_message(self.get_name(), level, text, {"phase": switch.phase.value}))
            if switch.phase is Phase.HELD:
                self.get_logger().error(text)
            else:
                self.get_logger().info(text)

    def _ask(self, request: Request) -> None:
        effort, holding = self._own.effort_controller, self._own.holding_controller
        if request in (Request.STOP, Request.REARM):
            name = "estop" if request is Request.STOP else "rearm"
            self._call(name, Trigger.Request(), lambda answer: self._judge(request, answer.success, answer.message))
            return
        activate, deactivate = (effort, holding) if request is Request.ENGAGE else (holding, effort)
        kind = self._srv.SwitchController.Request
        message = kind(activate_controllers=[activate], deactivate_controllers=[deactivate], strictness=kind.STRICT)
        self._call("switch", message, lambda answer: self._judge(request, answer.ok, getattr(answer, "message", "")))

    def _judge(self, request: Request, ok: bool, why: str) -> None:
        if not ok:
            self._counts["refused"] += 1
            self.get_logger().error(f"{request.value} was refused: {' '.join(why.split()) or 'no reason given'}")

    def _list(self) -> None:
        if self._switch is None or not self.active:
            return
        self._call("list", self._srv.ListControllers.Request(), self._on_list)
        if not self._order:
            self._call("joints", GetParameters.Request(names=["joints", "interface_name"]), self._on_joints)

    def _on_list(self, answer: Any) -> None:
        if self._switch is not None:
            self._switch.controllers(monotonic(), {each.name: each.state for each in answer.controller})

    def _on_joints(self, answer: Any) -> None:
        values = [parameter_value_to_python(value) for value in answer.values]
        joints, name = list(values[0] or []) if values else [], values[1] if len(values) > 1 else None
        names = list(self._robot.channel_names)
        if self._switch is None:
            return
        if sorted(joints) != sorted(names):
            self._switch.unusable = f"its joints are {joints}; must be {names}, in any order"
        elif name not in (None, "", "effort"):
            self._switch.unusable = f"its interface_name is '{name}'; must be 'effort'"
        else:
            self._order, self._switch.unusable = [names.index(joint) for joint in joints], ""

    def _call(self, name: str, request: Any, take: Callable[[Any], None]) -> None:
        """Call a service, unless it is missing or the last call waits for its answer."""
        client, now_s = self._own_clients[name], monotonic()
        if now_s < self._waits.get(name, 0.0) or not client.service_is_ready():
            return
        self._waits[name] = now_s + UNANSWERED_S

        def done(future: Any) -> None:
            self._waits.pop(name, None)
            error = future.exception()
            if error is not None:
                self.get_logger().error(f"{client.srv_name}: {one_line(error)}")
            elif future.result() is not None:
                take(future.result())

        client.call_async(request).add_done_callback(done)

    def _on_engage(self, request: Any, response: Any) -> Any:
        switch = self._switch
        missing = "not configured" if switch is None else switch.engage(monotonic())
        response.success = switch is not None
        response.message = f"as soon as possible; now {missing}" if missing else "taking over"
        return response

    def _on_hold(self, request: Any, response: Any) -> Any:
        if self._switch is not None:
            self._switch.hold(monotonic(), "told to hold")
        response.success, response.message = self._switch is not None, "the holding controller is activated"
        return response


def main(args: Sequence[str] | None = None) -> int:
    """Entry point of the bridge to ros2_control."""
    return run(Ros2ControlBridge, args)


if __name__ == "__main__":
    raise SystemExit(main())
