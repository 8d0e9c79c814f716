"""One command at a time writes into a folder: a lock that the system frees when its process ends, however it ends."""

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from headartist.system.errors import HeadArtistError
from headartist.system.files import check_regular

LOCK = ".headartist.lock"
_TRIES = 5  # whoever made a folder and leaves it empty takes it away again, perhaps just now
_UNKNOWN = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK}  # of file systems that have no locks
_mine = threading.local()


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a folder against every other process and thread until the context ends; a thread may do so again within.

    A missing folder is made, and one that was made and stayed empty is taken away again.

    Raises:
        HeadArtistError: another one holds it, or it cannot be written to.
    """
    held: set[tuple[int, Path]] = _mine.__dict__.setdefault("held", set())
    place = (os.getpid(), folder.resolve())
    if place in held:
        yield
        return
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    lock = None
    try:
        lock = _locked(folder)
        held.add(place)
        yield
    finally:
        held.discard(place)
        if lock is not None:
            with suppress(OSError):  # while it is held; Windows removes it on release
                (folder / LOCK).unlink()
            lock.release()
        with suppress(OSError):
            for parent in made:
                parent.rmdir()


def _locked(folder: Path) -> FileLock | None:
    """Take the lock of a folder; None where the file system has none to give."""
    path = folder / LOCK
    check_regular(path)  # reading a stranger's pipe would never end
    for tries_left in reversed(range(_TRIES)):
        holder = _holder(path)
        lock = FileLock(path, timeout=0)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            who = f" (process {holder})" if holder else ""
            raise HeadArtistError(
                f"{folder} is in use by another command{who}: wait until that has ended, or choose another folder."
            ) from None
        except FileNotFoundError:
            if not tries_left:
                raise
        except OSError as error:
            if error.errno in _UNKNOWN:
                return None
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            raise HeadArtistError(
                f"{folder} cannot be written to: choose another folder, or change its permissions."
            ) from None
        else:
            break
    with suppress(OSError):  # Windows lets nobody else read or write what is locked
        path.write_text(str(os.getpid()), encoding="ascii")
    return lock


def _holder(path: Path) -> str:
    """Read the number of the process that holds a lock; nothing where that is not written there."""
    try:
        word = path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
    return word if word.isdecimal() else ""
