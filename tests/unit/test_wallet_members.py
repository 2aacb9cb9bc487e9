"""A wallet follows who the members are: from genesis, by changes that a quorum of before proves, forward only, kept in its home."""

import asyncio
import secrets
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import pytest

from tests.wallet_worlds import HOLDER, ChartWorld, faults
from tests.worlds import MEMBERS, founder, key, make_genesis, node_key, receipt_key, seed
from yilian.base.handovers import EnrolAsk
from yilian.base.transaction import Header
from yilian.contracts import anchor, directory
from yilian.ledger import Equivocation, Export, Item, parse_export, receipt, root_at, sign_checkpoint, transparent
from yilian.sim.phones import Phone
from yilian.talks import converse, frame, unframed
from yilian.wallet import Fault, Members, No, WalletClient, WalletRefused, Wish
from yilian.wallet.desk import Desk
from yilian.wallet.home import CHANGES_FILE, Home
from yilian.wallet.protocol import FRAME_BYTES_MAX

FOUR = ("clinic-1", "hospital-1", "hospital-2", "regulator-1")
BOTH = (*FOUR, "hospital-3")
TICK = anchor.Tick(bytes(32), bytes(32))


class Consortium(ChartWorld):
    """A chart in a network of four validators; `signers` vouch for each root and day, with the receipt keys that `keys` names."""

    def __init__(self, operator=""):
        founders = [replace(one, consensus_key=key(one.id, "consensus").public_key) for one in MEMBERS]
        super().__init__(make_genesis(founders, operator=operator), shows_roots=True)
        self.signers, self.keys, self.items = FOUR if not operator else (operator,), {}, []
        self.enrol()
        self.read_own()

    def signed(self, member):
        signer = self.keys.get(member, receipt_key(member))
        log = (self.size, root_at(self.nodes, self.size))
        return sign_checkpoint(signer, member, self.network, log, self.chain.height, self.now_s)

    def receipts(self, index, members):
        return [receipt(self.signed(member), index, list(self.path(index))) for member in members]

    def answer(self, request):
        shown = super().answer(request)
        days = [
            replace(day, answers=tuple(self.open_day(day.day, [], each).answers[0] for each in self.signers)) for day in shown.open_days
        ]
        return replace(shown, checkpoints=tuple(self.signed(each).encoded() for each in self.signers), open_days=tuple(days))

    def entered(self, kind_name, message, carrier, members=None):
        """Enter one more thing and return its item, with receipts of `members` (as they sign before it)."""
        index = self.size
        assert self.act(kind_name, message, carrier) == (0, {})
        return Item(index, transparent(self.leaves[index], self.receipts(index, members or self.signers)))

    def changed(self, change, voters=FOUR[:3]):
        """Carry a change by votes; keep its items and return them."""
        first, *others = voters
        proposed = self.entered("directory.propose", directory.propose_change(change), first)
        votes = [self.entered("directory.vote", directory.Vote(proposed.index, True), each) for each in others]
        self.items += [proposed, *votes]
        return [proposed, *votes]

    def suspended(self, member):
        self.items.append(self.entered("directory.suspend", directory.Suspend(member, bytes(32)), "regulator-1"))

    def export(self, *items):
        return Export(self.genesis.encoded(), items or tuple(self.items)).encoded()

    def follow(self):
        self.wallet = replace(self.wallet, members=self.wallet.members.following(self.export()))


@pytest.fixture
def world():
    return Consortium()


def admit(member):
    one = founder(member)
    keys = (one.node_key, one.sealing_key, one.receipt_key, key(member, "consensus").public_key)
    return directory.Admit(one.id, list(one.kinds), one.name, "http://n", *keys, one.power)


def refused(act, *arguments, **named):
    with pytest.raises(WalletRefused) as no:
        act(*arguments, **named)
    return no.value.no, no.value.facts


def test_founders_are_whom_genesis_names_and_their_index_is_before_the_first(world):
    members = Members.of(world.genesis)
    assert (members.last_index, members.changes(), sorted(members.keys)) == (-1, [], sorted(FOUR))
    assert members.at(0) is members
    assert members.following(Export(world.genesis.encoded(), ()).encoded()) is members


