"""One member's chart of one person: FHIR R4 resources in the order in which they were written.

References inside a chart are relative (`Patient/<id>`) and never leave it; ids are UUIDs made from the seed, the person and the member.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from yilian.sim.members import member
from yilian.sim.population import codes
from yilian.sim.population.codes import ICD10, LOINC, SNOMED, TERMINOLOGY, Measure, Medicine, Problem
from yilian.sim.population.health import Health
from yilian.sim.population.identity import CITY, PROVINCE, Identity

Resource = dict[str, Any]

DAY_S: Final = 86_400
_ZONE: Final = timezone(timedelta(hours=8))
ID_CARD_SYSTEM: Final = "urn:oid:2.16.156.10011.1.3"  # 居民身份证号码, WS 218 / WS 364 identifier of the Chinese health standards
_REPRESENTATION: Final = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"


def local_system(member_id: str) -> str:
    """Return the identifier system of a member's own patient numbers."""
    return f"urn:yilian:sim:{member_id}:patient"


def instant(at_s: int) -> str:
    """Return an instant as FHIR writes it, in the region's zone."""
    return datetime.fromtimestamp(at_s, UTC).astimezone(_ZONE).isoformat()


def visit_s(rng: Random, now_s: int, days_ago: int) -> int:
    """Return a moment in consulting hours (08:00-16:59) that many days before the region's today."""
    midnight_s = (now_s + 8 * 3_600) // DAY_S * DAY_S - 8 * 3_600
    return midnight_s - days_ago * DAY_S + rng.randrange(8 * 3_600, 17 * 3_600)


class Chart:
    """Writes the resources of one person at one member; each method returns the reference of what it wrote."""

    def __init__(self, seed: int, number: int, who: Identity, member_id: str, rng: Random) -> None:
        self._space = uuid5(NAMESPACE_URL, f"urn:yilian:sim:{seed}:{number}:{member_id}")
        self._member = member(member_id)
        self._rng = rng
        self.resources: list[Resource] = []
        self.local_id = f"{'C' if self._member.kind == 'clinic' else 'H'}{self._member.id[-1]}{10_000_019 + number * 37:08}"
        self._patient = self._write("Patient", **_patient(who, member_id, self.local_id))

    def _write(self, kind: str, **fields: object) -> dict[str, str]:
        made = str(uuid5(self._space, str(len(self.resources))))
        self.resources.append({"resourceType": kind, "id": made, **fields})
        return {"reference": f"{kind}/{made}"}

    def _about(self, encounter: dict[str, str] | None = None) -> Resource:
        return {"subject": self._patient} if encounter is None else {"subject": self._patient, "encounter": encounter}

    def encounter(self, at_s: int, reason: str, *, days: int = 0) -> dict[str, str]:
        """An out-patient visit of half an hour, or a stay of some days."""
        code, text = ("IMP", "住院") if days else ("AMB", "门诊")
        return self._write(
            "Encounter",
            status="finished",
            **{"class": {"system": f"{TERMINOLOGY}/v3-ActCode", "code": code, "display": text}},
            type=[{"text": text}],
            subject=self._patient,
            period={"start": instant(at_s), "end": instant(at_s + (days * DAY_S or 1_800))},
            reasonCode=[{"text": reason}],
            serviceProvider={"display": self._member.name_zh},
        )

    def condition(self, problem: Problem, at_s: int, *, resolved: bool = False) -> dict[str, str]:
        """A problem, recorded at that time; an acute one is resolved a week later."""
        over: Resource = {"abatementDateTime": instant(at_s + 7 * DAY_S)} if resolved else {}
        return self._write(
            "Condition",
            clinicalStatus=_plain("condition-clinical", "resolved" if resolved else "active"),
            verificationStatus=_plain("condition-ver-status", "confirmed"),
            category=[_plain("condition-category", "problem-list-item")],
            code=codes.concept(problem.text, (SNOMED, problem.snomed), (ICD10, problem.icd10)),
            **self._about(),
            onsetDateTime=instant(at_s),
            recordedDate=instant(at_s),
            **over,
        )

    def observation(self, measure: Measure, value: float, at_s: int, encounter: dict[str, str] | None = None) -> dict[str, str]:
        """One measured value, final."""
        return self._write(
            "Observation",
            status="final",
            category=[_plain("observation-category", measure.category)],
            code=codes.concept(measure.text, (LOINC, measure.loinc)),
            **self._about(encounter),
            effectiveDateTime=instant(at_s),
            issued=instant(at_s + 3_600),
            valueQuantity=codes.quantity(measure, value),
        )

    def pressure(self, systolic: float, diastolic: float, at_s: int, encounter: dict[str, str] | None = None) -> dict[str, str]:
        """A blood pressure panel with its two components."""
        loinc, text = codes.PRESSURE_PANEL
        return self._write(
            "Observation",
            status="final",
            category=[_plain("observation-category", codes.VITAL)],
            code=codes.concept(text, (LOINC, loinc)),
            **self._about(encounter),
            effectiveDateTime=instant(at_s),
            component=[
                {"code": codes.concept(part.text, (LOINC, part.loinc)), "valueQuantity": codes.quantity(part, value)}
                for part, value in ((codes.SBP, systolic), (codes.DBP, diastolic))
            ],
        )

    def smoking(self, at_s: int, *, smoker: bool) -> dict[str, str]:
        """The smoking status as told."""
        loinc, text = codes.SMOKING
        code, said = codes.SMOKING_STATUS[smoker]
        return self._write(
            "Observation",
            status="final",
            category=[_plain("observation-category", codes.SOCIAL)],
            code=codes.concept(text, (LOINC, loinc)),
            **self._about(),
            effectiveDateTime=instant(at_s),
            valueCodeableConcept=codes.concept(said, (SNOMED, code)),
        )

    def lipids(self, values: dict[Measure, float], at_s: int, encounter: dict[str, str] | None = None) -> dict[str, str]:
        """The four lipids of one sample and the report that holds them together."""
        results = [self.observation(measure, values[measure], at_s, encounter) for measure in codes.LIPIDS]
        loinc, text = codes.LIPID_PANEL
        return self._write(
            "DiagnosticReport",
            status="final",
            category=[codes.concept("检验", (f"{TERMINOLOGY}/v2-0074", "LAB"))],
            code=codes.concept(text, (LOINC, loinc)),
            **self._about(encounter),
            effectiveDateTime=instant(at_s),
            issued=instant(at_s + 2 * 3_600),
            performer=[{"display": f"{self._member.name_zh}检验科"}],
            result=results,
        )

    def statement(self, problem: Problem, medicine: Medicine, at_s: int) -> dict[str, str]:
        """A medicine the person is known to take."""
        return self._write(
            "MedicationStatement",
            status="active",
            medicationCodeableConcept=codes.concept(medicine.text, (codes.ATC, medicine.atc)),
            subject=self._patient,
            effectivePeriod={"start": instant(at_s)},
            dateAsserted=instant(at_s),
            reasonCode=[codes.concept(problem.text, (SNOMED, problem.snomed))],
            dosage=[_dosage(medicine)],
        )

    def request(self, problem: Problem, medicine: Medicine, at_s: int, encounter: dict[str, str]) -> dict[str, str]:
        """A medicine ordered at a visit."""
        return self._write(
            "MedicationRequest",
            status="active",
            intent="order",
            medicationCodeableConcept=codes.concept(medicine.text, (codes.ATC, medicine.atc)),
            **self._about(encounter),
            authoredOn=instant(at_s),
            reasonCode=[codes.concept(problem.text, (SNOMED, problem.snomed))],
            dosageInstruction=[_dosage(medicine)],
        )

    def allergy(self, known: tuple[str, str, str, str], at_s: int) -> dict[str, str]:
        """An allergy and how it showed."""
        code, text, category, reaction = known
        return self._write(
            "AllergyIntolerance",
            clinicalStatus=_plain("allergyintolerance-clinical", "active"),
            verificationStatus=_plain("allergyintolerance-verification", "confirmed"),
            type="allergy",
            category=[category],
            code=codes.concept(text, (SNOMED, code)),
            patient=self._patient,
            recordedDate=instant(at_s),
            reaction=[{"manifestation": [{"text": reaction}]}],
        )

    def strayed(self, health: Health, measures: Iterable[Measure]) -> dict[Measure, float]:
        """Return today's reading of some values: each within about three in a hundred of the true mean."""
        return {measure: health.values[measure] * self._rng.uniform(0.97, 1.03) for measure in measures}


