"""The open head, smiling, as normals beside the landmark map that the prior would see. No training."""

import sys
from pathlib import Path

import torch

from headartist.export import save_png
from headartist.geometry.cameras import look
from headartist.heads import load_template
from headartist.heads.landmarks import landmark_map
from headartist.render import render_mesh


def main(out: Path = Path("heads/examples")) -> None:
    """Draw the head from four sides."""
    head = load_template("open").shaped(expression={"mouthSmileLeft": 1.0, "mouthSmileRight": 1.0, "jawOpen": 0.3})
    views = look(torch.tensor([0.0, 45.0, 90.0, 180.0]), elevation_deg=5.0)
    frame = render_mesh(head.mesh(), views, 256, torch.ones(3))
    marks = landmark_map(head, views, 256)
    rows = [torch.cat(list(pictures), dim=2) for pictures in (frame.normal_picture, marks)]
    save_png(out / "head_and_landmarks.png", torch.cat(rows, dim=1))
    print(f"{head.name}: {len(head.verts)} vertices, {len(head.expression_names)} expressions -> {out}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
