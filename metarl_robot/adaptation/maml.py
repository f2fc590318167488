# SPDX-License-Identifier: Apache-2.0
"""Adaptation by gradient steps on all weights of a MAML-trained network.

As in GrBAL (Nagabandi et al., "Learning to adapt in dynamic, real-world environments through meta-reinforcement
learning", 2019). Training is in metarl_robot/learning/models/maml.py.

The network predicts the residual, Δ(ξ) = s ∘ f_θ(x), from inputs x(q, v, a) chosen by the kind of robot
(robots/<kind>/maml_inputs.py). A momentum observer measures the residual. Every few samples the trained weights take
gradient steps on the last measured residuals:

    L(θ) = mean over samples and joints of (f_θ(x) - Δ_measured / s)²
    θ' = θ - α ∘ ∇L(θ),  one learned step size α per tensor

The mean remaining error over the last samples is added to the prediction, so that no offset remains.

θ' is never formed. The gradient of a layer over R samples is a product of two thin matrices, Dᵀ X, with the layer's
inputs X (R, in) and back-propagated errors D (R, out). The adapted layer is

    y = x Wᵀ + b - (x Xᵀ) (α_W D) - α_b Σ D

so that no array of the weights' size is written. Single precision suffices: the residual is known to per cent. Inputs
are computed, and the steps taken, when a prediction is asked for: a recording's adapter is asked less often than it
gets samples, and the inputs of many states cost little more than those of one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from metarl_robot.adaptation.features import Xi
from metarl_robot.adaptation.momentum_filter import MomentumFilter
from metarl_robot.core.signals import EMPTY_CONTEXT, Context, State
from metarl_robot.dynamics.protocols import Dynamics

Array = NDArray[np.float64]
Matrix = NDArray[np.floating]
"""Matrix in the network's own precision."""

MEMORY = 32
"""Samples used by the gradient steps."""
FEWEST = 4
"""No adaptation with fewer samples than this."""
ADAPT_EVERY = 4
"""Samples between two adaptations."""
REMAINDER = 10
"""Number of last samples over which the remaining error is averaged."""
KEPT = MEMORY + ADAPT_EVERY - 1
"""Samples that an adaptation may need when it is computed."""
SIGNALS = ("q", "v", "force", "residual")


class NetworkInputs(Protocol):
    """Inputs x (N, size) of the network at q, v, a (N, n)."""

    size: int

    def encode(self, q: Array, v: Array, a: Array) -> Array:
        """Inputs x (N, size) of states (N, n)."""
        ...

    def jacobian(self, q: Array, v: Array, a: Array) -> Array:
        """Derivatives ∂x/∂(q, v, a) (knots, size, 3n), at exactly as many states as the dynamics has knots."""
        ...


@dataclass(frozen=True)
class Layers:
    """Weights [(out, in), …] and biases [(out,), …] of a perceptron, or their step sizes."""

    weights: Sequence[Array]
    biases: Sequence[Array]


class AdaptedLayer:
    """A layer after gradient steps: weight W - Dᵀ X, bias b.

    Arguments:
        weight: (out, in) W, shared with the layer before the steps.
        transposed: (in, out) a copy of W in the order in which forward products run faster.
        bias: (out,) b.
        deltas, inputs: D (R, out) times the step sizes, and X (R, in), for the R samples of all steps so far.
    """

    def __init__(self, weight: Matrix, transposed: Matrix, bias: Matrix, deltas: Matrix, inputs: Matrix) -> None:
        self._weight, self._transposed, self._bias, self._deltas, self._inputs = (
            weight,
            transposed,
            bias,
            deltas,
            inputs,
        )

    @staticmethod
    def trained(weight: Array, bias: Array, dtype: type[np.floating]) -> AdaptedLayer:
        """The layer before any step."""
        own, (out, entering) = np.array(weight, dtype), weight.shape
        return AdaptedLayer(
            own,
            np.ascontiguousarray(own.T),
            np.array(bias, dtype),
            np.empty((0, out), dtype),
            np.empty((0, entering), dtype),
        )

    @property
    def outputs(self) -> int:
        return len(self._bias)

    @property
    def dtype(self) -> np.dtype[np.floating]:
        return self._bias.dtype

    def forward(self, x: Matrix) -> Matrix:
        """Outputs (N, out) of inputs (N, in)."""
        y = x @ self._transposed
        y += self._bias
        if len(self._deltas):
            y -= (x @ self._inputs.T) @ self._deltas
        return y

    def backward(self, back: Matrix) -> Matrix:
        """Derivatives (N, in) by the inputs, from those by the outputs (N, out)."""
        entered = back @ self._weight
        if len(self._deltas):
            entered -= (back @ self._deltas.T) @ self._inputs
        return entered

    def merged(self) -> AdaptedLayer:
        """The same layer with its weight formed: faster where many samples pass through it."""
        if not len(self._deltas):
            return self
        weight = self._weight - self._deltas.T @ self._inputs
        none = self._deltas[:0], self._inputs[:0]
        return AdaptedLayer(weight, np.ascontiguousarray(weight.T), self._bias, *none)

    def stepped(self, back: Matrix, x: Matrix, weight_step: float, bias_step: float) -> AdaptedLayer:
        """The layer after a step along the gradient backᵀ x (weight), Σ back (bias)."""
        deltas, inputs = weight_step * back, x
        if len(self._deltas):
            deltas, inputs = np.concatenate([self._deltas, deltas]), np.concatenate([self._inputs, inputs])
        return AdaptedLayer(self._weight, self._transposed, self._bias - bias_step * back.sum(axis=0), deltas, inputs)


