# SPDX-License-Identifier: Apache-2.0
"""`map.yaml`: which topics or columns of a log hold q, v and effort, and in which units.

    time: {column: t, unit: ms, clock: header}
    joints: {panda_joint1: fr3_joint1}
    position: {columns: "q{i}", unit: deg}
    velocity: null
    effort: {topic: /currents, field: data, unit: A, gain: [5.1, 5.1, 4, 4, 1.9, 1.9, 1.9], gravity_compensated: true}

Every key has a default, that of a `/joint_states` topic or of a table with this project's column names.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from metarl_robot.core.errors import shown
from metarl_robot.core.robot import Robot
from metarl_robot.core.validation import Label, Text, between, faults
from metarl_robot.core.yaml_file import read_yaml
from metarl_robot.logs.recording import LogError

JOINT_STATES = "/joint_states"
_RADIANS = 0.017453292519943295
UNITS: Mapping[str, float] = {
    **{"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9},
    **{"rad": 1.0, "deg": _RADIANS, "m": 1.0, "mm": 1e-3},
    **{"rad/s": 1.0, "deg/s": _RADIANS, "m/s": 1.0, "mm/s": 1e-3},
    **{"Nm": 1.0, "mNm": 1e-3, "N": 1.0, "A": 1.0, "mA": 1e-3},
    **{"m/s2": 1.0, "g": 9.80665, "rpm": 0.10471975511965977, "gf": 9.80665e-3, "%": 0.01},
}
"""Factors to s, rad, m, rad/s, m/s, m/s², Nm, N, A and 1."""


class Part(BaseModel):
    """A part of a map."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TimeMap(Part):
    """Time of a sample: a column of a table; of messages the header's stamp, or the time of reception."""

    column: Text = "time_s"
    unit: Literal["s", "ms", "us", "ns"] = "s"
    clock: Literal["header", "received"] = "header"


class _SignalMap(Part):
    """Place of one signal, a value for each joint.

    topic, field: of messages; a field in a field is written `actual.positions`. columns: of a table, one for each
    joint, or one text with {joint} or {i}, which counts from 1. sign: 1 or -1 for each joint.
    """

    topic: Text = JOINT_STATES
    field: Text
    columns: tuple[Text, ...] | Text
    sign: tuple[Literal[1, -1], ...] = ()

    @field_validator("columns", mode="before")
    @classmethod
    def _no_empty_list(cls, columns: Any) -> Any:
        if isinstance(columns, list | tuple) and not columns:
            raise ValueError("must name a column for each joint; given none")
        return columns

    def columns_of(self, joints: tuple[str, ...]) -> tuple[str, ...]:
        """One column name for each joint."""
        if isinstance(self.columns, str):
            names = enumerate(joints, 1)
            return tuple(self.columns.replace("{joint}", joint).replace("{i}", str(i)) for i, joint in names)
        return self.columns


class PositionMap(_SignalMap):
    """Joint positions."""

    field: Text = "position"
    columns: tuple[Text, ...] | Text = "{joint}/position_rad"
    unit: Literal["rad", "deg", "m", "mm"] = "rad"


class VelocityMap(_SignalMap):
    """Joint velocities."""

    field: Text = "velocity"
    columns: tuple[Text, ...] | Text = "{joint}/velocity_rad_s"
    unit: Literal["rad/s", "deg/s", "m/s", "mm/s"] = "rad/s"


class EffortMap(_SignalMap):
    """Joint efforts, or motor currents.

    gain: effort of 1 A [Nm/A], for all joints or for each; needed for currents. gear: turns of the motor for one of the
    joint, for all joints or for each, where efforts or gains are those of the motor's shaft. gravity_compensated: the
    driver subtracts gravity, so that the nominal model's is added.
    """

    field: Text = "effort"
    columns: tuple[Text, ...] | Text = "{joint}/effort_nm"
    unit: Literal["Nm", "mNm", "N", "A", "mA"] = "Nm"
    gain: Annotated[float, between(-1e4, 1e4)] | tuple[Annotated[float, between(-1e4, 1e4)], ...] | None = None
    gear: Annotated[float, between(1e-3, 1e5)] | tuple[Annotated[float, between(1e-3, 1e5)], ...] = 1.0
    gravity_compensated: bool = False


class LogMap(Part):
    """The contents of a map.yaml.

    joints: the log's name of a joint, by the robot's; joints with equal names need no entry. velocity: null where the
    log has none: positions are then differentiated.
    """

    time: TimeMap = Field(default_factory=TimeMap)
    joints: dict[Label, Text] = Field(default_factory=dict)
    position: PositionMap = Field(default_factory=PositionMap)
    velocity: VelocityMap | None = Field(default_factory=VelocityMap)
    effort: EffortMap = Field(default_factory=EffortMap)

    def names_of(self, joints: tuple[str, ...]) -> tuple[str, ...]:
        """The log's names of the robot's joints, in the robot's order."""
        return tuple(self.joints.get(joint, joint) for joint in joints)

    def check(self, joints: tuple[str, ...]) -> None:
        """Check names and sizes against a robot's joints. Raises LogError."""
        unknown = [name for name in self.joints if name not in joints]
        if unknown:
            raise LogError(f"map: joints: '{unknown[0]}' is no joint of the robot; allowed: {', '.join(joints)}")
        if self.effort.unit in ("A", "mA") and self.effort.gain is None:
            raise LogError(f"map: effort: unit {self.effort.unit} needs 'gain', the effort of 1 A [Nm/A]")
        if self.effort.unit not in ("A", "mA") and self.effort.gain is not None:
            raise LogError(f"map: effort: 'gain' is of currents; given with unit {self.effort.unit}; allowed: A, mA")
        for key, signal in self.signals.items():
            for name in ("columns", "sign", "gain", "gear"):
                given = getattr(signal, name, None)
                if isinstance(given, tuple) and given and len(given) != len(joints):
                    raise LogError(f"map: {key}: {name} has {len(given)} entries; the robot has {len(joints)} joints")

    @property
    def signals(self) -> dict[str, PositionMap | VelocityMap | EffortMap]:
        """The signals that the log holds, by key."""
        velocity = {} if self.velocity is None else {"velocity": self.velocity}
        return {"position": self.position, **velocity, "effort": self.effort}

    def columns(self, robot: Robot, header: Collection[str]) -> dict[str, tuple[str, ...]]:
        """Columns of each signal of a table; without velocities if no map asks for them and none are there."""
        wanted = {key: signal.columns_of(robot.channel_names) for key, signal in self.signals.items()}
        lacks_velocity = "velocity" in wanted and "velocity" not in self.model_fields_set
        if lacks_velocity and not set(wanted["velocity"]) & set(header):
            del wanted["velocity"]
        return wanted


class TableMap(Protocol):
    """A map of any kind of robot, as readers of tables use it."""

    @property
    def time(self) -> TimeMap: ...

    def columns(self, robot: Robot, header: Collection[str]) -> dict[str, tuple[str, ...]]:
        """Columns of each signal of a table with this header."""
        ...


Map = TypeVar("Map", bound=BaseModel)


def read_map(path: Path | None, model: type[Map]) -> Map:
    """Read a map.yaml; None: the default. Raises LogError with file, key and the allowed values."""
    if path is None:
        return model()
    content = read_yaml(path, LogError)
    if not isinstance(content, dict):
        raise LogError(f"{path}: must be a mapping of keys to values; given: {shown(content)}")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise LogError(f"{path}: {faults(error, model)}") from error
