"""The process that speaks with the hub: asked one thing at a time, watched, and ended where nothing comes any more."""

import json
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Literal, cast

from tqdm import tqdm

from headartist.priors.files import hub_client

Fault = Literal["forbidden", "gated", "token", "missing", "disk", "unreachable", "silent"]
_ANSWER_SECONDS = 8.0  # the library's own limit does not hold for the search of the host's address
_START_SECONDS = 60.0


class HubError(Exception):
    """What kept something from being fetched: one word to choose the advice by, and the words it came with."""

    def __init__(self, fault: Fault, reason: str) -> None:
        super().__init__(reason)
        self.fault: Fault = fault


class HubProcess:
    """Lists and downloads repositories; a context, at whose end nothing runs on.

    Args:
        progress: whether a download shows a bar, where it writes to a terminal.
    """

    def __init__(self, *, progress: bool) -> None:
        self._progress = progress
        self._replies: SimpleQueue[str] = SimpleQueue()

    def __enter__(self) -> "HubProcess":
        """Start the process.

        Raises:
            HubError: it does not start.
        """
        paths = os.pathsep.join(path for path in sys.path if path)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", hub_client.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **hub_client.settings(), "PYTHONPATH": paths},
                encoding="utf-8",
            )
        except OSError as error:
            raise HubError("unreachable", f"no process can be started: {error}") from error
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            self._wait(_START_SECONDS, lambda: 0)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        """End the process, which first takes away its half-written files."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(3)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def sizes(self, repository: str) -> dict[str, int]:
        """List a repository's files and their sizes in bytes.

        Raises:
            HubError: it cannot be listed.
        """
        self._ask({"repository": repository})
        sizes: dict[str, int] = self._wait(_ANSWER_SECONDS, lambda: 0)["sizes"]
        return sizes

    def download(self, repository: str, files: Sequence[Sequence[str]], size: int) -> Path:
        """Fetch files that are not cached yet; returns the folder of them all.

        Args:
            repository: of which.
            files: their names, in groups that are fetched one after the other.
            size: bytes that are to come, for the bar.

        Raises:
            HubError: refused, broken off, or nothing came for some seconds.
        """
        folder = hub_client.repository_folder(repository)
        begin = _bytes_in(folder)
        with tqdm(
            total=size,
            desc=f"fetching {repository}",
            unit="B",
            unit_scale=True,
            disable=None if self._progress else True,
        ) as bar:

            def grown() -> int:
                here = _bytes_in(folder) - begin
                bar.update(max(here, 0) - bar.n)
                return here

            self._ask({"repository": repository, "files": files})
            reply = self._wait(hub_client.still_seconds(), grown)
            grown()
        return Path(reply["folder"])

    def _ask(self, request: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise HubError("unreachable", f"the process that fetches has ended: {error}") from error

    def _wait(self, patience: float, progress: Callable[[], int]) -> dict[str, Any]:
        """The reply, as long as it comes within `patience` seconds of the last change of `progress`."""
        seen, since = progress(), time.monotonic()
        while True:
            try:
                line = self._replies.get(timeout=0.2)
            except Empty:
                now = progress()
                if now != seen:
                    seen, since = now, time.monotonic()
                elif time.monotonic() - since > patience:
                    raise HubError("silent", f"nothing came for {patience:.0f} seconds") from None
                continue
            if not line:
                raise HubError("unreachable", "the process that fetches has ended")
            reply = json.loads(line)
            if "fault" in reply:
                raise HubError(cast("Fault", reply["fault"]), reply["reason"])
            told: dict[str, Any] = reply
            return told

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._replies.put(line)
        self._replies.put("")


def _bytes_in(folder: Path) -> int:
    """How much lies in a folder, finished or not, links left out."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                found = os.lstat(os.path.join(place, name))
            except OSError:  # renamed meanwhile
                continue
            total += found.st_size if stat.S_ISREG(found.st_mode) else 0
    return total
