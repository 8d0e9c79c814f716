"""docs/paper.md promises where each equation lives; here it is held to that, by reading the source."""

import ast
import re
from pathlib import Path

import pytest

import headartist

PAGE = Path(__file__).parents[1] / "docs" / "paper.md"
TEXT = PAGE.read_text(encoding="utf-8")
NAMES = re.findall(r"`(headartist\.[\w.]+)`", TEXT)
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if re.match(r"\|.*\| `headartist\.[^|]*\|[^|]*\|$", line)
]
"""Where in the paper, what it prescribes, where in the code, whether it is followed."""


def is_defined(path: list[str], place: Path) -> bool:
    """Whether dotted names lead from a package folder through modules and classes to something that is defined."""
    name, *rest = path
    if place.is_dir():
        return is_defined(rest, place / name if (place / name).is_dir() else place / f"{name}.py")
    return place.is_file() and is_among(path, ast.parse(place.read_text(encoding="utf-8")).body)


def is_among(path: list[str], statements: list[ast.stmt]) -> bool:
    name, *rest = path
    for statement in statements:
        match statement:
            case ast.FunctionDef(name=found) if found == name:
                return not rest
            case ast.ClassDef(name=found) if found == name:
                return not rest or is_among(rest, statement.body)
            case ast.Assign(targets=[ast.Name(id=found)]) | ast.AnnAssign(target=ast.Name(id=found)) if found == name:
                return not rest
    return False


def test_the_three_objectives_are_in_the_table():
    assert {f"headartist.objectives.distillation.{name}" for name in ("sds", "vsd", "ssd")} <= set(NAMES)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}: {row[1]}")
def test_every_sentence_is_followed_or_has_a_reason_not_to_be(row: list[str]):
    place, prescribed, code, followed = row
    assert place
    assert prescribed
    assert re.fullmatch(r"`headartist\.[\w.]+`(, `headartist\.[\w.]+`)*", code)
    assert re.fullmatch(r"yes|(no|in part): .{20,}", followed)


def test_every_section_that_prescribes_something_has_rows():
    told = {place for row in ROWS for place in re.findall(r"(?<![\w.])(?:\d(?:\.\d)*|[A-F])(?![\w.])", row[0])}
    assert {"1", "3.1", "3.2", "3.3", "4.1", "4.2.1", "4.2.2", "4.3", "5.1", "5.3", "5.4.1", "5.4.2", "6"} <= told
    assert {"A", "C", "D", "E", "F"} <= told
    assert len(ROWS) > 60


@pytest.mark.parametrize("name", sorted(set(NAMES)))
def test_a_name_in_the_table_exists(name):
    assert is_defined(name.split(".")[1:], Path(headartist.__file__).parent)


@pytest.mark.parametrize(
    "name", ["distillation.no_such", "no_such.ssd", "priors.prior.Noise.no_such", "distillation.ssd.no_such"]
)
def test_a_name_that_is_made_up_is_found_out(name):
    assert not is_defined(name.split("."), Path(headartist.__file__).parent)
