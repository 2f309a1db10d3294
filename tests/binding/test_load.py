"""What a listener does when too many peers come, or too slow ones: limits, refusals, counters. `test_drain` has its end."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio import EndOfStream
from anyio.abc import SocketAttribute
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from nautilus_anyio import (
    ConnectionFailure,
    Counters,
    ListenerLimits,
    Refusal,
    SecureListener,
    SecureStream,
    connect,
    connect_unix,
)
from nautilus_anyio.admission import Place, Places, source_of
from nautilus_core import (
    INITIATOR,
    AlertCode,
    Handshake,
    HandshakeError,
    HandshakeTimeout,
    PeerAborted,
    Profile,
    profiles,
    trust,
)
from tests.reliability.peers import dial

from .helpers import BOB, echo, initiator, responder

pytestmark = pytest.mark.anyio

FLIGHT_ALERT = 0xE2
Until = Callable[[Callable[[Counters], bool]], Awaitable[Counters]]


@asynccontextmanager
async def listening(
    profile: Profile | None = None, handler: Callable[[SecureStream], Awaitable[Any]] = echo, **arguments: Any
) -> AsyncIterator[tuple[int, SecureListener]]:
    """A listener that serves; gives its port, and itself."""
    below = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with SecureListener(below, profile or responder(), **arguments) as listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, handler)
            yield below.extra(SocketAttribute.local_port), listener
            tasks.cancel_scope.cancel()


async def until(listener: SecureListener, done: Callable[[Counters], bool]) -> Counters:
    with anyio.fail_after(20):
        while not done(counters := listener.counters):
            await anyio.sleep(0.005)
    return counters


def flight(profile: Profile | None = None) -> bytes:
    """Alice's first flight."""
    engine = Handshake(INITIATOR, profile or initiator())
    engine.next_event()
    return engine.data_to_send()


class Peer:
    """One that only does what it is told, from an address of its own."""

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self.socket = dial(port, source)

    async def say(self, data: bytes) -> None:
        await anyio.wait_writable(self.socket)
        self.socket.sendall(data)

    async def hear(self) -> bytes:
        """What comes next; nothing when the listener has closed or cut the connection."""
        with anyio.fail_after(20):
            await anyio.wait_readable(self.socket)
        try:
            return self.socket.recv(65_536)
        except ConnectionResetError:
            return b""

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


async def test_beyond_the_limit_peers_are_told_that_we_are_busy() -> None:
    limits = ListenerLimits(handshakes=1, patience=60, retry_after=7)
    failures: list[ConnectionFailure] = []
    async with listening(limits=limits, on_error=failures.append) as (port, listener):
        with Peer(port) as first:
            await first.say(flight())
            assert await first.hear()
            with pytest.raises(PeerAborted) as caught:
                await connect("127.0.0.1", port, initiator())
            assert caught.value.code == AlertCode.BUSY
            assert caught.value.retry_after == 7
            assert caught.value.retryable
            assert not caught.value.authenticated
            counters = listener.counters
            assert (counters.accepted, counters.in_progress, counters.refused) == (2, 1, {"busy": 1})
        await until(listener, lambda counters: not counters.in_progress)
        async with await connect("127.0.0.1", port, initiator()) as stream:
            await until(listener, lambda counters: counters.sessions == 1)
            await stream.send(b"x")
        await until(listener, lambda counters: not counters.sessions)
    assert listener.counters.completed == 1
    assert [failure.fields["kind"] for failure in failures] == ["PeerAborted"]  # the first; a refusal is no failure


async def test_who_is_refused_costs_no_engine_and_no_asymmetric_operation() -> None:
    """A step's constructor runs when an engine is made: before any operation of its handshake."""
    made: list[str] = []

    def watched() -> list[Any]:
        made.append("engine")
        return list(plain.make_steps())

    plain = responder()
    profile = Profile(plain.name, watched, plain.stream, plain.limits)
    limits = ListenerLimits(handshakes=1, patience=60)
    async with listening(profile, limits=limits) as (port, listener):
        with Peer(port) as first:
            await first.say(flight())
            assert await first.hear()
            before = len(made)
            for _ in range(5):
                with Peer(port) as refused:
                    await refused.say(flight())
                    assert (await refused.hear())[0] == FLIGHT_ALERT
            assert len(made) == before
            assert listener.counters.refused == {"busy": 5}


