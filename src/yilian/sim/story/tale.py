"""What the scenes share: the town, the narrator, the patient whom the story is about, and what has happened so far."""

import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from yilian.base.handovers import PresenceProof, SignedChallenge
from yilian.sim.members import member
from yilian.sim.narrator import Narrator
from yilian.sim.phones import Entered, Phone
from yilian.sim.population import Person
from yilian.sim.practitioners import Seated
from yilian.sim.settling import Town
from yilian.sim.software import Release, Said, Software

CLINIC: Final = "clinic-1"  # examines and refers
KNOWN: Final = "hospital-1"  # has the patient's earlier results
HOSPITAL: Final = "hospital-2"  # is referred to
CARRIER: Final = "regulator-1"  # carries what wallets approve: whoever carries learns no more than all

T = TypeVar("T")


class StoryBroken(Exception):
    """Something in the story went otherwise than it is told; the sentence says what."""


@dataclass(slots=True)
class Tale:
    """The story so far."""

    town: Town
    tell: Narrator
    lin: Person
    grants: dict[tuple[str, str], Entered] = field(default_factory=dict)  # (holder, requester)
    releases: list[Release] = field(default_factory=list)
    refusals: list[Said] = field(default_factory=list)
    elapsed_ms: list[float] = field(default_factory=list)  # of each release
    hospital_patient: str = ""  # id of the Patient at the hospital that is referred to
    referral: str = ""

    @property
    def phone(self) -> Phone:
        """The patient's phone."""
        return self.town.phone(self.lin)

    def software(self, member_id: str) -> Software:
        """Return a member's own software."""
        return self.town.software[member_id]

    def seat(self, name: str) -> Seated:
        """Return a practitioner at the desk."""
        return self.town.seats[name]

    def patient_at(self, member_id: str) -> str:
        """Return the id of the patient's Patient at a member."""
        return self.town.patient_ids[self.lin.number, member_id]

    async def timed(self, work: Awaitable[T]) -> tuple[T, float]:
        """Return what `work` gives and the milliseconds it took."""
        began = self.tell.now()
        done = await work
        return done, self.tell.elapsed_ms(began)

    async def present(self, at: str, who: Seated, holders: list[str]) -> dict[str, tuple[SignedChallenge, PresenceProof]]:
        """Let the desk show its challenge and the patient's wallet answer it, once per holder."""
        shown = await self.software(at).challenge(who)
        return {holder: (shown, proof) for holder, proof in (await self.phone.be_present(shown, holders, at)).items()}

    async def read(
        self, at: str, holder: str, path: str, who: Seated, presence: tuple[SignedChallenge, PresenceProof] | None = None
    ) -> Release:
        """Read at a holder under the story's grant, and show what was measured."""
        grant = self.grants[holder, at].control_key
        release, elapsed_ms = await self.timed(self.software(at).read(holder, path, who, grant=grant, presence=presence))
        self.show(f"{holder} -> {at}", path.partition("?")[0], release, elapsed_ms)
        return release

    def show(self, way: str, what: str, release: Release, elapsed_ms: float) -> None:
        """Show a release: which way, of what how many resources, how long from asking to having, under which entry."""
        self.releases.append(release)
        self.elapsed_ms.append(elapsed_ms)
        self.tell.fact(
            "released",
            f"{way}: {len(release.resources)} {what}, {len(release.body):,} bytes, {elapsed_ms:.0f} ms, "
            f"entry {release.entry_index} final first",
        )

    async def refused(self, work: Awaitable[Release]) -> Said:
        """Return the no that `work` must get.

        Raises   StoryBroken, if it was released
        """
        try:
            release = await work
        except Said as no:
            self.refusals.append(no)
            self.tell.fact("refused", f"HTTP {no.status}  {no}; 0 bytes")
            return no
        raise StoryBroken(f"entry {release.entry_index} released what must be refused")


def name(member_id: str) -> tuple[str, str]:
    """Return a member's names in Chinese and in English."""
    one = member(member_id)
    return one.name_zh, one.name_en


def now_s() -> int:
    """Return the time."""
    return int(time.time())
