"""`connect(..., retry=...)`: what is tried again and what is not, how long it waits, and what each attempt leaves."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import FrozenInstanceError
from functools import partial
from math import inf, nan
from pathlib import Path
from typing import Any

import anyio
import pytest
import stamina
from anyio.abc import ByteStream, SocketAttribute
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from nautilus_anyio import AttemptFailed, Retry, TransportFailed, connect, connect_unix, serve, transcript
from nautilus_anyio.farewell import last_words
from nautilus_anyio.retry import retrying
from nautilus_core import (
    RESPONDER,
    AlertCode,
    AuthenticationFailed,
    Event,
    Handshake,
    HandshakeError,
    HandshakeTimeout,
    LocalProtocolError,
    NegotiationFailed,
    PeerAborted,
    trust,
)
from nautilus_core.transcript.lines import Failed, Sent

from ..core.helpers import frames
from .helpers import MALLORY, echo, initiator, responder
from .moods import Listener, closing, listening_in, refusing, serving, silent, well

pytestmark = pytest.mark.anyio

FAST = Retry(attempts=4, timeout=20.0, wait_initial=0.01, wait_max=0.02, jitter=0.01)


class Seen(list[AttemptFailed]):
    """The failed attempts that `on_event` has seen."""

    def __call__(self, event: Event) -> None:
        if isinstance(event, AttemptFailed):
            self.append(event)


async def reaches(listener: Listener, attempts: int, retry: Retry = FAST, **arguments: Any) -> Seen:
    """It takes so many attempts to be served; what was seen of those that failed."""
    seen = Seen()
    async with await connect(
        "127.0.0.1", listener.port, initiator(), retry=retry, on_event=seen, **arguments
    ) as stream:
        await stream.send(b"x")
        assert await stream.receive() == b"x"
    assert listener.connections == attempts
    assert [event.attempt for event in seen] == list(range(1, attempts))
    assert all(event.attempts == retry.attempts for event in seen)
    return seen


# ---------------------------------------------------------------- what is tried again


async def test_a_busy_peer_is_called_again_until_it_is_not() -> None:
    async with listening_in(refusing(retry_after=0), refusing(retry_after=0), well) as listener:
        for event in await reaches(listener, 3):
            assert isinstance(event.error, PeerAborted)
            assert event.error.code == AlertCode.BUSY
            assert not event.error.authenticated


async def test_a_peer_for_which_it_took_too_long_is_called_again() -> None:
    async def late(stream: ByteStream) -> None:
        engine = Handshake(RESPONDER, responder(), deadline=1.0)
        engine.handle_timeout(1.0)
        await last_words(stream, engine.data_to_send())

    async with listening_in(late, well) as listener:
        (event,) = await reaches(listener, 2)
        assert isinstance(event.error, PeerAborted)
        assert event.error.code == AlertCode.TIMEOUT


async def test_a_peer_that_closes_is_called_again() -> None:
    async with listening_in(closing, closing, well) as listener:
        for event in await reaches(listener, 3):
            assert isinstance(event.error, PeerAborted | TransportFailed)
            assert event.error.retryable


async def test_a_silent_peer_is_called_again_when_the_time_of_one_attempt_is_over() -> None:
    async with listening_in(silent, well) as listener:
        (event,) = await reaches(listener, 2, timeout=0.3)
        assert isinstance(event.error, HandshakeTimeout)
        assert event.error.step == "hello-response"


async def test_a_refused_connection_is_tried_again() -> None:
    """Somebody listens by the third attempt."""
    with socket.socket() as claimed:
        claimed.bind(("127.0.0.1", 0))  # and does not listen yet
        claimed.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port = claimed.getsockname()[1]
        seen = Seen()

        def see(event: Event) -> None:
            seen(event)
            if isinstance(event, AttemptFailed) and event.attempt == 2:
                claimed.listen()

        with pytest.raises(HandshakeTimeout) as caught:  # it listens, and nobody takes what comes
            await connect(
                "127.0.0.1", port, initiator(), retry=Retry(3, 20.0, 0.01, 0.02, 0.0), timeout=0.3, on_event=see
            )
    assert [type(event.error) for event in seen] == [TransportFailed, TransportFailed]
    assert [event.error.received for event in seen] == ["Connection refused"] * 2
    assert caught.value.__notes__ == ["the last of 3 attempts"]


async def test_over_a_unix_socket(tmp_path: Path) -> None:
    path, seen = tmp_path / "socket", Seen()
    async with anyio.create_task_group() as tasks:

        async def listen() -> None:
            listener = await anyio.create_unix_listener(path)
            async with listener:
                await serve(listener, echo, responder())

        def see(event: Event) -> None:
            if isinstance(event, AttemptFailed) and not seen:
                tasks.start_soon(listen)
            seen(event)

        retry = Retry(attempts=20, wait_initial=0.02, jitter=0.0)
        async with await connect_unix(path, initiator(), retry=retry, on_event=see) as stream:
            await stream.send(b"x")
            assert await stream.receive() == b"x"
        tasks.cancel_scope.cancel()
    assert seen
    assert isinstance(seen[0].error, TransportFailed)


# ---------------------------------------------------------------- what is not


@contextmanager
def fails_at_once(listener: Listener, kind: type[BaseException], match: str | None = None) -> Iterator[Seen]:
    """The block's `connect` fails with its first attempt, whose error is raised as it is."""
    seen = Seen()
    with pytest.raises(kind, match=match) as caught:
        yield seen
    assert type(caught.value) is kind
    assert not seen
    assert not hasattr(caught.value, "__notes__")
    assert listener.connections == 1


