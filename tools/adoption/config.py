"""The configuration file: TOML, checked completely before anything starts.

Relative paths in it are relative to the file. Amounts are integers in the asset's smallest unit;
large ones may be written as strings.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from eth_utils import is_checksum_formatted_address, to_canonical_address, to_checksum_address
from perun.model import Asset, ether
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from adoption.bridge import addresses

MAX_UINT64 = 2**64 - 1
MAX_UINT256 = 2**256 - 1


class ConfigError(ValueError):
    """The configuration cannot be used; the text says why and where."""


def parse_address(text: object) -> bytes:
    """20 bytes from "0x" and 40 hex digits; a mixed-case one must carry a valid checksum."""
    if isinstance(text, bytes) and len(text) == 20:
        return text
    if not isinstance(text, str) or not text.startswith("0x") or len(text) != 42:
        raise ValueError('an address is "0x" and 40 hex digits')
    try:
        address = to_canonical_address(text)
    except ValueError as error:
        raise ValueError('an address is "0x" and 40 hex digits') from error
    if is_checksum_formatted_address(text) and to_checksum_address(address) != text:
        raise ValueError("the checksum of the address is wrong: mistyped?")
    return address


def parse_amount(value: object) -> int:
    """An amount as an integer or as a string of decimal digits."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_UINT256:
        raise ValueError("an amount is a whole number from 0 to 2**256-1")
    return value


def parse_nodes(value: object) -> tuple[str, ...]:
    """Addresses of nodes: one, or up to nine different ones in a list."""
    several = [value] if isinstance(value, str) else value
    if not isinstance(several, list | tuple) or not 1 <= len(several) <= 9:
        raise ValueError("an address, or a list of 1 to 9")
    if not all(isinstance(one, str) for one in several) or len(set(several)) < len(several):
        raise ValueError("the addresses are texts, each different from the others")
    return tuple(several)


