# SPDX-License-Identifier: Apache-2.0
"""A simulated driver that takes speeds (sim/ground/speed_driver.py), between the drive bridge and the plant.

    topic (as launched)              type                             from → to
    /cmd_vel, /drive or /drive_controller/speed_steering              drive_bridge → driver, see drive_messages.py
    /odom                                                             plant → driver, see odometry.py
    /driver/efforts                  std_msgs/Float64MultiArray       driver → plant: named table, row `effort`

It answers each command with the efforts at the newest state, under the command's stamp. When commands stop, so do its
efforts, and the plant's own watchdog brakes. It ends after the bridge.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from numpy.typing import NDArray
from std_msgs.msg import Float64MultiArray

from metarl_robot.core.errors import SignalError
from metarl_robot.core.robot import load_robot
from metarl_robot.core.signals import State
from metarl_robot.core.tables import Table
from metarl_robot.robots.ground.heading import forward_speed
from metarl_robot.robots.ground.speed_commands import DriverLoop
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.convert import status_message, table_message
from metarl_robot.ros_nodes.ending import REST_WITHIN_S
from metarl_robot.ros_nodes.frames import frames_of
from metarl_robot.ros_nodes.ground.drive_bridge import DriveParameters
from metarl_robot.ros_nodes.ground.drive_messages import drive_messages
from metarl_robot.ros_nodes.guarded import readable
from metarl_robot.ros_nodes.interface import SOURCE, interface_of
from metarl_robot.ros_nodes.managed import ManagedNode
from metarl_robot.ros_nodes.message_options import message_options
from metarl_robot.ros_nodes.parameters import Declarer
from metarl_robot.ros_nodes.runtime import run
from metarl_robot.sim.ground.speed_driver import SpeedDriver

Array = NDArray[np.float64]


def declared(parameters: Declarer) -> tuple[DriveParameters, DriverLoop, Any]:
    """See Declarer. Raises MetaRLError."""
    own = parameters.declare(DriveParameters)
    loop = parameters.declare(DriverLoop, read_only=True)
    return own, loop, load_robot(own.robot, check_model=False, of_kind=own.robot_kind)


class DriverNode(ManagedNode):
    """See the module's docstring."""

    def __init__(self) -> None:
        super().__init__("driver")
        self._own, self._loop, self._robot = declared(self.parameters)
        self._driver: SpeedDriver | None = None
        self.start(self._own.autostart)

    def configure(self) -> None:
        own = self._own
        options = message_options(own, self.get_namespace())
        base_frame = frames_of(self._robot, options).base.name
        self._messages = drive_messages(own.commands, base_frame, self.get_logger().info)
        self._driver = SpeedDriver(self._robot, self._messages.form, self._loop)
        self._state: State | None = None
        self._commanded = False
        self._topic = self._messages.topic
        commands = self.create_subscription(self._messages.type, self._topic, self._on_command, topics.COMMAND)
        states = interface_of(self._robot, options).listen(self, self._on_state, own.lockstep)
        self._inputs = (commands, *states)
        self._out = self.create_lifecycle_publisher(Float64MultiArray, "~/efforts", topics.COMMAND)
        self.expect(self._topic, "drive bridge")

    def activate(self) -> None:
        self.prefer_me(self._own)

    def cleanup(self) -> None:
        self._driver = None
        self.destroy_lifecycle_publisher(self._out)
        for subscription in self._inputs:
            self.destroy_subscription(subscription)

    def may_end(self, waited_s: float) -> bool:
        """Whether the bridge has ended."""
        if self._driver is None or not self.active or not self._commanded:
            return True
        return waited_s > REST_WITHIN_S or self.count_publishers(self._topic) == 0

    def diagnose(self) -> list[DiagnosticStatus]:
        text = "running" if self._driver is not None and self._commanded else "waits for the first command"
        return [status_message("driver", DiagnosticStatus.OK, text, {"commands": self._own.commands})]

    def _on_state(self, stamp_ns: int, read: Callable[[], State]) -> None:
        self._state = readable(read)

    def _on_command(self, message: Any) -> None:
        self._answer(*readable(partial(self._messages.read, message)))

    def _answer(self, stamp_ns: int, command: Array) -> None:
        driver, state = self._driver, self._state
        if driver is None or state is None or not self.active:
            return
        if not np.isfinite(command).all():
            raise SignalError(f"needs 2 finite numbers; given {command.tolist()}")
        self._commanded = True
        speeds = np.array([forward_speed(state), state.v[2]])
        effort = driver.effort(command, speeds, self._robot.control_period_s)
        self._out.publish(table_message(Table(stamp_ns, ("effort",), self._robot.channel_names, effort[None], SOURCE)))


def main(args: Sequence[str] | None = None) -> int:
    """Entry point of the simulated driver."""
    return run(DriverNode, args)


if __name__ == "__main__":
    raise SystemExit(main())
