# SPDX-License-Identifier: Apache-2.0
"""A folder of message definitions: its name, its files, the packages that it needs."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from metarl_robot.core.errors import MetaRLError, UnknownNameError, shown

DEFINITIONS = Path(__file__).resolve().parent / "definitions"
"""Definitions of packages that PyPI lacks."""
KINDS = ("msg", "srv", "action")
ALWAYS = ("action_msgs", "builtin_interfaces", "service_msgs", "unique_identifier_msgs")
"""Packages of which rosidl composes the messages of every service and action."""
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TYPE = re.compile(r"^\s*([a-z][a-z0-9_]*)/(?:msg/)?[A-Z]\w*", re.MULTILINE)
_XML_NAME = re.compile(r"<name>\s*([^<\s]+)\s*</name>")


class MessagesError(MetaRLError):
    """Messages are not available: wrong definitions, or no tools to build them."""

    bad_input = False


@dataclass(frozen=True)
class MessagePackage:
    """A package of definitions. folder: holds msg/, srv/ and action/."""

    name: str
    folder: Path

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """All definitions, relative to the folder, in order."""
        found = (path for kind in KINDS for path in sorted((self.folder / kind).glob(f"*.{kind}")))
        return tuple(path.relative_to(self.folder) for path in found)

    @cached_property
    def needs(self) -> tuple[str, ...]:
        """Other packages of which its definitions use types, in order."""
        named = {name for file in self.files for name in _TYPE.findall(self._text(file))}
        return tuple(sorted((named | set(ALWAYS)) - {self.name}))

    @property
    def types(self) -> tuple[str, ...]:
        """Its types, such as `control_msgs/action/FollowJointTrajectory`."""
        return tuple(f"{self.name}/{file.with_suffix('').as_posix()}" for file in self.files)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all definitions with their names."""
        texts = (f"{self.name}/{file.as_posix()}\n{self._text(file)}\n" for file in self.files)
        return hashlib.sha256("".join(texts).encode()).hexdigest()

    def _text(self, file: Path) -> str:
        try:
            return (self.folder / file).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise MessagesError(f"{self.folder / file} is not UTF-8 text") from error


def shipped_names() -> tuple[str, ...]:
    """Names of the packages below `definitions/`, in order."""
    return tuple(sorted(path.name for path in DEFINITIONS.iterdir() if _NAME.fullmatch(path.name)))


def shipped(name: str) -> MessagePackage:
    """A package below `definitions/`. Raises UnknownNameError."""
    if name not in shipped_names():
        raise UnknownNameError("package of messages", name, shipped_names())
    return MessagePackage(name, DEFINITIONS / name)


def package_at(folder: Path) -> MessagePackage:
    """The package in a folder of the user's; its name is that in package.xml, else the folder's.

    Raises:
        MessagesError: not a folder with definitions, or not a package's name.
    """
    folder = folder.resolve()
    manifest = folder / "package.xml"
    found = _XML_NAME.search(manifest.read_text(encoding="utf-8", errors="replace")) if manifest.is_file() else None
    name = found.group(1) if found else folder.name
    if not _NAME.fullmatch(name):
        raise MessagesError(f"{shown(name)} cannot be a package's name: lower case, digits and '_', a letter first")
    package = MessagePackage(name, folder)
    if not package.files:
        raise MessagesError(f"{folder} has no definitions: msg/*.msg, srv/*.srv or action/*.action are expected")
    return package
