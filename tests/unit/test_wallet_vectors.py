"""vectors/wallet.json: from a seed to keys, tags, statements and signatures, so that a wallet in another language can be compared.

Written by `python -m tests.unit.test_wallet_vectors`; a released vector is never changed, only added to.
"""

import json
from dataclasses import asdict, replace
from pathlib import Path

from yilian.base import artefacts
from yilian.base.artefacts import Challenge
from yilian.base.consents import Terms, build, parse
from yilian.base.digests import grant_tag, key_tag, sha256
from yilian.base.handovers import chart_key_info
from yilian.base.keys import SigningKey, is_signed, kid_of
from yilian.base.seal import open_as_patient, patient_public, seal_to_patient
from yilian.base.times import month_of
from yilian.base.transaction import Header, act_bytes, approval_message, approve, parse_header
from yilian.contracts import consent

FILE = Path(__file__).parents[2] / "vectors" / "wallet.json"
NETWORK, SEED, CHART_KEY = sha256(b"vector network"), bytes(range(32)), sha256(b"vector K")
NOW_S, HOLDER, REQUESTER = 1_800_000_000, "hospital-1", "clinic-1"
ENROL_NONCE, CONSENT_KEY, REQUEST_ID = sha256(b"enrol nonce"), sha256(b"k"), sha256(b"request")[:16]


def signed(pair, statement):
    return {"key": pair.public_key.hex(), "statement": statement.hex(), "signature": pair.sign(statement).hex()}


def pair_of(holder, generation=1):
    return SigningKey(artefacts.relationship_seed(SEED, NETWORK, holder, generation))


def relationships():
    made = []
    for holder, generation in [(HOLDER, 1), (HOLDER, 2), (REQUESTER, 1)]:
        pair, secret = pair_of(holder, generation), artefacts.sealing_secret(SEED, NETWORK, holder, generation)
        keys = (pair.public_key, patient_public(secret))
        statement = artefacts.enrol_statement(NETWORK, holder, generation, ENROL_NONCE, keys)
        said = {
            "holder": holder,
            "generation": generation,
            "nonce": ENROL_NONCE.hex(),
            "R_h seed": pair.seed.hex(),
            "S_h secret": secret.hex(),
        }
        made.append(said | {"S_h": keys[1].hex(), "enrol": signed(pair, statement)})
    return made


