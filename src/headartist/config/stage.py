"""Stage: one stretch of the optimisation, as values. Nothing here needs torch."""

from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal

from headartist.config.avatars import AvatarConfig
from headartist.config.bounds import Count, Within, check_settings, require
from headartist.config.objectives import ObjectiveConfig, Refine
from headartist.config.priors import PriorConfig
from headartist.config.schedules import Constant, Schedule, extremes
from headartist.system.errors import shown

Drawing = Literal["normal_opacity_latent", "normal", "color"]
Rate = Annotated[Schedule, Within(0, 10)]
Weight = Annotated[Schedule, Within(0, 1_000_000_000)]
Level = Annotated[Schedule, Within(0, 1)]
LONGEST_NAME = 60
MOST_TERMS = 100
_OFF = Constant(0.0)
_GRID_RATE, _MLP_RATE = Constant(1e-2), Constant(1e-3)
_T_MIN, _T_MAX = Constant(0.02), Constant(0.98)


@dataclass(frozen=True)
class Rates:
    """Learning rates by parameter group (Adam's steps have the size of the rate)."""

    grid: Rate = _GRID_RATE
    mlp: Rate = _MLP_RATE
    coefficients: Rate = _MLP_RATE

    def __post_init__(self) -> None:
        check_settings(self, "rates.")

    def of(self, kind: Literal["grid", "mlp", "coefficients"]) -> Schedule:
        """Return the rate of a kind of parameter."""
        rate: Schedule = getattr(self, kind)
        return rate


@dataclass(frozen=True)
class Regularizers:
    """Weights of the two smoothness energies of the surface (supplement D); 0 costs nothing."""

    normal_consistency: Weight = _OFF
    laplacian: Weight = _OFF

    def __post_init__(self) -> None:
        check_settings(self, "regularizers.")

    def at(self, progress: int | float) -> dict[str, float]:
        """Return every energy's weight at a progress."""
        return {item.name: getattr(self, item.name)(progress) for item in fields(self)}


@dataclass(frozen=True)
class Term:
    """One picture that a stage judges, and how; its weighted losses are summed with those of the other terms.

    Attributes:
        draws: the picture that the prior judges. "normal_opacity_latent" puts normals and opacity straight in the
            place of the latent (paper 4.2.1); the others go through the prior's encoder.
        objective: what is minimised.
        text: the term's text; `{prompt}` is the prompt as typed, `{subject}` the prompt without its prefix.
        negative: the negative text; `{negative}` is the prompt's own, by `prompts.default_negative`.
        weight: factor of its losses.
        prior: who judges it; None is the stage's.
    """

    draws: Drawing
    objective: ObjectiveConfig
    text: str = "{prompt}"
    negative: str = ""
    weight: Annotated[float, Within(0, 1_000_000)] = 1.0
    prior: PriorConfig | None = None

    def __post_init__(self) -> None:
        check_settings(self, "term.")
        require(
            not (isinstance(self.objective, Refine) and self.draws == "normal_opacity_latent"),
            "Refine compares pictures, and a latent is drawn: use draws=color or draws=normal, or another objective.",
        )


@dataclass(frozen=True)
class Stage:
    """One stretch of the optimisation, with a fresh optimizer; its schedules go by its own progress.

    Attributes:
        name: what the stage is called in overrides, metrics and messages.
        terms: what is judged in every step, mostly one picture; all share cameras, noise levels and lamps.
        trains: parts of the avatar that learn; the others stay as they are, bit for bit.
        steps: how many steps.
        t_min: lower end of the noise levels, as a fraction of the diffusion clock.
        t_max: upper end of the noise levels.
        render_size: pixels of the square render; it is brought to the prior's size afterwards.
        views: cameras a step.
        rates: learning rates.
        weight_decay: AdamW's decoupled decay.
        regularizers: smoothness weights.
        background: RGB in [0, 1] behind a color render.
        lit: light a color render by a soft lamp at random, so that colors are learned without light and shade.
        avatar: what is optimised from this stage on, beginning with the surface of the head so far; None goes on with
            what there is.
        prior: who judges from this stage on; None goes on with who there is.
    """

    name: str
    terms: tuple[Term, ...]
    trains: tuple[str, ...]
    steps: Count
    t_min: Level = _T_MIN
    t_max: Level = _T_MAX
    render_size: Annotated[int, Within(8, 8_192)] = 512
    views: Annotated[int, Within(1, 1_024)] = 1
    rates: Rates = Rates()
    weight_decay: Annotated[float, Within(0, 100)] = 0.0
    regularizers: Regularizers = Regularizers()
    background: Annotated[tuple[float, float, float], Within(0, 1)] = (0.5, 0.5, 0.5)
    lit: bool = False
    avatar: AvatarConfig | None = None
    prior: PriorConfig | None = None

    @property
    def term(self) -> Term:
        """The only term, or the first of several."""
        return self.terms[0]

    @property
    def drawn(self) -> tuple[Drawing, ...]:
        """What its terms draw, each named once."""
        return tuple(dict.fromkeys(term.draws for term in self.terms))

    def with_term(self, **changes: Any) -> "Stage":
        """Return the stage with other settings of its first term."""
        return replace(self, terms=(replace(self.term, **changes), *self.terms[1:]))

    def __post_init__(self) -> None:
        require(
            isinstance(self.name, str) and self.name.isidentifier() and len(self.name) <= LONGEST_NAME,
            f"A stage's name must be one word of letters and _, of {LONGEST_NAME} at most (got {shown(self.name)}).",
        )
        name = f"Stage {self.name}"
        check_settings(self, f"{name}: ")
        require(1 <= len(self.terms) <= MOST_TERMS, f"{name} has 1 to {MOST_TERMS} terms (got {len(self.terms)}).")
        require(bool(self.trains), f"{name} trains nothing: name at least one part of the avatar.")
        require(
            extremes(self.t_min)[1] <= extremes(self.t_max)[0],
            f"{name}: t_min must stay at or below t_max (got {extremes(self.t_min)[1]:g} and "
            f"{extremes(self.t_max)[0]:g}).",
        )