async def test_who_is_refused_does_not_come_again() -> None:
    async with listening_in(well) as listener:
        with fails_at_once(listener, PeerAborted, "its trust policy refused us") as seen:
            await connect("127.0.0.1", listener.port, initiator(identity=MALLORY), retry=FAST, on_event=seen)


async def test_who_is_not_the_one_we_want_is_not_called_again() -> None:
    async with listening_in(serving(responder(identity=MALLORY))) as listener:
        with fails_at_once(listener, AuthenticationFailed) as seen:
            await connect("127.0.0.1", listener.port, initiator(), retry=FAST, on_event=seen)


async def test_a_negotiation_that_failed_is_not_repeated() -> None:
    async with listening_in(serving(responder(protocols=["a/1"]))) as listener:
        with fails_at_once(listener, PeerAborted, "no application protocol in common") as seen:
            await connect("127.0.0.1", listener.port, initiator(protocols=["b/1"]), retry=FAST, on_event=seen)


@pytest.mark.parametrize(
    "code",
    [code for code in AlertCode if code not in (AlertCode.BUSY, AlertCode.TIMEOUT)],
)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_alert_that_says_no_is_a_no(code: AlertCode, anyio_backend: str) -> None:
    calls = 0

    async def once(seconds: float | None) -> None:
        nonlocal calls
        calls += 1
        raise PeerAborted.from_alert(code, 1, authenticated=False)

    with pytest.raises(PeerAborted):
        await retrying(FAST, once, None, None)
    assert calls == 1


