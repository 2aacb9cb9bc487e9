"""The process that checks signatures beside a validator: libsodium's verdict on every claim, whatever becomes of the process."""

import os
import random
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.consortium import has_verifier, verifier_program
from tools.edge_vectors import BASE, L, add, challenge, encoded, of_order_8, times
from yilian.base.edge_cases import EDGE_CASES
from yilian.base.keys import Signed, SigningKey, are_signed
from yilian.engines.cometbft import VerifierDiffers
from yilian.engines.cometbft.verifier import FEW_MAX, STARTS_MAX, TRIALS, Verifier

BOUND_S = 60  # turns a hang into a failure
needs_verifier = pytest.mark.skipif(not has_verifier(), reason="no verifier here: run `make cometbft`")


def claims(count, keys=3):
    """Return claims of a few keys, every seventh of them false."""
    made = []
    for n in range(count):
        key, message = SigningKey((n % keys).to_bytes(32, "big")), b"message %d" % n
        made.append(Signed(key.public_key, message, key.sign(message if n % 7 else b"another")))
    return made


MANY = claims(5 * FEW_MAX)


@pytest.fixture
def verifier():
    made = Verifier(verifier_program(), 2)
    yield made
    made.close()


def program(folder, says):
    """Return a program that reads questions as the verifier does and answers what `says`, an expression of the number of claims, gives."""
    path = folder / "program"
    text = f"""#!{sys.executable}
import struct, sys
asked = 0
while head := sys.stdin.buffer.read(4):
    frame, count = sys.stdin.buffer.read(struct.unpack(">I", head)[0]), 0
    while frame:
        frame, count = frame[100 + struct.unpack(">I", frame[96:100])[0]:], count + 1
    asked += 1
    sys.stdout.buffer.write({says})
    sys.stdout.buffer.flush()
"""
    path.write_text(text)
    path.chmod(0o755)
    return path


EDGE = bytes(case[3] for case in EDGE_CASES) * TRIALS


def adversary(seed_number):
    """Return claims on which verifiers might differ: small-order parts in key and R, encodings not canonical, s above the order."""
    chance, torsion = random.Random(seed_number), of_order_8()
    small = [times(n, torsion) for n in range(8)]

    def point(secret):
        made = add(times(secret, BASE), chance.choice(small) if chance.random() < 0.6 else small[0])
        text = encoded(made, y_plus_p=chance.random() < 0.3 and made[1] < 19)
        return text if chance.random() < 0.95 else text[:31] + bytes([text[31] ^ 0x80])

    made = []
    for _ in range(12):
        secret, nonce = (chance.choice([0, 1, chance.randrange(1, L)]) for _ in range(2))
        key, r = point(secret), point(nonce)
        for n in range(12):
            message = b"%d" % n
            s = (nonce + challenge(r, key, message) * secret) % L + L * chance.choice([0] * 8 + [1, 2, 7])
            made.append(Signed(key, message, r + (s if chance.random() < 0.9 else chance.randrange(2**256)).to_bytes(32, "little")))
    return made


@needs_verifier
@pytest.mark.parametrize("seed_number", range(6))
def test_the_process_alone_says_what_libsodium_says_whether_a_key_is_new_or_comes_again(verifier, seed_number):
    made = adversary(seed_number)  # twelve of each key: from the eighth on it has a table
    wanted = are_signed(made)
    assert len(set(wanted)) == 2
    other = Verifier(verifier_program(), 1)  # to which the last seven of a key come first
    for _ in range(2):
        assert verifier._asked(made) == wanted
        assert other._asked(made[::-1]) == wanted[::-1]
    other.close()


@needs_verifier
def test_the_process_alone_decides_the_edge_cases_in_any_order(verifier):
    edge = [(Signed(*(bytes.fromhex(part) for part in case[:3])), case[3]) for case in EDGE_CASES] * 8
    random.Random(1).shuffle(edge)
    assert verifier._asked([claim for claim, _ in edge]) == [verdict for _, verdict in edge]


@needs_verifier
def test_more_keys_than_have_a_table_and_more_claims_than_one_question_holds(verifier):
    made = claims(1_400, keys=700)
    assert verifier.are_signed(made * 6) == are_signed(made) * 6  # each key comes twelve times


