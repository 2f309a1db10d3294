"""Make the vectors: `python -m tests.vectors.generate` computes every stored vector again from its own draws.

With `--fresh` new keys and new randomness are drawn. The bytes are the real engine's; the values beside them come from
the package's own key schedule. The tests compute each of them a second time, without the package.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec

from nautilus_core import (
    INITIATOR,
    RESPONDER,
    SUITES,
    Channel,
    CipherSuite,
    Identity,
    PublicKey,
    Role,
    Session,
    StepCompleted,
    StepSkipped,
)
from nautilus_core.crypto.groups import GROUPS
from nautilus_core.crypto.hashing import HASHES
from nautilus_core.crypto.key_schedule import KeySchedule, binder
from nautilus_core.crypto.signatures import SCHEMES
from nautilus_core.crypto.traffic_key import TrafficKey
from nautilus_core.frames import ALERT, CONTROL, DATA, HANDSHAKE, SEALED_ALERT, header
from nautilus_core.steps.authentication import signed_content
from nautilus_core.testing import End, Pair, RecordingEntropy

from . import model
from .model import (
    Abort,
    AlertOf,
    Call,
    CustomStep,
    EndOf,
    Export,
    Flight,
    Frame,
    IdentityKey,
    Proof,
    Psk,
    Record,
    SessionOf,
    TrafficUpdate,
    Trust,
    Vector,
)

RETRY: Final = "initiator-key-share-retry"
WORKED_EXAMPLE: Final = "x25519-ed25519"
DOCUMENT: Final = model.DIRECTORY.parents[1] / "docs" / "protocol.md"
BEGIN, END = "<!-- worked example: begin -->\n", "<!-- worked example: end -->\n"

Calls = list[tuple[Role, Call]]

_EXPORTS: Final = (("acme/log key", b"", 32), ("acme/log key", b"second use", 32), ("acme/long", b"\x00\x01", 100))

DATA_CALLS: Final[Calls] = [
    (INITIATOR, Call(name="send_data", data=b"hello, responder".hex())),
    (RESPONDER, Call(name="send_data", data=b"hello, initiator".hex())),
    (RESPONDER, Call(name="send_data", data=b"\x00".hex())),
]
ALL_CALLS: Final[Calls] = [
    *DATA_CALLS,
    (INITIATOR, Call(name="update_keys", ask_peer=True)),
    (INITIATOR, Call(name="send_data", data=b"under my second key".hex())),
    (RESPONDER, Call(name="send_data", data=b"under my second key too".hex())),
    (RESPONDER, Call(name="update_keys", ask_peer=False)),
    (RESPONDER, Call(name="send_data", data=b"under my third key".hex())),
    (INITIATOR, Call(name="close")),
    (RESPONDER, Call(name="send_data", data=b"one direction is still open".hex())),
    (RESPONDER, Call(name="close")),
]


class Case(msgspec.Struct, kw_only=True):
    """What makes a vector: its name, the set-up, the schemes of the two identities, the calls on the channels."""

    name: str
    vector: Vector
    schemes: tuple[str | None, str | None] = ("ed25519", "ed25519")
    calls: Calls = []
    prepare: Callable[[Vector], None] | None = None


def _pin_stranger(role: Role) -> Callable[[Vector], None]:
    """Let `role` trust a key that is not its peer's: its own."""

    def prepare(vector: Vector) -> None:
        end = vector.end(role)
        if end.identity is None:
            raise ValueError("only an end with an identity can be pinned to itself")
        end.trust = Trust(policy="pinned", peers=(end.identity.peer_id,))

    return prepare


