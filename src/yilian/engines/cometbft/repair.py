"""A member that begins again on its own seat: its copy of the ledger is moved aside, and the next start fetches it from the others.

Stays    the seat's key and settings, what CometBFT wrote to its log, and `priv_validator_state.json`: votes that were given stay given. A
         validator that forgot them could vote twice at a height, and be convicted of it.
Raised   that record, to the end of its height. It names the last vote alone; to which block the validator is bound by a precommit stands
         in the write-ahead log, which may be what is damaged. Without it the validator could prevote another block in a later round of that
         height, which no evidence shows and which is how two blocks of one height come about. So it signs from the next height on.
Aside    the ledger's store, its snapshots, CometBFT's blocks, state, write-ahead log and evidence: FOLDER/aside-1, and so on.
Source   CometBFT v0.38.25, config/config.go `StateSyncConfig`: it syncs an empty state, and no other; privval/file.go `CheckHRS`: what
         is not above the recorded height, round and step is not signed, and at the same ones only what has the recorded bytes; here none.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import closing
from pathlib import Path

from yilian.engines.cometbft.faults import VotesUnreadable
from yilian.engines.cometbft.process import LOG
from yilian.engines.cometbft.settings import HOME, SOCKET, Trust, read_ports, sync_section
from yilian.engines.folders import LOCK, hold

VOTES = "priv_validator_state.json"
LAST_ROUND, LAST_STEP = 2**31 - 1, 3  # an int32; a precommit: CometBFT v0.38.25, privval/file.go
ASIDE = "aside-"
_ASIDE = re.compile(rf"{ASIDE}(\d+)", re.ASCII)
_STAYS = re.compile(rf"{HOME}|{LOCK}|{SOCKET}|{Path(LOG).stem}\..*|{ASIDE}\d+|genesis\.cbor")
_SYNC = re.compile(r"^\[statesync\]\n(?:(?!\[).*\n?)*", re.MULTILINE)


def begin_again(folder: Path, trust: Trust | None) -> Path:
    """Move aside what a member holds of the ledger, and return where. It begins with a snapshot if `trust` is given, else with block 1.

    Raises   NotAHome, VotesUnreadable; StoreLocked, while a node runs on the folder
    """
    read_ports(folder)
    with closing(hold(folder)):
        _end_height(folder / HOME / "data" / VOTES)  # before the lock goes: a crash in between costs votes, not safety
        numbers = [int(found[1]) for path in folder.iterdir() if (found := _ASIDE.fullmatch(path.name))]
        aside = folder / f"{ASIDE}{1 + max(numbers, default=0)}"  # the operator may have removed earlier ones
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


def _end_height(votes: Path) -> None:
    """Have the validator sign nothing more at the height of its last vote.

    Raises   VotesUnreadable
    """
    try:
        height = int(json.loads(votes.read_text())["height"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VotesUnreadable(votes) from error
    raised = votes.with_suffix(".new")
    raised.touch(mode=0o600)
    with raised.open("w") as file:
        file.write(json.dumps({"height": str(height), "round": LAST_ROUND, "step": LAST_STEP}, indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    raised.replace(votes)
