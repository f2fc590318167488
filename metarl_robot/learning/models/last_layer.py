# SPDX-License-Identifier: Apache-2.0
"""Bayesian last layer: features and the Gaussian prior of their coefficients, trained through the posterior.

Harrison, Sharma, Pavone, "Meta-learning priors for efficient online Bayesian regression" (ALPaCA), 2018, in momentum
form:

    Δ(ξ; z) = Φ_θ(ξ) z + d + e,   z ~ N(z̄, L Lᵀ),   d a random walk,   e ~ N(0, S_e) with a short memory

d is the slow disturbance that the online filter estimates with z; it starts from N(0, S_0). e is the fast, transient
one. z includes the latency of the commands; the online filter does not estimate it in z, but has an equal
uncertainty. A task's support window is K control intervals. With T_j the impulse of Δ and C_k = Σ_{j<=k} ∫Φ dt, the
robot can measure

    y_k = M_k⁻¹ (M_k ṽ_k - M_0 ṽ_0 - known impulse) = M_k⁻¹ C_k z + M_k⁻¹ Σ_{j<=k} dt (d_j + e_j) + n_k - M_k⁻¹ M_0 n_0

with the velocity noise n ~ N(0, σ²). These are the data and the errors of the online filter. y and x = (u, d_K),
where z = z̄ + L u and u ~ N(0, I), are jointly Gaussian, so the posterior of x is

    μ = C_xy G⁻¹ (y - E y),   Σ = C_xx - C_xy G⁻¹ C_yx,    G = cov(y)

The loss is the negative log posterior predictive of the residual on later intervals of the same task,

    ℓ(θ, z̄, L, S) = -log N(T_q / dt; Φ_q z + d_q, Φ_q Σ_z Φ_qᵀ + cov(d_q) + S_e)

plus a weighted term: the same for the true coefficients of the raw features. It keeps them and their uncertainty
physical.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from metarl_robot.adaptation.features import Entry
from metarl_robot.adaptation.training_data import TrainingData
from metarl_robot.learning.models.config import TrainConfig
from metarl_robot.learning.models.network import Perceptron, encode

Array = NDArray[np.float64]

_INITIAL_RATIO = 0.02
"""Initial scale of features, disturbance and model error, as a share of the effort limit."""
_LONGEST = 25
"""Longer windows are thinned to about this many intervals."""
ERROR_MEMORY_S = 0.05
"""Memory of the fast model error e, as in the online filter."""
STICTION_FACTOR = 5.0
STICTION_VELOCITY_RAD_S = 0.05
"""A joint slower than this may stick, with any friction up to Coulomb's.

There e is larger by STICTION_FACTOR. The online filter does the same, with its own factor.
"""
_ENCODER_WORTH_HZ = 20.0
_LEAST_NOISE_RAD_S = 3e-4
_MERGED = 2
"""Number of control intervals merged into one for learning."""
_SUPPORT_S = (0.05, 0.5)
_HORIZON_S = 0.5
_QUERIES = 16
_NOISE_RATE = 5.0
"""Learning rate of the noise levels, relative to that of the weights."""
_PRIOR_RATE = 0.1
"""Learning rate of the prior, relative to that of the weights.

