"""The wallet process itself: one request in, one answer out; each new state is on disk before its answer leaves."""

from collections.abc import Callable
from typing import Any

from yilian.base.chartlogs import LogAnswer
from yilian.base.codec import Malformed, Value
from yilian.base.handovers import EnrolAsk, GrantKey, Relationship, SignedChallenge
from yilian.base.shapes import pack, unpack
from yilian.base.transaction import act_bytes
from yilian.ledger import Export
from yilian.talks import Fields, frame
from yilian.wallet.home import Home
from yilian.wallet.members import Members
from yilian.wallet.protocol import checked, said_report, understood
from yilian.wallet.refusals import No, WalletRefused
from yilian.wallet.state import WalletState
from yilian.wallet.wallet import ToSubmit, Wallet, Wish

_SEED_BYTES, _NONCE_BYTES, _REQUEST_ID_BYTES = 32, 32, 16

Acted = tuple[WalletState, Fields]


class Desk:
    """Wallets by name in one home. `clock` gives whole Unix seconds; `entropy` random bytes."""

    def __init__(self, home: Home, members: Members, clock: Callable[[], int], entropy: Callable[[int], bytes]) -> None:
        self._home = home
        kept = home.changes()
        self._members = members if kept is None else members.following(kept)  # trusted no more than what a node serves
        self._clock = clock
        self._entropy = entropy
        self._acts: dict[str, Callable[[Wallet, WalletState, dict[str, Any]], Acted]] = {
            "enrol": self._enrol,
            "admit": self._admit,
            "draft": self._draft,
            "approve": self._approve,
            "bundle": self._bundle,
            "revoke": self._revoke,
            "note": self._note,
            "receipt": self._receipt,
            "grants": self._grants,
            "charts": self._charts,
            "presence": self._presence,
            "read_own": self._read_own,
            "months": self._months,
            "ask_log": self._ask_log,
            "check": self._check,
        }

    def answer(self, body: bytes) -> bytes:
        """Return the framed answer to one request, whatever the bytes are."""
        try:
            operation, fields = checked(understood(body))
            return frame({"ok": self._do(operation, fields)})
        except Malformed as error:
            return frame({"no": No.BAD_REQUEST.value, "facts": {"why": str(error)}})
        except WalletRefused as no:
            facts: Fields = dict(no.facts)
            return frame({"no": no.no.value, "facts": facts})

    def _do(self, operation: str, fields: dict[str, Any]) -> Fields:
        if operation == "status":
            names: list[Value] = [*self._home.names()]
            since = self._members.last_index
            return {"network": self._members.network, "wallets": names, "sealed": self._home.is_sealed, "members_since": since}
        if operation == "follow":
            return self._follow(fields["changes"])
        name = fields.pop("name")
        if operation == "create":
            self._home.create(name, self._entropy(_SEED_BYTES) if fields["seed"] is None else fields["seed"])
            return {}
        seed, state = self._home.load(name)
        after, said = self._acts[operation](Wallet.of(seed, self._members), state, fields)
        self._home.keep(name, after)
        return said

    def _follow(self, changes: bytes) -> Fields:
        """Take changes of members for every wallet of this home; kept before anything is answered."""
        after = self._members.following(changes)
        if after is not self._members:  # a change may be missing before the last one
            self._home.keep_changes(Export(after.genesis.encoded(), tuple(after.changes())).encoded())
            self._members = after
        return {"members_since": after.last_index}

    def _enrol(self, wallet: Wallet, state: WalletState, said: dict[str, Any]) -> Acted:
        after, answer = wallet.enrol(state, unpack(EnrolAsk, said["ask"]), self._clock())
        return after, {"answer": pack(answer)}

    def _admit(self, wallet: Wallet, state: WalletState, said: dict[str, Any]) -> Acted:
        return wallet.admit(state, unpack(Relationship, said["relationship"])), {}

    def _draft(self, wallet: Wallet, state: WalletState, said: dict[str, Any]) -> Acted:
        sides = (unpack(GrantKey, said["holder_key"]), unpack(GrantKey, said["requester_key"]))
        after, act = wallet.draft(state, unpack(Wish, said["wish"]), sides, self._clock(), self._entropy(_NONCE_BYTES))
        return after, _said_act(act)

    def _approve(self, wallet: Wallet, state: WalletState, said: dict[str, Any]) -> Acted:
        approve = wallet.approve_revoke if said["revoke"] else wallet.approve_give
        key, signature = approve(state, said["control_key"], said["header"], self._clock())
        return state, {"key": key, "signature": signature}

    def _bundle(self, wallet: Wallet, state: WalletState, said: dict[str, Any]) -> Acted:
        return state, {"sealed": wallet.bundle(state, said["control_key"], said["member"])}

    def _revoke(self, wallet: Wallet, state: WalletState, said: dict[str, Any]) -> Acted:
        after, notice, act = wallet.revoke(state, said["control_key"], self._clock())
        return after, {"notice": pack(notice), **_said_act(act)}

    def _note(self, wallet: Wallet, state: WalletState, said: dict[str, Any]) -> Acted:
        return wallet.note_index(state, said["control_key"], said["index"], is_revoke=said["revoke"]), {}

    def _receipt(self, wallet: Wallet, state: WalletState, said: dict[str, Any]) -> Acted:
        return wallet.take_receipt(state, said["statement"]), {}

    def _grants(self, wallet: Wallet, state: WalletState, said: dict[str, Any]) -> Acted:  # noqa: ARG002 - one shape of all acts
        return state, {"grants": [pack(grant) for grant in state.grants]}

    def _charts(self, wallet: Wallet, state: WalletState, said: dict[str, Any]) -> Acted:  # noqa: ARG002 - one shape of all acts
        return state, {"charts": [[chart.holder, wallet.relationship_key(state, chart.holder)] for chart in state.charts]}

    def _presence(self, wallet: Wallet, state: WalletState, said: dict[str, Any]) -> Acted:
        asked, holders = unpack(SignedChallenge, said["asked"]), tuple(str(holder) for holder in said["holders"])
        proofs = wallet.prove_presence(state, asked, holders, seen=said["seen"], now_s=self._clock(), until_s=said["until_s"])
        return state, {"proofs": [pack(proof) for proof in proofs]}

    def _read_own(self, wallet: Wallet, state: WalletState, said: dict[str, Any]) -> Acted:
        request_id = self._entropy(_REQUEST_ID_BYTES) if said["request_id"] is None else said["request_id"]
        return state, {"request": pack(wallet.read_own(state, said["holder"], said["target"], self._clock(), request_id))}

    def _months(self, wallet: Wallet, state: WalletState, said: dict[str, Any]) -> Acted:
        return state, {"months": list(wallet.months_due(state, said["holder"], self._clock()))}

    def _ask_log(self, wallet: Wallet, state: WalletState, said: dict[str, Any]) -> Acted:
        nonce = self._entropy(_NONCE_BYTES)
        request = wallet.ask_log(state, said["holder"], said["month"], self._clock(), nonce, said["after"])
        return state, {"request": pack(request)}

    def _check(self, wallet: Wallet, state: WalletState, said: dict[str, Any]) -> Acted:
        answers = tuple(unpack(LogAnswer, each) for each in said["answers"])
        after, report = wallet.check(state, said["holder"], answers, self._clock())
        return after, {"report": said_report(report)}


def _said_act(act: ToSubmit) -> Fields:
    return {"control_key": act.control_key, "kind": act.kind_name, "act": act_bytes(act.kind, act.body)}
