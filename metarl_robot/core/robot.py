# SPDX-License-Identifier: Apache-2.0
"""Robot descriptions: `models/<name>/robot.yaml`, validated when loaded.

This module holds the parts that all kinds share. A kind is a class (robots/<kind>/description.py). It defines the
keys of its robot.yaml, converts them to arrays, checks them against the MJCF, and names the kind's classes in other
rooms. Every key names its unit, so that a value in another unit is an unknown key.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from copy import copy
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from metarl_robot.core.errors import RobotError, UnknownNameError, one_line, shown
from metarl_robot.core.kinds import load_kind
from metarl_robot.core.validation import FileName, Label, Text, between, faults
from metarl_robot.core.wording import Wording
from metarl_robot.core.yaml_file import read_yaml

if TYPE_CHECKING:
    import mujoco

    from metarl_robot.core.coordinates import Coordinates
    from metarl_robot.core.quantities import Quantity, Report

Array = NDArray[np.float64]

MODELS_DIR = Path(__file__).resolve().parents[1] / "models"
PLAUSIBLE_VELOCITY = 2.0
"""Largest plausible velocity of a reference, over the limits."""
REVERSAL_S = 0.02
"""The largest plausible acceleration of a reference reverses such a velocity in this time."""


class RobotFile(BaseModel):
    """Keys of every kind's `robot.yaml`; a kind adds its own in its class."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: FileName
    kind: str
    description: Text
    base_frame: Label
    control_rate_hz: Annotated[float, between(10.0, 2000.0)]


class Robot:
    """A validated robot: its limits as arrays, and its compiled MJCF.

    Attributes:
        name: folder name below `models/`.
        kind: its name in the registry of kinds (kinds.py): 'arm', 'quadrotor'.
        attitude: where q holds a unit quaternion (w, x, y, z) [body→world]; the position of the base [m; world] is
            before it, and v begins with its velocity [m/s; world]. None: v has the rate of each coordinate of q.
        interface: its ROS messages, a class as 'module:name' (ros_nodes/interface.py).
        lands: whether the fallback law ends on the ground: its gate then holds a robot that has landed.
        drivers_may_add_gravity: whether real drivers of this kind may compensate gravity themselves.
        flat_outputs: flat outputs of its references, a class as 'module:name' (flat_outputs.py).
        fallback_law: fallback law of its gate, a class as 'module:name' (fallback_law.py).
        simulation: its simulation, a class as 'module:name' (sim/kinds.py).
        dynamics: its nominal dynamics, a class as 'module:name' (dynamics/protocols.py).
        filter_tuning: noise levels of its momentum filter, a function as 'module:name' (adaptation/factory.py).
        features: its feature groups, name → FeatureSpec as 'module:name' (adaptation/feature_spec.py).
        adapters: its adapters besides those of every kind, name → AdapterSpec as 'module:name'
            (adaptation/adapter_spec.py).
        reported: physical quantities of its tasks, as 'module:name' (quantities.py); empty: none are reported.
        controllers: its controllers, name → ControllerSpec as 'module:name' (control/factory.py).
        families: its families of tasks for policies, ending of the name → class of (robot) as 'module:name'
            (learning/policies/family.py): 'reach' gives panda-reach.
        adaptive_controller: the one of them whose configuration tunes the learned adapters.
        family_model: robot that provides trained weights to robots of this kind without their own; may be None.
        channel_names: (nu,) names of a command's channels, in order: joints, rotors.
        coordinates: names, with units, of q, v and a command (coordinates.py).
        endless: (nq,) whether a coordinate is the angle of a joint that turns without end; None: none is.
        network_inputs: number of inputs of its learned features; None: weights may have any.
        nq, dof, nu: sizes of a position, of a velocity or generalised force, of a command.
        position_lower, position_upper: (dof,) [rad, m]; infinite where there is no limit.
        velocity_limit: (dof,) [rad/s, m/s].
        effort_lower, effort_limit: (nu,) least and greatest command [Nm, N]; effort_rate_limit: (nu,) per second.
        home: (nq,) start and waiting position.
        control_period_s: time between two commands [s]. own_period_s: that of robot.yaml, for `at_period`, too.
        from_file: makes a folder from a user's file, a function as 'module:name' (robots/new_robot/made.py), or empty.
        reads_file: whether a user's file is of this kind, a function of its path as 'module:name', or empty.
        checker: compares it with MuJoCo, a function as 'module:name' (sim/robot_check.py), or empty.
        ratings: rated quantities and their values, for lists of robots.
        wording: words for its parts in tables, figures and reports.
    """

    file: ClassVar[type[RobotFile]] = RobotFile
    kind: ClassVar[str]
    attitude: ClassVar[slice | None] = None
    interface: ClassVar[str]
    lands: ClassVar[bool] = False
    drivers_may_add_gravity: ClassVar[bool] = False
    flat_outputs: ClassVar[str]
    fallback_law: ClassVar[str]
    simulation: ClassVar[str]
    dynamics: ClassVar[str]
    filter_tuning: ClassVar[str]
    features: ClassVar[Mapping[str, str]] = {}
    adapters: ClassVar[Mapping[str, str]] = {}
    reported: ClassVar[tuple[str, ...]] = ()
    controllers: ClassVar[Mapping[str, str]]
    families: ClassVar[Mapping[str, str]] = {}
    adaptive_controller: ClassVar[str] = "meta_mpc"
    family_model: ClassVar[str | None] = None
    from_file: ClassVar[str] = ""
    reads_file: ClassVar[str] = ""
    checker: ClassVar[str] = ""
    ratings: tuple[tuple[Quantity, float], ...] = ()
    wording: Wording = Wording()
    network_inputs: int | None = None
    endless: NDArray[np.bool_] | None = None
    channel_names: tuple[str, ...]
    coordinates: Coordinates
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
        self.own_period_s = self.control_period_s

    def at_period(self, period_s: float) -> Self:
        """This robot with another time between two commands."""
        other = copy(self)
        other.control_period_s = period_s
        return other

    def at_speed(self, scale: float) -> Self:
        """This robot with velocity limits scaled by a number in (0, 1], for the checks of its references."""
        other = copy(self)
        other.velocity_limit = scale * self.velocity_limit
        return other

    @property
    def plausible_velocity(self) -> Array:
        """(dof,) largest plausible velocity of a reference [rad/s, m/s]."""
        return PLAUSIBLE_VELOCITY * self.velocity_limit

    @property
    def plausible_acceleration(self) -> Array:
        """(dof,) largest plausible acceleration of a reference [rad/s², m/s²]."""
        return 2.0 * self.plausible_velocity / REVERSAL_S

    @property
    def nu(self) -> int:
        return len(self.channel_names)

    @property
    def is_shipped(self) -> bool:
        """Whether it is one of the package's own robots."""
        return self.folder.resolve().parent == MODELS_DIR.resolve()

    @property
    def argument(self) -> str:
        """Name or folder that commands take for this robot."""
        return self.name if self.is_shipped else str(self.folder)

    @property
    def position_size(self) -> int:
        """Number of q's first coordinates that are not attitude; v begins with their rates."""
        return self.nq if self.attitude is None else self.attitude.start

    @property
    def wrapped(self) -> NDArray[np.bool_] | None:
        """(nq,) whether a coordinate is an angle that is measured up to whole turns; None: none is."""
        return self.endless

    @property
    def reports(self) -> tuple[Report, ...]:
        """Reports of the physical quantities of its tasks."""
        return tuple(named(place) for place in self.reported)

    @cached_property
    def mj_model(self) -> mujoco.MjModel:
        """Compiled nominal model; read-only by convention, simulations compile their own."""
        spec = self.mj_spec()
        try:
            return spec.compile()
        except Exception as error:  # MuJoCo's own, ValueError, or RuntimeError
            raise RobotError(f"{self.folder}: MuJoCo cannot compile the model: {one_line(error)}") from error

    def mj_spec(self) -> mujoco.MjSpec:
        """MJCF of the nominal robot, as an editable spec. Raises RobotError."""
        raise NotImplementedError

    def check_model(self) -> None:
        """Compare description and MJCF. Raises RobotError."""


