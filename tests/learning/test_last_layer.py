# SPDX-License-Identifier: Apache-2.0
"""The Bayesian last layer: exact conjugate regression, the features of the online code, and a prior that only moves
where it may.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metarl_robot.adaptation.compiled_network import checkpoint_network
from metarl_robot.adaptation.features import Xi
from metarl_robot.adaptation.learned_features import NetworkFeatures
from metarl_robot.adaptation.training_data import TrainingData
from metarl_robot.core.checkpoint import Checkpoint
from metarl_robot.core.robot import Robot
from metarl_robot.learning.models.config import TrainConfig
from metarl_robot.learning.models.last_layer import (
    ERROR_MEMORY_S,
    STICTION_FACTOR,
    STICTION_VELOCITY_RAD_S,
    Batch,
    LastLayer,
    LastLayerLearner,
    Sampler,
    Shape,
    effective_noise,
    starting_prior,
)
from metarl_robot.learning.models.network import encode


def make(planar: Robot, tasks: TrainingData, learned: int = 3, prior: str = "trained") -> LastLayer:
    config = TrainConfig(learned=learned, prior=prior)
    model = LastLayer(
        Shape(planar.velocity_limit, planar.effort_limit, learned, (16, 16)), _start(tasks, config), tasks.dt, seed=1
    )
    generator = torch.Generator().manual_seed(2)
    for parameter in model.parameters():  # away from the special values of the start
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return model


def learned_features(planar: Robot, model: LastLayer) -> NetworkFeatures:
    return NetworkFeatures(checkpoint_network(Checkpoint(model.network.export(), {})), planar.velocity_limit)


def _start(tasks: TrainingData, config: TrainConfig):
    return starting_prior(tasks.contexts, tasks.entries, config)


@pytest.fixture(scope="module")
def batch(planar: Robot, tasks: TrainingData) -> Batch:
    return Sampler(tasks, planar.velocity_limit, (12, 12), queries=5, horizon=40, seed=4).draw(3, 0)


def conjugate(model: LastLayer, batch: Batch, task: int) -> tuple[np.ndarray, np.ndarray]:
    """Posterior of (u, d at the end) by plain Bayesian regression on every unknown there is: u, d_k, e_k, n_0, in
    information form.
    """
    mean, factor = (x.detach().numpy() for x in model.prior())
    n, width, dt = model.n, batch.impulse.shape[1], model.dt * batch.stride
    error, first, drift = (x.detach().exp().numpy() for x in (model.log_error, model.log_disturbance, model.log_drift))
    impulse = model.impulses(batch.impulse, batch.inputs, dt)[task].detach().numpy()
    mobility, noise, sigma = (
        batch.mobility[task].double().numpy(),
        batch.noise[task].numpy(),
        float(batch.sigma[task, 0]),
    )
    velocity = batch.inputs[task, :, 2 * n :].double().numpy() * model.velocity_limit.numpy()
    doubt = np.sqrt(1.0 + STICTION_FACTOR**2 * np.exp(-((velocity / STICTION_VELOCITY_RAD_S) ** 2)))

    size, block = len(mean), width * n
    total = size + 2 * block + n  # u | d_1 … d_W | e_1 … e_W | n_0
    prior = np.zeros((total, total))
    prior[:size, :size] = np.eye(size)
    for k in range(width):
        for j in range(width):
            at_d = slice(size + k * n, size + (k + 1) * n), slice(size + j * n, size + (j + 1) * n)
            at_e = (
                slice(at_d[0].start + block, at_d[0].stop + block),
                slice(at_d[1].start + block, at_d[1].stop + block),
            )
            prior[at_d] = np.diag(first**2 + drift**2 * dt * min(k, j))
            prior[at_e] = np.diag(doubt[k] * doubt[j] * error**2 * np.exp(-dt * abs(k - j) / ERROR_MEMORY_S))
    prior[-n:, -n:] = sigma**2 * np.eye(n)

    design, measured = np.zeros((block, total)), np.zeros(block)
    momentum = np.zeros(n)
    rows = np.zeros((n, total))
    for k in range(width):
        rows[:, :size] += impulse[k] @ factor
        rows[:, size + k * n : size + (k + 1) * n] += dt * np.eye(n)
        rows[:, size + block + k * n : size + block + (k + 1) * n] += dt * np.eye(n)
        momentum = momentum + batch.target[task, k].double().numpy() - impulse[k] @ mean
        at, start = slice(k * n, (k + 1) * n), mobility[k + 1] @ np.linalg.inv(mobility[0])
        design[at] = mobility[k + 1] @ rows
        design[at, -n:] = -start
        measured[at] = mobility[k + 1] @ momentum + noise[k + 1] - start @ noise[0]
    precision = np.linalg.inv(prior) + design.T @ design / sigma**2
    covariance = np.linalg.inv(precision)
    wanted = np.r_[np.arange(size), np.arange(size + block - n, size + block)]
    return (covariance @ design.T @ measured / sigma**2)[wanted], covariance[np.ix_(wanted, wanted)]


@pytest.mark.parametrize("learned", [0, 3])
def test_posterior_is_conjugate_bayesian_regression(
    planar: Robot, tasks: TrainingData, batch: Batch, learned: int
) -> None:
    model = make(planar, tasks, learned)
    posterior = model.posterior(batch)
    for task in range(3):
        mean, covariance = conjugate(model, batch, task)
        scale = np.sqrt(np.diagonal(covariance))
        np.testing.assert_allclose(posterior.mean[task].detach().numpy() / scale, mean / scale, atol=2e-3)
        found = posterior.covariance[task].detach().numpy()
        np.testing.assert_allclose(found / np.outer(scale, scale), covariance / np.outer(scale, scale), atol=2e-3)


def test_predictive_is_the_posterior_seen_through_the_features(
    planar: Robot, tasks: TrainingData, batch: Batch
) -> None:
    """Sampling z and d from the posterior gives the predictive's mean and covariance."""
    model = make(planar, tasks)
    with torch.no_grad():
        posterior = model.posterior(batch)
        value, covariance = model.predictive(batch, posterior)
        mean, factor = model.prior()
        phi = model.impulses(batch.query_impulse, batch.query_inputs, model.dt) / model.dt
    rng = np.random.default_rng(0)
    x = rng.multivariate_normal(posterior.mean[0].numpy(), posterior.covariance[0].numpy(), size=40000)
    z = mean.numpy() + x[:, : len(mean)] @ factor.numpy().T
    residual = z @ phi[0, 2].numpy().T + x[:, len(mean) :]
    np.testing.assert_allclose(residual.mean(axis=0), value[0, 2].numpy(), atol=4 * residual.std() / 200)
    doubt = model._effort_std(batch.query_inputs)[0, 2] * model.log_error.exp()
    walked = model.log_drift.exp() ** 2 * model.dt * batch.query_lag[0, 2]
    own = np.diag((doubt**2 + walked).detach().numpy())
    np.testing.assert_allclose(
        np.cov(residual.T) + own, covariance[0, 2].numpy(), rtol=0.1, atol=1e-3 * covariance[0, 2].max()
    )


