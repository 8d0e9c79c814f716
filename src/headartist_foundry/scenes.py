"""Scenes: one character as layers of textured triangles."""

from dataclasses import dataclass

import numpy as np

from headartist_foundry.bodies import Body, make_body
from headartist_foundry.procedural import (
    Surface,
    make_beard,
    make_glasses,
    make_hair,
    make_hat,
    make_mohawk,
    measure_skull,
)
from headartist_foundry.traits import ALIEN_COLOURS, CLOTH_COLOURS, HAIR_COLOURS, STONE_COLOURS, Traits
from headartist_foundry.wardrobe import BROWS, EYES, HAIR, SKINS, Garment, Wardrobe

Colour = tuple[float, float, float] | np.ndarray


@dataclass(frozen=True)
class Layer:
    """Triangles of one material in the world frame."""

    material: str  # skin, eye, teeth, hair, cloth, stone, metal, matte: decides the gloss
    verts: np.ndarray  # n 3
    faces: np.ndarray  # f 3
    uv: np.ndarray  # f 3 2
    texture: np.ndarray  # h w 4 uint8
    opacity: np.ndarray | None = None  # n, multiplies the texture's alpha


def _flat(colour: Colour, size: int = 4) -> np.ndarray:
    texture = np.full((size, size, 4), 255, np.uint8)
    texture[..., :3] = np.clip(np.asarray(colour) * 255, 0, 255)
    return texture


def _strands(colour: Colour, rng: np.random.Generator, size: int = 256, contrast: float = 0.14) -> np.ndarray:
    """Hair without a picture of its own: streaks along v."""
    streaks = rng.standard_normal((1, size)) + 0.4 * rng.standard_normal((size, size))
    texture = np.full((size, size, 4), 255, np.uint8)
    texture[..., :3] = np.clip(np.asarray(colour) * (1 + contrast * streaks[..., None]) * 255, 0, 255)
    return texture


def _speckle(colour: Colour, rng: np.random.Generator, size: int = 128) -> np.ndarray:
    """Beard: dots of hair with gaps between."""
    texture = _strands(colour, rng, size, contrast=0.2)
    texture[..., 3] = np.where(rng.random((size, size)) < 0.8, 255, 60)
    return texture


def _tint(texture: np.ndarray, factor: Colour) -> np.ndarray:
    tinted = texture.copy()
    tinted[..., :3] = np.clip(texture[..., :3] * np.asarray(factor), 0, 255)
    return tinted


def _recolour(texture: np.ndarray, colour: Colour, contrast: float = 1.0) -> np.ndarray:
    """Keep the light and dark of a texture and give it another colour."""
    light = texture[..., :3].astype(np.float32).mean(axis=-1)
    drawn = texture[..., 3] > 20
    level = float(np.median(light[drawn])) if drawn.any() else 128.0
    ratio = np.clip(1 + (light / max(level, 8.0) - 1) * contrast, 0, 1.7)
    result = texture.copy()
    result[..., :3] = np.clip(ratio[..., None] * np.asarray(colour) * 255, 0, 255)
    return result


