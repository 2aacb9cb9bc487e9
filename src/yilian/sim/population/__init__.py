"""The people of the simulated region, from a seed: plausible, connected, and nobody real (ADR-0032)."""

from yilian.sim.population import person, story
from yilian.sim.population.bundle import chart_bundle
from yilian.sim.population.chart import ID_CARD_SYSTEM, local_system
from yilian.sim.population.person import Person

HE_NUMBER, LIN_NUMBER = story.HE_NUMBER, story.LIN_NUMBER

__all__ = ["HE_NUMBER", "ID_CARD_SYSTEM", "LIN_NUMBER", "Person", "chart_bundle", "local_system", "make_population"]


def make_population(seed: int, patients: int = 300, *, now_s: int) -> list[Person]:
    """Return `patients` persons, the story's two first (`LIN_NUMBER`, `HE_NUMBER`); the others do not depend on how many there are.

    `seed` is any integer; `now_s` is the epoch that every date is counted from: no clock is read.
    """
    told = [story.lin(seed, now_s), story.he(seed, now_s)]
    return [*told, *(person.draw(seed, number, now_s) for number in range(len(told), patients))][:patients]