def test_more_data_says_more(planar: Robot, tasks: TrainingData) -> None:
    model = make(planar, tasks)
    spread = []
    for width in (4, 10, 20):
        batch = Sampler(tasks, planar.velocity_limit, (width, width), 4, 40, seed=1).draw(8, 0)
        spread.append(float(torch.logdet(model.posterior(batch).covariance.detach()).mean()))
    assert spread[0] > spread[1] > spread[2]


def test_network_is_that_of_the_online_features(planar: Robot, tasks: TrainingData) -> None:
    model = make(planar, tasks)
    features = learned_features(planar, model)
    rng = np.random.default_rng(0)
    q, v, z = rng.normal(size=(6, 2)), rng.normal(size=(6, 2)), rng.normal(size=3)
    xi = Xi(q, v, np.zeros_like(q), np.zeros_like(q), np.zeros((2, 6, 2)))

    network, limit = model.network.double(), torch.as_tensor(planar.velocity_limit)

    def value(at: torch.Tensor) -> torch.Tensor:
        return network(encode(at[:2], at[2:], limit)).unflatten(-1, (2, 3)) @ torch.as_tensor(z)

    at = torch.as_tensor(np.concatenate([q, v], axis=1))
    np.testing.assert_allclose(features.value(xi, z), torch.func.vmap(value)(at).detach().numpy(), atol=1e-6)
    np.testing.assert_allclose(features.design(xi) @ z, features.value(xi, z), atol=1e-6)
    by_state = torch.func.vmap(torch.func.jacrev(value))(at).detach().numpy()
    np.testing.assert_allclose(features.jacobian(xi, z)[:, :, :4], by_state, atol=1e-6)
    assert np.all(features.jacobian(xi, z)[:, :, 4:] == 0.0)


