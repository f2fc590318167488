# SPDX-License-Identifier: Apache-2.0
"""The simulated robot: measurements and clock out, commands in. The physics is metarl_robot.sim.

Several simulated robots share one clock (shared_clock.py). The own time of a robot, by which its conditions change,
starts with its first command; its stamps are those of the clock.

Time stands still until the first command, as a real robot's brakes stay closed until it is commanded; a flying robot
is then in the air.

Lockstep: the plant publishes a state, waits for the command with that state's stamp, then advances by one control
period. Meanwhile it repeats the state, so that a lost message or a node that starts late does not stop the run. After
`grace_s` (real seconds) without a command, once there has been one, the gate counts as dead and time continues at
about its real pace.

Real time: the plant advances by one control period when one has passed. A command acts from its arrival, to the
resolution of the physics step.

A command is valid for `command_deadline_s` of simulated time; then the fallback law stops the robot
(metarl_robot.safety.last_hop), as a watchdog in a driver should. Commands that answer older states are refused: they
come from the queue of a gate that was paused.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from time import monotonic
from typing import Any, NamedTuple

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from numpy.typing import NDArray
from pydantic import Field
from rclpy.qos import QoSProfile
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger

from metarl_robot.core.errors import SignalError
from metarl_robot.core.quantities import quantities
from metarl_robot.core.robot import Robot, load_robot, named
from metarl_robot.core.tables import NANOSECONDS, Table, table_of
from metarl_robot.ros_nodes import topics
from metarl_robot.ros_nodes.convert import status_message, table_message
from metarl_robot.ros_nodes.ending import REST_WITHIN_S
from metarl_robot.ros_nodes.gate import shipped
from metarl_robot.ros_nodes.guarded import readable
from metarl_robot.ros_nodes.interface import interface_of
from metarl_robot.ros_nodes.loop_timing import LoopTiming
from metarl_robot.ros_nodes.managed import REALTIME_PRIORITY, ManagedNode, RobotParameters, heard
from metarl_robot.ros_nodes.message_options import SensorParameters, message_options
from metarl_robot.ros_nodes.parameters import Declarer, OnChange, changed_fields, fixed
from metarl_robot.ros_nodes.publishers import LOOK_PERIOD_S, SolePublishers
from metarl_robot.ros_nodes.runtime import run
from metarl_robot.ros_nodes.shared_clock import SharedClock
from metarl_robot.ros_nodes.timeline import TimelineParameters, check_scenario, settings_of, timeline
from metarl_robot.safety.fallback_law import gate_config
from metarl_robot.safety.last_hop import LastHop
from metarl_robot.safety.refusals import ADVICE, Rejection
from metarl_robot.sim.disturbances import Disturbances
from metarl_robot.sim.kinds import Plant, simulation
from metarl_robot.sim.scenario import Task
from metarl_robot.sim.task_settings import TaskSettings

Array = NDArray[np.float64]

REPEAT_S = 0.05  # period for repeating an unanswered state
_GATE_SILENT_S = 5.0  # a gate that commanded sends something every control period; after this silence it has ended
_LATE = 1.5  # a real-time tick after more periods than this counts as late
_CATCH_UP = 4  # most periods that a robot in real time is advanced at once, to reach the shared clock
_OFFERED = 100  # latest stamps of states before the first command, which may answer any of them


class PlantParameters(RobotParameters, SensorParameters):
    """Parameters of the plant node, without those of the conditions."""

    realtime_priority: int = fixed(25, ge=0, le=49, description=REALTIME_PRIORITY)
    grace_s: float = Field(
        10.0, ge=0.05, le=600.0, description="lockstep: wait this long for a command, in real time [s]"
    )
    start_within_s: float = fixed(
        60.0,
        ge=0.0,
        le=3600.0,
        description="lockstep, several robots: time starts when all have a command, or this long after the first [s; "
        "real time]",
    )
    command_deadline_s: float = Field(
        0.1,
        ge=0.0,
        le=10.0,
        description="without a command for this long, the fallback law stops the robot; 0: keep the last command [s]",
    )
    effort_includes_gravity: bool = fixed(
        True, description="false: the simulated robot adds its own gravity, as Franka's and UR's do"
    )
    publish_clock: bool = fixed(
        True,
        description="publish /clock, unless another plant on this machine does; false: follow a clock from elsewhere, "
        "such as Gazebo's or a bag's",
    )


def truth_columns(robot: Robot) -> tuple[str, ...]:
    """The columns of ~/truth, which no controller receives.

    First the quantities of the robot's reports. Coordinates are free of noise; effort is the motors' output. tracked:
    the point that defines the tracking error.
    """
    tracked = tuple(f"tracked_{axis}_m" for axis in "xyz")
    q, v, effort = robot.coordinates
    return (*(item.name for item in quantities(robot)), *tracked, *q, *v, *effort, "violations", "crashed")


class Declared(NamedTuple):
    """Values of a node's start. conditions, settings: of the tasks. disturbances: those of the robot's kind."""

    own: PlantParameters
    robot: Robot
    conditions: TimelineParameters
    settings: TaskSettings
    disturbances: Disturbances


def declared(parameters: Declarer, on_own: OnChange = None, on_disturbances: OnChange = None) -> Declared:
    """See Declarer. Raises MetaRLError."""
    own = parameters.declare(PlantParameters, on_change=on_own)
    conditions = parameters.declare(TimelineParameters, "task.")
    robot = load_robot(own.robot, of_kind=own.robot_kind)
    if conditions.suite:
        check_scenario(robot, conditions.suite, conditions.scenario)
    settings = parameters.declare(settings_of(robot), "task.", read_only=True)
    kinds_own = named(robot.simulation).disturbances
    disturbances = parameters.declare(kinds_own, "disturb.", on_change=on_disturbances)
    return Declared(own, robot, conditions, settings, disturbances)


class PlantNode(ManagedNode):
    """Simulates a robot; see the module's docstring."""

    def __init__(self) -> None:
        super().__init__("plant")
        self._own, self._robot, self._conditions, self._settings, self._disturbances = declared(
            self.parameters, self._on_parameters, self._on_disturbances
        )
        self._disturbed = changed_fields(type(self._disturbances)(), self._disturbances)
        self._plant: Plant | None = None
        self._paused = False
        self.start(self._own.autostart)

    def configure(self) -> None:
        self._simulation, self._interface = (
            simulation(self._robot),
            interface_of(self._robot, message_options(self._own, self.get_namespace())),
        )
        self._timeline = timeline(self._robot, self._conditions, self._settings)
        self._gravity = None if self._own.effort_includes_gravity else self._simulation.own_gravity()
        self._columns = truth_columns(self._robot)
        self._law_config = gate_config(self._robot).model_validate(self._law_values())
        self._steps_per_period = round(self._robot.control_period_s / self._simulation.physics_dt_s)
        self._refused: Counter[str] = Counter()
        self._paused = False
        own = self._own
        self._period_ns = round(self._robot.control_period_s * NANOSECONDS)
        self._shared_clock = SharedClock(
            self, own.lockstep, own.publish_clock, own.start_within_s, self._on_advance, self._on_clock_reset
        )
        plant = self.make_plant(self._timeline.initial, self._timeline.noise_seed)
        self._interface.simulate(plant)
        self._plant = self._restart(plant)
        self._open()

    def make_plant(self, task: Any, seed: Any) -> Plant:
        """Make the simulated robot under a task, with a seed of its noise."""
        return self._simulation.plant(task, seed)

    def _on_parameters(self, new: PlantParameters) -> None:
        self._own = new
        if self._plant is not None:
            self._last_hop.deadline_s = new.command_deadline_s

    def _on_disturbances(self, new: Disturbances) -> None:
        """Apply disturbances now; of those that were never set, the run's conditions stay."""
        names = self._disturbed | changed_fields(self._disturbances, new)
        if self._plant is not None:
            self._plant.set_task(new.applied(self._undisturbed, names))
        self._disturbances, self._disturbed = new, names

    def _set_task(self, plant: Plant, task: Task) -> None:
        """Change the run's conditions, below the user's disturbances."""
        self._undisturbed = task
        plant.set_task(self._disturbances.applied(task, self._disturbed))

    def _law_values(self) -> dict[str, object]:
        """Parameters of the last hop's law: the gate's defaults."""
        own = {"effort_includes_gravity": self._own.effort_includes_gravity}
        gravity = own if self._robot.drivers_may_add_gravity else {}
        return {**shipped(self._robot), **gravity}

    def _restart(self, plant: Plant) -> Plant:
        """Reset to the start pose, the first conditions and the robot's own time 0."""
        self._shared_clock.restart()
        self._origin_ns = self._shared_clock.now_ns
        self._set_task(plant, self._timeline.initial)
        self._state = plant.reset(self._timeline.start)
        self._changes = list(self._timeline.changes)
        self._last_hop = LastHop(self._robot, self._law_config, self._own.command_deadline_s)
        self._effort: Array | None = None
        self._answer: Array | None = None
        self._arrivals: list[tuple[float, Array]] = []
        self._absent = False
        self._late_ticks = 0
        self._timing = LoopTiming(self._robot.control_period_s)
        self._ticked_s = self._published_s = self._moved_s = self._commanded_s = monotonic()
        self._stamp_ns = self._origin_ns
        self._offered = deque([self._stamp_ns], maxlen=_OFFERED)
        return plant

    def _open(self) -> None:
        self._state_outs: list[Any] = []
        self._speak = self._interface.speaker(self._make_state_out)
        self._truth_out = self.create_lifecycle_publisher(Float64MultiArray, "~/truth", topics.REPORT)
        self._command_in = self.create_subscription(
            Float64MultiArray, self._interface.commands, self._on_command, topics.COMMAND
        )
        self.expect(self._interface.commands, "gate")
        self._sole = SolePublishers(self, (self._interface.commands,))
        self._own_services = (
            self.create_service(Trigger, "~/reset_world", self._on_reset),
            self.create_service(SetBool, "~/set_pause", self._on_pause),
            self.create_service(Trigger, "~/step", self._on_step),
        )
        period = REPEAT_S if self._own.lockstep else self._robot.control_period_s
        self._ticker = self.every(period, self._repeat if self._own.lockstep else self._tick)
        self._looker = self.every(LOOK_PERIOD_S, self._perceive)
        self._obstacles_out = [
            (self.create_lifecycle_publisher(each.type, f"mpc/{each.name}", topics.REFERENCE_QOS), each.make)
            for each in self._interface.obstacles
            if each.make is not None and len(self._timeline.obstacles)
        ]

    def _perceive(self) -> None:
        """Check for other publishers, and publish the simulated obstacles."""
        self._sole.look()
        for out, make in self._obstacles_out:
            out.publish(make(self._timeline.obstacles))

    def _make_state_out(self, kind: Any, topic: str, quality: QoSProfile) -> Any:
        self._state_outs.append(self.create_lifecycle_publisher(kind, topic, quality))
        return self._state_outs[-1]

    def activate(self) -> None:
        self.prefer_me(self._own)
        self._shared_clock.start()
        if self._plant is not None:
            self._skip(self._plant)
            self._publish(self._plant)

    def deactivate(self) -> None:
        self._shared_clock.stop()

    def cleanup(self) -> None:
        self._plant = None
        self._shared_clock.close()
        obstacles = (out for out, _ in self._obstacles_out)
        for publisher in (*self._state_outs, self._truth_out, *obstacles):
            self.destroy_lifecycle_publisher(publisher)
        self.destroy_subscription(self._command_in)
        for service in self._own_services:
            self.destroy_service(service)
        for timer in (self._ticker, self._looker):
            self.destroy_timer(timer)

    def troubles(self) -> list[str]:
        return super().troubles() + ([] if self._plant is None else self._sole.problems())

    def silences(self) -> list[str]:
        return [] if self._paused else super().silences()

    def close(self) -> None:
        if self._plant is not None and not self._own.lockstep:
            self.get_logger().info(f"loop: {self._timing.look()}")

    def prepare_end(self, why: str) -> None:
        """Announce that a robot stays as long as its gate."""
        if not self.may_end(0.0):
            self.get_logger().info(
                f"{why}: the simulation continues until the gate has ended; a second Ctrl-C ends it at once"
            )

    def may_end(self, waited_s: float) -> bool:
        """Whether the gate has ended or is silent."""
        if self._plant is None or not self.active or self._effort is None:
            return True
        silent = monotonic() - self._commanded_s > _GATE_SILENT_S
        return silent or waited_s > REST_WITHIN_S or self.count_publishers(self._interface.commands) == 0

    def diagnose(self) -> list[DiagnosticStatus]:
        plant = self._plant
        if plant is None:
            return []
        violations: Any = plant.violations
        values = {
            "time_s": plant.time,
            "clock": "published" if self._shared_clock.holds else "followed",
            "paused": self._paused,
            "late_ticks": self._late_ticks,
            "violations": violations.any,
            **{f"violations_{what}": count for what, count in asdict(violations).items() if what != "any"},
            "crashed": plant.crashed,
            "stopping": self._last_hop.stopping,
            "stops": self._last_hop.stops,
            "command_clipped": self._last_hop.clipped,
            **{f"command_{why}": count for why, count in self._refused.items()},
            **(
                {}
                if self._own.lockstep
                else {f"loop_{name}": value for name, value in self._timing.look()._asdict().items()}
            ),
        }
        if not self._shared_clock.holds and self._shared_clock.now_ns == 0:
            level, text = DiagnosticStatus.WARN, f"no time on {self.resolve_topic_name(topics.CLOCK)} yet"
        elif self._effort is None:
            level, text = DiagnosticStatus.WARN, "stands still until the first command"
        elif self._last_hop.stopping:
            level, text = DiagnosticStatus.ERROR, "no commands: the fallback law stops the robot"
        elif self._absent:
            level, text = DiagnosticStatus.ERROR, "no commands: the last one stays in force"
        elif plant.crashed:
            level, text = DiagnosticStatus.ERROR, "crashed"
        else:
            level, text = (
                (DiagnosticStatus.WARN, "limits violated") if violations.any else (DiagnosticStatus.OK, "running")
            )
        return [status_message("plant", level, text, values)]

    # Commands.

    def _on_command(self, message: Float64MultiArray) -> None:
        plant, arrived_s = self._plant, monotonic()
        if plant is None or not self.active:
            return
        try:
            effort, stamp_ns, source = readable(partial(self._read, message))
            first = self._waits and stamp_ns in self._offered
            if self._is_old(stamp_ns) and not (first and self._own.lockstep):
                self._refused["stale"] += 1
                return
            if not self._last_hop.admits(source, plant.time):
                self._refused[Rejection.OTHER_SOURCE.value] += 1
                self.refuse(f"command refused: {ADVICE[Rejection.OTHER_SOURCE]}")
                return
            effort = self._last_hop.accept(effort, plant.time)
        except SignalError as error:
            self._refused["unreadable"] += 1
            self.refuse(f"command refused: {error}")
            return
        self._commanded_s = arrived_s
        if first and stamp_ns is not None:
            self._origin_ns = self._stamp_ns = stamp_ns
        if not self._own.lockstep:
            self._timing.answered(stamp_ns, arrived_s)
            self._effort = effort if self._effort is None else self._effort
            self._arrivals.append((arrived_s, effort))
        elif stamp_ns in (None, self._stamp_ns):
            self._absent = False
            self._answer = effort
            if not self._paused:
                self._answered(plant)

    def _read(self, message: Float64MultiArray) -> tuple[Array, int | None, str]:
        """Read a command: (effort (n,), stamp of the state that it answers or None, source)."""
        labelled = len(message.layout.dim) == 2
        table = table_of(message) if labelled else None
        effort = np.array(message.data, dtype=np.float64) if table is None else table.values[0]
        return (effort, None, "") if table is None else (effort, table.stamp_ns, table.source)

    def _is_old(self, stamp_ns: int | None) -> bool:
        """Whether a command answers a state from before the deadline, from the queue of a paused gate."""
        deadline_ns = round(self._own.command_deadline_s * NANOSECONDS)
        return stamp_ns is not None and 0 < deadline_ns < self._stamp_ns - stamp_ns

    # Lockstep.

    def _answered(self, plant: Plant) -> None:
        """Advance to the next state, if its time has come; else the clock's advance calls this again."""
        if self._answer is not None and self._may_move(plant):
            self._effort, self._answer = self._answer, None
            self._move(plant, [(self._effort, self._steps_per_period)])

    def _may_move(self, plant: Plant) -> bool:
        return self._shared_clock.reached(self._time_ns(plant) + self._period_ns)

    def _on_advance(self) -> None:
        """Lockstep: another plant advanced the clock."""
        plant = self._plant
        if plant is None or not self.active or self._paused:
            return
        self._answered(plant)
        if self._waits and self._is_due():
            self._publish(plant)

    def _is_due(self) -> bool:
        """Whether a robot that waits for its first command has a new state: its gate wants them at the usual rate."""
        return self._shared_clock.now_ns - self._stamp_ns >= self._period_ns

    def _repeat(self) -> None:
        plant, now_s = self._plant, monotonic()
        if plant is None or not self.active:
            return
        self._shared_clock.look()
        if self._paused:
            return
        if self._answer is not None:
            self._moved_s = now_s  # it waits for other robots
            self._answered(plant)
        if self._effort is not None and now_s - self._moved_s > self._own.grace_s and not self._absent:
            self.get_logger().error(
                f"no command within {self._own.grace_s} s of real time: the last one stays in force"
            )
            self._absent = True
        if self._absent and self._effort is not None:
            for _ in range(max(1, round(REPEAT_S / self._robot.control_period_s))):
                if self._may_move(plant):
                    self._move(plant, [(self._effort, self._steps_per_period)])
        elif now_s - self._published_s >= REPEAT_S:
            self._publish(plant)

    # Real time.

    def _tick(self) -> None:
        plant, now_s = self._plant, monotonic()
        if plant is None or not self.active:
            return
        moves = self._effort is not None and not self._paused
        self._shared_clock.run(self._period_ns, moves)
        self._shared_clock.look()
        if self._effort is None or self._paused:
            self._ticked_s = now_s
            if (self._is_due() or now_s - self._published_s >= REPEAT_S) and not self._paused:
                self._publish(plant)
            return
        self._late_ticks += now_s - self._ticked_s > _LATE * self._robot.control_period_s
        segments = self._segments(self._effort, now_s)
        self._ticked_s = now_s
        for _ in range(_CATCH_UP):
            if not self._may_move(plant):
                break
            self._move(plant, segments)
            self._timing.sent(self._stamp_ns, self._published_s)
            segments = [(self._effort, self._steps_per_period)]

    def _segments(self, effort: Array, now_s: float) -> list[tuple[Array, int]]:
        """Efforts since the last tick, with the number of physics steps of each."""
        count, span = self._steps_per_period, max(now_s - self._ticked_s, 1e-9)
        segments, done = [], 0
        for arrived_s, new in self._arrivals:
            until = int(np.clip(np.ceil((arrived_s - self._ticked_s) / span * count), done, count))
            segments.append((effort, until - done))
            effort, done = new, until
        segments.append((effort, count - done))
        self._effort = effort
        self._arrivals.clear()
        return [(value, steps) for value, steps in segments if steps > 0]

    # Both.

    def _move(self, plant: Plant, segments: list[tuple[Array, int]]) -> None:
        """Advance one control period and publish the state.

        The last hop's law replaces commands that are too old.
        """
        period_s, state = self._robot.control_period_s, self._state
        override = self._last_hop.override(state, plant.time, period_s)
        self._advance(plant, segments if override is None else [(override, self._steps_per_period)])
        self._publish(plant)
        if override is None:
            self._last_hop.passed(segments[-1][0], state, period_s)

    def _advance(self, plant: Plant, segments: list[tuple[Array, int]]) -> None:
        while self._changes and plant.time >= self._changes[0][0] - 0.5 * self._simulation.physics_dt_s:
            moment, task = self._changes.pop(0)
            self._set_task(plant, task)
            self.get_logger().info(f"conditions changed at {moment:g} s")
        for effort, steps in segments:
            if self._gravity is not None:
                effort = effort + self._gravity(self._state.q)
            self._state = plant.step(effort, steps * self._simulation.physics_dt_s)
        self._stamp_ns = self._origin_ns + max(0, round(plant.stamp * NANOSECONDS))
        self._moved_s = monotonic()

    @property
    def _waits(self) -> bool:
        """Whether no command has come yet."""
        return self._effort is None and self._answer is None

    def _time_ns(self, plant: Plant) -> int:
        """The robot's time by the shared clock."""
        return self._origin_ns + round(plant.time * NANOSECONDS)

    def _stand_by(self) -> None:
        """Before its first command, a robot stands still while the shared clock goes on: it measures rest."""
        self._shared_clock.wait()
        if self._shared_clock.now_ns > self._origin_ns:
            self._origin_ns = self._stamp_ns = self._shared_clock.now_ns
            self._state = replace(self._state, v=np.zeros_like(self._state.v))
            self._offered.append(self._stamp_ns)

    def _publish(self, plant: Plant) -> None:
        if self._waits:
            self._stand_by()
        now_ns = self._time_ns(plant)
        self._published_s = monotonic()
        effort = plant.applied_effort
        self._speak(self._stamp_ns, self._state, effort)
        self._shared_clock.tell()
        if heard(self._truth_out):
            self._truth_out.publish(table_message(Table(now_ns, ("value",), self._columns, self._truth(plant, effort))))

    def _truth(self, plant: Plant, effort: Array) -> Array:
        """Values of ~/truth, (1, ·); see truth_columns."""
        truth = plant.truth
        tracked = self._simulation.positions(truth.q[None])[0]
        numbers = [*plant.quantities, *tracked, *truth.q, *truth.v, *effort]
        return np.array([[*numbers, plant.violations.any, plant.crashed]], dtype=np.float64)

    # Services.

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._plant is not None
        if self._plant is not None:
            self._restart(self._plant)
            self._publish(self._plant)
        response.message = f"back at the start; time is {self._origin_ns / NANOSECONDS:g} s" + (
            ": other robots go by this clock" if self._origin_ns else " again"
        )
        return response

    def _skip(self, plant: Plant) -> None:
        """Real time: after a pause the robot goes on at the present time of the shared clock."""
        if not self._own.lockstep and self._effort is not None:
            self._origin_ns += max(0, self._shared_clock.now_ns - self._time_ns(plant))

    def _on_clock_reset(self) -> None:
        """A clock that this plant follows went back."""
        if self._plant is not None:
            self.get_logger().warning("the clock went back: the robot starts again")
            self._restart(self._plant)
            self._publish(self._plant)

    def _on_pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._paused = bool(request.data)
        self._moved_s = monotonic()
        if not self._paused and self._plant is not None:
            self._skip(self._plant)
            self._answered(self._plant)
        response.success, response.message = True, "paused" if self._paused else "running"
        return response

    def _on_step(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        plant = self._plant
        effort = self._answer if self._own.lockstep else self._arrivals[-1][1] if self._arrivals else self._effort
        if plant is None or not self._paused or effort is None:
            response.success = False
            response.message = (
                "pause first (~/set_pause)" if not self._paused else "no command for the present state yet"
            )
            return response
        if not self._own.lockstep:
            self._shared_clock.run(self._period_ns, moves=True)
        if not self._may_move(plant):
            response.success, response.message = False, "another robot is at an earlier time: step it first"
            return response
        self._effort, self._answer = effort, None
        self._arrivals.clear()
        self._move(plant, [(effort, self._steps_per_period)])
        response.success, response.message = True, f"time is {plant.time:g} s"
        return response


def main(args: Sequence[str] | None = None) -> int:
    """Entry point of the plant node."""
    return run(PlantNode, args)


if __name__ == "__main__":
    raise SystemExit(main())
