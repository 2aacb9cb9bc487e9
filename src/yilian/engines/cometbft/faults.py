"""Why a member's validator stops or refuses, one class per cause, each with a sentence that says what to do."""

from __future__ import annotations

from pathlib import Path

from yilian.engines.cometbft.settings import VERSION, chain_id
from yilian.engines.faults import EngineStopped


class BinaryMissing(EngineStopped):
    """There is no CometBFT to run."""

    def __init__(self, looked: Path) -> None:
        """Name where it was looked for."""
        super().__init__(f"there is no CometBFT at {looked}: run `make cometbft`, or name the program in YILIAN_COMETBFT")


class WrongVersion(EngineStopped):
    """The program is another version, or is no CometBFT."""

    def __init__(self, found: str, program: Path | None = None) -> None:
        """Name both versions, and the program if it was run here."""
        where = f" at {program}" if program else ""
        what = f"CometBFT {found} was found{where}" if found else f"the program{where} does not say which version of CometBFT it is"
        super().__init__(f"{what}, this software works with {VERSION} alone: run `make cometbft` and start again")


class VerifierDiffers(EngineStopped):
    """The program that checks signatures decides otherwise than the network does."""

    def __init__(self, program: Path) -> None:
        """Name it."""
        super().__init__(
            f"{program} decides edge cases of Ed25519 otherwise than the network does: run `make cometbft`, which builds it anew, and "
            "start again. Without that file the node starts too, and checks signatures more slowly"
        )


class WrongGenesis(EngineStopped):
    """CometBFT was started with another network's genesis."""

    def __init__(self, expected: bytes, found: str) -> None:
        """Name both."""
        super().__init__(
            f"CometBFT's genesis.json says {found}, this node's genesis is {chain_id(expected)}: "
            "copy the founders' genesis.json to this node and run `yilian network repair` (CometBFT keeps the first that it has read), or "
            "write the home anew with `yilian network init`"
        )


class RestoredAlone(EngineStopped):
    """The ledger here and CometBFT's own blocks are not of one moment."""

    def __init__(self, how: str) -> None:
        """Say how they differ."""
        super().__init__(
            f"{how}: the ledger or CometBFT's data was restored or removed alone. "
            "Restore both from one backup, or move both away and join again by state sync: `yilian network repair` does"
        )


class OutOfStep(RestoredAlone):
    """CometBFT goes on from another height than ours."""

    def __init__(self, ours: int, theirs: int) -> None:
        """Name both heights."""
        self.ours, self.theirs = ours, theirs
        super().__init__(f"the ledger here ends at height {ours} and CometBFT's blocks go on at {theirs}")


class Diverged(EngineStopped):
    """This copy of the ledger is not what the network agreed on."""

    def __init__(self, said: str) -> None:
        """Quote what CometBFT found."""
        super().__init__(
            f"the ledger here gives another app hash than the network's ({said}): it is damaged, or the others run another version of this "
            "software. Compare versions, keep a copy, then run `yilian network repair`, which fetches the ledger from the others"
        )


class ConsensusFailed(EngineStopped):
    """CometBFT lives but takes part in nothing any more."""

    def __init__(self, log: Path, said: str) -> None:
        """Quote it."""
        self.path = log
        super().__init__(
            f"CometBFT gave up its part in the consensus ({said}): the whole is in {log}. Free the disk if it is full, then start again; "
            "if it comes back, run `yilian network repair`"
        )


class VotesUnreadable(EngineStopped):
    """Nobody knows which votes this seat's key has given."""

    def __init__(self, path: Path) -> None:
        """Name the record."""
        self.path = path
        super().__init__(
            f"the record of the votes that this seat gave ({path}) cannot be read; without it the validator may vote twice: nothing was "
            "moved. Never write it anew: seat the member with another key, which the others vote in (`yilian network propose --seat-key`)"
        )


class SeatIncomplete(EngineStopped):
    """A file of the seat is not there."""

    def __init__(self, path: Path) -> None:
        """Name it."""
        self.path = path
        super().__init__(
            f"{path} is missing: without it CometBFT would take another key, or forget which votes this seat gave and give them twice. "
            "Bring back the seat's own key and the latest record of its votes, both; where either is lost, seat the member with another "
            "key, which the others vote in (`yilian network propose --seat-key`)"
        )


class TimeUnproven(EngineStopped):
    """Nobody could show when the block of a snapshot was made."""

    def __init__(self, height: int, why: str) -> None:
        """Name the block and what came of the last asking."""
        super().__init__(
            f"a snapshot of height {height} was fetched, but no member that this one asks proves when that block was made ({why}): "
            "nothing of it was taken in. See that the members named with --ask can be reached, and start again; or name others with "
            "`yilian network repair --ask`"
        )


class PortInUse(EngineStopped):
    """Another process listens where CometBFT should."""

    def __init__(self, host: str, port: int, config: Path, section: str) -> None:
        """Name the address, and the line that says so; `section` is p2p or rpc."""
        dialled = " and the port in the others' persistent_peers" if section == "p2p" else ""
        super().__init__(
            f"{host}:{port} is in use by another process: stop it, or change laddr under [{section}] in {config}{dialled}, then start again"
        )


class KeepsDying(EngineStopped):
    """CometBFT ends as soon as it is started."""

    def __init__(self, status: int, log: Path, last: str) -> None:
        """Quote its last line."""
        self.path = log
        super().__init__(
            f"CometBFT ended {status} again and again right after its start; its last line in {log} is: {last}. "
            "If that speaks of its own files, stop the node and run `yilian network repair`"
        )
