# SPDX-License-Identifier: Apache-2.0
"""From the frames of autopilots to ours: world NED to ENU, body FRD to FLU; quaternions are wxyz [body→world].

(x, y, z) NED is (y, x, -z) ENU, and (x, y, z) FRD is (x, -y, -z) FLU. Both are half turns, about (1, 1, 0) and about x.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metarl_robot.core import rotation

Array = NDArray[np.float64]

_NED_TO_ENU: Array = np.array([0.0, np.sqrt(0.5), np.sqrt(0.5), 0.0])
_FLU_TO_FRD: Array = np.array([0.0, 1.0, 0.0, 0.0])


def enu(vectors: Array) -> Array:
    """Vectors (..., 3) [NED] in ENU, and the reverse."""
    return np.stack([vectors[..., 1], vectors[..., 0], -vectors[..., 2]], axis=-1)


def flu(vectors: Array) -> Array:
    """Vectors (..., 3) [FRD] in FLU, and the reverse."""
    return vectors * np.array([1.0, -1.0, -1.0])


def flu_to_enu(q: Array) -> Array:
    """Attitudes (..., 4) [FRD→NED] as [FLU→ENU], and the reverse but for the sign."""
    return rotation.multiply(rotation.multiply(_NED_TO_ENU, q), _FLU_TO_FRD)
