"""The practitioner's signer: it signs what is named, for who unlocked it, and answers everything else with a reason."""

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from yilian.base.artefacts import ReadRequest, intent_statement
from yilian.base.codec import decode, encode
from yilian.base.digests import sha256
from yilian.base.keys import SigningKey, is_signed
from yilian.signer import No, SignerClient, SignerGone, SignerRefused, create, spawn
from yilian.signer.desk import PAUSE_S, TRIES_MAX, Desk
from yilian.signer.keyfile import KeyFile, opened, read
from yilian.signer.protocol import FRAME_BYTES_MAX, SHAPES
from yilian.talks import LENGTH_BYTES, unframed

NETWORK = b"network-of-the-test"
PASSPHRASE = "正确的 口令"
SEEDS = {"doctor": bytes(range(32)), "nurse": bytes(range(1, 33))}
READ = ReadRequest(
    holder="hospital-1",
    requester="clinic-1",
    method="GET",
    target="/fhir/Observation?patient=Patient/123&code=4548-4",
    body=b"",
    purpose="TREAT",
    control_key=bytes(32),
    request_id=bytes(16),
)
IDLE_S = 900


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("signer") / "keys"
    create(path, PASSPHRASE, SEEDS)
    return path


@pytest.fixture(scope="module")
def memory() -> dict[str, Any]:
    return {}


@pytest.fixture
def _scrypt_once(monkeypatch: pytest.MonkeyPatch, memory: dict[str, Any]) -> None:
    """Remember what the real `opened` said of a passphrase: it costs a third of a second by design."""

    def remembered(closed: KeyFile, passphrase: str) -> dict[str, SigningKey]:
        if passphrase not in memory:
            try:
                memory[passphrase] = opened(closed, passphrase)
            except SignerRefused as refused:
                memory[passphrase] = refused
        known = memory[passphrase]
        if isinstance(known, SignerRefused):
            raise known
        return dict(known)

    monkeypatch.setattr("yilian.signer.desk.opened", remembered)


class Sitting:
    """A desk with a clock of its own and the sentences it showed."""

    def __init__(self, key_file: Path) -> None:
        self.shown: list[str] = []
        self.desk = Desk(read(key_file), self.shown.append, IDLE_S)
        self.now_s = 1_000.0

    def ask(self, op: str, **fields: Any) -> Any:
        return self.raw(encode({"op": op, **fields}))

    def raw(self, body: bytes) -> Any:
        return unframed(self.desk.answer(body, self.now_s)[LENGTH_BYTES:])

    def unlocked(self) -> "Sitting":
        assert self.ask("unlock", passphrase=PASSPHRASE) == {"ok": {"idle_s": IDLE_S}}
        return self


@pytest.fixture
def sitting(key_file: Path, _scrypt_once: None) -> Sitting:
    return Sitting(key_file)


def read_fields(request: ReadRequest = READ, key: str = "doctor") -> dict[str, Any]:
    return {"key": key, "network": NETWORK, **{name: getattr(request, name) for name in request.__slots__}}


def intent_fields(**other: Any) -> dict[str, Any]:
    return {"key": "doctor", "network": NETWORK, "member": "clinic-1", "act": "referral.request", "facts": [bytes(32), 7, "x"], **other}


def no(code: No, **facts: Any) -> dict[str, Any]:
    return {"no": code.value, "facts": facts}


def test_a_read_is_signed_over_exactly_the_design_s_structure(sitting: Sitting) -> None:
    answer = sitting.unlocked().ask("sign_read", **read_fields(replace(READ, body=b"a=b", method="POST")))
    statement = encode(["read", NETWORK, "hospital-1", "clinic-1", "POST", READ.target, sha256(b"a=b"), "TREAT", bytes(32), bytes(16)])
    public_key = SigningKey(SEEDS["doctor"]).public_key
    assert is_signed(public_key, statement, answer["ok"]["signature"])
    assert answer["ok"]["public_key"] == public_key


@pytest.mark.parametrize(
    "other",
    [
        {"holder": "hospital-2"},
        {"requester": "clinic-2"},
        {"method": "POST"},
        {"target": "/fhir/Observation"},
        {"body": b"x"},
        {"purpose": "ETREAT"},
        {"control_key": None},
        {"request_id": bytes(15) + b"\x01"},
    ],
)
def test_a_signature_is_for_one_request_only(sitting: Sitting, other: dict[str, Any]) -> None:
    signature = sitting.unlocked().ask("sign_read", **read_fields())["ok"]["signature"]
    public_key = SigningKey(SEEDS["doctor"]).public_key
    assert is_signed(public_key, READ.statement(NETWORK), signature)
    assert not is_signed(public_key, replace(READ, **other).statement(NETWORK), signature)
    assert not is_signed(public_key, READ.statement(b"other network"), signature)


