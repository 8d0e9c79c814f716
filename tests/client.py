"""A program of a user's, for type checkers: it is checked with `mypy --strict`, and never run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from headartist import (
    Config,
    Exports,
    Head,
    HeadArtistError,
    Linear,
    Objective,
    Progress,
    Query,
    ScorePrior,
    Shot,
    Ssd,
    edit,
    edit_config,
    generate,
    generate_seeds,
    load_head,
    load_prior,
    preset,
    presets,
    view,
)


class Gray:
    """A prior that has seen one gray picture."""

    alpha_bar: Tensor = torch.linspace(0.99, 0.01, 100)
    picture_size = 16
    landmark_size = 0
    latent_shape: tuple[int, int, int] = (3, 16, 16)
    views_at_once = 1

    def encode(self, image: Tensor) -> Tensor:
        return image

    def decode(self, latent: Tensor) -> Tensor:
        return latent

    def embed(self, texts: tuple[str, ...]) -> Tensor:
        return torch.zeros(len(texts), 1, 1)

    def predict_noise(
        self, z_t: Tensor, t: Tensor, queries: Sequence[Query], pose: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        del t, pose
        return tuple(z_t for _ in queries)


class Bright:
    """An objective that wants everything white."""

    inner_steps = 1

    def losses(self, shot: Shot) -> Iterator[Tensor]:
        yield (1 - shot.look().picture).square().mean()

    def state_dict(self) -> dict[str, Tensor]:
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        assert not state


def tell(done: Progress) -> None:
    """Stop a run that goes nowhere."""
    if done.metrics["loss"] > 1e3 and done.seconds_left > 60:
        raise RuntimeError(f"{done.stage}, step {done.step} of {done.steps}")


def main() -> None:
    """Use every door."""
    geometry, texture, refinement = presets.EMBEDDED.stages
    shaped = replace(geometry.with_term(objective=Ssd(7.5)), t_max=Linear(0.9, 0.3))
    config: Config = replace(preset("quick"), stages=(shaped, texture, refinement), exports=Exports(formats=("glb",)))
    prior: ScorePrior = Gray()
    objective: Objective = Bright()
    try:
        head: Head = generate("a clown", config, prior=prior, objectives={"texture": objective}, progress=tell)
    except HeadArtistError as error:
        raise SystemExit(str(error)) from error
    head.export(formats=("glb", "obj"), texture_size=512)
    head.video(views=30)
    head.view(show=False)
    older = edit(head.folder, edit_config(head.folder, "as an old man", texture_steps=10), progress=False)
    view([older.folder, generate_seeds("a clown", config, 2, prior=load_prior("embedded"))])
    assert load_head(older.folder).avatar.to_mesh().verts.shape[1] == 3


if __name__ == "__main__":
    main()
