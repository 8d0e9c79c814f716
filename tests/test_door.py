"""How a command ends, in processes of its own: signals from the first moment on, streams that are closed or unread."""

import os
import random
import shlex
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from headartist import door
from headartist.config.presets import PRESETS

pytestmark = pytest.mark.skipif(os.name == "nt", reason="asks a shell, and sends signals")
# A line tells that Python has come to the entry point: before that no program can say what a signal does.
COMMAND = "import os; from headartist.door import main; os.write(2, b'up\\n'); main()"
LINE = ["generate", "an old man", "--preset", "smoke", "--out", "my head", "--quiet"]


def started(*arguments: str, **settings: object) -> subprocess.Popen:
    """A command that has come to its entry point."""
    process = subprocess.Popen([sys.executable, "-c", COMMAND, *arguments], stderr=subprocess.PIPE, **settings)
    assert process.stderr is not None
    assert process.stderr.readline() == b"up\n"
    return process


def shell(line: str, place: Path) -> subprocess.CompletedProcess:
    """What becomes of a line of the shell in which H is the command."""
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(COMMAND.replace('os.write', '0 and os.write'))}"
    script = f'H() {{ {command} "$@"; }}\n{line}\n'
    return subprocess.run(["sh", "-c", script], cwd=place, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("number", door.REQUESTS, ids=lambda number: number.name)
def test_a_stop_while_things_are_imported_is_told_in_a_line_and_leaves_nothing(tmp_path: Path, number: int):
    draw = random.Random(number)
    for _ in range(2):
        process = started(*LINE, "--overwrite", cwd=tmp_path)
        time.sleep(draw.uniform(0.05, 1.5))
        process.send_signal(number)
        told = process.communicate()[1].decode()
        assert process.returncode == 128 + number, told
        again = ["headartist", *LINE, "--overwrite"]
        if (tmp_path / "my head").exists():  # it had begun
            again.remove("--overwrite")
        assert told == f"headartist: interrupted\nresume: {shlex.join(again)}\n"


def test_a_second_ctrl_c_ends_at_once_and_in_silence(tmp_path: Path):
    process = started(*LINE, cwd=tmp_path)
    time.sleep(0.1)
    for _ in range(30):
        process.send_signal(signal.SIGINT)
        time.sleep(0.002)
    told = process.communicate(timeout=20)[1].decode()
    assert process.returncode in (-signal.SIGINT, 128 + signal.SIGINT)
    assert "Traceback" not in told
    assert "KeyboardInterrupt" not in told


def test_a_signal_that_is_ignored_stays_so(tmp_path: Path):
    """As under `nohup`."""
    process = started(*LINE, cwd=tmp_path, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    time.sleep(0.2)
    process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert process.poll() is None
    process.terminate()
    process.communicate()
    assert process.returncode == 128 + signal.SIGTERM


def test_a_stop_that_python_dropped_or_made_another_error_of_stops_all_the_same(tmp_path: Path):
    code = """
    import sys, time, signal
    from headartist import cli
    from headartist import door

    class Dropped:
        def __del__(self):
            signal.raise_signal(signal.SIGTERM)

    def dropped(_):
        made = Dropped()
        del made
        time.sleep(10)

    def changed(_):
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt as stop:
            raise ImportError("initialization failed") from stop

    cli.run = {"dropped": dropped, "changed": changed}[sys.argv.pop()]
    door.main()
    """
    for what in ("dropped", "changed"):
        line = [sys.executable, "-c", textwrap.dedent(code), "presets", what]
        ended = subprocess.run(line, capture_output=True, text=True, check=False)
        assert (ended.returncode, ended.stderr) == (128 + signal.SIGTERM, "headartist: interrupted\n")


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&-", "<&- >&- 2>&-"])
def test_a_closed_stream_keeps_no_work_from_being_done(tmp_path: Path, closed: str):
    ended = shell(f"H presets paper > paper.json {closed}; echo $?", tmp_path)
    assert ended.stdout == "0\n"
    ended = shell(f"H presets qick {closed}; echo $?", tmp_path)
    assert ended.stdout == "2\n"
    assert ended.stderr.count("\n") == (0 if "2>" in closed else 1)
    assert (tmp_path / "paper.json").read_text().startswith("{") or ">&-" in closed
    assert {path.name for path in tmp_path.iterdir()} == {"paper.json"}


def test_a_closed_descriptor_is_never_a_files(tmp_path: Path):
    code = """
    import os
    from headartist.system.streams import mend_streams
    mend_streams()
    with open("head.png", "wb") as file:
        os.write(1, b"words")
        os.write(2, b"words")
        print("words", flush=True)
    """
    line = f"{shlex.quote(sys.executable)} -c {shlex.quote(textwrap.dedent(code))} >&- 2>&- <&-"
    assert subprocess.run(["sh", "-c", line], cwd=tmp_path, check=False).returncode == 0
    assert (tmp_path / "head.png").read_bytes() == b""


@pytest.mark.parametrize("words", ["presets", "presets paper", "--help", "generate --help"])
def test_a_reader_that_has_gone_is_no_fault(tmp_path: Path, words: str):
    ended = shell(f"(H {words}; echo $? > status) | true; cat status", tmp_path)
    assert (ended.stdout, ended.stderr) == ("0\n", "")


def test_errors_that_nobody_reads_change_nothing(tmp_path: Path):
    ended = shell("(H presets qick 2>&1 >/dev/null; echo $? > status) | true; cat status", tmp_path)
    assert (ended.stdout, ended.stderr) == ("2\n", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_output_that_finds_no_room_is_told(tmp_path: Path):
    for words in ("presets", "presets paper"):
        ended = shell(f"H {words} > /dev/full; echo $?", tmp_path)
        assert (ended.stdout, ended.stderr) == ("2\n", "headartist: <stdout>: No space left on device\n")


def test_letters_that_a_terminal_lacks_are_escaped(tmp_path: Path):
    code = """
    from pathlib import Path
    from headartist import cli
    from headartist import door
    cli.run = lambda _: print(Path("köpfe")) or 0
    door.main()
    """
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    line = [sys.executable, "-c", textwrap.dedent(code)]
    ended = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "k\\xf6pfe\n", "")


def test_the_module_is_the_command_and_openmp_sleeps_when_idle(tmp_path: Path):
    code = """
    import os, runpy, sys
    sys.argv[1:] = ["presets"]
    try:
        runpy.run_module("headartist", run_name="__main__")
    finally:
        print(os.environ["OMP_WAIT_POLICY"])
    """
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    told = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=environment, capture_output=True, text=True, check=True
    )
    assert [line.split()[0] for line in told.stdout.splitlines()] == [*PRESETS, "PASSIVE"]
