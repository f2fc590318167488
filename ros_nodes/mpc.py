# SPDX-License-Identifier: Apache-2.0
"""The controller node, for any controller of metarl_robot.control: states in, commands to the gate out.

Configuring builds the robot, the controller and its compiled code; activating starts commands. Each state is answered
by one command with the state's stamp. Before the first reference the robot is brought to rest and held.

While the gate holds the robot (latched), the controller pauses, and the node returns the gate's own effort to it.
Commands thus stay fresh, so that the gate can be re-armed. The controller then takes over from that effort and pose
without a jump.

The parameter `controller` may change in motion. The new controller is built in another thread and takes over when it
is ready, with a fade between the efforts (metarl_robot.control.bumpless_transfer). The same holds for its tuning,
below `controller_config.`. The service `~/switch_controller` sets them too, and answers when they are at work.

The node may share a process with the gate node (mpc_with_gate.py). It then hands commands over by a link, and gets
measurements and the gate's messages from it; the topic of commands is still published if anything listens to it.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from numpy.typing import NDArray
from pydantic import BaseModel, Field
from std_msgs.msg import Float64MultiArray, String

from metarl_robot.control.base import Controller
from metarl_robot.control.bumpless_transfer import BumplessTransfer
from metarl_robot.control.factory import (
    check_weights,
    config_type,
    load_config,
    load_configs,
    node_controller_names,
    remark_on_weights,
)
from metarl_robot.core.errors import MetaRLError, SignalError
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.core.signals import Command, State
from metarl_robot.core.tables import NANOSECONDS, Table
from metarl_robot.core.urdf import urdf_of
from metarl_robot.ros_nodes import reference_status, topics
from metarl_robot.ros_nodes.acting_efforts import ActingEfforts
from metarl_robot.ros_nodes.controller_builder import (
    ControllerBuilder,
    check_controller,
    ready_controller,
    rehearse,
)
from metarl_robot.ros_nodes.convert import status_message, table_message
from metarl_robot.ros_nodes.driver_gravity import DriverGravity
from metarl_robot.ros_nodes.goal_parameters import GoalParameters
from metarl_robot.ros_nodes.guarded import readable
from metarl_robot.ros_nodes.interface import JointRules, ObstacleTopic, ReferencePoints, interface_of
from metarl_robot.ros_nodes.joint_trajectories import end_ns
from metarl_robot.ros_nodes.learning_reports import LearningReports
from metarl_robot.ros_nodes.managed import ManagedNode, StateParameters, heard
from metarl_robot.ros_nodes.measured_efforts import listen_to_efforts
from metarl_robot.ros_nodes.message_options import message_options
from metarl_robot.ros_nodes.messages.package import MessagesError
from metarl_robot.ros_nodes.messages.provide import provide
from metarl_robot.ros_nodes.parameters import Declarer, OnChange, fixed
from metarl_robot.ros_nodes.runtime import run
from metarl_robot.ros_nodes.sources import refused_counts, source_trouble, sources_trouble
from metarl_robot.ros_nodes.step_statistics import STATUS_CODES, StepStatistics
from metarl_robot.ros_nodes.switch_service import Change, SwitchService
from metarl_robot.ros_nodes.thread_link import ACTIVATED, Handed, HandedCommand, HandedTopic, Link
from metarl_robot.safety.input_validation import Measurement, StateValidation
from metarl_robot.trajectories.reference_manager import ReferenceManager, Taken
from metarl_robot.trajectories.yielding import Yielding

if TYPE_CHECKING:
    from metarl_robot.ros_nodes.trajectory_goals import TrajectoryGoals

Array = NDArray[np.float64]

CONFIG_PREFIX = "controller_config."
GOAL_PREFIX = "constraints."
_SWITCH_INTERVAL_S = 0.0005  # between the control loop and a thread that builds a controller


class MpcParameters(StateParameters):
    """Parameters of the controller node; those of the controller itself are below `controller_config.`."""

    controller: str = Field("meta_mpc", description="controller to use; can be changed in motion")
    checkpoint: str = fixed("", description="trained weights; empty: those shipped with the robot")
    wait_for_reference: bool = fixed(False, description="send no command before the first reference")
    effort_includes_gravity: bool = fixed(
        True, description="false: the robot adds gravity itself, as Franka's and UR's do"
    )
    allow_partial_joints_goal: bool = Field(
        False, description="accept trajectories for some of the joints; the others hold"
    )
    ignore_extra_joints: bool = Field(
        True, description="accept trajectories with joints that the robot lacks, and ignore these joints"
    )
    efforts: Literal["commands", "states"] = fixed(
        "commands",
        description="efforts to learn from: the commands, or those that the states hold (arms that take positions)",
    )
    limit_scale: float = fixed(
        1.0,
        ge=0.05,
        le=1.0,
        description="first tests: share of the velocity limits that references may use; the gate has one of its own",
    )
    max_reference_lead_s: float = Field(
        60.0, ge=0.0, le=1e6, description="refuse references that begin more than this long from now [s]"
    )
    follow_joint_trajectory: bool = fixed(
        True, description="arms: serve the action ~/follow_joint_trajectory; its tolerances are below constraints."
    )
    publish_description: bool = fixed(
        True, description="publish the robot's URDF on robot_description, latched; false: another node does"
    )
    report_hz: float = Field(
        50.0, ge=0.1, le=1000.0, description="rate of ~/context and of the reports made of it [Hz]"
    )
    plan_hz: float = Field(10.0, ge=0.1, le=1000.0, description="rate of ~/plan [Hz]")


class Declared(NamedTuple):
    """Values of a node's start. names: the controllers that it offers. tuning: of the chosen one."""

    own: MpcParameters
    robot: Robot
    names: tuple[str, ...]
    tuning: BaseModel
    goals: GoalParameters


