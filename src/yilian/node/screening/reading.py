"""From FHIR R4 resources to findings: the newest usable value of each analyte, units converted by table. Pure.

Source   LOINC codes of the blood pressure profile (85354-9, 8480-6), cholesterol 2093-3 | 14647-2, HDL 2085-9 | 14646-4, HbA1c 4548-4 |
         59261-8, smoking status 72166-2; UCUM units. Values older than a year are not this visit's values (ADR-0030).
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from yilian.node.observations import LOINC, Resource, codes, effective_s
from yilian.node.screening.findings import MG_DL_PER_MMOL_L, Findings, Sex, Unscored, Why, unscored

SNOMED: Final = "http://snomed.info/sct"
ICD10: Final = ("http://hl7.org/fhir/sid/icd-10", "http://hl7.org/fhir/sid/icd-10-cm")
OLDEST_S: Final = 365 * 86_400
_FINAL: Final = frozenset({"final", "amended", "corrected"})

SBP_CODES: Final = frozenset({"8480-6"})
BP_CODES: Final = frozenset({"85354-9", "55284-4"})
TC_CODES: Final = frozenset({"2093-3", "14647-2"})
HDL_CODES: Final = frozenset({"2085-9", "14646-4"})
HBA1C_CODES: Final = frozenset({"4548-4", "59261-8"})
SMOKING_CODES: Final = frozenset({"72166-2"})

_PRESSURE: Final = {"mm[Hg]": 1.0}
_CHOLESTEROL: Final = {"mmol/L": 1.0, "mg/dL": 1 / MG_DL_PER_MMOL_L}
# The diagnostic limit in both units as WHO 2011 prints them (WHO/NMH/CHP/CPM/11.1): no conversion, so no rounding at the limit.
_HBA1C_DIABETES: Final = {"%": 6.5, "mmol/mol": 48.0}

# Smoker now; SNOMED CT and the LOINC answer list LL2201-3 of 72166-2. "Unknown if ever smoked" is in neither list: missing.
_SMOKES: Final = frozenset(
    {
        "449868002",
        "428041000124106",
        "77176002",
        "428071000124103",
        "428061000124105",
        "LA18976-3",
        "LA18977-1",
        "LA18979-7",
        "LA18981-6",
        "LA18982-4",
    }
)
_SMOKES_NOT: Final = frozenset({"8517006", "266919005", "LA15920-4", "LA18978-9"})

_DIABETES_SNOMED: Final = frozenset({"73211009", "44054006", "46635009"})
_DIABETES_ICD10: Final = ("E10", "E11", "E12", "E13", "E14")
# Coronary, cerebrovascular and peripheral arterial disease: whoever has it is past screening.
_CVD_SNOMED: Final = frozenset({"53741008", "22298006", "414545008", "230690007", "422504002", "194828000", "399957001", "1755008"})
_CVD_ICD10: Final = ("I20", "I21", "I22", "I23", "I24", "I25", "I60", "I61", "I63", "I64", "I69", "I70", "I73.9", "G45")
# ATC groups that lower blood pressure: C02 antihypertensives, C03 diuretics, C07 beta and C08 calcium blockers, C09 ACE inhibitors, ARBs.
_ATC: Final = "http://www.whocc.no/atc"
_PRESSURE_ATC: Final = ("C02", "C03", "C07", "C08", "C09")


def _newest(observations: Iterable[Resource], wanted: frozenset[str], now_s: int) -> Resource | None:
    best: tuple[int, Resource] | None = None
    for seen in observations:
        at_s = effective_s(seen)
        if seen.get("status") not in _FINAL or at_s is None or not now_s - OLDEST_S <= at_s <= now_s:
            continue
        if codes(seen.get("code"), LOINC) & wanted and (best is None or at_s >= best[0]):
            best = (at_s, seen)
    return None if best is None else best[1]


def _quantity(element: Resource) -> tuple[float, str] | None:
    quantity = element.get("valueQuantity")
    if not isinstance(quantity, Mapping):
        return None
    value = quantity.get("value")
    unit = quantity.get("code") or quantity.get("unit")
    if isinstance(value, bool) or not isinstance(value, int | float) or not isinstance(unit, str) or quantity.get("comparator"):
        return None  # "> 5" is no number to compute with
    return float(value), unit


def _measured(name: str, element: Resource | None, units: Mapping[str, float]) -> float | Unscored:
    read = None if element is None else _quantity(element)
    if read is None:
        return unscored(Why.MISSING, value=name)
    value, unit = read
    return value * units[unit] if unit in units else unscored(Why.UNIT_UNKNOWN, value=name, unit=unit)


def _systolic(observations: list[Resource], now_s: int) -> tuple[Resource | None, Resource | None]:
    seen = _newest(observations, BP_CODES | SBP_CODES, now_s)
    if seen is None or codes(seen.get("code"), LOINC) & SBP_CODES:
        return seen, seen
    parts = [part for part in seen.get("component") or () if codes(part.get("code"), LOINC) & SBP_CODES]
    return seen, parts[0] if parts else None


def _smokes(seen: Resource | None) -> bool | Unscored:
    concept = {} if seen is None else seen.get("valueCodeableConcept")
    said = codes(concept, SNOMED) | codes(concept, LOINC)
    if said & _SMOKES:
        return True
    return False if said & _SMOKES_NOT else unscored(Why.MISSING, value="smoking")


def _has(conditions: Iterable[Resource], snomed: frozenset[str], icd10: tuple[str, ...]) -> bool:
    for condition in conditions:
        refuted = codes(condition.get("verificationStatus"), "http://terminology.hl7.org/CodeSystem/condition-ver-status")
        if refuted & {"refuted", "entered-in-error"}:
            continue
        coded = condition.get("code")
        if codes(coded, SNOMED) & snomed or any(code.startswith(icd10) for system in ICD10 for code in codes(coded, system)):
            return True
    return False


def _treated(medications: Iterable[Resource]) -> bool:
    """Tell whether a live MedicationStatement or MedicationRequest names a blood pressure medicine (ATC)."""
    return any(
        medicine.get("status") == "active"
        and any(code.startswith(_PRESSURE_ATC) for code in codes(medicine.get("medicationCodeableConcept"), _ATC))
        for medicine in medications
    )


def _age_years(birth_date: object, now_s: int) -> int | None:
    if not isinstance(birth_date, str):
        return None
    try:
        born = datetime.strptime(birth_date, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return None  # FHIR allows "1971": an age in years needs the day
    now = datetime.fromtimestamp(now_s, UTC)
    return now.year - born.year - ((now.month, now.day) < (born.month, born.day))


def _diabetic_hba1c(seen: Resource | None) -> bool:
    read = None if seen is None else _quantity(seen)
    return read is not None and read[1] in _HBA1C_DIABETES and read[0] >= _HBA1C_DIABETES[read[1]]


def _reference(seen: Resource | None) -> str | None:
    return f"Observation/{seen['id']}" if seen is not None and "id" in seen else None


def findings_from(patient: Resource, resources: Iterable[Resource], now_s: int) -> Findings | Unscored:
    """Return what the scores need from a Patient and any mix of its resources (other types are passed over).

    An HbA1c of 6.5 % or more counts as diabetes here: it takes the person out of SCORE2's validity, it is no diagnosis.
    Answers  `Unscored` MISSING, SEX_NOT_COVERED, UNIT_UNKNOWN instead of guessing.
    """
    by_type: dict[str, list[Resource]] = {}
    for resource in resources:
        by_type.setdefault(str(resource.get("resourceType")), []).append(resource)
    observations = by_type.get("Observation", [])
    age_years = _age_years(patient.get("birthDate"), now_s)
    if age_years is None:
        return unscored(Why.MISSING, value="birthDate")
    if patient.get("gender") not in tuple(Sex):
        return unscored(Why.SEX_NOT_COVERED, gender=patient.get("gender"))
    pressure, systolic = _systolic(observations, now_s)
    total, hdl = (_newest(observations, wanted, now_s) for wanted in (TC_CODES, HDL_CODES))
    smoking, hba1c = (_newest(observations, wanted, now_s) for wanted in (SMOKING_CODES, HBA1C_CODES))
    sbp = _measured("sbp", systolic, _PRESSURE)
    tc = _measured("tc", total, _CHOLESTEROL)
    good = _measured("hdl", hdl, _CHOLESTEROL)
    smoker = _smokes(smoking)
    if isinstance(sbp, Unscored) or isinstance(tc, Unscored) or isinstance(good, Unscored) or isinstance(smoker, Unscored):
        return next(part for part in (sbp, tc, good, smoker) if isinstance(part, Unscored))
    conditions = by_type.get("Condition", [])
    return Findings(
        age_years=age_years,
        sex=Sex(patient["gender"]),
        smoker=smoker,
        sbp_mmhg=sbp,
        tc_mmol_l=tc,
        hdl_mmol_l=good,
        treated=_treated(by_type.get("MedicationStatement", []) + by_type.get("MedicationRequest", [])),
        diabetes=_has(conditions, _DIABETES_SNOMED, _DIABETES_ICD10) or _diabetic_hba1c(hba1c),
        cardiovascular_disease=_has(conditions, _CVD_SNOMED, _CVD_ICD10),
        basis=tuple(reference for seen in (pressure, total, hdl, smoking, hba1c) if (reference := _reference(seen)) is not None),
    )
