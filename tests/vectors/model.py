"""What a vector holds, and how the real engine is set up from one. `docs/protocol.md` explains every field.

All byte strings are lower-case hexadecimal. Nothing is checked here: that is the tests' business.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, cast

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM1024PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from nautilus_core import (
    ANONYMOUS,
    INITIATOR,
    RESPONDER,
    Anonymous,
    Channel,
    Context,
    CustomProtocolStep,
    Entropy,
    Handshake,
    Identity,
    InvalidMessage,
    MultiMessageStep,
    PreSharedKey,
    Profile,
    Role,
    Stage,
    TrustPolicy,
    profiles,
    trust,
)
from nautilus_core.crypto.entropy import EphemeralKey
from nautilus_core.events import Event, PeerClosed, Question, Signal
from nautilus_core.profiles import StepFactory
from nautilus_core.steplist import AnyStep
from nautilus_core.testing import Pair, ReplayingEntropy

DIRECTORY: Final = Path(__file__).parent

Side: TypeAlias = Literal["initiator", "responder"]
Tape: TypeAlias = Sequence[tuple[str, Any]]

_EC_CURVES: Final[dict[str, tuple[ec.EllipticCurve, int]]] = {
    "P256": (ec.SECP256R1(), 32),
    "P384": (ec.SECP384R1(), 48),
    "ecdsa-p256-sha256": (ec.SECP256R1(), 32),
    "ecdsa-p384-sha384": (ec.SECP384R1(), 48),
}


class Draw(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One thing that an end drew. `kind` is random, encapsulation, signature, extraction, or an ephemeral key's algorithm."""

    kind: str
    bytes: str | None = None
    private_key: str | None = None
    public_key: str | None = None
    ciphertext: str | None = None
    shared_secret: str | None = None
    signature: str | None = None


class IdentityKey(msgspec.Struct, kw_only=True):
    """A long-term key pair, and how people know its owner."""

    scheme: str
    private_key: str
    public_key: str
    peer_id: str
    words: str