def declared(
    parameters: Declarer, on_own: OnChange = None, on_tuning: OnChange = None, on_goals: OnChange = None
) -> Declared:
    """See Declarer. Raises MetaRLError."""
    own = parameters.declare(MpcParameters, on_change=on_own)
    robot = load_robot(own.robot, of_kind=own.robot_kind)
    names = node_controller_names(robot.kind)  # once: it reads every installed distribution
    check_controller(own.controller, names)
    shipped = load_config(robot, own.controller).model_dump()
    tuning = parameters.declare(config_type(robot.kind, own.controller), CONFIG_PREFIX, shipped, on_tuning)
    check_weights(robot, tuning, Path(own.checkpoint) if own.checkpoint else None)
    return Declared(own, robot, names, tuning, parameters.declare(GoalParameters, GOAL_PREFIX, on_change=on_goals))


class _Offered(NamedTuple):
    """A reference message, its topic and a function that reads it or raises SignalError."""

    message: Any
    topic: str
    read: Callable[[], ReferencePoints]


class MpcNode(ManagedNode):
    """Runs a controller; see the module's docstring."""

    def __init__(self, link: Link | None = None) -> None:
        super().__init__("mpc")
        self._link = link
        if link is not None:
            link.mpc.open(self)
        self._own, self._robot, self._names, self._tuning, self._goal_defaults = declared(
            self.parameters, self._on_parameters, self._on_tuning, self._on_goal_defaults
        )
        self._name = self._own.controller
        self._goals: TrajectoryGoals | None = None
        self._transfer: BumplessTransfer | None = None
        self._builder: ControllerBuilder | None = None
        self._change = Change()
        self._awaited: Controller | None = None  # built, has not sent a command yet
        self._switch: SwitchService | None = None
        self.start(self._own.autostart)

    def configure(self) -> None:
        robot, started_s = self._robot, monotonic()
        self._configs = load_configs(robot, self._names)
        if not self._own.lockstep:
            sys.setswitchinterval(_SWITCH_INTERVAL_S)
            rehearse(robot, self._configs, self._checkpoint)
        self._transfer = BumplessTransfer(robot, ready_controller(robot, self._name, self._tuning, self._checkpoint))
        self._references = ReferenceManager(robot.at_speed(self._own.limit_scale))
        self._yielding = Yielding(self._references)
        self._validation = StateValidation(robot)
        self._options = message_options(self._own, self.get_namespace())
        self._interface = interface_of(robot, self._options)
        self._statistics = StepStatistics()
        self._counts: Counter[str] = Counter()
        self._stepped_ns = -1
        self._sent_s, self._longest_gap_s = np.inf, 0.0
        self._command: HandedCommand | None = None
        self._early_reference: _Offered | None = None
        self._has_reference = self._suspended = self._stopped = False
        self._epoch = 0
        self._next_report_s = self._next_plan_s = -np.inf
        self._gravity = DriverGravity(robot, self._own.effort_includes_gravity)
        self._efforts = ActingEfforts(robot, self._interface, self._gravity, self.refuse)
        self._obstacles: dict[str, Array] = {}
        self._open()
        self._goals = self._open_goals()
        if remark := remark_on_weights(robot, [self._name], self._checkpoint):
            self.get_logger().info(remark)
        self.get_logger().info(f"{self._name} on {robot.name} ready in {monotonic() - started_s:.1f} s")

    def activate(self) -> None:
        if self._link is None:
            self.prefer_me(self._own)
        else:
            self._link.gate.post(ACTIVATED, True, keep=True)

    def deactivate(self) -> None:
        self._end_goal("Current goal cancelled during deactivate transition.")

    def close(self) -> None:
        if self._switch is not None:
            self._switch.close()
            self._switch = None

    def cleanup(self) -> None:
        self.close()
        self._transfer = None
        if self._goals is not None:
            self._goals.destroy()
            self._goals = None
        for publisher in (self._command_out, *self._reports):
            self.destroy_publisher(publisher)
        self._learned.destroy()
        for subscription in self._inputs:
            if isinstance(subscription, HandedTopic):
                subscription.destroy()
            else:
                self.destroy_subscription(subscription)

    def _open(self) -> None:
        interface = self._interface
        self._command_out = self.create_lifecycle_publisher(
            interface.gate_command_type, topics.GATE_COMMAND, topics.COMMAND
        )
        self._setpoint_out = self.create_publisher(interface.setpoint_type, "~/setpoint", topics.REPORT)
        self._step_out = self.create_publisher(Float64MultiArray, "~/step", topics.REPORT)
        self._learned = LearningReports(self, self._robot, interface, self._options.frame_prefix)
        self._plan_out = self.create_publisher(interface.plan_type, "~/plan", topics.REPORT)
        self._reference_status_out = self.create_publisher(DiagnosticStatus, "~/reference_status", topics.EVENTS)
        self._descriptions = self._describe() if self._own.publish_description else []
        self._reports = (
            *self._descriptions,
            self._setpoint_out,
            self._step_out,
            self._plan_out,
            self._reference_status_out,
        )
        references = (
            self.create_subscription(kind, topic, partial(self._on_reference, topic, read), topics.REFERENCE_QOS)
            for kind, topic, read in interface.references(self._joint_rules)
        )
        obstacles = (
            self.create_subscription(
                each.type, f"~/{each.name}", partial(self._on_obstacles, each), topics.REFERENCE_QOS
            )
            for each in interface.obstacles
        )
        gates: Any = self if self._link is None else Handed(self, self._link.mpc)
        if self._own.efforts == "states":
            listen_to_efforts(interface, self._robot, self._efforts.on_measured)
        self._inputs: tuple[Any, ...] = (
            *interface.listen(gates, self._on_state, self._own.lockstep),
            *references,
            *obstacles,
            gates.create_subscription(DiagnosticStatus, topics.GATE_STATE, self._on_gate_state, topics.LATCHED),
            gates.create_subscription(Float64MultiArray, interface.commands, self._efforts.on_gate, topics.STATE_IN),
        )
        self._switch = SwitchService(self, lambda: self._change)
        if interface.acting:
            acting = self.create_subscription(
                Float64MultiArray, interface.acting, self._efforts.on_driver, topics.STATE_IN
            )
            self._inputs = (*self._inputs, acting)
        if self._gravity.is_added:
            self._inputs = (*self._inputs, *interface.listen_to_loads(self, self._gravity.carry))
        self.expect(self._inputs[0].topic, "robot's driver or plant")
        self.expect(interface.commands, "gate")

    def _open_goals(self) -> TrajectoryGoals | None:
        """The action server of an arm's goals; None if its messages cannot be built."""
        if not (self._own.follow_joint_trajectory and self._interface.follows_goals):
            return None
        try:
            provide("control_msgs", self.get_logger().info)
        except MessagesError as error:
            self.get_logger().warning(f"no action ~/follow_joint_trajectory: {error}")
            return None
        from metarl_robot.ros_nodes.trajectory_goals import GoalHooks, TrajectoryGoals

        count = len(self._robot.channel_names)
        hooks = GoalHooks(self._follow_goal, self._hold, lambda: self._goal_defaults.tolerances(count))
        return TrajectoryGoals(self, self._robot.channel_names, hooks)

    def _describe(self) -> list[Any]:
        """Publishers of the robot's URDF, which have published it."""
        out = self.create_publisher(String, topics.DESCRIPTION, topics.LATCHED)
        out.publish(String(data=urdf_of(self._robot)))
        return [out]

    def _joint_rules(self) -> JointRules:
        return JointRules(self._own.allow_partial_joints_goal, self._own.ignore_extra_joints)

    @property
    def _checkpoint(self) -> Path | None:
        return Path(self._own.checkpoint) if self._own.checkpoint else None

    # The control step.

    def _on_state(self, stamp_ns: int, read: Callable[[], State]) -> None:
        received_s, transfer = monotonic(), self._transfer
        if transfer is None or not self.active:
            return
        if stamp_ns == self._stepped_ns and self._command is not None:
            self._hand_over(self._command)  # the answer may have been lost
            return
        if not self._take(stamp_ns, read, received_s) or self._validation.latest is None:
            return
        state = self._validation.latest.state
        if self._builder is not None and self._builder.done:
            self._exchange(transfer, self._builder)
        if not self._suspended:
            self._step(transfer, state, stamp_ns, received_s)
        elif (effort := self._efforts.gate) is not None:
            self._send(effort, stamp_ns)
        if self._awaited is not None and transfer.controller is self._awaited:
            self._awaited = None
            self._changed()

    def _take(self, stamp_ns: int, read: Callable[[], State], received_s: float) -> bool:
        """Check a state; False if it is unusable."""
        if not self.take_state(self._validation, stamp_ns, read, received_s, self._own):
            return False
        if self._validation.latest is not None and (
            self._references.current is None or self._validation.epoch != self._epoch
        ):
            self._begin(self._validation.latest)
        return True

    def _begin(self, measured: Measurement) -> None:
        """Come to rest and hold, at the first state, a new time base or a re-armed gate.

        A reference received before the first state is then followed.
        """
        state, self._epoch = measured.state, self._validation.epoch
        self._end_goal("Current goal cancelled: the robot is brought to rest.")
        self._references.brake(state, measured.stamp_s)
        self._yielding = Yielding(self._references)
        self._next_report_s = self._next_plan_s = -np.inf
        if self._transfer is not None:
            self._transfer.take_over(self._efforts.of_gate(state))
        if self._early_reference is not None:
            offered, self._early_reference = self._early_reference, None
            self._on_reference(offered.topic, lambda _: offered.read(), offered.message)

    def _step(self, transfer: BumplessTransfer, state: State, stamp_ns: int, received_s: float) -> None:
        """Make one control step, unless the node still waits for a reference."""
        time_s, started_s = stamp_ns / NANOSECONDS, perf_counter()
        if (others := self._efforts.others_act(stamp_ns)) is not None:
            self._yielding.look(others, state, time_s)
        reference = self._references.current
        if reference is None or (self._own.wait_for_reference and not self._has_reference):
            return
        others_act = self._stopped or self._own.limit_scale < 1.0
        if others_act and (acted := self._efforts.of_gate(state)) is not None:
            transfer.acted(acted)
        if (flown := self._efforts.of_driver(stamp_ns)) is not None:
            transfer.flown(flown)
        if self._own.efforts == "states":
            try:
                transfer.flown(self._efforts.measured(state))
            except SignalError as error:
                self._counts["efforts_refused"] += 1
                self.refuse(f"no command, because the state's efforts, to learn from, cannot be used: {error}")
                return
        command = transfer.step(time_s, state, reference)
        effort = self._gravity.sent(command.effort, state)
        step_ms = 1e3 * (perf_counter() - started_s)
        late = monotonic() - received_s > self._robot.control_period_s
        self._statistics.add(command, step_ms, late)
        self._send(effort, stamp_ns)
        self._report(command, state, stamp_ns, np.array([[step_ms, STATUS_CODES[command.status], float(late)]]))
        if self._goals is not None:
            self._goals.judge(time_s, state, reference)

    def _send(self, effort: Array, stamp_ns: int) -> None:
        self._command = HandedCommand(stamp_ns, effort)
        self._hand_over(self._command)
        self._stepped_ns = stamp_ns
        now_s = monotonic()
        self._longest_gap_s = max(self._longest_gap_s, now_s - self._sent_s)
        self._sent_s = now_s

    def _hand_over(self, command: HandedCommand) -> None:
        """Give a command to the gate; by a link, let the gate's thread decide on it before anything else is done."""
        if self._link is not None:
            self._link.gate.post("~/command", command)
            self._link.gate.wait_until_handled(self._robot.control_period_s)
        if self._link is None or heard(self._command_out):
            self._command_out.publish(self._interface.gate_command(*command))

    def _report(self, command: Command, state: State, stamp_ns: int, step: Array) -> None:
        """Publish reports that have subscribers, after the command was sent."""
        reference, time_s = self._references.current, stamp_ns / NANOSECONDS
        if heard(self._step_out):
            self._step_out.publish(table_message(Table(stamp_ns, ("value",), topics.STEP_COLUMNS, step)))
        if reference is not None and heard(self._setpoint_out):
            target = command.target or reference.sample(np.array([time_s]))
            self._setpoint_out.publish(self._interface.setpoint(stamp_ns, target.q[0], target.v[0]))
        if command.external is not None:
            self._learned.external(command.external, state, stamp_ns)
        if command.context.names and time_s >= self._next_report_s:
            self._next_report_s = time_s + 1.0 / self._own.report_hz - 1e-9
            self._learned.context(command.context, stamp_ns)
        if command.plan is not None and time_s >= self._next_plan_s and heard(self._plan_out):
            self._next_plan_s = time_s + 1.0 / self._own.plan_hz - 1e-9
            self._plan_out.publish(self._interface.plan(stamp_ns, command.plan))

    # Inputs besides states.

    def _on_reference(self, topic: str, read: Callable[[Any], ReferencePoints], message: Any) -> None:
        offered = _Offered(message, topic, partial(read, message))
        if self._transfer is None or self._suspended:
            self._refuse_reference(offered, "the gate holds the robot: re-arm it first (/gate/rearm)", None)
        elif self._validation.time_s is None or self._references.current is None:
            if self._early_reference is not None:
                self._refuse_reference(self._early_reference, "another came before the robot's first state", None)
            self._early_reference = offered
        elif self._take_reference(offered, self._validation.time_s) is not None:
            self._end_goal(f"Current goal cancelled due to a new trajectory on {topic}.")

    def _take_reference(self, offered: _Offered, now_s: float) -> Taken | None:
        """Follow a reference, or report the reason for a refusal, keep the old one and return None."""
        try:
            begin_ns, since_ns, points, remarks = readable(offered.read)
            times = since_ns / NANOSECONDS + now_s if begin_ns == 0 else (begin_ns + since_ns) / NANOSECONDS
            self._check_lead(float(times[0]) - now_s)
            starts_s = now_s if begin_ns == 0 else begin_ns / NANOSECONDS
            taken = self._references.offer(times, points, now_s, starts_s=starts_s)
        except SignalError as error:
            self._refuse_reference(offered, str(error), now_s)
            return None
        for remark in remarks:
            self.refuse(f"reference: {remark}")
        taken = taken._replace(remarks=(*remarks, *taken.remarks))
        self._counts["references"] += 1
        self._has_reference = True
        self._yielding.accepted()
        self._reference_status_out.publish(reference_status.accepted(offered.message, offered.topic, taken, now_s))
        return taken

    def _follow_goal(self, message: Any) -> Taken | None:
        """Follow the trajectory of a goal, as one on the reference topic; None if it is refused."""
        _, _, read = self._interface.references(self._joint_rules)[0]
        offered = _Offered(message, "~/follow_joint_trajectory", partial(read, message))
        now_s = self._validation.time_s
        if not self.active or now_s is None or self._references.current is None:
            why = "Can't accept new action goals. Controller is not running, or has no state of the robot yet."
            self._refuse_reference(offered, why, now_s)
        elif self._suspended:
            self._refuse_reference(offered, "the gate holds the robot: re-arm it first (/gate/rearm)", now_s)
        elif (end := end_ns(message)) is not None and end < now_s * NANOSECONDS:
            why = f"it ended at {end / NANOSECONDS:.3f} s; it is {now_s:.3f} s now"
            self._refuse_reference(offered, why, now_s)
        else:
            return self._take_reference(offered, now_s)
        return None

    def _hold(self) -> None:
        """Come to rest from the newest state, and hold."""
        if self._validation.latest is not None:
            self._references.brake(self._validation.latest.state, self._validation.latest.stamp_s)

    def _end_goal(self, why: str) -> None:
        if self._goals is not None:
            self._goals.stop(why)

    def _check_lead(self, lead_s: float) -> None:
        """Raise SignalError for a reference that begins too late."""
        longest_s = self._own.max_reference_lead_s
        if lead_s > longest_s:
            raise SignalError(
                f"reference: it begins in {lead_s:.3f} s; allowed: up to {longest_s:.6g} s (max_reference_lead_s). "
                "Are its stamp and the states' from different clocks? Stamp 0 begins at once"
            )

    def _refuse_reference(self, offered: _Offered, why: str, now_s: float | None) -> None:
        self._counts["references_refused"] += 1
        self.get_logger().warning(f"reference refused, the old one is kept: {why}")
        self._reference_status_out.publish(reference_status.refused(offered.message, offered.topic, why, now_s))

    def _on_obstacles(self, topic: ObstacleTopic, message: Any) -> None:
        """Replace the obstacles of a topic; an unreadable message changes nothing."""
        try:
            self._obstacles[topic.name] = readable(partial(topic.read, message))
        except SignalError as error:
            self._counts["obstacles_refused"] += 1
            self.refuse(f"{topic.name} refused, the last one is kept: {error}")
            return
        if self._transfer is not None:
            self._tell_obstacles(self._transfer.controller)

    def _tell_obstacles(self, controller: Controller) -> None:
        observe = getattr(controller, "observe_obstacles", None)
        if observe is not None and self._obstacles:
            observe(np.concatenate(list(self._obstacles.values())))

    def _on_gate_state(self, message: DiagnosticStatus) -> None:
        values = {pair.key: pair.value for pair in message.values}
        self._stopped = values.get("state") not in ("passing", "waiting")
        held = values.get("latched") == "True" and values.get("state") != "waiting"
        if held == self._suspended or self._transfer is None:
            return
        self._suspended = held
        if held:
            self.get_logger().warning("the gate holds the robot: the controller pauses")
            self._end_goal("Current goal cancelled: the gate holds the robot.")
            return
        self.get_logger().info("the gate lets commands pass again: taking over from its effort and pose")
        if self._validation.latest is not None:
            self._begin(self._validation.latest)

    # Parameters.

    def _shipped(self, name: str) -> BaseModel:
        """The shipped configuration of a controller, read when the node was configured."""
        config = self._configs[name]
        if isinstance(config, MetaRLError):
            raise config
        return config

    def _on_parameters(self, new: MpcParameters) -> None:
        if self._transfer is not None and new.controller != self._name:
            check_controller(new.controller, self._names)
            self._start_building(new.controller, self._shipped(new.controller))
        self._own = new

    def _on_goal_defaults(self, new: GoalParameters) -> None:
        self._goal_defaults = new

    def _on_tuning(self, new: BaseModel) -> None:
        if self._transfer is None:
            self._tuning = new
        else:
            self._start_building(self._name, new)

    def _start_building(self, name: str, config: BaseModel) -> None:
        if self._builder is not None:
            raise MetaRLError(f"'{self._builder.name}' is being built; try again when it is active")
        self._longest_gap_s = 0.0
        self.get_logger().info(f"building {name}; {self._name} continues until it is ready")
        self._builder = ControllerBuilder(self._robot, name, config, self._checkpoint)
        self._change = self._change._replace(building=name)

    def _exchange(self, transfer: BumplessTransfer, builder: ControllerBuilder) -> None:
        """Switch to the controller that was built, or report the error and keep the present one."""
        self._builder = None
        if builder.controller is None:
            self.get_logger().error(f"{builder.name} cannot be built, {self._name} continues: {builder.error}")
            self.parameters.restore("", controller=self._name)
            self.parameters.restore(CONFIG_PREFIX, **self._tuning.model_dump())
            self._changed(f"{builder.name} cannot be built, {self._name} continues: {builder.error}")
            return
        self._tell_obstacles(builder.controller)
        transfer.switch(builder.controller)
        if builder.name != self._name:
            self.parameters.undeclare(CONFIG_PREFIX)
            defaults = builder.config.model_dump()
            self.parameters.declare(type(builder.config), CONFIG_PREFIX, defaults, self._on_tuning, use_overrides=False)
        self._name, self._tuning = builder.name, builder.config
        self._counts["controller_changes"] += 1
        gap_ms = 1e3 * self._longest_gap_s
        self._awaited = builder.controller
        self.get_logger().info(
            f"{self._name} has taken over; longest time between two commands meanwhile: {gap_ms:.1f} ms"
        )

    def _changed(self, failure: str = "") -> None:
        """The newest change is over."""
        self._change = Change(self._change.number + 1, "", failure, self._longest_gap_s)

    def diagnose(self) -> list[DiagnosticStatus]:
        if self._transfer is None:
            return []
        values, good = self._statistics.look()
        waiting = self._own.wait_for_reference and not self._has_reference
        text = (
            f"waiting for a reference on {self._interface.reference_topic}"
            if waiting
            else "paused: the gate holds the robot"
            if self._suspended
            else self._name
        )
        level = DiagnosticStatus.OK if good and not (waiting or self._suspended) else DiagnosticStatus.WARN
        worse, trouble = source_trouble(self, self._interface.state_topic, self._validation.refusals)
        if trouble:
            level, text = max(level, worse), f"{text}; {trouble}"
        level, text = sources_trouble(self, self._interface.sources, level, text)
        rejected = {f"state_{name}": count for name, count in self._validation.rejections.items()}
        rejected |= refused_counts(self._interface.sources)
        extra: dict[str, object] = {"controller": self._name, "building": self._builder.name if self._builder else ""}
        return [status_message("mpc", level, text, {**extra, **values, **rejected, **self._counts})]


def main(args: Sequence[str] | None = None) -> int:
    """Entry point of the controller node."""
    return run(MpcNode, args)


if __name__ == "__main__":
    raise SystemExit(main())
