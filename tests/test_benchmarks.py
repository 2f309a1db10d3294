"""The benchmark of the binding runs, and what it compares with is what it says: TLS that verifies both ends."""

from __future__ import annotations

import json
import ssl
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from nautilus_core import DEFAULT_SUITES

from .benchmarks import binding, loop


def keys() -> binding.Keys:
    return Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()


def test_ratios_come_first_for_both_event_loops(capsys: pytest.CaptureFixture[str]) -> None:
    binding.main(["--json", "--rounds", "1"])
    results = json.loads(capsys.readouterr().out)
    assert list(results)[:3] == [
        "handshakes_ratio_to_tls",
        "handshakes_ratio_to_tls_x25519",
        "throughput_ratio_to_tls",
    ]
    assert results.keys() - {"openssl_of_tls", "meaning"} == results["meaning"].keys()
    assert all(results[name][backend] > 0 for name in results["meaning"] for backend in ("asyncio", "trio"))


@pytest.mark.parametrize("stranger", ["client", "server"])
def test_tls_refuses_another_certificate_at_either_end(stranger: str) -> None:
    (client_context, server_context), (other_client, other_server) = binding.contexts(keys()), binding.contexts(keys())
    if stranger == "client":
        client_context = other_client
        client_context.verify_mode = ssl.CERT_NONE  # it must be the server that refuses
    else:
        server_context = other_server
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    with suppress(ssl.SSLWantReadError):
        server.do_handshake()
    with pytest.raises(ssl.SSLCertVerificationError):
        client.do_handshake()
        server.do_handshake()


def test_each_stretch_of_a_handshake_is_timed(capsys: pytest.CaptureFixture[str]) -> None:
    loop.main(["--json", "--rounds", "2"])
    results = json.loads(capsys.readouterr().out)
    assert tuple(results) == DEFAULT_SUITES
    for stretches in results.values():
        assert tuple(stretches) == loop.STRETCHES
        assert all(0 < value["median"] <= value["percentile_99"] for value in stretches.values())
