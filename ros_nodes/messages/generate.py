# SPDX-License-Identifier: Apache-2.0
"""Code of a message package, written by the generators of rosidl.

The steps are those of rosidl's CMake macro `rosidl_generate_interfaces`: definitions → IDL, type hashes (RIHS01,
REP 2011), C structures, type supports, Python classes. The generators are called as Python functions: the command
`rosidl generate` stops at duplicate entry points of the wheels. Each generator has its own folder, because two of them
write files of the same name.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metarl_robot.core.errors import one_line
from metarl_robot.ros_nodes.messages.package import MessagePackage, MessagesError
from metarl_robot.ros_nodes.messages.prefixes import interface_files, resources_of

C = "rosidl_generator_c"
DISPATCH = "rosidl_typesupport_c"
FAST_DDS = "rosidl_typesupport_fastrtps_c"
INTROSPECTION = "rosidl_typesupport_introspection_c"
PYTHON = "rosidl_generator_py"
HASHES = "rosidl_generator_type_description"
GENERATORS = (HASHES, C, FAST_DDS, INTROSPECTION, DISPATCH, PYTHON)


@dataclass(frozen=True)
class Generated:
    """Sources of each library, by the generator that wrote them; extension: of the Python extension module."""

    libraries: dict[str, list[Path]]
    extension: Path


def generate(package: MessagePackage, tree: Path, prefixes: Sequence[Path]) -> Generated:
    """Write the code of a package below `tree`: share/, include/<generator>/, python/.

    prefixes: where its dependencies and the generators are installed.

    Raises:
        MessagesError: a definition is wrong, or a generator is not installed.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            return _Generator(package, tree, prefixes).run()
    except ImportError as error:
        raise MessagesError(f"this needs {error.name}, which is not installed (metarl_robot[messages])") from error
    except FileNotFoundError as error:  # the interface of a type
        missing = "/".join(Path(error.filename).with_suffix("").parts[-3:])
        raise MessagesError(f"definitions of {package.name}: there is no type {missing}") from error
    except (MessagesError, OSError):
        raise
    except Exception as error:  # each generator has exceptions of its own
        lines = [line for line in said.getvalue().splitlines() if line.startswith("Error processing")]
        where = f" ({lines[-1]})" if lines else ""
        raise MessagesError(f"definitions of {package.name}: {one_line(error)}{where}") from error


class _Generator:
    """One run over a package."""

    def __init__(self, package: MessagePackage, tree: Path, prefixes: Sequence[Path]) -> None:
        self._package, self._tree, self._prefixes = package, tree, prefixes
        self._share = tree / "share" / package.name
        self._python = tree / "python" / package.name
        self._idl = [file.with_suffix(".idl") for file in package.files]
        self._known = interface_files(package.needs, prefixes)

    def run(self) -> Generated:
        import rosidl_generator_c
        import rosidl_generator_py
        import rosidl_generator_type_description
        import rosidl_typesupport_c
        import rosidl_typesupport_fastrtps_c
        import rosidl_typesupport_introspection_c

        self._translate()
        places = sorted({f"{name}:{file.parent.parent}" for name, file in self._known})
        self._call(HASHES, self._share, rosidl_generator_type_description.generate_type_hash, include_paths=places)
        hashes = [f"{file.as_posix()}:{self._share / file.with_suffix('.json')}" for file in self._idl]
        sources = [str(self._share / file) for file in self._package.files]
        described = {"type_description_tuples": hashes, "ros_interface_files": sources}
        dispatch = [FAST_DDS, INTROSPECTION]
        written = {
            C: self._code(C, rosidl_generator_c.generate_c, **described),
            FAST_DDS: self._code(FAST_DDS, rosidl_typesupport_fastrtps_c.generate_typesupport_fastrtps_c),
            INTROSPECTION: self._code(INTROSPECTION, rosidl_typesupport_introspection_c.generate_c),
            DISPATCH: self._code(DISPATCH, lambda arguments: rosidl_typesupport_c.generate_c(arguments, dispatch)),
        }
        for file in self._idl:
            (self._python / file.parent).mkdir(parents=True, exist_ok=True)
        written[PYTHON] = self._call(
            PYTHON, self._python, lambda arguments: rosidl_generator_py.generate_py(arguments, [DISPATCH])
        )
        extension = next(file for file in written[PYTHON] if ".ep." in file.name)
        written[PYTHON].remove(extension)
        code = {name: [file for file in files if file.suffix in (".c", ".cpp")] for name, files in written.items()}
        return Generated(code, extension)

    def _translate(self) -> None:
        """Copy the definitions to share/ and translate them to IDL beside the copies."""
        from rosidl_adapter import convert_to_idl

        for file in self._package.files:
            (self._share / file.parent).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._package.folder / file, self._share / file)
            convert_to_idl(self._share, self._package.name, file, self._share)

    def _code(self, generator: str, function: Callable[[str], list[Any]], **more: object) -> list[Path]:
        """Run a generator of C or C++ code and write its header of symbol visibility."""
        folder = self._tree / "include" / generator / self._package.name
        (folder / "msg").mkdir(parents=True)
        for template in resources_of(generator, self._prefixes).glob("*visibility_control.h.in"):
            text = template.read_text(encoding="utf-8").replace("@PROJECT_NAME@", self._package.name)
            header = text.replace("@PROJECT_NAME_UPPER@", self._package.name.upper())
            (folder / "msg" / template.stem).write_text(header, encoding="utf-8")
        return self._call(generator, folder, function, **more)

    def _call(self, generator: str, folder: Path, function: Callable[[str], list[Any]], **more: object) -> list[Path]:
        """Run a generator; its arguments are read from a file."""
        arguments = {
            "package_name": self._package.name,
            "output_dir": str(folder),
            "template_dir": str(resources_of(generator, self._prefixes)),
            "idl_tuples": [f"{self._share}:{file.as_posix()}" for file in self._idl],
            "ros_interface_dependencies": [f"{name}:{file}" for name, file in self._known],
            "target_dependencies": [],
            **more,
        }
        path = self._tree / f"{generator}.json"
        path.write_text(json.dumps(arguments), encoding="utf-8")
        try:
            return [Path(file) for file in function(str(path))]
        finally:
            path.unlink()
