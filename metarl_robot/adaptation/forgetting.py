# SPDX-License-Identifier: Apache-2.0
"""Forgetting that slows down with the age of a model: T_f (1 + g² min((t / t_s)², MOST_STEADY)).

Forgetting is P_zz ← a² P_zz + (1 - a²) P_0 with a = exp(-dt / T_f). The covariance approaches the prior's and never
exceeds it. The time constant grows with the age t of a model while it explains the forces (g <= 1): early samples,
linearised about a context that was still wrong, lose their weight (Ljung, Söderström 1983, 5.6); later, an unexcited
context does not drift.
"""

from __future__ import annotations

MOST_STEADY = 30.0
"""Largest factor by which forgetting of a lasting model slows down."""
WELL_EXPLAINED = 3.0
"""Above this mean square of unexplained over usual force, a model is wrong and is forgotten like a new one."""


class Forgetting:
    """Arguments: forgetting_s: T_f of a new model. settling_s: t_s; infinite: T_f stays."""

    def __init__(self, forgetting_s: float, settling_s: float) -> None:
        self._forgetting_s, self._settling_s, self._steady_s = forgetting_s, settling_s, 0.0

    def changed(self) -> None:
        """Record a new model."""
        self._steady_s = 0.0

    def time_constant(self, unexplained: float, dt: float) -> float:
        """T_f of a model that has lasted another dt. unexplained: mean square of the unexplained force."""
        self._steady_s += dt
        age = self._steady_s / self._settling_s
        explained = min(1.0, WELL_EXPLAINED / max(unexplained, 1e-9))
        return self._forgetting_s * (1.0 + explained * explained * min(age * age, MOST_STEADY))
