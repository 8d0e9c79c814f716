"""The words of one view."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headartist.config.prompts import (
    BACK,
    FRONT,
    LONGEST_PROMPT,
    NEGATIVE,
    OVERHEAD,
    PREFIXES,
    SIDE,
    VIEW_WORDS,
    check_prompt,
    default_negative,
    edited_prompt,
    negative_text,
    plain_text,
    subject,
    view_mix,
    view_text,
    view_word,
)
from headartist.system.errors import HeadArtistError


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


@pytest.mark.parametrize("prompt", ["", "  ", "\n\t", "\u3000", "\u200b \u2060", "\ufeff"])
def test_an_empty_prompt_is_refused(prompt: str):
    with pytest.raises(HeadArtistError, match="empty"):
        check_prompt(prompt)


@pytest.mark.parametrize("letter", ["\0", "\x1b", "\x7f", "\x85x\x9b", "\ud800"])
def test_a_character_that_is_no_text_is_refused_and_shown_harmlessly(letter: str):
    with pytest.raises(HeadArtistError) as caught:
        check_prompt(f"a man{letter}")
    told = str(caught.value)
    assert told.endswith(f"a character in it that is no text, {letter[-1]!r}: leave it out.")
    assert told.isprintable()


def test_a_prompt_without_end_is_refused_at_once():
    assert check_prompt("é" * LONGEST_PROMPT) == "é" * LONGEST_PROMPT
    with pytest.raises(HeadArtistError) as caught:
        check_prompt("a man " * 200_000)
    assert str(caught.value) == (
        "The prompt has 1,200,000 characters: say it in 2,000, of which a prior reads the first few dozen words."
    )


@pytest.mark.parametrize("prompt", ["a <b>man</b> & ../he", "👩🏽‍🦱 with glasses", "!", "दाढ़ी वाला आदमी", "رجل"])
def test_every_other_text_is_a_prompt(prompt: str):
    assert check_prompt(prompt) == prompt


def test_blanks_do_not_matter():
    assert check_prompt("  a   head of\na clown ") == "a head of a clown"


@pytest.mark.parametrize(
    ("azimuth", "towards"),
    [
        (0.0, {FRONT: 1, SIDE: 0}),
        (-45.0, {FRONT: 0.5, SIDE: 0.5}),
        (90.0, {SIDE: 1, BACK: 0}),
        (225.0, {SIDE: 0.5, BACK: 0.5}),
        (180.0, {SIDE: 0, BACK: 1}),
    ],
)
def test_perp_neg_mixes_view_words_by_angle(azimuth: float, towards: dict[str, float]):
    assert dict(view_mix(azimuth, 0.0).towards) == pytest.approx(towards)


@given(st.floats(-720, 720), st.floats(-90, 90))
def test_a_view_mix_is_a_mixture_even_in_azimuth_that_moves_away_only(azimuth: float, elevation: float):
    mix = view_mix(azimuth, elevation)
    assert mix == view_mix(-azimuth, elevation)
    assert sum(share for _, share in mix.towards) == pytest.approx(1)
    assert all(share >= 0 for _, share in mix.towards)
    assert all(weight <= 0 for _, weight in mix.away)


@given(st.floats(0, 180), st.floats(-1e-6, 1e-6))
def test_a_view_mix_has_no_jumps_on_the_way_round(azimuth: float, further: float):
    """At the side too, where the words change: those that come and go have no share there."""

    def strengths(angle: float) -> list[float]:
        mix = view_mix(angle, 0.0)
        return [dict(words).get(word, 0.0) for words in (mix.towards, mix.away) for word in VIEW_WORDS]

    assert strengths(azimuth) == pytest.approx(strengths(azimuth + further), abs=2e-3)


def test_the_back_moves_away_from_the_face_and_the_front_from_the_side():
    front, back = dict(view_mix(0.0, 0.0).away), dict(view_mix(180.0, 0.0).away)
    assert front[SIDE] < -1.5 < -0.01 < front[FRONT]
    assert back[FRONT] < back[SIDE] < 0
    assert view_mix(30.0, 61.0).towards == ((OVERHEAD, 1.0),)


DRAWN = ("sketch", "cartoon", "drawing")


@pytest.mark.parametrize(
    "prompt", ["a DSLR portrait of a clown", "a clown", "a photo of a headmaster", "a header of x"]
)
def test_a_photograph_is_kept_from_drawings(prompt: str):
    assert all(word in default_negative(prompt) for word in (NEGATIVE, *DRAWN))


@pytest.mark.parametrize(
    "prompt", ["a head of Stormtrooper", "A Head of Elsa", "a portrait of a fox, cartoon", "Sketch of a man"]
)
def test_an_unreal_character_may_be_drawn(prompt: str):
    negative = default_negative(prompt)
    assert negative.startswith(NEGATIVE)
    assert not any(word in negative for word in DRAWN)


def test_a_negative_text_is_taken_as_it_is_but_for_its_placeholder():
    assert negative_text("cartoon", "a head of a fox") == "cartoon"
    assert negative_text("", "a head of a fox") == ""
    assert negative_text("hat, {negative}", "a clown") == f"hat, {default_negative('a clown')}"


def test_an_instruction_is_appended_or_says_all_by_itself():
    assert (
        edited_prompt("a DSLR portrait of an old man", "with a beard") == "a DSLR portrait of an old man, with a beard"
    )
    assert edited_prompt("a DSLR portrait of an old man", "a photo of a clown") == "a photo of a clown"
    assert edited_prompt("a head of a man, angry", "as a marble statue") == "a head of a marble statue of a man, angry"
    assert edited_prompt("a man", "as a bust") == "a bust of a man"
    assert edited_prompt("a man", "as a clown") == "a man, as a clown"
