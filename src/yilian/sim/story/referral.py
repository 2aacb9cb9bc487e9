"""The referral itself: up to the hospital with the patient's grants, through its inbox, and back down with the hospital's summary."""

import asyncio
import json
import secrets
from typing import Any

from yilian.base.digests import sha256
from yilian.base.shapes import pack
from yilian.node import referral_papers, referring
from yilian.sim.population.chart import instant
from yilian.sim.practitioners import Seated
from yilian.sim.story.tale import CARRIER, CLINIC, HOSPITAL, StoryBroken, Tale, name, now_s
from yilian.wallet import Wish

DELIVERED_WITHIN_S = 10  # the message to the other side is posted right after the entry; a busy machine may take its time
LOOK_S = 0.02


async def requested(tale: Tale) -> None:
    """Refer with the grants that were given, in one act of patient and doctor."""
    tell, doctor = tale.tell, tale.seat("dr-chen")
    tell.scene("上转：转诊申请", "Up: the referral")
    body = json.dumps(
        {
            "resourceType": "ServiceRequest",
            "status": "active",
            "intent": "order",
            "priority": "routine",
            "code": {"text": "心内科诊治"},
            "subject": {"reference": f"Patient/{tale.patient_at(CLINIC)}"},
            "authoredOn": instant(now_s()),
            "reasonCode": [{"text": "血压控制不佳，十年心血管风险高"}],
        },
        ensure_ascii=False,
    ).encode()
    given = [one.control_key for (_, requester), one in tale.grants.items() if requester == HOSPITAL]
    handed = tuple([referral_papers.HandedGrant(key, await tale.phone.bundle(key, HOSPITAL)) for key in given])
    referral_id = secrets.token_bytes(16)
    signature = await doctor.sign_intent(tale.town.region.network, "referral.request", [referral_id, HOSPITAL, sha256(body)])
    ask = referring.Ask(referral_id, tale.patient_at(CLINIC), HOSPITAL, body, handed, doctor.public_key, signature)
    said, elapsed_ms = await tale.timed(tale.software(CLINIC).call("POST", "/referrals", pack(ask)))
    row = said.json()
    tale.referral = row["from_key"]
    tell.say(
        f"陈医生签发转诊单给{name(HOSPITAL)[0]}，附两份授权；内容密封给对方，账上只有一次性公钥、承诺和阶段。",
        "Dr Chen refers to the hospital with both grants; the papers are sealed to it, the ledger has keys, a commitment, a stage.",
    )
    tell.fact("entry", f"{row['entry']} referral.request, final after {elapsed_ms:.0f} ms")


async def accepted(tale: Tale) -> None:
    """Find the referral in the hospital's inbox, accept it, and register the newcomer."""
    tell, doctor = tale.tell, tale.seat("dr-zhao")
    tell.scene(f"{name(HOSPITAL)[0]}：收件箱", "The hospital's inbox")
    waiting, elapsed_ms = await tale.timed(_in_inbox(tale))
    tell.fact(
        "inbox", f"{len(waiting)} waiting, {waiting[0]['status']} from {waiting[0]['peer']}; seen {elapsed_ms:.0f} ms after the request"
    )
    row = await _step(tale, HOSPITAL, "accept", doctor)
    tale.hospital_patient = row["patient_id"]
    await _step(tale, HOSPITAL, "start", doctor)
    tell.say(
        "赵医生接收转诊，开始诊治；社区医生和患者随即得知。", "Dr Zhao accepts and begins; the community doctor and the patient are told."
    )


