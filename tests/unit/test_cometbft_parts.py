"""The CometBFT engine's parts by themselves: the wire, items, settings, and each ABCI method's answers."""

import json
import random
import socket
import threading
import tomllib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.consortium import NAMES, consensus_key, consortium_genesis
from tests.ports import free_ports
from tests.sim.story import Story
from tests.worlds import KINDS, key, make_genesis, node_key
from yilian.base.codec import decode, encode
from yilian.base.digests import sha256
from yilian.base.keys import are_signed
from yilian.base.refusals import Reason, Refused
from yilian.base.transaction import Header, act_bytes, approve, assemble
from yilian.contracts import consent, directory
from yilian.engines import decode_block, encode_block
from yilian.engines.cometbft import (
    Diverged,
    NotAHome,
    OutOfStep,
    PortInUse,
    RestoredAlone,
    Seat,
    SeatIncomplete,
    Trust,
    WrongGenesis,
    WrongVersion,
    write_home,
)
from yilian.engines.cometbft.application import (
    CODE_KEPT,
    Application,
    Configured,
    Mempool,
    Timing,
)
from yilian.engines.cometbft.held import Held
from yilian.engines.cometbft.items import BATCH_SIZE_BYTES_MAX, BATCH_TRANSACTIONS_MAX, Screening, in_block, pack, unpack
from yilian.engines.cometbft.peerfilter import BEHIND_MS, STRANGER_S
from yilian.engines.cometbft.process import SEAT_FILES, Process, _require_version, cause
from yilian.engines.cometbft.proposing import BLOCK_TRANSACTIONS_MAX, LOOK_S, LOOKS_MAX
from yilian.engines.cometbft.server import Server
from yilian.engines.cometbft.settings import VERSION, address, chain_id, genesis_document, read_ports
from yilian.engines.cometbft.snapshots import Snapshots
from yilian.engines.cometbft.stubs.abci import types_pb2 as abci
from yilian.engines.cometbft.stubs.crypto import keys_pb2
from yilian.engines.cometbft.stubs.types import params_pb2
from yilian.engines.cometbft.waiting import Waiting
from yilian.engines.cometbft.wire import MESSAGE_SIZE_BYTES_MAX, Frames, NotAbci, framed
from yilian.engines.faults import RulesMissing
from yilian.engines.fsck import fsck
from yilian.engines.replica import Replica
from yilian.ledger import NEWEST, parse_manifest

# -- the wire


@given(st.lists(st.binary(max_size=400), max_size=6), st.integers(1, 50))
def test_messages_arrive_whole_however_the_stream_is_cut(texts, piece_size):
    messages = [abci.Request(check_tx=abci.RequestCheckTx(tx=text)) for text in texts]
    stream = b"".join(framed(each) for each in messages)
    frames = Frames()
    bodies = [body for at in range(0, len(stream), piece_size) for body in frames.take(stream[at : at + piece_size])]
    assert [abci.Request.FromString(body) for body in bodies] == messages


@pytest.mark.parametrize("announced", [b"\xff" * 5, b"\x80\x80\x80\x80\x7f", framed(abci.Request())[:0] + b"\xff\xff\xff\xff\x0f"])
def test_a_length_that_no_message_has_is_not_waited_for(announced):
    with pytest.raises(NotAbci):
        list(Frames().take(announced))


def test_the_longest_message_is_waited_for():
    size, head = MESSAGE_SIZE_BYTES_MAX, bytearray()
    while size > 127:
        head.append(size & 127 | 128)
        size >>= 7
    assert list(Frames().take(bytes(head) + bytes([size]))) == []


def received(client):
    data = client.recv(1 << 20)
    assert data, "the server closed the connection"
    return data


def test_a_connection_is_read_while_a_question_is_answered(tmp_path):
    may_answer = threading.Event()

    def echo(asked):
        assert may_answer.wait(60)
        return abci.ResponseEcho(message=asked.message)

    server = Server(tmp_path / "abci.sock", {"echo": echo}, raised)
    texts = [str(number) + "x" * 65_536 for number in range(64)]  # 4 MiB, twenty times what the socket holds
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(60)  # a bound that turns a hang into a failure
        client.connect(str(tmp_path / "abci.sock"))
        client.sendall(b"".join([framed(abci.Request(echo=abci.RequestEcho(message=text))) for text in texts]))
        may_answer.set()
        frames, answers = Frames(), []
        while len(answers) < len(texts):
            answers += [abci.Response.FromString(body).echo.message for body in frames.take(received(client))]
    server.close()
    assert answers == texts


# -- items


@pytest.fixture(scope="module")
def genesis():
    return consortium_genesis()


@pytest.fixture
def replica(genesis, tmp_path):
    copy = Replica.open(tmp_path / "ledger", genesis, is_durable=False)
    yield copy
    copy.close()


@pytest.fixture
def story(genesis):
    return Story(genesis.network_id, NAMES, random.Random(1))


def raised(error):
    raise error


@pytest.fixture
def snapshots(replica, tmp_path):
    made = Snapshots(tmp_path / "snapshots", replica, raised, every=2)
    yield made
    made.close()


@pytest.fixture
def application(replica, snapshots):
    return Application(replica, snapshots, lambda _: None)


def test_one_transaction_goes_as_it_is_and_several_as_one_array(genesis, story):
    one, two = story.tick(genesis.started_at_s), story.tick(genesis.started_at_s)
    assert (pack([one]), unpack(one)) == (one, (one,))
    assert (pack([one, two]), unpack(pack([one, two]))) == (encode([one, two]), (one, two))


@pytest.mark.parametrize(
    ("item", "reason", "facts"),
    [
        (b"", Reason.BAD_BYTES, {}),
        (encode([]), Reason.BAD_BYTES, {}),
        (encode([b"x"] * 257), Reason.BAD_BYTES, {}),
        (encode([b"x", 1]), Reason.BAD_BYTES, {}),
        (encode({1: b"x"}), Reason.BAD_BYTES, {}),
        (b"\x9f\x41x\xff", Reason.BAD_BYTES, {}),  # an array of indefinite length
        (encode([b"x"]) + b"\x00", Reason.BAD_BYTES, {}),
        (encode([bytes(256 * 1024)]), Reason.TOO_LARGE, {"size_bytes": 256 * 1024 + 6}),
    ],
)
def test_what_is_no_batch_is_refused_and_stands_in_a_block_as_one_transaction(item, reason, facts):
    with pytest.raises(Refused) as no:
        unpack(item)
    assert (no.value.reason, no.value.facts) == (reason, facts)
    assert in_block([item]) == ([item], [1])


def test_256_transactions_are_a_batch():
    assert unpack(encode([b"x"] * 256)) == (b"x",) * 256


