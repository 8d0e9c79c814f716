"""Configs: values that survive JSON, can be overridden by path, and refuse nonsense in one sentence."""

import json
import subprocess
import sys
from dataclasses import fields, is_dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headartist.config.avatars import TetConfig
from headartist.config.config import Config
from headartist.config.objectives import Refine, Sds, Ssd
from headartist.config.presets import PAPER, PRESETS, SMOKE, preset
from headartist.config.schedules import Constant, Linear, Piecewise
from headartist.config.text import differences, from_json, override, to_json
from headartist.system.errors import HeadArtistError

# A preset with numbers of its own, so that tuning the presets leaves these laws alone.
START = replace(
    SMOKE, stages=tuple(s.with_term(objective=Ssd(7.5)) if s.name == "texture" else s for s in SMOKE.stages)
)

values = st.floats(0, 1)
schedules = st.one_of(
    st.builds(Constant, values),
    st.builds(Piecewise, values, values, values),
    st.builds(
        lambda first, last, span: Linear(first, last, *sorted(span)),
        values,
        values,
        st.tuples(values, values).filter(lambda span: span[0] != span[1]),
    ),
)
losses = st.one_of(
    st.builds(Ssd, st.floats(0, 200), values),
    st.builds(Sds, st.floats(0, 200)),
    st.builds(Refine, st.floats(0, 200), values, st.integers(1, 50)),
)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_json(name: str):
    assert from_json(to_json(PRESETS[name])) == PRESETS[name]


@given(schedules, losses, st.text(st.characters(codec="utf-8", exclude_characters="\0")), st.integers(0, 2**63 - 1))
def test_any_config_survives_json_exactly(schedule, loss, prompt: str, seed: int):
    stage = replace(SMOKE.stages[0].with_term(objective=loss), t_min=Constant(0.0), t_max=schedule)
    config = replace(SMOKE, prompt=prompt, seed=seed, stages=(stage,))
    assert from_json(to_json(config)) == config


TOGETHER = (
    "texture.t_min=0.72",
    "texture.t_max=0.74",  # below the t_min of before
    "texture.objective=Ssd(5)",
    "texture.objective.anchor=0.3",
    "views.azimuth_deg=100,200",  # refused beside the front_share of before
    "views.front_share=0",
    "seed=3",
)


@given(st.permutations(TOGETHER))
def test_overrides_are_made_at_once_so_that_their_order_does_not_matter(assignments: list[str]):
    before = override(SMOKE, ["texture.t_min=0.1", "texture.t_max=0.2"])
    changed = override(before, assignments)
    texture = changed.stages[1]
    assert (texture.t_min, texture.t_max) == (Constant(0.72), Constant(0.74))
    assert texture.term.objective == Ssd(5.0, anchor=0.3)
    assert (changed.views.azimuth_deg, changed.views.front_share, changed.seed) == ((100, 200), 0, 3)
    assert changed.stages[0] == SMOKE.stages[0]


def test_the_last_override_of_a_path_holds():
    assert override(SMOKE, ["seed=1", "geometry.steps=7", "seed=2", "geometry.steps=8"]) == override(
        SMOKE, ["seed=2", "geometry.steps=8"]
    )


def test_settings_that_json_leaves_out_have_their_defaults():
    data = json.loads(to_json(SMOKE))
    del data["views"], data["stages"][0]["weight_decay"]
    assert from_json(json.dumps(data)).stages == SMOKE.stages


def _paths(value, path: str = "") -> list[str]:
    """Every path that `override` should know, read off the values themselves."""
    found: list[str] = []
    for item in fields(value):
        inner = getattr(value, item.name)
        if item.name == "stages":
            for stage in inner:
                found += _paths(stage, f"{stage.name}.")
        elif item.name == "terms":
            for number, term in enumerate(inner):
                found += [*_paths(term, path), *_paths(term, f"{path}terms.{number}.")]
        elif is_dataclass(inner) and not isinstance(inner, Constant | Linear | Piecewise):
            found += _paths(inner, f"{path}{item.name}.")
        else:
            found.append(path + item.name)
    return found


