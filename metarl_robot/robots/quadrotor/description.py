# SPDX-License-Identifier: Apache-2.0
"""A multirotor's description: properties and limits from `robot.yaml`, and the MJCF generated from them.

The kind is named after its commonest member, the quadrotor; hexa- and octorotors belong to it as well.

World frame ENU, body frame FLU at the centre of mass. q = (x, y, z [m; world], qw, qx, qy, qz [body→world]), v =
(linear [m/s; world], angular [rad/s; body]). A command is the thrust of each rotor [N].

A rotor at r with speed Ω gives the thrust u = k Ω² along its axis (body z, unless it is tilted) and the drag torque
-s c u about it. s is +1 for a rotor that turns counter-clockwise seen from above; c is the ratio of torque to thrust
(mixing.py). The motor follows its commanded speed with a first-order lag, with separate time constants for speeding up
and slowing down: dΩ/dt = (√(u_c / k) - Ω) / τ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from metarl_robot.core.coordinates import POSE, TWIST, Coordinates
from metarl_robot.core.robot import PLAUSIBLE_VELOCITY, Robot, RobotFile
from metarl_robot.core.validation import Label, between, check_unique
from metarl_robot.core.wording import Wording
from metarl_robot.robots.payload import RATED_PAYLOAD, Payload, payload_site
from metarl_robot.robots.quadrotor.mixing import BoundedMixing, mixing, wrench_map

if TYPE_CHECKING:
    import mujoco

Array = NDArray[np.float64]
Vector = tuple[float, float, float]
Place = Annotated[float, between(-10.0, 10.0)]
Direction = Annotated[float, between(-1e3, 1e3)]
Length = Annotated[float, between(1e-3, 10.0)]
Moment = Annotated[float, between(1e-9, 1e4)]
MotorTime = Annotated[float, between(1e-4, 2.0)]
RotorDrag = Annotated[float, between(0.0, 1.0)]
ParasiticDrag = Annotated[float, between(0.0, 100.0)]
TurningSpeed = Annotated[float, between(0.01, 1e3)]

GRAVITY_M_S2 = 9.81
HOME_HEIGHT_M = 1.0
FEWEST_ROTORS, MOST_ROTORS = 4, 16
UP = (0.0, 0.0, 1.0)
_MOST_THRUST_TO_WEIGHT = 100.0
_MOST_SIDEWAYS = 0.02  # of the weight, in hover
_SHORTEST_AXIS = 1e-3
_RANK_TOLERANCE = 1e-6


class Rotor(BaseModel):
    """One rotor: position_m is its hub in the body frame, spin its direction seen from above.

    axis: direction of its thrust in the body frame, of any length.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Label
    position_m: tuple[Place, Place, Place]
    spin: Literal["cw", "ccw"]
    axis: tuple[Direction, Direction, Direction] = UP

    @field_validator("axis")
    @classmethod
    def _has_a_direction(cls, axis: Vector) -> Vector:
        if math.hypot(*axis) < _SHORTEST_AXIS:
            raise ValueError(f"the direction of a rotor's thrust needs a length; given {list(axis)}, usual [0, 0, 1]")
        return axis


class QuadrotorPayload(Payload):
    """Where a payload hangs: position_m is in the body frame."""

    position_m: tuple[Place, Place, Place]


