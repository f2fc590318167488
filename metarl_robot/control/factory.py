# SPDX-License-Identifier: Apache-2.0
"""Controllers by name: their configuration and construction.

The configuration comes from three sources; a later one overrides: the defaults of the controller's config class, the
file `models/<robot>/config/<controller>.yaml` (a ROS 2 parameter file that the nodes read, too), and overrides in
code or on the command line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from metarl_robot.adaptation.adapter_spec import ADAPTERS
from metarl_robot.adaptation.base import Adapter
from metarl_robot.adaptation.factory import remark_on_prior, weights_of
from metarl_robot.adaptation.guard import GuardedAdapter
from metarl_robot.adaptation.tuning import AdapterTuning
from metarl_robot.control.base import ControllerSpec
from metarl_robot.control.guard import GuardedController
from metarl_robot.core.errors import CheckpointError, MetaRLError
from metarl_robot.core.parameter_file import parameters_below, read_parameters
from metarl_robot.core.registry import Registry
from metarl_robot.core.renamed import with_present_names
from metarl_robot.core.robot import Robot, kind_of
from metarl_robot.core.validation import faults

CONTROLLERS: Registry[ControllerSpec] = Registry(
    "controller", "metarl_robot.controllers", ControllerSpec, lambda kind: kind_of(kind).controllers
)
SIMULATION_ONLY = ("oracle_mpc",)
"""Controllers that use the true physics, which no ROS 2 topic carries."""


class ConfigError(MetaRLError):
    """A controller's configuration has an unknown key or a value outside its range."""


def controller_names(kind: str) -> tuple[str, ...]:
    """Names of all controllers of a kind of robot: built-in ones, then third parties'.

    Third parties register theirs as entry points of `metarl_robot.controllers`.
    """
    return CONTROLLERS.names(kind)


def node_controller_names(kind: str) -> tuple[str, ...]:
    """The controllers of `controller_names` that a node can run."""
    return tuple(name for name in controller_names(kind) if name not in SIMULATION_ONLY)


def compared_controllers(robot: Robot, checkpoint: Path | None = None) -> tuple[str, ...]:
    """The controllers of a comparison by default: all but those whose own weights the robot lacks.

    Arguments:
        checkpoint: weights of the learned controllers, if given; then none with weights of its own is among them.
    """
    own = {name: CONTROLLERS.get(robot.kind, name).own_weights for name in controller_names(robot.kind)}
    return tuple(
        name for name, file in own.items() if file is None or (checkpoint is None and (robot.folder / file).is_file())
    )


def config_type(kind: str, name: str) -> type[BaseModel]:
    """The configuration class of a controller. Raises UnknownNameError."""
    return CONTROLLERS.get(kind, name).config


def load_config(robot: Robot, name: str, overrides: Mapping[str, Any] | None = None) -> BaseModel:
    """Load the configuration of the controller `name` for `robot`.

    Raises:
        UnknownNameError: no such controller.
        ConfigError: names the file, the key and the allowed values.
    """
    model = config_type(robot.kind, name)
    path = robot.folder / "config" / f"{name}.yaml"
    values = with_present_names(model, _read_parameters(path) if path.is_file() else {}, str(path))
    _validate(model, values, str(path))
    given = with_present_names(model, overrides or {}, "overrides")
    return _validate(model, {**values, **given}, "overrides")


def load_configs(robot: Robot, names: Iterable[str]) -> dict[str, BaseModel | MetaRLError]:
    """Configuration of each controller, or the error that prevents its use.

    This imports every controller's modules and reads its file, so that a later change of controller does neither.
    """
    return {name: _config_or_error(robot, name) for name in names}


def _config_or_error(robot: Robot, name: str) -> BaseModel | MetaRLError:
    try:
        return load_config(robot, name)
    except MetaRLError as error:
        return error
    except Exception as error:  # from a third party's module
        return MetaRLError(f"controller '{name}' cannot be loaded: {type(error).__name__}: {error}")


