"""Limits: the memory that a config needs against what this machine has, before slow work begins. No torch here.

What a setting costs was measured on the CPU, as the growth of a process's peak between two sizes; it is right within a
third or so, which tells a head that fits from one that never will.
"""

import ctypes
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from headartist.config.avatars import AvatarConfig, FieldConfig
from headartist.config.config import Config
from headartist.config.exports import Exports
from headartist.config.stage import Stage
from headartist.system.errors import HeadArtistError

SAFE = 0.75  # of the memory is what a smaller value is looked for in: others use it too
PROCESS = 1 << 30  # libraries, template and the embedded prior
GRID_VERTEX = 70  # of the tetrahedral grid: place, distances, marks
LOADED_ENTRY = 24  # of a hash table: two features, in the file, as read, and in the avatar
LEARNING_ENTRY = 64  # two features, their gradients and moments, and the copies while a checkpoint is written
FILE_COPIES = 4  # of an avatar in a checkpoint: itself, two moments, and room for names
PIXEL = 200  # drawn with gradient
COVERED = 1 / 3  # of a picture's pixels show the head
VIEW = 40_000_000  # judged by the embedded prior
TEXEL = 130  # of a texture, with its fill
FRAME_PIXEL = 100  # of a video, drawn without gradient
_HEADER = 1 << 20  # names and shapes within a weights file
_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Need:
    """What one setting costs.

    Attributes:
        setting: its path.
        value: what it is.
        least: the smallest value that is allowed.
        cost: bytes for a value.
    """

    setting: str
    value: int
    least: int
    cost: Callable[[int], float]

    @property
    def bytes(self) -> int:
        """What the value costs."""
        return round(self.cost(self.value))

    def largest(self, room: int) -> int:
        """Return the largest value up to this one whose cost fits into so many bytes; 0 where none does."""
        low, high = self.least - 1, self.value
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.cost(middle) <= room else (low, middle - 1)
        return low if low >= self.least else 0


def require_memory(needs: Iterable[Need], memory: int | None = None) -> None:
    """Refuse settings that need more memory than there is.

    Args:
        needs: of all settings that take much at once.
        memory: bytes there are; of this machine by default.

    Raises:
        HeadArtistError: which names the costliest setting and the largest value that fits.
    """
    needs, there = list(needs), machine_memory() if memory is None else memory
    total = PROCESS + sum(need.bytes for need in needs)
    if not there or total <= there:
        return
    worst = max(needs, key=lambda need: need.bytes)
    fits = worst.largest(round(SAFE * there) - (total - worst.bytes))
    way = f"use {fits:,} or less" if fits else "use a smaller one, and less of the others"
    raise HeadArtistError(
        f"{worst.setting}={worst.value} needs about {size_words(total)} of memory and this machine has "
        f"{size_words(there)}: {way}."
    )


def training_needs(config: Config) -> list[Need]:
    """Return what a run takes on the CPU: the avatar, and the costliest of its stages."""
    stages = [
        [*avatar_needs(avatar, LEARNING_ENTRY), *_stage_needs(stage, avatar.color)]
        for stage, avatar in ((stage, config.avatar_at(index)) for index, stage in enumerate(config.stages))
        if stage.steps
    ]
    return max(stages, key=lambda needs: sum(n.bytes for n in needs), default=avatar_needs(config.avatar))


def avatar_needs(avatar: AvatarConfig, entry: int = LOADED_ENTRY) -> list[Need]:
    """Return what the avatar takes by itself, with so many bytes for an entry of its hash tables."""
    return [
        Need("avatar.resolution", avatar.resolution, 2, lambda cells: GRID_VERTEX * (cells + 1) ** 3),
        _table_need("avatar.shape", avatar.shape, 2 * entry),
        _table_need("avatar.color", avatar.color, entry),
    ]


def export_needs(exports: Exports) -> list[Need]:
    """Return what writing the meshes takes, or filming the head, whichever is more."""
    texture = Need("exports.texture_size", exports.texture_size, 16, lambda size: TEXEL * size**2)
    frames = Need("exports.video_size", exports.video_size, 16, lambda size: FRAME_PIXEL * size**2)
    return [max((texture, frames) if exports.video_views else (texture,), key=lambda need: need.bytes)]


