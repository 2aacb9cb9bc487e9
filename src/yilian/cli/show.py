"""Show what stands on the ledger, as a member's node has it: an entry, a block's signed root, a grant, a member of the directory.

yilian show entry 12           by its index, or by its id (64 hexadecimal digits)
yilian show block 7            the log's root at a height, as the member signed it; `latest` is a height too
yilian show grant 39cfdc00     what the ledger remembers of a grant, by the first digits of its control key
yilian show member hospital-1  who it is, and its public keys
"""

import argparse
import json
import time
from typing import TYPE_CHECKING, Any, Final

from yilian.cli import places, voting
from yilian.cli.asking import get
from yilian.cli.frame import Declined, Fact, Misused, Output, Unreachable, shortened

if TYPE_CHECKING:
    from yilian.base.transaction import Transaction
    from yilian.contracts.consent import Grant
    from yilian.ledger import StateAnswer
    from yilian.sim.whereabouts import Whereabouts

SUMMARY = "show an entry, a block's signed root, a grant or a member"
_ID_DIGITS = 64
_GRANT_DIGITS_MIN: Final = 4
_LABEL_WIDTH: Final = 12


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("what", choices=("entry", "block", "grant", "member"))
    parser.add_argument("which", metavar="WHICH", help="an index or an id; a height, or latest; a grant's first digits; a member's id")
    parser.add_argument("--member", default="regulator-1", metavar="ID", help="whose node to ask (default %(default)s)")
    parser.add_argument("--node", metavar="URL", help="a node outside of a region")
    places.option(parser)


def run(options: argparse.Namespace, output: Output) -> None:
    """Ask and show."""
    url = options.node or places.node_url(_region(options), options.member)
    {"entry": _entry, "block": _block, "grant": _grant, "member": _member}[options.what](url, options.which, output)


def _region(options: argparse.Namespace) -> "Whereabouts":
    """Return where the region runs; outside of one a node is named by its URL."""
    try:
        return places.region(options)
    except Unreachable as nowhere:
        raise Unreachable(f"{nowhere}; of a node that is in no region name the address: yilian show ... --node URL") from nowhere


# an entry


def _entry(url: str, which: str, output: Output) -> None:
    from yilian.base.codec import Malformed
    from yilian.base.transaction import parse
    from yilian.ledger import open_receipt, split_transparent

    if not which.isdigit() and len(which) != _ID_DIGITS:
        raise Misused(f"an entry is named by its index or by its id of {_ID_DIGITS} hexadecimal digits")
    path = f"/network/entries/{which}" if len(which) != _ID_DIGITS else f"/network/receipts/{which}"
    data = get(url + path)
    try:
        statement, receipts = split_transparent(data)
        transaction = parse(statement)
        proven = [open_receipt(receipt, transaction.id) for receipt in receipts]
    except Malformed as error:
        raise Declined(f"{url} sent what is no entry with receipts ({error})") from error
    kind, message = _message(transaction)
    header, first, proposed = transaction.header, proven[0], _proposed(kind, message)
    signers = [each.checkpoint.member for each in proven]
    facts: dict[str, Fact] = {
        "index": first.index,
        "id": transaction.id,
        "kind": kind,
        "carrier": header.issuer,
        "nonce": header.nonce,
        "exp_s": header.exp_s,
        "says": message,
        "approved_by": [key for key, _ in transaction.approvals],
        "height": first.checkpoint.height,
        "time_s": first.checkpoint.time_s,
        "receipts": signers,
        "size_bytes": len(statement),
    }
    if proposed is not None:
        fields: dict[str, Fact] = {"change": proposed[0]}
        facts["proposes"] = fields | proposed[1]
    shown = [
        ("id", transaction.id.hex()),
        *(_row(kind, name, value) for name, value in message.items() if proposed is None),  # a proposal's are its change, encoded
        *([] if proposed is None else [("proposes", proposed[0]), *(_row(kind, *field) for field in proposed[1].items())]),
        *(("approved by", key.hex()) for key, _ in transaction.approvals),
        ("receipts of", f"{', '.join(signers)}; the entry has {len(statement)} bytes, and that is all that other members know of it"),
    ]
    at = f"{_utc(first.checkpoint.time_s)}, height {first.checkpoint.height}"
    output.answer(facts, f"entry {first.index}  {kind}, carried by {header.issuer}, {at}", *_table(shown))


