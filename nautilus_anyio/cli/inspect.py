"""`nautilus inspect`: what a peer offers, and how it fails, as far as an outsider can see. It trusts nobody and proves nothing.

Each probe is a connection of its own (`probe`); here stands which ones are made, and what is concluded from them.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any, Final

import anyio

from nautilus_core import (
    ANONYMOUS,
    DEFAULT_SUITES,
    SUITES,
    AlertCode,
    Anonymous,
    HandshakeTimeout,
    PublicKey,
    VerifiedPeer,
    profiles,
    trust,
)

from ..errors import TransportFailed
from ..pictures.words import printable
from .options import add_backend, add_command, peer_address, seconds
from .output import Output
from .probe import OUR_FIRST_BYTES, Prober, Seen, http_greeting, speaks_ours, tls_greeting
from .report import OTHER_VERSION, OURS, Alert, Key, Report, picture
from .serving import run_until_signal

EXIT_FOREIGN: Final = 3
EXIT_UNREACHABLE: Final = 4

_ALL_SUITES: Final = (*DEFAULT_SUITES, *(suite for suite in SUITES if suite not in DEFAULT_SUITES))

_EXAMPLES: Final = """\
  nautilus inspect host:7000
  nautilus inspect host:7000 --protocol acme/1 --protocol acme/2   which of these does it speak?
  nautilus inspect host:7000 --json                                for a script

