# SPDX-License-Identifier: Apache-2.0
"""Reader of YAML launch files: the part of ROS 2's format that `metarl launch` supports.

    actions         arg (name, default, description, choice), let, node, include (file, arg), group,
                    push_ros_namespace (namespace); each with if / unless
    node            pkg, exec, name, namespace, output, args, param (name + value + type, or from), remap, env
    substitutions   $(var x) $(env X default) $(find-pkg-share p) $(dirname) $(equals a b) $(not-equals a b)
                    $(not a) $(and a b) $(or a b)

`push_ros_namespace` acts on the nodes and includes after it, up to the end of its group: a relative namespace is
appended to the present one, and an absolute one replaces it. As in ROS, it is the launch configuration `ros_namespace`.

Anything else is an error that names the unsupported element. Nothing in a launch file is executed: `$(eval …)` and
`$(command …)` are refused.

As in ROS, attributes are strings (write 'false', not false). A parameter's value has its YAML type unless `type: str`
is given. Parameter files apply in their order, and named parameters after them. One difference: an argument that no
file declares is an error; ROS ignores it. Sizes are limited: a text has at most 10,000 characters, an evaluation 100
files and 100 processes.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metarl_robot.core.errors import MetaRLError, UnknownNameError, shortened, shown
from metarl_robot.core.yaml_file import parse_yaml, read_yaml

PACKAGE = "metarl_robot"
SUFFIX = ".launch.yaml"

_MOST_DEPTH = 20
_MOST_FILES = _MOST_NODES = 100
_LONGEST_TEXT = 10_000
_PACKAGE_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAMESPACE = re.compile(r"/|(/[A-Za-z_][A-Za-z0-9_]*)+")

_TRUE, _FALSE = ("true", "1"), ("false", "0")
_TYPES: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}
_CONDITIONS = ("if", "unless")
_ATTRIBUTES = {
    "arg": ("name", "default", "description", "choice"),
    "let": ("name", "value"),
    "node": ("pkg", "exec", "name", "namespace", "output", "args", "param", "remap", "env"),
    "include": ("file", "arg"),
    "group": ("children",),
    "push_ros_namespace": ("namespace",),
    "push-ros-namespace": ("namespace",),
}
_PUSHED = "ros_namespace"  # launch configuration that holds the present namespace
_SUBSTITUTIONS = ("var", "env", "find-pkg-share", "dirname", "equals", "not-equals", "not", "and", "or")


class LaunchError(MetaRLError):
    """A launch file or an argument is wrong; the message names the file, the given value and the allowed values."""


@dataclass(frozen=True)
class Argument:
    """A declared launch argument.

    default: text; None when a value is required. choices: allowed values; empty when any is allowed.
    """

    name: str
    default: str | None
    description: str
    choices: tuple[str, ...]


@dataclass(frozen=True)
class NodeSpec:
    """One process to start.

    namespace: absolute; None: the root. parameter_files: in their order. parameters: name → value. remaps: (from, to).
    """

    package: str
    executable: str
    name: str | None
    namespace: str | None
    arguments: str
    parameter_files: tuple[Path, ...]
    parameters: Mapping[str, Any]
    remaps: tuple[tuple[str, str], ...]
    environment: Mapping[str, str]


def find_launch_file(file_or_name: str | Path) -> Path:
    """Find the launch file at that path, or the shipped one of that name (`arm` → `arm.launch.yaml`).

    Raises UnknownNameError.
    """
    path = Path(file_or_name)
    if is_file(path):
        return path
    folder = find_share(PACKAGE) / "launch"
    for name in (f"{file_or_name}{SUFFIX}", str(file_or_name)):
        if Path(name).name == name and is_file(folder / name):
            return folder / name
    raise UnknownNameError(
        "launch file", str(file_or_name), (p.name.removesuffix(SUFFIX) for p in folder.glob(f"*{SUFFIX}"))
    )


def is_file(path: Path) -> bool:
    """Whether the file exists; False for a name that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def find_share(package: str) -> Path:
    """Share folder of a ROS package.

    For this package in a checkout, it is the checkout's root. Otherwise it is searched in the ament index
    (AMENT_PREFIX_PATH), then below the prefix of this Python.

    Raises:
        LaunchError: not found.
    """
    checkout = Path(__file__).resolve().parents[2]
    if package == PACKAGE and (checkout / "package.xml").is_file() and (checkout / "launch").is_dir():
        return checkout
    share = find_prefix(package) / "share" / package
    if not share.is_dir():
        raise LaunchError(f"package '{package}' has no share folder {share}")
    return share


