"""The foundry's training at a tiny size: it runs end to end, goes on where it stopped, and ships what it trained."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from headartist.config.words.vocabulary import WORDS
from headartist.priors import load_prior
from headartist.priors.files.layout import save_prior
from headartist.system.errors import HeadArtistError
from headartist_foundry.__main__ import main
from headartist_foundry.data.answers import visible
from headartist_foundry.data.captions import vocabulary
from headartist_foundry.judge.samples import sample
from headartist_foundry.train.caption_probe import CaptionProbe, probe_accuracy, probe_loss
from headartist_foundry.train.loop import TrainingPlan, train
from headartist_foundry.train.models import SCHEDULER, PriorModels
from headartist_foundry.train.ship import RECORD, evaluation, train_and_ship
from headartist_foundry.train.sizes import PriorSize
from headartist_foundry.train.stages import (
    spread_times,
    train_caption_probe,
    train_denoiser,
    train_vae,
)
from headartist_foundry.train.state import load_state, save_state
from headartist_foundry.train.tokens import write_tokenizer
from headartist_foundry.train.training_context import TrainingContext, caption_corpus
from test_foundry_data import PERSON, former, make_shard

TINY = PriorSize(
    picture=32,
    vae=(16, 48, 64),
    latent_channels=4,
    unet=(32, 32),
    heads=16,
    text=32,
    text_layers=1,
    landmark_embedding=(8, 8, 8, 8),
)
PLAN = TrainingPlan(steps=3, batch=2, rate=1e-1)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    for number in range(3):
        make_shard().save(folder / f"shard_000_{number:05d}.npz")
    return folder


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(caption_corpus(200), folder, merges=300, length=32)
    return folder


def make_context(data, run, tokenizer_folder, **options):
    run.mkdir(parents=True, exist_ok=True)
    if not (run / "tokenizer").exists():
        (run / "tokenizer").symlink_to(tokenizer_folder)
    return TrainingContext(data, run, TINY, **options)


def train_all(context, plan=PLAN):
    train_caption_probe(context, plan)
    train_vae(context, plan)
    return train_denoiser(context, plan)


def test_sizes_agree_with_the_networks():
    assert (TINY.latent, TINY.landmark) == (8, 64)
    assert (PriorSize().latent, PriorSize().landmark) == (32, 128)


def test_tokenizer_keeps_words_and_clip_order(tokenizer_folder):
    models = PriorModels(TINY, tokenizer_folder, seed=0)
    rows = models.tokens(["an old man", "AN OLD MAN", ""])
    assert rows.shape == (3, 32)
    assert torch.equal(rows[0], rows[1])
    assert models.tokenizer.decode(rows[0], skip_special_tokens=True).strip() == "an old man"
    start, end = models.tokenizer.bos_token_id, models.tokenizer.eos_token_id
    assert (start, end) == (len(models.tokenizer) - 2, len(models.tokenizer) - 1)
    assert rows[2].tolist() == [start] + [end] * 31


def test_the_controlnet_speaks_from_the_first_step(tokenizer_folder):
    models = PriorModels(TINY, tokenizer_folder, seed=0).eval()
    z, t, tokens = torch.zeros(1, 4, 8, 8), torch.tensor([500]), models.tokens(["a head"])
    with torch.no_grad():
        dark, light = (models.predict(z, t, tokens, torch.full((1, 3, 64, 64), value)) for value in (0.0, 1.0))
    assert float((dark - light).abs().max()) > 1e-5


def test_rates_warm_up_hold_and_fall():
    plan = TrainingPlan(steps=1000, batch=1, rate=1.0)
    rates = [plan.rate_at(step) for step in (0, 99, 500, 799, 900, 999)]
    assert rates == pytest.approx([0.01, 1.0, 1.0, 1.0, 0.5, 0.02])


def test_a_rate_may_fall_all_along():
    plan = TrainingPlan(steps=1000, batch=1, rate=1.0, fall=1.0)
    assert [plan.rate_at(step) for step in (250, 500, 900)] == pytest.approx([0.75, 0.5, 0.1])


def test_a_batch_has_noise_of_every_strength():
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([spread_times(8, 1000, generator) for _ in range(2000)])
    assert drawn.min() >= 0
    assert drawn.max() <= 999
    # One draw of an eighth of the schedule each, and each of them uniform in its eighth.
    assert torch.equal(drawn // 125, torch.arange(8).expand_as(drawn))
    assert torch.allclose((drawn % 125).float().mean(0), torch.tensor(62.0), atol=3)
    assert (drawn % 125).unique().numel() == 125


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(data, tmp_path, tokenizer_folder):
    whole = train_all(make_context(data, tmp_path / "whole", tokenizer_folder))
    context = make_context(data, tmp_path / "parts", tokenizer_folder)
    train_caption_probe(context, PLAN)
    train_vae(context, PLAN)

    class Stop(Exception):
        pass

    def stop(_samples, _seconds, _average):
        raise Stop

    with pytest.raises(Stop):
        train_denoiser(context, PLAN, stop, every_steps=2, save_steps=1)  # saved at step 1, stopped at 2
    resumed = train_all(make_context(data, tmp_path / "parts", tokenizer_folder))
    assert all(torch.equal(resumed.state_dict()[name], value) for name, value in whole.state_dict().items())
    lines = [json.loads(line) for line in (tmp_path / "parts" / "vae.jsonl").read_text().splitlines()]
    assert len(lines) == 1  # the finished VAE was taken as it was
    assert lines[0]["samples"] == PLAN.steps * PLAN.batch


def test_a_training_planned_by_time_ends_by_then_with_its_rate_fallen():
    plan = TrainingPlan(steps=10**6, batch=1, rate=1.0, seconds=100.0)
    assert plan.left_at(0, 0.0) == 1
    assert [plan.rate_at(500, seconds) for seconds in (50.0, 80.0, 90.0)] == pytest.approx([1.0, 1.0, 0.5])
    assert plan.left_at(500, 100.0) == 0


def test_a_training_planned_by_time_takes_what_steps_it_has_time_for(data, tmp_path, tokenizer_folder):
    context = make_context(data, tmp_path, tokenizer_folder)
    train_vae(context, replace(PLAN, steps=10**6, seconds=0.5))
    lines = [json.loads(line) for line in (tmp_path / "vae.jsonl").read_text().splitlines()]
    assert lines[-1]["seconds"] >= 0.5
    assert 0 < lines[-1]["step"] < 10**6


def test_a_gradient_out_of_range_is_left_out_but_not_for_ever(data, tmp_path, tokenizer_folder):
    context = make_context(data, tmp_path, tokenizer_folder)
    module = torch.nn.Linear(2, 1)
    before = module.weight.detach().clone()
    batches = iter(range(100))

    def broken(_rng, _generator):
        return module(torch.full((1, 2), float("nan") if next(batches) else 1.0)).mean()

    with pytest.raises(HeadArtistError, match="have not been finite for 20 steps"):
        train(context, "broken", module, TrainingPlan(steps=100, batch=1, rate=0.1), broken)
    assert next(batches) == 21
    assert torch.isfinite(module.weight).all()
    assert not torch.equal(module.weight, before)


def test_a_sample_pool_is_kept_full_by_other_processes(data, tmp_path, tokenizer_folder):
    context = make_context(data, tmp_path, tokenizer_folder, workers=1)
    generator = torch.Generator().manual_seed(0)
    rng = np.random.default_rng(0)
    ready = context.draw(rng, generator, 5)
    assert ready.pictures.shape == (5, 3, 32, 32)
    assert ready.landmark_map.shape == (5, 3, TINY.landmark, TINY.landmark)
    assert ready.tokens.shape == (5, 32)
    assert 0 <= float(ready.pictures.min()) < float(ready.pictures.max()) <= 1
    starts = context.models.tokenizer.bos_token_id
    assert (ready.tokens[:, 0] == starts).all()


def test_what_cannot_be_seen_is_not_asked_for():
    bald_statue = replace(PERSON, kind="marble", beard="")
    shown = visible(bald_statue)
    assert {name for name, value in shown.items() if value != getattr(bald_statue, name)} == {
        "origin",
        "hair_color",
        "beard_color",
        "hat_color",
        "alien_color",
        "eye_color",
        "paint_color",
    }
    alien = visible(replace(PERSON, kind="alien"))
    assert alien["alien_color"] == "green"
    assert alien["age"] == alien["sex"] == ""


def test_the_reader_learns_to_read(data, tmp_path, tokenizer_folder):
    context = make_context(data, tmp_path / "run", tokenizer_folder)
    before = probe_accuracy(CaptionProbe(context.models), context.models)
    train_caption_probe(context, TrainingPlan(steps=150, batch=32, rate=1e-2, ema=0.9))
    probe = CaptionProbe(context.models)
    training = torch.optim.AdamW(probe.questions.parameters(), lr=0.1)
    rng = np.random.default_rng(5)
    for _ in range(30):  # new questions on the frozen text encoder
        captions, right = probe.lesson(rng, 64)
        loss = probe_loss(probe(context.models.tokens(captions)), right)
        training.zero_grad()
        loss.backward()
        training.step()
    after = probe_accuracy(probe, context.models)
    assert after["domain"] > max(0.95, before["domain"])
    assert after["sex"] > 0.6
    assert not any(p.requires_grad for p in context.models.text_encoder.parameters())


def test_state_survives_its_file_to_the_bit(tmp_path):
    module = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1)
    module(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    save_state(tmp_path / "state.safetensors", {"m": module}, optimizer, {"step": 7})
    other = torch.nn.Linear(3, 2)
    other_optimizer = torch.optim.AdamW(other.parameters(), lr=0.1)
    assert load_state(tmp_path / "state.safetensors", {"m": other}, other_optimizer) == {"step": 7}
    for one, two in ((module, optimizer), (other, other_optimizer)):
        two.zero_grad()
        (one(torch.full((1, 3), 2.0)) ** 2).sum().backward()
        two.step()
    assert torch.equal(module.weight, other.weight)
    assert torch.equal(module.bias, other.bias)


def test_what_is_trained_is_shipped_judged_sampled_and_trained_on(data, tmp_path, tokenizer_folder):
    context = make_context(data, tmp_path / "run", tokenizer_folder)
    plan = replace(PLAN, rate=1e-3)
    train_vae(context, plan)
    average = train_denoiser(context, plan, evaluation(context, tmp_path / "prior"))
    record = json.loads((tmp_path / "prior" / RECORD).read_text())
    assert record["samples"] == plan.steps * plan.batch
    assert f"+{record['colour_wrong_text_percent']} %" in (tmp_path / "prior" / "README.md").read_text()
    assert len(list((tmp_path / "run").glob("samples_*.png"))) == 1
    assert (tmp_path / "prior" / WORDS.name).read_text().split() == vocabulary()

    prior = load_prior(tmp_path / "prior", device="cpu")
    assert (prior.picture_size, prior.landmark_size, prior.latent_shape) == (32, 64, (4, 8, 8))
    texts, marks = ["a head", "a normal map of a head"], torch.zeros(2, 3, 64, 64)
    pictures = sample(prior, texts, marks, steps=2)
    assert pictures.shape == (2, 3, 32, 32)
    assert 0 <= float(pictures.min()) <= float(pictures.max()) <= 1
    assert torch.equal(pictures, sample(prior, texts, marks, steps=2))
    # Black maps say nothing to be guided by, whatever the scale, and leave the rounding of a larger batch; others do.
    usual, guided = (sample(prior, texts, marks, steps=2, landmark_scale=scale) for scale in (1.0, 100.0))
    torch.testing.assert_close(guided, usual, rtol=0, atol=1e-4)
    marks = torch.ones_like(marks)
    usual, guided = (sample(prior, texts, marks, steps=2, landmark_scale=scale) for scale in (1.0, 100.0))
    assert (guided - usual).abs().max() > 3e-3
    # One step sees no noise level but the first, where landmarks do not guide yet.
    assert torch.equal(*(sample(prior, texts, marks, steps=1, landmark_scale=scale) for scale in (1.0, 100.0)))

    again = TrainingContext(data, tmp_path / "again", TINY, start=tmp_path / "prior")
    for name, value in context.models.text_encoder.state_dict().items():
        torch.testing.assert_close(
            again.models.text_encoder.state_dict()[name], value.to(torch.float16).to(value.dtype), rtol=0, atol=0
        )
    assert again.models.vae.config.scaling_factor == context.models.vae.config.scaling_factor
    for name, value in average.state_dict().items():
        torch.testing.assert_close(again.models.denoiser().state_dict()[name], value.half().float(), rtol=0, atol=0)
    assert not again.must_train("vae")
    refitted = TrainingContext(data, tmp_path / "refitted", TINY, start=tmp_path / "prior", refit=True)
    assert refitted.must_train("vae")
    train_vae(refitted, plan)
    assert refitted.models.vae.config.scaling_factor == again.models.vae.config.scaling_factor
    kept, changed = (
        {name for name, value in refitted.models.vae.state_dict().items() if torch.equal(value, before[name]) == same}
        for before in [again.models.vae.state_dict()]
        for same in (True, False)
    )
    assert {name for name in kept if name.startswith("encoder.")}
    assert changed
    assert {name.split(".")[0] for name in changed} <= {"decoder", "post_quant_conv"}
    train_and_ship(refitted, replace(plan, steps=0), tmp_path / "sharper", tmp_path / "prior", 1)
    assert json.loads((tmp_path / "sharper" / RECORD).read_text())["samples"] == record["samples"]
    unet = Path("unet", "diffusion_pytorch_model.safetensors")
    assert (tmp_path / "sharper" / unet).read_bytes() == (tmp_path / "prior" / unet).read_bytes()

    train_denoiser(again, plan, evaluation(again, tmp_path / "prior", tmp_path / "prior"))
    both = json.loads((tmp_path / "prior" / RECORD).read_text())
    assert both["samples"] == 2 * record["samples"]
    assert [run["samples"] for run in both["runs"]] == 2 * [record["samples"]]
    assert both["runs"][0] == record["runs"][0]
    assert (record["runs"][0]["device"], record["runs"][0]["processes"]) == ("CPU core", 1)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory, tokenizer_folder):
    """A prior folder whose weights are those it was born with, and its models."""
    folder, models = tmp_path_factory.mktemp("untrained") / "prior", PriorModels(TINY, tokenizer_folder, seed=7)
    parts = {name: getattr(models, name) for name in ("unet", "controlnet", "vae", "text_encoder")}
    save_prior(folder, **parts, tokenizer_folder=tokenizer_folder, scheduler_config=SCHEDULER, dtype=torch.float32)
    return folder, models


def test_a_start_takes_what_fits_and_tells_what_it_did_not(data, tmp_path, untrained, capsys):
    folder, models = untrained
    context = TrainingContext(data, tmp_path, replace(TINY, vae=(8, 8, 16)), start=folder)
    assert {part for part in context.left if context.must_train(part)} == {"vae"}
    assert "weights of vae do not fit" in capsys.readouterr().out
    for part in ("unet", "controlnet", "text_encoder"):
        for name, value in getattr(models, part).state_dict().items():
            assert torch.equal(getattr(context.models, part).state_dict()[name], value)
    old, new = models.vae.state_dict(), context.models.vae.state_dict()
    taken = {name for name in new if name in old and torch.equal(new[name], old[name])}
    assert taken == set(new) - set(context.left["vae"])
    assert taken


def test_words_that_both_vocabularies_know_keep_their_embeddings(data, tmp_path, untrained):
    folder, models = untrained
    other = ["a wholly new sentence about a marmalade zeppelin and an old man"] * 50
    write_tokenizer(other, tmp_path / "tokenizer", merges=60, length=32)
    context = TrainingContext(data, tmp_path, TINY, start=folder, new_words=True)
    assert context.must_train("text_encoder")
    old, new = (m.tokenizer.get_vocab() for m in (models, context.models))
    before, after = (m.text_encoder.get_input_embeddings().weight for m in (models, context.models))
    shared = set(old) & set(new)
    assert {"old</w>", "<|endoftext|>"} <= shared
    assert any(old[word] != new[word] for word in shared)
    assert all(torch.equal(before[old[word]], after[new[word]]) for word in shared)


def test_a_state_keeps_to_the_sizes_it_was_begun_with(data, tmp_path, tokenizer_folder):
    make_context(data, tmp_path, tokenizer_folder)
    with pytest.raises(HeadArtistError, match="was begun with text 32, not 64"):
        TrainingContext(data, tmp_path, replace(TINY, text=64))


def test_a_decoder_to_refit_must_be_some_priors(data, tmp_path):
    with pytest.raises(HeadArtistError, match="--start"):
        TrainingContext(data, tmp_path, TINY, refit=True)


def test_a_state_of_former_names_goes_on(tmp_path):
    module = torch.nn.ModuleDict({"hair_color": torch.nn.Linear(3, 2)})
    optimizer = torch.optim.AdamW(module.parameters())
    module["hair_color"](torch.ones(1, 3)).sum().backward()
    optimizer.step()
    save_state(tmp_path / "today.safetensors", {"live": module}, optimizer, {"step": 7})
    tensors = former(load_file(tmp_path / "today.safetensors"))
    assert "live/hair_colour.weight" in tensors
    save_file(tensors, tmp_path / "former.safetensors", metadata={"numbers": "{}"})
    other = torch.nn.ModuleDict({"hair_color": torch.nn.Linear(3, 2)})
    load_state(tmp_path / "former.safetensors", {"live": other}, torch.optim.AdamW(other.parameters()))
    assert torch.equal(other["hair_color"].weight, module["hair_color"].weight)


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("render", ["--assets"]),
        ("train", ["--workers", "--drawers", "--probe-steps", "--reader-steps", "--picture"]),
        ("classifier", ["--bfloat16"]),
        ("examiner", ["--bfloat16"]),
        ("judge", ["--classifier", "--examiner"]),
    ],
)
def test_commands_and_options_are_known_by_their_former_names_too(command, options, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert set(options) <= set(re.findall(r"--[\w-]+", capsys.readouterr().out))


def test_a_mistake_on_the_command_line_gets_one_sentence(tmp_path, capsys):
    command = ["train", "--data", str(tmp_path), "--state", str(tmp_path), "--out", str(tmp_path / "prior")]
    assert main([*command, "--steps", "0"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(command) == 2
    assert "render at least 3" in capsys.readouterr().err


def test_shards_of_another_size_are_refused(data, tmp_path):
    with pytest.raises(HeadArtistError, match="holds pictures of 32 px, the prior's have 64"):
        TrainingContext(data, tmp_path, replace(TINY, picture=64))


def test_too_few_shards_are_refused(tmp_path):
    with pytest.raises(HeadArtistError, match="0 shards: render at least 3"):
        TrainingContext(tmp_path, tmp_path / "run", TINY)