Most of its entries hardly affect the loss. At the full rate, Adam would let the noise of the batches move them away.
"""
_RIDGE = 1e-6


@dataclass(frozen=True)
class Shape:
    """Sizes of the model: velocity and effort limits as scales, K learned features, hidden widths.

    inputs: number of network inputs; None: sin q, cos q and scaled v of joints. Only joints stick.
    """

    velocity_limit: Array
    effort_limit: Array
    learned: int
    hidden: tuple[int, ...]
    inputs: int | None = None


@dataclass(frozen=True)
class Start:
    """Initial prior of the training, and the parts of it that are trained.

    mean: (n_raw,), covariance: (n_raw, n_raw) of the raw features' coefficients. Learned features start at
        N(learned_mean, I).
    train_raw_mean: (n_raw,) flags. train_raw_covariance, train_learned: flags for the rest of the prior.
    """

    mean: Array
    covariance: Array
    learned_mean: float
    train_raw_mean: NDArray[np.bool_]
    train_raw_covariance: bool
    train_learned: bool


class Batch(NamedTuple):
    """B tasks with a support window of W intervals of `stride` data intervals each, and Q query intervals.

    impulse: (B, W, n, n_raw), target: (B, W, n): sums over each interval.
    inputs: (B, W, 3n): means over each interval.
    mobility: (B, W + 1, n, n), noise: (B, W + 1, n) velocity noise [rad/s], at the samples that bound them.
    sigma: (B, n) standard deviation of the noise.
    query_*: the same at Q data intervals; query_lag: (B, Q) from the end of the window [data intervals].
    contexts: (B, n_raw) true coefficients.
    """

    stride: int
    impulse: Tensor
    inputs: Tensor
    target: Tensor
    mobility: Tensor
    noise: Tensor
    sigma: Tensor
    query_impulse: Tensor
    query_inputs: Tensor
    query_target: Tensor
    query_lag: Tensor
    contexts: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same tensors on a device."""
        return Batch(self.stride, *(tensor.to(device) for tensor in self[1:]))


class Posterior(NamedTuple):
    """Mean (B, D) and covariance (B, D, D) of x = (u, d at the end of the window)."""

    mean: Tensor
    covariance: Tensor