class QuadrotorFile(RobotFile):
    """The contents of a quadrotor's `robot.yaml`.

    family: the robot stands for quadrotors of any size; its weights serve those without their own.
    """

    family: bool = False
    payload: QuadrotorPayload
    world_frame: Label = "odom"
    mass_kg: Annotated[float, between(1e-3, 1e3)]
    inertia_kg_m2: tuple[Moment, Moment, Moment]
    rotors: tuple[Rotor, ...]
    thrust_coefficient_n_s2: Annotated[float, between(1e-12, 1.0)]
    torque_ratio_m: Annotated[float, between(1e-4, 1.0)]
    rotor_speed_rad_s: tuple[Annotated[float, between(0.0, 1e5)], Annotated[float, between(1.0, 1e5)]]
    motor_time_s: tuple[MotorTime, MotorTime]
    thrust_rate_n_s: Annotated[float, between(1e-2, 1e7)]
    rotor_drag_n_s2_m: tuple[RotorDrag, RotorDrag]
    rotor_radius_m: Length
    parasitic_drag_n_s2_m2: tuple[ParasiticDrag, ParasiticDrag, ParasiticDrag]
    speed_limit_m_s: Annotated[float, between(0.1, 200.0)]
    rate_limit_rad_s: tuple[TurningSpeed, TurningSpeed, TurningSpeed]
    tilt_limit_deg: Annotated[float, between(1.0, 80.0)]
    size_m: tuple[Length, Length, Length]

    @field_validator("inertia_kg_m2")
    @classmethod
    def _of_a_rigid_body(cls, moments: Vector) -> Vector:
        small, middle, large = sorted(moments)
        if large > small + middle:
            raise ValueError("no rigid body has a principal moment that exceeds the sum of the others")
        return moments

    @field_validator("rotor_speed_rad_s")
    @classmethod
    def _ordered(cls, speeds: tuple[float, float]) -> tuple[float, float]:
        if not speeds[0] < speeds[1]:
            raise ValueError("must be [idle, fastest] with idle < fastest")
        return speeds

    @field_validator("rotors")
    @classmethod
    def _enough(cls, rotors: tuple[Rotor, ...]) -> tuple[Rotor, ...]:
        check_unique(rotor.name for rotor in rotors)
        if not FEWEST_ROTORS <= len(rotors) <= MOST_ROTORS:
            raise ValueError(
                f"needs {FEWEST_ROTORS} to {MOST_ROTORS} rotors; given {len(rotors)}. Fewer than {FEWEST_ROTORS} fixed "
                "rotors cannot give thrust and torque about every axis; servos that tilt rotors are not supported"
            )
        return rotors

    @model_validator(mode="after")
    def _can_be_steered(self) -> QuadrotorFile:
        allocation = _wrench_map(self.rotors, self.torque_ratio_m)[2:]
        allocation[3] /= self.torque_ratio_m
        if np.linalg.matrix_rank(allocation, tol=_RANK_TOLERANCE) < 4:
            raise ValueError(
                "the rotors' positions and spins cannot give thrust and torque about every axis independently: "
                + _remedy(allocation)
            )
        return self

    @model_validator(mode="after")
    def _can_hover(self) -> QuadrotorFile:
        wrenches = _wrench_map(self.rotors, self.torque_ratio_m)
        lift = float(wrenches[2].sum())
        idle, fastest = (lift * self.thrust_coefficient_n_s2 * speed**2 for speed in self.rotor_speed_rad_s)
        weight = self.mass_kg * GRAVITY_M_S2
        if not idle < weight < fastest <= _MOST_THRUST_TO_WEIGHT * weight:
            raise ValueError(
                f"the rotors give {idle:.3g} to {fastest:.3g} N together by thrust_coefficient_n_s2 and "
                f"rotor_speed_rad_s: must be less than the weight of {weight:.3g} N when idle, and 1 to "
                f"{_MOST_THRUST_TO_WEIGHT:g} times as much at most"
            )
        hover = weight * mixing(wrenches)[:, 0]
        least, most = (self.thrust_coefficient_n_s2 * speed**2 for speed in self.rotor_speed_rad_s)
        if not (least <= hover.min() and hover.max() <= most):
            raise ValueError(
                f"a level hover needs {hover.min():.3g} to {hover.max():.3g} N of the rotors; each gives {least:.3g} "
                f"to {most:.3g} N: check position_m and axis; the body's origin is its centre of mass"
            )
        sideways = float(np.hypot(*(wrenches[:2] @ hover)))
        if sideways > _MOST_SIDEWAYS * weight:
            raise ValueError(
                f"in a level hover the rotors push sideways with {sideways:.3g} N; allowed: "
                f"{_MOST_SIDEWAYS * weight:.3g} N: tilt rotors in pairs whose sideways forces cancel (axis)"
            )
        return self


