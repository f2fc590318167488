"""Robot descriptions: `models/<name>/robot.yaml` beside `robot.xml` (MJCF), validated when loaded.

The YAML holds what the MJCF does not say: which joints are controlled, in which order, their limits, the control rate
and the frame that carries a payload. Every key carries its unit, so that a value in another unit is a misspelt key.
"""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from metarl_robot.errors import RobotError, UnknownNameError

if TYPE_CHECKING:
    import mujoco

Array = NDArray[np.float64]

MODELS_DIR = Path(__file__).resolve().parent / "models"

Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
_FULL_TURN_RAD = 2.0 * math.pi


class JointLimits(BaseModel):
    """One controlled joint. Revolute joints: rad, rad/s, Nm, Nm/s."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    position_rad: tuple[float, float]
    velocity_rad_s: Positive
    effort_nm: Positive
    effort_rate_nm_s: Positive
    home_rad: float

    @field_validator("position_rad")
    @classmethod
    def _ordered_and_in_radians(cls, limits: tuple[float, float]) -> tuple[float, float]:
        lower, upper = limits
        if not (-2 * _FULL_TURN_RAD <= lower < upper <= 2 * _FULL_TURN_RAD):
            raise ValueError(f"must be [lower, upper] in rad with lower < upper, within ±4π; is {list(limits)} in degrees?")
        return limits

    @model_validator(mode="after")
    def _home_within_limits(self) -> JointLimits:
        lower, upper = self.position_rad
        if not lower <= self.home_rad <= upper:
            raise ValueError(f"home_rad {self.home_rad} must lie within position_rad [{lower}, {upper}]")
        return self


class Payload(BaseModel):
    """Where a payload attaches and what the robot is rated for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    site: str
    rated_mass_kg: Positive


class RobotFile(BaseModel):
    """The contents of `robot.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    kind: Literal["arm"]
    description: str
    model: str = "robot.xml"
    base_frame: str
    control_rate_hz: Annotated[float, Field(ge=10.0, le=2000.0)]
    payload: Payload
    joints: Annotated[tuple[JointLimits, ...], Field(min_length=1)]


class Robot:
    """A validated robot: limits as arrays in joint order, and its compiled MJCF.

    Attributes:
        name: folder name below `models/`.
        kind: 'arm'.
        joint_names: (n,) names, the order of every array below and of every state and command.
        position_lower, position_upper, velocity_limit: (n,) rad, rad, rad/s.
        effort_limit, effort_rate_limit: (n,) Nm, Nm/s.
        home: (n,) rad.
        control_period_s: seconds between two commands.
        payload_site: MJCF site that carries a payload (its frame is the payload's frame).
    """

    def __init__(self, description: RobotFile, folder: Path) -> None:
        self.description = description
        self.folder = folder
        self.name = description.name
        self.kind = description.kind
        self.base_frame = description.base_frame
        self.joint_names = tuple(joint.name for joint in description.joints)
        self.position_lower = np.array([j.position_rad[0] for j in description.joints])
        self.position_upper = np.array([j.position_rad[1] for j in description.joints])
        self.velocity_limit = np.array([j.velocity_rad_s for j in description.joints])
        self.effort_limit = np.array([j.effort_nm for j in description.joints])
        self.effort_rate_limit = np.array([j.effort_rate_nm_s for j in description.joints])
        self.home = np.array([j.home_rad for j in description.joints])
        self.control_period_s = 1.0 / description.control_rate_hz
        self.payload_site = description.payload.site

    @property
    def model_path(self) -> Path:
        return self.folder / self.description.model

    @property
    def dof(self) -> int:
        return len(self.joint_names)

    @cached_property
    def mj_model(self) -> mujoco.MjModel:
        """The nominal robot, compiled: read-only by convention; simulations compile their own."""
        return _compile(self.model_path)


def available_robots(models_dir: Path = MODELS_DIR) -> tuple[str, ...]:
    """Names of the robots below `models_dir` (folders with a robot.yaml)."""
    return tuple(sorted(path.parent.name for path in models_dir.glob("*/robot.yaml")))


def load_robot(name_or_folder: str | Path, models_dir: Path = MODELS_DIR, check_model: bool = True) -> Robot:
    """Load and validate a robot by name (`panda`) or by folder (`/path/to/my_arm`).

    check_model False: only robot.yaml is read and MuJoCo is not imported, for a process that needs the limits alone.

    Raises:
        UnknownNameError: no such robot; the message lists those there are.
        RobotError: robot.yaml or robot.xml is wrong; the message names file, key and what is allowed.
    """
    folder = Path(name_or_folder)
    if not (folder / "robot.yaml").is_file():
        folder = models_dir / str(name_or_folder)
    path = folder / "robot.yaml"
    if not path.is_file():
        raise UnknownNameError("robot", str(name_or_folder), available_robots(models_dir))
    robot = Robot(_read(path), folder)
    if check_model:
        _check_against_mjcf(robot, path)
    return robot


def _read(path: Path) -> RobotFile:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RobotError(f"{path}: not valid YAML: {error}") from error
    try:
        return RobotFile.model_validate(content)
    except ValidationError as error:
        raise RobotError(_explain(path, error)) from error


def _explain(path: Path, error: ValidationError) -> str:
    lines = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"]) or "(top level)"
        given = "" if item["type"] == "missing" else f" (given: {item['input']!r})"
        allowed = ""
        if item["type"] == "extra_forbidden":
            model = JointLimits if item["loc"][0] == "joints" else Payload if item["loc"][0] == "payload" else RobotFile
            allowed = f"; allowed keys: {', '.join(model.model_fields)}"
        lines.append(f"{path}: {key}: {item['msg']}{given}{allowed}")
    return "\n".join(lines)


def _compile(path: Path) -> mujoco.MjModel:
    import mujoco

    if not path.is_file():
        raise RobotError(f"{path}: the MJCF named by 'model' does not exist")
    try:
        return mujoco.MjModel.from_xml_path(str(path))
    except ValueError as error:
        raise RobotError(f"{path}: MuJoCo cannot compile it: {error}") from error


def _check_against_mjcf(robot: Robot, path: Path) -> None:
    import mujoco

    model = robot.mj_model
    joints = tuple(model.joint(i).name for i in range(model.njnt))
    if joints != robot.joint_names:
        raise RobotError(
            f"{path}: joints: names and order must be those of {robot.model_path.name}: {list(joints)}; given: {list(robot.joint_names)}"
        )
    if any(int(kind) not in (int(mujoco.mjtJoint.mjJNT_HINGE), int(mujoco.mjtJoint.mjJNT_SLIDE)) for kind in model.jnt_type):
        raise RobotError(f"{robot.model_path}: an arm's joints must be hinges or slides")
    sites = [model.site(i).name for i in range(model.nsite)]
    if robot.payload_site not in sites:
        raise RobotError(f"{path}: payload.site: '{robot.payload_site}' is not a site of {robot.model_path.name}; allowed: {sites}")
    if model.nu != robot.dof:
        raise RobotError(f"{robot.model_path}: needs one motor per joint, in joint order: {robot.dof} joints, {model.nu} actuators")