def test_a_fifth_members_word_counts_once_its_admission_is_followed(world):
    world.changed(admit("hospital-3"))
    world.signers = ("clinic-1", "hospital-1", "hospital-3")
    assert Fault.NOT_VOUCHED in faults(world.check())  # not three of the four that it knows
    world.signers = (*world.signers, "hospital-2")
    world.follow()
    report = world.check()
    assert (faults(report), report.vouched_by) == ([], ("clinic-1", "hospital-1", "hospital-2", "hospital-3"))
    assert world.wallet.members.last_index == world.items[-1].index
    world.signers = FOUR[:3]
    assert Fault.NOT_VOUCHED in faults(world.check())  # three of five


def test_a_removed_members_word_counts_no_more(world):
    world.changed(admit("hospital-3"))
    world.signers = (*FOUR, "hospital-3")
    world.changed(directory.Remove("hospital-2"), ("clinic-1", "hospital-1", "regulator-1", "hospital-3"))
    world.signers = ("clinic-1", "hospital-1", "hospital-2")
    world.follow()
    assert Fault.NOT_VOUCHED in faults(world.check())
    world.signers = ("clinic-1", "hospital-1", "hospital-3")
    assert faults(world.check()) == []


def test_a_new_receipt_key_is_followed_and_the_old_one_counts_no_more(world):
    world.signers = FOUR[:3]
    new = key("clinic-1", "receipt", "new")
    world.changed(directory.Rotate("clinic-1", directory.KeyUse.RECEIPT, new.public_key))
    world.follow()
    assert Fault.NOT_VOUCHED in faults(world.check())
    world.keys["clinic-1"] = new
    world.shows_roots = False  # words on days are signed with the old key by this world: they are the next thing missed
    assert Fault.NOT_VOUCHED not in faults(world.check())


def test_a_holders_new_node_key_signs_its_heads(world):
    new = key(HOLDER, "node", "new")
    world.changed(directory.Rotate(HOLDER, directory.KeyUse.NODE, new.public_key))
    world.follow()
    assert Fault.HEAD_NOT_SIGNED in faults(world.check())
    assert world.wallet.members.named(HOLDER).node_key == new.public_key


def test_on_an_operators_ledger_the_operators_new_key_is_followed():
    world = Consortium("clinic-1")
    new = key("clinic-1", "receipt", "new")
    world.changed(directory.Rotate("clinic-1", directory.KeyUse.RECEIPT, new.public_key), ("hospital-1", "hospital-2", "regulator-1"))
    world.keys["clinic-1"] = new
    assert Fault.NOT_VOUCHED in faults(world.check())
    world.follow()
    assert Fault.NOT_VOUCHED not in faults(world.check())


def test_of_a_suspended_member_the_log_is_checked_and_nothing_else_is_asked(world):
    world.suspended(HOLDER)
    world.signers = ("clinic-1", "hospital-2", "regulator-1")
    world.follow()
    assert faults(world.check()) == []
    no = (No.MEMBER_NOT_ACTIVE, {"member": HOLDER})
    ask = EnrolAsk(world.network, HOLDER, 2, b"q" * 32)
    assert refused(world.wallet.enrol, world.state, ask, world.now_s) == no
    assert refused(world.give) == no
    shown = world.challenge(requester=HOLDER)
    asked = {"seen": HOLDER, "now_s": world.now_s, "until_s": world.now_s + 60}
    assert refused(world.wallet.prove_presence, world.state, shown, (HOLDER,), **asked) == no


def test_a_suspended_carrier_gets_no_approval(world):
    grant = world.give()
    world.suspended("hospital-2")
    world.signers = FOUR[:2] + FOUR[3:]
    world.follow()
    header = Header(world.network, node_key("hospital-2").kid, "hospital-2", "consent.revoke", world.now_s + 100, 9).encoded()
    assert refused(world.wallet.approve_revoke, world.state, grant, header, world.now_s) == (
        No.MEMBER_NOT_ACTIVE,
        {"member": "hospital-2"},
    )


def test_a_log_that_ends_before_a_followed_change_is_behind(world):
    early = world.answers()
    world.changed(admit("hospital-3"))
    world.follow()
    report = world.check(early)
    found = {finding.fault: dict(finding.facts) for finding in report.findings}
    assert found[Fault.LOG_BEHIND] == {"holder": HOLDER, "size": world.items[0].index, "index": world.items[-1].index}
    assert not report.is_clean


