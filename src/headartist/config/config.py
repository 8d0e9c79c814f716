"""Config: every knob of a run as frozen values. Nothing here needs torch.

A Config says what is asked (prompt, seed), who judges (prior), what is optimised (template, avatar) and how (stages).
A Stage says what trains, what is drawn, which loss judges it and how long. `Run` and `Exports` hold what does not
change the head: two configs that differ only there belong to the same Head folder.
"""

import re
from dataclasses import dataclass, field, fields
from typing import Annotated, Literal

from headartist.config.avatars import AvatarConfig, Changes, TetConfig
from headartist.config.bounds import Period, Share, Within, check_settings, require, require_choice
from headartist.config.exports import Exports
from headartist.config.priors import PriorConfig, StableDiffusion
from headartist.config.stage import Stage
from headartist.config.template import OPEN, parse_expression, parse_identity
from headartist.system.errors import shown

ViewText = Literal["append", "perp_neg", "none"]
Range = tuple[float, float]

MOST_STAGES = 100


@dataclass(frozen=True)
class Views:
    """Where cameras stand while the head is optimised (supplement D); uniform within each range.

    Attributes:
        azimuth_deg: 0 sees the face, +90 the head's left side.
        elevation_deg: positive looks down.
        fov_y_deg: vertical field of view.
        radius: distance from the head's centre, in world units.
        front_share: share of the views whose azimuth is drawn from a third of the range instead, the range shrunk
            towards 0: -60 to 60 for all round. Above 0 it wants a range within -180 and 180 that holds 0.
    """

    azimuth_deg: Annotated[Range, Within(-360, 360)] = (-180.0, 180.0)
    elevation_deg: Annotated[Range, Within(-90, 90)] = (-10.0, 45.0)
    fov_y_deg: Annotated[Range, Within(1, 120)] = (30.0, 50.0)
    radius: Annotated[Range, Within(1.2, 15)] = (3.0, 3.0)
    front_share: Share = 0.0

    def __post_init__(self) -> None:
        check_settings(self, "views.")
        for name in ("azimuth_deg", "elevation_deg", "fov_y_deg", "radius"):
            low, high = getattr(self, name)
            require(low <= high, f"views.{name} must be a range, low end first (got {low:g}, {high:g}).")
        first, last = self.azimuth_deg
        require(
            self.front_share == 0 or -180 <= first <= 0 <= last <= 180,
            f"views.front_share wants a views.azimuth_deg within -180 and 180 that holds 0 (got {first:g}, {last:g}): "
            "use such a range, or views.front_share=0.",
        )


@dataclass(frozen=True)
class Landmarks:
    """How the template's landmarks are drawn for the ControlNet.

    Attributes:
        back_view_deg: views further from the face than this get the face oval only (paper 5.1).
        hide_occluded: leave out segments behind the head.
    """

    back_view_deg: Annotated[float, Within(0, 180)] = 90.0
    hide_occluded: bool = False

    def __post_init__(self) -> None:
        check_settings(self, "landmarks.")


@dataclass(frozen=True)
class Run:
    """How a run is carried out; nothing here changes what is asked.

    Attributes:
        device: "cpu", "cuda", "cuda:1", or "auto" for a CUDA device where there is one.
        threads: CPU threads; 0 leaves the choice to torch.
        checkpoint_every: steps between checkpoints.
        preview_every: steps between preview pictures; 0 draws none.
        log_every: steps between lines of `metrics.jsonl`.
    """

    device: str = "auto"
    threads: Annotated[int, Within(0, 1_024)] = 0
    checkpoint_every: Period = 500
    preview_every: Annotated[int, Within(0, 1_000_000_000)] = 500
    log_every: Period = 10

    def __post_init__(self) -> None:
        check_settings(self, "run.")
        require(
            re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,3})?", self.device) is not None,
            f"run.device must be auto, cpu, cuda or cuda:N (got {shown(self.device)}).",
        )