def _written(value) -> str:
    match value:
        case tuple():
            return ",".join(_written(item) for item in value)
        case Constant(number):
            return repr(number)
        case str() | bool() | int() | float():
            return str(value)
    return repr(value)


def _at(config: Config, path: str):
    head, *rest = path.split(".")
    stages = {stage.name: stage for stage in config.stages}
    value = stages.get(head) or getattr(config, head)
    for name in rest:
        if isinstance(value, tuple):
            value = value[int(name)]
        else:
            value = getattr(value if hasattr(value, name) else value.term, name)
    return value


@pytest.mark.parametrize("path", _paths(PAPER))
def test_every_setting_can_be_overridden(path: str):
    assert override(PAPER, [f"{path}={_written(_at(PAPER, path))}"]) == PAPER


@pytest.mark.parametrize(
    ("assignment", "path", "value"),
    [
        ("texture.objective=Sds(50)", "texture.objective", Sds(50.0)),
        ("texture.objective=Ssd(7.5, anchor=0.3)", "texture.objective", Ssd(7.5, anchor=0.3)),
        ("texture.objective.anchor=0.25", "texture.objective", Ssd(7.5, anchor=0.25)),
        ("texture.t_max=Linear(0.98, 0.7, begin=0.3)", "texture.t_max", Linear(0.98, 0.7, begin=0.3)),
        ("texture.t_max=Piecewise(1, .5, .1)", "texture.t_max", Piecewise(1.0, 0.5, 0.1)),
        ("texture.t_max=0.5", "texture.t_max", Constant(0.5)),
        ("geometry.trains=sdf", "geometry.trains", ("sdf",)),
        ("exports.formats=glb,ply", "exports.formats", ("glb", "ply")),
        ("views.radius=3, 3.5", "views.radius", (3.0, 3.5)),
        ("texture.negative=a=b, c", "texture.negative", "a=b, c"),
        ("view_text=none", "view_text", "none"),
        ("avatar.color.levels=4", "avatar.color.levels", 4),
        ("prior.controlnet=none", "prior.controlnet", "none"),
    ],
)
def test_values_are_written_as_in_python(assignment: str, path: str, value):
    changed = override(START, [assignment])
    assert _at(changed, path) == value
    assert type(_at(changed, path)) is type(value)
    assert len(differences(START, changed)) == (0 if path.startswith("exports") else 1)


