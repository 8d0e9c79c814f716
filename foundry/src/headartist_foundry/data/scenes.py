"""Scenes: one character as layers of textured triangles."""

from dataclasses import dataclass, replace

import numpy as np

from headartist.heads.load import load_template
from headartist_foundry.data.bodies import Body, make_body
from headartist_foundry.data.makehuman_assets import BROWS, EYES, HAIR, SKINS, TEXTURE_SIZE, Garment, MakeHumanAssets
from headartist_foundry.data.paint import adorn, places, texel_places, wrinkle_depth
from headartist_foundry.data.procedural import Surface, make_beard, make_glasses, make_hat, measure_skull
from headartist_foundry.data.procedural_hair import make_hair, make_scalp, pressed
from headartist_foundry.data.traits import ALIEN_COLORS, CLOTH_COLORS, HAIR_COLORS, SKIN_TONES, STONE_COLORS, Traits

MADE_HAIR = {"long": 0.15, "bob": 0.15, "short": 0.15, "afro": 0.6}
"""Shares of hair made by formula where there are assets too."""
UNDERCOAT = 0.12  # centimetres
HAT_EASE = 1.07  # the hat is made for one skull; it shall hold hair on any
FURROW = 0.011  # world units; the depth of a wrinkle, 2.4 mm
Color = tuple[float, float, float] | np.ndarray


@dataclass(frozen=True)
class Layer:
    """Hold triangles of one material in the world frame."""

    material: str  # skin, eye, teeth, hair, cloth, stone, metal, matte: decides the gloss
    verts: np.ndarray  # n 3
    faces: np.ndarray  # f 3
    uv: np.ndarray  # f 3 2
    texture: np.ndarray  # h w 4 uint8
    opacity: np.ndarray | None = None  # n, multiplies the texture's alpha


def flat(color: Color, size: int = 4) -> np.ndarray:
    """Make a texture of one colour in [0, 1].

    It is `size size 4` uint8.
    """
    texture = np.full((size, size, 4), 255, np.uint8)
    texture[..., :3] = np.clip(np.asarray(color) * 255, 0, 255)
    return texture


def _strands(color: Color, rng: np.random.Generator, size: int = 256, contrast: float = 0.14) -> np.ndarray:
    """Sample streaks along v: hair without a picture of its own."""
    streaks = rng.standard_normal((1, size)) + 0.4 * rng.standard_normal((size, size))
    texture = np.full((size, size, 4), 255, np.uint8)
    texture[..., :3] = np.clip(np.asarray(color) * (1 + contrast * streaks[..., None]) * 255, 0, 255)
    return texture


def _speckle(color: Color, rng: np.random.Generator, size: int = 128) -> np.ndarray:
    """Sample dots of hair with gaps between: a beard."""
    texture = _strands(color, rng, size, contrast=0.2)
    texture[..., 3] = np.where(rng.random((size, size)) < 0.8, 255, 60)
    return texture


def _tint(texture: np.ndarray, factor: Color) -> np.ndarray:
    """Multiply a texture's colours."""
    tinted = texture.copy()
    tinted[..., :3] = np.clip(texture[..., :3] * np.asarray(factor), 0, 255)
    return tinted


def _recolor(texture: np.ndarray, color: Color, contrast: float = 1.0) -> np.ndarray:
    """Give a texture another colour, keeping light and dark."""
    light = texture[..., :3].astype(np.float32).mean(axis=-1)
    drawn = texture[..., 3] > 20
    level = float(np.median(light[drawn])) if drawn.any() else 128.0
    ratio = np.clip(1 + (light / max(level, 8.0) - 1) * contrast, 0, 1.7)
    result = texture.copy()
    result[..., :3] = np.clip(ratio[..., None] * np.asarray(color) * 255, 0, 255)
    return result


