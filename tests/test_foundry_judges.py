"""The judges that a prior never saw: what they count, what they refuse, and the table they write."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from headartist import presets
from headartist.priors.stable_diffusion import StableDiffusionPrior
from headartist.runs.head import Head
from headartist.system.errors import HeadArtistError
from headartist_foundry.data.answers import possible_answers
from headartist_foundry.data.captions import caption
from headartist_foundry.data.pictures import Pictures
from headartist_foundry.data.traits import sample_traits
from headartist_foundry.judge import verdict
from headartist_foundry.judge.attribute_classifier import (
    ATTRIBUTES,
    FACE_EASE,
    UNASKED,
    AttributeClassifier,
    ask,
    face_frames,
    glimpse,
    jittered,
    load_attribute_classifier,
    right_answers,
    save_attribute_classifier,
    train_attribute_classifier,
)
from headartist_foundry.judge.card import model_card, with_verdict
from headartist_foundry.judge.faces import Faces, find_faces
from headartist_foundry.judge.verdict import (
    Exhibit,
    Judges,
    attribute_accuracy,
    give_verdict,
    judge_samples,
    make_exhibit,
    r_precision,
    saturation,
)
from test_foundry_data import PERSON, former, make_shard

MEDIAPIPE = '''
"""Stands in for the real detector: it is as sure of a face as a picture is bright; every landmark is in its middle."""
from types import SimpleNamespace


class FaceMesh:
    def __init__(
        self, static_image_mode, refine_landmarks, max_num_faces, min_detection_confidence, min_tracking_confidence
    ):
        assert static_image_mode and refine_landmarks and max_num_faces == 1
        assert min_tracking_confidence == min_detection_confidence
        self.least = 200 * min_detection_confidence

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def process(self, picture):
        assert picture.shape == (512, 512, 3)
        landmark = [SimpleNamespace(x=0.5, y=0.5)] * 478
        faces = [SimpleNamespace(landmark=landmark)]
        return SimpleNamespace(multi_face_landmarks=faces if picture.mean() >= self.least else None)
'''


@pytest.fixture
def detector(tmp_path, monkeypatch):
    room = tmp_path / "site" / "mediapipe" / "python" / "solutions"
    room.mkdir(parents=True)
    (room / "face_mesh.py").write_text(MEDIAPIPE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    return Path(sys.executable)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    shard = make_shard(count=16)
    replace(shard, azimuth_deg=np.zeros(16, np.float32)).save(folder / "shard_001_00000.npz")
    return [folder / "shard_001_00000.npz"]


@pytest.fixture(scope="module")
def classifier(shards):
    return train_attribute_classifier(shards, steps=2, batch=4, device=torch.device("cpu"))


def some_faces(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures of noise, and landmarks anywhere in them."""
    draws = torch.Generator().manual_seed(0)
    return torch.rand(count, 3, 48, 48, generator=draws), torch.rand(count, 478, 2, generator=draws)


def test_complete_captions_tell_every_attribute_that_is_asked_about():
    rng = np.random.default_rng(0)
    for _ in range(300):
        traits = sample_traits(rng)
        told = {caption(traits, np.random.default_rng(k), normals=False, complete=True) for k in range(8)}
        for thing, words in (("glasses", ("glass", "spectacles")), ("beard", ("beard", "goatee", "tache", "stubble"))):
            assert all(any(word in text for word in words) for text in told) == bool(getattr(traits, thing))
        assert len({text.startswith("a normal map") for text in told}) == 1


def test_what_does_not_show_is_not_asked():
    asked = dict(zip(ATTRIBUTES, right_answers(PERSON, normals=False).tolist(), strict=True))
    assert asked["hair_color"] == UNASKED  # he is bald
    assert possible_answers()["beard"][asked["beard"]] == "short beard"
    haired = replace(PERSON, hair="long")
    for normals in (False, True):
        asked = dict(zip(ATTRIBUTES, right_answers(haired, normals=normals).tolist(), strict=True))
        assert (asked["hair_color"] == UNASKED) == normals
        assert possible_answers()["domain"][asked["domain"]] == ("normals" if normals else "colour")
    alien = dict(zip(ATTRIBUTES, right_answers(replace(PERSON, kind="alien"), normals=False).tolist(), strict=True))
    assert {name for name, number in alien.items() if number == UNASKED} >= {"sex", "age", "origin", "build"}


