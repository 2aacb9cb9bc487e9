"""Transactions: only the one form is taken, and an approval works in one envelope."""

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yilian.base import cose
from yilian.base.codec import Malformed, encode
from yilian.base.keys import SigningKey, is_signed
from yilian.base.refusals import Reason, Refused
from yilian.base.transaction import (
    APPROVALS_MAX,
    HEADER_SIZE_BYTES_MAX,
    PAYLOAD_ITEMS_MAX,
    Header,
    act_bytes,
    approval_message,
    approve,
    assemble,
    parse,
    parse_header,
    sign,
)

CARRIER, PATIENT, OTHER = SigningKey(b"c" * 32), SigningKey(b"p" * 32), SigningKey(b"o" * 32)
HEADER = Header(b"n" * 32, CARRIER.kid, "clinic-1", "consent.give", 1_800_000_000, 7)
BODY = {1: b"a" * 32, 2: 5}
GOOD = sign(CARRIER, HEADER, 20, BODY, [PATIENT])


def refused(data):
    with pytest.raises(Refused) as no:
        parse(data)
    return no.value.reason, no.value.facts


def outer(**changes):
    parts = {"protected": HEADER.encoded(), "unprotected": {}, "payload": encode([20, BODY, []]), "signature": bytes(64)} | changes
    return b"\xd2" + cbor2.dumps([parts["protected"], parts["unprotected"], parts["payload"], parts["signature"]])


def header_without(**changes):
    claims = {1: "clinic-1", 2: "consent.give", 4: 1_800_000_000} | changes.pop("claims", {})
    header = {1: -8, 3: "application/yilian-transaction+cbor", 4: CARRIER.kid, 15: claims, -70001: b"n" * 32, -70002: 7}
    header |= changes.pop("labels", {})
    return outer(protected=encode({label: value for label, value in header.items() if value is not ...}))


def test_what_was_signed_is_what_is_read_and_every_signature_holds():
    read = parse(GOOD)
    assert (read.header, read.kind, read.body) == (HEADER, 20, BODY)
    assert is_signed(CARRIER.public_key, read.signed_bytes(), read.signature)
    assert [key for key, _ in read.approvals] == [PATIENT.public_key]
    assert is_signed(PATIENT.public_key, read.approved_bytes(), read.approvals[0][1])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        GOOD[1:],
        GOOD + b"\x00",
        b"\xd1" + GOOD[1:],
        outer(unprotected={1: 2}),
        outer(unprotected=[]),
        outer(payload=None),
        outer(payload="text"),
        outer(signature=bytes(63)),
        outer(protected={}),
        outer(protected=encode([])),
        outer(payload=encode([20, BODY])),
        outer(payload=encode([20, BODY, [], 0])),
        outer(payload=encode(["20", BODY, []])),
        outer(payload=encode([True, BODY, []])),
        outer(payload=encode([20, [], []])),
        outer(payload=encode([20, {"a": 1}, []])),
        outer(payload=encode([20, BODY, {}])),
        outer(payload=encode([20, BODY, [[bytes(32)]]])),
        outer(payload=encode([20, BODY, [[bytes(31), bytes(64)]]])),
        outer(payload=encode([20, BODY, [[bytes(32), bytes(63)]]])),
        outer(payload=encode([20, BODY, [[bytes(32), 64]]])),
        outer(payload=encode([20, BODY, [[bytes(32), bytes(64), 0]]])),
        outer(payload=encode([20, BODY, []]) + b"\x00"),
        outer(payload=b"\x83\x14\xa2\x02\x05\x01\x41a\x80"),  # keys out of order
        outer(payload=b"\x83\x14\xa2\x01\x05\x01\x06\x80"),  # a key twice
        outer(payload=b"\x9f\x14\xa0\x80\xff"),  # indefinite
        outer(payload=b"\x83\x18\x14\xa0\x80"),  # a long integer
        header_without(labels={1: -7}),
        header_without(labels={3: "application/cbor"}),
        header_without(labels={4: "kid"}),
        header_without(labels={4: ...}),
        header_without(labels={-70001: "network"}),
        header_without(labels={-70002: -1}),
        header_without(labels={-70002: 2**64 - 1, -70003: 1}),
        header_without(labels={-70002: ...}),
        header_without(labels={15: []}),
        header_without(claims={1: 1}),
        header_without(claims={1: ""}),
        header_without(claims={1: "x" * 33}),
        header_without(claims={1: "诊所"}),
        header_without(claims={2: 2}),
        header_without(claims={4: "soon"}),
        header_without(claims={4: True}),
        header_without(claims={4: -1}),
        header_without(claims={5: 1}),
    ],
)
def test_any_other_form_is_bad_bytes(data):
    assert refused(data) == (Reason.BAD_BYTES, {})


def test_too_large_too_many_and_twice_are_said_as_such():
    big = sign(CARRIER, HEADER, 20, {1: bytes(64 * 1024)})
    assert refused(big) == (Reason.TOO_LARGE, {"size_bytes": 65_546})
    assert refused(bytes(70_000)) == (Reason.TOO_LARGE, {"size_bytes": 70_000})
    many = [SigningKey(bytes([n]) * 32) for n in range(APPROVALS_MAX + 1)]
    assert len(parse(sign(CARRIER, HEADER, 20, BODY, many[:-1])).approvals) == APPROVALS_MAX
    assert refused(sign(CARRIER, HEADER, 20, BODY, many)) == (Reason.TOO_MANY_APPROVALS, {"approvals": 17})
    assert refused(sign(CARRIER, HEADER, 20, BODY, [PATIENT, OTHER, PATIENT])) == (Reason.APPROVED_TWICE, {})


