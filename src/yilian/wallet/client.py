"""How a screen, a command or the simulation speaks to the wallet process. Only floors above may hold one; node and web may not."""

from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from yilian import talks
from yilian.base.chartlogs import LogAnswer
from yilian.base.codec import Malformed, Value
from yilian.base.handovers import (
    EnrolAnswer,
    EnrolAsk,
    GrantKey,
    LogRequest,
    OwnReading,
    PresenceProof,
    Relationship,
    RevokeNotice,
    SignedChallenge,
)
from yilian.base.shapes import pack, unpack
from yilian.base.transaction import Approval
from yilian.ledger import Export, Item, parse_export
from yilian.talks import Asking, Gone
from yilian.wallet.check import LogReport
from yilian.wallet.protocol import FRAME_BYTES_MAX, heard_report
from yilian.wallet.refusals import No, WalletRefused, must
from yilian.wallet.state import Grant
from yilian.wallet.wallet import Wish

PART_BYTES: Final = FRAME_BYTES_MAX // 2  # of changes that are judged together: some thousands; one answer more fits the frame


class WalletGone(Gone):
    """The wallet process did not start, or closed the connection."""


@dataclass(frozen=True, slots=True)
class Act:
    """What a carrier is asked to carry: the kind's name for the header, and the exact bytes of `[kind, body]` that get approved."""

    control_key: bytes
    kind: str
    act: bytes


class WalletClient(Asking):
    """One connection. Every method but `names`, `create` and those that follow members concerns the wallet of that name.

    Raises   WalletRefused, WalletGone, each method
    """

    who, gone = "the wallet", WalletGone

    def _refused(self, no: str, facts: dict[str, str | int]) -> WalletRefused:
        return WalletRefused(No(no), **facts)

    async def names(self) -> list[str]:
        """Return the names of the wallets in this home."""
        return cast("list[str]", (await self._ask("status"))["wallets"])

    async def follow(self, fetch: Callable[[int], Awaitable[bytes]]) -> int:
        """Have the wallets follow the changes of members: `fetch` returns what a node serves after an entry (-1: from the beginning).

        Return the index of the last change that was taken, -1 if there is none.
        """
        since: int = (await self._ask("status"))["members_since"]
        while True:
            taken: int = (await self._ask("follow", changes=await fetch(since)))["members_since"]
            if taken == since:
                return since
            since = taken

    async def follow_whole(self, fetch: Callable[[int], Awaitable[bytes]]) -> int:
        """Have the wallets compare all that they followed with what one node serves from the beginning; else like `follow`.

        So a change comes to light that another node left out between two others.
        """
        since, part = -1, await _part(fetch, -1)
        taken: int = (await self._ask("status"))["members_since"]
        while part.items:
            taken = (await self._ask("follow", changes=part.encoded()))["members_since"]
            since = part.items[-1].index
            part = await _part(fetch, since)
        return taken

    async def create(self, name: str, seed: bytes | None = None) -> None:
        """Make a wallet; with a random seed, unless a simulation gives one."""
        await self._ask("create", name=name, seed=seed)

    async def enrol(self, name: str, ask: EnrolAsk) -> EnrolAnswer:
        """Answer what a desk shows."""
        return unpack(EnrolAnswer, (await self._ask("enrol", name=name, ask=pack(ask)))["answer"])

    async def admit(self, name: str, relationship: Relationship) -> None:
        """Take the holder's signed word and the chart's K."""
        await self._ask("admit", name=name, relationship=pack(relationship))

    async def charts(self, name: str) -> dict[str, bytes]:
        """Return holder -> R_h."""
        return dict((await self._ask("charts", name=name))["charts"])

    async def draft(self, name: str, wish: Wish, holder_key: GrantKey, requester_key: GrantKey) -> Act:
        """Make a grant; carry the act with `approve`."""
        fields = {"wish": pack(wish), "holder_key": pack(holder_key), "requester_key": pack(requester_key)}
        return Act(**await self._ask("draft", name=name, **fields))

    async def approve(self, name: str, control_key: bytes, header: bytes, *, is_revoke: bool = False) -> Approval:
        """Approve the grant's give or revoke in the envelope `header`."""
        said = await self._ask("approve", name=name, control_key=control_key, revoke=is_revoke, header=header)
        return said["key"], said["signature"]

    async def bundle(self, name: str, control_key: bytes, member: str) -> bytes:
        """Return `[Consent, k, signature]` sealed to the holder or the requester."""
        return cast("bytes", (await self._ask("bundle", name=name, control_key=control_key, member=member))["sealed"])

    async def revoke(self, name: str, control_key: bytes) -> tuple[RevokeNotice, Act]:
        """End a grant: the notice goes to the holder at once, the act to a carrier with `approve(is_revoke=True)`."""
        said = await self._ask("revoke", name=name, control_key=control_key)
        return unpack(RevokeNotice, said.pop("notice")), Act(**said)

    async def note(self, name: str, control_key: bytes, index: int, *, is_revoke: bool = False) -> None:
        """Tell the index at which a give or revoke was entered."""
        await self._ask("note", name=name, control_key=control_key, revoke=is_revoke, index=index)

    async def take_receipt(self, name: str, transparent: bytes) -> None:
        """Hand over the Transparent Statement of a give or revoke."""
        await self._ask("receipt", name=name, statement=transparent)

    async def grants(self, name: str) -> tuple[Grant, ...]:
        """Return the wallet's grants, in the order in which they were made."""
        return tuple(unpack(Grant, each) for each in (await self._ask("grants", name=name))["grants"])

    async def prove_presence(
        self, name: str, asked: SignedChallenge, holders: Sequence[str], *, seen: str, until_s: int
    ) -> tuple[PresenceProof, ...]:
        """Answer a desk's challenge for these holders; `seen` is the requester whose name the person read and agreed to."""
        said = await self._ask("presence", name=name, asked=pack(asked), holders=list(holders), seen=seen, until_s=until_s)
        return tuple(unpack(PresenceProof, each) for each in said["proofs"])

    async def read_own(self, name: str, holder: str, target: str, request_id: bytes | None = None) -> OwnReading:
        """Return a signed request to read what the holder keeps of this patient."""
        return unpack(OwnReading, (await self._ask("read_own", name=name, holder=holder, target=target, request_id=request_id))["request"])

    async def check_log(self, name: str, holder: str, fetch: Callable[[LogRequest], Awaitable[LogAnswer]]) -> LogReport:
        """Fetch every month that is due, each after the one before, and return what the check finds."""
        answers: list[LogAnswer] = []
        for month in (await self._ask("months", name=name, holder=holder))["months"]:
            after = answers[-1].checkpoints[0] if answers and answers[-1].checkpoints else None
            request = (await self._ask("ask_log", name=name, holder=holder, month=month, after=after))["request"]
            answers.append(await fetch(unpack(LogRequest, request)))
        return await self.check(name, holder, answers)

    async def check(self, name: str, holder: str, answers: Sequence[LogAnswer]) -> LogReport:
        """Check answers that were fetched already."""
        packed: list[Value] = [pack(answer) for answer in answers]
        return heard_report((await self._ask("check", name=name, holder=holder, answers=packed))["report"])


