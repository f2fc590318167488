# SPDX-License-Identifier: Apache-2.0
"""Meta-World's environments in worker processes: the messages, workers that end, and the real benchmark.

The real one needs `make metaworld`. The messages are also tested with a stand-in for the library: an environment that
counts its steps.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from metarl_robot.core.errors import UnknownNameError
from metarl_robot.learning.policies.episodes import collect
from metarl_robot.learning.policies.family import load_family, sizes_of
from metarl_robot.learning.policies.gaussian import GaussianPolicy, for_tasks
from metarl_robot.sim.metaworld import pool as pools
from metarl_robot.sim.metaworld import process
from metarl_robot.sim.metaworld.location import ENVIRONMENTS, REWARD, VERSION, missing
from metarl_robot.sim.metaworld.pool import Pool
from metarl_robot.sim.metaworld.process import MetaWorldError, Worker
from metarl_robot.sim.metaworld.vector import HORIZON, Goal, MetaWorldTasks

real = pytest.mark.skipif(bool(missing()), reason=missing() or "made")

WORKER = str(Path(process.__file__).with_name("worker.py"))
LIBRARY = """
import numpy as np
from types import SimpleNamespace

class Counter:
    observation_space = SimpleNamespace(low=np.full(2, -1.0), high=np.full(2, 9.0))
    made = 0

    def __init__(self, reward_function_version):
        print("chatter of a library")
        Counter.made += 1
        self.number = Counter.made

    def set_task(self, task):
        import pickle
        self.goal = pickle.loads(task.data)["rand_vec"][0]

    def reset(self):
        self.steps = 0
        return np.array([self.number, 0.0]), {}

    def step(self, action):
        if action[0] > 2.0:
            raise ValueError("beyond the range")
        self.steps += 1
        return np.array([self.number, self.steps]), action[1], False, False, {"success": float(self.steps == self.goal)}

ALL_V3_ENVIRONMENTS = {"counter-v3": Counter}
"""


@pytest.fixture
def stand_in(tmp_path: Path) -> list[str]:
    """Command of a worker with the stand-in."""
    library, record = tmp_path / "metaworld", tmp_path / f"metaworld-{VERSION}.dist-info"
    library.mkdir()
    record.mkdir()
    (library / "__init__.py").touch()
    (library / "env_dict.py").write_text(LIBRARY)
    (library / "types.py").write_text("from types import SimpleNamespace as Task\n")
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: metaworld\nVersion: {VERSION}\n")
    start = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import runpy; runpy.run_path({WORKER!r}, None, '__main__')"
    )
    return [sys.executable, "-c", start]


@pytest.fixture
def workers(stand_in: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    """Two of them, as this process's pool."""
    monkeypatch.setattr(pools, "Worker", lambda: Worker(stand_in))
    made = Pool(2)
    monkeypatch.setitem(pools._POOLS, os.getpid(), made)
    yield made
    made.close()


def tasks(*goals: float) -> list[Goal]:
    return [Goal("counter-v3", (goal,)) for goal in goals]


