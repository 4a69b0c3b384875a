"""Trials on regions of other shapes: a map of squares gives what the grid gives; superpixels run; maps that change."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from support.tiny_suite import TINY_SUITE

from quadrat.benchmark.config.candidates import Candidate, entry_of, report_suite, search_suite, search_trials
from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.config.trial import TrialSpec, identity
from quadrat.benchmark.data import RegionGrid
from quadrat.benchmark.data.shapes import RegionMap, superpixels
from quadrat.benchmark.data.shapes.region_map import map_meta
from quadrat.benchmark.errors import DataError, ResultsError
from quadrat.benchmark.results.folder import read_suite_json
from quadrat.benchmark.results.published import read_published
from quadrat.benchmark.results.records import Record, append_record
from quadrat.benchmark.results.selections import Selections
from quadrat.benchmark.results.trials import read_results
from quadrat.benchmark.storage.atomic import write_json
from quadrat.benchmark.storage.digest import digest_of_file
from quadrat.benchmark.trial.context import TrialContext
from quadrat.benchmark.trial.loop import run_trial
from quadrat.benchmark.trial.oracle import RevealedLabels
from quadrat.benchmark.trial.state import TrialState
from quadrat.benchmark.trial.verify import check_selections, open_scratch, recompute
from quadrat.strategies import Pool, load

SHAPES = (
    ("slic", "entropy-spatial"),
    ("slic", "nms-entropy"),
    ("seeds", "feature-spatial"),
    ("seeds", "score-per-click"),
)


def tiny(**changes: Any) -> Suite:
    return Suite.model_validate({**TINY_SUITE, **changes})


def run(suite: Suite, folder: Path) -> dict[str, list[Record]]:
    """Return the records of every trial, by the trial's label."""
    context = TrialContext.open(suite, folder / "results", cache_dir=folder / "cache")
    context.prepare_results()
    return {spec.label: list(run_trial(spec, context)) for spec in suite.trials()}


def squares(folder: Path, size: int = 16) -> dict[str, Any]:
    """Write a map of squares for every image of the tiny suite's pool, and return it as a suite names it."""
    context = TrialContext.open(tiny(), folder / "first", cache_dir=folder / "cache")
    pool = context.data.pool
    maps = folder / "squares"
    grid = RegionGrid(pool.sizes, size)
    for index, (id, (height, width)) in enumerate(zip(pool.ids, pool.sizes.tolist(), strict=True)):
        ids = 1 + grid.window(index, 0, 0, height, width) - grid.first[index]
        path = maps / f"{id}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, ids=ids)
    return {"name": "files", "params": {"folder": str(maps)}}


@pytest.mark.slow
def test_a_map_of_squares_gives_the_records_of_the_grid(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"strategies": ["random", "entropy-spatial", "feature-spatial"], "budgets": [6, 12]}
    on_grid = run(tiny(**changes), tmp_path / "grid")
    on_map = run(tiny(**changes, regions=squares(tmp_path)), tmp_path / "map")
    for label, expected in on_grid.items():
        for one, other in zip(expected, on_map[label], strict=True):
            same = {"labelled_px", "clicks", "class_px", "void_px", "void_regions", "images_opened", "regions", "steps"}
            for name in same | {"picks_digest", "miou", "iou", "loss"}:
                assert getattr(one, name) == getattr(other, name), (label, one.round, name)


@pytest.mark.slow
def test_every_kind_runs_and_is_counted_by_its_own_pixels(tmp_path: Path) -> None:
    entries = [{"name": name, "label": f"{name} {kind}", "regions": kind} for kind, name in SHAPES]
    suite = tiny(strategies=["random", *entries], budgets=[6, 12])
    found = run(suite, tmp_path)
    context = TrialContext.open(suite, tmp_path / "results", cache_dir=tmp_path / "cache")
    for spec in suite.trials():
        layout = context.data.layout(16, spec.regions)
        clicks = context.data.clicks(16, spec.regions)
        selections, picked = Selections(tmp_path / "results"), np.empty(0, dtype=np.int64)
        for record in found[spec.label]:
            file = selections.read(spec.trial_id, record.round, layout)
            assert file is not None
            picked = np.concatenate([picked, file.regions])
            assert record.regions == len(set(picked.tolist())) == (6, 12)[record.round]
            assert record.labelled_px == layout.pixels[picked].sum()
            assert record.clicks == clicks[picked].sum()
            assert record.labelled_fraction == record.labelled_px / layout.pixels.sum()
            assert sum(record.class_px) + record.void_px == record.labelled_px
    described = json.loads((tmp_path / "results" / "suite.json").read_text())["dataset"]["pool"]["maps"]
    assert [one["name"].split()[0] for one in described] == ["slic", "seeds"]
    assert isinstance(context.data.layout(16, suite.strategies[1].regions or suite.regions), RegionMap)


