"""What the patient sees and decides, and who does not get in."""

import secrets
from pathlib import Path
from urllib.parse import quote

import httpx

from yilian.base.artefacts import ReadRequest, intent_statement
from yilian.base.keys import SEED_SIZE, SigningKey
from yilian.ledger import verify
from yilian.sim.phones import Phone
from yilian.sim.population import HE_NUMBER, ID_CARD_SYSTEM
from yilian.sim.software import EMERGENCY, asked
from yilian.sim.story.tale import CARRIER, CLINIC, HOSPITAL, KNOWN, StoryBroken, Tale, name

EXPORT = "entry.yilian"


async def log_checked(tale: Tale) -> None:
    """Let the patient see every access at every holder, and check that none is missing."""
    tell = tale.tell
    tell.scene("患者：看见每一次调阅", "The patient sees every access")
    tell.say(
        "钱包向每家机构取访问日志和证明，自己核对：序号没有缺口，下一个号码确实不存在，账本是上次所见账本的延续。",
        "The wallet fetches each holder's log with its proofs and checks alone: no gap, the next numbers absent, one log.",
    )
    for holder in await tale.phone.holders():
        await _one_log(tale, tale.phone, holder)


async def _one_log(tale: Tale, phone: Phone, holder: str) -> None:
    report, elapsed_ms = await tale.timed(phone.check_log(holder))
    if not report.is_clean:
        raise StoryBroken(f"the log at {holder} is not whole: {[found.en for found in report.findings]}")
    number = len(report.lines)
    counted = f"{number} {'access' if number == 1 else 'accesses'}"
    under = f" ({'entry' if number == 1 else 'entries'} {', '.join(str(line.index) for line in report.lines)})" if number else ""
    tale.tell.fact(holder, f"{counted}{under}, whole; root signed by {', '.join(report.vouched_by)}; {elapsed_ms:.0f} ms")


async def exported(tale: Tale) -> Path:
    """Write a file about one access, and check it without any node. Return the file."""
    tell = tale.tell
    release = tale.releases[0]
    url = f"{tale.town.region.urls[HOSPITAL]}/network/exports/{release.entry_index}"
    data = (await asked(tale.town.client, "GET", url)).content
    file = tale.town.region.home / EXPORT
    file.write_bytes(data)
    report = verify(data, network=tale.town.region.network)
    entry = next(one for one in report.entries if one.index == release.entry_index)
    tell.say(
        "患者导出一份文件：任何人不联网、不信任我们，也能核对这次调阅确实记了账。",
        "The patient exports a file by which anybody checks, offline and without trusting us, that this access was entered.",
    )
    tell.fact(
        "verified", f"entry {entry.index} {entry.kind} by {entry.carrier}, receipt of {', '.join(entry.signers)}; {len(data):,} bytes"
    )
    if not entry.is_quorum:
        tell.fact("note", "one operator vouches: with witnesses or validators it would be a quorum")
    return file


async def revoked(tale: Tale) -> None:
    """Take a grant back; the next read is refused and nothing leaves."""
    tell = tale.tell
    tell.scene("患者：撤回授权", "The patient takes a grant back")
    grant = tale.grants[KNOWN, HOSPITAL]
    entered, elapsed_ms = await tale.timed(tale.phone.revoke(grant.control_key, CARRIER))
    tell.say(
        f"{name(HOSPITAL)[0]}对{name(KNOWN)[0]}病历的授权被撤回：持有方立即拒绝，账本从此为证。",
        "The grant for the records at the First Hospital is revoked: the holder refuses at once, and the ledger says so for ever.",
    )
    tell.fact("entry", f"{entered.index} consent.revoke, final after {elapsed_ms:.0f} ms")
    no = await tale.refused(tale.software(HOSPITAL).read(KNOWN, "Observation", tale.seat("dr-zhao"), grant=grant.control_key))
    if no.status != httpx.codes.FORBIDDEN:
        raise StoryBroken(f"a revoked grant is answered {no}")


async def emergency(tale: Tale) -> None:
    """Break the glass for another patient, and see what follows from it."""
    tell, town = tale.tell, tale.town
    he = next(person for person in town.people if person.number == HE_NUMBER)
    tell.scene("紧急调阅：有后果的破窗", "An emergency: glass broken, with consequences")
    tell.say(
        "何秀兰昏倒被送到第一人民医院。吴医生凭身份证号、写明理由，向心血管病医院紧急调阅；没有授权，也没有患者在场。",
        "He Xiulan is brought in unconscious. Dr Wu, with her identity number and a reason, breaks the glass elsewhere.",
    )
    path = f"Patient/$emergency?identifier={quote(f'{ID_CARD_SYSTEM}|{he.id_number}', safe='')}"
    reason = "昏迷送诊，需了解用药与过敏"
    reading = town.software[KNOWN].read(HOSPITAL, path, town.seats["dr-wu"], reason=reason, purpose=EMERGENCY)
    release, elapsed_ms = await tale.timed(reading)
    tale.show(f"{HOSPITAL} -> {KNOWN}", "resources of the emergency set", release, elapsed_ms)
    tell.fact(
        "named", f"entry {release.entry_index} names {KNOWN} for all to see; it costs one of its emergencies; a review is due within 72 h"
    )
    told = (await town.phone(he).notices(HOSPITAL))[-1]
    tell.say(f"她的手机收到通知：{told['zh']}", f"Her phone is told: {told['en']}")
    await _one_log(tale, town.phone(he), HOSPITAL)


async def strangers(tale: Tale) -> None:
    """Try to get in without a right: another member's doctor, a stolen node, somebody with a thief's key."""
    tell, town = tale.tell, tale.town
    tell.scene("不速之客", "Strangers")
    tell.say("东岭社区的冯医生好奇，没有授权：", "Dr Feng of another clinic is curious, and has no grant:")
    await tale.refused(town.software["clinic-2"].read(KNOWN, "Observation", town.seats["dr-feng"]))
    tell.say(
        "小偷拿到了医院的节点和全部数据库，用自己造的医生密钥签名，出示一份有效的授权：",
        "A thief has the hospital's node and whole database, signs with a doctor's key of his own making, and shows a live grant:",
    )
    grant = tale.grants[CLINIC, HOSPITAL].control_key
    await tale.refused(town.software[HOSPITAL].read(CLINIC, "Observation", Thief(), grant=grant))


class Thief:
    """A key that no member registered."""

    def __init__(self) -> None:
        """Make the key."""
        self._key = SigningKey(secrets.token_bytes(SEED_SIZE))

    @property
    def public_key(self) -> bytes:
        """The key that the thief made."""
        return self._key.public_key

    async def sign_read(self, network: bytes, request: ReadRequest) -> bytes:
        """Sign, rightly, with the wrong key."""
        return self._key.sign(request.statement(network))

    async def sign_intent(self, network: bytes, act: str, facts: list[bytes | str | int]) -> bytes:
        """Sign another act, with the same wrong key."""
        return self._key.sign(intent_statement(network, HOSPITAL, act, facts))
