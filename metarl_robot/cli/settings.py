# SPDX-License-Identifier: Apache-2.0
"""Command-line options from a flat pydantic model.

Each field becomes one option; its help is the field's description and range.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, Signature
from typing import Annotated, Any

import typer
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from metarl_robot.core.errors import MetaRLError
from metarl_robot.core.validation import faults

_PLAIN = (int, float, str)


def option_name(field: str) -> str:
    """The option of a field: `batch_size` is --batch-size."""
    return f"--{field.replace('_', '-')}"


def command(function: Callable[..., None], model: type[BaseModel], first: Sequence[str] = ()) -> Callable[..., None]:
    """The function as a command: its own parameters, then those of the model, which reach its **keywords."""
    own = Signature.from_callable(function, eval_str=True).parameters
    positional = [parameter for parameter in own.values() if parameter.kind is not Parameter.VAR_KEYWORD]

    def made(**values: Any) -> None:
        function(**values)

    made.__doc__ = function.__doc__
    merged = [*positional, *parameters(model, first)]
    made.__signature__ = Signature(merged)  # type: ignore[attr-defined]
    made.__annotations__ = {parameter.name: parameter.annotation for parameter in merged}
    return made


def parameters(model: type[BaseModel], first: Sequence[str] = ()) -> list[Parameter]:
    """Make a keyword parameter for each field, in the form that typer reads from a signature.

    Booleans are given as true or false, lists as texts separated by commas. Fields in `first` are listed with the
    command's own options, the others below them.
    """
    return [
        _parameter(name, field, None if name in first else "Further settings")
        for name, field in model.model_fields.items()
    ]


def _parameter(name: str, field: FieldInfo, panel: str | None) -> Parameter:
    kind = field.annotation if field.annotation in _PLAIN else str
    default = field.default if field.annotation in _PLAIN else _as_text(field.default)
    option = typer.Option(
        option_name(name),
        metavar=_metavar(field),
        help=field.description,
        show_default=default != "",
        rich_help_panel=panel,
    )
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


def _metavar(field: FieldInfo) -> str | None:
    if field.annotation is bool:
        return "true|false"
    choices = getattr(field.annotation, "__args__", ())
    if choices and all(isinstance(choice, str) for choice in choices):
        return "|".join(choices)
    if field.annotation in _PLAIN:
        return None
    return "A,B,…"


def _as_text(value: Any) -> str:
    return (
        ",".join(map(str, value))
        if isinstance(value, tuple)
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
    )


def read(model: type[BaseModel], values: Mapping[str, Any]) -> Any:
    """Validate values as the model; texts of list fields are split at commas.

    Raises:
        MetaRLError: names the option, the given value and the allowed values.
    """
    given = {name: _split(model.model_fields[name], value) for name, value in values.items()}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise MetaRLError(faults(error, model, lambda key: option_name(key.partition(".")[0]))) from error


def _split(field: FieldInfo, value: Any) -> Any:
    is_list = isinstance(field.default, tuple)
    return (
        tuple(part.strip() for part in value.split(",") if part.strip())
        if is_list and isinstance(value, str)
        else value
    )
