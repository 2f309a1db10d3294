"""An agent in a process of its own that holds a private key: `python signing_agent.py SOCKET`.

It makes an Ed25519 key, says its public half in hexadecimal on standard output, and from then on answers each connection:
4 bytes of length and what to sign come in, 4 bytes of length and the signature go out. Of a content that does not begin as
those of `nautilus/1` it signs nothing, and hangs up.
"""

from __future__ import annotations

import socket
import sys

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PREFIX = b" " * 64 + b"nautilus/1 "


def exactly(connection: socket.socket, length: int) -> bytes:
    """So many bytes, or fewer where the stream ends."""
    data = b""
    while len(data) < length and (piece := connection.recv(length - len(data))):
        data += piece
    return data


def main(path: str) -> None:
    """Serve for ever."""
    key = Ed25519PrivateKey.generate()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        print(key.public_key().public_bytes_raw().hex(), flush=True)
        while True:
            connection, _ = listener.accept()
            with connection:
                content = exactly(connection, int.from_bytes(exactly(connection, 4), "big"))
                if content.startswith(PREFIX):
                    signature = key.sign(content)
                    connection.sendall(len(signature).to_bytes(4, "big") + signature)


if __name__ == "__main__":
    main(sys.argv[1])
