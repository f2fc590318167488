"""Adaptation by gradient steps on all weights, as in GrBAL (Nagabandi et al., "Learning to adapt in dynamic, real-world
environments through meta-reinforcement learning", 2019), from weights that MAML has trained for it (metarl_robot/meta/maml.py).

The network predicts the residual, Δ(ξ) = s ∘ f_θ(x), from

    x = (sin q, cos q, v / v_max, tanh(v / v_s), a / a_s, ID(q, v, a) / τ_max, Y_m(q, v, a) m_rated / τ_max)

the last two being the nominal effort and the effort of a point mass at the payload site. Every few samples the trained weights
take gradient steps on the last measured residuals, those of a momentum observer:

    L(θ) = mean over samples and joints of (f_θ(x) - Δ_measured / s)²,    θ' = θ - α ∘ ∇L(θ),  α one learned number a tensor

What the adapted network still misses, averaged over the last samples, is added: no offset remains.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.features import COULOMB_VELOCITY_RAD_S, Xi
from metarl_robot.adaptation.momentum_filter import MomentumFilter
from metarl_robot.adaptation.network import Perceptron
from metarl_robot.dynamics.arm import ArmDynamics
from metarl_robot.dynamics.rigid_body import N_INERTIAL
from metarl_robot.robot import Robot
from metarl_robot.signals import EMPTY_CONTEXT, Context, State

Array = NDArray[np.float64]

ACCELERATION_SCALE_RAD_S2 = 10.0
MEMORY = 32
"""Samples that the gradient steps see."""
FEWEST = 4
"""Fewer samples than this change nothing."""
ADAPT_EVERY = 4
"""Samples between two adaptations."""
REMAINDER = 10
"""Last samples over which the remainder is averaged."""


class NetworkInputs:
    """x of the module's docstring."""

    def __init__(self, robot: Robot, dynamics: ArmDynamics) -> None:
        self._dynamics, self._velocity_limit, self._effort_limit = dynamics, robot.velocity_limit, robot.effort_limit
        self._payload = np.zeros(N_INERTIAL)
        self._payload[0] = robot.description.payload.rated_mass_kg
        self.size = 7 * robot.dof

    def encode(self, q: Array, v: Array, a: Array) -> Array:
        """The inputs x (N, 7n) of states (N, n)."""
        if len(q) == self._dynamics.knots:
            nominal = self._dynamics.efforts(q, v, a).copy()
            load = self._dynamics.payload_efforts(q, v, a, self._payload)
        else:
            nominal = self._dynamics.inverse_dynamics(q, v, a)
            load = self._dynamics.payload_regressors(q, v, a) @ self._payload
        friction = np.tanh(v / COULOMB_VELOCITY_RAD_S)
        parts = [np.sin(q), np.cos(q), v / self._velocity_limit, friction, a / ACCELERATION_SCALE_RAD_S2]
        return np.concatenate([*parts, nominal / self._effort_limit, load / self._effort_limit], axis=1)

    def jacobian(self, q: Array, v: Array, a: Array) -> Array:
        """∂x/∂(q, v, a) (knots, 7n, 3n), at as many states as the dynamics has knots."""
        n = q.shape[1]
        joints = np.arange(n)
        jacobian = np.zeros((len(q), 7 * n, 3 * n))
        jacobian[:, joints, joints] = np.cos(q)
        jacobian[:, n + joints, joints] = -np.sin(q)
        jacobian[:, 2 * n + joints, n + joints] = 1.0 / self._velocity_limit
        jacobian[:, 3 * n + joints, n + joints] = (1.0 - np.tanh(v / COULOMB_VELOCITY_RAD_S) ** 2) / COULOMB_VELOCITY_RAD_S
        jacobian[:, 4 * n + joints, 2 * n + joints] = 1.0 / ACCELERATION_SCALE_RAD_S2
        jacobian[:, 5 * n : 6 * n] = self._dynamics.efforts_jacobian(q, v, a) / self._effort_limit[:, None]
        jacobian[:, 6 * n :] = self._dynamics.payload_jacobian(q, v, a, self._payload) / self._effort_limit[:, None]
        return jacobian


@dataclass(frozen=True)
class Layers:
    """Weights [(out, in), …] and biases [(out,), …] of a perceptron, or their gradients or step sizes."""

    weights: Sequence[Array]
    biases: Sequence[Array]


def gradient(layers: Layers, x: Array, target: Array) -> Layers:
    """∇ of the mean over samples and outputs of (f(x) - target)², by backpropagation: x (N, n_x), target (N, n)."""
    activations = [x]
    for weight, bias in zip(layers.weights[:-1], layers.biases[:-1], strict=True):
        activations.append(np.tanh(activations[-1] @ weight.T + bias))
    error = activations[-1] @ layers.weights[-1].T + layers.biases[-1] - target
    back = 2.0 * error / error.size
    weights: list[Array] = []
    biases: list[Array] = []
    for weight, entered in zip(reversed(layers.weights), reversed(activations), strict=True):
        weights.append(back.T @ entered)
        biases.append(back.sum(axis=0))
        back = (back @ weight) * (1.0 - entered**2)
    return Layers(weights[::-1], biases[::-1])


