"""Where the nodes are that a command speaks to: a region's file, or a node's URL."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from yilian.cli.frame import Misused, Unreachable, state_folder

if TYPE_CHECKING:
    from yilian.sim.whereabouts import Whereabouts


def option(parser: argparse.ArgumentParser) -> None:
    """Declare `--home`."""
    parser.add_argument("--home", type=Path, metavar="DIR", help="the region's folder (default: $YILIAN_HOME, else the newest region)")


def region(options: argparse.Namespace) -> "Whereabouts":
    """Return where the region runs.

    Raises   Unreachable
    """
    from yilian.sim.whereabouts import NotThere, find

    try:
        where = find(options.home, state_folder())
    except NotThere as nowhere:
        raise Unreachable(str(nowhere)) from nowhere
    if not where.is_running:
        raise Unreachable(f"the region in {where.home} has ended: start one with `yilian demo`")
    return where


def node_url(where: "Whereabouts", member: str) -> str:
    """Return a member's address.

    Raises   Misused
    """
    if member not in where.nodes:
        raise Misused(f"no member {member!r} in this region: {', '.join(where.nodes)}")
    return where.nodes[member]
