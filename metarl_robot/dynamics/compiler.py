"""The system's C compiler, and a cache of what it built: by content hash in the user's cache folder (`METARL_CACHE` overrides it)."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

_FLAGS = ("-march=native", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared")
"""Tuned for the processor at hand. Results are those of IEEE arithmetic, but for fused multiplications and additions."""
_warned = False


def cache_folder() -> Path:
    """Where compiled code is kept: $METARL_CACHE, else $XDG_CACHE_HOME/metarl_robot, else ~/.cache/metarl_robot."""
    if "METARL_CACHE" in os.environ:
        return Path(os.environ["METARL_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "metarl_robot"


def compiled(source: str, straight: bool = False, include: Path | None = None) -> Path | None:
    """The shared library of a C source; None, with a warning, where there is no compiler or it fails.

    Arguments:
        straight: the code is long and has no loops: optimising it more costs minutes and gains nothing.
        include: a folder of headers beside the system's. What it holds is not part of the cache's key: let the source name its version.
    """
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")
    if compiler is None:
        _warn_once("no C compiler found (tried $CC, cc, gcc): same results, slower")
        return None
    try:
        headers = () if include is None else (f"-I{include}",)
        return _library(source, (compiler, *_FLAGS, "-O1" if straight else "-O3", *headers))
    except (OSError, subprocess.CalledProcessError) as error:
        _warn_once(f"compiling failed ({error}): same results, slower")
        return None


def all_compiled(sources: Iterable[str], straight: bool = False) -> list[Path | None]:
    """Several at a time."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return list(pool.map(partial(compiled, straight=straight), sources))


def _warn_once(message: str) -> None:
    global _warned
    if not _warned:
        warnings.warn(message, RuntimeWarning, stacklevel=4)
        _warned = True


def _library(source: str, command: tuple[str, ...]) -> Path:
    key = hashlib.sha256("\n".join([source, *command, _processor()]).encode()).hexdigest()[:24]
    folder = cache_folder()
    library = folder / f"{key}.so"
    if library.is_file():
        return library
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        c_file, built = Path(scratch) / "source.c", Path(scratch) / "built.so"
        c_file.write_text(source)
        subprocess.run([*command, str(c_file), "-o", str(built), "-lm"], check=True, capture_output=True)
        built.replace(library)
    return library


def _processor() -> str:
    """What -march=native stands for: a cache that is shared between machines keeps them apart."""
    lines: list[str] = []
    if sys.platform == "linux":
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    features = sorted({line for line in lines if line.lower().startswith(("flags", "features", "model name"))})
    return "\n".join([platform.machine(), sys.platform, *features])
