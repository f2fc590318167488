# SPDX-License-Identifier: Apache-2.0
"""MAML: exact gradients, the same inner steps in torch and numpy, and an online adapter that leaves no offset."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.func import functional_call, grad, jacrev, vmap

from metarl_robot.adaptation.euclidean_data import Rollouts
from metarl_robot.adaptation.factory import bare_adapter, residual_meter
from metarl_robot.adaptation.features import Xi
from metarl_robot.adaptation.maml import FEWEST, AdaptedNetwork, Layers, MamlAdapter
from metarl_robot.adaptation.training_data import ResidualSeries, TrainingData
from metarl_robot.adaptation.tuning import AdapterTuning
from metarl_robot.core.checkpoint import Checkpoint
from metarl_robot.core.errors import CheckpointError, MetaRLError
from metarl_robot.core.robot import Robot, load_robot
from metarl_robot.core.signals import State
from metarl_robot.learning.models.config import TrainConfig
from metarl_robot.learning.models.maml import Maml, MamlLearner, TaskBatch, TaskSampler
from metarl_robot.robots.arm.dynamics import ArmDynamics
from metarl_robot.robots.arm.maml_inputs import ArmNetworkInputs
from metarl_robot.robots.arm.residual_data import output_scale, residual_series

INPUTS, OUTPUTS = 5, 2


def make(second_order: bool, inner_steps: int = 1, inputs: int = INPUTS) -> Maml:
    model = Maml(inputs, OUTPUTS, (6, 6), inner_steps, second_order, torch.Generator().manual_seed(0)).double()
    for i, log_step in enumerate(model.log_step.values()):
        log_step.data.fill_(np.log(0.1 + 0.05 * i))
    return model


def batch(seed: int = 0) -> TaskBatch:
    rng = np.random.default_rng(seed)
    x, query_x = rng.normal(size=(3, 7, INPUTS)), rng.normal(size=(3, 9, INPUTS))
    y, query_y = rng.normal(size=(3, 7, OUTPUTS)), rng.normal(size=(3, 9, OUTPUTS))
    weight = np.ones((3, 7))
    weight[1, :3] = 0.0
    return TaskBatch(*(torch.as_tensor(array) for array in (x, y, weight, query_x, query_y)))


Parameters = dict[str, torch.Tensor]


def error(model: Maml, parameters: Parameters, x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """L by its definition, on whole weights: slow; the reference of the module's tests."""
    squares = (functional_call(model.network, parameters, (x,)) - y).square().mean(dim=1)
    return (weight * squares).sum() / weight.sum()


def adapted_weights(model: Maml, x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor) -> Parameters:
    """θ' of one task from its support."""
    parameters = dict(model.network.named_parameters())
    for _ in range(model.inner_steps):
        slope = grad(lambda weights: error(model, weights, x, y, weight))(parameters)
        if not model.second_order:
            slope = {name: value.detach() for name, value in slope.items()}
        parameters = {
            name: value - model.log_step[name.replace(".", "_")].exp() * slope[name]
            for name, value in parameters.items()
        }
    return parameters


def reference_loss(model: Maml, data: TaskBatch) -> torch.Tensor:
    """Query losses (B,) after adaptation, task by task."""
    losses = []
    for x, y, weight, query_x, query_y in zip(*data, strict=True):
        losses.append(
            error(model, adapted_weights(model, x, y, weight), query_x, query_y, torch.ones_like(query_y[:, 0]))
        )
    return torch.stack(losses)


def layers_of(model: Maml) -> Layers:
    tensors = model.network.export()
    return Layers([tensors[f"network.{i}.weight"] for i in range(3)], [tensors[f"network.{i}.bias"] for i in range(3)])


def steps_of(model: Maml) -> Layers:
    tensors = model.export()
    return Layers([tensors[f"step.{i}.weight"] for i in range(3)], [tensors[f"step.{i}.bias"] for i in range(3)])


