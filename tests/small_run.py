"""A whole run that takes seconds: two stages, a coarse head, a tiny random prior."""

from dataclasses import replace
from pathlib import Path

from headartist.config.avatars import FieldConfig, TetConfig
from headartist.config.config import Config, Run
from headartist.config.exports import Exports
from headartist.config.presets import EMBEDDED
from headartist.config.priors import StableDiffusion

PROMPT = "a head of an elderly woman with glasses"
FIELD = FieldConfig(levels=3, base=4, growth=2.0, log2_table=8, width=8, depth=1)


def small_config(prior: Path, *, steps: int = 4, checkpoint_every: int = 1000) -> Config:
    """The embedded preset made small, without its refinement."""
    geometry, texture, _ = EMBEDDED.stages
    return replace(
        EMBEDDED,
        prior=StableDiffusion(model=str(prior)),
        avatar=TetConfig(resolution=12, shape=FIELD, color=FIELD, sdf_base="template", refresh=3),
        stages=(
            replace(geometry, steps=steps, render_size=32, views=1),
            replace(texture, steps=steps, render_size=32),
        ),
        run=Run(device="cpu", threads=1, checkpoint_every=checkpoint_every, preview_every=0, log_every=1),
        exports=Exports(formats=("glb",), texture_size=64, rig=False, video_views=0),
    )
