"""Show what stands on the ledger, as a member's node has it: an entry, a block's signed root, a member of the directory.

yilian show entry 12           by its index, or by its id (64 hexadecimal digits)
yilian show block 7            the log's root at a height, as the member signed it; `latest` is a height too
"""

import argparse
import time
from typing import TYPE_CHECKING, Any

from yilian.cli import places
from yilian.cli.asking import get
from yilian.cli.frame import Declined, Fact, Misused, Output

if TYPE_CHECKING:
    from yilian.base.transaction import Transaction

SUMMARY = "show an entry or a block's signed root"
_ID_DIGITS = 64


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("what", choices=("entry", "block"))
    parser.add_argument("which", metavar="WHICH", help="an index, an id, a height, or latest")
    parser.add_argument("--member", default="regulator-1", metavar="ID", help="whose node to ask (default %(default)s)")
    parser.add_argument("--node", metavar="URL", help="a node outside of a region")
    places.option(parser)


def run(options: argparse.Namespace, output: Output) -> None:
    """Ask and show."""
    url = options.node or places.node_url(places.region(options), options.member)
    {"entry": _entry, "block": _block}[options.what](url, options.which, output)


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
    header, first = transaction.header, proven[0]
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
    lines = [
        f"entry {first.index}  {kind}, carried by {header.issuer}, {_utc(first.checkpoint.time_s)}, height {first.checkpoint.height}",
        f"  id           {transaction.id.hex()}",
        *(f"  {name:<12} {value.hex() if isinstance(value, bytes) else value}" for name, value in message.items()),
        *(f"  approved by  {key.hex()}" for key, _ in transaction.approvals),
        f"  receipts of  {', '.join(signers)}; {len(statement)} bytes, which is all that other members know of it",
    ]
    output.answer(facts, *lines)


def _message(transaction: "Transaction") -> tuple[str, dict[str, Any]]:
    """Return the kind's name and the message's fields by name."""
    from yilian.ledger import NEWEST, rules_of

    kind = rules_of(NEWEST).get(transaction.kind)
    if kind is None:
        return transaction.header.subject, {str(number): value for number, value in transaction.body.items()}
    names = {field.number: field.name for field in kind.fields}
    return kind.name, {names[number]: value for number, value in transaction.body.items()}


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
        f"  root         {checkpoint.root.hex()}",
        f"  network      {checkpoint.network.hex()}",
    )


def _utc(time_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_s))
