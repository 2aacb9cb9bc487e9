"""Floor 3: all outbound HTTP of a node. The door: `Peers`, and `Unreachable`, the one way in which asking may fail."""

from yilian.peers.peers import Answer, Peers, Unreachable

__all__ = ["Answer", "Peers", "Unreachable"]
