"""Diversity: one prompt, several seeds, one sheet of all their heads."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from headartist.config.config import Config
from headartist.config.exports import Exports, mesh_stem
from headartist.config.limits import Need, require_memory
from headartist.config.presets import preset
from headartist.config.prompts import PromptWarning, check_prompt
from headartist.runs.generation import generate
from headartist.system.errors import HeadArtistError, shown
from headartist.system.files import check_regular
from headartist.system.loading import LOADING
from headartist.system.names import default_path, slug
from headartist.training.folder import HeadFolder, check_folder, check_length, claimed, open_folder
from headartist.training.interrupts import Begun, resumable

if TYPE_CHECKING:  # torch comes with these
    import headartist.priors.prior
    import headartist.training.progress

SHEET_VIEWS = 4
MOST_SEEDS = 1_000
SHEET_ROW = 9 * 3 * SHEET_VIEWS * 256 * 2 * 256  # bytes: of the sheet as numbers, twice, and as a picture


def generate_seeds(
    prompt: str,
    config: Config | str = "embedded",
    count: int = 4,
    *,
    out: Path | str = "heads",
    prior: "headartist.priors.prior.ScorePrior | None" = None,
    overwrite: bool = False,
    progress: "bool | Callable[[headartist.training.progress.Progress], object]" = True,
) -> Path:
    """Make `count` heads from one sentence, of the config's seed and the next ones, and a sheet of them all.

    Heads that are done are left as they are, so the same call goes on where it was stopped.

    Args:
        prompt: whose head.
        config: a preset's name or a config; its own prompt is replaced.
        count: how many heads.
        out: the folder of the Head folders and of the sheet.
        prior: a judge to use instead of the config's.
        overwrite: start again, in place of whatever heads are there.
        progress: whether to show bars on the terminal; or a callable, as in `generate`, for one head after another.

    Returns:
        The path of the sheet: a row of colours over a row of normals for each seed.

    Raises:
        HeadArtistError: for everything that the user can mend.
        KeyboardInterrupt: when stopped, after saving.
    """
    if not 1 <= count <= MOST_SEEDS:
        raise HeadArtistError(f"The number of seeds must lie within 1 and {MOST_SEEDS:,} (got {shown(count)}).")
    require_memory([Need("seeds", count, 1, lambda heads: SHEET_ROW * heads)])
    config = replace(preset(config) if isinstance(config, str) else config, prompt=check_prompt(prompt))
    runs = [replace(config, seed=config.seed + k) for k in range(count)]
    sheet = Path(out) / f"{slug(config.prompt)}-seeds.png"
    check_length(sheet)
    check_regular(sheet)
    paths = [Path(out) / default_path(run.prompt, run.seed).name for run in runs]
    with ExitStack() as claims:
        folders = [claims.enter_context(claimed(path)) for path in paths]
        for path, run in zip(paths, runs, strict=True):
            check_folder(path, run, overwrite=overwrite)
        left = [overwrite or not _is_complete(folder, run.exports) for run, folder in zip(runs, folders, strict=True)]
        for done, (run, folder) in enumerate(zip(runs, folders, strict=True)):
            if left[done]:
                try:
                    with _silent_prompt(any(left[:done])):
                        generate(prompt, run, out=folder.path, prior=prior, overwrite=overwrite, progress=progress)
                except KeyboardInterrupt as stop:
                    begun = done + isinstance(stop, Begun)
                    if not overwrite or not begun:
                        raise
                    _clear(folders[begun:], runs[begun:])
                    raise Begun(*stop.args) from None
        with resumable(), LOADING.working():
            _draw_sheet(folders, sheet)
    return sheet


@contextmanager
def _silent_prompt(told: bool) -> Iterator[None]:
    """Say nothing of a prompt of which all has been said before."""
    with warnings.catch_warnings():
        if told:
            warnings.simplefilter("ignore", PromptWarning)
        yield


def _is_complete(folder: HeadFolder, exports: Exports) -> bool:
    """Whether the head is finished and every file that is asked for is there."""
    meshes = [folder.path / f"{mesh_stem(exports.variant)}.{wanted}" for wanted in exports.formats]
    films = [folder.video] if exports.video_views else []
    return all(path.exists() for path in (folder.weights, folder.contact_sheet, *meshes, *films))


def _clear(folders: list[HeadFolder], runs: list[Config]) -> None:
    """Begin heads that were still to be overwritten, so that the call without `overwrite` goes on with them."""
    for folder, run in zip(folders, runs, strict=True):
        open_folder(folder, run, overwrite=True)


def _draw_sheet(folders: list[HeadFolder], path: Path) -> None:
    import torch

    from headartist.export import contact_sheet, save_png
    from headartist.runs.head import load_head

    rows = [contact_sheet(load_head(folder.path).avatar, views=SHEET_VIEWS) for folder in folders]
    save_png(path, torch.cat(rows, dim=1))