def test_one_bad_transaction_fails_its_batch(replica, genesis, story):
    screening = Screening(genesis.network_id, replica.keys())
    good, bad = story.tick(genesis.started_at_s), story.wrong(genesis.started_at_s)
    bad = story.forged(good)
    assert screening.admit(encode([good, good])) == 2
    with pytest.raises(Refused):
        screening.admit(encode([good, bad]))


def test_a_signature_is_verified_once_from_check_to_block(application, genesis, story):
    data = story.tick(genesis.started_at_s)
    for _ in range(3):
        assert application.check_tx(abci.RequestCheckTx(tx=data)).code == 0
    propose(application, [data])
    application.process_proposal(abci.RequestProcessProposal(txs=[encode([data, data])]))
    finalize(application, 1, [data])
    assert application.screening.verified == 1


def test_what_another_thread_is_checking_is_waited_for_and_checked_once(replica, genesis, story):
    good, bad = [story.tick(genesis.started_at_s) for _ in range(12)], story.tick(genesis.started_at_s)
    bad = bad[:-1] + bytes([bad[-1] ^ 1])
    may_verify, asked, is_asked = threading.Event(), [], threading.Semaphore(0)

    def verify(claims):
        asked.append(len(claims))
        is_asked.release()
        assert may_verify.wait(60)
        return are_signed(claims)

    screening, said = Screening(genesis.network_id, replica.keys(), verify), {}
    parts = {"first": [*good[:8], bad], "second": [bad, *good[4:]]}
    threads = [
        threading.Thread(target=lambda name=name, part=part: said.update({name: screening.said_of(part)})) for name, part in parts.items()
    ]
    for thread in threads:
        thread.start()
        assert is_asked.acquire(timeout=60)
    may_verify.set()
    for thread in threads:
        thread.join(60)
    assert asked[:2] == [9, 4]
    for name, part in parts.items():
        alone = Screening(genesis.network_id, replica.keys()).said_of(part)
        assert [each.reason if isinstance(each, Refused) else each for each in said[name]] == [
            each.reason if isinstance(each, Refused) else each for each in alone
        ]
    assert (screening.verified, screening._being_checked) == (12, set())


def test_a_known_transaction_does_not_outlive_its_carriers_key(replica, genesis, story):
    screening = Screening(genesis.network_id, replica.keys())
    data = story.say("anchor.tick", story_tick(), genesis.started_at_s, carrier="clinic-1")
    screening.admit(data)
    screening.move_on({kid: row for kid, row in replica.keys().items() if row[0] != "clinic-1"})
    with pytest.raises(Refused) as no:
        screening.admit(data)
    assert (no.value.reason, no.value.facts) == (Reason.UNKNOWN_KEY, {"kid": node_key("clinic-1").kid})


def test_a_batch_that_was_admitted_does_not_outlive_a_carriers_key(replica, genesis, story):
    screening = Screening(genesis.network_id, replica.keys())
    one, two = (story.say("anchor.tick", story_tick(), genesis.started_at_s, carrier=name) for name in ("hospital-1", "clinic-1"))
    batch = pack([one, two])
    assert (screening.admit(batch), screening.admit(bytes(batch)), screening.verified) == (2, 2, 2)
    screening.move_on({kid: row for kid, row in replica.keys().items() if row[0] != "clinic-1"})
    with pytest.raises(Refused) as no:
        screening.admit(batch)
    assert (no.value.reason, no.value.facts) == (Reason.UNKNOWN_KEY, {"kid": node_key("clinic-1").kid})


def test_a_batch_is_forgotten_with_its_block(replica, genesis, story):
    screening = Screening(genesis.network_id, replica.keys())
    data = [story.say("anchor.tick", story_tick(), genesis.started_at_s, carrier=name) for name in ("hospital-1", "clinic-1")]
    screening.admit(pack(data))
    screening.move_on(replica.keys(), [pack(data)], data)
    assert (dict(screening.facts), screening.facts.size_bytes) == ({}, 0)
    assert (screening.admit(pack(data)), screening.verified) == (2, 4)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 12)), max_size=60))
def test_what_is_remembered_is_bounded_in_bytes_and_the_oldest_goes_first(steps):
    held, witness = Held(100, lambda key: 10 * len(key)), []
    for is_held, size in steps:
        key = bytes(size)
        if is_held:
            held.hold(key, size)
            witness = witness if key in witness else [*witness, key]
            while sum(10 * len(each) for each in witness) > 100:
                witness = witness[1:]
        else:
            held.forget(key)
            witness = [each for each in witness if each != key]
        assert (list(held), held.size_bytes) == (witness, sum(10 * len(each) for each in witness))


def story_tick():
    from yilian.contracts import anchor

    return anchor.Tick(bytes(32), bytes(32))


def commit_many(application, genesis, story, height=1):
    """Commit a block that says that the network is busy."""
    decided(application, height, [story.tick(genesis.started_at_s) for _ in range(100)])


def looking(replica, snapshots, looks):
    """Return an application whose pauses do, one after the other, what `looks` say."""
    pauses = iter(looks)
    return Application(replica, snapshots, lambda _: None, timing=Timing(pause=lambda _: next(pauses)()))


def test_after_a_busy_block_a_proposal_waits_for_what_is_being_checked(replica, snapshots, genesis, story):
    late = [story.tick(genesis.started_at_s) for _ in range(2)]
    looks = [lambda: None] * 7 + [lambda: application.check_tx(abci.RequestCheckTx(tx=pack(late)))] + [lambda: None] * 5
    application = looking(replica, snapshots, looks)
    commit_many(application, genesis, story)
    assert propose(application, []) == [pack(late)]


def test_a_proposal_waits_while_an_item_is_being_checked_however_long_nothing_new_has_come(replica, snapshots, genesis, story):
    early, late = ([story.tick(genesis.started_at_s) for _ in range(20)] for _ in range(2))
    may_verify, is_verifying, paused = threading.Event(), threading.Event(), []

    def verify(claims):
        is_verifying.set()
        assert may_verify.wait(60)
        return are_signed(claims)

    def pause(_):
        paused.append(None)
        if len(paused) == 12:  # more than twice as long as a calm
            may_verify.set()
            checking.join(60)

    application = Application(replica, snapshots, lambda _: None, timing=Timing(pause=pause), verify=verify)
    may_verify.set()
    commit_many(application, genesis, story)
    application.check_tx(abci.RequestCheckTx(tx=pack(early)))
    may_verify.clear()
    is_verifying.clear()
    checking = threading.Thread(target=application.check_tx, args=(abci.RequestCheckTx(tx=pack(late)),))
    checking.start()
    assert is_verifying.wait(60)
    assert propose(application, []) == [pack(early), pack(late)]