def terms():
    control = SigningKey(artefacts.control_seed(SEED, NETWORK, HOLDER, 0)).public_key
    end_s = (NOW_S // 86_400 + 31) * 86_400
    plain = Terms(control, kid_of(pair_of(HOLDER).public_key), HOLDER, REQUESTER, "TREAT", NOW_S, end_s, 5)
    named = {
        "resource_types": ("Condition", "Observation"),
        "labels_allowed": ("R",),
        "labels_denied": ("HIV",),
        "practitioner": sha256(b"p"),
    }
    times = {"interval_s": 43_200, "data_from_s": NOW_S - 86_400 * 365, "data_until_s": NOW_S, "erase_at_s": end_s + 86_400}
    return [plain, replace(plain, **named, **times, role="physician")]


def grants():
    made = []
    for number, said in enumerate(terms()):
        control = SigningKey(artefacts.control_seed(SEED, NETWORK, HOLDER, 0))
        consent_bytes = build(said)
        commitment = artefacts.consent_commitment(NETWORK, CONSENT_KEY, consent_bytes)
        sides = [SigningKey(sha256(f"side {number} {n}".encode())).public_key for n in range(2)]
        message = consent.Give(control.public_key, *sides, commitment, said.until_s, said.uses_max, said.interval_s)
        acts = [(20, "consent.give", consent.KINDS[0].body(message)), (21, "consent.revoke", {1: control.public_key})]
        made.append(
            {
                "terms": {name: value.hex() if isinstance(value, bytes) else value for name, value in asdict(said).items()},
                "consent": consent_bytes.decode(),
                "k": CONSENT_KEY.hex(),
                "commitment": commitment.hex(),
                "signed by R_h": signed(pair_of(HOLDER), artefacts.consent_statement(NETWORK, consent_bytes)),
                "acts": [approved(control, *act) for act in acts],
                "revoked": signed(control, artefacts.revoked_statement(NETWORK, control.public_key, NOW_S)) | {"revoked_at_s": NOW_S},
                "tags": [grant_tag(control.public_key, entries).hex() for entries in range(3)],
            }
        )
    return made


def approved(control, kind, kind_name, body):
    carrier = SigningKey(sha256(b"carrier"))
    header = Header(NETWORK, carrier.kid, REQUESTER, kind_name, NOW_S + 120, 7).encoded()
    act = act_bytes(kind, body)
    key, signature = approve(control, header, act)
    message = approval_message(header, act)
    return {"header": header.hex(), "act": act.hex(), "message": message.hex(), "key": key.hex(), "signature": signature.hex()}


def months():
    month = month_of(NOW_S)
    secret = artefacts.month_key(CHART_KEY, NETWORK, month)
    pairs = [SigningKey(artefacts.entry_seed(secret, NETWORK, number)) for number in range(3)]
    event = '{"resourceType":"AuditEvent","note":"检验"}'
    entries = []
    for number, pair in enumerate(pairs):
        tag = key_tag(pair.public_key)
        d = artefacts.detail_key(secret, NETWORK, tag)
        shown = {"number": number, "pk_n": pair.public_key.hex(), "tag": tag.hex(), "d": d.hex()}
        entries.append(shown | {"audit event": event, "detail": artefacts.detail(d, NETWORK, event.encode()).hex()})
    return {"K": CHART_KEY.hex(), "month": month, "t_m": secret.hex(), "SHA-256(t_m)": sha256(secret).hex(), "entries": entries}


def requests():
    challenge = Challenge(REQUESTER, sha256(b"p"), "TREAT", sha256(b"n"), NOW_S, sha256(b"root"))
    pair, until_s = pair_of(HOLDER), NOW_S + 300
    digest = challenge.digest(NETWORK)
    return {
        "challenge": {"statement": challenge.statement(NETWORK).hex(), "digest": digest.hex()},
        "presence": signed(pair, artefacts.presence_statement(NETWORK, digest, HOLDER, until_s)),
        "own reading": signed(pair, artefacts.own_reading_statement(NETWORK, HOLDER, "/fhir/Patient/1", REQUEST_ID, until_s)),
        "log": signed(pair, artefacts.log_statement(NETWORK, HOLDER, month_of(NOW_S), ENROL_NONCE, until_s)),
    }


def vectors():
    return {
        "network": NETWORK.hex(),
        "seed": SEED.hex(),
        "relationships": relationships(),
        "grants": grants(),
        "log": months(),
        "requests": requests(),
    }


def info():
    return chart_key_info(NETWORK, HOLDER, pair_of(HOLDER).public_key, 1)


def kept():
    return json.loads(FILE.read_text())


def test_the_code_still_makes_every_vector():
    said = kept()
    said.pop("sealed chart key")
    assert json.loads(json.dumps(vectors())) == said


def test_what_was_sealed_to_the_wallet_opens():
    sealed = kept()["sealed chart key"]
    secret = bytes.fromhex(kept()["relationships"][0]["S_h secret"])
    assert sealed["info"] == info().hex()
    assert open_as_patient(secret, info(), bytes.fromhex(sealed["sealed"])) == CHART_KEY


def test_the_vectors_hold_by_themselves():
    said = kept()
    for grant in said["grants"]:
        assert parse(grant["consent"].encode()).control_key.hex() == grant["acts"][0]["key"]
        for act in grant["acts"]:
            key, message, signature = (bytes.fromhex(act[name]) for name in ("key", "message", "signature"))
            assert is_signed(key, message, signature)
            assert parse_header(bytes.fromhex(act["header"])).network.hex() == said["network"]
    for each in [
        *(one["enrol"] for one in said["relationships"]),
        *(said["requests"][name] for name in ("presence", "own reading", "log")),
    ]:
        assert is_signed(*(bytes.fromhex(each[name]) for name in ("key", "statement", "signature")))
    assert len({act["signature"] for grant in said["grants"] for act in grant["acts"]}) == 3  # one revoke of one key in one envelope


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    sealing = patient_public(artefacts.sealing_secret(SEED, NETWORK, HOLDER, 1))
    sealed = {"info": info().hex(), "sealed": seal_to_patient(sealing, info(), CHART_KEY).hex()}
    FILE.write_text(json.dumps(vectors() | {"sealed chart key": sealed}, indent=1, ensure_ascii=False) + "\n")