def test_a_log_that_ends_with_the_last_change_is_not_behind(world):
    world.changed(admit("hospital-3"))
    world.follow()
    assert world.size == world.wallet.members.last_index + 1
    assert faults(world.check()) == []


def test_receipts_are_judged_by_the_members_of_then(world):
    grant = world.give()
    index = world.size - 1
    then = transparent(world.leaves[index], world.receipts(index, FOUR[:3]))
    world.changed(admit("hospital-3"))
    world.signers = (*FOUR, "hospital-3")
    world.changed(directory.Remove("hospital-2"), ("clinic-1", "hospital-1", "regulator-1", "hospital-3"))
    world.follow()
    assert world.wallet.take_receipt(world.state, then).grant(grant).given_index == index
    assert world.wallet.members.at(index).changes() == []
    assert world.wallet.members.at(world.size).changes() == world.items


@pytest.mark.parametrize("signers", [FOUR[:2], ("hospital-1",), ()])
def test_a_change_without_a_quorum_of_before_is_not_followed(world, signers):
    world.changed(admit("hospital-3"))
    first = world.items[0]
    thin = replace(first, statement=transparent(world.leaves[first.index], world.receipts(first.index, signers)))
    no, facts = refused(world.wallet.members.following, world.export(thin, *world.items[1:]))
    assert no is No.CHANGES_NOT_PROVEN
    assert facts["why"].startswith(f"entry {first.index}: ")


def test_a_change_on_which_a_later_one_rests_cannot_be_left_out(world):
    world.suspended("hospital-2")
    world.signers = FOUR[:2] + FOUR[3:]
    world.items.append(world.entered("directory.reinstate", directory.Reinstate("hospital-2"), "regulator-1"))
    no, facts = refused(world.wallet.members.following, world.export(world.items[1]))
    assert no is No.CHANGES_NOT_PROVEN
    assert "an entry before it that changed the directory is missing" in facts["why"]


@pytest.fixture
def hidden(world):
    """Return changes before a suspension, the suspension, those after it as a liar shows them, and those as they are."""
    before = world.changed(admit("hospital-3"))
    world.suspended("hospital-3")
    world.changed(admit("hospital-4"))
    suspension, *after = world.items[len(before) :]
    as_shown = [replace(each, statement=transparent(world.leaves[each.index], world.receipts(each.index, BOTH))) for each in after]
    return before, suspension, as_shown, after


def test_what_was_left_out_between_two_others_is_put_there_once_anybody_shows_it(world, hidden):
    before, suspension, _, after = hidden
    deceived = world.wallet.members.following(world.export(*before, *after))
    assert (deceived.keys["hospital-3"].is_active, deceived.last_index) == (True, after[-1].index)
    for honest in (world.export(), world.export(suspension), world.export(*before, suspension)):
        mended = deceived.following(honest)
        assert (mended.keys["hospital-3"].is_active, mended.last_index) == (False, after[-1].index)
        assert mended.changes() == world.items
        assert mended.at(suspension.index).keys["hospital-3"].is_active
        assert mended.votes == world.wallet.members.following(world.export()).votes
    assert mended.following(world.export(*before, *after)) is mended


def test_what_a_suspended_member_vouched_for_is_taken_on_the_word_of_others(world, hidden):
    before, suspension, as_shown, after = hidden
    deceived = world.wallet.members.following(world.export(*before, *as_shown))
    assert deceived.changes() == [*before, *as_shown]
    assert deceived.following(world.export()).changes() == [*before, suspension, *after]
    no, facts = refused(deceived.following, world.export(suspension))  # and nothing is given up where others' word is not shown
    assert (no, "it was suspended by then" in facts["why"]) == (No.CHANGES_NOT_PROVEN, True)


def test_a_gap_is_not_filled_with_what_is_not_proven(world, hidden):
    before, suspension, _, after = hidden
    deceived = world.wallet.members.following(world.export(*before, *after))
    thin = replace(suspension, statement=transparent(world.leaves[suspension.index], world.receipts(suspension.index, FOUR[:2])))
    assert refused(deceived.following, world.export(thin))[0] is No.CHANGES_NOT_PROVEN


