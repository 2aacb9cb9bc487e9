"""The benchmark's relay: what goes through arrives whole, in order, not before its time, and the end comes last."""

import asyncio
import random

from bench.delay import Pipe, relay


class Clock:
    """An event loop's clock and timers, turned by hand."""

    def __init__(self):
        self.now, self.timers = 0.0, []

    def time(self):
        return self.now

    def call_at(self, when, run):
        self.timers.append((when, run))

    def turn(self, to):
        while due := [each for each in self.timers if each[0] <= to]:
            first = min(due, key=lambda each: each[0])
            self.timers.remove(first)
            self.now = max(self.now, first[0])
            first[1]()
        self.now = to


class Sink:
    def __init__(self):
        self.said = []

    def write(self, data):
        self.said.append(data)

    def close(self):
        self.said.append("end")


def test_bytes_are_handed_on_in_order_when_their_time_has_come_and_not_before():
    clock, sink = Clock(), Sink()
    pipe = Pipe(clock, 10.0)
    pipe.flow(sink)
    for at, data in [(0.0, b"a"), (0.0, b"b"), (4.0, b"c")]:
        clock.turn(at)
        pipe.data_received(data)
    clock.turn(5.0)
    pipe.connection_lost(None)
    seen = []
    for at in (9.0, 10.0, 13.0, 14.0, 14.5, 15.0):
        clock.turn(at)
        seen.append(list(sink.said))
    assert seen == [[], [b"a", b"b"], [b"a", b"b"], [b"a", b"b", b"c"], [b"a", b"b", b"c"], [b"a", b"b", b"c", "end"]]


def test_what_arrives_before_the_other_side_is_connected_waits_for_it():
    clock, sink = Clock(), Sink()
    pipe = Pipe(clock, 10.0)
    pipe.data_received(b"a")
    clock.turn(30.0)
    pipe.flow(sink)
    assert sink.said == [b"a"]


async def test_a_conversation_through_the_relay_is_the_same_to_the_byte_and_its_end_arrives():
    async def echo(reader, writer):
        while data := await reader.read(4_096):
            writer.write(data)
        writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        port = await relay(server.sockets[0].getsockname()[1], 0.002)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        said = random.Random(1).randbytes(300_000)
        for start in range(0, len(said), 7_001):
            writer.write(said[start : start + 7_001])
        assert await asyncio.wait_for(reader.readexactly(len(said)), 30) == said
        writer.close()
        await writer.wait_closed()


async def test_a_target_that_nobody_serves_is_hung_up_on():
    port = await relay(1, 0.001)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert await asyncio.wait_for(reader.read(), 30) == b""
    writer.close()