@pytest.mark.parametrize("inner_steps", [1, 2])
def test_second_order_gradient_is_that_of_finite_differences(inner_steps: int) -> None:
    model, data, step = make(True, inner_steps), batch(), 1e-6
    model.loss_after(data).mean().backward()
    rng = np.random.default_rng(1)
    for name, parameter in model.named_parameters():
        flat, slope = parameter.data.view(-1), parameter.grad.view(-1)
        for i in rng.choice(len(flat), size=min(3, len(flat)), replace=False):
            values = []
            for sign in (1.0, -1.0):
                flat[i] += sign * step
                values.append(float(model.loss_after(data).mean().detach()))
                flat[i] -= sign * step
            assert float(slope[i]) == pytest.approx((values[0] - values[1]) / (2 * step), abs=1e-7), name


@pytest.mark.parametrize("inner_steps", [1, 2, 3])
@pytest.mark.parametrize("second_order", [True, False])
@pytest.mark.parametrize("double", [True, False])
def test_loss_and_gradient_are_those_of_the_definition(inner_steps: int, second_order: bool, double: bool) -> None:
    """Tasks of unlike weight in the outer loss; samples that do not count; layers and step sizes of unlike size."""
    model, data = make(second_order, inner_steps), batch()
    reference = deepcopy(model)
    if not double:
        model, data = model.float(), TaskBatch(*(tensor.float() for tensor in data))
    share = torch.tensor([0.5, 1.0, -2.0], dtype=data.x.dtype)
    found, expected = model.loss_after(data), reference_loss(reference, batch())
    torch.testing.assert_close(found.double(), expected, rtol=1e-10 if double else 1e-5, atol=0.0)
    (share * found).sum().backward()
    (share.double() * expected).sum().backward()
    for (name, parameter), other in zip(model.named_parameters(), reference.parameters(), strict=True):
        difference = torch.linalg.vector_norm(parameter.grad - other.grad) / torch.linalg.vector_norm(other.grad)
        assert difference < (1e-10 if double else 1e-5), name


def test_losses_do_not_share_memory() -> None:
    """Two losses before the first one's gradient, then a third where memory is used again, of another size."""
    model, small = make(True), TaskBatch(*(tensor[:2] for tensor in batch(1)))
    alone = [
        torch.autograd.grad(model.loss_after(data).sum(), list(model.parameters()))
        for data in (batch(), small, batch())
    ]
    first, second = model.loss_after(batch()).sum(), model.loss_after(small).sum()
    together = [torch.autograd.grad(loss, list(model.parameters())) for loss in (second, first)]
    for expected, found in ((alone[0], together[1]), (alone[1], together[0]), (alone[2], together[1])):
        for a, b in zip(expected, found, strict=True):
            torch.testing.assert_close(a, b, rtol=0.0, atol=0.0)


def test_first_order_has_the_same_loss_and_another_gradient() -> None:
    first, second, data = make(False), make(True), batch()
    losses = [model.loss_after(data).mean() for model in (first, second)]
    assert losses[0].item() == pytest.approx(losses[1].item(), abs=1e-14)
    for loss in losses:
        loss.backward()
    differences = [
        (a.grad - b.grad).abs().max().item()
        for a, b in zip(first.network.parameters(), second.network.parameters(), strict=True)
    ]
    assert max(differences) > 1e-3


def test_first_order_gradient_is_that_at_the_adapted_weights() -> None:
    """FOMAML's definition: ∇L(θ'; query) as if θ' did not depend on θ."""
    model, data = make(False), batch()
    model.loss_after(data).sum().backward()
    expected = {name: torch.zeros_like(value) for name, value in model.network.named_parameters()}
    for task in range(3):
        changed = adapted_weights(model, data.x[task], data.y[task], data.weight[task])
        free = {name: value.detach().clone().requires_grad_() for name, value in changed.items()}
        loss = error(model, free, data.query_x[task], data.query_y[task], torch.ones(9, dtype=torch.float64))
        for name, slope in zip(free, torch.autograd.grad(loss, list(free.values())), strict=True):
            expected[name] += slope
    for name, parameter in model.network.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name])


