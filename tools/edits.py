"""Show editing, seeds and a FLAME template on heads of one sentence: `python tools/edits.py`.

Three pictures, each row colours beside normals under a line that says what it is: `edits.png`, a head edited three
times in a chain, with what is left of it; `seeds.png`, four seeds; `flame.png`, a head grown from a FLAME file, or from
the stand-in of the tests, a person of the open head in that shape. Eight heads in all, minutes each on a CPU; those
that are already there are only drawn again.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from gallery import made
from headartist import Head, edit, edit_config, generate, generate_seeds, load_head
from headartist.config.config import Config
from headartist.config.presets import preset
from headartist.evaluate.edit_fidelity import noted
from headartist.export.pictures import render_pair, to_bytes
from headartist.geometry.cameras import look
from headartist.runs.editing import default_path as edit_path
from headartist.system.names import default_path

PROMPT = "a DSLR portrait of a middle aged man with short brown hair"
ANGRY = "browDownLeft=1,browDownRight=1,noseSneerLeft=0.6,noseSneerRight=0.6,mouthFrownLeft=0.6,mouthFrownRight=0.6"
CHAIN = (("with a beard", None), ("angry", ANGRY), ("as a marble statue", None))
"""Instructions, and the expression that the landmarks take with each: None keeps the one before."""
AZIMUTHS_DEG = (0.0, 45.0, 90.0, 180.0)
SEEDS = 4
CAPTION = 18  # pixels of a line of text


def main() -> None:
    """Make what is missing, and draw the three pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="embedded")
    parser.add_argument("--heads", type=Path, default=Path("heads/edits"), help="folder of the Head folders")
    parser.add_argument("--template", type=Path, help="a FLAME file instead of the stand-in")
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="folder of the pictures")
    parser.add_argument("--size", type=int, default=128, help="pixels of one view")
    arguments = parser.parse_args()
    config, heads = preset(arguments.preset), arguments.heads
    heads.mkdir(parents=True, exist_ok=True)

    generate_seeds(PROMPT, config, SEEDS, out=heads)
    seeds = [load_head(heads / default_path(PROMPT, config.seed + k).name) for k in range(SEEDS)]
    shown = {
        "seeds": [(f"{PROMPT}, seed {head.config.seed}", head) for head in seeds],
        "edits": edits(seeds[0]),
        "flame": [from_flame(config, heads, arguments.template)],
    }
    for name, rows in shown.items():
        path = arguments.out / f"{name}.png"
        sheet(rows, arguments.size).quantize(256).save(path, optimize=True)
        print(path)


def edits(first: Head) -> list[tuple[str, Head]]:
    """The head and what a chain of edits makes of it, each with its likeness to the one before."""
    rows = [(first.config.prompt, first)]
    for instruction, expression in CHAIN:
        parent = rows[-1][1].folder
        config = edit_config(parent, instruction, expression=expression)
        path = edit_path(parent, config)
        head = made(path, config, partial(edit, parent, config, out=path))
        rows.append((f"{instruction}: {noted(head.provenance)}", head))
    return rows


def generated(config: Config, path: Path) -> Head:
    """A head of the sentence, made or found in a folder."""
    return made(path, replace(config, prompt=PROMPT), partial(generate, PROMPT, config, out=path))


def from_flame(config: Config, heads: Path, template: Path | None) -> tuple[str, Head]:
    """A head grown from a FLAME file."""
    path = template or stand_in(heads / "flame.pkl")
    head = generated(replace(config, template=str(path)), heads / "from_flame")
    return f"{PROMPT}, from {'a file in the shape of FLAME' if template is None else path.name}", head


def stand_in(path: Path) -> Path:
    """A file as FLAME has it, of the open head: FLAME's own may not be passed on."""
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from flame_file import flame_like, write_flame

    return path if path.exists() else write_flame(path, flame_like().arrays)


def sheet(rows: Sequence[tuple[str, Head]], size: int) -> Image.Image:
    """A line of text and a row of pictures for each head."""
    views = look(torch.tensor(AZIMUTHS_DEG), elevation_deg=8.0, fov_y_deg=36.0)
    font = ImageFont.load_default(CAPTION * 2 / 3)
    picture = Image.new("RGB", (2 * len(views) * size, len(rows) * (CAPTION + size)), "white")
    for number, (caption, head) in enumerate(rows):
        # Drawn larger and averaged: the renderer takes one sample a pixel.
        drawn = torch.cat(render_pair(head.avatar, views, 2 * size))
        tiles = torch.nn.functional.avg_pool2d(drawn, 2)
        top = number * (CAPTION + size)
        ImageDraw.Draw(picture).text((4, top + 2), caption, fill="black", font=font)
        picture.paste(Image.fromarray(to_bytes(torch.cat(list(tiles), dim=2))), (0, top + CAPTION))
    return picture


if __name__ == "__main__":
    main()
