"""Config: every knob of a run as frozen values. Nothing here needs torch.

A Config says what is asked (prompt, seed), who judges (prior), what is optimised (template, avatar) and how (stages).
A Stage says what trains, what is drawn, which loss judges it and how long. `Run` and `Exports` hold what does not
change the head: two configs that differ only there belong to the same Head folder.
"""

import re
from dataclasses import dataclass, field, fields
from typing import Literal, get_args

from headartist.errors import HeadArtistError, did_you_mean
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

_OFF = Constant(0.0)
_GRID_RATE, _MLP_RATE = Constant(1e-2), Constant(1e-3)
_T_MIN, _T_MAX = Constant(0.02), Constant(0.98)


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise HeadArtistError(sentence)


def _require_range(name: str, values: Range, low: float, high: float) -> None:
    first, last = values
    _require(
        low <= first <= last <= high,
        f"{name} must be a range within {low:g} and {high:g}, low end first (got {first:g}, {last:g}).",
    )


@dataclass(frozen=True)
class Rates:
    """Learning rates by parameter group (Adam's steps have the size of the rate)."""

    hash_grid: Schedule = _GRID_RATE
    mlp: Schedule = _MLP_RATE

    def __post_init__(self) -> None:
        for item in fields(self):
            low, _ = extremes(getattr(self, item.name))
            _require(low >= 0, f"The learning rate of {item.name} must not be negative (got {low:g}).")

    def of(self, kind: str) -> Schedule:
        """The rate of a kind of parameter: "grid", or any other."""
        return self.hash_grid if kind == "grid" else self.mlp


@dataclass(frozen=True)
class Regularisers:
    """Weights of the two smoothness energies of the surface (supplement D); 0 costs nothing."""

    normal_consistency: Schedule = _OFF
    laplacian: Schedule = _OFF

    def __post_init__(self) -> None:
        for item in fields(self):
            low, _ = extremes(getattr(self, item.name))
            _require(low >= 0, f"The weight of {item.name} must not be negative (got {low:g}).")

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
    steps: int
    t_min: Schedule = _T_MIN
    t_max: Schedule = _T_MAX
    render_size: int = 512
    views: int = 1
    text: str = "{prompt}"
    negative: str = ""
    rates: Rates = Rates()
    weight_decay: float = 0.0
    regularisers: Regularisers = Regularisers()
    background: tuple[float, float, float] = (0.5, 0.5, 0.5)
    lit: bool = False

    @property
    def shapes(self) -> bool:
        """Whether it moves the surface."""
        return not {"sdf", "offset"}.isdisjoint(self.trains)

    def __post_init__(self) -> None:
        name = f"Stage {self.name}"
        _require(self.name.isidentifier(), f"A stage's name must be one word of letters and _ (got {self.name!r}).")
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
        _require(self.steps >= 0, f"{name}: steps must not be negative (got {self.steps}).")
        _require(self.views >= 1, f"{name}: views must be at least 1 (got {self.views}).")
        _require(self.render_size >= 8, f"{name}: render_size must be at least 8 pixels (got {self.render_size}).")
        _require(self.weight_decay >= 0, f"{name}: weight_decay must not be negative (got {self.weight_decay:g}).")
        _require(
            all(0 <= value <= 1 for value in self.background),
            f"{name}: background must be three numbers in [0, 1] (got {self.background}).",
        )
        lowest, highest = extremes(self.t_min)[0], extremes(self.t_max)[1]
        _require(
            lowest >= 0 and highest <= 1,
            f"{name}: t_min and t_max are fractions in [0, 1] (got {lowest:g} and {highest:g}).",
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

    azimuth_deg: Range = (-180.0, 180.0)
    elevation_deg: Range = (-10.0, 45.0)
    fov_y_deg: Range = (30.0, 50.0)
    radius: Range = (3.0, 3.0)
    front_share: float = 0.0

    def __post_init__(self) -> None:
        _require_range("views.azimuth_deg", self.azimuth_deg, -360.0, 360.0)
        _require_range("views.elevation_deg", self.elevation_deg, -90.0, 90.0)
        _require_range("views.fov_y_deg", self.fov_y_deg, 1.0, 120.0)
        _require_range("views.radius", self.radius, 1.2, 15.0)
        _require(0 <= self.front_share <= 1, f"views.front_share must be a share in [0, 1] (got {self.front_share:g}).")
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

    back_view_deg: float = 90.0
    hide_occluded: bool = False


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
    threads: int = 0
    checkpoint_every: int = 500
    preview_every: int = 500
    log_every: int = 10

    def __post_init__(self) -> None:
        for name in ("checkpoint_every", "log_every"):
            _require(getattr(self, name) >= 1, f"run.{name} must be at least 1 (got {getattr(self, name)}).")
        for name in ("threads", "preview_every"):
            _require(getattr(self, name) >= 0, f"run.{name} must not be negative (got {getattr(self, name)}).")
        _require(
            re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device) is not None,
            f"run.device must be auto, cpu, cuda or cuda:N (got {self.device!r}).",
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
    texture_size: int = 1024
    rig: bool = True
    eyes: bool = False
    iris: Iris = "painted"
    variant: Variant = "full"
    delight: bool = False
    video_views: int = 120
    video_size: int = 512
    video_fps: int = 30

    def __post_init__(self) -> None:
        formats = [("formats", wanted, get_args(Format)) for wanted in self.formats]
        named = [("variant", self.variant, get_args(Variant)), ("iris", self.iris, get_args(Iris))]
        for name, wanted, known in [*formats, *named]:
            _require(wanted in known, f"exports.{name} cannot hold {wanted!r}: {did_you_mean(wanted, known)}")
        for name in ("texture_size", "video_size"):
            _require(getattr(self, name) >= 16, f"exports.{name} must be at least 16 (got {getattr(self, name)}).")
        _require(self.video_views >= 0, f"exports.video_views must not be negative (got {self.video_views}).")
        _require(self.video_size % 2 == 0, f"exports.video_size must be even (got {self.video_size}).")
        _require(self.video_fps >= 1, f"exports.video_fps must be at least 1 (got {self.video_fps}).")


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
    seed: int = 0
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
        names = [stage.name for stage in self.stages]
        taken = {item.name for item in fields(self)}
        _require(bool(names), "A config needs at least one stage.")
        _require(len(set(names)) == len(names), f"Stages must have different names (got {', '.join(names)}).")
        _require(
            taken.isdisjoint(names),
            f"A stage must not be called like a setting of the config (got {', '.join(sorted(taken & set(names)))}).",
        )
        _require(0 <= self.seed < 2**63, f"The seed must be a non-negative whole number (got {self.seed}).")
        parse_identity(self.identity, self.template)
        parse_expression(self.expression)
