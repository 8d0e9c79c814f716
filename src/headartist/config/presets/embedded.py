"""The presets of the embedded prior: a plain CPU, minutes."""

from dataclasses import replace

from headartist.config.avatars import FieldConfig, TetConfig
from headartist.config.config import Config, Run, Views
from headartist.config.exports import Exports
from headartist.config.objectives import Refine, Ssd
from headartist.config.priors import StableDiffusion
from headartist.config.schedules import Constant, Linear
from headartist.config.stage import Rates, Regularizers, Stage, Term

_SHAPE: tuple[str, ...] = ("sdf", "offset")
_COLOR: tuple[str, ...] = ("color",)

# Finest cells of 1/42 and 1/108 of the box: the grid's own are 1/80, and a pixel of the small prior is 1/110 from near.
_SMALL_HEAD = TetConfig(
    resolution=80,
    shape=FieldConfig(levels=6, base=4, growth=1.6, log2_table=15, width=32, depth=1),
    color=FieldConfig(levels=8, base=8, growth=1.45, log2_table=16, width=32, depth=1),
    sdf_base="template",
    hold_face=0.95,
    refresh=8,
)


_PALE = (0.85, 0.85, 0.85)  # before mid grey, which colors begin as, the prior would see no head
EMBEDDED = Config(
    prior=StableDiffusion(model="embedded"),
    avatar=_SMALL_HEAD,
    # Nearer than the paper: from its distance the eyes are a few of the small prior's pixels wide.
    views=Views(elevation_deg=(-10.0, 35.0), fov_y_deg=(18.0, 45.0), front_share=0.6),
    stages=(
        Stage(
            name="geometry",
            terms=(Term("normal", Ssd(cfg_scale=7.5, anchor=1.0), text="a normal map of {subject}"),),
            trains=_SHAPE,
            steps=220,
            t_max=Linear(0.95, 0.25),
            render_size=128,
            views=2,
            regularizers=Regularizers(normal_consistency=Constant(50.0), laplacian=Constant(50.0)),
        ),
        # Colors without light and shade are strange to the prior, so a lamp is lit: lids and lips come out sharper,
        # and what is learned is nearer to an albedo. Falling rates let the draws average out.
        Stage(
            name="texture",
            terms=(Term("color", Ssd(cfg_scale=4.0, anchor=0.8)),),
            trains=_COLOR,
            steps=300,
            t_max=Linear(0.98, 0.6, begin=40 / 300, end=250 / 300),
            rates=Rates(grid=Linear(2e-2, 1e-3, begin=0.4), mlp=Linear(2e-3, 1e-4, begin=0.4)),
            render_size=128,
            views=2,
            background=_PALE,
            lit=True,
        ),
        # Pixels alone: features would take a gradient through the encoder, and twice the time.
        Stage(
            name="refinement",
            terms=(
                Term(
                    "color",
                    Refine(
                        cfg_scale=3.0,
                        perceptual=0.0,
                        ddim_steps=6,
                        residual=True,
                        landmark_scale=4.0,
                        facing_power=3.0,
                        inner_steps=150,
                        views_per_inner_step=2,
                    ),
                ),
            ),
            trains=_COLOR,
            steps=2,
            t_min=Constant(0.3),
            t_max=Linear(0.6, 0.35, end=0.5),
            render_size=128,
            views=32,
            rates=Rates(grid=Linear(2e-2, 2e-3), mlp=Linear(2e-3, 2e-4)),
            background=_PALE,
            lit=True,
        ),
    ),
    run=Run(checkpoint_every=100, preview_every=100),
)
"""The prior that ships with the package, on a plain CPU, in a few minutes."""


QUICK = replace(
    EMBEDDED,
    avatar=replace(_SMALL_HEAD, resolution=48),
    stages=(
        replace(EMBEDDED.stages[0], steps=120, render_size=64),
        replace(EMBEDDED.stages[1], steps=180, render_size=64),
        replace(EMBEDDED.stages[2], steps=1, t_min=Constant(0.5), t_max=Constant(0.5), views=24),
    ),
    exports=Exports(texture_size=512, video_views=60, video_size=256),
)
"""A minute or two: a first look."""


SMOKE = replace(
    EMBEDDED,
    avatar=replace(_SMALL_HEAD, resolution=16),
    stages=(
        replace(EMBEDDED.stages[0], steps=20, render_size=64, views=1),
        replace(EMBEDDED.stages[1], steps=20, render_size=64, views=1, t_max=Constant(0.98)),
        replace(EMBEDDED.stages[2], steps=1, render_size=64, views=2, t_max=Constant(0.3)),
    ),
    run=Run(checkpoint_every=10, preview_every=0, log_every=1),
    exports=Exports(formats=("glb",), texture_size=128, video_views=0),
)
"""Every step of the way from the prompt to a GLB in under a minute; the head is not worth looking at."""
