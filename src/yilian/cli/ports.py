"""Whether the ports that a newcomer would take are another's: asked before its home is written, where the answer is one more option."""

import errno
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

from yilian.cli.frame import Misused

if TYPE_CHECKING:
    from yilian.engines.consortium import Seat


def require_free(seat: "Seat", peers: Sequence[str]) -> None:
    """Refuse a seat whose ports a process here listens on, or whose address is one of the peers' (which may be stopped just now).

    Raises   Misused
    """
    own = f"{seat.host}:{seat.p2p_port}"
    if seat.p2p_port == seat.rpc_port:
        raise Misused(f"--p2p-port and --rpc-port are both {seat.p2p_port}: give two ports")
    if own in {peer.partition("@")[2] for peer in peers}:
        raise Misused(
            f"{own} is the address of another member in --peers: give free ports with --p2p-port and --rpc-port, or your own address with "
            "--host (if that line was this member's own before, take it out)"
        )
    for host, port in ((seat.listen or seat.host, seat.p2p_port), ("127.0.0.1", seat.rpc_port)):
        if _is_taken(host, port):
            raise Misused(f"{host}:{port} is in use by another process: give free ports with --p2p-port and --rpc-port")


def _is_taken(host: str, port: int) -> bool:
    """Say whether another process listens there; no, where the address is not this machine's: the home may be written for another."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
        except OverflowError as error:
            raise Misused(f"{port} is no port: 1 to 65535") from error
    return False
