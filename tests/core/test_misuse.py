"""What who uses the library for the first time gets wrong: each mistake ends in one line that says what to write instead.

Above all: nothing that is never run, as an `async def read` or a question without `yield from`, passes for a yes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Annotated, Any

import pytest
from msgspec import Meta

from nautilus_core import (
    INITIATOR,
    NEED_DATA,
    Context,
    CustomProtocolStep,
    Handshake,
    HandshakeError,
    HandshakeStep,
    Identity,
    LocalProtocolError,
    Message,
    MessageStep,
    Profile,
    Question,
    profiles,
    trust,
)
from nautilus_core.testing import Pair

ALICE, BOB = Identity.generate(), Identity.generate()


class Note(Message, frozen=True, tag="note"):
    text: Annotated[str, Meta(max_length=8)] = ""


class Send(MessageStep[Note]):
    name, sender, message = "note", INITIATOR, Note

    def write(self, context: Context) -> Note:
        return Note()

    def read(self, context: Context, message: Note) -> Any:
        return None


class Quota(Question[int], frozen=True, kw_only=True):
    tenant: str


def profile(here: Identity, there: Identity) -> Profile:
    return profiles.nautilus(identity=here, trust=trust.pinned(there.public))


def pair_with(step: Callable[[], HandshakeStep[Any]], answer: Callable[[Any], None] | None = None) -> Pair:
    return Pair(
        profile(ALICE, BOB).insert_before("initiator-finished", step),
        profile(BOB, ALICE).insert_before("initiator-finished", step),
        answer=answer,
        close=False,
    )


def writing(what: Any) -> Callable[[], HandshakeStep[Any]]:
    class Writing(Send):
        def write(self, context: Context) -> Note:
            return what  # type: ignore[no-any-return]

    return Writing


class ReadsLater(Send):
    async def read(self, context: Context, message: Note) -> Any:  # type: ignore[override]
        raise AssertionError


class WritesLater(Send):
    async def write(self, context: Context) -> Note:  # type: ignore[override]
        raise AssertionError


class CommitsLater(Send):
    async def commit(self, context: Context) -> None:  # type: ignore[override]
        raise AssertionError


class AsksInCommit(Send):
    def commit(self, context: Context) -> Generator[Question[Any], Any, None]:  # type: ignore[override]
        yield from context.ask(Quota(tenant="acme"))


async def read_later(context: Context, message: Any) -> None:
    raise AssertionError


def from_functions() -> HandshakeStep[Any]:
    return CustomProtocolStep("note", INITIATOR, write=lambda context: b"", read=read_later)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (ReadsLater, "read of step 'note' is async"),
        (WritesLater, "write of step 'note' is async"),
        (CommitsLater, "commit of step 'note' is async"),
        (from_functions, "read of step 'note' is async"),
        (AsksInCommit, "commit of step 'note' is a generator"),
        (Send(), "expected a function that makes a fresh step, or several; got <Send 'note' from initiator>"),
        (lambda: 7, "got one that made 7"),
        (lambda: [Send(), None], "got one that made None"),
    ],
)
def test_a_step_that_cannot_be_run_is_no_part_of_a_profile(step: Any, words: str) -> None:
    with pytest.raises(LocalProtocolError) as raised:
        profile(ALICE, BOB).insert_before("initiator-finished", step)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (None, "must write a Note, not NoneType"),
        ({"text": ""}, "must write a Note, not dict"),
        (Note("far too long"), "wrote a Note that its own types do not allow: Expected `str` of length <= 8"),
        (Note(7), "wrote a Note that its own types do not allow: Expected `str`, got `int`"),  # type: ignore[arg-type]
    ],
)
@pytest.mark.parametrize("functions", [False, True])
def test_a_message_that_the_peer_would_refuse_is_not_sent(what: Any, words: str, functions: bool) -> None:
    def made() -> HandshakeStep[Any]:
        return CustomProtocolStep(
            "note", INITIATOR, write=lambda context: what, read=lambda context, message: None, message=Note
        )

    pair = pair_with(made if functions else writing(what)).run()
    assert isinstance(pair.initiator.error, LocalProtocolError)
    assert words in str(pair.initiator.error)
    assert isinstance(pair.responder.error, HandshakeError)


@pytest.mark.parametrize("no", [False, True, 0, "", [], AssertionError()])
def test_what_read_returns_is_no_answer(no: object) -> None:
    class Refuses(Send):
        def read(self, context: Context, message: Note) -> Any:
            return no

    pair = pair_with(Refuses).run()
    assert isinstance(pair.responder.error, LocalProtocolError)
    assert f"read of step 'note' returned {type(no).__name__}" in str(pair.responder.error)


def test_a_coroutine_from_a_plain_function_is_no_answer() -> None:
    class Refuses(Send):
        def read(self, context: Context, message: Note) -> Any:
            return read_later(context, message)

    pair = pair_with(Refuses).run()
    assert "read of step 'note' returned coroutine" in str(pair.responder.error)


@pytest.mark.parametrize("ask_another", [False, True])
def test_a_question_that_was_made_and_not_asked_ends_the_handshake(ask_another: bool) -> None:
    class Forgets(Send):
        def read(self, context: Context, message: Note) -> Any:
            context.ask(Quota(tenant="forgotten"))
            return context.ask(Quota(tenant="asked")) if ask_another else None

    pair = pair_with(Forgets, answer=lambda question: question.answer(7)).run()
    assert isinstance(pair.responder.error, LocalProtocolError)
    assert "step 'note' has made a question and not asked it (hint: answer = yield from" in str(pair.responder.error)


def test_an_end_is_an_initiator_or_a_responder() -> None:
    role: Any = "initiator"
    with pytest.raises(TypeError, match="a role is INITIATOR or RESPONDER, not 'initiator'"):
        Handshake(role, profile(ALICE, BOB))
    assert Handshake(INITIATOR, profile(ALICE, BOB)).next_event() is not NEED_DATA


def decide(peer: object, context: Context) -> None: ...


NAUTILUS: Any = profiles.nautilus
NOISE: Any = profiles.noise
TRUST: Any = trust
FROM_PEM: Any = Identity.from_pem


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: NAUTILUS(identity="a.pem", trust=trust.anyone()), "identity= takes an Identity"),
        (lambda: NAUTILUS(identity=ALICE, trust=decide), "trust.decided_by(function, policy) makes one"),
        (lambda: NAUTILUS(identity=ALICE, trust=BOB.peer_id), "trust.pinned(key_or_peer_id) makes one"),
        (lambda: NOISE("Noise_NN_25519_ChaChaPoly_SHA256", trust=decide), "trust= takes a TrustPolicy"),
        (lambda: NAUTILUS(identity=ALICE, trust=trust.anyone(), protocols="mesh/1"), "(hint: ['mesh/1'])"),
        (lambda: NAUTILUS(identity=ALICE, trust=trust.anyone(), protocols=[b"mesh/1"]), "is a string, not b'"),
        (lambda: NAUTILUS(identity=ALICE, trust=trust.anyone(), suites="X25519"), "names of a suite"),
        (lambda: TRUST.pinned([BOB.public]), "each an argument of its own, not list"),
        (lambda: TRUST.decided_by(trust.anyone(), decide), "decided_by() takes a function first, not _Anyone"),
        (lambda: TRUST.decided_by(decide, decide), "decided_by() takes a TrustPolicy, not function"),
        (lambda: TRUST.any_of(trust.anyone(), decide), "a combined policy takes a TrustPolicy, not function"),
        (lambda: FROM_PEM("a.pem"), "takes the bytes of a key, not str; load_identity() takes a path"),
    ],
)
def test_an_argument_of_another_type_is_named(make: Any, words: str) -> None:
    with pytest.raises(TypeError) as raised:
        make()
    assert words in str(raised.value)
