"""The tunnel: services and clients that know nothing of it, talking through two processes of the command."""

from __future__ import annotations

import hashlib
import http.client
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from nautilus_anyio.cli.serving import Place
from nautilus_core import Identity

from .processes import NAUTILUS, PATIENCE, Running, eventually, free_port, running
from .test_cli import read_until

BACKENDS = ["asyncio", "trio"]
TRUST = ("--trust", "anyone")


@dataclass
class Tunnel:
    """A service of the test, the two processes, and connections through them."""

    service: socket.socket
    gate: Running
    entrance: Running

    def client(self) -> socket.socket:
        """A client's connection."""
        connection = socket.create_connection(("127.0.0.1", self.entrance.port), PATIENCE)
        connection.settimeout(PATIENCE)
        return connection

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """A client's connection, and its other end at the service."""
        connection = self.client()
        accepted, _ = self.service.accept()
        accepted.settimeout(PATIENCE)
        return connection, accepted


def listening_socket() -> socket.socket:
    """A service that accepts when it is told to."""
    service = socket.create_server(("127.0.0.1", 0), backlog=100)
    service.settimeout(PATIENCE)
    return service


@pytest.fixture(scope="module", params=BACKENDS)
def tunnel(request: pytest.FixtureRequest) -> Iterator[Tunnel]:
    """One tunnel for the tests of this module."""
    with new_tunnel(request.param) as made:
        yield made


@contextmanager
def new_tunnel(backend_name: str) -> Iterator[Tunnel]:
    """A tunnel; at its end nothing of what went through it is left in its processes."""
    backend = ("--backend", backend_name)
    with listening_socket() as service:
        port = service.getsockname()[1]
        with running("listen", 0, "--forward", port, *TRUST, *backend, "--timeout", 1) as gate:
            with running("connect", gate.port, "--listen", 0, *TRUST, *backend) as entrance:
                before = gate.files(), entrance.files()
                yield Tunnel(service, gate, entrance)
                eventually(lambda: (gate.files(), entrance.files()) == before)


def received(connection: socket.socket) -> bytes:
    """All that comes, to the end."""
    return b"".join(iter(lambda: connection.recv(65_536), b""))


@contextmanager
def saying(connection: socket.socket, data: bytes) -> Iterator[None]:
    """Meanwhile, send `data` and its end."""

    def say() -> None:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=say)
    thread.start()
    yield
    thread.join()


def test_each_direction_ends_on_its_own(tunnel: Tunnel) -> None:
    client, service = tunnel.pair()
    question, answer = os.urandom(3_000_000), os.urandom(2_000_000)
    with client, service:
        with saying(client, question):
            assert received(service) == question
        with saying(service, answer):
            assert received(client) == answer


def test_the_service_may_end_first_and_still_hear_the_client(tunnel: Tunnel) -> None:
    client, service = tunnel.pair()
    with client, service:
        service.sendall(b"220 ready\r\n")
        service.shutdown(socket.SHUT_WR)
        assert received(client) == b"220 ready\r\n"
        client.sendall(b"x" * 1_000_000)
        client.close()
        assert len(received(service)) == 1_000_000


def test_all_that_the_service_said_arrives_before_its_close_however_slow_the_client_is(tunnel: Tunnel) -> None:
    client, service = tunnel.pair()
    answer = os.urandom(8_000_000)
    with client, service:
        client.sendall(b"all of it")
        assert service.recv(100) == b"all of it"
        with saying(service, answer):
            got = b""
            while data := client.recv(200_000):
                got += data
                time.sleep(0.002)
    assert hashlib.sha256(got).digest() == hashlib.sha256(answer).digest()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_client_that_does_not_read_stops_the_service(backend: str) -> None:
    with new_tunnel(backend) as tunnel:
        client, service = tunnel.pair()
        with client, service:
            service.settimeout(0.7)
            sent = 0
            with pytest.raises(TimeoutError):
                while True:
                    sent += service.send(bytes(65_536))
            assert sent < 40_000_000  # the buffers of three sockets, which the system sizes
            for process in (tunnel.gate, tunnel.entrance):
                status = Path(f"/proc/{process.process.pid}/status").read_text()
                assert int(status.partition("VmRSS:")[2].split()[0]) < 100_000
            service.close()
            assert len(received(client)) == sent


