"""TLS without I/O, at both ends and by both libraries: what comes in two pieces is what came whole, wherever the cut is."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from nautilus_anyio.cli.tls import _of_ssl
from nautilus_anyio.tls.machines import Machine, OpenSslMachine, StandardMachine
from nautilus_core import INITIATOR, RESPONDER, Role

from .certified import CA, CERTIFICATE, LIBRARIES, Library, client_context, server_context, use_tls_1_2

both = pytest.mark.parametrize("library", LIBRARIES)
QUESTION, ANSWER = b"a question", b"an answer, which is longer"


def contexts(library: Library, *, old: bool) -> dict[Role, Any]:
    """With one small group, for what runs thousands of times."""
    made = {INITIATOR: client_context(library), RESPONDER: server_context(library)}
    for context in made.values():
        if old:
            use_tls_1_2(context)
        if isinstance(context, ssl.SSLContext):
            context.set_ecdh_curve("prime256v1")
        else:
            context.set_tmp_ecdh(ec.SECP256R1())
    return made


class End:
    """One end: what its machine is fed it takes in as far as it can."""

    def __init__(self, context: Any, role: Role) -> None:
        kind = StandardMachine if isinstance(context, ssl.SSLContext) else OpenSslMachine
        self.machine: Machine = kind(context, role, "gateway.example")
        self.done = False
        self.read: list[bytes] = []

    def advance(self) -> None:
        self.done = self.done or self.machine.handshake()
        while self.done and (data := self.machine.read(65_536)) is not None:
            self.read.append(data)
            if not data:
                return

    def take_in(self, data: bytes, place: int) -> None:
        """In two pieces, of which the first alone leads nowhere."""
        before = self.done, list(self.read)
        self.machine.feed(data[:place])
        self.advance()
        assert (self.done, self.read) == before, place
        self.machine.feed(data[place:])
        self.advance()


def send(sender: End, receiver: End, place: int) -> int:
    """What the sender has to say, cut at `place`; its length."""
    data = sender.machine.take()
    if 0 < place < len(data):
        receiver.take_in(data, place)
    elif data:
        receiver.machine.feed(data)
        receiver.advance()
    return len(data)


def connection(made: dict[Role, Any], place: int) -> tuple[list[int], End, End]:
    """A whole connection, each flight of which is cut at `place`; the lengths of the flights."""
    client, server = End(made[INITIATOR], INITIATOR), End(made[RESPONDER], RESPONDER)
    client.advance()
    flights: list[int] = []
    sender, receiver = client, server
    while not (client.done and server.done) or len(flights) % 2:
        flights.append(send(sender, receiver, place))
        sender, receiver = receiver, sender
    for sender, receiver, words in ((client, server, QUESTION), (server, client, ANSWER)):
        sender.machine.write(words)
        flights.append(send(sender, receiver, place))
        assert receiver.read == [words]
    for sender, receiver in ((client, server), (server, client)):
        sender.machine.close()
        flights.append(send(sender, receiver, place))
        assert receiver.read[1:] == [b""]
    return flights, client, server


@both
@pytest.mark.parametrize("old", [False, True], ids=["1.3", "1.2"])
def test_every_flight_cut_at_every_place(library: Library, old: bool) -> None:
    """Signatures are not always of one length: a little more than the longest flight of one connection."""
    made = contexts(library, old=old)
    whole, client, server = connection(made, 0)
    assert client.machine.version == ("TLSv1.2" if old else "TLSv1.3")
    assert client.machine.exporter() == server.machine.exporter()
    assert len(whole) == 8
    for place in range(1, max(whole) + 8):
        connection(made, place)


@both
def test_every_flight_byte_by_byte(library: Library) -> None:
    made = contexts(library, old=False)
    client, server = End(made[INITIATOR], INITIATOR), End(made[RESPONDER], RESPONDER)
    client.advance()
    sender, receiver = client, server
    while not (client.done and server.done):
        for byte in sender.machine.take():
            assert not receiver.done
            receiver.machine.feed(bytes((byte,)))
            receiver.advance()
        sender, receiver = receiver, sender
    assert client.read == server.read == []


_ALLOW_CLIENT_RENEGOTIATION = 1 << 8
"""OpenSSL's option, which a context may have; pyOpenSSL has no name for it."""
_ALERT, _HANDSHAKE = 21, 22


def renegotiating(machine: Machine, role: Role) -> int:
    """The type of the first record with which a machine of TLS 1.2 answers a peer that wants to renegotiate."""
    context = use_tls_1_2(client_context("openssl") if role is RESPONDER else server_context("openssl"))
    peer = SSL.Connection(context, None)
    peer.set_connect_state() if role is RESPONDER else peer.set_accept_state()
    done = False
    while not done:
        try:
            peer.do_handshake()
        except SSL.WantReadError:
            pass
        try:
            machine.feed(peer.bio_read(65_536))
        except SSL.WantReadError:
            pass
        done = machine.handshake()
        if data := machine.take():
            peer.bio_write(data)
    assert machine.version == "TLSv1.2"
    peer.do_handshake()
    peer.renegotiate()
    with pytest.raises(SSL.WantReadError):
        peer.do_handshake()
        peer.recv(1)
    machine.feed(peer.bio_read(65_536))
    assert machine.read(100) is None
    answer = machine.take()[0]
    if answer == _ALERT:
        machine.write(b"and goes on")
    return answer


@pytest.mark.parametrize("role", Role)
def test_nobody_renegotiates(role: Role) -> None:
    context = server_context("openssl") if role is RESPONDER else client_context("openssl")
    context.set_options(_ALLOW_CLIENT_RENEGOTIATION)
    assert renegotiating(OpenSslMachine(context, role, "gateway.example"), role) == _ALERT


@pytest.mark.parametrize("role", Role)
def test_the_commands_contexts_of_ssl_renegotiate_neither(role: Role, tmp_path: Path) -> None:
    own, authority = tmp_path / "own.pem", tmp_path / "authority.pem"
    own.write_bytes(CERTIFICATE.private_key_and_cert_chain_pem.bytes())
    authority.write_bytes(CA.cert_pem.bytes())
    context = _of_ssl(role, own, None, authority if role is INITIATOR else None)
    context.options |= _ALLOW_CLIENT_RENEGOTIATION
    assert renegotiating(StandardMachine(context, role, "gateway.example"), role) == _ALERT


def test_a_context_of_ssl_may_renegotiate() -> None:
    """As its owner says; our option is what the others do not."""
    machine = StandardMachine(client_context("ssl"), INITIATOR, "gateway.example")
    assert renegotiating(machine, INITIATOR) == _HANDSHAKE
