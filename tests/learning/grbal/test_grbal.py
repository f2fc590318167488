# SPDX-License-Identifier: Apache-2.0
"""Models that adapt within an episode: exact meta-gradients, the online model, training, resuming, damaged files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray

from metarl_robot.control.adaptive_model import AdaptiveModel, Scaling, Trained
from metarl_robot.core.errors import CheckpointError, MetaRLError, UnknownNameError
from metarl_robot.core.robot import MODELS_DIR
from metarl_robot.learning.grbal.checkpoint import MODELS, load_grbal, shipped
from metarl_robot.learning.grbal.config import GrbalConfig
from metarl_robot.learning.grbal.environment import ENVIRONMENTS, AdaptationFamily, load_environment
from metarl_robot.learning.grbal.episodes import RandomAgent, Tasks, run_episodes
from metarl_robot.learning.grbal.evaluate import errors_of, evaluate
from metarl_robot.learning.grbal.models import DynamicsNetworks, trained_of
from metarl_robot.learning.grbal.run import GrbalReport, command, train
from metarl_robot.learning.grbal.windows import Transitions, draw_windows
from metarl_robot.learning.policies.family import sizes_of

Array = NDArray[np.float64]


class Carts:
    """Carts on a line in a wind w: v' = v + dt (a + w - v / 2), p' = p + dt v'. tasks: (N,) winds."""

    single_observation_space = observation_space = Box(-np.inf, np.inf, (2,))
    single_action_space = action_space = Box(-1.0, 1.0, (1,))

    def __init__(self, tasks: Array) -> None:
        self.switch(tasks)

    def switch(self, tasks: Array) -> None:
        self._winds = np.asarray(tasks, dtype=float)

    def reset(self, *, seed: int) -> tuple[Array, dict[str, Any]]:
        self._states = np.random.default_rng(seed).uniform(-1.0, 1.0, (len(self._winds), 2))
        return self._states.copy(), {}

    def step(self, actions: Array) -> Any:
        p, v = self._states.T
        v = v + 0.1 * (actions[:, 0] + self._winds - 0.5 * v)
        self._states = np.stack([p + 0.1 * v, v], axis=1)
        return self._states.copy(), -np.abs(self._states[:, 0]), np.zeros(len(p), bool), np.zeros(len(p), bool), {}

    def close(self) -> None:
        pass


class CartFamily(AdaptationFamily):
    """The wind is not observed."""

    name, horizon, step_s = "carts", 60, 0.1

    def sample_task(self, rng: np.random.Generator) -> float:
        return self.training_task(rng)

    def training_task(self, rng: np.random.Generator) -> float:
        return float(rng.uniform(-0.7, 0.7))

    def held_out_task(self, rng: np.random.Generator) -> float:
        return float(rng.choice((-1.0, 1.0)) * rng.uniform(0.7, 0.8))

    def planned_rewards(self, observations: Array, actions: Array, following: Array) -> Array:
        return -np.abs(following[..., 0])

    def env(self, task: float) -> Any:
        return Carts(np.array([task]))

    def vector_env(self, tasks: Sequence[float]) -> Any:
        return Carts(np.array(tasks))