def _plain(system: str, code: str) -> Resource:
    return {"coding": [{"system": f"{TERMINOLOGY}/{system}", "code": code}]}


def _dosage(medicine: Medicine) -> Resource:
    return {"text": medicine.dose, "timing": {"repeat": {"frequency": medicine.a_day, "period": 1, "periodUnit": "d"}}}


def _patient(who: Identity, member_id: str, local_id: str) -> Resource:
    district, line = who.address
    name = who.name
    return {
        "identifier": [
            {
                "use": "official",
                "type": codes.concept("居民身份证号码", (f"{TERMINOLOGY}/v2-0203", "NNCHN")),
                "system": ID_CARD_SYSTEM,
                "value": who.id_number,
            },
            {
                "use": "usual",
                "type": codes.concept("病历号", (f"{TERMINOLOGY}/v2-0203", "MR")),
                "system": local_system(member_id),
                "value": local_id,
                "assigner": {"display": member(member_id).name_zh},
            },
        ],
        "active": True,
        "name": [
            {
                "extension": [{"url": _REPRESENTATION, "valueCode": "IDE"}],
                "use": "official",
                "text": name.zh,
                "family": name.family_zh,
                "given": [name.given_zh],
            },
            {
                "extension": [{"url": _REPRESENTATION, "valueCode": "ABC"}],
                "text": f"{name.family_pinyin} {name.given_pinyin}",
                "family": name.family_pinyin,
                "given": [name.given_pinyin],
            },
        ],
        "telecom": [{"system": "phone", "value": who.phone, "use": "mobile"}],
        "gender": who.sex,
        "birthDate": who.birth_date,
        "address": [
            {
                "use": "home",
                "text": f"{PROVINCE}{CITY}{district}{line}",
                "line": [line],
                "district": district,
                "city": CITY,
                "state": PROVINCE,
                "country": "CN",
            }
        ],
    }