class Quadrotor(Robot):
    """A multirotor with four rotors or more.

    Attributes, besides Robot's:
        family: whether training draws quadrotors of any size.
        mass_kg; inertia: (3, 3) [kg m²; body].
        rotor_positions: (n, 3) [m; body]; rotor_axes: (n, 3) unit vectors [body]; spin: (n,) +1 counter-clockwise.
        tilted: whether any rotor's axis is not body z.
        thrust_coefficient: k [N s²]; torque_ratio: c [m]; motor_time_s: τ (speeding up, slowing down).
        rotor_drag: (2,) across and along the rotor's axis [N s²/m]; drag force -c Ω v at the hub.
        parasitic_drag: (3,) [N s²/m²; body axes]; drag force -c |v| v.
        tilt_limit_rad; payload_position: (3,) [m; body].
        wrench_map: (6, n) maps thrusts to force [N; body] and torque [Nm; body].
        allocation: (4, n), its rows for (collective thrust along body z [N], torque [Nm; body]).
        mixing: (n, 4) right inverse of the allocation (mixing.py).
        hover_thrust: (n,) [N] that carry the nominal weight without torque.
    """

    file = QuadrotorFile
    kind = "quadrotor"
    attitude = slice(3, 7)
    interface = "metarl_robot.ros_nodes.quadrotor.interface:OdometryInterface"
    lands = True
    flat_outputs = "metarl_robot.robots.quadrotor.flat_outputs:FlightFlatOutputs"
    fallback_law = "metarl_robot.robots.quadrotor.fallback:EmergencyLanding"
    simulation = "metarl_robot.sim.quadrotor.simulation:QuadrotorSimulation"
    dynamics = "metarl_robot.robots.quadrotor.dynamics:QuadrotorDynamics"
    filter_tuning = "metarl_robot.robots.quadrotor.filter_tuning:filter_tuning"
    features: ClassVar[Mapping[str, str]] = {
        "payload": "metarl_robot.robots.quadrotor.features.payload:SPEC",
        "rotor": "metarl_robot.robots.quadrotor.features.rotor:SPEC",
        "push": "metarl_robot.robots.quadrotor.features.push:SPEC",
        "drag": "metarl_robot.robots.quadrotor.features.drag:SPEC",
        "learned": "metarl_robot.robots.quadrotor.features.learned:SPEC",
    }
    adapters: ClassVar[Mapping[str, str]] = {"l1": "metarl_robot.adaptation.l1:SPEC"}
    reported = ("metarl_robot.robots.payload:PAYLOAD", "metarl_robot.robots.quadrotor.wind_report:WIND")
    controllers: ClassVar[Mapping[str, str]] = {
        "pid": "metarl_robot.robots.quadrotor.pid:SPEC",
        "se3": "metarl_robot.robots.quadrotor.se3:SPEC",
        "indi": "metarl_robot.robots.quadrotor.indi:SPEC",
        "nominal_mpc": "metarl_robot.robots.quadrotor.controllers:NOMINAL",
        "l1_mpc": "metarl_robot.robots.quadrotor.controllers:L1",
        "offset_free_mpc": "metarl_robot.robots.quadrotor.controllers:OFFSET_FREE",
        "meta_mpc": "metarl_robot.robots.quadrotor.controllers:META",
        "oracle_mpc": "metarl_robot.robots.quadrotor.controllers:ORACLE",
    }
    family_model = "quad-family"
    from_file = "metarl_robot.robots.quadrotor.from_file.convert:convert"
    reads_file = "metarl_robot.robots.quadrotor.from_file.parameters:holds_parameters"
    checker = "metarl_robot.sim.quadrotor.robot_check:check_multirotor"
    wording = Wording(
        body="quadrotor",
        tracked="quadrotor",
        error="position",
        channel="rotor",
        effort="thrust",
        unit="N",
        angles="attitude",
        angle_names=("about body x", "about body y", "about body z"),
    )

    def __init__(self, description: QuadrotorFile, folder: Path) -> None:
        super().__init__(description, folder)
        self.channel_names = tuple(rotor.name for rotor in description.rotors)
        self.coordinates = Coordinates(POSE, TWIST, tuple(f"{name}/thrust_n" for name in self.channel_names))
        self.world_frame = description.world_frame
        self.nq, self.dof, self.network_inputs = 7, 6, 9
        self.family = description.family
        self.mass_kg = description.mass_kg
        self.inertia = np.diag(description.inertia_kg_m2)
        self.rotor_positions = np.array([rotor.position_m for rotor in description.rotors])
        self.rotor_axes, self.spin = _axes(description.rotors), _spin(description.rotors)
        self.tilted = bool(np.any(self.rotor_axes != UP))
        self.thrust_coefficient, self.torque_ratio = description.thrust_coefficient_n_s2, description.torque_ratio_m
        self.motor_time_s = description.motor_time_s
        self.rotor_radius_m = description.rotor_radius_m
        self.rotor_drag = np.array(description.rotor_drag_n_s2_m)
        self.parasitic_drag = np.array(description.parasitic_drag_n_s2_m2)
        self.tilt_limit_rad = math.radians(description.tilt_limit_deg)
        self.ratings = ((RATED_PAYLOAD, description.payload.rated_mass_kg),)
        self.payload_position = np.array(description.payload.position_m)
        self.effort_lower, self.effort_limit = (
            np.full(self.nu, self.thrust_coefficient * speed**2) for speed in description.rotor_speed_rad_s
        )
        self.effort_rate_limit = np.full(self.nu, description.thrust_rate_n_s)
        self.velocity_limit = np.array([*(description.speed_limit_m_s,) * 3, *description.rate_limit_rad_s])
        self.position_lower, self.position_upper = np.full(6, -np.inf), np.full(6, np.inf)
        self.home = np.array([0.0, 0.0, HOME_HEIGHT_M, 1.0, 0.0, 0.0, 0.0])
        self.wrench_map = _wrench_map(description.rotors, self.torque_ratio)
        self.allocation, self.mixing = np.asfortranarray(self.wrench_map[2:]), mixing(self.wrench_map)
        self.hover_thrust: Array = self.unlimited_thrusts(np.array([[self.mass_kg * GRAVITY_M_S2, 0.0, 0.0, 0.0]]))[0]
        self._bounded = BoundedMixing(self.allocation, self.effort_lower, self.effort_limit)

    @property
    def plausible_acceleration(self) -> Array:
        """See Robot; linear accelerations are bounded by those of the rotors and of gravity."""
        bounds = super().plausible_acceleration
        bounds[:3] = PLAUSIBLE_VELOCITY * (self.effort_limit.sum() / self.mass_kg + GRAVITY_M_S2)
        return bounds

    def speeds(self, thrusts: Array) -> Array:
        """Rotor speeds [rad/s] of thrusts [N], any shape."""
        return np.sqrt(np.maximum(thrusts, 0.0) / self.thrust_coefficient)

    def thrusts_of(self, speeds: Array) -> Array:
        """Thrusts [N] at rotor speeds [rad/s], any shape."""
        return self.thrust_coefficient * speeds**2

    def collective(self, thrusts: Array) -> float:
        """Force along body z [N] of thrusts (n,) [N]."""
        return float((self.rotor_axes[:, 2] * thrusts).sum())

    def unlimited_thrusts(self, wrenches: Array) -> Array:
        """Thrusts (N, n) [N], beyond the limits where needed, of collective thrusts and torques (N, 4)."""
        if self.nu == 4:
            return np.asarray(np.linalg.solve(self.allocation, wrenches.T).T)
        return np.asarray(wrenches @ self.mixing.T)

    def thrusts(self, collective: float, torque: Array, yaw_reserve: float = 0.0) -> Array:
        """Return (n,) thrusts [N] within the limits, closest to a collective thrust [N] and a torque (3,) [Nm; body].

        yaw_reserve: change of each rotor's thrust, as a share of its range, within which collective thrust gives way
        to a yaw torque.
        """
        if self.nu == 4:
            return self._four_thrusts(collective, torque, yaw_reserve)
        wrench = np.array([collective, *torque])
        wanted = self.mixing @ wrench
        if (wanted >= self.effort_lower).all() and (wanted <= self.effort_limit).all():
            return np.asarray(wanted)
        return self._bounded.thrusts(wrench, wanted, yaw_reserve)

    def _four_thrusts(self, collective: float, torque: Array, yaw_reserve: float) -> Array:
        """Thrusts (4,) [N] of four rotors.

        Where the limits do not allow both, yaw torque is reduced first, then collective thrust, then roll and pitch
        torque (Faessler, Falanga, Scaramuzza, "Thrust mixing, saturation, and body-rate control", 2017). Collective
        thrust gives way to a yaw torque only within `yaw_reserve`, a change of each rotor's thrust as a share of its
        range.
        """
        inverse = self.mixing
        by_thrust, tilting, yawing = collective * inverse[:, 0], inverse[:, 1:3] @ torque[:2], inverse[:, 3] * torque[2]
        room = self.effort_limit - self.effort_lower
        tilting = tilting * min(1.0, float(np.min(room / max(np.ptp(tilting), 1e-12))))
        reserved = yawing * self._reserved_share(tilting, yawing, yaw_reserve)
        steering = tilting + reserved
        level = np.clip(by_thrust, (self.effort_lower - steering).max(), (self.effort_limit - steering).min())
        wanted = level + steering
        wanted = wanted + (yawing - reserved) * _share_of(
            yawing - reserved, self.effort_lower - wanted, self.effort_limit - wanted
        )
        return np.clip(wanted, self.effort_lower, self.effort_limit)

    def _reserved_share(self, tilting: Array, yawing: Array, reserve: float) -> float:
        """Share of a yaw torque that comes before collective thrust, by thrusts (4,) for turning [N]."""
        if reserve <= 0.0:
            return 0.0
        room = float(np.min(self.effort_limit - self.effort_lower))
        share = min(1.0, reserve * room / max(float(np.abs(yawing).max()), 1e-12))
        spare = (room - float(np.ptp(tilting))) / max(share * float(np.ptp(yawing)), 1e-12)
        return share * min(max(spare, 0.0), 1.0)

    def mj_spec(self) -> mujoco.MjSpec:
        import mujoco

        return mujoco.MjSpec.from_string(self.mjcf())

    def mjcf(self) -> str:
        """The MJCF of the nominal robot.

        One free body, sites for the rotors and the payload, and a ground plane to land on.
        """
        moments = " ".join(f"{moment:.9g}" for moment in np.diag(self.inertia))
        sites = "\n".join(
            f'      <site name="{name}" pos="{_text(place)}"{_pointing(axis)}/>'
            for name, place, axis in zip(self.channel_names, self.rotor_positions, self.rotor_axes, strict=True)
        )
        half = 0.5 * np.array(self.description.size_m)
        return f"""<mujoco model="{self.name}">
  <compiler angle="radian"/>
  <option gravity="0 0 {-GRAVITY_M_S2}" timestep="0.001"/>
  <worldbody>
    <geom name="ground" type="plane" size="0 0 1"/>
    <body name="{self.base_frame}" pos="{_text(self.home[:3])}">
      <freejoint name="free"/>
      <inertial pos="0 0 0" mass="{self.mass_kg:.9g}" diaginertia="{moments}"/>
      <geom name="body" type="box" size="{_text(half)}"/>
      <site name="{payload_site(self)}" pos="{_text(self.payload_position)}"/>
{sites}
    </body>
  </worldbody>
</mujoco>
"""


