"""Floor 4: the use cases of one member. The door: a node is opened from its folder; use cases are functions that take it.

Works with   `member` (the node), `settings` (its folder), `journal` and `schema` (node.db), `keys`, `charts`, `members`, `carriage`,
             `tokens`.
Does         `enrolment`, `release` (with `right`, `emergency`, `reading`, `offering`, `releases`, `lanes`), `requesting`, `wallets`,
             `ownuse`; `ownreading`, `patientlog`, `notices` (the patient's own view); `receipts`, `anchoring`; `referring` (with
             `referral_*`, `postbox`, `subscriptions`), `examinations`, `assessing`.
Remembers    `aftermath`, `housekeeping`: what must not be forgotten.
Modules are doors as well: `from yilian.node import release` names a use case as a regulator would.
"""

from yilian.node import (
    aftermath,
    anchoring,
    asking,
    assessing,
    auditing,
    carriage,
    emergency,
    enrolment,
    examinations,
    limits,
    notices,
    ownreading,
    ownuse,
    patientlog,
    postbox,
    reading,
    receipts,
    referral_book,
    referral_inbox,
    referral_statistics,
    referring,
    release,
    requesting,
    subscriptions,
    tokens,
    wallets,
)
from yilian.node.journal import TablesDamaged
from yilian.node.member import Clock, Node, clock_ms, found, join, opened, read_genesis
from yilian.node.refusals import RETRY_AFTER_S, No, NodeRefused, number_and_name, said, status_of
from yilian.node.releases import Released
from yilian.node.settings import Folder, Settings, SettingsWrong, read_settings

__all__ = [
    "RETRY_AFTER_S",
    "Clock",
    "Folder",
    "No",
    "Node",
    "NodeRefused",
    "Released",
    "Settings",
    "SettingsWrong",
    "TablesDamaged",
    "aftermath",
    "anchoring",
    "asking",
    "assessing",
    "auditing",
    "carriage",
    "clock_ms",
    "emergency",
    "enrolment",
    "examinations",
    "found",
    "join",
    "limits",
    "notices",
    "number_and_name",
    "opened",
    "ownreading",
    "ownuse",
    "patientlog",
    "postbox",
    "read_genesis",
    "read_settings",
    "reading",
    "receipts",
    "referral_book",
    "referral_inbox",
    "referral_statistics",
    "referring",
    "release",
    "requesting",
    "said",
    "status_of",
    "subscriptions",
    "tokens",
    "wallets",
]