def _blotches(texture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Wounds of the undead."""
    size = texture.shape[:2]
    coarse = rng.standard_normal((12, 12))
    rows, columns = (np.linspace(0, 11, n).round().astype(int) for n in size)
    sore = coarse[np.ix_(rows, columns)] + 0.4 * rng.standard_normal(size) > 1.3
    result = texture.copy()
    result[sore, :3] = result[sore, :3] * np.array([0.6, 0.2, 0.2])
    return result


def _skin(traits: Traits, wardrobe: Wardrobe | None, rng: np.random.Generator) -> np.ndarray:
    jitter = 1 + 0.06 * rng.standard_normal(3)
    tones = {"caucasian": (0.87, 0.68, 0.57), "asian": (0.86, 0.66, 0.48), "african": (0.36, 0.23, 0.16)}
    if wardrobe is None:
        skin = _flat(np.array(tones[traits.origin]) * jitter)
    else:
        dark = traits.origin == "african" and traits.sex == "man"
        names = SKINS[(traits.sex, dark)]
        older = [name for name in names if not name.startswith("young")]
        younger = [name for name in names if name.startswith("young")]
        names = tuple({"old": older, "young": younger}.get(traits.age) or names)
        tint = {
            "caucasian": (1.0, 0.98, 0.95),
            "asian": (0.97, 0.88, 0.72),
            "african": (0.95, 0.9, 0.85) if dark else (0.55, 0.42, 0.34),
        }
        skin = _tint(wardrobe.skin(str(rng.choice(names))), np.array(tint[traits.origin]) * jitter)
    match traits.kind:
        case "alien":
            return _recolour(skin, np.array(ALIEN_COLOURS[traits.alien_colour]) * jitter, contrast=0.5)
        case "zombie":
            return _blotches(_recolour(skin, np.array((0.46, 0.52, 0.38)) * jitter, contrast=1.1), rng)
        case _:
            return skin


def _worn(material: str, garment: Garment, texture: np.ndarray, body: Body) -> Layer:
    return Layer(material, garment.fit(body.base), garment.faces, garment.uv, texture)


def _made(material: str, surface: Surface, texture: np.ndarray, opacity: np.ndarray | None = None) -> Layer:
    return Layer(material, *surface, texture, opacity)


def _face_layers(traits: Traits, body: Body, wardrobe: Wardrobe | None, rng: np.random.Generator) -> list[Layer]:
    """Skin, eyes, teeth, brows and lashes."""
    template = body.head

    def own(part: str, material: str, texture: np.ndarray) -> Layer:
        chosen = template.part_names.index(part) == template.part.numpy()
        uv = template.uv.numpy()[template.uv_faces.numpy()[chosen]]
        return Layer(material, body.head_verts, template.faces.numpy()[chosen], uv, texture)

    layers = [own("skin", "skin", _skin(traits, wardrobe, rng))]
    black = traits.kind == "alien"
    if wardrobe is None:
        layers.append(own("eyes", "eye", _flat((0.05, 0.05, 0.04) if black else (0.8, 0.78, 0.75))))
        return layers
    colours = EYES if traits.origin == "caucasian" else ("brown", "brown", "brownlight")
    garment, texture = wardrobe.eyes(str(rng.choice(colours)))
    if black:
        texture = _flat((0.05, 0.055, 0.04))
    layers.append(_worn("eye", garment, texture, body))
    layers.append(_worn("teeth", *wardrobe.teeth, body))
    if not black:
        garment, texture = wardrobe.brows(str(rng.choice(BROWS[traits.sex])))
        layers.append(
            _worn("hair", garment, _recolour(texture, np.array(HAIR_COLOURS[traits.hair_colour]) * 0.6), body)
        )
        layers.append(_worn("lash", *wardrobe.lashes, body))
    return layers


def _hair_layer(traits: Traits, body: Body, wardrobe: Wardrobe | None, rng: np.random.Generator) -> Layer:
    colour = np.clip(np.array(HAIR_COLOURS[traits.hair_colour]) * (1 + 0.1 * rng.standard_normal()), 0, 1)
    if traits.hair == "mohawk":
        return _made("hair", make_mohawk(measure_skull(body), rng), _strands(colour, rng))
    names = HAIR.get(traits.hair, ())
    made = wardrobe is None or not names or (traits.hair in ("long", "bob", "afro", "short") and rng.random() < 0.15)
    if made:
        style = {"braid": "long", "ponytail": "short"}.get(traits.hair, traits.hair)
        return _made("hair", make_hair(measure_skull(body), style, rng), _strands(colour, rng))
    assert wardrobe is not None
    garment, texture = wardrobe.hair(str(rng.choice(names)))
    return _worn("hair", garment, _strands(colour, rng) if texture is None else _recolour(texture, colour), body)


def _accessory_layers(traits: Traits, body: Body, wardrobe: Wardrobe | None, rng: np.random.Generator) -> list[Layer]:
    skull = measure_skull(body)
    layers = []
    if traits.beard:
        colour = np.array(HAIR_COLOURS[traits.beard_colour])
        layers += [
            _made("hair", surface, _speckle(colour, rng), opacity)
            for surface, opacity in make_beard(body, skull, traits.beard, rng)
        ]
    if traits.glasses:
        frames, lenses = make_glasses(skull, rng)
        layers.append(
            _made("metal", frames, _flat(rng.choice([(0.04, 0.04, 0.05), (0.35, 0.2, 0.08), (0.6, 0.6, 0.62)])))
        )
        if traits.glasses == "sunglasses":
            layers += [_made("metal", lens, _flat((0.03, 0.03, 0.04))) for lens in lenses]
    if traits.hat:
        texture = _flat(CLOTH_COLOURS[traits.hat_colour])
        if traits.hat == "fedora" and wardrobe is not None:
            layers.append(_worn("cloth", wardrobe.fedora, texture, body))
        else:
            kind = "wizard hat" if traits.hat == "fedora" else traits.hat
            if kind == "knitted hat":
                texture = _strands(CLOTH_COLOURS[traits.hat_colour], rng, contrast=0.08)
            layers.append(_made("metal" if kind == "helmet" else "cloth", make_hat(skull, kind, rng), texture))
    return layers


def make_scene(traits: Traits, wardrobe: Wardrobe | None, rng: np.random.Generator) -> tuple[list[Layer], Body]:
    """The character of `traits` as layers, with the body that its landmarks are taken from.

    Without a wardrobe, hair, skins and eyes are made by formula, so that the foundry runs from pip alone.
    """
    body = make_body(traits, rng)
    layers = _face_layers(traits, body, wardrobe, rng)
    if traits.hair != "bald":
        layers.append(_hair_layer(traits, body, wardrobe, rng))
    layers += _accessory_layers(traits, body, wardrobe, rng)
    if traits.is_stone:
        colour = np.array(STONE_COLOURS[traits.kind]) * (0.96 + 0.08 * rng.random())
        material = "stone" if traits.kind == "marble" else "metal"
        layers = [_of_stone(layer, colour, material) for layer in layers if layer.material != "lash"]
    return layers, body


def _of_stone(layer: Layer, colour: np.ndarray, material: str) -> Layer:
    texture = layer.texture.copy()
    texture[..., :3] = np.clip(colour * 255, 0, 255)
    return Layer(material, layer.verts, layer.faces, layer.uv, texture, layer.opacity)
