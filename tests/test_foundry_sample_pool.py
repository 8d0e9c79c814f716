"""The sample pool keeps up with a folder of shards that grows, and does not go on without those who fill it."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from headartist_foundry.train.sample_pool import LOOK, PORTION, SamplePool
from headartist_foundry.train.tokens import write_tokenizer
from headartist_foundry.train.training_context import caption_corpus
from test_foundry_data import make_shard


@pytest.fixture
def pool(tmp_path):
    write_tokenizer(caption_corpus(200), tmp_path / "tokenizer", merges=300, length=32)
    for number in range(3):
        black = make_shard()
        black = replace(black, rgb=np.zeros_like(black.rgb), normal=np.zeros_like(black.normal))
        black.save(tmp_path / f"shard_000_{number:05d}.npz")
    return SamplePool(tmp_path, tmp_path / "tokenizer", 32, torch.device("cpu"), workers=1, capacity=2 * PORTION)


def test_shards_rendered_meanwhile_are_drawn_from(pool, tmp_path):
    generator = torch.Generator().manual_seed(0)

    def brightest():
        return float(pool.draw(generator, PORTION // 4).pictures.mean(dim=(1, 2, 3)).max())

    assert brightest() < 1
    white = make_shard()
    white = replace(white, rgb=np.full_like(white.rgb, 255), normal=np.full_like(white.normal, 255))
    for number in (3, 4):
        white.save(tmp_path / f"shard_000_{number:05d}.npz")
    while pool.drawn < 4 * LOOK * PORTION:
        if brightest() == 1:
            break
    else:
        pytest.fail(f"none of {pool.drawn} samples was of the new shards")


def test_a_death_among_those_who_draw_is_noticed(pool):
    generator = torch.Generator().manual_seed(0)
    pool.draw(generator, PORTION // 4)
    (worker,) = pool._workers
    worker.kill()
    worker.join()

    def draw_on():
        for _ in range(100):  # what it had drawn already comes first
            pool.draw(generator, PORTION // 4)

    with pytest.raises(RuntimeError, match="has died"):
        draw_on()


KILLED = """
import multiprocessing, time
from headartist_foundry.train.sample_pool import end_with_parent

def work():
    end_with_parent()
    print("here", flush=True)
    time.sleep(600)

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    context.Process(target=work, daemon=True).start()
    print("started", flush=True)
    time.sleep(600)
"""


def test_a_worker_ends_when_its_training_is_killed(tmp_path):
    """The worker inherits stdout, which reads as closed when nobody is left who holds it."""
    script = tmp_path / "training.py"
    script.write_text(KILLED, encoding="utf-8")
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as training:
        assert training.stdout is not None
        assert {training.stdout.readline().strip() for _ in range(2)} == {"started", "here"}
        training.kill()
        assert training.communicate(timeout=60)[0] == ""