def after(model: Maml, data: TaskBatch, task: int, steps: int) -> tuple[AdaptedNetwork, dict[str, torch.Tensor]]:
    """Adapted to one task's samples that count: the online network, in double precision, and the weights as torch forms
    them.
    """
    kept = data.weight[task] > 0
    network = AdaptedNetwork.trained(layers_of(model), np.float64)
    for _ in range(steps):
        network = network.stepped(steps_of(model), data.x[task, kept].numpy(), data.y[task, kept].numpy())
    return network, adapted_weights(model, data.x[task], data.y[task], data.weight[task])


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("task", [0, 1])
def test_online_network_is_the_one_with_the_adapted_weights(steps: int, task: int) -> None:
    """No weights are formed online; torch forms them. Task 1 has samples that do not count."""
    model, data = make(True, steps), batch()
    network, weights = after(model, data, task, steps)
    x = data.query_x[task]
    expected = functional_call(model.network, weights, (x,)).detach().numpy()
    np.testing.assert_allclose(network.predict(x.numpy()), expected, atol=1e-12)
    assert np.max(np.abs(expected - model.network(x).detach().numpy())) > 0.1


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_online_network_has_the_jacobian_of_the_adapted_weights(steps: int) -> None:
    model, data = make(True, steps), batch()
    network, weights = after(model, data, 0, steps)
    x = data.query_x[0]

    def value(row: torch.Tensor) -> torch.Tensor:
        return functional_call(model.network, weights, (row,))

    expected = vmap(jacrev(value))(x).detach().numpy()
    np.testing.assert_allclose(network.jacobian(x.numpy()), expected, atol=1e-12)


def test_online_network_in_single_precision() -> None:
    """Inference on the robot: to the accuracy of 24 bits."""
    model, data = make(True), batch()
    network, _ = after(model, data, 0, 1)
    single = AdaptedNetwork.trained(layers_of(model)).stepped(steps_of(model), data.x[0].numpy(), data.y[0].numpy())
    x = data.query_x[0].numpy()
    np.testing.assert_allclose(single.predict(x), network.predict(x), atol=1e-5)
    np.testing.assert_allclose(single.jacobian(x), network.jacobian(x), atol=1e-5)


@pytest.fixture(scope="module")
def series(planar: Robot, dynamics: ArmDynamics, driven: Rollouts, tasks: TrainingData) -> ResidualSeries:
    few = driven.part(slice(0, 30))
    truth = replace(tasks, target=tasks.target[:30], q=tasks.q[:30], v=tasks.v[:30], a=tasks.a[:30])
    return residual_series(planar, dynamics, residual_meter(planar, dynamics, 0.005), few, truth)


@pytest.mark.slow
def test_measured_residuals_follow_the_truth(series: ResidualSeries) -> None:
    """Late and filtered, but the residual: most of its variance is there once the observer has settled."""
    late = slice(40, None)
    error = np.median(np.abs(series.measured_y[:, late] - series.true_y[:, late]))
    assert error < 0.4 * np.median(np.abs(series.true_y[:, late]))
    assert series.measured_x.shape == series.true_x.shape == (*series.true_y.shape[:2], 14)


def test_queries_come_after_the_support() -> None:
    count = np.broadcast_to(np.arange(100, dtype=np.float32)[None, :, None], (4, 100, 1)).copy()
    drawn = TaskSampler(ResidualSeries(count, count, count, count), horizon=20, seed=0).draw(4, 3)
    last = drawn.x[:, -1, 0]
    assert torch.all(drawn.query_x[..., 0] > last[:, None]) and torch.all(drawn.query_x[..., 0] <= last[:, None] + 20)
    assert torch.all(drawn.weight.sum(dim=1) >= 8)


