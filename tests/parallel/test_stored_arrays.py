# SPDX-License-Identifier: Apache-2.0
"""Arrays of plain data lie in files once, and come back as they were."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from metarl_robot.parallel.stored_arrays import loaded, stored


class Pair(NamedTuple):
    a: Any
    b: Any


@dataclass(frozen=True, eq=False)
class Named:
    name: str
    values: Any


def test_arrays_come_back_shared_ones_are_kept_once_and_files_stay_as_they_are(tmp_path: Path) -> None:
    shared = np.arange(12.0).reshape(3, 4)
    value = Pair(Named("x", shared), Pair(shared, np.array([True, False])))
    kept = stored(value, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    for _ in range(2):  # writing to what was loaded does not change the file
        again = loaded(kept)
        assert isinstance(again, Pair) and again.a.name == "x" and type(again.a.values) is np.ndarray
        np.testing.assert_array_equal(again.a.values, shared)
        np.testing.assert_array_equal(again.b.a, shared)
        assert again.b.b.tolist() == [True, False]
        again.a.values[:] = -1.0
