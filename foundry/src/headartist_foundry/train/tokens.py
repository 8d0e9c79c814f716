"""Tokens: a small byte-pair vocabulary, learned from captions.

Its layout is that of CLIP's tokenizer.
"""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from headartist.priors.files.layout import TOKENIZER_FILES

WORD_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"


def tokenize(tokenizer: Any, captions: list[str]) -> Tensor:
    """Tokenize captions, padded to the longest text, n k."""
    length = tokenizer.model_max_length
    rows = tokenizer(captions, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    ids: Tensor = rows.input_ids
    return ids


def write_tokenizer(captions: list[str], folder: Path, *, merges: int = 1200, length: int = 32) -> int:
    """Learn a vocabulary, write it and return its size.

    `merges` pairs are learned from `captions`, and `folder` is written. Ids stand in CLIP's own order: byte symbols,
    the same with a word's end, merges, start, end. The end token pads.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token=END, end_of_word_suffix=WORD_END))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORD_PATTERN), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=2 * len(alphabet) + merges,
        end_of_word_suffix=WORD_END,
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(captions, trainer)
    pairs = [tuple(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]
    vocabulary = list(
        dict.fromkeys(alphabet + [symbol + WORD_END for symbol in alphabet] + ["".join(pair) for pair in pairs])
    )
    vocabulary += [START, END]
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    settings = special | {
        "add_prefix_space": False,
        "do_lower_case": True,
        "errors": "replace",
        "model_max_length": length,
        "tokenizer_class": "CLIPTokenizer",
    }
    texts = (
        json.dumps({token: number for number, token in enumerate(vocabulary)}, ensure_ascii=False),
        "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in pairs),
        json.dumps(settings, indent=1) + "\n",
        json.dumps(special, indent=1) + "\n",
    )
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in zip(TOKENIZER_FILES, texts, strict=True):
        (folder / name).write_text(text, encoding="utf-8")
    return len(vocabulary)
