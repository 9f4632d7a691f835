"""A go-perun node as a process of its own, driven through JSON lines."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from contracts.anvil import account
from contracts.deploy import Deployment
from contracts.ports import free_port
from demo import processes

from goperun.build import program

Event = dict[str, Any]
Amounts = Sequence[Sequence[int]]  # a row of (proposer's, proposee's) for each asset

ETHER, TOKEN = 0, 1  # the assets of a node, by index


class NodeError(RuntimeError):
    """A command failed; the text is go-perun's."""


class NodeDied(NodeError):
    """The process ended, with the end of what it wrote."""


@dataclass(frozen=True)
class Identity:
    """How a node is known on the wire. kind: simple (TLS, RSA) or eth; name: of a simple one."""

    name: str = "charger"
    kind: str = "simple"


class Node:
    """`async with Node(directory, url, place) as node:`

    directory: its own; url: the chain's WebSocket; place: the contracts; payer: index of the
    development chain's account whose key it has; identity: on the wire; serializer: protobuf or
    perunio; persistent: it keeps its channels in its directory; validate: it compares the code of
    the contracts with its own; generation: of go-perun.

    wire        its marshalled wire address
    account     0x...: signs its states, pays, receives
    port        where it listens on 127.0.0.1
    events      everything that it told by itself
    restored    the channels that it came back with
    """

    def __init__(
        self,
        directory: Path,
        url: str,
        place: Deployment,
        payer: int = 5,
        identity: Identity = Identity(),
        serializer: str = "protobuf",
        persistent: bool = False,
        validate: bool = False,
        generation: int = 2,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.wire = b""
        self.account = ""
        self.port = free_port()
        self.events: list[Event] = []
        self.restored: list[Event] = []
        self.on_event: Callable[[Event], None] = lambda event: None
        self._generation = generation
        self._log = directory / "go-perun.log"
        self._config: dict[str, Any] = {
            "chain": url,
            "key": account(payer).key.hex(),
            "name": identity.name,
            "wire": identity.kind,
            "identity": str(directory / "rsa.pem"),
            "serializer": serializer,
            "adjudicator": place.adjudicator,
            "assets": [
                {"holder": place.eth_holder},
                {"holder": place.erc20_holder, "token": place.token},
            ],
            "store": str(directory / "channels") if persistent else "",
            "validate": validate,
        }
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Event]] = {}
        self._news = asyncio.Condition()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.kill()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    @property
    def at(self) -> str:
        """host:port"""
        return f"127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        """Is the process alive?"""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Returns when it listens. Raises NodeDied, and what `program` raises."""
        binary = await asyncio.to_thread(program, self._generation)
        self._process = await processes.spawn([str(binary), "node"], self._log, self.directory)
        self._reader = asyncio.create_task(self._read(self._process))
        since = len(self.events)
        self._write({**self._config, "listen": self.at})
        ready = await self.told("ready", since=since)
        self.wire, self.account = bytes.fromhex(ready["wire"]), ready["account"]
        self.restored = ready["restored"]

    async def stop(self) -> None:
        """Have it end by itself; safe when it has ended."""
        if self._process is None:
            return
        if self._process.stdin is not None:
            self._process.stdin.close()
        await processes.end(self._process)
        if self._reader is not None:
            await self._reader

    async def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            processes.kill(self._process)
            await self._process.wait()
            if self._reader is not None:
                await self._reader

    # -- commands ---------------------------------------------------------------------------------

    async def command(self, do: str, timeout: float = 60, **args: Any) -> Event:
        """Have it do something, and wait; timeout: seconds it gets. NodeError when that fails."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        self._write({"id": number, "do": do, "timeout": timeout, **args})
        try:
            async with asyncio.timeout(timeout + 10):
                result = await answer
        except TimeoutError:
            raise NodeError(f"{do}: no answer within {timeout + 10:g} s") from None
        finally:
            self._answers.pop(number, None)
        if "error" in result:
            raise NodeError(result["error"])
        done: Event = result["ok"]
        return done

    async def peer(self, wire: bytes, at: str) -> None:
        """Tell it where to reach the peer with this marshalled wire address; at: host:port."""
        await self.command("peer", wire=wire.hex(), at=at)

    async def policy(self, **answers: str) -> None:
        """proposals=, updates=: "accept", "ignore", a text that refuses; updates="gain": accept
        what leaves it no poorer (the default)."""
        changed: dict[str, Any] = {**answers}
        await self.command("policy", **changed)

    async def propose(
        self,
        wire: bytes,
        balances: Amounts,
        duration: int = 600,
        assets: Sequence[int] = (ETHER,),
        agreement: Amounts | None = None,
        timeout: float = 60,
    ) -> Event:
        """Open a channel with a peer; returns when it is funded."""
        agreed: dict[str, Any] = {} if agreement is None else {"agreement": _texts(agreement)}
        return await self.command(
            "propose",
            timeout,
            wire=wire.hex(),
            balances=_texts(balances),
            duration=duration,
            assets=list(assets),
            **agreed,
        )

    async def pay(
        self, channel: str, *amounts: int, final: bool = False, timeout: float = 20
    ) -> Event:
        """Pay the peer; an amount for each asset."""
        texts = [str(amount) for amount in amounts]
        return await self.command("pay", timeout, channel=channel, amounts=texts, final=final)

    async def update(
        self,
        channel: str,
        balances: Amounts | None = None,
        final: bool = False,
        timeout: float = 60,
    ) -> Event:
        """Propose these balances, or those of now."""
        rows: dict[str, Any] = {} if balances is None else {"balances": _texts(balances)}
        return await self.command("update", timeout, channel=channel, final=final, **rows)

    async def finalize(self, channel: str, timeout: float = 60) -> Event:
        """Propose to end with what everybody owns now."""
        return await self.update(channel, final=True, timeout=timeout)

    async def settle(self, channel: str, timeout: float = 60) -> Event:
        """Conclude and withdraw; without a final state it registers and waits for the chain."""
        return await self.command("settle", timeout, channel=channel)

    async def register(self, channel: str, version: int, timeout: float = 60) -> None:
        """Register a state on the chain, however old."""
        await self.command("register", timeout, channel=channel, version=version)

    async def meddle(self, message: str, how: str) -> None:
        """Treat messages of its own of that name ("ChannelUpdateAcc") like that from now on:
        "silent", "v01", "high-s", "short", "wrong", "other"; "" sends them as they are."""
        await self.command("meddle", message=message, how=how)

    async def sync(self, channel: str) -> None:
        """Send the peer a ChannelSync."""
        await self.command("sync", channel=channel)

    async def channels(self) -> list[Event]:
        """How things stand."""
        listed: list[Event] = (await self.command("channels"))["channels"]
        return listed

    # -- events -----------------------------------------------------------------------------------

    async def told(self, event: str, timeout: float = 60, since: int = 0, **fields: Any) -> Event:
        """The first event of that name and with these fields; waits for it. Raises NodeDied."""
        wanted = {"event": event, **fields}

        def found() -> Event | None:
            for one in self.events[since:]:
                if all(one.get(name) == value for name, value in wanted.items()):
                    return one
            return None

        try:
            async with asyncio.timeout(timeout), self._news:
                while (result := found()) is None:
                    self._check_alive()
                    await self._news.wait()
        except TimeoutError:
            raise NodeError(
                f"the node did not tell {wanted} within {timeout:g} s, but {self.events[since:]}"
                f"\n{processes.tail(self._log)}"
            ) from None
        return result

    def log(self) -> str:
        """What go-perun wrote: there alone it says what it drops."""
        return self._log.read_text(errors="replace")

    def _check_alive(self) -> None:
        if not self.running:
            raise NodeDied(f"the go-perun node ended:\n{processes.tail(self._log, 40)}")

    def _write(self, line: Event) -> None:
        self._check_alive()
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(json.dumps(line).encode() + b"\n")

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            if not line.startswith(b"{"):
                continue  # some of go-perun's packages print what they like
            event = json.loads(line)
            if "id" in event:
                answer = self._answers.get(event["id"])
                if answer is not None and not answer.done():
                    answer.set_result(event)
                continue
            async with self._news:
                self.events.append(event)
                self._news.notify_all()
            self.on_event(event)
        await process.wait()
        died = NodeDied(f"the go-perun node ended:\n{processes.tail(self._log, 40)}")
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(died)
        async with self._news:
            self._news.notify_all()


def _texts(rows: Amounts) -> list[list[str]]:
    return [[str(amount) for amount in row] for row in rows]
