"""A hospital that holds records, a clinic whose doctor asks for them, a patient with a wallet: the release gate over HTTP, time given."""

import json
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count

from tests.alliance_worlds import Alliance, alliance, seed, talking
from yilian.base.artefacts import ReadRequest
from yilian.base.codec import decode, encode
from yilian.base.handovers import EnrolAsk, GrantKey, Relationship, SignedChallenge
from yilian.base.keys import SigningKey
from yilian.base.shapes import pack, unpack
from yilian.base.transaction import act_bytes
from yilian.node.asking import PresenceShown
from yilian.node.enrolment import Desk, desk_statement
from yilian.node.requesting import Reading, read_elsewhere
from yilian.node.tokens import ASSERTION_TYPE, own_assertion
from yilian.wallet import Members, Wallet, WalletState, Wish

HOLDER, REQUESTER = "hospital-1", "clinic-1"
SYSTEM = "urn:test:insurance"
PENICILLIN = {"coding": [{"system": "http://snomed.info/sct", "code": "91936005"}]}
GLUCOSE = {"coding": [{"system": "http://loinc.org", "code": "2339-0"}]}
_numbers = count(1)


def a_request_id():
    return seed("request", next(_numbers))[:16]


class Patient:
    """A person with a chart at the holder and a wallet of his own."""

    def __init__(self, name, genesis):
        self.id = name
        self.number = f"no-{name}"
        self.wallet = Wallet.of(seed("wallet", name), Members.of(genesis))
        self.state = WalletState()

    def resources(self):
        subject = {"reference": f"Patient/{self.id}"}
        category = [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "laboratory"}]}]

        def result(name, when, *labels):
            system = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
            meta = {"meta": {"security": [{"system": system, "code": one} for one in labels]}}
            return {
                "resourceType": "Observation",
                "id": f"{self.id}-{name}",
                **(meta if labels else {}),
                "status": "final",
                "category": category,
                "code": GLUCOSE,
                "subject": subject,
                "effectiveDateTime": when,
                "valueQuantity": {"value": 5.1, "unit": "mmol/L"},
            }

        return [
            {"resourceType": "Patient", "id": self.id, "identifier": [{"system": SYSTEM, "value": self.number}], "gender": "female"},
            result("old", "2020-03-01T08:00:00Z"),
            result("new", "2026-12-01T08:00:00Z"),
            result("closed", "2026-12-02T08:00:00Z", "R"),
            {
                "resourceType": "Condition",
                "id": f"{self.id}-condition",
                "code": {"text": "hypertension"},
                "subject": subject,
                "recordedDate": "2026-11-01T08:00:00Z",
            },
            {"resourceType": "AllergyIntolerance", "id": f"{self.id}-allergy", "code": PENICILLIN, "patient": subject},
        ]


