"""What a command says, and where: results to standard output, everything else to standard error. It decides nothing.

With `--json` each result is one JSON object on a line, and so are notes and the error, on standard error; with `--quiet`
there are no notes and no progress. Colours and bars are for terminals; with NO_COLOR, or TERM=dumb, there are neither: not
one escape sequence. A bar is gone once it is over: the result says all that it showed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from anyio.streams.tls import TLSAttribute

from nautilus_core import HandshakeError, PublicKey

from ..pictures.words import printable, utf8
from ..stream import SecureStream
from .asking import words_in_lines

if TYPE_CHECKING:  # few commands draw, and Rich takes long to load
    from rich.console import Console, RenderableType
    from rich.progress import Progress


def add_output(parser: argparse.ArgumentParser) -> None:
    """`--json` and `--quiet`."""
    parser.add_argument("--json", action="store_true", help="results, notes and errors as JSON, one object a line")
    parser.add_argument("--quiet", "-q", action="store_true", help="no notes and no progress; errors only")


_LONGEST_DID: Final = 200  # characters


class Output:
    """The way out of one command.

    Args:
        as_json: whether a program reads.
        quiet: whether only results and errors are wanted.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet

    @cached_property
    def console(self) -> Console:
        """Standard output for people; tables and pictures go there."""
        from .screen import console  # noqa: PLC0415

        return console(stderr=False)

    @cached_property
    def _errors(self) -> Console:
        from .screen import console  # noqa: PLC0415

        return console(stderr=True)

    def result(self, text: str, **fields: Any) -> None:
        """What the command was asked for: `text` for people, `fields` for programs."""
        with _named():
            print(json_line(fields) if self.as_json else text, flush=True)

    def picture(self, *parts: RenderableType, **fields: Any) -> None:
        """The same, for people as tables and the like: `parts`, one below the other."""
        with _named():
            if self.as_json:
                print(json_line(fields), flush=True)
                return
            for part in parts:
                self.console.print(part)

    def note(self, text: str, **fields: Any) -> None:
        """What happens meanwhile, on standard error."""
        if not self.quiet:
            self._say(text, {"note": text, **fields})

    def error(self, text: str, error: BaseException, code: int, command: str = "nautilus") -> None:
        """Why the command ends, on one line; `command` is what was typed wrong."""
        fields: dict[str, Any] = {"error": text, "kind": type(error).__name__, "exit_code": code}
        cause = getattr(error, "error", error)
        if isinstance(cause, HandshakeError):
            fields |= {"kind": type(cause).__name__, "step": cause.step, "hint": cause.hint}
            fields |= {"retryable": cause.retryable}
        self._say(text, fields, command)

    def connected(self, stream: SecureStream) -> None:
        """Note who is at the other end."""
        session = stream.session
        peer = session.peer
        key = getattr(peer, "public_key", None)
        with_psk = {} if session.psk is None else {"psk": session.psk}
        known_by = "" if session.psk is None else f", pre-shared key {session.psk!r}"
        names = getattr(peer, "names", ())
        certified = f", certified as {', '.join(names)}" if names else ""
        did = getattr(peer, "identifier", None)
        known = "" if did is None else f", which is {did if len(did) <= _LONGEST_DID else did[:_LONGEST_DID] + '...'}"
        tls = stream.extra(TLSAttribute.tls_version, None)
        bound = (
            ""
            if tls is None
            else f", inside {tls}, "
            + (f"bound to it by {session.tls_binding}" if session.tls_binding else "and not bound to it")
        )
        self.note(
            f"connected to {peer.peer_id}{known}{certified}{known_by}, {session.suite}{bound}",
            peer=peer.peer_id,
            **({} if key is None else {"words": key.words}),
            **({} if did is None else {"identifier": did}),
            **({"names": names} if names else {}),
            suite=session.suite,
            protocol=session.protocol,
            **with_psk,
            **({} if tls is None else {"tls": tls, "tls_binding": session.tls_binding}),
        )
        if key is not None:
            self.words("its", key)

    def words(self, whose: str, key: PublicKey) -> None:
        """The words of a key, for two people to compare: at a terminal alone, in lines that fit it."""
        if not (self.as_json or self.quiet) and sys.stderr is not None and sys.stderr.isatty():
            print(f"{whose} key in words:\n{words_in_lines(key, '  ')}", file=sys.stderr, flush=True)

    def progress(self) -> Progress:
        """A progress bar for bytes, on standard error; silent where nobody looks. `add_task(description, total=...)`."""
        from .screen import of_bytes  # noqa: PLC0415

        return of_bytes(self._errors, silent=self._silent)

    def counter(self) -> Progress:
        """Likewise for so many things to do, one after the other."""
        from .screen import of_things  # noqa: PLC0415

        return of_things(self._errors, silent=self._silent)

    @property
    def _silent(self) -> bool:
        moving = self._errors.is_terminal and not self._errors.is_dumb_terminal and not os.environ.get("NO_COLOR")
        return self.quiet or self.as_json or not moving

    def _say(self, text: str, fields: dict[str, Any], command: str = "nautilus") -> None:
        if sys.stderr is None:  # it was closed before we started; print() would take standard output instead
            return
        line = printable(" ".join(text.split()))
        with suppress(BrokenPipeError):  # nobody listens to notes: no reason to stop
            print(json_line(fields) if self.as_json else f"{command}: {line}", file=sys.stderr, flush=True)


@contextmanager
def _named() -> Iterator[None]:
    """Say that it is standard output that takes no more, as when its disk is full."""
    try:
        yield
    except BrokenPipeError:  # which ends a command without a word
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard output") from error


def json_line(fields: dict[str, Any]) -> str:
    """One line of JSON that every parser reads: see `utf8` for what a file's name may hold."""
    return json.dumps(_valid(fields))


def _valid(value: Any) -> Any:
    if isinstance(value, str):
        return utf8(value)
    if isinstance(value, dict):
        return {key: _valid(inner) for key, inner in value.items()}
    return [_valid(inner) for inner in value] if isinstance(value, list | tuple) else value


def interrupted(error: BaseException) -> bool:
    """Whether Ctrl-C is what ended a command, alone or with what it brought down."""
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(KeyboardInterrupt) is not None
    return isinstance(error, KeyboardInterrupt)