def find_prefix(package: str) -> Path:
    """Install prefix of a ROS package. Raises LaunchError."""
    if not _PACKAGE_NAME.fullmatch(package):
        raise LaunchError(f"{shown(package)} cannot name a ROS package; allowed: letters, digits, _ and -")
    prefixes = [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p] + [Path(sys.prefix)]
    for prefix in prefixes:
        if is_file(prefix / "share" / "ament_index" / "resource_index" / "packages" / package):
            return prefix
    if (Path(sys.prefix) / "share" / package).is_dir():
        return Path(sys.prefix)
    raise LaunchError(f"package '{shortened(package)}' not found, searching: {[str(p) for p in prefixes]}")


def declared_arguments(path: Path) -> tuple[Argument, ...]:
    """Arguments that a launch file declares, in order, including those in groups. Raises LaunchError."""
    return tuple(_walk_arguments(_actions_of(path), path))


def evaluate(path: Path, arguments: Mapping[str, str]) -> tuple[NodeSpec, ...]:
    """Compute the processes that a launch file starts with these arguments.

    Raises:
        LaunchError: unknown or missing argument, value outside its choices, or an unsupported element.
    """
    evaluation = _Evaluation()
    evaluation.file(path, dict(arguments))
    unknown = [name for name in arguments if name not in evaluation.declared]
    if unknown:
        raise UnknownNameError("launch argument", unknown[0], evaluation.declared)
    return tuple(evaluation.nodes)


@dataclass
class _Evaluation:
    """Walks through a launch file and collects its nodes."""

    nodes: list[NodeSpec] = field(default_factory=list)
    declared: set[str] = field(default_factory=set)
    depth: int = 0
    files: int = 0

    def file(self, path: Path, values: dict[str, str]) -> None:
        if self.depth > _MOST_DEPTH:
            raise LaunchError(f"{path}: includes are nested more than {_MOST_DEPTH} deep; does a file include itself?")
        self.depth, self.files = self.depth + 1, self.files + 1
        if self.files > _MOST_FILES:
            raise LaunchError(f"{path}: more than {_MOST_FILES} files are included")
        self.actions(_actions_of(path), _Scope(path, values))
        self.depth -= 1

    def actions(self, entries: list[tuple[str, Any]], scope: _Scope) -> None:
        for kind, body in entries:
            if kind == "group":
                self.group(body, scope)
                continue
            _check_attributes(kind, body, scope.path)
            declared = _argument(body, scope.path) if kind == "arg" else None
            if declared is not None:
                self.declared.add(declared.name)
            if not scope.applies(body):
                continue
            if declared is not None:
                scope.declare(declared)
            elif kind == "let":
                scope.values[_text(body, "name", kind, scope.path)] = scope.expand(
                    _text(body, "value", kind, scope.path)
                )
            elif kind == "node":
                self.node(body, scope)
            elif kind == "include":
                self.include(body, scope)
            else:
                scope.values[_PUSHED] = scope.namespace(scope.expand(_text(body, "namespace", kind, scope.path)))

    def node(self, body: dict[str, Any], scope: _Scope) -> None:
        self.nodes.append(_node(body, scope))
        if len(self.nodes) > _MOST_NODES:
            raise LaunchError(f"{scope.path}: more than {_MOST_NODES} processes would be started")

    def group(self, body: Any, scope: _Scope) -> None:
        children = _children(body, scope.path)
        if isinstance(body, list) or scope.applies(body):
            self.actions(children, _Scope(scope.path, dict(scope.values)))

    def include(self, body: dict[str, Any], scope: _Scope) -> None:
        path = Path(scope.expand(_text(body, "file", "include", scope.path)))
        if not path.name.endswith((".launch.yaml", ".launch.yml")):
            raise LaunchError(
                f"{scope.path}: include: only YAML launch files ({SUFFIX}) can be read; given: {shortened(str(path))}"
            )
        items = _list_of(body, "arg", "include", ("name", "value"), scope.path)
        texts = [tuple(_text(item, key, "arg", scope.path) for key in ("name", "value")) for item in items]
        given = {name: scope.expand(value) for name, value in texts}
        before = set(self.declared)
        self.file(path, {**scope.values, **given})
        self.declared -= set(given) - before  # a value from outside would not reach them


