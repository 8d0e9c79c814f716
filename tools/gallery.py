"""Make four heads and one picture of them: `python tools/gallery.py`.

Each head takes minutes on a CPU; heads that are already there are only drawn again.
"""

import argparse
from pathlib import Path

import torch
from PIL import Image

from headartist import generate
from headartist.cameras import look
from headartist.export.pictures import to_bytes
from headartist.presets import preset

PROMPTS = (
    "a DSLR portrait of an old bald man with short beard",
    "a DSLR portrait of a young woman with long blonde hair",
    "a DSLR portrait of an Asian woman with short black hair, smiling",
    "a head of a green alien",
)
AZIMUTHS_DEG = (0.0, 45.0, 90.0, 180.0)


def main() -> None:
    """Make what is missing, draw all of them, and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="embedded")
    parser.add_argument("--heads", type=Path, default=Path("heads/gallery"), help="folder of the Head folders")
    parser.add_argument("--out", type=Path, default=Path("docs/images/heads.png"))
    parser.add_argument("--size", type=int, default=128, help="pixels of one view")
    arguments = parser.parse_args()

    views = look(torch.tensor(AZIMUTHS_DEG), elevation_deg=8.0, fov_y_deg=36.0)
    rows = []
    for number, prompt in enumerate(PROMPTS):
        head = generate(prompt, preset(arguments.preset), out=arguments.heads / str(number))
        with torch.no_grad():
            frame = head.avatar.render(views, 2 * arguments.size, torch.ones(3), colour=True)
        pictures = torch.cat([frame.rgb, frame.normal_picture])
        small = torch.nn.functional.avg_pool2d(pictures, 2)
        rows.append(torch.cat(list(small), dim=2))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(to_bytes(torch.cat(rows, dim=1)))
    picture.quantize(256).save(arguments.out, optimize=True)
    print(f"{arguments.out}: {len(rows)} heads")


if __name__ == "__main__":
    main()
