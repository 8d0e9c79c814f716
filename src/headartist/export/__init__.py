"""What comes out: meshes with texture, pictures and videos."""

from headartist.export.delight import delit
from headartist.export.glb.write import write_glb
from headartist.export.head import FORMATS, export_head
from headartist.export.material import MaterialMaps
from headartist.export.meshfiles import write_obj, write_ply
from headartist.export.normal_map import normal_map
from headartist.export.pictures import contact_sheet, preview, save_png
from headartist.export.rig.build import rig_head
from headartist.export.rig.rig import Rig
from headartist.export.simplify import simplified
from headartist.export.surface import tidy
from headartist.export.texture import bake
from headartist.export.usd import write_usd
from headartist.export.uv import UvAtlas, unwrap
from headartist.export.video import turntable_video

__all__ = [
    "FORMATS",
    "MaterialMaps",
    "Rig",
    "UvAtlas",
    "bake",
    "contact_sheet",
    "delit",
    "export_head",
    "normal_map",
    "preview",
    "rig_head",
    "save_png",
    "simplified",
    "tidy",
    "turntable_video",
    "unwrap",
    "write_glb",
    "write_obj",
    "write_ply",
    "write_usd",
]