The exit code is 0 where it speaks nautilus/1, 3 where it does not, 4 where nobody answers."""


def add_commands(commands: Any) -> None:
    """Register the command."""
    what = "see what a peer offers and how it fails, without trusting it or saying who we are"
    parser = add_command(commands, "inspect", what, _EXAMPLES, run)
    parser.add_argument("address", type=peer_address, metavar="HOST:PORT")
    parser.add_argument(
        "--protocol", action="append", default=[], metavar="ID", help="application protocol id to try; repeatable"
    )
    parser.add_argument("--timeout", type=seconds, default=20.0, metavar="SECONDS", help="for everything (default: 20)")
    parser.add_argument(
        "--patience", type=seconds, default=3.0, metavar="SECONDS", help="for one connection's answer (default: 3)"
    )
    add_backend(parser)


def run(options: argparse.Namespace) -> int:
    """Inspect; the exit code is 0 where nautilus/1 is spoken."""
    host, port = options.address
    profiles.nautilus(identity=ANONYMOUS, trust=trust.anyone(), protocols=options.protocol)  # for its ValueError
    examine = partial(inspect, timeout=options.timeout, patience=options.patience, output=options.output)
    reports: list[Report] = []

    async def examine_it() -> int:
        reports.append(await examine(host, port, tuple(options.protocol)))
        return 0

    run_until_signal(examine_it, backend=options.backend)
    report = reports[0]
    options.output.picture(*picture(report), **report.as_json())
    if not report.reachable:
        return EXIT_UNREACHABLE
    return 0 if report.speaks == OURS else EXIT_FOREIGN


async def inspect(
    host: str, port: int, protocols: tuple[str, ...], *, timeout: float, patience: float, output: Output
) -> Report:
    """Probe a peer and report.

    Args:
        host: a name or an address.
        port: the TCP port.
        protocols: application protocol ids to try.
        timeout: seconds for everything.
        patience: seconds for one connection, if its peer says nothing; a sixth of it for one on which we say nothing.
        output: where the progress is shown.
    """
    report = Report(host, port)
    start = anyio.current_time()
    most = len(SUITES) + len(protocols) + 6
    with output.counter() as progress:
        task = progress.add_task("probing", total=None)
        advance = partial(progress.advance, task)
        prober = Prober(host, port, start + timeout, most, patience, on_probe=advance)
        try:
            await _Inspection(report, prober, protocols).run()
        except TransportFailed as failed:
            _broke(report, prober, failed)
    report.seconds = round(anyio.current_time() - start, 3)
    report.connections = [
        {"sent": seen.what, "outcome": seen.outcome, "connect_ms": _ms(seen.connect), "answer_ms": _ms(seen.answer)}
        for seen in prober.done
    ]
    return report


def _broke(report: Report, prober: Prober, failed: TransportFailed) -> None:
    prober.done[-1].outcome = str(failed)
    report.complete = False
    if len(prober.done) == 1:
        report.reachable = False
        report.reason = failed.received or failed.message


class _Inspection:
    """The probes, in their order; each adds to the report."""

    def __init__(self, report: Report, prober: Prober, protocols: tuple[str, ...]) -> None:
        self._report = report
        self._prober = prober
        self._protocols = protocols

    async def run(self) -> None:
        report = self._report
        seen = await self._prober.listen()
        report.speaks_first = bool(seen.head)
        seen.outcome = _beginning(seen)
        if seen.head:
            report.speaks = seen.foreign
            return
        first = await self._first_handshake()
        if report.speaks is None:
            await self._foreign(first)
            return
        self._learn(first)
        selection = first.messages.get("suite")
        if selection is not None and selection.suite in SUITES:
            await self._suites(selection.suite)
        if report.protocol is not None and len(self._protocols) > 1:
            await self._other_protocols(report.protocol)

    async def _first_handshake(self) -> Seen:
        """Offer everything, with the protocols to try; where that is refused for the protocols, the other way round."""
        prober, report = self._prober, self._report
        seen = await prober.shake_hands(_offer(self._protocols), _ALL_SUITES, self._protocols)
        seen.outcome = _outcome(seen)
        if speaks_ours(seen):
            report.speaks = OTHER_VERSION if _refused(seen, AlertCode.PROTOCOL_VERSION) else OURS
        if _refused(seen, AlertCode.NO_APPLICATION_PROTOCOL) and self._protocols:
            self._protocols = ()
            seen = await prober.shake_hands(f"{_offer(())}, no protocol", _ALL_SUITES, ())
            seen.outcome = _outcome(seen)
        if _refused(seen, AlertCode.NO_APPLICATION_PROTOCOL):
            report.wants_protocol = True
        return seen

    def _learn(self, seen: Seen) -> None:
        """What the peer's first flight says."""
        report, messages = self._report, seen.messages
        report.connect_ms, report.answer_ms = _ms(seen.connect), _ms(seen.answer)
        report.refusal = None if "suite" in messages else Alert.of(seen.alert)
        if hello := messages.get("hello-response"):
            report.version, report.protocol = hello.version, hello.protocol
            report.protocols = [] if hello.protocol is None else [hello.protocol]
            report.wants_protocol = hello.protocol is not None
        if selection := messages.get("suite"):
            report.schemes = _without_grease(selection.schemes)
            report.credential_types = _without_grease(selection.credential_types)
            report.to_anonymous = Alert.of(seen.alert)
        if isinstance(seen.peer, VerifiedPeer):
            report.key = _key(seen.peer.public_key)
        report.anonymous = isinstance(seen.peer, Anonymous)

    async def _suites(self, selected: str) -> None:
        """Take away what it selects, until it takes none of the rest."""
        self._report.suites.append(selected)
        left = tuple(suite for suite in _ALL_SUITES if suite != selected)
        while left:
            seen = await self._selection(f"{len(left)} other suites", left, self._protocols)
            selection = seen.messages.get("suite") if seen is not None else None
            if selection is None or selection.suite not in left:
                self._report.complete &= seen is not None and _refused(seen, AlertCode.HANDSHAKE_FAILURE)
                return
            self._report.suites.append(selection.suite)
            left = tuple(suite for suite in left if suite != selection.suite)

    async def _other_protocols(self, selected: str) -> None:
        left = tuple(name for name in self._protocols if name != selected)
        while left:
            seen = await self._selection(_offer(left), _ALL_SUITES, left)
            hello = seen.messages.get("hello-response") if seen is not None else None
            if hello is None or hello.protocol not in left:
                self._report.complete &= seen is not None and _refused(seen, AlertCode.NO_APPLICATION_PROTOCOL)
                return
            self._report.protocols.append(hello.protocol)
            left = tuple(name for name in left if name != hello.protocol)

    async def _selection(self, what: str, suites: tuple[str, ...], protocols: tuple[str, ...]) -> Seen | None:
        if self._prober.exhausted:
            return None
        seen = await self._prober.shake_hands(what, suites, protocols, selection_only=True)
        seen.outcome = _outcome(seen)
        return seen

    async def _foreign(self, first: Seen) -> None:
        """It does not speak nautilus/1: does it speak what is often found?"""
        self._report.speaks = first.foreign
        for what, greeting in (("an HTTP request", http_greeting(self._report.host)), ("a TLS hello", tls_greeting())):
            if self._report.speaks is not None:
                return
            if self._prober.exhausted:
                self._report.complete = False
                return
            seen = await self._prober.say(what, greeting)
            seen.outcome = _beginning(seen)
            self._report.speaks = seen.foreign


# ------------------------------------------------------------------ what it means


def _offer(protocols: tuple[str, ...]) -> str:
    return ", ".join(("all suites", *protocols))


def _refused(seen: Seen, code: AlertCode) -> bool:
    return seen.alert is not None and seen.alert.code == code


def _without_grease(names: tuple[str, ...]) -> list[str]:
    return [name for name in names if not name.startswith("grease-")]


def _key(key: PublicKey) -> Key:
    return Key(key.peer_id, key.words, key.scheme, key.fingerprint.hex())


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)


def _beginning(seen: Seen) -> str:
    if seen.head:
        begins = printable(seen.head.splitlines()[0][:32].decode("latin-1"))
        return f"speaks {seen.foreign or 'something else'}: {begins}"
    return "closes without a word" if seen.ended else "silence"


def _outcome(seen: Seen) -> str:
    selection = seen.messages.get("suite")
    words = [] if selection is None else [f"selects {printable(selection.suite)}"]
    if alert := Alert.of(seen.alert):
        words.append(f"alert {alert.code} {alert.name}")
    if words:
        return ", ".join(words)
    if isinstance(seen.error, HandshakeTimeout) and not seen.head:
        return "silence"
    return printable(str(seen.error), 200) if seen.messages or seen.head[:1] in OUR_FIRST_BYTES else _beginning(seen)
