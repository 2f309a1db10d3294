"""What the channel costs: both ends, in memory, against bare AEAD calls and against TLS 1.3 of the standard library.

    python -m tests.benchmarks.channel [--json] [--rounds N]

Everything is measured in one process, interleaved round by round, and quoted as a ratio: the median over the rounds of
(theirs / ours in the same round). Above 1 the channel is faster; `ratio_to_bare` is the fraction of the throughput of bare
AES-256-GCM that is left of it. Bare is `encrypt_into` and `decrypt_into` with buffers of the exact size, made once and
used again. Ours is `send_data`, `data_to_send`, `receive_data`, `next_event`; what comes out is new `bytes`. TLS is
`ssl.SSLObject` over memory BIOs, AES-256-GCM too, read in the sizes that it likes best.
"""

from __future__ import annotations

import argparse
import datetime
import json
import ssl
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from nautilus_core import NEED_DATA, RESPONDER, SUITES, DataReceived, SecureChannel
from nautilus_core.crypto.traffic_key import TrafficKey

from .handshake import interleaved, timed

FULL: Final = 65_516
"""The payload of a full record: 64 KiB on the wire, with header and tag."""
SMALL: Final = 64
BATCH: Final = 1000

AES: Final = "X25519_AES256GCM_SHA384"
CHACHA: Final = "X25519_CHACHA20POLY1305_SHA256"


def make_channels(suite: str = AES) -> tuple[SecureChannel, SecureChannel]:
    """Two ends that are joined; both are confirmed."""

    def key(number: int) -> TrafficKey:
        return TrafficKey(SUITES[suite], bytes([number]) * SUITES[suite].hash.digest_size)

    one = SecureChannel(RESPONDER, writing=key(1), reading=key(2))
    return one, SecureChannel(RESPONDER, writing=key(2), reading=key(1))


def receive(channel: SecureChannel, data: bytes | bytearray) -> int:
    """Give `data` to the channel; returns how many records came out."""
    channel.receive_data(data)
    count = 0
    while (event := channel.next_event()) is not NEED_DATA:
        if isinstance(event, DataReceived):
            count += len(event.records)
    return count


def ours(suite: str, payload: bytes, count: int = 1) -> Callable[[], None]:
    """Send `payload` `count` times, take it as one, open it."""
    sender, receiver = make_channels(suite)

    def run() -> None:
        for _ in range(count):
            sender.send_data(payload)
        if receive(receiver, sender.data_to_send()) != count:
            raise RuntimeError("records are missing")

    return run


def bare(cipher: AESGCM | ChaCha20Poly1305, payload: bytes) -> Callable[[], None]:
    """Seal and open once, into buffers that are used again and again."""
    sealed, opened = bytearray(len(payload) + 16), bytearray(len(payload))
    nonce, header = bytes(12), b"\xe3\x00\xff\xfc"

    def run() -> None:
        cipher.encrypt_into(nonce, payload, header, sealed)
        cipher.decrypt_into(nonce, sealed, header, opened)

    return run


def _tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    key = generate_private_key(SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "node")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(30))
    pem = builder.sign(key, SHA256()).public_bytes(Encoding.PEM)
    client, server = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client.minimum_version = server.minimum_version = ssl.TLSVersion.TLSv1_3
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "node.pem"
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + pem)
        server.load_cert_chain(path)
    return client, server


def tls(payload: bytes, count: int = 1) -> Callable[[], None]:
    """The same as `ours` through `ssl`: write `count` times, move the bytes once, read until all is there."""
    client_context, server_context = _tls_contexts()
    to_client, from_client, to_server, from_server = (ssl.MemoryBIO() for _ in range(4))
    client = client_context.wrap_bio(to_client, from_client)
    server = server_context.wrap_bio(to_server, from_server, server_side=True)
    pending = [client, server]
    while pending:
        for end in list(pending):
            try:
                end.do_handshake()
                pending.remove(end)
            except ssl.SSLWantReadError:
                pass
            to_server.write(from_client.read())
            to_client.write(from_server.read())
    cipher = client.cipher()
    if cipher is None or cipher[0] != "TLS_AES_256_GCM_SHA384":
        raise RuntimeError(f"TLS chose {cipher}")
    total = len(payload) * count
    at_most = min(len(payload), 16_384)

    def run() -> None:
        for _ in range(count):
            client.write(payload)
        to_server.write(from_client.read())
        left = total
        while left:
            left -= len(server.read(at_most))

    return run