def available_robots(models_dir: Path = MODELS_DIR, kind: str | None = None) -> tuple[str, ...]:
    """Names of the robots below `models_dir` (folders with a robot.yaml), of one kind or of all."""
    names = sorted(path.parent.name for path in models_dir.glob("*/robot.yaml"))
    return tuple(name for name in names if kind is None or load_robot(name, models_dir, check_model=False).kind == kind)


def load_robot(
    name_or_folder: str | Path, models_dir: Path = MODELS_DIR, check_model: bool = True, of_kind: str = ""
) -> Robot:
    """Load and validate a robot by name (`panda`) or by folder (`/path/to/my_arm`).

    Arguments:
        check_model: False reads robot.yaml only, without importing MuJoCo, for a process that needs the limits alone.
        of_kind: refuse a robot of another kind; empty: any.

    Returns:
        The kind's own subclass of Robot.

    Raises:
        UnknownNameError: no such robot, or no such kind; the message lists the valid names.
        RobotError: robot.yaml or the MJCF is wrong; the message names file, key and the allowed values.
    """
    path = _description_file(str(name_or_folder), models_dir)
    folder = path.parent
    content = _read(path)
    try:
        kind = kind_of(content.get("kind"))
    except UnknownNameError as error:
        raise RobotError(f"{path}: kind: {error}") from error
    try:
        robot = kind(kind.file.model_validate(content), folder)
    except ValidationError as error:
        raise RobotError(f"{path}: {faults(error, kind.file)}") from error
    if of_kind and robot.kind != of_kind:
        raise RobotError(
            f"{path}: kind: robot '{robot.name}' is of kind '{robot.kind}'; given where '{of_kind}' is needed"
        )
    if check_model:
        robot.check_model()
    return robot


def _description_file(name_or_folder: str, models_dir: Path) -> Path:
    """Find the robot.yaml of a folder, or of a name below `models_dir`. Raises UnknownNameError."""
    for folder in (Path(name_or_folder), models_dir / name_or_folder):
        with suppress(OSError, ValueError):  # not a valid file name
            if (folder / "robot.yaml").is_file():
                return folder / "robot.yaml"
    place = "or a folder with a robot.yaml, which this path is not" if "/" in name_or_folder else ""
    raise UnknownNameError("robot", name_or_folder, available_robots(models_dir), place)


def kind_of(name: Any) -> type[Robot]:
    """Class of a kind by name; it names the kind's classes in other rooms. Raises UnknownNameError."""
    found: type[Robot] = load_kind(name)
    return found


def named(place: str) -> Any:
    """Import the object named 'module:name'."""
    module, attribute = place.split(":")
    return getattr(import_module(module), attribute)


def _read(path: Path) -> dict[str, Any]:
    content = read_yaml(path, RobotError)
    if not isinstance(content, dict):
        raise RobotError(f"{path}: must be a mapping of keys to values; given: {shown(content)}")
    return content