def test_changed_weights_change_the_output(planar: Robot, tasks: TrainingData) -> None:
    model = make(planar, tasks)
    xi = Xi(np.ones((1, 2)), np.ones((1, 2)), np.zeros((1, 2)), np.zeros((1, 2)), np.zeros((2, 1, 2)))
    before = learned_features(planar, model).design(xi)
    for parameter in model.network.parameters():
        parameter.data += 0.1
    after = learned_features(planar, model).design(xi)
    with torch.no_grad():
        inputs = encode(torch.ones(1, 2), torch.ones(1, 2), model.velocity_limit)
        np.testing.assert_allclose(after, model.network(inputs).unflatten(-1, (2, 3)).numpy(), atol=1e-5)
    assert np.abs(after - before).max() > 1e-2


@pytest.mark.parametrize(
    ("prior", "features"),
    [("trained", "meta"), ("empirical", "meta"), ("isotropic", "meta"), ("empirical", "supervised")],
)
def test_training_moves_only_what_it_may(planar: Robot, tasks: TrainingData, prior: str, features: str) -> None:
    config = TrainConfig(learned=2, hidden=(8,), prior=prior, features=features, batch=8, steps=3)
    learner = LastLayerLearner(tasks, planar.velocity_limit, planar.effort_limit, config)
    before, names = learner.export()
    optimiser = torch.optim.Adam(learner.parameter_groups(), lr=0.01)
    for step in range(3):
        optimiser.zero_grad()
        learner.loss(step)[0].backward()
        optimiser.step()
    after, _ = learner.export()
    raw = np.array([not name.startswith("learned_") for name in names])
    payload = np.array([name.startswith("payload_") for name in names])
    moved = ~np.isclose(before["prior_mean"], after["prior_mean"])
    spread = ~np.isclose(before["prior_covariance"], after["prior_covariance"])
    learned_too = prior != "isotropic" and features == "meta"
    np.testing.assert_array_equal(after["prior_mean"][payload], 0.0)
    assert moved[~raw].all() == learned_too and spread[np.ix_(~raw, ~raw)].any() == learned_too
    assert moved[raw & ~payload].any() == (prior == "trained")
    assert spread[np.ix_(raw, raw)].any() == (prior == "trained")
    assert np.linalg.eigvalsh(after["prior_covariance"])[0] > 0.0
    assert np.any(before["network.0.weight"] != after["network.0.weight"])


def test_supervised_features_explain_what_the_mean_context_leaves(planar: Robot, tasks: TrainingData) -> None:
    config = TrainConfig(learned=2, hidden=(16,), features="supervised", batch=30)
    learner = LastLayerLearner(tasks, planar.velocity_limit, planar.effort_limit, config)
    optimiser = torch.optim.Adam(learner.parameter_groups(), lr=0.01)
    losses = []
    for step in range(60):
        optimiser.zero_grad()
        loss, _ = learner.loss(step)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < 0.95 * np.mean(losses[:10])


def test_latency_is_a_nuisance_that_is_not_exported(planar: Robot, tasks: TrainingData) -> None:
    learner = LastLayerLearner(tasks, planar.velocity_limit, planar.effort_limit, TrainConfig(learned=2, hidden=(8,)))
    tensors, names = learner.export()
    assert not any(name.startswith("latency_") for name in names)
    assert len(names) == len(tensors["prior_mean"]) == len(tensors["prior_covariance"])


def test_starting_prior_has_the_second_moments_about_its_mean(tasks: TrainingData) -> None:
    start = _start(tasks, TrainConfig())
    mass = tasks.names.index("payload_mass_kg")
    assert start.mean[mass] == 0.0
    np.testing.assert_allclose(start.covariance[mass, mass], np.mean(tasks.contexts[:, mass] ** 2), rtol=1e-4)
    loaded = _start(tasks, TrainConfig(unloaded_start=False))
    np.testing.assert_allclose(loaded.mean, tasks.contexts.mean(axis=0))
    np.testing.assert_allclose(loaded.covariance[mass, mass], np.var(tasks.contexts[:, mass]), rtol=1e-4)


def test_encoders_make_noisy_velocities_better() -> None:
    noise = effective_noise(np.array([0.01, 0.01, 0.001]), np.array([1e-4, 0.0, 1e-4]))
    assert noise[1] < noise[0] < 0.01
    assert noise[2] == pytest.approx(0.001, rel=0.2)


def test_batches_are_decided_by_seed_and_step(planar: Robot, tasks: TrainingData) -> None:
    first, again, other = (
        Sampler(tasks, planar.velocity_limit, (5, 20), 4, 40, seed=1).draw(6, step) for step in (7, 7, 8)
    )
    torch.testing.assert_close(first.target, again.target, rtol=0.0, atol=0.0)
    assert first.target.shape != other.target.shape or not torch.equal(first.target, other.target)