class LastLayer(nn.Module):
    """Features, prior and noise levels.

    Arguments:
        shape: sizes and scales.
        start: initial prior of the raw features' coefficients.
        dt: length of an interval [s].
        seed: of the initial weights.
    """

    mean_0: Tensor
    factor_0: Tensor
    trained_mean: Tensor
    trained_factor: Tensor
    velocity_limit: Tensor

    def __init__(self, shape: Shape, start: Start, dt: float, seed: int) -> None:
        super().__init__()
        n, raw, learned = len(shape.velocity_limit), len(start.mean), shape.learned
        self.n, self.raw, self.learned, self.dt = n, raw, learned, dt
        self.sticks = shape.inputs is None
        scale = torch.as_tensor(_INITIAL_RATIO * shape.effort_limit, dtype=torch.float32)
        self.network = None
        if learned:
            generator = torch.Generator().manual_seed(seed)
            widths = (shape.inputs or 3 * n, *shape.hidden, n * learned)
            self.network = Perceptron(widths, scale.repeat_interleave(learned), generator)
        factor = np.eye(raw + learned)
        factor[:raw, :raw] = np.linalg.cholesky(start.covariance)
        self.register_buffer("velocity_limit", torch.as_tensor(shape.velocity_limit, dtype=torch.float32))
        self.register_buffer(
            "mean_0", torch.as_tensor(np.concatenate([start.mean, np.full(learned, start.learned_mean)]))
        )
        self.register_buffer("factor_0", torch.as_tensor(factor))
        size = raw + learned
        trained_mean = np.concatenate([start.train_raw_mean, np.full(learned, start.train_learned)])
        trained_factor = np.repeat([start.train_raw_covariance, start.train_learned], [raw, learned])[:, None]
        self.register_buffer("trained_mean", torch.as_tensor(trained_mean))
        self.register_buffer("trained_factor", torch.as_tensor(np.tril(np.repeat(trained_factor, size, axis=1))))
        self.mean_shift = nn.Parameter(torch.zeros(size, dtype=torch.float64))
        self.factor = nn.Parameter(torch.zeros(size, size, dtype=torch.float64))
        self.log_error = nn.Parameter(scale.double().log())
        self.log_disturbance = nn.Parameter(scale.double().log())
        self.log_drift = nn.Parameter(scale.double().log())

    def prior(self) -> tuple[Tensor, Tensor]:
        """Prior mean z̄ (n_z,) and factor L (n_z, n_z), float64.

        The parameters are relative to the initial prior, so that they are well scaled and L has full rank.
        """
        factor = torch.where(self.trained_factor, self.factor, 0.0)
        relative = torch.tril(factor, -1) + torch.diag(torch.diagonal(factor).exp())
        shift = torch.where(self.trained_mean, self.factor_0 @ self.mean_shift, 0.0)
        return self.mean_0 + shift, self.factor_0 @ relative

    def impulses(self, raw: Tensor, inputs: Tensor, dt: float) -> Tensor:
        """Impulses ∫Φ dt (…, n, n_z) of raw impulses (…, n, n_raw) and network inputs (…, 3n)."""
        if self.network is None:
            return raw.double()
        learned = dt * self.network(inputs)
        return torch.cat([raw, learned.unflatten(-1, (self.n, self.learned))], dim=-1).double()

    def posterior(self, batch: Batch) -> Posterior:
        """Posterior of x given the support windows."""
        mean, factor = self.prior()
        dt, size = batch.stride * self.dt, len(mean)
        response = torch.cumsum(self.impulses(batch.impulse, batch.inputs, dt), dim=1)
        momentum = torch.cumsum(batch.target.double(), dim=1) - response @ mean
        after, before = batch.mobility[:, 1:].double(), batch.mobility[:, :1].double()
        start = after @ torch.linalg.inv(before)
        noise = batch.noise.double()
        measured = _apply(after, momentum) + noise[:, 1:] - _apply(start, noise[:, :1])

        by_u = (after @ (response @ factor)).flatten(1, 2)
        sigma = batch.sigma
        by_start = (start * sigma[:, None, None, :]).flatten(1, 2)
        pushed, of_last, last = self._disturbance(self._effort_std(batch.inputs), dt)
        covariance = by_u @ by_u.mT + by_start @ by_start.mT + _congruence(after, pushed)
        covariance = covariance + torch.diag_embed((sigma**2).repeat(1, start.shape[1]))
        by_last = (after * of_last.mT[:, None, :]).flatten(1, 2)
        to_x = torch.cat([by_u, by_last], dim=2)
        solution = torch.cholesky_solve(
            torch.cat([to_x, measured.flatten(1, 2)[..., None]], dim=2), torch.linalg.cholesky(covariance)
        )
        prior = torch.diag(torch.cat([last.new_ones(size), last]))
        reduction = to_x.mT @ solution
        return Posterior(reduction[..., -1], prior - reduction[..., :-1])

    def _effort_std(self, inputs: Tensor) -> Tensor:
        """Factor (…, n) on the standard deviation of the fast error e: larger for joints that may stick."""
        if not self.sticks:
            return self.mean_0.new_ones((*inputs.shape[:-1], self.n))
        v = inputs[..., 2 * self.n :].double() * self.velocity_limit
        return torch.sqrt(1.0 + STICTION_FACTOR**2 * torch.exp(-((v / STICTION_VELOCITY_RAD_S) ** 2)))

    def _disturbance(self, effort_std: Tensor, dt: float) -> tuple[Tensor, Tensor, Tensor]:
        """Covariances of each joint's disturbance.

        Of the impulse Σ dt (d + e) (B, n, W, W), of the impulse with the last d (n, W), and of the last d (n,).
        """
        rate, first, error = (
            torch.exp(2.0 * x)[:, None, None] for x in (self.log_drift, self.log_disturbance, self.log_error)
        )
        width = effort_std.shape[1]
        index = torch.arange(width, dtype=torch.float64, device=effort_std.device)
        slow = first + rate * dt * torch.minimum(index[:, None], index)
        fast = error * torch.exp(-dt / ERROR_MEMORY_S * (index[:, None] - index).abs())
        fast = fast * effort_std.mT[..., None] * effort_std.mT[..., None, :]
        total = torch.tril(effort_std.new_ones(width, width)) * dt
        return total @ (slow + fast) @ total.mT, (slow[:, -1:] @ total.mT)[:, 0], slow[:, -1, -1]

    def predictive(self, batch: Batch, posterior: Posterior) -> tuple[Tensor, Tensor]:
        """Mean (B, Q, n) and covariance (B, Q, n, n) of the residual Δ [Nm] on the query intervals."""
        mean, factor = self.prior()
        phi = self.impulses(batch.query_impulse, batch.query_inputs, self.dt) / self.dt
        unit = torch.eye(self.n, dtype=phi.dtype, device=phi.device).expand(*phi.shape[:3], self.n)
        by_x = torch.cat([phi @ factor, unit], dim=3)
        value = phi @ mean + _apply(by_x, posterior.mean[:, None])
        walked = torch.exp(2.0 * self.log_drift) * self.dt * batch.query_lag[..., None]
        own = torch.diag_embed(walked + (self._effort_std(batch.query_inputs) * self.log_error.exp()) ** 2)
        tasks, queries, n, size = by_x.shape
        spread = (by_x.flatten(1, 2) @ posterior.covariance).view(tasks, queries, n, size)
        return value, spread @ by_x.mT + own

    def context(self, posterior: Posterior) -> tuple[Tensor, Tensor]:
        """Posterior mean (B, n_raw) and covariance (B, n_raw, n_raw) of the raw features' coefficients."""
        mean, factor = self.prior()
        own, size = factor[: self.raw], len(mean)
        return mean[: self.raw] + posterior.mean[:, :size] @ own.mT, own @ posterior.covariance[
            :, :size, :size
        ] @ own.mT

    def loss(self, batch: Batch, context_weight: float) -> tuple[Tensor, Tensor]:
        """The loss, and the root mean square error (n,) of the predicted residual [Nm]."""
        posterior = self.posterior(batch)
        value, covariance = self.predictive(batch, posterior)
        error = batch.query_target.double() / self.dt - value
        loss = _negative_log_density(error, covariance).mean() / self.n
        if context_weight > 0.0:
            known, known_covariance = self.context(posterior)
            known_covariance = known_covariance + 1e-9 * torch.diag_embed(
                torch.diagonal(known_covariance, dim1=-2, dim2=-1)
            )
            surprisal = _negative_log_density(batch.contexts.double() - known, known_covariance).mean() / self.raw
            loss = loss + context_weight * surprisal
        return loss, error.detach().square().mean(dim=(0, 1)).sqrt()

    def pooled_loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Loss and error, as `loss`, of plain regression: the prior's mean serves all tasks."""
        mean, _ = self.prior()
        phi = self.impulses(batch.query_impulse, batch.query_inputs, self.dt) / self.dt
        error = batch.query_target.double() / self.dt - phi @ mean
        scale = torch.exp(self.log_error.detach())
        return (error / scale).square().mean(), error.detach().square().mean(dim=(0, 1)).sqrt()

    def export(self, kept: NDArray[np.intp]) -> dict[str, Array]:
        """Tensors of a checkpoint: network.*, the prior of the `kept` context entries, and disturbance levels.

        error_nm, disturbance_nm: (n,) standard deviations of the fast disturbance e and of the slow one d at the
            start [Nm].
        drift_nm: (n,) random walk of d [Nm/√s].
        """
        mean, factor = (x.detach().cpu().numpy() for x in self.prior())
        covariance = factor @ factor.T
        levels = {"error_nm": self.log_error, "disturbance_nm": self.log_disturbance, "drift_nm": self.log_drift}
        return {
            **({} if self.network is None else self.network.export()),
            "prior_mean": mean[kept],
            "prior_covariance": covariance[np.ix_(kept, kept)],
            **{name: level.detach().exp().cpu().numpy() for name, level in levels.items()},
        }


