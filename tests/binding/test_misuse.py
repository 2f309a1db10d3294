"""What who uses the binding for the first time gets wrong, and what a failure says to who prints it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import anyio
import pytest

from nautilus_anyio import ConnectionFailure, SecureListener, connect, load_identity, load_psks, save_identity
from nautilus_core import INITIATOR, CustomProtocolStep, HandshakeError, LocalProtocolError, Profile, Question

from .helpers import ALICE, BOB, MALLORY, initiator, listening, responder

pytestmark = pytest.mark.anyio


class Quota(Question[int], frozen=True, kw_only=True):
    tenant: str


def asking(profile: Profile) -> Profile:
    def read(context: Any, message: bytes) -> Any:
        yield from context.ask(Quota(tenant=message.decode()))

    def tenant() -> CustomProtocolStep[bytes]:
        return CustomProtocolStep("tenant", INITIATOR, write=lambda context: b"acme", read=read)

    return profile.insert_before("initiator-finished", tenant)


async def failure_of(ours: Profile, theirs: Profile, **arguments: Any) -> ConnectionFailure:
    """What a listener notes of a connection that fails at both ends."""
    failures: list[ConnectionFailure] = []
    noted = anyio.Event()

    def note(failure: ConnectionFailure) -> None:
        failures.append(failure)
        noted.set()

    async with listening(theirs, on_error=note, **arguments) as port:
        with pytest.raises(HandshakeError):
            await connect("127.0.0.1", port, ours)
        with anyio.fail_after(10):
            await noted.wait()
    return failures[0]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda question: None, "answer= left Quota unanswered; expected a call of its answer(...)"),
        (lambda question: 7, "answer= returned int; expected None"),
    ],
)
async def test_an_answer_is_given_to_the_question(answer: Any, words: str) -> None:
    failure = await failure_of(asking(initiator()), asking(responder()), answer=answer)
    assert isinstance(failure.error, LocalProtocolError)
    assert words in str(failure.error)


async def test_a_failure_printed_says_whom_and_all_of_the_error(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="nautilus_anyio"):
        failure = await failure_of(initiator(identity=MALLORY), responder())
    said = str(failure)
    assert failure.peer_id == MALLORY.peer_id
    assert said.startswith(f"handshake with {MALLORY.peer_id} at 127.0.0.1 port ")
    assert said.endswith(f" failed: {failure.error}")
    assert said in caplog.text


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (ConnectionFailure(ValueError("no"), "handler", None, None), "handler failed: no"),
        (ConnectionFailure(ValueError("no"), "handler", "", BOB.peer_id), f"handler with {BOB.peer_id} failed: no"),
        (
            ConnectionFailure(ValueError("no"), "handler", ("::1", 7, 0, 0), BOB.peer_id),
            f"handler with {BOB.peer_id} at ::1 port 7 failed: no",
        ),
    ],
    ids=["neither", "without an address", "both"],
)
def test_a_failure_without_an_address_or_a_peer(failure: ConnectionFailure, words: str) -> None:
    assert str(failure) == words


async def test_options_of_another_type_are_named() -> None:
    retry: Any = 3
    with pytest.raises(TypeError, match="retry= takes a Retry, as Retry"):
        await connect("127.0.0.1", 1, initiator(), retry=retry)
    limits: Any = {"handshakes": 3}
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        with pytest.raises(TypeError, match="limits= takes ListenerLimits"):
            SecureListener(listener, responder(), limits=limits)


async def test_a_transcript_of_one_handshake_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="one handshake needs a new file, not a folder"):
        await connect("127.0.0.1", 1, initiator(), record=tmp_path)


def test_a_path_may_be_a_string(tmp_path: Path) -> None:
    save_identity(f"{tmp_path}/node.pem", ALICE)
    assert load_identity(f"{tmp_path}/node.pem").peer_id == ALICE.peer_id
    with pytest.raises(FileNotFoundError):
        load_psks(f"{tmp_path}/nowhere.toml")
