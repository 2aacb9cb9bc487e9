"""The story of one referral, told on a region that serves: every line printed is what came back, every figure was measured."""

from yilian.sim.narrator import Narrator
from yilian.sim.population import LIN_NUMBER
from yilian.sim.settling import Town
from yilian.sim.story import examination, examinations, guards, hospital, referral
from yilian.sim.story.tale import StoryBroken, Tale

__all__ = ["StoryBroken", "Tale", "tell"]


async def tell(town: Town, narrator: Narrator) -> Tale:
    """Tell the story and return what happened.

    Raises   StoryBroken, if anything goes otherwise than it is told; Said, Silent
    """
    tale = Tale(town, narrator, next(person for person in town.people if person.number == LIN_NUMBER))
    await examination.examined(tale)
    await examination.screened(tale)
    await hospital.granted(tale)
    await referral.requested(tale)
    await referral.accepted(tale)
    await hospital.arrived(tale)
    seen = await hospital.history_seen(tale)
    await examinations.warned(tale, seen)
    await hospital.treated(tale)
    await referral.sent_down(tale)
    await guards.log_checked(tale)
    await guards.exported(tale)
    await guards.revoked(tale)
    await guards.emergency(tale)
    await guards.strangers(tale)
    return tale