def test_a_proposal_does_not_wait_for_ever_and_a_quiet_network_not_at_all(replica, snapshots, genesis, story):
    paused = []
    application = Application(replica, snapshots, lambda _: None, timing=Timing(pause=paused.append))
    decided(application, 1, [story.tick(genesis.started_at_s)])
    assert (propose(application, []), paused) == ([], [])
    commit_many(application, genesis, story, 2)
    assert (propose(application, []), paused) == ([], [LOOK_S] * LOOKS_MAX)


def test_what_was_admitted_is_proposed_once_and_takes_turns_with_what_else_cometbft_offers(application, genesis, story):
    one, two, three = (story.tick(genesis.started_at_s) for _ in range(3))
    for each in (one, two):
        application.check_tx(abci.RequestCheckTx(tx=each))
    assert propose(application, [three, two]) == [one, three, two]


def test_what_came_from_members_is_kept_but_for_the_first_at_a_height_and_what_is_our_own(application, genesis, story):
    def answer(item, ours=()):
        application.waiting.are_ours(ours)
        return application.check_tx(abci.RequestCheckTx(tx=item)).code

    first, second, own, later, forged = (story.tick(genesis.started_at_s) for _ in range(5))
    assert [answer(first), answer(second), answer(own, [own]), answer(first), answer(second)] == [0, CODE_KEPT, 0, 0, CODE_KEPT]
    assert answer(own) == 0  # asked again: the call that handed it over broke off
    assert answer(forged[:-1] + bytes([forged[-1] ^ 1])) == Reason.BAD_SIGNATURE
    assert propose(application, []) == [first, second, own]
    decided(application, 1, [first, second])
    assert [answer(later), answer(second)] == [0, CODE_KEPT]
    application.waiting.begin_anew()
    assert answer(second) == 0


def test_what_a_block_leaves_unheard_of_is_handed_over_the_oldest_of_it(replica, snapshots, genesis, story):
    handed_over = []
    application = Application(replica, snapshots, lambda _: None, Mempool(hand_over=handed_over.append))
    given, first, second, third = (story.tick(genesis.started_at_s) for _ in range(4))
    for item in (given, first, second):
        application.check_tx(abci.RequestCheckTx(tx=item))
    decided(application, 1, [])
    assert handed_over == []  # CometBFT has one that waits, and tells
    decided(application, 2, [given])
    assert handed_over == [first]
    application.waiting.are_ours([first])
    assert application.check_tx(abci.RequestCheckTx(tx=first)).code == 0
    decided(application, 3, [second])
    assert handed_over == [first]  # it has that now
    application.waiting.begin_anew()
    assert application.waiting.unheard() == first
    decided(application, 4, [first])
    assert (handed_over, application.waiting.unheard()) == ([first], None)
    application.check_tx(abci.RequestCheckTx(tx=third))
    assert application.waiting.unheard() is None


@pytest.mark.parametrize(("key", "code"), [(consensus_key("clinic-1").public_key, CODE_KEPT), (bytes(32), 0), (None, CODE_KEPT)])
def test_who_does_not_propose_keeps_nothing_from_the_mempool(replica, snapshots, genesis, story, key, code):
    application = Application(replica, snapshots, lambda _: None, configured=Configured(seat_key=key))
    items = [story.tick(genesis.started_at_s) for _ in range(3)]
    assert [application.check_tx(abci.RequestCheckTx(tx=item)).code for item in items] == [0, code, code]


def test_what_was_kept_and_holds_no_longer_is_forgotten_when_it_is_asked_about(application, genesis, story):
    items = [story.say("anchor.tick", story_tick(), genesis.started_at_s, carrier=name) for name in ("hospital-1", "clinic-1")]
    for item in items:
        application.check_tx(abci.RequestCheckTx(tx=item))
    keys = {kid: row for kid, row in application._replica.keys().items() if row[0] != "clinic-1"}
    application.screening.move_on(keys)
    assert application.check_tx(abci.RequestCheckTx(tx=items[1])).code == Reason.UNKNOWN_KEY
    assert application.waiting.items() == [items[0]]


def test_what_there_was_no_room_for_takes_turns_with_what_is_kept(application, genesis, story):
    application.waiting = Waiting(3, lambda _: 1)
    kept, more = [story.tick(genesis.started_at_s) for _ in range(3)], [story.tick(genesis.started_at_s) for _ in range(2)]
    assert [application.check_tx(abci.RequestCheckTx(tx=item)).code for item in [*kept, *more]] == [0, CODE_KEPT, CODE_KEPT, 0, 0]
    assert propose(application, [kept[0], *more]) == [kept[0], more[0], kept[1], more[1], kept[2]]
    limit = sum(len(item) + 4 for item in kept[:2])
    for height in range(1, 5):  # under a load of newer ones that fills every block it is in one all the same
        block = propose(application, [item for item in [kept[0], *more] if item not in done(application)], limit)
        decided(application, height, block)
        application.check_tx(abci.RequestCheckTx(tx=story.tick(genesis.started_at_s)))
    assert set(more) <= done(application)


def done(application):
    """Return every transaction that a block holds."""
    return {data for block in application._replica.blocks(0) for data in block.transactions}


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.integers(0, 2), st.booleans()), max_size=60))
def test_whatever_cometbft_was_not_given_is_here_and_it_was_given_something_at_every_height(steps):
    """`Waiting` against a witness of two sets: what CometBFT's mempool holds, and what has been asked about and is in no block."""
    waiting, mempool, asked, heights = Waiting(60, len), set(), set(), set()
    height = 0
    for size, is_ours, blocks, is_committed in steps:
        item = bytes([size]) * (size + 8)
        height += blocks
        waiting.are_ours([item] if is_ours else [])
        is_given = waiting.take(item, 1, height)
        if is_given:
            mempool.add(item)
            heights.add(height)
        asked.add(item)
        assert height in heights
        assert item in mempool or not is_ours
        assert asked == mempool | set(waiting.items())
        left = waiting.unheard()
        assert (left is None) == bool(mempool & set(waiting.items()) or not waiting.items())
        assert waiting.transactions() == len(waiting.items())
        if is_committed:
            waiting.drop([item])
            mempool.discard(item)
            asked.discard(item)


# -- one semantics of signatures

ORDER = 2**252 + 27742317777372353535851937790883648493  # of Ed25519's base point, RFC 8032 section 5.1
IDENTITY = bytes([1]) + bytes(31)  # the neutral point: a key of small order, for which many verifiers take any message as signed


