"""What image-space refinement does to a head: `python benchmarks/refinement.py HEAD PICTURE [--steps 120]`.

The colours of the head are gone on with twice: for some steps by its texture stage at its last noise levels, and by the
refinement of the preset `embedded`. Best is a head that had none, by `--set refinement.steps=0`. The table says how far
the frozen prior's noise prediction is off on views of a turntable, with noise that is the same for all three heads: a
prior is the less mistaken, the more a picture is like those it knows. The picture shows the head before, after more
texture, and after refinement, a row each.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import torch

from headartist import load_head
from headartist.avatars.avatar import TrainableAvatar
from headartist.config.objectives import Refine
from headartist.config.presets import EMBEDDED
from headartist.config.schedules import Constant
from headartist.config.stage import Stage
from headartist.export import save_png
from headartist.export.pictures import render_pair
from headartist.geometry.cameras import turntable
from headartist.heads import load_template
from headartist.heads.landmarks import landmark_map
from headartist.objectives.build import build_objective
from headartist.objectives.distillation import add_noise
from headartist.priors import Query, load_prior
from headartist.render.shading import Shading, sample_lamps
from headartist.training.optimizer import make_optimizer
from headartist.training.problem import Problem, judges
from headartist.training.step import Work, train_step

VIEWS, SIZE = 8, 192
LEVELS = (0.1, 0.25, 0.4)


@torch.no_grad()
def errors(problem: Problem, stage: Stage) -> list[float]:
    """The mean squared error of the predicted noise at each of `LEVELS`, under the stage's own words."""
    (prior, texts), cameras = problem.judges[0][0], turntable(VIEWS, elevation_deg=10.0, fov_y_deg=38.0)
    shading = Shading(lamps=sample_lamps(VIEWS, torch.Generator().manual_seed(0)) if stage.lit else None)
    frame = problem.avatar.render(cameras, stage.render_size, shading, torch.tensor(stage.background))
    text, _, _ = texts.of_views(cameras.azimuth_deg, cameras.elevation_deg)
    query = Query(text, landmark_map(problem.template, cameras, prior.landmark_size))
    z, found = prior.encode(frame.color), []
    for level in LEVELS:
        noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(0))
        t = torch.full((VIEWS,), int(level * len(prior.alpha_bar)))
        (predicted,) = prior.predict_noise(add_noise(z, noise, t, prior.alpha_bar), t, [query])
        found.append(float((predicted - noise).square().mean()))
    return found


def go_on(problem: Problem, stage: Stage) -> float:
    """Train the problem's avatar by a stage; returns the seconds that took."""
    generator, jury = torch.Generator().manual_seed(1), problem.judges[0]
    optimizer = make_optimizer(problem.avatar, stage)
    work = Work(
        stage, problem.avatar, optimizer, jury, (build_objective(stage.term.objective, jury[0].prior, generator),)
    )
    started = time.perf_counter()
    for step in range(stage.steps):
        train_step(problem, work, step, generator)
    return time.perf_counter() - started


def colours(avatar: TrainableAvatar) -> torch.Tensor:
    """Four views in a row."""
    views = turntable(4, elevation_deg=10.0, fov_y_deg=40.0)
    return torch.cat(list(render_pair(avatar, views, SIZE)[0]), dim=2)


def main() -> None:
    """Print the table and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("head", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    config = load_head(arguments.head).config
    texture = next(s for s in config.stages if s.trains == ("color",) and not isinstance(s.term.objective, Refine))
    texture = replace(texture, steps=arguments.steps, t_max=Constant(texture.t_max(max(texture.steps - 1, 0))))
    refinement = next(stage for stage in EMBEDDED.stages if isinstance(stage.term.objective, Refine))
    prior, template = load_prior(config.prior.model), load_template(config.template)

    print(f"| gone on with by | steps | s | {' | '.join(f'error at t = {level:g}' for level in LEVELS)} |")
    print(f"|---|---|---|{'---|' * len(LEVELS)}")
    rows = []
    for name, stage in (("nothing", replace(texture, steps=0)), ("texture", texture), ("refinement", refinement)):
        jury = judges(replace(config, stages=(stage,)), lambda _: prior)
        problem = Problem(config, load_head(arguments.head).avatar, template, jury, torch.device("cpu"))
        seconds = go_on(problem, stage)
        figures = " | ".join(f"{error:.3f}" for error in errors(problem, texture))
        print(f"| {name} | {stage.steps} | {seconds:.0f} | {figures} |")
        rows.append(colours(problem.avatar))
    save_png(arguments.picture, torch.cat(rows, dim=1))


if __name__ == "__main__":
    main()