MISTAKES = {
    "geometry.stepz=3": "--set geometry.stepz names no setting: did you mean 'steps'?",
    "geometri.steps=3": "--set geometri.steps names no setting: did you mean 'geometry'?",
    "geometry=3": "--set geometry is a whole stage: name one of its settings, as in geometry.steps=300.",
    "geometry.steps": "--set 'geometry.steps' has no value: write path=value, as in geometry.steps=300.",
    "geometry.steps=3.5": "geometry.steps must be a whole number (got 3.5).",
    "geometry.steps=-1": "Stage geometry: steps must lie within 0 and 1,000,000 (got -1).",
    "geometry.steps=True": "geometry.steps must be a whole number (got True).",
    "geometry.objective=Sdd(3)": "geometry.objective cannot be 'Sdd': did you mean 'Ssd'?",
    "geometry.objective=3": "geometry.objective must be one of Ssd, Sds, Vsd, Refine (got 3).",
    "geometry.objective=Ssd(foo=3)": "geometry.objective has no setting 'foo': choose among cfg_scale, anchor.",
    "geometry.objective=Ssd(1, 2, 3)": (
        "geometry.objective has no setting '(3. argument)': choose among cfg_scale, anchor."
    ),
    "geometry.objective.cfg_scale=abc": "geometry.objective.cfg_scale must be a finite number (got 'abc').",
    "geometry.objective.cfg_scale=1e999": "geometry.objective.cfg_scale must be a finite number (got inf).",
    "texture.objective=Refine(7.5, -1)": "objective.perceptual must lie within 0 and 1,000,000 (got -1.0).",
    "texture.objective=Refine(7.5, ddim_steps=0)": "objective.ddim_steps must lie within 1 and 1,000 (got 0).",
    "texture.objective=Refine(7.5, inner_steps=0)": "objective.inner_steps must lie within 1 and 100,000 (got 0).",
    "texture.objective=Refine(7.5, views_per_inner_step=-1)": (
        "objective.views_per_inner_step must lie within 0 and 1,024 (got -1)."
    ),
    "texture.objective=Refine(7.5, facing_power=-1)": "objective.facing_power must lie within 0 and 100 (got -1.0).",
    "geometry.draws=normals": "geometry.draws cannot be 'normals': did you mean 'normal'?",
    "texture.draws=normal": ("Stage texture trains color but draws normal, where no color is seen: use draws=color."),
    "geometry.background=1,2": "geometry.background takes 3 values (got 2).",
    "geometry.background=1,2,3": "Stage geometry: background must lie within 0 and 1 (got 2.0).",
    "geometry.t_max=2": "Stage geometry: t_max must lie within 0 and 1 (got 2.0).",
    "geometry.t_max=0.01": "Stage geometry: t_min must stay at or below t_max (got 0.02 and 0.01).",
    "texture.t_max=Piecewise(1)": "texture.t_max.after is missing: Piecewise needs it.",
    "texture.t_max=Piecewise(1, 0.5, 5000)": "Piecewise's at must lie within 0 and 1 (got 5000.0).",
    "texture.t_max=Linear(1, 0, .5, .5)": (
        "Linear needs begin < end (got begin=0.5, end=0.5): use Piecewise(before, after, at) for a jump."
    ),
    "geometry.rates.mlp=-1": "rates.mlp must lie within 0 and 10 (got -1.0).",
    "geometry.regularizers.laplacian=-1": "regularizers.laplacian must lie within 0 and 1,000,000,000 (got -1.0).",
    "views.radius=4,3": "views.radius must be a range, low end first (got 4, 3).",
    "views.azimuth_deg=90,270": (
        "views.front_share wants a views.azimuth_deg within -180 and 180 that holds 0 (got 90, 270): "
        "use such a range, or views.front_share=0."
    ),
    "views.azimuth_deg=0,360": (
        "views.front_share wants a views.azimuth_deg within -180 and 180 that holds 0 (got 0, 360): "
        "use such a range, or views.front_share=0."
    ),
    "exports.video_size=255": "exports.video_size must be even (got 255).",
    "seed.x=3": "--set seed.x goes too deep: seed is 0 and has no settings of its own.",
    "seed=-1": "seed must lie within 0 and 9,223,372,036,854,775,807 (got -1).",
    "run.device=gpu": "run.device must be auto, cpu, cuda or cuda:N (got 'gpu').",
}


@pytest.mark.parametrize("assignment", MISTAKES)
def test_a_mistaken_override_is_told_in_one_sentence(assignment: str):
    with pytest.raises(HeadArtistError) as caught:
        override(SMOKE, [assignment])
    assert str(caught.value) == MISTAKES[assignment]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "heads/x/config.json is not JSON (line 1: Expecting property name enclosed in double quotes): mend or"),
        ("[]", "A config must be written as Config(...) (got [])."),
        ('{"seed": 1}', "stages is missing: Config needs it."),
        ('{"sede": 1, "stages": []}', "A config has no setting 'sede': did you mean 'seed'?"),
        ('{"stages": []}', "A config has 1 to 100 stages (got 0)."),
        ('{"stages": [1]}', "stages must be written as Stage(...) (got 1)."),
    ],
)
def test_damaged_json_is_told_in_one_sentence(text: str, sentence: str):
    with pytest.raises(HeadArtistError) as caught:
        from_json(text, source="heads/x/config.json")
    assert str(caught.value).startswith(sentence)


def test_an_unknown_mesh_format_suggests_the_nearest():
    """In a process of its own: here the shape checker would be the first to complain."""
    code = "from headartist.config.config import Exports; Exports(formats=('objs',))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr
    assert told.endswith("HeadArtistError: exports.formats cannot be 'objs': did you mean 'obj'?\n")


