"""The nodes: one that is asked again when it answers badly, or several of which most must agree.

With several, no single one is believed: an answer counts when more than half of them give it. Of
three, one may lie, lag, hang or be away, and neither hides a dispute nor invents a deposit.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import structlog
from web3.providers.async_base import AsyncJSONBaseProvider
from web3.types import RPCEndpoint, RPCResponse

log = structlog.get_logger(__name__)

_TRIES = 4  # of a question that a node answers with an error: behind an address may be several
_PAUSE = 0.05  # seconds before the second try, doubled for each further one
_REVERTED = 3  # the code of an error that is an answer: the contract refuses
_GRACE = 1.0  # seconds that the slowest have, where all are asked and most would do
_BACKLOG = 32  # questions that one may have left open; then it is not asked
_COMPLAIN = 60.0  # seconds until a node is complained about again

_SEND = "eth_sendRawTransaction"
_BLOCK = "eth_getBlockByNumber"
# Where the block is that a question is about. "The latest" is not the same for all of them.
_BLOCK_AT = {"eth_call": 1, "eth_estimateGas": 1, "eth_getBalance": 1, "eth_getCode": 1}
# Guesses, of which the one in the middle is as good as that of a node that does not lie.
_GUESSES = ("eth_estimateGas", "eth_maxPriorityFeePerGas")

_Answers = dict[int, RPCResponse]  # number of the node -> what it says


class NoMajority(OSError):
    """Not enough nodes give the same answer; worth trying again."""


def provider(urls: Sequence[str], timeout: float) -> Node | Nodes:
    """web3's provider for these nodes. timeout: seconds for one request."""
    nodes = [Node(url, timeout) for url in urls]
    return nodes[0] if len(nodes) == 1 else Nodes(nodes)


