"""From a prompt to a Head folder: the door's checks, the stages, the files.

Everything a user can get wrong without torch is found before torch is imported, in a fraction of a second.
"""

import logging
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from headartist.config.config import Config
from headartist.config.limits import avatar_needs, export_needs, require_memory, training_needs
from headartist.config.objectives import Refine
from headartist.config.presets import preset
from headartist.config.prompts import PromptWarning, check_prompt
from headartist.config.template import OPEN, check_template
from headartist.config.words.rewording import read
from headartist.runs.exporting import write_files
from headartist.system.errors import HeadArtistError, did_you_mean
from headartist.system.loading import LOADING
from headartist.system.names import default_path
from headartist.training.folder import HeadFolder, check_folder, claimed, open_folder
from headartist.training.interrupts import resumable

if TYPE_CHECKING:  # torch comes with these
    import torch

    import headartist.objectives.objective
    import headartist.priors.prior
    import headartist.runs.head
    import headartist.training.problem
    import headartist.training.progress

_LOG = logging.getLogger("headartist")


def generate(
    prompt: str,
    config: Config | str = "embedded",
    *,
    out: Path | str | None = None,
    prior: "headartist.priors.prior.ScorePrior | None" = None,
    objectives: "Mapping[str, headartist.objectives.objective.Objective] | None" = None,
    overwrite: bool = False,
    progress: "bool | Callable[[headartist.training.progress.Progress], object]" = True,
) -> "headartist.runs.head.Head":
    """Make a head from a sentence; where the folder holds an unfinished one with the same settings, go on with it.

    Args:
        prompt: whose head.
        config: a preset's name or a config; its own prompt is replaced.
        out: the Head folder; `heads/<prompt>-<seed>` by default.
        prior: a judge to use instead of the config's.
        objectives: what stages minimize instead of their config's loss, by the stage's name.
        overwrite: start again, in place of whatever head is in the folder.
        progress: whether to show bars on the terminal; or a callable, which is told of every step instead. What it
            raises stops the run after saving, and is raised again: the same call goes on.

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
        return carry_out(folder, config, prior, objectives, overwrite=overwrite, progress=progress)


def carry_out(
    folder: HeadFolder,
    config: Config,
    prior: "headartist.priors.prior.ScorePrior | None" = None,
    objectives: "Mapping[str, headartist.objectives.objective.Objective] | None" = None,
    *,
    parent: HeadFolder | None = None,
    overwrite: bool = False,
    progress: "bool | Callable[[headartist.training.progress.Progress], object]" = True,
) -> "headartist.runs.head.Head":
    """Make the head of a config, or what is left to make of it, in a folder that is claimed and checked.

    Args:
        folder: the Head folder.
        config: what is asked, with its prompt.
        prior: a judge to use instead of the config's.
        objectives: what stages minimize instead of their config's loss, by the stage's name.
        parent: the head to begin with; the template where there is none.
        overwrite: start again.
        progress: see `generate`.

    Raises:
        HeadArtistError: for everything that the user can mend.
    """
    objectives = objectives or {}
    check_objectives(config, objectives)
    keeper = parent or (None if overwrite else folder)
    if keeper is None or not keeper.template.exists():
        check_template(config.template)
    check_memory(config)
    if prior is None:
        check_prior(config)
    if _knows_few_words(config, prior) and (told := read(config.prompt).warning):
        warnings.warn(PromptWarning(told), stacklevel=2)
    with LOADING:
        if config.exports.video_views:
            from headartist.export.video import find_ffmpeg

            find_ffmpeg()  # now rather than after the training
        if "usd" in config.exports.formats:
            from headartist.export.usd import find_usd

            find_usd()
    _optimize(folder, config, prior, parent, objectives, overwrite=overwrite, progress=progress)

    from headartist.runs.head import load_head
    from headartist.runs.watch import on_terminal

    with resumable(), LOADING.working():
        head = load_head(folder.path)
        _LOG.info("writing the files of %s", folder.path)
        write_files(head, config.exports, progress=progress is True and on_terminal())
    return replace(head, provenance=folder.read_provenance())


def _knows_few_words(config: Config, prior: "headartist.priors.prior.ScorePrior | None") -> bool:
    """Tell whether the judge is the embedded prior, by the config or as an object."""
    if prior is not None:
        return getattr(prior, "name", "") == "embedded"
    return all(asked.model == "embedded" for asked in config.priors)


def check_objectives(config: Config, objectives: "Mapping[str, headartist.objectives.objective.Objective]") -> None:
    """Find out early that an objective is of a stage that is not there.

    Raises:
        HeadArtistError: in that case.
    """
    stages = [stage.name for stage in config.stages]
    for name in objectives:
        if name not in stages:
            raise HeadArtistError(f"There is no stage {name!r} to give an objective to: {did_you_mean(name, stages)}")


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


def _optimize(
    folder: HeadFolder,
    config: Config,
    prior: "headartist.priors.prior.ScorePrior | None",
    parent: HeadFolder | None,
    objectives: "Mapping[str, headartist.objectives.objective.Objective]",
    *,
    overwrite: bool,
    progress: "bool | Callable[[headartist.training.progress.Progress], object]",
) -> None:
    """Do everything between the checks and the files; nothing is written before all has been loaded."""
    with LOADING:
        import torch
        import torch._dynamo  # which the first optimizer would import, in whatever thread

        from headartist.avatars.build import begin_avatar
        from headartist.heads.kept_template import keep_template
        from headartist.runs.head import load_head
        from headartist.runs.provenance import begun, continued, template_at_rest
        from headartist.runs.watch import first_shape, reporting, watch
        from headartist.training.checkpoint import is_finished
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
        reworded = replace(config, prompt=read(config.prompt).text) if _knows_few_words(config, prior) else config
        jury = _jury(reworded, prior, device, objectives, progress=progress is True)
    generator = torch.Generator().manual_seed(config.seed)
    record = begun(config, reworded, begun_with, device, prior, origin, objectives)
    with reporting(progress) as tell:
        if origin is None:
            told = first_shape(tell, len(config.stages), template)
            with LOADING.working():
                avatar = begin_avatar(config.avatar, template, generator=generator, device=device, tell=told)
        else:
            avatar = origin.avatar.to(device)
        if not overwrite:
            record = continued(record, folder.read_provenance(), folder.path)
        open_folder(folder, config, overwrite=overwrite)
        with resumable():
            folder.write_provenance(record)
            if config.template != OPEN and not folder.template.exists():
                with folder.owning([folder.template.name]) as written:
                    keep_template(folder.template, rest)
                    written.append(folder.template)
            problem = Problem(reworded, avatar, template, jury, device, objectives)
            seconds = watch(train(problem, folder, generator), tell)
            folder.write_provenance(record | {"seconds": round(seconds, 1)})


def _jury(
    config: Config,
    given: "headartist.priors.prior.ScorePrior | None",
    device: "torch.device",
    objectives: Collection[str],
    *,
    progress: bool,
) -> "tuple[tuple[headartist.training.problem.Judge, ...], ...]":
    """Find who judges each term, its texts read; what they cannot do is found out now rather than stages later."""
    from headartist.objectives.refine import lpips_network, perceptive
    from headartist.priors.build import build_prior
    from headartist.training.problem import judges

    own = [stage for stage in config.stages if stage.name not in objectives and stage.steps]
    refining = [term.objective for stage in own for term in stage.terms if isinstance(term.objective, Refine)]
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
    """Choose where to work: where a given prior lives, else where the user says or a GPU is."""
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
