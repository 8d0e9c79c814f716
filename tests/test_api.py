"""The supported names: each once in `__all__` and in docs/api.md, imported when asked for, and typed."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import headartist

ROOT = Path(__file__).parents[1]


def test_importing_the_package_imports_none_of_its_modules_and_takes_no_time():
    code = """
    import sys, typing, time
    start = time.perf_counter()
    import headartist
    seconds = time.perf_counter() - start
    print(seconds, *(name for name in sys.modules if name.startswith("headartist.")))
    """
    told = [
        subprocess.run([sys.executable, "-c", inspect.cleandoc(code)], capture_output=True, text=True, check=True)
        for _ in range(3)
    ]
    seconds, *modules = min(each.stdout.split() for each in told)
    assert modules == []
    assert float(seconds) < 0.02


@pytest.mark.parametrize("name", headartist.__all__)
def test_a_supported_name_is_there_and_says_what_it_is(name):
    assert inspect.getdoc(getattr(headartist, name))
    assert name in dir(headartist)


def test_the_page_of_names_lists_each_once():
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    listed = re.findall(r"(?m)^\| \w* ?\| `(\w+)` \| \S", page)
    assert sorted(listed) == sorted(headartist.__all__)


def test_type_checkers_see_what_is_there_at_run_time():
    tree = ast.parse(Path(headartist.__file__).read_text(encoding="utf-8"))
    seen = {
        alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("headartist")
        for alias in node.names
    }
    assert sorted(seen) == sorted(headartist.__all__)
    for name, home in seen.items():
        module, _, attribute = home.rpartition(".")
        assert getattr(__import__(module, fromlist=[attribute]), attribute) is getattr(headartist, name)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'generat'"):
        headartist.generat  # noqa: B018


def test_a_users_program_passes_the_strict_type_checker(tmp_path: Path):
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--ignore-missing-imports"]
    command += ["--cache-dir", str(tmp_path), str(ROOT / "tests" / "client.py")]
    told = subprocess.run(command, cwd=ROOT / "src", capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout
