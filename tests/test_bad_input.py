"""Whatever is typed or lies on the disk: one sentence, soon, and never a traceback; what is right stays accepted."""

import json
from dataclasses import replace
from importlib import import_module

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bad_inputs
import headartist.config.limits
from bad_inputs import AVATAR, CLASSES, CONFIG, GOOD_INPUTS, LONGEST_SENTENCE, changed_json
from headartist.avatars.tet import TetAvatar
from headartist.config.config import Config
from headartist.config.exports import Exports
from headartist.config.limits import (
    Need,
    avatar_needs,
    export_needs,
    machine_memory,
    most_file_bytes,
    require_memory,
    size_words,
    training_needs,
)
from headartist.config.presets import PRESETS, SMOKE
from headartist.config.text import from_json, override, to_json
from headartist.system.errors import HeadArtistError
from headartist.system.json_files import read_text
from headartist.training.folder import HeadFolder

BOUNDED = settings(max_examples=150, deadline=None, derandomize=True)
NUMBERS = st.one_of(st.integers(), st.floats(), st.integers(-3, 3).map(lambda power: 10.0**power))
WORDS = st.one_of(
    st.text(max_size=8), st.sampled_from(["Ssd", "Linear", "glb", "sdf", "cuda:1", "color", "true", "1", "nan", ""])
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, WORDS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(WORDS, st.just("type")), inner, max_size=3)
    ),
    max_leaves=6,
)
PLACES = [place for place, _ in bad_inputs.settings()]
PATHS = sorted(
    {
        ".".join(str(part) for part in _dotted)
        for _dotted in (
            (CONFIG.stages[place[1]].name, *place[2:]) if place[0] == "stages" else place for place in PLACES
        )
    }
)
LITERALS = st.one_of(
    NUMBERS.map(repr),
    WORDS,
    st.text("(){}[]-+*,.=0123456789eExSsd'\"\\ \n", max_size=40),
    st.builds(
        lambda name, inner: f"{name}({', '.join(map(repr, inner))})",
        WORDS,
        st.lists(st.one_of(NUMBERS, WORDS), max_size=4),
    ),
    st.sampled_from(bad_inputs.LITERALS),
)


@pytest.mark.parametrize("name", CLASSES)
def test_bad_input_is_told_in_one_sentence_before_slow_work_begins(name: str):
    ((_, counts, wrong, _),) = bad_inputs.table({name: CLASSES[name]})
    assert counts == {"told": len(CLASSES[name])}, "\n".join(line for line in wrong if ": told" not in line[:12])


@pytest.mark.parametrize("name", GOOD_INPUTS)
def test_good_input_is_accepted(name: str):
    ((_, counts, wrong, _),) = bad_inputs.table({name: GOOD_INPUTS[name]})
    assert counts == {"accepted": len(GOOD_INPUTS[name])}, "\n".join(wrong)


def _is_told_or_sensible(make) -> None:
    """Either a config that survives JSON, or one sentence."""
    try:
        config = make()
    except HeadArtistError as error:
        told = str(error)
        assert told
        assert told.isprintable()
        assert len(told) < LONGEST_SENTENCE
    else:
        assert from_json(to_json(config)) == config


@BOUNDED
@given(st.one_of(st.sampled_from(PATHS), st.text(max_size=20)), LITERALS)
def test_any_override_is_told_or_sensible(path: str, value: str):
    _is_told_or_sensible(lambda: override(SMOKE, [f"{path}={value}"]))


@BOUNDED
@given(st.sampled_from(PLACES), JSON)
def test_any_value_in_a_config_is_told_or_sensible(place, value):
    _is_told_or_sensible(lambda: from_json(changed_json(place, value)))


@BOUNDED
@given(st.one_of(st.text(max_size=200), JSON.map(json.dumps)))
def test_any_text_in_the_place_of_a_config_is_told(text: str):
    with pytest.raises(HeadArtistError):
        from_json(text)


def test_damaged_lines_of_the_metrics_are_dropped_and_whole_ones_kept(tmp_path):
    folder = HeadFolder(tmp_path)
    row = b'{"stage": "geometry", "step": 1}\n'
    folder.metrics.write_bytes(b"\n".join(bad_inputs.BAD_ROWS) + b"\n" + row + b"x" * 200_000 + b"\n" + row + row[:9])
    folder.trim_metrics(lambda line: line["stage"] == "geometry" and line["step"] < 3)
    assert folder.metrics.read_bytes() == row * 2


def test_a_sentence_is_printable_short_and_keeps_its_ends():
    told = str(HeadArtistError(f"one\ntwo\0{'x' * 999}\ud800\x1b[2J: use three."))
    assert told.startswith("one two\\x00xxx")
    assert told.endswith("xxx\\ud800\\x1b[2J: use three.")
    assert told.isprintable()
    assert len(told) < LONGEST_SENTENCE - len("headartist: ")


def test_a_text_file_is_read_without_its_byte_order_mark(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("\ufeffä", encoding="utf-8")
    assert read_text(path) == "ä"


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_fits_a_common_machine(name: str):
    require_memory(training_needs(PRESETS[name]), 16 << 30)
    require_memory(export_needs(PRESETS[name].exports), 16 << 30)


def test_too_much_is_told_with_what_there_is_and_what_would_fit():
    config = override(SMOKE, ["avatar.resolution=2000"])
    with pytest.raises(HeadArtistError) as caught:
        require_memory(avatar_needs(config.avatar), 24 << 30)
    assert str(caught.value) == (
        "avatar.resolution=2000 needs about 523 GB of memory and this machine has 24 GB: use 637 or less."
    )
    require_memory(avatar_needs(replace(config.avatar, resolution=637)), 24 << 30)


@given(st.integers(1, 1 << 34), st.integers(2, 2_048), st.integers(1, 3))
def test_the_largest_value_that_fits_does_and_the_next_does_not(room: int, value: int, power: int):
    need = Need("x", value, 2, lambda size: 70 * size**power)
    fits = need.largest(room)
    if fits:
        assert need.cost(fits) <= room
    assert fits == value or need.cost(max(fits + 1, 2)) > room


def test_of_all_stages_the_costliest_counts():
    config = override(SMOKE, ["geometry.render_size=4096", "texture.views=500"])
    with pytest.raises(HeadArtistError, match=r"^texture\.views=500 needs about"):
        require_memory(training_needs(config), 4 << 30)
    with pytest.raises(HeadArtistError, match=r"^geometry\.render_size=4096 needs about"):
        require_memory(training_needs(override(config, ["texture.views=1"])), 4 << 30)
    require_memory(training_needs(override(config, ["texture.views=1", "geometry.steps=0"])), 4 << 30)


def test_a_file_that_was_written_is_not_too_large():
    numbers = sum(tensor.numel() * tensor.element_size() for tensor in TetAvatar.empty(AVATAR).state_dict().values())
    assert 3 * numbers < most_file_bytes(AVATAR) < 4 * numbers + (2 << 20)


def test_entries_and_weights_are_those_of_the_fields():
    field = TetAvatar.empty(AVATAR).color
    assert len(field.encoding.table) == AVATAR.color.entries
    assert sum(each.numel() for each in field.mlp.parameters()) == AVATAR.color.weights(3)


def test_the_machine_says_how_much_memory_it_has(monkeypatch, tmp_path):
    assert machine_memory() > 1 << 28
    (tmp_path / "memory.max").write_text("1000000\n")
    monkeypatch.setattr(headartist.config.limits, "_CGROUPS", tmp_path)
    assert machine_memory() == 1_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert machine_memory() > 1 << 28


def test_where_the_system_does_not_tell_nothing_is_refused():
    require_memory(export_needs(Exports(texture_size=16_384)), 0)


def test_sizes_are_said_in_words():
    assert [size_words(size) for size in (5 << 20, 24 << 30, 130 << 30, 1 << 40)] == ["5 MB", "24 GB", "130 GB", "1 TB"]


def test_memory_is_a_matter_of_the_cpu_alone(monkeypatch):
    check = import_module("headartist.runs.generation").check_memory
    monkeypatch.setattr(headartist.config.limits, "machine_memory", lambda: 4 << 30)
    config: Config = override(SMOKE, ["texture.views=500", "run.device=cuda"])
    check(config)
    with pytest.raises(HeadArtistError, match="needs about"):
        check(override(config, ["run.device=cpu"]))
