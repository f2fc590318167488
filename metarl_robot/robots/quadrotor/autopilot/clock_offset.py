# SPDX-License-Identifier: Apache-2.0
"""Offset between an autopilot's clock and ours, from messages that are sent there and back.

A request sent at t₁ and answered with the autopilot's time T is back at t₄ (MAVLink's TIMESYNC; Mills, "Internet time
synchronization: the network time protocol", IEEE Trans. Communications 39(10), 1991, section 4):

    offset = (t₁ + t₄) / 2 - T,    in error by at most (t₄ - t₁) / 2

Of the last `KEPT` exchanges the one with the shortest round trip is used. An autopilot that restarts has a new clock:
`RESTARTED` exchanges in a row that contradict the offset start anew.
"""

from __future__ import annotations

from collections import deque

KEPT, FEWEST = 30, 5
RESTARTED = 3
TOLERANCE_NS = 5_000_000
"""Difference beyond half of the round trip that contradicts the present offset."""
LONGEST_NS = 1_000_000_000
"""An exchange that takes longer is ignored."""


class ClockOffset:
    """See the module's docstring. All times are in nanoseconds."""

    def __init__(self) -> None:
        self._exchanges: deque[tuple[int, int]] = deque(maxlen=KEPT)  # (round trip, offset)
        self._contradictions = 0

    @property
    def known(self) -> bool:
        """Whether `FEWEST` exchanges have been completed."""
        return len(self._exchanges) >= FEWEST

    @property
    def round_trip_ns(self) -> int:
        """Round trip of the exchange that is used; -1: none yet."""
        return min(self._exchanges)[0] if self._exchanges else -1

    def exchange(self, sent_ns: int, theirs_ns: int, received_ns: int) -> None:
        """Take an exchange: sent and received by our clock, answered by the autopilot's."""
        trip_ns = received_ns - sent_ns
        if not 0 <= trip_ns <= LONGEST_NS:
            return
        offset_ns = (sent_ns + received_ns) // 2 - theirs_ns
        if self._exchanges and abs(offset_ns - min(self._exchanges)[1]) > trip_ns // 2 + TOLERANCE_NS:
            self._contradictions += 1
            if self._contradictions < RESTARTED:
                return
            self._exchanges.clear()
        self._contradictions = 0
        self._exchanges.append((trip_ns, offset_ns))

    def ours_ns(self, theirs_ns: int) -> int:
        """The time of our clock at a time of the autopilot's; only once `known`."""
        return theirs_ns + min(self._exchanges)[1]


class ArrivalOffset:
    """Offset of a clock of which only stamped messages are heard: the shortest delay is taken for none.

    A clock that agrees with ours within `AGREES_NS` counts as synchronised by its sender, and is used as it is. All
    times are in nanoseconds.
    """

    AGREES_NS = 500_000_000

    def __init__(self) -> None:
        self._arrivals: deque[int] = deque(maxlen=200)  # ours less theirs

    @property
    def known(self) -> bool:
        """Whether `FEWEST` messages have arrived."""
        return len(self._arrivals) >= FEWEST

    def arrived(self, theirs_ns: int, ours_ns: int) -> None:
        """Take a message's stamp and its time of arrival."""
        ahead_ns = ours_ns - theirs_ns
        if self._arrivals and abs(ahead_ns - self._offset_ns) > LONGEST_NS:
            self._arrivals.clear()  # a restart
        self._arrivals.append(ahead_ns)

    def ours_ns(self, theirs_ns: int) -> int:
        """The time of our clock at a time of theirs; only once `known`."""
        return theirs_ns + self._used_ns

    def theirs_ns(self, ours_ns: int) -> int:
        """The time of their clock at a time of ours; ours before it is `known`."""
        return ours_ns - (self._used_ns if self._arrivals else 0)

    @property
    def _offset_ns(self) -> int:
        return min(self._arrivals)

    @property
    def _used_ns(self) -> int:
        return 0 if abs(self._offset_ns) < self.AGREES_NS else self._offset_ns
