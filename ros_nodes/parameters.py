# SPDX-License-Identifier: Apache-2.0
"""ROS parameters from pydantic models: one place for a parameter's default, range and description.

Each field becomes a parameter with a descriptor that `ros2 param describe` shows. An invalid value is refused, at the
start and later; the message names the parameter, the given value and the allowed values. Fields made with `fixed` are
read-only, because a node uses them when it is configured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, get_args

from pydantic import BaseModel, Field, ValidationError
from pydantic.fields import FieldInfo
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.renamed import former_names, with_present_names
from metarl_robot.core.validation import allowed, bounds, faults, is_list

Model = TypeVar("Model", bound=BaseModel)
OnChange = Callable[[Any], None] | None

_UNBOUNDED = 1e308


class ParameterError(MetaRLError):
    """A parameter was given an invalid value."""


def fixed(default: Any, **arguments: Any) -> Any:
    """A pydantic field with a parameter that cannot change while the node runs."""
    return Field(default, json_schema_extra={"read_only": True}, **arguments)


@dataclass
class Group(Generic[Model]):
    """The parameters of one model, below a prefix.

    on_change: called with new values before they are accepted; may raise MetaRLError to refuse them.
    """

    model: type[Model]
    prefix: str
    values: Model
    on_change: Callable[[Model], None] | None


class Declarer(Protocol):
    """Declares groups of parameters: a node's Parameters, or StartValues before there is a node.

    The module of a node has a function `declared`, which declares all that the node has when it is made and returns
    their values. The node calls it at its start, and a launcher before it starts any process.
    """

    def declare(
        self,
        model: type[Model],
        prefix: str = "",
        defaults: Mapping[str, Any] | None = None,
        on_change: Callable[[Model], None] | None = None,
        *,
        read_only: bool = False,
    ) -> Model:
        """Declare a group; see Parameters."""
        ...


class StartValues:
    """The values that a process will be given, by the name of the node; they are validated as that node does it."""

    def __init__(self, values_of: Callable[[str], Mapping[str, Any]], node: str) -> None:
        self._values_of, self._node = values_of, node
        self._values = values_of(node)

    def of(self, node: str) -> StartValues:
        """Those of another node of the same process."""
        return StartValues(self._values_of, node)

    def declare(
        self,
        model: type[Model],
        prefix: str = "",
        defaults: Mapping[str, Any] | None = None,
        on_change: Callable[[Model], None] | None = None,
        *,
        read_only: bool = False,
    ) -> Model:
        """The values of a group. Raises ParameterError."""
        names = (*model.model_fields, *former_names(model))
        given = {name: self._values[prefix + name] for name in names if prefix + name in self._values}
        present = with_present_names(model, given, f"parameters of {self._node}")
        return validated(model, {**(defaults or {}), **present}, prefix)


class Parameters:
    """Declares groups of parameters on a node and keeps their values.

    on_fault: called with the place and the error if an unexpected one occurs.
    """

    def __init__(self, node: Node, on_fault: Callable[[str, Exception], None] | None = None) -> None:
        self._node, self._on_fault = node, on_fault
        self._groups: list[Group[Any]] = []  # several may share a prefix, but no name
        node.add_on_set_parameters_callback(self._on_set)

    def declare(
        self,
        model: type[Model],
        prefix: str = "",
        defaults: Mapping[str, Any] | None = None,
        on_change: Callable[[Model], None] | None = None,
        *,
        use_overrides: bool = True,
        read_only: bool = False,
    ) -> Model:
        """Declare a group.

        Arguments:
            model: the fields.
            prefix: before each parameter's name, such as 'controller_config.'.
            defaults: replace the model's defaults.
            on_change: see Group.
            use_overrides: use values given to the node at its start (files, command line).
            read_only: none of them can change while the node runs.

        Raises:
            ParameterError: a given value is invalid.
        """
        given = {**(defaults or {}), **(self._overrides(model, prefix) if use_overrides else {})}
        values = validated(model, given, prefix)
        for name, info in model.model_fields.items():
            descriptor = describe(name, info)
            descriptor.read_only |= read_only
            self._node.declare_parameter(
                prefix + name, _plain(getattr(values, name), info), descriptor, ignore_override=True
            )
        self._groups.append(Group(model, prefix, values, on_change))
        return values

    def undeclare(self, prefix: str) -> None:
        """Remove the parameters of all groups of a prefix."""
        for group in [group for group in self._groups if group.prefix == prefix]:
            self._groups.remove(group)
            for name in group.model.model_fields:
                self._node.undeclare_parameter(prefix + name)

    def restore(self, prefix: str, **values: Any) -> None:
        """Reset parameters to values that are in force."""
        group = next(
            group for group in self._groups if group.prefix == prefix and set(values) <= set(group.model.model_fields)
        )
        group.values = validated(group.model, {**group.values.model_dump(), **values}, prefix)
        on_change, group.on_change = group.on_change, None
        fields = group.model.model_fields
        plain = {name: _plain(value, fields[name]) for name, value in values.items()}
        kept = [
            Parameter(prefix + name, value=value)
            for name, value in plain.items()
            if not isinstance(value, Parameter.Type)
        ]
        self._node.set_parameters(kept)
        group.on_change = on_change

    def _overrides(self, model: type[BaseModel], prefix: str) -> dict[str, Any]:
        """Values given at the start, of any type, so that an integer is accepted for a float."""
        values = {}
        for name in (*model.model_fields, *former_names(model)):
            probe = self._node.declare_parameter(prefix + name, None, ParameterDescriptor(dynamic_typing=True))
            if probe.type_ is not Parameter.Type.NOT_SET:
                values[name] = list(probe.value) if hasattr(probe.value, "tolist") else probe.value
            self._node.undeclare_parameter(prefix + name)
        return with_present_names(model, values, f"parameters of {self._node.get_name()}")

    def _on_set(self, parameters: list[Parameter]) -> SetParametersResult:
        try:
            accepted = [
                (group, self._changed(group, changes))
                for group in self._groups
                if (changes := _changes(group, parameters))
            ]
        except MetaRLError as error:
            return SetParametersResult(successful=False, reason=str(error))
        except Exception as error:
            if self._on_fault is None:
                raise
            self._on_fault("a parameter", error)
            return SetParametersResult(
                successful=False, reason=f"unforeseen error: {type(error).__name__}: {error}"[:400]
            )
        for group, new in accepted:
            group.values = new
        return SetParametersResult(successful=True)

    def _changed(self, group: Group[Any], changes: Mapping[str, Any]) -> BaseModel:
        new = validated(group.model, {**group.values.model_dump(), **changes}, group.prefix)
        if group.on_change is not None:
            group.on_change(new)
        return new


def changed_fields(before: BaseModel, after: BaseModel) -> frozenset[str]:
    """Names of the fields with different values in two of one model."""
    names = type(after).model_fields
    return frozenset(name for name in names if getattr(before, name) != getattr(after, name))


def _changes(group: Group[Any], parameters: list[Parameter]) -> dict[str, Any]:
    """Parameters that belong to a group, by the names of its fields."""
    names = {
        parameter.name.removeprefix(group.prefix): parameter
        for parameter in parameters
        if parameter.name.startswith(group.prefix)
    }
    return {name: parameter.value for name, parameter in names.items() if name in group.model.model_fields}


def validated(model: type[Model], values: Mapping[str, Any], prefix: str = "") -> Model:
    """Validate values with a model. Raises ParameterError, which names parameter, value and range."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise ParameterError(
            faults(error, model, lambda key: f"parameter '{prefix}{key.partition('.')[0]}'")
        ) from error


