# SPDX-License-Identifier: Apache-2.0
"""Compile and link the code of a message package with the system's C and C++ compilers.

Libraries have the names and the contents of a ROS 2 installation: lib<package>__<generator>.so. A type support is
found by dlopen with its name alone; dlopen takes a library that is already loaded under that name, so that the
package's `__init__.py` loads its libraries first and no search path is needed.

All sources of a library are compiled as one, which parses the middleware's headers once. Only the descriptions of
types are compiled alone: they define the same static names.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from metarl_robot.compile.compiler_process import in_parallel, run_compiler
from metarl_robot.ros_nodes.messages.generate import DISPATCH, FAST_DDS, INTROSPECTION, PYTHON, C, Generated
from metarl_robot.ros_nodes.messages.package import MessagePackage, MessagesError
from metarl_robot.ros_nodes.messages.prefixes import include_folders

_FLAGS = ("-O1", "-DNDEBUG", "-w", "-fPIC", "-shared")
_RUNTIME = ("rosidl_runtime_c", "rcutils", DISPATCH)
_OF_MIDDLEWARE = {
    FAST_DDS: ("fastcdr", "rmw", "rosidl_typesupport_fastrtps_cpp", FAST_DDS),
    INTROSPECTION: (INTROSPECTION,),
}
_TIMEOUT_S = 1200.0
_LOADED_FIRST = '''\
"""Messages of {name}, built by metarl_robot from their definitions. The middleware finds loaded libraries by name."""

import ctypes
from pathlib import Path

{imports}_LIBRARIES = Path(__file__).resolve().parents[2] / "lib"
for _name in {libraries!r}:
    ctypes.CDLL(str(_LIBRARIES / _name))
'''


def check_compilers() -> None:
    """Raise MessagesError if there is no C or C++ compiler, or Python's headers are missing."""
    missing = [name for name, path in (("gcc", _compiler("c")), ("g++", _compiler("cpp"))) if path is None]
    if missing:
        raise MessagesError(f"no {' and no '.join(missing)} found: apt install build-essential, or set CC and CXX")
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if not header.is_file():
        raise MessagesError(f"{header} is missing: apt install python3-dev")


def compile_package(package: MessagePackage, code: Generated, tree: Path, prefixes: Sequence[Path]) -> None:
    """Build the libraries and the Python package below `tree`: lib/, python/.

    Raises:
        MessagesError: a compiler fails.
        CompilationStopped: this process is to end.
    """
    (tree / "lib").mkdir()
    linker = _Linker(package, tree, prefixes)
    linker.library(C, code.libraries[C])
    others = [name for name in code.libraries if name != C]
    in_parallel(lambda name: linker.library(name, code.libraries[name]), others)
    linker.extension(code.extension)
    libraries = [_file_name(package.name, name) for name in code.libraries]
    imports = "".join(f"import {name}  # noqa: F401\n" for name in package.needs)
    start = _LOADED_FIRST.format(name=package.name, imports=f"{imports}\n" if imports else "", libraries=libraries)
    (tree / "python" / package.name / "__init__.py").write_text(start, encoding="utf-8")
    for path in [path for top in ("include", "python") for path in (tree / top).rglob("*.c*") if path.is_file()]:
        if path.suffix in (".c", ".cpp"):
            path.unlink()


def _compiler(suffix: str) -> str | None:
    variable, default = ("CXX", "g++") if suffix == "cpp" else ("CC", "gcc")
    return shutil.which(os.environ.get(variable, default)) or shutil.which(default)


def _file_name(package: str, library: str) -> str:
    return f"lib{package}__{library}.so"


class _Linker:
    """Compiles the libraries of one package."""

    def __init__(self, package: MessagePackage, tree: Path, prefixes: Sequence[Path]) -> None:
        self._package, self._tree = package, tree
        python = (Path(sysconfig.get_paths()["include"]), Path(np.get_include()))
        self._includes = [f"-I{folder}" for folder in (*include_folders((tree, *prefixes)), *python)]
        self._folders = [tree / "lib", *(place / "lib" for place in prefixes)]

    def library(self, name: str, sources: Sequence[Path]) -> None:
        """Build lib/lib<package>__<name>.so."""
        alone = [path for path in sources if path.stem.endswith("__description")]
        together = self._tree / f"{name}{sources[0].suffix}"
        together.write_text("".join(f'#include "{path}"\n' for path in sources if path not in alone), encoding="utf-8")
        target = _file_name(self._package.name, name)
        own = () if name == C else (f"{self._package.name}__{C}",)
        of_needs = (f"{need}__{kind}" for need in self._package.needs for kind in {name, C})
        wanted = (*own, *of_needs, *_OF_MIDDLEWARE.get(name, ()), *_RUNTIME)
        files = [str(together), *map(str, alone)]
        self._run(together.suffix, files, self._tree / "lib" / target, wanted, f"-Wl,-soname,{target}")
        together.unlink()

    def extension(self, source: Path) -> None:
        """Build the Python extension module of the package."""
        target = self._tree / "python" / self._package.name / f"{self._package.name}_s__{DISPATCH}.so"
        own = tuple(f"{self._package.name}__{kind}" for kind in (PYTHON, DISPATCH, C))
        self._run(source.suffix, [str(source)], target, (*own, *_RUNTIME))

    def _run(self, suffix: str, files: list[str], target: Path, libraries: Iterable[str], *more: str) -> None:
        present = [name for name in libraries if any((place / f"lib{name}.so").is_file() for place in self._folders)]
        paths = [f"-L{place}" for place in self._folders]
        searched = [f"-Wl,-rpath,{place}" for place in ("$ORIGIN", "$ORIGIN/../../lib", *self._folders[1:])]
        command = [_compiler(suffix.removeprefix(".")) or "", *_FLAGS, *more, *self._includes, *files, "-o"]
        command += [str(target), *paths, *searched, *(f"-l{name}" for name in present)]
        try:
            run_compiler(command, _TIMEOUT_S)
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode(errors="replace").splitlines()
            told = next((line for line in said if "error" in line), said[0] if said else "no message")
            raise MessagesError(f"compiling {target.name} of {self._package.name} failed: {told[:400]}") from error
        except subprocess.TimeoutExpired as error:
            raise MessagesError(f"{command[0]} has not ended after {_TIMEOUT_S:g} s ({target.name})") from error
