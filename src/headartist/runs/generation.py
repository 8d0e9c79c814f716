"""From a prompt to a Head folder: the door's checks, the stages, the files.

Everything a user can get wrong without torch is found before torch is imported, in a fraction of a second.
"""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from headartist.config.config import Config
from headartist.config.exports import Exports
from headartist.config.limits import avatar_needs, export_needs, require_memory, training_needs
from headartist.config.objectives import Refine
from headartist.config.presets import preset
from headartist.config.prompts import PromptWarning, check_prompt
from headartist.config.template import OPEN, check_template
from headartist.config.words.rewording import read
from headartist.system.errors import HeadArtistError
from headartist.system.names import default_path
from headartist.training.belongings import mesh_names
from headartist.training.folder import HeadFolder, check_folder, claimed, open_folder
from headartist.training.interrupts import resumable

if TYPE_CHECKING:  # torch comes with these
    import torch

    import headartist.heads
    import headartist.priors.prior
    import headartist.training.checkpoint
    import headartist.training.problem


def generate(
    prompt: str,
    config: Config | str = "embedded",
    *,
    out: Path | str | None = None,
    prior: "headartist.priors.prior.ScorePrior | None" = None,
    overwrite: bool = False,
    progress: bool = True,
) -> "headartist.training.checkpoint.Head":
    """Make a head from a sentence; where the folder holds an unfinished one with the same settings, go on with it.

    Args:
        prompt: whose head.
        config: a preset's name or a config; its own prompt is replaced.
        out: the Head folder; `heads/<prompt>-<seed>` by default.
        prior: a judge to use instead of the config's.
        overwrite: start again, in place of whatever head is in the folder.
        progress: whether to show bars on the terminal.

    Raises:
        HeadArtistError: for everything that the user can mend.
        KeyboardInterrupt: when stopped, after saving; the same call goes on.
    """
    config = replace(preset(config) if isinstance(config, str) else config, prompt=check_prompt(prompt))
    if config.parent:
        raise HeadArtistError(
            "These settings belong to an edit, which begins with another head: use `headartist edit`."
        )
    with claimed(Path(out) if out is not None else default_path(config.prompt, config.seed)) as folder:
        check_folder(folder.path, config, overwrite=overwrite)
        return carry_out(folder, config, prior, overwrite=overwrite, progress=progress)


