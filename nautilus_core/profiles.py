"""Profiles: what a handshake is made of. A profile is immutable, serves any number of handshakes, and runs none.

`nautilus(...)` is the default handshake, `nautilus/1`; `tls(...)` the same with a TLS handshake inside; `noise(...)` any Noise
protocol. `Profile(...)`, which is in `profile`, makes one from any steps and any framing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from .crypto.suites import DEFAULT_SUITES, SUITES
from .identity.identities import Anonymous, Identity
from .identity.policy import TrustPolicy, check_policy
from .identity.psks import PreSharedKey
from .identity.targets import AnyIdentity, Identities
from .limits import DEFAULT_LIMITS, Limits
from .noise.functions import OwnKey, PeersKey
from .noise.names import NoiseProtocol
from .noise.patterns import HandshakePattern
from .noise.payloads import PayloadHook
from .noise.settings import NoiseSettings
from .noise.step import make_steps as make_noise_steps
from .noise.step import message_types
from .profile import Profile, StepFactory
from .role import INITIATOR, RESPONDER, Role
from .step import MAX_NAME_LENGTH
from .steplist import AnyStep
from .steps.authentication import Authentication
from .steps.channel_binding import CHANNEL_BINDING
from .steps.cipher_suite import CipherSuiteAck, CipherSuiteExchange, SuiteNegotiation, SuiteOptions
from .steps.fields import MAX_OFFERS
from .steps.hello import MAX_EXTENSION_BYTES, TARGET, HelloExchange, HelloOptions, HelloResponse, NodeHello
from .steps.key_agreement import InitiatorKeyShare, KeyAgreement, ResponderKeyShare
from .steps.noise_suite import NoiseSuite, make_suites
from .steps.psk import BindPsks, OfferPsks, PskAgreement, PskOptions, SelectPsk
from .steps.session_keys import SessionKeyDerivation
from .steps.tls import TlsStep
from .steps.tls_suite import TlsSuiteAck, tls_suite_options
from .stream import LengthPrefixedStream, NautilusStream
from .tls.settings import TlsSettings

if TYPE_CHECKING:
    from OpenSSL.SSL import Context as TlsContext

__all__ = ["TLS_PROFILE", "Profile", "StepFactory", "nautilus", "noise", "tls"]

TLS_PROFILE: Final = "nautilus/1+tls"
"""The name of the profile of `tls()`."""

_NO_EXTENSIONS: Final[Mapping[str, bytes]] = MappingProxyType({})
_NO_PAYLOADS: Final[Mapping[int, PayloadHook | bytes]] = MappingProxyType({})

_MOST_PROTOCOLS: Final = MAX_OFFERS - 1
_MOST_EXTENSIONS: Final = MAX_OFFERS - 3
"""Beside ours, which nobody knows, the target, and the channel binding."""


def nautilus(
    *,
    identity: AnyIdentity,
    trust: TrustPolicy,
    protocols: Sequence[str] = (),
    suites: Sequence[str] = DEFAULT_SUITES,
    target: str | None = None,
    extensions: Mapping[str, bytes] = _NO_EXTENSIONS,
    psks: Sequence[PreSharedKey] = (),
    psk_name: str | None = None,
    noise_static: OwnKey | None = None,
    noise_remote_static: PeersKey | None = None,
    noise_psks: Sequence[bytes] = (),
    datagrams: bool = False,
    limits: Limits = DEFAULT_LIMITS,
) -> Profile:
    """The default handshake, `nautilus/1`: hybrid key agreement, both sides authenticated by signatures.

    Args:
        identity: how this side proves who it is, or `ANONYMOUS`; `Identities` where the initiator's target decides.
        trust: whom it wants at the other end; see `nautilus_core.trust`.
        protocols: application protocol ids, in order of preference, each 1 to 64 bytes. Either both ends name some or none does.
        suites: names of cipher suites, in order of preference; the initiator's first is its guess. The name of a Noise
            protocol is one too: then its messages stand for key agreement and authentications, and the peer is a static key.
        target: as initiator, whom it wants, at most 16,384 bytes in UTF-8. Sent in the clear; proves nothing.
        extensions: what this side says, by name; the responder answers those alone that the initiator offered.
        psks: pre-shared keys; then every handshake has one, and a suite with its hash.
        psk_name: the name of this side in them.
        noise_static: for suites that are Noise protocols, this side's static private key, an object or raw bytes.
        noise_remote_static: likewise the peer's static public key, where the pattern must know it, or to pin it.
        noise_psks: likewise the pre-shared keys of patterns that take some.
        datagrams: whether `session.datagrams()` has keys, beside those of the channel.
        limits: how much a peer may send.

    Raises:
        ValueError: for an unknown suite, none at all, a name that is too long or stands twice, or more than fits a hello; for a
            Noise protocol that lacks a key, or authenticates nobody where `trust` wants somebody; for Noise protocols that use a
            static key with several hashes; for pre-shared keys that are not for `psk_name`, or for no suite.
        TypeError: `identity` or `trust` is none, or one string stands where a sequence of names should.
    """
    if not isinstance(identity, Identity | Anonymous | Identities):
        raise TypeError(f"identity= takes an Identity, ANONYMOUS or Identities, not {type(identity).__name__}")
    check_policy("trust=", trust)
    protocols, suites = _names("protocol", protocols), _names("suite", suites)
    _names("extension", extensions)
    _check_hello(protocols, extensions, target, limits)
    noise_suites = make_suites(suites, noise_static, noise_remote_static, tuple(noise_psks), trust)
    _check_suites(suites, noise_suites)
    psk_options = None
    if psks or psk_name is not None:
        psk_options = PskOptions.of(psks, psk_name, [_hash_of(suite, noise_suites) for suite in suites])
    needed = () if psk_options is None else (SelectPsk.name,)
    hashes = None if psk_options is None else [psk.hash for psk in psk_options.offered]
    hello = HelloOptions(protocols, MappingProxyType(dict(extensions)), target, needed)
    suite_options = SuiteOptions.of(suites, identity, trust, noise_suites, hashes)
    first = next(iter(suite_options.usable[INITIATOR] if hashes else suites), suites[0])
    guess = None if first in noise_suites else SUITES[first].group
    offers = _offers(identity, trust, protocols, suites)
    if psks:
        offers = (*offers, ("psks", tuple([psk.identity for psk in psks])))
    return Profile(
        "nautilus/1",
        partial(_default_steps, hello, suite_options, psk_options, guess, limits, datagrams),
        NautilusStream,
        limits,
        offers,
        _role_check(suite_options, psk_options),
    )


def _default_steps(
    hello_options: HelloOptions,
    suites: SuiteOptions,
    psks: PskOptions | None,
    guess: str | None,
    limits: Limits,
    datagrams: bool,
) -> list[AnyStep]:
    """The steps of `nautilus/1`, for one handshake."""
    hello = HelloExchange(hello_options)
    negotiation = SuiteNegotiation(suites)
    agreement = KeyAgreement(guess)
    psk = None if psks is None else PskAgreement(psks, negotiation)
    return [
        NodeHello(hello),
        CipherSuiteExchange(negotiation),
        InitiatorKeyShare(agreement),
        *(() if psk is None else (OfferPsks(psk), BindPsks(psk))),
        HelloResponse(hello),
        CipherSuiteAck(negotiation, agreement),
        *(() if psk is None else (SelectPsk(psk),)),
        ResponderKeyShare(agreement),
        Authentication(RESPONDER, negotiation),
        SessionKeyDerivation(RESPONDER, limits),
        Authentication(INITIATOR, negotiation),
        SessionKeyDerivation(INITIATOR, limits, datagrams=datagrams),
    ]


def tls(
    context: TlsContext | None,
    *,
    trust: TrustPolicy,
    protocols: Sequence[str] = (),
    target: str | None = None,
    server_name: str | None = None,
    alpn: Sequence[str] = (),
    extensions: Mapping[str, bytes] = _NO_EXTENSIONS,
    datagrams: bool = False,
    limits: Limits = DEFAULT_LIMITS,
) -> Profile:
    """`nautilus/1` with a TLS 1.3 handshake as its key agreement and authentication; the initiator is the TLS client.

    The suites are those of TLS 1.3 that the context enables, in its order. Needs the extra `tls` (pyOpenSSL).

    Args:
        context: an `OpenSSL.SSL.Context`, configured before: its certificate and key are who this side is. It is not changed,
            but for `alpn`. Where it verifies the peer's chain by itself, by OpenSSL's clock, that holds besides `trust`. None
            for a profile that only looks at, or replays, recorded handshakes.
        trust: whom this side wants at the other end, by the certificates that it shows: `authorities()`, or a policy that takes
            the kind `x509`. A server whose policy admits anonymous peers takes clients without a certificate; one whose policy
            takes nobody else does not ask for one.
        protocols: as for `nautilus`, as are `target`, `extensions`, `datagrams` and `limits`.
        server_name: as client, the DNS name that the server is told within TLS, in the clear (SNI). Which name its
            certificate must have, `trust` says.
        alpn: application protocols within TLS, in order of preference. Where some are given, one of them must be selected; the
            context's servers are set to select among those of their profile. Without it, ALPN is the context's own matter.

    Raises:
        ValueError: the context cannot speak TLS 1.3, or enables a suite of it that is unknown here; or as for `nautilus`.
        TypeError: it is no `OpenSSL.SSL.Context`.
        LocalProtocolError: pyOpenSSL is not installed.
    """
    check_policy("trust=", trust)
    protocols = _names("protocol", protocols)
    _names("extension", extensions)
    _check_hello(protocols, extensions, target, limits)
    settings = TlsSettings(context, trust, server_name, tuple(alpn), limits.message)
    hello_options = HelloOptions(protocols, MappingProxyType(dict(extensions)), target)
    suite_options = tls_suite_options(settings)

    def make_steps() -> list[AnyStep]:
        hello = HelloExchange(hello_options)
        negotiation = SuiteNegotiation(suite_options)
        return [
            NodeHello(hello),
            CipherSuiteExchange(negotiation),
            HelloResponse(hello),
            TlsSuiteAck(negotiation),
            TlsStep(settings),
            SessionKeyDerivation(RESPONDER, limits),
            SessionKeyDerivation(INITIATOR, limits, datagrams=datagrams),
        ]

    offers = (
        ("suites", tuple(settings.suites)),
        ("protocols", protocols),
        ("alpn", tuple(alpn)),
        ("accepts", trust.credential_types),
        ("schemes", trust.schemes),
    )
    return Profile(TLS_PROFILE, make_steps, NautilusStream, limits, offers, settings.check_role)


def noise(
    name: str,
    *,
    static: OwnKey | None = None,
    remote_static: PeersKey | None = None,
    psks: Sequence[bytes] = (),
    prologue: bytes = b"",
    payloads: Mapping[int, PayloadHook | bytes] = _NO_PAYLOADS,
    trust: TrustPolicy | None = None,
    pattern: HandshakePattern | str | None = None,
    ephemeral: OwnKey | None = None,
    remote_ephemeral: PeersKey | None = None,
    rekey_after: int | None = None,
    close_message: bool = False,
    limits: Limits = DEFAULT_LIMITS,
) -> Profile:
    """A Noise protocol (revision 34): one step for each message pattern, each message behind a 2-byte length.

    Keys are `cryptography` objects or raw bytes, 32 for 25519 and 56 for 448. Which of them are needed, the pattern says; a
    profile that can play one role only is refused for the other when a `Handshake` is made.

    Args:
        name: the protocol name, `Noise_XXpsk3_25519_ChaChaPoly_BLAKE2s`.
        static: this side's static private key; a `KeyPair` where the private part lives elsewhere (see `Entropy`).
        remote_static: the peer's static public key. Where the peer sends it, this pins it.
        psks: the pre-shared keys, each 32 bytes, in the order of their tokens.
        prologue: what both sides must have seen alike before.
        payloads: by message, from 0: a hook, or bytes for the side that sends it. What no hook takes is a result of its step.
        trust: decides on the peer's static key. Needed where the peer has one and `remote_static` is not given.
        pattern: a pattern of your own, in the notation; the name's second part is what it is called.
        ephemeral: this side's ephemeral private key, only where it is a pre-message (`fallback`).
        remote_ephemeral: the peer's, likewise.
        rekey_after: both ends replace a direction's key after so many transport messages (section 11.3); never by default.
        close_message: both ends end a direction with an empty transport message, so that truncation shows. Without it the end
            of the stream is a `PeerClosed` that is not authenticated, as Noise has no close.
        limits: how much a peer may send. Transport messages are always up to 65,535 bytes.

    Raises:
        ValueError: for a name that is none, a missing or superfluous key or psk, a policy that nobody can satisfy: says which.
        InvalidPattern: the pattern breaks a rule.
    """
    if trust is not None:
        check_policy("trust=", trust)
    protocol = NoiseProtocol.parse(name, pattern)
    dh = protocol.dh
    settings = NoiseSettings(
        protocol=protocol,
        static=None if static is None else dh.key_pair(static, "static"),
        remote_static=None if remote_static is None else dh.remote_key(remote_static, "remote_static"),
        ephemeral=None if ephemeral is None else dh.key_pair(ephemeral, "ephemeral"),
        remote_ephemeral=None if remote_ephemeral is None else dh.remote_key(remote_ephemeral, "remote_ephemeral"),
        psks=tuple(psks),
        prologue=prologue,
        payloads=MappingProxyType(dict(payloads)),
        trust=trust,
        rekey_after=rekey_after,
        close_message=close_message,
    )
    types = message_types(settings)
    offers = (("pattern", tuple(str(protocol.pattern).splitlines())),)
    return Profile(
        name, partial(make_noise_steps, settings, types), LengthPrefixedStream, limits, offers, settings.check
    )


def _role_check(suites: SuiteOptions, psks: PskOptions | None) -> Callable[[Role], None] | None:
    """What refuses a role that a side of `nautilus/1` cannot play; None where it can play both."""
    if psks is None:
        judges_everybody = type(suites.trust).check_role is TrustPolicy.check_role
        plain = judges_everybody and all(suites.usable.values()) and not isinstance(suites.identity, Identities)
        return None if plain else suites.check_role

    def check(role: Role) -> None:
        psks.check_role(role)
        suites.check_role(role)

    return check


def _offers(
    identity: AnyIdentity, trust: TrustPolicy, protocols: tuple[str, ...], suites: tuple[str, ...]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """What a side of `nautilus/1` can do and accepts, for people."""
    said: list[str] = []
    for one in identity if isinstance(identity, Identities) else (identity,):
        said += (one.credential_type, one.scheme) if isinstance(one, Identity) else (one.credential_type,)
    return (
        ("suites", suites),
        ("protocols", protocols),
        ("identity", tuple(dict.fromkeys(said))),
        ("accepts", trust.credential_types),
        ("schemes", trust.schemes),
    )


def _check_hello(protocols: Sequence[str], extensions: Mapping[str, bytes], target: str | None, limits: Limits) -> None:
    """Raise `ValueError` for more than fits a hello."""
    if TARGET in extensions:
        raise ValueError("the extension 'target' has an argument of its own: target=")
    if CHANNEL_BINDING in extensions:
        raise ValueError(f"the extension {CHANNEL_BINDING!r} is a connection's: Handshake(..., channel_bindings=)")
    if target is not None and not 1 <= len(target.encode()) <= MAX_EXTENSION_BYTES:
        raise ValueError("target has 1 to 16,384 bytes")
    if len(protocols) > _MOST_PROTOCOLS or len(extensions) > _MOST_EXTENSIONS:
        raise ValueError(f"at most {_MOST_PROTOCOLS} protocols and {_MOST_EXTENSIONS} extensions fit a hello")
    if any(len(value) > MAX_EXTENSION_BYTES for value in extensions.values()):
        raise ValueError(f"an extension says at most {MAX_EXTENSION_BYTES} bytes")
    said = sum(len(name.encode()) + len(value) for name, value in extensions.items()) + len((target or "").encode())
    room = max(limits.message // 2, limits.message - 16_384)
    if said > room:
        raise ValueError(f"extensions and target say {said} bytes together; a hello has room for {room}")


def _check_suites(suites: tuple[str, ...], noise_suites: Mapping[str, NoiseSuite]) -> None:
    """Raise `ValueError` for none, or for one that is neither ours nor a Noise protocol."""
    if not suites:
        raise ValueError("nautilus() needs at least one suite")
    for suite in suites:
        if suite not in SUITES and suite not in noise_suites:
            raise ValueError(f"no suite {suite!r}; use one of {', '.join(SUITES)}, or a Noise protocol name")


def _hash_of(suite: str, noise_suites: Mapping[str, NoiseSuite]) -> str:
    return (noise_suites[suite].suite if suite in noise_suites else SUITES[suite]).hash.name


def _names(what: str, names: Iterable[str]) -> tuple[str, ...]:
    """The names that travel in a hello, checked. One string is no sequence of them, though Python takes it for one."""
    if isinstance(names, str):
        raise TypeError(f"expected a sequence of names of a {what}; got the string {names!r} (hint: [{names!r}])")
    names = tuple(names)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"the name of a {what} is a string, not {name!r}")
        if not 1 <= len(name.encode()) <= MAX_NAME_LENGTH:
            raise ValueError(f"a {what} has 1 to {MAX_NAME_LENGTH} bytes: {name!r}")
    if len(set(names)) != len(names):
        raise ValueError(f"a {what} that stands twice: {list(names)}")
    return names
