# SPDX-License-Identifier: Apache-2.0
"""Gives the estimated payload to the robot's own driver, when asked: Franka's set_load, UR's set_payload.

    metarl launch ros2_control robot:=panda effort_includes_gravity:=false share_payload:=true payload_driver:=franka
    ros2 service call /payload_sharer/share_payload std_srvs/srv/Trigger

topic (as launched)              type                             from → to
/mpc/context, /mpc/contact       named tables, see topics.py      mpc → payload_sharer
/joint_states                    see joint_states.py              driver → payload_sharer: whether the arm rests
/ros2_control_bridge/state       diagnostic_msgs/DiagnosticStatus bridge → payload_sharer: whether our efforts act
/payload_sharer/load             geometry_msgs/InertiaStamped     payload_sharer → mpc, latched: the load that the
                                                                  driver compensates, in the payload's frame
/payload_sharer/state            diagnostic_msgs/DiagnosticStatus payload_sharer, latched: stage and its reason

service that is called                    type
see load_services.py
/controller_manager/list_controllers      controller_manager_msgs/ListControllers: for a driver that must be idle
/controller_manager/switch_controller     controller_manager_msgs/SwitchController, STRICT: the same; the holding
                                          controller is deactivated before and activated after the load is given

service that is offered          type
/payload_sharer/share_payload    std_srvs/Trigger: ask the driver to take the payload; its answer is on ~/state

Nothing is shared without this call. Rules, and what changes in the efforts: robots/arm/payload_sharing.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import Any, Literal

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import InertiaStamped
from numpy.typing import NDArray
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.external_force import Contact
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import State
from metarl_robot.core.tables import table_of
from metarl_robot.robots.arm.controller_switch import Phase
from metarl_robot.robots.arm.flange import payload_pose
from metarl_robot.robots.arm.payload_sharing import ANSWER_S, PayloadSharing, SharingError, Stage
from metarl_robot.robots.arm.tool_load import NOTHING, load_of, moved
from metarl_robot.robots.payload import MASS, PAYLOAD_NAMES, payload_site
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.arm.accepted_load import load_message
from metarl_robot.ros_nodes.bridges.load_services import load_service
from metarl_robot.ros_nodes.bridges.service_calls import ServiceCalls
from metarl_robot.ros_nodes.convert import status_message
from metarl_robot.ros_nodes.guarded import readable
from metarl_robot.ros_nodes.interface import interface_of
from metarl_robot.ros_nodes.managed import ManagedNode, StateParameters
from metarl_robot.ros_nodes.message_options import message_options
from metarl_robot.ros_nodes.messages.provide import provide
from metarl_robot.ros_nodes.parameters import Declarer, fixed
from metarl_robot.ros_nodes.runtime import run

Array = NDArray[np.float64]

LOOK_S = 0.02
"""Period of what is published of a load that is being faded in."""
WORDS_S = 0.5
"""A reason that changes, beside the stage, is published at most this often."""
TAKEN_S = 0.5
"""The gate's holding effort has followed the new efforts after this time; then the arm may be taken over again."""


class SharerParameters(StateParameters):
    """Parameters of the node."""

    payload_driver: Literal["franka", "ur"] = fixed("franka", description="driver that takes the payload")
    service: str = fixed("", description="name of the driver's service; empty: its default")
    flange: str = fixed(
        "", description="site or body of the MJCF in whose frame the driver takes loads; empty: the payload's site"
    )
    bridge: str = fixed("ros2_control_bridge", description="name of the bridge that sends our efforts to the driver")
    controller_manager: str = fixed("controller_manager", description="name of the controller manager")
    holding_controller: str = fixed("joint_trajectory_controller", description="controller that holds the arm")
    effort_includes_gravity: bool = fixed(True, description="must be false: the driver adds gravity")
    transition_s: float = fixed(
        3.0, ge=0.5, le=30.0, description="a load that is shared while our efforts act is faded in over this time [s]"
    )


def declared(parameters: Declarer) -> tuple[SharerParameters, Any]:
    """See Declarer. Raises MetaRLError."""
    own = parameters.declare(SharerParameters)
    if own.effort_includes_gravity:
        raise MetaRLError(
            "effort_includes_gravity is true; must be false: only a driver that adds gravity compensates a load"
        )
    return own, load_robot(own.robot, check_model=False, of_kind="arm")


