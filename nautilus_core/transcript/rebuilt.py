"""Profiles that stand for one that is not at hand: of a Noise protocol by its name, of a transcript by its header.

Their keys are nobody's, and known to all: they are for looking and for the public check, and never for a handshake.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any, Final

from ..context import Context
from ..crypto.suites import SUITES
from ..errors import LocalProtocolError, one_line
from ..identity.identities import ANONYMOUS
from ..identity.psks import PSK_HASHES, PreSharedKey
from ..identity.trust import anyone
from ..identity.x509 import X509
from ..noise.names import NoiseProtocol
from ..profiles import TLS_PROFILE, Profile, nautilus, noise, tls
from ..role import INITIATOR, RESPONDER, Stage
from ..step import HandshakeStep, StepDescription
from ..steplist import AnyStep
from ..steps.psk import OfferPsks
from .lines import Header

_KEY_LENGTHS: Final = {"25519": 32, "448": 56}


class RecordedStep(HandshakeStep[bytes]):
    """In the place of a step that only its description is known of: any message is one of it. It cannot run."""

    multi_message = True
    needs = Stage.NOTHING

    def __init__(self, description: StepDescription) -> None:
        self.name = description.name
        self.sender = description.sender
        self.protocol_id = description.protocol_id
        self.required = description.required

    def write(self, context: Context) -> bytes:
        """Nobody knows what it wrote: `LocalProtocolError`."""
        raise LocalProtocolError(f"step {self.name!r} is known by its name only: give the profile that has it")

    def read(self, context: Context, message: bytes) -> None:
        """Nor what it checked."""
        self.write(context)

    def decode(self, body: bytes) -> bytes:
        """The message as it is."""
        return body


def profile_of(header: Header) -> Profile:
    """A profile with the name, the steps and the limits of a transcript: enough for the public check, and for a picture.

    Raises:
        ValueError: the transcript's profile is neither `nautilus/1`, with TLS or steps of the user's own perhaps, nor a Noise
            protocol.
    """
    name = header.profile
    try:
        if name.startswith("Noise_"):
            made = noise_profile(name)
        elif name == TLS_PROFILE:
            made = tls(None, trust=anyone(anonymous=True, kinds=[X509]))
        elif name == "nautilus/1":
            made = nautilus(identity=ANONYMOUS, trust=anyone(anonymous=True), **_psks_of(header))
        else:
            raise ValueError("it is neither nautilus/1, with TLS or without, nor a Noise protocol")
        if made.outline.descriptions == header.steps:
            return made
        known = {description.name: description for description in made.outline.descriptions}

        def make_steps() -> Sequence[AnyStep]:
            built_in = {step.name: step for step in made.make_steps()}
            return [built_in[one.name] if known.get(one.name) == one else RecordedStep(one) for one in header.steps]

        return Profile(name, make_steps, made.stream, header.limits, made.offers, made.check)
    except (ValueError, LocalProtocolError) as error:
        raise ValueError(one_line(f"the profile {name[:64]!r} cannot be made from the header: {error}")) from error


def _psks_of(header: Header) -> dict[str, Any]:
    """Where the handshake had pre-shared keys, some that nobody has."""
    if all(step.name != OfferPsks.name for step in header.steps):
        return {}
    names = {"initiator": INITIATOR.value, "responder": RESPONDER.value}
    psks = [PreSharedKey.public_only("unknown", hash=function, **names) for function in PSK_HASHES]
    return {"suites": tuple(SUITES), "psks": psks, "psk_name": header.role.value}


def noise_profile(name: str) -> Profile:
    """A profile of the Noise protocol `name`, with keys that all know; `ValueError` for a wrong name."""
    protocol = NoiseProtocol.parse(name)
    own = bytes(range(1, 1 + _KEY_LENGTHS[protocol.dh.name]))
    public = protocol.dh.key_pair(own, "static").public
    psks = [bytes(32)] * sum(message.tokens.count("psk") for message in protocol.pattern.messages)
    policy_of_anyone = anyone(anonymous=True)
    problem = ValueError(f"no profile of {name}")
    for static, remote, ephemeral, remote_ephemeral, policy in product(
        (own, None), (None, public), (None, own), (None, public), (policy_of_anyone, None)
    ):
        try:
            return noise(
                name,
                static=static,
                remote_static=remote,
                psks=psks,
                trust=policy,
                ephemeral=ephemeral,
                remote_ephemeral=remote_ephemeral,
            )
        except ValueError as error:
            problem = error
    raise problem
