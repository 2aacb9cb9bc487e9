"""The wallet's process: encrypted files, answers to any bytes, and the client over a socket."""

import asyncio
import secrets
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wallet_worlds import HOLDER, OPERATOR, REQUESTER, ChartWorld
from tests.worlds import node_key, seed
from yilian.base.chartlogs import LogAnswer
from yilian.base.codec import decode
from yilian.base.handovers import EnrolAsk
from yilian.base.shapes import pack, unpack
from yilian.base.transaction import assemble
from yilian.talks import converse, frame, unframed
from yilian.wallet import No, WalletClient, WalletGone, WalletRefused, WalletState, Wish, spawn
from yilian.wallet.desk import Desk
from yilian.wallet.home import HOME_FILE, Home
from yilian.wallet.protocol import FRAME_BYTES_MAX, OPERATIONS, heard_report, said_report

NETWORK = b"n" * 32
SEED = bytes(range(32))


def refused(act, *arguments):
    with pytest.raises(WalletRefused) as no:
        act(*arguments)
    return no.value.no, no.value.facts


def everything_in(folder):
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


@pytest.mark.parametrize("passphrase", [None, "long and good"])
def test_wallets_outlive_the_process_and_lie_encrypted(tmp_path, passphrase):
    home = Home.open(tmp_path, NETWORK, passphrase)
    home.create("ming", SEED)
    home.keep("ming", WalletState(checkpoint=b"a checkpoint that was seen"))
    home.close()
    assert SEED not in everything_in(tmp_path)
    assert b"a checkpoint that was seen" not in everything_in(tmp_path)
    again = Home.open(tmp_path, NETWORK, passphrase)
    assert again.load("ming") == (SEED, WalletState(checkpoint=b"a checkpoint that was seen"))
    assert (again.names(), again.is_sealed) == (["ming"], passphrase is not None)
    again.close()


def test_a_home_opens_for_its_network_passphrase_and_one_process(tmp_path):
    home = Home.open(tmp_path, NETWORK, "right")
    assert refused(Home.open, tmp_path, NETWORK, "right") == (No.HOME_IN_USE, {})
    home.close()
    assert refused(Home.open, tmp_path, NETWORK, "wrong") == (No.WRONG_PASSPHRASE, {})
    assert refused(Home.open, tmp_path, NETWORK, None) == (No.WRONG_PASSPHRASE, {})
    assert refused(Home.open, tmp_path, b"x" * 32, "right") == (No.ANOTHER_NETWORK, {})
    whole = (tmp_path / HOME_FILE).read_bytes()
    for place in range(len(whole)):
        (tmp_path / HOME_FILE).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert refused(Home.open, tmp_path, NETWORK, "right") == (No.WALLET_DAMAGED, {"name": HOME_FILE})


def test_names_are_files_and_nothing_else(tmp_path):
    home = Home.open(tmp_path, NETWORK, None)
    home.create("ming", SEED)
    assert refused(home.create, "ming", SEED) == (No.WALLET_EXISTS, {"name": "ming"})
    for name in ("", "../ming", ".ming", "a/b", "名", "x" * 65):
        assert refused(home.create, name, SEED) == (No.BAD_REQUEST, {})
        assert refused(home.load, name) == (No.NO_SUCH_WALLET, {})
    assert refused(home.load, "hua") == (No.NO_SUCH_WALLET, {"name": "hua"})
    home.create("hua", seed("hua"))
    home.close()
    (tmp_path / "ming.wallet").write_bytes((tmp_path / "hua.wallet").read_bytes())  # another's file under this name
    again = Home.open(tmp_path, NETWORK, None)
    assert refused(again.load, "ming") == (No.WALLET_DAMAGED, {"name": "ming"})
    assert again.load("hua")[0] == seed("hua")
    again.close()


