# SPDX-License-Identifier: Apache-2.0
"""Simulated quadrotors, each under its own task: execute commands and return measurements.

Time runs in physics steps of length dt. The delays d_c and d_s are rounded up to whole steps. At step k the motors
follow the newest command issued at or before step k - d_c. A measurement shows the state at step k - d_s with Gaussian
noise of position, attitude (a rotation vector), velocity, rates and specific force. Rotor speeds follow their commands
exactly (first-order lag, command held over a step). The thrust of a step is the mean of those at its ends. The
accelerometer measures R^T (dv/dt - g), its mean over a control period. Every measurement draws one vector of noise,
independent of the command.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import MetaRLError, SignalError
from metarl_robot.core.rotation import inverse, normalise, rotate
from metarl_robot.core.signals import Setpoints, State
from metarl_robot.robots.quadrotor.description import Quadrotor
from metarl_robot.sim.kinds import RolloutArrays
from metarl_robot.sim.noise import NoiseStreams
from metarl_robot.sim.physics_time import PHYSICS_DT_S, velocity_age
from metarl_robot.sim.quadrotor.data_collection_controller import DataCollectionController
from metarl_robot.sim.quadrotor.flight import advanced, make_flight, state_of
from metarl_robot.sim.quadrotor.model import Fields, compile_model, hover_command, task_fields
from metarl_robot.sim.quadrotor.tasks import NOISES, QuadrotorTask
from metarl_robot.sim.quadrotor.worlds import Worlds

Array = NDArray[np.float64]


class QuadrotorBatch:
    """T quadrotors under T tasks, stepped together; call `reset` first.

    Arguments:
        robot: the robot to simulate.
        tasks: one per quadrotor; either all of them carry their payload on a sling, or none.
        seeds: seed of the sensor noise, one per quadrotor.
        physics_dt_s: length of a physics step.
        compiled: run in C if there is a compiler (flight.py).
    """

    def __init__(
        self,
        robot: Quadrotor,
        tasks: Sequence[QuadrotorTask],
        seeds: Sequence[int | Sequence[int]],
        physics_dt_s: float = PHYSICS_DT_S,
        compiled: bool = True,
    ) -> None:
        self.robot = robot
        self._seeds, self._dt = tuple(seeds), physics_dt_s
        self._count = len(tasks)
        self._period = round(robot.control_period_s / physics_dt_s)
        self._flight = make_flight(robot, self._count, physics_dt_s, compiled)
        self._slings: bool | None = None
        self._altered = False
        self._install(tasks)

    def _install(self, tasks: Sequence[QuadrotorTask]) -> None:
        slings, altered = {task.sling_m > 0.0 for task in tasks}, any(task.altered for task in tasks)
        if len(slings) > 1:
            raise MetaRLError("batch: payloads must all be rigid or all be on slings; they need different models")
        if self._slings not in slings or self._altered < altered:
            self._slings, self._altered = slings.pop(), altered
            self._build(self._slings, altered)
        for i, task in enumerate(tasks):
            for name, value in task_fields(self.robot, self._worlds.model, task)._asdict().items():
                self._fields[name][i] = value
        self._worlds.set_const()
        self.tasks = tuple(tasks)
        self._flight.install(self._worlds, tasks)

    def _build(self, sling: bool, altered: bool) -> None:
        self._worlds = Worlds(compile_model(self.robot, sling, self._dt, altered), self._count)
        self._fields = {name: self._worlds.parameter(name) for name in Fields._fields}
        self._qpos, self._qvel = (
            self._worlds.state(part) for part in (mujoco.mjtState.mjSTATE_QPOS, mujoco.mjtState.mjSTATE_QVEL)
        )

    def reset(self, q: Array, v: Array) -> State:
        """Restart at t = 0 with poses q (T, 7) and velocities v (T, 6), and the noise of the seeds.

        Returns the first measurements, (T, ·) each. The rotors turn as in hover until the first command takes effect.
        Payloads on slings hang at rest.
        """
        self._worlds.reset()
        self._place(np.array(q, float), np.array(v, float))
        self._noise = NoiseStreams(self._seeds, 3 * len(NOISES))
        hover = np.stack([hover_command(self.robot, task) for task in self.tasks])
        self._flight.begin(hover, self._resting_force(hover), self._noise.next())
        return state_of(self._flight.measured.copy())

    def _place(self, q: Array, v: Array) -> None:
        q[:, 3:] = normalise(q[:, 3:])
        self._qpos[:, :7], self._qvel[:, :6] = advanced(q, v, velocity_age(self._dt)), v
        if self._slings:
            self._hang()
        self._worlds.forward()

    def _hang(self) -> None:
        """Place payloads straight below, without rotation in the world."""
        attitude = np.array(self._qpos[:, 3:7])
        self._qpos[:, 7:11] = inverse(attitude)
        self._qvel[:, 6:9] = -rotate(attitude, np.array(self._qvel[:, 3:6]))

    def _resting_force(self, thrusts: Array) -> Array:
        """Specific force (T, 3) of bodies with no force but their rotors'."""
        mass = np.array([task.mass_scale * self.robot.mass_kg + task.payload.mass_kg for task in self.tasks])
        gain = np.stack([task.thrust_gain(self.robot) for task in self.tasks])
        return np.stack([np.zeros(self._count), np.zeros(self._count), (gain * thrusts).sum(1) / mass], axis=1)

    def set_tasks(self, tasks: Sequence[QuadrotorTask]) -> None:
        """Change the physical conditions in flight; positions, velocities and rotor speeds do not jump.

        A rigid payload takes over the quadrotor's velocity when attached; one on a sling starts hanging at rest below
        it.
        """
        hung, q, v = self._slings, np.array(self._qpos[:, :7]), np.array(self._qvel[:, :6])
        self._install(tasks)
        self._qpos[:, :7], self._qvel[:, :6] = q, v
        if self._slings and not hung:
            self._hang()
        self._worlds.forward()

    def step(self, effort: Array, count: int | None = None) -> State:
        """Issue commands (T, n) [N], clamped to the limits, and run for `count` physics steps.

        Default: one control period.

        Returns:
            The measurements at the end, (T, ·) each.
        """
        self._flight.run(effort, self._period if count is None else count, self._noise.next())
        return state_of(self._flight.measured.copy())

    def follow(self, law: DataCollectionController, points: Setpoints, dither: Array, log: RolloutArrays) -> None:
        """Fly under a controller and record the flight.

        Arguments:
            law: the controller.
            points: (T, S + 1, ·), one per control period. dither: (S, T, n) added to the commands [N].
            log: arrays of a metarl_robot.sim.dataset.DataSet, contiguous, (T, S + 1, ·), of effort and acting (T, S,
                n).
        """
        self._flight.follow(law, points, dither, np.stack([self._noise.next() for _ in dither]), log)

    @property
    def truth(self) -> State:
        """Present true states, (T, ·) each."""
        return state_of(self._flight.truth.copy())

    @property
    def steps(self) -> int:
        """Physics steps since the reset."""
        return self._flight.steps

    @property
    def sensor_steps(self) -> NDArray[np.intp]:
        """Age (T,) of the present measurements in physics steps."""
        return self._flight.sensor_steps

    @property
    def rotor_speeds(self) -> Array:
        """Present rotor speeds (T, n) [rad/s]."""
        return self._flight.speeds.copy()

    @property
    def acting_thrust(self) -> Array:
        """Mean k Ω² (T, n) of the rotors over the last call of `step` [N].

        It is the thrust that sound rotors with a fresh battery would have given.
        """
        return self._flight.mean_thrust.copy()

    @property
    def applied_force(self) -> Array:
        """Generalised force (T, count, 6) on the body in each physics step of the last `step` or `follow`.

        Units: [N; world, Nm; body].
        """
        return self._flight.applied

    @property
    def wind_felt(self) -> Array:
        """Present air velocity (T, 3) at each quadrotor [m/s; world]."""
        return self._flight.wind_felt

    @property
    def crashed(self) -> NDArray[np.bool_]:
        """Whether each (T,) has crashed since the reset: see QuadrotorTask's crash_impact_m_s and crash_tilt_deg."""
        return self._flight.crashed > 0

    @property
    def violation_counts(self) -> NDArray[np.intp]:
        """Counts (T, 4) of physics steps with a thrust command, a speed, a rate, any of them, beyond its limit."""
        return self._flight.counts.copy()

    def data(self, index: int) -> tuple[mujoco.MjModel, mujoco.MjData]:
        """Copy one quadrotor's MuJoCo model and state, for energies, momenta and pictures."""
        return self._worlds.copy(index)


