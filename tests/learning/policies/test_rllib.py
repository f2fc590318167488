# SPDX-License-Identifier: Apache-2.0
"""rl2 by RLlib's PPO: the same network as our inference, a checkpoint of the same format, and runs that resume."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from metarl_robot.control.policy_layout import recurrent_inputs
from metarl_robot.control.policy_network import Recurrent
from metarl_robot.core.errors import MetaRLError, MissingPackageError
from metarl_robot.learning.policies.algorithm import check_algorithm, make_algorithm, sampler_of
from metarl_robot.learning.policies.config import PolicyConfig
from metarl_robot.learning.policies.family import load_family
from metarl_robot.learning.policies.run import train
from metarl_robot.parallel.ray_cluster import ray_cluster
from metarl_robot.parallel.rllib import check_rllib

CONFIG = PolicyConfig(algo="rl2", engine="rllib", iterations=2, tasks=4, episodes=2, hidden=(7, 5), trial_episodes=2)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    try:
        check_rllib()
    except MissingPackageError as error:
        pytest.skip(str(error))
    with ray_cluster("auto"):
        yield


@pytest.mark.parametrize("hidden", [(5,), (7, 4)])
def test_the_module_gives_the_actions_of_our_inference(cluster: None, hidden: tuple[int, ...]) -> None:
    """At random inputs, in one sequence and step by step with the state handed on."""
    from metarl_robot.learning.policies.family import Sizes
    from metarl_robot.learning.policies.rllib_module import RecurrentModule
    from metarl_robot.learning.policies.rllib_runner import parameters_of, spaces_of

    seen, acted = spaces_of(Sizes(3, 2))
    config = {"observations": 3, "actions": 2, "hidden": hidden, "seed": 1000, "std": 0.7}
    module = RecurrentModule(observation_space=seen, action_space=acted, model_config=config)
    generator = torch.Generator().manual_seed(1001)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    ours = Recurrent(parameters_of(module.get_state()))
    x = np.random.default_rng(1002).normal(size=(3, 20, recurrent_inputs(3, 2))).astype(np.float32)
    ours.reset(3)
    expected = np.stack([ours.advance(x[:, t]) for t in range(20)], axis=1)
    state = {"h": torch.from_numpy(np.stack([module.get_initial_state()["h"]] * 3))}
    whole = module.forward_train({"obs": torch.from_numpy(x), "state_in": state})
    mean, log_std = whole["action_dist_inputs"].detach().chunk(2, -1)
    np.testing.assert_allclose(mean.numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(log_std.numpy(), module.policy.log_std.detach().expand_as(log_std).numpy())
    for t in range(20):
        found = module.forward_inference({"obs": torch.from_numpy(x[:, t : t + 1]), "state_in": state})
        state = found["state_out"]
        np.testing.assert_allclose(found["action_dist_inputs"][:, 0, :2].numpy(), expected[:, t], atol=1e-5)
    assert np.abs(expected[:, 0] - expected[:, -1]).max() > 0.01


def test_a_run_that_was_interrupted_ends_with_the_same_checkpoint(cluster: None, tmp_path: Path) -> None:
    """The checkpoint is one of rl2; the first weights are those of our own engine."""
    from metarl_robot.learning.policies.checkpoint import load_policy

    family = load_family("point-navigation")

    def interrupt(done: int, total: int, metrics: dict[str, float]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(family, CONFIG, tmp_path / "a", progress=interrupt)
    resumed = train(family, CONFIG, tmp_path / "a", resume=True)
    whole = train(family, CONFIG, tmp_path / "b")
    found, expected = load_policy(resumed.path, family.name).tensors, load_policy(whole.path, family.name).tensors
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name], tensor)
    own = sampler_of(family, CONFIG.model_copy(update={"engine": "own"}))
    for name, first in zip(own.policy.shapes, make_algorithm(own).parameters, strict=True):
        moved = np.abs(first.numpy() - expected[name]).max()
        assert moved > 0.0 and (name == "value.bias" or moved < 0.1), name
    lines = [json.loads(line) for line in whole.curve.read_text().splitlines()]
    assert len(lines) == 2 and all(-200.0 < line["return_before"] < 0.0 for line in lines)


def test_an_iteration_of_two_runners_repeats_from_its_state(cluster: None) -> None:
    config = CONFIG.model_copy(update={"groups": 2})
    algorithm = make_algorithm(sampler_of(load_family("point-navigation"), config))
    algorithm.step(np.random.default_rng(0))
    state, first = algorithm.state(), [parameter.clone() for parameter in algorithm.parameters]
    found = []
    for _ in range(2):
        algorithm.restore(state)
        metrics = algorithm.step(np.random.default_rng(1))
        found.append((metrics, [parameter.clone() for parameter in algorithm.parameters]))
    assert found[0][0] == found[1][0]
    for once, again, before in zip(found[0][1], found[1][1], first, strict=True):
        assert torch.equal(once, again) and not torch.equal(once, before)


def test_what_does_not_fit_is_refused(cluster: None) -> None:
    with pytest.raises(MetaRLError, match="--engine rllib trains rl2; --algo is maml_pg"):
        check_algorithm(PolicyConfig(engine="rllib"))
    with pytest.raises(MetaRLError, match="--groups is 999; allowed with --engine rllib: up to"):
        make_algorithm(sampler_of(load_family("point-navigation"), CONFIG.model_copy(update={"groups": 999})))