def carry_out(
    folder: HeadFolder,
    config: Config,
    prior: "headartist.priors.prior.ScorePrior | None" = None,
    *,
    parent: HeadFolder | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> "headartist.training.checkpoint.Head":
    """Make the head of a config, or what is left to make of it, in a folder that is claimed and checked.

    Args:
        folder: the Head folder.
        config: what is asked, with its prompt.
        prior: a judge to use instead of the config's.
        parent: the head to begin with; the template where there is none.
        overwrite: start again.
        progress: whether to show bars on the terminal.

    Raises:
        HeadArtistError: for everything that the user can mend.
    """
    keeper = parent or (None if overwrite else folder)
    if keeper is None or not keeper.template.exists():
        check_template(config.template)
    check_memory(config)
    if prior is None:
        check_prior(config)
    if _listens_to_few_words(config, prior) and (told := read(config.prompt).warning):
        warnings.warn(PromptWarning(told), stacklevel=2)
    if config.exports.video_views:
        from headartist.export.video import find_ffmpeg

        find_ffmpeg()  # now rather than after the training
    if "usd" in config.exports.formats:
        from headartist.export.usd import find_usd

        find_usd()

    _optimise(folder, config, prior, parent, overwrite=overwrite, progress=progress)

    from headartist.training.checkpoint import load_head

    with resumable():
        head = load_head(folder.path)
        write_files(head, config.exports, progress=progress)
    return replace(head, provenance=folder.read_provenance())


def _listens_to_few_words(config: Config, prior: "headartist.priors.prior.ScorePrior | None") -> bool:
    """Whether the judge is the embedded prior, by the config or as an object."""
    if prior is not None:
        return getattr(prior, "name", "") == "embedded"
    return all(asked.model == "embedded" for asked in config.priors)


def check_memory(config: Config) -> None:
    """Find out early that a run would need more memory than there is; a GPU's own is not looked at.

    Raises:
        HeadArtistError: in that case.
    """
    require_memory([*avatar_needs(config.avatar_at(len(config.stages))), *export_needs(config.exports)])
    try:
        require_memory(training_needs(config))
    except HeadArtistError:
        if config.run.device == "auto":
            import torch

            if torch.cuda.is_available():
                return
        if not config.run.device.startswith("cuda"):
            raise


def check_prior(config: Config) -> None:
    """Find out early that the shipped prior is asked for and has not been shipped.

    Raises:
        HeadArtistError: in that case.
    """
    embedded = Path(__file__).parents[1] / "priors" / "embedded"
    if any(prior.model == "embedded" for prior in config.priors) and not (embedded / "unet" / "config.json").is_file():
        raise HeadArtistError(
            "The embedded prior's weights are not in this installation: install a release of headartist, or use "
            "--prior sd21, --prior sd15 or --prior DIR."
        )


def write_files(head: "headartist.training.checkpoint.Head", exports: Exports, *, progress: bool = True) -> list[Path]:
    """Write everything that `exports` asks for, and a contact sheet, into the Head folder; returns the paths."""
    from headartist.export import contact_sheet, save_png

    with claimed(head.folder) as folder:
        save_png(folder.contact_sheet, contact_sheet(head.avatar))
        written = [folder.contact_sheet, *write_meshes(head, exports)]
        if exports.video_views:
            written.append(write_video(head, exports, progress=progress))
    return written


def write_meshes(head: "headartist.training.checkpoint.Head", exports: Exports) -> Sequence[Path]:
    """Write the head's meshes in the formats of `exports`; returns the paths."""
    from headartist.export import export_head

    require_memory([*avatar_needs(head.avatar.config), *export_needs(replace(exports, video_views=0))])
    origin = {name: head.provenance.get(name) for name in ("prompt", "seed", "headartist")}
    with claimed(head.folder) as folder, folder.owning(mesh_names(exports.variant)) as written:
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


def _rig_template(head: "headartist.training.checkpoint.Head") -> "headartist.heads.HeadTemplate":
    """The template as the head began, or where that is a user's, the open head laid onto it: it has shapes to carry."""
    from headartist.heads.landmark_transfer import open_head_on
    from headartist.runs.provenance import template_at_rest

    template, _ = template_at_rest(head.config.template, HeadFolder(head.folder))
    return open_head_on(template.as_asked(head.config.identity, head.config.expression))


def write_video(head: "headartist.training.checkpoint.Head", exports: Exports, *, progress: bool = True) -> Path:
    """Film the head on a turntable; returns the path."""
    from headartist.export import turntable_video

    require_memory([*avatar_needs(head.avatar.config), *export_needs(exports)])
    settings = {"views": exports.video_views, "size": exports.video_size, "fps": exports.video_fps}
    with claimed(head.folder) as folder:
        turntable_video(head.avatar, folder.video, **settings, progress=progress)
    return folder.video


def _optimise(
    folder: HeadFolder,
    config: Config,
    prior: "headartist.priors.prior.ScorePrior | None",
    parent: HeadFolder | None,
    *,
    overwrite: bool,
    progress: bool,
) -> None:
    """Everything between the checks and the files; nothing is written before all has been loaded."""
    import torch

    from headartist.avatars.build import begin_avatar
    from headartist.heads.kept_template import keep_template
    from headartist.runs.provenance import continued, provenance, template_at_rest, template_record
    from headartist.runs.watch import watch
    from headartist.training.checkpoint import is_finished, load_head
    from headartist.training.loop import train
    from headartist.training.problem import Problem

    if not overwrite and is_finished(folder, config):
        return
    if config.run.threads:
        torch.set_num_threads(config.run.threads)
    device = _device(config.run.device, prior)
    rest, begun_with = template_at_rest(config.template, parent or (None if overwrite else folder))
    template = rest.as_asked(config.identity, config.expression)
    origin = None if parent is None else load_head(parent.path)
    heard = replace(config, prompt=read(config.prompt).text) if _listens_to_few_words(config, prior) else config
    jury = _jury(heard, prior, device, progress=progress)
    generator = torch.Generator().manual_seed(config.seed)
    # An edit has its parent's template; else the file that is named must still be the one that the head began with.
    own = begun_with if parent is not None else template_record(config.template, gone=begun_with)
    record = provenance(config, own, device, prior) | ({} if heard == config else {"heard": heard.prompt})
    if origin is None:
        avatar = begin_avatar(config.avatar, template, generator=generator, device=device)
    else:
        avatar = origin.avatar.to(device)
        record["parent"] = {"folder": origin.folder.name, "sha256": config.parent, "prompt": origin.config.prompt}
    if not overwrite:
        record = continued(record, folder.read_provenance(), folder.path)
    open_folder(folder, config, overwrite=overwrite)
    with resumable():
        folder.write_provenance(record)
        if config.template != OPEN and not folder.template.exists():
            with folder.owning([folder.template.name]) as written:
                keep_template(folder.template, rest)
                written.append(folder.template)
        steps = train(Problem(heard, avatar, template, jury, device), folder, generator)
        seconds = watch(steps, progress=progress)
        folder.write_provenance(record | {"seconds": round(seconds, 1)})


def _jury(
    config: Config, given: "headartist.priors.prior.ScorePrior | None", device: "torch.device", *, progress: bool
) -> "tuple[tuple[headartist.training.problem.Judge, ...], ...]":
    """Who judges each term, with its texts read; what they cannot do is found out now rather than stages later."""
    from headartist.objectives.refine import lpips_network, perceptive
    from headartist.priors.build import build_prior
    from headartist.training.problem import judges

    asked = [term.objective for stage in config.stages if stage.steps for term in stage.terms]
    refining = [objective for objective in asked if isinstance(objective, Refine)]
    compared = {loss.features for loss in refining if loss.perceptual}
    if "lpips" in compared:
        lpips_network(device)
    if given is not None:
        if "prior" in compared:
            perceptive(given)
        return judges(config, lambda _: given)
    priors = {asked: build_prior(asked, device, progress=progress) for asked in config.priors}
    jury = judges(config, priors.__getitem__)
    for prior in priors.values():
        prior.free_text_encoder()
    return jury


def _device(name: str, prior: "headartist.priors.prior.ScorePrior | None") -> "torch.device":
    """Where to work: where a given prior lives, else where the user says or a GPU is."""
    import torch

    if prior is not None:
        home = prior.alpha_bar.device
        wanted = home if name == "auto" else torch.device(name)
        if wanted.type != home.type or wanted.index not in (None, home.index):
            raise HeadArtistError(f"The prior lives on {home}, not on {name}: load it there, or use run.device=auto.")
        return home
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise HeadArtistError(
            f"Device {name} is not there (CUDA devices found: {torch.cuda.device_count()}): use --device cpu."
        )
    return device
