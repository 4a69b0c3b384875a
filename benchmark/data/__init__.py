"""Data sets and their loaders, packed splits, the region grid, annotation cost in clicks."""

from quadrat.benchmark.data.check import Report, check
from quadrat.benchmark.data.dataset import VOID, Dataset, Item, items_of, load_dataset
from quadrat.benchmark.data.packed import PackedImages, PackedMasks, PackedSplit, open_packed
from quadrat.benchmark.data.packing import check_against_data_set, pack
from quadrat.benchmark.data.regions import Layout, RegionGrid

__all__ = [
    "VOID",
    "Dataset",
    "Item",
    "Layout",
    "PackedImages",
    "PackedMasks",
    "PackedSplit",
    "RegionGrid",
    "Report",
    "check",
    "check_against_data_set",
    "items_of",
    "load_dataset",
    "open_packed",
    "pack",
]