async def test_a_limit_for_each_address() -> None:
    limits = ListenerLimits(handshakes=10, handshakes_per_address=1, patience=60)
    async with listening(limits=limits) as (port, listener):
        with Peer(port, "127.0.0.2") as first, Peer(port, "127.0.0.2") as second, Peer(port, "127.0.0.3") as third:
            await first.say(flight())
            assert (await first.hear())[0] != FLIGHT_ALERT
            await second.say(flight())
            assert (await second.hear())[0] == FLIGHT_ALERT
            await third.say(flight())
            assert (await third.hear())[0] != FLIGHT_ALERT
        assert listener.counters.refused == {"address": 1}
        await until(listener, lambda counters: not counters.in_progress)


async def test_an_address_with_more_than_its_share_gives_a_place_back() -> None:
    limits = ListenerLimits(handshakes=3, patience=60)
    async with listening(limits=limits) as (port, listener):
        greedy = [Peer(port, "127.0.0.2") for _ in range(4)]
        for peer in greedy[:3]:
            await peer.say(flight())
            assert await peer.hear()
        await greedy[3].say(flight())
        assert (await greedy[3].hear())[0] == FLIGHT_ALERT
        async with await connect("127.0.0.1", port, initiator()) as stream:
            await stream.send(b"let in")
            assert await stream.receive() == b"let in"
        assert await greedy[0].hear() == b""  # the first to come
        counters = listener.counters
        assert (counters.refused, counters.in_progress) == ({"busy": 1, "evicted": 1}, 2)
        for peer in greedy:
            peer.socket.close()


async def test_who_keeps_us_waiting_loses_its_place() -> None:
    async with listening(limits=ListenerLimits(handshakes=1, patience=0.05)) as (port, listener):
        with Peer(port) as slow:
            await slow.say(flight())
            assert await slow.hear()
            await anyio.sleep(0.1)
            async with await connect("127.0.0.1", port, initiator()) as stream:
                assert stream.confirmed
            assert await slow.hear() == b""
        assert listener.counters.refused == {"evicted": 1}


async def test_a_place_is_kept_while_it_is_our_turn() -> None:
    """Here our side is asked who the peer is, and takes its time: the peer is not to blame."""
    answered = anyio.Event()

    async def answer(question: Any) -> None:
        await answered.wait()
        question.accept()

    profile = responder(trust=trust.ask())
    async with listening(profile, limits=ListenerLimits(handshakes=1, patience=0), answer=answer) as (port, listener):
        async with anyio.create_task_group() as tasks:
            done: list[bytes] = []

            async def client() -> None:
                async with await connect("127.0.0.1", port, initiator()) as stream:
                    await stream.send(b"here")
                    done.append(await stream.receive())

            tasks.start_soon(client)
            await until(listener, lambda counters: counters.in_progress == 1)
            await anyio.sleep(0.1)
            with pytest.raises(PeerAborted) as caught:
                await connect("127.0.0.1", port, initiator())
            assert caught.value.code == AlertCode.BUSY
            answered.set()
    assert done == [b"here"]


async def test_a_handshake_that_failed_needs_no_place_to_say_so() -> None:
    """Its last words wait for the peer to close; that one does not."""
    async with listening(limits=ListenerLimits(handshakes=1, patience=60)) as (port, listener):
        with Peer(port) as stranger:
            await stranger.say(b"SSH-2.0-nobody\r\n")
            assert (await stranger.hear())[0] == FLIGHT_ALERT
            async with await connect("127.0.0.1", port, initiator()):
                assert not listener.counters.failed  # it has not closed yet
        counters = await until(listener, lambda counters: bool(counters.failed))
        assert (counters.failed, counters.refused) == ({"InvalidMessage": 1}, {})