class AdaptedNetwork:
    """The network f_θ': trained perceptron plus gradient steps; tanh between layers, linear at the end."""

    def __init__(self, layers: Sequence[AdaptedLayer]) -> None:
        self._layers = tuple(layers)

    @staticmethod
    def trained(layers: Layers, dtype: type[np.floating] = np.float32) -> AdaptedNetwork:
        """The trained network f_θ."""
        return AdaptedNetwork(
            [AdaptedLayer.trained(w, b, dtype) for w, b in zip(layers.weights, layers.biases, strict=True)]
        )

    def merged(self) -> AdaptedNetwork:
        """The same network with its weights formed: faster where many samples pass through it."""
        return AdaptedNetwork([layer.merged() for layer in self._layers])

    def predict(self, x: Array) -> Array:
        """Outputs (N, n) of inputs (N, n_x)."""
        *_, hidden = self._activations(x)
        return self._layers[-1].forward(hidden).astype(np.float64)

    def jacobian(self, x: Array) -> Array:
        """Jacobian ∂f/∂x (N, n, n_x), by back-propagation: there are fewer outputs than inputs."""
        activations, last = self._activations(x), self._layers[-1]
        rows = last.backward(np.eye(last.outputs, dtype=last.dtype))
        back = np.broadcast_to(rows, (len(x), *rows.shape))
        for layer, entered in zip(self._layers[-2::-1], activations[:0:-1], strict=True):
            back = layer.backward((back * (1.0 - entered**2)[:, None, :]).reshape(-1, entered.shape[1])).reshape(
                len(x), len(rows), -1
            )
        return back.astype(np.float64)

    def stepped(self, step_sizes: Layers, x: Array, target: Array) -> AdaptedNetwork:
        """The network after one gradient step on samples x (N, n_x), target (N, n)."""
        activations = self._activations(x)
        back = self._layers[-1].forward(activations[-1])
        back -= target
        back *= 2.0 / back.size
        layers: list[AdaptedLayer] = []
        for i in reversed(range(len(self._layers))):
            layer, entered = self._layers[i], activations[i]
            layers.append(layer.stepped(back, entered, step_sizes.weights[i].item(), step_sizes.biases[i].item()))
            if i > 0:
                back = layer.backward(back)
                back *= 1.0 - entered**2
        return AdaptedNetwork(layers[::-1])

    def _activations(self, x: Array) -> list[Matrix]:
        """Inputs of each layer [(N, in), …]."""
        activations: list[Matrix] = [x.astype(self._layers[0].dtype, copy=False)]
        for layer in self._layers[:-1]:
            y = layer.forward(activations[-1])
            activations.append(np.tanh(y, out=y))
        return activations


@dataclass(frozen=True)
class Sample:
    """A measured residual: state q, v (n,), force τ + Δ (n,) and Δ (n,) [Nm]."""

    q: Array
    v: Array
    force: Array
    residual: Array


class AccelerationDynamics(Dynamics, Protocol):
    """Dynamics that give many accelerations at once."""

    def accelerations(self, q: Array, v: Array, force: Array) -> Array:
        """Accelerations M⁻¹ (f - h) (N, n) under generalised forces f (N, n), at states (N, n)."""
        ...


