"""Faces: a landmark detector that was trained on photographs.

It is asked what it sees in samples and in finished heads.
"""

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from headartist.system.errors import HeadArtistError
from headartist_foundry.judge import face_detector

SHOWN_SIZE = 512  # pixels; the detector has seen photographs, not thumbnails
FACE_MESH = 468
IRISES = (468, 473)
INSTALL = "python -m venv DIR && DIR/bin/pip install mediapipe==0.10.21, then --detector DIR/bin/python"


@dataclass(frozen=True)
class Faces:
    """Hold what the detector saw in n pictures."""

    found: np.ndarray  # n bool
    points: np.ndarray  # n 478 2, in [0, 1] inside the picture

    @property
    def rate(self) -> float:
        """The share of pictures in which there is a face."""
        return float(self.found.mean())

    def landmark_error(self, sites: np.ndarray) -> float:
        """Average the distance to the sites asked for.

        Sites are n 478 2; distances are in shares of that between the irises. Pictures without a face do not count; not
        a number when there is none.
        """
        if not self.found.any():
            return float("nan")
        asked, seen = sites[self.found], self.points[self.found]
        width = np.linalg.norm(asked[:, IRISES[0]] - asked[:, IRISES[1]], axis=-1)
        distance = np.linalg.norm(asked[:, :FACE_MESH] - seen[:, :FACE_MESH], axis=-1).mean(axis=1)
        return float((distance / width).mean())


def find_faces(python: Path, pictures: Tensor, confidence: float = 0.5) -> Faces:
    """Ask the detector about pictures in [0, 1], n 3 h w.

    `python` is one that has it. It counts as a face what the detector is sure of to `confidence`, in [0, 1].

    Raises:
        HeadArtistError: when that Python cannot run the detector.
    """
    large = F.interpolate(pictures, size=(SHOWN_SIZE, SHOWN_SIZE), mode="bicubic", align_corners=False).clamp(0, 1)
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder) / "pictures.npz", Path(folder) / "faces.npz"
        np.savez(asked, pictures=(large * 255).round().byte().permute(0, 2, 3, 1).numpy())
        command = [str(python), face_detector.__file__, str(asked), str(answered), str(confidence)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            raise HeadArtistError(f"the detector's Python {python} cannot be started ({error}): {INSTALL}.") from error
        if done.returncode:
            reason = (done.stderr.strip() or "no message").splitlines()[-1]
            raise HeadArtistError(f"{python} cannot run the face detector ({reason}): {INSTALL}.")
        with np.load(answered, allow_pickle=False) as file:
            return Faces(file["found"], file["points"])
