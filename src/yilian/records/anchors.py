"""Which versions the next tick covers, that a tick covered them, and the proof of one.

Leaf     `CBOR([C, SHA-256(erase_pk)])` under an RFC 9162 tree; `C = mac(k, "record", network, received bytes)`.
Source   design 03 "anchor", design 04 "Anchors and correction"
"""

import sqlite3
from typing import Any

from yilian.base import labels, merkle
from yilian.base.codec import encode
from yilian.base.digests import mac, sha256
from yilian.records.core import Core, body_context
from yilian.records.faults import NotFound
from yilian.records.store import Pending, Proof, Stored

_OPEN = "SELECT id, commitment, erase_pk FROM version WHERE batch IS NULL ORDER BY id"


def leaf(commitment: bytes, erase_pk: bytes) -> bytes:
    """Return the leaf hash of one version."""
    return merkle.leaf_hash(encode([commitment, sha256(erase_pk)]))


def is_proven(proof: Proof, network_id: bytes) -> bool:
    """Say whether a proof holds by itself: k commits to the received bytes, and the path leads to the records root.

    That the root is the one in the tick at `tick_index` is for the ledger's receipt to show.
    """
    if proof.k is None or mac(proof.k, labels.RECORD, network_id, proof.received) != proof.commitment:
        return False
    own = leaf(proof.commitment, proof.erase_pk)
    return proof.is_anchored and merkle.is_included(own, proof.position, proof.size, proof.path, proof.records_root)


def pending(db: sqlite3.Connection, limit: int | None) -> Pending:
    """Return the versions without a tick, oldest first, and the root over them; SHA-256("") when there are none."""
    rows = db.execute(_OPEN + (" LIMIT ?" if limit is not None else ""), () if limit is None else (limit,)).fetchall()
    return Pending(merkle.root([leaf(c, e) for _n, c, e in rows]), tuple(r[0] for r in rows))


def anchored(core: Core, tick_index: int, covered: Pending) -> None:
    """Remember that the tick at `tick_index` is final and covers these versions. A repeat changes nothing."""
    if not covered.numbers:
        return
    with core.writing() as writing:
        db = writing.db
        first = db.execute("SELECT batch FROM version WHERE id=?", (covered.numbers[0],)).fetchone()
        if first is None or first[0] is not None:
            return
        batch = db.execute(
            "INSERT INTO batch(tick_index,root,size) VALUES(?,?,?)", (tick_index, covered.records_root, len(covered.numbers))
        ).lastrowid
        db.executemany(
            "UPDATE version SET batch=?,position=? WHERE id=? AND batch IS NULL", [(batch, p, n) for p, n in enumerate(covered.numbers)]
        )


def proof(core: Core, db: sqlite3.Connection, stored: Stored) -> Proof:
    """Return everything that shows a version unaltered since its tick."""
    row = db.execute(
        "SELECT patient, body, key_id, commitment, erase_pk, batch, position FROM version WHERE id=?", (stored.number,)
    ).fetchone()
    if row is None:
        raise NotFound("There is no such version.", stored.type)
    patient, body, key_id, commitment, erase_pk, batch, position = row
    received, splices = core.unframe(core.framed(db, patient, body, body_context(stored.type, stored.id, stored.version_id)))
    known: dict[str, Any] = {
        "stored": stored,
        "received": received,
        "splices": tuple(splices),
        "k": core.setting.keys.get(key_id),
        "erase_pk": erase_pk,
        "commitment": commitment,
    }
    if batch is None:
        return Proof(**known, is_anchored=False)
    tick_index, root, size = db.execute("SELECT tick_index, root, size FROM batch WHERE id=?", (batch,)).fetchone()
    leaves = [leaf(c, e) for c, e in db.execute("SELECT commitment, erase_pk FROM version WHERE batch=? ORDER BY position", (batch,))]
    return Proof(
        **known,
        is_anchored=True,
        tick_index=tick_index,
        records_root=root,
        position=position,
        size=size,
        path=tuple(merkle.inclusion_path(leaves, position)),
    )
