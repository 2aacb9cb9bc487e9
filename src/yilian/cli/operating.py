"""What an operator has a running member do, through the operator's socket (`control`): the node key is in the process that runs, and
whoever reaches that socket is the same user. A no crosses the socket as it is and is raised again where the command runs.
"""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yilian.cli.frame import Answered, Declined, plain

if TYPE_CHECKING:
    from yilian.engines import Committed
    from yilian.node import Node

Act = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
Answer = Callable[["Node", dict[str, Any]], Awaitable[dict[str, Any]]]


def acting(node: "Node", answers: Mapping[str, Answer]) -> Act:
    """Return what answers the operator's socket for a node that runs: one of `answers`, by the request's `op`."""

    async def act(asked: dict[str, Any]) -> dict[str, Any]:
        answer = answers.get(str(asked.get("op")))
        if answer is None:
            return {"declined": f"the node that runs does not know {asked.get('op')!r}: it is of another version, start it anew"}
        try:
            return await answer(node, asked)
        except Declined as no:
            return {"declined": str(no)}
        except Answered as no:
            return {"refused": [no.number, no.name, dict(no.facts)]}

    return act


async def entered(node: "Node", kind: str, message: object) -> "Committed":
    """Return the entry of an act of this member's own.

    Raises   Declined, if it is suspended and would not even be heard; Answered
    """
    from yilian.base.refusals import Reason
    from yilian.contracts import directory
    from yilian.node import NodeRefused, carriage

    own = directory.member(node.engine.read(), node.id)
    if own is not None and own.stage is directory.Stage.SUSPENDED:
        raise Declined(
            f"{node.id} is suspended and carries nothing until a regulator reinstates it: "
            "`yilian network suspended` says since when and by whom"
        )
    try:
        transaction = node.carriage.enveloped(node.carriage.header(kind), carriage.act_of(kind, message), [])
        answer = await node.carriage.submit(transaction)
    except NodeRefused as no:
        raise Answered(int(no.no), no.no.name, _facts(no.facts)) from no
    if answer.index is None:
        raise Answered(answer.reason, Reason(answer.reason).name, _facts(answer.facts))
    return answer


def _facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: plain(value) for name, value in facts.items()}


def asked(home: Path, request: dict[str, Any], wait_s: float | None = None) -> dict[str, Any]:
    """Return what the member's running node answers. `member` of the socket is who is asked: whom a request is about has another name.

    Raises   Declined, Answered, Unreachable
    """
    from yilian.cli import control
    from yilian.node import read_settings

    assert "member" not in request, "it would be overwritten, and the act be about the member that acts"
    member = read_settings(home).id
    *_, last = control.ask(home, {**request, "member": member}, wait_s)
    done: dict[str, Any] = last["done"]
    if "declined" in done:
        raise Declined(str(done["declined"]))
    if "refused" in done:
        raise Answered(*done["refused"])
    return done
