# SPDX-License-Identifier: Apache-2.0
"""Robots that adapt: meta-learned dynamics, model-predictive control, ROS 2.

    import metarl_robot as mr

    robot = mr.load_robot("panda")
    controller = mr.make_controller(robot, "meta_mpc")
    command = controller.step(time_s, mr.State(q, v), reference)

`__all__` is the public API. Public names are imported on first use, so that `import metarl_robot` loads no CasADi,
MuJoCo, torch or ROS 2. Everything else can be imported from its module, but may move between versions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "Adapter",
    "Command",
    "Contact",
    "Context",
    "Controller",
    "ControllerSpec",
    "ExternalForce",
    "MetaRLError",
    "Reference",
    "Robot",
    "Setpoints",
    "State",
    "Status",
    "available_robots",
    "controller_names",
    "load_robot",
    "make_adapter",
    "make_controller",
    "run_episode",
    "simulation",
]

if TYPE_CHECKING:
    from metarl_robot.adaptation.base import Adapter
    from metarl_robot.control.base import Controller, ControllerSpec
    from metarl_robot.control.factory import controller_names, make_adapter, make_controller
    from metarl_robot.core.errors import MetaRLError
    from metarl_robot.core.external_force import Contact, ExternalForce
    from metarl_robot.core.robot import Robot, available_robots, load_robot
    from metarl_robot.core.signals import Command, Context, Reference, Setpoints, State, Status
    from metarl_robot.sim.episode import run_episode
    from metarl_robot.sim.kinds import simulation
else:
    _MODULES = {
        "metarl_robot.adaptation.base": ("Adapter",),
        "metarl_robot.control.base": ("Controller", "ControllerSpec"),
        "metarl_robot.control.factory": ("controller_names", "make_adapter", "make_controller"),
        "metarl_robot.core.errors": ("MetaRLError",),
        "metarl_robot.core.external_force": ("Contact", "ExternalForce"),
        "metarl_robot.core.robot": ("Robot", "available_robots", "load_robot"),
        "metarl_robot.core.signals": ("Command", "Context", "Reference", "Setpoints", "State", "Status"),
        "metarl_robot.sim.episode": ("run_episode",),
        "metarl_robot.sim.kinds": ("simulation",),
    }
    _MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

    def __getattr__(name: str) -> Any:
        """Import a public name on first use (PEP 562)."""
        from importlib import import_module

        if name not in _MODULE_OF:
            raise AttributeError(f"module 'metarl_robot' has no attribute '{name}'; public names: {', '.join(__all__)}")
        globals()[name] = value = getattr(import_module(_MODULE_OF[name]), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