class Node(AsyncJSONBaseProvider):
    """Asks again when an answer is an error or nonsense.

    Behind one address there may be several nodes, some of which lag: they do not know a block that
    another one told about. The next try is likely to reach another one.

    web3's own provider is not used: all of its requests in a process share a lock, which one that
    is cancelled at the wrong moment leaves closed.
    """

    def __init__(self, url: str, timeout: float) -> None:
        super().__init__()
        self._url = url
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None
        parts = urlsplit(url)  # its path may hold a token
        self.name = f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)

    async def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        pause = _PAUSE
        for _ in range(_TRIES - 1):
            try:
                answer = await self._post(method, params)
                if not _is_odd(method, params, answer):
                    return answer
            except (aiohttp.ClientPayloadError, aiohttp.ClientResponseError, ValueError):
                pass
            await asyncio.sleep(pause)
            pause *= 2
        return await self._post(method, params)

    async def disconnect(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _post(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=self._timeout,
                raise_for_status=True,
                headers={"Content-Type": "application/json"},
            )
        body = self.encode_rpc_request(method, params)
        async with self._session.post(self._url, data=body) as response:
            return self.decode_rpc_response(await response.read())


def _is_odd(method: str, params: Any, answer: Any) -> bool:
    """Whether another node may answer better."""
    if not isinstance(answer, dict) or method == _SEND:
        return method != _SEND
    error = answer.get("error")
    if error:
        return not isinstance(error, dict) or error.get("code") != _REVERTED
    by_number = method == _BLOCK and str(params[0]).startswith("0x")
    return by_number and answer.get("result") is None


class Nodes(AsyncJSONBaseProvider):
    """Several nodes as one. Raises NoMajority."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        super().__init__()
        self._nodes = nodes
        self._needed = len(nodes) // 2 + 1
        self._complained: dict[int, float] = {}  # node -> when
        # Answers that are not needed any more are waited for: they show which node differs.
        self._open: dict[asyncio.Task[RPCResponse], int] = {}

    async def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        if method == _SEND:
            return await self._send(params)
        if method == _BLOCK and params[0] == "latest":
            return await self._latest()
        at = _BLOCK_AT.get(method)
        if at is not None and params[at:] and params[at] == "latest":
            number = (await self._latest())["result"]["number"]
            params = [*params[:at], number, *params[at + 1 :]]
        if method in _GUESSES:
            return await self._ask(method, params, self._middle, _GRACE)
        return await self._ask(method, params, self._most)

    async def disconnect(self) -> None:
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        for node in self._nodes:
            await node.disconnect()

    # -- decisions: what the answers say, None as long as it is open ------------------------------

    def _most(self, method: str, answers: _Answers, complete: bool) -> RPCResponse | None:
        """The answer that most nodes give."""
        votes = {number: _vote(method, answer) for number, answer in answers.items()}
        for vote, count in Counter(votes.values()).most_common(1):
            if count >= self._needed:
                return next(answers[number] for number in votes if votes[number] == vote)
        return None

    def _middle(self, method: str, answers: _Answers, complete: bool) -> RPCResponse | None:
        """The guess in the middle, of the larger ones in doubt; or the refusal of most."""
        refused = self._most(method, _refusals(method, answers), complete)
        if refused is not None:
            return refused
        guesses = sorted(
            (int(answer["result"], 16), number)
            for number, answer in answers.items()
            if _is_quantity(answer.get("result"))
        )
        if len(guesses) < self._needed or not complete:
            return None
        return answers[guesses[len(guesses) // 2][1]]

    def _reached(self, method: str, answers: _Answers, complete: bool) -> RPCResponse | None:
        """The latest block of most, else the newest of the latest ones that most have reached."""
        agreed = self._most(method, answers, complete)
        if agreed is not None or not complete:
            return agreed
        numbers = sorted(
            (
                (int(answer["result"]["number"], 16), number)
                for number, answer in answers.items()
                if answer["result"] is not None
            ),
            reverse=True,
        )
        if len(numbers) < self._needed:
            return None
        return answers[numbers[self._needed - 1][1]]

    async def _latest(self) -> RPCResponse:
        found = await self._ask(_BLOCK, ["latest", False], self._reached, _GRACE)
        if found["result"] is None:
            raise NoMajority("most nodes have no latest block")
        # One node has said so. Most must have this block.
        return await self._ask(_BLOCK, [found["result"]["number"], False], self._most)

    # -- asking -----------------------------------------------------------------------------------

    async def _ask(
        self,
        method: str,
        params: Any,
        decide: Callable[[str, _Answers, bool], RPCResponse | None],
        grace: float | None = None,
    ) -> RPCResponse:
        """Ask all of them; return as soon as it is decided, without waiting for the rest.

        grace: seconds after which those count that have answered, if they are enough.
        """
        answers: _Answers = {}
        asked = self._start(method, params)
        waiting = set(asked)
        end: float | None = None
        while waiting:
            left = None if end is None else max(0.0, end - time.monotonic())
            done, waiting = await asyncio.wait(
                waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                answer = self._answer(task, asked[task], method)
                if answer is not None:
                    answers[asked[task]] = answer
            found = decide(method, answers, not waiting or not done)
            if found is not None:
                if grace is None:
                    compare = partial(self._compare, asked, method, _vote(method, found))
                    for task in asked:
                        task.add_done_callback(compare)  # the late ones as well
                return found
            if not done:
                break
            if grace is not None and end is None and len(answers) >= self._needed:
                end = time.monotonic() + grace
        raise NoMajority(
            f"{self._needed} of {len(self._nodes)} nodes must give the same answer to {method}, "
            f"and they do not: {len(answers)} answered"
        )

    def _start(self, method: str, params: Any) -> dict[asyncio.Task[RPCResponse], int]:
        """Put a question to all of them, but those that leave too many open."""
        backlog = Counter(self._open.values())
        asked = {}
        for number, node in enumerate(self._nodes):
            if backlog[number] >= _BACKLOG:
                self._complain(number, "a node does not answer", method)
                continue
            task = asyncio.create_task(node.make_request(RPCEndpoint(method), params))
            task.add_done_callback(self._ended)
            asked[task] = self._open[task] = number
        return asked

    def _ended(self, task: asyncio.Task[RPCResponse]) -> None:
        number = self._open.pop(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.debug("a node failed", node=self._nodes[number].name, error=type(error).__name__)

    def _answer(
        self, task: asyncio.Task[RPCResponse], number: int, method: str
    ) -> RPCResponse | None:
        failed = task.cancelled() or task.exception() is not None
        if not failed and _vote(method, task.result()) is not _NO_VOTE:
            return task.result()
        if not task.cancelled():
            self._complain(number, "a node does not answer", method)
        return None

    def _compare(
        self,
        asked: dict[asyncio.Task[RPCResponse], int],
        method: str,
        decided: Hashable,
        task: asyncio.Task[RPCResponse],
    ) -> None:
        answer = self._answer(task, asked[task], method)
        if answer is not None and _vote(method, answer) != decided:
            self._complain(asked[task], "a node answers differently", method)

    def _complain(self, number: int, what: str, method: str) -> None:
        now = time.monotonic()
        if now - self._complained.get(number, -_COMPLAIN) >= _COMPLAIN:
            self._complained[number] = now
            log.warning(what, node=self._nodes[number].name, question=method)

    async def _send(self, params: Any) -> RPCResponse:
        """Hand a transaction to all of them. The first that takes it is enough to return, else
        what most of them have against it."""
        refusals: Counter[str] = Counter()
        waiting = set(self._start(_SEND, params))
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if task.cancelled() or task.exception() is not None:
                    continue
                answer = task.result()
                if not isinstance(answer, dict) or "error" not in answer:
                    return answer
                refusals[json.dumps(answer["error"], sort_keys=True)] += 1
        for text, count in refusals.most_common(1):
            if count >= self._needed:
                return {"jsonrpc": "2.0", "id": 0, "error": json.loads(text)}
        raise NoMajority("no node takes the transaction")


# -- votes ----------------------------------------------------------------------------------------

_NO_VOTE = object()


def _vote(method: str, answer: Any) -> Hashable:
    """What two answers must have in common to be the same: what the service goes by. Nodes differ
    in the rest. _NO_VOTE for an error of the node, and for nonsense."""
    try:
        if answer.get("error"):
            return "reverted" if answer["error"]["code"] == _REVERTED else _NO_VOTE
        result = answer["result"]
        if method == "eth_getLogs":
            parts = ("address", "data", "blockNumber", "transactionHash")
            return tuple((*_parts(one, parts), *map(str.lower, one["topics"])) for one in result)
        if result is not None and method in _PARTS:
            fee = result.get("baseFeePerGas")  # of blocks, on chains that have it
            return (*_parts(result, _PARTS[method]), str(fee).lower())
        return json.dumps(result, sort_keys=True).lower() if result is not None else None
    except (AttributeError, KeyError, TypeError, ValueError):
        return _NO_VOTE


_PARTS = {
    _BLOCK: ("number", "hash", "timestamp"),
    "eth_getTransactionReceipt": ("transactionHash", "blockHash", "blockNumber", "status"),
    "eth_getTransactionByHash": ("hash", "input"),
}


def _parts(value: Any, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(value[name].lower() for name in names)


def _is_quantity(value: Any) -> bool:
    try:
        int(value, 16)
    except (TypeError, ValueError):
        return False
    return True


def _refusals(method: str, answers: _Answers) -> _Answers:
    return {
        number: answer for number, answer in answers.items() if _vote(method, answer) == "reverted"
    }
