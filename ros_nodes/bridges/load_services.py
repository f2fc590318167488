# SPDX-License-Identifier: Apache-2.0
"""The services by which drivers of arms take a load at the flange.

driver   service (its default name)               type                     when
franka   /service_server/set_load                 franka_msgs/SetLoad      while no controller claims the robot: the
                                                                           robot holds itself then (franka_ros2: "idle")
ur       /io_and_status_controller/set_payload    ur_msgs/SetPayload       always; fades it in over transition_time

Load: mass [kg], centre of mass [m; flange], inertia about it [kg m²; flange's axes]. An older ur_msgs has no inertia
and no transition_time; a load is then taken only while our efforts do not act. Packages that are not installed are
built (messages/provide.py). An answer says that the load was taken; UR's driver says so when it has sent it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from metarl_robot.robots.arm.tool_load import Load
from metarl_robot.ros_nodes.convert import duration_message
from metarl_robot.ros_nodes.geometry import vector_message
from metarl_robot.ros_nodes.messages.build import Say
from metarl_robot.ros_nodes.messages.package import MessagesError
from metarl_robot.ros_nodes.messages.provide import provide


@dataclass(frozen=True)
class LoadService:
    """A driver's service.

    type, name: of the service. fades: it fades a load in while the arm is controlled. needs_idle: no controller may be
    active. request: makes the request for a load that is to be taken within some seconds. refusal: why an answer
    refuses; empty if it does not.
    """

    type: Any
    name: str
    fades: bool
    needs_idle: bool
    request: Callable[[Load, float], Any]
    refusal: Callable[[Any], str]


def load_service(driver: str, say: Say = lambda text: None) -> LoadService:
    """The service of a driver, 'franka' or 'ur'. say: is told before messages are built.

    Raises MessagesError if its messages cannot be built, or are others than those known.
    """
    return _franka(say) if driver == "franka" else _ur(say)


def _franka(say: Say) -> LoadService:
    provide("franka_msgs", say)
    from franka_msgs.srv import SetLoad

    _check(SetLoad, ("mass", "center_of_mass", "load_inertia"))

    def request(load: Load, _: float) -> Any:
        columns = [float(value) for value in load.inertia_kg_m2.T.ravel()]
        return SetLoad.Request(mass=load.mass_kg, center_of_mass=load.com_m.tolist(), load_inertia=columns)

    def refusal(answer: Any) -> str:
        return "" if answer.success else " ".join(answer.error.split()) or "no reason given"

    return LoadService(SetLoad, "/service_server/set_load", False, True, request, refusal)


def _ur(say: Say) -> LoadService:
    provide("ur_msgs", say)
    from ur_msgs.srv import SetPayload

    _check(SetPayload, ("mass", "center_of_gravity"))
    has_inertia, fades = hasattr(SetPayload.Request(), "ixx"), hasattr(SetPayload.Request(), "transition_time")

    def request(load: Load, within_s: float) -> Any:
        made = SetPayload.Request(mass=load.mass_kg, center_of_gravity=vector_message(load.com_m))
        if has_inertia:
            (made.ixx, made.ixy, made.ixz), (_, made.iyy, made.iyz), (_, _, made.izz) = load.inertia_kg_m2.tolist()
        if fades:
            made.transition_time = duration_message(within_s)
        return made

    def refusal(answer: Any) -> str:
        return "" if answer.success else "the driver gives no reason; its log may"

    return LoadService(SetPayload, "/io_and_status_controller/set_payload", fades, False, request, refusal)


def _check(service: Any, needed: tuple[str, ...]) -> None:
    """Raise MessagesError if a request lacks fields."""
    there = list(service.Request.get_fields_and_field_types())
    if missing := [name for name in needed if name not in there]:
        name = f"{service.__module__.partition('.')[0]}/{service.__name__}"
        raise MessagesError(f"{name} of this installation has the fields {there}; needed: {missing}")
