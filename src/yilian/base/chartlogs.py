"""A month of a chart's log as a holder shows it to the patient, with what proves that nothing is missing.

Shown    the entries with their places in the log; for each day of the month, and the first after it, that is closed: the daily leaf, and
         for each tag that must be absent the two neighbours in that day's tags; for days not yet closed: the same under a
         root that members signed, or signed state answers.
Absent   of own tags (pk_n) the next `ABSENT_AHEAD`; of each grant's tags the next one, `grant_tag(control_key, entries)`.
Sound    a day's number of tags is not signed, and need not be: whichever size a prover names, two paths that put neighbours side by side
         turn left and right as only the true neighbours' paths do (ADR-0063).
Source   design 02 "Daily leaf"; design 03 "access"; design 04 "The patient's own view".
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from yilian.base import artefacts
from yilian.base.keys import SigningKey, is_signed
from yilian.base.merkle import EMPTY_ROOT, is_included, leaf_hash, node_hash

ABSENT_AHEAD = 8  # design 03: absence of the next 8
TAG_ROW_DAYS = 1  # design 02: rows of a day's tags live until the day after has ended


@dataclass(frozen=True, slots=True)
class Head:
    """The holder's signed word: at `height` the month had `count` numbers of its own key (recorded or skipped)."""

    count: int
    height: int
    signature: bytes

    def is_signed_by(self, node_key: bytes, network: bytes, relationship_key: bytes, month: int, month_key_digest: bytes) -> bool:
        """Say whether the holder's node key made the signature."""
        statement = artefacts.head_statement(network, relationship_key, month, month_key_digest, self.count, self.height)
        return is_signed(node_key, statement, self.signature)


def sign_head(key: SigningKey, network: bytes, relationship_key: bytes, month: tuple[int, bytes], count: int, height: int) -> Head:
    """Return the holder's head; `month` is (month, SHA-256(t_m))."""
    statement = artefacts.head_statement(network, relationship_key, month[0], month[1], count, height)
    return Head(count, height, key.sign(statement))


@dataclass(frozen=True, slots=True)
class ShownEntry:
    """One entry: its index, the transaction's bytes, its path to the checkpoint's root, and the AuditEvent it commits to (or none)."""

    index: int
    statement: bytes
    path: tuple[bytes, ...]
    audit_event: bytes | None


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A tag of a day, its position among them, and its path to the access root."""

    position: int
    tag: bytes
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tag would stand among a day's tags: between `left` and `right` (None: before the first, after the last).

    If `left` is the tag itself, it is present.
    """

    tag: bytes
    left: Neighbour | None
    right: Neighbour | None


@dataclass(frozen=True, slots=True)
class ShownDay:
    """A closed day: its system leaf and that leaf's place in the log, how many tags it has, and the places asked for."""

    index: int
    leaf: bytes
    path: tuple[bytes, ...]
    size: int
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class OpenDay:
    """A day that is not closed: members' signed words on the root over its tags so far, at one height; how many; the places asked for.

    The words are state answers under the key `t/ day`, which is no row's: whoever signs them learns no tag (ADR-0086).
    """

    day: int
    answers: tuple[bytes, ...]
    size: int
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class LogAnswer:
    """A holder's answer to a LogRequest. All places in the log are proven against the one root of `checkpoints` (one per signer)."""

    holder: str
    month: int
    checkpoints: tuple[bytes, ...]
    old_size: int  # the request's `seen_size`
    consistency: tuple[bytes, ...]  # from `old_size` to the checkpoints' size
    head: Head
    entries: tuple[ShownEntry, ...]
    days: tuple[ShownDay, ...]
    state_answers: tuple[bytes, ...]  # of the key `t/ day tag`, for each day that is not closed and each tag; or else:
    open_days: tuple[OpenDay, ...] = ()


@dataclass(frozen=True, slots=True)
class OwnReadingShown:
    """A reading by the holder's own staff: its number in the holder's series, its AuditEvent, its place under a tick's own_care_root."""

    number: int
    audit_event: bytes
    tick_index: int
    position: int
    size: int
    path: tuple[bytes, ...]

    def stands(self, chart_key: bytes, network: bytes, own_care_root: bytes) -> bool:
        """Say whether the tick covered this very event. That no other reading was left out, nothing shows (design 03 "anchor")."""
        leaf = artefacts.detail(artefacts.own_key(chart_key, network, self.number), network, self.audit_event)
        return is_included(leaf_hash(leaf), self.position, self.size, self.path, own_care_root)


@dataclass(frozen=True, slots=True)
class OwnCare:
    """A holder's own staff's readings of one chart, ascending; those since the last tick are not among them yet."""

    holder: str
    readings: tuple[OwnReadingShown, ...]


class Standing(Enum):
    """What the evidence says of a tag on a day."""

    ABSENT = "absent"
    PRESENT = "present"
    NOT_SHOWN = "not shown"


def place_of(tags: Sequence[bytes], tag: bytes) -> Place:
    """Return where `tag` stands among a day's tags, which ascend: what a holder hands over."""
    return places_of(tags, (tag,))[0]


def places_of(tags: Sequence[bytes], wanted: Sequence[bytes]) -> tuple[Place, ...]:
    """Return where each wanted tag stands among a day's tags, which ascend; the day's tree is built once."""
    levels = [[leaf_hash(tag) for tag in tags]]
    while len(levels[-1]) > 1:
        below = levels[-1]
        level = [node_hash(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)]
        levels.append(level + below[len(level) * 2 :])
    return tuple(_place(tags, levels, tag) for tag in wanted)


def _place(tags: Sequence[bytes], levels: list[list[bytes]], tag: bytes) -> Place:
    at = bisect_left(tags, tag)
    if at < len(tags) and tags[at] == tag:
        return Place(tag, _neighbour(tags, levels, at), None)
    left = _neighbour(tags, levels, at - 1) if at > 0 else None
    return Place(tag, left, _neighbour(tags, levels, at) if at < len(tags) else None)


def _neighbour(tags: Sequence[bytes], levels: list[list[bytes]], position: int) -> Neighbour:
    siblings = [(level, (position >> height) ^ 1) for height, level in enumerate(levels)]
    return Neighbour(position, tags[position], tuple(level[sibling] for level, sibling in siblings if sibling < len(level)))


def standing(place: Place, size: int, access_root: bytes) -> Standing:
    """Return what a place proves of its tag under a day's access root."""
    left, right = place.left, place.right
    if size == 0 or (left is None and right is None):
        return Standing.ABSENT if size == 0 and left is None and right is None and access_root == EMPTY_ROOT else Standing.NOT_SHOWN
    if any(each is not None and not _stands(each, size, access_root) for each in (left, right)):
        return Standing.NOT_SHOWN
    if left is not None and left.tag == place.tag:
        return Standing.PRESENT
    is_after_left = left.tag < place.tag if left is not None else right is not None and right.position == 0
    is_before_right = place.tag < right.tag if right is not None else left is not None and left.position == size - 1
    are_adjacent = left is None or right is None or left.position + 1 == right.position
    return Standing.ABSENT if is_after_left and is_before_right and are_adjacent else Standing.NOT_SHOWN


def _stands(neighbour: Neighbour, size: int, access_root: bytes) -> bool:
    return is_included(leaf_hash(neighbour.tag), neighbour.position, size, neighbour.path, access_root)
