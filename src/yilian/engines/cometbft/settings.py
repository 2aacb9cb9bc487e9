"""What CometBFT is told: config.toml, genesis.json and the key files of one member's home, from our genesis and a table of seats.

Source   design 02 "Engines"; CometBFT v0.38.25, config/toml.go and types/genesis.go. What is not written here has CometBFT's own default.
"""

from __future__ import annotations

import base64
import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from yilian.base.keys import SigningKey
from yilian.contracts import directory
from yilian.engines.cometbft.items import BATCH_SIZE_BYTES_MAX
from yilian.engines.faults import EngineStopped
from yilian.ledger import Genesis

VERSION = "0.38.25"
HOME = "validator"  # CometBFT's home inside the folder of the ledger
SEATS = "/seats"  # asked of the application through CometBFT: whose the voting keys are
SOCKET = "abci.sock"  # in the same folder, which is where CometBFT is started: so the path is short wherever the folder lies
BLOCK_SIZE_BYTES_MAX = 4 * 1024 * 1024  # design 02: 4-8 MB
MEMPOOL_ITEMS_MAX = 200_000  # design 02
REQUESTS_IN_A_CALL_MAX = 1_000  # JSON-RPC requests in one POST
BODY_SIZE_BYTES_MAX = 8 * 1024 * 1024  # of one POST: a full call of single transactions in base64
HEARTBEAT_S = 5  # design 02: an idle network makes a block this often, so that block time does not stand still


@dataclass(frozen=True, slots=True)
class Seat:
    """Where one member's CometBFT is reached, and the secret of its key: by it the others know the peer, and its votes (ADR-0117).

    `host` is the address that the others dial; `listen` the one that CometBFT binds, where that is another (a translated address).
    """

    member: str
    host: str
    p2p_port: int
    rpc_port: int
    consensus_seed: bytes = field(repr=False)
    listen: str = ""

    @property
    def peer(self) -> str:
        """Return `id@host:port`, by which the others dial it."""
        return f"{address(self.consensus_key).hex()}@{self.host}:{self.p2p_port}"

    @property
    def consensus_key(self) -> bytes:
        """Return the public key of the seat, which the directory knows."""
        return SigningKey(self.consensus_seed).public_key


@dataclass(frozen=True, slots=True)
class Trust:
    """From where a new member begins a state sync: two RPC addresses, and a block that it knows to be the network's."""

    rpc_servers: tuple[str, ...]
    height: int
    block_hash: str


def address(public_key: bytes) -> bytes:
    """Return CometBFT's 20-byte address of an Ed25519 key."""
    return directory.validator_address(public_key)


def chain_id(network: bytes) -> str:
    """Return the chain id that stands for a network (CometBFT allows 50 characters)."""
    return f"yilian-{network.hex()[:40]}"


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a member's CometBFT listens, the ids of the peers that it dials, and the RPC servers from which it begins, if it does."""

    p2p_host: str
    p2p: int
    rpc: int
    named: frozenset[str]
    servers: tuple[str, ...] = ()


def read_ports(folder: Path) -> Ports:
    """Return the addresses and peers that the config in `FOLDER/validator` names.

    Raises   NotAHome
    """
    path = folder / HOME / "config/config.toml"
    try:
        config = tomllib.loads(path.read_text())
        p2p, rpc = urlsplit(config["p2p"]["laddr"]), urlsplit(config["rpc"]["laddr"])
        named = frozenset([peer.partition("@")[0] for peer in config["p2p"]["persistent_peers"].split(",") if peer])
        servers = tuple([each.strip() for each in config.get("statesync", {}).get("rpc_servers", "").split(",") if each])
    except (OSError, KeyError, tomllib.TOMLDecodeError) as error:
        raise NotAHome(path) from error
    if p2p.hostname is None or p2p.port is None or rpc.port is None:
        raise NotAHome(path)
    return Ports(p2p.hostname, p2p.port, rpc.port, named, servers)


