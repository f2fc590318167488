# SPDX-License-Identifier: Apache-2.0
"""Benchmark of the meta-policy gradient: that of maml_pg, against TorchOpt and plain torch.func."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from metarl_robot.benchmarks.catalogue import Report
from metarl_robot.benchmarks.peers.policy_gradient import PEERS, Gradient, Policy, torch_func
from metarl_robot.benchmarks.record import Benchmark, Row, SameAnswer, against, missing
from metarl_robot.benchmarks.timing import Call, interleaved
from metarl_robot.learning.policies.algorithm import first_parameters, sampler_of
from metarl_robot.learning.policies.config import PolicyConfig
from metarl_robot.learning.policies.family import load_family
from metarl_robot.learning.policies.gaussian import Parameters
from metarl_robot.learning.policies.maml_pg import collect_meta
from metarl_robot.learning.policies.meta_objective import MetaObjective
from metarl_robot.learning.policies.sampling import Batch
from metarl_robot.learning.policies.threads import limited_threads

CASES = {
    "point-navigation": PolicyConfig(),
    "half-cheetah-direction": PolicyConfig(tasks=40, inner_rate=0.1, discount=0.95),
}
OURS = "ours"

REMARKS = (
    "The gradient of maml_pg's objective by the weights before adaptation, on given episodes: one inner step, exact to "
    "second order, float32, one processor thread for all. Tasks, episodes, networks and step sizes are those of the "
    "documented trainings; the episodes are those of their first iteration.",
    "The compared answer is the gradient: relative 2-norm of its difference from the torch.func version in float64.",
    "TorchOpt runs in its documented pattern (MetaSGD, task by task), and with its functional optimiser under vmap.",
)


@dataclass(frozen=True)
class Problem:
    """Episodes of one iteration, and the weights before adaptation. rate: of the inner step."""

    parameters: Parameters
    objective: MetaObjective
    rate: float

    @property
    def batches(self) -> tuple[Batch, Batch]:
        """Episodes before and after adaptation."""
        return self.objective.support[0], self.objective.query


def run(report: Report, quick: bool) -> Benchmark:
    """Measure all cases."""
    rows: list[Row] = []
    with limited_threads(1):
        for done, (name, config) in enumerate(CASES.items()):
            report("policy", done, len(CASES), name)
            small = {"tasks": 4, "episodes": 4} if quick else {}
            rows += _rows(f"{name}: outer gradient", make_problem(name, config.model_copy(update=small)), quick)
    report("policy", len(CASES), len(CASES))
    return Benchmark("policy", tuple(rows), REMARKS)


def make_problem(family: str, config: PolicyConfig) -> Problem:
    """Collect the first iteration's episodes."""
    sampler = sampler_of(load_family(family), config)
    parameters = first_parameters(sampler)
    objective, _, _ = collect_meta(sampler, parameters, np.random.default_rng(config.seed))
    return Problem(parameters, objective, config.inner_rate)


def _rows(case: str, problem: Problem, quick: bool) -> list[Row]:
    contestants, absent = {OURS: ours(problem)}, {}
    for name, make in PEERS.items():
        try:
            contestants[name] = make(peer_policy(problem), problem.rate)
        except ImportError as error:
            absent[name] = str(error)
    errors = gradient_errors(contestants, problem)
    calls = {name: _call(gradient, problem) for name, gradient in contestants.items()}
    times = interleaved(calls, 1, 3 if quick else 10, warm_up=1)
    rows = []
    for name in PEERS:
        if name in absent:
            rows.append(missing(case, times[OURS], name, absent[name]))
        else:
            same = SameAnswer("relative error of the outer gradient (must be <= 1e-5)", errors[OURS], errors[name])
            rows.append(against(case, times[OURS], name, times[name], same))
    return rows


def ours(problem: Problem) -> Gradient:
    """The gradient as `metarl train-policy --algo maml_pg` takes it."""

    def gradient(support: Batch, query: Batch) -> Tensor:
        return MetaObjective(problem.objective.policy, [support], query, problem.rate).slope(problem.parameters)[1]

    return gradient


def peer_policy(problem: Problem) -> Policy:
    """A module with the problem's weights."""
    layers = problem.parameters[:-1:2]
    policy = Policy((layers[0].shape[-1], *(weight.shape[-2] for weight in layers)))
    with torch.no_grad():
        for own, given in zip(policy.in_order, problem.parameters, strict=True):
            own.copy_(given)
    return policy


def gradient_errors(contestants: dict[str, Gradient], problem: Problem) -> dict[str, float]:
    """Relative differences of the gradients from the torch.func version in float64."""
    double = [Batch(*(tensor.double() for tensor in batch)) for batch in problem.batches]
    truth = torch_func(peer_policy(problem).double(), problem.rate)(*double)
    return {
        name: float((gradient(*problem.batches).double() - truth).norm() / truth.norm())
        for name, gradient in contestants.items()
    }


def _call(gradient: Gradient, problem: Problem) -> Call:
    return lambda i: gradient(*problem.batches)