@pytest.mark.parametrize(
    "error",
    [
        NegotiationFailed("x"),
        AuthenticationFailed("x"),
        LocalProtocolError("x"),
        HandshakeError("x"),
        ValueError("x"),
        OSError("x"),
        KeyboardInterrupt(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_other_errors_come_out_at_once_and_as_they_are(error: BaseException) -> None:
    calls = 0

    async def once(seconds: float | None) -> None:
        nonlocal calls
        calls += 1
        raise error

    with pytest.raises(type(error)) as caught:
        await retrying(FAST, once, None, None)
    assert caught.value is error
    assert calls == 1


async def test_misuse_is_not_repeated() -> None:
    async with listening_in(well) as listener:
        with fails_at_once(listener, LocalProtocolError, "there is no answer=") as seen:
            await connect("127.0.0.1", listener.port, initiator(trust=trust.ask()), retry=FAST, on_event=seen)
    with pytest.raises(ValueError, match="a TCP port is 1 to 65535, and not 70000"):
        await connect("127.0.0.1", 70_000, initiator(), retry=FAST)


async def test_what_a_hook_raises_ends_it() -> None:
    class Enough(Exception):
        pass

    def see(event: Event) -> None:
        if isinstance(event, AttemptFailed):
            raise Enough

    async with listening_in(refusing(), well) as listener:
        with pytest.raises(Enough):
            await connect("127.0.0.1", listener.port, initiator(), retry=FAST, on_event=see)
        assert listener.connections == 1


# ---------------------------------------------------------------- how long


async def failing(retry: Retry, error: Callable[[], HandshakeError], timeout: float | None = None) -> Seen:
    """All attempts fail; the waits between them."""
    seen, last = Seen(), None

    async def once(seconds: float | None) -> None:
        nonlocal last
        last = error()
        raise last

    with pytest.raises(HandshakeError) as caught:
        await retrying(retry, once, timeout, seen)
    assert caught.value is last
    assert caught.value.__notes__ == [f"the last of {len(seen) + 1} attempts"]
    return seen


def busy(retry_after: int | None = None, *, authenticated: bool = False) -> PeerAborted:
    return PeerAborted.from_alert(AlertCode.BUSY, retry_after, authenticated=authenticated)


async def test_waits_double_up_to_the_most() -> None:
    began = anyio.current_time()
    seen = await failing(Retry(6, 20.0, 0.01, 0.05, 0.0), busy)
    waits = [event.wait for event in seen]
    assert waits == [0.01, 0.02, 0.04, 0.05, 0.05]
    assert sum(waits) <= anyio.current_time() - began < 5


async def test_jitter_is_added_and_bounded() -> None:
    seen = await failing(Retry(41, 20.0, 0.0, 0.0, 0.004), busy)
    waits = [event.wait for event in seen]
    assert all(0 <= wait <= 0.004 for wait in waits)
    assert len(set(waits)) > 20
    assert max(waits) > 0.002


async def test_a_busy_peer_is_not_called_before_it_wants() -> None:
    """Also where that is longer than any wait of ours."""
    async with listening_in(refusing(retry_after=1), well) as listener:
        began = anyio.current_time()
        (event,) = await reaches(listener, 2)
        assert 1.0 <= event.wait <= 1.0 + FAST.jitter
        assert anyio.current_time() - began >= 1.0


async def test_a_wait_of_ours_is_not_shortened_by_a_busy_peer() -> None:
    (event,) = await failing(Retry(2, 20.0, 0.05, 0.05, 0.0), lambda: busy(0))
    assert event.wait == 0.05


@pytest.mark.parametrize(
    ("retry_after", "authenticated", "ours", "wait"),
    [(86_400, False, 0.01, 60.0), (86_400, True, 0.01, 86_400.0), (1, False, 2.0, 2.0), (2, False, 1.0, 2.0)],
)
async def test_it_waits_as_long_as_the_longer_of_both_says(
    retry_after: int, authenticated: bool, ours: float, wait: float
) -> None:
    """Only a peer that has proved who it is can put us off for more than a minute."""
    seen = Seen()

    async def once(seconds: float | None) -> None:
        raise busy(retry_after, authenticated=authenticated)

    with anyio.move_on_after(0.05) as scope:
        await retrying(Retry(2, None, ours, ours, 0.0), once, None, seen)
    assert scope.cancelled_caught
    assert [event.wait for event in seen] == [wait]


async def test_a_wait_that_would_end_too_late_is_not_begun() -> None:
    async with listening_in(refusing(retry_after=30), well) as listener:
        began = anyio.current_time()
        with fails_at_once(listener, PeerAborted, "it is busy") as seen:
            await connect("127.0.0.1", listener.port, initiator(), retry=Retry(timeout=20.0), on_event=seen)
        assert anyio.current_time() - began < 5


async def test_the_timeout_is_for_all_attempts_together() -> None:
    retry, seen = Retry(None, 2.0, 0.01, 0.02, 0.0), Seen()
    async with listening_in(silent) as listener:
        began = anyio.current_time()
        with pytest.raises((HandshakeTimeout, TransportFailed)):  # as little as there may be left for the last one
            await connect("127.0.0.1", listener.port, initiator(), timeout=0.2, retry=retry, on_event=seen)
        took = anyio.current_time() - began
        assert 1.0 < took < 2.0 + 2.0  # the last alert may take a moment
        assert seen
        assert len(seen) <= listener.connections <= len(seen) + 1


async def test_one_attempt_may_not_take_longer_than_all() -> None:
    async with listening_in(silent) as listener:
        began = anyio.current_time()
        with fails_at_once(listener, HandshakeTimeout) as seen:
            await connect(
                "127.0.0.1", listener.port, initiator(), timeout=30.0, retry=Retry(timeout=1.0), on_event=seen
            )
        assert anyio.current_time() - began < 5


@pytest.mark.parametrize(
    ("timeout", "total", "expected"), [(None, None, None), (5.0, None, 5.0), (None, 7.0, 7.0), (5.0, 7.0, 5.0)]
)
async def test_an_attempt_may_take_what_is_left(timeout: float | None, total: float | None, expected: Any) -> None:
    given: list[float | None] = []

    async def once(seconds: float | None) -> None:
        given.append(seconds)

    await retrying(Retry(timeout=total), once, timeout, None)
    assert given == [pytest.approx(expected, abs=0.5)]


async def test_when_all_attempts_are_used_up_the_last_error_is_raised() -> None:
    async with listening_in(refusing()) as listener:
        seen = Seen()
        with pytest.raises(PeerAborted, match="it is busy") as caught:
            await connect("127.0.0.1", listener.port, initiator(), retry=FAST, on_event=seen)
        assert caught.value.__notes__ == ["the last of 4 attempts"]
        assert caught.value not in [event.error for event in seen]
        assert listener.connections == 4
        assert len(seen) == 3


async def test_one_attempt_is_one_attempt() -> None:
    async with listening_in(refusing()) as listener:
        with fails_at_once(listener, PeerAborted) as seen:
            await connect("127.0.0.1", listener.port, initiator(), retry=Retry(attempts=1), on_event=seen)


@pytest.mark.parametrize("mood", [refusing(retry_after=30), silent], ids=["waiting", "trying"])
async def test_a_cancellation_ends_it_at_once(mood: Any) -> None:
    async with listening_in(mood) as listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(connect, "127.0.0.1", listener.port, initiator(), retry=Retry()))
            with anyio.fail_after(20):
                while not listener.connections:
                    await anyio.sleep(0.01)
            await anyio.sleep(0.1)
            began = anyio.current_time()
            tasks.cancel_scope.cancel()
        assert anyio.current_time() - began < 3
        assert listener.connections == 1


# ---------------------------------------------------------------- what each attempt is


def first_flight(path: Path) -> list[bytes]:
    """What an initiator said first: the bodies of its frames."""
    sent = next(line for line in transcript.read(path).lines if isinstance(line, Sent))
    return [one[4:] for one in frames(sent.data)]


async def test_each_attempt_is_a_fresh_handshake_with_fresh_keys_and_a_transcript(tmp_path: Path) -> None:
    heard: list[bytes] = []

    async def eavesdropping(stream: ByteStream) -> None:
        data = await stream.receive()
        heard.append(data)
        await stream.aclose()

    folder = tmp_path / "attempts"
    async with listening_in(eavesdropping, eavesdropping, well) as listener:
        await reaches(listener, 3, record=folder)
    files = sorted(folder.iterdir())
    flights = [first_flight(file) for file in files]
    assert len(flights) == 3
    for data in heard:
        assert any(data.startswith(b"\xe1" + len(flight[0]).to_bytes(3, "big") + flight[0]) for flight in flights)
    for frame in (0, 2):  # the nonce is in the first message, the public key share in the third
        assert len({flight[frame] for flight in flights}) == 3
    nonces = {flight[0][flight[0].index(b"\xc4\x20") + 2 :][:32] for flight in flights}
    shares = {flight[2][-32:] for flight in flights}  # the X25519 part of the default group's share comes last
    assert len(nonces) == len(shares) == 3
    failures = [[line for line in transcript.read(file).lines if isinstance(line, Failed)] for file in files]
    assert [len(failed) for failed in failures] == [1, 1, 0]


async def test_attempts_that_reach_nobody_leave_no_transcript(tmp_path: Path) -> None:
    with socket.socket() as claimed:
        claimed.bind(("127.0.0.1", 0))
        with pytest.raises(TransportFailed):
            await connect("127.0.0.1", claimed.getsockname()[1], initiator(), retry=FAST, record=tmp_path / "folder")
    assert list((tmp_path / "folder").iterdir()) == []


async def test_a_file_is_no_place_for_many_transcripts(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with listening_in(well) as listener:
        with pytest.raises(NotADirectoryError, match="transcripts of many handshakes need a folder"):
            await connect("127.0.0.1", listener.port, initiator(), retry=FAST, record=tmp_path / "file")
        assert listener.connections == 0


async def test_without_retry_there_is_one_attempt() -> None:
    async with listening_in(refusing(), well) as listener:
        with fails_at_once(listener, PeerAborted) as seen:
            await connect("127.0.0.1", listener.port, initiator(), on_event=seen)


# ---------------------------------------------------------------- names with several addresses


@pytest.fixture
def several_addresses(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], str]:
    """A name that the system resolves to the addresses that are given."""
    real = socket.getaddrinfo

    def named(addresses: list[str]) -> str:
        def resolve(host: Any, port: Any, *arguments: Any, **named: Any) -> list[Any]:
            hosts = addresses if host in ("several.test", b"several.test") else [host]
            return [found for one in hosts for found in real(one, port, *arguments, **named)]

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        return "several.test"

    return named


async def test_of_several_addresses_the_one_that_works_is_found(several_addresses: Callable[[list[str]], str]) -> None:
    """RFC 8305: after one that refuses at once, and after one that does not answer in a quarter of a second."""
    async with listening_in(well, host="127.0.0.3") as listener:
        with socket.socket() as deaf, ExitStack() as waiting:
            deaf.bind(("127.0.0.2", listener.port))
            deaf.listen(0)
            for _ in range(4):  # the queue is full then, and the kernel drops who comes next
                caller = waiting.enter_context(socket.socket())
                caller.setblocking(False)
                caller.connect_ex(deaf.getsockname())
            host = several_addresses(["127.0.0.4", "127.0.0.2", "127.0.0.3"])
            began = anyio.current_time()
            async with await connect(host, listener.port, initiator(), timeout=10.0) as stream:
                assert anyio.current_time() - began < 5
                await stream.send(b"x")
                assert await stream.receive() == b"x"
                assert stream.extra(SocketAttribute.remote_address)[0] == "127.0.0.3"
        assert listener.connections == 1


async def test_where_no_address_works_it_is_one_attempt_that_failed(
    several_addresses: Callable[[list[str]], str],
) -> None:
    with socket.socket() as claimed:
        claimed.bind(("127.0.0.4", 0))
        host, seen = several_addresses(["127.0.0.4", "127.0.0.5"]), Seen()
        with pytest.raises(TransportFailed, match="Connection refused"):
            await connect(
                host, claimed.getsockname()[1], initiator(), retry=Retry(2, 20.0, 0.01, 0.01, 0.0), on_event=seen
            )
    assert len(seen) == 1


# ---------------------------------------------------------------- stamina's settings are the application's


async def test_the_hooks_of_the_application_see_each_retry() -> None:
    called: list[RetryDetails] = []

    def hook(details: RetryDetails) -> None:
        called.append(details)

    set_on_retry_hooks([hook])
    try:
        async with listening_in(refusing(), refusing(), well) as listener:
            seen = await reaches(listener, 3)
    finally:
        set_on_retry_hooks(None)
    assert [details.retry_num for details in called] == [1, 2]
    assert [details.caused_by for details in called] == [event.error for event in seen]
    assert not any(details.args or details.kwargs for details in called)


async def test_where_the_application_has_switched_retries_off_there_is_one_attempt() -> None:
    stamina.set_active(False)
    try:
        async with listening_in(refusing(), well) as listener:
            with pytest.raises(PeerAborted, match="busy"):
                await reaches(listener, 1)
    finally:
        stamina.set_active(True)


async def test_where_the_application_is_testing_nobody_waits() -> None:
    patient = Retry(3, 120.0, 30.0, 30.0, 0.0)
    with stamina.set_testing(True, attempts=3):
        async with listening_in(refusing(), refusing(), well) as listener:
            with anyio.fail_after(10):
                await reaches(listener, 3, patient)


# ---------------------------------------------------------------- the value


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempts": 0},
        {"attempts": -1},
        {"attempts": 1.5},
        {"timeout": 0.0},
        {"timeout": -1.0},
        {"timeout": inf},
        {"timeout": nan},
        {"wait_initial": -0.1},
        {"wait_initial": nan},
        {"wait_initial": 1.0, "wait_max": 0.9},
        {"wait_max": inf},
        {"wait_max": nan},
        {"jitter": -0.1},
        {"jitter": inf},
        {"jitter": nan},
    ],
    ids=str,
)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_numbers_out_of_range_are_refused(wrong: dict[str, Any], anyio_backend: str) -> None:
    with pytest.raises(ValueError, match=list(wrong)[-1]):
        Retry(**wrong)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_it_is_a_value(anyio_backend: str) -> None:
    assert Retry() == Retry(5, 180.0, 0.2, 10.0, 0.5)
    assert Retry(None, None, 0.0, 0.0, 0.0).attempts is None
    with pytest.raises(FrozenInstanceError):
        Retry().attempts = 6  # type: ignore[misc]
    assert not hasattr(Retry(), "__dict__")
