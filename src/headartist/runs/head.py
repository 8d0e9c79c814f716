"""Head: a Head folder opened, and what people do with it."""

import base64
import html
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

from headartist.avatars.build import empty_avatar
from headartist.avatars.tet import TetAvatar
from headartist.config.config import Config
from headartist.config.exports import Exports, Format, Iris, Variant
from headartist.config.limits import avatar_needs, require_memory
from headartist.export.pictures import contact_sheet, png_bytes
from headartist.runs.exporting import write_meshes, write_video
from headartist.system.errors import HeadArtistError
from headartist.training.checkpoint import load_checkpoint
from headartist.training.folder import HeadFolder
from headartist.viewer.page import view

_NOTEBOOK_SIZE = 128  # pixels of a view


class MeshSettings(TypedDict, total=False):
    """Name the settings of `Exports` that meshes have."""

    formats: tuple[Format, ...]
    texture_size: int
    rig: bool
    eyes: bool
    iris: Iris
    variant: Variant
    delight: bool


@dataclass(frozen=True)
class Head:
    """A Head folder opened: the avatar, what was asked and where it comes from.

    Attributes:
        folder: the Head folder, which exports, videos and pages are written to.
        config: what was asked.
        provenance: where it comes from: versions, prompt, seed, prior, time.
        avatar: the head itself, on the CPU.
    """

    folder: Path
    config: Config
    provenance: Mapping[str, Any]
    avatar: TetAvatar

    def export(self, **settings: Unpack[MeshSettings]) -> list[Path]:
        """Write the meshes again, the head's own export settings replaced by those given.

        Returns:
            The paths.

        Raises:
            HeadArtistError: a setting has no such value, or the head no surface.
        """
        return list(write_meshes(self, replace(self.config.exports, **settings)))

    def video(self, *, views: int = 120, size: int = 512, fps: int = 30, progress: bool = True) -> Path:
        """Film the head on a turntable.

        Args:
            views: frames of one turn, at least 1.
            size: height in pixels, even.
            fps: frames a second.
            progress: whether to show a bar on the terminal.

        Returns:
            The path of the MP4.

        Raises:
            HeadArtistError: a setting has no such value, or ffmpeg is missing.
        """
        return write_video(self, Exports(video_views=views, video_size=size, video_fps=fps), progress=progress)

    def view(self, *, out: Path | str | None = None, show: bool = True) -> Path:
        """Write a page that shows the head, and open it in the browser.

        Args:
            out: the HTML file; `viewer.html` in the Head folder by default.
            show: whether to open it.

        Returns:
            The path of the page.

        Raises:
            HeadArtistError: the folder holds no `head.glb` yet.
        """
        return view([self.folder], out=out, show=show)

    def _repr_html_(self) -> str:
        """Show a notebook the head from all sides, without any network."""
        picture = base64.b64encode(png_bytes(contact_sheet(self.avatar, size=_NOTEBOOK_SIZE))).decode("ascii")
        prompt = html.escape(self.config.prompt)
        return (
            f'<figure><img src="data:image/png;base64,{picture}" alt="{prompt}">'
            f"<figcaption>{prompt} (seed {self.config.seed})</figcaption></figure>"
        )


def load_head(path: Path | str) -> Head:
    """Open a Head folder; an unfinished head is as its last checkpoint left it.

    Raises:
        HeadArtistError: when the path is not a Head folder, holds no weights yet or others than its config wants, or
            is damaged.
    """
    folder = HeadFolder(Path(path))
    config = folder.read_config()
    checkpoint = load_checkpoint(folder, config)
    if checkpoint is None:
        raise HeadArtistError(f"{path} holds no head yet: run `headartist generate` with its settings first.")
    asked = config.avatar_at(checkpoint.position.stage)
    require_memory(avatar_needs(asked))
    avatar = empty_avatar(asked)
    checkpoint.restore_avatar(avatar)
    return Head(folder.path, config, folder.read_provenance(), avatar)
