"""The whole story of a trial on real (synthetic) images: budgets, sharing, resume, exhaustion, failure."""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.layouts import labels, save, write_folder
from support.tiny_suite import TINY_SUITE

from quadrat.benchmark.config.suite import load_suite
from quadrat.benchmark.config.trial import TrialSpec
from quadrat.benchmark.data import VOID
from quadrat.benchmark.errors import DataError, ResultsError, TrainingError
from quadrat.benchmark.learning.training.frozen import Frozen
from quadrat.benchmark.results.folder import check_results, finished_trials, read_suite_json
from quadrat.benchmark.results.lock import lock_results
from quadrat.benchmark.results.records import Record, append_record, read_records, without_timings
from quadrat.benchmark.results.selections import selection_path
from quadrat.benchmark.trial.context import TrialContext
from quadrat.benchmark.trial.loop import run_trial
from quadrat.strategies import StrategyError, features

ContextOf = Callable[..., TrialContext]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One packed pool for all tests of this module."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def context_of(write_suite: Callable[..., Path], tmp_path: Path, cache: Path) -> ContextOf:
    def make(results: str = "results", **changes: Any) -> TrialContext:
        return TrialContext.open(load_suite(write_suite(**changes)), tmp_path / results, cache_dir=cache)

    return make


def records_of(context: TrialContext) -> list[dict[str, Any]]:
    return [without_timings(record) for spec in context.suite.trials() for record in run_trial(spec, context)]


def test_full_supervision_trains_for_its_own_number_of_iterations(context_of: ContextOf) -> None:
    context = context_of(full_supervision={"iterations": 5}, strategies=["random"], budgets=[6], seeds=[0])
    assert [(record["label"], record["steps"]) for record in records_of(context)] == [
        ("full-supervision", 5),
        ("random", 3),
    ]


def test_every_round_spends_its_budget_exactly(context_of: ContextOf) -> None:
    context = context_of()
    pixels = context.data.layout(16).pixels
    labelled: dict[str, list[int]] = {}
    for record in records_of(context):
        path = selection_path(context.artefacts.results_dir, record["trial_id"], record["round"])
        with np.load(path) as file:
            labelled.setdefault(record["trial_id"], []).extend(file["regions"].tolist())
        regions = labelled[record["trial_id"]]
        assert record["regions"] == len(set(regions)) == len(regions) == (6, 12, 24)[record["round"]]
        assert record["labelled_px"] == pixels[regions].sum()
        assert record["labelled_fraction"] == pytest.approx(pixels[regions].sum() / pixels.sum())
        assert record["clicks"] == context.data.clicks(16)[regions].sum() >= len(regions)
        assert 0 < sum(record["class_px"]) <= record["labelled_px"] and len(record["class_px"]) == len(
            context.data.pool.classes
        )
        assert record["steps"] == 3
        assert 0 <= record["miou"] <= 1


def test_two_runs_from_scratch_are_equal_but_for_the_timings(context_of: ContextOf) -> None:
    assert records_of(context_of("first")) == records_of(context_of("second"))


def test_round_0_is_shared_by_all_strategies_of_a_seed(context_of: ContextOf, tmp_path: Path) -> None:
    context = context_of(seeds=[0, 1])
    first = {(record["label"], record["seed"]): record for record in records_of(context) if record["round"] == 0}
    for seed in (0, 1):
        assert first["random", seed]["picks_digest"] == first["entropy-spatial", seed]["picks_digest"]
        assert first["random", seed]["miou"] == first["entropy-spatial", seed]["miou"]
    assert first["random", 0]["picks_digest"] != first["random", 1]["picks_digest"]
    # 2 seeds x (1 shared + 2 strategies x 2 rounds): what was evaluated is what was needed
    assert len(list((tmp_path / "results" / "store" / "evaluation").iterdir())) == 2 * (1 + 2 * 2)


def test_an_interrupted_trial_goes_on_and_ends_with_the_same_records(context_of: ContextOf) -> None:
    whole = records_of(context_of("whole"))
    spec = context_of().suite.trials()[1]
    interrupted = run_trial(spec, context_of("cut"))
    next(interrupted)
    next(interrupted)
    interrupted.close()
    phases: list[tuple[int, str]] = []
    resumed = list(run_trial(spec, context_of("cut"), lambda progress: phases.append((progress.round, progress.phase))))
    assert [without_timings(record) for record in resumed] == [r for r in whole if r["trial_id"] == spec.trial_id]
    assert (0, "fit") not in phases and (1, "fit") not in phases and (2, "fit") in phases


