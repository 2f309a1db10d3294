"""Certificates that the `openssl` command has made, and forged: it and we say the same of each, in both roles."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from nautilus_core import INITIATOR, RESPONDER, AuthenticationFailed, Identity, Role, VerifiedPeer, trust
from nautilus_core.identity.x509 import X509Chains

from .test_x509 import judged

NAME: Final = "gateway.example"
OPENSSL: Final = shutil.which("openssl")
KEYS: Final = {
    "p256": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "p384": ["ec", "-pkeyopt", "ec_paramgen_curve:P-384"],
    "rsa": ["rsa:2048"],
    "ed25519": ["ed25519"],
}
AUTHORITY: Final = "basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\n"
PEER: Final = (
    "basicConstraints=critical,CA:false\nkeyUsage=critical,digitalSignature\nsubjectKeyIdentifier=hash\n"
    "authorityKeyIdentifier=keyid\n"
)
NAMED: Final = f"subjectAltName=DNS:{NAME},IP:127.0.0.1\n"
BOTH_PURPOSES: Final = "extendedKeyUsage=serverAuth,clientAuth\n"

pytestmark = pytest.mark.skipif(OPENSSL is None, reason="there is no openssl command to make certificates with")


class Maker:
    """The `openssl` command in a folder; what it has made is there by name: `leaf.pem`, `leaf.key`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        assert OPENSSL is not None
        return subprocess.run([OPENSSL, *arguments], cwd=self.folder, check=check, capture_output=True, timeout=30)

    def root(self, name: str, subject: str, key: str = "p256") -> None:
        more = [argument for line in AUTHORITY.splitlines() for argument in ("-addext", line) if "basic" not in line]
        made = ["-noenc", "-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "30", "-subj", f"/CN={subject}"]
        self.run("req", "-x509", "-newkey", *KEYS[key], *made, *more)

    def issue(
        self, name: str, by: str, extensions: str, *, key: str = "p256", subject: str = "", days: int = 20
    ) -> None:
        (self.folder / f"{name}.cnf").write_text(extensions)
        subject = f"/CN={subject or name}"
        made = ["-noenc", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject]
        self.run("req", "-newkey", *KEYS[key], *made)
        signer = ["-CA", f"{by}.pem", "-CAkey", f"{by}.key", "-CAcreateserial", "-days", str(days)]
        self.run("x509", "-req", "-in", f"{name}.csr", *signer, "-extfile", f"{name}.cnf", "-out", f"{name}.pem")

    def certificate(self, name: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.folder / f"{name}.pem").read_bytes())

    def private_key(self, name: str) -> Any:
        return load_pem_private_key((self.folder / f"{name}.key").read_bytes(), None)

    def verifies(self, chain: list[str], root: str, judging: Role, at: datetime) -> bool:
        """What `openssl verify` says of it."""
        between = [argument for name in chain[1:] for argument in ("-untrusted", f"{name}.pem")]
        purpose = (
            ["-purpose", "sslserver", "-verify_hostname", NAME] if judging is INITIATOR else ["-purpose", "sslclient"]
        )
        when = ["-attime", str(int(at.timestamp()))]
        said = self.run(
            "verify",
            "-x509_strict",
            "-CAfile",
            f"{root}.pem",
            *between,
            *purpose,
            *when,
            f"{chain[0]}.pem",
            check=False,
        )
        return said.returncode == 0


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    """Everything that the tests below look at, made once."""
    made = Maker(tmp_path_factory.mktemp("openssl"))
    made.root("root", "Root")
    made.root("rsaroot", "RSA Root", "rsa")
    made.root("otherroot", "Root")  # of the same name, by somebody else
    made.issue("middle", "root", AUTHORITY + "authorityKeyIdentifier=keyid\n", subject="Middle")
    made.issue("othermiddle", "otherroot", AUTHORITY, subject="Middle")
    for key in KEYS:
        made.issue(f"leaf-{key}", "middle", PEER + NAMED + BOTH_PURPOSES, key=key)
    made.issue("byrsa", "rsaroot", PEER + NAMED + BOTH_PURPOSES)
    made.issue("forged", "othermiddle", PEER + NAMED + BOTH_PURPOSES)
    made.issue("server", "middle", PEER + NAMED + "extendedKeyUsage=serverAuth\n")
    made.issue("client", "middle", PEER + NAMED + "extendedKeyUsage=clientAuth\n")
    made.issue("elsewhere", "middle", PEER + "subjectAltName=DNS:other.example\n" + BOTH_PURPOSES)
    made.issue("commonname", "middle", PEER + BOTH_PURPOSES, subject=NAME)
    made.issue("below", "leaf-p256", PEER + NAMED + BOTH_PURPOSES)
    made.issue("short", "middle", PEER + NAMED + BOTH_PURPOSES, days=1)
    return made