class ResidualMeter:
    """Measures the residual with a momentum observer: a momentum filter without features.

    attached: number of the attached body's parameters (dynamics/protocols.py).
    """

    def __init__(self, dynamics: AccelerationDynamics, observer: MomentumFilter) -> None:
        self._dynamics, self._observer = dynamics, observer
        self.attached = dynamics.attached

    def reset(self) -> None:
        self._observer.reset()

    def update(self, state: State, effort: Array, dt: float) -> Sample:
        """The present residual."""
        self._observer.advance(state, effort, dt)
        now, residual = self._observer.estimate(state), self._observer.disturbance
        return Sample(now.q, now.v, effort + residual, residual)

    def accelerations(self, q: Array, v: Array, force: Array) -> Array:
        """Accelerations a = M⁻¹ (τ + Δ - h) (N, n) that samples (N, n) imply."""
        return self._dynamics.accelerations(q, v, force)

    def estimate(self, measured: State) -> State:
        return self._observer.estimate(measured)

    @property
    def latency_s(self) -> float:
        return self._observer.latency_s


class MamlAdapter:
    """Adapter: a network that takes gradient steps on the latest residuals.

    Arguments:
        inputs, meter: encoder of the network's inputs, and measurement of the residual.
        layers, step_sizes: meta-trained θ and α.
        scale: (n,) s [Nm].
        steps: gradient steps from θ at every adaptation.
    """

    def __init__(
        self, inputs: NetworkInputs, meter: ResidualMeter, layers: Layers, step_sizes: Layers, scale: Array, steps: int
    ) -> None:
        self._inputs, self._meter = inputs, meter
        self._trained, self._step_sizes, self._scale, self._steps = (
            AdaptedNetwork.trained(layers),
            step_sizes,
            scale,
            steps,
        )
        self.reset()

    def reset(self) -> None:
        self._meter.reset()
        self._new: deque[Sample] = deque(maxlen=KEPT)  # without inputs as yet
        self._x: deque[Array] = deque(maxlen=KEPT)
        self._target: deque[Array] = deque(maxlen=KEPT)
        self._count = 0
        self._remainder: Array | None = np.zeros_like(self._scale)
        self._network = self._trained
        self._due: int | None = None  # number of samples at an adaptation that is not computed yet

    def update(self, state: State, effort: Array, dt: float) -> Context:
        self._new.append(self._meter.update(state, effort, dt))
        self._count += 1
        if self._count >= FEWEST:
            self._remainder = None
            if self._count % ADAPT_EVERY == 0:
                self._due = self._count
        return EMPTY_CONTEXT

    def _latest(self, samples: int, until: int) -> tuple[Array, Array]:
        """Inputs (N, n_x) and targets (N, n) of the last `samples` up to sample number `until`."""
        if self._new:
            q, v, force, residual = (np.array([getattr(each, of) for each in self._new]) for of in SIGNALS)
            self._x.extend(self._inputs.encode(q, v, self._meter.accelerations(q, v, force)))
            self._target.extend(residual / self._scale)
            self._new.clear()
        end = len(self._x) - (self._count - until)
        rows = slice(max(end - samples, 0), end)
        return np.array(list(self._x)[rows]), np.array(list(self._target)[rows])

    def _adapted(self) -> AdaptedNetwork:
        """The network after the latest adaptation, which is computed when it is needed."""
        if self._due is not None:
            x, target = self._latest(MEMORY, self._due)
            self._due, self._network = None, self._trained
            for _ in range(self._steps):
                self._network = self._network.stepped(self._step_sizes, x, target)
        return self._network

    def _remaining(self) -> Array:
        """Mean remaining error (n,) over the last samples [Nm]."""
        if self._remainder is None:
            x, target = self._latest(REMAINDER, self._count)
            self._remainder = self._scale * (target - self._adapted().predict(x)).mean(axis=0)
        return self._remainder

    def evaluate(self, xi: Xi) -> Array:
        if self._count < FEWEST:
            return np.zeros_like(xi.v)
        x = self._inputs.encode(xi.q, xi.v, xi.a)
        return self._scale * self._adapted().predict(x) + self._remaining()

    def jacobian(self, xi: Xi) -> Array:
        n = xi.v.shape[1]
        if self._count < FEWEST:
            return np.zeros((len(xi.v), n, 3 * n))
        by_x = self._adapted().jacobian(self._inputs.encode(xi.q, xi.v, xi.a))
        return self._scale[:, None] * (by_x @ self._inputs.jacobian(xi.q, xi.v, xi.a))

    def effort_gain(self) -> Array:
        return np.zeros_like(self._scale)

    def attached_body(self) -> Array:
        return np.zeros(self._meter.attached)

    @property
    def latency_s(self) -> float:
        return self._meter.latency_s

    def estimate(self, measured: State) -> State:
        return self._meter.estimate(measured)