def test_a_classifier_survives_its_file_and_refuses_what_it_learned_from(classifier, shards, tmp_path):
    path = tmp_path / "classifier.safetensors"
    save_attribute_classifier(classifier, path, [shards[0].name])
    loaded = load_attribute_classifier(path, ["shard_000_00000.npz"])
    shown = some_faces(3)
    assert torch.equal(loaded.features(*shown), classifier.features(*shown))
    with pytest.raises(HeadArtistError, match=r"learned from shard_001_00000\.npz"):
        load_attribute_classifier(path, ["shard_000_00000.npz", shards[0].name])


def test_a_classifier_of_former_names_is_read(classifier, tmp_path):
    path, weights = tmp_path / "examiner.safetensors", former(classifier.state_dict())
    answers = former(possible_answers())
    assert "questions.hair_colour.weight" in weights
    assert "hair_colour" in answers
    save_file(weights, path, metadata={"shards": "[]", "answers": json.dumps(answers)})
    loaded = load_attribute_classifier(path, [])
    assert all(torch.equal(value, classifier.state_dict()[name]) for name, value in loaded.state_dict().items())


def test_too_few_faces_are_refused(shards):
    with pytest.raises(HeadArtistError, match="render at least 64"):
        train_attribute_classifier(shards, steps=1, batch=64, device=torch.device("cpu"))


def test_it_looks_at_the_face_as_large_as_ever_wherever_it_is():
    sites = torch.rand(2, 478, 2, generator=torch.Generator().manual_seed(0)) * 0.2 + torch.tensor([0.5, 0.3])
    sites[1] = (sites[0] - 0.5) / 2 + 0.5
    ramp = torch.linspace(0, 1, 513)[1:] - 0.5 / 512
    picture = torch.stack([ramp.expand(512, 512), ramp[:, None].expand(512, 512), torch.zeros(512, 512)])
    seen = glimpse(picture.expand(2, -1, -1, -1), face_frames(sites), 40)
    shown = (sites.amin(1) + sites.amax(1)) / 2
    assert torch.allclose(seen[:, :2].mean(dim=(2, 3)), shown, atol=1e-3)
    widths = (seen[:, 0].amax(dim=(1, 2)) - seen[:, 0].amin(dim=(1, 2))) / (39 / 40)
    longest = (sites.amax(1) - sites.amin(1)).amax(dim=1)
    assert torch.allclose(widths, FACE_EASE * longest, atol=1e-3)


def test_a_look_beside_stays_near_and_may_be_mirrored():
    frames = torch.eye(2, 3).expand(200, -1, -1) * 0.5
    moved = jittered(frames, np.random.default_rng(0))
    assert ((moved[:, :, 2]).abs() <= 0.05).all()
    assert moved[:, 1, 1].min() >= 0.4
    assert moved[:, 1, 1].max() <= 0.575
    assert torch.equal(moved[:, 0, 0].abs(), moved[:, 1, 1])
    assert 60 < int((moved[:, 0, 0] < 0).sum()) < 140


def test_only_right_answers_that_were_asked_for_count(classifier):
    shown = some_faces(6)
    with torch.no_grad():
        given = torch.stack([scores.argmax(1) for scores in classifier.answers(classifier.features(*shown))], dim=1)
    assert set(attribute_accuracy(classifier, *shown, given).values()) == {1.0}
    wrong = given.clone()
    wrong[:3, 0], wrong[3:, 0], wrong[:, 1] = given[:3, 0] + 1, UNASKED, UNASKED
    shares = attribute_accuracy(classifier, *shown, wrong)
    assert shares[ATTRIBUTES[0]] == 0
    assert ATTRIBUTES[1] not in shares
    assert set(shares.values()) == {0.0, 1.0}


