"""Measure the ledger on this machine: real rules, real signatures, a real disk, in a temporary folder.

Grants are signed beforehand and then all submitted at once, and some more one after the other. `make bench` measures everything else
(release, import, growth) and compares with the targets of docs/performance.md.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from yilian.cli.frame import Misused, Output
from yilian.cli.progress import Bar

if TYPE_CHECKING:
    from yilian.engines import Committed
    from yilian.engines.embedded import EmbeddedEngine
    from yilian.ledger import Genesis

SUMMARY = "measure the ledger on this machine"
_LONE: Final = 200
_IN_FLIGHT: Final = 1_500  # three groups; an engine takes no more than some thousands at once
_MOST: Final = 50_000  # signed transactions are held in memory, some 700 bytes each


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--transactions", type=int, default=5_000, metavar="N", help="how many are submitted at once (default %(default)s)")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="a folder on the disk to measure (default: the system's temporary one)")


def run(options: argparse.Namespace, output: Output) -> None:
    """Measure and say."""
    if not 1 <= options.transactions <= _MOST:
        raise Misused(f"--transactions takes 1 to {_MOST}")
    if options.folder is not None and not options.folder.is_dir():
        raise Misused(f"there is no folder {options.folder}")
    with tempfile.TemporaryDirectory(prefix="yilian-bench-", dir=options.folder) as folder:
        import asyncio

        per_s, lone_ms = asyncio.run(_measure(Path(folder), options.transactions))
    p50, p99 = statistics.median(lone_ms), statistics.quantiles(lone_ms, n=100)[98]
    output.answer(
        {
            "transactions": options.transactions,
            "per_s": round(per_s),
            "lone_ms_p50": round(p50, 2),
            "lone_ms_p99": round(p99, 2),
            "lone": _LONE,
        },
        f"{per_s:,.0f} signed transactions a second ({options.transactions:,} grants, two signatures each, rules, durable)",
        f"{p50:.1f} ms for a lone one, from submitted to final and durable (median of {_LONE}; p99 {p99:.1f} ms)",
    )


async def _measure(folder: Path, count: int) -> tuple[float, list[float]]:
    from yilian.engines.embedded import EmbeddedEngine

    genesis, sign = _signer()
    with Bar("signing", count + _LONE) as bar:
        transactions = []
        for number in range(count + _LONE):
            transactions.append(sign(number))
            bar.to(number + 1)
    engine = EmbeddedEngine.open(folder, genesis)
    try:
        await _accepted(engine, transactions[:1])  # starts the verifying processes
        began = time.perf_counter()
        await _accepted(engine, transactions[1:count])
        per_s = (count - 1) / (time.perf_counter() - began) if count > 1 else 0.0
        lone_ms = []
        for transaction in transactions[count:]:
            began = time.perf_counter()
            await _accepted(engine, [transaction])
            lone_ms.append((time.perf_counter() - began) * 1_000)
    finally:
        await engine.close()
    return per_s, lone_ms


async def _accepted(engine: "EmbeddedEngine", transactions: list[bytes]) -> None:
    import asyncio

    room = asyncio.Semaphore(_IN_FLIGHT)

    async def submitted(transaction: bytes) -> "Committed":
        async with room:
            return await engine.submit(transaction)

    answers = await asyncio.gather(*(submitted(transaction) for transaction in transactions))
    assert all(answer.is_accepted for answer in answers), "our own grants are good"


def _signer() -> "tuple[Genesis, Callable[[int], bytes]]":
    """Return a network of one member, and what signs its grant number n."""
    from yilian.base.digests import sha256
    from yilian.base.keys import SigningKey
    from yilian.base.seal import MEMBER_SEED_SIZE, member_public
    from yilian.base.transaction import Header, sign
    from yilian.contracts import consent
    from yilian.ledger import Founder, Genesis

    def key(*names: object) -> SigningKey:
        return SigningKey(sha256(repr(names).encode()))

    now_s = int(time.time())
    carrier, receipts = key("carrier"), key("receipts")
    sealing = member_public(bytes(MEMBER_SEED_SIZE))
    founder = Founder("bench", ("clinic",), "bench", "", carrier.public_key, sealing, receipts.public_key, 1)
    genesis = Genesis(now_s, "bench", (founder,), {"memo_size": 0})
    network, give = genesis.network_id, next(kind for kind in consent.KINDS if kind.name == "consent.give")
    expires_at_s = (now_s // 86_400 + 31) * 86_400

    def signed(number: int) -> bytes:
        control = key("control", number)
        others = (key("holder", number).public_key, key("requester", number).public_key)
        message = consent.Give(control.public_key, *others, bytes(32), expires_at_s, 5)
        header = Header(network, carrier.kid, "bench", give.name, now_s + 3_000, number + 1)
        return sign(carrier, header, give.number, give.body(message), [control])

    return genesis, signed