async def spawn(home: Path, genesis: Path, socket_path: Path, passphrase: str | None = None) -> tuple[Process, WalletClient]:
    """Start a wallet process that lives as long as we do, and connect to it. End it by closing `process.stdin`, then `process.wait()`.

    WalletGone if it did not start (its own sentence is on standard error).
    """
    options = ["--home", str(home), "--genesis", str(genesis), *(["--unsealed"] if passphrase is None else [])]
    first_line = None if passphrase is None else passphrase.encode()
    return await talks.spawn("yilian.wallet", options, socket_path, WalletClient, first_line)


async def _part(fetch: Callable[[int], Awaitable[bytes]], since: int) -> Export:
    """Return a node's changes after an entry, of several answers together: what follows a change that was missing is proven with it.

    Refuses  CHANGES_NOT_PROVEN, ANOTHER_NETWORK
    """
    items: list[Item] = []
    genesis, size_bytes = b"", 0
    while size_bytes < PART_BYTES:
        answer = await fetch(since)
        try:
            said = parse_export(answer)
        except Malformed as error:
            raise WalletRefused(No.CHANGES_NOT_PROVEN, why=str(error)) from error
        must(genesis in (b"", said.genesis), No.ANOTHER_NETWORK)
        genesis = said.genesis
        if not said.items:
            break
        must(said.items[-1].index > since, No.CHANGES_NOT_PROVEN, why="the changes stand out of order")  # else it is asked for ever
        items += said.items
        since, size_bytes = said.items[-1].index, size_bytes + len(answer)
    return Export(genesis, tuple(items))