class Trust(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A trust policy: anyone, ask, or pinned to peer ids."""

    policy: Literal["anyone", "ask", "pinned"]
    anonymous: bool = False
    peers: tuple[str, ...] = ()


class Psk(msgspec.Struct, kw_only=True):
    """A pre-shared key."""

    identity: str
    key: str
    initiator: str
    responder: str
    hash: str


class EndOf(msgspec.Struct, kw_only=True):
    """How one end is set up, and what it drew, in order."""

    suites: tuple[str, ...]
    protocols: tuple[str, ...] = ()
    target: str | None = None
    extensions: dict[str, str] = {}
    trust: Trust = msgspec.field(default_factory=lambda: Trust(policy="anyone"))
    identity: IdentityKey | None = None
    draws: list[Draw] = []
    psk_name: str | msgspec.UnsetType = msgspec.UNSET
    psks: tuple[Psk, ...] | msgspec.UnsetType = msgspec.UNSET


class CustomStep(msgspec.Struct, kw_only=True):
    """A step of the application's: raw messages, one after the other; several make it a step of several messages."""

    name: str
    sender: Side
    before: str
    needs: Literal["keys", "peer"]
    protocol_id: str | None = None
    required: bool = True
    on: tuple[Side, ...] = ("initiator", "responder")
    messages: tuple[str, ...]


class Frame(msgspec.Struct, kw_only=True):
    """One handshake message: as it enters the transcript, as it travels, and the transcript's hash through it."""

    step: str
    sender: Side
    sealed: bool
    plaintext: str
    wire: str
    transcript_hash: str | None


class Flight(msgspec.Struct, kw_only=True):
    """What one end sent without waiting: names of steps, `accept` or `alert`."""

    sender: Side
    sends: tuple[str, ...]


class Proof(msgspec.Struct, kw_only=True):
    """How one end's signature is made."""

    sender: Side
    transcript_hash: str
    presented: str
    presented_hash: str
    signed: str
    signature: str


class Export(msgspec.Struct, kw_only=True):
    """One use of the exporter; `label` is text."""

    label: str
    context: str
    length: int
    output: str


class SessionOf(msgspec.Struct, kw_only=True):
    """What both ends agreed on; the extensions are what the peer of each end said."""

    protocol: str | None
    steps: tuple[str, ...]
    skipped: tuple[str, ...]
    initiator_sees: dict[str, str]
    responder_sees: dict[str, str]
    channel_binding: str
    exports: list[Export]


class Call(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What the application called on its channel."""

    name: Literal["send_data", "update_keys", "close", "abort"]
    data: str | None = None
    ask_peer: bool | None = None
    code: int | None = None
    retry_after: int | None = None


class Record(msgspec.Struct, kw_only=True):
    """One channel record; `call` is None for what an end sends by itself."""

    sender: Side
    call: Call | None
    type: Literal["data", "control", "sealed alert"]
    generation: int
    sequence: int
    plaintext: str
    wire: str


class TrafficUpdate(msgspec.Struct, kw_only=True):
    """The keys of one direction after an update; generation 0 is `i_ap` and `r_ap`."""

    sender: Side
    generation: int
    secret: str
    key: str
    iv: str


class Abort(msgspec.Struct, kw_only=True):
    """An end gives up when it is asked about its peer."""

    by: Side
    code: int
    retry_after: int | None


class AlertOf(msgspec.Struct, kw_only=True):
    """The alert that ended the handshake; `secret` is None for one in plaintext."""

    sender: Side
    secret: Literal["i_hs", "r_hs"] | None
    sequence: int | None
    code: int
    retry_after: int | None
    plaintext: str
    wire: str


class Vector(msgspec.Struct, kw_only=True):
    """One handshake, and what its ends said to each other afterwards."""

    description: str
    protocol: str = "nautilus/1"
    suite: str | None = None
    initiator: EndOf
    responder: EndOf
    custom_steps: list[CustomStep] = []
    abort: Abort | None = None
    flights: list[Flight] = []
    frames: list[Frame] = []
    secrets: dict[str, str] = {}
    proofs: list[Proof] = []
    alert: AlertOf | None = None
    session: SessionOf | None = None
    records: list[Record] = []
    traffic_updates: list[TrafficUpdate] = []

    def end(self, side: Role) -> EndOf:
        """One end's part."""
        return self.initiator if side is INITIATOR else self.responder


def side_of(role: Role) -> Side:
    """How a vector names a role."""
    return "initiator" if role is INITIATOR else "responder"


def names() -> list[str]:
    """The names of all stored vectors."""
    return sorted(path.stem for path in DIRECTORY.glob("*.json"))


def path_of(name: str) -> Path:
    """Where a vector is stored."""
    return DIRECTORY / f"{name}.json"


def load(name: str) -> Vector:
    """A stored vector."""
    return msgspec.json.decode(path_of(name).read_bytes(), type=Vector)


def dump(vector: Vector) -> bytes:
    """A vector as it is stored."""
    return msgspec.json.format(msgspec.json.encode(vector), indent=1) + b"\n"


# ------------------------------------------------------------------------------------------------ keys and draws


def private_bytes(key: object) -> bytes:
    """A private key as vectors have it: a raw key or seed, or a scalar in big endian."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.private_numbers().private_value.to_bytes((key.curve.key_size + 7) // 8, "big")
    raw = cast(
        "X25519PrivateKey | MLKEM768PrivateKey | MLKEM1024PrivateKey | Ed25519PrivateKey | MLDSA65PrivateKey", key
    )
    return raw.private_bytes_raw()


def public_bytes(key: EphemeralKey) -> bytes:
    """An ephemeral key's public part, as it stands in a key share."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return key.public_key().public_bytes_raw()


def ephemeral_key(kind: str, data: bytes) -> EphemeralKey:
    """The reverse of `private_bytes` for an ephemeral key."""
    if kind == "X25519":
        return X25519PrivateKey.from_private_bytes(data)
    if kind == "MLKEM768":
        return MLKEM768PrivateKey.from_seed_bytes(data)
    if kind == "MLKEM1024":
        return MLKEM1024PrivateKey.from_seed_bytes(data)
    return ec.derive_private_key(int.from_bytes(data, "big"), _EC_CURVES[kind][0])


def identity_from(key: IdentityKey | None) -> Identity | Anonymous:
    """The identity with this key."""
    if key is None:
        return ANONYMOUS
    data = bytes.fromhex(key.private_key)
    if key.scheme == "ed25519":
        return Identity(Ed25519PrivateKey.from_private_bytes(data))
    if key.scheme == "ml-dsa-65":
        return Identity(MLDSA65PrivateKey.from_seed_bytes(data))
    return Identity(ec.derive_private_key(int.from_bytes(data, "big"), _EC_CURVES[key.scheme][0]))


def draws_of(tape: Tape) -> list[Draw]:
    """A recorded tape as a vector has it."""
    draws = []
    for kind, value in tape:
        if kind in ("random", "extraction"):
            draws.append(Draw(kind=kind, bytes=value.hex()))
        elif kind == "encapsulation":
            draws.append(Draw(kind=kind, shared_secret=value[0].hex(), ciphertext=value[1].hex()))
        elif kind == "signature":
            draws.append(Draw(kind=kind, signature=value.hex()))
        else:
            draws.append(Draw(kind=kind, private_key=private_bytes(value).hex(), public_key=public_bytes(value).hex()))
    return draws


def tape_of(draws: Sequence[Draw]) -> list[tuple[str, Any]]:
    """The reverse of `draws_of`."""
    tape: list[tuple[str, Any]] = []
    for draw in draws:
        if draw.kind == "encapsulation":
            tape.append((draw.kind, (bytes.fromhex(draw.shared_secret or ""), bytes.fromhex(draw.ciphertext or ""))))
        elif draw.private_key is not None:
            tape.append((draw.kind, ephemeral_key(draw.kind, bytes.fromhex(draw.private_key))))
        else:
            tape.append((draw.kind, bytes.fromhex(draw.bytes or draw.signature or "")))
    return tape


# ------------------------------------------------------------------------------------------------ the real engine


class ScriptedStep(MultiMessageStep):
    """A step that says what stands in the vector, and wants to hear what stands there."""

    def __init__(self, name: str, sender: Role, needs: Stage, messages: Sequence[bytes]) -> None:
        self.name, self.sender, self.needs = name, sender, needs
        self._messages = messages
        self._position = 0

    def write(self, context: Context) -> bytes:
        """The next message."""
        return self._next()

    def read(self, context: Context, message: bytes) -> None:
        """The next message must be that of the vector."""
        if message != self._next():
            raise InvalidMessage("not what stands in the vector")

    def _next(self) -> bytes:
        message = self._messages[self._position]
        self._position += 1
        self.finished = self._position == len(self._messages)
        return message


def _factory(step: CustomStep) -> StepFactory:
    messages = [bytes.fromhex(message) for message in step.messages]
    sender = Role(step.sender)
    needs = {"keys": Stage.KEYS, "peer": Stage.PEER}[step.needs]

    def read(context: Context, message: bytes) -> None:
        if message != messages[0]:
            raise InvalidMessage("not what stands in the vector")

    def make() -> AnyStep:
        if len(messages) > 1:
            return ScriptedStep(step.name, sender, needs, messages)
        return CustomProtocolStep[bytes](
            step.name,
            sender,
            write=lambda context: messages[0],
            read=read,
            protocol_id=step.protocol_id,
            required=step.required,
            needs=needs,
        )

    return make


def _trust_from(data: Trust) -> TrustPolicy:
    if data.policy == "pinned":
        return trust.pinned(*data.peers)
    return (trust.ask if data.policy == "ask" else trust.anyone)(anonymous=data.anonymous)


def psk_from(psk: Psk) -> PreSharedKey:
    """A pre-shared key as the package has it."""
    return PreSharedKey(
        psk.identity, bytes.fromhex(psk.key), initiator=psk.initiator, responder=psk.responder, hash=psk.hash
    )


def profile_of(vector: Vector, role: Role) -> Profile:
    """One end's profile."""
    end = vector.end(role)
    profile = profiles.nautilus(
        identity=identity_from(end.identity),
        trust=_trust_from(end.trust),
        protocols=end.protocols,
        suites=end.suites,
        target=end.target,
        extensions={name: bytes.fromhex(value) for name, value in end.extensions.items()},
        psk_name=end.psk_name or None,
        psks=[psk_from(psk) for psk in end.psks or ()],
    )
    for step in vector.custom_steps:
        if side_of(role) in step.on:
            profile = profile.insert_before(step.before, _factory(step))
    return profile


def handshake_of(vector: Vector, role: Role, entropy: Entropy | None = None) -> Handshake:
    """One end, which replays its draws unless it is given other entropy."""
    entropy = ReplayingEntropy(tape_of(vector.end(role).draws)) if entropy is None else entropy
    return Handshake(role, profile_of(vector, role), entropy=entropy)


def pair_of(vector: Vector, initiator: Entropy | None = None, responder: Entropy | None = None) -> Pair:
    """Both ends, which give up where the vector says so; `run` has run."""

    def answer(question: Question[Any]) -> None:
        abort = vector.abort
        if abort is None:
            question.answer(None)
            return
        end = pair.initiator if abort.by == "initiator" else pair.responder
        end.handshake.abort("the vector says so", code=abort.code, retry_after=abort.retry_after)

    pair = Pair(
        handshake_of(vector, INITIATOR, initiator),
        handshake_of(vector, RESPONDER, responder),
        answer=answer,
        close=False,
    )
    return pair.run()


def perform(channel: Channel, call: Call) -> None:
    """Make `call` on a channel."""
    if call.name == "send_data":
        channel.send_data(bytes.fromhex(call.data or ""))
    elif call.name == "update_keys":
        channel.update_keys(ask_peer=bool(call.ask_peer))
    elif call.name == "close":
        channel.close()
    else:
        channel.abort("the vector says so", code=call.code or 0, retry_after=call.retry_after)


def events_of(channel: Channel) -> list[Event]:
    """All that the channel has to say now; raises what ended it."""
    events: list[Event] = []
    while not isinstance(event := channel.next_event(), Signal):
        events.append(event)
        if isinstance(event, PeerClosed):
            break  # which is said again at every later call
    return events


def split_frames(data: bytes) -> list[bytes]:
    """The frames, header and body, of a flight."""
    frames = []
    while data:
        end = 4 + int.from_bytes(data[1:4], "big")
        frames.append(data[:end])
        data = data[end:]
    return frames