def test_each_person_signs_with_the_key_of_that_name(sitting: Sitting) -> None:
    answer = sitting.unlocked().ask("sign_intent", **intent_fields(key="nurse"))
    statement = intent_statement(NETWORK, "clinic-1", "referral.request", [bytes(32), 7, "x"])
    assert is_signed(SigningKey(SEEDS["nurse"]).public_key, statement, answer["ok"]["signature"])
    assert not is_signed(SigningKey(SEEDS["doctor"]).public_key, statement, answer["ok"]["signature"])


def test_nothing_is_signed_before_unlock_or_after_lock(sitting: Sitting) -> None:
    assert sitting.ask("sign_read", **read_fields()) == no(No.LOCKED)
    assert sitting.unlocked().ask("lock") == {"ok": {}}
    assert sitting.ask("sign_intent", **intent_fields()) == no(No.LOCKED)
    assert sitting.ask("status") == {"ok": {"locked": True, "keys": ["doctor", "nurse"]}}


def test_a_sitting_ends_after_the_idle_time_and_a_signature_renews_it(sitting: Sitting) -> None:
    sitting.unlocked()
    sitting.now_s += IDLE_S - 0.001
    assert "ok" in sitting.ask("sign_read", **read_fields())
    sitting.now_s += IDLE_S - 0.001
    assert sitting.ask("status")["ok"]["locked"] is False  # asking how it is renews nothing
    sitting.now_s += 0.001
    assert sitting.ask("sign_read", **read_fields()) == no(No.LOCKED)


def test_public_keys_are_known_while_locked(sitting: Sitting) -> None:
    assert sitting.ask("public_key", key="nurse") == {"ok": {"public_key": SigningKey(SEEDS["nurse"]).public_key}}
    assert sitting.ask("public_key", key="porter") == no(No.NO_SUCH_KEY)
    assert sitting.ask("public_key") == no(No.NO_SUCH_KEY)  # two keys: which?


def test_who_guesses_passphrases_must_wait(sitting: Sitting) -> None:
    for _ in range(TRIES_MAX):
        assert sitting.ask("unlock", passphrase="wrong") == no(No.WRONG_PASSPHRASE)
    assert sitting.ask("unlock", passphrase=PASSPHRASE) == no(No.TOO_MANY_TRIES, wait_s=PAUSE_S + 1)
    sitting.now_s += PAUSE_S
    sitting.unlocked()


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("network", b""),
        ("holder", "Hospital 1"),
        ("holder", "hоspital-1"),  # a Cyrillic letter
        ("requester", ""),
        ("method", "DELETE"),
        ("target", "/fhir/Observation?name=林"),
        ("target", "/fhir/Observation\nsigned: something else"),
        ("body", "text"),
        ("purpose", "treat"),
        ("control_key", bytes(31)),
        ("request_id", bytes(17)),
        ("key", 1),
    ],
)
def test_a_field_of_the_wrong_shape_is_named_and_nothing_is_signed(sitting: Sitting, field: str, wrong: object) -> None:
    fields = read_fields() | {field: wrong}
    assert sitting.unlocked().ask("sign_read", **fields) == no(No.BAD_REQUEST, why="FIELD_WRONG", field=field)
    assert not any("signed" in sentence for sentence in sitting.shown)


@pytest.mark.parametrize("facts", [[True], [b"x" * 257], [[1]], ["x"] * 17, b"opaque", [None]])
def test_facts_are_few_short_and_plain(sitting: Sitting, facts: object) -> None:
    assert sitting.unlocked().ask("sign_intent", **intent_fields(facts=facts)) == no(No.BAD_REQUEST, why="FIELD_WRONG", field="facts")


@pytest.mark.parametrize("field", sorted(SHAPES["sign_read"].keys() - {"key"}))
def test_a_missing_field_is_named(sitting: Sitting, field: str) -> None:
    fields = read_fields()
    del fields[field]
    assert sitting.unlocked().ask("sign_read", **fields) == no(No.BAD_REQUEST, why="FIELD_MISSING", field=field)


