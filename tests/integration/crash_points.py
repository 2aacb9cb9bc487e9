"""Kill a ledger under load, again and again: the driver behind `test_crash.py`, in a process of its own because it forks.

Usage    python tests/integration/crash_points.py FOLDER POINTS SEED
A point  a child is forked, opens the ledger, submits grants eight at a time and writes each acknowledgement to a pipe; at a random moment
         after its first acknowledgement (sometimes before) it is sent SIGKILL. Then the ledger is opened again: every acknowledged grant
         is there under the acknowledged index, and grants, entries and blocks agree with each other and with the digest (no half state).
         Every 100 points the ledger is replayed from genesis, and the next begins a new one.
Prints   one JSON object: points, acknowledged, kept without acknowledgement, kills before the first acknowledgement, blocks.
"""

import asyncio
import json
import os
import signal
import struct
import sys
import time
from pathlib import Path
from random import Random

from tests.submissions import Submissions
from tests.worlds import STARTED_AT_S, key, make_genesis
from yilian.contracts import consent
from yilian.engines import fsck
from yilian.engines.embedded import EmbeddedEngine
from yilian.engines.replica import Replica
from yilian.ledger import lthash

POINTS_PER_LEDGER = 100
IN_FLIGHT = 8
NONCES_PER_POINT = 500  # a window holds 65,536: the points of one ledger stay within it
WAIT_S_MAX = 0.04  # after the first acknowledgement: some ten blocks
RECORD = struct.Struct(">32sQQ")  # id, index, number of the grant
GENESIS = make_genesis()
NOW_S = STARTED_AT_S + 10


def name(point, number):
    return f"point {point} grant {number}"


async def load(folder, point, pipe, processes):
    """Submit until killed."""
    engine = EmbeddedEngine.open(folder, GENESIS, now_ms=lambda: NOW_S * 1_000, processes=processes)
    offer = Submissions(GENESIS.network_id, first_nonce=1 + point % POINTS_PER_LEDGER * NONCES_PER_POINT, now_s=lambda: NOW_S)
    numbers = iter(range(NONCES_PER_POINT))

    async def submitter():
        for number in numbers:
            answer = await engine.submit(offer.give(name(point, number)))
            assert answer.is_accepted, answer
            os.write(pipe, RECORD.pack(answer.id, answer.index, number))

    await asyncio.gather(*[submitter() for _ in range(IN_FLIGHT)])
    signal.pause()  # all sent before the kill came


def run_child(folder, point, pipe, processes):
    try:
        asyncio.run(load(folder, point, pipe, processes))
    except BaseException as error:  # noqa: BLE001 - told on standard error; a fork must not go on as its parent
        os.write(2, f"the child failed by itself: {error!r}\n".encode())
        os._exit(70)
    os._exit(0)


def kill_at_random(folder, point, draw):
    """Run one child until its kill; return what it acknowledged."""
    source, sink = os.pipe()
    processes = 1 if point % 50 == 49 else 0
    child = os.fork()
    if child == 0:
        os.close(source)
        run_child(folder, point, sink, processes)
    os.close(sink)
    first = b"" if draw.random() < 0.1 else os.read(source, RECORD.size)
    time.sleep(draw.random() * WAIT_S_MAX)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"the child ended by itself: {status}"
    with open(source, "rb") as pipe:  # noqa: PTH123 - a descriptor
        told = first + pipe.read()
    assert len(told) % RECORD.size == 0, "an acknowledgement is written whole"
    return list(RECORD.iter_unpack(told))


def check(folder, point, acknowledged, known_before):
    """Open the ledger again and return its size and height; every way in which it may be wrong is an assertion."""
    replica = Replica.open(folder, GENESIS)
    view = replica.read()
    found = replica.find([id_ for id_, _, _ in acknowledged])
    for id_, index, number in acknowledged:
        assert found[id_].index == index, f"point {point}: an acknowledged entry is gone"
        assert consent.read(view, key(name(point, number), "control").public_key) is not None, f"point {point}: its grant is gone"
        assert replica.entry(index).id == id_
    rows = list(view.scan(b""))
    grants = sum(row_key.startswith(consent.PREFIX) for row_key, _ in rows)
    assert grants == view.chain.log.size >= known_before + len(acknowledged), f"point {point}: half a block"
    assert lthash.changed(lthash.EMPTY, [], rows) == view.chain.lanes, f"point {point}: the digest is not the state's"
    assert replica.block(view.chain.height) is not None or view.chain.height == 0
    assert replica.block(view.chain.height + 1) is None
    assert replica._store.block(view.chain.height + 1) is None, f"point {point}: a block beyond the chain"
    replica.close()
    return view.chain.log.size, view.chain.height


def main(folder, points, seed):
    draw = Random(seed)
    counts = {"points": 0, "acknowledged": 0, "kept_unacknowledged": 0, "killed_before_any": 0, "blocks": 0}
    size = height = 0
    for point in range(points):
        current = folder / str(point // POINTS_PER_LEDGER)
        if point % POINTS_PER_LEDGER == 0:
            size = height = 0
        acknowledged = kill_at_random(current, point, draw)
        before, height_before = size, height
        size, height = check(current, point, acknowledged, size)
        counts["points"] += 1
        counts["acknowledged"] += len(acknowledged)
        counts["kept_unacknowledged"] += size - before - len(acknowledged)
        counts["killed_before_any"] += not acknowledged
        counts["blocks"] += height - height_before
        if (point + 1) % POINTS_PER_LEDGER == 0 or point + 1 == points:
            replica = Replica.open(current, GENESIS)
            assert fsck(replica).entries == size
            replica.close()
    print(json.dumps(counts))  # noqa: T201 - the driver's answer


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