def _proposed(kind: str, message: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """Return what a proposal would change, and its fields by name; None, if the entry is no proposal."""
    return voting.proposed(message["change"], message["details"]) if kind == "directory.propose" else None


def _message(transaction: "Transaction") -> tuple[str, dict[str, Any]]:
    """Return the kind's name and the message's fields by name."""
    from yilian.ledger import NEWEST, rules_of

    kind = rules_of(NEWEST).get(transaction.kind)
    if kind is None:
        return transaction.header.subject, {str(number): value for number, value in transaction.body.items()}
    names = {field.number: field.name for field in kind.fields}
    return kind.name, {names[number]: value for number, value in transaction.body.items()}


def _row(kind: str, name: str, value: object) -> tuple[str, str]:
    return name.removesuffix("_s").replace("_", " "), _said(kind, name, value)


def _said(kind: str, name: str, value: object) -> str:
    """Return a field as a person reads it. `--json` has it as it stands."""
    from yilian.contracts import access

    if kind == "access.record" and name == "basis":
        return next((basis.name.lower() for basis in access.Basis if basis == value), str(value))
    if value is None or value in (b"", [], ""):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, bytes):
        return shortened(value.hex())
    if isinstance(value, int) and name.endswith("_s"):
        return f"{value} s" if name == "interval_s" else _utc(value)
    if isinstance(value, list):
        return ", ".join(_said(kind, "", one) for one in value)
    return str(value)


# a block


def _block(url: str, which: str, output: Output) -> None:
    from yilian.base.codec import Malformed
    from yilian.ledger import parse_checkpoint

    if not which.isdigit() and which != "latest":
        raise Misused("a block is named by its height, or `latest`")
    data = get(f"{url}/network/checkpoints/{which}")
    try:
        checkpoint = parse_checkpoint(data)
    except Malformed as error:
        raise Declined(f"{url} sent what is no checkpoint ({error})") from error
    output.answer(
        {
            "height": checkpoint.height,
            "entries": checkpoint.size,
            "root": checkpoint.root,
            "time_s": checkpoint.time_s,
            "signed_by": checkpoint.member,
            "network": checkpoint.network,
            "checkpoint": data,
        },
        f"height {checkpoint.height}  {checkpoint.size} entries, {_utc(checkpoint.time_s)}, signed by {checkpoint.member}",
        *_table([("root", checkpoint.root.hex()), ("network", checkpoint.network.hex())]),
    )


# a grant