def reset(connection: socket.socket) -> None:
    """Close so that the other end sees an error."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


def test_a_reset_stays_a_reset_in_both_directions(tunnel: Tunnel) -> None:
    client, service = tunnel.pair()
    with service:
        reset(client)
        with pytest.raises(ConnectionResetError):
            service.recv(1)
    client, service = tunnel.pair()
    with client:
        service.sendall(b"half of")
        assert client.recv(100) == b"half of"
        reset(service)
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_a_slow_handshake_ends_in_time_and_others_do_not_wait_for_it(tunnel: Tunnel) -> None:
    silent = [socket.create_connection(("127.0.0.1", tunnel.gate.port), PATIENCE) for _ in range(20)]
    start = time.monotonic()
    client, service = tunnel.pair()
    assert time.monotonic() - start < 1
    with client, service:
        client.sendall(b"ping")
        assert service.recv(10) == b"ping"
    for connection in silent:
        connection.settimeout(PATIENCE)
        received(connection)
        connection.close()
    eventually(lambda: sum(note.get("kind") == "HandshakeTimeout" for note in tunnel.gate.notes) == 20)


@pytest.mark.anyio
async def test_a_service_that_does_not_answer_is_said_to_be_slow() -> None:
    with socket.socket() as service, ExitStack() as waiting:
        service.bind(("127.0.0.1", 0))
        service.listen(0)
        port = service.getsockname()[1]
        for _ in range(4):  # its queue is full: whoever comes now is not answered
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        with pytest.raises(ConnectionError, match=f"no connection to the service at 127.0.0.1:{port} in 0.1 seconds"):
            await Place("127.0.0.1", port).dial(0.1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_service_that_is_down_is_noted_and_disturbs_nobody(backend: str) -> None:
    service = listening_socket()
    port = service.getsockname()[1]
    with (
        running("listen", 0, "--forward", port, *TRUST, "--backend", backend) as gate,
        running("connect", gate.port, "--listen", 0, *TRUST, "--backend", backend) as entrance,
    ):
        tunnel = Tunnel(service, gate, entrance)
        client, accepted = tunnel.pair()
        service.close()
        with tunnel.client() as refused, pytest.raises(ConnectionResetError):
            refused.recv(1)
        client.sendall(b"still here")
        assert accepted.recv(100) == b"still here"
        eventually(lambda: gate.notes and entrance.notes)
        assert [note["note"].partition(": ")[2].partition(": ")[2] for note in gate.notes] == [
            f"no connection to the service at 127.0.0.1:{port}: Connection refused"
        ]
        assert len(entrance.notes) == 1
        assert "the other end of the tunnel has no connection to its service" in entrance.notes[0]["note"]
        with socket.create_server(("127.0.0.1", port)) as tunnel.service:
            tunnel.service.settimeout(PATIENCE)
            again, there = tunnel.pair()
            again.sendall(b"up again")
            assert there.recv(100) == b"up again"
        gate.process.kill()  # what is cut is no end of data
        with pytest.raises(ConnectionResetError):
            again.recv(1)
        gate.process.wait(PATIENCE)
        for connection in (client, accepted, again, there):
            connection.close()
        assert gate.process.returncode == -signal.SIGKILL
        gate.process.returncode = 130


def test_the_bound_holds_and_who_comes_then_waits() -> None:
    with (
        listening_socket() as service,
        running("listen", 0, "--forward", service.getsockname()[1], *TRUST, "--max-connections", 2) as gate,
        running("connect", gate.port, "--listen", 0, *TRUST) as entrance,
    ):
        tunnel = Tunnel(service, gate, entrance)
        pairs = [tunnel.pair(), tunnel.pair()]
        third = tunnel.client()
        third.sendall(b"my turn")
        service.settimeout(0.3)
        with pytest.raises(TimeoutError):
            service.accept()
        service.settimeout(PATIENCE)
        for connection in pairs[0]:
            connection.close()
        accepted, _ = service.accept()
        assert accepted.recv(100) == b"my turn"
        assert "--max-connections" in gate.notes[0]["note"]
        for connection in (*pairs[1], third, accepted):
            connection.close()


def test_unix_sockets_at_both_ends(tmp_path: Path) -> None:
    behind, before = tmp_path / "service", tmp_path / "entrance"
    with socket.socket(socket.AF_UNIX) as service:
        service.bind(str(behind))
        service.listen()
        service.settimeout(PATIENCE)
        with (
            running("listen", 0, "--forward", f"unix:{behind}", *TRUST) as gate,
            running("connect", gate.port, "--listen", f"unix:{before}", *TRUST),
        ):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(before))
                accepted, _ = service.accept()
                client.sendall(b"a question")
                client.shutdown(socket.SHUT_WR)
                assert received(accepted) == b"a question"
                accepted.sendall(b"an answer")
                accepted.close()
                assert received(client) == b"an answer"
            taken = subprocess.run(
                [*NAUTILUS, "connect", str(gate.port), "--listen", f"unix:{before}", *TRUST],
                capture_output=True,
                text=True,
                check=False,
            )
            assert taken.returncode == 2
            assert "somebody listens" in taken.stderr
        assert not before.exists()


def test_a_first_contact_is_asked_about_once_for_all_connections_that_wait(tmp_path: Path) -> None:
    identity = tmp_path / "gate.pem"
    identity.write_bytes(Identity.generate().to_pem())
    identity.chmod(0o600)
    port = free_port()
    with (
        listening_socket() as service,
        running("listen", 0, "--forward", service.getsockname()[1], *TRUST, "--identity", identity) as gate,
    ):
        process, terminal = pty.fork()
        if process == 0:
            os.environ["XDG_CONFIG_HOME"] = str(tmp_path)
            os.execv(sys.executable, [*NAUTILUS, "connect", str(gate.port), "--listen", str(port)])
        try:
            read_until(terminal, b"listening")
            clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
            read_until(terminal, b"(yes/no)")
            os.write(terminal, b"yes\n")
            accepted = [service.accept()[0] for _ in clients]
            os.kill(process, signal.SIGINT)
            shown = b""
            with pytest.raises(OSError, match="Input/output"):
                while True:
                    shown += os.read(terminal, 4096)
            assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 130
            assert b"yes/no" not in shown
            for connection in (*clients, *accepted):
                connection.close()
        finally:
            os.close(terminal)
    assert "key:" in (tmp_path / "nautilus" / "known_peers").read_text()


BODIES = [os.urandom(size) for size in (0, 1, 1000, 16_384, 100_000)]


@contextmanager
def web(folder: Path, backend: str) -> Iterator[int]:
    """Python's own HTTP server behind a tunnel; gives the port of its entrance. At the end nothing is left open in it."""
    for number, body in enumerate(BODIES):
        (folder / str(number)).write_bytes(body)
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    port = server.stdout.readline().split("port ")[1].split()[0]
    try:
        with (
            running("listen", 0, "--forward", port, *TRUST, "--backend", backend) as gate,
            running("connect", gate.port, "--listen", 0, *TRUST, "--backend", backend) as entrance,
        ):
            before = gate.files(), entrance.files()
            yield entrance.port
            eventually(lambda: (gate.files(), entrance.files()) == before)
            assert gate.notes == entrance.notes == []
    finally:
        server.kill()
        server.communicate()


