# SPDX-License-Identifier: Apache-2.0
"""Checks that an MJCF's motors, joints and passive forces are those of the nominal model.

The nominal model is a tree with one torque motor for each joint (gear 1), viscous damping, linear springs and gravity
compensation. Anything else is refused with its element and a remedy: it would be a silent model error.
Features without a rule here are detected by the forces that they cause (mjcf_behaviour.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import mujoco
import numpy as np
from numpy.typing import NDArray

from metarl_robot.core.errors import RobotError
from metarl_robot.core.mjcf_behaviour import Fault, behaviour_faults

if TYPE_CHECKING:
    from metarl_robot.core.robot import Robot

Array = NDArray[np.float64]

_CLOSE = 1e-6


def check_actuation(robot: Robot, model: mujoco.MjModel, path: Path) -> None:
    """Raise RobotError for the first element that the nominal model cannot hold, or that allows less than robot.yaml.

    model: of the robot's file `path`; its joints are the robot's channels, in order.
    """
    for faults in (_motors(model), _passive(model), _couplings(model), _ranges(robot, model)):
        for element, said, remedy in faults:
            raise RobotError(f"{path}: {element}: {said}; {remedy}")
    for element, said, remedy in behaviour_faults(robot, model):
        raise RobotError(f"{path}: {element}: {said}; {remedy}")


def _motors(model: mujoco.MjModel) -> Iterator[Fault]:
    for i in range(model.nu):
        element = f"actuator '{model.actuator(i).name}'"
        is_motor = (
            model.actuator_dyntype[i] == mujoco.mjtDyn.mjDYN_NONE
            and model.actuator_gaintype[i] == mujoco.mjtGain.mjGAIN_FIXED
            and model.actuator_biastype[i] == mujoco.mjtBias.mjBIAS_NONE
        )
        if not is_motor:
            remedy = "write <motor joint=… gear='1'/>, or convert the file with metarl robot new"
            yield element, "is no torque motor (a position or velocity servo?)", remedy
        gain = float(model.actuator_gainprm[i, 0] * model.actuator_gear[i, 0])
        if abs(gain - 1.0) > _CLOSE:
            yield element, f"gear times gain is {gain:g}", "set it to 1: commands are efforts at the joint"
        if model.actuator_armature[i] > 0.0 or np.any(model.actuator_damping[i]):
            yield element, "has armature or damping of its own", "give them to the joint"


def _passive(model: mujoco.MjModel) -> Iterator[Fault]:
    for j in range(model.njnt):
        element, dof = f"joint '{model.joint(j).name}'", int(model.jnt_dofadr[j])
        if model.dof_frictionloss[dof] > 0.0:
            remedy = "set it to 0: meta_mpc learns friction, offset_free_mpc compensates it"
            yield element, f"frictionloss is {model.dof_frictionloss[dof]:g}, and the nominal model has none", remedy
        if np.any(model.jnt_stiffnesspoly[j]) or np.any(model.dof_dampingpoly[dof]):
            yield element, "its stiffness or damping is not linear", "give one number: the linear coefficient"


def _couplings(model: mujoco.MjModel) -> Iterator[Fault]:
    if np.any(model.eq_active0):
        yield "equality", "couples joints or bodies, which are independent in the nominal model", "remove it"
    if model.opt.disableflags & int(mujoco.mjtDisableBit.mjDSBL_GRAVITY):
        yield "option", "gravity is switched off by a flag", "write gravity='0 0 0'"


def _ranges(robot: Robot, model: mujoco.MjModel) -> Iterator[Fault]:
    lower, upper = robot.position_lower, robot.position_upper
    for j in range(model.njnt):
        least, most = model.jnt_range[j]
        if model.jnt_limited[j] and (least > lower[j] + _CLOSE or most < upper[j] - _CLOSE):
            yield _narrower(f"joint '{model.joint(j).name}': range", (least, most), (lower[j], upper[j]))
        least, most = model.jnt_actfrcrange[j]
        if model.jnt_actfrclimited[j] and (
            least > robot.effort_lower[j] + _CLOSE or most < robot.effort_limit[j] - _CLOSE
        ):
            given = float(robot.effort_lower[j]), float(robot.effort_limit[j])
            yield _narrower(f"joint '{model.joint(j).name}': actuatorfrcrange", (least, most), given)
    for i in range(model.nu):
        j = int(model.actuator_trnid[i, 0])
        for limited, name in (("actuator_ctrllimited", "ctrlrange"), ("actuator_forcelimited", "forcerange")):
            least, most = getattr(model, f"actuator_{name}")[i]
            given = robot.effort_lower[j], robot.effort_limit[j]
            if getattr(model, limited)[i] and (least > given[0] + _CLOSE or most < given[1] - _CLOSE):
                yield _narrower(f"actuator '{model.actuator(i).name}': {name}", (least, most), given)


def _narrower(element: str, own: tuple[float, float], given: tuple[float, float]) -> Fault:
    said = f"[{own[0]:g}, {own[1]:g}] is narrower than [{given[0]:g}, {given[1]:g}] of robot.yaml"
    return element, said, "widen it, or narrow the limits of robot.yaml"