def test_what_changes_no_member_is_not_followed_nor_what_comes_out_of_order_nor_another_networks(world):
    tick = world.entered("anchor.tick", TICK, "clinic-1")
    assert refused(world.wallet.members.following, world.export(tick)) == (
        No.CHANGES_NOT_PROVEN,
        {"why": f"entry {tick.index} changes no member"},
    )
    world.changed(admit("hospital-3"))
    first, second, _ = world.items
    for lie in (world.export(second, first), b"", world.export(first, first)):
        assert refused(world.wallet.members.following, lie)[0] is No.CHANGES_NOT_PROVEN
    other = Export(make_genesis(operator="", memo_size=1).encoded(), tuple(world.items)).encoded()
    assert refused(world.wallet.members.following, other) == (No.ANOTHER_NETWORK, {})


def test_nobody_is_suspended_by_a_leaf_that_a_node_made_up(world):
    index = world.size
    leaf = Equivocation(world.network, "hospital-2", world.chain.height).encoded()
    made_up = Item(index, leaf, tuple(world.receipts(index - 1, FOUR)))
    no, facts = refused(world.wallet.members.following, world.export(made_up))
    assert (no, facts["why"].startswith(f"entry {index}: ")) == (No.CHANGES_NOT_PROVEN, True)


def test_what_was_taken_is_never_given_up_and_passed_over(world):
    world.changed(admit("hospital-3"))
    world.follow()
    after = world.wallet.members
    assert after.following(world.export()) is after
    assert after.following(world.export(world.items[0])) is after
    assert after.changes() == world.items
    assert "hospital-3" in after.keys
    assert "hospital-3" not in Members.of(world.genesis).keys


# the home, the desk and the client


def said(desk, operation, **fields):
    return unframed(desk.answer(frame({"op": operation, **fields})[4:])[4:])


@pytest.fixture
def home(tmp_path, world):
    opened = Home.open(tmp_path / "home", world.network, None)
    yield opened
    opened.close()


def desk_of(home, world):
    return Desk(home, Members.of(world.genesis), lambda: world.now_s, secrets.token_bytes)


def test_followed_members_are_kept_in_the_home_and_are_there_after_a_restart(tmp_path, world, home):
    desk = desk_of(home, world)
    assert said(desk, "status")["ok"]["members_since"] == -1
    world.changed(admit("hospital-3"))
    last = world.items[-1].index
    assert said(desk, "follow", changes=world.export()) == {"ok": {"members_since": last}}
    assert said(desk, "follow", changes=world.export()) == {"ok": {"members_since": last}}
    assert said(desk_of(home, world), "status")["ok"]["members_since"] == last
    assert world.genesis.encoded() not in (tmp_path / "home" / CHANGES_FILE).read_bytes()


def test_a_lie_changes_nothing_that_is_kept(world, home):
    desk = desk_of(home, world)
    world.changed(admit("hospital-3"))
    lie = replace(world.items[0], statement=world.items[1].statement)
    answer = said(desk, "follow", changes=world.export(lie))
    assert (answer["no"], home.changes(), said(desk, "status")["ok"]["members_since"]) == ("CHANGES_NOT_PROVEN", None, -1)


def test_a_damaged_file_of_changes_is_named(tmp_path, world, home):
    desk = desk_of(home, world)
    world.changed(admit("hospital-3"))
    said(desk, "follow", changes=world.export())
    file = tmp_path / "home" / CHANGES_FILE
    whole = file.read_bytes()
    for damaged in (b"", whole[:20], whole[:-1] + bytes([whole[-1] ^ 1])):
        file.write_bytes(damaged)
        assert refused(desk_of, home, world) == (No.WALLET_DAMAGED, {"name": CHANGES_FILE})


def test_a_wallets_file_is_not_taken_for_the_changes(tmp_path, world, home):
    home.create("ming", seed("ming"))
    (tmp_path / "home" / CHANGES_FILE).write_bytes((tmp_path / "home" / "ming.wallet").read_bytes())
    assert refused(desk_of, home, world) == (No.WALLET_DAMAGED, {"name": CHANGES_FILE})