async def sent_down(tale: Tale) -> None:
    """Close the loop: complete with the summary, send the patient back down, and let the clinic read."""
    tell, doctor = tale.tell, tale.seat("dr-zhao")
    tell.scene("下转：回到社区", "Down: back to the community")
    summary = json.dumps(_summary(tale), ensure_ascii=False).encode()
    await _step(tale, HOSPITAL, "complete", doctor, summary)
    await _step(tale, HOSPITAL, "down", doctor)
    tell.say(
        "医院出具小结，患者转回社区随访；转诊闭环。",
        "The hospital writes its summary and sends the patient back to the community: the loop is closed.",
    )
    found = await _summary_at_clinic(tale)
    tell.fact(
        "summary",
        f"Composition/{found['id'][:12]}... is in the clinic's own chart: {found['section'][0]['text']['div'].count('。')} sentences",
    )
    wish = Wish(HOSPITAL, CLINIC, "TREAT", 31, 5, resource_types=("Condition", "MedicationRequest"))
    given, elapsed_ms = await tale.timed(tale.phone.give(wish, CARRIER))
    tale.grants[HOSPITAL, CLINIC] = given
    tell.fact("entry", f"{given.index} consent.give, {CLINIC} at {HOSPITAL}, final after {elapsed_ms:.0f} ms")
    family_doctor = tale.seat("dr-chen")
    presence = await tale.present(CLINIC, family_doctor, [HOSPITAL])
    release = await tale.read(CLINIC, HOSPITAL, "MedicationRequest", family_doctor, presence[HOSPITAL])
    tell.say(
        f"随访时陈医生读到医院开的 {len(release.resources)} 种药。",
        f"At the follow-up Dr Chen reads the {len(release.resources)} medicines that the hospital ordered.",
    )


async def _in_inbox(tale: Tale) -> list[dict[str, Any]]:
    """Return the hospital's inbox once the referral is in it.

    Raises   StoryBroken
    """
    async with asyncio.timeout(DELIVERED_WITHIN_S):
        while True:
            said = (await tale.software(HOSPITAL).call("GET", "/referrals?side=received")).json()
            rows: list[dict[str, Any]] = [row for row in said["referrals"] if row["from_key"] == tale.referral]
            if rows:
                return rows
            await asyncio.sleep(LOOK_S)


async def _step(tale: Tale, at: str, act: str, who: Seated, document: bytes | None = None) -> dict[str, Any]:
    """Take a step of the referral, signed by who takes it, and show its entry."""
    from_key = bytes.fromhex(tale.referral)
    signature = await who.sign_intent(tale.town.region.network, f"referral.{act}", [from_key, sha256(document or b"")])
    asked = referring.StepAsk(who.public_key, signature, document)
    said, elapsed_ms = await tale.timed(tale.software(at).call("POST", f"/referrals/{tale.referral}/{act}", pack(asked)))
    row: dict[str, Any] = said.json()
    tale.tell.fact("entry", f"{row['steps'][-1]['entry']} referral.{act}, final after {elapsed_ms:.0f} ms")
    return row


async def _summary_at_clinic(tale: Tale) -> dict[str, Any]:
    """Return the Composition once it has arrived in the clinic's chart."""
    async with asyncio.timeout(DELIVERED_WITHIN_S):
        while True:
            found = await tale.software(CLINIC).search(f"Composition?subject=Patient/{tale.patient_at(CLINIC)}")
            if found:
                return found[0]
            await asyncio.sleep(LOOK_S)
    raise StoryBroken("the summary did not arrive")


def _summary(tale: Tale) -> dict[str, Any]:
    text = "诊断：原发性高血压，血脂异常。处理：氨氯地平，阿托伐他汀。复用了外院血脂结果，未重复检查。建议：社区随访，四周后复查血压。"
    return {
        "resourceType": "Composition",
        "status": "final",
        "type": {"coding": [{"system": "http://loinc.org", "code": "11488-4"}], "text": "会诊小结"},
        "subject": {"reference": f"Patient/{tale.hospital_patient}"},
        "date": instant(now_s()),
        "author": [{"display": tale.seat("dr-zhao").who.name_zh}],
        "title": "转诊小结",
        "section": [
            {
                "title": "小结",
                "text": {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{text}</p></div>'},
            }
        ],
    }
