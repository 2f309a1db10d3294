"""`nautilus/1` a second time, in a straight line and from the specification: from private keys and wire bytes to every value.

It shares no code with the package: the standard library's hmac, and `cryptography` for what is no construction of ours.
It takes a vector as plain JSON, reads from it the private keys, the drawn encapsulations, the frames and records as they
travelled, and computes all else. It raises `Mismatch` where the two ends would not agree.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM1024PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

Json = Mapping[str, Any]
Values = dict[str, Any]

HANDSHAKE, ALERT, DATA, CONTROL, SEALED_ALERT = 0xE1, 0xE2, 0xE3, 0xE4, 0xE5
OTHER: Final = {"initiator": "responder", "responder": "initiator"}

# group: for each part of it the algorithm, the length of the initiator's share and that of the responder's
GROUPS: Final[dict[str, list[tuple[str, int, int]]]] = {
    "X25519": [("X25519", 32, 32)],
    "P256": [("P256", 65, 65)],
    "X25519MLKEM768": [("MLKEM768", 1184, 1088), ("X25519", 32, 32)],
    "SecP384R1MLKEM1024": [("P384", 97, 97), ("MLKEM1024", 1568, 1568)],
}
CURVES: Final[dict[str, ec.EllipticCurve]] = {"P256": ec.SECP256R1(), "P384": ec.SECP384R1()}
AEADS: Final[dict[str, tuple[type[AESGCM] | type[ChaCha20Poly1305], int]]] = {
    "AES256GCM": (AESGCM, 32),
    "AES128GCM": (AESGCM, 16),
    "CHACHA20POLY1305": (ChaCha20Poly1305, 32),
}


class Mismatch(Exception):
    """The vector contradicts itself."""


def require(condition: bool, what: str) -> None:
    """Raise `Mismatch` unless `condition`."""
    if not condition:
        raise Mismatch(what)


# ------------------------------------------------------------------------------------------------ constructions


class Hash:
    """HKDF and its labels over one hash (RFC 5869, RFC 8446 section 7.1)."""

    def __init__(self, name: str) -> None:
        self.name = {"SHA256": "sha256", "SHA384": "sha384"}[name]
        self.size = hashlib.new(self.name).digest_size

    def hash(self, data: bytes) -> bytes:
        """Hash."""
        return hashlib.new(self.name, data).digest()

    def mac(self, key: bytes, data: bytes) -> bytes:
        """HMAC, which is HKDF-Extract(salt, ikm) as well."""
        return hmac.new(key, data, self.name).digest()

    def expand(self, key: bytes, info: bytes, length: int) -> bytes:
        """HKDF-Expand."""
        output = block = b""
        for number in range(1, 256):
            if len(output) >= length:
                break
            block = self.mac(key, block + info + bytes([number]))
            output += block
        require(len(output) >= length, "HKDF-Expand of too many bytes")
        return output[:length]

    def expand_label(self, secret: bytes, label: str, context: bytes, length: int) -> bytes:
        """HKDF-Expand-Label."""
        name = b"nautilus1 " + label.encode()
        info = struct.pack(">HB", length, len(name)) + name + struct.pack(">B", len(context)) + context
        return self.expand(secret, info, length)

    def derive(self, secret: bytes, label: str, messages: bytes) -> bytes:
        """Derive-Secret."""
        return self.expand_label(secret, label, self.hash(messages), self.size)


class Key:
    """A traffic key: secret, key, iv, and the number of the next message."""

    def __init__(self, function: Hash, aead: str, secret: bytes) -> None:
        new, length = AEADS[aead]
        self.function, self.aead, self.secret = function, aead, secret
        self.key = function.expand_label(secret, "key", b"", length)
        self.iv = function.expand_label(secret, "iv", b"", 12)
        self.sequence = 0
        self._cipher = new(self.key)

    def open(self, frame: bytes) -> bytes:
        """The plaintext of a sealed frame."""
        number = bytes(4) + struct.pack(">Q", self.sequence)
        nonce = bytes(a ^ b for a, b in zip(self.iv, number, strict=True))
        plaintext = self._cipher.decrypt(nonce, frame[4:], frame[:4])
        self.sequence += 1
        return plaintext

    def next(self) -> Key:
        """The key after an update."""
        secret = self.function.expand_label(self.secret, "traffic upd", b"", self.function.size)
        return Key(self.function, self.aead, secret)


def decode(data: bytes) -> list[Any]:
    """One MessagePack array and nothing after it: as much of MessagePack as the protocol uses."""
    value, end = _decode(data, 0)
    require(end == len(data) and isinstance(value, list), "a body is one MessagePack array")
    return list(value)


def _decode(data: bytes, at: int) -> tuple[Any, int]:
    first, at = data[at], at + 1
    if first <= 0x7F:
        return first, at
    if first in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[first], at
    if first in (0xCC, 0xCD, 0xCE, 0xCF):
        width = 1 << (first - 0xCC)
        return int.from_bytes(data[at : at + width], "big"), at + width
    if 0x90 <= first <= 0x9F:
        return _decode_array(data, at, first & 0x0F)
    if first in (0xDC, 0xDD):
        width = 2 << (first - 0xDC)
        return _decode_array(data, at + width, int.from_bytes(data[at : at + width], "big"))
    if 0xA0 <= first <= 0xBF:
        length = first & 0x1F
        return data[at : at + length].decode(), at + length
    if first in (0xC4, 0xC5, 0xC6, 0xD9, 0xDA, 0xDB):
        width = 1 << ((first - 0xC4) if first < 0xD9 else (first - 0xD9))
        length = int.from_bytes(data[at : at + width], "big")
        at += width
        raw = data[at : at + length]
        require(len(raw) == length, "MessagePack is cut short")
        return (raw if first < 0xD9 else raw.decode()), at + length
    raise Mismatch(f"MessagePack type {first:#x} has no place here")


def _decode_array(data: bytes, at: int, count: int) -> tuple[list[Any], int]:
    items = []
    for _ in range(count):
        item, at = _decode(data, at)
        items.append(item)
    return items, at


# ------------------------------------------------------------------------------------------------ primitives by name


def public_of(kind: str, data: bytes) -> bytes:
    """The public key, as it travels, of a private key as a vector has it."""
    if kind == "X25519":
        return X25519PrivateKey.from_private_bytes(data).public_key().public_bytes_raw()
    if kind == "MLKEM768":
        return MLKEM768PrivateKey.from_seed_bytes(data).public_key().public_bytes_raw()
    if kind == "MLKEM1024":
        return MLKEM1024PrivateKey.from_seed_bytes(data).public_key().public_bytes_raw()
    if kind == "ed25519":
        return Ed25519PrivateKey.from_private_bytes(data).public_key().public_bytes_raw()
    if kind == "ml-dsa-65":
        return MLDSA65PrivateKey.from_seed_bytes(data).public_key().public_bytes_raw()
    curve = {"ecdsa-p256-sha256": "P256", "ecdsa-p384-sha384": "P384"}.get(kind, kind)
    key = ec.derive_private_key(int.from_bytes(data, "big"), CURVES[curve])
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def agree(kind: str, private: bytes, public: bytes) -> bytes:
    """The secret that the owner of `private` reads out of the other side's share or ciphertext."""
    if kind == "X25519":
        return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))
    if kind == "MLKEM768":
        return MLKEM768PrivateKey.from_seed_bytes(private).decapsulate(public)
    if kind == "MLKEM1024":
        return MLKEM1024PrivateKey.from_seed_bytes(private).decapsulate(public)
    key = ec.derive_private_key(int.from_bytes(private, "big"), CURVES[kind])
    return key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(CURVES[kind], public))


