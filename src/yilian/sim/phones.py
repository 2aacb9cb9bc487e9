"""A patient's software, as an app would be: it asks the wallet process, which alone has the keys, and carries what it says to nodes."""

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import httpx

from yilian.base.chartlogs import LogAnswer
from yilian.base.codec import decode, encode
from yilian.base.handovers import GrantKey, LogRequest, PresenceProof, SignedChallenge
from yilian.base.shapes import pack, unpack
from yilian.sim.software import CBOR, Release, Said, Signing, Silent, Software, asked, bring_enrolment
from yilian.wallet import Act, Grant, LogReport, WalletClient, WalletRefused, Wish

PRESENCE_S: Final = 240  # of at most 300: the person stands here
_HEADERS: Final = {"Content-Type": CBOR}


@dataclass(frozen=True, slots=True)
class Entered:
    """An act of the patient's that became an entry."""

    control_key: bytes
    id: str
    index: int
    height: int


class Phone:
    """One patient. `nodes` are the addresses of members; any of them carries what a one-time key approved."""

    def __init__(self, name: str, wallets: WalletClient, nodes: Mapping[str, str], client: httpx.AsyncClient) -> None:
        """Use the wallet of that name."""
        self.name = name
        self._wallets = wallets
        self._nodes = nodes
        self._client = client

    async def follow(self) -> None:
        """Have the wallet follow who the members are: what one node holds back, another says; what none can prove is not taken.

        Two nodes, drawn anew each time: of the first the newest changes, of the second all, so that no gap is left that one made.
        """
        ways = [self._wallets.follow, self._wallets.follow_whole]
        for node in secrets.SystemRandom().sample(list(self._nodes.values()), len(self._nodes)):
            try:
                await ways[0](partial(self._changes, node))
            except (Silent, Said, WalletRefused):  # down, not whole yet, or lying: another may be better
                continue
            del ways[0]
            if not ways:
                return

    async def _changes(self, node: str, since: int) -> bytes:
        asked_for = "/network/changes" if since < 0 else f"/network/changes?since={since}"
        return (await asked(self._client, "GET", node + asked_for)).content

    async def enrol(self, holder: Software, patient_id: str, staff: tuple[Signing, Signing]) -> None:
        """Go to a holder's desk with the identity card and this wallet."""
        await self.follow()
        ask, address = await holder.offer(patient_id, staff)
        answer = await self._wallets.enrol(self.name, ask)
        await self._wallets.admit(self.name, await bring_enrolment(self._client, address, answer))

    async def give(self, wish: Wish, carrier: str) -> Entered:
        """Give a grant: keys from both sides, the Consent signed here, one entry, and the bundle to the requester."""
        await self.follow()
        keys = [unpack(GrantKey, (await self._post(side, "/network/grant-key", b"")).content) for side in (wish.holder, wish.requester)]
        act = await self._wallets.draft(self.name, wish, keys[0], keys[1])
        entered = await self._carry(carrier, act, is_revoke=False)
        sealed = await self._wallets.bundle(self.name, act.control_key, wish.requester)
        await self._post(wish.requester, "/network/grants", encode([act.control_key, sealed]))
        return entered

    async def bundle(self, control_key: bytes, member: str) -> bytes:
        """Return a grant's Consent, sealed to one side of it."""
        return await self._wallets.bundle(self.name, control_key, member)

    async def revoke(self, control_key: bytes, carrier: str) -> Entered:
        """End a grant: the holder is told directly, and then the ledger."""
        grant = await self.grant(control_key)
        notice, act = await self._wallets.revoke(self.name, control_key)
        await self._post(grant.holder, "/network/revoked", pack(notice))
        return await self._carry(carrier, act, is_revoke=True)

    async def grants(self) -> tuple[Grant, ...]:
        """Return the grants of this wallet."""
        return await self._wallets.grants(self.name)

    async def grant(self, control_key: bytes) -> Grant:
        """Return one grant; KeyError if this wallet has none of that key."""
        for one in await self.grants():
            if one.control_key == control_key:
                return one
        raise KeyError(control_key.hex())

    async def holders(self) -> list[str]:
        """Return where this patient is enrolled."""
        return sorted(await self._wallets.charts(self.name))

    async def be_present(self, shown: SignedChallenge, holders: Sequence[str], seen: str) -> dict[str, PresenceProof]:
        """Answer a desk's challenge, once per holder, after reading whose it is."""
        await self.follow()
        proofs = await self._wallets.prove_presence(self.name, shown, holders, seen=seen, until_s=int(time.time()) + PRESENCE_S)
        return {proof.holder: proof for proof in proofs}

    async def read_own(self, holder: str, path: str) -> Release:
        """Read what a holder keeps of this patient; `path` follows `/fhir/`."""
        request = await self._wallets.read_own(self.name, holder, f"/fhir/{path}")
        response = await self._post(holder, "/patient/read", pack(request))
        return Release(
            response.status_code, response.content, int(response.headers["yilian-entry-index"]), response.headers["yilian-entry-id"]
        )

    async def notices(self, holder: str) -> list[dict[str, Any]]:
        """Return what a holder tells this patient, oldest first."""
        request = await self._wallets.read_own(self.name, holder, "/patient/notices")
        said: list[dict[str, Any]] = (await self._post(holder, "/patient/notices", pack(request))).json()["notices"]
        return said

    async def check_log(self, holder: str) -> LogReport:
        """Fetch the whole access log at a holder, with its proofs, and have the wallet check it."""
        await self.follow()

        async def fetch(request: LogRequest) -> LogAnswer:
            return unpack(LogAnswer, (await self._post(holder, "/patient/log", pack(request))).content)

        return await self._wallets.check_log(self.name, holder, fetch)

    async def _carry(self, carrier: str, act: Act, *, is_revoke: bool) -> Entered:
        header = (await self._post(carrier, "/network/header", encode(act.kind))).content
        approval = await self._wallets.approve(self.name, act.control_key, header, is_revoke=is_revoke)
        answer = decode((await self._post(carrier, "/network/submit", encode([header, act.act, [list(approval)]]))).content)
        match answer:
            case [bytes(id_), int(index), int(height)]:
                await self._wallets.note(self.name, act.control_key, index, is_revoke=is_revoke)
                return Entered(act.control_key, id_.hex(), index, height)
        raise AssertionError("a node answers as its room `web` says")

    async def _post(self, member: str, path: str, content: bytes) -> httpx.Response:
        return await asked(self._client, "POST", self._nodes[member] + path, content, _HEADERS)