def ended(pid: int, patience_s: float = 30.0) -> bool:
    """Whether a process ends within a time."""
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        state = subprocess.run(["ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
        if state in ("", "Z"):
            return True
        time.sleep(0.05)
    return False


def test_environments_are_shared_out_and_stepped_in_order(workers: Pool) -> None:
    env = MetaWorldTasks(tasks(1.0, 2.0, 3.0))
    assert env.single_observation_space.shape == (2,) and env.single_action_space.shape == (4,)
    first, _ = env.reset(seed=0)
    np.testing.assert_array_equal(first, [[1.0, 0.0], [2.0, 0.0], [1.0, 0.0]])  # two in the first worker
    actions = np.zeros((3, 4))
    actions[:, 1] = (0.25, 0.5, 0.75)
    for step in range(1, HORIZON + 1):
        seen, rewards, terminated, late, info = env.step(actions)
        np.testing.assert_array_equal(seen[:, 1], step)
        np.testing.assert_array_equal(rewards, actions[:, 1])
        np.testing.assert_array_equal(info["success"], [step == 1, step == 2, step == 3])
        assert not terminated.any() and late.all() == (step == HORIZON) == late.any()
    still, rewards, *_ = env.step(actions)
    np.testing.assert_array_equal(still, seen)
    assert not rewards.any()


def test_closed_environments_are_used_again_and_open_ones_are_not(workers: Pool) -> None:
    one = MetaWorldTasks(tasks(1.0, 1.0))
    two = MetaWorldTasks(tasks(1.0, 1.0))
    np.testing.assert_array_equal(np.concatenate([one.reset()[0], two.reset()[0]])[:, 0], [1.0, 1.0, 2.0, 2.0])
    two.step(np.zeros((2, 4)))
    np.testing.assert_array_equal(one.step(np.zeros((2, 4)))[0][:, 1], 1.0)
    one.close()
    np.testing.assert_array_equal(MetaWorldTasks(tasks(5.0, 5.0)).reset()[0][:, 0], [1.0, 1.0])
    np.testing.assert_array_equal(two.step(np.zeros((2, 4)))[0], [[2.0, 2.0], [2.0, 2.0]])


@pytest.mark.parametrize(("given", "size"), [("3", 3), ("", len(os.sched_getaffinity(0)))])
def test_the_number_of_workers_can_be_chosen(
    stand_in: list[str], monkeypatch: pytest.MonkeyPatch, given: str, size: int
) -> None:
    monkeypatch.setattr(pools, "Worker", lambda: Worker(stand_in))
    monkeypatch.setattr(pools, "_POOLS", {})
    monkeypatch.setenv(pools.SIZE, given)
    made = pools.pool()
    assert len(made.workers) == size and pools.pool() is made
    made.close()
    monkeypatch.setenv(pools.SIZE, "0")
    with pytest.raises(MetaWorldError, match=r"METARL_METAWORLD_WORKERS: '0' is not a number.*1 to"):
        pools.pool()


def test_an_error_of_an_environment_ends_the_workers_and_new_ones_are_started(workers: Pool) -> None:
    env = MetaWorldTasks(tasks(1.0, 1.0))
    env.reset()
    with pytest.raises(MetaWorldError, match="ValueError: beyond the range"):
        env.step(np.full((2, 4), 3.0))
    with pytest.raises(MetaWorldError, match="have ended"):
        env.reset()
    again = MetaWorldTasks(tasks(1.0))
    again.reset()
    pools.pool().close()
    assert all(ended(worker.pid) for worker in workers.workers)


def test_a_killed_worker_is_reported(workers: Pool) -> None:
    env = MetaWorldTasks(tasks(1.0, 1.0))
    env.reset()
    os.kill(workers.workers[1].pid, signal.SIGKILL)
    with pytest.raises(MetaWorldError, match=r"stopped with status -9.*chatter of a library.*--resume"):
        env.step(np.zeros((2, 4)))


def test_workers_end_with_a_parent_that_is_killed(stand_in: list[str]) -> None:
    source = (
        "import sys, time; from metarl_robot.sim.metaworld.process import Worker; "
        "print(Worker(sys.argv[1:]).pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", source, *stand_in], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert not ended(pid, 0.2)
    parent.kill()
    parent.wait()
    assert ended(pid)


def test_a_worker_that_cannot_start_says_why() -> None:
    with pytest.raises(MetaWorldError, match=r"status 3.*no such library"):
        Worker([sys.executable, "-c", "import sys; print('no such library', file=sys.stderr); sys.exit(3)"])


def test_another_version_is_refused(stand_in: list[str], tmp_path: Path) -> None:
    (tmp_path / f"metaworld-{VERSION}.dist-info" / "METADATA").write_text("Name: metaworld\nVersion: 2.0.0\n")
    with pytest.raises(MetaWorldError, match=rf"holds Meta-World 2.0.0; expected: {VERSION}.*make metaworld"):
        Worker(stand_in)


def test_without_the_environment_the_error_names_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("METARL_CACHE", str(tmp_path))
    with pytest.raises(MetaWorldError, match="run `make metaworld`"):
        sizes_of(load_family("metaworld:ML1-soccer-v3"))
    with pytest.raises(MetaWorldError, match="run `make metaworld`"):
        Worker()


@pytest.mark.parametrize("name", ["metaworld", "metaworld:", "metaworld:ML1-reach", "metaworld:ML45"])
def test_an_unknown_benchmark_is_answered_with_those_there_are(name: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        load_family(name)
    assert all(f"ML1-{environment}" in str(caught.value) for environment in ENVIRONMENTS)
    assert "ML10" in str(caught.value)


def test_a_single_family_has_no_members() -> None:
    with pytest.raises(Exception, match=r"'point-navigation' is a single one; given: 'point-navigation:x'"):
        load_family("point-navigation:x")


@real
def test_ml1_has_goals_of_its_own_for_scores() -> None:
    family, rng = load_family("metaworld:ML1-reach-v3"), np.random.default_rng(0)
    assert dict(family.facts) == {"metaworld": VERSION, "reward": REWARD, "goals_seed": "0"}
    training, scores = set(family.tasks(rng, 50)), set(family.tasks(rng, 50, held_out=True))
    assert len(training) == len(scores) == 50 and not training & scores
    assert {task.environment for task in training | scores} == {"reach-v3"}


@real
def test_real_environments_move_alike_in_many_alone_and_again() -> None:
    """Bit for bit; the goal is not observed, and a success is told."""
    family, rng = load_family("metaworld:ML1-reach-v3"), np.random.default_rng(1000)
    goals = family.tasks(rng, 3)
    actions = rng.uniform(-1.0, 1.0, (20, 3, 4))
    runs = []
    for _ in range(2):
        env = family.vector_env(goals)
        first, _ = env.reset()
        runs.append([first, *(env.step(action)[0] for action in actions)])
        env.close()
    np.testing.assert_array_equal(runs[0], runs[1])
    alone = family.env(goals[2])
    alone.reset()
    np.testing.assert_array_equal([alone.step(action[2])[0] for action in actions], np.array(runs[0])[1:, 2])
    assert not np.array(runs[0])[..., -3:].any(), "the goal is hidden"

    env = family.vector_env(goals[:1])  # a hand that is led to the goal reaches it
    seen, _ = env.reset()
    reached = []
    for _ in range(80):
        seen, reward, _, _, info = env.step(
            np.append(20.0 * (goals[0].numbers[3:] - seen[0, :3]), 0.0)[None].clip(-1, 1)
        )
        reached.append(bool(info["success"][0]))
    assert not reached[0] and reached[-1] and reward[0] == pytest.approx(10.0, abs=0.5)


@real
def test_a_policy_runs_in_the_real_environment_and_successes_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(load_family("metaworld:ML1-reach-v3")), "horizon", 5)
    family = load_family("metaworld:ML1-reach-v3")
    policy = GaussianPolicy(*sizes_of(family), (4,))
    import torch

    own = for_tasks(policy.initial(torch.Generator().manual_seed(0), 1.0), 2)
    found = collect(family, family.tasks(np.random.default_rng(0), 2), 2, policy, own, np.random.default_rng(0))
    assert found.observations.shape == (2, 2, 5, 39) and found.fulfilled.shape == (2, 2, 5)
    assert (found.returns > 0.0).all()
