"""members.toml, out of which `yilian network init` founds a consortium: read, with a sentence for whatever cannot be founded."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from yilian.cli.files import read_bytes
from yilian.cli.frame import Misused

_TEXTS: Final = ("name", "endpoint", "power", "host", "listen", "p2p_port", "rpc_port")
_FIELDS: Final = {"id": str, "kinds": list} | {field: int if field == "power" or field.endswith("_port") else str for field in _TEXTS}
_REQUIRED: Final = ("id", "kinds", "name", "endpoint")
PORT_MAX: Final = 65_535
_ID: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")  # it names a folder too


def read_members(file: Path) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Return what members.toml says.

    Raises   Misused
    """
    import tomllib

    try:
        said = tomllib.loads(read_bytes(file).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Misused(f"{file} is not TOML: {error}") from error
    rows, parameters = said.pop("member", []), said.pop("parameters", {})
    is_shaped = isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows) and isinstance(parameters, dict)
    if said or not is_shaped:
        raise Misused(f"{file} must have one [[member]] for each member, and [parameters]; nothing else")
    for row in rows:
        _require_member(file, row)
    if len({row["id"] for row in rows}) != len(rows):
        raise Misused(f"{file} names a member twice")
    if said_twice := _twice(rows):
        raise Misused(f"{file}: {said_twice}")
    if not all(type(value) is int for value in parameters.values()):
        raise Misused(f"{file}: parameters are whole numbers")
    return rows, parameters


def _require_member(file: Path, row: dict[str, Any]) -> None:
    """Require that one [[member]] says what a member is.

    Raises   Misused
    """
    from yilian.contracts.directory import MEMBER_KINDS

    if unknown := sorted(set(row) - set(_FIELDS)):
        raise Misused(f"{file}: a member has no {', '.join(unknown)}; it has {', '.join(_FIELDS)}")
    if missing := [name for name in _REQUIRED if name not in row]:
        raise Misused(f"{file}: a member lacks {', '.join(missing)}")
    if wrong := [name for name, value in row.items() if type(value) is not _FIELDS[name] or not _are_texts(value)]:
        raise Misused(f"{file}: {row['id']}: {', '.join(wrong)} is of the wrong type")
    if why := unfit(row["id"], row["endpoint"], row.get("power", 1), [row[name] for name in ("p2p_port", "rpc_port") if name in row]):
        raise Misused(f"{file}: {row['id']}: {why}")
    if unknown := [kind for kind in row["kinds"] if kind not in MEMBER_KINDS]:
        raise Misused(f"{file}: {row['id']}: {unknown[0]!r} is no kind of member: {', '.join(sorted(MEMBER_KINDS))}")


def unfit(member: str, endpoint: str, power: int, ports: Iterable[int]) -> str:
    """Say why nobody can be a member with this id, address, votes or ports; empty if one can."""
    from yilian.contracts.directory import POWER_MAX

    if not _ID.fullmatch(member):
        return f"{member!r} is no member's id: 1 to 32 of a-z, 0-9 and -"
    if not _is_address(endpoint):
        return f"{endpoint!r} is no address that others can reach, such as https://node.hospital.example"
    if not 0 <= power <= POWER_MAX:
        return f"{power} is no number of votes: 0 to {POWER_MAX}"
    return next((f"{port} is no port: 1 to 65535" for port in ports if not 1 <= port <= PORT_MAX), "")


def _twice(rows: list[dict[str, Any]]) -> str:
    """Say which address two members have, or one member twice; empty if each has its own."""
    taken: dict[object, str] = {}
    for number, row in enumerate(rows):
        seat = ports(row, number)
        for address in (row["endpoint"].rstrip("/").lower(), *(f"{row.get('host', '127.0.0.1')}:{port}" for port in seat)):
            other = taken.setdefault(address, row["id"])
            if other != row["id"]:
                return f"{other} and {row['id']} are both at {address}: give each an endpoint, a p2p_port and an rpc_port of its own"
        if seat[0] == seat[1]:
            return f"{row['id']} has {seat[0]} as its p2p_port and as its rpc_port: they are two"
    return ""


def _are_texts(value: object) -> bool:
    return not isinstance(value, list) or all(type(each) is str for each in value)


def _is_address(endpoint: str) -> bool:
    from urllib.parse import urlsplit

    try:
        url = urlsplit(endpoint)
        return url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:  # a port that is no number, or a bracket left open
        return False


def ports(row: dict[str, Any], number: int) -> tuple[int, int]:
    """Return the p2p and the RPC port of the member that stands at `number`."""
    from yilian.engines.consortium import P2P_PORT, PORTS_APART

    first = P2P_PORT + PORTS_APART * number
    return row.get("p2p_port", first), row.get("rpc_port", first + 1)