@dataclass(frozen=True)
class Config:
    """All that is asked of one head.

    Attributes:
        stages: what is optimised, in order.
        prompt: the words; empty in a preset.
        seed: every random draw of the run follows from it.
        prior: the judge; stages and terms may have others.
        template: "open" for the shipped head, or the path of a FLAME file or of a mesh.
        identity: which person of the template, as in "seed:7" or "0=1.5,wide=-2"; empty for the average one.
        expression: its expression, as in "jawOpen=0.6,mouthSmileLeft=0.5"; empty for none.
        avatar: what is optimised; stages may go on with others.
        views: camera ranges.
        landmarks: how the landmark map is drawn.
        view_text: how the guided prediction hears of the camera: "append" adds "front view" and its like to the
            text, "perp_neg" mixes the words by angle and moves away from those of other views, "none" is silent.
        parent: sha256 of the head that this one is edited from; empty for a head that begins as the template.
        run: how it is carried out.
        exports: what is written at the end.
    """

    stages: tuple[Stage, ...]
    prompt: str = ""
    seed: Annotated[int, Within(0, 2**63 - 1)] = 0
    prior: PriorConfig = StableDiffusion()
    template: str = OPEN
    identity: str = ""
    expression: str = ""
    avatar: AvatarConfig = field(default_factory=TetConfig)
    views: Views = Views()
    landmarks: Landmarks = Landmarks()
    view_text: ViewText = "append"
    parent: str = ""
    run: Run = Run()
    exports: Exports = Exports()

    def __post_init__(self) -> None:
        check_settings(self)
        names = [stage.name for stage in self.stages]
        taken = {item.name for item in fields(self)}
        require(1 <= len(names) <= MOST_STAGES, f"A config has 1 to {MOST_STAGES} stages (got {len(names)}).")
        require(len(set(names)) == len(names), f"Stages must have different names (got {', '.join(names)}).")
        require(
            taken.isdisjoint(names),
            f"A stage must not be called like a setting of the config (got {', '.join(sorted(taken & set(names)))}).",
        )
        parse_identity(self.identity, self.template)
        parse_expression(self.expression)
        for index, stage in enumerate(self.stages):
            self._check_parts(stage, self.avatar_at(index))

    def _check_parts(self, stage: Stage, avatar: AvatarConfig) -> None:
        for part in stage.trains:
            require_choice(part, tuple(avatar.parts), f"{stage.name}.trains")
        drawn = " and ".join(stage.drawn)
        require(
            "color" in stage.drawn or {avatar.parts[part] for part in stage.trains} != {"color"},
            f"Stage {stage.name} trains color but draws {drawn}, where no color is seen: use draws=color.",
        )
        require(
            "color" in stage.drawn or not stage.lit,
            f"Stage {stage.name} is lit but draws {drawn}, which no light falls on: use draws=color or lit=false.",
        )

    def avatar_at(self, stage: int) -> AvatarConfig:
        """Return what is optimised in the stage of an index; behind the last it is what that leaves."""
        given = [each.avatar for each in self.stages[: stage + 1] if each.avatar]
        return given[-1] if given else self.avatar

    @property
    def avatars(self) -> tuple[AvatarConfig, ...]:
        """All that is optimised, in order: the first, and what stages go on with."""
        return (self.avatar, *(stage.avatar for stage in self.stages if stage.avatar))

    def learned(self, stage: Stage) -> set[Changes]:
        """Return what of the head one of the stages changes."""
        return {self.avatar_at(self.stages.index(stage)).parts[part] for part in stage.trains}

    def priors_at(self, stage: int) -> tuple[PriorConfig, ...]:
        """Return who judges each term of the stage of an index."""
        given = [each.prior for each in self.stages[: stage + 1] if each.prior]
        return tuple(term.prior or (given[-1] if given else self.prior) for term in self.stages[stage].terms)

    @property
    def priors(self) -> tuple[PriorConfig, ...]:
        """All who judge, each named once."""
        return tuple(dict.fromkeys(prior for index in range(len(self.stages)) for prior in self.priors_at(index)))
