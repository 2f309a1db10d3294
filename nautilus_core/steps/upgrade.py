"""`upgrade-to-tls`: an optional step after which the same byte stream goes on inside TLS. Making the TLS is the caller's.

Three messages: the responder's "go", the last in the clear; then, inside TLS, what each end says of its channel binding.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, ClassVar, Final

from ..channel_binding import ChannelBindings
from ..errors import InvalidMessage
from ..events import Question
from ..role import INITIATOR, RESPONDER, Stage
from ..step import MultiMessageStep, Reading
from .channel_binding import BindingExchange

if TYPE_CHECKING:
    from ..context import Context

_SWITCH: Final = "the switch to TLS"


class TransportUpgrade(Question[bytes], frozen=True, kw_only=True):
    """Both ends have agreed to go on inside TLS: make it, then say `secured(bindings)`.

    Whoever runs the engine sends what `data_to_send` has, and gives the engine nothing more that came in the clear: bytes
    that were read and not fed yet, too, end the connection. Then it makes TLS on the same byte stream, the initiator as its
    client, and says what the new connection's channel bindings are. From there on the engine's bytes travel inside.

    Attributes:
        client: whether this end is the client of TLS.
    """

    takes_no_data: ClassVar[str] = _SWITCH

    client: bool

    def secured(self, bindings: ChannelBindings) -> None:
        """TLS is there, and these are its bindings. `LocalProtocolError` when that was said before, or not asked."""
        self.answer(bindings.to_bytes())


class UpgradeToTls(MultiMessageStep):
    """Go on inside TLS: `profile.insert_after("hello-response", UpgradeToTls)`.

    Before and after the switch nothing may wait in the engine's buffers: what somebody added in the clear would count as if
    it had come inside TLS (CVE-2011-0411, CVE-2021-33515). Whoever takes the step out of a hello is found out by the
    signatures and by Finished, which cover the hellos.

    Args:
        required: whether the handshake fails where the peer does not have the step; otherwise it is skipped and reported.
    """

    name, sender, needs = "upgrade-to-tls", RESPONDER, Stage.NOTHING

    def __init__(self, *, required: bool = False) -> None:
        self.required = required
        self._messages = 0
        self._binding = BindingExchange(ChannelBindings())

    def write(self, context: Context) -> bytes:
        """As responder "go", later the answer; as initiator what this end says of its binding."""
        self._count()
        if context.role is INITIATOR:
            return self._binding.offer()
        return (self._binding.answer() or b"") if self.finished else b""

    def read(self, context: Context, message: bytes) -> Reading:
        """Likewise what the peer says."""
        self._count()
        if context.role is RESPONDER:
            self._binding.take_offer(message)
        elif self.finished:
            self._binding.take_answer(message or None)
        elif message:
            raise InvalidMessage("malformed upgrade", expected="no bytes", received=f"{len(message)} bytes")
        return None

    def between(self, context: Context) -> Reading:
        """After "go": have TLS made."""
        return self._switch(context) if self._messages == 1 else None

    def commit(self, context: Context) -> None:
        """The binding holds, or the handshake fails."""
        context.tls_binding = self._binding.settle() or context.tls_binding

    def _switch(self, context: Context) -> Generator[Question[Any], Any, None]:
        context.check_nothing_received(_SWITCH)
        answer = yield from context.ask(TransportUpgrade(client=context.role is INITIATOR))
        context.check_nothing_to_send(_SWITCH)
        self._binding = BindingExchange(ChannelBindings.from_bytes(answer))

    def _count(self) -> None:
        self._messages += 1
        self.finished = self._messages == 3
