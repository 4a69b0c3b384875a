"""Regions of any shape: kinds that cut images into regions, and the packed map of what they cut."""

from quadrat.benchmark.data.shapes.kind import GRID, KINDS, RegionKind, load_kind
from quadrat.benchmark.data.shapes.packing import check_against_images, check_ids, cut_image, pack_regions
from quadrat.benchmark.data.shapes.region_map import RegionMap, packed_maps

__all__ = [
    "GRID",
    "KINDS",
    "RegionKind",
    "RegionMap",
    "check_against_images",
    "check_ids",
    "cut_image",
    "load_kind",
    "pack_regions",
    "packed_maps",
]
