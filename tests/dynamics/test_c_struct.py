# SPDX-License-Identifier: Apache-2.0
"""C structs filled by name: each field arrives where C reads it; wrong sizes are refused; layouts are checked."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import mujoco
import numpy as np
import pytest

from metarl_robot.compile import compiler, kernel
from metarl_robot.compile.c_struct import Field, Layout, StructError, assertions, layouts
from metarl_robot.sim.quadrotor.worlds import INCLUDE

FIELDS = (
    "long n;",
    "double scale, offset;",
    "const double *x, *y;",
    "double *const *rows; /* not checked */",
    "float *logs[2];",
)
SOURCE = """#include "kernel.h"
typedef struct {{ {fields} }} Given;
typedef struct own {{ double of_c[3]; }} own;
double used(const Given *g) {{
    return g->n + 10 * g->scale + 100 * g->offset + g->x[0] + g->y[0] + g->rows[0][0] + g->logs[0][0] + g->logs[1][0];
}}
"""
X, Y, ROWS = np.array([1e3]), np.array([1e4]), np.array([1e5])
LOGS = [np.array([value], np.float32) for value in (1e6, 1e7)]
POINTERS = (ctypes.c_void_p * 1)(ROWS.ctypes.data)
VALUES = {"n": 2, "scale": 3.0, "offset": 4, "x": X, "y": Y, "rows": POINTERS, "logs": LOGS}


def built(structs: Callable[[str], dict[str, Layout]] = layouts, fields: tuple[str, ...] = FIELDS) -> kernel.Kernel:
    """As `kernel.kernel` does it."""
    source = kernel.with_header(SOURCE.format(fields=" ".join(fields)))
    library = compiler.compiled(source + assertions(structs(source)))
    assert library is not None
    return kernel.Kernel(library, structs(source))


def used(library: kernel.Kernel, **values: object) -> float:
    function = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_void_p)(("used", library))
    return float(function(ctypes.byref(library.struct("Given", **VALUES | values))))


@pytest.mark.parametrize("turn", range(len(FIELDS)))
def test_fields_in_any_order_arrive_under_their_names(turn: int) -> None:
    assert used(built(fields=FIELDS[turn:] + FIELDS[:turn])) == 2 + 30 + 400 + 1e3 + 1e4 + 1e5 + 1e6 + 1e7


def test_structs_with_a_tag_are_the_c_files_own() -> None:
    assert set(layouts(SOURCE.format(fields=" ".join(FIELDS)))) == {"Given"}


def swapped(fields: list[Field]) -> None:
    fields[0], fields[1] = fields[1], fields[0]


def renamed(fields: list[Field]) -> None:
    fields[1] = fields[1]._replace(name="factor")


def missing_last(fields: list[Field]) -> None:
    fields.pop()


def missing(fields: list[Field]) -> None:
    del fields[2]


def retyped(fields: list[Field]) -> None:
    fields[0] = fields[0]._replace(type="double")


def retyped_array(fields: list[Field]) -> None:
    fields[3] = fields[3]._replace(type="const long *")


def shortened(fields: list[Field]) -> None:
    fields[-1] = fields[-1]._replace(length=1)


@pytest.mark.parametrize("wrong", [swapped, renamed, missing, missing_last, retyped, retyped_array, shortened])
def test_a_layout_that_is_not_the_compilers_does_not_compile(
    wrong: Callable[[list[Field]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiler.code_cache, "warn_once", lambda _, message: pytest.fail(message))

    def read(source: str) -> dict[str, Layout]:
        fields = list(layouts(source)["Given"].fields)
        wrong(fields)
        return {"Given": Layout("Given", fields)}

    with pytest.raises(pytest.fail.Exception, match="Given"):
        built(read)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"x": np.ones(1, np.float32)}, "'x' is a const double \\*; given: an array of float32"),
        ({"x": np.ones(1, np.int_)}, "'x' is a const double \\*; given: an array of int"),
        ({"x": np.ones((4, 2))[:, 0]}, "'x' takes contiguous arrays"),
        ({"x": 1.0}, "'x' is a const double \\*; given: 1.0"),
        ({"n": 2.5}, "'n' is a long; given: 2.5"),
        ({"n": X}, "'n' is a long; given: an array of float64"),
        ({"scale": "3"}, "'scale' is a double; given: '3'"),
        ({"rows": X}, "'rows' is a double \\*const \\*; given: an array"),
        ({"logs": LOGS[:1]}, "'logs' takes a sequence of 2 values"),
        ({"logs": [X, X]}, "'logs' is a float \\*; given: an array of float64"),
        ({"z": X}, "'Given': fields unknown: z"),
    ],
)
def test_values_that_do_not_fit_are_refused_by_the_fields_name(values: dict[str, object], said: str) -> None:
    with pytest.raises(StructError, match=said):
        built().struct("Given", **VALUES | values)


def test_a_missing_value_and_an_unknown_struct_are_named() -> None:
    library = built()
    with pytest.raises(StructError, match="'Given': fields without a value: scale, x"):
        library.struct("Given", **{name: value for name, value in VALUES.items() if name not in ("x", "scale")})
    with pytest.raises(StructError, match="unknown C struct 'Other'; the C file's structs: Given"):
        library.struct("Other")


@pytest.mark.parametrize("field", ["unsigned long n;", "long n[];", "double f(void);", "long n : 3;", "struct own o;"])
def test_declarations_beyond_the_few_forms_are_refused(field: str) -> None:
    with pytest.raises(StructError, match="C struct 'Given': this declaration is not understood"):
        layouts(f"typedef struct {{ long m; {field} }} Given;")


def test_arrays_live_as_long_as_the_struct_that_points_to_them() -> None:
    library = built()
    made = library.struct("Given", **VALUES | {"x": np.full(1000, 7.0)})
    np.zeros(1000)
    assert np.ctypeslib.as_array(ctypes.cast(made.x, ctypes.POINTER(ctypes.c_double)), (1000,)).sum() == 7000.0


@pytest.mark.parametrize("name", ["momentum_filter", "network", "stream", "riccati", "flight", "rigid_body_parameters"])
def test_the_projects_own_c_files_compile_with_their_layouts_checked(
    name: str, recwarn: pytest.WarningsRecorder
) -> None:
    sizes = {"HORIZON": 5, "N": 4, "M": 2, "NNZ_A": 8, "NNZ_B": 4, "MAX_ROUNDS": 40, "PATIENCE": 3, "TOLERANCE": 1e-9}
    made = {
        "riccati": lambda: kernel.kernel("control", name, **sizes),
        "rigid_body_parameters": lambda: kernel.kernel("robots", name, POINT=50.0, LEAST_KG_M2=1e-6),
        "flight": lambda: kernel.kernel("sim.quadrotor", name, INCLUDE, MUJOCO=mujoco.mj_version(), ROTORS=6, TILTED=1),
    }.get(name, lambda: kernel.kernel("adaptation", name))()
    assert made is not None and not recwarn.list


def test_the_headers_text_is_part_of_what_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = tmp_path / "kernel.h"
    monkeypatch.setattr(kernel, "_HEADER", header)
    sources = []
    for text in ("/* one */", "/* other \\1 */"):
        header.write_text(text)
        sources.append(kernel.with_header('/* x */\n#include "kernel.h"\n#include <math.h>\n'))
    assert sources == [f"/* x */\n{text}\n#include <math.h>\n" for text in ("/* one */", "/* other \\1 */")]
