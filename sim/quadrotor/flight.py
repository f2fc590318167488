# SPDX-License-Identifier: Apache-2.0
"""Flight of quadrotors between two commands: motors, air and delays around MuJoCo's steps, and the sensors.

With a compiler it runs in C (flight.c), between the steps of a simulation and in the simulations' threads; a command is
one call for any number of steps. Otherwise it runs in numpy, step by step for all simulations, with the same results up
to rounding.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_robot.compile.kernel import Kernel, kernel
from metarl_robot.core.rotation import exp, multiply, normalise
from metarl_robot.core.signals import Setpoints, State
from metarl_robot.robots.quadrotor.description import GRAVITY_M_S2, Quadrotor
from metarl_robot.sim.kinds import RolloutArrays
from metarl_robot.sim.physics_time import MAX_DELAY_S, velocity_age, whole_steps
from metarl_robot.sim.quadrotor.aerodynamics import Aerodynamics
from metarl_robot.sim.quadrotor.data_collection_controller import DataCollectionController
from metarl_robot.sim.quadrotor.tasks import NOISES, QuadrotorTask
from metarl_robot.sim.quadrotor.wind import GUST_DT_S, WindField
from metarl_robot.sim.quadrotor.worlds import INCLUDE, Worlds, function_address

Array = NDArray[np.float64]
Integers = NDArray[np.intp]

_STATE = 16  # pose, velocity, specific force
_LOGS = ("q", "v", "specific_force")  # of a state, as in flight.c
_LIMIT_TOLERANCE = 1e-9


class Flight:
    """T quadrotors in numpy.

    Attributes:
        steps: physics steps since `begin`.
        speeds: (T, n) present rotor speeds [rad/s]. mean_thrust: (T, n) k Ω², mean over the last run [N].
        crashed: (T,) 0 or 1. counts: (T, 4) physics steps with a thrust command, a speed, a rate, any of them, beyond
            its limit.
        truth, measured: (T, 16) pose (7), velocity (6) and specific force (3): present, and as measured.
        applied: (T, count, 6) generalised forces in the physics steps of the last call [N; world, Nm; body].
    """

    def __init__(self, robot: Quadrotor, worlds: int, dt: float) -> None:
        self._robot, self._worlds, self._dt = robot, worlds, dt
        self._period = round(robot.control_period_s / dt)
        self._keep = whole_steps(MAX_DELAY_S, dt) + self._period + 1
        self._follow = [float(1.0 - np.exp(-dt / time)) for time in robot.motor_time_s]
        self._all = np.arange(worlds)
        self.steps = 0
        self.truth, self.measured = np.zeros((worlds, _STATE)), np.zeros((worlds, _STATE))
        self.speeds, self.mean_thrust = np.zeros((worlds, robot.nu)), np.zeros((worlds, robot.nu))
        self._issued, self._overdriven, self._noise = (
            np.zeros((worlds, robot.nu)),
            np.zeros(worlds, np.intp),
            np.zeros((worlds, 3 * len(NOISES))),
        )
        self.crashed, self.counts = np.zeros(worlds, np.intp), np.zeros((worlds, 4), np.intp)
        self._targets, self._q, self._v, self._force = (
            np.zeros((worlds, self._keep, size)) for size in (robot.nu, 7, 6, 3)
        )

    def install(self, simulation: Worlds, tasks: Sequence[QuadrotorTask]) -> None:
        """Use these simulations and tasks from now on."""
        self._simulation = simulation
        bits = mujoco.mjtState
        self._qpos, self._qvel = simulation.state(bits.mjSTATE_QPOS), simulation.state(bits.mjSTATE_QVEL)
        self._applied = simulation.state(bits.mjSTATE_QFRC_APPLIED)
        self._xmat, self._contacts = simulation.output("xmat")[:, 9:18], simulation.output("ncon", np.int32)[:, 0]
        self._air, self._wind = Aerodynamics(self._robot, tasks), WindField(tasks)
        self._upright = np.array([_cosine(task.crash_tilt_deg) for task in tasks])
        self._impact = np.array([task.crash_impact_m_s for task in tasks])
        self._pushed = simulation.state(bits.mjSTATE_XFRC_APPLIED)[:, 6:9]  # at the own centre of mass
        self._push = np.array([task.push_n for task in tasks])
        self._pushed[:] = self._push
        self._command_steps = np.array([whole_steps(task.command_delay_s, self._dt) for task in tasks])
        self.sensor_steps = np.array([whole_steps(task.sensor_delay_s, self._dt) for task in tasks])
        self._noise_std = np.array([[getattr(task, name) for name in NOISES] for task in tasks]).repeat(3, axis=1)

    def begin(self, thrusts: Array, force: Array, noise: Array) -> None:
        """Start from a steady state with the present poses and velocities.

        Rotors at thrusts (T, n) [N], specific forces (T, 3) [m/s²].
        """
        self.steps = 0
        self._pushed[:] = self._push
        self.speeds[:] = self._robot.speeds(thrusts)
        self.mean_thrust[:] = thrusts
        self.crashed[:], self.counts[:] = 0, 0
        memory = (
            (self._targets, self.speeds),
            (self._q, self._qpos[:, :7]),
            (self._v, self._qvel[:, :6]),
            (self._force, force),
        )
        for ring, values in memory:
            ring[:] = values[:, None]
        self.run(thrusts, 0, noise)

    def run(self, command: Array, count: int, noise: Array) -> None:
        """Issue thrusts (T, n) [N], clamped to the limits, and take `count` physics steps.

        noise: (T, 15) standard normal.
        """
        robot = self._robot
        self._issued[:] = robot.speeds(np.clip(command, robot.effort_lower, robot.effort_limit))
        beyond = (command < robot.effort_lower - _LIMIT_TOLERANCE) | (command > robot.effort_limit + _LIMIT_TOLERANCE)
        self._overdriven[:] = beyond.any(1)
        self._noise[:] = noise
        self.applied = np.empty((self._worlds, count, 6))
        self._run(count)
        self.steps += count

    def follow(
        self, law: DataCollectionController, points: Setpoints, dither: Array, noise: Array, log: RolloutArrays
    ) -> None:
        """Fly under a controller and record the flight.

        Arguments:
            law: the controller.
            points: (T, S + 1, ·). dither: (S, T, n) added to the commands [N]. noise: (S, T, 15) standard normal.
            log: arrays of a metarl_robot.sim.dataset.DataSet, contiguous, (T, S + 1, ·), of effort and acting (T, S,
                n).
        """
        robot, applied = self._robot, []
        for k in range(len(dither) + 1):
            measured = state_of(self.measured)
            for suffix, state in (("", state_of(self.truth)), ("_measured", measured)):
                log[f"q{suffix}"][:, k], log[f"v{suffix}"][:, k] = state.q, state.v
                log[f"specific_force{suffix}"][:, k] = state.specific_force
            if k == len(dither):
                break
            effort = law.command(measured, Setpoints(points.q[:, k], points.v[:, k], points.a[:, k])) + dither[k]
            effort = np.clip(effort, robot.effort_lower, robot.effort_limit)
            self.run(effort, self._period, noise[k])
            applied.append(self.applied)
            log["effort"][:, k], log["acting"][:, k] = effort, self.mean_thrust
        self.applied = np.concatenate(applied, axis=1)

    def _run(self, count: int) -> None:
        total = np.zeros_like(self.mean_thrust)
        for k in range(count):
            step = self.steps + k
            square = self._turn(step)
            total += square
            self._advance(square, step, self.applied[:, k])
            self._count_violations()
        if count:
            self.mean_thrust[:] = self._robot.thrust_coefficient * total / count
        now = self.steps + count
        self.truth[:] = self._recalled(np.full(self._worlds, now))
        self.measured[:] = self._noisy(self._recalled(now - self.sensor_steps), self._noise_std * self._noise)

    def _turn(self, step: int) -> Array:
        """Turn the rotors for a step; return their mean squared speeds (T, n)."""
        self._targets[:, step % self._keep] = self._issued
        before = self.speeds.copy()
        gap = self._targets[self._all, (step - self._command_steps) % self._keep] - before
        self.speeds[:] = before + gap * np.where(gap > 0.0, *self._follow)
        return 0.5 * (before * before + self.speeds * self.speeds)

    def _advance(self, square_speed: Array, step: int, applied: Array) -> None:
        """Take one physics step and write its force (T, 6) into `applied`."""
        position, velocity = self._qpos[:, :3], np.array(self._qvel[:, :6])
        rotation = np.array(self._xmat).reshape(-1, 3, 3)
        exposed = self._air.exposed(self._wind.at(np.array([self._dt * step]))[0], position)
        applied[:] = self._applied[:, :6] = self._air.force(rotation, position[:, 2:], velocity, exposed, square_speed)
        self._simulation.step()
        acceleration = (self._qvel[:, :3] - velocity[:, :3]) / self._dt
        acceleration[:, 2] += GRAVITY_M_S2
        slot = (step + 1) % self._keep
        self._q[:, slot], self._v[:, slot] = self._qpos[:, :7], self._qvel[:, :6]
        self._force[:, slot] = (acceleration[:, None] @ rotation)[:, 0]
        hit = (self._contacts > 0) & (np.square(velocity[:, :3]).sum(axis=1) >= self._impact**2)
        self.crashed |= hit | (self._xmat[:, 8] < self._upright)

    def _count_violations(self) -> None:
        beyond = np.abs(self._qvel[:, :6]) > self._robot.velocity_limit + _LIMIT_TOLERANCE
        speed, rate = beyond[:, :3].any(1), beyond[:, 3:].any(1)
        self.counts += np.stack([self._overdriven, speed, rate, (self._overdriven > 0) | speed | rate], axis=1)

    def _recalled(self, steps: Integers) -> Array:
        """State (T, 16) at a past step of each quadrotor (T,).

        Positions are as old as velocities; the specific force is the mean of a control period.
        """
        slots = steps % self._keep
        v = self._v[self._all, slots]
        window = (steps[:, None] - np.arange(self._period)) % self._keep
        force = self._force[self._all[:, None], window].mean(1)
        return np.concatenate([advanced(self._q[self._all, slots], v, -velocity_age(self._dt)), v, force], axis=1)

    @staticmethod
    def _noisy(states: Array, noise: Array) -> Array:
        states[:, :3] += noise[:, :3]
        states[:, 3:7] = normalise(multiply(states[:, 3:7], exp(noise[:, 3:6])))
        states[:, 7:] += noise[:, 6:]
        return states

    @property
    def wind_felt(self) -> Array:
        """Present air velocity (T, 3) at each quadrotor [m/s; world]."""
        wind = self._wind.at(np.array([self.steps * self._dt]))[0]
        return np.array(self._air.exposed(wind, np.array(self._qpos[:, :3])))


class CompiledFlight(Flight):
    """The same flight in C."""

    def __init__(self, robot: Quadrotor, worlds: int, dt: float, library: Kernel) -> None:
        super().__init__(robot, worlds, dt)
        self._library = library
        self._fly, self._follow_law = (
            ctypes.cast(function, ctypes.c_void_p).value or 0 for function in (library.fly, library.follow)
        )

    def install(self, simulation: Worlds, tasks: Sequence[QuadrotorTask]) -> None:
        super().install(simulation, tasks)
        robot, air, wind = self._robot, self._air, self._wind
        self._call = self._library.struct(
            "Flight",
            worlds=self._worlds, keep=self._keep, period=self._period, gust_samples=len(wind.gusts),
            begin=function_address("mj_step2"), end=function_address("mj_step1"),
            dt=self._dt, age=velocity_age(self._dt), gravity=GRAVITY_M_S2,
            tolerance=_LIMIT_TOLERANCE, gust_dt=GUST_DT_S,
            coefficient=robot.thrust_coefficient, radius=air.radius, lowest=air.lowest, faster=self._follow[0],
            slower=self._follow[1],
            hubs=air.hubs, axes=air.axes, drag_torque=air.drag_torque, velocity_limit=robot.velocity_limit,
            gain=air.gain, rotor_drag=air.rotor_drag, parasitic_drag=air.parasitic_drag, ground=air.ground,
            wall_normal=air.wall_normal, wall_offset=air.wall_offset, wall_edge=air.wall_edge,
            wind=wind.mean, swing=wind.swing, swing_rate=wind.swing_rate, gusts=wind.gusts,
            noise_std=self._noise_std, upright=self._upright, impact=self._impact,
            command_steps=self._command_steps, sensor_steps=self.sensor_steps,
            speeds=self.speeds, mean_thrust=self.mean_thrust, targets=self._targets, q=self._q, v=self._v,
            force=self._force,
            crashed=self.crashed, counts=self.counts,
            count=0, now=0, rows=0, issued=self._issued, noise=self._noise, overdriven=self._overdriven,
            applied=0, truth=self.truth, measured=self.measured,
        )  # fmt: skip

    def _run(self, count: int) -> None:
        self._prepare(count)
        self._simulation.apply(self._fly, ctypes.addressof(self._call))

    def _prepare(self, count: int) -> None:
        self._call.count = self._call.rows = count
        self._call.now, self._call.applied = self.steps, self.applied.ctypes.data

    def follow(
        self, law: DataCollectionController, points: Setpoints, dither: Array, noise: Array, log: RolloutArrays
    ) -> None:
        robot, steps = self._robot, len(dither)
        self.applied = np.empty((self._worlds, steps * self._period, 6))
        self._overdriven[:] = 0
        self._prepare(steps * self._period)
        q, v, a, dither, noise = (
            np.ascontiguousarray(array, float) for array in (points.q, points.v, points.a, dither, noise)
        )
        controller = self._library.struct(
            "Law",
            mass=robot.mass_kg, lead=law.lead, faster=float(law.follow[0]), slower=float(law.follow[1]),
            inertia=robot.inertia, inverse=law.inverse, lower=robot.effort_lower, upper=robot.effort_limit,
            slowest=law.slowest, fastest=law.fastest, kp=law.kp, kd=law.kd, kr=law.kr, kw=law.kw, speeds=law.speeds,
        )  # fmt: skip
        rollout = self._library.struct(
            "Rollout",
            flight=self._call, law=controller, steps=steps,
            q=q, v=v, a=a, dither=dither, noise=noise, issued=self._issued,
            truth=[log[name] for name in _LOGS], measured=[log[f"{name}_measured"] for name in _LOGS],
            effort=log["effort"], acting=log["acting"],
        )  # fmt: skip
        self._simulation.apply(self._follow_law, ctypes.addressof(rollout))
        self.steps += steps * self._period


def make_flight(robot: Quadrotor, worlds: int, dt: float, compiled: bool = True) -> Flight:
    """Make a flight in C if there is a compiler and `compiled` is true, otherwise in numpy."""
    constants = {"MUJOCO": mujoco.mj_version(), "ROTORS": robot.nu, "TILTED": int(robot.tilted)}
    library = kernel("sim.quadrotor", "flight", INCLUDE, **constants) if compiled else None
    return Flight(robot, worlds, dt) if library is None else CompiledFlight(robot, worlds, dt, library)


def _cosine(tilt_deg: float) -> float:
    """Cosine of the tilt of a crash; below every cosine where no tilt is one."""
    return float(np.cos(np.deg2rad(tilt_deg))) if tilt_deg < 180.0 else -2.0


def state_of(rows: Array) -> State:
    """View rows (T, 16) as a state, (T, ·) each; the memory is shared."""
    return State(rows[:, :7], rows[:, 7:13], rows[:, 13:])


def advanced(q: Array, v: Array, duration_s: float) -> Array:
    """Poses q (T, 7) after moving at v (T, 6) for a duration [s]."""
    attitude = normalise(multiply(q[:, 3:], exp(v[:, 3:] * duration_s)))
    return np.concatenate([q[:, :3] + duration_s * v[:, :3], attitude], axis=1)