@pytest.fixture
def desk(tmp_path):
    world = ChartWorld()
    home = Home.open(tmp_path, world.network, None)
    home.create("ming", SEED)
    made = Desk(home, world.members, lambda: world.now_s, secrets.token_bytes)
    made.world = world
    yield made
    home.close()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**64 - 1) | st.binary(max_size=40) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)


@given(data=st.data())
def test_any_request_gets_an_answer(tmp_path_factory, data):
    world = ChartWorld()
    home = Home.open(tmp_path_factory.mktemp("home"), world.network, None)
    home.create("ming", SEED)
    desk = Desk(home, world.members, lambda: world.now_s, bytes)
    operation = data.draw(st.sampled_from(sorted(OPERATIONS)))
    fields = {name: data.draw(VALUES) for name in OPERATIONS[operation]} | {"op": operation}
    if "name" in fields and data.draw(st.booleans()):
        fields["name"] = "ming"
    raw = data.draw(st.binary(max_size=60))
    for body in (frame(fields)[4:], raw):
        answer = unframed(desk.answer(body)[4:])
        assert list(answer) in (["ok"], ["facts", "no"], ["no", "facts"])
    home.close()


def test_a_field_too_many_too_few_or_of_another_type_is_refused(desk):
    good = {"op": "note", "name": "ming", "control_key": b"c" * 32, "revoke": False, "index": 1}
    assert decode(desk.answer(frame(good)[4:])[4:])["no"] == "NO_SUCH_GRANT"
    for change in ({"index": True}, {"index": -1}, {"revoke": 0}, {"name": b"ming"}, {"more": 1}):
        answer = decode(desk.answer(frame(good | change)[4:])[4:])
        assert answer == {"no": "BAD_REQUEST", "facts": {"why": next(iter(change))}}
    assert decode(desk.answer(frame({"op": "note"})[4:])[4:]) == {"no": "BAD_REQUEST", "facts": {"why": "name"}}
    unknown = {"no": "BAD_REQUEST", "facts": {"why": "NO_SUCH_OPERATION"}}
    assert [decode(desk.answer(frame(each)[4:])[4:]) for each in ({"op": "seed"}, {"op": 5}, {})] == [unknown] * 3


def test_a_report_travels_whole():
    world = ChartWorld()
    world.enrol()
    world.read_by_grant(world.give())
    world.read_own()
    world.skip()
    honest = world.answers()
    for answers in (honest, ()):
        report = world.check(answers)
        assert heard_report(unframed(frame(said_report(report))[4:])) == report
    assert unpack(LogAnswer, pack(honest[0])) == honest[0]


async def test_a_grant_an_access_and_a_check_through_the_socket(desk, tmp_path):
    """From enrolment to a checked log; the clock is the ledger's, so that no midnight comes between."""
    world = desk.world
    server = await asyncio.start_unix_server(
        lambda reader, writer: converse(desk.answer, FRAME_BYTES_MAX, reader, writer), path=str(tmp_path / "socket")
    )
    async with server, await WalletClient.connect(tmp_path / "socket") as client:
        await client.create("hua", seed("patient"))
        answer = await client.enrol("hua", EnrolAsk(world.network, HOLDER, 1, b"q" * 32))
        world.relationship_key = answer.relationship_key
        await client.admit("hua", world.relationship(answer))
        assert await client.charts("hua") == {HOLDER: answer.relationship_key}
        with pytest.raises(WalletRefused) as no:
            await client.bundle("hua", b"g" * 32, HOLDER)
        assert no.value.no is No.NO_SUCH_GRANT
        reading = await client.read_own("hua", HOLDER, "/fhir/Patient/1")
        assert reading.is_genuine(world.network)
        (proof,) = await client.prove_presence("hua", world.challenge(), [HOLDER], seen=REQUESTER, until_s=world.now_s + 60)
        assert proof.is_signed_by(world.network, answer.relationship_key)
        await _give_and_check(world, client)


