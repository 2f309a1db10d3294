"""`Profile`: immutable, made of functions; insertions, removals and replacements; what `nautilus()` refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from nautilus_core import (
    ANONYMOUS,
    DEFAULT_SUITES,
    INITIATOR,
    RESPONDER,
    SUITES,
    Authentication,
    CipherSuiteAck,
    CipherSuiteExchange,
    Context,
    CustomProtocolStep,
    Handshake,
    HelloResponse,
    LengthPrefixedStream,
    Limits,
    LocalProtocolError,
    NautilusStream,
    NodeHello,
    Profile,
    Session,
    SessionKeyDerivation,
    Stage,
    profiles,
    trust,
)
from nautilus_core.profiles import StepFactory

from .helpers import ALICE, BOB, BUILT_IN, Talk, alice, both, note, run, succeed


def names(profile: Profile) -> tuple[str, ...]:
    return Handshake(INITIATOR, profile).steps.names


def test_the_default_profile() -> None:
    profile = alice()
    assert profile.name == "nautilus/1"
    assert names(profile) == BUILT_IN
    assert isinstance(profile.make_stream(), NautilusStream)
    kinds = [type(step) for step in profile.make_steps()]
    assert kinds[0] is NodeHello
    assert kinds[1] is CipherSuiteExchange
    assert kinds[3] is HelloResponse
    assert kinds[4] is CipherSuiteAck
    assert kinds[6] is kinds[8] is Authentication
    assert kinds[7] is kinds[9] is SessionKeyDerivation


def test_edits_return_a_new_profile() -> None:
    profile = alice()
    inserted = profile.insert_before("initiator-finished", note())
    after = inserted.insert_after("note", note("second", RESPONDER))
    replaced = after.replace("note", note("other"))
    removed = replaced.remove("second")
    assert names(profile) == BUILT_IN
    assert names(inserted) == (*BUILT_IN[:-1], "note", BUILT_IN[-1])
    assert names(after) == (*BUILT_IN[:-1], "note", "second", BUILT_IN[-1])
    assert names(replaced) == (*BUILT_IN[:-1], "other", "second", BUILT_IN[-1])
    assert names(removed) == (*BUILT_IN[:-1], "other", BUILT_IN[-1])
    with pytest.raises(AttributeError):
        profile.limits = Limits()  # type: ignore[misc]


def test_edited_profiles_run() -> None:
    def edit(profile: Profile) -> Profile:
        return (
            profile.insert_before("initiator-finished", note("first"))
            .insert_after("first", lambda: Talk("second", RESPONDER))
            .insert_before("first", note("third", RESPONDER))
            .replace("first", note("fourth"))
            .insert_after("responder-key-share", note("sealed", INITIATOR, needs=Stage.KEYS))
            .insert_before("suites", note("early", needs=Stage.NOTHING))
            .insert_before("initiator-finished", note("gone"))
            .remove("gone")
        )

    pair = succeed(run(*both(edit)))
    assert pair.initiator.session.steps == (
        "hello",
        "early",
        *BUILT_IN[1:6],
        "sealed",
        *BUILT_IN[6:9],
        "third",
        "fourth",
        "second",
        "initiator-finished",
    )


def test_one_function_may_make_several_steps_that_share_something() -> None:
    heard: list[object] = []

    def challenge() -> tuple[CustomProtocolStep[bytes], ...]:
        shared: list[bytes] = []
        heard.append(shared)

        def ask(context: Context) -> bytes:
            shared.append(context.entropy.random_bytes(8))
            return shared[0]

        def keep(context: Context, message: bytes) -> None:
            shared.append(message)

        def answer(context: Context) -> bytes:
            return shared[0]

        def check(context: Context, message: bytes) -> None:
            context.publish(message == shared[0])

        return (
            CustomProtocolStep("challenge", RESPONDER, write=ask, read=keep),
            CustomProtocolStep("answer", INITIATOR, write=answer, read=check),
        )

    profiles_of_both = both(lambda profile: profile.insert_before("initiator-finished", challenge))
    for _ in range(2):
        pair = succeed(run(*profiles_of_both))
        assert pair.responder.session.results == {"answer": True}
    assert names(profiles_of_both[0])[-3:-1] == ("challenge", "answer")


def test_a_function_that_gives_the_same_step_again_is_refused() -> None:
    """No step object ever serves two handshakes."""
    step = note()()
    factories: list[StepFactory] = [lambda: step, lambda: [step]]
    for factory in factories:
        with pytest.raises(LocalProtocolError, match="must make new steps at each call"):
            alice().insert_before("initiator-finished", factory)


def test_every_handshake_has_steps_of_its_own() -> None:
    profile = alice().insert_before("initiator-finished", note())
    first, second = Handshake(INITIATOR, profile), Handshake(INITIATOR, profile)
    assert not {id(step) for step in first.steps} & {id(step) for step in second.steps}


def test_an_edit_that_makes_an_invalid_list_is_refused_at_once() -> None:
    profile = alice()
    edits: list[tuple[Callable[[], Profile], str]] = [
        (lambda: profile.insert_before("nobody", note()), r"no step 'nobody' in \['hello'"),
        (lambda: profile.insert_after("nobody", note()), "no step 'nobody'"),
        (lambda: profile.remove("nobody"), "no step 'nobody'"),
        (lambda: profile.replace("nobody", note()), "no step 'nobody'"),
        (lambda: profile.remove("hello"), "cannot be removed"),
        (lambda: profile.replace("hello", note()), "belongs to the protocol"),
        (lambda: profile.insert_after("initiator-finished", note()), "nothing can stand after"),
        (lambda: profile.insert_before("suite", note()), "needs both identities"),
        (lambda: profile.insert_before("initiator-finished", lambda: [note()(), note()()]), "the name 'note' is taken"),
        (lambda: profile.insert_before("initiator-finished", note("x" * 65)), "1 to 64 ASCII"),
        (lambda: profile.insert_before("hello-response", note(needs=Stage.NOTHING)), "right before 'hello-response'"),
    ]
    for edit, text in edits:
        with pytest.raises(LocalProtocolError, match=text):
            edit()
    assert names(profile) == BUILT_IN


def test_a_built_in_step_is_replaced_by_one_of_its_kind() -> None:
    class Logged(SessionKeyDerivation):
        seen: ClassVar[list[str]] = []

        def commit(self, context: Context) -> None:
            self.seen.append(self.name)
            super().commit(context)

    def edit(profile: Profile) -> Profile:
        return profile.replace("initiator-finished", lambda: Logged(INITIATOR, profile.limits))

    pair = succeed(run(*both(edit)))
    assert pair.initiator.session.steps == BUILT_IN
    assert Logged.seen == ["initiator-finished"] * 2


def test_a_profile_of_ones_own_from_any_steps_and_any_framing() -> None:
    """Two unencrypted raw messages, behind a length prefix: not a secure handshake, but a whole one."""

    def finish(context: Context) -> None:
        context.finish(
            Session(
                role=context.role,
                peer=ANONYMOUS,
                protocol=None,
                suite="none",
                exporter=lambda label, _, length: label.encode().ljust(length),
            )
        )

    def steps() -> list[CustomProtocolStep[bytes]]:
        last = note("pong", RESPONDER, commit=finish, needs=Stage.NOTHING)()
        last.provides = Stage.SESSION
        return [note("ping", needs=Stage.NOTHING)(), last]

    profile = Profile("ping-pong", steps, LengthPrefixedStream)
    pair = succeed(run(profile, profile))
    assert pair.initiator.session.steps == ("ping", "pong")
    assert pair.initiator.flights == [b"\x00\x19a note from the initiator"]
    assert pair.responder.session.results["ping"] == b"a note from the initiator"
    with pytest.raises(LocalProtocolError, match="or it has none"):
        pair.initiator.session.channel()


def test_a_last_step_that_does_not_finish_is_at_fault() -> None:
    def steps() -> list[CustomProtocolStep[bytes]]:
        last = note("only", needs=Stage.NOTHING)()
        last.provides = Stage.SESSION
        return [last]

    pair = run(Profile("forgetful", steps), Profile("forgetful", steps))
    for end in (pair.initiator, pair.responder):
        assert isinstance(end.error, LocalProtocolError)
        assert "did not finish the handshake with a session" in str(end.error)


def test_an_invalid_profile_is_refused_when_it_is_made() -> None:
    with pytest.raises(LocalProtocolError, match="must yield the session"):
        Profile("empty", list)


# ---------------------------------------------------------------- the arguments of nautilus()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"suites": ()}, "at least one suite"),
        ({"suites": ("X25519",)}, "no suite 'X25519'; use one of X25519MLKEM768_AES256GCM_SHA384"),
        ({"suites": ("X25519_AES128GCM_SHA256",) * 2}, "a suite that stands twice"),
        ({"protocols": ("",)}, "a protocol has 1 to 64 bytes"),
        ({"protocols": ("x" * 65,)}, "a protocol has 1 to 64 bytes"),
        ({"protocols": ("\u20ac" * 22,)}, "a protocol has 1 to 64 bytes"),
        ({"protocols": ("a", "a")}, "a protocol that stands twice"),
        ({"extensions": {"": b""}}, "a extension has 1 to 64 bytes|an extension has 1 to 64 bytes"),
        ({"extensions": {"target": b"x"}}, "has an argument of its own"),
        ({"extensions": {"x": bytes(16_385)}}, "at most 16384 bytes"),
        ({"extensions": {f"x{number}": b"" for number in range(64)}}, "at most"),
        ({"protocols": tuple(f"p{number}" for number in range(64))}, "at most"),
        ({"target": ""}, "target has 1 to 16,384 bytes"),
        ({"target": "x" * 16_385}, "target has 1 to 16,384 bytes"),
    ],
)
def test_what_nautilus_refuses(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        alice(**options)


def test_what_nautilus_just_accepts_runs() -> None:
    pair = succeed(
        run(
            *both(
                protocols=tuple(f"protocol-{number}" for number in range(63)),
                extensions={"\u20ac" * 21 + "x": bytes(16_384), **{f"x{number}": b"" for number in range(60)}},
                target="t" * 16_384,
            )
        )
    )
    assert len(pair.responder.session.extensions) == 62


def test_the_default_suites_are_known_and_start_with_a_hybrid() -> None:
    assert set(DEFAULT_SUITES) <= set(SUITES)
    assert DEFAULT_SUITES[0].startswith("X25519MLKEM768_")
    profile = profiles.nautilus(identity=ALICE, trust=trust.pinned(BOB.public))
    assert names(profile) == BUILT_IN


def test_arguments_are_copied() -> None:
    extensions = {"x": b"1"}
    profile = alice(extensions=extensions)
    extensions["y"] = b"2"
    pair = succeed(run(profile, both(extensions={"x": b"", "y": b""})[1]))
    assert pair.responder.session.extensions == {"x": b"1"}
