"""The release gate over HTTP: one holder process with its ledger on one core, requesters' load on the other.

Holder     one process: node, web server, records, embedded engine (signatures verified in it), every write with fsync.
Load       many patients' grants, each with an open session; every release is call (a), the checks of an approver, call (b): signed by the
           practitioner's key, proved by DPoP, approved by the requester's one-time key. Raw HTTP/1.1 on kept connections.
Overhead   time of a release (both calls) less the median time of the same search asked by the holder's own software at the same server.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

from bench.figures import Figure
from yilian.base.artefacts import Challenge, ReadRequest, grant_key_statement
from yilian.base.codec import decode, encode
from yilian.base.handovers import EnrolAsk, GrantKey, Relationship, SignedChallenge
from yilian.base.keys import SigningKey
from yilian.base.shapes import pack, unpack
from yilian.base.transaction import Header, act_bytes, approval_message, sign
from yilian.contracts import directory
from yilian.engines.embedded import EmbeddedEngine
from yilian.ledger import Genesis
from yilian.node import Folder, Settings, asking, enrolment, found, join, jose, opened, read_genesis
from yilian.node.enrolment import Desk
from yilian.node.logins import CBOR, FORM
from yilian.node.tokens import ASSERTION_TYPE, binding_statement, dpop_proof, own_assertion
from yilian.vault import Kind, Vault
from yilian.wallet import Members, Wallet, WalletState, Wish
from yilian.web import serve

HOLDER, REQUESTER = "hospital-1", "clinic-1"
PATIENTS = 24
OBSERVATIONS = 40
RATE_RELEASES, CALM_RELEASES = 3_000, 600
RATE_CONCURRENCY = 24
TARGET = "/fhir/Observation?_count=10"


# --- the holder's process


async def _serve(folder: Path) -> None:
    engine = EmbeddedEngine.open(folder / "ledger", read_genesis(folder / HOLDER), processes=0)
    async with opened(folder / HOLDER, engine) as node:
        for number in range(PATIENTS):
            node.store.update("Patient", f"p{number}", json.dumps({"resourceType": "Patient", "id": f"p{number}"}).encode())
            entries = [_entry(number, each) for each in range(OBSERVATIONS)]
            node.store.process(json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries}).encode())
        async with serve(node):
            print("ready", flush=True)
            await asyncio.to_thread(sys.stdin.read)
    await engine.close()
    times = os.times()
    print(json.dumps({"cpu_s": times.user + times.system}), flush=True)


def _entry(number: int, each: int) -> dict[str, object]:
    resource = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "2339-0"}]},
        "subject": {"reference": f"Patient/p{number}"},
        "effectiveDateTime": f"2026-{each % 12 + 1:02}-11T08:00:00Z",
        "valueQuantity": {"value": 5 + each / 10, "unit": "mmol/L", "system": "http://unitsofmeasure.org", "code": "mmol/L"},
    }
    return {"request": {"method": "POST", "url": "Observation"}, "resource": resource}


# --- the requesters' load


class Connection:
    """One kept HTTP/1.1 connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        if self._writer is None or self._reader is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}", *(f"{k}: {v}" for k, v in headers.items())]
        self._writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        said = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        content = await self._reader.readexactly(int(said.get("content-length", "0")))
        return int(head[0].split()[1]), said, content


