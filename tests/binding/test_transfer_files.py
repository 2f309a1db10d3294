"""The files of a transfer: names that a peer may say, parts that are locked and whole, and what is never overwritten."""

from __future__ import annotations

import errno
import os
from contextlib import closing
from pathlib import Path

import pytest

from nautilus_anyio.cli.transfer.files import Destination, PartFile, Source, check_name
from nautilus_anyio.cli.transfer.messages import Reason, TransferFailed

EVIL = [
    "", ".", "..", "../up", "a/b", "/etc/passwd", "..\\up", "C:\\x", ".bashrc", ".x.part", "-rf", "a\0b", "a\nb", "\x1b[2J",
    "invoice\u202efdp.exe", "\ud800", "x" * 241, "\u00e9" * 121, "a\u2028b", "\x85",
]  # fmt: skip


@pytest.mark.parametrize("name", EVIL, ids=ascii)
def test_a_name_that_could_do_harm_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(TransferFailed) as caught:
        Destination(tmp_path).target(name, 1)
    assert caught.value.reason is Reason.NAME
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["a", "a.tar.gz", "Müller 2024 (1).pdf", "日本語", "a..b", "x" * 240, "~", "$HOME"])
def test_a_common_name_is_taken(name: str, tmp_path: Path) -> None:
    check_name(name)
    assert Destination(tmp_path).target(name, 1) == tmp_path / name


def test_our_own_name_and_our_own_limit(tmp_path: Path) -> None:
    destination = Destination(Path(), tmp_path / "mine", max_size=10)
    assert destination.target("../theirs", 10) == tmp_path / "mine"
    with pytest.raises(TransferFailed, match="over --max-size 10"):
        destination.target("x", 11)


def test_a_part_becomes_the_file_only_when_published(tmp_path: Path) -> None:
    target = tmp_path / "file"
    with closing(PartFile(target)) as part:
        part.append(b"hello, ")
    assert not target.exists()
    with closing(PartFile(target)) as part:
        assert part.size == 7
        part.append(b"world")
        part.publish(force=False)
    assert target.read_bytes() == b"hello, world"
    assert list(tmp_path.iterdir()) == [target]


def test_a_part_has_the_permissions_of_a_new_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with closing(PartFile(tmp_path / "file")) as part:
            assert part.path.stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)


def test_an_empty_part_is_not_kept(tmp_path: Path) -> None:
    PartFile(tmp_path / "file").close()
    assert list(tmp_path.iterdir()) == []


def test_two_transfers_do_not_mix(tmp_path: Path) -> None:
    with closing(PartFile(tmp_path / "file")), pytest.raises(TransferFailed) as caught:
        PartFile(tmp_path / "file")
    assert caught.value.reason is Reason.BUSY
    PartFile(tmp_path / "file").close()


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"precious")
    (tmp_path / ".file.part").symlink_to(elsewhere)
    with pytest.raises(TransferFailed, match="symbolic link; remove it"):
        PartFile(tmp_path / "file")
    assert elsewhere.read_bytes() == b"precious"


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".pipe.part")
    (tmp_path / ".folder.part").mkdir()
    with pytest.raises(TransferFailed, match="no file of ours"):
        PartFile(tmp_path / "pipe")
    with pytest.raises(TransferFailed, match="Is a directory"):
        PartFile(tmp_path / "folder")


def test_a_part_with_a_second_name_is_made_anew(tmp_path: Path) -> None:
    """As after a crash between the two halves of publishing: the file must not be written to under its final name."""
    target = tmp_path / "file"
    target.write_bytes(b"whole")
    os.link(target, tmp_path / ".file.part")
    with closing(PartFile(target)) as part:
        assert part.size == 0
        part.append(b"other")
    assert target.read_bytes() == b"whole"


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "file"
    with closing(PartFile(target)) as part:
        part.append(b"new")
        target.write_bytes(b"precious")
        with pytest.raises(TransferFailed) as caught:
            part.publish(force=False)
        assert caught.value.reason is Reason.EXISTS
        assert target.read_bytes() == b"precious"
        part.publish(force=True)
    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("appears", [False, True])
def test_on_a_file_system_without_links_nothing_is_overwritten_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, appears: bool
) -> None:
    target = tmp_path / "file"

    def no_links(*_: object, **__: object) -> None:
        if appears:
            target.write_bytes(b"precious")
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", no_links)
    with closing(PartFile(target)) as part:
        part.append(b"new")
        if appears:
            with pytest.raises(TransferFailed) as caught:
                part.publish(force=False)
            assert caught.value.reason is Reason.EXISTS
        else:
            part.publish(force=False)
    assert target.read_bytes() == (b"precious" if appears else b"new")
    assert (tmp_path / ".file.part").exists() == appears


def test_what_stands_there_is_compared_or_refused(tmp_path: Path) -> None:
    target, link, folder = tmp_path / "file", tmp_path / "link", tmp_path / "folder"
    target.write_bytes(b"12345")
    link.symlink_to(target)
    folder.mkdir()
    careful, bold = Destination(tmp_path), Destination(tmp_path, force=True)
    assert careful.existing(tmp_path / "nothing", 5) is None
    descriptor = careful.existing(target, 5)
    assert descriptor is not None
    os.close(descriptor)
    with pytest.raises(TransferFailed, match="is there already"):
        careful.existing(target, 4)
    assert bold.existing(target, 4) is None
    os.mkfifo(tmp_path / "pipe")
    for destination in (careful, bold):
        for taken in (link, folder, tmp_path / "pipe", Path("/dev/null")):
            with pytest.raises(TransferFailed, match="is no regular file: it is not replaced"):
                destination.existing(taken, 5)


def test_only_regular_files_with_a_name_that_can_travel_are_sent(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, complaint in ((tmp_path, "no regular file"), (tmp_path / "pipe", "no regular file")):
        with pytest.raises(ValueError, match=complaint):
            Source(path)
    with pytest.raises(FileNotFoundError):
        Source(tmp_path / "nothing")
    for name, complaint in ((b"\xff", "no UTF-8"), (b"x" * 241, "over 240 bytes")):
        path = tmp_path / os.fsdecode(name)
        path.write_bytes(b"")
        with pytest.raises(ValueError, match=complaint):
            Source(path)
