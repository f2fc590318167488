# SPDX-License-Identifier: Apache-2.0
"""`map.yaml` of a quadrotor: which topics or columns of a log hold its signals, in which axes, orders and units.

    time: {column: t, unit: us, clock: header}
    position: {topic: /mocap/odom, field: pose.pose.position, unit: mm, axes: ned}
    attitude: {topic: /mocap/odom, field: pose.pose.orientation, order: xyzw, axes: frd_to_ned}
    velocity: null
    rates: {topic: /imu, field: angular_velocity, unit: deg/s, axes: frd}
    specific_force: {topic: /imu, field: linear_acceleration, unit: g, axes: frd}
    rotors: {topic: /esc, field: data, quantity: speed, unit: rpm, measured: true, rotors: [rotor3, rotor1, …]}

    ulog: {position: enu, velocity: enu, attitude: flu_to_enu}

Every key has a default: a nav_msgs/Odometry on /odom, a sensor_msgs/Imu on /imu/data and thrusts on
/thrust_controller/commands; of a table this project's column names.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from metarl_robot.core.coordinates import POSE, TWIST
from metarl_robot.core.validation import Label, Text, between
from metarl_robot.logs.log_map import Part, TimeMap
from metarl_robot.logs.recording import LogError

ODOMETRY, IMU, COMMANDS = "/odom", "/imu/data", "/thrust_controller/commands"
Level = Annotated[float, between(-1e6, 1e6)]


class PlaceMap(Part):
    """Place of a signal. topic, field: of messages. columns: of a table, one for each number."""

    topic: Text
    field: Text
    columns: tuple[Text, ...]


class PositionMap(PlaceMap):
    """Positions of the centre of mass. axes: east-north-up (any level axes with z up) or north-east-down."""

    topic: Text = ODOMETRY
    field: Text = "pose.pose.position"
    columns: tuple[Text, ...] = POSE[:3]
    unit: Literal["m", "mm"] = "m"
    axes: Literal["enu", "ned"] = "enu"


class AttitudeMap(PlaceMap):
    """Attitudes. order: of the columns, or of the numbers in a field that does not name them; rpy: roll, pitch, yaw.

    axes: from which axes to which the rotation turns vectors. unit: of rpy.
    """

    topic: Text = ODOMETRY
    field: Text = "pose.pose.orientation"
    columns: tuple[Text, ...] = POSE[3:]
    order: Literal["wxyz", "xyzw", "rpy"] = "wxyz"
    axes: Literal["flu_to_enu", "enu_to_flu", "frd_to_ned", "ned_to_frd"] = "flu_to_enu"
    unit: Literal["rad", "deg"] = "rad"


class VelocityMap(PlaceMap):
    """Linear velocities. axes: of the body (flu, frd) or the world; default: flu in messages, enu in tables."""

    topic: Text = ODOMETRY
    field: Text = "twist.twist.linear"
    columns: tuple[Text, ...] = TWIST[:3]
    unit: Literal["m/s", "mm/s"] = "m/s"
    axes: Literal["enu", "ned", "flu", "frd"] | None = None


class RatesMap(PlaceMap):
    """Body rates."""

    topic: Text = IMU
    field: Text = "angular_velocity"
    columns: tuple[Text, ...] = TWIST[3:]
    unit: Literal["rad/s", "deg/s"] = "rad/s"
    axes: Literal["flu", "frd"] = "flu"


class ForceMap(PlaceMap):
    """Specific forces, as an accelerometer at the centre of mass measures them."""

    topic: Text = IMU
    field: Text = "linear_acceleration"
    columns: tuple[Text, ...] = tuple(f"specific_force_{axis}_m_s2" for axis in "xyz")
    unit: Literal["m/s2", "g"] = "m/s2"
    axes: Literal["flu", "frd"] = "flu"


_OF_QUANTITY: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "thrust": ("N", "gf"),
        "speed": ("rad/s", "rpm"),
        "share": ("1", "%"),
        "pulse": ("us",),
        "collective": ("N", "1", "%", "m/s2"),
    }
)
"""Units of each quantity, the default first."""


class RotorMap(PlaceMap):
    """Commands to the rotors, or their measured states.

    columns: one for each rotor, or one text with {rotor} or {i}, which counts from 1. quantity: thrust, speed, share
    of the largest thrust, pulse, or collective thrust (as a share of the largest, or over the mass). rotors: the
    robot's rotor at each place of the log. measured: these are states; of commands the motors' lag follows. pulse_us:
    pulses of no and of the largest thrust. thrust_factor: THR_MDL_FAC of PX4 (motor_thrusts.py). curve: pulses with
    their thrusts [N], instead. polynomial: a₀ [N], a₁ [N s], a₂ [N s²] of a thrust from a speed [rad/s], instead of
    robot.yaml's thrust constant (core/thrust_polynomial.py).
    """

    topic: Text = COMMANDS
    field: Text = "data"
    columns: tuple[Text, ...] = ("{rotor}/thrust_n",)
    quantity: Literal["thrust", "speed", "share", "pulse", "collective"] = "thrust"
    unit: Text = ""
    rotors: tuple[Label, ...] = ()
    measured: bool = False
    pulse_us: tuple[Level, Level] = (1000.0, 2000.0)
    thrust_factor: Annotated[float, between(0.0, 1.0)] = 0.0
    curve: tuple[tuple[Level, Level], ...] = ()
    polynomial: tuple[Level, Level, Level] | None = None

    @field_validator("columns", mode="before")
    @classmethod
    def _one_for_all(cls, columns: Any) -> Any:
        return (columns,) if isinstance(columns, str) else columns

    @model_validator(mode="after")
    def _fits(self) -> Self:
        units = _OF_QUANTITY[self.quantity]
        if self.unit and self.unit not in units:
            raise ValueError(f"unit '{self.unit}' is none of a {self.quantity}; allowed: {', '.join(units)}")
        if not self.pulse_us[0] < self.pulse_us[1]:
            raise ValueError("pulse_us must be [at no thrust, at the largest thrust], in rising order")
        rising = len(self.curve) > 1 and bool(np.all(np.diff(np.array(self.curve), axis=0) > 0.0))
        if self.curve and not (rising and self.quantity == "pulse"):
            raise ValueError("curve must be two or more pairs of a pulse and a thrust, both rising, of quantity: pulse")
        if self.polynomial is not None and not (
            self.quantity == "speed" and self.polynomial[2] >= 0.0 < max(self.polynomial[1:])
        ):
            raise ValueError(
                "polynomial must be [a0, a1, a2] of a thrust that rises with the speed, of quantity: speed"
            )
        return self

    @property
    def in_unit(self) -> str:
        """The unit, given or of the quantity."""
        return self.unit or _OF_QUANTITY[self.quantity][0]

    def columns_of(self, rotors: tuple[str, ...]) -> tuple[str, ...]:
        """One column for each place, or for the collective thrust."""
        if self.quantity == "collective" or len(self.columns) > 1:
            return self.columns
        named = enumerate(self.rotors or rotors, 1)
        return tuple(self.columns[0].replace("{rotor}", rotor).replace("{i}", str(i)) for i, rotor in named)


class UlogMap(Part):
    """Axes of the signals of a ULog, where they are not PX4's. velocity: null: those that the log says."""

    position: Literal["enu", "ned"] = "ned"
    velocity: Literal["enu", "ned", "flu", "frd"] | None = None
    attitude: Literal["flu_to_enu", "enu_to_flu", "frd_to_ned", "ned_to_frd"] = "frd_to_ned"
    rates: Literal["flu", "frd"] = "frd"
    specific_force: Literal["flu", "frd"] = "frd"


