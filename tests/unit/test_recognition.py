"""Mutual recognition, sentence by sentence; boundaries to the second."""

import pytest

from yilian.node.recognition import EXCEPTIONS, Order, Recognise, Result, Retest, RetestAllowed, Unknown, check
from yilian.node.recognition_table import DEFAULT, Analyte, Table

NOW_S = 1_790_000_000
DAY_S = 86_400


def result(loinc: str, age_s: int, status: str = "final", member: str = "hospital-1") -> Result:
    return Result(loinc, NOW_S - age_s, status, member)


@pytest.mark.parametrize(("loinc", "days"), [("2823-3", 7), ("2093-3", 30), ("2345-7", 30), ("1558-6", 30), ("4548-4", 60)])
def test_a_result_stands_for_its_days_and_not_a_second_longer(loinc: str, days: int) -> None:
    order = Order(loinc, NOW_S)
    last = result(loinc, days * DAY_S - 1)
    assert check(order, [last]) == Recognise((last,), NOW_S + 1)
    assert check(order, [result(loinc, days * DAY_S)]) == RetestAllowed(Retest.EXPIRED)
    assert check(order, [result(loinc, 900 * DAY_S)]) == RetestAllowed(Retest.EXPIRED)


def test_a_result_stands_from_its_first_second_and_not_before() -> None:
    order = Order("4548-4", NOW_S)
    assert check(order, [result("4548-4", 0)]) == Recognise((result("4548-4", 0),), NOW_S + 60 * DAY_S)
    assert check(order, [result("4548-4", -1)]) == RetestAllowed(Retest.NO_RESULT)


def test_the_newest_usable_result_is_recognised_whoever_holds_it() -> None:
    older, newest = result("2093-3", 9 * DAY_S), result("2093-3", 2 * DAY_S, member="clinic-2")
    draft = result("2093-3", DAY_S, status="preliminary")
    for history in ([older, newest, draft], [draft, newest, older]):
        assert check(Order("2093-3", NOW_S), history) == Recognise((newest,), NOW_S + 28 * DAY_S)


@pytest.mark.parametrize("status", ["registered", "preliminary", "cancelled", "entered-in-error", "unknown", ""])
def test_what_is_not_final_does_not_stand(status: str) -> None:
    assert check(Order("2093-3", NOW_S), [result("2093-3", DAY_S, status)]) == RetestAllowed(Retest.NOT_FINAL)


@pytest.mark.parametrize("status", ["final", "amended", "corrected"])
def test_what_is_released_stands(status: str) -> None:
    seen = result("2093-3", DAY_S, status)
    assert check(Order("2093-3", NOW_S), [seen]) == Recognise((seen,), NOW_S + 29 * DAY_S)


def test_codes_that_differ_in_the_unit_only_are_one_analyte() -> None:
    molar = result("14647-2", DAY_S)
    assert check(Order("2093-3", NOW_S), [molar]) == Recognise((molar,), NOW_S + 29 * DAY_S)


def test_fasting_and_random_glucose_are_two() -> None:
    assert check(Order("2345-7", NOW_S), [result("14771-0", DAY_S)]) == RetestAllowed(Retest.NO_RESULT)


def test_a_panel_needs_every_analyte_and_stands_as_long_as_the_oldest() -> None:
    order = Order("24331-1", NOW_S)
    parts = [result(code, age * DAY_S) for code, age in (("14647-2", 12), ("14646-4", 12), ("22748-8", 20), ("14927-8", 12))]
    assert check(order, parts) == Recognise(tuple(parts), NOW_S + 10 * DAY_S)
    assert check(order, parts[:3]) == RetestAllowed(Retest.NO_RESULT)
    panel = result("24331-1", 3 * DAY_S)
    assert check(order, [panel]) == Recognise((panel,) * 4, NOW_S + 27 * DAY_S)
    assert check(Order("2085-9", NOW_S), [panel]) == Recognise((panel,), NOW_S + 27 * DAY_S)


@pytest.mark.parametrize("reason", list(EXCEPTIONS))
def test_a_stated_exception_allows_the_repeat_and_names_what_was_passed_over(reason: Retest) -> None:
    valid = result("4548-4", DAY_S)
    assert check(Order("4548-4", NOW_S, reason), [valid]) == RetestAllowed(reason, (valid,))


def test_an_exception_without_a_valid_result_repeats_nothing() -> None:
    assert check(Order("4548-4", NOW_S, Retest.EMERGENCY), []) == RetestAllowed(Retest.NO_RESULT)


def test_a_computed_reason_cannot_be_stated() -> None:
    with pytest.raises(AssertionError, match="a doctor states an exception"):
        check(Order("4548-4", NOW_S, Retest.EXPIRED), [])


def test_a_code_outside_the_table_is_unknown_whatever_is_stated() -> None:
    assert check(Order("718-7", NOW_S, Retest.EMERGENCY), [result("718-7", DAY_S)]) == Unknown("718-7")


def test_there_are_the_six_official_exceptions_each_in_both_languages() -> None:
    assert [reason.value for reason in EXCEPTIONS] == [
        "changed-condition",
        "fast-changing",
        "before-surgery-or-transfusion",
        "emergency",
        "forensic",
        "other-clinical-need",
    ]
    assert all(zh and en for zh, en in EXCEPTIONS.values())


def test_a_network_sets_its_own_days() -> None:
    order, seen = Order("2093-3", NOW_S), [result("2093-3", 14 * DAY_S)]
    assert isinstance(check(order, seen), Recognise)
    assert check(order, seen, DEFAULT.revised({"lipids": 14})) == RetestAllowed(Retest.EXPIRED)
    assert DEFAULT.days["lipids"] == 30


@pytest.mark.parametrize("days", [{"lipids": 0}, {"lipids": 367}, {"lipid": 30}])
def test_a_table_that_makes_no_sense_is_refused(days: dict[str, int]) -> None:
    with pytest.raises(AssertionError):
        DEFAULT.revised(days)


def test_a_code_stands_for_one_row_only() -> None:
    row = Analyte("a", "g", frozenset({"1-1"}))
    with pytest.raises(AssertionError, match="one row only"):
        Table((row, Analyte("b", "g", frozenset({"1-1"}))), (), {"g": 1})