def throughput(results: dict[str, list[float]], other: str, mine: str = "nautilus") -> float:
    """The median over the rounds of another case's time to ours."""
    return statistics.median(b / a for a, b in zip(results[mine], results[other], strict=True))


def feeding(length: int) -> float:
    """Microseconds a byte for a record of `length` bytes that comes byte by byte, looked at after each."""
    sender, receiver = make_channels()
    sender.send_data(bytes(length))
    data = sender.data_to_send()

    def feed() -> None:
        if sum(receive(receiver, data[place : place + 1]) for place in range(len(data))) != 1:
            raise RuntimeError("the record is missing")

    return timed(feed, 1) / len(data)


def measure(rounds: int) -> dict[str, Any]:
    """Run all cases."""
    payload, small = bytes(range(256)) * 256, bytes(SMALL)
    payload = payload[:FULL]
    aes = interleaved(
        {"bare": bare(AESGCM(bytes(32)), payload), "nautilus": ours(AES, payload), "tls": tls(payload)}, rounds
    )
    chacha = interleaved(
        {"bare": bare(ChaCha20Poly1305(bytes(32)), payload), "nautilus": ours(CHACHA, payload)}, rounds
    )
    batch = interleaved({"nautilus": ours(AES, small, BATCH), "tls": tls(small, BATCH)}, rounds // 4)
    return {
        "ratio_to_bare": throughput(aes, "bare"),
        "ratio_to_bare_chacha20_poly1305": throughput(chacha, "bare"),
        "ratio_to_tls_64_KiB": throughput(aes, "tls"),
        "ratio_to_tls_1000_records_of_64_bytes": throughput(batch, "tls"),
        "us_per_64_KiB_record": statistics.median(aes["nautilus"]),
        "us_per_64_byte_record": statistics.median(batch["nautilus"]) / BATCH,
        "us_per_byte_of_16_KiB": statistics.median(feeding(16_000) for _ in range(3)),
        "us_per_byte_of_64_KiB": statistics.median(feeding(64_000) for _ in range(3)),
    }


LABELS: Final = {
    "ratio_to_bare": "64 KiB records, AES-256-GCM: throughput to bare calls (bare / ours; at least 0.65)",
    "ratio_to_bare_chacha20_poly1305": "64 KiB records, ChaCha20-Poly1305: throughput to bare calls",
    "ratio_to_tls_64_KiB": "64 KiB, AES-256-GCM: throughput to TLS 1.3 (above 1: faster)",
    "ratio_to_tls_1000_records_of_64_bytes": "1000 records of 64 bytes at once: throughput to TLS 1.3 (above 1: faster)",
    "us_per_64_KiB_record": "a record of 64 KiB, sealed and opened (us, median)",
    "us_per_64_byte_record": "one of 1000 records of 64 bytes, sealed and opened (us, median)",
    "us_per_byte_of_16_KiB": "a record of 16 KiB byte by byte (us a byte)",
    "us_per_byte_of_64_KiB": "a record of 64 KiB byte by byte (us a byte; the same: linear)",
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--rounds", type=int, default=100, help="rounds of each comparison (default: 100)")
    options = parser.parse_args()
    results = measure(options.rounds)
    if options.json:
        print(json.dumps({**results, "meaning": LABELS}))
        return
    for name, label in LABELS.items():
        print(f"{label:<90} {results[name]:>9.3f}")


if __name__ == "__main__":
    main()
