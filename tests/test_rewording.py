"""What the shipped prior is told of a prompt, and what the user is told of that."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headartist.config.words import parts, rewording, vocabulary
from headartist.config.words.parts import DENIES, THINGS, parse, render
from headartist.config.words.rewording import SYNONYMS, read
from headartist.config.words.vocabulary import HINTS, WORDS, known_words, nearest, unknown_words
from headartist_foundry.data import captions
from headartist_foundry.data.traits import sample_traits

TELL = "it was taught no names, professions or other languages: describe the face by age, sex, origin, build, skin, "
TELL += "hair, beard, glasses, hat, paint, expression or material"


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("a DSLR portrait of a woman without glasses", "a DSLR portrait of a woman"),
        ("a DSLR portrait of a man with no beard", "a DSLR portrait of a man"),
        ("a clean-shaven man", "a man"),
        ("an old man w/o a beard", "an old man"),
        ("a man sans beard", "a man"),
        ("a man minus his hat", "a man"),
        ("a man free of wrinkles, smiling", "a man, smiling"),
        ("no beard on this old man", "this old man"),
        ("no hat on a man with a beard", "a man with a beard"),
        ("a man without the face of a clown", "a man"),
        ("a clean shaven old man with glasses", "an old man with glasses"),
        ("a DSLR portrait of a clean-shaven, old man", "a DSLR portrait of an old man"),
        ("an old hatless man with a beard", "an old man with a beard"),
        ("a beardless man", "a man"),
        ("a wrinkle-free old woman", "an old woman"),
        ("a non-smiling woman", "a woman"),
        ("a woman, not smiling", "a woman"),
        ("a woman, NOT smiling. No hat!", "a woman"),
        ("a woman not wearing glasses or a hat, angry", "a woman, angry"),
        ("a man who isn\u2019t wearing a hat", "a man"),
        ("a man that has no beard or moustache", "a man"),
        ("a man with neither beard nor glasses", "a man"),
        ("a man without any visible facial hair at all", "a man"),
        ("a man with no hair on his face", "a man"),
        ("a man with no earrings", "a man"),
        ("a man with no beard smiling", "a man, smiling"),
        ("no beard", "a portrait"),
    ],
)
def test_what_is_denied_is_not_named(prompt: str, told: str):
    assert read(prompt).text == told
    assert not read(prompt).unknown


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("a man with no beard and long hair", "a man with long hair"),
        ("a man with no beard, glasses or hat", "a man"),
        ("a man without a beard, glasses and hat, smiling", "a man, smiling"),
        ("a man without a beard but with glasses", "a man with glasses"),
        ("a man with no beard or glasses and a red hat", "a man with a red hat"),
        ("a man with a beard and without glasses or a hat, happy", "a man with a beard, happy"),
        ("a zombie with no hat and with glasses", "a zombie with glasses"),
        ("a fat, happy man without a moustache wearing glasses", "a fat, happy man wearing glasses"),
        ("a man with a hat but no beard", "a man with a hat"),
        ("a man without glasses and smiling", "a man, smiling"),
    ],
)
def test_a_denial_ends_where_something_is_there_again(prompt: str, told: str):
    assert read(prompt).text == told


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("a man without hair", "a bald man"),
        ("a DSLR portrait of an old man with no visible hair, angry", "a DSLR portrait of an old bald man, angry"),
        ("a man with long hair and a beard, no hair", "a bald man with a beard"),
        ("a head without hair", "a head, bald"),
        ("a man with a shaved head and no facial hair", "a man, bald"),
        ("a man who is not bald", "a man with hair"),
        ("a bald man, not bald", "a man with hair"),
        ("a woman with an afro, not bald", "a woman with an afro"),
        ("a bald man without hair", "a bald man"),
    ],
)
def test_no_hair_is_bald_and_not_bald_has_hair(prompt: str, told: str):
    assert read(prompt).text == told


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("a man wearing a black hat and glasses, smiling, without the hat", "a man wearing glasses, smiling"),
        ("a portrait of a man in a hat, without the hat", "a portrait of a man"),
        ("a man with a beanie, no hat", "a man"),
        ("a man with a white beard, remove the beard and add glasses", "a man with glasses"),
        ("a man with glasses, take the glasses off", "a man"),
        ("a bearded man, without the beard", "a man"),
        ("a grey-haired man, not bearded", "a man with grey hair"),
        ("a man with long blonde hair, not blonde", "a man with long hair"),
        ("a smiling woman, not smiling", "a woman"),
        ("a man wearing a hat, without the hat, with a cap", "a man with a cap"),
        ("a man with a full beard on his chin, no beard", "a man"),
    ],
)
def test_what_an_edit_takes_away_goes_from_the_parents_words_too(prompt: str, told: str):
    assert read(prompt).text == told


@pytest.mark.parametrize(
    ("prompt", "told", "replaced"),
    [
        ("a guy with specs", "a man with glasses", {"guy": "man", "specs": "glasses"}),
        ("a woman with Beards", "a woman with Beard", {"Beards": "Beard"}),
        ("a hairless man", "a bald man", {"hairless": "bald"}),
        ("a bearded man with a hat", "a man with a beard and a hat", {"bearded": "with a beard"}),
        (
            "a grey-haired, bearded man",
            "a man with grey hair and a beard",
            {"grey-haired": "with grey hair", "bearded": "with a beard"},
        ),
        ("a man who is moustached", "a man with a moustache", {"moustached": "with a moustache"}),
        ("bearded", "with a beard", {"bearded": "with a beard"}),
        ("a white-bearded, old man", "an old man with a white beard", {"white-bearded": "with a white beard"}),
    ],
)
def test_exact_synonyms_are_exchanged_and_it_is_said(prompt: str, told: str, replaced: dict[str, str]):
    reading = read(prompt)
    assert (reading.text, dict(reading.replaced)) == (told, replaced)
    exchanged = ", ".join(f"{typed!r} as {put!r}" for typed, put in replaced.items())
    assert reading.warning == f"the embedded prior reads {exchanged}"


def test_what_is_not_known_is_told_with_what_comes_nearest():
    assert read("a DSLR portrait of Vincent van Gogh").warning == (
        f"the embedded prior does not know 'Vincent', 'van', 'Gogh'; {TELL}"
    )
    assert read("a fireman with a moustashe and a guy").warning == (
        "the embedded prior reads 'guy' as 'man'; and it does not know 'fireman', 'moustashe' (it knows 'moustache'); "
        + TELL
    )
    assert read("a grandmother with an orange wig").warning == (
        "the embedded prior does not know 'grandmother' (it knows 'old woman'), 'orange' (it knows 'ginger'), 'wig'; "
        + TELL
    )
    assert read("a smily man").warning == "the embedded prior does not know 'smily' (it knows 'smile')"
    assert read("a man with a beard").warning == ""


@pytest.mark.parametrize(
    ("prompt", "unknown"),
    [
        ("un hombre sin barba", ("un", "hombre", "sin", "barba")),
        ("一个戴眼镜的女人", ("一个戴眼镜的女人",)),
        ("😀, a man 🎉", ("😀", "🎉")),
        ("दाढ़ी", ("दाढ़ी",)),
        ("a 30 year old man", ("30", "year")),
        ("the man's very long hair: a photograph", ()),
        ("Zork zork ZORK", ("Zork",)),
        ("an african-american man", ()),
        ("a middle-aged, dark-skinned woman", ()),
        ("a high-quality cartoon", ("high", "quality", "cartoon")),
    ],
)
def test_words_of_any_script_are_known_or_not(prompt: str, unknown: tuple[str, ...]):
    assert read(prompt).unknown == unknown


def test_the_line_stays_short_whatever_is_typed():
    told = read(" ".join(f"{'x' * 50}{k}" for k in range(30))).warning
    assert told.count("…") == 6
    assert " and 24 more; " in told
    assert len(told) < 500
    assert "\n" not in told


@pytest.mark.parametrize(
    ("word", "known"),
    [
        ("smiles", "smile"),
        ("bronzed", "bronze"),
        ("yellowish", "yellow"),
        ("womna", "woman"),
        ("xyz", None),
        ("ed", None),
    ],
)
def test_the_nearest_word_is_found_by_stem_and_by_letters(word: str, known: str | None):
    assert nearest(word) == known


def test_a_caption_of_the_foundry_is_told_letter_by_letter():
    rng = np.random.default_rng(3)
    for k in range(400):
        prompt = captions.caption(sample_traits(rng), rng, normals=bool(k % 2), view_words="side view")
        assert (read(prompt).text, read(prompt).warning) == (prompt, "")


SOME = "a an old man woman with without no not wearing hat beard bearded glasses hair bald and or but , neither nor "
SOME += "clean-shaven hatless smiling guy Gogh in the who is 漢"
SOME_WORDS = st.sampled_from(re.split(" ", SOME))


@given(st.lists(SOME_WORDS, max_size=12).map(" ".join))
@example("without hat clean-shaven")
@example("no hat beardless")
def test_nothing_is_denied_any_more_and_reading_again_changes_nothing(prompt: str):
    text = read(prompt).text
    assert not {word.lower() for word in text.split()} & DENIES
    assert read(text).text == text
    assert not read(text).replaced


@given(st.text(max_size=80))
def test_any_text_can_be_read(prompt: str):
    reading = read(prompt)
    assert len(reading.text) <= 3 * len(prompt) + 40


@given(st.lists(SOME_WORDS, min_size=1, max_size=8).map(" ".join))
def test_parts_hold_every_word(prompt: str):
    words = [word for part in parse(prompt) for word in (*part.links, *part.words)]
    assert words == [word if word in part_words(prompt) else word.lower() for word in prompt.split()]


def part_words(prompt: str) -> set[str]:
    return {word for part in parse(prompt) for word in part.words}


def test_a_and_an_follow_the_captions():
    assert render(parse("an man , and a old lady")) == "a man, and an old lady"


# The words themselves


def test_the_shipped_words_are_those_of_the_captions():
    assert WORDS.read_text(encoding="utf-8") == "".join(f"{word}\n" for word in captions.vocabulary())
    synonyms = {word for phrases in captions.SYNONYMS.values() for phrase in phrases for word in split(phrase)}
    assert synonyms <= known_words()


def test_the_shipped_tokenizer_learned_every_word_as_one():
    vocabulary_file = Path(vocabulary.__file__).parents[2] / "priors" / "embedded" / "tokenizer" / "vocab.json"
    tokens = json.loads(vocabulary_file.read_text(encoding="utf-8"))
    assert [word for word in known_words() if f"{word}</w>" not in tokens] == []


def split(text: str) -> list[str]:
    return text.lower().replace("-", " ").split()


def test_tables_made_by_hand_lead_to_known_words_from_others():
    for table in (SYNONYMS, HINTS):
        for word, put in table.items():
            assert unknown_words(put) == (), put
            assert not {word} & known_words(), word
    # What a synonym is exchanged for is not exchanged again.
    assert {word: put for word, put in SYNONYMS.items() if read(f"a {put}").replaced} == {}
    assert known_words() >= THINGS
    assert known_words() >= parts.PERSONS | parts.HATS | parts.GLASSES | parts.FACIAL_HAIR | parts.HAIR
    assert set(rewording.SYNONYMS).isdisjoint(HINTS)
