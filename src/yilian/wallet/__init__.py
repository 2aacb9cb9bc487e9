"""The patient's own side: keys, grants, presence, and the check of one's own log (floor 6, imports floors 0-2 only; ADR-0062, ADR-0063).

Pure, but for the process entry: `python -m yilian.wallet` keeps wallets in encrypted files; `WalletClient` is how a screen, a command or
the simulation speaks to it.
"""

from yilian.wallet.check import LogLine, LogReport, Question, check_log
from yilian.wallet.client import Act, WalletClient, WalletGone, spawn
from yilian.wallet.findings import Fault, Finding
from yilian.wallet.members import MemberKeys, Members
from yilian.wallet.refusals import No, WalletRefused
from yilian.wallet.state import Chart, Grant, SeenHead, WalletState, parse_state
from yilian.wallet.wallet import ToSubmit, Wallet, Wish

__all__ = [
    "Act",
    "Chart",
    "Fault",
    "Finding",
    "Grant",
    "LogLine",
    "LogReport",
    "MemberKeys",
    "Members",
    "No",
    "Question",
    "SeenHead",
    "ToSubmit",
    "Wallet",
    "WalletClient",
    "WalletGone",
    "WalletRefused",
    "WalletState",
    "Wish",
    "check_log",
    "parse_state",
    "spawn",
]
