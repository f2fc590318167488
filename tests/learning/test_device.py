# SPDX-License-Identifier: Apache-2.0
"""--device: which one is chosen, and that no tensor of a training is left on another.

The meta device stands for a GPU: like one, it refuses operands of the CPU, and it computes shapes alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metarl_robot.adaptation.training_data import TrainingData
from metarl_robot.core.errors import MetaRLError, UnknownNameError
from metarl_robot.core.robot import load_robot
from metarl_robot.learning.device import chosen_device
from metarl_robot.learning.models.config import TrainConfig
from metarl_robot.learning.models.last_layer import LastLayerLearner
from metarl_robot.learning.policies.adam_state import adam_state, restore_adam
from metarl_robot.learning.policies.config import PolicyConfig
from metarl_robot.learning.policies.gaussian import GaussianPolicy, Parameters
from metarl_robot.learning.policies.maml_pg import MamlPg
from metarl_robot.learning.policies.meta_objective import MetaObjective
from metarl_robot.learning.policies.promp import distributions, proximal_value
from metarl_robot.learning.policies.recurrent import RecurrentPolicy
from metarl_robot.learning.policies.run import train
from metarl_robot.learning.policies.sampling import Batch, Sampler
from metarl_robot.sim import training
from metarl_robot.sim.families.point_navigation import FAMILY
from metarl_robot.sim.kinds import simulation

META = torch.device("meta")
TASKS, SAMPLES = 3, 12
SMALL = PolicyConfig(iterations=1, tasks=2, episodes=2, hidden=(4,))


def with_gpu(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)


def parameters(policy: GaussianPolicy) -> Parameters:
    return [p.to(META) for p in policy.initial(torch.Generator().manual_seed(0), 1.0)]


def batch() -> Batch:
    sizes = ((2,), (2,), (), (), ())
    return Batch(*(torch.ones(TASKS, SAMPLES, *size, device=META) for size in sizes))


@pytest.mark.parametrize(
    ("name", "there", "chosen"), [("auto", True, "cuda"), ("auto", False, "cpu"), ("cpu", True, "cpu")]
)
def test_a_gpu_is_used_where_there_is_one(monkeypatch: pytest.MonkeyPatch, name: str, there: bool, chosen: str) -> None:
    with_gpu(monkeypatch, there)
    assert chosen_device(name) == torch.device(chosen)


def test_a_device_that_is_unknown_or_absent_is_refused_before_anything_begins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with_gpu(monkeypatch, False)
    for begin in (
        lambda device: train(FAMILY, SMALL, tmp_path / "out", device=device),
        lambda device: training.train(load_robot("planar2"), TrainConfig(), tmp_path / "out", device=device),
    ):
        with pytest.raises(UnknownNameError, match="'gpu'.*auto, cpu, cuda"):
            begin("gpu")
        with pytest.raises(MetaRLError, match="--device cuda: torch .* finds no GPU here; use --device cpu"):
            begin("cuda")
    with_gpu(monkeypatch, True)
    with pytest.raises(MetaRLError, match="--groups 2: groups run on CPUs"):
        train(FAMILY, SMALL.model_copy(update={"groups": 2}), tmp_path / "out", device="cuda")
    with pytest.raises(MetaRLError, match="--adapter maml"):
        training.train(load_robot("planar2"), TrainConfig(adapter="maml"), tmp_path / "out", device="cuda")
    assert not list(tmp_path.iterdir())


def test_the_record_names_the_device_that_was_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with_gpu(monkeypatch, False)
    made = [train(FAMILY, SMALL, tmp_path / name, device=name).checkpoint for name in ("auto", "cpu")]
    assert [one.meta["device"] for one in made] == ["cpu", "cpu"]
    assert made[0].meta["sha256"] == made[1].meta["sha256"]


def test_gradients_through_the_adaptation_stay_on_the_device() -> None:
    policy = GaussianPolicy(2, 2, (4,))
    objective = MetaObjective(policy, [batch(), batch()], batch(), 0.1)
    start = [p.requires_grad_() for p in parameters(policy)]
    values = (
        objective.value(start),
        objective.thinned().metric(start),
        proximal_value(objective, start, distributions(objective, parameters(policy))),
    )
    for value in values:
        slopes = torch.autograd.grad(value, start)
        assert {slope.device for slope in (value, *slopes)} == {META}
    with pytest.raises(RuntimeError, match="device"):
        MetaObjective(policy, [batch()], Batch(*(torch.ones(t.shape) for t in batch())), 0.1).value(start)


def test_weights_begin_and_continue_on_the_device() -> None:
    sampler = Sampler(FAMILY, GaussianPolicy(2, 2, (4,)), SMALL, device=META)
    algorithm = MamlPg(sampler)
    assert {p.device for p in algorithm.parameters} == {META}
    algorithm.restore({name: torch.zeros(shape) for name, shape in sampler.policy.shapes.items()})
    assert {p.device for p in algorithm.parameters} == {META}
    assert sampler._tensor(np.zeros(3)).device == META

    own = torch.zeros(3, requires_grad=True)
    first = torch.optim.Adam([own])
    own.grad = torch.ones(3)
    first.step()
    moved = torch.zeros(3, device=META, requires_grad=True)
    second = torch.optim.Adam([moved])
    restore_adam(second, {"w": moved}, adam_state(first, {"w": own}))
    kept = second.state[moved]
    assert kept["step"].device.type == "cpu" and {kept[key].device for key in ("exp_avg", "exp_avg_sq")} == {META}


def test_a_recurrent_policy_computes_on_the_device() -> None:
    policy = RecurrentPolicy(2, 2, (4, 5)).to(META)
    found, values = policy(torch.ones(3, 7, 6, device=META))
    assert {found.log_prob(torch.ones(3, 7, 2, device=META)).device, values.device} == {META}


@pytest.mark.parametrize("learned", [0, 3])
def test_a_last_layer_learns_on_the_device(learned: int) -> None:
    learner = last_layer(learned)
    drawn = learner._sampler.draw(4, 0)
    learner.module.to(META)
    for loss, _ in (learner.module.loss(drawn.to(META), 1.0), learner.module.pooled_loss(drawn.to(META))):
        loss.backward()
        assert loss.device == META
    assert {p.grad.device for p in learner.module.parameters() if p.grad is not None} == {META}


def last_layer(learned: int) -> Any:
    """A learner on a few simulated tasks."""
    robot, config = load_robot("planar2"), TrainConfig(tasks=20, learned=learned, threads=1)
    builder = simulation(robot).training_data_builder()
    data: TrainingData = builder.training_data(training.simulate(robot, config), builder.groups)
    return LastLayerLearner(data, builder.velocity_scale, builder.force_scale / builder.unit, config)