async def test_the_client_asks_until_nothing_is_new(tmp_path, world, home):
    desk = desk_of(home, world)
    world.changed(admit("hospital-3"))
    asked = []
    async with talking(desk, tmp_path / "w.sock") as client:
        assert await client.follow(serving(world, world.items, asked)) == world.items[-1].index
    assert asked == [-1, world.items[1].index, world.items[2].index]


@asynccontextmanager
async def talking(desk, socket):
    server = await asyncio.start_unix_server(lambda reader, writer: converse(desk.answer, FRAME_BYTES_MAX, reader, writer), path=socket)
    async with server, await WalletClient.connect(socket) as client:
        yield client


def serving(world, items, asked, at_once=2):
    async def fetch(since):
        asked.append(since)
        return Export(world.genesis.encoded(), tuple([item for item in items if item.index > since][:at_once])).encoded()

    return fetch


async def test_the_whole_history_is_compared_even_where_an_answer_holds_little(tmp_path, world, home, hidden):
    """Two changes to an answer: those after the one that was missing are judged together with it."""
    before, _, as_shown, _ = hidden
    desk = desk_of(home, world)
    said(desk, "follow", changes=world.export(*before, *as_shown))
    async with talking(desk, tmp_path / "w.sock") as client:
        asked = []
        assert await client.follow(serving(world, world.items, [])) == world.items[-1].index
        assert parse_export(home.changes()).items == (*before, *as_shown)
        assert await client.follow_whole(serving(world, world.items, asked)) == world.items[-1].index
    assert asked[0] == -1
    assert asked == [-1, *(each.index for each in world.items[1::2]), *[world.items[-1].index] * 2]
    assert parse_export(home.changes()).items == tuple(world.items)
    assert desk_of(home, world)._members.changes() == world.items


async def test_who_serves_the_same_again_or_another_networks_is_not_asked_for_ever(tmp_path, world, home, hidden):
    async with talking(desk_of(home, world), tmp_path / "w.sock") as client:

        async def the_same(_):
            return world.export()

        async def nonsense(_):
            return b""

        answers = [world.export(), Export(make_genesis(operator="", memo_size=1).encoded(), tuple(world.items)).encoded()]

        async def another(_):
            return answers.pop(0)

        for lie, no in ((the_same, "CHANGES_NOT_PROVEN"), (nonsense, "CHANGES_NOT_PROVEN"), (another, "ANOTHER_NETWORK")):
            with pytest.raises(WalletRefused, match=no):
                await client.follow_whole(lie)
    assert home.changes() is None


async def test_a_phone_asks_a_second_node_for_all_so_that_no_gap_is_left(tmp_path, world, home, hidden):
    before, _, as_shown, _ = hidden
    desk = desk_of(home, world)
    said(desk, "follow", changes=world.export(*before, *as_shown))
    asked = []

    async def answer(request):
        asked.append((request.url.host, request.url.params.get("since")))
        if request.url.host == "down":
            return httpx.Response(503)
        return httpx.Response(200, content=await serving(world, world.items, [], 64)(int(request.url.params.get("since", -1))))

    nodes = {name: f"http://{name}" for name in ("one", "two", "down")}
    async with talking(desk, tmp_path / "w.sock") as client, httpx.AsyncClient(transport=httpx.MockTransport(answer)) as web:
        await Phone("ming", client, nodes, web).follow()
    said_since = [since for host, since in asked if host != "down"]
    last = str(world.items[-1].index)
    assert said_since == [last, None, last, last]
    assert len({host for host, _ in asked if host != "down"}) == 2
    assert parse_export(home.changes()).items == tuple(world.items)


def test_a_grant_may_go_to_a_member_that_came_later(world):
    world.changed(admit("hospital-3"))
    sides = tuple(world.grant_key(member, world.one_time(member)) for member in (HOLDER, "hospital-3"))
    drawn = (Wish(HOLDER, "hospital-3", "TREAT", 366, 24), sides, world.now_s, seed("k"))
    assert refused(world.wallet.draft, world.state, *drawn) == (No.NO_SUCH_MEMBER, {"member": "hospital-3"})
    world.follow()
    assert world.wallet.draft(world.state, *drawn)[0].grants[0].requester == "hospital-3"