@dataclass
class _Scope:
    """Values of arguments and `let` in one scope of one file."""

    path: Path
    values: dict[str, str]

    def declare(self, argument: Argument) -> None:
        if argument.name not in self.values:
            if argument.default is None:
                raise LaunchError(
                    f"{self.path}: required launch argument '{argument.name}' was not provided ({argument.description})"
                )
            self.values[argument.name] = self.expand(argument.default)
        value = self.values[argument.name]
        if argument.choices and value not in argument.choices:
            raise LaunchError(
                f"argument '{argument.name}' provided value '{shortened(value)}' is not valid. "
                f"Valid options are: {shortened(str(list(argument.choices)), 1000)}"
            )

    def applies(self, body: dict[str, Any]) -> bool:
        if "if" in body and "unless" in body:
            raise LaunchError(f"{self.path}: 'if' and 'unless' are mutually exclusive")
        if "if" in body:
            return self.truth(self.expand(_text(body, "if", "condition", self.path)))
        return "unless" not in body or not self.truth(self.expand(_text(body, "unless", "condition", self.path)))

    def namespace(self, given: str) -> str:
        """Join a namespace to the present one. Raises LaunchError if ROS does not allow it."""
        present = self.values.get(_PUSHED, "")
        joined = given if given.startswith("/") else "/" + f"{present}/{given}".strip("/")
        joined = joined.rstrip("/") or "/"
        if not _NAMESPACE.fullmatch(joined):
            rule = "letters, digits and _ between single '/', and no part may begin with a digit"
            raise LaunchError(f"{self.path}: {shown(joined)} cannot be a namespace; allowed: {rule}")
        return joined

    def truth(self, value: str) -> bool:
        word = value.strip().lower()
        if word not in _TRUE + _FALSE:
            raise LaunchError(
                f"{self.path}: expected a truth value ({', '.join(_TRUE + _FALSE)}); given: '{shortened(value)}'"
            )
        return word in _TRUE

    def expand(self, text: str) -> str:
        """Perform the substitutions in a text."""
        return self._checked(self._template(self._checked(text), 0, "", 0)[0])

    def _checked(self, text: str) -> str:
        """Return the text if it is not too long and has no NUL character; otherwise raise LaunchError."""
        if len(text) > _LONGEST_TEXT:
            raise LaunchError(
                f"{self.path}: a text of {len(text)} characters: at most {_LONGEST_TEXT} are allowed; given: "
                f"{shown(text)}"
            )
        if "\0" in text:
            raise LaunchError(f"{self.path}: a text with a NUL character: {shown(text)}")
        return text

    def _template(self, text: str, i: int, stop: str, depth: int) -> tuple[str, int]:
        """Expand text up to one of the characters in `stop`; returns (value, position)."""
        parts: list[str] = []
        while i < len(text) and text[i] not in stop:
            if text.startswith("$(", i):
                part, i = self._substitution(text, i + 2, depth + 1)
                parts.append(part)
            elif text[i] == "\\" and i + 1 < len(text):
                parts.append(text[i + 1])
                i += 2
            else:
                parts.append(text[i])
                i += 1
        return self._checked("".join(parts)), i

    def _substitution(self, text: str, i: int, depth: int) -> tuple[str, int]:
        if depth > _MOST_DEPTH:
            raise LaunchError(f"{self.path}: substitutions are nested more than {_MOST_DEPTH} deep in {shown(text)}")
        words: list[str] = []
        while i < len(text) and text[i] != ")":
            if text[i].isspace():
                i += 1
            elif text[i] in "'\"":
                word, i = self._template(text, i + 1, text[i], depth)
                words, i = [*words, word], i + 1
            else:
                word, i = self._template(text, i, " \t\n\r)", depth)
                words.append(word)
                if len(words) == 1 and word not in _SUBSTITUTIONS:
                    said = f"substitution $({shortened(word)} …) is not supported"
                    raise LaunchError(f"{self.path}: {said}; supported: {', '.join(_SUBSTITUTIONS)}")
        if i >= len(text) or not words:
            raise LaunchError(f"{self.path}: unfinished substitution in {shown(text)}")
        return self._perform(words[0], words[1:]), i + 1

    def _perform(self, name: str, words: list[str]) -> str:
        count = {"dirname": (0, 0), "env": (1, 2), "var": (1, 1), "find-pkg-share": (1, 1), "not": (1, 1)}.get(
            name, (2, 2)
        )
        if not count[0] <= len(words) <= count[1]:
            raise LaunchError(f"{self.path}: $({name} …) takes {count[0]} to {count[1]} words; given: {shown(words)}")
        if name == "var":
            if words[0] not in self.values:
                raise UnknownNameError(f"launch configuration in {self.path.name}", words[0], self.values)
            return self.values[words[0]]
        if name == "env":
            if words[0] not in os.environ and len(words) == 1:
                raise LaunchError(
                    f"{self.path}: environment variable '{shortened(words[0])}' is not set and $(env …) gives no "
                    "default"
                )
            return os.environ.get(words[0], words[-1])
        if name == "find-pkg-share":
            return str(find_share(words[0]))
        if name == "dirname":
            return str(self.path.resolve().parent)
        return str(self._logic(name, words)).lower()

    def _logic(self, name: str, words: list[str]) -> bool:
        if name == "not":
            return not self.truth(words[0])
        if name == "and":
            return self.truth(words[0]) and self.truth(words[1])
        if name == "or":
            return self.truth(words[0]) or self.truth(words[1])
        return _same(*words) == (name == "equals")


