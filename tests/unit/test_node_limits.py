"""What strangers may ask: so often from one address, so often from all."""

import pytest

from yilian.node import No, NodeRefused, limits
from yilian.node.limits import Limit, Limits


class Clock:
    now_s = 1_000

    def __call__(self):
        return self.now_s


def spent(buckets, limit, addresses):
    """Return how many were let through, and whether the next was refused as it should be."""
    for number, address in enumerate(addresses):
        try:
            buckets.spend(limit, address)
        except NodeRefused as no:
            assert no.no is No.TOO_MANY_REQUESTS  # noqa: PT017 - how far it came is what is asked
            return number
    return len(addresses)


def test_an_address_has_its_share_and_gets_it_again_with_time():
    clock = Clock()
    buckets, limit = Limits(clock), Limit("acts", 3, 100)
    assert spent(buckets, limit, ["a"] * 5) == 3
    assert spent(buckets, limit, ["b"] * 5) == 3
    clock.now_s += 20
    assert spent(buckets, limit, ["a"] * 5) == 1


def test_very_many_addresses_do_not_lift_the_limit_of_all(monkeypatch):
    monkeypatch.setattr(limits, "ADDRESSES_MAX", 10)
    buckets, limit = Limits(Clock()), Limit("acts", 3, 50)
    assert spent(buckets, limit, [f"address {number}" for number in range(200)]) == 50


@pytest.mark.parametrize(
    "limit", [limits.HEADERS, limits.SUBMISSIONS, limits.GRANT_KEYS, limits.REVOCATIONS, limits.PATIENT_READS, limits.CHANGES]
)
def test_no_single_address_uses_up_the_share_of_all(limit):
    assert limit.per_minute * 2 <= limit.all_per_minute
