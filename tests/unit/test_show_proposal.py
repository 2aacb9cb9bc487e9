"""`yilian show entry` says what a proposal would change: nobody votes on bytes."""

import pytest

from yilian.cli.show import _proposed
from yilian.contracts import directory


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (directory.SetPower("hospital-2", 3), ("set-power", {"member": "hospital-2", "power": 3})),
        (directory.Remove("clinic-1"), ("remove", {"member": "clinic-1"})),
        (directory.SetParameter("memo_size", 256), ("set-parameter", {"name": "memo_size", "value": 256})),
    ],
)
def test_a_proposal_is_shown_as_the_change_that_it_is(change, said):
    message = directory.propose_change(change)
    assert _proposed("directory.propose", {"change": message.change, "details": message.details}) == said


def test_what_is_no_proposal_proposes_nothing():
    assert _proposed("directory.vote", {"proposal": 7, "yes": True}) is None
