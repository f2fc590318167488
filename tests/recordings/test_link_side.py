# SPDX-License-Identifier: Apache-2.0
"""The recording that issues quote is reproducible; on it and its likes the adapter is better than the nominal model.

Before noise was estimated online and priors were widened, the ratio was 3.2 throughout, with 9 restarts in 10 s. Before
there was a prior for machines unlike those of the training, it was 1.7 after 1 s and 0.9 after 10 s.
"""

from __future__ import annotations

import numpy as np
import pytest

from metarl_robot.robots.arm.dynamics import ArmDynamics
from tests.recordings.link_side import CHECKED_AT_S, ROBOT, record, score


@pytest.mark.slow
def test_the_recording_is_reproducible_and_can_be_scored() -> None:
    dynamics = ArmDynamics(ROBOT)
    recording = record(0, dynamics, damping=0.0, jitter_ms=0.36, lag_ms=5.3)
    done = score(recording, dynamics)
    assert done.nominal_nm == pytest.approx(0.58, abs=0.005)  # printed with two decimals
    assert len(done.ratios) == len(CHECKED_AT_S) and max(done.ratios) < 0.8 and done.ratios[-1] < 0.5
    assert abs(done.mass_kg[0]) < 0.2 and done.mass_kg[1] < 0.25
    assert np.all(np.diff(recording.stamps) > 0.0) and recording.residual.shape[1] == ROBOT.dof


HALF = "half the damping"
LIKES = {
    "no damping, other motion": {"damping": 0.0},
    HALF: {"damping": 0.5},
    "much jitter": {"damping": 0.0, "jitter_ms": 0.8},
    "velocities that lag": {"damping": 0.0, "lag_ms": 10.0},
    "noise of torques": {"damping": 0.0, "effort_noise_nm": 0.5},
    "friction of a UR10e": {"damping": 1.0, "coulomb_nm": 0.06 * ROBOT.effort_limit},
}


@pytest.mark.slow
@pytest.mark.parametrize("like", LIKES)
def test_recordings_of_machines_unlike_those_of_the_training_are_predicted(like: str) -> None:
    dynamics = ArmDynamics(ROBOT)
    recording = record(1001, dynamics, **{"jitter_ms": 0.36, "lag_ms": 5.3, **LIKES[like]})
    done = score(recording, dynamics, until_s=3.1)
    most = 1.2 if like == HALF else 1.0  # the first second: efforts that acted before it count as unknown
    assert done.unfamiliar and max(done.ratios) < most and abs(done.mass_kg[0]) < 2.0 * done.mass_kg[1] < 0.6


def test_a_machine_like_those_of_the_training_keeps_their_prior() -> None:
    dynamics = ArmDynamics(ROBOT)
    recording = record(1001, dynamics, damping=1.0, jitter_ms=0.0, lag_ms=0.0)
    assert not score(recording, dynamics, until_s=1.1).unfamiliar
