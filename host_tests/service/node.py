"""A node between the service and anvil that lags, errs or lies as a test wants it.

What it says while it lags is what a real node says that has not seen the newest blocks: it knows
the chain up to its head, and nothing after it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
from aiohttp import web

_TAGS = ("latest", "pending", "safe", "finalized")
_BLOCK_AT = {  # methods that name a block, and where
    "eth_call": 1,
    "eth_estimateGas": 1,
    "eth_getBalance": 1,
    "eth_getCode": 1,
    "eth_getTransactionCount": 1,
    "eth_getBlockByNumber": 0,
}
NOT_FOUND = {"code": -32000, "message": "header not found"}

Fault = Callable[["Node", web.Request, Any], Any]


class Node:
    """`async with Node(url) as node:` serves at node.url.

    head: the newest block that it knows; None: all. heads: such numbers, one for each call in
    turn, as when several nodes share an address. faults: functions that spoil answers, one for
    each call in turn; None in it is none.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self.head: int | None = None
        self.heads: Iterator[int | None] = itertools.repeat(None)
        self.faults: Iterator[Fault | None] = itertools.repeat(None)
        self.calls: list[str] = []
        self.url = ""

    async def __aenter__(self) -> Node:
        self._client = aiohttp.ClientSession()
        app = web.Application()
        app.router.add_post("/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        await self._client.close()

    async def stop(self) -> None:
        """Listen no more."""
        await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        call = await request.json()
        self.calls.append(call["method"])
        fault = next(self.faults)
        if fault is not None:
            spoiled = fault(self, request, call)
            if asyncio.iscoroutine(spoiled):
                spoiled = await spoiled
            if isinstance(spoiled, web.StreamResponse):
                return spoiled
            return web.json_response(spoiled)
        head = next(self.heads)
        if head is None:
            head = self.head
        answer = await (self.forward(call) if head is None else self._old(call, head))
        return web.json_response({"jsonrpc": "2.0", "id": call["id"], **answer})

    async def forward(self, call: Any) -> dict[str, Any]:
        """What the real node answers: {"result": ...} or {"error": ...}."""
        async with self._client.post(self._upstream, json=call) as response:
            answer = json.loads(await response.read())
        return {key: answer[key] for key in ("result", "error") if key in answer}

    async def _ask(self, method: str, *params: Any) -> Any:
        call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return (await self.forward(call)).get("result")

    async def _old(self, call: Any, head: int) -> dict[str, Any]:
        """The answer of a node whose newest block is `head`."""
        method, params = call["method"], list(call["params"])
        if method == "eth_blockNumber":
            return {"result": hex(head)}
        if method in _BLOCK_AT:
            at = _BLOCK_AT[method]
            params += ["latest"] * (at + 1 - len(params))
            if params[at] in _TAGS or params[at] is None:
                params[at] = hex(head)
            if int(params[at], 16) > head:
                known = method == "eth_getBlockByNumber"
                return {"result": None} if known else {"error": NOT_FOUND}
        if method == "eth_getLogs":
            query = dict(params[0])
            if "blockHash" in query:
                block = await self._ask("eth_getBlockByHash", query["blockHash"], False)
                if block is None or int(block["number"], 16) > head:
                    return {"error": {"code": -32000, "message": "unknown block"}}
            elif int(query["fromBlock"], 16) > head:
                return {"result": []}
            else:
                query["toBlock"] = hex(min(int(query["toBlock"], 16), head))
            params[0] = query
        answer = await self.forward({**call, "params": params})
        if method in ("eth_getTransactionReceipt", "eth_getTransactionByHash"):
            found = answer.get("result")
            if found and found.get("blockNumber") and int(found["blockNumber"], 16) > head:
                return {"result": None}
        return answer


# -- faults ---------------------------------------------------------------------------------------


def error(_: Node, __: web.Request, call: Any) -> Any:
    """An error of JSON-RPC."""
    return {"jsonrpc": "2.0", "id": call["id"], "error": {"code": -32603, "message": "busy"}}


def odd_error(_: Node, __: web.Request, call: Any) -> Any:
    """An error that is none."""
    return {"jsonrpc": "2.0", "id": call["id"], "error": "no"}


def nothing(_: Node, __: web.Request, call: Any) -> Any:
    """Null for an answer."""
    return {"jsonrpc": "2.0", "id": call["id"], "result": None}


def another_type(_: Node, __: web.Request, call: Any) -> Any:
    """A result of a type that nobody expects."""
    return {"jsonrpc": "2.0", "id": call["id"], "result": {"number": [1, 2], "hash": 7}}


def garbage_text(_: Node, __: web.Request, call: Any) -> Any:
    """A text for a result."""
    return {"jsonrpc": "2.0", "id": call["id"], "result": "0xzz"}


def no_object(_: Node, __: web.Request, ___: Any) -> Any:
    """JSON, but a list."""
    return [1, 2, 3]


def html(_: Node, __: web.Request, ___: Any) -> web.Response:
    """What a proxy in between says."""
    return web.Response(text="<html>Bad Gateway</html>", content_type="text/html", status=502)


def overloaded(_: Node, __: web.Request, ___: Any) -> web.Response:
    return web.Response(status=503)


def too_many(_: Node, __: web.Request, ___: Any) -> web.Response:
    return web.Response(status=429)


def empty(_: Node, __: web.Request, ___: Any) -> web.Response:
    return web.Response(body=b"", content_type="application/json")


async def cut_short(node: Node, request: web.Request, call: Any) -> web.StreamResponse:
    """The true answer, of which the end is missing."""
    body = json.dumps({"jsonrpc": "2.0", "id": call["id"], **await node.forward(call)}).encode()
    response = web.StreamResponse(headers={"Content-Length": str(len(body))})
    response.content_type = "application/json"
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


async def hangs(_: Node, __: web.Request, ___: Any) -> web.Response:
    """No answer for longer than the service waits."""
    await asyncio.sleep(1.5)
    return web.Response(status=504)


FAULTS: tuple[Fault, ...] = (
    error,
    odd_error,
    nothing,
    another_type,
    garbage_text,
    no_object,
    html,
    overloaded,
    too_many,
    empty,
    cut_short,
    hangs,
)
