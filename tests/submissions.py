"""Signed transactions for a network that is driven by bytes, without an engine."""

import time

from tests.worlds import KINDS, key, node_key, seed
from yilian.base.transaction import Header, sign
from yilian.contracts import consent

DAY_S = 86_400


class Submissions:
    """Signed transactions for one network, each with a nonce of its own."""

    def __init__(self, network, first_nonce=1, now_s=None):
        self.network = network
        self.nonce = first_nonce
        self.now_s = now_s or (lambda: int(time.time()))

    def transaction(self, kind_name, message, carrier="clinic-1", approvers=(), **changes):
        kind, signer = KINDS[kind_name], node_key(carrier)
        header = Header(self.network, signer.kid, carrier, kind_name, self.now_s() + 60, self.nonce)
        self.nonce += 1
        return sign(signer, header._replace(**changes), kind.number, kind.body(message), approvers)

    def give(self, name, carrier="clinic-1", **changes):
        """Return a transaction that gives the grant `name`."""
        control = key(name, "control")
        until_s = (self.now_s() // DAY_S + 8) * DAY_S
        keys = (control.public_key, key(name, "holder").public_key, key(name, "requester").public_key)
        return self.transaction("consent.give", consent.Give(*keys, seed(name), until_s, 5), carrier, [control], **changes)

    def revoke(self, name, carrier="clinic-1", approver=None):
        """Return a transaction that revokes the grant `name`, approved by its own key or by another."""
        control = key(name, "control")
        return self.transaction("consent.revoke", consent.Revoke(control.public_key), carrier, [approver or control])
