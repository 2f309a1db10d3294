"""Where a passphrase comes from: a file, or a terminal; and what is said when it comes from nowhere."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from pathlib import Path

from .processes import NAUTILUS
from .test_cli import read_until, run


def test_an_encrypted_key_and_no_standard_input(tmp_path: Path) -> None:
    (tmp_path / "word").write_text("secret\n")
    key = str(tmp_path / "key.pem")
    assert run("keygen", key, "--passphrase-file", str(tmp_path / "word")).returncode == 0
    shown = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *NAUTILUS, "identity", "show", key],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert shown.returncode == 2
    assert shown.stderr.count("\n") == 1
    assert "a passphrase is needed: say --passphrase-file FILE" in shown.stderr


def test_a_passphrase_is_asked_for_at_a_terminal_alone(tmp_path: Path) -> None:
    made = subprocess.run(
        [*NAUTILUS, "keygen", str(tmp_path / "key.pem"), "--passphrase"],
        input="typed\ntyped\n",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        start_new_session=True,  # without a terminal of its own
    )
    assert made.returncode == 2
    assert made.stderr.count("\n") == 1
    assert "--passphrase-file" in made.stderr
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_at_the_prompt_makes_no_key(tmp_path: Path) -> None:
    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.executable, [*NAUTILUS, "keygen", str(tmp_path / "key.pem"), "--passphrase"])
    try:
        read_until(terminal, b"Passphrase: ")
        time.sleep(0.5)  # in the moment between the prompt and the reading Python would not hear it
        os.write(terminal, b"\x03")
        read_until(terminal, b"\r\nnautilus: interrupted; no key was made")
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 130
    finally:
        os.close(terminal)
    assert list(tmp_path.iterdir()) == []


def test_the_first_line_of_a_file_is_the_passphrase(tmp_path: Path) -> None:
    key = str(tmp_path / "key.pem")
    (tmp_path / "word").write_text("secret\n")
    (tmp_path / "words").write_bytes(b"secret\r\nand a remark\n")
    assert run("keygen", key, "--passphrase-file", str(tmp_path / "word")).returncode == 0
    assert run("identity", "show", key, "--passphrase-file", str(tmp_path / "words")).returncode == 0
