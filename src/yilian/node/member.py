"""A node: one member's capabilities, opened from its data folder. Use cases are functions that take one.

Wiring   the engine is made where rooms are wired together (`cli`, `sim`): one process may run many nodes over one embedded engine, or a
         node alone over its own. Everything else is opened here and closed in the reverse order.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from yilian.base.codec import Malformed
from yilian.base.keys import SEED_SIZE, SigningKey
from yilian.engines import Engine
from yilian.ledger import Founder, Genesis, Item, parse_genesis
from yilian.node.carriage import Carriage
from yilian.node.charts import Charts
from yilian.node.exporting import Exports
from yilian.node.flight import Flight
from yilian.node.grants import Grants
from yilian.node.housekeeping import Housekeeping
from yilian.node.journal import Journal
from yilian.node.keys import Keys
from yilian.node.limits import Limits
from yilian.node.logins import Logins
from yilian.node.members import Members
from yilian.node.releases import Releases
from yilian.node.settings import Folder, Settings, SettingsWrong, checked, read_settings, write_settings
from yilian.node.tokens import Tokens
from yilian.peers import Peers
from yilian.records import RecordStore, SqliteStore
from yilian.vault import BodyCipher, Vault, VersionKeys

Clock = Callable[[], int]  # Unix milliseconds
REGULATOR = "regulator"


def clock_ms() -> int:
    """Return the machine's time, Unix milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Node:
    """What one member's use cases work with."""

    settings: Settings
    folder: Folder
    genesis: Genesis
    engine: Engine
    keys: Keys
    store: RecordStore
    journal: Journal
    peers: Peers
    members: Members
    charts: Charts
    carriage: Carriage
    tokens: Tokens
    logins: Logins
    flight: Flight
    limits: Limits
    grants: Grants
    releases: Releases
    housekeeping: Housekeeping
    exports: Exports
    own_client: bytes  # public key by which the member's own software logs in
    changes: dict[int, Item] = field(default_factory=dict)  # of members, by index, with their receipts: `receipts.changes` keeps them

    @property
    def id(self) -> str:
        """Return the member's id."""
        return self.settings.id

    @property
    def network(self) -> bytes:
        """Return the network's id."""
        return self.keys.network

    @property
    def base_url(self) -> str:
        """Return the member's FHIR base."""
        return self.settings.endpoint + "/fhir"


def found(folder: Path, settings: Settings, *, kinds: tuple[str, ...], name: str, power: int, passphrase: str | None = None,
          seed: bytes | None = None) -> Founder:  # fmt: skip
    """Make a member's folder (node.toml, keys, the own software's key) and return how it enters a genesis.

    Raises   SettingsWrong, VaultExists, FileExistsError
    """
    checked(settings)
    write_settings(folder, settings)
    with Vault.create(folder, passphrase, seed=seed) as vault:
        founder = Founder(
            settings.id,
            kinds,
            name,
            settings.endpoint,
            vault.node_key.public_key,
            vault.sealing_key,
            vault.receipt_key.public_key,
            power,
        )
    with os.fdopen(os.open(Folder(folder).own_client, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(secrets.token_bytes(SEED_SIZE))
    return founder


def join(folder: Path, genesis: Genesis) -> None:
    """Write the network's genesis into a member's folder; FileExistsError if it belongs to one already."""
    with Folder(folder).genesis.open("xb") as out:
        out.write(genesis.encoded())


def read_genesis(folder: Path) -> Genesis:
    """Return the genesis in a member's folder.

    Raises   SettingsWrong, if there is none, or it is none
    """
    try:
        return parse_genesis(Folder(folder).genesis.read_bytes())
    except FileNotFoundError as error:
        raise SettingsWrong(f"{folder} has no genesis.cbor: this member has not joined a network yet") from error
    except Malformed as error:
        raise SettingsWrong(f"{folder}/genesis.cbor is damaged: copy another member's, it is the same file for all") from error


@asynccontextmanager
async def opened(path: Path, engine: Engine, *, passphrase: str | None = None, clock: Clock = clock_ms) -> AsyncIterator[Node]:
    """Open the node of a data folder on a running engine; on leaving, in-flight releases finish and the outbox is flushed.

    Raises   SettingsWrong, VaultFault, TablesDamaged, StoreUnavailable
    """
    folder, settings = Folder(path), read_settings(path)
    genesis = engine.genesis
    vault = Vault.open(path, passphrase)
    try:
        journal = Journal(folder.node)
        try:
            regulator = next((one.node_key for one in genesis.members if REGULATOR in one.kinds), vault.node_key.public_key)
            store = SqliteStore(
                folder.records,
                keys=VersionKeys(vault, regulator),
                network_id=genesis.network_id,
                base_url=settings.endpoint + "/fhir",
                cipher=BodyCipher(vault),
                now_ms=clock,
            )
            try:
                async with Peers(settings.ca_file or None, height=lambda: engine.read().chain.height) as peers:
                    node = _node(settings, folder, engine, Keys.of(vault, genesis.network_id), store, journal, peers, clock)
                    await node.housekeeping.start(node)
                    try:
                        yield node
                    finally:
                        await node.flight.land()
                        await node.housekeeping.stop()
            finally:
                store.close()
        finally:
            await journal.close()
    finally:
        vault.close()


def _own_client(path: Path) -> SigningKey:
    """Return the key with which the member's own software logs in.

    Raises   SettingsWrong
    """
    try:
        return SigningKey(path.read_bytes())
    except (FileNotFoundError, ValueError) as error:
        raise SettingsWrong(f"{path} is missing or damaged: bring it back from the backup of the keys, and start again") from error


def _node(
    settings: Settings, folder: Folder, engine: Engine, keys: Keys, store: RecordStore, journal: Journal, peers: Peers, clock: Clock
) -> Node:
    members = Members(engine, clock)
    charts = Charts(journal, keys)
    own_client = _own_client(folder.own_client).public_key
    flight, housekeeping = Flight(), Housekeeping()
    tokens = Tokens(settings, keys, journal, members, own_client)
    return Node(
        settings=settings,
        folder=folder,
        genesis=engine.genesis,
        engine=engine,
        keys=keys,
        store=store,
        journal=journal,
        peers=peers,
        members=members,
        charts=charts,
        carriage=Carriage(settings.id, keys, engine, members),
        tokens=tokens,
        logins=Logins(tokens, peers, members),
        flight=flight,
        limits=Limits(members.now_s),
        grants=Grants(settings.id, journal, keys, charts),
        releases=Releases(journal, keys, charts),
        housekeeping=housekeeping,
        exports=Exports(folder, keys, store, members, flight, housekeeping),
        own_client=own_client,
    )
