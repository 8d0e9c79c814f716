"""Compare the losses on heads of three sentences: `python tools/losses.py`.

Three rows for each sentence: the preset as it is; the paper's self score distillation, which has no anchor, with the
paper's guidance; and score distillation sampling with W = 100, the baseline of the paper's ablation. All else is the
preset's. The first rows are the gallery's heads where `tools/gallery.py` has made them; the others take minutes each.
"""

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path

from gallery import made, stacked, strip
from headartist import generate
from headartist.config.config import Config
from headartist.config.objectives import ObjectiveConfig, Sds, Ssd
from headartist.config.presets import preset

PRESET = "as the preset has it"
LOSSES: dict[str, tuple[ObjectiveConfig, ObjectiveConfig]] = {
    "SSD, no anchor, W = 100 and 7.5": (Ssd(cfg_scale=100.0), Ssd(cfg_scale=7.5)),
    "SDS, W = 100": (Sds(cfg_scale=100.0), Sds(cfg_scale=100.0)),
}
"""What a row is called, and the losses of its geometry and texture."""
LINES = (0, 1, 4)
"""The prompts, as numbered in the file."""


def with_losses(config: Config, geometry: ObjectiveConfig, texture: ObjectiveConfig) -> Config:
    """The config with other losses in these two stages."""
    losses = {"geometry": geometry, "texture": texture}
    stages = tuple(stage.with_term(objective=losses.get(stage.name, stage.term.objective)) for stage in config.stages)
    return replace(config, stages=stages)


def main() -> None:
    """Make what is missing, and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=Path, default=Path("examples/prompts.txt"), help="one prompt a line")
    parser.add_argument("--lines", type=int, nargs="*", default=LINES, help="which of them, counted from 0")
    parser.add_argument("--preset", default="embedded")
    parser.add_argument("--gallery", type=Path, default=Path("heads/gallery"), help="the gallery's Head folders")
    parser.add_argument("--heads", type=Path, default=Path("heads/losses"), help="folder of the other Head folders")
    parser.add_argument("--out", type=Path, default=Path("docs/images/losses.png"))
    parser.add_argument("--size", type=int, default=96, help="pixels of one view")
    arguments = parser.parse_args()

    config = preset(arguments.preset)
    prompts = arguments.prompts.read_text(encoding="utf-8").splitlines()
    strips = []
    for line in arguments.lines:
        prompt = prompts[line]
        runs = [(PRESET, config, arguments.gallery / f"{line:02d}")]
        for number, (name, losses) in enumerate(LOSSES.items()):
            runs.append((name, with_losses(config, *losses), arguments.heads / f"{line:02d}_{number}"))
        for name, run, path in runs:
            head = made(path, replace(run, prompt=prompt), partial(generate, prompt, run, out=path))
            strips.append(strip(head.avatar, f"{prompt}: {name}", arguments.size))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    stacked(strips, columns=1).quantize(256).save(arguments.out, optimize=True)
    print(f"{arguments.out}: {len(strips)} heads")


if __name__ == "__main__":
    main()