def test_what_is_not_understood_is_not_signed(sitting: Sitting) -> None:
    sitting.unlocked()
    assert sitting.ask("sign_read", **read_fields(), also="this") == no(No.BAD_REQUEST, why="FIELD_UNKNOWN", field="also")
    assert sitting.ask("sign", message=b"opaque") == no(No.UNKNOWN_OPERATION)
    assert sitting.raw(encode({"op": ["sign_read"]})) == no(No.UNKNOWN_OPERATION)
    assert sitting.raw(encode([1, 2])) == no(No.BAD_REQUEST, why="NOT_A_MAP")
    assert sitting.raw(encode({1: 2})) == no(No.BAD_REQUEST, why="NOT_A_MAP")


@pytest.mark.parametrize("body", [b"", b"\xff", b"\xa1\x61a", encode({"op": "lock"}) + b"\x00", b"\xbf\x62op\x64lock\xff"])
def test_bytes_that_our_encoder_would_not_write_get_an_answer(sitting: Sitting, body: bytes) -> None:
    answer = sitting.raw(body)
    assert answer["no"] == No.BAD_REQUEST.value
    assert sitting.ask("status")["ok"]["locked"] is True


def test_the_terminal_says_what_is_signed_and_no_health_data(sitting: Sitting) -> None:
    sitting.unlocked()
    for target in ("/fhir/Patient/110105194912310028?name=Lin", "Observation?patient=Patient/123", "/fhir/lin-guodong", "/fhir/$export"):
        sitting.ask("sign_read", **read_fields(replace(READ, target=target, control_key=None)))
    sitting.ask("sign_intent", **intent_fields(facts=["chest pain"]))
    assert sitting.shown[1:] == [
        "doctor signed: read Patient at hospital-1 for clinic-1, purpose TREAT, WITHOUT a grant",
        "doctor signed: read Observation at hospital-1 for clinic-1, purpose TREAT, WITHOUT a grant",
        "doctor signed: read something that is no FHIR type at hospital-1 for clinic-1, purpose TREAT, WITHOUT a grant",
        "doctor signed: read $export at hospital-1 for clinic-1, purpose TREAT, WITHOUT a grant",
        "doctor signed: referral.request for clinic-1, 1 facts",
    ]


# --- the key file ---------------------------------------------------------------------------------------------------


def test_the_file_shows_no_seed_and_is_ours_alone(key_file: Path) -> None:
    content = key_file.read_bytes()
    assert not any(seed in content for seed in SEEDS.values())
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert list(key_file.parent.iterdir()) == [key_file]


def test_keys_are_never_overwritten(key_file: Path) -> None:
    before = key_file.read_bytes()
    with pytest.raises(FileExistsError):
        create(key_file, "other", SEEDS)
    assert key_file.read_bytes() == before
    assert list(key_file.parent.iterdir()) == [key_file]


def test_the_right_passphrase_opens_the_very_keys(key_file: Path) -> None:
    keys = opened(read(key_file), PASSPHRASE)
    assert {name: key.seed for name, key in keys.items()} == SEEDS


def test_an_exchanged_public_key_or_salt_is_found(key_file: Path) -> None:
    closed = read(key_file)
    swapped = replace(closed, public={"doctor": closed.public["nurse"], "nurse": closed.public["doctor"]})
    for changed in (swapped, replace(closed, salt=bytes(16)), replace(closed, box=closed.box[:-1] + bytes([closed.box[-1] ^ 1]))):
        with pytest.raises(SignerRefused) as refused:
            opened(changed, PASSPHRASE)
        assert (refused.value.no, refused.value.facts) == (No.WRONG_PASSPHRASE, {})


def damaged(content: bytes) -> list[bytes]:
    parts: Any = decode(content)
    wrong: list[Any] = [
        {"v": 2},
        {"salt": b""},
        {"nonce": "text"},
        {"box": 1},
        {"public": {}},
        {"public": {"doctor": b"short"}},
        {"public": {"doctor": 5}},
    ]
    return [b"", content[:-1], content + b"\x00", b"\x00" * 70_000, *(encode(parts | change) for change in wrong)]


def test_a_damaged_file_is_refused(key_file: Path, tmp_path: Path) -> None:
    for content in damaged(key_file.read_bytes()):
        path = tmp_path / "damaged"
        path.write_bytes(content)
        with pytest.raises(SignerRefused) as refused:
            read(path)
        assert (refused.value.no, refused.value.facts) == (No.KEY_FILE_DAMAGED, {})


# --- the process ----------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2] / "src"))