@pytest.mark.parametrize("words", [b"", b"\xe1", flight()[:20]], ids=["nothing", "a byte", "half a hello"])
async def test_silent_peers_are_cut(words: bytes) -> None:
    failures: list[ConnectionFailure] = []
    limits = ListenerLimits(hello_timeout=0.1)
    async with listening(limits=limits, on_error=failures.append) as (port, listener):
        with Peer(port) as silent:
            await silent.say(words)
            alert = await silent.hear()
            assert alert[0] == FLIGHT_ALERT
            assert await silent.hear() == b""
        await until(listener, lambda counters: counters.failed == {"HandshakeTimeout": 1})
        assert listener.counters.half_open == listener.counters.in_progress == 0
    error = failures[0].error
    assert isinstance(error, HandshakeTimeout)
    assert str(error).startswith("hello: no first message in 0.1 seconds; got ")
    assert failures[0].fields["remote"][0] == "127.0.0.1"


async def test_a_peer_that_goes_byte_by_byte_never_takes_a_place_and_is_cut() -> None:
    async with listening(limits=ListenerLimits(hello_timeout=0.2)) as (port, listener):
        with Peer(port) as slow:
            for byte in flight()[:8]:
                await slow.say(bytes([byte]))
                await anyio.sleep(0.01)
            assert listener.counters.half_open == 1
            assert listener.counters.in_progress == 0
            assert (await slow.hear())[0] == FLIGHT_ALERT
        await until(listener, lambda counters: counters.failed == {"HandshakeTimeout": 1})


async def test_the_deadline_is_for_all_of_it() -> None:
    """A peer that sends its first message late has the less time for the rest."""
    async with listening(timeout=0.3, limits=ListenerLimits(hello_timeout=0.25)) as (port, listener):
        begun = anyio.current_time()
        with Peer(port) as slow:
            await anyio.sleep(0.2)
            await slow.say(flight())
            assert (await slow.hear())[0] != FLIGHT_ALERT
            while await slow.hear():
                pass
        assert 0.25 < anyio.current_time() - begun < 2
        await until(listener, lambda counters: counters.failed == {"HandshakeTimeout": 1})


async def test_the_oldest_half_open_connection_makes_room() -> None:
    async with listening(limits=ListenerLimits(half_open=2)) as (port, listener):
        with Peer(port) as first, Peer(port) as second:
            await until(listener, lambda counters: counters.half_open == 2)
            async with await connect("127.0.0.1", port, initiator()) as stream:
                await stream.send(b"x")
                assert await stream.receive() == b"x"
            assert await first.hear() == b""
            await second.say(flight())
            assert (await second.hear())[0] != FLIGHT_ALERT
        counters = await until(listener, lambda counters: not counters.in_progress)
        assert counters.refused == {"evicted": 1}


async def test_noise_has_no_word_for_busy_and_just_closes() -> None:
    name = "Noise_XX_25519_ChaChaPoly_BLAKE2s"
    dialling, answering = (profiles.noise(name, static=key * 32, trust=trust.anyone()) for key in (b"a", b"b"))
    async with listening(answering, limits=ListenerLimits(handshakes=1, patience=60)) as (port, listener):
        with Peer(port) as first:
            await first.say(flight(dialling)[:1])
            await until(listener, lambda counters: counters.half_open == 1)
            await first.say(flight(dialling)[1:])
            assert await first.hear()
            with pytest.raises(PeerAborted) as caught:
                await connect("127.0.0.1", port, dialling)
            assert caught.value.code is None
            assert caught.value.retryable
        assert listener.counters.refused == {"busy": 1}


async def test_where_the_responder_speaks_first_nobody_is_waited_for() -> None:
    """As in Noise's fallback patterns: a peer that is silent behaves well."""
    name = "Noise_XXfallback_25519_ChaChaPoly_BLAKE2s"
    ephemeral = X25519PrivateKey.generate()
    policy, public = trust.anyone(), ephemeral.public_key()
    answering = profiles.noise(name, static=b"b" * 32, remote_ephemeral=public, trust=policy)
    dialling = profiles.noise(name, static=b"a" * 32, ephemeral=ephemeral, trust=policy)
    async with listening(answering, limits=ListenerLimits(hello_timeout=0.05)) as (port, listener):
        with Peer(port) as polite:
            assert await polite.hear()
            assert listener.counters.in_progress == 1
        async with await connect("127.0.0.1", port, dialling) as stream:
            await stream.send(b"x")
            assert await stream.receive() == b"x"