def test_an_approval_holds_in_its_own_envelope_and_for_its_own_act_only():
    protected, act = HEADER.encoded(), act_bytes(20, BODY)
    key, signature = approve(PATIENT, protected, act)
    assert is_signed(key, approval_message(protected, act), signature)
    elsewhere = Header(HEADER.network, OTHER.kid, "clinic-2", HEADER.subject, HEADER.exp_s, HEADER.nonce)
    again = Header(HEADER.network, HEADER.kid, HEADER.issuer, HEADER.subject, HEADER.exp_s, HEADER.nonce + 1)
    for other in (elsewhere, again):
        assert not is_signed(key, approval_message(other.encoded(), act), signature)
    assert not is_signed(key, approval_message(protected, act_bytes(21, BODY)), signature)
    assert not is_signed(key, approval_message(protected, act_bytes(20, {1: b"a" * 32, 2: 6})), signature)
    assert not is_signed(key, cose.to_be_signed(protected, act), signature)  # an approval is no carrier's signature
    assert parse(assemble(CARRIER, protected, 20, BODY, [(key, signature)])).approvals == ((key, signature),)


def test_every_flipped_bit_is_noticed():
    for position in range(len(GOOD) * 8):
        data = bytearray(GOOD)
        data[position // 8] ^= 1 << position % 8
        try:
            read = parse(bytes(data))
        except Refused:
            continue
        good = is_signed(CARRIER.public_key, read.signed_bytes(), read.signature)
        approved = all(is_signed(key, read.approved_bytes(), signature) for key, signature in read.approvals)
        assert not (good and approved), position


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_refused_and_nothing_else_happens(data):
    assert refused(data)[0] is Reason.BAD_BYTES
    assert refused(b"\xd2" + data)[0] is Reason.BAD_BYTES


def test_a_header_that_is_a_header_reads_back():
    assert parse_header(HEADER.encoded()) == HEADER
    with pytest.raises(Malformed):
        parse_header(encode([1]))


def test_a_payload_of_very_many_items_is_refused_before_time_is_spent_on_it():
    """Besides the list's own there are five items: the payload's three, the body's key and its value."""
    for body in ({1: [[]] * 60_000}, {1: dict.fromkeys(range(10000), 0)}, {1: [[0] * 100] * 100}):
        assert refused(sign(CARRIER, HEADER, 20, body)) == (Reason.BAD_BYTES, {})
    most = PAYLOAD_ITEMS_MAX - 5
    assert parse(sign(CARRIER, HEADER, 20, {1: [0] * most})).body == {1: [0] * most}
    assert refused(sign(CARRIER, HEADER, 20, {1: [0] * (most + 1)})) == (Reason.BAD_BYTES, {})
    assert refused(outer(unprotected={1: [0] * 5_000})) == (Reason.BAD_BYTES, {})


def test_a_header_has_512_bytes_at_most():
    widest = Header(b"n" * 32, CARRIER.kid, "m" * 32, "s" * 320, 1_800_000_000, 7)
    padded = Header(b"n" * 32, CARRIER.kid, "m" * 32, "s" * (320 + HEADER_SIZE_BYTES_MAX - len(widest.encoded())), 1_800_000_000, 7)
    assert len(padded.encoded()) == HEADER_SIZE_BYTES_MAX
    assert parse_header(padded.encoded()) == padded
    with pytest.raises(Malformed) as no:
        parse_header(Header(padded.network, padded.kid, padded.issuer, padded.subject + "s", padded.exp_s, padded.nonce).encoded())
    assert str(no.value) == "NOT_OUR_HEADER"


@pytest.mark.parametrize(
    ("place", "written"),
    [
        (b"\xa6\x01\x27", b"\xa6\xf5\x27"),  # label 1 as `true`, which Python calls equal
        (b"\xa6\x01\x27", b"\xa6\x01\xf9\xc8\x00"),  # alg -8 as the float -8.0
        (b"\x0f\xa3\x01", b"\x0f\xa3\xf5"),  # claim 1 as `true`
        (b"\x04\x50", b"\x04\x51\x00"),  # a kid of 17 bytes
        (b"\x04\x1a\x6b", b"\x04\xfa\x6b"),  # exp as a float
    ],
)
def test_what_python_calls_equal_is_still_another_header(place, written):
    assert HEADER.encoded().count(place) == 1
    with pytest.raises(Malformed):
        parse_header(HEADER.encoded().replace(place, written))


def test_what_approvers_signed_is_cut_out_of_the_payload():
    for approvers in ([], [PATIENT], [PATIENT, OTHER, CARRIER]):
        read = parse(sign(CARRIER, HEADER, 300, BODY | {40: [1, {2: b"x"}]}, approvers))
        assert read.approved_bytes() == approval_message(HEADER.encoded(), act_bytes(300, BODY | {40: [1, {2: b"x"}]}))


@pytest.mark.parametrize(("labels", "claims"), [({-70001}, set()), ({-70002}, set()), (set(), {2}), (set(), {4}), ({15}, {1})])
def test_a_label_that_only_equals_the_label_is_not_it(labels, claims):
    said = cbor2.loads(HEADER.encoded())
    said[15] = {float(label) if label in claims else label: value for label, value in said[15].items()}
    data = cbor2.dumps({float(label) if label in labels else label: value for label, value in said.items()})
    with pytest.raises(Malformed) as no:
        parse_header(data)
    assert str(no.value) == "NOT_OUR_HEADER"