def _blotches(texture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sample the wounds of the undead."""
    size = texture.shape[:2]
    coarse = rng.standard_normal((12, 12))
    rows, columns = (np.linspace(0, 11, n).round().astype(int) for n in size)
    sore = coarse[np.ix_(rows, columns)] + 0.4 * rng.standard_normal(size) > 1.3
    result = texture.copy()
    result[sore, :3] = result[sore, :3] * np.array([0.6, 0.2, 0.2])
    return result


TONES = {"caucasian": (0.87, 0.68, 0.57), "asian": (0.86, 0.66, 0.48), "african": (0.36, 0.23, 0.16)}
TONE_BLEND = 0.2  # standard deviation of the step from one tone towards another


def _skin(traits: Traits, assets: MakeHumanAssets | None, rng: np.random.Generator) -> np.ndarray:
    """Sample the bare skin's texture.

    It has the origin's usual tone mixed a little with another, or the tone that is named.
    """
    jitter = 1 + 0.05 * rng.standard_normal(3)
    other = np.array(TONES[str(rng.choice(list(TONES)))])
    share = min(abs(TONE_BLEND * rng.standard_normal()), 0.4)
    tone = (np.array(TONES[traits.origin]) * (1 - share) + other * share) * jitter
    if traits.skin:
        tone = np.array(SKIN_TONES[traits.skin]) * (1 + 0.05 * rng.standard_normal(3))
    if assets is None:
        skin = flat(tone, TEXTURE_SIZE)
    else:
        dark = traits.sex == "man" and float(tone.mean()) < 0.4
        names = SKINS[(traits.sex, dark)]
        older = [name for name in names if not name.startswith("young")]
        younger = [name for name in names if name.startswith("young")]
        names = tuple({"old": older, "young": younger}.get(traits.age) or names)
        skin = _toned(assets.skin(str(rng.choice(names))), tone)
    match traits.kind:
        case "alien":
            return _recolor(skin, np.array(ALIEN_COLORS[traits.alien_color]) * jitter, contrast=0.5)
        case "zombie":
            return _blotches(_recolor(skin, np.array((0.46, 0.52, 0.38)) * jitter, contrast=1.1), rng)
        case _:
            return skin


def _toned(skin: np.ndarray, tone: np.ndarray) -> np.ndarray:
    """Give a skin another mean tone.

    Its own colours, such as those of lips, keep their difference.
    """
    mean = np.median(skin[texel_places(len(skin)).front, :3], axis=0) / 255
    return _tint(skin, tone / np.maximum(mean, 0.05))


def _worn(material: str, garment: Garment, texture: np.ndarray, body: Body) -> Layer:
    """Put on a garment that came with the assets."""
    return Layer(material, garment.fit(body.base), garment.faces, garment.uv, texture)


def _made(material: str, surface: Surface, texture: np.ndarray, opacity: np.ndarray | None = None) -> Layer:
    """Put on what was made by formula."""
    return Layer(material, *surface, texture, opacity)


def _face_layers(traits: Traits, body: Body, assets: MakeHumanAssets | None, rng: np.random.Generator) -> list[Layer]:
    """Make skin, eyes, teeth, brows and lashes."""
    template = body.head

    def own(part: str, material: str, texture: np.ndarray, verts: np.ndarray) -> Layer:
        """Take a part of the open head itself."""
        chosen = template.part_names.index(part) == template.part.numpy()
        uv = template.uv.numpy()[template.uv_faces.numpy()[chosen]]
        return Layer(material, verts, template.faces.numpy()[chosen], uv, texture)

    skin, depth = _skin(traits, assets, rng), None
    verts = body.head_verts
    if traits.wrinkles:
        seed = int(rng.integers(2**62))
        depth = wrinkle_depth(texel_places(len(skin)), np.random.default_rng(seed))
        furrows = wrinkle_depth(places(load_template("open").verts.numpy()), np.random.default_rng(seed))
        verts = verts - FURROW * furrows[:, None] * template.mesh("skin").vertex_normals().numpy()
    layers = [own("skin", "skin", adorn(skin, traits, depth, rng), verts)]
    black = traits.kind == "alien"
    if assets is None:
        white = (0.05, 0.05, 0.04) if black else (0.8, 0.78, 0.75)
        return [*layers, own("eyes", "eye", flat(white), body.head_verts)]
    garment, texture = assets.eyes(str(rng.choice(EYES[traits.eye_color])))
    if black:
        texture = flat((0.05, 0.055, 0.04))
    layers.append(_worn("eye", garment, texture, body))
    layers.append(_worn("teeth", *assets.teeth, body))
    if not black:
        garment, texture = assets.brows(str(rng.choice(BROWS[traits.sex])))
        layers.append(_worn("hair", garment, _recolor(texture, np.array(HAIR_COLORS[traits.hair_color]) * 0.6), body))
        layers.append(_worn("lash", *assets.lashes, body))
    return layers


def _hair_layers(traits: Traits, body: Body, assets: MakeHumanAssets | None, rng: np.random.Generator) -> list[Layer]:
    """Make hair by the assets, or by formula."""
    color = np.clip(np.array(HAIR_COLORS[traits.hair_color]) * (1 + 0.1 * rng.standard_normal()), 0, 1)
    names = HAIR.get(traits.hair, ())
    if assets is None or not names or rng.random() < MADE_HAIR.get(traits.hair, 0.0):
        strands = _strands(color, rng)
        return [_made("hair", surface, strands, opacity) for surface, opacity in make_hair(body, traits.hair, rng)]
    garment, texture = assets.hair(str(rng.choice(names)))
    return [_worn("hair", garment, _strands(color, rng) if texture is None else _recolor(texture, color), body)]


def _accessory_layers(
    traits: Traits, body: Body, assets: MakeHumanAssets | None, rng: np.random.Generator
) -> list[Layer]:
    """Make beard, glasses and hat."""
    skull = measure_skull(body)
    layers = []
    if traits.beard:
        color = np.array(HAIR_COLORS[traits.beard_color])
        layers += [
            _made("hair", surface, _speckle(color, rng), opacity)
            for surface, opacity in make_beard(body, skull, traits.beard, rng)
        ]
    if traits.glasses:
        frames, lenses = make_glasses(skull, rng)
        layers.append(
            _made("metal", frames, flat(rng.choice([(0.04, 0.04, 0.05), (0.35, 0.2, 0.08), (0.6, 0.6, 0.62)])))
        )
        if traits.glasses == "sunglasses":
            layers += [_made("lens", lens, flat((0.03, 0.03, 0.04))) for lens in lenses]
    if traits.hat:
        texture = flat(CLOTH_COLORS[traits.hat_color])
        if traits.hat == "fedora" and assets is not None:
            hat = _worn("cloth", assets.fedora, texture, body)
            ease = np.array([HAT_EASE, 1.0, HAT_EASE])
            layers.append(replace(hat, verts=skull.center + (hat.verts - skull.center) * ease))
        else:
            kind = "wizard hat" if traits.hat == "fedora" else traits.hat
            if kind == "knitted hat":
                texture = _strands(CLOTH_COLORS[traits.hat_color], rng, contrast=0.08)
            layers.append(_made("metal" if kind == "helmet" else "cloth", make_hat(skull, kind, rng), texture))
    return layers


def make_scene(traits: Traits, assets: MakeHumanAssets | None, rng: np.random.Generator) -> tuple[list[Layer], Body]:
    """Make the layers of a character, and the body beneath.

    Its landmarks are taken from that body. Without assets, hair, skins and eyes are made by formula, so that the
    foundry runs from pip alone.
    """
    body = make_body(traits, rng)
    layers = _face_layers(traits, body, assets, rng)
    if traits.hair != "bald":
        hair = _hair_layers(traits, body, assets, rng)
        if traits.hat:
            skull = measure_skull(body)
            hair = [replace(layer, verts=pressed(skull, layer.verts)) for layer in hair]
            # Where it is pressed below the skin, this shows instead.
            scalp, opacity = make_scalp(body, skull, UNDERCOAT)
            hair.append(_made("hair", scalp, flat(HAIR_COLORS[traits.hair_color]), opacity))
        layers += hair
    layers += _accessory_layers(traits, body, assets, rng)
    if traits.is_stone:
        color = np.array(STONE_COLORS[traits.kind]) * (0.96 + 0.08 * rng.random())
        material = "stone" if traits.kind == "marble" else "metal"
        layers = [_of_stone(layer, color, material) for layer in layers if layer.material != "lash"]
    return layers, body


def _of_stone(layer: Layer, color: np.ndarray, material: str) -> Layer:
    """Turn a layer to stone or metal of one colour."""
    texture = layer.texture.copy()
    texture[..., :3] = np.clip(color * 255, 0, 255)
    return Layer(material, layer.verts, layer.faces, layer.uv, texture, layer.opacity)