async def test_unix_sockets_have_no_addresses_to_count(tmp_path: Any) -> None:
    path = tmp_path / "socket"
    below = await anyio.create_unix_listener(path)
    limits = ListenerLimits(handshakes=5, handshakes_per_address=1)
    async with SecureListener(below, responder(), limits=limits) as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, echo)
        with socket.socket(socket.AF_UNIX) as other:
            other.connect(str(path))
            other.sendall(flight())
            await until(listener, lambda counters: counters.in_progress == 1)
            async with await connect_unix(path, initiator()) as stream:
                assert stream.confirmed
        tasks.cancel_scope.cancel()


async def test_counters_are_exact() -> None:
    """One of each kind; every connection is counted once."""

    async def handler(stream: SecureStream) -> None:
        if await stream.receive() == b"fail":
            raise RuntimeError("a bug in the application")

    limits = ListenerLimits(handshakes=2, hello_timeout=0.2, patience=60)
    async with listening(handler=handler, limits=limits) as (port, listener):
        for words in (b"fine", b"fail"):
            async with await connect("127.0.0.1", port, initiator()) as stream:
                await stream.send(words)
                with pytest.raises((EndOfStream, anyio.BrokenResourceError)):
                    await stream.receive()
        with pytest.raises(HandshakeError):
            await connect("127.0.0.1", port, initiator(identity=BOB))
        with Peer(port) as garbage, Peer(port) as gone, Peer(port) as silent:
            await garbage.say(b"GET / HTTP/1.1\r\n\r\n")
            await garbage.hear()
            garbage.socket.close()
            await gone.say(flight()[:50])
            gone.socket.close()
            await silent.hear()
        await until(listener, lambda counters: sum(counters.failed.values()) == 4)
        with Peer(port) as first, Peer(port) as second:
            for peer in (first, second):
                await peer.say(flight())
                await peer.hear()
            with pytest.raises(PeerAborted):
                await connect("127.0.0.1", port, initiator())
            counters = listener.counters
            assert (counters.in_progress, counters.half_open) == (2, 0)
            assert listener.counters == counters
        await until(listener, lambda counters: sum(counters.failed.values()) == 6)
        await until(listener, lambda counters: not counters.in_progress)
        counters = await until(listener, lambda counters: not counters.sessions)
    assert counters.accepted == 9
    assert counters.completed == counters.durations.count == sum(counters.durations.buckets) == 2
    failed = {"AuthenticationFailed": 1, "InvalidMessage": 1, "PeerAborted": 3, "HandshakeTimeout": 1}
    assert counters.failed == failed
    assert counters.refused == {"busy": 1}
    assert counters.sessions_failed == {"RuntimeError": 1}
    assert 0 < counters.durations.max <= counters.durations.sum
    with pytest.raises(TypeError):
        counters.refused["busy"] = 0  # type: ignore[index]


async def test_counters_as_metrics() -> None:
    async with listening(limits=ListenerLimits(handshakes=1, patience=60)) as (port, listener):
        async with await connect("127.0.0.1", port, initiator()):
            pass
        await until(listener, lambda counters: not counters.sessions)
        with Peer(port) as first, Peer(port) as second:
            await first.say(flight())
            await first.hear()
            await second.say(flight())
            await second.hear()
            metrics = {metric.name: metric for metric in listener.counters.as_metrics()}
    assert metrics["nautilus.listener.accepted"].value == 3
    assert metrics["nautilus.handshake.active"].value == 1
    assert metrics["nautilus.handshake.active"].kind == "updowncounter"
    assert metrics["nautilus.handshake.duration"].unit == "s"
    assert metrics["nautilus.handshake.duration"].value == listener.counters.durations
    assert metrics["nautilus.listener.refused"].attributes == {"nautilus.refusal": Refusal.BUSY}
    assert "nautilus.handshake.failed" not in metrics