def verdict(maker: Maker, chain: list[str], root: str, judging: Role, at: datetime) -> Any:
    """The verified peer, or why there is none."""
    key, certificates = maker.private_key(chain[0]), [maker.certificate(name) for name in chain]
    me = Identity.with_certificates(key, certificates[:1])
    me.credential = msgspec.msgpack.encode([one.public_bytes(Encoding.DER) for one in certificates])
    name = {"name": NAME} if judging is INITIATOR else {}
    policy = trust.authorities((maker.folder / f"{root}.pem").read_bytes(), **name)  # type: ignore[arg-type]
    pair = judged(me, policy, judging, at)
    end = pair.initiator if judging is INITIATOR else pair.responder
    return end.error or end.session.peer


def now() -> datetime:
    return datetime.now(UTC)


Case = tuple[list[str], str, bool, bool, Callable[[], datetime]]
M: Final = "middle"
CASES: Final[dict[str, Case]] = {
    **{key: ([f"leaf-{key}", M], "root", True, True, now) for key in KEYS},
    "an RSA authority": (["byrsa"], "rsaroot", True, True, now),
    "the root comes along": (["leaf-p256", M, "root"], "root", True, True, now),
    "for servers": (["server", M], "root", True, False, now),
    "for clients": (["client", M], "root", False, True, now),
    "another name": (["elsewhere", M], "root", False, True, now),
    "another authority": (["byrsa"], "root", False, False, now),
    "a root of the same name": (["leaf-p256", M], "otherroot", False, False, now),
    "forged below a real name": (["forged", "othermiddle"], "root", False, False, now),
    "forged, with the real one in between": (["forged", M], "root", False, False, now),
    "one in between is missing": (["leaf-p256"], "root", False, False, now),
    "a peer as an authority": (["below", "leaf-p256", M], "root", False, False, now),
    "expired": (["short", M], "root", False, False, lambda: now() + timedelta(days=2)),
    "not yet valid": (["leaf-p256", M], "root", False, False, lambda: now() - timedelta(days=2)),
}


@pytest.mark.parametrize("judging", [INITIATOR, RESPONDER], ids=lambda role: role.value)
@pytest.mark.parametrize("case", CASES)
def test_openssl_and_we_say_the_same(case: str, judging: Role, maker: Maker) -> None:
    chain, root, as_server, as_client, when = CASES[case]
    good, at = as_server if judging is INITIATOR else as_client, when()
    found = verdict(maker, chain, root, judging, at)
    if good:
        assert isinstance(found, VerifiedPeer), found
        assert NAME in found.names or case == "another name"
    else:
        assert isinstance(found, AuthenticationFailed), found
        assert found.hint
    assert maker.verifies(chain, root, judging, at) is good


def test_a_common_name_is_no_name(maker: Maker) -> None:
    """Where we are stricter: OpenSSL takes the common name where there is no other (RFC 9525 section 6.3 does not)."""
    assert maker.verifies(["commonname", M], "root", INITIATOR, now())
    for judging in Role:
        assert isinstance(verdict(maker, ["commonname", M], "root", judging, now()), AuthenticationFailed)


def test_an_rsa_key_that_is_for_other_parameters_signs_nothing_here(maker: Maker) -> None:
    """RFC 4055 section 1.2: a key of the type RSASSA-PSS is for its own digest and salt, here not for those of the scheme."""
    options = [
        "rsa_keygen_bits:2048",
        "rsa_pss_keygen_md:sha512",
        "rsa_pss_keygen_mgf1_md:sha512",
        "rsa_pss_keygen_saltlen:64",
    ]
    parameters = [argument for option in options for argument in ("-pkeyopt", option)]
    made = ["-sha512", "-noenc", "-keyout", "pss.key", "-out", "pss.pem", "-days", "9", "-subj", "/CN=pss"]
    maker.run("req", "-x509", "-newkey", "rsa-pss", *parameters, *made)
    certificate = maker.certificate("pss")
    with pytest.raises(ValueError, match="RSASSA-PSS"):
        Identity.with_certificates(maker.private_key("pss"), [certificate])
    credential = msgspec.msgpack.encode([certificate.public_bytes(Encoding.DER)])
    with pytest.raises(AuthenticationFailed, match="RSASSA-PSS"):
        X509Chains().read(credential, "rsa-pss-sha256")


@pytest.mark.parametrize("place", [0, 1])
def test_a_certificate_of_openssl_that_was_altered(place: int, maker: Maker) -> None:
    """One bit in what is signed: the leaf's name, or the serial number of the one in between."""
    chain = [maker.certificate(name).public_bytes(Encoding.DER) for name in ("leaf-p256", M)]
    old, new = (NAME.encode(), b"gatewax.example") if place == 0 else (b"Root", b"Roou")
    assert old in chain[place]
    chain[place] = chain[place].replace(old, new)
    me = Identity.with_certificates(maker.private_key("leaf-p256"), [maker.certificate("leaf-p256")])
    me.credential = msgspec.msgpack.encode(chain)
    roots = (maker.folder / "root.pem").read_bytes()
    for judging in Role:
        names = {"name": "gatewax.example" if place == 0 else NAME} if judging is INITIATOR else {}
        pair = judged(me, trust.authorities(roots, **names), judging, now())  # type: ignore[arg-type]
        end = pair.initiator if judging is INITIATOR else pair.responder
        assert isinstance(end.error, AuthenticationFailed)
        assert end.handshake.session is None
