"""Pre-shared keys over real sockets, from files, and in the command."""

from __future__ import annotations

import json
import subprocess
import traceback
from pathlib import Path
from typing import Any

import anyio
import pytest

from nautilus_anyio import StoreError, connect, load_psks
from nautilus_core import ANONYMOUS, AuthenticationFailed, PeerAborted, PreSharedKey, Profile, profiles, trust

from .helpers import ALICE, listening
from .processes import NAUTILUS, running

KEY = "000102030405060708090a0b0c0d0e0f"
ENTRY = """\
[[psk]]
identity = "office-1"
key = "{key}"
initiator = "laptop"
responder = "office"
"""


def psk_file(folder: Path, name: str, text: str = ENTRY.format(key=KEY), mode: int = 0o600) -> Path:
    """A file of psks of the node `name`."""
    path = folder / f"{name}.toml"
    path.write_text(f'name = "{name}"\n{text}')
    path.chmod(mode)
    return path


def anonymous(path: Path) -> Profile:
    """A profile with the psks of a file, and nothing else."""
    return profiles.nautilus(identity=ANONYMOUS, trust=trust.psk(), **load_psks(path).arguments)


@pytest.mark.anyio
async def test_two_nodes_that_have_nothing_but_a_psk(tmp_path: Path) -> None:
    async with listening(anonymous(psk_file(tmp_path, "office"))) as port:
        async with await connect("127.0.0.1", port, anonymous(psk_file(tmp_path, "laptop"))) as stream:
            assert stream.session.psk == "office-1"
            assert stream.session.peer is ANONYMOUS
            await stream.send(b"hello")
            assert await stream.receive() == b"hello"


@pytest.mark.anyio
async def test_one_coarse_alert_for_each_kind_of_wrong_psk(tmp_path: Path) -> None:
    seen: list[Exception] = []
    wrong = ENTRY.format(key=KEY[::-1]), ENTRY.format(key=KEY).replace("office-1", "office-2")
    async with listening(
        anonymous(psk_file(tmp_path, "office")), on_error=lambda failure: seen.append(failure.error)
    ) as port:
        for text in wrong:
            with pytest.raises(PeerAborted) as raised:
                await connect("127.0.0.1", port, anonymous(psk_file(tmp_path, "laptop", text)))
            assert raised.value.code == 51
        with anyio.fail_after(20):
            while len(seen) < len(wrong):
                await anyio.sleep(0.01)
    assert [type(error) for error in seen] == [AuthenticationFailed, AuthenticationFailed]
    assert str(seen[0]) != str(seen[1])


# ------------------------------------------------------------------------------------------------------------- files


def test_what_a_file_says(tmp_path: Path) -> None:
    text = ENTRY.format(key=KEY) + ENTRY.format(key=KEY.upper()) + 'hash = "SHA256"\n'
    read = load_psks(psk_file(tmp_path, "laptop", text))
    assert read.name == "laptop"
    names = {"initiator": "laptop", "responder": "office"}
    secret = bytes.fromhex(KEY)
    assert read.psks == (
        PreSharedKey("office-1", secret, **names),
        PreSharedKey("office-1", secret, **names, hash="SHA256"),
    )
    assert KEY not in repr(read)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_can_read(tmp_path: Path, mode: int) -> None:
    path = psk_file(tmp_path, "laptop", mode=mode)
    with pytest.raises(StoreError, match=f"chmod 600 {path}"):
        load_psks(path)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "psk"),
        ("psk = 3", "array"),
        ("[[psk]]\nidentity = 'x'\n", "key"),
        (ENTRY.format(key=KEY) + "port = 3\n", r"unknown field - at `\$.psk\[0\]`; expected name"),
        (ENTRY.format(key="0g"), "psk 1: its key is not hexadecimal"),
        (ENTRY.format(key=KEY[2:]), "16 to 1024 bytes"),
        (ENTRY.format(key=KEY) + 'hash = "MD5"\n', "use one of SHA256, SHA384"),
        (ENTRY.format(key=KEY).replace('"office"', '"laptop"'), "two nodes"),
        (f"key = '{KEY}\n", "no TOML"),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, text: str, word: str) -> None:
    path = psk_file(tmp_path, "laptop", text)
    with pytest.raises(ValueError, match=word) as raised:
        load_psks(path)
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)
    error: BaseException | None = raised.value
    while error is not None:
        assert KEY[2:] not in str(error)
        error = error.__cause__


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (ENTRY.format(key=KEY) + f"{KEY} = 3\n", r"unknown field - at `\$.psk\[0\]`; expected name"),
        (ENTRY.format(key=KEY) + f'"a` - at `$.{KEY}" = 3\n', r"unknown field - at `\$.psk\[0\]`; expected name"),
        (f"{KEY} = 3\n", "unknown field; expected name"),
        (ENTRY.format(key=KEY) + f'hash = "{KEY}"\n', "use one of SHA256, SHA384"),
        (ENTRY.format(key=KEY).replace("laptop", KEY).replace("office", KEY), "two nodes"),
        (f"[{KEY}]\n[{KEY}]\n", "no TOML"),
        (f"x = {{{KEY} = 1, {KEY} = 2}}\n", "no TOML"),
    ],
)
def test_a_key_in_the_place_of_a_name_is_not_shown(tmp_path: Path, text: str, word: str) -> None:
    """What the fuzzer found: the error of an unknown field quotes the field."""
    with pytest.raises(ValueError, match=word) as raised:
        load_psks(psk_file(tmp_path, "laptop", text))
    assert KEY[2:] not in "".join(traceback.format_exception(raised.value))


