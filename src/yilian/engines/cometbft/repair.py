"""A member that begins again on its own seat: its copy of the ledger is moved aside, and the next start fetches it from the others.

Stays    the seat's key and settings, what CometBFT wrote to its log, and `priv_validator_state.json`: votes that were given stay given. A
         validator that forgot them could vote twice at a height, and be convicted of it.
Aside    the ledger's store, its snapshots, CometBFT's blocks, state, write-ahead log and evidence: FOLDER/aside-1, and so on.
Source   CometBFT v0.38.25, config/config.go `StateSyncConfig`: it syncs a state that is empty, and no other.
"""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

from yilian.engines.cometbft.process import LOG
from yilian.engines.cometbft.settings import HOME, SOCKET, Trust, read_ports, sync_section
from yilian.engines.folders import LOCK, hold

VOTES = "priv_validator_state.json"
ASIDE = "aside-"
_STAYS = re.compile(rf"{HOME}|{LOCK}|{SOCKET}|{Path(LOG).stem}\..*|{ASIDE}\d+|genesis\.cbor")
_SYNC = re.compile(r"^\[statesync\]\n(?:(?!\[).*\n?)*", re.MULTILINE)


def begin_again(folder: Path, trust: Trust | None) -> Path:
    """Move aside what a member holds of the ledger, and return where. It begins with a snapshot if `trust` is given, else with block 1.

    Raises   NotAHome; StoreLocked, while a node runs on the folder
    """
    read_ports(folder)
    with closing(hold(folder)):
        aside = folder / f"{ASIDE}{1 + len(list(folder.glob(ASIDE + '*')))}"
        (aside / HOME).mkdir(parents=True)
        for path in list(folder.iterdir()):
            if not _STAYS.fullmatch(path.name):
                path.rename(aside / path.name)
        for path in list((folder / HOME / "data").iterdir()):
            if path.name != VOTES:
                path.rename(aside / HOME / path.name)
        config = folder / HOME / "config/config.toml"
        text = _SYNC.sub("", config.read_text()).rstrip("\n")
        config.write_text(f"{text}\n\n{sync_section(trust)}")
    return aside
