"""The extension `channel-binding`: both ends say which channel they are on, in words that only the right one fits.

It travels in the hellos, or in the step `upgrade-to-tls`; either way it is in the transcript, which the signatures and both
Finished cover: RFC 5056 section 2.1 wants that of a protocol that binds to a channel. So a man in the middle cannot strip
it, and cannot make it fit both of his channels.
"""

from __future__ import annotations

import hmac
from typing import Annotated, Final, TypeAlias

import msgspec

from ..channel_binding import MOST_BINDINGS, ChannelBinding, ChannelBindings
from ..errors import AlertCode, AuthenticationFailed, InvalidMessage
from ..role import INITIATOR, RESPONDER, Role
from .fields import Offer, check_distinct, listed

CHANNEL_BINDING: Final = "channel-binding"
_LABEL: Final = b"nautilus/1 channel binding"

_Said: TypeAlias = tuple[Offer, Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]]
_Offered: TypeAlias = Annotated[tuple[_Said, ...], msgspec.Meta(max_length=MOST_BINDINGS)]

_encode: Final = msgspec.msgpack.Encoder().encode
_decode_offer: Final = msgspec.msgpack.Decoder(_Offered).decode
_decode_answer: Final = msgspec.msgpack.Decoder(_Said).decode

_TERMINATED: Final = (
    "somebody between the two ends terminates TLS: a man in the middle, or a load balancer that is meant to; only for such a "
    "one the binding is turned off, at both ends"
)


def said(binding: ChannelBinding, role: Role) -> bytes:
    """What `role` says of a binding: HMAC-SHA256 (RFC 2104) under the value, over a label, the role and the kind.

    The value itself stays here. What one role says does not fit the other, so nothing can be reflected.
    """
    return hmac.digest(binding.value, b"\0".join((_LABEL, role.value.encode(), binding.kind.encode())), "sha256")


class BindingExchange:
    """The channel binding of one handshake: what this end knows, what the peer says, and what comes of it.

    A responder that finds a difference still answers, and fails in `settle`: so both ends see what is wrong, and not one of
    them an alert alone.

    Attributes:
        kind: of the binding that both ends have, and found equal; None where they have none.
    """

    __slots__ = ("_bindings", "_failure", "_selected", "kind")

    def __init__(self, bindings: ChannelBindings) -> None:
        self._bindings = bindings
        self._failure: AuthenticationFailed | None = None
        self._selected: ChannelBinding | None = None
        self.kind: str | None = None

    def offer(self) -> bytes:
        """On the initiator: all that it knows; `AuthenticationFailed` where it needs a binding and knows none."""
        bindings = self._bindings
        if bindings.required and not bindings.known:
            raise self._none_known()
        return _encode([(binding.kind, said(binding, INITIATOR)) for binding in bindings.known])

    def take_offer(self, data: bytes | None) -> None:
        """On the responder: what the initiator has said, if anything. Selects by its own preference."""
        offered = {} if data is None else _offered(data)
        for binding in self._bindings.known:
            if binding.kind in offered:
                self._selected = binding
                if hmac.compare_digest(offered[binding.kind], said(binding, INITIATOR)):
                    self.kind = binding.kind
                else:
                    self._failure = _differs(binding.kind)
                return
        if self._bindings.required:
            self._failure = self._nothing_in_common(list(offered)) if self._bindings.known else self._none_known()

    def answer(self) -> bytes | None:
        """On the responder: its own of the binding that was selected, if any."""
        selected = self._selected
        return None if selected is None else _encode((selected.kind, said(selected, RESPONDER)))

    def take_answer(self, data: bytes | None) -> None:
        """On the initiator: what the responder has answered, if anything; `AuthenticationFailed` where that will not do."""
        known = {binding.kind: binding for binding in self._bindings.known}
        if data is None:
            if self._bindings.required:
                raise self._nothing_in_common([])
            return
        kind, value = _answered(data)
        if kind not in known:
            raise InvalidMessage(
                "the responder selected a channel binding that was not offered",
                expected=listed(list(known)),
                received=repr(kind),
                alert=AlertCode.ILLEGAL_PARAMETER,
            )
        if not hmac.compare_digest(value, said(known[kind], RESPONDER)):
            raise _differs(kind)
        self.kind = kind

    def settle(self) -> str | None:
        """Once the answer is sent, or read: the binding's kind; `AuthenticationFailed` where the responder found another."""
        if self._failure is not None:
            raise self._failure
        return self.kind

    def _none_known(self) -> AuthenticationFailed:
        return AuthenticationFailed(
            "a channel binding is required, and this end has none",
            expected="a name of the TLS connection below",
            received=self._bindings.missing or "no TLS connection",
            alert=AlertCode.CHANNEL_BINDING,
        )

    def _nothing_in_common(self, offered: list[str]) -> AuthenticationFailed:
        return AuthenticationFailed(
            "the peer does not say which TLS connection it is on",
            expected=f"one of {listed([binding.kind for binding in self._bindings.known])}",
            received=listed(offered),
            hint="TLS ends before the peer, as at a load balancer, or its channel binding is turned off",
            alert=AlertCode.CHANNEL_BINDING,
        )


def _differs(kind: str) -> AuthenticationFailed:
    return AuthenticationFailed(
        "the two ends are not on the same TLS connection",
        expected=f"the {kind} of this end's",
        received="that of another",
        hint=_TERMINATED,
        alert=AlertCode.CHANNEL_BINDING,
    )


def _offered(data: bytes) -> dict[str, bytes]:
    try:
        offered = _decode_offer(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _malformed("[[kind, mac], ...]") from error
    check_distinct([kind for kind, _ in offered], "channel bindings")
    return dict(offered)


def _answered(data: bytes) -> _Said:
    try:
        answered: _Said = _decode_answer(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _malformed("[kind, mac]") from error
    return answered


def _malformed(expected: str) -> InvalidMessage:
    return InvalidMessage(f"malformed {CHANNEL_BINDING}", expected=expected)