class Ward:
    """The gate with everything around it. `read` is what a doctor's software does; it returns the HTTP answer."""

    def __init__(self, running: Alliance):
        self.running, self.clock = running, running.clock
        self.client = talking(timeout=30)
        self.patients, self.tokens, self.doctors = {}, {}, {}

    @property
    def holder(self):
        return self.running.nodes[HOLDER]

    @property
    def requester(self):
        return self.running.nodes[REQUESTER]

    @property
    def now_s(self):
        return self.clock.now_ms // 1_000

    @property
    def network(self):
        return self.running.genesis.network_id

    @property
    def engine(self):
        return self.running.engine

    def entries(self):
        return self.engine.read().chain.log.size

    async def prepare(self):
        """Register a doctor at the clinic and two clerks at the hospital."""
        self.doctor = await self.running.doctor(REQUESTER)
        self.second = await self.running.doctor(REQUESTER, name="second")
        self.clerks = [await self.running.doctor(HOLDER, "clerk", name) for name in ("clerk-1", "clerk-2")]
        self.ward_doctor = await self.running.doctor(HOLDER, name="ward")

    def person(self, name):
        patient = self.patients[name] = Patient(name, self.running.genesis)
        for one in patient.resources():
            self.holder.store.update(one["resourceType"], one["id"], json.dumps(one).encode())
        return patient

    # the member's own software

    async def own(self, member):
        """Return the headers with which the member's own software speaks to its node."""
        node = self.running.nodes[member]
        held = self.tokens.get(member)
        if held is None or held[1] <= self.now_s:
            key = SigningKey(node.folder.own_client.read_bytes())
            url = node.tokens.endpoint
            form = {
                "grant_type": "client_credentials",
                "client_assertion_type": ASSERTION_TYPE,
                "client_assertion": own_assertion(key, url, self.now_s),
            }
            answer = await self.client.post(url, data=form)
            assert answer.status_code == 200, answer.text
            held = self.tokens[member] = (answer.json()["access_token"], self.now_s + 200)
        return {"Authorization": f"Bearer {held[0]}"}

    # the desk

    async def desk(self, patient, clerks=None, level=2, generation=0, member=HOLDER):
        """Return the answer to opening the desk for a person, and the nonce."""
        nonce = seed("desk", next(_numbers))
        desk = Desk(patient.id, generation, level, "id-card", nonce)
        statement = desk_statement(self.network, HOLDER, desk)
        signed = [[key.public_key, key.sign(statement)] for key in (self.clerks if clerks is None else clerks)]
        body = encode([[desk.patient_id, generation, level, desk.method, nonce], signed])
        url = self.running.urls[HOLDER] + "/desk/offer"
        return await self.client.post(url, content=body, headers=await self.own(member)), nonce

    async def enrol(self, patient):
        """Enrol a patient at the desk; the wallet knows K afterwards."""
        answer, nonce = await self.desk(patient)
        assert answer.status_code == 200, answer.text
        patient.state, said = patient.wallet.enrol(patient.state, unpack(EnrolAsk, answer.content), self.now_s)
        answer = await self.client.post(f"{self.running.urls[HOLDER]}/desk/enrolment/{nonce.hex()}", content=pack(said))
        assert answer.status_code == 200, answer.text
        patient.state = patient.wallet.admit(patient.state, unpack(Relationship, answer.content))
        return nonce, said

    # grants

    async def carried(self, member, act, approve):
        """Have an act carried: header, approval, submit. Returns the HTTP answer."""
        url = self.running.urls[member]
        header = await self.client.post(url + "/network/header", content=encode(act.kind_name))
        assert header.status_code == 200, header.text
        approval = approve(header.content)
        body = encode([header.content, act_bytes(act.kind, act.body), [list(approval)]])
        return await self.client.post(url + "/network/submit", content=body)

    async def give(self, patient, *, carrier=REQUESTER, hand_over=True, **wish):
        """Give the clinic a grant at the hospital and hand it over; return its control key."""
        terms = {"purpose": "TREAT", "days": 8, "uses_max": 5} | wish
        sides = []
        for member in (HOLDER, terms.get("requester", REQUESTER)):
            answer = await self.client.post(self.running.urls[member] + "/network/grant-key")
            sides.append(unpack(GrantKey, answer.content))
        wanted = Wish(**({"holder": HOLDER, "requester": REQUESTER} | terms))
        patient.state, act = patient.wallet.draft(patient.state, wanted, tuple(sides), self.now_s, seed("k", next(_numbers)))

        def approve(header):
            return patient.wallet.approve_give(patient.state, act.control_key, header, self.now_s)

        answer = await self.carried(carrier, act, approve)
        assert answer.status_code == 200, answer.text
        patient.state = patient.wallet.note_index(patient.state, act.control_key, decode(answer.content)[1], is_revoke=False)
        if hand_over:
            sealed = patient.wallet.bundle(patient.state, act.control_key, wanted.requester)
            answer = await self.client.post(
                self.running.urls[wanted.requester] + "/network/grants", content=encode([act.control_key, sealed])
            )
            assert answer.status_code == 204, answer.text
        return act.control_key

    async def granted(self, name):
        """Return a person who enrolled and gave the clinic a grant that was read with once, and the grant's control key."""
        patient = self.person(name)
        await self.enrol(patient)
        control_key = await self.give(patient)
        assert (await self.read("/fhir/Observation", control_key, patient=patient)).status == 200
        return patient, control_key

    async def revoke(self, patient, control_key, *, tell=True, enter=True):
        """End a grant: tell the holder, enter it on the ledger, or only one of these."""
        patient.state, notice, act = patient.wallet.revoke(patient.state, control_key, self.now_s)
        if tell:
            answer = await self.client.post(self.running.urls[HOLDER] + "/network/revoked", content=pack(notice))
            assert answer.status_code == 204, answer.text
        if enter:
            answer = await self.carried(
                REQUESTER, act, lambda header: patient.wallet.approve_revoke(patient.state, control_key, header, self.now_s)
            )
            assert answer.status_code == 200, answer.text
        return notice

    # presence

    async def present(self, patient, doctor=None, purpose="TREAT", member=REQUESTER):
        """Show the desk's challenge to the wallet; return what travels with the request."""
        doctor = doctor or self.doctor
        body = encode([doctor.public_key, purpose, seed("challenge", next(_numbers))])
        answer = await self.client.post(self.running.urls[member] + "/desk/challenge", content=body, headers=await self.own(member))
        assert answer.status_code == 200, answer.text
        asked = unpack(SignedChallenge, answer.content)
        (proof,) = patient.wallet.prove_presence(patient.state, asked, (HOLDER,), seen=member, now_s=self.now_s, until_s=self.now_s + 300)
        return PresenceShown(asked, proof)

    # reading

    def signed(self, target, control_key, *, doctor=None, purpose="TREAT", request_id=None, presence=None, reason=None, **other):
        """Return a reading that the doctor's own key signed."""
        doctor = doctor or self.doctor
        fields = {"holder": HOLDER, "requester": REQUESTER, "method": "GET", "body": b""} | other
        read = ReadRequest(target=target, purpose=purpose, control_key=control_key, request_id=request_id or a_request_id(), **fields)
        return Reading(read, doctor.public_key, doctor.sign(read.statement(self.network)), presence, reason)

    async def ask(self, reading):
        """Do what the clinic's node does for its own software; return `Received`."""
        return await read_elsewhere(reading, self.requester)

    async def read(self, target, control_key, *, patient=None, **how):
        """Read as the clinic's doctor; with `patient`, he is here. Returns `Received`."""
        presence = await self.present(patient) if patient is not None else None
        return await self.ask(self.signed(target, control_key, presence=presence, **how))


@asynccontextmanager
async def ward(folder, **parameters):
    async with alliance(folder, **parameters) as running:
        here = Ward(running)
        try:
            await here.prepare()
            yield here
        finally:
            await here.client.aclose()


def ids(body):
    """Return `Type/id` of every resource in a bundle."""
    found = [one["resource"] for one in json.loads(body).get("entry", []) if "resource" in one]
    return sorted(f"{one['resourceType']}/{one['id']}" for one in found)


def altered(presence, **fields):
    return replace(presence, proof=replace(presence.proof, **fields))