def crafted(story, now_s, spoil):
    """Return a grant whose approval is spoiled in a way on which verifiers differ."""
    control, carrier = key("crafted", "control"), "clinic-1"
    kind = KINDS["consent.revoke"]
    header = Header(story.network, node_key(carrier).kid, carrier, kind.name, now_s + 600, 1)
    body = kind.body(consent.Revoke(control.public_key))
    approval = spoil(*approve(control, header.encoded(), act_bytes(kind.number, body)))
    return assemble(node_key(carrier), header.encoded(), kind.number, body, [approval])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda public, signature: (IDENTITY, IDENTITY + bytes(32)),  # holds by the bare equation, for every message
        lambda public, signature: (public, signature[:32] + (int.from_bytes(signature[32:], "little") + ORDER).to_bytes(32, "little")),
        lambda public, signature: (public[:31] + bytes([public[31] ^ 0x80]), signature),  # the other root
        lambda public, signature: ((2**255 - 19 + 1).to_bytes(32, "little"), IDENTITY + bytes(32)),  # the neutral point, not canonical
    ],
    ids=["small order key", "s above the order", "other sign of x", "not canonical key"],
)
def test_a_signature_on_which_verifiers_differ_has_one_verdict_at_every_door(application, genesis, story, spoil):
    data = crafted(story, genesis.started_at_s, spoil)
    assert application.check_tx(abci.RequestCheckTx(tx=data)).code == Reason.BAD_APPROVAL
    assert propose(application, [data]) == []
    rejected = application.process_proposal(abci.RequestProcessProposal(txs=[data])).status
    assert rejected == abci.ResponseProcessProposal.REJECT
    assert [decode(each.data) for each in decided(application, 1, [data]).tx_results] == [[[None, int(Reason.BAD_APPROVAL)]]]
    honest = crafted(story, genesis.started_at_s, lambda public, signature: (public, signature))
    assert application.check_tx(abci.RequestCheckTx(tx=honest)).code == 0


# -- settings


def seat(member="hospital-1"):
    return Seat(member, "127.0.0.1", 26656, 26657, consensus_key(member).seed)


def test_the_home_says_what_the_design_says(tmp_path, genesis):
    write_home(tmp_path, genesis, seat(), ["aa@127.0.0.1:1", "bb@127.0.0.1:2"])
    config = tomllib.loads((tmp_path / "validator/config/config.toml").read_text())
    consensus, mempool, p2p = config["consensus"], config["mempool"], config["p2p"]
    assert (consensus["create_empty_blocks"], consensus["create_empty_blocks_interval"]) == (False, "5s")
    assert (consensus["timeout_commit"], consensus["timeout_propose"], consensus["timeout_prevote"]) == ("200ms", "700ms", "400ms")
    assert consensus["peer_gossip_sleep_duration"] == "10ms"
    assert (mempool["size"], mempool["cache_size"], mempool["recheck"]) == (200_000, 400_000, False)
    assert p2p["max_packet_msg_payload_size"] == 64 * 1024  # all members need the same: a longer packet ends the connection
    assert (p2p["send_rate"], p2p["recv_rate"], p2p["persistent_peers"]) == (200_000_000, 200_000_000, "aa@127.0.0.1:1,bb@127.0.0.1:2")
    assert (config["tx_index"]["indexer"], config["proxy_app"], config["statesync"]) == ("null", "unix://abci.sock", {"enable": False})
    assert (read_ports(tmp_path).p2p, read_ports(tmp_path).rpc, read_ports(tmp_path).named) == (26656, 26657, {"aa", "bb"})


def test_keys_are_for_their_owner_alone_and_votes_are_never_set_back(tmp_path, genesis):
    write_home(tmp_path, genesis, seat(), [])
    state = tmp_path / "validator/data/priv_validator_state.json"
    state.write_text('{"height": "77"}')
    write_home(tmp_path, genesis, seat(), [], Trust(("127.0.0.1:1", "127.0.0.1:2"), 5, "AB"))
    assert json.loads(state.read_text()) == {"height": "77"}
    assert tomllib.loads((tmp_path / "validator/config/config.toml").read_text())["statesync"]["rpc_servers"] == "127.0.0.1:1,127.0.0.1:2"
    for name in ("node_key.json", "priv_validator_key.json"):
        assert (tmp_path / "validator/config" / name).stat().st_mode & 0o777 == 0o600


def test_the_genesis_document_carries_ours_and_its_validators(genesis):
    document = genesis_document(genesis)
    assert document["chain_id"] == chain_id(genesis.network_id) == f"yilian-{genesis.network_id.hex()[:40]}"
    assert [(each["name"], each["power"]) for each in document["validators"]] == [(name, "1") for name in NAMES]
    assert len(document["chain_id"]) <= 50


@pytest.mark.parametrize(("section", "besides"), [("p2p", " and the port in the others' persistent_peers"), ("rpc", "")])
def test_a_port_in_use_names_the_line_of_the_written_home(tmp_path, genesis, monkeypatch, section, besides):
    program = tmp_path / "cometbft"
    program.write_text(f"#!/bin/sh\necho {VERSION}\n")
    program.chmod(0o700)
    monkeypatch.setenv("YILIAN_COMETBFT", str(program))
    ports = free_ports(2)
    write_home(tmp_path, genesis, Seat("hospital-1", "127.0.0.1", *ports, bytes(32)), [])
    port = dict(zip(("p2p", "rpc"), ports, strict=True))[section]
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        with pytest.raises(PortInUse) as caught:
            Process(tmp_path, read_ports(tmp_path), lambda: None, raised)
    said = f"stop it, or change laddr under [{section}] in {tmp_path}/validator/config/config.toml{besides}, then start again"
    assert str(caught.value) == f"127.0.0.1:{port} is in use by another process: {said}"


def a_cometbft(folder, monkeypatch, script=""):
    """Have a program stand for CometBFT that says the right version and then does what a shell script says."""
    program = folder / "cometbft"
    program.write_text(f"#!/bin/sh\n[ $1 = version ] && echo {VERSION} && exit\n{script}\n")
    program.chmod(0o700)
    monkeypatch.setenv("YILIAN_COMETBFT", str(program))
    return program


@pytest.mark.parametrize("name", SEAT_FILES)
def test_without_a_file_of_its_seat_no_cometbft_is_started(tmp_path, genesis, monkeypatch, name):
    a_cometbft(tmp_path, monkeypatch)
    write_home(tmp_path, genesis, Seat("hospital-1", "127.0.0.1", *free_ports(2), bytes(32)), [])
    (tmp_path / "validator" / name).unlink()
    with pytest.raises(
        SeatIncomplete, match=f"{name} is missing: .* Bring back the seat's own key and the latest record of its votes, both"
    ):
        Process(tmp_path, read_ports(tmp_path), lambda: None, raised)
    assert not (tmp_path / "validator" / name).exists()