def without_end(records: list[Record]) -> list[Record]:
    """Return records but for the time of day at which they were made, and what that took."""
    assert all(record.ended_at is not None and record.usage["cpu_s"] > 0 for record in records)
    return [replace(record, ended_at=None, usage={}) for record in records]


def test_a_finished_trial_is_replayed_from_its_artefacts_without_training(context_of: ContextOf) -> None:
    context = context_of()
    spec = context.suite.trials()[0]
    first = list(run_trial(spec, context))
    phases: list[str] = []
    again = list(run_trial(spec, context, lambda progress: phases.append(progress.phase)))
    assert without_end(again) == without_end(first)  # seconds too: they are those of the computation
    assert set(phases) == {"select"}


def test_records_that_were_taken_away_come_back_from_selections_and_evaluations_alone(context_of: ContextOf) -> None:
    context = context_of()
    trials = context.suite.trials()
    records = [record for spec in trials for record in run_trial(spec, context)]
    for kind in ("fit", "scores"):
        shutil.rmtree(context.artefacts.store.path(kind, {}).parent)
    context = context_of()
    again = [record for spec in trials for record in run_trial(spec, context)]
    assert without_end(again) == without_end(records)  # seconds too
    assert not (context.artefacts.results_dir / "store" / "fit").exists()


@pytest.mark.slow
def test_a_replay_makes_the_same_selections_with_another_recipe(context_of: ContextOf) -> None:
    first = context_of(seeds=[0, 1])
    original = [list(run_trial(spec, first)) for spec in first.suite.trials() if spec.label == "entropy-spatial"]
    folder = first.artefacts.results_dir / "selections" / "entropy-spatial-r16-s{seed}-*"
    replay = {"name": "precomputed", "label": "entropy-spatial", "params": {"folder": str(folder)}}
    recipe = {**first.suite.learner.model_dump(mode="json"), "iterations": 5}
    second = context_of("replay", seeds=[0, 1], strategies=[replay], learner=recipe)
    again = [list(run_trial(spec, second)) for spec in second.suite.trials()]
    for trial, copy in zip(original, again, strict=True):
        assert [record.picks_digest for record in copy] == [record.picks_digest for record in trial]
        assert [record.clicks for record in copy] == [record.clicks for record in trial]
        assert all(ours.steps == 5 and theirs.steps == 3 for ours, theirs in zip(copy, trial, strict=True))


def test_another_content_of_the_weight_file_is_not_taken_for_the_same_fit(
    context_of: ContextOf, tmp_path: Path
) -> None:
    path = tmp_path / "encoder.pth"
    digests = []
    for content in (b"one", b"two"):
        path.write_bytes(content)
        learner = {"encoder": "test_resnet", "weights": str(path), "iterations": 3}
        digests.append(context_of(learner=learner).weights_sha256)
    assert digests[0] != digests[1]
    path.unlink()
    with pytest.raises(TrainingError, match=r"learner\.weights: expected .* got '.*encoder\.pth'"):
        context_of(learner=learner)


def test_a_file_that_changed_since_the_suite_was_read_is_refused_before_anything_is_trained(
    context_of: ContextOf, tmp_path: Path
) -> None:
    first = context_of()
    spec = first.suite.trials()[0]
    list(run_trial(spec, first))
    folder = selection_path(first.artefacts.results_dir, spec.trial_id, 0).parent
    replay = {"name": "precomputed", "label": "replay", "params": {"folder": str(folder)}}
    again = context_of("replay", strategies=[replay])
    (replayed,) = again.suite.trials()
    (folder / "round-2.npz").write_bytes((folder / "round-1.npz").read_bytes())
    with pytest.raises(ResultsError, match=r"params\.folder of precomputed-.*: expected the content with digest"):
        next(run_trial(replayed, again))
    (folder / "round-2.npz").write_bytes(b"half")
    with pytest.raises(StrategyError, match=r"round-2\.npz.*restore the file from where it was published"):
        next(run_trial(replayed, again))
    shutil.rmtree(folder)
    with pytest.raises(StrategyError, match="check folder"):
        next(run_trial(replayed, again))
    assert not (again.artefacts.results_dir / "store" / "fit").exists()


