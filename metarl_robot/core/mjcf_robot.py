# SPDX-License-Identifier: Apache-2.0
"""A robot described by an MJCF file of hinges and slides, with one motor for each; its channels are these joints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from metarl_robot.core.errors import RobotError, one_line
from metarl_robot.core.mjcf_file import check_mjcf
from metarl_robot.core.model_physics import check_physics
from metarl_robot.core.robot import Robot, RobotFile
from metarl_robot.core.validation import Text, between

if TYPE_CHECKING:
    import mujoco

Array = NDArray[np.float64]


class Effects(BaseModel):
    """What was found in recordings of this robot and the MJCF does not hold, one number for each joint.

    coulomb: friction [Nm, N]. motor_strength: effort that acts over the effort that is commanded. Adapters start there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    coulomb: tuple[Annotated[float, between(0.0, 1e5)], ...]
    motor_strength: tuple[Annotated[float, between(0.1, 10.0)], ...]


class MjcfRobotFile(RobotFile):
    """Keys of a `robot.yaml` beside an MJCF file."""

    model: Text = "robot.xml"
    effects: Effects | None = None


class MjcfRobot(Robot):
    """See the module's docstring. A kind's class sets the channel names and the limits."""

    def __init__(self, description: MjcfRobotFile, folder: Path) -> None:
        super().__init__(description, folder)
        self.model_path = folder / description.model
        self._model_checked = False

    @property
    def coulomb(self) -> Array:
        """Coulomb friction (n,) that robot.yaml states; zero: none."""
        effects = self.description.effects
        return np.zeros(self.dof) if effects is None else np.array(effects.coulomb)

    @property
    def motor_strength(self) -> Array:
        """Motor strength (n,) that robot.yaml states; one: none."""
        effects = self.description.effects
        return np.ones(self.dof) if effects is None else np.array(effects.motor_strength)

    def mj_spec(self) -> mujoco.MjSpec:
        import mujoco

        if not self._model_checked:
            check_mjcf(self.model_path)
            self._model_checked = True
        try:
            return mujoco.MjSpec.from_file(str(self.model_path))
        except Exception as error:  # MuJoCo's own errors, ValueError, RuntimeError
            raise RobotError(f"{self.model_path}: MuJoCo cannot read it: {one_line(error)}") from error

    def check_model(self) -> None:
        import mujoco

        from metarl_robot.core.mjcf_actuation import check_actuation

        model, path = self.mj_model, self.folder / "robot.yaml"
        joints = tuple(model.joint(i).name for i in range(model.njnt))
        if joints != self.channel_names:
            expected = f"must be those of {self.model_path.name}: {list(joints)}"
            raise RobotError(f"{path}: joints: names and order {expected}; given: {list(self.channel_names)}")
        allowed = (int(mujoco.mjtJoint.mjJNT_HINGE), int(mujoco.mjtJoint.mjJNT_SLIDE))
        if any(int(kind) not in allowed for kind in model.jnt_type):
            raise RobotError(f"{self.model_path}: the joints of this kind of robot must be hinges or slides")
        motors = sorted(int(joint) for joint in model.actuator_trnid[:, 0])
        on_joints = np.all(model.actuator_trntype == int(mujoco.mjtTrn.mjTRN_JOINT))
        if motors != list(range(self.dof)) or not on_joints:
            raise RobotError(
                f"{self.model_path}: needs one motor per joint, in joint order: {self.dof} joints, {model.nu} actuators"
            )
        for name in ("coulomb", "motor_strength"):
            if len(getattr(self, name)) != self.dof:
                said = f"must have a number for each of {self.dof} joints; given {len(getattr(self, name))}"
                raise RobotError(f"{path}: effects: {name} {said}")
        check_physics(model, self.model_path)
        check_actuation(self, model, self.model_path)