STUDY = {"strategy": "entropy-spatial", "candidates": 2, "search_seeds": [5], "space": {"region_size": [16, 8]}}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["grid", "slic", "seeds"])
def test_a_study_searches_the_region_size_of_every_kind(tmp_path: Path, kind: str) -> None:
    suite = tiny(regions=kind, study=STUDY, budgets=[6, 12])
    params = {"region_size": 8, "cutoff": 2.0}
    candidate = Candidate(number=0, state="done", params=params, values=(1.0,))
    (spec,), _ = search_trials(suite, candidate)
    assert (spec.region_size, spec.regions, spec.budgets) == (8, suite.regions, (24, 48))
    found = TrialContext.open(search_suite(suite, entry_of(suite, params, "c")), tmp_path / "search")
    assert [record.regions for record in run_trial(spec, found)] == [24, 48]
    large, small = (found.data.layout(size, suite.regions) for size in (16, 8))
    assert small.num_regions == pytest.approx(4 * large.num_regions, rel=0.25)

    reported, (best,) = report_suite(suite, [candidate])
    records = run(reported, tmp_path)
    assert set(records) == {"random", "entropy-spatial", best.label}
    read = read_results(tmp_path / "results")
    assert {query.region_size for query in read.queries.values()} == {16, 8}
    maps = json.loads((tmp_path / "results/suite.json").read_text())["dataset"]["pool"].get("maps", [])
    assert [one["num_regions"] for one in maps] == ([] if kind == "grid" else [small.num_regions, large.num_regions])


def test_a_size_of_regions_that_files_give_is_not_searched(tmp_path: Path) -> None:
    regions = {"name": "files", "params": {"folder": str(tmp_path)}}
    for changes in ({"study": STUDY}, {"region_size": [16, 8]}):
        with pytest.raises(ValidationError, match="one region_size, since regions: files are as large as they are"):
            tiny(regions=regions, **changes)


def test_only_what_is_labelled_is_revealed(tmp_path: Path) -> None:
    suite = tiny(regions="slic")
    context = TrialContext.open(suite, tmp_path)
    layout, masks = context.data.layout(16, suite.regions), context.data.pool.masks
    labelled = np.random.default_rng(0).random(layout.num_regions) < 0.3
    labels = RevealedLabels(masks, layout, labelled)
    for image in range(len(masks)):
        region = layout.window(image, 0, 0, 48, 64)
        expected = np.where((region >= 0) & labelled[region], masks.mask(image), 255)
        np.testing.assert_array_equal(labels.crop(image, 0, 0, 48, 64), expected)


def spec_on(regions: Any) -> TrialSpec:
    return tiny(regions=regions).trials()[0]


def test_the_kind_and_its_parameters_are_identity_and_the_grid_is_not() -> None:
    assert "regions" not in identity(spec_on("grid")) and spec_on("grid") == spec_on({"name": "grid"})
    ids = [
        spec_on(regions).trial_id
        for regions in ("grid", "slic", "seeds", {"name": "slic", "params": {"compactness": 20}})
    ]
    assert len(set(ids)) == 4
    assert spec_on({"name": "slic", "params": {"compactness": 10.0}}).trial_id == ids[1]


def test_a_folder_of_maps_counts_by_what_it_holds(tmp_path: Path) -> None:
    regions = squares(tmp_path)
    before = spec_on(regions).trial_id
    moved = (tmp_path / "squares").rename(tmp_path / "elsewhere")
    assert spec_on({"name": "files", "params": {"folder": str(moved)}}).trial_id == before
    suite = tiny(regions={"name": "files", "params": {"folder": str(moved)}})
    spec, context = suite.trials()[0], TrialContext.open(suite, tmp_path / "results")
    path = next(moved.rglob("*.npz"))
    ids = np.load(path)["ids"]
    ids[0, 0] = 2
    np.savez(path, ids=ids)
    assert spec_on({"name": "files", "params": {"folder": str(moved)}}).trial_id != before
    with pytest.raises(ResultsError, match=r"regions.folder of .* expected the content with digest"):
        next(iter(run_trial(spec, context)))


