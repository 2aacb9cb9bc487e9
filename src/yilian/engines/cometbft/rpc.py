"""CometBFT's JSON-RPC over HTTP, as much of it as a node needs of its own CometBFT on loopback.

Source   CometBFT v0.38.25, rpc/openapi/openapi.yaml
"""

from __future__ import annotations

import base64
import http.client
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import orjson

from yilian.base.codec import decode
from yilian.engines.cometbft.settings import SEATS

CALL_S_MAX = 10.0  # a call waits for one CheckTx; a CometBFT that takes longer is as good as gone


class Taken(Enum):
    """What became of an item that was handed to the mempool."""

    IN = 1  # passed CheckTx, or was there already
    FULL = 2  # the mempool has no room: later
    REFUSED = 3  # CheckTx refused it


class Unreachable(RuntimeError):
    """A CometBFT does not answer: it is starting, or has died and is being started again."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What CometBFT says of itself."""

    height: int
    is_catching_up: bool
    behind_s: int  # since the latest block
    peers: int
    seat_key: bytes  # public: by it the others know the peer and its votes
    peer_ids: frozenset[str]  # addresses of the peers' seat keys (ADR-0117), as hex


class Rpc:
    """A client of one CometBFT; one thread uses it."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        """Talk to loopback, as a rule."""
        self._connection = http.client.HTTPConnection(host, port, timeout=CALL_S_MAX)

    def broadcast(self, items: Sequence[bytes]) -> list[Taken]:
        """Hand items to the mempool in their order, in one call, and return when the last one has passed CheckTx.

        All but the last go without waiting: CometBFT checks in order, so when the last is through, all are. What CheckTx says of those is
        not known here; the caller has asked the same question itself before.

        Raises   Unreachable
        """
        last = len(items) - 1
        calls = [
            {
                "jsonrpc": "2.0",
                "id": number,
                "method": "broadcast_tx_sync" if number == last else "broadcast_tx_async",
                "params": {"tx": base64.b64encode(item).decode()},
            }
            for number, item in enumerate(items)
        ]
        answers = self._post(calls if last else calls[0])
        listed = answers if isinstance(answers, list) else [answers]
        return [_taken(each) for each in sorted(listed, key=lambda each: int(each["id"]))]

    def standing(self) -> Standing:
        """Return height, whether it is still catching up, and how many peers it has.

        Raises   Unreachable
        """
        status = self._ask("status")
        sync, seat_key = status["sync_info"], base64.b64decode(status["validator_info"]["pub_key"]["value"])
        net = self._ask("net_info")
        latest = datetime.fromisoformat(sync["latest_block_time"][:19] + "+00:00")  # RFC 3339 in UTC, with nanoseconds
        behind_s = max(0, int((datetime.now(UTC) - latest).total_seconds()))
        ids = frozenset([str(each["node_info"]["id"]) for each in net["peers"] or ()])
        return Standing(int(sync["latest_block_height"]), bool(sync["catching_up"]), behind_s, int(net["n_peers"]), seat_key, ids)

    def others_height(self) -> int:
        """Return the height that the peers are deciding, as their median says (one of them may say anything); 0 if none says any.

        Raises   Unreachable
        """
        said = [int(each["peer_state"]["round_state"]["height"]) for each in self._ask("dump_consensus_state")["peers"] or ()]
        return sorted(said)[(len(said) - 1) // 2] if said else 0

    def kept(self) -> tuple[int, int]:
        """Return the heights of the first and the last block that it has; (0, 0) if it has none.

        Raises   Unreachable
        """
        sync = self._ask("status")["sync_info"]
        return int(sync["earliest_block_height"]), int(sync["latest_block_height"])

    def block_hash(self, height: int) -> str:
        """Return the hash of the block at a height, which a new member trusts to begin a state sync.

        Raises   Unreachable
        """
        return str(self.commit(height)["signed_header"]["commit"]["block_id"]["hash"])

    def commit(self, height: int) -> Any:  # noqa: ANN401 - JSON
        """Return the header of the block at a height and the votes for it, as CometBFT hands them out.

        Raises   Unreachable
        """
        return self._ask("commit", height=str(height))

    def validators(self) -> dict[bytes, int]:
        """Return CometBFT's current validators: consensus key -> power.

        Raises   Unreachable
        """
        listed = self._ask("validators", per_page="100")["validators"]
        return {base64.b64decode(each["pub_key"]["value"]): int(each["voting_power"]) for each in listed}

    def seats(self) -> dict[bytes, str]:
        """Return the member that each voting key is of, as the application says.

        Raises   Unreachable
        """
        said = decode(base64.b64decode(self._ask("abci_query", path=SEATS)["response"]["value"] or ""))
        return dict(said)  # our own application answers with pairs

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    def _ask(self, method: str, **params: str) -> Any:  # noqa: ANN401 - JSON
        answer = self._post({"jsonrpc": "2.0", "id": 0, "method": method, "params": params})
        if "result" not in answer:
            raise Unreachable(f"CometBFT does not answer {method}: {answer.get('error')}")
        return answer["result"]

    def _post(self, body: object) -> Any:  # noqa: ANN401 - JSON
        try:
            self._connection.request("POST", "/", orjson.dumps(body), {"content-type": "application/json"})
            return orjson.loads(self._connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._connection.close()  # the next call opens a new one
            raise Unreachable(f"CometBFT does not answer ({type(error).__name__})") from error


def _taken(answer: dict[str, Any]) -> Taken:
    """Read one answer. Errors carry Go's error text, the only place where "full" and "there already" can be told apart."""
    error = answer.get("error")
    if error is None:
        return Taken.IN if answer["result"]["code"] == 0 else Taken.REFUSED
    text = str(error.get("data", ""))
    if "already exists in cache" in text:
        return Taken.IN
    if "mempool is full" in text:
        return Taken.FULL
    return Taken.REFUSED
