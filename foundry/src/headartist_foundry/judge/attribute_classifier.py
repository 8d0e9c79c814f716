"""A classifier of attributes that the prior never saw.

It names what a picture shows and picks the caption it fits. It learns from shards of its own, rendered with another
seed, and shares no weight with the prior.
"""

import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from headartist.system.errors import HeadArtistError
from headartist.system.files import replacing
from headartist_foundry.data.answers import DOMAIN, hidden, possible_answers
from headartist_foundry.data.pictures import Pictures
from headartist_foundry.data.traits import Traits, renamed_trait

ATTRIBUTES = (
    DOMAIN,
    "kind",
    "sex",
    "age",
    "origin",
    "build",
    "expression",
    "hair",
    "hair_color",
    "beard",
    "glasses",
    "hat",
)
WHOLE, FACE = 64, 80  # pixels of what it looks at: the whole picture, and the face alone
FACE_EASE = 1.2  # of the face's landmarks, so that hairline and beard are in sight too
FEATURES, BUCKETS = 192, 4096
UNASKED = -100  # cross_entropy's word for "does not count"
TEMPERATURE = 0.07


@dataclass(frozen=True)
class Question:
    """Hold one picture and what is to be answered about it."""

    picture: Tensor  # 3 h w
    sites: Tensor  # 478 2, in [0, 1] inside the picture
    caption: str
    answers: Tensor  # a int64: the right answer to each of `ATTRIBUTES`, `UNASKED` where it cannot be seen


class AttributeClassifier(nn.Module):
    """Encode picture and text into one space, and classify each attribute.

    It looks twice: at the whole picture, and at the face, which may fill a sixteenth of it, always at the same size.
    """

    def __init__(self) -> None:
        super().__init__()
        self.see_whole, self.see_face = _sight(), _sight()
        width = 8 * FEATURES  # a quarter of each look, so that what is on top is told from what is below
        self.questions = nn.ModuleDict({name: nn.Linear(width, len(possible_answers()[name])) for name in ATTRIBUTES})
        self.words = nn.EmbeddingBag(BUCKETS, FEATURES, mode="mean")
        self.read = nn.Sequential(nn.Linear(FEATURES, FEATURES), nn.SiLU(), nn.Linear(FEATURES, FEATURES))
        self.show = nn.Linear(width, FEATURES)

    def features(self, pictures: Tensor, sites: Tensor, rng: np.random.Generator | None = None) -> Tensor:
        """Encode pictures of any size with their landmarks, n d.

        Pictures are in [0, 1], landmarks n 478 2 in [0, 1]. With `rng` it looks a little beside, nearer or farther, and
        at mirror images.
        """
        whole = torch.eye(2, 3, device=pictures.device).expand(len(pictures), -1, -1)
        looks = ((self.see_whole, whole, WHOLE), (self.see_face, face_frames(sites.to(pictures)), FACE))
        seen = []
        for see, frames, side in looks:
            shown = glimpse(pictures, frames if rng is None else jittered(frames, rng), side) * 2 - 1
            seen.append(F.adaptive_avg_pool2d(see(shown), 2).flatten(1))
        return torch.cat(seen, dim=1)

    def answers(self, features: Tensor) -> list[Tensor]:
        """Score every attribute, in the order of `ATTRIBUTES`."""
        return [self.questions[name](features) for name in ATTRIBUTES]

    def affinity(self, features: Tensor, captions: Sequence[str]) -> Tensor:
        """Compare every picture with every caption by cosine, n m."""
        buckets = [_buckets(caption) for caption in captions]
        starts = np.cumsum([0] + [len(row) for row in buckets[:-1]])
        flat = torch.tensor([bucket for row in buckets for bucket in row], device=features.device)
        texts = self.read(self.words(flat, torch.from_numpy(starts).to(features.device)))
        return F.normalize(self.show(features), dim=1) @ F.normalize(texts, dim=1).T


def _sight() -> nn.Sequential:
    """Build the convolutions of one look."""
    layers = []
    for before, after in pairwise((3, 32, 64, 128, FEATURES)):
        layers += [nn.Conv2d(before, after, 3, 2, 1), nn.GroupNorm(8, after), nn.SiLU()]
        layers += [nn.Conv2d(after, after, 3, 1, 1), nn.GroupNorm(8, after), nn.SiLU()]
    return nn.Sequential(*layers)


def face_frames(sites: Tensor) -> Tensor:
    """Frame the landmarks' squares as affine maps, n 2 3.

    They map [-1, 1] to the picture; landmarks are n 478 2 in [0, 1].
    """
    low, high = sites.amin(dim=1), sites.amax(dim=1)
    half = FACE_EASE * (high - low).amax(dim=1)
    frames = half[:, None, None] * torch.eye(2, 3, device=sites.device)
    frames[:, :, 2] = low + high - 1
    return frames


def jittered(frames: Tensor, rng: np.random.Generator) -> Tensor:
    """Shift, scale and mirror frames at random.

    Scales are 0.8 to 1.15, shifts up to a tenth of the half side, and half of them are mirrored.
    """
    count = len(frames)
    scale = rng.uniform(0.8, 1.15, (count, 1)) * np.stack([rng.choice([-1, 1], count), np.ones(count)], axis=1)
    scale, shift = (torch.from_numpy(x).to(frames) for x in (scale, rng.uniform(-0.1, 0.1, (count, 2, 1))))
    return torch.cat([frames[:, :, :2] * scale[:, None], frames[:, :, 2:] + frames[:, :, :2] @ shift], dim=2)


