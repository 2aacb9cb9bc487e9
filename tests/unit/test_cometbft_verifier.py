"""The process that checks signatures beside a validator: libsodium's verdict on every claim, whatever becomes of the process."""

import os
import random
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.consortium import has_verifier, verifier_program
from tools.edge_vectors import BASE, L, add, challenge, encoded, of_order_8, times
from yilian.base.edge_cases import EDGE_CASES
from yilian.base.keys import Signed, SigningKey, are_signed
from yilian.engines.cometbft import VerifierDiffers
from yilian.engines.cometbft.verifier import FEW_MAX, QUESTION_SIZE_BYTES_MAX, STARTS_MAX, TRIALS, Verifier, _questions


class Sized(bytes):
    """A message of some size that takes no room."""

    def __new__(cls, size):
        made = super().__new__(cls)
        made.size = size
        return made

    def __len__(self):
        return self.size


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
    number, frame = frame[:4], frame[4:]
    while frame:
        frame, count = frame[100 + struct.unpack(">I", frame[96:100])[0]:], count + 1
    asked += 1
    sys.stdout.buffer.write(number + {says})
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
    process = verifier.process
    assert verifier.are_signed(made * 6) == are_signed(made) * 6  # each key comes twelve times
    assert verifier.process == process


@needs_verifier
def test_many_approvals_of_large_transactions_are_asked_about_in_several_questions(verifier):
    key, message, process = SigningKey(bytes(32)), bytes(60_000), verifier.process
    large = [Signed(key.public_key, message, key.sign(message))] * 1_200  # 72 MB, more than the process would take at once
    assert verifier.are_signed(large) == [True] * len(large)
    assert verifier.process == process


@given(st.lists(st.integers(0, QUESTION_SIZE_BYTES_MAX // 3), min_size=1, max_size=30))
def test_claims_are_parted_in_their_order_and_no_question_is_too_large(sizes):
    made = [Signed(b"", Sized(size), b"") for size in sizes]
    parts = list(_questions(made))
    assert [claim for part in parts for claim in part] == made
    assert all(part and sum(len(claim.message) for claim in part) <= QUESTION_SIZE_BYTES_MAX for part in parts)
    assert all(
        sum(len(claim.message) for claim in part) + len(after[0].message) > QUESTION_SIZE_BYTES_MAX for part, after in pairwise(parts)
    )


@needs_verifier
def test_a_few_claims_do_not_leave_this_process(verifier):
    os.kill(verifier.process, signal.SIGSTOP)
    assert verifier.are_signed(MANY[:FEW_MAX]) == are_signed(MANY[:FEW_MAX])
    os.kill(verifier.process, signal.SIGCONT)


@needs_verifier
def test_several_threads_get_each_their_own_answers(verifier):
    parts, process = [claims(20 + n, keys=n + 1) for n in range(6)], verifier.process
    with ThreadPoolExecutor(6) as threads:
        for _ in range(5):
            assert list(threads.map(verifier.are_signed, parts, timeout=BOUND_S)) == [are_signed(part) for part in parts]
    assert verifier.process == process


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
def test_an_hour_after_its_last_start_it_may_be_started_again(verifier, monkeypatch):
    verifier._starts_left = 0
    os.kill(verifier.process, signal.SIGKILL)
    verifier._child.wait(BOUND_S)
    assert "failed 4 times: signatures are checked by the node itself, more slowly. `make cometbft` builds it" in verifier.remark()
    assert (verifier.are_signed(MANY), verifier.process) == (are_signed(MANY), None)
    monkeypatch.setattr("yilian.engines.cometbft.verifier.REGAIN_S", 0.0)
    assert verifier.are_signed(MANY) == are_signed(MANY)
    assert verifier.process is not None
    assert verifier.remark() == ""


@needs_verifier
def test_what_breaks_off_an_answer_ends_the_process_and_never_lends_its_answer_to_the_next_question(verifier, monkeypatch):
    good, false = claims(60, keys=1)[1:7] * 5, [Signed(SigningKey(bytes(32)).public_key, b"m", bytes(64))] * 30
    process, read = verifier.process, os.read

    def broken(*asked):
        read(*asked)
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("yilian.engines.cometbft.verifier.os.read", broken)
        with pytest.raises(MemoryError):
            verifier.are_signed(good)
    assert verifier.process is None
    assert verifier._asked(false) == [False] * 30
    assert verifier.process not in {None, process}


@needs_verifier
def test_who_cannot_have_its_turn_in_time_checks_for_itself(verifier, monkeypatch):
    monkeypatch.setattr("yilian.engines.cometbft.verifier.PATIENCE_S", 0.01)
    with verifier._guard:
        assert verifier._asked(MANY) is None
        assert verifier.are_signed(MANY) == are_signed(MANY)


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
    for made, remark in (Verifier(tmp_path / "none", 1), f"there is no {tmp_path}/none: "), (Verifier(verifier_program(), 0), ""):
        assert (made.process, made.are_signed(MANY)) == (None, are_signed(MANY))
        assert made.remark().startswith(remark)
        assert bool(made.remark()) == bool(remark)
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
    assert made.remark().startswith(f"{path} cannot be started (Permission denied)")
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