class MotorModel:
    """The motors' lag: maps commanded thrusts to the mean thrusts that act.

    Arguments:
        robot: the quadrotor.
        thrusts: (n,) initial thrusts [N].
    """

    def __init__(self, robot: Quadrotor, thrusts: Array) -> None:
        self._robot = robot
        self.speeds = robot.speeds(thrusts)

    @property
    def thrusts(self) -> Array:
        """Present thrusts (n,) [N]."""
        return self._robot.thrusts_of(self.speeds)

    def advance(self, command: Array, duration_s: float) -> Array:
        """Hold a command (n,) [N] for a duration and return the mean thrust (n,) [N] over it.

        With Ω_c the commanded speed and g the gap to it, Ω = Ω_c + g e^(-t / τ). The mean of Ω² over the duration T = r
        τ is Ω_c² + 2 Ω_c g (1 - e^-r) / r + g² (1 - e^-2r) / 2r. A loop over four scalars takes a third of the time of
        arrays of size 4.
        """
        up, down = self._robot.motor_time_s
        faster, slower, coefficient = _lag(duration_s / up), _lag(duration_s / down), self._robot.thrust_coefficient
        speeds, means = [], []
        for speed, thrust in zip(self.speeds.tolist(), command.tolist(), strict=True):
            target = math.sqrt(max(thrust, 0.0) / coefficient)
            left, once, twice = faster if target > speed else slower
            gap = speed - target
            speeds.append(target + gap * left)
            means.append(coefficient * (target * target + gap * (2.0 * target * once + gap * twice)))
        self.speeds = np.array(speeds)
        return np.array(means)