def test_full_supervision_labels_everything_in_one_round(context_of: ContextOf) -> None:
    context = context_of(full_supervision=True)
    (record,) = run_trial(context.suite.trials()[0], context)
    assert record.label == "full-supervision"
    assert record.regions == context.data.layout(16).num_regions
    assert record.labelled_fraction == 1.0


def test_a_budget_larger_than_the_pool_runs_to_exhaustion_and_says_so(context_of: ContextOf) -> None:
    context = context_of(budgets=[90, 1000, 2000])
    num_regions = context.data.layout(16).num_regions
    records = list(run_trial(context.suite.trials()[0], context))
    assert 90 < num_regions < 1000
    assert [(record.regions, record.exhausted) for record in records] == [(90, False), (num_regions, True)]
    context.prepare_results()
    for record in records:
        append_record(context.artefacts.results_dir, record)
    assert finished_trials(context.artefacts.results_dir, context.suite.trials()) == {
        context.suite.trials()[0].trial_id
    }


def test_a_region_larger_than_the_image_is_an_error_that_names_both(context_of: ContextOf) -> None:
    with pytest.raises(DataError, match="region size 512 is larger than 'street-0000-00'"):
        context_of(region_size=512)  # before the first training


def test_a_loss_that_is_not_finite_is_an_error_and_nothing_is_kept(context_of: ContextOf, tmp_path: Path) -> None:
    learner = {
        "encoder": "test_resnet",
        "weights": "none",
        "decoder_channels": 8,
        "lr": 1e30,
        "iterations": 20,
        "batch_size": 2,
        "crop": 32,
    }
    context = context_of(learner=learner)
    with pytest.raises(TrainingError, match="lr"):
        next(run_trial(context.suite.trials()[0], context))
    assert not list((tmp_path / "results" / "store").glob("fit/[0-9a-f]*"))


def test_selections_are_files_that_name_image_row_and_column(context_of: ContextOf, tmp_path: Path) -> None:
    context = context_of()
    spec = context.suite.trials()[1]
    list(run_trial(spec, context))
    grid = context.data.layout(16)
    with np.load(tmp_path / "results" / "selections" / spec.trial_id / "round-1.npz") as file:
        assert file["regions"].shape == (6,)
        assert np.array_equal(file["image"], grid.image[file["regions"]])
        assert np.array_equal(file["row"], grid.row[file["regions"]])
        assert np.isfinite(file["potential"]).all()


def test_a_selection_of_another_grid_is_refused(context_of: ContextOf, tmp_path: Path) -> None:
    context = context_of()
    spec = context.suite.trials()[0]
    next(run_trial(spec, context))
    other = context_of("other", region_size=8).suite.trials()[0]
    source = tmp_path / "results" / "selections" / spec.trial_id
    shutil.copytree(source, tmp_path / "other" / "selections" / other.trial_id)
    with pytest.raises(ResultsError, match="regions of 8 px"):
        next(run_trial(other, context_of("other", region_size=8)))


def test_suite_json_gives_back_every_trial_under_the_same_id(context_of: ContextOf) -> None:
    context = context_of(seeds=[0, 1], full_supervision=True)
    context.prepare_results()
    trials = read_suite_json(context.artefacts.results_dir)["trials"]
    assert [TrialSpec.model_validate(trial["spec"]).trial_id for trial in trials] == [t["trial_id"] for t in trials]
    assert [trial["trial_id"] for trial in trials] == [spec.trial_id for spec in context.suite.trials()]


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"name": "another"}, "suite 'tiny', got suite 'another'"),
        ({"region_size": 8}, "region_size = 16, got region_size = 8"),
        ({"budgets": [1, 2]}, r"budgets = \[6,12,24\], got budgets = \[1,2\]"),
    ],
)
def test_a_folder_of_another_suite_is_refused_before_any_data_is_read(
    context_of: ContextOf, write_suite: Callable[..., Path], changes: dict[str, Any], fragment: str
) -> None:
    context = context_of()
    context.prepare_results()
    with pytest.raises(ResultsError, match=fragment):
        check_results(context.artefacts.results_dir, load_suite(write_suite(**changes)))


