"""Simulated quadrotors, each under its own task: what executes commands and is measured.

Time runs in physics steps of length dt. With delays d_c and d_s rounded up to whole steps, at step k the motors follow the newest
command issued at or before step k - d_c, and a measurement shows the state at step k - d_s, with Gaussian noise: of position, attitude
(a rotation vector), velocity, rates and specific force. Rotor speeds follow their commands exactly (first-order lag, command held over a
step); the thrust of a step is the mean of those at its ends. The accelerometer shows R^T (dv/dt - g), its mean over a control period.
Every measurement draws one vector of noise, whatever is commanded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from mujoco.batch import Batch
from numpy.typing import NDArray

from metarl_robot.errors import MetaRLError, SignalError
from metarl_robot.quadrotor import GRAVITY_M_S2, Quadrotor
from metarl_robot.rotation import exp, inverse, multiply, normalise, rotate
from metarl_robot.signals import State
from metarl_robot.sim.model import PHYSICS_DT_S
from metarl_robot.sim.noise import NoiseStreams
from metarl_robot.sim.plant import velocity_age, whole_steps
from metarl_robot.sim.quadrotor.aerodynamics import Aerodynamics
from metarl_robot.sim.quadrotor.model import Fields, compile_model, hover_command, task_fields
from metarl_robot.sim.quadrotor.tasks import MAX_DELAY_S, QuadrotorTask
from metarl_robot.sim.quadrotor.wind import WindField

Array = NDArray[np.float64]
Integers = NDArray[np.intp]

CRASH_TILT_RAD = np.deg2rad(100.0)
_VELOCITY = int(mujoco.mjtStage.mjSTAGE_VEL)
_NONE = int(mujoco.mjtStage.mjSTAGE_NONE)
_NOISES = 15  # position, attitude, velocity, rates, specific force
_LIMIT_TOLERANCE = 1e-9


class QuadrotorBatch:
    """T quadrotors under T tasks, stepped together.

    Arguments:
        robot: what to simulate.
        tasks: one per quadrotor; either all of them carry their payload on a sling, or none.
        seeds: one per quadrotor, of its sensor noise.
        threads: of the simulation; results do not depend on it.
        physics_dt_s: length of a physics step.
    """

    def __init__(
        self,
        robot: Quadrotor,
        tasks: Sequence[QuadrotorTask],
        seeds: Sequence[int | Sequence[int]],
        threads: int = 1,
        physics_dt_s: float = PHYSICS_DT_S,
    ) -> None:
        self.robot = robot
        self._seeds, self._threads, self._dt = tuple(seeds), threads, physics_dt_s
        self._count = len(tasks)
        self._all = np.arange(self._count)
        self._period = round(robot.control_period_s / physics_dt_s)
        self._keep = whole_steps(MAX_DELAY_S, physics_dt_s) + self._period + 1
        up, down = robot.motor_time_s
        self._follow_up, self._follow_down = 1.0 - np.exp(-physics_dt_s / up), 1.0 - np.exp(-physics_dt_s / down)
        self._slings: bool | None = None
        self._install(tasks)
        self.reset(np.tile(robot.home, (self._count, 1)), np.zeros((self._count, robot.dof)))

    def _install(self, tasks: Sequence[QuadrotorTask]) -> None:
        slings = {task.sling_m > 0.0 for task in tasks}
        if len(slings) > 1:
            raise MetaRLError("batch: payloads must all be rigid or all be on slings; they need different models")
        if self._slings not in slings:
            self._slings = slings.pop()
            self._build(self._slings)
        for i, task in enumerate(tasks):
            for name, value in task_fields(self._model, task)._asdict().items():
                self._fields[name][i] = value
        self._batch.set_const()
        self.tasks = tuple(tasks)
        self._air = Aerodynamics(self.robot, tasks)
        self._wind = WindField(tasks)
        self._command_steps = np.array([whole_steps(task.command_delay_s, self._dt) for task in tasks])
        self._sensor_steps = np.array([whole_steps(task.sensor_delay_s, self._dt) for task in tasks])
        self._noise_std = np.array([_noise_std(task) for task in tasks])

    def _build(self, sling: bool) -> None:
        self._model = compile_model(self.robot, sling, self._dt)
        self._batch = Batch(self._model, self._count, self._threads, persistent=True)
        self._fields = {name: self._batch.expand(name) for name in Fields._fields}
        self._qpos, self._qvel, self._applied = (self._batch.bind(name) for name in ("qpos", "qvel", "qfrc_applied"))
        self._xmat, self._contacts = self._batch.bind("xmat"), self._batch.bind("ncon")

    def reset(self, q: Array, v: Array) -> State:
        """Start again at t = 0, poses q (T, 7) and velocities v (T, 6), noise from the seeds. Returns the first measurements, (T, ·) each.

        The rotors turn as in hover, and go on so until the first command takes effect. What hangs on a sling hangs at rest.
        """
        self._batch.reset(stage=_NONE)
        self._place(np.array(q, float), np.array(v, float))
        self._noise = NoiseStreams(self._seeds, _NOISES)
        self._steps = 0
        hover = np.stack([hover_command(self.robot, task) for task in self.tasks])
        self._speeds = self.robot.speeds(hover)
        self._issued, self._commands = [-self._keep], [hover]
        self._crashed = np.zeros(self._count, bool)
        self._q_recent, self._v_recent = (np.repeat(x[:, None], self._keep, axis=1) for x in (self._qpos[:, :7], self._qvel[:, :6]))
        self._force_recent = np.repeat(self._resting_force(hover)[:, None], self._keep, axis=1)
        self._mean_thrust = hover
        self._counts = np.zeros((self._count, 4), int)
        return self._sense()

    def _place(self, q: Array, v: Array) -> None:
        q[:, 3:] = normalise(q[:, 3:])
        self._qpos[:, :7], self._qvel[:, :6] = _advanced(q, v, velocity_age(self._dt)), v
        if self._slings:
            self._hang()
        self._batch.forward(stage=_VELOCITY)

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
        self._batch.forward(stage=_VELOCITY)

    def step(self, effort: Array, count: int | None = None) -> State:
        """Issue commands (T, 4) [N], clamped to the limits, and run for `count` physics steps (default: one control period).

        Returns:
            The measurements at the end, (T, ·) each.
        """
        robot, count = self.robot, self._period if count is None else count
        self._forget()
        self._issued.append(self._steps)
        self._commands.append(np.clip(effort, robot.effort_lower, robot.effort_limit))
        targets = robot.speeds(self._in_effect(count))
        wind = self._wind.at(self._dt * np.arange(self._steps, self._steps + count, dtype=np.float64))
        velocities, thrust = [], np.zeros_like(self._mean_thrust)
        for k in range(count):
            square = self._turn(targets[k])
            thrust += square
            velocities.append(self._advance(square, wind[k]))
        self._mean_thrust = robot.thrust_coefficient * thrust / count
        overdriven = np.any((effort < robot.effort_lower - _LIMIT_TOLERANCE) | (effort > robot.effort_limit + _LIMIT_TOLERANCE), axis=1)
        self._count_violations(np.stack(velocities), overdriven)
        return self._sense()

    def _forget(self) -> None:
        """Drop the commands that no delay can bring back."""
        oldest = self._steps - whole_steps(MAX_DELAY_S, self._dt)
        while self._issued[1:2] and self._issued[1] <= oldest:
            del self._issued[0], self._commands[0]

    def _in_effect(self, count: int) -> Array:
        """(count, T, 4) commands that the motors follow in the coming steps."""
        asked = self._steps + np.arange(count)[:, None] - self._command_steps
        newest = np.searchsorted(np.array(self._issued), asked, side="right") - 1
        return np.asarray(np.stack(self._commands)[newest, self._all])

    def _turn(self, target: Array) -> Array:
        """Let the rotors turn for a step; returns their mean squared speed (T, 4)."""
        before = self._speeds
        gap = target - before
        self._speeds = before + gap * np.where(gap > 0.0, self._follow_up, self._follow_down)
        return 0.5 * (before * before + self._speeds * self._speeds)

    def _advance(self, square_speed: Array, wind: Array) -> Array:
        """One physics step; returns the velocities after it (T, 6)."""
        position, velocity = self._qpos[:, :3], np.array(self._qvel[:, :6])
        rotation = np.array(self._xmat[:, 1]).reshape(-1, 3, 3)
        exposed = self._air.exposed(wind, position)
        self._applied[:, :6] = self._air.force(rotation, position[:, 2:], velocity, exposed, square_speed)
        self._batch.step(stage=_VELOCITY)
        self._steps += 1
        after = np.array(self._qvel[:, :6])
        acceleration = (after[:, :3] - velocity[:, :3]) / self._dt
        acceleration[:, 2] += GRAVITY_M_S2
        slot = self._steps % self._keep
        self._q_recent[:, slot], self._v_recent[:, slot] = self._qpos[:, :7], after
        self._force_recent[:, slot] = (acceleration[:, None] @ rotation)[:, 0]
        self._crashed |= (self._contacts > 0) | (self._xmat[:, 1, 8] < np.cos(CRASH_TILT_RAD))
        return after

    def _count_violations(self, velocities: Array, overdriven: NDArray[np.bool_]) -> None:
        beyond = np.abs(velocities) > self.robot.velocity_limit + _LIMIT_TOLERANCE
        speed, rate = beyond[:, :, :3].any(2), beyond[:, :, 3:].any(2)
        thrust = np.broadcast_to(overdriven, speed.shape)
        self._counts += np.stack([thrust.sum(0), speed.sum(0), rate.sum(0), (thrust | speed | rate).sum(0)], axis=1)

    def _sense(self) -> State:
        noise = self._noise_std * self._noise.next()
        q, v, force = self._at(self._steps - self._sensor_steps)
        q[:, :3] += noise[:, :3]
        q[:, 3:] = normalise(multiply(q[:, 3:], exp(noise[:, 3:6])))
        return State(q, v + noise[:, 6:12], force + noise[:, 12:])

    def _at(self, steps: Integers) -> tuple[Array, Array, Array]:
        """Poses (T, 7), velocities (T, 6) and specific forces (T, 3) at a past step of each quadrotor (T,)."""
        slots = steps % self._keep
        v = self._v_recent[self._all, slots]
        q = _advanced(self._q_recent[self._all, slots], v, -velocity_age(self._dt))
        window = (steps[:, None] - np.arange(self._period)) % self._keep
        return q, v, self._force_recent[self._all[:, None], window].mean(1)

    @property
    def truth(self) -> State:
        """True states now, (T, ·) each."""
        return State(*self._at(np.full(self._count, self._steps)))

    @property
    def steps(self) -> int:
        """Physics steps since the reset."""
        return self._steps

    @property
    def sensor_steps(self) -> Integers:
        """(T,) age of the present measurements in physics steps."""
        return self._sensor_steps

    @property
    def rotor_speeds(self) -> Array:
        """(T, 4) now [rad/s]."""
        return self._speeds.copy()

    @property
    def acting_thrust(self) -> Array:
        """(T, 4) k Ω² of the rotors, its mean over the last call of `step` [N]: what sound rotors with a fresh battery would have given."""
        return self._mean_thrust.copy()

    @property
    def wind_felt(self) -> Array:
        """(T, 3) velocity of the air at each now [m/s; world]."""
        wind = self._wind.at(np.array([self._steps * self._dt]))[0]
        return np.array(self._air.exposed(wind, np.array(self._qpos[:, :3])))

    @property
    def crashed(self) -> NDArray[np.bool_]:
        """(T,) whether each has touched the ground or tilted by more than 100 degrees since the reset."""
        return self._crashed.copy()

    @property
    def violation_counts(self) -> NDArray[np.int_]:
        """(T, 4) physics steps with a thrust command, a speed, a rate, any of them, beyond its limit."""
        return self._counts.copy()

    def data(self, index: int) -> tuple[mujoco.MjModel, mujoco.MjData]:
        """A copy of one quadrotor's MuJoCo model and state: for energies, momenta and pictures."""
        return self._batch.get_model(index), self._batch.get_data(index)


