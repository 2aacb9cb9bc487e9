"""What any wallet may ask of any node: a one-time key, and to be heard when a grant is over.

Source   design 03 "consent" (grant keys; "the wallet also tells the holder directly, which refuses at once").
"""

from __future__ import annotations

from typing import Final

from yilian.base.artefacts import grant_key_statement
from yilian.base.handovers import GrantKey, RevokeNotice
from yilian.base.keys import PUBLIC_KEY_SIZE
from yilian.base.kinds import StateView
from yilian.contracts import consent
from yilian.node import handedkeys
from yilian.node.member import Node
from yilian.node.refusals import No, demand

GRANT_KEY_S: Final = 3_600  # a person reads, chooses and signs; a grant that comes later asks for another key


UNKNOWN_S: Final = 3_600  # a give that is on its way ends by then: a header lasts at most one hour (design 02)
UNKNOWN_MAX: Final = 50_000  # notices of unknown grants; one address cannot fill it: 600 a minute for an hour are 36,000


async def hand_out_grant_key(node: Node) -> GrantKey:
    """Return a fresh one-time key, signed by the node key; its random id and its end are on disk before the key is seen."""
    key = await node.keys.new_grant_key()
    until_s = node.members.now_s() + GRANT_KEY_S
    await handedkeys.note(key, until_s, node)
    signature = node.keys.node_key.sign(grant_key_statement(node.network, key.public_key, node.id, until_s))
    return GrantKey(key.public_key, node.id, until_s, signature)


async def take_revocation(notice: RevokeNotice, node: Node) -> None:
    """Refuse a grant from now on: durable before it is acknowledged. A replay changes nothing; a notice of any grant is taken.

    A notice for a grant that the ledger does not know yet is kept too, for an hour: the give may still be on its way. Whoever makes keys
    and revokes them does not fill the disk: of such notices so many are kept, and the next is refused, so that nobody's is lost unsaid.

    Refuses  REVOCATION_NOT_SIGNED, TOO_MANY_REQUESTS
    """
    demand(len(notice.control_key) == PUBLIC_KEY_SIZE and notice.is_genuine(node.network), No.REVOCATION_NOT_SIGNED)
    view, now_s = node.members.final().view, node.members.now_s()
    if consent.read(view, notice.control_key) is None and not node.grants.is_revoked(notice.control_key):
        unknown = await _unknown(view, now_s, node)
        demand(len(unknown) < UNKNOWN_MAX, No.TOO_MANY_REQUESTS, unknown_max=UNKNOWN_MAX)
        unknown[notice.control_key] = now_s
    bound = (notice.control_key, notice.revoked_at_s, notice.signature, node.members.now_s())
    await node.journal.execute("INSERT INTO revocations VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", bound)
    node.grants.revoke(notice.control_key)


async def _unknown(view: StateView, now_s: int, node: Node) -> dict[bytes, int]:
    """Return the notices of grants that the ledger does not have, in the order in which they came, once those whose hour is over are gone.

    A notice whose grant has come in the meantime is kept for ever: it is no longer one of these.
    """
    unknown = node.grants.unknown
    if unknown is None:
        rows = node.journal.all("SELECT control_key, told_at_s FROM revocations ORDER BY told_at_s")
        unknown = node.grants.unknown = {key: told_at_s for key, told_at_s in rows if consent.read(view, key) is None}
    over = []
    for key, told_at_s in unknown.items():
        if now_s < told_at_s + UNKNOWN_S:
            break
        over.append(key)
    gone = [key for key in over if consent.read(view, key) is None]
    for key in over:
        del unknown[key]
    if gone:
        node.grants.forget(gone)
        await node.journal.write(
            lambda db: db.executemany("DELETE FROM revocations WHERE control_key = ?", [(key,) for key in gone]) and None
        )
    return unknown
