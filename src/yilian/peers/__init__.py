"""Floor 3: all outbound HTTP of a node. The door.

`Peers` asks the other members, `FollowedNode` is the way to a node that is followed, `Unreachable` the one way in which asking may fail.
"""

from yilian.peers.following import FollowedNode
from yilian.peers.peers import HEIGHT_HEADER, Answer, Peers, Unreachable

__all__ = ["HEIGHT_HEADER", "Answer", "FollowedNode", "Peers", "Unreachable"]
