"""Private keys in other processes: a small agent of the tests' own, and an SSH agent by the page on credentials."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from nautilus_anyio import Signer, connect, load_identity, save_identity, signing_with
from nautilus_anyio.transcript import Recording, replay
from nautilus_core import (
    ANONYMOUS,
    HandshakeError,
    HandshakeTimeout,
    Identity,
    LocalProtocolError,
    PeerAborted,
    PublicKey,
    SignatureNeeded,
    VerifiedPeer,
    trust,
)

from .helpers import ALICE, BOB, MALLORY, initiator, listening, responder

pytestmark = pytest.mark.anyio

AGENT = Path(__file__).parent / "signing_agent.py"
PAGE = Path(__file__).parents[2] / "docs" / "credentials.md"


class UnixSigner:
    """Asks the agent at a Unix socket."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def sign(self, public_key: PublicKey, content: bytes) -> bytes:
        """The agent has one key, so the public one is not sent."""
        async with await anyio.connect_unix(self.path) as agent:
            await agent.send(len(content).to_bytes(4, "big") + content)
            answer = BufferedByteReceiveStream(agent)
            return await answer.receive_exactly(int.from_bytes(await answer.receive_exactly(4), "big"))


class Local:
    """Signs here, as it is told."""

    def __init__(self, identity: Identity, *, delay: float = 0.0) -> None:
        self.identity, self.delay = identity, delay

    async def sign(self, public_key: PublicKey, content: bytes) -> bytes:
        await anyio.sleep(self.delay)
        return self.identity.sign(content)


