"""`--record` and `--dangerously-log-keys`: what a command writes down of its handshakes. What is in it is not known here."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Final, TypedDict

from ..key_log import log_to
from ..transcript import Recording, check_new, prepare_folder
from .output import Output

_DANGER: Final = "DANGEROUS: whoever has the file can read the session"


class Recorded(TypedDict):
    """Arguments of `connect`, `handshake` and `serve`."""

    record: Recording | None
    key_log: Path | None


def add_recording(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument(
        "--record",
        type=Path,
        metavar="PATH",
        help="write a transcript of the handshake: to a new file where we dial once, to a file of its own in a folder where "
        "we listen, or try again; it shows who talked to whom, when and how much, but no secret",
    )
    parser.add_argument(
        "--record-secrets",
        action="store_true",
        help=f"with --record: what a full replay needs as well. {_DANGER}; private keys are not in it",
    )
    parser.add_argument(
        "--dangerously-log-keys",
        type=Path,
        metavar="FILE",
        help=f"append the traffic secrets of the session to this file. {_DANGER}",
    )


def recording_from(options: argparse.Namespace, *, each: bool = False) -> Recorded:
    """What the options ask for; notes once where it goes.

    Args:
        options: of a parser that went through `add_recording`.
        each: whether there may be many handshakes, with a folder for their transcripts.

    Raises:
        ValueError: the options do not go together.
        OSError: the folder cannot be made, the file is there, or the key log cannot be written.
    """
    path, secrets, key_log = options.record, options.record_secrets, options.dangerously_log_keys
    output: Output = options.output
    if secrets and path is None:
        raise ValueError("--record-secrets goes with --record PATH")
    _note_failures(output)
    if log_to(key_log) is not None:  # now, and not at the first peer
        output.note(f"the session's secrets go to {key_log}. {_DANGER}", key_log=str(key_log))
    if path is None:
        return Recorded(record=None, key_log=key_log)
    if each:
        prepare_folder(path)
    else:
        check_new(path)
    what = "each handshake is recorded in the folder" if each else "the handshake is recorded in"
    output.note(
        f"{what} {path}{f', with secrets. {_DANGER}' if secrets else ''}", transcript=str(path), secrets=secrets
    )
    return Recorded(record=Recording(path, dangerously_record_secrets=secrets, each=each), key_log=key_log)


class _Notes(logging.Handler):
    """Notes what could not be written."""

    def __init__(self, output: Output) -> None:
        super().__init__(logging.WARNING)
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        """One note."""
        self._output.note(record.getMessage())


def _note_failures(output: Output) -> None:
    log = logging.getLogger("nautilus_anyio.transcript")
    for handler in [handler for handler in log.handlers if isinstance(handler, _Notes)]:
        log.removeHandler(handler)
    log.addHandler(_Notes(output))