def test_a_file_that_is_too_long_is_not_read_in_part(tmp_path: Path) -> None:
    text = ENTRY.format(key=KEY)
    with pytest.raises(ValueError, match="over 1048576 bytes"):
        load_psks(psk_file(tmp_path, "laptop", text + "#" * (1 << 20)))


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="no text"):
        load_psks(path)
    with pytest.raises(FileNotFoundError):
        load_psks(tmp_path / "nothing")


# ------------------------------------------------------------------------------------------------------- the command


def dial(port: int, *arguments: str | Path, data: str = "hello\n") -> subprocess.CompletedProcess[str]:
    """`nautilus connect` to its end."""
    command = [*NAUTILUS, "connect", str(port), *map(str, arguments), "--json"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, input=data)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_listen_and_connect_with_a_file(tmp_path: Path, backend: str) -> None:
    office, laptop = psk_file(tmp_path, "office"), psk_file(tmp_path, "laptop")
    with running("listen", 0, "--anonymous", "--psk-file", office, "--backend", backend, "--exec", "cat") as listener:
        done = dial(listener.port, "--anonymous", "--psk-file", laptop, "--backend", backend)
        assert done.stdout == "hello\n"
        (note,) = [json.loads(line) for line in done.stderr.splitlines() if "suite" in json.loads(line)]
        assert (note["peer"], note["psk"]) == ("anonymous", "office-1")
        wrong = psk_file(tmp_path, "laptop", ENTRY.format(key=KEY[::-1]))
        refused = dial(listener.port, "--anonymous", "--psk-file", wrong)
        assert refused.returncode != 0
        assert refused.stderr.count("\n") == 1
        plain = dial(listener.port, "--trust", "anyone")
        assert plain.returncode != 0


def test_a_signature_beside_the_psk(tmp_path: Path) -> None:
    office, laptop = psk_file(tmp_path, "office"), psk_file(tmp_path, "laptop")
    pinned = f"pinned:{ALICE.peer_id}"
    with running("listen", 0, "--psk-file", office, "--trust", pinned, "--exec", "cat") as listener:
        done = dial(listener.port, "--psk-file", laptop, "--trust", pinned)
        assert done.stdout == "hello\n"
        nobody = dial(listener.port, "--psk-file", laptop, "--anonymous")
        assert nobody.returncode != 0


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--trust", "psk"], "--psk-file"),
        (["--psk-file", "{laptop}", "--trust", "psk:"], "no trust policy"),
        (["--psk-file", "{nothing}"], "no such file"),
        (["--psk-file", "{open}"], "chmod 600"),
        (["--psk-file", "{office}"], "none of the pre-shared keys has 'office' as initiator"),
        (["--psk-file", "{laptop}", "--suite", "X25519_AES128GCM_SHA256"], "no suite has the hash SHA384"),
    ],
)
def test_misuse_is_one_line(tmp_path: Path, arguments: list[str], word: str) -> None:
    files = {
        "laptop": psk_file(tmp_path, "laptop"),
        "office": psk_file(tmp_path, "office"),
        "nothing": tmp_path / "nothing",
    }
    (tmp_path / "others").mkdir()
    files["open"] = psk_file(tmp_path / "others", "laptop", mode=0o644)
    done = dial(1, "--anonymous", *[argument.format(**files) for argument in arguments])
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1
    assert word.lower() in done.stderr.lower()


def test_the_profile_of_a_listener_says_why_at_once(tmp_path: Path) -> None:
    arguments: list[Any] = ["listen", "0", "--anonymous", "--psk-file", str(psk_file(tmp_path, "laptop"))]
    done = subprocess.run([*NAUTILUS, *arguments], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode != 0
    assert "none of the pre-shared keys has 'laptop' as responder" in done.stderr
