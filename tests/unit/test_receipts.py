"""Receipts, by our own reading and by a third party's."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from scitt_cose import verify_receipt

from yilian.base import cose
from yilian.base.codec import Malformed, decode, encode
from yilian.base.keys import SigningKey
from yilian.base.merkle import inclusion_path, leaf_hash, root
from yilian.base.transaction import Header, sign
from yilian.ledger.receipts import (
    open_receipt,
    parse_checkpoint,
    receipt,
    sign_checkpoint,
    split_transparent,
    transparent,
)

KEY, NETWORK = SigningKey(b"r" * 32), b"n" * 32
CARRIER = SigningKey(b"c" * 32)
STATEMENTS = [
    sign(CARRIER, Header(NETWORK, CARRIER.kid, "clinic-1", "anchor.tick", 1_800_000_000, n), 40, {1: bytes(32), 2: bytes(32)})
    for n in range(7)
]
LEAVES = [leaf_hash(statement) for statement in STATEMENTS]
CHECKPOINT = sign_checkpoint(KEY, "clinic-1", NETWORK, (7, root(LEAVES)), 3, 1_799_999_999)
INDEX = 4
RECEIPT = receipt(CHECKPOINT, INDEX, inclusion_path(LEAVES, INDEX))
FULL = transparent(STATEMENTS[INDEX], [RECEIPT])


def accepts(data, leaf):
    """Say whether our reader takes the receipt for this leaf at all, with the member's key."""
    try:
        proven = open_receipt(data, leaf)
    except Malformed:
        return False
    return proven.checkpoint.is_signed_by(KEY.public_key)


PEM = Ed25519PublicKey.from_public_bytes(KEY.public_key).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def third_party_accepts(data, statement):
    """Say whether scitt-cose takes the receipt for the statement."""
    return verify_receipt(data, leaf_entry_hex=statement.hex(), log_public_key_pem=PEM).ok


def test_a_receipt_says_where_the_entry_stands_and_who_vouches():
    proven = open_receipt(RECEIPT, LEAVES[INDEX])
    assert (proven.index, proven.checkpoint) == (INDEX, CHECKPOINT)
    assert CHECKPOINT.is_signed_by(KEY.public_key)
    assert not CHECKPOINT.is_signed_by(CARRIER.public_key)


def test_a_transparent_statement_gives_back_the_entry_and_its_receipts():
    assert split_transparent(FULL) == (STATEMENTS[INDEX], [RECEIPT])


def test_a_third_party_accepts_the_receipt_and_reads_the_same_facts():
    result = verify_receipt(RECEIPT, leaf_entry_hex=STATEMENTS[INDEX].hex(), log_public_key_pem=PEM)
    assert (result.ok, result.errors) == (True, [])
    assert (result.root, result.tree_size, result.leaf_index) == (root(LEAVES).hex(), 7, INDEX)
    assert (result.issuer, result.subject, result.iat) == ("clinic-1", NETWORK.hex(), 1_799_999_999)
    assert result.protected_header_ext == {4: KEY.kid, -70003: 3, -70004: 7}