def cases() -> list[Case]:
    """Every vector there is."""
    small, default = ("X25519_CHACHA20POLY1305_SHA256",), ("X25519MLKEM768_AES256GCM_SHA384",)
    banner, ticket = b"acme fleet, welcome".hex(), b"\x01\x02\x03\x04 ticket".hex()
    return [
        Case(
            name=WORKED_EXAMPLE,
            vector=Vector(
                description="The smallest: X25519, ChaCha20-Poly1305, SHA-256, Ed25519 on both sides, no protocol. The "
                "worked example of docs/protocol.md.",
                initiator=EndOf(suites=small),
                responder=EndOf(suites=small),
            ),
            calls=ALL_CALLS,
        ),
        Case(
            name="x25519mlkem768-target",
            vector=Vector(
                description="The default suite. Application protocols, where the responder's preference wins, a target and "
                "extensions, one of which only the initiator knows. Both sides pin the other's key.",
                initiator=EndOf(
                    suites=(*default, "X25519_AES256GCM_SHA384"),
                    protocols=("acme/sync/3", "acme/sync/2"),
                    target="vault.acme.example",
                    extensions={"acme/build": b"2026.07".hex(), "acme/unknown": b"?".hex()},
                ),
                responder=EndOf(
                    suites=("X25519MLKEM768_CHACHA20POLY1305_SHA256", *default),
                    protocols=("acme/sync/2", "acme/sync/3"),
                    extensions={"acme/build": b"2026.08".hex()},
                ),
            ),
            prepare=_pin_each_other,
            calls=ALL_CALLS,
        ),
        Case(
            name="p256-ecdsa",
            vector=Vector(
                description="P-256 with AES-128-GCM and SHA-256; ECDSA on P-384 (initiator) and on P-256 (responder).",
                initiator=EndOf(suites=("P256_AES128GCM_SHA256",), protocols=("acme/sync/2",)),
                responder=EndOf(suites=("P256_AES128GCM_SHA256",), protocols=("acme/sync/2",)),
            ),
            schemes=("ecdsa-p384-sha384", "ecdsa-p256-sha256"),
            calls=ALL_CALLS,
        ),
        Case(
            name="secp384r1mlkem1024-ml-dsa",
            vector=Vector(
                description="P-384 and ML-KEM-1024 together, AES-256-GCM, SHA-384; ML-DSA-65 (initiator), Ed25519.",
                initiator=EndOf(suites=("SecP384R1MLKEM1024_AES256GCM_SHA384",)),
                responder=EndOf(suites=("SecP384R1MLKEM1024_AES256GCM_SHA384",)),
            ),
            schemes=("ml-dsa-65", "ed25519"),
            calls=DATA_CALLS,
        ),
        Case(
            name="retry",
            vector=Vector(
                description="A wrong guess: the initiator sends a share in X25519MLKEM768, the responder wants X25519, so "
                "the initiator sends another share. The rejected one stays in the transcript.",
                initiator=EndOf(suites=(*default, "X25519_CHACHA20POLY1305_SHA256")),
                responder=EndOf(suites=("P256_AES128GCM_SHA256", "X25519_CHACHA20POLY1305_SHA256")),
            ),
            calls=DATA_CALLS,
        ),
        Case(
            name="anonymous-initiator",
            vector=Vector(
                description="The initiator does not say who it is, and the responder accepts that.",
                initiator=EndOf(suites=("X25519_AES256GCM_SHA384",)),
                responder=EndOf(suites=("X25519_AES256GCM_SHA384",), trust=Trust(policy="anyone", anonymous=True)),
            ),
            schemes=(None, "ed25519"),
            calls=DATA_CALLS,
        ),
        Case(
            name="psk",
            vector=Vector(
                description="Pre-shared keys: the initiator has one for suites of either hash, the responder one of them. Both "
                "are anonymous.",
                initiator=EndOf(
                    suites=("X25519_AES256GCM_SHA384", *small),
                    trust=Trust(policy="anyone", anonymous=True),
                    psk_name="laptop",
                    psks=(_psk("SHA384"), _psk("SHA256")),
                ),
                responder=EndOf(
                    suites=("X25519_AES256GCM_SHA384", *small),
                    trust=Trust(policy="anyone", anonymous=True),
                    psk_name="office",
                    psks=(_psk("SHA256"),),
                ),
            ),
            schemes=(None, None),
            calls=DATA_CALLS,
        ),
        Case(
            name="custom-steps",
            vector=Vector(
                description="Steps of the application's: one raw message each way, one step of three messages, one that "
                "runs with another protocol only and one that only the responder has, both optional and skipped.",
                initiator=EndOf(suites=small, protocols=("acme/sync/2",)),
                responder=EndOf(suites=small, protocols=("acme/sync/2",)),
                custom_steps=[
                    CustomStep(
                        name="fleet-banner",
                        sender="responder",
                        before="responder-finished",
                        needs="keys",
                        messages=(banner,),
                    ),
                    CustomStep(
                        name="old-quota",
                        sender="responder",
                        before="initiator-finished",
                        needs="peer",
                        protocol_id="acme/sync/1",
                        required=False,
                        messages=(b"7".hex(),),
                    ),
                    CustomStep(
                        name="fleet-challenge",
                        sender="initiator",
                        before="initiator-finished",
                        needs="peer",
                        messages=(b"ask me".hex(), b"what is 6 times 7?".hex(), b"42".hex()),
                    ),
                    CustomStep(
                        name="only-here",
                        sender="responder",
                        before="initiator-finished",
                        needs="peer",
                        required=False,
                        on=("responder",),
                        messages=(b"nobody reads this".hex(),),
                    ),
                    CustomStep(
                        name="fleet-ticket",
                        sender="initiator",
                        before="initiator-finished",
                        needs="peer",
                        messages=(ticket,),
                    ),
                ],
            ),
            calls=DATA_CALLS,
        ),
        Case(
            name="alert-plaintext",
            vector=Vector(
                description="No suite in common: the responder says so in plaintext.",
                initiator=EndOf(suites=small),
                responder=EndOf(suites=("P256_AES128GCM_SHA256",)),
            ),
        ),
        Case(
            name="alert-initiator",
            vector=Vector(
                description="The initiator does not trust the responder's key: an alert sealed under i_hs.",
                initiator=EndOf(suites=small),
                responder=EndOf(suites=small),
            ),
            prepare=_pin_stranger(INITIATOR),
        ),
        Case(
            name="alert-responder",
            vector=Vector(
                description="The responder is busy, and says so when it is asked about its peer: an alert sealed under r_hs, "
                "which the initiator opens on its channel, in the place of accept. It has sent its Finished and a record.",
                initiator=EndOf(suites=("X25519_AES128GCM_SHA256",)),
                responder=EndOf(suites=("X25519_AES128GCM_SHA256",), trust=Trust(policy="ask")),
                abort=Abort(by="responder", code=229, retry_after=30),
            ),
            calls=[(INITIATOR, Call(name="send_data", data=b"before the answer".hex()))],
        ),
        Case(
            name="alert-channel",
            vector=Vector(
                description="The initiator ends the channel with a code of the application's: an alert sealed under i_ap.",
                initiator=EndOf(suites=("X25519_AES128GCM_SHA256",)),
                responder=EndOf(suites=("X25519_AES128GCM_SHA256",)),
            ),
            calls=[*DATA_CALLS[:1], (INITIATOR, Call(name="abort", code=256, retry_after=3600))],
        ),
    ]


