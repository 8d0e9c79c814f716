"""Presets: named configs as values. Start from one and change what you like with `dataclasses.replace`."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from headartist.config import Config, Exports, Part, Rates, Regularisers, Run, StableDiffusion, Stage, Views
from headartist.errors import HeadArtistError, did_you_mean
from headartist.loss_config import Refine, Ssd
from headartist.schedules import Constant, Linear, Step
from headartist.tet_config import FieldConfig, TetConfig

_SHAPE: tuple[Part, ...] = ("sdf", "offset")
_COLOUR: tuple[Part, ...] = ("colour",)
_SLOW = Rates(hash_grid=Constant(1e-3), mlp=Constant(1e-3))

# The released code gives normal consistency 7,000 until step 5,000 of the whole geometry stage and 10,000 after it
# (its list reads start step, value, value, end step); the paper's supplement says 8,000 throughout.
_PAPER_WARM_UP = Stage(
    name="warm_up",
    trains=_SHAPE,
    draws="normal_opacity_latent",
    loss=Ssd(cfg_scale=100.0),
    steps=1_000,
    t_max=Constant(0.5),
    render_size=512,
    rates=_SLOW,
    weight_decay=0.01,
    regularisers=Regularisers(normal_consistency=Constant(7_000.0), laplacian=Constant(10_000.0)),
)
_PAPER_TEXTURE = Stage(
    name="texture",
    trains=_COLOUR,
    draws="rgb",
    loss=Ssd(cfg_scale=7.5),
    steps=20_000,
    t_max=Linear(0.98, 0.7, begin=5_000, end=5_001),
    render_size=512,
    negative="{negative}",
    weight_decay=0.01,
    background=(0.58, 0.47, 0.41),
)
PAPER = Config(
    prior=StableDiffusion(model="sd21"),
    avatar=TetConfig(),
    stages=(
        _PAPER_WARM_UP,
        replace(
            _PAPER_WARM_UP,
            name="geometry",
            draws="normal",
            steps=14_000,
            regularisers=Regularisers(
                normal_consistency=Step(7_000.0, 10_000.0, at=4_000), laplacian=Constant(10_000.0)
            ),
        ),
        _PAPER_TEXTURE,
        # The paper gives the steps alone; noise levels fall as in HiFA, from what may still change parts of the face.
        replace(
            _PAPER_TEXTURE,
            name="refinement",
            loss=Refine(cfg_scale=7.5),
            steps=900,
            t_max=Linear(0.5, 0.2, begin=0, end=900),
            rates=_SLOW,
        ),
    ),
)
"""The paper's constants with Stable Diffusion 2.1-base, for a GPU."""

# Finest cells of 1/42 and 1/108 of the box: the grid's own are 1/80, and a pixel of the small prior is 1/110 from near.
_SMALL_HEAD = TetConfig(
    resolution=80,
    shape=FieldConfig(levels=6, base=4, growth=1.6, log2_table=15, width=32, depth=1),
    colour=FieldConfig(levels=8, base=8, growth=1.45, log2_table=16, width=32, depth=1),
    sdf_base="template",
    hold_face=0.95,
    refresh=8,
)
_PALE = (0.85, 0.85, 0.85)  # before mid grey, which colours begin as, the prior would see no head
EMBEDDED = Config(
    prior=StableDiffusion(model="embedded"),
    avatar=_SMALL_HEAD,
    # Nearer than the paper: from its distance the eyes are a few of the small prior's pixels wide.
    views=Views(elevation_deg=(-10.0, 35.0), fov_y_deg=(18.0, 45.0), front_share=0.6),
    stages=(
        Stage(
            name="geometry",
            trains=_SHAPE,
            draws="normal",
            loss=Ssd(cfg_scale=7.5, anchor=1.0),
            steps=220,
            t_max=Linear(0.95, 0.25, begin=0, end=220),
            render_size=128,
            views=2,
            text="a normal map of {subject}",
            regularisers=Regularisers(normal_consistency=Constant(50.0), laplacian=Constant(50.0)),
        ),
        # Colours without light and shade are strange to the prior, so a lamp is lit: lids and lips come out sharper,
        # and what is learned is nearer to an albedo. Falling rates let the draws average out.
        Stage(
            name="texture",
            trains=_COLOUR,
            draws="rgb",
            loss=Ssd(cfg_scale=4.0, anchor=0.8),
            steps=300,
            t_max=Linear(0.98, 0.6, begin=40, end=250),
            rates=Rates(hash_grid=Linear(2e-2, 1e-3, begin=120, end=300), mlp=Linear(2e-3, 1e-4, begin=120, end=300)),
            render_size=128,
            views=2,
            background=_PALE,
            lit=True,
        ),
        # Pixels alone: features would take a gradient through the encoder, and twice the time.
        Stage(
            name="refinement",
            trains=_COLOUR,
            draws="rgb",
            loss=Refine(
                cfg_scale=3.0,
                perceptual=0.0,
                x0_steps=6,
                relative=True,
                landmark_scale=4.0,
                facing=3.0,
                fits=150,
                fit_views=2,
            ),
            steps=2,
            t_min=Constant(0.3),
            t_max=Linear(0.6, 0.35, begin=0, end=1),
            render_size=128,
            views=32,
            rates=Rates(hash_grid=Linear(2e-2, 2e-3, begin=0, end=2), mlp=Linear(2e-3, 2e-4, begin=0, end=2)),
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
        replace(EMBEDDED.stages[0], steps=120, render_size=64, t_max=Linear(0.95, 0.25, begin=0, end=120)),
        replace(
            EMBEDDED.stages[1],
            steps=180,
            render_size=64,
            t_max=Linear(0.98, 0.6, begin=25, end=150),
            rates=Rates(hash_grid=Linear(2e-2, 1e-3, begin=70, end=180), mlp=Linear(2e-3, 1e-4, begin=70, end=180)),
        ),
        replace(
            EMBEDDED.stages[2],
            steps=1,
            t_min=Constant(0.5),
            t_max=Constant(0.5),
            views=24,
            rates=Rates(hash_grid=Linear(2e-2, 2e-3, begin=0, end=1), mlp=Linear(2e-3, 2e-4, begin=0, end=1)),
        ),
    ),
    exports=Exports(texture_size=512, video_views=60, video_size=256),
)
"""A minute or two: a first look."""

SMOKE = replace(
    EMBEDDED,
    avatar=replace(_SMALL_HEAD, resolution=16),
    stages=(
        replace(EMBEDDED.stages[0], steps=20, render_size=64, views=1, t_max=Linear(0.95, 0.25, begin=0, end=20)),
        replace(EMBEDDED.stages[1], steps=20, render_size=64, views=1, t_max=Constant(0.98)),
        replace(EMBEDDED.stages[2], steps=1, render_size=64, views=2, t_max=Constant(0.3)),
    ),
    run=Run(checkpoint_every=10, preview_every=0, log_every=1),
    exports=Exports(formats=("glb",), texture_size=128, video_views=0),
)
"""Every step of the way from the prompt to a GLB in under a minute; the head is not worth looking at."""

PRESETS: Mapping[str, Config] = MappingProxyType({"embedded": EMBEDDED, "quick": QUICK, "smoke": SMOKE, "paper": PAPER})


def preset(name: str) -> Config:
    """The preset called `name`.

    Raises:
        HeadArtistError: when there is none.
    """
    if name not in PRESETS:
        raise HeadArtistError(f"There is no preset {name!r}: {did_you_mean(name, PRESETS)}")
    return PRESETS[name]