def test_a_cometbft_that_keeps_dying_is_quoted_from_its_last_life(tmp_path, genesis, monkeypatch):
    a_cometbft(tmp_path, monkeypatch, "echo its last word; exit 3")
    monkeypatch.setattr("yilian.engines.cometbft.process.PAUSE_S", 0.0)
    write_home(tmp_path, genesis, Seat("hospital-1", "127.0.0.1", *free_ports(2), bytes(32)), [])
    (tmp_path / "cometbft.log").write_text("ERROR: of another day\n")
    failed, done = [], threading.Event()
    process = Process(tmp_path, read_ports(tmp_path), lambda: None, lambda error: (failed.append(error), done.set()))
    process.start()
    assert done.wait(60)
    process.end()
    assert "CometBFT ended 3 again and again" in str(failed[0])
    assert f"its last line in {tmp_path}/cometbft.log is: its last word." in str(failed[0])


def test_a_folder_without_a_home_says_what_to_write(tmp_path):
    with pytest.raises(NotAHome, match="yilian network init"):
        read_ports(tmp_path)


RESET = "Did you reset CometBFT without resetting your application's data?"


@pytest.mark.parametrize(
    ("words", "fault", "says"),
    [
        ("error: app block height (12) is higher than core (9)", OutOfStep, "ends at height 12 and CometBFT's blocks go on at 9"),
        ("app block height (3) is too far below block store base (40)", OutOfStep, "ends at height 3 and CometBFT's blocks go on at 40"),
        (f"state.AppHash does not match AppHash after replay. Got\nAB, expected .\n\n{RESET}", RestoredAlone, "CometBFT has no blocks"),
        (f"state.AppHash does not match AppHash after replay. Got\nAB, expected CD.\n\n{RESET}", Diverged, "Got AB, expected CD"),
        ("block.AppHash does not match AppHash after replay. Got AB, expected CD.", Diverged, "another app hash than the network's"),
        ("+2/3 committed an invalid block: wrong Block.Header.AppHash.  Expected AB, got CD", Diverged, "Expected AB, got CD"),
    ],
)
def test_what_cometbft_says_of_its_ledger_and_ours_is_told_apart(words, fault, says):
    found = cause(f"panic: {words}\ngoroutine 1 [running]:")
    assert (type(found), says in str(found), "`yilian network repair`" in str(found)) == (fault, True, True)


def test_what_cometbft_says_of_other_things_is_no_cause():
    assert cause("E[2026-11-23|20:00:00] Error dialing peer") is None


# -- the application


def propose(application, items, limit=1_000_000):
    return list(application.prepare_proposal(abci.RequestPrepareProposal(txs=items, max_tx_bytes=limit)).txs)


def finalize(application, height, items, **changes):
    request = abci.RequestFinalizeBlock(txs=items, height=height, proposer_address=address(consensus_key("clinic-1").public_key), **changes)
    request.time.seconds = application._genesis.started_at_s + height
    return application.finalize_block(request)


def decided(application, height, items, **changes):
    answer = finalize(application, height, items, **changes)
    application.commit(abci.RequestCommit())
    return answer


def test_info_answers_the_last_committed_height_not_the_last_finalised(application, genesis, story):
    finalize(application, 1, [story.tick(genesis.started_at_s)])
    assert (application.info(abci.RequestInfo()).last_block_height, application.info(abci.RequestInfo()).app_version) == (0, 1)
    answer = decided(application, 1, [])
    info = application.info(abci.RequestInfo(version="0.38.25"))
    assert (info.last_block_height, info.last_block_app_hash) == (1, answer.app_hash)


def test_a_program_that_does_not_say_which_cometbft_it_is_is_told_so_by_its_path(tmp_path, monkeypatch):
    program = tmp_path / "silent"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    with pytest.raises(WrongVersion) as wrong:
        _require_version(program)
    sentence = f"the program at {program} does not say which version of CometBFT it is, this software works with {VERSION} alone"
    assert str(wrong.value) == f"{sentence}: run `make cometbft` and start again"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr("yilian.engines.cometbft.process.VERSION_S_MAX", 0.2)
    with pytest.raises(WrongVersion, match="does not say which version"):
        _require_version(program)
    monkeypatch.undo()
    program.chmod(0o600)
    with pytest.raises(WrongVersion, match="does not say which version"):
        _require_version(program)
    program.chmod(0o700)
    program.write_text("#!/bin/sh\necho 0.37.0\n")
    with pytest.raises(WrongVersion, match=rf"CometBFT 0\.37\.0 was found at {program}, this software works with"):
        _require_version(program)


def test_another_cometbft_is_told_so(application):
    with pytest.raises(WrongVersion, match=r"CometBFT 0\.37\.1 was found.*make cometbft"):
        application.info(abci.RequestInfo(version="0.37.1"))


def test_rules_that_this_software_lacks_are_told_before_a_block_is_decided(application, monkeypatch):
    assert application.info(abci.RequestInfo()).app_version == NEWEST
    monkeypatch.setattr(directory, "rules_version_at", lambda view, height: NEWEST + 1 if height == 1 else NEWEST)
    with pytest.raises(RulesMissing, match=rf"the network runs rules version {NEWEST + 1}, .* install a newer release"):
        application.info(abci.RequestInfo())


def test_the_limits_of_a_batch_belong_to_the_rules_of_the_network():
    """Whoever changes one of them changes what blocks mean, and must bring a rules version (ADR-0116)."""
    assert (NEWEST, BATCH_TRANSACTIONS_MAX, BATCH_SIZE_BYTES_MAX) == (1, 256, 262_144)


def with_rules(version):
    return params_pb2.ConsensusParams(version=params_pb2.VersionParams(app=version))


def init(genesis, **changes):
    document = genesis_document(genesis)
    updates = [
        abci.ValidatorUpdate(pub_key=keys_pb2.PublicKey(ed25519=m.consensus_key), power=m.power) for m in genesis.members if m.consensus_key
    ]
    fields = {"chain_id": document["chain_id"], "validators": updates, "app_state_bytes": json.dumps(document["app_state"]).encode()}
    fields["consensus_params"] = with_rules(int(document["consensus_params"]["version"]["app"]))
    return abci.RequestInitChain(**{**fields, **changes})


def test_genesis_is_taken_if_it_is_ours_to_the_byte(application, replica, genesis):
    assert application.init_chain(init(genesis)).app_hash == replica.chain.app_hash