FAMILY = CartFamily()
CONFIG = GrbalConfig(
    iterations=2,
    first_episodes=16,
    episodes=4,
    gradient_steps=150,
    batch=16,
    memory=8,
    predicted=8,
    hidden=(16, 16),
    learning_rate=1e-2,
    samples=32,
    horizon=8,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> GrbalReport:
    return train(FAMILY, CONFIG, tmp_path_factory.mktemp("carts"))


@pytest.fixture(scope="module")
def data() -> Transitions:
    rng = np.random.default_rng(1000)
    tasks = [FAMILY.training_task(rng) for _ in range(6)]
    return Transitions.of(run_episodes(FAMILY, Tasks(tasks, tasks), [RandomAgent(1, k) for k in range(6)], 0))


def test_the_meta_gradient_is_that_of_finite_differences(data: Transitions) -> None:
    """Of the loss after adaptation, by all weights and the step sizes, along random directions."""
    networks = DynamicsNetworks(2, 1, CONFIG)
    model = networks.meta.double()
    batch = draw_windows(data, data.scaling(), 8, 8, 5, np.random.default_rng(1001))
    batch = type(batch)(*(tensor.double() for tensor in batch))
    parameters = list(model.parameters())
    model.loss_after(batch).mean().backward()
    rng, size = torch.Generator().manual_seed(0), 1e-5
    for _ in range(4):
        directions = [torch.randn(p.shape, generator=rng, dtype=torch.float64) for p in parameters]
        slope = sum(
            float((p.grad * d).sum()) for p, d in zip(parameters, directions, strict=True) if p.grad is not None
        )
        losses = []
        for sign in (1.0, -1.0):
            with torch.no_grad():
                for p, d in zip(parameters, directions, strict=True):
                    p.add_(sign * size * d)
                losses.append(float(model.loss_after(batch).mean()))
                for p, d in zip(parameters, directions, strict=True):
                    p.sub_(sign * size * d)
        assert abs(slope) > 1e-3
        assert (losses[0] - losses[1]) / (2.0 * size) == pytest.approx(slope, rel=1e-5)


def test_the_online_model_takes_the_gradient_step_of_training(data: Transitions) -> None:
    """Its one-step errors after M transitions are the loss that training minimises, to single precision."""
    networks, scaling = DynamicsNetworks(2, 1, CONFIG), data.scaling()
    batch = draw_windows(data, scaling, 8, 8, 3, np.random.default_rng(1002))
    expected = networks.meta.loss_after(batch).detach().numpy()
    before = networks.meta.loss_before(batch).item()
    online = AdaptiveModel(trained_of(networks.meta.export(), 1, scaling), 8)
    found = []
    for i in range(3):
        online.reset()
        for x, y in zip(batch.x[i].double().numpy(), batch.y[i].double().numpy(), strict=True):
            state = scaling.mean + scaling.std * x[:2]
            online.observe(state, x[2:], state + scaling.change * y)
        x, y = batch.query_x[i].double().numpy(), batch.query_y[i].double().numpy()
        states = scaling.mean + scaling.std * x[:, :2]
        predicted = (online.advance(states, x[:, 2:]) - states) / scaling.change
        found.append(np.square(predicted - y).mean())
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert abs(np.mean(found) - before) > 1e-3, "the step changes the model"


def test_a_model_without_steps_or_with_few_transitions_is_the_trained_one(data: Transitions) -> None:
    networks, scaling = DynamicsNetworks(2, 1, CONFIG), data.scaling()
    states, actions = np.random.default_rng(0).normal(size=(2, 5, 2))
    seen = data.observations[0].astype(float)
    still, adaptive = (AdaptiveModel(networks.trained("meta", scaling, adapts), 8) for adapts in (False, True))
    first = still.advance(states, actions[:, :1])
    for k in range(8):
        np.testing.assert_array_equal(adaptive.advance(states, actions[:, :1]), first)
        for model in (still, adaptive):
            model.observe(seen[k], data.actions[0, k].astype(float), seen[k + 1])
    np.testing.assert_array_equal(still.advance(states, actions[:, :1]), first)
    assert np.abs(adaptive.advance(states, actions[:, :1]) - first).max() > 1e-4
    adaptive.reset()
    np.testing.assert_array_equal(adaptive.advance(states, actions[:, :1]), first)


def test_the_adapted_model_predicts_best_in_an_unknown_wind_and_steers_by_it(trained: GrbalReport) -> None:
    found = evaluate(FAMILY, trained.checkpoint, range(2))
    errors = {name: found["models"][name]["k_step_error_mean"] for name in MODELS}
    assert errors["adapted"] < 0.6 * min(errors["unadapted"], errors["plain"]), errors
    assert errors["fine_tuned"] < 0.6 * errors["plain"], errors
    returns = {name: found["models"][name]["return_mean"] for name in MODELS}
    assert returns["adapted"] > returns["unadapted"] + 1.0, returns
    gain = found["adapted_minus"]["plain"]["return_mean"]
    assert gain == pytest.approx(returns["adapted"] - returns["plain"])
    assert found["transitions"] == (16 + 4) * 60 and found["simulated_hours"] == pytest.approx(20 * 6.0 / 3600.0)


def test_an_exact_model_has_no_error(data: Transitions) -> None:
    """A linear network with the carts' own coefficients."""
    tasks = Tasks([0.5], [0.5])
    episodes = run_episodes(FAMILY, tasks, [RandomAgent(1, 0)], 1)
    weight, bias = np.array([[0.0, 0.095, 0.01], [0.0, -0.05, 0.1]]), np.array([0.005, 0.05])
    layers = trained_of(
        {
            "network.0.weight": weight,
            "network.0.bias": bias,
            "step.0.weight": np.ones(1),
            "step.0.bias": np.ones(1),
        },
        0,
        Scaling(np.zeros(2), np.ones(2), np.ones(2)),
    )
    (error,) = errors_of(layers, episodes, 8, 8)
    assert error.k_step < 1e-5 and error.one_step < 1e-5
    (wrong,) = errors_of(_scaled(layers, 0.5), episodes, 8, 8)
    assert wrong.k_step > 0.01 and wrong.one_step > 0.01


def _scaled(model: Trained, factor: float) -> Trained:
    return Trained(
        type(model.layers)([factor * w for w in model.layers.weights], model.layers.biases),
        model.step_sizes,
        model.steps,
        model.scaling,
    )


def test_a_resumed_run_gives_the_same_weights_and_curve(trained: GrbalReport, tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def stop(done: int, total: int, metrics: dict[str, float]) -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        train(FAMILY, CONFIG, tmp_path, progress=stop)
    with pytest.raises(MetaRLError, match="--resume"):
        train(FAMILY, CONFIG, tmp_path)
    other = CONFIG.model_copy(update={"seed": 1})
    with pytest.raises(MetaRLError, match="other settings"):
        train(FAMILY, other, tmp_path, resume=True)
    with (tmp_path / "carts.jsonl").open("a", encoding="utf-8") as file:
        file.write("a line that was written before its state was saved\n")
    again = train(FAMILY, CONFIG, tmp_path, resume=True)
    assert again.checkpoint.meta["sha256"] == trained.checkpoint.meta["sha256"]
    assert again.checkpoint.meta["data_sha256"] == trained.checkpoint.meta["data_sha256"]
    assert again.curve.read_text() == trained.curve.read_text()
    assert not (tmp_path / "carts.state").exists()


def test_a_record_names_command_data_and_samples(trained: GrbalReport) -> None:
    meta = load_grbal(trained.path, FAMILY).meta
    assert meta["command"] == command(FAMILY, CONFIG) and "--iterations 2" in meta["command"]
    assert len(meta["data_sha256"]) == 64 and meta["seed"] == 0
    lines = [json.loads(line) for line in trained.curve.read_text().splitlines()]
    assert [line["transitions"] for line in lines] == [16 * 60, 20 * 60]
    assert {"return_meta", "return_plain", "loss_meta", "loss_plain"} <= lines[1].keys()


def test_wrong_files_are_refused(trained: GrbalReport, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="trained in environment 'carts'; this is 'arm-mass'"):
        load_grbal(trained.path, load_environment("arm-mass"))
    with pytest.raises(CheckpointError, match="train-grbal arm-mass"):
        load_grbal(tmp_path / "none.safetensors", load_environment("arm-mass"))
    copy = tmp_path / "carts.safetensors"
    copy.write_bytes(trained.path.read_bytes()[:-4] + b"\0\0\0\0")
    copy.with_suffix(".json").write_bytes(trained.path.with_suffix(".json").read_bytes())
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_grbal(copy)
    copy.write_bytes(trained.path.read_bytes())
    meta = json.loads(copy.with_suffix(".json").read_text())
    meta["config"]["hidden"] = [16, 17]
    copy.with_suffix(".json").write_text(json.dumps(meta))
    with pytest.raises(CheckpointError, match="its record says"):
        load_grbal(copy)


@pytest.mark.parametrize("path", sorted((MODELS_DIR / "grbal").glob("*.safetensors")), ids=lambda path: path.stem)
def test_shipped_weights_fit_their_environment(path: Path) -> None:
    family = load_environment(path.stem)
    assert shipped(family.name) == path
    checkpoint = load_grbal(path, family)
    assert (checkpoint.record.observations, checkpoint.record.actions) == sizes_of(family)
    assert checkpoint.meta["command"].startswith(f"metarl train-grbal {family.name}")


def test_windows_stay_within_an_episode(data: Transitions) -> None:
    scaling = data.scaling()
    batch = draw_windows(data, scaling, 30, 30, 20, np.random.default_rng(0))  # the whole episode
    x, y = torch.cat([batch.x, batch.query_x], 1).numpy(), torch.cat([batch.y, batch.query_y], 1).numpy()
    following = x[:, :-1, :2] + y[:, :-1] * (scaling.change / scaling.std)
    np.testing.assert_allclose(following, x[:, 1:, :2], atol=1e-4)
    long = CONFIG.model_copy(update={"memory": 31, "predicted": 30})
    with pytest.raises(MetaRLError, match="--memory 31 and --predicted 30: together at most 60"):
        train(FAMILY, long, Path("unused"))


def test_states_that_are_not_finite_stop_the_run() -> None:
    with pytest.raises(MetaRLError, match="'carts': an observation or a reward is not finite in step 30"):
        run_episodes(FAMILY, Tasks([1.0], [np.nan]), [RandomAgent(1, 0)], 0)


def test_unknown_and_unsuitable_environments_are_named() -> None:
    with pytest.raises(UnknownNameError, match="ant-cripple, arm-force, arm-mass"):
        load_environment("ant-crippled")
    with pytest.raises(MetaRLError, match="'point-navigation' is for policies.*arm-mass"):
        load_environment("point-navigation")
    for name in ENVIRONMENTS:
        assert load_environment(name).name == name