class FlightMap(Part):
    """The contents of a quadrotor's map.yaml.

    velocity: null where positions shall be differentiated. rates: by default of the IMU, or of the odometry where
    there is none. specific_force: null where it is not measured. ulog: of ULogs, which need none of the other keys.
    """

    time: TimeMap = Field(default_factory=TimeMap)
    position: PositionMap = Field(default_factory=PositionMap)
    attitude: AttitudeMap = Field(default_factory=AttitudeMap)
    velocity: VelocityMap | None = Field(default_factory=VelocityMap)
    rates: RatesMap = Field(default_factory=RatesMap)
    specific_force: ForceMap | None = Field(default_factory=ForceMap)
    rotors: RotorMap = Field(default_factory=RotorMap)
    ulog: UlogMap = Field(default_factory=UlogMap)

    def check(self, robot: Any) -> None:
        """Check names and sizes against a robot. Raises LogError."""
        rotors = robot.channel_names
        if self.rotors.rotors and sorted(self.rotors.rotors) != sorted(rotors):
            given = ", ".join(self.rotors.rotors)
            raise LogError(f"map: rotors: rotors must name each of {', '.join(rotors)} once; given: {given}")
        sizes = {"attitude": 3 if self.attitude.order == "rpy" else 4}
        sizes["rotors"] = 1 if self.rotors.quantity == "collective" else len(rotors)
        for key, signal in self.signals.items():
            columns = signal.columns_of(rotors) if isinstance(signal, RotorMap) else signal.columns
            if columns != type(signal).model_fields["columns"].default and len(columns) != sizes.get(key, 3):
                raise LogError(f"map: {key}: columns must name {sizes.get(key, 3)}; given {len(columns)}")

    @property
    def signals(self) -> dict[str, PlaceMap]:
        """The signals that are asked for, by key."""
        made: dict[str, PlaceMap | None] = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: each for name, each in made.items() if isinstance(each, PlaceMap)}

    def columns(self, robot: Any, header: Collection[str]) -> dict[str, tuple[str, ...]]:
        """Columns of each signal of a table; without those that may be missing and are not there."""
        return {
            key: signal.columns_of(robot.channel_names) if isinstance(signal, RotorMap) else signal.columns
            for key, signal in self.signals.items()
            if not self.may_lack(key) or set(signal.columns) & set(header)
        }

    def topics(self, there: Collection[str]) -> dict[str, PlaceMap]:
        """The signals of a bag with these topics; rates of the odometry where there is no IMU."""
        found = {key: each for key, each in self.signals.items() if each.topic in there or not self.may_lack(key)}
        if "rates" not in self.model_fields_set and IMU not in there:
            found["rates"] = RatesMap(topic=ODOMETRY, field="twist.twist.angular")
        return found

    def may_lack(self, key: str) -> bool:
        """Whether a log without this signal is read: a velocity or a specific force that no map asks for."""
        return key in ("velocity", "specific_force") and key not in self.model_fields_set
