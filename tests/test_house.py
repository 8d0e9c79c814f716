"""Laws of the house that no linter states: who may import heavy libraries, sizes, names, and what is never read."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = (ROOT / "src", ROOT / "foundry" / "src")
FILES = sorted(path for source in SOURCES for path in source.rglob("*.py"))
HOME = {
    "anny": {"headartist_foundry/data/bodies.py"},
    "cv2": {"headartist/heads/landmarks.py"},
    "diffusers": {
        "headartist/priors/load.py",
        "headartist_foundry/train/models.py",
        "headartist_foundry/train/stages.py",
    },
    "fast_simplification": {"headartist/export/simplify.py"},
    "huggingface_hub": {"headartist/priors/files/hub_client.py"},
    "imageio_ffmpeg": {"headartist/export/video.py"},
    "lpips": {"headartist/objectives/refine.py"},
    "pxr": {"headartist/export/usd.py"},
    "tokenizers": {"headartist_foundry/train/tokens.py"},
    "transformers": {"headartist/priors/load.py", "headartist_foundry/train/models.py"},
    "trimesh": {"headartist/heads/readers/mesh.py"},
    "tyro": {"headartist/commands/arguments.py", "headartist_foundry/__main__.py"},
    "xatlas": {"headartist/export/uv.py"},
}
LARGE = {
    "src/headartist/heads/open_head.npz",
    "src/headartist/priors/embedded/controlnet/diffusion_pytorch_model.safetensors",
    "src/headartist/priors/embedded/text_encoder/model.safetensors",
    "src/headartist/priors/embedded/unet/diffusion_pytorch_model.safetensors",
    "src/headartist/priors/embedded/vae/diffusion_pytorch_model.safetensors",
}
"""All that may be kept beyond a MiB: history never forgets a file."""
HOMELESS_NAMES = {"utils", "misc", "common", "helpers", "base"}


def place(path: Path) -> str:
    """Name a file by its path inside the source folder that holds it."""
    return next(path.relative_to(source).as_posix() for source in SOURCES if path.is_relative_to(source))


def imports(path: Path) -> set[str]:
    """Top-level packages that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("library", sorted(HOME))
def test_heavy_libraries_are_imported_in_their_one_place(library):
    importers = {place(path) for path in FILES if library in imports(path)}
    assert importers == HOME[library]


@pytest.mark.parametrize("path", FILES, ids=place)
def test_a_file_has_a_name_that_says_something_and_a_readable_length(path):
    assert path.stem not in HOMELESS_NAMES
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 350


def is_kernel(function: ast.FunctionDef) -> bool:
    """Whether Warp compiles it: a kernel is one function by nature."""
    return any(ast.unparse(decorator).startswith(("wp.kernel", "wp.func")) for decorator in function.decorator_list)


@pytest.mark.parametrize("path", FILES, ids=place)
def test_a_function_fits_on_a_screen(path):
    functions = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.FunctionDef)]
    lengths = {node.name: node.end_lineno - node.lineno + 1 for node in functions if not is_kernel(node)}
    assert {name: length for name, length in lengths.items() if length > 60} == {}


@pytest.mark.parametrize("path", FILES, ids=place)
def test_no_pickle_is_read(path):
    text = path.read_text(encoding="utf-8")
    assert not imports(path) & {"pickle", "joblib", "dill", "cloudpickle"}
    assert "torch.load(" not in text
    assert "allow_pickle=True" not in text


@pytest.mark.parametrize("path", FILES, ids=place)
def test_annotations_are_real_so_that_shapes_can_be_checked(path):
    assert "from __future__ import annotations" not in path.read_text(encoding="utf-8")


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, headartist; print(*sorted({'torch', 'warp', 'diffusers', 'numpy'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""


@pytest.mark.skipif(not (shutil.which("git") and (ROOT / ".git").exists()), reason="no git checkout")
def test_no_large_file_is_tracked_but_those_that_must_be():
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=True)
    tracked = [ROOT / name for name in listed.stdout.split("\0") if name]
    large = {path.relative_to(ROOT).as_posix() for path in tracked if path.is_file() and path.stat().st_size > 1 << 20}
    assert large == LARGE


def test_the_architecture_page_names_every_module_or_the_folder_it_lies_in() -> None:
    """Folders within a room may be told as a whole; a module right in a room is told by name."""
    package = ROOT / "src" / "headartist"
    named = set(re.findall(r"\w+", (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")))
    modules = [path for path in package.rglob("*.py") if not path.stem.startswith("__")]
    told = {path: path.parts[-2] if len(path.relative_to(package).parts) > 2 else path.stem for path in modules}
    assert [str(path.relative_to(ROOT)) for path, word in told.items() if word not in named] == []