def _same(left: str, right: str) -> bool:
    """Compare as ROS does: truth values by their truth, numbers by value, anything else as text."""
    if left.lower() in _TRUE + _FALSE and right.lower() in _TRUE + _FALSE:
        return (left.lower() in _TRUE) == (right.lower() in _TRUE)
    try:
        return abs(float(left) - float(right)) <= 1e-9 * max(abs(float(left)), abs(float(right)))
    except ValueError:
        return left == right


def _actions_of(path: Path) -> list[tuple[str, Any]]:
    if not is_file(path):
        raise LaunchError(f"launch file {shown(str(path))} does not exist")
    content = read_yaml(path, LaunchError)
    if not isinstance(content, dict) or list(content) != ["launch"]:
        raise LaunchError(f"{path}: a launch file has one top-level key, 'launch'")
    return _entries(content["launch"], path)


def _entries(actions: Any, path: Path) -> list[tuple[str, Any]]:
    if not isinstance(actions, list) or not all(isinstance(item, dict) and len(item) == 1 for item in actions):
        raise LaunchError(
            f"{path}: actions are a list of entries with one key each, such as '- node: {{…}}'; given: {shown(actions)}"
        )
    entries = [(str(kind), body) for item in actions for kind, body in item.items()]
    for kind, _ in entries:
        if kind not in _ATTRIBUTES:
            raise LaunchError(
                f"{path}: action '{shortened(kind)}' is not supported; supported: {', '.join(_ATTRIBUTES)}"
            )
    return entries


def _check_attributes(kind: str, body: Any, path: Path) -> None:
    allowed = (*_ATTRIBUTES[kind], *_CONDITIONS)
    if not isinstance(body, dict):
        raise LaunchError(f"{path}: '{kind}' needs attributes; given: {shown(body)}; allowed: {', '.join(allowed)}")
    for name in body:
        if name not in allowed:
            raise LaunchError(
                f"{path}: attribute '{shortened(name)}' of '{kind}' is not supported; supported: {', '.join(allowed)}"
            )


def _text(body: dict[str, Any], name: str, kind: str, path: Path) -> str:
    if name not in body:
        raise LaunchError(f"{path}: can not find attribute '{name}' in '{kind}'")
    if not isinstance(body[name], str):
        raise LaunchError(
            f"{path}: attribute '{name}' of '{kind}' must be a string (quote it); given: {shown(body[name])}"
        )
    return body[name]


def _list_of(body: dict[str, Any], name: str, kind: str, keys: Iterable[str], path: Path) -> list[dict[str, Any]]:
    items = body.get(name, [])
    allowed = tuple(keys)
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise LaunchError(
            f"{path}: '{name}' of '{kind}' must be a list of entries with {', '.join(allowed)}; given: {shown(items)}"
        )
    for item in items:
        for key in item:
            if key not in allowed:
                raise LaunchError(
                    f"{path}: attribute '{shortened(key)}' of '{name}' is not supported; supported: "
                    f"{', '.join(allowed)}"
                )
    return items


def _argument(body: dict[str, Any], path: Path) -> Argument:
    choices = tuple(_text(item, "value", "choice", path) for item in _list_of(body, "choice", "arg", ("value",), path))
    default = _text(body, "default", "arg", path) if "default" in body else None
    description = _text(body, "description", "arg", path) if "description" in body else "no description given"
    return Argument(_text(body, "name", "arg", path), default, description, choices)


def _walk_arguments(entries: list[tuple[str, Any]], path: Path) -> Iterable[Argument]:
    for kind, body in entries:
        if kind == "arg":
            _check_attributes(kind, body, path)
            yield _argument(body, path)
        elif kind == "group":
            yield from _walk_arguments(_children(body, path), path)


def _children(body: Any, path: Path) -> list[tuple[str, Any]]:
    """Actions of a group, which is a list or has `children`."""
    if isinstance(body, list):
        return _entries(body, path)
    _check_attributes("group", body, path)
    return _entries(body.get("children"), path)