def _negative_log_density(error: Tensor, covariance: Tensor) -> Tensor:
    """Negative log density -log N(error; 0, covariance) without its constant: (…, n), (…, n, n) -> (…)."""
    factor = torch.linalg.cholesky(covariance)
    white = torch.linalg.solve_triangular(factor, error[..., None], upper=False)[..., 0]
    return 0.5 * white.square().sum(-1) + torch.diagonal(factor, dim1=-2, dim2=-1).log().sum(-1)


def _apply(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix @ vector[..., None])[..., 0]


def _congruence(matrices: Tensor, kernels: Tensor) -> Tensor:
    """Sum Σ_m X_k[:, m] κ_m[k, l] X_l[:, m]ᵀ as (B, W n, W n), for X (B, W, n, n) and κ (B, n, W, W)."""
    tasks, width, n, _ = matrices.shape
    scaled = matrices[:, None] * kernels.permute(0, 3, 2, 1)[:, :, :, None, :]
    product = scaled.flatten(2, 3) @ matrices.mT
    return product.view(tasks, width, width * n, n).permute(0, 2, 1, 3).reshape(tasks, width * n, width * n)


class Sampler:
    """Draws batches, each from its own seed, so that training can be interrupted and resumed anywhere."""

    def __init__(
        self, data: TrainingData, velocity_limit: Array, support: tuple[int, int], queries: int, horizon: int, seed: int
    ) -> None:
        """Prepare the data.

        support: shortest and longest window. horizon: queries are drawn from this many intervals after the window.
        """
        self._data, self._support, self._queries, self._horizon, self._seed = data, support, queries, horizon, seed
        known = effective_noise(data.velocity_noise, data.encoder_step)[:, None] if data.noise is None else data.noise
        self._sigma = np.broadcast_to(known, (data.tasks, data.dof))
        if data.inputs is None:
            limit = torch.as_tensor(velocity_limit, dtype=torch.float32)
            self._inputs = encode(torch.from_numpy(data.q), torch.from_numpy(data.v), limit)
        else:
            self._inputs = torch.from_numpy(data.inputs)
        self._raw, self._target, self._mobility = (torch.from_numpy(x) for x in (data.raw, data.target, data.mobility))

    def draw(self, size: int, step: int) -> Batch:
        """Draw `size` tasks, each with a window (of the same length for all) and queries."""
        rng = np.random.default_rng([self._seed, step])
        shortest, longest = self._support
        task = rng.permutation(self._data.tasks)[:size, None]
        length = int(np.exp(rng.uniform(np.log(shortest), np.log(longest + 1))))
        stride = -(-length // _LONGEST)
        width = length // stride
        length = width * stride
        first = rng.integers(0, self._data.intervals - length - self._horizon // 2, (len(task), 1))
        room = np.minimum(self._data.intervals - first - length, self._horizon)
        lag = rng.integers(0, room, (len(task), self._queries))
        window, samples, query = first + np.arange(length), first + stride * np.arange(width + 1), first + length + lag
        sigma = self._sigma[task[:, 0]] / np.sqrt(stride)  # a kept sample stands for `stride` samples
        noise = sigma[:, None] * rng.standard_normal((len(task), width + 1, self._data.dof))

        def sums(x: Tensor) -> Tensor:
            return x.unflatten(1, (width, stride)).sum(dim=2)

        return Batch(
            stride=stride,
            impulse=sums(self._raw[task, window]),
            inputs=sums(self._inputs[task, window]) / stride,
            target=sums(self._target[task, window]),
            mobility=self._mobility[task, samples],
            noise=torch.as_tensor(noise),
            sigma=torch.as_tensor(sigma),
            query_impulse=self._raw[task, query],
            query_inputs=self._inputs[task, query],
            query_target=self._target[task, query],
            query_lag=torch.as_tensor(lag + 1.0),
            contexts=torch.as_tensor(self._data.contexts[task[:, 0]]),
        )


def effective_noise(velocity_noise: Array, encoder_step: Array) -> Array:
    """Noise of velocities that carry the information of velocity and position measurements together [rad/s].

    The slope of a line through N positions spread over a time h has the variance 12 σ_q² / (N h²), the mean of N
    velocities has σ² / N. With σ_q = s / √12, encoder steps of s are equivalent to velocities with a noise of σ = s /
    h. Here h = 50 ms.
    """
    of_positions = _ENCODER_WORTH_HZ * encoder_step + _LEAST_NOISE_RAD_S
    return np.asarray(1.0 / np.sqrt(1.0 / velocity_noise**2 + 1.0 / of_positions**2))


class LastLayerLearner:
    """Last layer and its data, for train.fit.

    Arguments:
        data: the tasks, at control intervals.
        velocity_limit, effort_limit: (n,) of the robot.
        config: settings.
    """

    in_numpy = False

    def __init__(self, data: TrainingData, velocity_limit: Array, effort_limit: Array, config: TrainConfig) -> None:
        self._config = config
        data = data.merged(_MERGED)
        left = 1.0 / np.sqrt(_MERGED)
        noise = None if data.noise is None else data.noise * left
        data = replace(
            data, velocity_noise=data.velocity_noise * left, encoder_step=data.encoder_step * left, noise=noise
        )
        inputs = None if data.inputs is None else data.inputs.shape[2]
        shape = Shape(velocity_limit, effort_limit, config.learned, config.widths, inputs)
        self.module = LastLayer(shape, starting_prior(data.contexts, data.entries, config), data.dt, config.seed)
        support = tuple(max(2, round(seconds / data.dt)) for seconds in _SUPPORT_S)
        self._sampler = Sampler(
            data, velocity_limit, (support[0], support[1]), _QUERIES, round(_HORIZON_S / data.dt), config.seed
        )
        self._names = data.names + tuple(f"learned_{i + 1}" for i in range(config.learned))
        nuisance = [entry.nuisance for entry in data.entries] + [False] * config.learned
        self._kept: NDArray[np.intp] = np.flatnonzero(np.logical_not(nuisance))
        self._effort_limit = torch.as_tensor(effort_limit)

    def parameter_groups(self) -> list[dict[str, Any]]:
        module = self.module
        network = [] if module.network is None else list(module.network.parameters())
        if self._config.features == "supervised":
            return [{"params": network}]
        noise, prior = [module.log_error, module.log_disturbance, module.log_drift], [module.mean_shift, module.factor]
        return [{"params": noise, "lr": _NOISE_RATE}, {"params": prior, "lr": _PRIOR_RATE}, {"params": network}]

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        batch = self._sampler.draw(self._config.batch, step).to(self.module.mean_0.device)
        if self._config.features == "supervised":
            loss, error = self.module.pooled_loss(batch)
        else:
            loss, error = self.module.loss(batch, self._config.context_weight)
        return loss, {"error_percent": float(100.0 * (error.cpu() / self._effort_limit).mean())}

    def export(self) -> tuple[dict[str, Array], tuple[str, ...]]:
        """Tensors of a checkpoint and the names of its context entries.

        Nuisances (the latency) are left out: the last layer does not estimate them online.
        """
        return self.module.export(self._kept), tuple(self._names[i] for i in self._kept)


def starting_prior(contexts: Array, entries: tuple[Entry, ...], config: TrainConfig) -> Start:
    """Initial prior from the tasks' true contexts (T, n_raw): their mean, and their covariance about it.

    With an unloaded start the mean of removable entries is zero. With prior 'isotropic', the mean is zero, with one
    scale for each pool of entries.
    """
    removable = np.array([entry.removable for entry in entries], dtype=bool)
    mean = np.zeros(len(entries)) if config.prior == "isotropic" else contexts.mean(axis=0)
    if config.unloaded_start:
        mean[removable] = 0.0
    deviation = contexts - mean
    covariance = deviation.T @ deviation / len(contexts)
    if config.prior == "isotropic":
        pools = np.array([entry.pool for entry in entries])
        covariance = np.diag([covariance.diagonal()[pools == pool].mean() for pool in pools])
    train_raw = config.prior == "trained"
    return Start(
        mean=mean,
        covariance=covariance + np.diag(_RIDGE * covariance.diagonal() + 1e-12),
        learned_mean=1.0 if config.features == "supervised" else 0.0,
        train_raw_mean=train_raw & ~(removable & config.unloaded_start),
        train_raw_covariance=train_raw,
        train_learned=config.prior != "isotropic",
    )
