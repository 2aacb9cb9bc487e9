"""What the tests of the contract rooms share: a state in a dictionary, an act, a refusal seen whole, keys that are only bytes."""

from hashlib import sha256

import pytest

from yilian.base.kinds import Act
from yilian.base.refusals import Refused

DAY_S = 86_400
TODAY = 20_600  # days after 1970: in May 2026
NOW = TODAY * DAY_S + 36_000  # ten in the morning
INDEX = 77  # the log index that the act at hand will have


class View:
    """State rows in a dictionary."""

    def __init__(self, *writes):
        self.rows = {}
        for each in writes:
            self.take(each)

    def get(self, key):
        return self.rows.get(key)

    def scan(self, prefix):
        yield from sorted((key, value) for key, value in self.rows.items() if key.startswith(prefix))

    def take(self, writes):
        for key, value in writes.items():
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value


def key(name):
    """Return 32 bytes that stand for a public key, a commitment or a root."""
    return sha256(name.encode()).digest()


def act(*keys, now_s=NOW, carrier="clinic-1", members=(), index=INDEX, height=9, exp_s=None):
    return Act(now_s, height, index, now_s + 60 if exp_s is None else exp_s, carrier, frozenset(keys), tuple(members))


def refusal(rule, *arguments, **named):
    """Return (reason, facts) of the refusal; anything but a refusal fails the test."""
    with pytest.raises(Refused) as no:
        rule(*arguments, **named)
    return no.value.reason, no.value.facts


def kinds(room):
    """Return the kinds of a room by name."""
    return {kind.name: kind for kind in room.KINDS}


def said(rule, *arguments):
    """Return (what the rule returns, None) or (None, the reason why not)."""
    try:
        return rule(*arguments), None
    except Refused as no:
        return None, no.reason
