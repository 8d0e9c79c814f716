"""Arrays out of a user's .npz, or one clear sentence."""

import zlib
from collections.abc import Collection
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from headartist.errors import HeadArtistError


def read_npz(path: Path, keys: Collection[str]) -> dict[str, np.ndarray]:
    """Those of the named arrays that the file holds.

    Raises:
        HeadArtistError: when it is no such file, is damaged, or holds something else under one of the names.
    """
    key, arrays = "", {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            for key in (key for key in keys if key in archive.files):
                arrays[key] = archive[key]
                if not isinstance(arrays[key], np.ndarray) or arrays[key].dtype.kind not in "biuf":
                    raise ValueError("it holds other things than numbers")
    # A damaged archive shows itself in all of these ways, a renamed .npy by having no archive's methods.
    except (OSError, ValueError, TypeError, EOFError, MemoryError, AttributeError, BadZipFile, zlib.error) as error:
        where, reason = f" at {key}" if key else "", str(error).partition("\n")[0]
        raise HeadArtistError(
            f"{path} cannot be read{where} ({reason}): save its plain arrays again with numpy.savez."
        ) from None
    return arrays
