"""How a person's software talks with a process that keeps keys: frames, the talking end, the answering end (floor 6, below its two users).

Used by   `wallet` and `signer`, which share the way of talking and nothing of what is said. Imports `base` only; node and web may not.
"""

from yilian.talks.asking import Asking, Gone, spawn
from yilian.talks.framing import LENGTH_BYTES, Fields, NotAMessage, frame, unframed
from yilian.talks.serving import SocketTaken, converse, serve_socket, serve_stdio

__all__ = [
    "LENGTH_BYTES",
    "Asking",
    "Fields",
    "Gone",
    "NotAMessage",
    "SocketTaken",
    "converse",
    "frame",
    "serve_socket",
    "serve_stdio",
    "spawn",
    "unframed",
]
