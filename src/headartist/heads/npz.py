"""Arrays out of a user's .npz, or one clear sentence."""

import math
import zipfile
from collections.abc import Collection
from pathlib import Path

import numpy as np

from headartist.system.errors import HeadArtistError

LARGEST = 1 << 28  # bytes of all that is read from a file; FLAME has 50 to 100 MB
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_npz(path: Path, keys: Collection[str]) -> dict[str, np.ndarray]:
    """Read named arrays of an .npz file.

    Those that it holds; no more is unpacked than an array's header and size agree on.

    Raises:
        HeadArtistError: when it is no such file, is damaged, or holds something else under one of the names.
    """
    key, arrays = "", {}
    try:
        with zipfile.ZipFile(path) as archive:
            # Small archives may hold gigabytes of zeros, also under other names.
            size = sum(member.file_size for member in archive.infolist())
            if size > LARGEST:
                raise ValueError(f"it holds {size:,} bytes, more than any head model")
            for key in (key for key in keys if f"{key}.npy" in archive.namelist()):
                arrays[key] = _array(archive, archive.getinfo(f"{key}.npy"))
    except Exception as error:  # the readers of archives and of their members raise whatever they meet
        where, reason = f" at {key}" if key else "", str(error).partition("\n")[0] or type(error).__name__
        raise HeadArtistError(
            f"{path} cannot be read{where} ({reason}): save its plain arrays again with numpy.savez."
        ) from None
    return arrays


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """Read one member's array.

    What it says of its shape must be what it has, before room is made for it.
    """
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ValueError("it is of an unknown version")
        shape, fortran, kind = _HEADERS[version](file)
        if kind.kind not in "biuf":
            raise ValueError("it holds other things than numbers")
        size = math.prod(shape) * kind.itemsize
        if size != member.file_size - file.tell():
            raise ValueError(f"it claims {size:,} bytes, but {member.file_size:,} are there")
        content = file.read(size)
    return np.frombuffer(content, kind).reshape(shape, order="F" if fortran else "C")
