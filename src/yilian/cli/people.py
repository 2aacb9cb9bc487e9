"""The people of a running region as a command meets them: a patient's phone, a practitioner's software with the signer on the desk."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from yilian.cli.frame import Answered, Declined, Misused, Unreachable

if TYPE_CHECKING:
    import httpx

    from yilian.sim.phones import Phone
    from yilian.sim.software import Signing, Software
    from yilian.sim.whereabouts import Whereabouts

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Visit:
    """A region, and a connection to it."""

    where: "Whereabouts"
    client: "httpx.AsyncClient"

    @property
    def network(self) -> bytes:
        """The network's id."""
        return bytes.fromhex(self.where.network)

    def software(self, member: str) -> "Software":
        """Return a member's own software.

        Raises   Misused
        """
        from yilian.sim.software import Software

        if member not in self.where.nodes:
            raise Misused(f"no member {member!r} in this region: {', '.join(self.where.nodes)}")
        return Software(member, self.where.nodes[member], Path(self.where.folders[member]), self.network, self.client)

    @asynccontextmanager
    async def phone(self, name: str) -> "AsyncIterator[Phone]":
        """Open a patient's phone.

        Raises   Misused, Unreachable
        """
        from yilian.sim.phones import Phone
        from yilian.wallet import WalletClient

        try:
            wallets = await WalletClient.connect(Path(self.where.wallets))
        except OSError as error:
            raise Unreachable(f"no wallets listen on {self.where.wallets}: is the region running?") from error
        async with wallets:
            if name not in await wallets.names():
                raise Misused(f"there is no wallet {name!r}: lin, he, or patient-2 to patient-{self.where.patients - 1}")
            yield Phone(name, wallets, self.where.nodes, self.client)

    @asynccontextmanager
    async def practitioner(self, name: str) -> "AsyncIterator[tuple[str, Signing]]":
        """Sit down at a practitioner's desk: (member, who signs).

        Raises   Misused, Unreachable
        """
        from yilian.signer import SignerClient
        from yilian.sim.practitioners import PASSPHRASE, at_socket

        seat = self.where.seats.get(name)
        if seat is None:
            raise Misused(f"there is no practitioner {name!r}: {', '.join(self.where.seats)}")
        try:
            signer = await SignerClient.connect(Path(seat.socket))
        except OSError as error:
            raise Unreachable(f"no signer listens on {seat.socket}: is the region running?") from error
        async with signer:
            if await signer.is_locked():
                await signer.unlock(PASSPHRASE)  # of a simulated region; a person types a real one
            yield seat.member, await at_socket(name, Path(seat.socket), signer)


def visit(where: "Whereabouts", act: "Coroutine[Any, Any, T]") -> T:
    """Run what a command does in a region; refusals of nodes, wallets and signers become the frame's.

    Raises   Answered, Declined, Unreachable
    """
    return spoken(f"the region in {where.home}", act)


def spoken(with_whom: str, act: "Coroutine[Any, Any, T]") -> T:
    """Run what a command says to a region or to a node, as `visit` does.

    Raises   Answered, Declined, Unreachable
    """
    from yilian.signer import SignerGone, SignerRefused
    from yilian.sim.software import Said, Silent
    from yilian.wallet import WalletGone, WalletRefused

    try:
        return asyncio.run(act)
    except Said as no:
        if no.number >= 1_000:  # noqa: PLR2004 - below: HTTP's own
            raise Answered(no.number, no.name, no.facts) from no
        entered = "" if no.entry_index is None else f"; that it was asked is entered: yilian show entry {no.entry_index}"
        raise Declined(f"the node answers {no}{entered}") from no
    except (WalletRefused, SignerRefused) as no:
        who = "wallet" if isinstance(no, WalletRefused) else "signer"
        raise Declined(f"the {who} says {no}") from no
    except (Silent, WalletGone, SignerGone) as gone:
        raise Unreachable(f"{gone}: is {with_whom} running?") from gone


@asynccontextmanager
async def visiting(where: "Whereabouts") -> AsyncIterator[Visit]:
    """Open a connection to a region."""
    from yilian.sim.software import connected

    async with connected() as client:
        yield Visit(where, client)
