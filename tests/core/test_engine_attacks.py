"""Attacks on `nautilus/1` and its engine as one whole, each a regression test of what once gave way."""

from __future__ import annotations

import copy
import pickle
import sys
import threading
import tracemalloc
from collections.abc import Callable, Generator
from types import FrameType
from typing import Any

import pytest

from nautilus_core import (
    INITIATOR,
    PAUSED,
    RESPONDER,
    AlertCode,
    AuthenticationFailed,
    Context,
    CustomProtocolStep,
    Handshake,
    HandshakeCompleted,
    HandshakeError,
    InvalidMessage,
    LocalProtocolError,
    NautilusStream,
    PeerAborted,
    PeerIdentified,
    Question,
    Role,
    SessionKeyDerivationFailed,
    Signal,
    Stage,
    State,
    TrustPolicy,
    trust,
)
from nautilus_core.buffer import ReceiveBuffer
from nautilus_core.crypto.suites import SUITES
from nautilus_core.crypto.traffic_key import TrafficKey
from nautilus_core.errors import release_frames
from nautilus_core.events import Answer
from nautilus_core.frames import HANDSHAKE, SEALED_ALERT
from nautilus_core.identity.peers import ClaimedPeer, Peer
from nautilus_core.limits import DEFAULT_LIMITS
from nautilus_core.noise.names import NoiseProtocol
from nautilus_core.noise.symmetric import CipherState
from nautilus_core.steps.session_keys import SessionKeyDerivation
from nautilus_core.testing import Pair

from .helpers import BUILT_IN, FAST, HEADER, SEALED_FROM, agreed, alice, altered, bob, both, frames, note, put, run
from .test_key_hygiene import stream_of, vars_of

# ------------------------------------------------------------- entered again


def calling(sender: Role, place: str, victim: Role, call: Callable[[], object]) -> Callable[[], Any]:
    """A function that makes a step, from `sender`, which at the end `victim` calls something in `place`."""

    def at(name: str, context: Context) -> None:
        if name == place and context.role is victim:
            call()

    def write(context: Context) -> bytes:
        at("write", context)
        return b"told"

    def make() -> CustomProtocolStep[bytes]:
        return CustomProtocolStep(
            "custom",
            sender,
            write=write,
            read=lambda context, _: at("read", context),
            commit=lambda context: at("commit", context),
            needs=Stage.KEYS,
        )

    return make