def _psk(function: str) -> Psk:
    return Psk(identity="office-1", key=bytes(range(32)).hex(), initiator="laptop", responder="office", hash=function)


def _pin_each_other(vector: Vector) -> None:
    for end, peer in ((vector.initiator, vector.responder), (vector.responder, vector.initiator)):
        if peer.identity is None:
            raise ValueError("an anonymous end cannot be pinned")
        end.trust = Trust(policy="pinned", peers=(peer.identity.peer_id,))


# ------------------------------------------------------------------------------------------------ making one


def identity_key(scheme: str) -> IdentityKey:
    """A new long-term key."""
    private_key = SCHEMES[scheme].generate()
    identity = Identity(private_key)
    return IdentityKey(
        scheme=scheme,
        private_key=model.private_bytes(private_key).hex(),
        public_key=identity.credential.hex(),
        peer_id=identity.peer_id,
        words=identity.public.words,
    )


def make(case: Case, stored: Vector | None) -> Vector:
    """The vector of `case`: from the keys and draws of the stored one, or from new ones."""
    vector = case.vector
    for role, scheme in zip((INITIATOR, RESPONDER), case.schemes, strict=True):
        if stored is not None:
            vector.end(role).identity = stored.end(role).identity
            vector.end(role).draws = stored.end(role).draws
        elif scheme is not None:
            vector.end(role).identity = identity_key(scheme)
    if case.prepare is not None:
        case.prepare(vector)
    if stored is None:
        initiator, responder = RecordingEntropy(), RecordingEntropy()
        pair = model.pair_of(vector, initiator, responder)
        vector.initiator.draws, vector.responder.draws = (
            model.draws_of(initiator.tape),
            model.draws_of(responder.tape),
        )
    else:
        pair = model.pair_of(vector)
    _Maker(vector, pair).make(case.calls)
    return vector


