# SPDX-License-Identifier: Apache-2.0
"""Simulated quadrotors, each under its own task: what executes commands and is measured.

Time runs in physics steps of length dt. With delays d_c and d_s rounded up to whole steps, at step k the motors follow
the newest command issued at or before step k - d_c, and a measurement shows the state at step k - d_s, with Gaussian
noise: of position, attitude (a rotation vector), velocity, rates and specific force. Rotor speeds follow their commands
exactly (first-order lag, command held over a step); the thrust of a step is the mean of those at its ends. The
accelerometer shows R^T (dv/dt - g), its mean over a control period. Every measurement draws one vector of noise,
whatever is commanded.
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
from metarl_robot.sim.quadrotor.data_collection_controller import DetunedLaw
from metarl_robot.sim.quadrotor.flight import advanced, make_flight, state_of
from metarl_robot.sim.quadrotor.model import Fields, compile_model, hover_command, task_fields
from metarl_robot.sim.quadrotor.tasks import NOISES, QuadrotorTask
from metarl_robot.sim.quadrotor.worlds import Worlds

Array = NDArray[np.float64]


class QuadrotorBatch:
    """T quadrotors under T tasks, stepped together; `reset` comes first.

    Arguments:
        robot: what to simulate.
        tasks: one per quadrotor; either all of them carry their payload on a sling, or none.
        seeds: one per quadrotor, of its sensor noise.
        physics_dt_s: length of a physics step.
        compiled: in C where there is a compiler (trajectories.py).
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
        self._install(tasks)

    def _install(self, tasks: Sequence[QuadrotorTask]) -> None:
        slings = {task.sling_m > 0.0 for task in tasks}
        if len(slings) > 1:
            raise MetaRLError("batch: payloads must all be rigid or all be on slings; they need different models")
        if self._slings not in slings:
            self._slings = slings.pop()
            self._build(self._slings)
        for i, task in enumerate(tasks):
            for name, value in task_fields(self._worlds.model, task)._asdict().items():
                self._fields[name][i] = value
        self._worlds.set_const()
        self.tasks = tuple(tasks)
        self._flight.install(self._worlds, tasks)

    def _build(self, sling: bool) -> None:
        self._worlds = Worlds(compile_model(self.robot, sling, self._dt), self._count)
        self._fields = {name: self._worlds.parameter(name) for name in Fields._fields}
        self._qpos, self._qvel = (
            self._worlds.state(part) for part in (mujoco.mjtState.mjSTATE_QPOS, mujoco.mjtState.mjSTATE_QVEL)
        )

    def reset(self, q: Array, v: Array) -> State:
        """Start again at t = 0, poses q (T, 7) and velocities v (T, 6), noise from the seeds. Returns the first
        measurements, (T, ·) each.

        The rotors turn as in hover, and go on so until the first command takes effect. What hangs on a sling hangs at
        rest.
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
        """Payloads straight below, not turning in the world."""
        attitude = np.array(self._qpos[:, 3:7])
        self._qpos[:, 7:11] = inverse(attitude)
        self._qvel[:, 6:9] = -rotate(attitude, np.array(self._qvel[:, 3:6]))

    def _resting_force(self, thrusts: Array) -> Array:
        """(T, 3) specific force of bodies that nothing but their rotors push."""
        mass = self.robot.mass_kg + np.array([task.payload.mass_kg for task in self.tasks])
        gain = np.stack([task.thrust_gain for task in self.tasks])
        return np.stack([np.zeros(self._count), np.zeros(self._count), (gain * thrusts).sum(1) / mass], axis=1)

    def set_tasks(self, tasks: Sequence[QuadrotorTask]) -> None:
        """Change the physical conditions now, in flight: positions, velocities and rotor speeds do not jump.

        A payload that is attached takes over the quadrotor's velocity; on a sling it starts to hang at rest below it.
        """
        hung, q, v = self._slings, np.array(self._qpos[:, :7]), np.array(self._qvel[:, :6])
        self._install(tasks)
        self._qpos[:, :7], self._qvel[:, :6] = q, v
        if self._slings and not hung:
            self._hang()
        self._worlds.forward()

    def step(self, effort: Array, count: int | None = None) -> State:
        """Issue commands (T, 4) [N], clamped to the limits, and run for `count` physics steps (default: one control
        period).

        Returns:
            The measurements at the end, (T, ·) each.
        """
        self._flight.run(effort, self._period if count is None else count, self._noise.next())
        return state_of(self._flight.measured.copy())

    def follow(self, law: DetunedLaw, points: Setpoints, dither: Array, log: RolloutArrays) -> None:
        """Fly under a controller, and write all down.

        Arguments:
            points: (T, S + 1, ·), one a control period. dither: (S, T, 4) added to the commands [N].
            log: arrays of a metarl_robot.sim.dataset.DataSet, contiguous, (T, S + 1, ·), of effort and acting (T, S,
                4).
        """
        self._flight.follow(law, points, dither, np.stack([self._noise.next() for _ in dither]), log)

    @property
    def truth(self) -> State:
        """True states now, (T, ·) each."""
        return state_of(self._flight.truth.copy())

    @property
    def steps(self) -> int:
        """Physics steps since the reset."""
        return self._flight.steps

    @property
    def sensor_steps(self) -> NDArray[np.intp]:
        """(T,) age of the present measurements in physics steps."""
        return self._flight.sensor_steps

    @property
    def rotor_speeds(self) -> Array:
        """(T, 4) now [rad/s]."""
        return self._flight.speeds.copy()

    @property
    def acting_thrust(self) -> Array:
        """(T, 4) k Ω² of the rotors, its mean over the last call of `step` [N]: what sound rotors with a fresh battery
        would have given.
        """
        return self._flight.mean_thrust.copy()

    @property
    def applied_force(self) -> Array:
        """(T, count, 6) generalised force on the body in each physics step of the last `step` or `follow` [N; world,
        Nm; body].
        """
        return self._flight.applied

    @property
    def wind_felt(self) -> Array:
        """(T, 3) velocity of the air at each now [m/s; world]."""
        return self._flight.wind_felt

    @property
    def crashed(self) -> NDArray[np.bool_]:
        """(T,) whether each has touched the ground or tilted by more than 100 degrees since the reset."""
        return self._flight.crashed > 0

    @property
    def violation_counts(self) -> NDArray[np.intp]:
        """(T, 4) physics steps with a thrust command, a speed, a rate, any of them, beyond its limit."""
        return self._flight.counts.copy()

    def data(self, index: int) -> tuple[mujoco.MjModel, mujoco.MjData]:
        """A copy of one quadrotor's MuJoCo model and state: for energies, momenta and pictures."""
        return self._worlds.copy(index)


