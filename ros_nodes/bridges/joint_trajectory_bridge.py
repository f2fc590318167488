# SPDX-License-Identifier: Apache-2.0
"""The bridge to a robot that takes positions: the controller's plan as short trajectories. The last process before it.

Topics and services of every such bridge: controller_manager_bridge.py. Besides:

    topic (as launched)              type                             from → to
    /mpc/plan                        trajectory_msgs/JointTrajectory  mpc → bridge: the plan, at the rate of horizons
    /<controller>/joint_trajectory   trajectory_msgs/JointTrajectory  bridge → joint_trajectory_controller: a horizon,
                                                                      which replaces the one before and ends at rest

Horizons: robots/arm/position_horizon.py. One is sent only while the gate passes commands, its last effort and the plan
are not older than `deadline_s`, and the horizon is finite, within the limits and continuous. With less nothing is sent,
and the robot comes to rest at the end of the last horizon and holds there. After `deadline_s` without one it is `held`
until ~/engage.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import inf
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray
from trajectory_msgs.msg import JointTrajectory

from metarl_robot.core.errors import MetaRLError, SignalError
from metarl_robot.core.tables import NANOSECONDS
from metarl_robot.robots.arm.controller_switch import ControllerSwitch, Phase
from metarl_robot.robots.arm.horizon_switch import HorizonSwitch
from metarl_robot.robots.arm.position_horizon import Horizon, HorizonSettings, PositionHorizons
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.bridges.controller_manager_bridge import (
    ControllerManagerBridge,
    ControllerParameters,
    declared_for,
)
from metarl_robot.ros_nodes.convert import nanoseconds
from metarl_robot.ros_nodes.guarded import readable
from metarl_robot.ros_nodes.joint_trajectories import trajectory_arrays, trajectory_message
from metarl_robot.ros_nodes.parameters import Declarer, fixed
from metarl_robot.ros_nodes.runtime import run
from metarl_robot.trajectories.flat_outputs import Outputs

Array = NDArray[np.float64]


class TrajectoryBridgeParameters(ControllerParameters):
    """Parameters of the bridge."""

    trajectory_controller: str = fixed(
        "joint_trajectory_controller", description="joint_trajectory_controller with a position interface"
    )
    deadline_s: float = fixed(
        0.1, ge=0.01, le=0.2, description="an effort of the gate or a plan that is older is not used [s]"
    )
    horizon_s: float = fixed(0.15, ge=0.05, le=0.5, description="part of a plan that is sent [s]")
    brake_s: float = fixed(0.2, ge=0.05, le=2.0, description="time in which a horizon comes to rest at its end [s]")
    servo_lag_s: float = fixed(
        0.03, ge=0.0, le=0.3, description="lag of the robot's position loop behind what it is commanded [s]"
    )
    offset_s: float = fixed(
        0.15, ge=0.0, le=10.0, description="time constant against a position loop that yields; 0: no correction [s]"
    )
    limit_scale: float = fixed(
        1.0, ge=0.05, le=1.0, description="first tests: share of the velocity limits that horizons may use"
    )


def declared(parameters: Declarer) -> tuple[TrajectoryBridgeParameters, Any]:
    """See Declarer. Raises MetaRLError."""
    own, robot = declared_for(TrajectoryBridgeParameters, parameters)
    if robot.endless is not None:
        turning = [name for name, endless in zip(robot.channel_names, robot.endless, strict=True) if endless]
        raise MetaRLError(f"joints {turning} turn without end, which positions do not tell; use commands:=efforts")
    return own, robot


class JointTrajectoryBridge(ControllerManagerBridge):
    """See the module's docstring."""

    asked = ("joints", "command_interfaces")
    held_by = "no more horizons are sent; the robot's controller holds at the end of the last one"

    def __init__(self) -> None:
        super().__init__("joint_trajectory_bridge", declared)

    @property
    def controller(self) -> str:
        return str(self._own.trajectory_controller)

    def make_switch(self) -> ControllerSwitch:
        return HorizonSwitch(self.controller, self._own.deadline_s)

    def configure(self) -> None:
        own, robot = self._own, self._robot
        settings = HorizonSettings(own.horizon_s, own.brake_s, own.servo_lag_s, own.offset_s)
        self._horizons = PositionHorizons(robot.at_speed(own.limit_scale), settings)
        self._effort_s = -inf
        super().configure()
        plans = self.create_subscription(JointTrajectory, topics.PLAN, self._on_plan, topics.STATE_IN)
        self._inputs.append(plans)

    def open_output(self) -> tuple[str, Any]:
        topic = f"{self.controller}/joint_trajectory"
        return topic, self.create_lifecycle_publisher(JointTrajectory, topic, topics.COMMAND)

    def on_usable_effort(self, effort: Array) -> None:
        self._effort_s = monotonic()

    def on_phase(self, phase: Phase) -> None:
        if phase is Phase.STOPPING:
            self._horizons.reset()

    def take_parameters(self, values: dict[str, Any]) -> str:
        interfaces = list(values.get("command_interfaces") or [])
        if "position" in interfaces:
            return ""
        return f"its command_interfaces are {interfaces}; must hold 'position'; for efforts use commands:=efforts"

    def _on_plan(self, message: JointTrajectory) -> None:
        switch = self._switch
        if not isinstance(switch, HorizonSwitch) or not self.active:
            return
        if switch.phase is not Phase.ENGAGED:
            return
        now_s = monotonic()
        if not switch.sends or now_s - self._effort_s > self._own.deadline_s:
            self._counts["stopped_by_gate"] += 1
            return
        try:
            self._send(*readable(partial(self._read, message)))
        except SignalError as error:
            self._counts["refused"] += 1
            self.refuse(f"plan refused: {error}")
            switch.plan(now_s, f"plan refused: {error}")
            return
        self._counts["sent"] += 1
        switch.plan(now_s)

    def _read(self, message: JointTrajectory) -> tuple[int, Horizon]:
        """Stamp of a plan, and the plan in seconds after its stamp. Raises SignalError."""
        since_ns, points = trajectory_arrays(message, self._robot.channel_names)
        if points.velocities is None:
            raise SignalError("the plan has no velocities")
        return nanoseconds(message.header.stamp), Horizon(since_ns / NANOSECONDS, points.positions, points.velocities)

    def _send(self, stamp_ns: int, plan: Horizon) -> None:
        """Send the horizon of a plan. Raises SignalError."""
        age_s = self.age_s(stamp_ns)
        if not -self._own.deadline_s <= age_s <= self._own.deadline_s:
            raise SignalError(f"it is {age_s:.3f} s old (deadline_s: {self._own.deadline_s:g})")
        base_s = stamp_ns / NANOSECONDS
        horizon = self._horizons.make(base_s + age_s, plan._replace(times=base_s + plan.times))
        begin_ns = stamp_ns + round((horizon.times[0] - base_s) * NANOSECONDS)
        points = Outputs(horizon.q, horizon.v, None)
        since_s = horizon.times - horizon.times[0]
        self._out.publish(trajectory_message(self._robot.channel_names, begin_ns, since_s, points))


def main(args: Sequence[str] | None = None) -> int:
    """Entry point of the bridge to a trajectory controller."""
    return run(JointTrajectoryBridge, args)


if __name__ == "__main__":
    raise SystemExit(main())