def parse_bytes(value: object) -> bytes:
    """Bytes from "0x" and hex digits."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str) or not value.startswith("0x"):
        raise ValueError('"0x" and hex digits are expected')
    try:
        return bytes.fromhex(value[2:])
    except ValueError as error:
        raise ValueError('"0x" and hex digits are expected') from error


Address = Annotated[bytes, BeforeValidator(parse_address)]
Amount = Annotated[int, BeforeValidator(parse_amount)]
Nodes = Annotated[tuple[str, ...], BeforeValidator(parse_nodes)]
Budget = dict[str, Amount]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SerialLine(_Section):
    """One serial line with one device at its other end. baud is ignored by a pty."""

    path: str
    baud: int = 115200


class ServiceSection(_Section):
    """Where to listen and where to keep things."""

    listen: list[str] = ["127.0.0.1:1338"]  # without TLS
    plain_from: Literal["loopback", "anywhere"] = "loopback"  # who may come without TLS
    listen_tls: list[str] = []
    certificate: Path = Path("certificate.pem")
    serial: list[SerialLine] = []
    database: Path = Path("adoption.sqlite")
    identity_key: Path = Path("identity.key")


class ChainSection(_Section):
    """Which chain and which contracts. Times in seconds."""

    rpc: Nodes
    chain_id: Annotated[int, Field(gt=0, le=MAX_UINT256)]
    adjudicator: Address
    generation: Annotated[int, Field(ge=1, le=2)] = 2  # of Perun's contracts
    funder_key: Path = Path("funder.key")
    confirmations: Annotated[int, Field(ge=1, le=1000)] = 1
    poll_interval: Annotated[float, Field(gt=0, le=3600)] = 2.0
    request_timeout: Annotated[float, Field(gt=0)] = 10.0
    start_block: Annotated[int, Field(ge=0)] = 0
    log_range: Annotated[int, Field(ge=1)] = 1000
    history_blocks: Annotated[int, Field(ge=1)] = 200_000
    bump_after: Annotated[float, Field(gt=0)] = 30.0
    max_fee_gwei: Annotated[float, Field(gt=0)] = 500.0


class AssetSection(_Section):
    """One asset that the service funds and watches."""

    name: Annotated[str, Field(min_length=1, max_length=32)]
    kind: Literal["eth", "erc20"]
    holder: Address
    token: Address | None = None

    @model_validator(mode="after")
    def _token_fits_kind(self) -> AssetSection:
        if (self.kind == "erc20") != (self.token is not None):
            raise ValueError('an "erc20" asset needs its token, an "eth" asset has none')
        return self


class PolicySection(_Section):
    """What the service agrees to. Durations in seconds."""

    min_challenge_duration: Annotated[int, Field(ge=1, le=MAX_UINT64)] = 60
    max_challenge_duration: Annotated[int, Field(ge=1, le=MAX_UINT64)] = 30 * 86400
    open_registration: bool = False
    default_budget: Budget = {}
    # Who deposits only after the others: the responder never has to dispute over a proposer who
    # does not pay.
    egoistic: Literal["responder", "always", "never"] = "responder"
    # How long money waits for an authorization that fits exactly before a smaller one is used.
    authorization_wait: Annotated[float, Field(ge=0)] = 600.0
    # How long everything is kept about a channel that is paid out.
    keep_settled: Annotated[float, Field(ge=0)] = 30 * 86400.0

    @model_validator(mode="after")
    def _ordered(self) -> PolicySection:
        if self.min_challenge_duration > self.max_challenge_duration:
            raise ValueError("min_challenge_duration is over max_challenge_duration")
        return self


class LimitsSection(_Section):
    """What protects the service from devices and strangers. Times in seconds."""

    sessions: Annotated[int, Field(ge=1)] = 1000
    handshake_timeout: Annotated[float, Field(gt=0)] = 15.0
    send_timeout: Annotated[float, Field(gt=0)] = 30.0
    requests_per_second: Annotated[float, Field(gt=0)] = 20.0
    request_burst: Annotated[int, Field(ge=1)] = 40
    witness_per_second: Annotated[float, Field(gt=0)] = 0.5  # each asks the node several times
    witness_burst: Annotated[int, Field(ge=1)] = 8
    outgoing_queue: Annotated[int, Field(ge=4)] = 64
    frame_bytes: Annotated[int, Field(ge=1024, le=65535)] = 16384
    open_devices: Annotated[int, Field(ge=1)] = 100  # let in by open_registration
    channels_per_device: Annotated[int, Field(ge=1)] = 64
    evidence_per_channel: Annotated[int, Field(ge=1)] = 8


class DeviceSection(_Section):
    """A device that may use the service. budget: asset name -> amount."""

    address: Address
    name: Annotated[str, Field(max_length=64)] = ""
    budget: Budget = {}
    egoistic: bool | None = None


class BridgedDevice(_Section):
    """A device that speaks to go-perun nodes through this service. name: of its wire identity."""

    address: Address
    name: Annotated[str, Field(min_length=1, max_length=64)]


class PeerSection(_Section):
    """A go-perun node. name: what devices call it; address: its marshalled wire address."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    wire: Literal["simple", "ethereum"] = "simple"
    address: Annotated[bytes, BeforeValidator(parse_bytes), Field(min_length=1, max_length=1024)]
    connect: str | None = None  # host:port; without it the node has to dial
    serializer: Literal["protobuf", "perunio"] = "protobuf"
    certificate: Path | None = None  # of its TLS listener, pinned
    devices: list[Address] = []  # who may reach it; empty: every device of the bridge

    @model_validator(mode="after")
    def _provable(self) -> PeerSection:
        addresses.check(self.wire, self.address)
        return self


class BridgeSection(_Section):
    """The bridge to go-perun nodes. keys: a directory; listen: TLS, for nodes that dial."""

    listen: list[str] = []
    listen_perunio: list[str] = []
    keys: Path = Path("bridge")
    device: Annotated[list[BridgedDevice], Field(min_length=1)]
    peer: Annotated[list[PeerSection], Field(min_length=1, max_length=64)]

    @model_validator(mode="after")
    def _unique(self) -> BridgeSection:
        for what, values in (
            ("devices share an address", [device.address for device in self.device]),
            ("devices share a name", [device.name for device in self.device]),
            ("peers share a name", [peer.name for peer in self.peer]),
            ("peers share an address", [peer.address for peer in self.peer]),
        ):
            if len(set(values)) != len(values):
                raise ValueError(f"two {what}")
        known = {device.address for device in self.device}
        for peer in self.peer:
            if not known.issuperset(peer.devices):
                raise ValueError(
                    f'peer "{peer.name}" names a device that is not in [[bridge.device]]'
                )
        return self