def _lag(ratio: float) -> tuple[float, float, float]:
    """Return e^-r, and the means of e^-x and e^-2x over x from 0 to r."""
    left = math.exp(-ratio)
    return left, (1.0 - left) / ratio, (1.0 - left * left) / (2.0 * ratio)


def _axes(rotors: tuple[Rotor, ...]) -> Array:
    """Unit vectors (n, 3) of the thrusts [body]."""
    axes = np.array([rotor.axis for rotor in rotors])
    return np.asarray(axes / np.linalg.norm(axes, axis=1, keepdims=True))


def _spin(rotors: tuple[Rotor, ...]) -> Array:
    return np.array([1.0 if rotor.spin == "ccw" else -1.0 for rotor in rotors])


def _wrench_map(rotors: tuple[Rotor, ...], torque_ratio: float) -> Array:
    positions = np.array([rotor.position_m for rotor in rotors])
    return wrench_map(positions, _axes(rotors), _spin(rotors), torque_ratio)


def _remedy(allocation: Array) -> str:
    """Advice for an allocation (4, n) whose rows are linearly dependent."""
    if np.linalg.matrix_rank(allocation[:3], tol=_RANK_TOLERANCE) < 3:
        return "their hubs are on one line; place them around the centre of mass (position_m)"
    return "nothing turns the body about z; let half of the rotors turn the other way (spin), or tilt them (axis)"


def _share_of(change: Array, least: Array, most: Array) -> float:
    """Largest share in [0, 1] of a change (n,) that stays between `least` <= 0 and `most` >= 0 (n,)."""
    room = np.where(change > 0.0, most, least)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(change != 0.0, room / change, 1.0)
    return float(np.clip(shares.min(), 0.0, 1.0))


def _pointing(axis: Array) -> str:
    """Orientation of a rotor's site, as an attribute; none along body z."""
    return "" if tuple(axis) == UP else f' zaxis="{_text(axis)}"'


def _text(values: Array) -> str:
    return " ".join(f"{value:.9g}" for value in values)
