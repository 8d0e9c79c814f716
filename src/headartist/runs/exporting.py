"""Write a finished head's files into its folder. Nothing here needs torch until it is called."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from headartist.config.exports import Exports
from headartist.config.limits import avatar_needs, export_needs, require_memory
from headartist.system.loading import LOADING
from headartist.training.belongings import mesh_names
from headartist.training.folder import HeadFolder, claimed

if TYPE_CHECKING:  # torch comes with these
    import headartist.heads
    import headartist.runs.head


def write_files(head: "headartist.runs.head.Head", exports: Exports, *, progress: bool = True) -> list[Path]:
    """Write all that `exports` asks for, and a contact sheet.

    Args:
        head: whose folder the files go to.
        exports: which files.
        progress: whether to show a bar on the terminal.

    Returns:
        The paths.
    """
    from headartist.export import contact_sheet, save_png

    with claimed(head.folder) as folder:
        save_png(folder.contact_sheet, contact_sheet(head.avatar))
        written = [folder.contact_sheet, *write_meshes(head, exports)]
        if exports.video_views:
            written.append(write_video(head, exports, progress=progress))
    return written


def write_meshes(head: "headartist.runs.head.Head", exports: Exports) -> Sequence[Path]:
    """Write the head's meshes in the formats of `exports`; return the paths."""
    from headartist.export import export_head

    require_memory([*avatar_needs(head.config.avatar), *export_needs(replace(exports, video_views=0))])
    origin = {name: head.provenance.get(name) for name in ("prompt", "seed", "headartist")}
    with LOADING.working(), claimed(head.folder) as folder, folder.owning(mesh_names(exports.variant)) as written:
        written += export_head(
            head.avatar,
            head.folder,
            formats=exports.formats,
            texture_size=exports.texture_size,
            metadata=origin,
            rig=_rig_template(head) if exports.rig else None,
            eyes=exports.eyes,
            iris=exports.iris,
            variant=exports.variant,
            delight=exports.delight,
        )
    return written


def write_video(head: "headartist.runs.head.Head", exports: Exports, *, progress: bool = True) -> Path:
    """Film the head on a turntable; return the path."""
    from headartist.export import turntable_video

    require_memory([*avatar_needs(head.config.avatar), *export_needs(exports)])
    settings = {"views": exports.video_views, "size": exports.video_size, "fps": exports.video_fps}
    with LOADING.working(), claimed(head.folder) as folder:
        turntable_video(head.avatar, folder.video, **settings, progress=progress)
    return folder.video


def _rig_template(head: "headartist.runs.head.Head") -> "headartist.heads.HeadTemplate":
    """Lay the template's shapes out as the head began; where it is a user's, the open head's onto it."""
    from headartist.heads.landmark_transfer import open_head_on
    from headartist.runs.provenance import template_at_rest

    template, _ = template_at_rest(head.config.template, HeadFolder(head.folder))
    return open_head_on(template.as_asked(head.config.identity, head.config.expression))
