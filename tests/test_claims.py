"""One command at a time writes into a Head folder; whoever comes second is told at once, and nothing is lost."""

import errno
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from headartist import HeadArtistError, cli, edit, generate, load_head
from headartist.config.presets import EMBEDDED
from headartist.config.text import to_json
from headartist.system import claim
from headartist.system.claim import LOCK, alone_in
from headartist.system.files import write_text
from headartist.training.folder import HeadFolder, claimed, open_folder
from headartist.viewer import page as viewer
from small_run import PROMPT, small_config
from toys import ToyPrior

CONFIG = replace(EMBEDDED, prompt="a clown")


@contextmanager
def held(path: Path) -> Iterator[subprocess.Popen]:
    """Another process that holds a folder until it is killed."""
    code = f"""
    import time
    from pathlib import Path
    from headartist.system.claim import alone_in
    with alone_in(Path({str(path)!r})):
        print(flush=True)
        time.sleep(60)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != LOCK}


def refusal(path: Path, process: subprocess.Popen) -> str:
    who = "" if os.name == "nt" else f" (process {process.pid})"
    return f"{path} is in use by another command{who}: wait until that has ended, or choose another folder."


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HeadFolder:
    """A Head folder, seen from the folder it is in."""
    monkeypatch.chdir(tmp_path)
    folder = HeadFolder(Path("head"))
    open_folder(folder, CONFIG)
    folder.write_provenance({"prompt": "a clown"})
    write_text(folder.glb, "a mesh")
    return folder


COMMANDS = [
    ["generate", "a clown", "--out", "head"],
    ["generate", "a king", "--out", "head", "--seed", "7"],
    ["generate", "a clown", "--out", "head", "--overwrite"],
    ["export", "head"],
    ["video", "head"],
]


def test_every_command_that_writes_is_refused_while_another_works_and_nothing_changes(head: HeadFolder, capsys):
    before = content(Path())
    with held(head.path) as process:
        for command in COMMANDS:
            assert cli.run(command) == 2
            assert capsys.readouterr().err == f"headartist: {refusal(head.path, process)}\n", command
    assert content(Path()) == before


def test_a_second_command_is_refused_before_anything_heavy_is_imported(head: HeadFolder):
    code = """
    import sys
    from headartist import cli
    assert cli.run(sys.argv[1:]) == 2
    print(*sorted({"torch", "warp", "numpy"} & set(sys.modules)))
    """
    with held(head.path):
        for command in (COMMANDS[2], COMMANDS[3]):
            line = [sys.executable, "-c", textwrap.dedent(code), *command]
            assert subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip() == ""


def test_seeds_are_refused_when_any_of_their_heads_is_in_use(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    busy = Path("heads/a-clown-2")
    with held(busy) as process:
        for more in ([], ["--overwrite"]):
            assert cli.run(["generate", "a clown", "--seeds", "3", *more]) == 2
            assert capsys.readouterr().err == f"headartist: {refusal(busy, process)}\n"
    assert list(Path("heads").iterdir()) == [busy]


def test_an_edit_is_refused_in_a_folder_in_use_and_reads_a_parent_that_is(
    tmp_path: Path, tiny_prior_folder: Callable[[str], Path]
):
    config = small_config(tiny_prior_folder("sd21"), steps=1)
    generate(PROMPT, config, out=tmp_path / "parent", progress=False)
    with held(tmp_path / "child") as process, pytest.raises(HeadArtistError) as caught:
        edit(tmp_path / "parent", "with a hat", out=tmp_path / "child", progress=False)
    assert str(caught.value) == refusal(tmp_path / "child", process)
    with held(tmp_path / "parent"):
        load_head(tmp_path / "parent")
        edit(tmp_path / "parent", "with a hat", out=tmp_path / "child", progress=False)
    assert HeadFolder(tmp_path / "child").weights.exists()


def test_a_page_is_not_written_into_a_folder_in_use_but_beside_it(head: HeadFolder, monkeypatch, capsys):
    monkeypatch.setattr(viewer, "read_head", lambda _: viewer.ViewedHead(b"", "head"))
    with held(head.path) as process:
        assert cli.run(["view", "head"]) == 2
        assert capsys.readouterr().err == f"headartist: {refusal(head.path, process)}\n"
        assert cli.run(["view", "head", "--out", "page.html"]) == 0
    assert cli.run(["view", "head"]) == 0
    assert "A page of headartist" in head.viewer.read_text(encoding="utf-8")


def test_death_frees_a_folder(tmp_path: Path):
    with held(tmp_path / "head"):
        pass
    with claimed(tmp_path / "head"):
        pass
    assert not (tmp_path / "head" / LOCK).exists()


def test_of_two_runs_that_start_together_one_makes_its_head_and_the_other_is_refused(
    tmp_path: Path, tiny_prior_folder: Callable[[str], Path]
):
    """In threads, which exclude each other like processes; the loser must not even read what is there."""
    config = small_config(tiny_prior_folder("sd21"), steps=2)
    ended: dict[int, object] = {}
    together = threading.Barrier(2)

    def run(seed: int) -> None:
        together.wait()
        try:
            ended[seed] = generate(PROMPT, replace(config, seed=seed), out=tmp_path / "head", progress=False)
        except HeadArtistError as error:
            ended[seed] = str(error)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [seed for seed, result in ended.items() if not isinstance(result, str)]
    assert len(winners) == 1
    assert HeadFolder(tmp_path / "head").read_config().seed == winners[0]
    assert load_head(tmp_path / "head").provenance["seed"] == winners[0]
    (told,) = (result for result in ended.values() if isinstance(result, str))
    assert told.startswith(f"{tmp_path / 'head'} is in use by another command")


def test_a_thread_may_hold_a_folder_twice_and_frees_it_once(tmp_path: Path):
    with alone_in(tmp_path):
        with alone_in(tmp_path / "."):
            pass
        assert (tmp_path / LOCK).exists()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_made_and_stayed_empty_goes_and_others_stay(tmp_path: Path):
    with alone_in(tmp_path / "new" / "head"):
        assert (tmp_path / "new" / "head").is_dir()
    assert list(tmp_path.iterdir()) == []
    with alone_in(tmp_path / "new" / "head"):
        (tmp_path / "new" / "mine").touch()
    assert list(tmp_path.rglob("*")) == [tmp_path / "new", tmp_path / "new" / "mine"]
    (tmp_path / "empty").mkdir()
    with alone_in(tmp_path / "empty"):
        pass
    assert (tmp_path / "empty").is_dir()


def test_a_folder_that_only_a_lock_is_in_may_become_a_head(tmp_path: Path):
    (tmp_path / LOCK).write_text("12")
    with claimed(tmp_path):
        pass
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(HeadArtistError, match="not empty and not a Head folder"), claimed(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_that_is_taken_away_meanwhile_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    acquire, tries = FileLock.acquire, []

    def late(lock: FileLock, *arguments: object, **rest: object) -> object:
        tries.append(lock)
        if len(tries) == 1:
            (tmp_path / "head").rmdir()
            raise FileNotFoundError(errno.ENOENT, "gone", lock.lock_file)
        return acquire(lock, *arguments, **rest)

    monkeypatch.setattr(FileLock, "acquire", late)
    with alone_in(tmp_path / "head"):
        assert (tmp_path / "head" / LOCK).exists()
    assert len(tries) == 2


@pytest.mark.parametrize(
    ("number", "told"), [(errno.EROFS, "cannot be written to"), (errno.ENOLCK, None), (errno.EOPNOTSUPP, None)]
)
def test_a_disk_that_cannot_be_written_to_is_told_and_one_without_locks_does(tmp_path: Path, monkeypatch, number, told):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(claim.FileLock, "acquire", refuse)
    if told is None:
        with alone_in(tmp_path):
            pass
    else:
        with pytest.raises(HeadArtistError, match=told), alone_in(tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_refused_for_its_settings_leaves_the_folder_free(head: HeadFolder):
    with pytest.raises(HeadArtistError, match="exists with other settings"):
        generate("a clown", replace(CONFIG, seed=9), out=head.path, prior=ToyPrior())
    with claimed(head.path):
        assert to_json(head.read_config()) == to_json(CONFIG)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("target", path)])
def test_what_is_no_lock_is_told_and_not_waited_for(tmp_path: Path, make: Callable[[Path], None]):
    make(tmp_path / LOCK)
    with pytest.raises(HeadArtistError, match="only regular files are replaced"), alone_in(tmp_path):
        pass
    assert not (tmp_path / "target").exists()
