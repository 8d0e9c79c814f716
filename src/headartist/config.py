"""Config: every knob of a run as frozen values. Nothing here needs torch.

A Config says what is asked (prompt, seed), who judges (prior), what is optimised (template, avatar) and how (stages).
A Stage says what trains, what is drawn, which loss judges it and how long. `Run` and `Exports` hold what does not
change the head: two configs that differ only there belong to the same Head folder.
"""

import re
from dataclasses import dataclass, field, fields
from typing import Annotated, Literal, get_args

from headartist.bounds import Count, Period, Within, check_settings
from headartist.errors import HeadArtistError, shown
from headartist.loss_config import Loss, Refine
from headartist.schedules import Constant, Schedule, extremes
from headartist.start import OPEN, parse_expression, parse_identity
from headartist.tet_config import TetConfig

Part = Literal["sdf", "offset", "colour"]
Drawing = Literal["normal_opacity_latent", "normal", "rgb"]
Format = Literal["glb", "obj", "ply", "usd"]
Variant = Literal["full", "game"]
Iris = Literal["painted", "brown", "hazel", "green", "blue", "grey"]
ViewText = Literal["append", "perp_neg", "none"]
Range = tuple[float, float]
Rate = Annotated[Schedule, Within(0, 10)]
Weight = Annotated[Schedule, Within(0, 1_000_000_000)]
Level = Annotated[Schedule, Within(0, 1)]
Share = Annotated[float, Within(0, 1)]

LONGEST_NAME = 60
MOST_STAGES = 100
_OFF = Constant(0.0)
_GRID_RATE, _MLP_RATE = Constant(1e-2), Constant(1e-3)
_T_MIN, _T_MAX = Constant(0.02), Constant(0.98)


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise HeadArtistError(sentence)


@dataclass(frozen=True)
class Rates:
    """Learning rates by parameter group (Adam's steps have the size of the rate)."""

    hash_grid: Rate = _GRID_RATE
    mlp: Rate = _MLP_RATE

    def __post_init__(self) -> None:
        check_settings(self, "rates.")

    def of(self, kind: str) -> Schedule:
        """The rate of a kind of parameter: "grid", or any other."""
        return self.hash_grid if kind == "grid" else self.mlp


@dataclass(frozen=True)
class Regularisers:
    """Weights of the two smoothness energies of the surface (supplement D); 0 costs nothing."""

    normal_consistency: Weight = _OFF
    laplacian: Weight = _OFF

    def __post_init__(self) -> None:
        check_settings(self, "regularisers.")

    def at(self, step: int | float) -> dict[str, float]:
        """Every energy's weight at a step."""
        return {item.name: getattr(self, item.name)(step) for item in fields(self)}


@dataclass(frozen=True)
class Stage:
    """One stretch of the optimisation, with a fresh optimiser; its schedules count its own steps from 0.

    Attributes:
        name: what the stage is called in overrides, metrics and messages.
        trains: parts of the avatar that learn; the others stay as they are, bit for bit.
        draws: the picture that the prior judges. "normal_opacity_latent" puts normals and opacity straight in the
            place of the latent (paper 4.2.1); the others go through the prior's encoder.
        loss: the objective.
        steps: how many steps.
        t_min: lower end of the noise levels, as a fraction of the diffusion clock.
        t_max: upper end of the noise levels.
        render_size: pixels of the square render; it is brought to the prior's size afterwards.
        views: cameras a step.
        text: the stage's text; `{prompt}` is the prompt as typed, `{subject}` the prompt without its prefix.
        negative: the negative text; `{negative}` is the prompt's own, by `prompts.default_negative`.
        rates: learning rates.
        weight_decay: AdamW's decoupled decay.
        regularisers: smoothness weights.
        background: RGB in [0, 1] behind a colour render.
        lit: light a colour render by a soft lamp at random, so that colours are learned without light and shade.
    """

    name: str
    trains: tuple[Part, ...]
    draws: Drawing
    loss: Loss
    steps: Count
    t_min: Level = _T_MIN
    t_max: Level = _T_MAX
    render_size: Annotated[int, Within(8, 8_192)] = 512
    views: Annotated[int, Within(1, 1_024)] = 1
    text: str = "{prompt}"
    negative: str = ""
    rates: Rates = Rates()
    weight_decay: Annotated[float, Within(0, 100)] = 0.0
    regularisers: Regularisers = Regularisers()
    background: Annotated[tuple[float, float, float], Within(0, 1)] = (0.5, 0.5, 0.5)
    lit: bool = False

    @property
    def shapes(self) -> bool:
        """Whether it moves the surface."""
        return not {"sdf", "offset"}.isdisjoint(self.trains)

    def __post_init__(self) -> None:
        _require(
            isinstance(self.name, str) and self.name.isidentifier() and len(self.name) <= LONGEST_NAME,
            f"A stage's name must be one word of letters and _, of {LONGEST_NAME} at most (got {shown(self.name)}).",
        )
        name = f"Stage {self.name}"
        check_settings(self, f"{name}: ")
        _require(bool(self.trains), f"{name} trains nothing: name at least one of {', '.join(get_args(Part))}.")
        _require(
            self.draws == "rgb" or set(self.trains) != {"colour"},
            f"{name} trains colour but draws {self.draws}, where no colour is seen: use draws=rgb.",
        )
        _require(
            self.draws == "rgb" or not self.lit,
            f"{name} is lit but draws {self.draws}, which no light falls on: use draws=rgb or lit=false.",
        )
        _require(
            not (isinstance(self.loss, Refine) and self.draws == "normal_opacity_latent"),
            f"{name} refines pictures but draws a latent: use draws=rgb or draws=normal, or another loss.",
        )
        _require(
            extremes(self.t_min)[1] <= extremes(self.t_max)[0],
            f"{name}: t_min must stay at or below t_max (got {extremes(self.t_min)[1]:g} and "
            f"{extremes(self.t_max)[0]:g}).",
        )