def adapted(layers: Layers, step_sizes: Layers, x: Array, target: Array, steps: int) -> Layers:
    """θ' after gradient steps on samples x (N, n_x), target (N, n)."""
    for _ in range(steps):
        slope = gradient(layers, x, target)
        layers = Layers(
            [w - rate * g for w, rate, g in zip(layers.weights, step_sizes.weights, slope.weights, strict=True)],
            [b - rate * g for b, rate, g in zip(layers.biases, step_sizes.biases, slope.biases, strict=True)],
        )
    return layers


@dataclass(frozen=True)
class Sample:
    """A measured residual: state q, v, a (n,) and Δ (n,) [Nm]."""

    q: Array
    v: Array
    a: Array
    residual: Array


class ResidualMeter:
    """Measures the residual with a momentum observer: a momentum filter without features."""

    def __init__(self, dynamics: ArmDynamics, observer: MomentumFilter) -> None:
        self._dynamics, self._observer = dynamics, observer

    def reset(self) -> None:
        self._observer.reset()

    def update(self, state: State, effort: Array, dt: float) -> Sample:
        """The residual now, and the acceleration a = M⁻¹ (τ + Δ - h) that it implies."""
        self._observer.update(state, effort, dt)
        now, residual = self._observer.estimate(state), self._observer.disturbance
        force = effort + residual - self._dynamics.bias(now.q, now.v)
        acceleration = np.asarray(np.linalg.solve(self._dynamics.mass_matrix(now.q), force), dtype=np.float64)
        return Sample(now.q, now.v, acceleration, residual)

    def estimate(self, measured: State) -> State:
        return self._observer.estimate(measured)

    @property
    def latency_s(self) -> float:
        return self._observer.latency_s


class MamlAdapter:
    """Adapter: a network that takes gradient steps on what it has just seen.

    Arguments:
        inputs, meter: what the network is told, and the measurement of the residual.
        layers, step_sizes: meta-trained θ and α.
        scale: (n,) s [Nm].
        steps: gradient steps from θ at every adaptation.
    """

    def __init__(self, inputs: NetworkInputs, meter: ResidualMeter, layers: Layers, step_sizes: Layers, scale: Array, steps: int) -> None:
        self._inputs, self._meter = inputs, meter
        self._layers, self._step_sizes, self._scale, self._steps = layers, step_sizes, scale, steps
        self.reset()

    def reset(self) -> None:
        self._meter.reset()
        self._x: deque[Array] = deque(maxlen=MEMORY)
        self._residual: deque[Array] = deque(maxlen=MEMORY)
        self._count = 0
        self._remainder = np.zeros_like(self._scale)
        self._use(self._layers)

    def _use(self, layers: Layers) -> None:
        self._network = Perceptron(layers.weights, layers.biases)

    def update(self, state: State, effort: Array, dt: float) -> Context:
        sample = self._meter.update(state, effort, dt)
        self._x.append(self._inputs.encode(sample.q[None], sample.v[None], sample.a[None])[0])
        self._residual.append(sample.residual)
        self._count += 1
        if len(self._x) >= FEWEST and self._count % ADAPT_EVERY == 0:
            self._use(adapted(self._layers, self._step_sizes, np.array(self._x), np.array(self._residual) / self._scale, self._steps))
        if len(self._x) >= FEWEST:
            last = np.array(self._x)[-REMAINDER:]
            self._remainder = (np.array(self._residual)[-REMAINDER:] - self._predict(last)).mean(axis=0)
        return EMPTY_CONTEXT

    def _predict(self, x: Array) -> Array:
        weight, bias = self._network.head
        return self._scale * (self._network.hidden(x) @ weight.T + bias)

    def evaluate(self, xi: Xi) -> Array:
        if len(self._x) < FEWEST:
            return np.zeros_like(xi.v)
        return self._predict(self._inputs.encode(xi.q, xi.v, xi.a)) + self._remainder

    def jacobian(self, xi: Xi) -> Array:
        n = xi.v.shape[1]
        if len(self._x) < FEWEST:
            return np.zeros((len(xi.v), n, 3 * n))
        _, by_x = self._network.hidden_with_jacobian(self._inputs.encode(xi.q, xi.v, xi.a))
        weight, _ = self._network.head
        return self._scale[:, None] * ((weight @ by_x) @ self._inputs.jacobian(xi.q, xi.v, xi.a))

    def effort_gain(self) -> Array:
        return np.zeros_like(self._scale)

    def payload(self) -> Array:
        return np.zeros(N_INERTIAL)

    @property
    def latency_s(self) -> float:
        return self._meter.latency_s

    def estimate(self, measured: State) -> State:
        return self._meter.estimate(measured)
