# SPDX-License-Identifier: Apache-2.0
"""Controllers that are built while another one controls the robot."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from metarl_robot.compile.compiler_process import CompilationStopped
from metarl_robot.control.base import Controller
from metarl_robot.control.factory import SIMULATION_ONLY, make_controller, node_controller_names
from metarl_robot.core.errors import MetaRLError, UnknownNameError
from metarl_robot.core.robot import Robot
from metarl_robot.core.signals import State
from metarl_robot.trajectories.flat_outputs import flat_outputs_of


def check_controller(name: str, offered: Collection[str]) -> None:
    """Raise UnknownNameError for a controller that is not among those offered."""
    if name not in offered:
        raise UnknownNameError("controller", name, offered)


class ControllerBuilder:
    """Builds one controller in its own thread; sets `controller` or `error` when done."""

    def __init__(self, robot: Robot, name: str, config: BaseModel, checkpoint: Path | None) -> None:
        self.name, self.config = name, config
        self.controller: Controller | None = None
        self.error: Exception | CompilationStopped | None = None
        self._arguments = (robot, name, config, checkpoint)
        self._thread = threading.Thread(target=self._build, name=f"build {name}", daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def _build(self) -> None:
        try:
            self.controller = ready_controller(*self._arguments)
        except (Exception, CompilationStopped) as error:  # the present controller continues
            self.error = error


def ready_controller(robot: Robot, name: str, config: BaseModel, checkpoint: Path | None) -> Controller:
    """Build a controller and make a first step, so that the first state needs no compilation or allocation."""
    if name in SIMULATION_ONLY:
        raise UnknownNameError("controller on a robot", name, node_controller_names(robot.kind))
    controller = make_controller(robot, name, config, checkpoint)
    controller.step(0.0, State(robot.home.copy(), np.zeros(robot.dof)), flat_outputs_of(robot).hold(robot.home))
    controller.reset()
    return controller


def rehearse(robot: Robot, configs: Mapping[str, BaseModel | MetaRLError], checkpoint: Path | None) -> None:
    """Build every controller once, to fill the caches of imports, derivations and compiled code.

    A change in motion then takes tens of milliseconds instead of seconds. A controller that cannot be built is
    skipped; the change that requests it reports the error.
    """
    for name, config in configs.items():
        if isinstance(config, BaseModel):
            with suppress(Exception):
                ready_controller(robot, name, config, checkpoint)