@pytest.fixture
async def client(key_file: Path, tmp_path: Path) -> AsyncIterator[SignerClient]:
    process, connected = await spawn(key_file, tmp_path / "socket")
    async with connected:
        yield connected
    assert process.stdin is not None
    process.stdin.close()
    assert await process.wait() == 0
    assert not (tmp_path / "socket").exists()


async def test_the_client_signs_through_a_process_of_its_own(client: SignerClient, tmp_path: Path) -> None:
    assert (tmp_path / "socket").stat().st_mode & 0o777 == 0o600
    assert await client.is_locked()
    with pytest.raises(SignerRefused) as refused:
        await client.sign_read(NETWORK, READ, "doctor")
    assert (refused.value.no, refused.value.facts) == (No.LOCKED, {})
    assert await client.unlock(PASSPHRASE) == IDLE_S
    public_key = await client.public_key("doctor")
    signatures = await asyncio.gather(
        *(client.sign_read(NETWORK, replace(READ, target=f"/fhir/Patient?_id={n}"), "doctor") for n in range(20))
    )
    for n, signature in enumerate(signatures):
        assert is_signed(public_key, replace(READ, target=f"/fhir/Patient?_id={n}").statement(NETWORK), signature)
    assert is_signed(public_key, intent_statement(NETWORK, "a", "b.c", []), await client.sign_intent(NETWORK, "a", "b.c", [], "doctor"))
    await client.lock()
    assert await client.keys() == ["doctor", "nurse"]


async def test_a_hostile_caller_ends_only_its_own_talk(client: SignerClient, tmp_path: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "socket"))
    writer.write((FRAME_BYTES_MAX + 1).to_bytes(4, "big"))
    answer = unframed(await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big")))
    assert answer == no(No.BAD_REQUEST, why="FRAME_TOO_LONG", bytes_max=FRAME_BYTES_MAX)
    assert await reader.read() == b""
    writer.close()
    _, half = await asyncio.open_unix_connection(str(tmp_path / "socket"))
    half.write(b"\x00\x00\x00\x10half")
    half.close()
    assert await client.is_locked()


async def run(*arguments: str, given: bytes = b"") -> tuple[int | None, bytes, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "yilian.signer", *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate(given)
    return process.returncode, out, err.decode()


async def test_the_command_creates_keys_once_and_serves_standard_input(tmp_path: Path) -> None:
    path = str(tmp_path / "keys")
    code, out, err = await run("--keys", path, "--create", "dr-wang", given=b"secret\n")
    assert (code, err) == (0, "")
    name, public_key = out.decode().split()
    assert name == "dr-wang"
    assert await run("--keys", path, "--create", "dr-wang", given=b"secret\n") == (
        3, b"", f"signer: {path} exists already; keys are never overwritten\n",
    )  # fmt: skip
    body = encode({"op": "public_key"})
    code, out, _ = await run("--keys", path, "--stdio", given=len(body).to_bytes(4, "big") + body)
    assert (code, unframed(out[4:])) == (0, {"ok": {"public_key": bytes.fromhex(public_key)}})


async def test_what_cannot_start_says_so_in_one_sentence(key_file: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("a file of somebody")
    assert await run("--keys", str(tmp_path / "none"), "--stdio") == (2, b"", f"signer: {tmp_path / 'none'}: there is no such file\n")
    assert await run("--keys", str(key_file), "--socket", str(taken)) == (3, b"", f"signer: {taken} is no socket\n")
    assert taken.read_text() == "a file of somebody"
    assert await run("--keys", str(taken), "--stdio") == (3, b"", "signer: KEY_FILE_DAMAGED\n")
    assert (await run("--keys", str(key_file), "--socket", str(tmp_path / ("x" * 200))))[0] == 2
    assert await run("--keys", str(tmp_path / "new"), "--create", "a", given=b"\n") == (2, b"", "signer: a passphrase is needed\n")


async def test_a_living_signer_keeps_its_socket_and_a_dead_one_leaves_it(key_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    process, client = await spawn(key_file, path)
    code, _, err = await run("--keys", str(key_file), "--socket", str(path))
    assert (code, err) == (3, f"signer: {path} is in use by a running process\n")
    process.kill()
    await process.wait()
    with pytest.raises(SignerGone):
        await client.is_locked()
    again, client = await spawn(key_file, path)
    assert await client.is_locked()
    assert again.stdin is not None
    again.stdin.close()
    assert await again.wait() == 0
