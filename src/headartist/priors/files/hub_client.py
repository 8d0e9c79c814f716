"""The hub's client library in one place: where its cache lies, and, run as a process, what lists and downloads.

In a process of its own the library can be silenced, watched and ended, none of which it offers in ours: it tries again
for minutes where nothing comes. The process reads requests and writes replies, one line of JSON each (`hub_process.py`
has the other end). It is run as a file, so it imports nothing of this package and needs no torch.
"""

import json
import logging
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

_ANSWER_SECONDS = 5.0
_DRAFT = re.compile(r"\.[0-9a-f]{8}\.incomplete")  # of one process alone; older versions resume theirs, named otherwise


def cache_folder() -> Path:
    """Tell where the library keeps what it downloads."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def repository_folder(repository: str) -> Path:
    """Tell where the library keeps one repository."""
    return cache_folder() / f"models--{repository.replace('/', '--')}"


def snapshot(repository: str) -> Path | None:
    """Find the files of a repository that are cached, all or some; the network is not asked."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:  # No file is asked for: of those that are, the library would want every one.
        return Path(snapshot_download(repository, local_files_only=True, allow_patterns=[], cache_dir=cache_folder()))
    except LocalEntryNotFoundError:
        return None


def still_seconds() -> float:
    """Say for how long nothing may come of a download; users of slow networks set HF_HUB_DOWNLOAD_TIMEOUT."""
    from huggingface_hub import constants

    return float(constants.HF_HUB_DOWNLOAD_TIMEOUT)


def settings() -> dict[str, str]:
    """Tell a process as environment variables what this one holds of the library, and what the process is for."""
    from huggingface_hub import constants

    return {
        "HF_ENDPOINT": constants.ENDPOINT,
        "HF_HUB_CACHE": str(constants.HF_HUB_CACHE),
        "HF_HUB_OFFLINE": str(int(constants.HF_HUB_OFFLINE)),
        "HF_HUB_DOWNLOAD_TIMEOUT": str(constants.HF_HUB_DOWNLOAD_TIMEOUT),
        # Over plain HTTP a stall is seen within seconds; the other way of transfer keeps its retries to itself.
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }


def _serve() -> None:
    """Answer requests until there are no more, or until the process that asks is gone; leave no half a file behind."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    drafts: set[str] = set()

    def note_draft(event: str, details: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(details[0], str) and _DRAFT.search(details[0]):
            drafts.add(details[0])

    sys.addaudithook(note_draft)
    replies, sys.stdout = sys.stdout, sys.stderr

    def reply(answer: dict[str, Any]) -> None:
        replies.write(json.dumps(answer) + "\n")
        replies.flush()

    _silence()
    reply({})
    for line in sys.stdin:
        threading.Thread(target=_carry_out, args=(json.loads(line), reply), daemon=True).start()
    for draft in drafts:
        Path(draft).unlink(missing_ok=True)
    os._exit(0)


def _silence() -> None:
    """Keep the library quiet, and have it write what it has more often than every 10 MB, so that it can be watched."""
    from huggingface_hub import constants

    logging.disable()
    warnings.simplefilter("ignore")
    constants.DOWNLOAD_CHUNK_SIZE = 1 << 16


def _carry_out(request: dict[str, Any], reply: Callable[[dict[str, Any]], None]) -> None:
    try:
        reply(_download(**request) if "files" in request else _list(**request))
    except BaseException as error:
        reply(_fault(error))


def _list(repository: str) -> dict[str, Any]:
    from huggingface_hub import HfApi

    siblings = HfApi().model_info(repository, timeout=_ANSWER_SECONDS, files_metadata=True).siblings or ()
    return {"sizes": {sibling.rfilename: sibling.size or 0 for sibling in siblings}}


def _download(repository: str, files: list[list[str]]) -> dict[str, Any]:
    from huggingface_hub import snapshot_download

    return {"folder": [snapshot_download(repository, allow_patterns=group) for group in files][-1]}


def _fault(error: BaseException) -> dict[str, str]:
    """Name what went wrong in one word, whichever of its network libraries says it, and give its first line."""
    from huggingface_hub import get_token
    from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled

    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None and cause not in causes:
        causes.append(cause)
    answers = (getattr(cause, "response", None) for cause in causes)
    status = next((answer.status_code for answer in answers if answer is not None), 0)
    if any(isinstance(cause, OfflineModeIsEnabled) for cause in causes):
        fault = "forbidden"
    elif any(isinstance(cause, GatedRepoError) for cause in causes):
        fault = "gated"
    elif status in (401, 403) and get_token():
        fault = "token"
    elif status in (401, 404):
        fault = "missing"
    elif isinstance(error, OSError) and error.errno is not None and error.filename is not None:
        fault = "disk"
    else:
        fault = "unreachable"
    return {"fault": fault, "reason": (str(error).strip() or type(error).__name__).splitlines()[0]}


if __name__ == "__main__":
    _serve()