@needs_verifier
def test_a_few_claims_do_not_leave_this_process(verifier):
    os.kill(verifier.process, signal.SIGSTOP)
    assert verifier.are_signed(MANY[:FEW_MAX]) == are_signed(MANY[:FEW_MAX])
    os.kill(verifier.process, signal.SIGCONT)


@needs_verifier
def test_several_threads_get_each_their_own_answers(verifier):
    parts = [claims(20 + n, keys=n + 1) for n in range(6)]
    with ThreadPoolExecutor(6) as threads:
        for _ in range(5):
            assert list(threads.map(verifier.are_signed, parts, timeout=BOUND_S)) == [are_signed(part) for part in parts]


@needs_verifier
def test_a_process_that_is_killed_costs_no_verdict_and_another_is_started_but_not_for_ever(verifier):
    seen = set()
    for _ in range(STARTS_MAX + 1):
        if verifier.process is not None:
            seen.add(verifier.process)
            os.kill(verifier.process, signal.SIGKILL)
        for _ in range(2):  # the one that finds it dead, and the next
            assert verifier.are_signed(MANY) == are_signed(MANY)
    assert (len(seen), verifier.process) == (STARTS_MAX, None)


@needs_verifier
def test_a_process_that_stands_still_holds_up_neither_who_asks_nor_the_end(verifier, monkeypatch):
    monkeypatch.setattr("yilian.engines.cometbft.verifier.PATIENCE_S", 0.1)
    first = verifier.process
    os.kill(first, signal.SIGSTOP)
    large = [Signed(key, message * 40_000, signature) for key, message, signature in MANY]  # more than any pipe holds
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(verifier.are_signed, large).result(BOUND_S) == [False] * len(large)
        monkeypatch.undo()
        assert verifier.are_signed(MANY) == are_signed(MANY)
        assert verifier.process not in {first, None}
        os.kill(verifier.process, signal.SIGSTOP)
        thread.submit(verifier.close).result(BOUND_S)


@needs_verifier
def test_it_ends_when_nobody_can_ask_it_any_more(verifier):
    child = verifier._child
    child.stdin.close()
    assert child.wait(BOUND_S) == 0


def test_where_it_was_not_built_or_is_not_wanted_all_is_checked_here(tmp_path):
    for made in (Verifier(tmp_path / "none", 1), Verifier(verifier_program(), 0)):
        assert (made.process, made.are_signed(MANY)) == (None, are_signed(MANY))
        made.close()


@pytest.mark.parametrize("says", ["bytes([1] * count)", "bytes([0] * count)"])
def test_a_program_with_another_verdict_on_the_edge_cases_is_not_used(tmp_path, says):
    with pytest.raises(VerifierDiffers, match="run `make cometbft`"):
        Verifier(program(tmp_path, says), 1)


def test_its_no_is_not_believed_alone(tmp_path):
    made = Verifier(program(tmp_path, f"{EDGE!r} if asked == 1 else bytes(count)"), 1)
    assert made.process is not None
    assert made.are_signed(MANY) == are_signed(MANY)
    made.close()


@pytest.mark.parametrize("says", ["bytes([2] * count)", "bytes([1] * (count + 1))", "b'' if sys.exit(1) else b''"])
def test_a_program_that_says_what_it_should_not_is_ended_and_all_is_checked_here(tmp_path, says):
    made = Verifier(program(tmp_path, f"{EDGE!r} if asked == 1 else {says}"), 1)
    assert made.are_signed(MANY) == are_signed(MANY)
    made.close()


def test_a_file_that_is_no_program_costs_nothing_but_speed(tmp_path):
    path = tmp_path / "program"
    path.write_text("no program")
    made = Verifier(path, 1)
    assert (made.process, made.are_signed(MANY)) == (None, are_signed(MANY))
    made.close()


def test_who_waits_while_another_asks_is_answered_when_it_was_closed(tmp_path):
    made = Verifier(program(tmp_path, f"{EDGE!r} if asked == 1 else bytes(count)"), 1)
    said = []
    thread = threading.Thread(target=lambda: said.append(made.are_signed(MANY)))
    with made._guard:
        thread.start()
    made.close()
    thread.join(BOUND_S)
    assert said == [are_signed(MANY)]
    assert made.process is None
