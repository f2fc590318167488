# SPDX-License-Identifier: Apache-2.0
"""Publishes a reference as a stream of short trajectories, each long before it is needed.

A chunk covers at least `chunk_s` on a grid of `spacing_s` and is sent every `period_s`. Chunks of one motion agree
bit for bit where they overlap, so their order of arrival does not matter. For this the motion is sampled in blocks of
fixed length, because vectorised functions may round by a value's place in the array. No chunk has the stamp 0, which
means "now".

With simulated time the motion starts at time 0 of that clock; on a real robot it starts when the node is activated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from time import monotonic
from typing import Any

import numpy as np
from pydantic import Field

from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.core.signals import Reference
from metarl_robot.core.tables import NANOSECONDS
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.interface import interface_of
from metarl_robot.ros_nodes.managed import ROBOT_KIND, ManagedNode, NodeParameters
from metarl_robot.ros_nodes.message_options import FrameParameters, message_options
from metarl_robot.ros_nodes.parameters import Declarer, OnChange, fixed
from metarl_robot.ros_nodes.runtime import run
from metarl_robot.trajectories.flat_outputs import FlatOutputs, Outputs, check_motion, flat_outputs_of

_BLOCK = 20  # points that are sampled together
_LOOK_S = 0.05  # period of the node's timer
_REPEAT_S = 1.0  # real time between repetitions of a chunk for late subscribers, also while simulated time stands still
_LEAD_S = 0.5  # on a real robot, the motion starts this long after activation


class ReferenceParameters(NodeParameters, FrameParameters):
    """Parameters of the reference node."""

    robot: str = fixed("panda", description="name of the robot, or the folder of its description")
    robot_kind: str = fixed("", description=ROBOT_KIND)
    kind: str = fixed(
        "hold",
        description="a motion: 'hold' stays at home, 'suite' uses a suite's; the kind of robot defines others",
    )
    suite: str = fixed("heldout", description="kind suite: evaluation suite to take the motion from")
    scenario: str = fixed("pickup", description="kind suite: scenario of the suite")
    seed: int = fixed(0, ge=0, le=2**31 - 1, description="seed of the motion")
    duration_s: float = fixed(60.0, ge=1.0, le=86400.0, description="length of a motion that is not a suite's [s]")
    pace: float = fixed(1.0, ge=0.05, le=2.0, description="speed of the motion relative to its nominal speed")
    limit_scale: float = fixed(
        1.0, ge=0.05, le=1.0, description="first tests: share of the limits that may be used; a factor of the pace"
    )
    spacing_s: float = fixed(0.02, ge=0.002, le=0.5, description="time between two points [s]")
    chunk_s: float = Field(4.0, ge=0.5, le=60.0, description="length of one trajectory message [s]")
    period_s: float = Field(1.0, ge=0.05, le=30.0, description="time between two messages [s]")


def make_reference(robot: Robot, flat: FlatOutputs, wanted: ReferenceParameters) -> Reference:
    """Create the motion given by the parameters, starting at time 0.

    Raises:
        UnknownNameError: no such motion, suite or scenario.
        SignalError: the file of a motion is wrong.
    """
    if wanted.kind == "suite":
        from metarl_robot.sim.kinds import simulation

        made = simulation(robot).scenario(wanted.suite, wanted.scenario, wanted.seed).reference
    else:
        made = flat.motion(wanted.kind, np.random.default_rng(wanted.seed), wanted.duration_s)
    return flat.paced(made, wanted.pace * wanted.limit_scale)


def declared(parameters: Declarer, on_own: OnChange = None) -> tuple[ReferenceParameters, Robot]:
    """See Declarer. Raises MetaRLError."""
    own = parameters.declare(ReferenceParameters, on_change=on_own)
    robot = load_robot(own.robot, check_model=False, of_kind=own.robot_kind)
    if own.kind == "suite":
        from metarl_robot.ros_nodes.timeline import check_scenario

        check_scenario(robot, own.suite, own.scenario)
    else:
        check_motion(flat_outputs_of(robot), own.kind, "kind of reference", ("suite",))
    return own, robot


class ReferenceNode(ManagedNode):
    """Publishes a motion; see the module's docstring."""

    def __init__(self) -> None:
        super().__init__("reference")
        self._own, self._robot = declared(self.parameters, self._on_parameters)
        self._reference: Reference | None = None
        self.start(self._own.autostart)

    def configure(self) -> None:
        self._flat, self._interface = (
            flat_outputs_of(self._robot),
            interface_of(self._robot, message_options(self._own, self.get_namespace())),
        )
        self._reference = make_reference(self._robot, self._flat, self._own)
        if remark := getattr(self._reference, "remark", ""):
            self.get_logger().warning(f"{self._own.kind}: {remark}")
        self._flat.check(self._reference, 0.0, self._own.duration_s, rate_hz=1.0 / self._own.spacing_s)
        self._spacing_ns = round(self._own.spacing_s * NANOSECONDS)
        self._sent_ns: int | None = None
        self._sent_s = -np.inf
        self._listeners = 0
        kind, topic = self._interface.reference_type, self._interface.reference_topic
        self._out = self.create_lifecycle_publisher(kind, topic, topics.REFERENCE_QOS)
        self._ticker = self.every(_LOOK_S, self._look)

    def activate(self) -> None:
        simulated = bool(self.get_parameter("use_sim_time").value)
        self._start_ns = 0 if simulated else self.get_clock().now().nanoseconds + round(_LEAD_S * NANOSECONDS)

    def cleanup(self) -> None:
        self._reference = None
        self.destroy_lifecycle_publisher(self._out)
        self.destroy_timer(self._ticker)

    def _on_parameters(self, new: ReferenceParameters) -> None:
        self._own = new

    def _look(self) -> None:
        """Send a chunk when it is due by the robot's clock, for a new subscriber, or after a pause in real time."""
        if not self.active or self._reference is None:
            return
        now_ns, steady_s = self.get_clock().now().nanoseconds, monotonic()
        listeners = self._out.get_subscription_count()
        moved = self._sent_ns is None or abs(now_ns - self._sent_ns) >= self._own.period_s * NANOSECONDS
        if moved or listeners > self._listeners or steady_s - self._sent_s >= _REPEAT_S:
            self._sent_ns, self._sent_s = now_ns, steady_s
            self._out.publish(self._chunk(self._reference, now_ns))
        self._listeners = listeners

    def _chunk(self, reference: Reference, now_ns: int) -> Any:
        block_ns = _BLOCK * self._spacing_ns
        first = max(0, now_ns - self._start_ns) // block_ns
        count = 1 + math.ceil(self._own.chunk_s * NANOSECONDS / block_ns)
        blocks = [(np.arange(_BLOCK) + k * _BLOCK) * self._spacing_ns for k in range(first, first + count)]
        points = [self._flat.outputs(reference, grid_ns / NANOSECONDS) for grid_ns in blocks]
        start = int(self._start_ns + blocks[0][0] == 0)
        grid_ns = np.concatenate(blocks)[start:]
        whole = Outputs(*(np.concatenate(parts)[start:] for parts in zip(*points, strict=True)))
        begin_ns = int(grid_ns[0])
        return self._interface.reference(self._start_ns + begin_ns, (grid_ns - begin_ns) / NANOSECONDS, whole)


def main(args: Sequence[str] | None = None) -> int:
    """Entry point of the reference node."""
    return run(ReferenceNode, args)


if __name__ == "__main__":
    raise SystemExit(main())
