"""Robot descriptions: `models/<name>/robot.yaml`, validated when loaded. What every kind of robot has is here.

A kind is a class (arm.py, quadrotor.py): it says which keys its robot.yaml may have, turns them into arrays, checks them against the
MJCF, and names what belongs to the kind in other rooms. A new kind is such a class and a line in `_KINDS`. Every key carries its
unit, so that a value in another unit is a misspelt key.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from metarl_robot.errors import RobotError, UnknownNameError

if TYPE_CHECKING:
    import mujoco

Array = NDArray[np.float64]

MODELS_DIR = Path(__file__).resolve().parent / "models"

_KINDS = {"arm": "metarl_robot.arm:Arm", "quadrotor": "metarl_robot.quadrotor:Quadrotor"}

Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]


class Payload(BaseModel):
    """Where a payload attaches and what the robot is rated for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    site: str
    rated_mass_kg: Positive


class RobotFile(BaseModel):
    """What every kind's `robot.yaml` holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    kind: str
    description: str
    base_frame: str
    control_rate_hz: Annotated[float, Field(ge=10.0, le=2000.0)]
    payload: Payload


class Robot:
    """A validated robot: its limits as arrays, and its compiled MJCF.

    Attributes:
        name: folder name below `models/`.
        kind: 'arm', 'quadrotor'.
        course: what its references are made of, a class as 'module:name' (course.py).
        gate_law: how its gate stops it, a class as 'module:name' (gate_law.py).
        simulation: what simulates it, a class as 'module:name' (sim/kinds.py).
        adapter_parts: what its adapters are made of, a module (adaptation/factory.py).
        controllers: its controllers, name → ControllerSpec as 'module:name' (control/factory.py).
        family_model: the robot whose trained weights serve those of this kind without their own, or none.
        channel_names: (nu,) what a command drives, in order: joints, rotors.
        nq, dof, nu: sizes of a position, of a velocity or generalised force, of a command.
        position_lower, position_upper: (dof,) [rad, m]; infinite where there is no limit.
        velocity_limit: (dof,) [rad/s, m/s].
        effort_lower, effort_limit: (nu,) least and greatest command [Nm, N]; effort_rate_limit: (nu,) per second.
        home: (nq,) where it starts and waits.
        control_period_s: seconds between two commands.
        payload_site: MJCF site that carries a payload (its frame is the payload's frame).
    """

    file: ClassVar[type[RobotFile]] = RobotFile
    kind: ClassVar[str]
    course: ClassVar[str]
    gate_law: ClassVar[str]
    simulation: ClassVar[str]
    adapter_parts: ClassVar[str]
    controllers: ClassVar[Mapping[str, str]]
    family_model: ClassVar[str | None] = None
    channel_names: tuple[str, ...]
    nq: int
    dof: int
    position_lower: Array
    position_upper: Array
    velocity_limit: Array
    effort_lower: Array
    effort_limit: Array
    effort_rate_limit: Array
    home: Array

    def __init__(self, description: Any, folder: Path) -> None:
        self.description = description
        self.folder = folder
        self.name: str = description.name
        self.base_frame: str = description.base_frame
        self.control_period_s: float = 1.0 / description.control_rate_hz
        self.payload_site: str = description.payload.site
        self.rated_payload_kg: float = description.payload.rated_mass_kg

    @property
    def floating(self) -> bool:
        """Whether its base flies or rolls: q is then position and attitude, not joints."""
        return self.nq != self.dof

    @property
    def nu(self) -> int:
        return len(self.channel_names)

    @property
    def joint_names(self) -> tuple[str, ...]:
        """The channels of an arm."""
        return self.channel_names

    @cached_property
    def mj_model(self) -> mujoco.MjModel:
        """The nominal robot, compiled: read-only by convention; simulations compile their own."""
        spec = self.mj_spec()
        try:
            return spec.compile()
        except ValueError as error:
            raise RobotError(f"{self.folder}: MuJoCo cannot compile the model: {error}") from error

    def mj_spec(self) -> mujoco.MjSpec:
        """The nominal robot's MJCF, to be built upon. Raises RobotError."""
        raise NotImplementedError

    def check_model(self) -> None:
        """Compare description and MJCF. Raises RobotError."""


def available_robots(models_dir: Path = MODELS_DIR, kind: str | None = None) -> tuple[str, ...]:
    """Names of the robots below `models_dir` (folders with a robot.yaml), of one kind or of all."""
    names = sorted(path.parent.name for path in models_dir.glob("*/robot.yaml"))
    return tuple(name for name in names if kind is None or load_robot(name, models_dir, check_model=False).kind == kind)


def load_robot(name_or_folder: str | Path, models_dir: Path = MODELS_DIR, check_model: bool = True) -> Robot:
    """Load and validate a robot by name (`panda`) or by folder (`/path/to/my_arm`).

    check_model False: only robot.yaml is read and MuJoCo is not imported, for a process that needs the limits alone.

    Returns:
        The kind's own subclass of Robot.

    Raises:
        UnknownNameError: no such robot, or no such kind; the message lists those there are.
        RobotError: robot.yaml or the MJCF is wrong; the message names file, key and what is allowed.
    """
    folder = Path(name_or_folder)
    if not (folder / "robot.yaml").is_file():
        folder = models_dir / str(name_or_folder)
    path = folder / "robot.yaml"
    if not path.is_file():
        raise UnknownNameError("robot", str(name_or_folder), available_robots(models_dir))
    content = _read(path)
    try:
        kind = kind_of(content.get("kind"))
    except UnknownNameError as error:
        raise RobotError(f"{path}: kind: {error}") from error
    try:
        robot = kind(kind.file.model_validate(content), folder)
    except ValidationError as error:
        raise RobotError(_explain(path, error, kind.file)) from error
    if check_model:
        robot.check_model()
    return robot


def kind_of(name: Any) -> type[Robot]:
    """A kind of robot by its name; what belongs to it in other rooms is named there. Raises UnknownNameError."""
    if name not in _KINDS:
        raise UnknownNameError("kind of robot", str(name), _KINDS)
    found: type[Robot] = named(_KINDS[name])
    return found


def named(place: str) -> Any:
    """What is named 'module:name', imported when asked for."""
    module, attribute = place.split(":")
    return getattr(import_module(module), attribute)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RobotError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise RobotError(f"{path}: must be a mapping of keys to values")
    return content


def _explain(path: Path, error: ValidationError, model: type[BaseModel]) -> str:
    lines = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"]) or "(top level)"
        given = "" if item["type"] == "missing" else f" (given: {item['input']!r})"
        allowed = ""
        if item["type"] == "extra_forbidden":
            allowed = f"; allowed keys: {', '.join(_model_at(model, item['loc'][:-1]).model_fields)}"
        lines.append(f"{path}: {key}: {item['msg']}{given}{allowed}")
    return "\n".join(lines)


def _model_at(model: type[BaseModel], place: tuple[int | str, ...]) -> type[BaseModel]:
    """The model of the mapping at a place in the file."""
    for key in place:
        if isinstance(key, str) and key in model.model_fields:
            model = _model_in(model.model_fields[key].annotation)
    return model


def _model_in(annotation: Any) -> type[BaseModel]:
    """The pydantic model in an annotation such as `Payload` or `tuple[JointLimits, ...]`."""
    for part in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(part, type) and issubclass(part, BaseModel):
            return part
    return BaseModel
