# SPDX-License-Identifier: Apache-2.0
"""Forgetting that slows down with the age of a model: T_f (1 + g² min((t / t_s)², MOST_STEADY)).

Forgetting is P_zz ← A P_zz A + R P_0 R with A = exp(-dt / T_f) and R = (1 - A²)^½ (filter_algebra.py). The covariance
approaches the prior's and never exceeds it. The time constant grows with the age t of a model while it explains the
forces (g <= 1): early samples, linearised about a context that was still wrong, lose their weight (Ljung, Söderström
1983, 5.6); later, an unexcited context does not drift.

The age of entries that may change suddenly (a payload, friction) is the time since the last detected change, that of
all others (a motor's strength) the time since the start. A new payload would otherwise make the strength uncertain, and
the strength then the payload: at a shoulder, an error of 2 % is 0.2 kg of a Panda's payload.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOST_STEADY = 30.0
"""Largest factor by which forgetting of a lasting model slows down."""
WELL_EXPLAINED = 3.0
"""Above this mean square of unexplained over usual force, a model is wrong and is forgotten like a new one."""


class Forgetting:
    """Time constants of the entries of a context.

    Arguments:
        forgetting_s: T_f of a new model.
        settling_s: t_s; infinite: T_f stays.
        sudden: (k,) whether an entry may change suddenly.
    """

    def __init__(self, forgetting_s: float, settling_s: float, sudden: NDArray[np.bool_]) -> None:
        self._forgetting_s, self._settling_s, self._sudden = forgetting_s, settling_s, sudden
        self._age_s = self._since_change_s = 0.0

    def changed(self) -> None:
        """Record a change of the entries that may change suddenly."""
        self._since_change_s = 0.0

    def time_constants(self, unexplained: float, dt: float) -> NDArray[np.float64]:
        """T_f (k,) after another dt [s]. unexplained: mean square of the unexplained force over the usual one."""
        self._age_s += dt
        self._since_change_s += dt
        explained = min(1.0, WELL_EXPLAINED / max(unexplained, 1e-9)) ** 2
        changed, lasting = (self._slower(age_s, explained) for age_s in (self._since_change_s, self._age_s))
        return np.where(self._sudden, changed, lasting)

    def _slower(self, age_s: float, explained: float) -> float:
        return self._forgetting_s * (1.0 + explained * min((age_s / self._settling_s) ** 2, MOST_STEADY))
