"""Four real validators on machines of their own whose cables are pulled: which part goes on, and what is whole again afterwards."""

import pytest

from tests.consortium import NAMES, Consortium, accepted, grant, needs_cometbft, nothing_is_lost
from tests.namespaces import Apart, Machines, needs_namespaces
from tests.waiting import tries

pytestmark = [pytest.mark.slow, needs_cometbft, needs_namespaces, pytest.mark.xdist_group("cometbft")]

HALTED = ("-", "-", "-", "NotOrdering")
HEALED_S = 180  # a bound: connections that fell silent try again ever more rarely, up to every two minutes


@pytest.fixture
def apart(tmp_path):
    with Machines(4) as machines:
        consortium = Consortium(tmp_path, hosts=machines.addresses)
        members = Apart(consortium, machines)
        try:
            yield members
        finally:
            members.end()


def persistently(apart, name, data):
    """Return the answer to the same bytes once the network orders again."""
    for _ in tries(lambda: f"{name} said {HALTED} again and again", HEALED_S):
        if (answer := apart.said(name, data)) != HALTED:
            return answer
    raise AssertionError("tries() ends with a failure")


def test_cut_in_two_halves_neither_decides_and_healed_nothing_is_lost(apart):
    one, other = NAMES[0], NAMES[2]
    first = apart.said(one, grant(apart.consortium, "before", one)[0])
    acknowledged = {first[0]: accepted(first)}
    apart.machines.cut([0, 1], [2, 3])
    during = {name: grant(apart.consortium, name, name)[0] for name in (one, other)}
    for name, data in during.items():
        apart.children[name].submit(data)
    assert [apart.children[name].answer() for name in during] == [HALTED, HALTED]
    apart.machines.heal()
    for name, data in during.items():
        answer = persistently(apart, name, data)
        acknowledged[answer[0]] = accepted(answer)
    assert sorted(index for index, _ in acknowledged.values()) == [0, 1, 2]
    apart.end()
    nothing_is_lost(apart.consortium, acknowledged)


def test_cut_from_the_three_others_one_waits_while_they_go_on_and_then_catches_up(apart):
    cut_off, others = NAMES[3], NAMES[:3]
    first = apart.said(cut_off, grant(apart.consortium, "before", cut_off)[0])
    acknowledged = {first[0]: accepted(first)}
    apart.machines.cut([0, 1, 2], [3])
    late = grant(apart.consortium, "late", cut_off)[0]
    apart.children[cut_off].submit(late)
    for n, name in enumerate(others * 5):
        answer = apart.said(name, grant(apart.consortium, n, name)[0])
        acknowledged[answer[0]] = accepted(answer)
    assert apart.children[cut_off].answer() == HALTED
    apart.machines.heal()
    answer = persistently(apart, cut_off, late)
    acknowledged[answer[0]] = accepted(answer)
    assert acknowledged[answer[0]][0] == 16  # after all that the three decided meanwhile
    apart.end()
    nothing_is_lost(apart.consortium, acknowledged)