def make_controller(
    robot: Robot, name: str, config: BaseModel | None = None, checkpoint: Path | None = None, oracle: Any = None
) -> GuardedController:
    """Build a controller with a guard against unusable samples (guard.py).

    Arguments:
        robot: the robot it will control.
        name: one of `controller_names(robot.kind)`.
        config: its configuration; default: `load_config(robot, name)`.
        checkpoint: trained weights; default: those shipped in the robot's folder. Only learned controllers read it.
        oracle: source of the true physics for `oracle_mpc`; simulation only.

    Raises:
        UnknownNameError: no such controller for this kind of robot.
        ConfigError: a file or an override has an unknown key or a value outside its range.
        CheckpointError: the weights are missing, damaged, or of another robot.
    """
    spec = CONTROLLERS.get(robot.kind, name)
    return GuardedController(robot, spec.build(robot, config or load_config(robot, name), checkpoint, oracle))


def make_adapter(robot: Robot, name: str, checkpoint: Path | None = None) -> Adapter:
    """Build an adapter for your own loop, with the tuning of the robot's controller that uses it.

    Arguments:
        robot: the robot it will observe.
        name: `none`, `disturbance_observer`, `inertial`, `last_layer`, or another adapter of the robot's kind
            (adaptation/adapter_spec.py).
        checkpoint: trained weights; default: those shipped in the robot's folder. Only learned adapters read it.

    Raises:
        UnknownNameError: no such adapter, or not for this kind of robot.
        ConfigError: as for `make_controller`.
        CheckpointError: as for `make_controller`.
    """
    controller = controller_of(robot, name)
    of_choice = "adapter" in config_type(robot.kind, controller).model_fields
    config = load_config(robot, controller, {"adapter": name} if of_choice else None)
    built: Any = CONTROLLERS.get(robot.kind, controller).build(robot, config, checkpoint, None)
    return GuardedAdapter(robot, built.adapter)


def check_weights(robot: Robot, config: BaseModel, checkpoint: Path | None) -> None:
    """Read the weights that a controller of this configuration needs. checkpoint: None: the robot's own.

    Raises CheckpointError: as for `make_controller`, or there is no such file.
    """
    adapter = getattr(config, "adapter", None)
    if isinstance(adapter, str):
        weights_of(adapter, robot, checkpoint)
    elif checkpoint is not None and not checkpoint.is_file():
        raise CheckpointError(f"{checkpoint}: no such file; expected trained weights (.safetensors)")


def remark_on_weights(robot: Robot, controllers: Iterable[str], checkpoint: Path | None = None) -> str:
    """A sentence for the user of controllers, if their weights are not the robot's own; else empty."""
    if checkpoint is not None:
        return ""
    configs = load_configs(robot, controllers).values()
    adapters = [config.adapter for config in configs if isinstance(config, BaseModel) and hasattr(config, "adapter")]
    return remark_on_prior(robot, adapters)


def controller_of(robot: Robot, adapter: str) -> str:
    """The controller that configures an adapter: the adapter's own, or the kind's adaptive controller.

    Raises:
        UnknownNameError: no such adapter, or not for this kind of robot.
    """
    own = ADAPTERS.get(robot.kind, adapter).controller
    return own if own in controller_names(robot.kind) else robot.adaptive_controller


def adapter_tuning(robot: Robot, controller: str) -> AdapterTuning:
    """The adapter's part of a controller's configuration. The filter of L1 adaptation is its observer."""
    config = load_config(robot, controller).model_dump()
    given = {field.name: config[field.name] for field in fields(AdapterTuning) if field.name in config}
    if "filter_bandwidth_rad_s" in config:
        given.setdefault("observer_bandwidth_rad_s", config["filter_bandwidth_rad_s"])
    return AdapterTuning(**given)


def _read_parameters(path: Path) -> dict[str, Any]:
    """The controller's part of a ROS 2 parameter file; the nodes' own parameters are not checked here."""
    values: dict[str, Any] = {}
    for node, parameters in read_parameters(path, ConfigError).items():
        values.update(parameters_below(parameters, "controller_config", f"{path}: {node}", ConfigError))
    return values


def _validate(model: type[BaseModel], values: Mapping[str, Any], source: str) -> BaseModel:
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise ConfigError(f"{source}: {faults(error, model)}") from error
