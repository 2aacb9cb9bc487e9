"""One member's data folder: what is in it, and what its `node.toml` says.

Folder   node.toml, genesis.cbor, vault.db (keys), ledger.db (the engine's), records.db (FHIR), node.db (the tables of this floor).
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

ENGINES: Final = ("embedded", "remote", "consortium")
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


class SettingsWrong(ValueError):
    """The folder or its node.toml cannot be used; the sentence says what to do."""


@dataclass(frozen=True, slots=True)
class Settings:
    """A member's node.toml. `endpoint` is how others reach it; `operator` is the URL of the node that orders, for engine = "remote"."""

    id: str
    endpoint: str
    host: str = "127.0.0.1"
    port: int = 8700
    engine: str = "embedded"
    operator: str = ""
    tls_certificate: str = ""
    tls_key: str = ""
    ca_file: str = ""
    display: str = ""

    @property
    def is_loopback(self) -> bool:
        """Say whether only this machine can reach the node."""
        return self.host in _LOOPBACK

    @property
    def has_tls(self) -> bool:
        """Say whether the node serves TLS itself."""
        return bool(self.tls_certificate and self.tls_key)


@dataclass(frozen=True, slots=True)
class Folder:
    """The files of one member."""

    path: Path

    @property
    def settings(self) -> Path:
        """Return the path of node.toml."""
        return self.path / "node.toml"

    @property
    def genesis(self) -> Path:
        """Return the path of the network's first word."""
        return self.path / "genesis.cbor"

    @property
    def vault(self) -> Path:
        """Return the path of the key store."""
        return self.path / "vault.db"

    @property
    def ledger(self) -> Path:
        """Return the path of the engine's database."""
        return self.path / "ledger.db"

    @property
    def records(self) -> Path:
        """Return the path of the FHIR store."""
        return self.path / "records.db"

    @property
    def node(self) -> Path:
        """Return the path of this floor's tables."""
        return self.path / "node.db"

    @property
    def own_client(self) -> Path:
        """Return the path of the key by which the member's own software logs in."""
        return self.path / "own-client.key"


def read_settings(folder: Path) -> Settings:
    """Return what a folder's node.toml says.

    Raises   SettingsWrong
    """
    try:
        said = tomllib.loads(Folder(folder).settings.read_text())
    except FileNotFoundError as error:
        raise SettingsWrong(f"{folder} is no member's data folder: it has no node.toml (make one with `yilian node init`)") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsWrong(f"{Folder(folder).settings} is not TOML: {error}") from error
    known = set(Settings.__dataclass_fields__)
    if unknown := sorted(set(said) - known):
        raise SettingsWrong(f"{Folder(folder).settings} names settings that are not known: {', '.join(unknown)}")
    for name, value in said.items():
        wanted = int if name == "port" else str
        if type(value) is not wanted:
            raise SettingsWrong(f"{Folder(folder).settings}: {name} is a {'number' if wanted is int else 'text'}")
    if "id" not in said or "endpoint" not in said:
        raise SettingsWrong(f"{Folder(folder).settings} must name id and endpoint")
    return checked(Settings(**said))


def checked(settings: Settings) -> Settings:
    """Return the settings if a node may run with them.

    Raises   SettingsWrong: an engine that is not known, a remote one without its operator, a public address without TLS
    """
    if settings.engine not in ENGINES:
        raise SettingsWrong(f"engine is one of {', '.join(ENGINES)}, not {settings.engine!r}")
    if settings.engine == "remote" and not settings.operator:
        raise SettingsWrong('engine = "remote" needs operator = "https://..." of the node that orders')
    if not settings.is_loopback and not settings.has_tls:
        raise SettingsWrong(
            f'refusing to listen on {settings.host} without TLS: set tls_certificate and tls_key, or host = "127.0.0.1" behind a proxy'
        )
    return settings


def write_settings(folder: Path, settings: Settings) -> None:
    """Write a new node.toml, into a folder that is its owner's alone if it is made here; FileExistsError if there is one."""
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in asdict(checked(settings)).items() if value != ""]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with Folder(folder).settings.open("x", encoding="utf-8") as out:
        out.writelines(lines)
