"""Files are written whole, only where a file belongs, and never through a name that somebody else has chosen."""

import errno
import os
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from headartist.system.errors import HeadArtistError
from headartist.system.files import ABANDONED_S, replacing, sweep, write_text

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@posix
@pytest.mark.parametrize(
    ("kind", "make"),
    [
        ("a symbolic link", lambda path: path.symlink_to(path.with_name("target"))),
        ("a pipe", os.mkfifo),
        ("a folder", Path.mkdir),
        ("a device", lambda path: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))),
    ],
)
def test_only_a_regular_file_is_replaced_and_a_link_is_not_followed(tmp_path: Path, kind: str, make):
    path = tmp_path / "head.glb"
    (tmp_path / "target").write_text("mine")
    try:
        make(path)
    except PermissionError:
        pytest.skip("only root may make a device")
    before = path.lstat()
    with pytest.raises(HeadArtistError) as caught:
        write_text(path, "ours")
    assert str(caught.value) == (
        f"{path} is {kind}, and only regular files are replaced: name another, or move it away."
    )
    assert path.lstat().st_ino == before.st_ino
    assert (tmp_path / "target").read_text() == "mine"
    assert {child.name for child in tmp_path.iterdir()} == {"head.glb", "target"}


@posix
def test_a_new_file_has_the_permissions_of_any_new_file_and_an_old_one_keeps_its_own(tmp_path: Path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "new", "")
        (tmp_path / "old").touch(0o604)
        (tmp_path / "old").chmod(0o604)
        write_text(tmp_path / "old", "")
    finally:
        os.umask(before)
    assert (mode(tmp_path / "new"), mode(tmp_path / "old")) == (0o640, 0o604)


def test_a_drafts_name_cannot_be_foreseen_and_keeps_the_suffix(tmp_path: Path):
    names = []
    for _ in range(3):
        with replacing(tmp_path / "turntable.mp4") as draft:
            names.append(draft.name)
            assert draft.parent == tmp_path
            assert draft.suffix == ".mp4"
    assert len(set(names)) == 3


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_an_error_of_writing_names_the_file_and_not_its_draft(tmp_path: Path, monkeypatch, number: int):
    def refuse(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match=r"head\.png") as caught:
        write_text(tmp_path / "head.png", "")
    assert caught.value.filename == str(tmp_path / "head.png")
    assert list(tmp_path.iterdir()) == []

    def moved(_draft: Path, _path: Path) -> None:
        raise OSError(number, os.strerror(number), str(_draft), None, str(_path))

    monkeypatch.undo()
    monkeypatch.setattr(os, "replace", moved)
    with pytest.raises(OSError, match=r"head\.png") as caught:
        write_text(tmp_path / "head.png", "")
    assert (caught.value.filename, caught.value.filename2) == (str(tmp_path / "head.png"), None)


@posix
def test_a_disk_that_fills_up_while_a_file_is_written_is_told_with_the_files_name(tmp_path: Path):
    code = """
    import resource, signal, sys
    from pathlib import Path
    from headartist.system.files import write_text
    from headartist.training.folder import HeadFolder
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for write in (
        lambda: write_text(Path("head.obj"), "x" * 9000),
        lambda: HeadFolder(Path()).append_metrics({"words": "x" * 9000}),
    ):
        try:
            write()
        except OSError as error:
            print(error.filename)
    """
    told = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert told.stdout.split() == ["head.obj", "metrics.jsonl"]
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.jsonl"}


def test_old_drafts_are_swept_by_the_next_writer_and_fresh_ones_are_not(tmp_path: Path):
    old, fresh = (tmp_path / f".headartist-{digit * 16}.part.html" for digit in "ab")
    mine = tmp_path / ".headartist.part.html"
    for path in (old, fresh, mine):
        path.write_text("half")
    long_ago = time.time() - ABANDONED_S - 1
    for path in (old, mine):
        os.utime(path, (long_ago, long_ago))
    write_text(tmp_path / "page.html", "")
    assert set(tmp_path.iterdir()) == {fresh, mine, tmp_path / "page.html"}
    sweep(tmp_path)
    assert set(tmp_path.iterdir()) == {mine, tmp_path / "page.html"}
    sweep(tmp_path / "nowhere")