@pytest.mark.parametrize(
    "changes",
    [
        {"chain_id": "yilian-other"},
        {"app_state_bytes": b"{}"},
        {"app_state_bytes": b"not json"},
        {"app_state_bytes": b'{"yilian":"AAAA"}'},
        {"validators": []},
        {"consensus_params": params_pb2.ConsensusParams(version=params_pb2.VersionParams(app=2))},
    ],
)
def test_another_genesis_is_told_so(application, genesis, changes):
    with pytest.raises(WrongGenesis, match="yilian network init"):
        application.init_chain(init(genesis, **changes))


def test_a_genesis_of_other_members_is_told_so(application):
    with pytest.raises(WrongGenesis):
        application.init_chain(init(make_genesis()))


def test_a_block_that_is_not_the_next_stops_with_a_sentence(application):
    with pytest.raises(OutOfStep, match="ends at height 0 and CometBFT's blocks go on at 2"):
        finalize(application, 2, [])
    with pytest.raises(OutOfStep):
        application.commit(abci.RequestCommit())


def test_a_proposal_keeps_the_order_leaves_out_what_does_not_hold_and_fits(application, genesis, story):
    good = [story.say("anchor.tick", story_tick(), genesis.started_at_s, carrier="clinic-1", nonce=n) for n in range(1, 5)]
    assert propose(application, [good[0], b"x", good[1], story.forged(good[2]), good[2]]) == good[:3]
    size = len(good[0])
    assert propose(application, good, limit=2 * (size + 3)) == good[:2]
    assert propose(application, good, limit=2 * (size + 3) - 1) == good[:1]


@pytest.mark.parametrize(
    ("behind_ms", "count"),
    [
        (0, 1),
        (20_000, 1),
        (20_001, 0),
        (2 * 86_400_000, 0),
        (-5_000, 1),
    ],  # a clock that is right, at the limit, past it, after a halt, wrong
)
def test_a_block_whose_time_is_from_before_a_halt_carries_nothing(replica, genesis, story, behind_ms, count):
    time_s = genesis.started_at_s + 10
    snapshots = Snapshots(replica.path.parent, replica, print)
    application = Application(replica, snapshots, lambda _: None, timing=Timing(lambda: time_s * 1_000 + behind_ms))
    request = abci.RequestPrepareProposal(txs=[story.tick(time_s)], max_tx_bytes=1_000_000, height=2)
    request.time.seconds = time_s
    assert len(application.prepare_proposal(request).txs) == count


def test_a_proposal_has_a_bounded_number_of_transactions(application, genesis, story):
    batch = encode([story.tick(genesis.started_at_s)] * 100)
    assert len(propose(application, [batch] * 60, limit=10**9)) == BLOCK_TRANSACTIONS_MAX // 100


def test_one_item_that_does_not_hold_rejects_the_proposal(application, genesis, story):
    good = story.tick(genesis.started_at_s)
    accept, reject = abci.ResponseProcessProposal.ACCEPT, abci.ResponseProcessProposal.REJECT
    for items, status in [([], accept), ([good, good], accept), ([good, b""], reject), ([encode([good, b"x"])], reject)]:
        assert application.process_proposal(abci.RequestProcessProposal(txs=items)).status == status


def test_a_clogged_mempool_is_emptied(replica, snapshots, genesis, story):
    asked = []
    application = Application(replica, snapshots, lambda _: None, Mempool(empty=lambda: asked.append(True)))
    bad = story.forged(story.tick(genesis.started_at_s))
    propose(application, [bad], limit=2 * len(bad))
    assert asked == []
    propose(application, [bad], limit=2 * len(bad) - 1)
    assert asked == [True]


def test_each_item_has_its_results_and_garbage_in_a_block_is_skipped_alone(application, genesis, story):
    good = [story.say("anchor.tick", story_tick(), genesis.started_at_s, carrier=name) for name in NAMES[:2]]
    answer = decided(application, 1, [encode(good), b"garbage", good[0]])
    assert [decode(each.data) for each in answer.tx_results] == [[[0, 0], [1, 0]], [[None, 1]], [[None, 8]]]
    assert {each.code for each in answer.tx_results} == {0}


def test_no_vote_extension_is_made_or_taken(application):
    methods = application.methods()
    assert methods["extend_vote"](abci.RequestExtendVote()).vote_extension == b""
    statuses = [methods["verify_vote_extension"](abci.RequestVerifyVoteExtension(vote_extension=each)).status for each in (b"", b"x")]
    assert statuses == [abci.ResponseVerifyVoteExtension.ACCEPT, abci.ResponseVerifyVoteExtension.REJECT]


def test_all_sixteen_methods_are_served(application):
    assert sorted(application.methods()) == sorted(each.name for each in abci.Request.DESCRIPTOR.oneofs_by_name["value"].fields)


# -- validators


def vote_through(application, story, change, height=1):
    now_s = application._genesis.started_at_s
    proposal = story.say("directory.propose", directory.propose_change(change), now_s, carrier="hospital-1")
    decided(application, height, [proposal])
    index = application._replica.chain.log.size - 1
    answer = decided(application, height + 1, story.votes(index, ["hospital-2", "clinic-1"], now_s))
    return [(each.pub_key.ed25519, each.power) for each in answer.validator_updates]


def public(*names):
    return key(*names).public_key


def is_let_in(application, public_key):
    path = f"/p2p/filter/id/{address(public_key).hex()}"
    return application.query(abci.RequestQuery(path=path)).code == 0


def test_a_peer_that_no_member_is_known_by_is_hung_up_on(application, replica, genesis):
    stranger = key("stranger").public_key
    assert [is_let_in(application, consensus_key(name).public_key) for name in NAMES] == [True] * 4
    assert not is_let_in(application, stranger)
    assert not is_let_in(application, node_key("clinic-1").public_key)  # the key of its envelopes is not that of its connection
    answer = application.query(abci.RequestQuery(path="/p2p/filter/id/" + "00" * 20))
    assert (answer.code, answer.log) == (1, f"{'00' * 20} is no member's peer")
    assert application.query(abci.RequestQuery(path="/p2p/filter/addr/203.0.113.9:4711")).code == 0


def test_a_crowd_of_strangers_costs_one_pause_a_second_and_members_none(replica, snapshots):
    now_s, paused = [1_000.0], []
    application = Application(replica, snapshots, lambda _: None, timing=Timing(pause=paused.append, clock_s=lambda: now_s[0]))
    member, strangers = consensus_key("clinic-1").public_key, [key("stranger", number).public_key for number in range(50)]
    for at_s, count in ((1_000.0, 1), (1_000.9, 1), (1_001.0, 2), (1_001.5, 2), (1_900.0, 3)):
        now_s[0] = at_s
        assert [is_let_in(application, each) for each in strangers] == [False] * 50
        assert is_let_in(application, member)
        assert paused == [STRANGER_S] * count


