# SPDX-License-Identifier: Apache-2.0
"""Registries: specs by name, of this project and of other packages.

Controllers, adapters and feature groups are registered in the same way. Ours are named as 'module:name'. Other packages
add theirs as entry points of the registry's group. A spec states the kinds of robots that it serves:

    [project.entry-points."metarl_robot.adapters"]
    mine = "my_package.adapter:SPEC"
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from metarl_robot.core.errors import MetaRLError, UnknownNameError, one_line
from metarl_robot.core.robot import named

Spec = TypeVar("Spec")


@dataclass(frozen=True)
class Registry(Generic[Spec]):
    """Specs of one sort, for each kind of robot.

    noun: of one entry, for messages: 'adapter'. group: of the entry points. spec: class of the specs; its attribute
    `kinds` lists the kinds of robots that a spec serves, None: all. own: kind -> our names and places.
    """

    noun: str
    group: str
    spec: type[Spec]
    own: Callable[[str], Mapping[str, str]]

    def names(self, kind: str) -> tuple[str, ...]:
        """All names for a kind of robot: ours, then those of other packages.

        An entry point that cannot be loaded is listed, too; using it reports the error.
        """
        own = self.own(kind)
        others = sorted(self._others().items())
        return (*own, *(name for name, point in others if name not in own and self._serves(point, kind)))

    def get(self, kind: str, name: str) -> Spec:
        """The spec of a name.

        Raises:
            UnknownNameError: no such name for this kind of robot.
            MetaRLError: the entry point of another package cannot be loaded, or is not a spec.
        """
        own = self.own(kind)
        return self._checked(name, named(own[name]) if name in own else self._other(kind, name))

    def _other(self, kind: str, name: str) -> Any:
        point = self._others().get(name)
        if point is None or not self._serves(point, kind):
            raise UnknownNameError(self.noun, name, self.names(kind))
        try:
            return point.load()
        except Exception as error:  # anything that another package's module raises
            reason = f"{type(error).__name__}: {one_line(error)}"
            raise MetaRLError(f"{self.noun} '{name}' ({self.group}) cannot be loaded: {reason}") from error

    def _checked(self, name: str, spec: Any) -> Spec:
        if not isinstance(spec, self.spec):
            raise MetaRLError(
                f"{self.noun} '{name}': its entry point must be a {self.spec.__name__}; given: {type(spec).__name__}"
            )
        return spec

    def _serves(self, point: EntryPoint, kind: str) -> bool:
        try:
            spec: Any = point.load()
        except Exception:  # anything that another package's module raises
            return True
        return not isinstance(spec, self.spec) or spec.kinds is None or kind in spec.kinds  # type: ignore[attr-defined]

    def _others(self) -> Mapping[str, EntryPoint]:
        return _installed(entry_points, self.group, tuple(sys.path))


@cache
def _installed(
    find: Callable[..., Iterable[EntryPoint]], group: str, path: tuple[str, ...]
) -> Mapping[str, EntryPoint]:
    """Entry points of a group by name. Reading those of all packages on the path takes tens of milliseconds."""
    return {point.name: point for point in find(group=group)}
