"""Questions at the terminal: whether a peer is welcome. Who meets whom, and when, is not known here."""

from __future__ import annotations

import io
import os
import select
import termios
import time
from contextlib import suppress
from math import inf
from typing import Any, Final

import anyio
import anyio.from_thread
from anyio.abc import ByteStream, SocketAttribute

from nautilus_core import Anonymous, PeerIdentified
from nautilus_core.identity.keys import PublicKey

from ..errors import TransportFailed

_LOOK_UP: Final = 100  # milliseconds
_WORDS_A_LINE: Final = 8
_JUST_NOW: Final = 1.0  # seconds
_HUNG_UP: Final = getattr(select, "POLLRDHUP", 0)
"""That the peer sends no more, whatever of it was not read yet; where there is no such event, that the connection is gone."""


class PeerGone(Exception):
    """The peer has closed the connection before there was an answer."""


class _Prompt:
    """Whether a question is open on the terminal, or was withdrawn just now: it ends its own line."""

    def __init__(self) -> None:
        self._until = -inf

    def opened(self) -> None:
        self._until = inf

    def answered(self) -> None:
        self._until = -inf

    def withdrawn(self) -> None:
        self._until = time.monotonic() + _JUST_NOW

    def __bool__(self) -> bool:
        return time.monotonic() < self._until


_PROMPT: Final = _Prompt()


class Questions:
    """Asks on the terminal, one question at a time: a "yes" is meant for the peer that is shown last.

    Who waits with the same question, as the connections of one tunnel do at a first contact, gets the same answer.
    """

    def __init__(self) -> None:
        self._one_at_a_time = anyio.Lock()
        self._last: tuple[object, float, str | None] = (None, -inf, None)

    def of(self, raw: ByteStream, *, came: bool) -> Asking:
        """What answers the questions of one handshake.

        Args:
            raw: the connection.
            came: whether the peer has come to us; else we have dialled it.
        """
        return Asking(self, raw, came=came)

    async def ask(self, question: PeerIdentified, remote: object, connection: int | None) -> str | None:
        """None for a peer that is welcome, else why it is refused; `PeerGone` where it does not wait for the answer."""
        key = (question.name, question.peer.peer_id)
        came_at = anyio.current_time()
        async with self._one_at_a_time:
            asked, answered_at, refusal = self._last
            if asked != key or answered_at < came_at:
                refusal = await anyio.to_thread.run_sync(ask_on_terminal, question, remote, connection)
                self._last = (key, anyio.current_time(), refusal)
        return refusal


class Asking:
    """Answers the questions of one handshake; its `answer=`.

    Attributes:
        open: the peer that was asked about, until there is an answer; None before and after.
    """

    def __init__(self, questions: Questions, raw: ByteStream, *, came: bool) -> None:
        self._questions = questions
        self._raw = raw
        self._came = came
        self.open: str | None = None

    async def __call__(self, question: Any) -> None:
        """Answer `question`; one that is not about a peer is refused."""
        if not isinstance(question, PeerIdentified):
            question.reject(f"the command cannot answer a {type(question).__name__}")
            return
        self.open = question.peer.peer_id
        remote = self._raw.extra(SocketAttribute.remote_address, None) if self._came else None
        connection = self._raw.extra(SocketAttribute.raw_socket, None)
        try:
            refusal = await self._questions.ask(question, remote, None if connection is None else connection.fileno())
        except PeerGone:
            raise TransportFailed(f"{self.open} went away before anybody had answered whether it is welcome") from None
        self.open = None
        if refusal is None:
            question.accept()
        else:
            question.reject(refusal)


def address_in_words(remote: object) -> str:
    """`from 10.0.0.7 port 4312`; nothing for what is no TCP address."""
    if not isinstance(remote, tuple) or len(remote) < 2:
        return ""
    return f"from {remote[0]} port {remote[1]}"


def words_in_lines(key: PublicKey, indent: str) -> str:
    """The words of a key for two people to compare, in two lines of eight: all sixteen are wider than most terminals."""
    words = key.words.split()
    lines = [words[start : start + _WORDS_A_LINE] for start in range(0, len(words), _WORDS_A_LINE)]
    return "\n".join(f"{indent}{' '.join(line)}" for line in lines)


def ask_on_terminal(question: PeerIdentified, remote: object = None, connection: int | None = None) -> str | None:
    """Ask whoever sits at the terminal whether a peer is welcome, as SSH does at a first contact; in a worker thread.

    Args:
        question: about whom.
        remote: the address of a peer that has come to us; None for one that we have dialled.
        connection: the descriptor of the connection; the question ends when the peer has closed it.

    Returns:
        None for a yes, else why the peer is refused.

    Raises:
        PeerGone: the peer has closed the connection.
    """
    try:
        descriptor = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return (
            f"there is no terminal to ask on; ask its owner whether {question.peer.peer_id} is its key, then say "
            "--trust pinned:KEY"
        )
    with io.TextIOWrapper(io.FileIO(descriptor, "w+"), write_through=True) as terminal:
        seen = select.poll()
        if connection is not None:
            seen.register(connection, _HUNG_UP)
            if seen.poll(0):  # while another question was open
                raise PeerGone
        termios.tcflush(descriptor, termios.TCIFLUSH)  # an answer typed before the question is none
        _PROMPT.opened()
        terminal.write(_shown(question, remote))
        seen.register(descriptor, select.POLLIN)
        try:
            while not (found := dict(seen.poll(_LOOK_UP))):
                anyio.from_thread.check_cancelled()
            if descriptor not in found:
                raise PeerGone
        except BaseException as error:
            who = "The peer has gone: it" if isinstance(error, PeerGone) else "It"
            terminal.write(f"\n{who} does not wait for the answer any more.\n")
            _PROMPT.withdrawn()
            raise
        _PROMPT.answered()
        answer = terminal.readline().strip().lower()
    return None if answer in ("yes", "y") else "refused at the terminal"


def _shown(question: PeerIdentified, remote: object) -> str:
    """The question, in lines that fit a terminal."""
    peer = question.peer
    whose = "" if question.name in (None, peer.peer_id) else f" of {question.name}"
    came = f" of a peer {where}" if (where := address_in_words(remote)) else ""
    if isinstance(peer, Anonymous):
        return f"The peer{whose or came.removeprefix(' of a peer')} does not say who it is.\nIs it welcome? (yes/no) "
    key = peer.public_key
    return (
        f"The key{whose}{came} is not known:\n  {peer.peer_id}\nin hex:\n  {key.fingerprint.hex()}\n"
        f"in words:\n{words_in_lines(key, '  ')}\nDo you trust it? (yes/no) "
    )


def end_line() -> None:
    """After Ctrl-C: the terminal shows "^C", and what is said next, or the shell's prompt, begins on a new line.

    An open question sees to that itself. A process in the background, and a terminal that shows nothing, need none.
    """
    if _PROMPT:
        return
    with suppress(OSError, termios.error):
        descriptor = os.open("/dev/tty", os.O_WRONLY | os.O_NOCTTY)
        try:
            local = termios.tcgetattr(descriptor)[3]
            shows = local & termios.ECHO and local & termios.ECHOCTL
            if shows and os.tcgetpgrp(descriptor) == os.getpgrp():
                os.write(descriptor, b"\n")
        finally:
            os.close(descriptor)