def dialled(replica, now_ms, *keys):
    """Return an application whose operator named some peers, by a clock that stands still."""
    named = frozenset([address(each).hex() for each in keys])
    return Application(
        replica,
        Snapshots(replica.path.parent, replica, print),
        lambda _: None,
        configured=Configured(named),
        timing=Timing(lambda: now_ms[0]),
    )


def test_whom_the_operator_named_may_connect_until_the_directory_says_that_it_was_removed(replica, genesis, story):
    newcomer, founder = key("newcomer").public_key, consensus_key("clinic-1").public_key
    now_ms = [genesis.started_at_s * 1_000 + 3_600_000]  # this copy is behind all the time
    application = dialled(replica, now_ms, newcomer, founder)
    assert is_let_in(application, newcomer)
    change = directory.propose_change(directory.Remove("clinic-1"))
    proposal = story.say("directory.propose", change, genesis.started_at_s, carrier="hospital-1")
    decided(application, 1, [proposal])
    voters = [name for name in NAMES if name != "clinic-1"]
    index = replica.chain.log.size - 1
    assert is_let_in(application, founder)
    decided(application, 2, story.votes(index, voters, genesis.started_at_s))
    assert (is_let_in(application, founder), is_let_in(application, newcomer)) == (False, True)


def test_a_named_peer_whose_key_the_directory_does_not_know_may_connect_only_while_this_copy_is_behind(replica, genesis):
    seed_ = key("admitted since").public_key
    now_ms = [genesis.started_at_s * 1_000]
    application = dialled(replica, now_ms, seed_)
    assert is_let_in(application, seed_)  # no block yet: a newcomer reaches its seeds, whatever its clock says
    decided(application, 1, [])
    now_ms[0] = replica.chain.time_ms + BEHIND_MS
    assert not is_let_in(application, seed_)
    now_ms[0] += 1
    assert is_let_in(application, seed_)  # it was away
    decided(application, 2, [])
    now_ms[0] = replica.chain.time_ms
    assert not is_let_in(application, seed_)


def test_a_key_that_was_replaced_opens_nothing_though_the_configuration_still_names_it(replica, genesis, story):
    lost, fresh = consensus_key("clinic-1").public_key, key("fresh").public_key
    now_ms = [genesis.started_at_s * 1_000]
    application = dialled(replica, now_ms, lost)
    rotated = directory.Rotate("clinic-1", int(directory.KeyUse.CONSENSUS), fresh)
    assert is_let_in(application, lost)
    vote_through(application, story, rotated)
    assert (is_let_in(application, lost), is_let_in(application, fresh)) == (False, True)


def test_a_suspended_member_may_follow(application, genesis, story):
    suspend = story.say("directory.suspend", directory.Suspend("clinic-1", bytes(32)), genesis.started_at_s, carrier="regulator-1")
    decided(application, 1, [suspend])
    assert directory.member(application._replica.read(), "clinic-1").stage is directory.Stage.SUSPENDED
    assert is_let_in(application, consensus_key("clinic-1").public_key)


def test_an_admission_by_vote_seats_a_validator(application, story):
    from tests.worlds import founder

    new = founder("hospital-3")
    change = directory.Admit(
        new.id, ["hospital"], new.name, "", new.node_key, new.sealing_key, new.receipt_key, consensus_key("hospital-3").public_key, 1
    )
    assert vote_through(application, story, change) == [(consensus_key("hospital-3").public_key, 1)]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (directory.Remove("regulator-1"), [(consensus_key("regulator-1").public_key, 0)]),
        (directory.SetPower("regulator-1", 3), [(consensus_key("regulator-1").public_key, 3)]),
        (directory.SetPower("regulator-1", 0), [(consensus_key("regulator-1").public_key, 0)]),
        (directory.SetParameter("memo_size", 1), []),
    ],
)
def test_what_is_voted_reaches_the_validator_set(application, story, change, expected):
    assert vote_through(application, story, change) == expected


def test_a_rotated_consensus_key_takes_the_old_ones_place(application, story):
    old, fresh = consensus_key("clinic-1").public_key, key("fresh").public_key
    change = directory.Rotate("clinic-1", int(directory.KeyUse.CONSENSUS), fresh)
    assert vote_through(application, story, change) == sorted([(old, 0), (fresh, 1)])


def equivocation(member):
    offender = abci.Validator(address=address(consensus_key(member).public_key), power=1)
    return abci.Misbehavior(type=abci.DUPLICATE_VOTE, validator=offender, height=1)


def test_a_validator_that_equivocates_is_suspended_validates_no_more_and_the_log_says_so(application, replica):
    answer = decided(application, 1, [], misbehavior=[equivocation("hospital-2")] * 2)
    assert [(each.pub_key.ed25519, each.power) for each in answer.validator_updates] == [(consensus_key("hospital-2").public_key, 0)]
    assert directory.member(replica.read(), "hospital-2").stage is directory.Stage.SUSPENDED
    assert decode(replica.entry(0).data) == ["equivocation", replica.genesis.network_id, "hospital-2", 1]
    assert replica.chain.log.size == 1


def test_suspensions_never_take_a_third_of_the_power_out_of_the_validator_set(application):
    assert len(decided(application, 1, [], misbehavior=[equivocation("hospital-2")]).validator_updates) == 1
    answer = decided(application, 2, [], misbehavior=[equivocation("clinic-1")])
    # two of four active: less than two thirds, so all four are asked to validate again
    assert [(each.pub_key.ed25519, each.power) for each in answer.validator_updates] == [(consensus_key("hospital-2").public_key, 1)]


def test_a_founder_without_power_does_not_validate(tmp_path):
    genesis = consortium_genesis(NAMES[:3], observers=("pharmacy-1",))
    assert [each["name"] for each in genesis_document(genesis)["validators"]] == list(NAMES[:3])
    idle = replace(genesis, members=tuple(replace(each, power=0) if each.id == "clinic-1" else each for each in genesis.members))
    assert [each["name"] for each in genesis_document(idle)["validators"]] == ["hospital-1", "hospital-2"]


# -- state sync


@pytest.fixture
def newcomer(genesis, tmp_path):
    copy = Replica.open(tmp_path / "newcomer", genesis, is_durable=False)
    yield Application(copy, Snapshots(tmp_path / "theirs", copy, raised, made_at=lambda chain, _: chain.time_ms), lambda _: None)
    copy.close()


def busy(application, story, heights):
    """Decide some blocks; return the app hash of each height."""
    now_s, hashes = application._genesis.started_at_s, {}
    for height in range(1, heights + 1):
        story.number += 1
        hashes[height] = decided(application, height, [story.give(now_s), story.register(now_s)]).app_hash
        application._snapshots.close()  # one that is still being written makes the next wait for its turn
    return hashes


