"""Mutual recognition (检查检验结果互认): may another member's result stand in for the examination just ordered? Pure.

Time     a result stands from `effective_s` up to and without `effective_s + days * 86,400`.
Source   医疗机构检查检验结果互认管理办法 (国卫医发〔2022〕6号), its list of cases that may be repeated; table: `recognition_table`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from yilian.node.recognition_table import DEFAULT, Analyte, Table

USABLE: Final = frozenset({"final", "amended", "corrected"})  # FHIR ObservationStatus of a released result


class Retest(StrEnum):
    """Why the examination may be done again; all but the first three are the ordering doctor's statement."""

    NO_RESULT = "no-result"
    NOT_FINAL = "not-final"
    EXPIRED = "expired"
    CHANGED_CONDITION = "changed-condition"
    FAST_CHANGING = "fast-changing"
    BEFORE_SURGERY_OR_TRANSFUSION = "before-surgery-or-transfusion"
    EMERGENCY = "emergency"
    FORENSIC = "forensic"
    OTHER_CLINICAL_NEED = "other-clinical-need"


# What a doctor may state; the order is that of the regulation and of the screen.
EXCEPTIONS: Final = {
    Retest.CHANGED_CONDITION: ("病情变化, 结果与临床表现不符", "condition changed; the result no longer fits"),
    Retest.FAST_CHANGING: ("结果在疾病演变中变化较快", "the result changes fast in this disease"),
    Retest.BEFORE_SURGERY_OR_TRANSFUSION: ("手术、输血等重大医疗措施前", "before surgery or transfusion"),
    Retest.EMERGENCY: ("急诊、急救等紧急状态", "emergency"),
    Retest.FORENSIC: ("司法、伤残及病退等鉴定", "forensic or disability assessment"),
    Retest.OTHER_CLINICAL_NEED: ("其他确需复查的情形", "other clinical need"),
}


@dataclass(frozen=True, slots=True)
class Order:
    """An examination about to be ordered; `exception` is the doctor's statement, if one was made."""

    loinc: str
    now_s: int
    exception: Retest | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What a member says about a result without showing it: no value, no patient."""

    loinc: str
    effective_s: int
    status: str
    member: str


@dataclass(frozen=True, slots=True)
class Recognise:
    """Use these results (one per analyte, in the table's order) instead; all stand until `until_s`, exclusive."""

    results: tuple[Result, ...]
    until_s: int


@dataclass(frozen=True, slots=True)
class RetestAllowed:
    """Do it; `instead_of` are the valid results passed over by an exception: empty means that nothing was repeated."""

    reason: Retest
    instead_of: tuple[Result, ...] = ()


@dataclass(frozen=True, slots=True)
class Unknown:
    """The network's table has no row for this code: no warning, nothing counted."""

    loinc: str


def check(order: Order, history: Iterable[Result], table: Table = DEFAULT) -> Recognise | RetestAllowed | Unknown:
    """Decide for one order. A panel is recognised only if every analyte of it has a valid result, from whichever members."""
    assert order.exception is None or order.exception in EXCEPTIONS, "a doctor states an exception; the rest is computed here"
    wanted = table.ordered(order.loinc)
    if not wanted:
        return Unknown(order.loinc)
    known = tuple(history)
    found: list[Result] = []
    until_s = order.now_s + max(table.valid_for_s(analyte) for analyte in wanted)
    for analyte in wanted:
        best = _best(analyte, order, known, table)
        if isinstance(best, Retest):
            return RetestAllowed(best)
        found.append(best)
        until_s = min(until_s, best.effective_s + table.valid_for_s(analyte))
    if order.exception is not None:
        return RetestAllowed(order.exception, tuple(found))
    return Recognise(tuple(found), until_s)


def _best(analyte: Analyte, order: Order, known: tuple[Result, ...], table: Table) -> Result | Retest:
    """Return the newest valid result of one analyte, or the reason that comes closest to one."""
    about = [result for result in known if analyte in table.ordered(result.loinc) and result.effective_s <= order.now_s]
    usable = [result for result in about if result.status in USABLE]
    if not usable:
        return Retest.NOT_FINAL if about else Retest.NO_RESULT
    newest = max(usable, key=lambda result: (result.effective_s, result.member, result.loinc))
    return newest if order.now_s < newest.effective_s + table.valid_for_s(analyte) else Retest.EXPIRED
