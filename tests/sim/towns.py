"""A small region for tests: founded in a folder, people settled, the story told into a string."""

import io
from collections import Counter
from contextlib import asynccontextmanager

from yilian.base.transaction import parse
from yilian.sim.narrator import Narrator
from yilian.sim.population import make_population
from yilian.sim.practitioners import seated
from yilian.sim.region import choose_ports, running
from yilian.sim.settling import settled
from yilian.sim.story import tell


@asynccontextmanager
async def town_of(home, people, seed=7):
    home.mkdir()
    async with (
        running(home, seed, choose_ports(None)) as region,
        seated(home, seed) as seats,
        settled(region, seats, people, seed, lambda *_: None) as town,
    ):
        yield town


async def told(home, people, seed=7):
    """Tell the story in a region of its own; return (tale, what was said, what the ledger holds)."""
    said = io.StringIO()
    async with town_of(home, people, seed) as town:
        tale = await tell(town, Narrator("both", said))
        return tale, said.getvalue(), Ledger(town.region.nodes["clinic-2"].engine)


class Ledger:
    """Everything that reached a ledger, as bytes."""

    def __init__(self, engine):
        view = engine.read()
        self.chain = view.chain
        self.genesis = engine.genesis.encoded()
        self.rows = list(view.scan(b""))
        self.blocks = [engine.block(height) for height in range(1, view.chain.height + 1)]
        self.entries = [engine.entry(index) for index in range(view.chain.log.size)]

    def everything(self):
        """Return all bytes one after another: transactions (refused ones too), leaves, results with facts, state, headers."""
        parts = [each.data for each in self.entries] + [part for row in self.rows for part in row]
        for block in self.blocks:
            parts += [*block.transactions, *block.system_leaves, block.proposer.encode()]
            parts += [repr((result.reason, result.facts)).encode() for result in block.results]
        return b"\x00".join(parts)

    def shape(self):
        """Return what stays the same when only health data differ: kinds, carriers, sizes, approvals; rows by prefix, with sizes.

        Anchor ticks come by the clock, one a member and minute: they are compared by carrier and size only.
        """
        acts = [(parse(each.data), len(each.data)) for each in self.entries]
        told = [(one.header.subject, one.header.issuer, size, len(one.approvals)) for one, size in acts]
        ticks = {each for each in told if each[0] == "anchor.tick"}
        rows = Counter((key[:2], len(key)) for key, _ in self.rows if not key.startswith((b"k/", b"n/")))
        return [each for each in told if each not in ticks], ticks, rows

    def row_sizes(self):
        """Return the sizes of all rows but ticks and nonces, ascending: an index or an instant takes more bytes as it grows."""
        return sorted(len(value) for key, value in self.rows if not key.startswith((b"k/", b"n/")))


def population(count, seed=7, now_s=1_795_000_000):
    return make_population(seed, count, now_s=now_s)
