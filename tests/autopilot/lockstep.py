# SPDX-License-Identifier: Apache-2.0
"""Simulated time that waits for the graph: the stand-in's process publishes /clock, and takes a step when mpc, gate and
bridge, run with lockstep:=true, have answered its last state. A verdict then does not depend on the machine's load.

The bridge tells the states that it has answered on the topic of acting thrusts, also while the autopilot flies by
itself. Before the first answer, time goes on as in real time. A state that is not answered is sent again. After `end`,
time goes on as in real time, too: nobody answers any more.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

import rclpy
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Float64MultiArray

from metarl_robot.core.tables import NANOSECONDS, table_of
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.quadrotor.interface import OdometryInterface
from metarl_robot.ros_nodes.table_commands import EFFORT
from tests.autopilot.take import take_all

AGAIN_S, SETPOINT_S, GIVE_UP_S = 0.3, 1.0, 120.0  # of real time


class Lockstep:
    """See the module's docstring. stand_in: with `receive` and `transmit`. period_ns: between two states."""

    def __init__(self, stand_in: Any, period_ns: int) -> None:
        self._stand_in, self._vehicle, self._period_ns = stand_in, stand_in.vehicle, period_ns
        self._context = rclpy.Context()
        self._context.init()
        self._node = rclpy.create_node("autopilot_stand_in", context=self._context)
        self._clock = self._node.create_publisher(Clock, topics.CLOCK, topics.CLOCK_OUT)
        self._node.create_subscription(Float64MultiArray, OdometryInterface.acting, self._on_answer, topics.STATE_IN)
        self._answered_ns, self._acts, self._ended = -1, False, False

    def _on_answer(self, message: Float64MultiArray) -> None:
        table = table_of(message)
        self._answered_ns, self._acts = table.stamp_ns, table.rows[0] == EFFORT

    def step(self) -> None:
        now_ns, answered_ns, setpoint = self._vehicle.boot_ns, self._answered_ns, self._vehicle.setpoint
        clock = Clock()
        clock.clock.sec, clock.clock.nanosec = divmod(now_ns, NANOSECONDS)
        self._clock.publish(clock)
        if self.waits and round(self._vehicle.time_s * NANOSECONDS) % self._period_ns == 0:
            self._wait(lambda: self._answered_ns > answered_ns, GIVE_UP_S)
            if self._acts:
                self._wait(lambda: self._vehicle.setpoint is not setpoint, SETPOINT_S)
        self._receive()

    def _receive(self) -> None:
        take_all(self._node)
        self._stand_in.receive()

    def _wait(self, done: Callable[[], bool], at_most_s: float) -> None:
        begun_s = sent_s = monotonic()
        while not (done() or self._ended) and monotonic() - begun_s < at_most_s:
            self._receive()
            if monotonic() - sent_s > AGAIN_S:
                sent_s = monotonic()
                self._stand_in.transmit()
            sleep(0.0005)

    @property
    def waits(self) -> bool:
        """Whether the graph answers: real time does not matter any more."""
        return self._answered_ns >= 0 and not self._ended

    def end(self) -> None:
        """Wait for nobody from now on."""
        self._ended = True