def require_size(path: Path, *avatars: AvatarConfig) -> None:
    """Refuse a file of weights, or a checkpoint, that none of these avatars can have written.

    Raises:
        HeadArtistError: when it is no regular file, or too large.
    """
    if not path.is_file():
        raise HeadArtistError(f"{path} is no regular file: bring the old one back, or use --overwrite to start again.")
    size, most = path.stat().st_size, max(map(most_file_bytes, avatars))
    if size > most:
        raise HeadArtistError(
            f"{path} has {size_words(size)}, but a head of its config.json has at most {size_words(most)}: bring the "
            "old file back, or use --overwrite to start again."
        )


def most_file_bytes(avatar: AvatarConfig) -> int:
    """Tell how large a file of this avatar's weights, or a checkpoint of it, can be."""
    fields = ((avatar.shape, 1), (avatar.shape, 3), (avatar.color, 3))
    numbers = sum(2 * field.entries + field.weights(outputs) for field, outputs in fields)
    return FILE_COPIES * 4 * (numbers + 3 * (avatar.resolution + 1) ** 3) + _HEADER


def _table_need(path: str, field: FieldConfig, entry: int) -> Need:
    def cost(log2_table: int) -> int:
        return entry * field.entries_of(log2_table)

    return Need(f"{path}.log2_table", field.log2_table, 4, cost)


def _stage_needs(stage: Stage, color: FieldConfig) -> list[Need]:
    """Pixels and views of a stage; whichever of size and views stands out more is named for the pixels."""
    colored = any(term.draws == "color" for term in stage.terms)
    shade = 8 * (2 * color.levels + color.width * color.depth) * COVERED if colored else 0
    size, views = stage.render_size, stage.views
    drawn, judged = (PIXEL + shade) * len(stage.terms), VIEW * len(stage.terms)
    if views > size / 16:
        return [Need(f"{stage.name}.views", views, 1, lambda count: (drawn * size**2 + judged) * count)]
    return [Need(f"{stage.name}.render_size", size, 8, lambda side: (drawn * side**2 + judged) * views)]


def size_words(size: int) -> str:
    """Bytes as people say them: "24 GB", "1.2 TB"."""
    for unit, factor in (("TB", 1 << 40), ("GB", 1 << 30)):
        if size >= factor:
            return f"{size / factor:.2g} {unit}" if size < 100 * factor else f"{size / factor:,.0f} {unit}"
    return f"{size / (1 << 20):.0f} MB"


def machine_memory() -> int:
    """Bytes of memory that this process may use; 0 where the system does not tell."""
    limits = [_read_limit(path) for path in _cgroup_files()]
    return min((size for size in (_physical_memory(), *limits) if size), default=0)


def _cgroup_files() -> Iterator[Path]:
    """Tell where Linux keeps this process's limits: of its groups, and of a container's whole (versions 2 and 1)."""
    yield from (_CGROUPS / "memory.max", _CGROUPS / "memory" / "memory.limit_in_bytes")
    with suppress(OSError, ValueError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, kinds, group = line.split(":", 2)
            if not kinds:
                yield _CGROUPS / group.lstrip("/") / "memory.max"
            elif "memory" in kinds.split(","):
                yield _CGROUPS / "memory" / group.lstrip("/") / "memory.limit_in_bytes"


def _read_limit(path: Path) -> int:
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return 0
    return int(text) if text.isdigit() else 0  # "max" is no limit


def _physical_memory() -> int:
    if sys.platform == "win32":
        return _windows_memory()
    try:
        return max(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), 0)
    except (ValueError, OSError):
        return 0


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of the Windows API."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        *((name, ctypes.c_uint64) for name in ("total", "free", "pages", "free_pages", "virtual", "free_virtual", "_")),
    )


def _windows_memory() -> int:
    status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
    return status.total if ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)) else 0  # type: ignore[attr-defined]
