"""Floor 4: the use cases of one member. The door: a node is opened from its folder; use cases are functions that take it.

Inside   `member` (the node), `settings` (its folder), `journal`, `schema` (node.db), `keys`, `charts`, `members`, `carriage`, `tokens`: what it
         works with; `enrolment`, `release` (with `right`, `emergency`, `reading`, `releases`, `lanes`), `requesting`, `wallets`, `ownuse`: what
         it does; `aftermath`, `housekeeping`: what it must not forget.
Modules  are doors as well: `from yilian.node import release` names a use case as a regulator would.
"""

from yilian.node import (
    aftermath,
    anchoring,
    asking,
    auditing,
    carriage,
    emergency,
    enrolment,
    limits,
    notices,
    ownreading,
    ownuse,
    patientlog,
    reading,
    receipts,
    release,
    requesting,
    tokens,
    wallets,
)
from yilian.node.journal import TablesDamaged
from yilian.node.member import Clock, Node, clock_ms, found, join, opened, read_genesis
from yilian.node.refusals import RETRY_AFTER_S, No, NodeRefused, number_and_name, said, status_of
from yilian.node.settings import Folder, Settings, SettingsWrong, read_settings

__all__ = [
    "RETRY_AFTER_S",
    "Clock",
    "Folder",
    "No",
    "Node",
    "NodeRefused",
    "Settings",
    "SettingsWrong",
    "TablesDamaged",
    "aftermath",
    "anchoring",
    "asking",
    "auditing",
    "carriage",
    "clock_ms",
    "emergency",
    "enrolment",
    "found",
    "join",
    "limits",
    "notices",
    "number_and_name",
    "opened",
    "ownreading",
    "ownuse",
    "patientlog",
    "read_genesis",
    "read_settings",
    "reading",
    "receipts",
    "release",
    "requesting",
    "said",
    "status_of",
    "tokens",
    "wallets",
]
