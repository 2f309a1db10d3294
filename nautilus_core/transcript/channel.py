"""A channel that shows a recorder what goes through it. Sealing, opening and all rules are those of the channel inside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import AlertCode, LocalProtocolError
from ..events import Accepted, Event, Signal
from ..transport import Buffer, Channel

if TYPE_CHECKING:
    from .recorder import Recorder


class RecordedChannel:
    """A `Channel` over another.

    Unless the whole channel is recorded, it shows what belongs to the handshake: what an initiator gets until it is accepted
    or refused, or until its application uses the channel.
    """

    __slots__ = ("_channel", "_failed", "_recorder")

    def __init__(self, channel: Channel, recorder: Recorder) -> None:
        self._channel = channel
        self._failed = False
        self._recorder: Recorder | None = recorder
        self._until_used(used=channel.confirmed)

    def __repr__(self) -> str:
        return f"RecordedChannel({self._channel!r})"

    @property
    def max_payload(self) -> int:
        """The longest payload of one record, in bytes."""
        return self._channel.max_payload

    @property
    def confirmed(self) -> bool:
        """Whether this end need not wait for the peer's acceptance any more."""
        return self._channel.confirmed

    @property
    def closes_with_stream(self) -> bool:
        """Whether `close` sends nothing."""
        return self._channel.closes_with_stream

    def _until_used(self, *, used: bool = True) -> None:
        if used and self._recorder is not None and not self._recorder.whole_channel:
            self._recorder = None

    def send_data(self, data: Buffer) -> None:
        """Queue application data."""
        self._until_used()
        if self._recorder is not None:
            data = bytes(data)
            self._channel.send_data(data)
            self._recorder.called("send", data)
        else:
            self._channel.send_data(data)

    def update_keys(self, *, ask_peer: bool = False) -> None:
        """Change to the next key of this direction."""
        self._until_used()
        self._channel.update_keys(ask_peer=ask_peer)
        if self._recorder is not None:
            self._recorder.called("update", ask_peer=ask_peer)

    def close(self) -> None:
        """This end sends no more."""
        self._until_used()
        self._channel.close()
        if self._recorder is not None:
            self._recorder.called("close")

    def abort(self, reason: str, *, code: int = AlertCode.USER_CANCELED, retry_after: int | None = None) -> None:
        """End both directions at once."""
        self._channel.abort(reason, code=code, retry_after=retry_after)
        if self._recorder is not None:
            self._recorder.aborted(reason, code, retry_after, channel=True)

    def data_to_send(self) -> bytes | bytearray:
        """Take all bytes that wait to be sent."""
        data = self._channel.data_to_send()
        if self._recorder is not None:
            self._recorder.sent(data, channel=True)
        return data

    def receive_data(self, data: Buffer) -> None:
        """Buffer bytes from the peer."""
        if self._recorder is None:
            self._channel.receive_data(data)
            return
        data = bytes(data)
        self._channel.receive_data(data)
        self._recorder.received(data, channel=True)

    def next_event(self) -> Event | Signal:
        """What happened next, or `NEED_DATA`."""
        recorder = self._recorder
        if recorder is None:
            return self._channel.next_event()
        try:
            event = self._channel.next_event()
        except LocalProtocolError:  # misuse, after which the channel goes on
            raise
        except Exception as error:  # a trust policy of the user's may raise anything
            if not self._failed:
                self._failed = True
                recorder.failed(error, channel=True)
            raise
        if not isinstance(event, Signal):
            recorder.happened(event, channel=True)
        self._until_used(used=isinstance(event, Accepted))
        return event