@dataclass(frozen=True)
class FlightViolations:
    """Physics steps with a thrust command, a speed or a rate beyond a limit of the robot; `any` counts each step once."""

    thrust: int = 0
    speed: int = 0
    rate: int = 0
    any: int = 0


class QuadrotorPlant:
    """One quadrotor: a batch of one. Deterministic: the same seed, tasks and commands give the same measurements, bit for bit.

    Arguments:
        robot: what to simulate.
        task: physical conditions at the start.
        seed: of the sensor noise.
        physics_dt_s: length of a physics step.
    """

    def __init__(self, robot: Quadrotor, task: QuadrotorTask, seed: int | Sequence[int] = 0, physics_dt_s: float = PHYSICS_DT_S) -> None:
        self.robot = robot
        self._dt = physics_dt_s
        self._batch = QuadrotorBatch(robot, [task], [seed], physics_dt_s=physics_dt_s)
        self.reset()

    def reset(self, q: Array | None = None, v: Array | None = None) -> State:
        """Start again at t = 0 and pose q (7,) (default: home), moving at v (6,) (default: at rest), noise from its seed.

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
            SignalError: wrong number of rotors, a value that is not finite, or a duration that is no multiple of the physics step;
                the plant is as it was before.
            MetaRLError: the simulation diverged.
        """
        effort = self._checked("effort", effort, self.robot.nu)
        count = round(duration_s / self._dt)
        if count < 1 or abs(count * self._dt - duration_s) > 1e-9:
            raise SignalError(f"plant: duration {duration_s} s is not a positive multiple of the physics step {self._dt} s")
        self._measured = _single(self._batch.step(effort[None], count))
        if not np.all(np.isfinite(self._measured.v)):
            raise MetaRLError(
                f"plant: the simulation of '{self.robot.name}' diverged at {self.time:.3f} s; the task is {self.task.to_dict()}"
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
        """When the present measurement was taken: `time` less the sensor delay, as a driver stamps it; negative just after a reset."""
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
        """Counts since the reset. A command beyond the limits counts as a thrust violation, although the plant clamps it."""
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


def _advanced(q: Array, v: Array, duration_s: float) -> Array:
    """Poses q (T, 7) after moving at v (T, 6) for a moment [s]."""
    attitude = normalise(multiply(q[:, 3:], exp(v[:, 3:] * duration_s)))
    return np.concatenate([q[:, :3] + duration_s * v[:, :3], attitude], axis=1)


def _noise_std(task: QuadrotorTask) -> Array:
    """(15,) standard deviations, in the order that noise is drawn."""
    kinds = (
        task.position_noise_m,
        task.attitude_noise_rad,
        task.velocity_noise_m_s,
        task.gyro_noise_rad_s,
        task.accelerometer_noise_m_s2,
    )
    return np.repeat(kinds, 3)


def _single(state: State) -> State:
    assert state.specific_force is not None
    return State(state.q[0], state.v[0], state.specific_force[0])
