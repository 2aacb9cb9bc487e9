"""The hospital: the patient arrives, his history is seen at once, he is treated."""

from typing import Any

from yilian.sim.population.chart import instant
from yilian.sim.software import Release
from yilian.sim.story.tale import CARRIER, CLINIC, HOSPITAL, KNOWN, Tale, name, now_s
from yilian.wallet import Wish

TYPES = ("AllergyIntolerance", "Condition", "Encounter", "MedicationRequest", "MedicationStatement", "Observation", "Patient")
DAYS, USES = 31, 5


async def granted(tale: Tale) -> None:
    """Give the grants that the referral needs: one per holder, each a transaction of its own."""
    tell = tale.tell
    tell.scene("患者授权", "The patient grants")
    tell.say(
        "林国栋在手机上读到：谁、什么、为何、到何时；同意后每家持有方一份授权。上账的只有一次性公钥和承诺。",
        "On his phone he reads who, what, why, until when: one grant per holder. The ledger gets one-time keys and a commitment.",
    )
    for holder in (CLINIC, KNOWN):
        wish = Wish(holder, HOSPITAL, "TREAT", DAYS, USES, resource_types=TYPES if holder == CLINIC else ("Observation",))
        given, elapsed_ms = await tale.timed(tale.phone.give(wish, CARRIER))
        tale.grants[holder, HOSPITAL] = given
        tell.fact(
            "entry",
            f"{given.index} consent.give, {HOSPITAL} at {holder}, final after {elapsed_ms:.0f} ms, grant {given.control_key.hex()[:16]}...",
        )


async def arrived(tale: Tale) -> None:
    """Come to the hospital's desk, where two staff see the identity card, and enrol the wallet."""
    tell, hospital = tale.tell, tale.software(HOSPITAL)
    tell.scene(f"{name(HOSPITAL)[0]}：到院", "Arrival at the hospital")
    _, elapsed_ms = await tale.timed(tale.phone.enrol(hospital, tale.hospital_patient, tale.town.staff(HOSPITAL)))
    tell.say(
        "挂号窗口两名工作人员核对身份证，登记他的钱包公钥；没有任何密码离开手机。",
        "Two staff at the desk see his identity card and enrol his wallet's key; no secret leaves the phone.",
    )
    tell.fact("enrolled", f"{elapsed_ms:.0f} ms, two signatures of staff, level 2")


async def history_seen(tale: Tale) -> Release:
    """Read what the clinic and the other hospital know; return what the other hospital has."""
    tell, doctor = tale.tell, tale.seat("dr-zhao")
    tell.scene("病史：两家机构，一眼看到", "History from two institutions, at once")
    tell.say(
        "赵医生的屏幕显示二维码，患者看清“心血管病医院”后用手机应答（到场证明），半小时就诊时段开始。",
        "Dr Zhao's screen shows a code; the patient reads whose it is and answers (presence proof): half an hour's session opens.",
    )
    presence = await tale.present(HOSPITAL, doctor, [CLINIC, KNOWN])
    await tale.read(HOSPITAL, CLINIC, "Observation?_count=200", doctor, presence[CLINIC])
    for kind in ("Condition", "MedicationStatement", "AllergyIntolerance"):
        await tale.read(HOSPITAL, CLINIC, kind, doctor)
    known = await tale.read(HOSPITAL, KNOWN, "Observation?_count=200", doctor, presence[KNOWN])
    tell.say(
        "每一次调阅都先成为账本条目，然后才放出字节；病历本身从不上账。",
        "Each reading was an entry on the ledger before a byte left; the records themselves never reach it.",
    )
    return known


async def treated(tale: Tale) -> None:
    """Write what the hospital finds and orders into its own chart."""
    tell, hospital = tale.tell, tale.software(HOSPITAL)
    subject, at = {"reference": f"Patient/{tale.hospital_patient}"}, instant(now_s())
    encounter = await hospital.fhir(
        "POST",
        "Encounter",
        {
            "resourceType": "Encounter",
            "status": "finished",
            "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
            "subject": subject,
            "period": {"start": at, "end": at},
        },
    )
    written = {"Encounter": encounter["id"]}
    for body in _findings(subject, {"reference": f"Encounter/{encounter['id']}"}, at):
        written[body["resourceType"]] = (await hospital.fhir("POST", body["resourceType"], body))["id"]
    tell.say(
        "确诊原发性高血压和血脂异常，开氨氯地平和阿托伐他汀，记入医院自己的病历。",
        "Hypertension and dyslipidaemia are diagnosed, amlodipine and atorvastatin ordered, and written into the hospital's own chart.",
    )
    tell.fact("written", ", ".join(written))


def _findings(subject: dict[str, str], encounter: dict[str, str], at: str) -> list[dict[str, Any]]:
    confirmed = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-ver-status", "code": "confirmed"}]}
    active = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]}
    condition = {
        "resourceType": "Condition",
        "clinicalStatus": active,
        "verificationStatus": confirmed,
        "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "I10"}], "text": "原发性高血压"},
        "subject": subject,
        "encounter": encounter,
        "recordedDate": at,
    }
    orders = [
        {
            "resourceType": "MedicationRequest",
            "status": "active",
            "intent": "order",
            "medicationCodeableConcept": {"coding": [{"system": "http://www.whocc.no/atc", "code": code}], "text": text},
            "subject": subject,
            "encounter": encounter,
            "authoredOn": at,
        }
        for code, text in (("C08CA01", "氨氯地平片 5 mg 每日一次"), ("C10AA05", "阿托伐他汀钙片 20 mg 每晚一次"))
    ]
    return [condition, *orders]
