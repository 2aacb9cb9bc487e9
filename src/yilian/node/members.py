"""Who is who by the latest final state, and what time it is for a decision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from yilian.base.kinds import StateView
from yilian.contracts import directory
from yilian.engines import Engine, FinalView
from yilian.node.refusals import No, demand


@dataclass(frozen=True, slots=True)
class Finality:
    """The state at one final height and the instant to decide at: max(block time, own clock) (design 02)."""

    view: FinalView
    now_s: int

    @property
    def height(self) -> int:
        """Return the height."""
        return self.view.chain.height


@dataclass(frozen=True, slots=True)
class Members:
    """The directory as this node's own state has it."""

    engine: Engine
    clock_ms: Callable[[], int]

    def final(self) -> Finality:
        """Return the latest final state and the instant to decide at."""
        view = self.engine.read()
        return Finality(view, max(view.chain.time_ms, self.clock_ms()) // 1_000)

    def now_s(self) -> int:
        """Return the own clock's time."""
        return self.clock_ms() // 1_000

    def active(self, view: StateView, member_id: str) -> directory.Member:
        """Return a member that may act now.

        Refuses  MEMBER_NOT_ACTIVE
        """
        found = directory.member(view, member_id) if member_id.isascii() else None
        demand(found is not None and found.stage is directory.Stage.ACTIVE, No.MEMBER_NOT_ACTIVE)
        assert found is not None, "asked for in the line above"
        return found

    def credential(self, view: StateView, key: bytes, member_id: str, now_s: int) -> directory.Credential:
        """Return a practitioner's credential if it may sign for this member now.

        Refuses  CREDENTIAL_NOT_LIVE
        """
        found = directory.credential_at(view, key, now_s)
        demand(found is not None and found.member == member_id, No.CREDENTIAL_NOT_LIVE)
        assert found is not None, "asked for in the line above"
        return found
