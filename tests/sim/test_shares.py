# SPDX-License-Identifier: Apache-2.0
"""Shares make up the whole for any number of workers."""

from __future__ import annotations

import pytest

from metarl_robot.sim.work_queue import in_shares


@pytest.mark.parametrize("count", [1, 2, 7, 100])
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("size", [None, 5, 1000])
def test_every_robot_is_in_one_share(count: int, threads: int, size: int | None) -> None:
    shares: list[slice] = []
    in_shares(count, threads, shares.append, size)
    assert sorted(i for share in shares for i in range(count)[share]) == list(range(count))
    wanted = threads if size is None or threads == 1 else max(threads, count // size)
    assert len(shares) == min(wanted, count)


def test_what_goes_wrong_in_a_thread_is_told() -> None:
    with pytest.raises(ZeroDivisionError):
        in_shares(4, 2, lambda share: share.start // 0)
