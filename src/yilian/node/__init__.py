"""Floor 4: the use cases of one member. The door: a node is opened from its folder; use cases are functions that take it.

Inside   `member` (the node), `settings` (its folder), `journal`, `schema` (node.db), `keys`, `charts`, `members`, `carriage`, `tokens`: what it
         works with; `enrolment`, `release`, `requesting`, `revocation`, `ownuse`, `patientview`: what it does; `housekeeping`: what it must not forget.
"""

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
    "clock_ms",
    "found",
    "join",
    "number_and_name",
    "opened",
    "read_genesis",
    "read_settings",
    "said",
    "status_of",
]
