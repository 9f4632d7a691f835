"""A fresh Ethereum chain in a process of its own, for tests, demonstrations and measurements."""

import ctypes
import signal
import subprocess
import tempfile
import time
from types import TracebackType
from typing import Any, Self

from eth_account import Account
from eth_account.signers.local import LocalAccount
from web3 import HTTPProvider, Web3

from contracts import toolchain
from contracts.ports import free_port

CHAIN_ID = 1337
# Everybody knows it: money on a chain of these accounts is worth nothing.
MNEMONIC = "test test test test test test test test test test test junk"
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def account(index: int) -> LocalAccount:
    """The key of a rich account; 0 to 9 own 10 000 ETH each and are unlocked at the node."""
    Account.enable_unaudited_hdwallet_features()
    key: LocalAccount = Account.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}")
    return key


class Anvil:
    """`with Anvil() as chain:` starts anvil on a free port and ends it afterwards.

    url     http://127.0.0.1:<port>; WebSocket connections go to ws_url
    web3    a connection to it

    A transaction is mined as soon as it arrives, each in a block of its own; with block_time
    (seconds) in blocks at that pace. If the thread that started it dies, so does anvil.
    """

    def __init__(self, block_time: int | None = None, chain_id: int = CHAIN_ID) -> None:
        self._options = ["--chain-id", str(chain_id), "--mnemonic", MNEMONIC, "--quiet"]
        if block_time is not None:
            self._options += ["--block-time", str(block_time)]
        self._process: subprocess.Popen[bytes] | None = None
        self._cache: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self, timeout: float = 60) -> None:
        """Returns when the chain answers. RuntimeError if it does not within timeout seconds."""
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.ws_url = f"ws://127.0.0.1:{port}"
        self.web3 = Web3(HTTPProvider(self.url))
        program = toolchain.anvil()
        # What it does not keep in memory it would leave in the user's home.
        self._cache = tempfile.TemporaryDirectory(prefix="anvil-")
        self._process = subprocess.Popen(
            [program, "--port", str(port), "--cache-path", self._cache.name, *self._options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            preexec_fn=lambda: _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM),
        )
        deadline = time.monotonic() + timeout
        while not self.web3.is_connected():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError("anvil does not start")
            time.sleep(0.02)

    def stop(self) -> None:
        """Ends the process; safe to call twice."""
        if self._process is not None:
            # It has nothing to save, and a gentle end would wait for the last of its connections.
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._cache is not None:
            self._cache.cleanup()
            self._cache = None

    def rpc(self, method: str, *params: Any) -> Any:
        """The result of a JSON-RPC call; RuntimeError with the node's text if it fails."""
        answer = self.web3.provider.make_request(method, params)  # type: ignore[arg-type]
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def snapshot(self) -> str:
        """The name of the chain as it is now, good for one revert."""
        name: str = self.rpc("evm_snapshot")
        return name

    def revert(self, snapshot: str) -> None:
        """Makes the chain what it was."""
        self.rpc("evm_revert", snapshot)

    def now(self) -> int:
        """The time of the latest block, in seconds."""
        return self.web3.eth.get_block("latest")["timestamp"]

    def at(self, timestamp: int) -> None:
        """The next block will have this time, which must be later than the latest block's."""
        self.rpc("evm_setNextBlockTimestamp", timestamp)

    def pass_time(self, seconds: int) -> None:
        """Mines a block that many seconds after the latest one."""
        self.at(self.now() + seconds)
        self.mine()

    def mine(self, blocks: int = 1) -> None:
        """Mines empty blocks."""
        self.rpc("anvil_mine", hex(blocks))
