"""Make a head of every line of a file of prompts, and one picture of them: `python tools/gallery.py`.

Each head takes minutes on a CPU; heads that are already there are only drawn again.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from headartist import Head, generate, load_head
from headartist.avatars.avatar import Avatar
from headartist.config.config import Config
from headartist.config.presets import preset
from headartist.config.text import override
from headartist.export.pictures import to_bytes
from headartist.geometry.cameras import look
from headartist.render.shading import Shading
from headartist.training.checkpoint import is_finished
from headartist.training.folder import check_folder

AZIMUTHS_DEG = (0.0, 45.0, 90.0, 180.0)
CAPTION = 14  # pixels


def made(path: Path, config: Config, make: Callable[[], Head]) -> Head:
    """The finished head of that config in a folder, or the one that `make` puts there."""
    return load_head(path) if is_finished(check_folder(path, config), config) else make()


def strip(avatar: Avatar, words: str, size: int) -> Image.Image:
    """Four colour views beside the same four as normals, above the words they came from."""
    views = look(torch.tensor(AZIMUTHS_DEG), elevation_deg=8.0, fov_y_deg=36.0)
    with torch.no_grad():
        frame = avatar.render(views, 2 * size, Shading(), torch.ones(3))
    pictures = torch.nn.functional.avg_pool2d(torch.cat([frame.color, frame.normal_picture]), 2)
    strip = Image.new("RGB", (len(pictures) * size, size + CAPTION), "white")
    strip.paste(Image.fromarray(to_bytes(torch.cat(list(pictures), dim=2))))
    ImageDraw.Draw(strip).text((4, size), words, fill="black")
    return strip


def stacked(strips: list[Image.Image], columns: int) -> Image.Image:
    """Strips of one size, column after column."""
    width, height = strips[0].size
    rows = -(-len(strips) // columns)
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    for number, picture in enumerate(strips):
        sheet.paste(picture, (number // rows * width, number % rows * height))
    return sheet


def main() -> None:
    """Make what is missing, draw all of them, and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=Path, default=Path("examples/prompts.txt"), help="one prompt a line")
    parser.add_argument("--lines", type=int, nargs="*", help="only these, counted from 0")
    parser.add_argument("--preset", default="embedded")
    parser.add_argument("--set", nargs="*", default=[], help="overrides, as of `headartist generate`")
    parser.add_argument("--heads", type=Path, default=Path("heads/gallery"), help="folder of the Head folders")
    parser.add_argument("--out", type=Path, default=Path("docs/images/heads.png"))
    parser.add_argument("--size", type=int, default=96, help="pixels of one view")
    parser.add_argument("--columns", type=int, default=2)
    arguments = parser.parse_args()

    config = override(preset(arguments.preset), arguments.set)
    prompts = arguments.prompts.read_text(encoding="utf-8").splitlines()
    strips = []
    for number in arguments.lines or range(len(prompts)):
        path, prompted = arguments.heads / f"{number:02d}", replace(config, prompt=prompts[number])
        head = made(path, prompted, partial(generate, prompts[number], config, out=path))
        strips.append(strip(head.avatar, prompts[number], arguments.size))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    stacked(strips, arguments.columns).save(arguments.out, optimize=True)
    print(f"{arguments.out}: {len(strips)} heads")


if __name__ == "__main__":
    main()
