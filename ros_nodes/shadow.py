# SPDX-License-Identifier: Apache-2.0
"""Shadow mode: learns from the robot while another controller moves it, and commands nothing.

It hears the robot's states and the efforts that the other controller sends, or those that the robot measures. It
publishes what it learns, so that an engineer can watch it beside the present controller first. It has no publisher on
a topic of commands.

    topic (as launched)              type                             content

    /shadow/context                  std_msgs/Float64MultiArray       named table, rows `mean`, `std`
    /shadow/prediction               std_msgs/Float64MultiArray       named table, rows `measured`, `predicted`: forces
                                     beyond the nominal model, means over a tenth of a second (control/shadow.py)
    /shadow/<report>, /shadow/contact, /shadow/<external>             as those of the mpc node
    /diagnostics                     diagnostic_msgs/DiagnosticArray  `prediction_error_ratio`, counts, problems

The efforts on the commands' topic are a named table (core/tables.py) or numbers in the order of the robot's channels.
The newest one is held until the next one comes, for `hold_s` at most.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, Literal

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from numpy.typing import NDArray
from pydantic import BaseModel, Field
from std_msgs.msg import Float64MultiArray

from metarl_robot.control.factory import (
    check_weights,
    config_type,
    load_config,
    make_controller,
    node_controller_names,
    remark_on_weights,
)
from metarl_robot.control.shadow import Prediction, Shadow
from metarl_robot.core.errors import SignalError
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.core.signals import State
from metarl_robot.core.tables import NANOSECONDS, Table, table_of
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.controller_builder import check_controller
from metarl_robot.ros_nodes.convert import listed, status_message, table_message
from metarl_robot.ros_nodes.driver_gravity import DriverGravity
from metarl_robot.ros_nodes.guarded import readable
from metarl_robot.ros_nodes.interface import interface_of
from metarl_robot.ros_nodes.learning_reports import LearningReports
from metarl_robot.ros_nodes.managed import ManagedNode, StateParameters, heard
from metarl_robot.ros_nodes.measured_efforts import checked_effort, listen_to_efforts
from metarl_robot.ros_nodes.message_options import message_options
from metarl_robot.ros_nodes.parameters import Declarer, OnChange, fixed
from metarl_robot.ros_nodes.runtime import run
from metarl_robot.ros_nodes.sources import publisher_names, source_trouble
from metarl_robot.safety.input_validation import StateValidation

Array = NDArray[np.float64]


class ShadowParameters(StateParameters):
    """Parameters of the shadow node."""

    controller: str = fixed("meta_mpc", description="controller whose learning part is used")
    checkpoint: str = fixed("", description="trained weights; empty: those shipped with the robot")
    efforts: Literal["commands", "states"] = fixed(
        "commands", description="where efforts come from: the topic of commands, or the states (measured by the robot)"
    )
    effort_includes_gravity: bool = fixed(
        True, description="false: these efforts lack the part that compensates gravity, which the robot adds itself"
    )
    hold_s: float = Field(
        0.1, ge=0.001, le=10.0, description="an effort is held for this long; then learning pauses until the next [s]"
    )
    report_hz: float = Field(50.0, ge=0.1, le=1000.0, description="rate of ~/context and of the reports of it [Hz]")


def declared(parameters: Declarer, on_own: OnChange = None) -> tuple[ShadowParameters, Robot, BaseModel]:
    """See Declarer. Raises MetaRLError."""
    own = parameters.declare(ShadowParameters, on_change=on_own)
    robot = load_robot(own.robot, of_kind=own.robot_kind)
    check_controller(own.controller, node_controller_names(robot.kind))
    shipped, model = load_config(robot, own.controller).model_dump(), config_type(robot.kind, own.controller)
    tuning = parameters.declare(model, "controller_config.", shipped, read_only=True)
    check_weights(robot, tuning, Path(own.checkpoint) if own.checkpoint else None)
    return own, robot, tuning


class ShadowNode(ManagedNode):
    """Learns beside another controller; see the module's docstring."""

    def __init__(self) -> None:
        super().__init__("shadow")
        self._own, self._robot, self._tuning = declared(self.parameters, self._on_parameters)
        self._shadow: Shadow | None = None
        self.start(self._own.autostart)

    def configure(self) -> None:
        robot, started_s = self._robot, monotonic()
        self._options = message_options(self._own, self.get_namespace())
        self._interface = interface_of(robot, self._options)
        self._validation = StateValidation(robot)
        self._counts: Counter[str] = Counter()
        self._effort: Array | None = None
        self._effort_s = -np.inf
        self._stamp_ns, self._epoch, self._next_report_s = -1, 0, -np.inf
        self._gravity = DriverGravity(robot, self._own.effort_includes_gravity)
        shadow = Shadow(robot, self._learner, measured_efforts=self._own.efforts == "states")
        self._open()
        self._shadow = shadow
        if remark := remark_on_weights(robot, [self._own.controller], self._checkpoint):
            self.get_logger().info(remark)
        self.get_logger().info(
            f"{self._own.controller} learns beside the controller of {robot.name} and commands nothing; "
            f"ready in {monotonic() - started_s:.1f} s"
        )

    def _learner(self, robot: Robot) -> Any:
        return make_controller(robot, self._own.controller, self._tuning, self._checkpoint).inner

    @property
    def _checkpoint(self) -> Path | None:
        return Path(self._own.checkpoint) if self._own.checkpoint else None

    def _open(self) -> None:
        interface = self._interface
        self._learned = LearningReports(self, self._robot, interface, self._options.frame_prefix)
        self._prediction_out = self.create_publisher(Float64MultiArray, "~/prediction", topics.REPORT)
        self._inputs = [*self._listen_to_efforts(), *interface.listen(self, self._on_state, self._own.lockstep)]
        self.expect(interface.state_topic, "robot's driver")

    def _listen_to_efforts(self) -> list[Any]:
        interface = self._interface
        if self._own.efforts == "commands":
            self._efforts_topic = interface.commands
            made = self.create_subscription(Float64MultiArray, interface.commands, self._on_command, topics.STATE_IN)
            return [made]
        listen_to_efforts(interface, self._robot, self._on_measured_effort)
        self._efforts_topic = interface.state_topic
        return []

    def cleanup(self) -> None:
        self._shadow = None
        self._learned.destroy()
        self.destroy_publisher(self._prediction_out)
        for subscription in self._inputs:
            self.destroy_subscription(subscription)

    def _on_parameters(self, new: ShadowParameters) -> None:
        self._own = new

    # Efforts.

    def _on_command(self, message: Float64MultiArray) -> None:
        self._take_effort(partial(self._commanded, message))

    def _on_measured_effort(self, read: Callable[[], Array]) -> None:
        self._take_effort(read)

    def _take_effort(self, read: Callable[[], Array]) -> None:
        """Hold an effort, or report why it cannot be used."""
        try:
            effort = checked_effort(self._robot, readable(read))
        except SignalError as error:
            self._counts["efforts_refused"] += 1
            self.refuse(f"effort refused: {error}")
            return
        self._counts["efforts"] += 1
        self._effort, self._effort_s = effort, monotonic()

    def _commanded(self, message: Float64MultiArray) -> Array:
        """Efforts (nu,) of a command in the robot's order. Raises SignalError."""
        names = self._robot.channel_names
        if len(message.layout.dim) != 2:
            return np.array(message.data, dtype=np.float64)
        table = table_of(message)
        if set(table.columns) != set(names):
            raise SignalError(f"command: columns are {listed(table.columns)}; must be {list(names)}, in any order")
        return table.values[0][[table.columns.index(name) for name in names]]

    # States.

    def _on_state(self, stamp_ns: int, read: Callable[[], State]) -> None:
        received_s, shadow, validation = monotonic(), self._shadow, self._validation
        if shadow is None or not self.active or stamp_ns == self._stamp_ns:
            return
        if not self.take_state(validation, stamp_ns, read, received_s, self._own) or validation.latest is None:
            return
        self._stamp_ns = stamp_ns
        self._counts["states"] += 1
        if validation.epoch != self._epoch:
            self._epoch = validation.epoch
            shadow.restart()
        effort = self._acting(validation.latest.state, received_s)
        if effort is not None:
            self._learn(shadow, stamp_ns, validation.latest.state, effort)

    def _acting(self, state: State, now_s: float) -> Array | None:
        """The effort (nu,) in force; None without a fresh one. In lockstep, time may stand still meanwhile."""
        if self._effort is None or (not self._own.lockstep and now_s - self._effort_s > self._own.hold_s):
            return None
        return self._gravity.acting(self._effort, state)

    def _learn(self, shadow: Shadow, stamp_ns: int, state: State, effort: Array) -> None:
        time_s = stamp_ns / NANOSECONDS
        observed = shadow.observe(time_s, state, effort)
        if observed is None:
            return
        self._counts["learned"] += 1
        if observed.external is not None:
            self._learned.external(observed.external, state, stamp_ns)
        if observed.prediction is not None and heard(self._prediction_out):
            self._prediction_out.publish(table_message(self._prediction(stamp_ns, observed.prediction)))
        if observed.context.names and abs(time_s - self._next_report_s) > 1.0 / self._own.report_hz - 1e-9:
            self._next_report_s = time_s
            self._learned.context(observed.context, stamp_ns)

    def _prediction(self, stamp_ns: int, prediction: Prediction) -> Table:
        _, v, effort = self._robot.coordinates
        columns = effort if len(effort) == len(v) else tuple(f"force_along_{name}" for name in v)
        return Table(stamp_ns, ("measured", "predicted"), columns, np.stack(prediction))

    def diagnose(self) -> list[DiagnosticStatus]:
        if self._shadow is None:
            return []
        level, text = self._condition()
        worse, trouble = source_trouble(self, self._interface.state_topic, self._validation.refusals)
        if trouble:
            level, text = max(level, worse), f"{text}; {trouble}"
        ratio = self._shadow.error_ratio
        values: dict[str, object] = {
            "controller": self._own.controller,
            "prediction_error_ratio": "" if ratio is None else ratio,
            "restarts": self._shadow.restarts,
            **self._counts,
            **{f"state_{name}": count for name, count in self._validation.rejections.items()},
        }
        return [status_message("shadow", level, text, values)]

    def _condition(self) -> tuple[bytes, str]:
        """Whether it learns, as level and text."""
        topic = self.resolve_topic_name(self._efforts_topic)
        if self._validation.latest is None:
            states = self.resolve_topic_name(self._interface.state_topic)
            return DiagnosticStatus.WARN, f"waiting for states on {states}"
        if self._acting(self._validation.latest.state, monotonic()) is None:
            return DiagnosticStatus.WARN, f"no efforts on {topic}: does the present controller run?"
        return DiagnosticStatus.OK, f"learns beside {', '.join(publisher_names(self, self._efforts_topic)) or topic}"


def main(args: Sequence[str] | None = None) -> int:
    """Entry point of the shadow node."""
    return run(ShadowNode, args)


if __name__ == "__main__":
    raise SystemExit(main())