def _node(body: dict[str, Any], scope: _Scope) -> NodeSpec:
    path = scope.path

    def text(name: str) -> str | None:
        return scope.expand(_text(body, name, "node", path)) if name in body else None

    files, parameters = _parameters(body, scope)
    remaps = _list_of(body, "remap", "node", ("from", "to"), path)
    environment = {
        _environment_name(e, scope): scope.expand(_text(e, "value", "env", path)) for e in _environment(body, path)
    }
    return NodeSpec(
        package=scope.expand(_text(body, "pkg", "node", path)),
        executable=scope.expand(_text(body, "exec", "node", path)),
        name=text("name"),
        namespace=_namespace_of(text("namespace"), scope),
        arguments=_command_line(text("args") or "", path),
        parameter_files=files,
        parameters=parameters,
        remaps=tuple(
            (scope.expand(_text(r, "from", "remap", path)), scope.expand(_text(r, "to", "remap", path))) for r in remaps
        ),
        environment=environment,
    )


def _namespace_of(given: str | None, scope: _Scope) -> str | None:
    """Absolute namespace of a node; None for the root."""
    joined = scope.namespace(given or "")
    return None if joined == "/" else joined


def _environment(body: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    return _list_of(body, "env", "node", ("name", "value"), path)


def _environment_name(entry: dict[str, Any], scope: _Scope) -> str:
    name = scope.expand(_text(entry, "name", "env", scope.path))
    if not _ENVIRONMENT_NAME.fullmatch(name):
        raise LaunchError(
            f"{scope.path}: env: {shown(name)} cannot name an environment variable; allowed: letters, digits and _"
        )
    return name


def _command_line(arguments: str, path: Path) -> str:
    """Return the arguments of a process if a shell could split them into words; otherwise raise LaunchError."""
    try:
        shlex.split(arguments)
    except ValueError as error:
        raise LaunchError(f"{path}: attribute 'args' of 'node': {error}; given: {shown(arguments)}") from error
    return arguments


def _parameters(body: dict[str, Any], scope: _Scope) -> tuple[tuple[Path, ...], dict[str, Any]]:
    files: list[Path] = []
    values: dict[str, Any] = {}
    for item in _list_of(body, "param", "node", ("name", "value", "type", "from"), scope.path):
        if "from" in item:
            if len(item) > 1:
                raise LaunchError(f"{scope.path}: a 'param' has either 'from' or 'name' and 'value'")
            file = Path(scope.expand(_text(item, "from", "param", scope.path)))
            if not is_file(file):
                raise LaunchError(f"{scope.path}: parameter file {shortened(str(file))} does not exist")
            files.append(file)
            continue
        if "value" not in item:
            raise LaunchError(f"{scope.path}: a 'param' has either 'from' or 'name' and 'value'; given: {shown(item)}")
        values[scope.expand(_text(item, "name", "param", scope.path))] = _value(item, scope)
    return tuple(files), values


def _value(item: dict[str, Any], scope: _Scope) -> Any:
    name, kind = shortened(_text(item, "name", "param", scope.path), 60), item.get("type")
    if kind is not None and (not isinstance(kind, str) or kind not in _TYPES):
        raise LaunchError(
            f"{scope.path}: parameter '{name}': type {shown(kind)} is not supported; supported: {', '.join(_TYPES)}"
        )
    value = _typed(item["value"], kind, f"{scope.path}: parameter '{name}'", scope)
    if kind is not None and type(value) is not _TYPES[kind]:
        raise LaunchError(f"{scope.path}: parameter '{name}' must be of type {kind}; given: {shown(value)}")
    if isinstance(value, dict):
        raise LaunchError(f"{scope.path}: parameter '{name}' is a dictionary; say 'type: str' if it is meant as text")
    if not _is_plain(value):
        allowed = "a text, number, truth value or a list of one of these"
        raise LaunchError(f"{scope.path}: parameter '{name}' must be {allowed}; given: {shown(value)}")
    return value


def _typed(value: Any, kind: str | None, place: str, scope: _Scope) -> Any:
    """Parse a text as YAML unless its type is `str`; an integer becomes a float where a float is required."""
    if isinstance(value, str):
        text = scope.expand(value)
        value = text if kind == "str" else parse_yaml(text, place, LaunchError)
    if kind == "float" and type(value) is int:
        value = float(value)
    return "" if value is None else value


def _is_plain(value: Any) -> bool:
    """Whether ROS has a parameter type for a value."""
    if not isinstance(value, list):
        return True
    return len({type(entry) for entry in value}) <= 1 and all(isinstance(entry, str | int | float) for entry in value)
