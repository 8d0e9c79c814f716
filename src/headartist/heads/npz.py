"""Arrays out of a user's .npz, or one clear sentence."""

from collections.abc import Collection
from pathlib import Path

import numpy as np

from headartist.errors import HeadArtistError

LARGEST = 1 << 30  # bytes of all that is read from a file; FLAME has 50 to 100 MB


def read_npz(path: Path, keys: Collection[str]) -> dict[str, np.ndarray]:
    """Those of the named arrays that the file holds.

    Raises:
        HeadArtistError: when it is no such file, is damaged, or holds something else under one of the names.
    """
    key, arrays = "", {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            # Small archives may hold gigabytes of zeros.
            size = sum(member.file_size for member in archive.zip.infolist())
            if size > LARGEST:
                raise ValueError(f"it holds {size:,} bytes, more than any head model")
            for key in (key for key in keys if key in archive.files):
                arrays[key] = archive[key]
                if not isinstance(arrays[key], np.ndarray) or arrays[key].dtype.kind not in "biuf":
                    raise ValueError("it holds other things than numbers")
    except Exception as error:  # the readers of archives and of their members raise whatever they meet
        where, reason = f" at {key}" if key else "", str(error).partition("\n")[0] or type(error).__name__
        raise HeadArtistError(
            f"{path} cannot be read{where} ({reason}): save its plain arrays again with numpy.savez."
        ) from None
    return arrays