@contextmanager
def agent(folder: Path) -> Iterator[tuple[UnixSigner, Identity]]:
    """The agent, and the identity whose key it has."""
    path = folder / "agent.sock"
    process = subprocess.Popen([sys.executable, str(AGENT), str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        public = PublicKey("ed25519", bytes.fromhex(process.stdout.readline()))
        yield UnixSigner(path), Identity.delegated(public)
    finally:
        process.kill()
        process.communicate()


async def test_the_initiators_key_is_in_another_process(tmp_path: Path) -> None:
    with agent(tmp_path) as (signer, identity):
        async with listening(responder(trust=trust.pinned(identity.public))) as port:
            profile = initiator(identity=identity)
            async with await connect("127.0.0.1", port, profile, answer=signing_with(signer)) as stream:
                await stream.send(b"hello")
                assert await stream.receive() == b"hello"


async def test_the_responders_key_is_in_another_process(tmp_path: Path) -> None:
    with agent(tmp_path) as (signer, identity):
        async with listening(responder(identity=identity), answer=signing_with(signer)) as port:
            for _ in range(2):
                profile = initiator(trust=trust.pinned(identity.public))
                async with await connect("127.0.0.1", port, profile) as stream:
                    peer = stream.session.peer
                    assert isinstance(peer, VerifiedPeer)
                    assert peer.public_key == identity.public


async def test_a_recording_replays_when_the_agent_is_gone(tmp_path: Path) -> None:
    record = Recording(tmp_path / "transcript.jsonl", dangerously_record_secrets=True)
    with agent(tmp_path) as (signer, identity):
        profile = initiator(identity=identity)
        async with listening(responder(trust=trust.pinned(identity.public))) as port:
            await (await connect("127.0.0.1", port, profile, answer=signing_with(signer), record=record)).aclose()
    assert replay(record.path, profile).full


async def failed(signer: Signer, **arguments: Any) -> tuple[Exception, list[Exception]]:
    """What ends a handshake of a delegated Alice, and what Bob makes of it."""
    seen: list[Exception] = []
    profile = initiator(identity=Identity.delegated(ALICE.public))
    async with listening(responder(), on_error=lambda failure: seen.append(failure.error)) as port:
        with pytest.raises((HandshakeError, LocalProtocolError)) as raised:
            await connect("127.0.0.1", port, profile, answer=signing_with(signer), **arguments)
        with anyio.fail_after(20):
            while not seen:
                await anyio.sleep(0.01)
    return raised.value, seen


async def test_an_agent_that_is_not_there(tmp_path: Path) -> None:
    error, (told,) = await failed(UnixSigner(tmp_path / "nothing"))
    assert type(error) is HandshakeError
    assert "there is no signature of this side: the signer failed" in str(error)
    assert isinstance(told, PeerAborted)


async def test_an_agent_that_hangs_up(tmp_path: Path) -> None:
    class Garbled(UnixSigner):
        async def sign(self, public_key: PublicKey, content: bytes) -> bytes:
            return await super().sign(public_key, b"something else")

    with agent(tmp_path) as (signer, _):
        error, _told = await failed(Garbled(signer.path))
    assert type(error) is HandshakeError
    assert "the signer failed" in str(error)


async def test_an_agent_with_another_key() -> None:
    error, (told,) = await failed(Local(MALLORY))
    assert isinstance(error, LocalProtocolError)
    assert isinstance(told, PeerAborted)


async def test_an_agent_that_is_too_slow() -> None:
    error, (told,) = await failed(Local(ALICE, delay=10.0), timeout=0.3)
    assert isinstance(error, HandshakeTimeout)
    assert "SignatureNeeded" in str(error)
    assert isinstance(told, PeerAborted)


@pytest.mark.parametrize("answers", [True, False])
async def test_other_questions_go_to_the_other_answer(answers: bool) -> None:
    asked: list[Any] = []

    async def accept(question: Any) -> None:
        asked.append(question)
        question.accept()

    answer = signing_with(Local(ALICE), accept if answers else None)
    profile = initiator(identity=Identity.delegated(ALICE.public), trust=trust.ask())
    async with listening(responder()) as port:
        if not answers:
            with pytest.raises(HandshakeError, match="nobody answers a PeerIdentified here"):
                await connect("127.0.0.1", port, profile, answer=answer)
            return
        await (await connect("127.0.0.1", port, profile, answer=answer)).aclose()
    (question,) = asked
    assert not isinstance(question, SignatureNeeded)
    assert question.peer.public_key == BOB.public


# ------------------------------------------------------------------------------------------------------- an SSH agent


def ssh_agent_of_the_page() -> Any:
    """The class that stands there."""
    (program,) = [
        text for text in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if "SshAgent" in text
    ]
    names: dict[str, Any] = {}
    exec(compile(program, str(PAGE), "exec"), names)
    return names["SshAgent"]


@contextmanager
def ssh_agent(folder: Path) -> Iterator[tuple[Path, Identity]]:
    """A real `ssh-agent` with one ed25519 key."""
    key, path = folder / "key", folder / "ssh.sock"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 10
        while not path.exists() and time.monotonic() < end:
            time.sleep(0.02)
        environment = {**os.environ, "SSH_AUTH_SOCK": str(path)}
        subprocess.run(["ssh-add", "-q", str(key)], check=True, env=environment, stderr=subprocess.DEVNULL)
        key.unlink()  # the agent alone has it now
        blob = base64.b64decode(key.with_suffix(".pub").read_text().split()[1])
        yield path, Identity.delegated(PublicKey("ed25519", blob[-32:]))
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(shutil.which("ssh-agent") is None, reason="OpenSSH's ssh-agent is not installed")
async def test_the_ssh_agent_of_the_page(tmp_path: Path) -> None:
    with ssh_agent(tmp_path) as (path, identity):
        signer = ssh_agent_of_the_page()(str(path))
        async with listening(responder(trust=trust.pinned(identity.public))) as port:
            profile = initiator(identity=identity)
            async with await connect("127.0.0.1", port, profile, answer=signing_with(signer)) as stream:
                await stream.send(b"signed by an SSH agent")
                assert await stream.receive() == b"signed by an SSH agent"
            stranger = initiator(identity=Identity.delegated(ALICE.public))
            with pytest.raises(HandshakeError, match="the SSH agent does not have this key"):
                await connect("127.0.0.1", port, stranger, answer=signing_with(signer))
            unsuited = initiator(identity=Identity.delegated(Identity.generate("ecdsa-p256-sha256").public))
            open_to_all = responder(trust=trust.anyone())
        async with listening(open_to_all) as port:
            with pytest.raises(HandshakeError, match="ed25519 keys only"):
                await connect("127.0.0.1", port, unsuited, answer=signing_with(signer))


def test_nothing_of_a_delegated_identity_can_be_stored(tmp_path: Path) -> None:
    with pytest.raises(LocalProtocolError, match="no private key"):
        save_identity(tmp_path / "identity.pem", Identity.delegated(ALICE.public))
    assert not list(tmp_path.iterdir())
    with pytest.raises(FileNotFoundError):
        load_identity(tmp_path / "identity.pem")
    assert ANONYMOUS.credential_type == "anonymous"