def seat_key(folder: Path) -> bytes | None:
    """Return the public key of the seat in `FOLDER/validator`; None if its file cannot be read."""
    try:
        return base64.b64decode(json.loads((folder / HOME / "config/priv_validator_key.json").read_text())["pub_key"]["value"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def founding_powers(folder: Path) -> dict[str, int]:
    """Return the validators that the genesis in `FOLDER/validator` names: address as hex -> power.

    Raises   NotAHome
    """
    path = folder / HOME / "config/genesis.json"
    try:
        return {each["address"].lower(): int(each["power"]) for each in json.loads(path.read_text())["validators"]}
    except (OSError, ValueError, KeyError) as error:
        raise NotAHome(path) from error


class NotAHome(EngineStopped):
    """The folder holds no member of a consortium."""

    def __init__(self, path: Path) -> None:
        """Name the file that is missing or cannot be read."""
        super().__init__(f"{path} is missing or is no CometBFT configuration: write it with `yilian network init` or `yilian network join`")


Section = dict[str, str | int | bool]

_TOP: Final[Section] = {"db_backend": "goleveldb", "log_level": "error", "log_format": "plain", "abci": "socket", "filter_peers": True}
_P2P: Final[Section] = {
    "addr_book_strict": False,  # members may sit behind private addresses
    "allow_duplicate_ip": True,  # several members on one machine: the demo and the tests
    "pex": False,  # members are named by vote, not found by gossip
    "send_rate": 200_000_000,
    "recv_rate": 200_000_000,
    "max_packet_msg_payload_size": 64 * 1024,  # a batch or a block's part in one packet, not in 60 (ADR-0114)
    "flush_throttle_timeout": "10ms",
    "persistent_peers_max_dial_period": "2s",  # a member that restarts is back at once
}
_MEMPOOL: Final[Section] = {
    "recheck": False,  # nonce, `exp` and rules are judged when the block is applied; form and signatures do not change
    "size": MEMPOOL_ITEMS_MAX,
    "cache_size": 2 * MEMPOOL_ITEMS_MAX,
    "max_txs_bytes": 512 * 1024 * 1024,
    "max_tx_bytes": BATCH_SIZE_BYTES_MAX + 1024,
}
_CONSENSUS: Final[Section] = {
    "timeout_propose": "700ms",
    "timeout_propose_delta": "300ms",
    "timeout_prevote": "400ms",
    "timeout_prevote_delta": "200ms",
    "timeout_precommit": "400ms",
    "timeout_precommit_delta": "200ms",
    "timeout_commit": "200ms",
    "create_empty_blocks": False,
    "create_empty_blocks_interval": f"{HEARTBEAT_S}s",
    "peer_gossip_sleep_duration": "10ms",
    "peer_query_maj23_sleep_duration": "500ms",
}


def write_home(folder: Path, genesis: Genesis, seat: Seat, others: Sequence[str], trust: Trust | None = None) -> None:
    """Write the home of one member's CometBFT into `FOLDER/validator`; `others` are the peers it keeps dialling (`Seat.peer`)."""
    home = folder / HOME
    (home / "config").mkdir(parents=True, exist_ok=True)
    (home / "data").mkdir(exist_ok=True)
    (home / "config/config.toml").write_text(_config(seat, others, trust))
    (home / "config/genesis.json").write_text(json.dumps(genesis_document(genesis), indent=1) + "\n")
    _write_secret(home / "config/node_key.json", {"priv_key": _private(seat.consensus_seed)})
    votes = SigningKey(seat.consensus_seed).public_key
    key = {"address": address(votes).hex().upper(), "pub_key": _public(votes), "priv_key": _private(seat.consensus_seed)}
    _write_secret(home / "config/priv_validator_key.json", key)
    state = home / "data/priv_validator_state.json"
    if not state.exists():  # never set back: it is what keeps a validator from voting twice
        _write_secret(state, {"height": "0", "round": 0, "step": 0})


def genesis_document(genesis: Genesis) -> dict[str, object]:
    """Return CometBFT's genesis: its validators are ours, and our genesis travels in `app_state`."""
    validators = [
        {
            "address": address(member.consensus_key).hex().upper(),
            "pub_key": _public(member.consensus_key),
            "power": str(member.power),
            "name": member.id,
        }
        for member in genesis.members
        if member.consensus_key is not None and member.power > 0
    ]
    return {
        "genesis_time": datetime.fromtimestamp(genesis.started_at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "chain_id": chain_id(genesis.network_id),
        "initial_height": "1",
        "consensus_params": {
            "block": {"max_bytes": str(BLOCK_SIZE_BYTES_MAX), "max_gas": "-1"},
            "evidence": {"max_age_num_blocks": "100000", "max_age_duration": str(48 * 3600 * 10**9), "max_bytes": "1048576"},
            "validator": {"pub_key_types": ["ed25519"]},
            "version": {"app": str(genesis.rules_version)},
            "abci": {"vote_extensions_enable_height": "0"},  # design 02: no vote extensions
        },
        "validators": validators,
        "app_hash": "",
        "app_state": {"yilian": base64.b64encode(genesis.encoded()).decode()},
    }


def _config(seat: Seat, others: Sequence[str], trust: Trust | None) -> str:
    rpc: Section = {
        "laddr": f"tcp://127.0.0.1:{seat.rpc_port}",  # our own node asks it, nobody else
        "max_request_batch_size": REQUESTS_IN_A_CALL_MAX,
        "max_body_bytes": BODY_SIZE_BYTES_MAX,
    }
    p2p: Section = {**_P2P, "laddr": f"tcp://{seat.listen or seat.host}:{seat.p2p_port}", "persistent_peers": ",".join(others)}
    sections: dict[str, Section] = {
        "": {**_TOP, "proxy_app": f"unix://{SOCKET}", "moniker": seat.member},
        "rpc": rpc,
        "p2p": p2p,
        "mempool": _MEMPOOL,
        "consensus": _CONSENSUS,
        "storage": {"discard_abci_responses": True},  # results are in our own store
        "tx_index": {"indexer": "null"},
        "instrumentation": {"prometheus": False},
    }
    return "# Written by `yilian network init`; what each setting is for stands in docs/operating/validators.md.\n" + "\n".join(
        [*[_section(name, values) for name, values in sections.items()], sync_section(trust)]
    )


def sync_section(trust: Trust | None) -> str:
    """Return the part of the configuration that says from where a member without a block begins."""
    sync: Section = {"enable": trust is not None}
    if trust is not None:
        sync |= {
            "rpc_servers": ",".join(trust.rpc_servers),
            "trust_height": trust.height,
            "trust_hash": trust.block_hash,
            "trust_period": "168h0m0s",
            "discovery_time": "5s",
            "chunk_request_timeout": "10s",
        }
    return _section("statesync", sync)


def _section(name: str, values: Section) -> str:
    head = f"[{name}]\n" if name else ""
    return head + "".join([f"{key} = {json.dumps(value)}\n" for key, value in values.items()])  # JSON scalars are TOML scalars


def _public(key: bytes) -> dict[str, str]:
    return {"type": "tendermint/PubKeyEd25519", "value": base64.b64encode(key).decode()}


def _private(seed: bytes) -> dict[str, str]:
    return {"type": "tendermint/PrivKeyEd25519", "value": base64.b64encode(seed + SigningKey(seed).public_key).decode()}


def _write_secret(path: Path, value: object) -> None:
    path.touch(mode=0o600)
    path.write_text(json.dumps(value, indent=1) + "\n")