async def test_hooks_that_raise_disturb_no_count(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("a bug in the hook")

    async with listening(on_error=broken) as (port, listener):
        with Peer(port) as stranger:
            await stranger.say(b"nonsense, all of it")
            await stranger.hear()
        await until(listener, lambda counters: counters.failed == {"InvalidMessage": 1})
    async with listening(on_event=broken) as (port, listener):
        with pytest.raises(PeerAborted):
            await connect("127.0.0.1", port, initiator())
        counters = await until(listener, lambda counters: bool(counters.failed))
        assert (counters.failed, counters.in_progress) == ({"RuntimeError": 1}, 0)
    assert "the on_error hook failed" in caplog.text


async def test_refusals_are_logged_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    async with listening(limits=ListenerLimits(handshakes=1, patience=60)) as (port, listener):
        with Peer(port) as first:
            await first.say(flight())
            await first.hear()
            for _ in range(3):
                with Peer(port) as refused:
                    await refused.say(flight())
                    await refused.hear()
            assert listener.counters.refused == {"busy": 3}
    assert caplog.text.count("connections are refused: busy") == 1


async def test_files_that_are_scarce_are_taken_from_who_is_silent() -> None:
    async with listening() as (port, listener):
        with Peer(port) as first, Peer(port):
            await until(listener, lambda counters: counters.half_open == 2)
            assert listener._reception.make_room()
            assert await first.hear() == b""
            counters = await until(listener, lambda counters: counters.half_open == 1)
            assert counters.refused == {"evicted": 1}
    assert not listener._reception.make_room()


@pytest.mark.parametrize(
    "wrong",
    [
        {"handshakes": 0},
        {"handshakes_per_address": 0},
        {"half_open": 0},
        {"hello_timeout": 0},
        {"patience": -1},
        {"patience": float("nan")},
        {"retry_after": -1},
        {"retry_after": 100_000},
    ],
)
def test_limits_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        ListenerLimits(**wrong)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (("192.0.2.1", 1), ("192.0.2.1", 2), True),
        (("192.0.2.1", 1), ("192.0.2.2", 1), False),
        (("192.0.2.1", 1), ("::ffff:192.0.2.1", 1, 0, 0), True),
        (("2001:db8::1", 1, 0, 0), ("2001:db8::ffff:1", 2, 0, 0), True),
        (("2001:db8::1", 1, 0, 0), ("2001:db8:0:1::1", 1, 0, 0), False),
        (("fe80::1%eth0", 1, 0, 2), ("fe80::2%eth0", 1, 0, 2), False),
        (("fe80::1%eth0", 1, 0, 2), ("fe80::1%eth0", 2, 0, 2), True),
        (("::c000:201", 1, 0, 0), ("192.0.2.1", 1), False),
        ("/run/socket", None, True),
        (("no address", 1), None, True),
    ],
)
def test_whom_connections_are_counted_for(one: Any, other: Any, same: bool) -> None:
    assert (source_of(one) == source_of(other)) is same


def test_places_are_taken_and_given_back() -> None:
    places = Places(ListenerLimits(handshakes=2, patience=5))
    evicted: list[str] = []
    first = Place(1, 0.0, lambda: evicted.append("first"))
    second = Place(2, 1.0, lambda: evicted.append("second"))
    third = Place(3, 5.5, lambda: evicted.append("third"))
    assert places.take(first) is places.take(second) is None
    assert places.take(third) is Refusal.BUSY  # nobody waits
    second.waiting = True
    assert places.take(third) is Refusal.BUSY  # it has its five seconds
    first.waiting = True
    assert places.take(third) is None
    assert evicted == ["first"]
    places.give_back(first)  # again
    assert len(places) == 2
    places.give_back(second)
    places.give_back(third)
    assert len(places) == 0


async def test_the_secure_stream_knows_what_is_below() -> None:
    ports: list[int] = []

    async def handler(stream: SecureStream) -> None:
        ports.append(stream.extra(SocketAttribute.local_port))
        await echo(stream)

    async with listening(handler=handler) as (port, _):
        async with await connect("127.0.0.1", port, initiator()) as stream:
            await stream.send(b"x" * 300_000)
            data = b""
            while len(data) < 300_000:
                data += await stream.receive()
        assert ports == [port]