class _Maker:
    """Fills in what follows from a handshake that has run, in the order in which it was sent."""

    def __init__(self, vector: Vector, pair: Pair) -> None:
        self.vector = vector
        self.pair = pair
        self.suite: CipherSuite | None = None
        self.schedule: KeySchedule | None = None
        self.handshake_keys: dict[Role, TrafficKey] = {}
        self.transcript = b""
        self.early_secrets: list[bytes] = []
        self.early_secret: bytes = b""

    def make(self, calls: Calls) -> None:
        """Frames, secrets, proofs, alert, session, records."""
        vector, frames = self.vector, list(self._sent())
        for _, _, wire in frames:
            if wire[0] == HANDSHAKE and wire[5:11] == b"\xa5suite":
                name = msgspec.msgpack.decode(wire[4:])[1]
                vector.suite, self.suite = name, SUITES[name]
        steps = {role: self._steps(end, role) for role, end in self._ends()}
        accept = b""
        for sender, flight, wire in frames:
            if len(vector.flights) <= flight:
                vector.flights.append(Flight(sender=model.side_of(sender), sends=()))
            if wire[0] == HANDSHAKE:
                what = next(steps[sender])
                self._handshake_frame(sender, what, wire)
            elif wire[0] == CONTROL:
                what, accept = "accept", wire
            else:
                what = "alert"
                self._alert(sender, wire)
            vector.flights[flight].sends += (what,)
        initiator = self.pair.initiator.handshake.session
        if initiator is not None:
            self._session(initiator)
        if initiator is not None and calls:
            _ChannelMaker(vector, self.secret_of, self.pair).make(calls, accept)

    def _ends(self) -> Sequence[tuple[Role, End]]:
        return ((INITIATOR, self.pair.initiator), (RESPONDER, self.pair.responder))

    def _steps(self, end: End, role: Role) -> Iterator[str]:
        for event in end.events:
            if isinstance(event, StepCompleted) and event.sender is role:
                yield event.step

    def _sent(self) -> Iterator[tuple[Role, int, bytes]]:
        """Every frame: its sender, the number of its flight, its bytes. Flights take turns, the initiator's first."""
        ours, theirs = self.pair.initiator.flights, self.pair.responder.flights
        for number in range(len(ours) + len(theirs)):
            sender, flights = (RESPONDER, theirs) if number % 2 else (INITIATOR, ours)
            for frame in model.split_frames(flights[number // 2]):
                yield sender, number, frame

    def _digest(self) -> bytes:
        if self.suite is None:
            raise ValueError("no suite was selected")
        return self.suite.hash.digest(self.transcript)

    def secret_of(self, name: str) -> bytes:
        """A secret by its name in the vector."""
        return bytes.fromhex(self.vector.secrets[name])

    def _handshake_frame(self, sender: Role, step: str, wire: bytes) -> None:
        key = self.handshake_keys.get(sender)
        body = wire[4:] if key is None else key.open(wire[4:], wire[:4])
        plaintext = header(HANDSHAKE, len(body)) + body
        message = msgspec.msgpack.decode(body)
        if step.endswith("-authentication") and message[1] != "anonymous":
            self._proof(sender, *message[1:])
        elif step.endswith("-finished"):
            self._finished(sender)
        elif step == "psk-binders":
            self._binders(message[1])
        elif step == "psk":
            self.early_secret = self.early_secrets[message[1]]
        self.transcript += plaintext
        self.vector.frames.append(
            Frame(
                step=step,
                sender=model.side_of(sender),
                sealed=key is not None,
                plaintext=plaintext.hex(),
                wire=wire.hex(),
                transcript_hash=None if self.suite is None else self._digest().hex(),
            )
        )
        if step == "responder-key-share":
            self._handshake_secrets(message[2])
        elif step == "initiator-finished":
            self._session_secrets()

    def _traffic(self, name: str, secret: bytes) -> None:
        suite, secrets = SUITES[self.vector.suite or ""], self.vector.secrets
        secrets[name] = secret.hex()
        secrets[f"{name}_key"] = suite.hash.expand_label(secret, b"key", b"", suite.aead.key_length).hex()
        secrets[f"{name}_iv"] = suite.hash.expand_label(secret, b"iv", b"", 12).hex()

    def _handshake_secrets(self, response: bytes) -> None:
        suite = SUITES[self.vector.suite or ""]
        function, secrets = suite.hash, self.vector.secrets
        group = GROUPS[suite.group]
        tape = model.tape_of(self.vector.initiator.draws)
        parts = {"X25519MLKEM768": ["MLKEM768", "X25519"], "SecP384R1MLKEM1024": ["P384", "MLKEM1024"]}
        own = [[value for kind, value in tape if kind == part][-1] for part in parts.get(group.name, [group.name])]
        shared_secret = group.decapsulate(own[0] if len(own) == 1 else tuple(own), response)
        zeros = bytes(function.digest_size)
        early = self.early_secret or function.hmac(zeros, zeros)
        derived = function.derive_secret(early, b"derived", function.empty)
        handshake = function.hmac(derived, shared_secret)
        secrets["shared_secret"] = shared_secret.hex()
        secrets["early_secret"] = early.hex()
        secrets["early_derived"] = derived.hex()
        secrets["handshake_secret"] = handshake.hex()
        for side in ("i", "r"):
            secret = function.derive_secret(handshake, f"{side} hs traffic".encode(), self._digest())
            self._traffic(f"{side}_hs", secret)
            finished_key = function.expand_label(secret, b"finished", b"", function.digest_size)
            secrets[f"{side}_finished_key"] = finished_key.hex()
        self.schedule = KeySchedule(suite, shared_secret, self._digest(), early_secret=self.early_secret)
        self.handshake_keys = {role: self.schedule.handshake_key(role) for role in (INITIATOR, RESPONDER)}

    def _binders(self, binders: Sequence[bytes]) -> None:
        for number, (psk, sent) in enumerate(zip(self.vector.initiator.psks or (), binders[:-1], strict=True)):
            function = HASHES[psk.hash]
            imported = model.psk_from(psk).imported
            early = function.hmac(bytes(function.digest_size), imported)
            mac = binder(function, early, function.digest(self.transcript))
            if mac != sent:
                raise ValueError("the binder does not verify")
            self.early_secrets.append(early)
            for what, value in (("imported", imported), ("early", early), ("binder", mac)):
                self.vector.secrets[f"psk_{number}_{what}"] = value.hex()

    def _session_secrets(self) -> None:
        function, secrets = SUITES[self.vector.suite or ""].hash, self.vector.secrets
        derived = function.derive_secret(self.secret_of("handshake_secret"), b"derived", function.empty)
        master = function.hmac(derived, bytes(function.digest_size))
        secrets["handshake_derived"] = derived.hex()
        secrets["master_secret"] = master.hex()
        for side in ("i", "r"):
            self._traffic(f"{side}_ap", function.derive_secret(master, f"{side} ap traffic".encode(), self._digest()))
        secrets["exporter_secret"] = function.derive_secret(master, b"exp master", self._digest()).hex()

    def _finished(self, sender: Role) -> None:
        if self.schedule is None:
            raise ValueError("a Finished before there are keys")
        mac = self.schedule.finished(sender, self._digest())
        self.vector.secrets[f"{model.side_of(sender)[0]}_finished_mac"] = mac.hex()

    def _proof(self, sender: Role, credential_type: str, credential: bytes, scheme: str, signature: bytes) -> None:
        function = SUITES[self.vector.suite or ""].hash
        presented = bytes([len(credential_type)]) + credential_type.encode() + bytes([len(scheme)]) + scheme.encode()
        presented += len(credential).to_bytes(3, "big") + credential
        signed = signed_content(sender, self._digest(), function, credential_type, scheme, credential)
        if not PublicKey(scheme, credential).verify(signature, signed):
            raise ValueError("the signature does not verify")
        self.vector.proofs.append(
            Proof(
                sender=model.side_of(sender),
                transcript_hash=self._digest().hex(),
                presented=presented.hex(),
                presented_hash=function.digest(presented).hex(),
                signed=signed.hex(),
                signature=signature.hex(),
            )
        )

    def _alert(self, sender: Role, wire: bytes) -> None:
        body, sequence = wire[4:], None
        if wire[0] == SEALED_ALERT:
            key = self.handshake_keys[sender]
            sequence, body = key.sequence, key.open(wire[4:], wire[:4])
        elif wire[0] != ALERT:
            raise ValueError("neither a message nor an alert")
        code, retry_after = msgspec.msgpack.decode(body)
        self.vector.alert = AlertOf(
            sender=model.side_of(sender),
            secret=None if sequence is None else "i_hs" if sender is INITIATOR else "r_hs",
            sequence=sequence,
            code=code,
            retry_after=retry_after,
            plaintext=body.hex(),
            wire=wire.hex(),
        )

    def _session(self, session: Session) -> None:
        skipped = [event.step for event in self.pair.initiator.events if isinstance(event, StepSkipped)]
        theirs = self.pair.responder.handshake.session
        seen = {} if theirs is None else theirs.extensions
        self.vector.session = SessionOf(
            protocol=session.protocol,
            steps=session.steps,
            skipped=tuple(skipped),
            initiator_sees={name: value.hex() for name, value in session.extensions.items()},
            responder_sees={name: value.hex() for name, value in seen.items()},
            channel_binding=session.channel_binding.hex(),
            exports=[
                Export(
                    label=label,
                    context=context.hex(),
                    length=length,
                    output=session.export(label, context, length).hex(),
                )
                for label, context, length in _EXPORTS
            ],
        )


class _ChannelMaker:
    """Makes the calls on the two channels, and keeps every record that travels."""

    def __init__(self, vector: Vector, secret_of: Callable[[str], bytes], pair: Pair) -> None:
        self.vector = vector
        suite = SUITES[vector.suite or ""]
        self.function, self.key_length = suite.hash, suite.aead.key_length
        self.secrets = {INITIATOR: secret_of("i_ap"), RESPONDER: secret_of("r_ap")}
        self.keys = {role: TrafficKey(suite, secret) for role, secret in self.secrets.items()}
        self.generations = {INITIATOR: 0, RESPONDER: 0}
        self.channels = {
            role: end.session.channel()
            for role, end in ((INITIATOR, pair.initiator), (RESPONDER, pair.responder))
            if end.completed
        }

    def make(self, calls: Calls, accept: bytes) -> None:
        """Make all calls, each delivered at once."""
        if accept:
            self._keep(RESPONDER, None, accept)
            model.events_of(self.channels[INITIATOR])
        for role, call in calls:
            model.perform(self.channels[role], call)
            self._deliver(role, call)

    def _deliver(self, sender: Role, call: Call | None) -> None:
        data = bytes(self.channels[sender].data_to_send())
        for record in model.split_frames(data):
            self._keep(sender, call, record)
        peer = self.channels.get(sender.peer)
        if peer is not None and data:
            peer.receive_data(data)
            if call is None or call.name != "abort":
                self._answer(peer, sender.peer)

    def _answer(self, channel: Channel, role: Role) -> None:
        model.events_of(channel)
        self._deliver(role, None)

    def _keep(self, sender: Role, call: Call | None, wire: bytes) -> None:
        key = self.keys[sender]
        sequence, body = key.sequence, key.open(wire[4:], wire[:4])
        self.vector.records.append(
            Record(
                sender=model.side_of(sender),
                call=call,
                type="data" if wire[0] == DATA else "control" if wire[0] == CONTROL else "sealed alert",
                generation=self.generations[sender],
                sequence=sequence,
                plaintext=body.hex(),
                wire=wire.hex(),
            )
        )
        if wire[0] == CONTROL and msgspec.msgpack.decode(body)[0] == "key-update":
            self._update(sender)

    def _update(self, sender: Role) -> None:
        function = self.function
        secret = function.expand_label(self.secrets[sender], b"traffic upd", b"", function.digest_size)
        self.secrets[sender] = secret
        self.keys[sender] = self.keys[sender].updated()
        self.generations[sender] += 1
        self.vector.traffic_updates.append(
            TrafficUpdate(
                sender=model.side_of(sender),
                generation=self.generations[sender],
                secret=secret.hex(),
                key=function.expand_label(secret, b"key", b"", self.key_length).hex(),
                iv=function.expand_label(secret, b"iv", b"", 12).hex(),
            )
        )


def make_all(*, fresh: bool = False) -> Iterator[tuple[str, Vector]]:
    """Every vector with its name; from the stored draws unless they are to be `fresh`."""
    for case in cases():
        stored = model.load(case.name) if not fresh and model.path_of(case.name).exists() else None
        yield case.name, make(case, stored)


# ------------------------------------------------------------------------------------------------ for people


def worked_example(vector: Vector) -> str:
    """The worked example of docs/protocol.md, in Markdown."""
    lines: list[str] = []
    for title, rows in (
        ("What the two ends drew", _drawn(vector)),
        ("The key schedule", _secrets(vector)),
        ("The frames", _frames(vector)),
        ("The proofs", _proofs(vector)),
        ("The session", _session(vector)),
        ("The channel", _records(vector)),
    ):
        lines += [f"**{title}**", "", "```text", *rows, "```", ""]
    return "\n".join(lines)


def _row(name: str, value: str, width: int = 24) -> list[str]:
    pieces = textwrap.wrap(value, 96) or ["(nothing)"]
    return [f"{name if number == 0 else '':<{width}}{piece}" for number, piece in enumerate(pieces)]


def _drawn(vector: Vector) -> list[str]:
    rows: list[str] = []
    for name, end in (("initiator", vector.initiator), ("responder", vector.responder)):
        if end.identity is not None:
            rows += _row(f"{name} identity", end.identity.private_key)
            rows += _row("  public key", end.identity.public_key)
            rows += _row("  peer id", end.identity.peer_id)
        for draw in end.draws:
            if draw.private_key is not None:
                rows += _row(f"{name} {draw.kind}", draw.private_key)
                rows += _row("  public key", draw.public_key or "")
            else:
                rows += _row(f"{name} {draw.kind}", draw.bytes or draw.signature or "")
    return rows


def _secrets(vector: Vector) -> list[str]:
    return [row for name, value in vector.secrets.items() for row in _row(name, value)]


def _frames(vector: Vector) -> list[str]:
    rows: list[str] = []
    for frame in vector.frames:
        rows += _row(f"{frame.step}", f"(from the {frame.sender}, {'sealed' if frame.sealed else 'not sealed'})", 28)
        rows += _row("  plaintext", frame.plaintext, 14)
        if frame.sealed:
            rows += _row("  wire", frame.wire, 14)
        rows += _row("  TH through", frame.transcript_hash or "", 14)
    return rows


def _proofs(vector: Vector) -> list[str]:
    rows: list[str] = []
    for proof in vector.proofs:
        rows += _row(f"{proof.sender} presents", proof.presented)
        rows += _row("  its hash", proof.presented_hash)
        rows += _row("  signed", proof.signed)
        rows += _row("  signature", proof.signature)
    return rows


def _session(vector: Vector) -> list[str]:
    if vector.session is None:
        return []
    rows = _row("channel_binding", vector.session.channel_binding)
    for item in vector.session.exports:
        rows += _row(f'export "{item.label}"', f'context "{item.context}", {item.length} bytes:')
        rows += _row("", item.output)
    return rows


def _records(vector: Vector) -> list[str]:
    rows: list[str] = []
    for record in vector.records:
        secret = f"{record.sender[0]}_ap"
        name = f"{record.sender}, {record.type}"
        rows += _row(name, f"{secret} generation {record.generation}, sequence number {record.sequence}", 28)
        rows += _row("  plaintext", record.plaintext, 14)
        rows += _row("  wire", record.wire, 14)
    for update in vector.traffic_updates:
        rows += _row(f"{update.sender[0]}_ap generation {update.generation}", update.secret)
        rows += _row("  key", update.key)
        rows += _row("  iv", update.iv)
    return rows


def with_worked_example(document: str, vector: Vector) -> str:
    """`document` with the worked example between its two marks."""
    before, rest = document.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{worked_example(vector)}\n{END}{after}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write all files, and the worked example into the document."""
    parser = argparse.ArgumentParser(description="Make the test vectors of nautilus/1.")
    parser.add_argument("--fresh", action="store_true", help="draw new keys and new randomness")
    options: Any = parser.parse_args(arguments)
    for name, vector in make_all(fresh=options.fresh):
        model.path_of(name).write_bytes(model.dump(vector))
        if name == WORKED_EXAMPLE and DOCUMENT.exists():
            text = DOCUMENT.read_text(encoding="utf-8")
            DOCUMENT.write_text(with_worked_example(text, vector), encoding="utf-8")


if __name__ == "__main__":
    main()