def _grant(url: str, which: str, output: Output) -> None:
    digits = which.lower()
    if not _GRANT_DIGITS_MIN <= len(digits) <= _ID_DIGITS or set(digits) - set("0123456789abcdef"):
        raise Misused(f"a grant is named by its control key, or by the first {_GRANT_DIGITS_MIN} or more hexadecimal digits of it")
    found = [one for one in _rows(url, digits[: len(digits) // 2 * 2]) if one[0].control_key.hex().startswith(digits)]
    if not found:
        raise Declined(f"no grant on the ledger has a control key that begins with {digits}: yilian grant --patient NAME --list")
    if len(found) > 1:
        raise Misused(f"{len(found)} grants begin with {digits}: {', '.join(grant.control_key.hex()[:16] for grant, _ in found)}")
    grant, said = found[0]
    # The time of the answer, not of this machine: what the ledger says of a grant is true at a height.
    state = grant_state(grant, said.time_s)
    is_open = grant.session_until_s > said.time_s and state == "live"
    facts: dict[str, Fact] = {
        "grant": grant.control_key,
        "state": state,
        "expires_at_s": grant.expires_at_s,
        "uses": grant.uses,
        "uses_max": grant.uses_max,
        "entries": grant.entries,
        "interval_s": grant.interval_s,
        "session_until_s": grant.session_until_s if is_open else None,
        "holder_key": grant.holder_key,
        "requester_key": grant.requester_key,
        "commitment": grant.commitment,
        "height": said.height,
        "time_s": said.time_s,
    }
    standing = [] if grant.interval_s is None else [("opens", f"at most every {grant.interval_s // 3_600} hours, without the patient")]
    shown = [
        ("state", f"{state}, {'would end' if state == 'revoked' else 'ended' if state == 'ended' else 'ends'} {_utc(grant.expires_at_s)}"),
        ("uses", f"{grant.uses} of {grant.uses_max} consultations opened; {grant.entries} accesses entered under it"),
        *standing,
        ("session", f"open until {_utc(grant.session_until_s)}" if is_open else "none is open"),
        ("holder", f"one-time key {grant.holder_key.hex()}"),
        ("requester", f"one-time key {grant.requester_key.hex()}"),
        ("commitment", f"{grant.commitment.hex()}, of the Consent that the parties have"),
        ("as of", f"height {said.height}, {_utc(said.time_s)}; this is all that other members know of it"),
    ]
    output.answer(facts, f"grant {grant.control_key.hex()}", *_table(shown))


def grant_state(grant: "Grant", now_s: int) -> str:
    """Return what a grant is at a time, in one word."""
    from yilian.contracts.consent import State

    if grant.state is State.REVOKED:
        return "revoked"
    if now_s >= grant.expires_at_s:
        return "ended"
    return "live" if grant.uses < grant.uses_max or now_s < grant.session_until_s else "spent"


def _rows(url: str, beginning: str) -> "list[tuple[Grant, StateAnswer]]":
    """Return the grants whose control keys begin so, each with the node's signed word on its row.

    Raises   Declined, if what the node sent is not what it signed
    """
    from yilian.base.codec import Malformed, decode
    from yilian.base.digests import sha256
    from yilian.contracts import consent
    from yilian.ledger import parse_answer

    found = []
    try:
        rows: Any = decode(get(f"{url}/network/grants/{beginning}"))
        for signed, row in rows:
            said = parse_answer(signed)
            if said.value_digest != sha256(row) or not said.key.startswith(consent.PREFIX):
                raise Declined(f"{url} sent another row than it signed")
            found.append((consent.grant_of(said.key.removeprefix(consent.PREFIX), row), said))
    except (Malformed, TypeError, ValueError) as error:
        raise Declined(f"{url} sent what is no grant ({type(error).__name__})") from error
    return found


# a member


def _member(url: str, which: str, output: Output) -> None:
    said = json.loads(get(f"{url}/network/members"))
    one = next((one for one in said["members"] if one["id"] == which), None)
    if one is None:
        raise Declined(f"the directory has no member {which!r}: {', '.join(one['id'] for one in said['members'])}")
    shown = [
        ("name", one["name"]),
        ("is", f"{', '.join(one['kinds'])}; {one['stage']}; votes {one['power']}"),
        ("endpoint", one["endpoint"]),
        ("node key", one["node_key"]),
        ("receipt key", one["receipt_key"]),
        ("sealing key", shortened(one["sealing_key"])),
        ("as of", f"height {said['height']}"),
    ]
    output.answer({**one, "height": said["height"]}, f"member {one['id']}", *_table(shown))


def _table(rows: list[tuple[str, str]]) -> list[str]:
    width = max(_LABEL_WIDTH, *(len(name) for name, _ in rows))
    return [f"  {name:<{width}} {value}" for name, value in rows]


def _utc(time_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_s))
