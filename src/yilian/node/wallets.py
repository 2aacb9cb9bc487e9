"""What any wallet may ask of any node: a one-time key, and to be heard when a grant is over.

Source   design 03 "consent" (grant keys; "the wallet also tells the holder directly, which refuses at once").
"""

from __future__ import annotations

from typing import Final

from yilian.base.artefacts import grant_key_statement
from yilian.base.handovers import GrantKey, RevokeNotice
from yilian.base.keys import PUBLIC_KEY_SIZE
from yilian.node.member import Node
from yilian.node.refusals import No, demand

GRANT_KEY_S: Final = 3_600  # a person reads, chooses and signs; a grant that comes later asks for another key


async def hand_out_grant_key(node: Node) -> GrantKey:
    """Return a fresh one-time key, signed by the node key; its random id is on disk before the key is seen."""
    key = await node.keys.new_grant_key()
    until_s = node.members.now_s() + GRANT_KEY_S
    signature = node.keys.node_key.sign(grant_key_statement(node.network, key.public_key, node.id, until_s))
    return GrantKey(key.public_key, node.id, until_s, signature)


async def take_revocation(notice: RevokeNotice, node: Node) -> None:
    """Refuse a grant from now on: durable before it is acknowledged. A replay changes nothing; a notice of any grant is taken.

    A notice for a grant that the ledger does not know yet is kept too: the give may still be on its way.

    Refuses  REVOCATION_NOT_SIGNED
    """
    demand(len(notice.control_key) == PUBLIC_KEY_SIZE and notice.is_genuine(node.network), No.REVOCATION_NOT_SIGNED)
    bound = (notice.control_key, notice.revoked_at_s, notice.signature, node.members.now_s())
    await node.journal.execute("INSERT INTO revocations VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", bound)
    node.grants.revoke(notice.control_key)