@dataclass(frozen=True)
class StableDiffusion:
    """The prior: a Stable Diffusion folder or id with a landmark ControlNet.

    Attributes:
        model: "embedded" (ships with the package), "sd21", "sd15", a diffusers folder, or an id of the hub.
        controlnet: folder or id of the landmark ControlNet; "own" is the one that belongs to `model`, and "none" judges
            without landmarks.
        dtype: the precision of its networks; "auto" is float16 on CUDA and float32 elsewhere.
    """

    model: str = "embedded"
    controlnet: str = "own"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"

    def __post_init__(self) -> None:
        check_settings(self, "prior.")


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
            _require(low <= high, f"views.{name} must be a range, low end first (got {low:g}, {high:g}).")
        first, last = self.azimuth_deg
        _require(
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
        _require(
            re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,3})?", self.device) is not None,
            f"run.device must be auto, cpu, cuda or cuda:N (got {shown(self.device)}).",
        )


DEFAULT_FORMATS: tuple[Format, ...] = ("glb", "obj", "ply")  # USD wants a library of its own


def mesh_stem(variant: str) -> str:
    """What the mesh files of a variant are called, without their suffix."""
    return "head" if variant == "full" else f"head_{variant}"


@dataclass(frozen=True)
class Exports:
    """What is written when the head is done.

    Attributes:
        formats: mesh files; "usd" needs the extra of that name.
        texture_size: pixels of the square texture.
        rig: carry the template's shapes and joints to the GLB and OBJ, with its mouth, teeth and tongue.
        eyes: with a rig, open the lids and set in the template's eyeballs.
        iris: of those eyeballs: as the head's eyes are painted, or the colour of plain ones.
        variant: "game" writes meshes of at most 20,000 triangles.
        delight: divide the soft light that was learned with the colours out of them.
        video_views: frames of the turntable; 0 makes no video.
        video_size: pixels of its square pictures, even.
        video_fps: frames a second.
    """

    formats: tuple[Format, ...] = DEFAULT_FORMATS
    texture_size: Annotated[int, Within(16, 16_384)] = 1024
    rig: bool = True
    eyes: bool = False
    iris: Iris = "painted"
    variant: Variant = "full"
    delight: bool = False
    video_views: Annotated[int, Within(0, 10_000)] = 120
    video_size: Annotated[int, Within(16, 4_096)] = 512
    video_fps: Annotated[int, Within(1, 240)] = 30

    def __post_init__(self) -> None:
        check_settings(self, "exports.")
        _require(self.video_size % 2 == 0, f"exports.video_size must be even (got {self.video_size}).")


@dataclass(frozen=True)
class Config:
    """All that is asked of one head.

    Attributes:
        stages: what is optimised, in order.
        prompt: the words; empty in a preset.
        seed: every random draw of the run follows from it.
        prior: the judge.
        template: "open" for the shipped head, or the path of a FLAME file or of a mesh.
        identity: which person of the template, as in "seed:7" or "0=1.5,wide=-2"; empty for the average one.
        expression: its expression, as in "jawOpen=0.6,mouthSmileLeft=0.5"; empty for none.
        avatar: the shape's representation.
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
    prior: StableDiffusion = StableDiffusion()
    template: str = OPEN
    identity: str = ""
    expression: str = ""
    avatar: TetConfig = field(default_factory=TetConfig)
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
        _require(1 <= len(names) <= MOST_STAGES, f"A config has 1 to {MOST_STAGES} stages (got {len(names)}).")
        _require(len(set(names)) == len(names), f"Stages must have different names (got {', '.join(names)}).")
        _require(
            taken.isdisjoint(names),
            f"A stage must not be called like a setting of the config (got {', '.join(sorted(taken & set(names)))}).",
        )
        parse_identity(self.identity, self.template)
        parse_expression(self.expression)