def test_training_makes_adaptation_pay() -> None:
    """Tasks that differ in an offset and a slope: no weights serve all of them, a gradient step can serve each."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 80, 3))
    y = rng.normal(size=(200, 1, 2)) + rng.normal(size=(200, 1, 1)) * x[..., :2]
    arrays = x.astype(np.float32), y.astype(np.float32)
    learner = MamlLearner(
        ResidualSeries(*arrays, *arrays), 40, TrainConfig(adapter="maml", batch=20, hidden=(20, 20)), "second_order"
    )
    optimiser = torch.optim.Adam(learner.module.parameters(), lr=1e-2)
    for step in range(200):
        optimiser.zero_grad()
        learner.loss(step)[0].backward()
        optimiser.step()
    test = TaskSampler(ResidualSeries(*arrays, *arrays), 40, seed=99).draw(100, 0)
    with torch.no_grad():
        assert learner.module.loss_after(test).mean() < 0.6 * learner.module.loss_before(test)


def test_supervised_training_chooses_one_step_size(series: ResidualSeries) -> None:
    learner = MamlLearner(series, 40, TrainConfig(adapter="maml", hidden=(8,)), "supervised")
    learner.choose_step()
    assert len({step.item() for step in learner.module.log_step.values()}) == 1


@pytest.fixture(scope="module")
def checkpoint(planar: Robot) -> Checkpoint:
    model = Maml(14, 2, (8, 8), 1, True, torch.Generator().manual_seed(3))
    return Checkpoint({**model.export(), "output_scale": output_scale(planar)}, {"adapter": "maml", "inner_steps": 1})


def adapter_after(
    planar: Robot, dynamics: ArmDynamics, checkpoint: Checkpoint, driven: Rollouts, samples: int
) -> MamlAdapter:
    adapter = bare_adapter("maml", planar, dynamics, AdapterTuning(40.0), checkpoint)
    q, v, effort = (x[1].astype(float) for x in (driven.q_measured, driven.v_measured, driven.effort))
    for k in range(samples):
        adapter.update(State(q[k], v[k]), effort[max(k - 1, 0)], driven.dt)
    return adapter


def test_online_adapter_knows_nothing_at_first(
    planar: Robot, dynamics: ArmDynamics, checkpoint: Checkpoint, driven: Rollouts
) -> None:
    adapter = adapter_after(planar, dynamics, checkpoint, driven, FEWEST - 1)
    states = np.zeros((dynamics.knots, 2))
    xi = Xi(states, states, states, states, np.zeros((2, *states.shape)))
    assert np.all(adapter.evaluate(xi) == 0.0) and np.all(adapter.jacobian(xi) == 0.0)


def test_weights_from_a_file_adapt_as_those_in_memory(
    planar: Robot, dynamics: ArmDynamics, checkpoint: Checkpoint, driven: Rollouts
) -> None:
    """A file holds step sizes as (1,), since safetensors are written from contiguous arrays."""
    stored = {name: np.ascontiguousarray(tensor) for name, tensor in checkpoint.tensors.items()}
    states = np.zeros((1, 2))
    xi = Xi(states, states, states, states, np.zeros((2, 1, 2)))
    made = (adapter_after(planar, dynamics, c, driven, 40) for c in (checkpoint, replace(checkpoint, tensors=stored)))
    memory, file = (adapter.evaluate(xi) for adapter in made)
    assert np.any(memory) and np.array_equal(memory, file)


def test_online_adapter_has_no_offset(planar: Robot, dynamics: ArmDynamics, checkpoint: Checkpoint) -> None:
    """At rest under a constant force that no weights were trained for, it ends up predicting that force."""
    adapter = bare_adapter("maml", planar, dynamics, AdapterTuning(40.0), checkpoint)
    q, force = np.array([0.3, 0.4]), np.array([2.0, -1.0])
    effort = dynamics.bias(q, np.zeros(2)) - force
    for _ in range(400):
        adapter.update(State(q, np.zeros(2)), effort, 0.005)
    still = np.zeros((1, 2))
    found = adapter.evaluate(Xi(q[None], still, still, still, np.zeros((2, 1, 2))))
    np.testing.assert_allclose(found[0], force, atol=0.02)


def test_online_jacobian_is_that_of_finite_differences(planar: Robot, checkpoint: Checkpoint, driven: Rollouts) -> None:
    dynamics = ArmDynamics(planar, knots=4)
    adapter = adapter_after(planar, dynamics, checkpoint, driven, 60)
    rng = np.random.default_rng(0)
    states, step = rng.normal(size=(4, 6)), 1e-3  # the network is evaluated in single precision

    def xi(x: np.ndarray) -> Xi:
        return Xi(x[:, :2].copy(), x[:, 2:4].copy(), x[:, 4:].copy(), np.zeros((4, 2)), np.zeros((2, 4, 2)))

    numeric = [
        (adapter.evaluate(xi(states + step * e)) - adapter.evaluate(xi(states - step * e))) / (2 * step)
        for e in np.eye(6)
    ]
    np.testing.assert_allclose(adapter.jacobian(xi(states)), np.stack(numeric, axis=2), rtol=1e-3, atol=2e-3)


def test_inputs_do_not_depend_on_how_many_states_are_asked_for(planar: Robot) -> None:
    dynamics = ArmDynamics(planar, knots=5)
    inputs = ArmNetworkInputs(planar, dynamics)
    q, v, a = np.random.default_rng(0).normal(size=(3, 5, 2))
    np.testing.assert_allclose(inputs.encode(q, v, a)[:3], inputs.encode(q[:3], v[:3], a[:3]), atol=1e-12)


def test_predictions_do_not_depend_on_how_often_they_are_asked_for(
    planar: Robot, dynamics: ArmDynamics, checkpoint: Checkpoint, driven: Rollouts
) -> None:
    often, seldom = (bare_adapter("maml", planar, dynamics, AdapterTuning(40.0), checkpoint) for _ in range(2))
    q, v, effort = (x[1].astype(float) for x in (driven.q_measured, driven.v_measured, driven.effort))
    for k in range(min(120, len(q))):
        for adapter in (often, seldom):
            adapter.update(State(q[k], v[k]), effort[max(k - 1, 0)], driven.dt)
        xi = Xi(q[k : k + 1], v[k : k + 1], np.ones((1, 2)), np.zeros((1, 2)), np.zeros((2, 1, 2)))
        asked = often.evaluate(xi)
        if k in (2, 5, 50, 103):
            np.testing.assert_allclose(seldom.evaluate(xi), asked, atol=1e-6)  # in single precision
            assert np.any(asked) == (k > 2)


def test_reset_forgets(planar: Robot, dynamics: ArmDynamics, checkpoint: Checkpoint, driven: Rollouts) -> None:
    adapter = adapter_after(planar, dynamics, checkpoint, driven, 50)
    state = np.ones((dynamics.knots, 2))
    xi = Xi(state, state, state, state, np.zeros((2, *state.shape)))
    assert np.any(adapter.evaluate(xi) != 0.0)
    adapter.reset()
    assert np.all(adapter.evaluate(xi) == 0.0)


def test_bad_input_is_refused(planar: Robot, dynamics: ArmDynamics, series: ResidualSeries) -> None:
    with pytest.raises(MetaRLError, match="true_y must be finite"):
        replace(series, true_y=np.full_like(series.true_y, np.inf))
    with pytest.raises(CheckpointError, match="needs weights trained for 'maml'"):
        bare_adapter("maml", planar, dynamics, AdapterTuning(40.0), Checkpoint({}, {"adapter": "last_layer"}))


def test_a_kind_that_maml_does_not_serve_is_refused_by_name() -> None:
    with pytest.raises(MetaRLError, match="adapter 'maml'.*last_layer"):
        bare_adapter("maml", load_robot("x500"), None, AdapterTuning(40.0), Checkpoint({}, {"adapter": "maml"}))
