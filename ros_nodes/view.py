# SPDX-License-Identifier: Apache-2.0
"""A running robot in the browser.

    metarl launch view robot:=panda
    python -m metarl_robot.ros_nodes.view --ros-args -p robot:=panda -p port:=8080

Like the monitor, it wakes up a few times a second and reads only the newest message of each
topic, so that it uses little of a processor and delays nobody. Buttons of the page call services: parameters of the
plant (disturb.*) and of the mpc node (controller), ~/estop and ~/rearm of the gate, ~/reset_world of the plant. Where
no plant runs, as on a real robot, there is nothing to disturb. The page is served on this machine only, unless `host`
says otherwise: anybody who opens it can move the robot.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from metarl_robot.control.factory import node_controller_names
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.ros_nodes.managed import ROBOT_KIND
from metarl_robot.ros_nodes.parameters import Declarer, Parameters, fixed
from metarl_robot.ros_nodes.run_watcher import run_watcher
from metarl_robot.ros_nodes.watcher import Watcher
from metarl_robot.view import LOCALHOST, check_installed

if TYPE_CHECKING:
    from metarl_robot.view.page import Page

Array = NDArray[np.float64]

_HZ = 12.5
_UNWATCHED_HZ = 2.0
"""Rate while no browser shows the page."""
_WITHIN_S = 3.0  # for the answer to a button


class Buttons:
    """Actions of the page. A browser's threads put them in a queue; the node calls the services."""

    def __init__(self, node: Watcher, say: Callable[[str, str], None]) -> None:
        self._node, self._say = node, say
        self._asked: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._waiting: list[tuple[str, Any, float]] = []
        self._setters = {name: node.create_client(SetParameters, f"{name}/set_parameters") for name in ("plant", "mpc")}
        services = {"stop": "gate/estop", "continue": "gate/rearm", "restart": "plant/reset_world"}
        self._triggers = {name: node.create_client(Trigger, service) for name, service in services.items()}

    def disturb(self, name: str, value: float | list[float]) -> None:
        self._asked.put(partial(self._set, "plant", f"disturb.{name}", value))

    def use_controller(self, name: str) -> None:
        self._asked.put(partial(self._set, "mpc", "controller", name))

    def stop(self) -> None:
        self._asked.put(partial(self._trigger, "stop"))

    def rearm(self) -> None:
        self._asked.put(partial(self._trigger, "continue"))

    def restart(self) -> None:
        self._asked.put(partial(self._trigger, "restart"))

    def serve(self) -> None:
        """Call the services that were asked for, and report answers."""
        while True:
            try:
                self._asked.get_nowait()()
            except Empty:
                break
        if self._waiting:
            self._node.serve()
        for entry in list(self._waiting):
            what, future, asked_s = entry
            if future.done():
                self._waiting.remove(entry)
                self._report(what, future.result())
            elif monotonic() - asked_s > _WITHIN_S:
                self._waiting.remove(entry)
                self._say(what, "no answer: does the node run?")

    def _report(self, what: str, answer: Any) -> None:
        refused = [result.reason for result in getattr(answer, "results", ()) if not result.successful]
        if refused or not getattr(answer, "success", True):
            self._say(f"{what}: refused", refused[0] if refused else answer.message)

    def _set(self, node: str, name: str, value: Any) -> None:
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        self._call(name, self._setters[node], request)

    def _trigger(self, name: str) -> None:
        self._call(name, self._triggers[name], Trigger.Request())

    def _call(self, what: str, client: Any, request: Any) -> None:
        if client.service_is_ready():
            self._waiting.append((what, client.call_async(request), monotonic()))
        else:
            self._say(what, f"{client.srv_name} is not there")


def show(node: Watcher, page: Page, buttons: Buttons, stop: Event) -> None:
    """Show the robot until `stop`."""
    while not stop.is_set():
        started_s = monotonic()
        buttons.serve()
        moment = node.moment()
        if moment is not None:
            page.show(moment)
        period_s = 1.0 / (_HZ if page.watched else _UNWATCHED_HZ)
        stop.wait(max(0.0, period_s - (monotonic() - started_s)))


class ViewParameters(BaseModel):
    """Parameters of the view."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    robot: str = fixed("panda", description="name of the robot, or the folder of its description")
    robot_kind: str = fixed("", description=ROBOT_KIND)
    controller: str = fixed("meta_mpc", description="the controller at the start")
    host: str = fixed(LOCALHOST, description="address of the page; anybody who opens it can move the robot")
    port: int = fixed(8080, ge=1, le=65535, description="port of the page; the next free one if it is in use")


def declared(parameters: Declarer) -> tuple[ViewParameters, Robot]:
    """See Declarer. Raises MetaRLError."""
    own = parameters.declare(ViewParameters)
    return own, load_robot(own.robot, of_kind=own.robot_kind)


def own_parameters() -> tuple[ViewParameters, Robot]:
    """Read the parameters, by a node of this name; the robot among them decides on the topics."""
    node = Node("view")
    try:
        return declared(Parameters(node))
    finally:
        node.destroy_node()


def view(stop: Event) -> None:
    """Serve the page of the robot until `stop`. Raises MetaRLError."""
    check_installed()
    from metarl_robot.view.controls import Offered, add_controls
    from metarl_robot.view.page import Page, serve

    own, robot = own_parameters()
    server = serve(own.host, own.port)
    node = Watcher(robot, "view")
    page = Page(server, robot)
    buttons = Buttons(node, page.say)
    names = (own.controller, *(name for name in node_controller_names(robot.kind) if name != own.controller))
    kind = node.simulation.disturbances
    add_controls(server, Offered(names, kind, kind.spans(robot)), buttons)
    node.get_logger().info(f"open http://{own.host}:{server.get_port()}")
    show(node, page, buttons, stop)
    server.stop()


def main(args: Sequence[str] | None = None) -> int:
    """Entry point of the view."""
    return run_watcher(view, sys.argv if args is None else args)


if __name__ == "__main__":
    raise SystemExit(main())