class PayloadSharer(ManagedNode):
    """See the module's docstring."""

    def __init__(self) -> None:
        super().__init__("payload_sharer")
        self._own, self._robot = declared(self.parameters)
        self._sharing: PayloadSharing | None = None
        self.start(self._own.autostart)

    def configure(self) -> None:
        own, robot = self._own, self._robot
        self._service = load_service(own.payload_driver, self.get_logger().info)
        self._pose = payload_pose(robot, own.flange)
        services: dict[str, tuple[Any, str]] = {"load": (self._service.type, own.service or self._service.name)}
        if self._service.needs_idle:
            provide("controller_manager_msgs", self.get_logger().info)
            from controller_manager_msgs import srv

            self._srv = srv
            services["list"] = (srv.ListControllers, f"{own.controller_manager}/list_controllers")
            services["switch"] = (srv.SwitchController, f"{own.controller_manager}/switch_controller")
        self._names = {name: service for name, (_, service) in services.items()}
        self._calls = ServiceCalls(self, services)
        options = message_options(own, self.get_namespace())
        self._frame = options.frame_prefix + payload_site(robot)
        self._contact = False
        self._shown = (Stage.IDLE, "", -np.inf)
        self._published = NOTHING
        self._held_by_robot = False  # the holding controller was deactivated by this node
        self._resume_s: float | None = None  # when it is to be activated again
        self._load_out = self.create_publisher(InertiaStamped, "~/load", topics.LATCHED)
        self._state_out = self.create_publisher(DiagnosticStatus, "~/state", topics.LATCHED)
        self._inputs = (
            interface_of(robot, options).watch(self, self._on_state),
            self.create_subscription(Float64MultiArray, topics.CONTEXT, self._on_context, topics.STATE_IN),
            self.create_subscription(Float64MultiArray, topics.CONTACT, self._on_contact, topics.STATE_IN),
            self.create_subscription(DiagnosticStatus, f"{own.bridge}/state", self._on_bridge, topics.LATCHED),
        )
        self._offered = self.create_service(Trigger, "~/share_payload", self._on_share)
        self._ticker = self.every(LOOK_S, self._look)
        rated_kg = robot.description.payload.rated_mass_kg
        self._sharing = PayloadSharing(rated_kg, self._service.fades, own.transition_s)

    def cleanup(self) -> None:
        self._sharing = None
        self._calls.destroy()
        for publisher in (self._load_out, self._state_out):
            self.destroy_publisher(publisher)
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self.destroy_service(self._offered)
        self.destroy_timer(self._ticker)

    def may_end(self, waited_s: float) -> bool:
        """Not while the holding controller is still to be activated."""
        return self._resume_s is None or waited_s > 10.0 * TAKEN_S

    def diagnose(self) -> list[DiagnosticStatus]:
        if self._sharing is None:
            return []
        return [self._status(self._sharing)]

    # What is known.

    def _on_state(self, _: int, read: Callable[[], State]) -> None:
        if self._sharing is not None:
            speed = np.abs(readable(read).v) / self._robot.velocity_limit
            self._sharing.moves(float(speed.max()))

    def _on_context(self, message: Float64MultiArray) -> None:
        table = readable(partial(table_of, message))
        if self._sharing is None or MASS not in table.columns:
            return
        parameters = np.array([table.value(name, "mean") if name in table.columns else 0.0 for name in PAYLOAD_NAMES])
        self._sharing.see(monotonic(), parameters, table.value(MASS, "std"), self._contact)

    def _on_contact(self, message: Float64MultiArray) -> None:
        code = readable(partial(table_of, message)).value(*topics.CONTACT_COLUMNS)
        self._contact = code == topics.CONTACT_CODES[Contact.CONTACT]

    def _on_bridge(self, message: DiagnosticStatus) -> None:
        values = {pair.key: pair.value for pair in message.values}
        if self._sharing is not None:
            acts = values.get("phase") not in (Phase.WAITING.value, Phase.HELD.value)
            self._sharing.acts(acts, values.get("sends") != "False")

    # Sharing.

    def _on_share(self, request: Any, response: Any) -> Any:
        response.success, response.message = False, "not active"
        if self._sharing is None or not self.active:
            return response
        if missing := [self._names[name] for name in self._names if not self._calls.is_there(name)]:
            response.message = f"nothing is shared: no service {', '.join(missing)}. Does the robot's driver run?"
        elif self._resume_s is not None:
            response.message = "nothing is shared: the holding controller is being activated"
        else:
            response.success, response.message = self._begin(self._sharing)
        self.get_logger().info(response.message)
        return response

    def _begin(self, sharing: PayloadSharing) -> tuple[bool, str]:
        """Ask the driver to take the payload; returns whether it was asked, and words for people."""
        try:
            parameters, within_s = sharing.request(monotonic())
        except SharingError as error:
            return False, str(error)
        load = moved(load_of(parameters), self._pose)
        self._request = self._service.request(load, within_s)
        if self._service.needs_idle:
            self._call("list", self._srv.ListControllers.Request(), self._on_list)
        else:
            self._give()
        return True, f"asked for {load.mass_kg:.2f} kg at {np.round(load.com_m, 3).tolist()} m; see ~/state"

    def _on_list(self, answer: Any) -> None:
        """Make the driver idle; refuse while a controller other than the holding one acts."""
        holding = self._own.holding_controller
        acting = {each.name for each in answer.controller if each.state == "active" and each.claimed_interfaces}
        active = {each.name for each in answer.controller if each.state == "active"}
        if others := sorted(acting - {holding}):
            self._refused(f"controllers {others} are active; only '{holding}' may be")
        elif holding in active:
            self._make_idle()
        else:
            self._give()

    def _give(self) -> None:
        self._call("load", self._request, self._on_answer)

    def _on_answer(self, answer: Any) -> None:
        why = self._service.refusal(answer)
        if why:
            self._refused(why)
        elif self._sharing is not None:
            self._sharing.accept(monotonic())
            if self._held_by_robot:
                self._resume_s = monotonic() + TAKEN_S

    def _refused(self, why: str) -> None:
        self.get_logger().error(f"the payload was not shared, nothing changes: {why}")
        if self._sharing is not None:
            self._sharing.refuse(why)
        if self._held_by_robot:
            self._resume_s = monotonic()

    def _make_idle(self) -> None:
        """Deactivate the holding controller, then give the load."""
        kind = self._srv.SwitchController.Request
        message = kind(deactivate_controllers=[self._own.holding_controller], strictness=kind.STRICT)

        def take(answer: Any) -> None:
            if not answer.ok:
                self._refused(f"the holding controller cannot be deactivated: {_reason(answer)}")
                return
            self._held_by_robot, self._resume_s = True, monotonic() + ANSWER_S
            self._give()

        self._call("switch", message, take)

    def _call(self, name: str, request: Any, take: Callable[[Any], None]) -> None:
        if not self._calls.call(name, request, take, self._refused):
            self._refused(f"no service {self._names[name]}, or it has not answered its last call")

    def _look(self) -> None:
        """Publish the load and the stage; activate the holding controller again."""
        sharing, now_s = self._sharing, monotonic()
        if sharing is None or not self.active:
            return
        load = sharing.compensated(now_s)
        if not np.array_equal(load, self._published):
            self._published = load.copy()
            self._load_out.publish(load_message(self._frame, self.get_clock().now().nanoseconds, load))
        if self._resume_s is not None and now_s > self._resume_s:
            self._resume_s = now_s + TAKEN_S  # until it is active
            self._resume()
        self._show(sharing, now_s)

    def _show(self, sharing: PayloadSharing, now_s: float) -> None:
        """Publish a new stage at once, another reason at most once in WORDS_S."""
        stage = sharing.stage(now_s)
        if stage is self._shown[0] and now_s < self._shown[2] + WORDS_S:
            return
        status = self._status(sharing)
        if (stage, status.message) == self._shown[:2]:
            return
        if stage is not self._shown[0]:
            self.get_logger().info(status.message)
        self._shown = (stage, status.message, now_s)
        self._state_out.publish(status)

    def _resume(self) -> None:
        """Activate the holding controller that this node has deactivated."""
        kind = self._srv.SwitchController.Request
        holding = self._own.holding_controller
        message = kind(activate_controllers=[holding], strictness=kind.STRICT)

        def take(answer: Any) -> None:
            if answer.ok:
                self._held_by_robot, self._resume_s = False, None
            else:
                why = _reason(answer)
                self.get_logger().error(f"'{holding}' cannot be activated, asking again: {why}")

        self._calls.call("switch", message, take)

    def _status(self, sharing: PayloadSharing) -> DiagnosticStatus:
        now_s = monotonic()
        stage, words = sharing.stage(now_s), sharing.words(now_s)
        missing = [self._names[name] for name in self._names if not self._calls.is_there(name)]
        if missing:
            words = f"{words}; waiting for {', '.join(missing)}"
        level = DiagnosticStatus.WARN if missing else DiagnosticStatus.OK
        mass_kg = float(sharing.compensated(now_s)[0])
        return status_message(self.get_name(), level, words, {"stage": stage.value, "load_kg": mass_kg})


def _reason(answer: Any) -> str:
    """Why a controller manager refuses; Humble's gives no reason."""
    return " ".join(getattr(answer, "message", "").split()) or "no reason given"


def main(args: Sequence[str] | None = None) -> int:
    """Entry point of the node."""
    return run(PayloadSharer, args)


if __name__ == "__main__":
    raise SystemExit(main())