def test_differences_name_paths_and_leave_out_what_is_not_the_head():
    other = override(
        START, ["texture.objective.cfg_scale=10", "seed=3", "run.checkpoint_every=7", "exports.video_views=3"]
    )
    assert differences(START, other) == ["texture.objective.cfg_scale 7.5 -> 10", "seed 0 -> 3"]
    assert differences(START, START) == []


def test_differences_show_a_value_of_another_type_as_a_whole():
    other = override(START, ["texture.objective=Sds(50)", "texture.t_max=Piecewise(0.98, 0.7, 0.5)"])
    assert differences(START, other) == [
        "texture.objective Ssd(cfg_scale=7.5, anchor=0) -> Sds(cfg_scale=50)",
        "texture.t_max 0.98 -> Piecewise(before=0.98, after=0.7, at=0.5)",
    ]
    assert differences(START, replace(START, stages=START.stages[1:])) == [
        "stages (geometry, texture, refinement) -> (texture, refinement)"
    ]


def test_stage_names_must_differ_from_each_other_and_from_settings():
    geometry, *_ = SMOKE.stages
    with pytest.raises(HeadArtistError, match="different names"):
        replace(SMOKE, stages=(geometry, geometry))
    with pytest.raises(HeadArtistError, match="like a setting of the config"):
        replace(SMOKE, stages=(replace(geometry, name="seed"),))
    with pytest.raises(HeadArtistError, match="one word"):
        replace(geometry, name="two words")


def test_what_is_refined_is_a_picture():
    with pytest.raises(HeadArtistError) as caught:
        PAPER.stages[0].with_term(objective=Refine())
    assert str(caught.value) == (
        "Refine compares pictures, and a latent is drawn: use draws=color or draws=normal, or another objective."
    )


def test_an_unknown_preset_suggests_the_nearest():
    with pytest.raises(HeadArtistError) as caught:
        preset("papper")
    assert str(caught.value) == "There is no preset 'papper': did you mean 'paper'?"


def test_the_paper_preset_has_the_papers_constants():
    warm_up, geometry, texture, refinement = PAPER.stages
    assert (warm_up.steps, warm_up.steps + geometry.steps, texture.steps) == (1_000, 15_000, 20_000)
    assert (warm_up.term.draws, geometry.term.draws, texture.term.draws) == ("normal_opacity_latent", "normal", "color")
    assert {stage.term.objective for stage in (warm_up, geometry)} == {Ssd(100.0, anchor=0.0)}
    assert texture.term.objective == Ssd(7.5, anchor=0.0)
    assert (type(refinement.term.objective), refinement.term.objective.cfg_scale, refinement.steps) == (
        Refine,
        7.5,
        900,
    )
    assert (refinement.trains, refinement.term.draws) == (texture.trains, texture.term.draws)
    assert {stage.render_size for stage in PAPER.stages} == {512}
    assert {stage.views for stage in PAPER.stages} == {1}
    assert (geometry.t_min(0), geometry.t_max(0)) == (0.02, 0.5)
    assert [texture.t_max(step / 20_000) for step in (0, 4_999, 5_000, 19_999)] == [0.98, 0.98, 0.7, 0.7]
    consistency = geometry.regularizers.normal_consistency
    assert [consistency(step / 14_000) for step in (0, 3_999, 4_000)] == [7_000, 7_000, 10_000]
    assert geometry.regularizers.laplacian(0) == 10_000
    assert (texture.rates.grid(0), texture.rates.mlp(0)) == (1e-2, 1e-3)
    assert texture.background == (0.58, 0.47, 0.41)
    assert PAPER.views.fov_y_deg == (30, 50)
    assert PAPER.avatar == TetConfig()
    assert (PAPER.avatar.shape.levels, PAPER.avatar.shape.base, PAPER.avatar.shape.log2_table) == (16, 16, 19)
    assert PAPER.prior.model == "sd21"