def glimpse(pictures: Tensor, frames: Tensor, side: int) -> Tensor:
    """Cut the frames out of pictures, n 3 side side.

    What lies outside the picture continues its edge.
    """
    while pictures.shape[-1] >= 4 * side:  # so that no pixel is passed over
        pictures = F.avg_pool2d(pictures, 2)
    grid = F.affine_grid(frames, [len(pictures), 3, side, side], align_corners=False)
    return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def _buckets(caption: str) -> list[int]:
    """Hash words and pairs of neighbouring words into buckets."""
    words = ["^", *re.findall(r"[a-z]+", caption.lower())]
    pairs = [f"{a} {b}" for a, b in pairwise(words)]
    return [zlib.crc32(term.encode()) % BUCKETS for term in words + pairs]


def right_answers(traits: Traits, *, normals: bool) -> Tensor:
    """Answer about a picture that shows the face, a int64."""
    unseen = hidden(traits) | ({"hair_color"} if normals else set())
    if traits.hair == "bald" and (traits.hat or traits.kind == "alien"):
        unseen = unseen | {"hair"}  # no caption says it
    truth = {name: getattr(traits, name) for name in ATTRIBUTES if name != DOMAIN}
    truth[DOMAIN] = "normals" if normals else "colour"
    numbers = [UNASKED if n in unseen else possible_answers()[n].index(truth[n]) for n in ATTRIBUTES]
    return torch.tensor(numbers)


def ask(pictures: Pictures, index: int, rng: np.random.Generator, *, normals: bool, complete: bool) -> Question:
    """Pose the question about one view.

    `complete` captions leave nothing out.
    """
    traits = pictures.traits[pictures.head[index]]
    text = pictures.caption(index, rng, normals=normals, view_words=complete, complete=complete)
    answers = right_answers(traits, normals=normals)
    sites = torch.from_numpy(pictures.sites[index])
    return Question(pictures.picture(index, normals=normals), sites, text, answers)


def varied(pictures: Tensor, rng: np.random.Generator) -> Tensor:
    """Vary the pictures' light, and their sharpness all alike.

    What they are to be named does not hang on that.
    """
    size = pictures.shape[-1]
    side = int(rng.integers(size // 2, size + 1))
    soft = F.interpolate(pictures, size=(side, side), mode="area")
    sized = F.interpolate(soft, size=(size, size), mode="bilinear", align_corners=False)
    light = torch.from_numpy(rng.uniform(0.85, 1.15, len(pictures))).to(sized)
    return (sized * light.view(-1, 1, 1, 1)).clamp(0, 1)


def classification_loss(
    classifier: AttributeClassifier, questions: list[Question], device: torch.device, rng: np.random.Generator
) -> Tensor:
    """Average the cross-entropies of attributes and of matching.

    Matching is to pick each other's caption and picture.
    """
    pictures = torch.stack([q.picture for q in questions]).to(device)
    features = classifier.features(varied(pictures, rng), torch.stack([q.sites for q in questions]), rng)
    right = torch.stack([q.answers for q in questions]).to(device)
    asked = [(s, right[:, k]) for k, s in enumerate(classifier.answers(features)) if (right[:, k] != UNASKED).any()]
    naming = torch.stack([F.cross_entropy(scores, truth, ignore_index=UNASKED) for scores, truth in asked]).mean()
    scores = classifier.affinity(features, [q.caption for q in questions]) / TEMPERATURE
    own = torch.arange(len(questions), device=device)
    return naming + 0.25 * (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own))


def train_attribute_classifier(
    paths: list[Path], steps: int, batch: int, device: torch.device, *, bfloat16: bool = False
) -> AttributeClassifier:
    """Train on shards, in mixed precision where asked.

    The learning rate falls to zero along a cosine.
    """
    pictures = Pictures(paths)
    views = pictures.facing
    if len(views) < batch:
        raise HeadArtistError(f"{len(views)} views of {len(paths)} shards show a face: render at least {batch}.")
    torch.manual_seed(0)  # the layers' initialisers know no generator
    # Channels last: its convolutions learn 1.6 times faster so on CPUs, and twice as fast with bfloat16.
    classifier: AttributeClassifier = AttributeClassifier().to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=1e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    rng = np.random.default_rng(0)
    for step in range(steps):
        chosen = rng.choice(views, batch, replace=False)
        questions = [ask(pictures, int(i), rng, normals=bool(rng.random() < 0.4), complete=False) for i in chosen]
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            loss = classification_loss(classifier, questions, device, rng)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if (step + 1) % 100 == 0 or step + 1 == steps:
            print(f"classifier step {step + 1}: loss {float(loss.detach()):.3f}", flush=True)
    classifier.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return classifier.eval()


def save_attribute_classifier(classifier: AttributeClassifier, path: Path, shards: list[str]) -> None:
    """Write its weights and what it learned from.

    That is the names of its shards, and the answers it knows.
    """
    metadata = {"shards": json.dumps(shards), "answers": json.dumps(possible_answers())}
    with replacing(path) as draft:
        save_file(classifier.state_dict(), draft, metadata=metadata)


def load_attribute_classifier(path: Path, seen: list[str]) -> AttributeClassifier:
    """Read what `save_attribute_classifier` wrote.

    Args:
        path: the file.
        seen: names of the shards that the prior to be examined learned from or is examined on.

    Raises:
        HeadArtistError: it learned from one of them, or knows other answers than the grammar of today.
    """
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    both = sorted(set(json.loads(metadata["shards"])) & set(seen))
    if both:
        raise HeadArtistError(f"the classifier {path} learned from {both[0]}, as the prior did: use another --seed.")
    known = {renamed_trait(name): values for name, values in json.loads(metadata["answers"]).items()}
    if known != possible_answers():
        raise HeadArtistError(f"the classifier {path} knows other traits than today's: train it again.")
    classifier = AttributeClassifier()
    classifier.load_state_dict({renamed_trait(key): value for key, value in load_file(path).items()})
    return classifier.eval()