def test_r_precision_is_the_share_that_picks_its_own_caption(monkeypatch):
    scores = torch.tensor([[0.9, 0.1, 0.0], [0.8, 0.2, 0.1], [0.0, 0.1, 0.3]])
    monkeypatch.setattr(AttributeClassifier, "affinity", lambda *_: scores)
    assert r_precision(AttributeClassifier(), *some_faces(3), ["a", "b", "c"]) == pytest.approx(2 / 3)


def test_saturation_is_that_of_the_pixels_asked_for():
    pictures = torch.full((1, 3, 2, 2), 0.5)
    pictures[0, :, 0, 0] = torch.tensor([1.0, 0.0, 0.0])
    pictures[0, :, 0, 1] = torch.tensor([0.8, 0.6, 0.4])
    for where, expected in (([0, 0], 1.0), ([0, 1], 0.5), ([1, 1], 0.0)):
        mask = torch.zeros(1, 2, 2, dtype=torch.bool)
        mask[0, where[0], where[1]] = True
        assert saturation(pictures, mask) == pytest.approx(expected)


def test_landmark_error_is_in_distances_between_the_irises():
    sites = np.random.default_rng(0).random((2, 478, 2))
    width = np.linalg.norm(sites[:, 468] - sites[:, 473], axis=1)
    moved = sites + np.stack([width, 0 * width], axis=1)[:, None] * np.array([[[0.25]], [[9.0]]])
    assert Faces(np.array([True, False]), moved).landmark_error(sites) == pytest.approx(0.25)
    assert Faces(np.array([True, False]), moved).rate == 0.5
    assert np.isnan(Faces(np.zeros(2, bool), moved).landmark_error(sites))


def test_the_detector_answers_through_its_own_python(detector):
    pictures = torch.stack([torch.full((3, 32, 32), light) for light in (0.0, 0.5, 1.0)])
    faces = find_faces(detector, pictures)
    assert faces.found.tolist() == [False, True, True]
    np.testing.assert_array_equal(faces.points[1:], 0.5)
    assert find_faces(detector, pictures, 0.8).found.tolist() == [False, False, True]


@pytest.mark.parametrize("python", [Path(sys.executable), Path("no_such_python")], ids=["bare", "missing"])
def test_a_python_without_the_detector_is_told_how_to_get_it(python):
    with pytest.raises(HeadArtistError, match=r"pip install mediapipe==0\.10\.21"):
        find_faces(python, torch.zeros(1, 3, 32, 32))


def test_heads_are_matched_with_each_others_prompts_and_looked_at_from_both_sides(monkeypatch, detector):
    def bright_in_front(views, size, shading, _background):
        assert shading.color
        light = views.azimuth_deg.deg2rad().cos().clamp(min=0.5)  # from behind a face might be guessed at
        return SimpleNamespace(color=light[:, None, None, None].expand(-1, 3, size, size))

    avatar = SimpleNamespace(render=bright_in_front)
    configs = {Path(name): replace(presets.SMOKE, prompt=name) for name in "abc"}
    heads = {path: Mock(spec=Head, folder=path, avatar=avatar, config=config) for path, config in configs.items()}
    monkeypatch.setattr(verdict, "load_head", heads.__getitem__)
    asked = []

    def affinity(_self, features, prompts):
        asked.append((len(features), prompts))
        return torch.tensor([[0.1, 0.3, 0.2]]).expand(len(features), 3)  # everyone looks most like b

    monkeypatch.setattr(AttributeClassifier, "affinity", affinity)
    figures = verdict.judge_heads(tuple(heads), AttributeClassifier(), detector)
    assert asked == [(len(verdict.FRONT_AZIMUTHS), ["a", "b", "c"])] * 3
    assert figures == {"heads": 3, "heads_r_precision": 0.333, "heads_face_found": 1.0, "janus_rate": 0.0}