def test_neither_we_nor_a_third_party_pass_a_flipped_bit():
    """Outside the unprotected tree size, which the RFC leaves unsigned, and which we compare with the signed one."""
    third_party_passes = []
    for position in range(len(RECEIPT) * 8):
        flipped = bytearray(RECEIPT)
        flipped[position // 8] ^= 1 << position % 8
        assert not accepts(bytes(flipped), LEAVES[INDEX]), position
        if third_party_accepts(bytes(flipped), STATEMENTS[INDEX]):
            third_party_passes.append(position // 8)
    size_at = RECEIPT.index(encode([7, INDEX])[1:3])  # where the proof's tree size stands
    assert set(third_party_passes) <= {size_at}


def test_a_receipt_for_one_entry_is_none_for_another():
    for index, leaf in enumerate(LEAVES):
        assert accepts(RECEIPT, leaf) == (index == INDEX)


@pytest.mark.parametrize(
    "change",
    [
        {"member": "clinic-2"},
        {"network": b"m" * 32},
        {"height": 4},
        {"size": 8},
        {"time_s": 1_800_000_000},
        {"root": bytes(32)},
        {"kid": CARRIER.kid},
        {"signature": bytes(64)},
    ],
)
def test_everything_that_a_checkpoint_says_is_signed(change):
    assert not replace(CHECKPOINT, **change).is_signed_by(KEY.public_key)


def test_a_signature_under_another_keys_name_is_not_the_members():
    unsigned = replace(CHECKPOINT, kid=CARRIER.kid)
    signature = KEY.sign(cose.to_be_signed(unsigned.protected(), unsigned.root))
    assert not replace(unsigned, signature=signature).is_signed_by(KEY.public_key)


def test_an_empty_log_at_the_very_start_can_be_signed():
    first = sign_checkpoint(KEY, "clinic-1", NETWORK, (0, root([])), 0, 0)
    assert parse_checkpoint(first.encoded()) == first
    assert first.is_signed_by(KEY.public_key)


def test_a_checkpoint_reads_back_and_other_bytes_do_not():
    assert parse_checkpoint(CHECKPOINT.encoded()) == CHECKPOINT
    detached = cose.Sign1(CHECKPOINT.protected(), {}, None, CHECKPOINT.signature).encoded()
    unprotected = cose.Sign1(CHECKPOINT.protected(), {1: 2}, CHECKPOINT.root, CHECKPOINT.signature).encoded()
    for wrong in (RECEIPT, FULL, b"", STATEMENTS[0], unprotected, detached):
        with pytest.raises(Malformed):
            parse_checkpoint(wrong)


@pytest.mark.parametrize(
    ("label", "value"),
    [
        (1, -7),
        (4, "kid"),
        (15, {1: 1, 2: NETWORK.hex(), 6: 0}),
        (15, {1: "m", 2: b"n", 6: 0}),
        (15, {1: "m", 2: "not hex", 6: 0}),
        (15, {1: "m", 2: NETWORK.hex().upper(), 6: 0}),
        (15, {1: "m", 2: "00", 6: -1}),
        (15, {1: "m", 2: "00"}),
        (15, []),
        (15, [1, 2, 6]),
        (395, 2),
        (-70003, -1),
        (-70003, "9"),
        (-70004, True),
        (-70005, 0),
    ],
)
def test_a_checkpoint_with_another_header_is_none(label, value):
    header = decode(CHECKPOINT.protected()) | {label: value}
    with pytest.raises(Malformed):
        parse_checkpoint(cose.Sign1(encode(header), {}, CHECKPOINT.root, CHECKPOINT.signature).encoded())


def test_a_proof_with_another_tree_size_is_refused_by_us():
    path = inclusion_path(LEAVES, INDEX)
    for size in range(6, 9):
        forged = receipt_with(encode([size, INDEX, path]))
        assert accepts(forged, LEAVES[INDEX]) == (size == 7)


@pytest.mark.parametrize(
    ("proof", "why"),
    [
        (encode([7, INDEX]), "NOT_AN_INCLUSION_PROOF"),
        (encode([7, INDEX, [b"short"]]), "NOT_AN_INCLUSION_PROOF"),
        (encode([7, INDEX, [1]]), "NOT_AN_INCLUSION_PROOF"),
        (encode({1: 2}), "NOT_AN_INCLUSION_PROOF"),
        (b"\xff", "CBORDecodeError"),
        (encode([7, 7, []]), "PATH_LEADS_NOWHERE"),
        (encode([7, -1, []]), "PATH_LEADS_NOWHERE"),
    ],
)
def test_a_proof_of_another_form_is_refused(proof, why):
    with pytest.raises(Malformed) as no:
        open_receipt(receipt_with(proof), LEAVES[INDEX])
    assert str(no.value) == why


def receipt_with(proof):
    return cose.Sign1(CHECKPOINT.protected(), {396: {-1: [proof]}}, None, CHECKPOINT.signature).encoded()


@pytest.mark.parametrize(
    ("unprotected", "payload"),
    [
        ({396: {-1: []}}, None),
        ({396: {-1: [b"", b""]}}, None),
        ({396: {-2: []}}, None),
        ({396: []}, None),
        ({396: [-1]}, None),
        ({396: 1}, None),
        ({395: {-1: []}}, None),
        ({}, None),
        ({396: {-1: [encode([7, INDEX, inclusion_path(LEAVES, INDEX)])]}}, b"payload"),
        ({396: {-1: [encode([7, INDEX, inclusion_path(LEAVES, INDEX)])]}, 397: 0}, None),
    ],
)
def test_a_receipt_of_another_form_is_refused(unprotected, payload):
    assert not accepts(cose.Sign1(CHECKPOINT.protected(), unprotected, payload, CHECKPOINT.signature).encoded(), LEAVES[INDEX])


@pytest.mark.parametrize("unprotected", [{}, {394: []} | {1: 1}, {394: b"receipt"}, {394: ["text"]}, {394: {}}, {393: [RECEIPT]}])
def test_a_statement_without_receipts_in_their_place_is_not_transparent(unprotected):
    outer = cose.parse_sign1(STATEMENTS[INDEX])
    with pytest.raises(Malformed):
        split_transparent(replace(outer, unprotected=unprotected).encoded())
