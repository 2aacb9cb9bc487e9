"""How often the collector begins: seldom, and never more often than somebody wished."""

import gc

import pytest

from yilian.engines.collector import YOUNG_MAX, collect_seldom


@pytest.fixture(autouse=True)
def as_it_was():
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


@pytest.mark.parametrize(("wished", "then"), [(700, YOUNG_MAX), (YOUNG_MAX + 1, YOUNG_MAX + 1), (0, 0)])
def test_the_collector_begins_seldom_and_never_more_often_than_was_wished(wished, then):
    gc.set_threshold(wished, 11, 12)
    collect_seldom()
    assert gc.get_threshold() == (then, 11, 12)