@pytest.mark.slow
async def test_a_process_lives_as_long_as_who_started_it(tmp_path):
    world = ChartWorld()
    (tmp_path / "genesis").write_bytes(world.genesis.encoded())
    for passphrase in ("a passphrase", "a passphrase"):  # the second time the home is there
        process, client = await spawn(tmp_path / "home", tmp_path / "genesis", tmp_path / "socket", passphrase)
        async with client:
            name = f"patient-{len(await client.names())}"
            await client.create(name)
            second = await WalletClient.connect(tmp_path / "socket")
            assert name in await second.names()
            await second.close()
        process.stdin.close()
        assert await process.wait() == 0
        assert not (tmp_path / "socket").exists()
    assert sorted(path.name for path in (tmp_path / "home").glob("*.wallet")) == ["patient-0.wallet", "patient-1.wallet"]


async def _give_and_check(world, client):
    sides = [world.grant_key(member, world.one_time(member)) for member in (HOLDER, REQUESTER)]
    act = await client.draft("hua", Wish(HOLDER, REQUESTER, "TREAT", 8, 5), *sides)
    kind, body = decode(act.act)
    header = world.header(act.kind)
    approval = await client.approve("hua", act.control_key, header)
    (result,) = world.commit(assemble(node_key(OPERATOR), header, kind, body, [approval])).results
    assert (result.reason, result.facts) == (0, {})
    await client.note("hua", act.control_key, result.index)
    await client.take_receipt("hua", world.transparent(result.index))
    assert len(await client.bundle("hua", act.control_key, HOLDER)) > 1_000
    asked = []

    async def fetch(request):
        asked.append(request)
        return world.answer(request)

    report = await client.check_log("hua", HOLDER, fetch)
    assert [found.en for found in report.findings] == []
    assert asked[0].control_keys == (act.control_key,)
    notice, end = await client.revoke("hua", act.control_key)
    assert notice.is_genuine(world.network)
    kind, body = decode(end.act)
    header = world.header(end.kind)
    approval = await client.approve("hua", act.control_key, header, is_revoke=True)
    (result,) = world.commit(assemble(node_key(OPERATOR), header, kind, body, [approval])).results
    await client.note("hua", act.control_key, result.index, is_revoke=True)
    (grant,) = await client.grants("hua")
    assert (grant.revoked_index, grant.is_live(world.now_s)) == (result.index, False)


@pytest.mark.slow
async def test_a_process_that_did_not_start_is_no_wallet(tmp_path):
    with pytest.raises(WalletGone):
        await spawn(tmp_path / "home", tmp_path / "nothing", tmp_path / "socket")


def test_a_process_that_cannot_start_says_so(tmp_path):
    (tmp_path / "genesis").write_bytes(b"no genesis")
    options = ["--home", str(tmp_path / "home"), "--genesis", str(tmp_path / "genesis"), "--unsealed", "--stdio"]
    run = subprocess.run([sys.executable, "-m", "yilian.wallet", *options], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (2, f"wallet: {tmp_path / 'genesis'} is not a genesis\n")


def test_one_conversation_on_standard_input_and_output(tmp_path):
    (tmp_path / "genesis").write_bytes(ChartWorld().genesis.encoded())
    options = ["--home", str(tmp_path / "home"), "--genesis", str(tmp_path / "genesis"), "--unsealed", "--stdio"]
    asked = frame({"op": "create", "name": "ming", "seed": None}) + frame({"op": "status"}) + b"\xff\xff\xff\xff"
    run = subprocess.run([sys.executable, "-m", "yilian.wallet", *options], input=asked, capture_output=True, check=False)
    assert run.returncode == 0
    first, second, third = _frames(run.stdout)
    assert first == {"ok": {}}
    assert second["ok"]["wallets"] == ["ming"]
    assert third == {"no": "BAD_REQUEST", "facts": {"why": "FRAME_TOO_LONG", "bytes_max": FRAME_BYTES_MAX}}


def _frames(data):
    while data:
        length = int.from_bytes(data[:4], "big")
        yield unframed(data[4 : 4 + length])
        data = data[4 + length :]
