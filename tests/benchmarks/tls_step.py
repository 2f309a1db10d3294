"""What TLS as a step costs: both sides in memory, against the same TLS 1.3 handshake bare through pyOpenSSL's memory BIOs.

    python -m tests.benchmarks.tls_step [--json] [--rounds N]

Both ends show a certificate of one authority (ECDSA P-256), and OpenSSL verifies the two chains, in all cases with the same two
contexts, made before the clock runs: what a user of pyOpenSSL makes, without a cache of sessions. *Bare* makes the two
connections, and takes the same three flights through the same memory BIOs in the same number of calls, and no more.

One thing differs. At the end of a handshake OpenSSL's server makes and encrypts two session tickets, as a user of pyOpenSSL
gets it, although nobody takes them; `TlsStep` never resumes, and tells its server's connections to encrypt none. *no tickets*
is the ratio to the same bare handshake where the contexts say so as well (`OP_NO_TICKET`). *same work* is that to the bare
handshake without tickets from which both ends take what a step takes: the exporter's output and the peer's certificate.

*step* is `TlsStep` alone, between a stream and a transcript that the engine has made: the same flights in frames and in the
transcript, the exporter's output into the key schedule, the peer's certificates read and judged by a policy. What the engine
makes is made right before the clock runs, and dropped after. The certificates of the last 64 peers are remembered, so that they
are read once: *strangers* is the step between peers that have never met. *profile* is the whole of
`profiles.tls`: fresh engines, hello, suites, TLS, both Finished, all events drained, until the initiator's channel has opened
the responder's acceptance. *authorities* is the same where OpenSSL verifies no chain, and `trust.authorities()` does. Each is
interleaved with each of the bare handshakes, call by call, two by two, with the garbage collector off; a ratio is the median
over the rounds of (ours / bare in the same round), *best* that of the best rounds of both.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import trustme
from cryptography import x509
from OpenSSL import SSL

from nautilus_core import (
    INITIATOR,
    NEED_DATA,
    RESPONDER,
    Context,
    Entropy,
    Handshake,
    HandshakeCompleted,
    NautilusStream,
    Profile,
    Role,
    StepList,
    TlsSettings,
    TlsStep,
    profiles,
    trust,
)
from nautilus_core.crypto.hashing import TranscriptHash
from nautilus_core.identity.x509 import load_chain
from nautilus_core.limits import DEFAULT_LIMITS

from .handshake import interleaved, ratio

LIMIT: Final = 1.15
"""Of the step, to the bare handshake."""

NAME: Final = "server.example"
AUTHORITY: Final = trustme.CA()
ROOT: Final = x509.load_pem_x509_certificate(AUTHORITY.cert_pem.bytes())
CERTIFICATES: Final = {
    INITIATOR: AUTHORITY.issue_cert("client@example.org"),
    RESPONDER: AUTHORITY.issue_cert(NAME),
}


def make_context(role: Role, *, verifies: bool = True, tickets: bool = True) -> SSL.Context:
    """What a user of pyOpenSSL makes for a connection with certificates at both ends."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    CERTIFICATES[role].configure_cert(context)
    if not tickets:
        context.set_options(SSL.OP_NO_TICKET)
    if verifies:
        AUTHORITY.configure_trust(context)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
    return context


def bare(contexts: Mapping[Role, SSL.Context], *, results: bool = False) -> Callable[[], SSL.Connection]:
    """The handshake without us; with `results`, both ends take what a step takes from it."""

    def run() -> SSL.Connection:
        client, server = SSL.Connection(contexts[INITIATOR], None), SSL.Connection(contexts[RESPONDER], None)
        client.set_connect_state()
        server.set_accept_state()
        sender, receiver = client, server
        for _ in range(4):  # its flights, and the end of the server's part
            try:
                sender.do_handshake()
            except SSL.WantReadError:
                pass
            else:
                if sender is server:
                    break
            receiver.bio_write(sender.bio_read(16_384))
            sender, receiver = receiver, sender
        if results:
            for end in (client, server):
                end.export_keying_material(b"EXPERIMENTAL", 48, bytes(48))
                end.get_peer_certificate(as_cryptography=True)
        return client

    return run


class StepAlone:
    """One end of `TlsStep`, with what the engine gives it."""

    def __init__(self, role: Role, settings: TlsSettings) -> None:
        self.step = TlsStep(settings)
        self.stream = NautilusStream(DEFAULT_LIMITS)
        self.transcript = TranscriptHash()
        steps = StepList.__new__(StepList)  # the list is the profile's matter, and is not measured here
        steps.editable, steps.cursor, steps._steps = True, 0, [self.step]
        self.context = Context(role, steps, self.stream, self.transcript, [], Entropy(), None)
        self.context.suite = suite = next(iter(settings.suites.values()))
        self.context.select_hash(suite.hash.name)


