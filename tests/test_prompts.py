"""The words of one view."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headartist.errors import HeadArtistError
from headartist.prompts import PREFIXES, VIEW_WORDS, check_prompt, plain_text, subject, view_text, view_word


@pytest.mark.parametrize(
    ("azimuth", "elevation", "word"),
    [
        (0, 0, "front view"),
        (44.9, 0, "front view"),
        (45, 0, "side view"),
        (-90, 0, "side view"),
        (135, 0, "side view"),
        (135.1, 0, "back view"),
        (180, 60, "back view"),
        (0, 60.1, "overhead view"),
        (350, 0, "front view"),
        (-190, 0, "back view"),
    ],
)
def test_view_words_follow_the_documented_thresholds(azimuth: float, elevation: float, word: str):
    assert view_word(float(azimuth), float(elevation)) == word


@given(st.floats(-720, 720), st.floats(-90, 90))
def test_view_words_are_even_in_azimuth_and_come_from_the_list(azimuth: float, elevation: float):
    assert view_word(azimuth, elevation) == view_word(-azimuth, elevation)
    assert view_word(azimuth, elevation) in VIEW_WORDS


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_subject_is_the_prompt_without_its_prefix_in_any_case(prefix: str):
    assert subject(f"{prefix} an old man") == "an old man"
    assert subject(f"{prefix.upper()} an old man") == "an old man"


def test_a_prompt_without_known_prefix_is_its_own_subject():
    assert subject("a headmaster") == "a headmaster"
    assert subject("a head office") == "a head office"


def test_stage_texts():
    prompt = "a DSLR portrait of a clown"
    assert plain_text("{prompt}", prompt) == prompt
    assert plain_text("a normal map of {subject}", prompt) == "a normal map of a clown"
    assert view_text(prompt, "side view") == "a DSLR portrait of a clown, side view"


def test_braces_of_the_prompt_are_just_words():
    assert plain_text("{prompt}!", "a man with {subject} on his cap") == "a man with {subject} on his cap!"


@pytest.mark.parametrize("prompt", ["", "  ", "\n\t"])
def test_an_empty_prompt_is_refused(prompt: str):
    with pytest.raises(HeadArtistError, match="empty"):
        check_prompt(prompt)


def test_blanks_do_not_matter():
    assert check_prompt("  a   head of\na clown ") == "a head of a clown"