def test_another_map_of_the_same_parameters_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = tiny(regions="slic")
    TrialContext.open(suite, tmp_path / "results", cache_dir=tmp_path / "a").prepare_results()
    monkeypatch.setattr(superpixels, "_ITERATIONS", 1)  # another version of OpenCV
    context = TrialContext.open(suite, tmp_path / "results", cache_dir=tmp_path / "b")
    with pytest.raises(ResultsError, match=r"expected one map of regions slic.*: the library that cuts images"):
        context.prepare_results()
    # A run with the squares alone does not forget the map of the trials that stay listed.
    squares = TrialContext.open(tiny(strategies=["entropy"]), tmp_path / "mixed", cache_dir=tmp_path / "a")
    with_slic = tiny(strategies=["random", {"name": "random", "regions": "slic"}])
    TrialContext.open(with_slic, tmp_path / "mixed", cache_dir=tmp_path / "c").prepare_results()
    squares.prepare_results()
    (kept,) = read_suite_json(tmp_path / "mixed")["dataset"]["pool"]["maps"]
    assert kept["name"].startswith("slic")
    monkeypatch.setattr(superpixels, "_ITERATIONS", 2)
    with pytest.raises(ResultsError, match="expected one map of regions slic"):
        TrialContext.open(with_slic, tmp_path / "mixed", cache_dir=tmp_path / "d").prepare_results()


def test_two_shapes_are_compared_each_with_its_own_random(tmp_path: Path) -> None:
    slic = [{"name": name, "regions": "slic"} for name in ("random", "entropy")]
    strategies = ["random", "entropy", *slic]
    TrialContext.open(tiny(strategies=strategies), tmp_path).prepare_results()
    assert read_results(tmp_path).baselines == {"entropy": "random", "entropy slic": "random slic"}


def test_a_kind_that_is_unknown_is_an_error_of_the_suite() -> None:
    with pytest.raises(ValidationError, match="unknown kind of regions 'slik'; did you mean 'slic'"):
        tiny(regions="slik")


@pytest.mark.slow
def test_a_published_result_is_verified_on_its_own_map(tmp_path: Path) -> None:
    suite = tiny(strategies=["random"], budgets=[6, 12], regions="slic")
    context = TrialContext.open(suite, tmp_path / "published")
    context.prepare_results()
    for spec in suite.trials():
        for record in run_trial(spec, context):
            append_record(tmp_path / "published", record)
    published = read_published(tmp_path / "published")
    scratch = open_scratch(published, tmp_path / "scratch")
    assert [check.differences for check in check_selections(published, scratch)] == [(), ()]
    assert recompute(published, scratch, published.rounds[1]).differences == ()
    cache = tmp_path / "published" / "cache"
    open_scratch(published, tmp_path / "again", cache_dir=cache)
    packed = next(cache.rglob("regions-slic-*/ids.bin"))
    ids = np.fromfile(packed, dtype="<u2")
    ids[0] = ids[40]  # a pixel in another region, with digests that say it was written so
    packed.write_bytes(ids.tobytes())
    meta = json.loads((packed.parent / "meta.json").read_text())
    meta["digests"]["ids.bin"] = digest_of_file(packed)
    meta = {key: value for key, value in meta.items() if key not in ("digest", "format", "version")}
    write_json(packed.parent / "meta.json", map_meta(meta))
    with pytest.raises(DataError, match=r"expected the regions of image .* that cache is wrong"):
        open_scratch(published, tmp_path / "third", cache_dir=cache)


def test_a_selection_on_a_map_is_replayed(tmp_path: Path) -> None:
    first = tiny(strategies=["random"], budgets=[6, 12], regions="slic")
    context = TrialContext.open(first, tmp_path / "first", cache_dir=tmp_path / "cache")
    trial = TrialState(first.trials()[0], context)
    selected = trial.select()
    layout = context.data.layout(16, first.regions)
    folder = (tmp_path / "first" / "selections" / first.trials()[0].trial_id).as_posix()
    pool = Pool(
        image=layout.image,
        row=layout.row,
        col=layout.col,
        pixels=layout.pixels,
        labelled=np.zeros(layout.num_regions, dtype=bool),
    )
    replayed = load("precomputed", folder=folder).select(pool, 6, np.random.default_rng(0))
    np.testing.assert_array_equal(replayed.regions, selected.selection.regions)