def test_a_folder_with_results_on_other_images_is_refused(context_of: ContextOf) -> None:
    context = context_of()
    context.prepare_results()
    path = context.artefacts.results_dir / "suite.json"
    value = json.loads(path.read_text())
    value["dataset"]["pool"]["fingerprint"] = "0" * 64
    path.write_text(json.dumps(value))
    with pytest.raises(ResultsError, match="the data changed"):
        context.prepare_results()


def test_more_seeds_and_strategies_may_join_a_folder_and_none_is_forgotten(context_of: ContextOf) -> None:
    context_of(seeds=[0]).prepare_results()
    context_of(seeds=[1], strategies=["entropy"]).prepare_results()
    labels = [
        (trial["label"], trial["seed"]) for trial in read_suite_json(context_of().artefacts.results_dir)["trials"]
    ]
    assert labels == [("entropy", 1), ("random", 0), ("entropy-spatial", 0)]


def test_a_second_driver_on_one_folder_is_refused(tmp_path: Path) -> None:
    held = lock_results(tmp_path)
    with pytest.raises(ResultsError, match="in use by another quadrat run"):
        lock_results(tmp_path)
    held.release()
    lock_results(tmp_path).release()


def test_a_results_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ResultsError, match="expected a results folder that can be written"):
        lock_results(tmp_path / "file" / "results")


def test_a_folder_that_holds_no_results_is_named(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"expected a results folder .* got"):
        read_suite_json(tmp_path)
    with pytest.raises(ResultsError, match="run the suite first"):
        read_records(tmp_path)


# ------------------------------------------------------------------------------------------------ void regions


def void_pool(root: Path) -> dict[str, Any]:
    """Write a pool of 32 regions of 16 px, 8 of them wholly void, and a test set that lacks the last class.

    Two more regions of the pool are void but for one pixel.
    """
    write_folder(root, splits={"train": ("a", "b"), "test": ("c",)}, height=64, width=64)
    for name in "ab":
        mask = labels(name, 64, 64, (0, 1, 2))
        mask[:16] = VOID
        mask[16:32, :16] = VOID
        mask[20, 3] = 1
        save(root / "masks" / "train" / f"{name}.png", mask)
    save(root / "masks" / "test" / "c.png", labels("c", 64, 64, (0, 1)))
    return {"name": "folder", "root": str(root)}


@pytest.mark.parametrize("mode", ["offer", "withhold"])
def test_wholly_void_regions_are_paid_for_or_left_out(mode: str, context_of: ContextOf, tmp_path: Path) -> None:
    context = context_of(
        dataset=void_pool(tmp_path / "root"),
        void_regions=mode,
        budgets=[8, 24],
        full_supervision=True,
        strategies=["random", "entropy-feature-spatial", "class-aware-random"],
    )
    context.prepare_results()
    assert read_suite_json(context.artefacts.results_dir)["dataset"]["title"] == "root"  # that of its folder
    grid = context.data.layout(16)
    void = {region for region in range(32) if grid.row[region] == 0}
    assert np.flatnonzero(context.data.void_regions(16)).tolist() == sorted(void)
    labelled: dict[str, list[int]] = {}
    for record in records_of(context):
        if record["label"] == "full-supervision":
            regions = list(range(32)) if mode == "offer" else sorted(set(range(32)) - void)
        else:
            path = selection_path(context.artefacts.results_dir, record["trial_id"], record["round"])
            with np.load(path) as file:
                regions = labelled.setdefault(record["trial_id"], [])
                regions.extend(file["regions"].tolist())
                assert (file["row"] == grid.row[file["regions"]]).all()
        offered = 32 if mode == "offer" else 24
        assert record["regions"] == len(set(regions)) == len(regions)
        assert record["void_regions"] == len(void & set(regions))
        assert record["labelled_fraction"] == pytest.approx(len(regions) / offered)
        void_px = 0
        for region in regions:
            top, left, bottom, right = grid.box(region)
            void_px += int(
                (context.data.pool.masks.mask(int(grid.image[region]))[top:bottom, left:right] == VOID).sum()
            )
        assert record["void_px"] == void_px == record["labelled_px"] - sum(record["class_px"])
        if mode == "withhold":
            assert not void & set(regions)
            assert record["regions"] in (8, 24) and (record["regions"] == 24) == (record["labelled_fraction"] == 1)