def exhibit_of_renders(shards) -> Exhibit:
    pictures = Pictures(shards)
    views = pictures.facing
    assert not pictures.spoiled[views].any()
    rng = np.random.default_rng(0)
    questions = [ask(pictures, int(i), rng, normals=bool(k % 2), complete=True) for k, i in enumerate(views)]
    renders = torch.stack([question.picture for question in questions])
    return Exhibit(
        renders,
        renders,
        [question.caption for question in questions],
        torch.stack([question.answers for question in questions]),
        torch.stack([pictures.shows_head(int(i)) for i in views]),
        pictures.sites[views],
        np.abs(pictures.azimuth_deg[views]) < 1,
        np.arange(len(views)) % 2 == 1,
    )


def test_renders_shown_as_samples_are_judged_as_renders(classifier, shards, detector, tmp_path):
    exhibit = exhibit_of_renders(shards)
    figures = judge_samples(exhibit, classifier, detector)
    assert figures["samples"] == figures["renders"]
    assert figures["pictures"] == len(exhibit.captions)
    assert figures["frontal"] == len(exhibit.captions) - len(exhibit.captions) // 2
    assert {"attribute_accuracy", "r_precision", "saturation", "face_found"} < set(figures["samples"])

    prior = tmp_path / "prior"
    prior.mkdir()
    gate = {"t": 800.0} | {
        f"{d}_{n}": 1.0
        for d in ("colour", "normal")
        for n in ("error", "wrong_text_percent", "wrong_landmarks_percent")
    }
    runs = [{"samples": 10, "minutes": 1.5, "device": "CPU core", "processes": 2}]
    card = model_card(10, 20, runs, gate, 128)
    assert "| 10 | 1.5 | 2 x CPU core |" in card
    (prior / "README.md").write_text(card)
    assert give_verdict(prior, exhibit, Judges(classifier)) == judge_samples(exhibit, classifier, None)
    first = (prior / "README.md").read_text()
    assert "guided by the text at 3 and, from a noise level of 0.6 on, by the landmarks at 1," in first
    assert f"{100 * figures['samples']['r_precision']:.1f} %" in first
    of_heads = {"heads": 12, "heads_r_precision": 0.75, "heads_face_found": 1.0, "janus_rate": 0.25}
    with_heads = with_verdict(first, figures | of_heads)
    assert with_heads.count("## Judges") == 1
    assert "| back views of 12 finished heads in which MediaPipe is sure of a face (Janus) | 25.0 % |" in with_heads
    assert [line for line in card.splitlines() if line not in first.splitlines()] == []
    with pytest.raises(HeadArtistError, match="--detector"):
        give_verdict(prior, exhibit, Judges(classifier, heads=(tmp_path,)))


def test_of_each_head_a_frontal_view_is_drawn_where_there_is_one(monkeypatch, tmp_path):
    shard = make_shard(count=12)
    azimuth = np.array([50, 40, 30, 15, 50, 12, 50, 50, -50, 50, 50, -18], np.float32)
    people = {"head": np.arange(12) % 4, "traits": (PERSON,) * 4, "spoiled": np.zeros(12, bool)}
    replace(shard, azimuth_deg=azimuth, **people).save(tmp_path / "shard_000_00000.npz")
    monkeypatch.setattr(verdict, "sample", lambda _prior, texts, *_, **__: torch.zeros(len(texts), 3, 32, 32))
    prior = Mock(spec=StableDiffusionPrior, landmark_size=32)
    exhibit = make_exhibit(prior, Pictures([tmp_path / "shard_000_00000.npz"]), 4, cfg_scale=1.0)
    frontal = np.isin(np.arange(12), [3, 5, 11])
    for sites, is_frontal in zip(exhibit.sites, exhibit.frontal, strict=True):
        (index,) = np.flatnonzero((shard.sites == sites).all(axis=(1, 2)))
        assert is_frontal == frontal[index]
        assert is_frontal == (index % 4 in (1, 3))
    assert len(np.unique(exhibit.sites, axis=0)) == 4
    assert exhibit.normals.sum() == 1
