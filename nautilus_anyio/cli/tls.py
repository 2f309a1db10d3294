"""`--tls` and what goes with it: the commands' handshakes inside TLS. The TLS itself is `nautilus_anyio.tls`'s."""

from __future__ import annotations

import argparse
import importlib.util
import ssl
from pathlib import Path
from typing import Any, Final

from nautilus_core import INITIATOR, Role

from ..tls import Binding, Tls

_WITH_TLS: Final = ("tls_ca", "tls_cert", "tls_key", "tls_name", "tls_binding", "tls_upgrade")

_DEMANDED: Final = "demand a certificate by one of these authorities"
_TRUSTED: Final = "whom TLS trusts, certificates in PEM (default: the system's authorities)"
_AUTHORITIES: Final = {
    True: f"{_DEMANDED}, certificates in PEM (default: none is demanded)",
    False: _TRUSTED,
    None: f"{_TRUSTED}; where we listen, {_DEMANDED} (default: none is demanded)",
}
_NEEDS_ONE: Final = {
    True: "with --tls",
    False: "where the server demands one",
    None: "where we listen, or where the server demands one",
}


def add_tls(parser: argparse.ArgumentParser, *, listens: bool | None) -> None:
    """The options; for who dials they are about the server's certificate, for who listens about its own.

    `listens` is None for a command that can do either.
    """
    add = parser.add_argument
    add("--tls", action="store_true", help="make the handshake inside TLS, and bind it to that connection")
    add("--tls-ca", type=Path, metavar="FILE", help=_AUTHORITIES[listens])
    what = "this end's certificate in TLS, with its chain, in PEM"
    add("--tls-cert", type=Path, metavar="FILE", help=f"{what}; needed {_NEEDS_ONE[listens]}")
    add("--tls-key", type=Path, metavar="FILE", help="its private key in PEM (default: it stands in the same file)")
    if not listens:
        add("--tls-name", metavar="NAME", help="whom the server's certificate must name (default: the host dialled)")
    add(
        "--tls-binding",
        choices=["required", "offered", "off"],
        help="whether somebody who terminates TLS on the way is found out (default: required); off for a load balancer",
    )
    add(
        "--tls-upgrade",
        action="store_true",
        help="say hello in the clear, and go on inside TLS where the other end wants that, too; else without TLS",
    )


def tls_from(options: argparse.Namespace, role: Role) -> Tls | None:
    """What the options ask for; None where they ask for no TLS, or the command has none of them.

    Raises:
        ValueError: they do not go together, or a file has not what it should.
        OSError: a file cannot be read.
    """
    if not getattr(options, "tls", False):
        for name in _WITH_TLS:
            if getattr(options, name, None):
                raise ValueError(f"--{name.replace('_', '-')} goes with --tls")
        return None
    certificate, key, authorities = options.tls_cert, options.tls_key, options.tls_ca
    if role is not INITIATOR and certificate is None:
        raise ValueError("--tls needs --tls-cert FILE where we listen: a server of TLS has a certificate")
    if role is not INITIATOR and getattr(options, "tls_name", None) is not None:
        raise ValueError("--tls-name is for who dials: whom a server is, its certificate says")
    if key is not None and certificate is None:
        raise ValueError("--tls-key goes with --tls-cert")
    for file in (certificate, key, authorities):
        if file is not None:
            file.open("rb").close()  # an error that names it
    exporting = importlib.util.find_spec("OpenSSL") is not None and importlib.util.find_spec("service_identity")
    make = _of_openssl if exporting else _of_ssl
    server_name = (options.tls_name or options.address[0]) if role is INITIATOR else None
    binding: Binding = options.tls_binding or "required"
    try:
        context = make(role, certificate, key or certificate, authorities)
        own = None if role is INITIATOR else certificate.read_bytes()
        return Tls(context, server_name=server_name, binding=binding, certificate=own, upgrade=options.tls_upgrade)
    except (ssl.SSLError, _openssl_error()) as error:
        files = ", ".join(str(file) for file in (certificate, key, authorities) if file is not None)
        raise ValueError(f"TLS cannot use {files}: expected certificates, and the key that fits, in PEM") from error


def _of_ssl(role: Role, certificate: Path | None, key: Path | None, authorities: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT if role is INITIATOR else ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_RENEGOTIATION
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    if authorities is not None:
        context.load_verify_locations(authorities)
        context.verify_mode = ssl.CERT_REQUIRED
    elif role is INITIATOR:
        context.load_default_certs()
    return context


def _of_openssl(role: Role, certificate: Path | None, key: Path | None, authorities: Path | None) -> Any:
    """By pyOpenSSL, which has `tls-exporter`."""
    from OpenSSL import SSL  # noqa: PLC0415  # the extra `tls`

    context = SSL.Context(SSL.TLS_CLIENT_METHOD if role is INITIATOR else SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    if certificate is not None and key is not None:
        context.use_certificate_chain_file(certificate)
        context.use_privatekey_file(key)
        context.check_privatekey()
    if authorities is not None:
        context.load_verify_locations(authorities)
    elif role is INITIATOR:
        context.set_default_verify_paths()
    if authorities is not None or role is INITIATOR:
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
    return context


def _openssl_error() -> type[Exception]:
    """What pyOpenSSL raises; where it is not installed, what `ssl` does."""
    if importlib.util.find_spec("OpenSSL") is None:
        return ssl.SSLError
    from OpenSSL import SSL  # noqa: PLC0415

    return SSL.Error
