# SPDX-License-Identifier: Apache-2.0
"""Pydantic's validation errors of a file or of options, as one paragraph: key, given, allowed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import AfterValidator, BaseModel, Field, Tag, ValidationError
from pydantic.fields import FieldInfo

from metarl_robot.core.errors import shortened, shown

_MOST_FAULTS = 5
_LONGEST_NAME, _LONGEST_TEXT = 64, 1000

Place = tuple[int | str, ...]


def between(lower: float, upper: float) -> Any:
    """Range of a field; excludes NaN and infinity."""
    return Field(ge=lower, le=upper, allow_inf_nan=False)


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be one line of printable characters")
    return text


FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]*$", max_length=_LONGEST_NAME)]
"""Name of a folder or file: letters, digits, _ and -, so that it cannot lead out of a folder."""
Label = Annotated[
    str,
    Field(pattern=r"^[\w./:+-]+$", min_length=1, max_length=_LONGEST_NAME),
    AfterValidator(_printable),
]
"""Name of a joint, rotor, site or frame.

It has no space or comma, which separate names in tables, and no character with a meaning in XML.
"""
Text = Annotated[str, Field(max_length=_LONGEST_TEXT), AfterValidator(_printable)]


def check_unique(names: Iterable[str]) -> None:
    """Raise ValueError for a duplicate name."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"name '{name}' is given twice")
        seen.add(name)


def faults(error: ValidationError, model: type[BaseModel], label: Callable[[str], str] = str) -> str:
    """The first few faults as `key: message (given: …); allowed: …`. label: formats a key."""
    items = error.errors(include_url=False, include_context=False)
    said = [_fault(item, model, label) for item in items[:_MOST_FAULTS]]
    more = [f"and {len(items) - _MOST_FAULTS} more"] if len(items) > _MOST_FAULTS else []
    return "; ".join([*said, *more])


def _fault(item: Any, model: type[BaseModel], label: Callable[[str], str]) -> str:
    place: Place = item["loc"]
    key = label(shortened(".".join(str(part) for part in place if not _is_choice(part)), 100)) or "(top level)"
    given = "" if item["type"] == "missing" else f" (given: {shown(item['input'])})"
    return f"{key}: {shortened(item['msg'], 2 * _LONGEST_TEXT)}{given}{_allowed_at(item['type'], model, place)}"


def _allowed_at(kind: str, model: type[BaseModel], place: Place) -> str:
    if kind == "extra_forbidden":
        return f"; allowed keys: {', '.join(_model_at(model, place[:-1]).model_fields)}"
    info = _field_at(model, place)
    said = allowed(info) if info is not None else ""
    return f"; allowed: {said}" if said else ""


def allowed(info: FieldInfo) -> str:
    """Choices or range of a field, or of each entry of a list; empty if every value is allowed."""
    if get_origin(info.annotation) is Literal:
        return "one of " + ", ".join(str(choice) for choice in get_args(info.annotation))
    lower, upper = bounds(info)
    if lower is None and upper is None:
        return ""
    return f"[{'-inf' if lower is None else lower}, {'inf' if upper is None else upper}]" + (
        " each" if is_list(info) else ""
    )


def bounds(info: FieldInfo) -> tuple[float | None, float | None]:
    """(lower, upper) of a number, or of each entry of a list."""
    metadata = list(info.metadata)
    for part in get_args(info.annotation):  # tuple[Annotated[float, Field(…)], ...]
        for extra in getattr(part, "__metadata__", ()):
            metadata += extra.metadata if isinstance(extra, FieldInfo) else [extra]
    lower: float | None = None
    upper: float | None = None
    for bound in metadata:
        lower = getattr(bound, "ge", getattr(bound, "gt", lower))
        upper = getattr(bound, "le", getattr(bound, "lt", upper))
    return lower, upper


def is_list(info: FieldInfo) -> bool:
    """Whether a field holds several values."""
    return get_origin(info.annotation) in (tuple, list)


def _field_at(model: type[BaseModel], place: Place) -> FieldInfo | None:
    """The field at a place in the file, or the list field that holds the entry there."""
    names = [i for i, part in enumerate(place) if isinstance(part, str) and not _is_choice(part)]
    if not names:
        return None
    return _model_at(model, place[: names[-1]]).model_fields.get(str(place[names[-1]]))


def _model_at(model: type[BaseModel], place: Place) -> type[BaseModel]:
    """Model of the mapping at a place in the file."""
    for i, key in enumerate(place):
        if isinstance(key, str) and key in model.model_fields:
            chosen = next((part for part in place[i:] if _is_choice(part)), "")
            models = list(_models_in(model.model_fields[key].annotation, ""))
            model = next((one for tag, one in models if tag == chosen), models[0][1] if models else BaseModel)
    return model


def choice(model: type[BaseModel]) -> Tag:
    """Tag of one model of a union of models; it is not part of a key in a message."""
    return Tag(f"{_CHOICE}{model.__name__}")


_CHOICE = "~"


def _is_choice(part: int | str) -> bool:
    return isinstance(part, str) and part.startswith(_CHOICE)


def _models_in(annotation: Any, tag: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """Tags and models in an annotation such as `Payload`, `tuple[Payload, ...]` or a union of tagged models."""
    tags = [extra.tag for extra in getattr(annotation, "__metadata__", ()) if isinstance(extra, Tag)]
    tag = tags[0] if tags else tag
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield tag, annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _models_in(part, tag)