def describe(name: str, info: FieldInfo) -> ParameterDescriptor:
    """The descriptor of a field: description, range, choices, and whether it is read-only."""
    lower, upper = bounds(info)
    descriptor = ParameterDescriptor(name=name, description=info.description or "", read_only=_is_fixed(info))
    if info.annotation is float and (lower is not None or upper is not None):
        low, high = (-_UNBOUNDED if lower is None else lower), (_UNBOUNDED if upper is None else upper)
        descriptor.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high))]
    elif info.annotation is int and lower is not None and upper is not None:
        descriptor.integer_range = [IntegerRange(from_value=int(lower), to_value=int(upper), step=1)]
    elif choices := allowed(info):
        descriptor.additional_constraints = choices
    return descriptor


def _is_fixed(info: FieldInfo) -> bool:
    return isinstance(info.json_schema_extra, dict) and bool(info.json_schema_extra.get("read_only"))


def _plain(value: Any, info: FieldInfo) -> Any:
    """The value as a ROS parameter value; an empty list keeps its type."""
    if is_list(info):
        kind = get_args(info.annotation)[0]
        if not value:
            return Parameter.Type.STRING_ARRAY if kind is str else Parameter.Type.DOUBLE_ARRAY
        return [item if isinstance(item, str) else float(item) for item in value]
    return value
