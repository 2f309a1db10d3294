"""The recorded failures: of every class of error, with who refuses and who is told of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from nautilus_core import INITIATOR, RESPONDER, AlertCode, Context, Handshake, Identity, Profile, Role, Signal, trust
from nautilus_core.steps.session_keys import SessionKeyDerivation
from nautilus_core.testing import Pair, Tamper

from ..core.channels import deliver, outcome
from ..core.helpers import altered, note, put
from .case import DEADLINE, Case, Make
from .people import identity, private_key
from .sides import initiator, responder

BUSY: Final = AlertCode.BUSY


class LyingFinished(SessionKeyDerivation):
    """Writes a Finished MAC with one bit flipped."""

    def write(self, context: Context) -> Any:
        """The wrong MAC."""
        message = super().write(context)
        return type(message)(bytes((message.mac[0] ^ 1,)) + message.mac[1:])


def _lying(profile: Profile, role: Role) -> Profile:
    return profile.replace(f"{role.value}-finished", lambda: LyingFinished(role, profile.limits))


class _Liar(Identity):
    """Signs something else than it is asked to."""

    def sign(self, message: bytes) -> bytes:
        return super().sign(b"something else")


def _liar(who: str) -> Identity:
    return _Liar(private_key(who, "ed25519"))


def _raising(error: type[Exception]) -> Callable[[Profile], Profile]:
    def write(_: Context) -> bytes:
        raise error("of the application")

    def make() -> Any:
        step: Any = note("broken")()
        step._write = write
        return step

    return lambda profile: profile.insert_before("initiator-finished", make)


def _misusing(profile: Profile) -> Profile:
    def write(context: Context) -> bytes:
        context.establish(bytes(32))
        return b""

    def make() -> Any:
        step: Any = note("misuse")()
        step._write = write
        return step

    return profile.insert_before("initiator-finished", make)


def _told_on_channel(pair: Pair) -> None:
    """The initiator had completed: what the responder says now comes on the channel."""
    outcome(pair.initiator.session.channel())


def _flip(role: Role, number: int, place: int) -> Tamper:
    """One bit of a flight."""

    def tamper(sender: Role, count: int, data: bytes) -> bytes:
        if (sender, count) != (role, number):
            return data
        changed = bytearray(data)
        changed[place] ^= 1
        return bytes(changed)

    return tamper


def _cut(role: Role, number: int, length: int) -> Tamper:
    return lambda sender, count, data: data[:length] if (sender, count) == (role, number) else data


def _instead(role: Role, data: bytes) -> Tamper:
    return lambda sender, _, sent: data if sender is role else sent


def _times_out(one: Handshake, other: Handshake) -> None:
    """The answer is too late."""
    while not isinstance(one.next_event(), Signal):
        pass
    other.receive_data(one.data_to_send())
    one.handle_timeout(DEADLINE + 1)


def _gives_up(code: int, retry_after: int | None = None) -> Callable[[Handshake, Handshake], None]:
    return lambda _, other: other.abort("not now", code=code, retry_after=retry_after)


def _reject(question: Any) -> None:
    question.reject("not on the list", alert=1000)


def _channel_fails(act: Callable[[Any, Any], object]) -> Callable[[Pair], None]:
    def use(pair: Pair) -> None:
        one, other = pair.initiator.session.channel(), pair.responder.session.channel()
        deliver(other, one)
        act(one, other)
        for channel, peer in ((one, other), (other, one)):
            data = channel.data_to_send()
            if data:
                peer.receive_data(data)
            outcome(peer)

    return use


def _tampered_record(one: Any, other: Any) -> None:
    one.send_data(b"a record")
    data = bytearray(one.data_to_send())
    data[-1] ^= 1
    other.receive_data(data)
    outcome(other)


def _truncated(one: Any, other: Any) -> None:
    one.send_data(b"a record")
    other.receive_data(bytes(one.data_to_send())[:10])
    other.receive_data(b"")
    outcome(other)


def _failure(what: str, one: Make = initiator, other: Make = responder, **options: Any) -> Case:
    chosen = {name: options.pop(name) for name in ("before", "use", "secrets") if name in options}
    return Case(what, one, other, options=options, **chosen)


STRANGER: Final = trust.pinned(identity("mallory").public)

FAILURES: Final[dict[str, Case]] = {
    "negotiation-no-suite": _failure("no suite in common", other=lambda: responder(suites=("P256_AES128GCM_SHA256",))),
    "negotiation-no-protocol": _failure(
        "no protocol in common", lambda: initiator(protocols=("a",)), lambda: responder(protocols=("b",))
    ),
    "negotiation-version": _failure(
        "no version in common", tamper=altered("hello", lambda fields: fields.__setitem__(1, [9]))
    ),
    "negotiation-steps": _failure(
        "only the initiator has a step that is required",
        lambda: initiator().insert_before("initiator-finished", note()),
    ),
    "key-agreement-low-order": _failure(
        "a share that leads to a secret anybody knows", tamper=altered("initiator-key-share", put(2, bytes(32)))
    ),
    "key-agreement-length": _failure(
        "a share that is too short", tamper=altered("responder-key-share", put(2, bytes(31)))
    ),
    "authentication-initiator-refuses": _failure("the responder is a stranger", lambda: initiator(trust=STRANGER)),
    "authentication-responder-refuses": _failure(
        "the initiator is a stranger, who is told on the channel",
        other=lambda: responder(trust=STRANGER),
        use=_told_on_channel,
        close=False,
    ),
    "authentication-proof-initiator": _failure(
        "the initiator's proof does not verify",
        lambda: initiator(identity=_liar("initiator")),
        use=_told_on_channel,
        close=False,
    ),
    "authentication-proof-responder": _failure(
        "the responder's proof does not verify", other=lambda: responder(identity=_liar("responder"))
    ),
    "authentication-rejected": _failure(
        "the application refuses the peer, with an alert of its own",
        other=lambda: responder(trust=trust.ask()),
        answer=_reject,
        use=_told_on_channel,
        close=False,
    ),
    "session-keys-of-responder": _failure(
        "the responder's Finished is wrong", other=lambda: _lying(responder(), RESPONDER)
    ),
    "session-keys-of-initiator": _failure(
        "the initiator's Finished is wrong",
        lambda: _lying(initiator(), INITIATOR),
        use=_told_on_channel,
        close=False,
    ),
    "invalid-foreign": _failure("another protocol speaks", tamper=_instead(INITIATOR, b"GET / HTTP/1.1\r\n\r\n")),
    "invalid-field": _failure("a field of another type", tamper=altered("hello", put(3, b"short"))),
    "invalid-value": _failure(
        "a suite that was not offered", tamper=altered("suite", put(1, "X25519_AES256GCM_SHA384"))
    ),
    "invalid-oversized": _failure("a message over the limit", tamper=_instead(INITIATOR, b"\xe1\xff\xff\xff")),
    "invalid-sealed": _failure("a sealed message was altered", tamper=_flip(RESPONDER, 0, -1)),
    "invalid-negotiation": _failure(
        "a bit of the negotiation was altered, which shows when the first sealed message does not open",
        tamper=_flip(INITIATOR, 0, 40),
    ),
    "invalid-last-flight": _failure(
        "the initiator's last flight was altered", tamper=_flip(INITIATOR, 1, -1), use=_told_on_channel, close=False
    ),
    "timeout": _failure("the initiator waits too long", before=_times_out),
    "peer-gone": _failure("the stream ends in the middle of a message", tamper=_cut(RESPONDER, 0, 100)),
    "peer-gone-at-once": _failure("the stream ends before the first byte", tamper=_cut(INITIATOR, 0, 0)),
    "given-up-busy": _failure("the responder is busy", before=_gives_up(BUSY, 30)),
    "given-up-internal": _failure("the responder has a problem", before=_gives_up(AlertCode.INTERNAL_ERROR)),
    "given-up-canceled": _failure("the responder's application gives up", before=_gives_up(AlertCode.USER_CANCELED)),
    "given-up-application": _failure("the responder gives up with a code of its own", before=_gives_up(4242)),
    "misuse-in-a-step": _failure(
        "a step of the application misuses the library", lambda: _misusing(initiator()), lambda: _misusing(responder())
    ),
    "exception-in-a-step": _failure(
        "a step of the application raises an exception",
        lambda: _raising(KeyError)(initiator()),
        lambda: _raising(KeyError)(responder()),
    ),
    "channel-aborted": _failure(
        "the initiator aborts the channel",
        use=_channel_fails(lambda one, _: one.abort("enough", code=BUSY, retry_after=5)),
    ),
    "channel-tampered": _failure("a record of the channel was altered", use=_channel_fails(_tampered_record)),
    "channel-truncated": _failure("the stream ends without a close", use=_channel_fails(_truncated)),
}