class PerunRsSection(_Section):
    """The published protocol of perun-rs devices, which proves nobody's identity. devices: whom it
    is about; each needs a [[device]] with a budget. setup: where the demonstration's devices ask
    for the asset holder and for `receiver`."""

    listen: Annotated[list[str], Field(min_length=1)]
    devices: Annotated[list[Address], Field(min_length=1)]
    setup: str | None = None
    receiver: Address | None = None

    @model_validator(mode="after")
    def _complete(self) -> PerunRsSection:
        if (self.setup is None) != (self.receiver is None):
            raise ValueError('"setup" and "receiver" belong together')
        return self


class Config(_Section):
    """The whole file."""

    service: ServiceSection = ServiceSection()
    chain: ChainSection
    asset: Annotated[list[AssetSection], Field(min_length=1, max_length=64)]
    policy: PolicySection = PolicySection()
    limits: LimitsSection = LimitsSection()
    device: list[DeviceSection] = []
    bridge: BridgeSection | None = None
    perun_rs: PerunRsSection | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        names = [asset.name for asset in self.asset]
        holders = [asset.holder for asset in self.asset]
        if len(set(names)) != len(names) or len(set(holders)) != len(holders):
            raise ValueError("two assets share a name or a holder")
        budgets = [self.policy.default_budget, *(device.budget for device in self.device)]
        for name in {name for budget in budgets for name in budget}:
            if name not in names:
                raise ValueError(f'a budget names the asset "{name}", which is not listed')
        addresses = [device.address for device in self.device]
        if len(set(addresses)) != len(addresses):
            raise ValueError("a device is listed twice")
        if self.bridge is not None and self.chain.generation != 2:
            raise ValueError("bridge: it speaks with nodes of generation 2: set chain.generation")
        if self.perun_rs is not None:
            if self.chain.generation != 1:
                raise ValueError("perun_rs: its devices speak generation 1: set chain.generation")
            if not set(self.perun_rs.devices).issubset(addresses):
                raise ValueError("perun_rs: a device has no [[device]] section")
            if self.perun_rs.setup and not any(asset.kind == "eth" for asset in self.asset):
                raise ValueError("perun_rs: setup needs an asset of kind eth")
        return self

    def assets(self) -> tuple[Asset, ...]:
        """The served assets as the channels name them, in the order of the file."""
        return tuple(ether(self.chain.chain_id, asset.holder) for asset in self.asset)

    def asset_at(self, holder: bytes) -> AssetSection | None:
        """The served asset of this asset holder, or None."""
        return next((asset for asset in self.asset if asset.holder == holder), None)


def load(path: Path) -> Config:
    """Read and check the file. Raises ConfigError with every problem in it."""
    try:
        with path.open("rb") as file:
            document = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    return parse(document, path.parent)


def parse(document: dict[str, Any], base: Path) -> Config:
    """Check a document; relative paths are taken from `base`. Raises ConfigError."""
    try:
        config = Config.model_validate(document)
    except ValidationError as error:
        lines = []
        for problem in error.errors(include_url=False, include_input=False):
            where = ".".join(str(part) for part in problem["loc"]) or "file"
            lines.append(f"{where}: {problem['msg']}")
        raise ConfigError("; ".join(lines)) from error
    service = config.service.model_copy(
        update={
            "database": base / config.service.database,
            "identity_key": base / config.service.identity_key,
            "certificate": base / config.service.certificate,
        }
    )
    chain = config.chain.model_copy(update={"funder_key": base / config.chain.funder_key})
    bridge = _bridge_from(config.bridge, base) if config.bridge else None
    return config.model_copy(update={"service": service, "chain": chain, "bridge": bridge})


def _bridge_from(bridge: BridgeSection, base: Path) -> BridgeSection:
    peers = [
        peer.model_copy(update={"certificate": base / peer.certificate})
        if peer.certificate
        else peer
        for peer in bridge.peer
    ]
    return bridge.model_copy(update={"keys": base / bridge.keys, "peer": peers})