def test_the_mean_is_over_the_classes_of_the_test_set_whatever_is_predicted(
    context_of: ContextOf, tmp_path: Path
) -> None:
    """The test set lacks the last class, which an untrained network predicts somewhere."""
    context = context_of(dataset=void_pool(tmp_path / "root"), budgets=[8], strategies=["random"])
    (record,) = records_of(context)
    assert record["test_classes"] == 2 and record["iou"][2] is None
    assert record["miou"] == pytest.approx(np.mean(record["iou"][:2]))


def test_withholding_void_regions_is_another_folder(context_of: ContextOf, tmp_path: Path) -> None:
    dataset = void_pool(tmp_path / "root")
    context_of(dataset=dataset, budgets=[8]).prepare_results()
    assert read_suite_json(tmp_path / "results")["dataset"]["pool"]["void_regions"] == {"16": 8}
    with pytest.raises(ResultsError, match='void_regions = "offer", got void_regions = "withhold"'):
        context_of(dataset=dataset, budgets=[8], void_regions="withhold").prepare_results()


def test_what_is_done_once_is_no_time_of_a_fit_an_evaluation_or_a_selection(
    context_of: ContextOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a clock by which each image that is encoded, and the first use of faiss, take 1000 s."""
    real_s, skipped_s, is_loaded = time.perf_counter, [0.0], []
    encode, load = Frozen._encode, features._faiss

    def slow_encode(self: Frozen, image: np.ndarray) -> Any:
        skipped_s[0] += 1000.0
        return encode(self, image)

    def slow_load() -> Any:
        skipped_s[0] += 0.0 if is_loaded else 1000.0
        is_loaded.append(True)
        return load()

    monkeypatch.setattr(time, "perf_counter", lambda: real_s() + skipped_s[0])
    monkeypatch.setattr(Frozen, "_encode", slow_encode)
    monkeypatch.setattr(features, "_faiss", slow_load)
    learner = {**TINY_SUITE["learner"], "frozen": True, "scale": [1.0, 1.0]}
    context = context_of(learner=learner, strategies=["core-set"], budgets=[6, 12])
    seconds = [record.seconds for record in run_trial(context.suite.trials()[-1], context)]
    assert skipped_s[0] >= 1000 * (len(context.data.pool.ids) + len(context.data.test.ids) + 1)
    assert max(value for of_round in seconds for value in of_round.values()) < 500


LABEL_TYPES: list[dict[str, Any]] = [
    {"labels": "dominant"},
    {"labels": "multi-class", "annotator": {"error_rate": 0.2, "kind": "confused"}},
]


@pytest.mark.slow
@pytest.mark.parametrize("changes", LABEL_TYPES, ids=str)
def test_a_trial_with_other_labels_goes_on_after_an_interruption_with_the_same_records(
    context_of: ContextOf, changes: dict[str, Any]
) -> None:
    context = context_of("whole", strategies=["entropy"], **changes)
    (spec,) = context.suite.trials()
    whole = [without_timings(record) for record in run_trial(spec, context)]
    interrupted = run_trial(spec, context_of("cut", strategies=["entropy"], **changes))
    next(interrupted)
    interrupted.close()
    resumed = run_trial(spec, context_of("cut", strategies=["entropy"], **changes))
    assert [without_timings(record) for record in resumed] == whole
    assert all(record["labels"] == spec.labels and 0 < record["label_accuracy"] < 1 for record in whole)
    if spec.labels == "dominant":
        assert [record["clicks"] for record in whole] == [6, 12, 24]


def test_label_types_share_the_first_selection_and_no_model(context_of: ContextOf) -> None:
    context = context_of(labels=["precise", "dominant", "multi-class"], strategies=["random"])
    first = [next(run_trial(spec, context)) for spec in context.suite.trials()]
    assert [record.label for record in first] == ["random", "random dominant", "random multi-class"]
    assert len({record.picks_digest for record in first}) == 1
    assert len({record.class_px for record in first}) == 1
    assert len({record.loss for record in first}) == 3
    precise, dominant, multi = first
    assert precise.clicks > multi.clicks > dominant.clicks == 6
    assert precise.label_accuracy == 1 > multi.label_accuracy > dominant.label_accuracy
    assert (len(list((context.artefacts.results_dir / "store" / "evaluation").iterdir()))) == 3
