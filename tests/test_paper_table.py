"""docs/paper.md promises where each equation lives; here it is held to that, by reading the source."""

import ast
import re
from pathlib import Path

import pytest

import headartist

PAGE = Path(__file__).parents[1] / "docs" / "paper.md"
NAMES = re.findall(r"`(headartist\.[\w.]+)`", PAGE.read_text(encoding="utf-8"))


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
    assert {f"headartist.distillation.{name}" for name in ("sds", "vsd", "ssd")} <= set(NAMES)


@pytest.mark.parametrize("name", sorted(set(NAMES)))
def test_a_name_in_the_table_exists(name):
    assert is_defined(name.split(".")[1:], Path(headartist.__file__).parent)


@pytest.mark.parametrize(
    "name", ["distillation.no_such", "no_such.ssd", "priors.prior.Noise.no_such", "distillation.ssd.no_such"]
)
def test_a_name_that_is_made_up_is_found_out(name):
    assert not is_defined(name.split("."), Path(headartist.__file__).parent)