class StepsAlone:
    """The step at both ends, to its commits.

    What the engine has made by then is made in `prepare`, right before the clock runs; what it keeps is dropped there, too.
    """

    def __init__(self, settings: Mapping[Role, TlsSettings], *, strangers: bool = False) -> None:
        self._settings = settings
        self._strangers = strangers
        self._ends: tuple[StepAlone, ...] = ()

    def prepare(self) -> None:
        """Drop the last two ends, and make two."""
        for end in self._ends:
            end.context.forget()  # nothing stays behind that only a collector finds
        self._ends = tuple([StepAlone(role, self._settings[role]) for role in Role])
        if self._strangers:
            load_chain.cache_clear()

    def run(self) -> None:
        """One handshake of TLS."""
        sender, receiver = self._ends
        while not receiver.step.finished:
            framed, _ = sender.stream.write(sender.step, sender.step.write(sender.context))
            sender.transcript.update(framed)
            receiver.stream.feed(sender.stream.data_to_send())
            incoming = receiver.stream.read(receiver.step)
            if incoming is None:
                raise RuntimeError("a frame that is not whole")
            receiver.step.read(receiver.context, incoming[0])
            receiver.step.check_finished()
            receiver.transcript.update(incoming[1])
            sender, receiver = receiver, sender
            if sender.step.finished:
                break
        for end in self._ends:
            end.step.commit(end.context)


def whole(made: Mapping[Role, Profile], wall_time: datetime | None = None) -> Callable[[], None]:
    """A complete handshake on the engine."""

    def run() -> None:
        initiator = Handshake(INITIATOR, made[INITIATOR], wall_time=wall_time)
        responder = Handshake(RESPONDER, made[RESPONDER], wall_time=wall_time)
        sender, receiver = initiator, responder
        while receiver.session is None or sender.session is None:
            while (event := sender.next_event()) is not NEED_DATA:
                if type(event) is HandshakeCompleted:
                    break
            receiver.receive_data(sender.data_to_send())
            sender, receiver = receiver, sender
        channel = initiator.session.channel() if initiator.session is not None else None
        if channel is None:
            raise RuntimeError("no session")
        channel.next_event()
        if not channel.confirmed:
            raise RuntimeError("the responder did not accept")

    return run


def measure(rounds: int) -> dict[str, Any]:
    """Run all cases."""
    anybody = trust.anyone(kinds=["x509"])
    verifying = {role: make_context(role) for role in Role}
    open_minded = {role: make_context(role, verifies=False) for role in Role}
    settings = {role: TlsSettings(verifying[role], anybody) for role in Role}
    alone, strangers = StepsAlone(settings), StepsAlone(settings, strangers=True)
    by_us = {INITIATOR: trust.authorities([ROOT], name=NAME), RESPONDER: trust.authorities([ROOT])}
    without_tickets = {role: make_context(role, tickets=False) for role in Role}
    bares: dict[str, Callable[[], Any]] = {
        "bare": bare(verifying),
        "bare_without_tickets": bare(without_tickets),
        "bare_same_work": bare(without_tickets, results=True),
    }
    cases: dict[str, Callable[[], Any]] = {
        "step": alone.run,
        "strangers": strangers.run,
        "profile": whole({role: profiles.tls(verifying[role], trust=anybody) for role in Role}),
        "authorities": whole(
            {role: profiles.tls(open_minded[role], trust=by_us[role]) for role in Role}, datetime.now(UTC)
        ),
    }
    prepare = {"step": alone.prepare, "strangers": strangers.prepare}
    group = bares["bare"]().get_group_name()
    results: dict[str, Any] = {}
    for name, case in cases.items():
        for which, to in bares.items():  # two by two, so that each comes after the other, and is as cold as it
            times = interleaved({which: to, name: case}, rounds, prepare)
            results[f"{name}_ratio_to_{which}"] = ratio(times, name, which)
            if which == "bare":
                results[f"{name}_ratio_to_bare_best_round"] = min(times[name]) / min(times[which])
                results[f"{name}_us"] = statistics.median(times[name])
                results[f"{name}_bare_us"] = statistics.median(times[which])
    return results | {"group": group}


def table(results: dict[str, Any]) -> str:
    """The results for people."""
    title = f"both sides, mutual, {results['group']}"
    lines = [f"{title:<46}{'us':>7}{'bare us':>9}{'ratio':>7}{'best':>7}{'no tickets':>12}{'same work':>11}"]
    for name, words in (
        ("step", f"TlsStep alone (at most {LIMIT})"),
        ("strangers", "the same, peers that never met"),
        ("profile", "profiles.tls, whole"),
        ("authorities", "profiles.tls, chains judged by authorities()"),
    ):
        to_bare = f"{name}_ratio_to_bare"
        line = f"{words:<46}{results[f'{name}_us']:>7.0f}{results[f'{name}_bare_us']:>9.0f}{results[to_bare]:>7.3f}"
        for which, width in (("best_round", 7), ("without_tickets", 12), ("same_work", 11)):
            line += f"{results[f'{to_bare}_{which}']:>{width}.3f}"
        lines.append(line)
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--rounds", type=int, default=400, help="rounds (default: 400)")
    options = parser.parse_args()
    results = measure(options.rounds)
    print(json.dumps(results) if options.json else table(results))


if __name__ == "__main__":
    main()
