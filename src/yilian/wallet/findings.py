"""What the check of a log can find: a word, its facts, and one plain sentence in Chinese and in English."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

Facts = dict[str, int | str]


class Fault(StrEnum):
    """What is wrong."""

    NOT_READABLE = "NOT_READABLE"
    NOT_VOUCHED = "NOT_VOUCHED"
    SPLIT_VIEW = "SPLIT_VIEW"
    LOG_REWRITTEN = "LOG_REWRITTEN"
    LOG_BEHIND = "LOG_BEHIND"
    NOT_IN_LOG = "NOT_IN_LOG"
    NOT_MINE = "NOT_MINE"
    GAP = "GAP"
    TAIL_CUT = "TAIL_CUT"
    ABSENCE_NOT_SHOWN = "ABSENCE_NOT_SHOWN"
    DAY_NOT_PROVEN = "DAY_NOT_PROVEN"
    NUMBER_TWICE = "NUMBER_TWICE"
    HEAD_NOT_SIGNED = "HEAD_NOT_SIGNED"
    HEAD_CONTRADICTED = "HEAD_CONTRADICTED"
    MONTH_NOT_SHOWN = "MONTH_NOT_SHOWN"
    DETAIL_MISMATCH = "DETAIL_MISMATCH"
    AFTER_REVOCATION = "AFTER_REVOCATION"


_ZH: Final = {
    Fault.NOT_READABLE: "{holder} 出示的内容（{what}）无法读懂。",
    Fault.NOT_VOUCHED: "{holder} 出示的账本根没有足够的成员机构签名。",
    Fault.SPLIT_VIEW: "有人为同一长度（{size}）的账本签了两个不同的根：账本被分成两个版本，请公开这两份签名。",
    Fault.LOG_REWRITTEN: "{holder} 出示的账本（长度 {size}）不能证明是您上次看到的账本（长度 {old_size}）的延续。",
    Fault.LOG_BEHIND: "{holder} 出示的账本（长度 {size}）早于第 {index} 号条目：该条目变更了成员机构，且已得到证明。",
    Fault.NOT_IN_LOG: "{holder} 出示的第 {index} 号条目不在账本里，或与账本里的不同。",
    Fault.NOT_MINE: "{holder} 出示的第 {index} 号条目不属于您的病历。",
    Fault.GAP: "{holder} 的访问日志（{series}）缺少第 {number} 条。",
    Fault.TAIL_CUT: "{holder} 的访问日志（{series}）被截断：账本里还有第 {number} 条，却没有给您看。",
    Fault.ABSENCE_NOT_SHOWN: "{holder} 没有证明访问日志（{series}）自第 {day} 日起的 {days} 天里没有第 {number} 条。",
    Fault.DAY_NOT_PROVEN: "{holder} 出示的第 {day} 日的日终记录不在账本里。",
    Fault.NUMBER_TWICE: "{holder} 的访问日志（{series}）第 {number} 条出现了两次。",
    Fault.HEAD_NOT_SIGNED: "{holder} 对 {month} 月日志条数的声明没有有效签名。",
    Fault.HEAD_CONTRADICTED: "{holder} 签名声明 {month} 月有 {count} 条，而实际出示或先前声明的是 {other} 条。",
    Fault.MONTH_NOT_SHOWN: "{holder} 没有出示 {month} 月的访问日志。",
    Fault.DETAIL_MISMATCH: "第 {index} 号条目的访问说明与账本里的承诺不符：说明被改动或被调换。",
    Fault.AFTER_REVOCATION: "第 {index} 号条目在授权撤销（第 {revoked_index} 号条目）之后：这次访问不合法。",
}
_EN: Final = {
    Fault.NOT_READABLE: "What {holder} showed ({what}) cannot be read.",
    Fault.NOT_VOUCHED: "Not enough members signed the log root that {holder} showed.",
    Fault.SPLIT_VIEW: "Two different roots were signed for one log size ({size}): the log has been split; publish both signatures.",
    Fault.LOG_REWRITTEN: "The log of size {size} that {holder} showed is not proven to extend the one of size {old_size} seen before.",
    Fault.LOG_BEHIND: "The log of size {size} that {holder} showed ends before entry {index}, a proven change of members: it is old.",
    Fault.NOT_IN_LOG: "Entry {index} that {holder} showed is not in the log, or is another there.",
    Fault.NOT_MINE: "Entry {index} that {holder} showed does not belong to your chart.",
    Fault.GAP: "The access log at {holder} ({series}) lacks number {number}.",
    Fault.TAIL_CUT: "The access log at {holder} ({series}) was cut: the ledger has number {number}, which was not shown to you.",
    Fault.ABSENCE_NOT_SHOWN: "{holder} did not prove that the access log ({series}) has no number {number}, on {days} days from day {day}.",
    Fault.DAY_NOT_PROVEN: "The daily leaf of day {day} that {holder} showed is not in the log.",
    Fault.NUMBER_TWICE: "Number {number} of the access log at {holder} ({series}) stands twice.",
    Fault.HEAD_NOT_SIGNED: "The statement of {holder} on how many entries month {month} has is not signed by it.",
    Fault.HEAD_CONTRADICTED: "{holder} signed that month {month} has {count} entries; shown, or signed before, are {other}.",
    Fault.MONTH_NOT_SHOWN: "{holder} did not show the access log of month {month}.",
    Fault.DETAIL_MISMATCH: "The description of entry {index} is not what the ledger commits to: it was altered or exchanged.",
    Fault.AFTER_REVOCATION: "Entry {index} comes after the grant's revocation (entry {revoked_index}): this access was unlawful.",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, and its facts; days are UTC day numbers, months are written year-month."""

    fault: Fault
    facts: tuple[tuple[str, int | str], ...]

    @property
    def zh(self) -> str:
        """The sentence in Chinese."""
        return _ZH[self.fault].format(**dict(self.facts))

    @property
    def en(self) -> str:
        """The sentence in English."""
        return _EN[self.fault].format(**dict(self.facts))


def finding(fault: Fault, **facts: int | str) -> Finding:
    """Return a finding."""
    return Finding(fault, tuple(sorted(facts.items())))


def month_text(month: int) -> str:
    """Return `12 * year + month - 1` as a person writes it: 2026-11."""
    return f"{month // 12:04}-{month % 12 + 1:02}"