@dataclass
class Clinic:
    """The requester: its keys, its doctor, its tokens."""

    folder: Path
    port: int
    genesis: Genesis
    own_key: bytes
    doctor: SigningKey = field(default_factory=lambda: SigningKey(secrets.token_bytes(32)))
    dpop: SigningKey = field(default_factory=lambda: SigningKey(secrets.token_bytes(32)))

    def __post_init__(self) -> None:
        self.vault = Vault.open(self.folder / REQUESTER)
        self.network = self.genesis.network_id
        self.token_key = SigningKey(self.vault.draw(Kind.OTHER, b"token-key"))
        self.base = f"http://127.0.0.1:{self.port}"
        self.connection = Connection(self.port)
        self.tokens: dict[bytes, str] = {}

    async def ok(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
        status, _, content = await self.connection.ask(method, path, body, headers or {})
        if status >= 300:
            raise RuntimeError(f"{method} {path}: {status} {content[:300]!r}")
        return content

    async def own(self) -> dict[str, str]:
        url = self.base + "/oauth/token"
        assertion = own_assertion(SigningKey(self.own_key), url, int(time.time()))
        form = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
        said = json.loads(await self.ok("POST", "/oauth/token", urlencode(form).encode(), {"Content-Type": FORM}))
        return {"Authorization": f"Bearer {said['access_token']}"}

    async def transact(self, vault: Vault, member: str, number: int, message: object) -> None:
        kind = next(each for each in directory.KINDS if each.name == "practitioner.register")
        header = Header(self.network, vault.node_key.kid, member, kind.name, int(time.time()) + 600, number)
        await self.ok("POST", "/network/transactions", sign(vault.node_key, header, kind.number, kind.body(message)))

    async def token(self, control_key: bytes) -> str:
        if control_key not in self.tokens:
            url, now_s = self.base + "/oauth/token", int(time.time())
            key = self.token_key
            binding = self.vault.node_key.sign(binding_statement(self.network, REQUESTER, key.public_key))
            jwk = {**jose.jwk_of(key.public_key), "kid": key.kid.hex(), "binding": jose.to_text(binding)}
            extension = {
                "version": "1",
                "organization_id": f"urn:yilian:member:{REQUESTER}",
                "subject_id": self.doctor.public_key.hex(),
                "subject_role": "physician",
                "purpose_of_use": ["urn:oid:2.16.840.1.113883.5.8#TREAT"],
                "consent_reference": [f"urn:yilian:grant:{control_key.hex()}"],
            }
            claims = {
                "iss": REQUESTER, "sub": REQUESTER, "aud": url, "iat": now_s, "exp": now_s + 200,
                "jti": secrets.token_urlsafe(16), "extensions": {"hl7-b2b": extension},
            }  # fmt: skip
            assertion = jose.signed(key, {"typ": "JWT", "kid": key.kid.hex(), "jwk": jwk}, claims)
            form = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
            proof = dpop_proof(self.dpop, "POST", url, now_s, None)
            said = json.loads(await self.ok("POST", "/oauth/token", urlencode(form).encode(), {"Content-Type": FORM, "DPoP": proof}))
            self.tokens[control_key] = str(said["access_token"])
        return self.tokens[control_key]

    async def release(self, connection: Connection, held: Held, presence: asking.PresenceShown | None = None) -> float:
        """Do both calls; return how long they took."""
        token = self.tokens[held.control_key]
        read = ReadRequest(HOLDER, REQUESTER, "GET", TARGET, b"", "TREAT", held.control_key, secrets.token_bytes(16))
        artefacts = held.sealed if presence is not None else None
        call = asking.ReleaseCall(read, self.doctor.public_key, self.doctor.sign(read.statement(self.network)), artefacts, presence)
        paths = "/network/release", f"/network/release/{read.request_id.hex()}"
        now_s = int(time.time())
        proofs = [dpop_proof(self.dpop, "POST", self.base + path, now_s, token) for path in paths]
        body = call.encoded()
        began = time.perf_counter()
        headers = {"Authorization": f"DPoP {token}", "Content-Type": CBOR}
        status, _, content = await connection.ask("POST", paths[0], body, {**headers, "DPoP": proofs[0]})
        if status != 200:
            raise RuntimeError(f"call (a): {status} {content!r}")
        offer = asking.parse_offer(content)
        approval = held.requester_key.public_key, held.requester_key.sign(approval_message(offer.protected, offer.act))
        status, said, content = await connection.ask("POST", paths[1], asking.approval_body(approval), {**headers, "DPoP": proofs[1]})
        took = time.perf_counter() - began
        if status != 200 or "yilian-entry-id" not in said:
            raise RuntimeError(f"call (b): {status} {content[:300]!r}")
        return took


@dataclass(frozen=True)
class Held:
    """A grant that the clinic holds."""

    control_key: bytes
    sealed: bytes
    requester_key: SigningKey
    wallet: Wallet
    state: WalletState


async def _prepared(clinic: Clinic, holder_vault: Vault) -> list[Held]:
    """Register staff, enrol the patients, take their grants, open a session under each."""
    clerks = [SigningKey(secrets.token_bytes(32)) for _ in range(2)]
    until_s = int(time.time()) + 300 * 86_400
    await clinic.transact(clinic.vault, REQUESTER, 1, directory.Register(clinic.doctor.public_key, "physician", until_s))
    for number, key in enumerate(clerks):
        await clinic.transact(holder_vault, HOLDER, 60_000 + number, directory.Register(key.public_key, "clerk", until_s))
    await asyncio.sleep(1.1)  # a credential is live from the second after its block
    own, held = await clinic.own(), []
    for number in range(PATIENTS):
        wallet, state, nonce = Wallet.of(secrets.token_bytes(32), Members.of(clinic.genesis)), WalletState(), secrets.token_bytes(32)
        desk = Desk(f"p{number}", 0, 2, "id-card", nonce)
        statement = enrolment.desk_statement(clinic.network, HOLDER, desk)
        body = encode([[desk.patient_id, 0, 2, desk.method, nonce], [[key.public_key, key.sign(statement)] for key in clerks]])
        now_s = int(time.time())
        state, said = wallet.enrol(state, unpack(EnrolAsk, await clinic.ok("POST", "/desk/offer", body, own)), now_s)
        answer = await clinic.ok("POST", f"/desk/enrolment/{nonce.hex()}", pack(said))
        state = wallet.admit(state, unpack(Relationship, answer))
        ours = clinic.vault.new_grant_key(clinic.network)
        signature = clinic.vault.node_key.sign(grant_key_statement(clinic.network, ours.public_key, REQUESTER, now_s + 3_600))
        theirs = unpack(GrantKey, await clinic.ok("POST", "/network/grant-key"))
        sides = theirs, GrantKey(ours.public_key, REQUESTER, now_s + 3_600, signature)
        state, act = wallet.draft(state, Wish(HOLDER, REQUESTER, "TREAT", 8, 5), sides, now_s, secrets.token_bytes(32))
        header = await clinic.ok("POST", "/network/header", encode(act.kind_name))
        approval = wallet.approve_give(state, act.control_key, header, now_s)
        decode(await clinic.ok("POST", "/network/submit", encode([header, act_bytes(act.kind, act.body), [list(approval)]])))
        held.append(Held(act.control_key, wallet.bundle(state, act.control_key, HOLDER), ours, wallet, state))
    for each in held:
        await clinic.token(each.control_key)
        now_s = int(time.time())
        challenge = Challenge(REQUESTER, clinic.doctor.public_key, "TREAT", secrets.token_bytes(32), now_s, bytes(32))
        asked = SignedChallenge(challenge, clinic.vault.node_key.sign(challenge.statement(clinic.network)))
        (proof,) = each.wallet.prove_presence(each.state, asked, (HOLDER,), seen=REQUESTER, now_s=now_s, until_s=now_s + 300)
        await clinic.release(clinic.connection, each, asking.PresenceShown(asked, proof))
    return held


async def _load(clinic: Clinic, held: list[Held], releases: int, concurrency: int) -> tuple[float, list[float]]:
    """Return (seconds, time of each release)."""
    took: list[float] = []
    left = iter(range(releases))

    async def requester(number: int) -> None:
        connection = Connection(clinic.port)
        for _ in left:
            took.append(await clinic.release(connection, held[number % len(held)]))  # noqa: PERF401 - one after the other is what is measured

    began = time.perf_counter()
    await asyncio.gather(*[requester(number) for number in range(concurrency)])
    return time.perf_counter() - began, took


async def _plain(clinic: Clinic, calls: int) -> list[float]:
    """Return the times of the same search by the holder's own software."""
    own, took = await clinic.own(), []
    for _ in range(calls):
        began = time.perf_counter()
        await clinic.ok("GET", TARGET + "&patient=p1", b"", own)
        took.append(time.perf_counter() - began)
    return took


async def _measure(folder: Path, port: int) -> tuple[float, list[float], list[float], float]:
    own_key = Folder(folder / HOLDER).own_client.read_bytes()
    clinic = Clinic(folder, port, read_genesis(folder / HOLDER), own_key)
    # the holder's node runs in the other process; its node key registers its clerks here
    holder_vault = _NodeKeyOnly(SigningKey((folder / "holder.nodekey").read_bytes()))
    held = await _prepared(clinic, holder_vault)  # type: ignore[arg-type]
    plain = sorted(await _plain(clinic, 200))
    _, calm = await _load(clinic, held, CALM_RELEASES, 1)
    seconds, _ = await _load(clinic, held, RATE_RELEASES, RATE_CONCURRENCY)
    clinic.vault.close()
    return plain[len(plain) // 2], sorted(calm), plain, RATE_RELEASES / seconds


@dataclass(frozen=True)
class _NodeKeyOnly:
    node_key: SigningKey


def _found(folder: Path, port: int) -> None:
    url = f"http://127.0.0.1:{port}"
    founders = tuple(
        found(folder / member, Settings(member, url, port=port), kinds=(kind,), name=member, power=1)
        for member, kind in ((HOLDER, "hospital"), (REQUESTER, "clinic"))
    )
    genesis = Genesis(int(time.time()) - 60, HOLDER, founders, {"memo_size": 0})
    for member in (HOLDER, REQUESTER):
        join(folder / member, genesis)
    with Vault.open(folder / HOLDER) as vault:
        (folder / "holder.nodekey").write_bytes(vault.node_key.seed)


def run() -> Iterable[Figure]:
    """Measure."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with contextlib.closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        _found(folder, port)
        command = [sys.executable, "-m", "bench.release", str(folder)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            assert holder.stdin is not None and holder.stdout is not None  # noqa: PT018 - asked for
            holder.stdout.readline()
            median_s, calm, _, per_s = asyncio.run(_measure(folder, port))
            holder.stdin.close()
            said = holder.stdout.read().decode().strip()
    overhead_ms = (calm[int(len(calm) * 0.99)] - median_s) * 1_000
    print(f"same search, own software: median {median_s * 1_000:.2f} ms; release median {calm[len(calm) // 2] * 1_000:.2f} ms")
    print(f"holder process, whole life: {said}")
    yield Figure("release.overhead_ms_p99", round(overhead_ms, 2), "ms", "<= 50", "")
    yield Figure("release.per_s", round(per_s, 1), "1/s", ">= 200", "")


if __name__ == "__main__":
    import uvloop

    uvloop.run(_serve(Path(sys.argv[1])))