def test_1000_http_requests_over_100_connections_at_once(tmp_path: Path) -> None:
    with web(tmp_path, "asyncio") as port:

        def get(number: int) -> bool:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("GET", f"/{number % len(BODIES)}")
            response = connection.getresponse()
            same = response.status == 200 and response.read() == BODIES[number % len(BODIES)]
            connection.close()
            return same

        with ThreadPoolExecutor(100) as clients:
            assert all(clients.map(get, range(1000)))


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl, of the Debian package curl")
def test_curl_through_a_tunnel(tmp_path: Path) -> None:
    served, got = tmp_path / "served", tmp_path / "got"
    served.mkdir()
    got.mkdir()
    numbers = [1 + number % 4 for number in range(200)]  # an empty body would give no file
    with web(served, "trio") as port:
        lines = [
            f'url="http://127.0.0.1:{port}/{number}"\noutput="{got}/{place}"\n' for place, number in enumerate(numbers)
        ]
        options = ("-sS", "--fail", "--fail-early", "--parallel", "--parallel-immediate", "--parallel-max", "100")
        client("curl", *options, "--config", "-", given="".join(lines))
    assert [(got / str(place)).read_bytes() for place in range(200)] == [BODIES[number] for number in numbers]


def client(*command: str, given: str = "") -> str:
    """What a client prints that ends well."""
    return subprocess.run(command, check=True, text=True, input=given, stdout=subprocess.PIPE, timeout=60).stdout


@pytest.mark.skipif(
    not (shutil.which("redis-server") and shutil.which("redis-benchmark")),
    reason="needs redis-server and redis-benchmark, of the Debian packages redis-server and redis-tools",
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_redis_server_and_its_own_clients(tmp_path: Path, backend: str) -> None:
    port = free_port()
    server = subprocess.Popen(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
    )
    try:
        with (
            running("listen", 0, "--forward", port, *TRUST, "--backend", backend) as gate,
            running("connect", gate.port, "--listen", 0, *TRUST, "--backend", backend) as entrance,
        ):
            here = ["-p", str(entrance.port)]
            value = "value" * 100_000
            assert client("redis-cli", *here, "-x", "set", "key", given=value) == "OK\n"
            assert client("redis-cli", *here, "get", "key") == value + "\n"
            # 100 clients: first each request on a connection of its own, then each client on one
            for reconnect, requests in (("0", "100"), ("1", "1000")):
                load = ("-c", "100", "-n", requests, "-k", reconnect, "-t", "set", "-q")
                assert "requests per second" in client("redis-benchmark", *here, *load)
            assert gate.notes == []
    finally:
        server.terminate()
        server.wait(PATIENCE)
