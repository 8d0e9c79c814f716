"""The verdict of judges that a prior never saw.

It is about samples, beside what they say of the renders themselves.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headartist.geometry.cameras import Cameras, look
from headartist.priors.prior import resized
from headartist.priors.stable_diffusion import StableDiffusionPrior
from headartist.render.shading import Shading
from headartist.runs.head import Head, load_head
from headartist.runs.provenance import template_at_rest
from headartist.system.errors import HeadArtistError
from headartist.system.files import write_text
from headartist.training.folder import HeadFolder
from headartist_foundry.data.pictures import Pictures
from headartist_foundry.judge.attribute_classifier import ATTRIBUTES, UNASKED, AttributeClassifier, ask
from headartist_foundry.judge.card import with_verdict
from headartist_foundry.judge.faces import find_faces
from headartist_foundry.judge.samples import LANDMARK_GUIDANCE_FROM, sample

RECORD = "verdict.json"
FRONTAL_DEG = 20.0
"""Azimuth and elevation up to which a face is seen from the front."""
CERTAIN = 0.8
"""How sure the detector must be of a second face: so sure it finds nine of ten frontal renders' faces, and none on the
backs of 78 renders' heads, while at its usual 0.5 to 0.7 it takes two or three of those, bare and smooth, for faces.
"""
BACK_AZIMUTHS = (135.0, 157.5, 180.0, 202.5, 225.0)
FRONT_AZIMUTHS = (-30.0, 0.0, 30.0)
HEAD_SIZE = 256
SAMPLES_AT_ONCE = 16


@dataclass(frozen=True)
class Judges:
    """Name who is asked.

    These are the classifier, a Python that has the face detector, and finished heads to look at from behind.
    """

    classifier: AttributeClassifier
    detector: Path | None = None
    heads: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Exhibit:
    """Hold samples and renders under the same captions and landmarks.

    The prior draws the samples; the captions tell of the renders.
    """

    samples: Tensor  # n 3 h w
    renders: Tensor  # n 3 h w
    captions: list[str]
    answers: Tensor  # n a
    shows_head: Tensor  # n h w bool, of the renders
    sites: np.ndarray  # n 478 2
    frontal: np.ndarray  # n bool
    normals: np.ndarray  # n bool
    cfg_scale: float = 3.0  # how much the samples were guided by their text,
    landmark_scale: float = 1.0  # and by their landmarks


def make_exhibit(
    prior: StableDiffusionPrior, pictures: Pictures, count: int, *, cfg_scale: float, landmark_scale: float = 1.0
) -> Exhibit:
    """Draw samples, one view of each held-out head.

    They are up to `count` in colour, and a third as many as normals. It is a frontal view where there is one.
    """
    rng = np.random.default_rng(0)
    frontal = np.maximum(np.abs(pictures.azimuth_deg), np.abs(pictures.elevation_deg)) <= FRONTAL_DEG
    views = rng.permutation(pictures.facing)
    views = views[np.argsort(~frontal[views], kind="stable")]
    _, first = np.unique(pictures.head[views], return_index=True)
    chosen = views[np.sort(first)][:count]
    plan = [(int(index), False) for index in chosen] + [(int(index), True) for index in chosen[: count // 3]]
    questions = [ask(pictures, index, rng, normals=normals, complete=True) for index, normals in plan]
    marks = torch.stack([pictures.landmark_map(index, prior.landmark_size) for index, _ in plan])
    captions = [question.caption for question in questions]
    batches = [slice(start, start + SAMPLES_AT_ONCE) for start in range(0, len(plan), SAMPLES_AT_ONCE)]
    draw = partial(sample, prior, cfg_scale=cfg_scale, landmark_scale=landmark_scale)
    drawn = [draw(captions[b], marks[b], seed=b.start) for b in batches]
    indices = [index for index, _ in plan]
    return Exhibit(
        resized(torch.cat(drawn), pictures.size),
        torch.stack([question.picture for question in questions]),
        captions,
        torch.stack([question.answers for question in questions]),
        torch.stack([pictures.shows_head(index) for index in indices]),
        pictures.sites[indices],
        frontal[indices],
        np.array([normals for _, normals in plan]),
        cfg_scale,
        landmark_scale,
    )


@torch.no_grad()
def attribute_accuracy(
    classifier: AttributeClassifier, pictures: Tensor, sites: Tensor, answers: Tensor
) -> dict[str, float]:
    """Measure the share of right answers by attribute.

    It is over the pictures that show it; what none shows is left out.
    """
    scores = classifier.answers(classifier.features(pictures, sites))
    shares = {}
    for name, given, right in zip(ATTRIBUTES, scores, answers.T, strict=True):
        asked = right != UNASKED
        if asked.any():
            shares[name] = float((given.argmax(dim=1) == right)[asked].float().mean())
    return shares


@torch.no_grad()
def r_precision(classifier: AttributeClassifier, pictures: Tensor, sites: Tensor, captions: list[str]) -> float:
    """Measure how many pictures fit their own caption best."""
    scores = classifier.affinity(classifier.features(pictures, sites), captions)
    own = scores.diagonal()
    return float((own >= scores.amax(dim=1)).float().mean())


def saturation(pictures: Tensor, where: Tensor) -> float:
    """Average HSV saturation over the pixels in `where`.

    `where` is n h w, the pictures are in [0, 1].
    """
    high, low = pictures.amax(dim=1), pictures.amin(dim=1)
    return float(((high - low) / high.clamp_min(1e-3))[where].mean())


def judge_samples(exhibit: Exhibit, classifier: AttributeClassifier, detector: Path | None) -> dict[str, Any]:
    """Measure samples and renders alike, by judge."""
    color = torch.from_numpy(~exhibit.normals)
    frontal, sites = color & torch.from_numpy(exhibit.frontal), torch.from_numpy(exhibit.sites)
    figures: dict[str, Any] = {"pictures": len(exhibit.captions), "frontal": int(frontal.sum())}
    figures |= {"cfg_scale": exhibit.cfg_scale, "landmark_scale": exhibit.landmark_scale}
    figures["landmark_guidance_from"] = LANDMARK_GUIDANCE_FROM
    for who, shown in (("samples", exhibit.samples), ("renders", exhibit.renders)):
        shares = attribute_accuracy(classifier, shown, sites, exhibit.answers)
        figures[who] = {
            "attributes": {name: round(share, 3) for name, share in shares.items()},
            "attribute_accuracy": round(float(np.mean(list(shares.values()))), 3),
            "r_precision": round(r_precision(classifier, shown, sites, exhibit.captions), 3),
            "saturation": round(saturation(shown[color], exhibit.shows_head[color]), 3),
        }
        if detector:
            faces = find_faces(detector, shown[frontal])
            figures[who]["face_found"] = round(faces.rate, 3)
            if faces.found.any():
                figures[who]["landmark_error"] = round(faces.landmark_error(exhibit.sites[frontal.numpy()]), 3)
    return figures


@torch.no_grad()
def drawn_heads(heads: Sequence[Head], azimuths: tuple[float, ...]) -> Tensor:
    """Render finished heads before grey, h n 3 y x."""
    views, gray = _views(azimuths), torch.full((3,), 0.5)
    return torch.stack([head.avatar.render(views, HEAD_SIZE, Shading(), gray).color for head in heads])


def head_sites(head: Head, azimuths: tuple[float, ...]) -> Tensor:
    """Project the landmarks of a head's template, n l 2.

    They lie in [0, 1] inside the views; the template is the one that the head began with.
    """
    config = head.config
    rest, _ = template_at_rest(config.template, HeadFolder(head.folder))
    template = rest.as_asked(config.identity, config.expression)
    return _views(azimuths).project(template.site_positions(), 1)[0]


def _views(azimuths: tuple[float, ...]) -> Cameras:
    """Place cameras at some azimuths in degrees."""
    return look(torch.tensor(azimuths), 10.0, 30.0)


@torch.no_grad()
def r_precision_of_heads(classifier: AttributeClassifier, heads: Sequence[Head]) -> float:
    """Measure how many heads fit their own prompt best.

    The fit is averaged over their front views.
    """
    prompts = [head.config.prompt for head in heads]
    shown = drawn_heads(heads, FRONT_AZIMUTHS)
    features = [
        classifier.features(views, head_sites(h, FRONT_AZIMUTHS)) for h, views in zip(heads, shown, strict=True)
    ]
    scores = torch.stack([classifier.affinity(of_head, prompts).mean(dim=0) for of_head in features])
    return float((scores.diagonal() >= scores.amax(dim=1)).float().mean())


def judge_heads(folders: tuple[Path, ...], classifier: AttributeClassifier, detector: Path) -> dict[str, int | float]:
    """Measure finished heads: prompts they fit, faces they show."""
    heads = [load_head(folder) for folder in folders]
    backs, fronts = (drawn_heads(heads, azimuths).flatten(0, 1) for azimuths in (BACK_AZIMUTHS, FRONT_AZIMUTHS))
    return {
        "heads": len(heads),
        "heads_r_precision": round(r_precision_of_heads(classifier, heads), 3),
        "heads_face_found": round(find_faces(detector, fronts).rate, 3),
        "janus_rate": round(find_faces(detector, backs, CERTAIN).rate, 3),
    }


def give_verdict(folder: Path, exhibit: Exhibit, judges: Judges) -> dict[str, Any]:
    """Ask the judges about samples, and write what they say.

    It is written beside the prior in `folder`, and into its card.

    Raises:
        HeadArtistError: heads to look at, but no detector to look with.
    """
    if judges.heads and not judges.detector:
        raise HeadArtistError(f"{len(judges.heads)} heads are to be looked at from behind: give a --detector for that.")
    figures = judge_samples(exhibit, judges.classifier, judges.detector)
    if judges.heads and judges.detector:
        figures |= judge_heads(judges.heads, judges.classifier, judges.detector)
    write_text(folder / RECORD, json.dumps(figures, indent=1) + "\n")
    card = folder / "README.md"
    if card.is_file():
        write_text(card, with_verdict(card.read_text(encoding="utf-8"), figures))
    return figures
