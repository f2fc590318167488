# SPDX-License-Identifier: Apache-2.0
"""Refused messages: their reasons, counts and remedies."""

from __future__ import annotations

from collections import Counter, deque
from enum import Enum
from itertools import takewhile

WINDOW = 64  # number of messages that `warning` considers
WARNING_SHARE = 0.1  # share of refused messages that gives a warning
DETAIL_CHARS = 300  # limit for a reason that quotes a message


class Rejection(Enum):
    """Reason for a refused message. The values are the names in /diagnostics."""

    DUPLICATE = "repeated"
    UNREADABLE = "unreadable"
    NAMES = "names"
    FRAME = "frame"
    SIZE = "size"
    NOT_FINITE = "not_finite"
    IMPLAUSIBLE = "implausible"
    NOT_NORMALISED = "not_normalised"
    POSITION_JUMPED = "position_jumped"
    FROZEN = "frozen"
    STAMP_BACKWARDS = "stamp_backwards"
    STAMP_JUMPED = "stamp_jumped"
    STAMP_REPEATED = "stamp_repeated"
    STAMP_ZERO = "stamp_zero"
    STAMP_NEGATIVE = "stamp_negative"
    STALE = "stale"
    FUTURE = "future"
    OTHER_SOURCE = "other_source"
    NO_STATE = "no_state"
    NO_POSE = "no_pose"
    UNSURE = "unsure"


ADVICE = {
    Rejection.DUPLICATE: "the same message was received twice",
    Rejection.UNREADABLE: "the message cannot be read",
    Rejection.NAMES: "joint names or the lengths of the lists do not fit the robot",
    Rejection.FRAME: "another frame than expected",
    Rejection.SIZE: "the number of values does not fit the robot",
    Rejection.NOT_FINITE: "values are NaN or infinite: does the driver fill in positions and velocities?",
    Rejection.IMPLAUSIBLE: "values above 1000 (units must be m, rad, m/s, rad/s)",
    Rejection.NOT_NORMALISED: "quaternions are not of unit length (all zeros: the driver does not set them)",
    Rejection.POSITION_JUMPED: "positions or velocities jump farther than the robot can move:"
    " does a second publisher send states of this robot?",
    Rejection.FROZEN: "position and velocity repeat bit for bit while the robot moves:"
    " does the driver repeat its last sample?",
    Rejection.STAMP_BACKWARDS: "stamps go back: do two publishers send states of this robot?",
    Rejection.STAMP_JUMPED: "stamps jump ahead: were states lost, or was a clock set?",
    Rejection.STAMP_REPEATED: "stamps repeat while values change: does the driver's clock tick slower"
    " than it publishes? stamp_on_arrival:=true uses the time of arrival",
    Rejection.STAMP_ZERO: "stamps are zero: does the driver set header.stamp?"
    " stamp_on_arrival:=true uses the time of arrival",
    Rejection.STAMP_NEGATIVE: "stamps are negative: does the driver set header.stamp?"
    " stamp_on_arrival:=true uses the time of arrival",
    Rejection.STALE: "stamps are too far behind this machine's clock",
    Rejection.FUTURE: "stamps are too far ahead of this machine's clock",
    Rejection.OTHER_SOURCE: "it comes from another process than the one that the gate was armed with: end that "
    "process, or stop the robot (~/estop) and re-arm it (~/rearm)",
    Rejection.NO_STATE: "there is no state yet",
    Rejection.NO_POSE: "there is no pose of the localiser yet: is it running, and localiser_topic its topic?",
    Rejection.UNSURE: "the localiser does not know the pose: give it the initial pose",
}


def shortened(text: str, limit: int = DETAIL_CHARS) -> str:
    """The text, or its beginning and its length."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"


class Refusals:
    """Counts refusals of one kind of message and explains the latest.

    counts: by name, since the start.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._recent: deque[Rejection | None] = deque(maxlen=WINDOW)  # None: accepted
        self._details: dict[Rejection, str] = {}

    def good(self) -> None:
        """Record an accepted message."""
        self._recent.append(None)

    def add(self, why: Rejection, detail: str = "") -> None:
        """Record a refused message. detail: its content and the allowed values, in place of the general advice."""
        self.counts[why.value] += 1
        self._recent.append(why)
        if detail:
            self._details[why] = shortened(detail)

    def words(self, why: Rejection) -> str:
        """Text for one reason and its remedy."""
        return self._details.get(why) or ADVICE[why]

    @property
    def reason(self) -> str:
        """Most frequent refusal since the last accepted message, with its remedy; empty if there is none."""
        since = takewhile(lambda why: why is not None, reversed(self._recent))
        return self._most_frequent(Counter(since))

    @property
    def warning(self) -> str:
        """Most frequent refusal among the last messages if many are refused; else empty."""
        counts = Counter(self._recent)
        refused = sum(counts.values()) - counts[None] - counts[Rejection.DUPLICATE]
        if refused < WARNING_SHARE * WINDOW:
            return ""
        return f"{refused} of the last {len(self._recent)} refused: {self._most_frequent(counts)}"

    def recent(self, *reasons: Rejection) -> bool:
        """Whether one of the last messages was refused for one of these reasons."""
        return any(why in self._recent for why in reasons)

    def _most_frequent(self, counts: Counter[Rejection | None]) -> str:
        telling = {why: n for why, n in counts.items() if why not in (None, Rejection.DUPLICATE)}
        return self.words(max(telling, key=lambda why: telling[why])) if telling else ""
