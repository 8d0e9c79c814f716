"""A sentence becomes a head, at the smallest size, and the head is loaded again."""

from dataclasses import replace
from pathlib import Path

from headartist import generate, load_head, presets


def main(out: Path = Path("heads/examples/alien")) -> None:
    """Make the head, then open its folder."""
    config = replace(presets.SMOKE, seed=7)
    generate("a head of a green alien", config, out=out)
    head = load_head(out)
    mesh = head.avatar.to_mesh()
    print(f"{head.config.prompt}: {len(mesh.faces)} faces, files: {', '.join(sorted(p.name for p in out.iterdir()))}")


if __name__ == "__main__":
    main()
