"""Editing (paper 4.3): the signed distance stays, vertices move and then colours, towards a new text.

An edit begins with a finished head and makes a new Head folder, which names its parent and is resumed, exported and
edited again like any other.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from headartist.config.config import Config
from headartist.config.limits import require_size
from headartist.config.objectives import Refine
from headartist.config.presets import preset
from headartist.config.prompts import check_prompt, edited_prompt
from headartist.config.schedules import Constant
from headartist.config.stage import Regularizers, Stage
from headartist.config.template import split_template
from headartist.runs.generation import carry_out
from headartist.system.errors import HeadArtistError
from headartist.system.files import content_hash
from headartist.system.loading import LOADING
from headartist.system.names import MARK, mark, shortened, slug
from headartist.training.folder import HeadFolder, check_folder, claimed
from headartist.training.interrupts import resumable

if TYPE_CHECKING:  # torch comes with these
    import headartist.objectives.objective
    import headartist.priors.prior
    import headartist.runs.head
    import headartist.training.progress

PREFIX = "edit_"
LONGEST_NAME = 180  # bytes of a folder's name, which leave room for what users append


def edit(
    head: Path | str,
    what: str | Config,
    *,
    out: Path | str | None = None,
    prior: "headartist.priors.prior.ScorePrior | None" = None,
    objectives: "Mapping[str, headartist.objectives.objective.Objective] | None" = None,
    overwrite: bool = False,
    progress: "bool | Callable[[headartist.training.progress.Progress], object]" = True,
) -> "headartist.runs.head.Head":
    """Edit a finished head; where the folder holds an unfinished edit with the same settings, go on with it.

    How much of the parent is left is in the new head's `provenance["edit_fidelity"]`.

    Args:
        head: the parent's Head folder, which stays as it is.
        what: the instruction, as in "with a beard", or a config from `edit_config` for other settings.
        out: the new Head folder; beside the parent, named by both, by default.
        prior: a judge to use instead of the config's.
        objectives: what stages minimize instead of their config's loss, by the stage's name: `edit_texture`.
        overwrite: start again, in place of whatever head is in the new folder.
        progress: whether to show bars on the terminal; or a callable, as in `generate`.

    Raises:
        HeadArtistError: for everything that the user can mend.
        KeyboardInterrupt: when stopped, after saving; the same call goes on.
    """
    parent = HeadFolder(Path(head))
    config = edit_config(parent.path, what) if isinstance(what, str) else what
    origin = _origin(parent)
    if config.avatars != (origin.avatar_at(len(origin.stages)),):
        raise HeadArtistError(f"An edit of {parent.path} keeps its representation: leave out what sets avatar.")
    if config.template != origin.template:
        _require_same_template(parent, config.template)
    if config.parent != content_hash(parent.weights):
        raise HeadArtistError(f"These settings are not for an edit of {parent.path} as it is now: make them again.")
    path = Path(out) if out is not None else default_path(parent.path, config)
    if path.resolve() == parent.path.resolve():
        raise HeadArtistError(f"{path} is the head to be edited, which must stay as it is: choose another --out.")
    with claimed(path) as folder:
        check_folder(path, config, overwrite=overwrite)
        made = carry_out(folder, config, prior, objectives, parent=parent, overwrite=overwrite, progress=progress)
        with resumable(), LOADING.working():
            return _compared(parent, folder, made)


def edit_config(
    head: Path | str,
    instruction: str,
    *,
    base: Config | str | None = None,
    geometry_steps: int | None = None,
    texture_steps: int | None = None,
    keep_geometry: bool = False,
    keep_texture: bool = False,
    reshape: bool = False,
    expression: str | None = None,
) -> Config:
    """Make the config of an edit: the parent's head, the new text, and the stages that carry it out.

    Args:
        head: the parent's Head folder.
        instruction: appended to the parent's prompt, or in its place (see `prompts.edited_prompt`).
        base: a preset's name or a config that says by which stages and which prior; the parent's own by default.
        geometry_steps: steps of moving vertices.
        texture_steps: steps of colouring.
        keep_geometry: leave the shape as it is.
        keep_texture: leave the colours as they are.
        reshape: let the signed distance learn too, which the paper does not: hats and hair may then grow farther than
            `avatar.offset_cells`, and less of the head is sure to stay.
        expression: of the template, as in "jawOpen=0.6,mouthSmileLeft=0.5": the landmarks that the prior is shown
            follow it; "" is none, and None the parent's own.

    Raises:
        HeadArtistError: a parent that is missing, unfinished or without colour, no instruction, or nothing to change.
    """
    parent = HeadFolder(Path(head))
    origin = _origin(parent)
    chosen = preset(base) if isinstance(base, str) else base or origin
    parts = ("sdf", "offset") if reshape else ("offset",)
    shaping = () if keep_geometry else (_shaping(chosen, parts, geometry_steps),)
    stages = (*shaping, *(() if keep_texture else _coloring(chosen, texture_steps)))
    if not any(stage.steps for stage in stages):
        raise HeadArtistError(f"Nothing of {parent.path} would change: let the edit move its geometry or its texture.")
    return replace(
        chosen,
        prompt=check_prompt(edited_prompt(origin.prompt, check_prompt(instruction))),
        stages=stages,
        template=origin.template,
        identity=origin.identity,
        expression=origin.expression if expression is None else expression,
        avatar=origin.avatar_at(len(origin.stages)),
        parent=content_hash(parent.weights),
    )


def default_path(parent: Path, config: Config) -> Path:
    """Beside the parent, by its name and what is new in the text: `heads/a-clown-0-with-a-beard-0`.

    After many edits the beginning of the parent's name stands for it, with a mark of the whole of it: a file system
    allows 255 bytes.
    """
    if parent.name in ("", ".."):  # "." and ".." are no names to go on from
        parent = parent.resolve()
    told = config.prompt.removeprefix(HeadFolder(parent).read_config().prompt)
    new = f"-{slug(told)}-{config.seed}"
    room = LONGEST_NAME - len(new.encode())
    name = parent.name
    if len(name.encode()) > room:
        name = f"{shortened(name, room, room - MARK - 1)}-{mark(name)}"
    return parent.parent / (name + new)


def _origin(parent: HeadFolder) -> Config:
    """Read the config of a head that can be edited."""
    origin = parent.read_config()
    if not parent.weights.is_file():
        raise HeadArtistError(
            f"{parent.path} is not finished: run the command that began it again, and edit the head when it is done."
        )
    require_size(parent.weights, *origin.avatars)
    if not origin.parent and not any("color" in origin.learned(stage) and stage.steps for stage in origin.stages):
        raise HeadArtistError(
            f"{parent.path} has no colours yet, only a shape: edit a head that a texture stage was trained for."
        )
    return origin


def _require_same_template(parent: HeadFolder, template: str) -> None:
    """Allow a template's file to have moved, and refuse another one: the parent's landmarks are where its own are."""
    from headartist.runs.provenance import template_record  # here, because torch comes with it

    if not split_template(template)[0].is_file() or template_record(template) != parent.read_provenance().get(
        "template"
    ):
        raise HeadArtistError(
            f"An edit of {parent.path} keeps its template: leave out what sets template, or give the same file where "
            "it is now."
        )


def _shaping(config: Config, parts: tuple[str, ...], steps: int | None) -> Stage:
    """Go on with the config's last stage that shapes, for the parts that an edit moves."""
    stages = [_standing_alone(config, stage) for stage in config.stages if "shape" in config.learned(stage)]
    if not stages:
        raise HeadArtistError("These settings have no stage that shapes: use --keep-geometry or another --preset.")
    last = stages[-1]
    return replace(_gone_on(last, steps), trains=parts)


def _coloring(config: Config, steps: int | None) -> Iterator[Stage]:
    """Go on with the stages that color; `steps` are those of distillation, and a refinement is as it was."""
    stages = [_standing_alone(config, stage) for stage in config.stages if config.learned(stage) == {"color"}]
    if not stages:
        raise HeadArtistError("These settings have no stage that colours: use --keep-texture or another --preset.")
    for stage in stages:
        if any(isinstance(term.objective, Refine) for term in stage.terms):
            yield replace(stage, name=_edit_name(stage))
        else:
            yield _gone_on(stage, steps)


def _standing_alone(config: Config, stage: Stage) -> Stage:
    """A stage on the parent's avatar, with the judges it has after the stages before it."""
    judges = config.priors_at(config.stages.index(stage))
    own = [None if prior == config.prior and not _changes_priors(config) else prior for prior in judges]
    terms = tuple(replace(term, prior=prior) for term, prior in zip(stage.terms, own, strict=True))
    return replace(stage, terms=terms, avatar=None, prior=None)


def _changes_priors(config: Config) -> bool:
    return any(stage.prior for stage in config.stages)


def _gone_on(stage: Stage, steps: int | None) -> Stage:
    """Go on with the stage, for `steps` steps.

    What keeps the head together stays as it was at the stage's end: noise levels, of which the first ones would wipe
    out what is to be kept, and smoothness. Learning rates belong to the optimizer, which is a fresh one: they take
    their whole course again, over the edit's own steps. Held at an end near 0, they would leave the head as it is.
    """
    steps = stage.steps if steps is None else steps
    last = max(stage.steps - 1, 0) / max(stage.steps, 1)
    kept = stage.regularizers
    return replace(
        stage,
        name=_edit_name(stage),
        steps=steps,
        t_min=Constant(stage.t_min(last)),
        t_max=Constant(stage.t_max(last)),
        regularizers=Regularizers(**{name: Constant(weight(last)) for name, weight in vars(kept).items()}),
    )


def _edit_name(stage: Stage) -> str:
    return PREFIX + stage.name.removeprefix(PREFIX)


def _compared(parent: HeadFolder, folder: HeadFolder, made: "headartist.runs.head.Head") -> "headartist.runs.head.Head":
    """Note in the head's provenance how much of the parent is left."""
    from headartist.evaluate.edit_fidelity import KEY, OLD_KEY, edit_fidelity
    from headartist.runs.head import load_head
    from headartist.runs.provenance import template_at_rest

    origin = load_head(parent.path)
    asked = origin.config
    # The parent's own template, from where the edit found it.
    rest, _ = template_at_rest(made.config.template, parent)
    found = edit_fidelity(origin.avatar, made.avatar, rest.as_asked(asked.identity, asked.expression))
    record = {name: value for name, value in made.provenance.items() if name != OLD_KEY}
    record[KEY] = {name: round(value, 4) for name, value in asdict(found).items()}
    folder.write_provenance(record)
    return replace(made, provenance=record)