@dataclass(frozen=True)
class FlightViolations:
    """Physics steps with a thrust command, a speed or a rate beyond a limit; `any` counts each step once."""

    thrust: int = 0
    speed: int = 0
    rate: int = 0
    any: int = 0

    @property
    def velocity(self) -> int:
        """Physics steps with a speed or a rate beyond its limit; a step with both counts twice."""
        return self.speed + self.rate


class QuadrotorPlant:
    """One quadrotor: a batch of one. Deterministic.

    The same seed, tasks and commands give the same measurements, bit for bit. peak_contact_n: largest contact force
    since the reset, at the ends of `step`; 0 in a task in which every contact is a crash.

    Arguments:
        robot: the robot to simulate.
        task: initial physical conditions.
        seed: seed of the sensor noise.
        physics_dt_s: length of a physics step.
    """

    def __init__(
        self, robot: Quadrotor, task: QuadrotorTask, seed: int | Sequence[int] = 0, physics_dt_s: float = PHYSICS_DT_S
    ) -> None:
        self.robot = robot
        self._dt = physics_dt_s
        self._batch = QuadrotorBatch(robot, [task], [seed], physics_dt_s=physics_dt_s)
        self.reset()

    def reset(self, q: Array | None = None, v: Array | None = None) -> State:
        """Restart at t = 0 at pose q (7,) and velocity v (6,), with the noise of the seed.

        Defaults: home, at rest. The rotors turn as in hover until the first command takes effect.

        Returns:
            The first measurement.
        """
        q = self.robot.home if q is None else self._checked("position", q, self.robot.nq)
        v = np.zeros(self.robot.dof) if v is None else self._checked("velocity", v, self.robot.dof)
        self.peak_contact_n = 0.0
        self._measured = self._sensed(self._batch.reset(q[None], v[None]))
        return self._measured

    def step(self, effort: Array, duration_s: float) -> State:
        """Issue a command now, and run for duration_s (a whole number of physics steps).

        Arguments:
            effort: (n,) rotor thrusts [N]; clamped to the robot's limits.
            duration_s: time until the next command.

        Returns:
            The measurement at the end.

        Raises:
            SignalError: wrong number of rotors, a value that is not finite, or a duration that is no multiple of the
                physics step; the plant is unchanged.
            MetaRLError: the simulation diverged.
        """
        effort = self._checked("effort", effort, self.robot.nu)
        count = round(duration_s / self._dt)
        if count < 1 or abs(count * self._dt - duration_s) > 1e-9:
            raise SignalError(
                f"plant: duration {duration_s} s is not a positive multiple of the physics step {self._dt} s"
            )
        self._measured = self._sensed(self._batch.step(effort[None], count))
        if self.task.crash_impact_m_s > 0.0:
            self.peak_contact_n = max(self.peak_contact_n, self._contact_n())
        if not np.all(np.isfinite(self._measured.v)):
            raise MetaRLError(
                f"plant: the simulation of '{self.robot.name}' diverged at {self.time:.3f} s; the task is "
                f"{self.task.to_dict()}"
            )
        return self._measured

    def _contact_n(self) -> float:
        """Force of all contacts in the last physics step [N]."""
        data = self._batch.data(0)[1]
        return float(np.linalg.norm(data.qfrc_constraint[:3]))

    def _sensed(self, measured: State) -> State:
        """The only quadrotor's measurement, of the sensors that it has."""
        state = _single(measured)
        if not self.task.imu:
            return State(state.q, state.v)
        assert state.specific_force is not None
        return State(state.q, state.v, state.specific_force + self.task.accelerometer_bias_m_s2)

    def set_task(self, task: QuadrotorTask) -> None:
        """Change the physical conditions in flight; position, velocity and rotor speeds do not jump."""
        self._batch.set_tasks([task])

    def measure(self) -> State:
        """Return the last measurement again: delayed, noisy."""
        return self._measured

    @property
    def task(self) -> QuadrotorTask:
        return self._batch.tasks[0]

    @property
    def quantities(self) -> Array:
        """True values of the robot's reports: mass (1) and centre of mass (3) of the payload, wind (3)."""
        return np.array([self.task.payload.mass_kg, *self.task.payload.com_m, *self.wind])

    @property
    def time(self) -> float:
        """Seconds since the reset."""
        return self._batch.steps * self._dt

    @property
    def stamp(self) -> float:
        """Time of the present measurement as a driver stamps it: `time` less the sensor delay.

        It is negative just after a reset.
        """
        return float(self._batch.steps - self._batch.sensor_steps[0]) * self._dt

    @property
    def truth(self) -> State:
        """Present true state."""
        return _single(self._batch.truth)

    @property
    def position(self) -> Array:
        """Present true position (3,) of the body's origin [m; world]."""
        return self.truth.q[:3]

    @property
    def payload_position(self) -> Array:
        """Present centre of mass (3,) of the payload [m; world]."""
        model, data = self.mujoco_state()
        mujoco.mj_kinematics(model, data)
        return np.array(data.body("payload").xipos)

    @property
    def wind(self) -> Array:
        """Present air velocity (3,) at the quadrotor [m/s; world]."""
        return self._batch.wind_felt[0]

    @property
    def rotor_speeds(self) -> Array:
        """Present rotor speeds (n,) [rad/s]."""
        return self._batch.rotor_speeds[0]

    @property
    def applied_effort(self) -> Array:
        """Mean rotor thrust (n,) since the last command, without ground effect [N]."""
        return self.task.thrust_gain(self.robot) * self._batch.acting_thrust[0]

    @property
    def crashed(self) -> bool:
        """Whether it has crashed since the reset: see QuadrotorTask's crash_impact_m_s and crash_tilt_deg."""
        return bool(self._batch.crashed[0])

    @property
    def violations(self) -> FlightViolations:
        """Counts since the reset.

        A command beyond the limits counts as a thrust violation, although the plant clamps it.
        """
        return FlightViolations(*(int(count) for count in self._batch.violation_counts[0]))

    def mujoco_state(self) -> tuple[mujoco.MjModel, mujoco.MjData]:
        """Copy the model and the present true state, for energies, momenta and pictures."""
        model, data = self._batch.data(0)
        state = self.truth
        data.qpos[:7], data.qvel[:6] = state.q, state.v
        return model, data

    def energy(self) -> tuple[float, float]:
        """Present (potential, kinetic) energy of the quadrotor and its payload [J]."""
        model, data = self.mujoco_state()
        mujoco.mj_fwdPosition(model, data)
        mujoco.mj_fwdVelocity(model, data)
        mujoco.mj_energyPos(model, data)
        mujoco.mj_energyVel(model, data)
        return float(data.energy[0]), float(data.energy[1])

    def _checked(self, what: str, values: Array, size: int) -> Array:
        array = np.asarray(values, float)
        if array.shape != (size,):
            raise SignalError(f"plant: {what} has shape {array.shape}; {self.robot.name} needs ({size},)")
        if not np.all(np.isfinite(array)):
            raise SignalError(f"plant: {what} holds a value that is not finite: {array.tolist()}")
        return array


def _single(state: State) -> State:
    assert state.specific_force is not None
    return State(state.q[0], state.v[0], state.specific_force[0])