@dataclass(frozen=True)
class FlightViolations:
    """Physics steps with a thrust command, a speed or a rate beyond a limit of the robot;
    `any` counts each step once.
    """

    thrust: int = 0
    speed: int = 0
    rate: int = 0
    any: int = 0


class QuadrotorPlant:
    """One quadrotor: a batch of one. Deterministic: the same seed, tasks and commands give the same measurements, bit
    for bit.

    Arguments:
        robot: what to simulate.
        task: physical conditions at the start.
        seed: of the sensor noise.
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
        """Start again at t = 0 and pose q (7,) (default: home), moving at v (6,) (default: at rest), noise from its
        seed.

        The rotors turn as in hover until the first command takes effect.

        Returns:
            The first measurement.
        """
        q = self.robot.home if q is None else self._checked("position", q, self.robot.nq)
        v = np.zeros(self.robot.dof) if v is None else self._checked("velocity", v, self.robot.dof)
        self._measured = _single(self._batch.reset(q[None], v[None]))
        return self._measured

    def step(self, effort: Array, duration_s: float) -> State:
        """Issue a command now, and run for duration_s (a whole number of physics steps).

        Arguments:
            effort: (4,) rotor thrusts [N]; clamped to the robot's limits.
            duration_s: time until the next command.

        Returns:
            The measurement at the end.

        Raises:
            SignalError: wrong number of rotors, a value that is not finite, or a duration that is no multiple of the
                physics step; the plant is as it was before.
            MetaRLError: the simulation diverged.
        """
        effort = self._checked("effort", effort, self.robot.nu)
        count = round(duration_s / self._dt)
        if count < 1 or abs(count * self._dt - duration_s) > 1e-9:
            raise SignalError(
                f"plant: duration {duration_s} s is not a positive multiple of the physics step {self._dt} s"
            )
        self._measured = _single(self._batch.step(effort[None], count))
        if not np.all(np.isfinite(self._measured.v)):
            raise MetaRLError(
                f"plant: the simulation of '{self.robot.name}' diverged at {self.time:.3f} s; the task is "
                f"{self.task.to_dict()}"
            )
        return self._measured

    def set_task(self, task: QuadrotorTask) -> None:
        """Change the physical conditions now, in flight: position, velocity and rotor speeds do not jump."""
        self._batch.set_tasks([task])

    def measure(self) -> State:
        """The last measurement again: delayed, noisy."""
        return self._measured

    @property
    def task(self) -> QuadrotorTask:
        return self._batch.tasks[0]

    @property
    def time(self) -> float:
        """Seconds since the reset."""
        return self._batch.steps * self._dt

    @property
    def stamp(self) -> float:
        """When the present measurement was taken: `time` less the sensor delay, as a driver stamps it; negative just
        after a reset.
        """
        return float(self._batch.steps - self._batch.sensor_steps[0]) * self._dt

    @property
    def truth(self) -> State:
        """The true state now."""
        return _single(self._batch.truth)

    @property
    def position(self) -> Array:
        """(3,) true position of the body's origin now [m; world]."""
        return self.truth.q[:3]

    @property
    def payload_position(self) -> Array:
        """(3,) centre of mass of the payload now [m; world]."""
        model, data = self.mujoco_state()
        mujoco.mj_kinematics(model, data)
        return np.array(data.body("payload").xipos)

    @property
    def wind(self) -> Array:
        """(3,) velocity of the air at the quadrotor now [m/s; world]."""
        return self._batch.wind_felt[0]

    @property
    def rotor_speeds(self) -> Array:
        """(4,) now [rad/s]."""
        return self._batch.rotor_speeds[0]

    @property
    def applied_effort(self) -> Array:
        """(4,) thrust that the rotors gave, ground effect aside, its mean since the last command [N]."""
        return self.task.thrust_gain * self._batch.acting_thrust[0]

    @property
    def crashed(self) -> bool:
        """Whether it has touched the ground or tilted by more than 100 degrees since the reset."""
        return bool(self._batch.crashed[0])

    @property
    def violations(self) -> FlightViolations:
        """Counts since the reset.

        A command beyond the limits counts as a thrust violation, although the plant clamps it.
        """
        return FlightViolations(*(int(count) for count in self._batch.violation_counts[0]))

    def mujoco_state(self) -> tuple[mujoco.MjModel, mujoco.MjData]:
        """A copy of the model and of the true state now, for energies, momenta and pictures."""
        model, data = self._batch.data(0)
        state = self.truth
        data.qpos[:7], data.qvel[:6] = state.q, state.v
        return model, data

    def energy(self) -> tuple[float, float]:
        """(potential, kinetic) energy of the quadrotor and its payload now [J]."""
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