CALLS: dict[str, Callable[[Handshake], object]] = {
    "abort": lambda engine: engine.abort("from within"),
    "handle_timeout": lambda engine: engine.handle_timeout(10.0),
    "next_event": lambda engine: [engine.next_event() for _ in range(20)],
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("anchor", ["responder-authentication", "initiator-authentication", "initiator-finished"])
@pytest.mark.parametrize("sender", Role)
@pytest.mark.parametrize("victim", Role)
def test_a_handshake_that_its_own_step_ends_sends_nothing_in_the_clear(
    victim: Role, sender: Role, anchor: str, call: str
) -> None:
    for place in ("write", "commit") if victim is sender else ("read", "commit"):
        engines: dict[Role, Handshake] = {}
        step = calling(sender, place, victim, lambda engines=engines: CALLS[call](engines[victim]))  # type: ignore[misc]
        initiator, responder = both(lambda profile, step=step: profile.insert_before(anchor, step))  # type: ignore[misc]
        engines[INITIATOR] = Handshake(INITIATOR, initiator, deadline=5.0)
        engines[RESPONDER] = Handshake(RESPONDER, responder, deadline=5.0)
        pair = Pair(engines[INITIATOR], engines[RESPONDER], close=False).run()
        end = pair.initiator if victim is INITIATOR else pair.responder
        assert isinstance(end.error, LocalProtocolError)
        assert "from within a step" in str(end.error)
        assert end.handshake.state is State.FAILED
        sent = [frame for flight in end.flights for frame in frames(flight)]
        assert [frame[0] for frame in sent].count(HANDSHAKE) == len(sent) - 1, "one alert, and it is the last"
        secret = (*BUILT_IN[SEALED_FROM:], "custom")
        assert not any(name.encode() in frame[HEADER:][: 2 + len(name)] for frame in sent for name in secret)


def test_another_thread_cannot_end_a_handshake_under_its_running_step() -> None:
    raised: list[BaseException] = []

    def elsewhere() -> None:
        try:
            engine.abort("from a timer")
        except LocalProtocolError as error:
            raised.append(error)

    def call() -> None:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()

    initiator, responder = both(
        lambda profile: profile.insert_before("initiator-authentication", calling(INITIATOR, "write", INITIATOR, call))
    )
    engine = Handshake(INITIATOR, initiator)
    assert agreed(run(engine, responder))
    assert len(raised) == 1


def test_a_stream_that_was_released_writes_nothing_unsealed() -> None:
    stream = NautilusStream(DEFAULT_LIMITS)
    suite = SUITES[FAST[0]]
    stream.protect(TrafficKey(suite, bytes(32)), TrafficKey(suite, bytes(32)))
    stream.release()
    with pytest.raises(LocalProtocolError):
        stream.write(note()(), b"")
    assert stream.data_to_send() == b""


def test_an_engine_that_looks_while_it_is_answered_never_takes_a_no_for_a_yes() -> None:
    answer = Answer()
    answer.ask()
    seen: list[bool] = []

    def look(frame: FrameType, event: str, argument: Any) -> Any:
        seen.append(answer.given and answer.error is None)
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        answer.give(None, AuthenticationFailed("no"))
    finally:
        sys.settrace(before)
    assert answer.given
    assert len(seen) > 4
    assert not any(seen)


# ------------------------------------------------------------ half a failure


class Careless(CustomProtocolStep[bytes]):
    """A step whose clean-up fails."""

    def forget(self) -> None:
        """Fail."""
        raise AttributeError("there was no secret yet")


def refusing(context: Context, message: bytes) -> None:
    """Refuse the peer's message."""
    raise AuthenticationFailed("not this one")


def test_a_clean_up_that_fails_leaves_no_key_and_hides_no_error() -> None:
    def make() -> Careless:
        return Careless("custom", INITIATOR, write=lambda _: b"", read=refusing)

    initiator, responder = both(lambda profile: profile.insert_before("initiator-finished", make))
    engine = Handshake(RESPONDER, responder)
    pair = run(initiator, engine)
    assert isinstance(pair.responder.error, AuthenticationFailed)
    assert keys_of(engine) == []
    assert vars_of(engine)["_context"].peer is None  # type: ignore[attr-defined]


class Interrupt(BaseException):
    """As `KeyboardInterrupt`, which pytest takes for its own."""


@pytest.mark.parametrize("cleanup", [ValueError, Interrupt])
def test_a_question_whose_clean_up_fails_leaves_no_key_and_tells_the_peer(cleanup: type[BaseException]) -> None:
    def read(context: Context, message: bytes) -> Generator[Question[Any], Any, None]:
        try:
            yield from context.ask(Question())
        finally:
            raise cleanup

    def make() -> CustomProtocolStep[bytes]:
        return CustomProtocolStep("custom", INITIATOR, write=lambda _: b"", read=read)

    initiator, responder = both(lambda profile: profile.insert_before("initiator-finished", make))
    engine = Handshake(RESPONDER, responder)
    pair = run(initiator, engine)
    pair.responder.handshake.data_to_send()
    try:
        engine.abort("enough")
    except Interrupt:
        assert cleanup is Interrupt
    assert keys_of(engine) == []
    assert engine.data_to_send() != b""
    with pytest.raises(HandshakeError, match="enough"):
        engine.next_event()


def keys_of(engine: Handshake) -> list[object]:
    """The keys and secrets that an engine has."""
    stream, context = vars_of(stream_of(engine)), vars_of(vars_of(engine)["_context"])
    return [key for key in (stream["_writing"], stream["reading"], context["schedule"]) if key is not None]


class Undecodable(CustomProtocolStep[bytes]):
    """A step whose decoding fails, as nobody has foreseen."""

    def decode(self, body: bytes) -> bytes:
        """Fail."""
        raise KeyError("tenant")


@pytest.mark.parametrize("role", Role)
def test_an_error_that_is_no_handshakes_has_no_key_in_its_frames(role: Role) -> None:
    kind, length = (CustomProtocolStep[bytes], 70_000) if role is INITIATOR else (Undecodable, 1)

    def make() -> CustomProtocolStep[bytes]:
        return kind("custom", INITIATOR, write=lambda _: bytes(length), read=lambda *_: None)

    pair = run(*both(lambda profile: profile.insert_before("initiator-finished", make)))
    error = (pair.initiator if role is INITIATOR else pair.responder).error
    assert isinstance(error, LocalProtocolError if role is INITIATOR else KeyError)
    traceback, names = error.__traceback__, []
    while traceback is not None:
        names.append(traceback.tb_frame.f_code.co_name)
        assert not any(isinstance(value, TrafficKey) for value in traceback.tb_frame.f_locals.values())
        traceback = traceback.tb_next
    assert ("write" if role is INITIATOR else "read") in names


def hiding(secret: object, then: Callable[[Exception], BaseException]) -> BaseException:
    """An error that was raised while another was handled, in whose frames a secret lies."""

    def fail(held: object) -> None:
        raise ValueError("no")

    try:
        try:
            fail(secret)
        except ValueError as error:
            raise then(error)  # noqa: B904  # the context is the matter here
    except HandshakeError as error:
        return error
    raise AssertionError


def caused(cause: BaseException | None) -> HandshakeError:
    """An error with this cause, or with itself as one."""
    error = HandshakeError("enough")
    error.__cause__ = error if cause is None else cause
    return error


@pytest.mark.parametrize(
    "then",
    [lambda _: HandshakeError("enough"), caused, lambda _: caused(None), lambda _: caused(KeyError("another"))],
    ids=["context", "cause", "its own cause", "both"],
)
def test_all_that_led_to_an_error_lets_go_of_secrets_and_is_gone_through_once(
    then: Callable[[Exception], BaseException],
) -> None:
    secret = object()
    before = sys.getrefcount(secret)
    error = hiding(secret, then)
    assert sys.getrefcount(secret) > before
    release_frames(error)
    assert sys.getrefcount(secret) == before


class Forgetful(TrustPolicy):
    """Trusts everybody, and then cannot remember anybody."""

    def authorize(self, peer: Peer | ClaimedPeer, context: Context) -> None:
        """Welcome."""

    def remember(self, peer: Peer, context: Context) -> None:
        """Fail."""
        raise AuthenticationFailed("another was remembered meanwhile")


@pytest.mark.parametrize("role", Role)
def test_who_refuses_at_the_very_end_says_so_under_a_key_that_the_peer_has(role: Role) -> None:
    profiles = {INITIATOR: alice(), RESPONDER: bob()}
    profiles[role] = (alice if role is INITIATOR else bob)(trust=Forgetful())
    pair = run(profiles[INITIATOR], profiles[RESPONDER])
    ends = {INITIATOR: pair.initiator, RESPONDER: pair.responder}
    assert isinstance(ends[role].error, AuthenticationFailed)
    assert ends[role].handshake.session is None
    error = ends[role.peer].error
    if role is RESPONDER:  # the initiator is through with its handshake by then: its channel hears of it
        channel = pair.initiator.session.channel()
        with pytest.raises(PeerAborted) as caught:
            channel.next_event()
        error = caught.value
    assert isinstance(error, PeerAborted)
    assert error.authenticated
    assert error.code == 49


def test_who_has_sealed_something_and_opened_nothing_seals_its_alert() -> None:
    initiator, responder = Handshake(INITIATOR, alice()), Handshake(RESPONDER, bob())
    settled(initiator)
    responder.receive_data(initiator.data_to_send())
    settled(responder)
    responder.abort("tired of waiting", retry_after=3600)
    *_, alert = frames(flight := responder.data_to_send())
    assert alert[0] == SEALED_ALERT
    initiator.receive_data(flight)
    settled(initiator)
    with pytest.raises(PeerAborted) as caught:
        initiator.session.channel().next_event()  # type: ignore[union-attr]
    assert caught.value.authenticated
    assert caught.value.retry_after == 3600


def settled(engine: Handshake) -> None:
    """Run an engine until it waits, or is complete."""
    while not isinstance(engine.next_event(), (Signal, HandshakeCompleted)):
        pass


class Altering(SessionKeyDerivation):
    """A Finished whose MAC is not sent as it is."""

    def __init__(self, sender: Role, change: Callable[[bytes], bytes]) -> None:
        super().__init__(sender, DEFAULT_LIMITS)
        self._change = change

    def write(self, context: Context) -> Any:
        """The MAC, changed."""
        return self.message(self._change(super().write(context).mac))


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(
    "change",
    [
        lambda mac: mac[:32],
        lambda mac: mac[:-1],
        lambda mac: mac + bytes(16),
        lambda mac: mac[:-1] + bytes((mac[-1] ^ 1,)),
        lambda mac: bytes((mac[0] ^ 128,)) + mac[1:],
    ],
)
def test_a_finished_counts_with_all_its_bytes_and_no_more(role: Role, change: Callable[[bytes], bytes]) -> None:
    suites = ("X25519_AES256GCM_SHA384",)
    sides = {INITIATOR: alice(suites=suites), RESPONDER: bob(suites=suites)}
    sides[role] = sides[role].replace(f"{role.value}-finished", lambda: Altering(role, change))
    pair = run(sides[INITIATOR], sides[RESPONDER])
    error = (pair.responder if role is INITIATOR else pair.initiator).error
    assert isinstance(error, SessionKeyDerivationFailed)
    assert error.alert == AlertCode.BAD_FINISHED


# --------------------------------------------------------- nonces used twice


def test_what_counts_nonces_is_not_copied() -> None:
    session = Pair(alice(datagrams=True), bob(datagrams=True)).run().initiator.session
    channel = session.channel()
    noise = CipherState(NoiseProtocol.parse("Noise_NN_25519_ChaChaPoly_SHA256").cipher, bytes(32))
    hows: tuple[Callable[[object], object], ...] = (copy.copy, copy.deepcopy, pickle.dumps)
    for thing in (session.datagrams(), channel, vars_of(channel)["_reading"], noise):
        for how in hows:
            with pytest.raises(TypeError, match="not copied"):
                how(thing)


# ------------------------------------------------- checks that nobody would run


def asking_commit(context: Context) -> Generator[Question[Any], Any, None]:
    """A check that nobody would run."""
    yield from context.ask(Question())
    raise AuthenticationFailed("never seen")


async def waiting_commit(context: Context) -> None:
    """Likewise."""
    raise AuthenticationFailed("never seen")


@pytest.mark.parametrize("commit", [asking_commit, waiting_commit])
def test_a_commit_that_asks_or_waits_is_refused_and_not_passed_over(commit: Any) -> None:
    class Own(CustomProtocolStep[bytes]):
        """With a method instead of a function."""

    Own.commit = commit  # type: ignore[method-assign]
    for make in (note(commit=commit), lambda: Own("own", INITIATOR, write=lambda _: b"", read=lambda *_: None)):
        with pytest.raises(LocalProtocolError, match="^commit of step .* is (async|a generator)"):
            alice().insert_before("initiator-finished", make)


def test_a_policy_whose_remember_asks_or_waits_is_refused() -> None:
    for function in (asking_commit, waiting_commit):
        with pytest.raises(LocalProtocolError, match="remember cannot ask or wait"):
            type("Own", (type(trust.anyone()),), {"remember": function})


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("nothing", [list, tuple])
def test_a_built_in_step_cannot_be_replaced_by_nothing(name: str, nothing: Callable[[], Any]) -> None:
    with pytest.raises(LocalProtocolError, match="belongs to the protocol and cannot be removed"):
        alice().replace(name, nothing)


def test_a_commit_of_ones_own_cannot_take_built_in_steps_out_as_a_block() -> None:
    def commit(context: Context) -> None:
        context.steps.replace_block(("responder-finished",), ())

    step = note(needs=Stage.NOTHING, commit=commit)
    pair = run(*both(lambda profile: profile.insert_after("hello", step)))
    for end in (pair.initiator, pair.responder):
        assert isinstance(end.error, (LocalProtocolError, PeerAborted))
    assert "is not built in: it replaces no block" in str(pair.initiator.error)


def test_a_raw_message_of_another_name_is_not_taken_for_the_one_that_is_due() -> None:
    step = note(needs=Stage.NOTHING)
    profiles = both(lambda profile: profile.insert_after("hello", step))
    error = run(*profiles, tamper=altered("note", put(0, "nope"))).responder.error
    assert isinstance(error, InvalidMessage)
    assert "expected the message 'note'; got the message 'nope'" in str(error)


@pytest.mark.parametrize("value", [False, True, 0, "no"])
def test_a_peer_is_not_welcome_by_an_answer_that_may_mean_no(value: Any) -> None:
    engine = Handshake(RESPONDER, bob(trust=trust.ask()))
    pair = run(alice(), engine)
    question = pair.responder.events[-1]
    assert isinstance(question, PeerIdentified)
    with pytest.raises(LocalProtocolError, match=r"accept\(\), or reject"):
        question.answer(value)
    assert engine.next_event() is PAUSED
    question.reject("after all")
    with pytest.raises(AuthenticationFailed):
        engine.next_event()


def test_a_step_of_ones_own_can_be_replaced_by_nothing() -> None:
    profile = alice().insert_before("initiator-finished", note()).replace("note", list)
    assert profile.outline.names == BUILT_IN


# ------------------------------------------------------------ memory, numbers


@pytest.mark.parametrize("size", [1, 2, 7, 100, 511, 512, 4000])
def test_a_frame_in_small_pieces_takes_little_more_than_its_place(size: int) -> None:
    length = 64_000
    data = bytes(range(256)) * (length // 256)
    buffer = ReceiveBuffer()
    tracemalloc.start()
    try:
        for start in range(0, length, size):
            buffer.feed(bytes(bytearray(data[start : start + size])))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1.5 * length
    assert len(buffer) == length
    assert not buffer.lacks(length)
    assert buffer.data[buffer.position :] == data


@pytest.mark.parametrize(
    "options", [{"retry_after": True}, {"retry_after": 1.0}, {"retry_after": 86_401}, {"code": 90.0}, {"code": True}]
)
def test_an_alert_that_the_peer_could_not_read_is_not_made(options: dict[str, Any]) -> None:
    engine = Handshake(INITIATOR, alice())
    with pytest.raises(ValueError, match=r"retry_after|alert"):
        engine.abort("enough", **options)
    assert agreed(run(engine, bob()))