def listed(application):
    application._snapshots.close()
    return list(application.methods()["list_snapshots"](abci.RequestListSnapshots()).snapshots)


def offer(newcomer, snapshot, app_hash):
    return newcomer.methods()["offer_snapshot"](abci.RequestOfferSnapshot(snapshot=snapshot, app_hash=app_hash)).result


def apply_chunk(newcomer, chunk, index=0):
    return newcomer.methods()["apply_snapshot_chunk"](abci.RequestApplySnapshotChunk(index=index, chunk=chunk, sender="peer"))


def load_chunk(application, snapshot, index=0):
    asked = abci.RequestLoadSnapshotChunk(height=snapshot.height, format=snapshot.format, chunk=index)
    return application.methods()["load_snapshot_chunk"](asked).chunk


def test_a_newcomer_stands_where_the_snapshot_stood_and_goes_on_like_the_others(application, newcomer, story, replica):
    hashes = busy(application, story, 4)
    newest, older = listed(application)
    assert (newest.height, older.height) == (4, 2)
    assert offer(newcomer, older, hashes[2]) == abci.ResponseOfferSnapshot.ACCEPT
    assert apply_chunk(newcomer, load_chunk(application, older)).result == abci.ResponseApplySnapshotChunk.ACCEPT
    info = newcomer.info(abci.RequestInfo())
    assert (info.last_block_height, info.last_block_app_hash) == (2, hashes[2])
    for height in (3, 4):
        block = replica.block(height)
        request = abci.RequestFinalizeBlock(
            txs=block.transactions, height=height, proposer_address=address(consensus_key("clinic-1").public_key)
        )
        request.time.seconds = application._genesis.started_at_s + height
        assert newcomer.finalize_block(request).app_hash == hashes[height]
        newcomer.commit(abci.RequestCommit())
    theirs, size = newcomer._replica, replica.chain.log.size
    assert theirs.inclusion(size - 1, size) == replica.inclusion(size - 1, size)
    assert theirs.entry(size - 1) == replica.entry(size - 1)
    assert theirs.entry(0) is None
    with pytest.raises(LookupError, match="ask another member for this proof"):
        theirs.inclusion(0, size)


def test_only_the_last_two_snapshots_are_kept(application, story):
    busy(application, story, 9)
    assert [each.height for each in listed(application)] == [8, 6]


def test_replicas_write_the_same_snapshot_to_the_byte(application, story, genesis, tmp_path):
    busy(application, story, 2)
    twin = Replica.open(tmp_path / "twin", genesis, is_durable=False)
    other = Application(twin, Snapshots(tmp_path / "twins", twin, raised, every=2), lambda _: None)
    for height in (1, 2):
        decided(other, height, list(application._replica.block(height).transactions))
    assert listed(other) == listed(application)
    assert load_chunk(other, listed(other)[0]) == load_chunk(application, listed(application)[0])
    twin.close()


def forged_rows(chunk):
    rows = decode(chunk)
    rows[-1][1] = rows[-1][1] + b"x"
    return encode(rows)


def test_a_forged_snapshot_with_the_right_digests_is_rejected_at_its_end(application, newcomer, story):
    hashes = busy(application, story, 2)
    true = listed(application)[0]
    chunk = forged_rows(load_chunk(application, true))
    manifest = replace(parse_manifest(true.metadata), chunks=(sha256(chunk),)).encoded()
    forged = abci.Snapshot(height=2, format=1, chunks=1, hash=sha256(manifest), metadata=manifest)
    assert offer(newcomer, forged, hashes[2]) == abci.ResponseOfferSnapshot.ACCEPT
    answer = apply_chunk(newcomer, chunk)
    assert (answer.result, list(answer.reject_senders)) == (abci.ResponseApplySnapshotChunk.REJECT_SNAPSHOT, ["peer"])
    assert newcomer.info(abci.RequestInfo()).last_block_height == 0
    # and the true one is still taken
    assert offer(newcomer, true, hashes[2]) == abci.ResponseOfferSnapshot.ACCEPT
    assert apply_chunk(newcomer, load_chunk(application, true)).result == abci.ResponseApplySnapshotChunk.ACCEPT


def test_a_wrong_chunk_is_fetched_again_from_somebody_else(application, newcomer, story):
    hashes = busy(application, story, 2)
    snapshot = listed(application)[0]
    offer(newcomer, snapshot, hashes[2])
    answer = apply_chunk(newcomer, b"rubbish")
    retry = abci.ResponseApplySnapshotChunk.RETRY
    assert (answer.result, list(answer.refetch_chunks), list(answer.reject_senders)) == (retry, [0], ["peer"])
    assert apply_chunk(newcomer, load_chunk(application, snapshot)).result == abci.ResponseApplySnapshotChunk.ACCEPT


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"format": 2}, abci.ResponseOfferSnapshot.REJECT_FORMAT),
        ({"metadata": b"rubbish"}, abci.ResponseOfferSnapshot.REJECT_SENDER),
        ({"height": 3}, abci.ResponseOfferSnapshot.REJECT_SENDER),
        ({"chunks": 2}, abci.ResponseOfferSnapshot.REJECT_SENDER),
        ({"hash": bytes(32)}, abci.ResponseOfferSnapshot.REJECT_SENDER),
    ],
)
def test_an_offer_that_contradicts_itself_is_not_fetched(application, newcomer, story, changes, expected):
    hashes = busy(application, story, 2)
    snapshot = listed(application)[0]
    for name, value in changes.items():
        setattr(snapshot, name, value)
    assert offer(newcomer, snapshot, hashes[2]) == expected


def test_a_copy_that_has_blocks_takes_no_snapshot_and_a_chunk_that_was_not_asked_for_changes_nothing(application, story):
    hashes = busy(application, story, 2)
    snapshot = listed(application)[0]
    assert offer(application, snapshot, hashes[2]) == abci.ResponseOfferSnapshot.ABORT
    assert apply_chunk(application, load_chunk(application, snapshot)).result == abci.ResponseApplySnapshotChunk.ABORT
    assert load_chunk(application, abci.Snapshot(height=99, format=1)) == b""


def test_a_suspension_for_equivocation_is_replayed_from_the_blocks_alone(application, replica, story, tmp_path):
    decided(application, 1, [story.tick(application._genesis.started_at_s)], misbehavior=[equivocation("hospital-2")])
    decided(application, 2, [story.tick(application._genesis.started_at_s)])
    assert fsck(replica, tmp_path).height == 2
    raw = decode_block(encode_block(replica.block(1)))
    header = Replica.open(tmp_path / "follower", replica.genesis, is_durable=False).header_again(raw.header, raw.system_leaves)
    assert header.equivocators == (address(consensus_key("hospital-2").public_key),)