def verify(scheme: str, public: bytes, signature: bytes, message: bytes) -> None:
    """Raise `InvalidSignature` unless the signature verifies."""
    if scheme == "ed25519":
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    elif scheme == "ml-dsa-65":
        MLDSA65PublicKey.from_public_bytes(public).verify(signature, message)
    else:
        curve, digest = {
            "ecdsa-p256-sha256": (CURVES["P256"], hashes.SHA256()),
            "ecdsa-p384-sha384": (CURVES["P384"], hashes.SHA384()),
        }[scheme]
        ec.EllipticCurvePublicKey.from_encoded_point(curve, public).verify(signature, message, ec.ECDSA(digest))


def fingerprint(scheme: str, public: bytes) -> bytes:
    """What a public key is known by."""
    return hashlib.sha256(b"nautilus public key" + bytes(1) + scheme.encode() + bytes(1) + public).digest()


def peer_id(digest: bytes) -> str:
    """A fingerprint as one word."""
    return "key:" + base64.b32encode(digest).decode("ascii").lower().replace("=", "")


# ------------------------------------------------------------------------------------------------ one handshake


def compute(vector: Json) -> Values:
    """All that follows from a vector's private keys and from the bytes on its wire, in the vector's own fields."""
    return _Computation(vector).run()


class _Computation:
    def __init__(self, vector: Json) -> None:
        self.vector = vector
        self.wire = [(frame["sender"], bytes.fromhex(frame["wire"])) for frame in vector["frames"]]
        self.messages: dict[str, list[Any]] = {}
        self.secrets: dict[str, bytes] = {}
        self.keys: dict[str, Key] = {}
        self.proofs: list[Values] = []
        self.frames: list[Values] = []
        self.early_secrets: list[bytes] = []
        self.transcript = b""
        self.function: Hash | None = None
        self.aead = ""

    def run(self) -> Values:
        suite = self._find_suite()
        for sender, frame in self.wire:
            self._take(sender, frame)
        return {
            "suite": suite,
            "frames": self.frames,
            "secrets": {name: value.hex() for name, value in self.secrets.items()},
            "proofs": self.proofs,
            "alert": self._alert(),
            "session": self._session(),
            **self._channel(),
        }

    def _find_suite(self) -> str | None:
        """The suite is in an early message: the hash runs over what came before it too."""
        for _, frame in self.wire:
            body = decode(frame[4:])
            if body[0] == "suite":
                suite = str(body[1])
                self.group, self.aead, function = suite.split("_")
                self.function = Hash(function)
                return suite
        return None

    def _take(self, sender: str, frame: bytes) -> None:
        """The next handshake message: open it, check what it proves, add it to the transcript, derive what follows."""
        kind, length = frame[0], int.from_bytes(frame[1:4], "big")
        require(kind == HANDSHAKE and length == len(frame) - 4, "the frame's header")
        key = self.keys.get("i_hs" if sender == "initiator" else "r_hs")
        body = frame[4:] if key is None else key.open(frame)
        message = decode(body)
        name = str(message[0])
        before = self.transcript
        if name.endswith("-authentication"):
            self._check_proof(sender, message, before)
        elif name.endswith("-finished"):
            self._check_finished(sender, message, before)
        elif name == "psk-binders":
            self._check_binders(message, before)
        self.messages[name] = message
        plaintext = bytes([HANDSHAKE]) + struct.pack(">I", len(body))[1:] + body
        self.transcript = before + plaintext
        self.frames.append(
            {
                "step": name,
                "sender": sender,
                "sealed": key is not None,
                "plaintext": plaintext.hex(),
                "wire": frame.hex(),
                "transcript_hash": None if self.function is None else self.function.hash(self.transcript).hex(),
            }
        )
        if name == "responder-key-share":
            self._handshake_keys()
        elif name == "initiator-finished":
            self._session_keys()

    def _hash(self) -> Hash:
        if self.function is None:
            raise Mismatch("no suite was selected")
        return self.function

    def _draws(self, side: str, kind: str) -> list[Json]:
        return [draw for draw in self.vector[side]["draws"] if draw["kind"] == kind]

    def _shared_secret(self) -> bytes:
        share_message = self.messages.get("initiator-key-share-retry", self.messages["initiator-key-share"])
        response_message = self.messages["responder-key-share"]
        require(share_message[1] == response_message[1] == self.group, "both key shares are in the suite's group")
        share, response = share_message[2], response_message[2]
        secret = b""
        for kind, share_length, response_length in GROUPS[self.group]:
            public, share = share[:share_length], share[share_length:]
            answer, response = response[:response_length], response[response_length:]
            own = [
                bytes.fromhex(draw["private_key"])
                for draw in self._draws("initiator", kind)
                if draw["public_key"] == public.hex()
            ]
            require(len(own) == 1 and public_of(kind, own[0]) == public, f"the initiator's {kind} key")
            part = agree(kind, own[0], answer)
            if kind.startswith("MLKEM"):
                drawn = [
                    draw["shared_secret"]
                    for draw in self._draws("responder", "encapsulation")
                    if draw["ciphertext"] == answer.hex()
                ]
                require(drawn == [part.hex()], f"the responder's {kind} encapsulation")
            else:
                theirs = [bytes.fromhex(draw["private_key"]) for draw in self._draws("responder", kind)]
                require(len(theirs) == 1 and public_of(kind, theirs[0]) == answer, f"the responder's {kind} key")
                require(agree(kind, theirs[0], public) == part, f"both sides' {kind} secret")
            secret += part
        require(share == response == b"", "key shares of exactly the group's length")
        return secret

    def _handshake_keys(self) -> None:
        function, secrets = self._hash(), self.secrets
        zeros = bytes(function.size)
        secrets["shared_secret"] = self._shared_secret()
        secrets["early_secret"] = self._early_secret(zeros)
        secrets["early_derived"] = function.derive(secrets["early_secret"], "derived", b"")
        secrets["handshake_secret"] = function.mac(secrets["early_derived"], secrets["shared_secret"])
        for side in ("i", "r"):
            secret = function.derive(secrets["handshake_secret"], f"{side} hs traffic", self.transcript)
            self._keep(f"{side}_hs", secret)
            secrets[f"{side}_finished_key"] = function.expand_label(secret, "finished", b"", function.size)

    def _early_secret(self, zeros: bytes) -> bytes:
        if "psk" not in self.messages:
            return self._hash().mac(zeros, zeros)
        index: int = self.messages["psk"][1]
        require(self.messages["psk-offer"][1][index][1].lower() == self._hash().name, "the psk is for the suite's hash")
        early = self.early_secrets[index]
        require(
            [draw["bytes"] for draw in self._draws("responder", "extraction")] == [early.hex()], "both early secrets"
        )
        return early

    def _check_binders(self, message: Sequence[Any], before: bytes) -> None:
        """The psks that are offered, each imported, and a binder over the messages so far under each (RFC 9258, RFC 8446)."""
        psks, sha256 = self.vector["initiator"]["psks"], Hash("SHA256")
        *offered, unknown = self.messages["psk-offer"][1]
        require(offered == [[psk["identity"], psk["hash"]] for psk in psks], "the psks are offered")
        require(all(name.startswith("grease-") for name in unknown), "and one that nobody knows")
        require(len(message[1]) == len(psks) + 1, "a binder for each psk")
        for number, (psk, binder) in enumerate(zip(psks, message[1][:-1], strict=True)):
            function = Hash(psk["hash"])
            identity, initiator, responder = (psk[name].encode() for name in ("identity", "initiator", "responder"))
            context = struct.pack(">H", len(initiator)) + initiator + struct.pack(">H", len(responder)) + responder
            imported_identity = (
                struct.pack(">H", len(identity))
                + identity
                + struct.pack(">H", len(context))
                + context
                + bytes([0, 10])
                + b"nautilus/1"
                + {"SHA256": b"\x00\x01", "SHA384": b"\x00\x02"}[psk["hash"]]
            )
            extracted = sha256.mac(bytes(32), bytes.fromhex(psk["key"]))
            imported = sha256.expand_label(extracted, "derived psk", sha256.hash(imported_identity), function.size)
            early = function.mac(bytes(function.size), imported)
            finished = function.expand_label(function.derive(early, "imp binder", b""), "finished", b"", function.size)
            require(binder == function.mac(finished, function.hash(before)), f"the binder of psk {number}")
            self.early_secrets.append(early)
            for what, value in (("imported", imported), ("early", early), ("binder", binder)):
                self.secrets[f"psk_{number}_{what}"] = value

    def _session_keys(self) -> None:
        function, secrets = self._hash(), self.secrets
        secrets["handshake_derived"] = function.derive(secrets["handshake_secret"], "derived", b"")
        secrets["master_secret"] = function.mac(secrets["handshake_derived"], bytes(function.size))
        for side in ("i", "r"):
            self._keep(f"{side}_ap", function.derive(secrets["master_secret"], f"{side} ap traffic", self.transcript))
        secrets["exporter_secret"] = function.derive(secrets["master_secret"], "exp master", self.transcript)

    def _keep(self, name: str, secret: bytes) -> None:
        key = self.keys[name] = Key(self._hash(), self.aead, secret)
        self.secrets[name] = secret
        self.secrets[f"{name}_key"] = key.key
        self.secrets[f"{name}_iv"] = key.iv

    def _check_proof(self, sender: str, message: Sequence[Any], before: bytes) -> None:
        _, credential_type, credential, scheme, signature = message
        identity = self.vector[sender]["identity"]
        if credential_type == "anonymous":
            require(identity is None and [credential, scheme, signature] == [b"", "", b""], "nobody signs nothing")
            return
        require(
            credential_type == "raw-public-key" and scheme == identity["scheme"], "the credential's type and scheme"
        )
        private = bytes.fromhex(identity["private_key"])
        require(public_of(scheme, private) == credential == bytes.fromhex(identity["public_key"]), "the identity's key")
        function = self._hash()
        presented = (
            struct.pack(">B", len(credential_type))
            + credential_type.encode()
            + struct.pack(">B", len(scheme))
            + scheme.encode()
            + struct.pack(">I", len(credential))[1:]
            + credential
        )
        signed = (
            bytes([0x20]) * 64
            + f"nautilus/1 {sender} authentication".encode()
            + bytes([0])
            + function.hash(before)
            + function.hash(presented)
        )
        verify(scheme, credential, signature, signed)
        require([draw["signature"] for draw in self._draws(sender, "signature")] == [signature.hex()], "the signature")
        self.proofs.append(
            {
                "sender": sender,
                "transcript_hash": function.hash(before).hex(),
                "presented": presented.hex(),
                "presented_hash": function.hash(presented).hex(),
                "signed": signed.hex(),
                "signature": signature.hex(),
            }
        )

    def _check_finished(self, sender: str, message: Sequence[Any], before: bytes) -> None:
        side, function = sender[0], self._hash()
        mac = function.mac(self.secrets[f"{side}_finished_key"], function.hash(before))
        require(message[1] == mac, f"the Finished MAC of the {sender}")
        self.secrets[f"{side}_finished_mac"] = mac

    # -------------------------------------------------------------------------------------------- what follows

    def _alert(self) -> Values | None:
        stored = self.vector["alert"]
        if stored is None:
            return None
        frame = bytes.fromhex(stored["wire"])
        sender = stored["sender"]
        require(int.from_bytes(frame[1:4], "big") == len(frame) - 4, "the alert's header")
        secret = sequence = None
        body = frame[4:]
        if frame[0] == SEALED_ALERT:
            secret = f"{sender[0]}_hs"
            sequence = self.keys[secret].sequence
            body = self.keys[secret].open(frame)
        else:
            require(frame[0] == ALERT, "the alert's type")
        code, retry_after = decode(body)
        return {
            "sender": sender,
            "secret": secret,
            "sequence": sequence,
            "code": code,
            "retry_after": retry_after,
            "plaintext": body.hex(),
            "wire": frame.hex(),
        }

    def _session(self) -> Values | None:
        if "initiator-finished" not in self.messages:
            return None
        function = self._hash()
        offer, answer = self.messages["hello"], self.messages["hello-response"]
        require(offer[3] != answer[3] and {len(offer[3]), len(answer[3])} == {32}, "two different nonces of 32 bytes")
        require(answer[1] == 1 and 1 in offer[1], "version 1 was offered and selected")
        require(answer[2] in (offer[2] or [None]), "the protocol was offered")
        selected, offered = dict(answer[5]), dict(offer[5])
        require(set(selected) <= set(offered), "the extensions were offered")
        ran = list(dict.fromkeys(frame["step"] for frame in self.frames))
        running = [step[0] for step in answer[4]]
        after = ran[ran.index("hello-response") + 1 :]
        require([name for name in after if name != "initiator-key-share-retry"] == running, "the steps that run")
        secret = self.secrets["exporter_secret"]

        def export(label: str, context: bytes, length: int) -> str:
            derived = function.derive(secret, label, b"")
            return function.expand_label(derived, "exporter", function.hash(context), length).hex()

        stored = self.vector["session"]
        return {
            "protocol": answer[2],
            "steps": ran,
            "skipped": [step[0] for step in offer[4] if step[0] not in running],
            "initiator_sees": {name: value.hex() for name, value in selected.items()},
            "responder_sees": {name: offered[name].hex() for name in selected},
            "channel_binding": export("channel binding", b"", 32),
            "exports": [
                {
                    "label": item["label"],
                    "context": item["context"],
                    "length": item["length"],
                    "output": export(item["label"], bytes.fromhex(item["context"]), item["length"]),
                }
                for item in (stored["exports"] if stored else [])
            ],
        }

    def _channel(self) -> Values:
        """Records, each opened with the key that its sender has come to."""
        records: list[Values] = []
        updates: list[Values] = []
        generation = {"initiator": 0, "responder": 0}
        for stored in self.vector["records"]:
            sender, frame = stored["sender"], bytes.fromhex(stored["wire"])
            name = f"{sender[0]}_ap"
            key = self.keys[name]
            require(int.from_bytes(frame[1:4], "big") == len(frame) - 4, "the record's header")
            sequence = key.sequence
            body = key.open(frame)
            records.append(
                {
                    "sender": sender,
                    "call": stored["call"],
                    "type": {DATA: "data", CONTROL: "control", SEALED_ALERT: "sealed alert"}[frame[0]],
                    "generation": generation[sender],
                    "sequence": sequence,
                    "plaintext": body.hex(),
                    "wire": frame.hex(),
                }
            )
            if frame[0] == CONTROL and decode(body)[0] == "key-update":
                key = self.keys[name] = key.next()
                generation[sender] += 1
                updates.append(
                    {
                        "sender": sender,
                        "generation": generation[sender],
                        "secret": key.secret.hex(),
                        "key": key.key.hex(),
                        "iv": key.iv.hex(),
                    }
                )
        return {"records": records, "traffic_updates": updates}
