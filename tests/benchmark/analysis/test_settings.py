"""Only trials of one protocol are compared; what differs is said."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support.curve_results import results_of

from quadrat.benchmark.analysis.settings import Entry, Settings, find_settings
from quadrat.benchmark.learning.recipe import Recipe
from quadrat.benchmark.results.trials import Results, Trial

RECIPE = Recipe(iterations=50)
LEARNER = RECIPE.model_dump(mode="json")


def folder(*labels: str, value: float = 10.0, full: float | None = None) -> Results:
    """Return results of two seeds with a recipe and images that are named."""
    curves = {label: {seed: (value, value + 5) for seed in (0, 1)} for label in labels}
    results = results_of(curves, pixels=(1, 2), full_supervision=None if full is None else {0: full})
    dataset = {"classes": ["a"], "pool": {"fingerprint": "p" * 64}, "test": {"fingerprint": "t" * 64}}
    results = replace(results, dataset=dataset)
    return changed_trials(results, lambda trial: with_learner(trial, LEARNER))


def with_learner(trial: Trial, learner: dict[str, Any]) -> Trial:
    digest = Recipe.model_validate(learner).digest()
    records = tuple(replace(record, recipe=digest) for record in trial.records)
    return replace(trial, records=records, spec={"learner": learner, "budgets": [10, 20], "files": {}})


def changed_trials(results: Results, change: Callable[[Trial], Trial]) -> Results:
    return replace(results, trials=tuple(change(trial) for trial in results.trials))


def changed_records(results: Results, **changes: Any) -> Results:
    return changed_trials(
        results,
        lambda trial: replace(trial, records=tuple(replace(record, **changes) for record in trial.records)),
    )


def entries(found: Settings) -> list[list[str]]:
    return [[entry.strategy for entry in setting.trials] for setting in found.settings]


def test_folders_of_one_protocol_are_one_setting() -> None:
    found = find_settings({"mine": folder("random", "entropy"), "yours": folder("random", "core-set")})
    (setting,) = found.settings
    assert setting.name == "made up, 16 px"
    assert setting.folders == ("mine", "yours")
    assert [entry.strategy for entry in setting.trials] == ["random", "entropy", "core-set"]
    assert found.kept_apart == found.left_out == ()


OTHER_RECIPE = {**LEARNER, "lr": 0.5}


@pytest.mark.parametrize(
    ("change", "phrase"),
    [
        (lambda one: replace(one, dataset={**one.dataset, "test": {"fingerprint": "u" * 64}}),
         f"test images and masks is {'t' * 12} and {'u' * 12}"),
        (lambda one: replace(one, dataset={**one.dataset, "pool": {"fingerprint": "u" * 64}}),
         f"pool images and masks is {'p' * 12} and {'u' * 12}"),
        (lambda one: replace(one, dataset={**one.dataset, "classes": ["b"]}), 'classes is ["a"] and ["b"]'),
        (lambda one: replace(one, suite={**one.suite, "dataset": {**one.suite["dataset"], "test": "val"}}),
         "test split is test and val"),
        (lambda one: replace(one, suite={**one.suite, "void_regions": "withhold"}),
         "void_regions is offer and withhold"),
        (lambda one: replace(one, suite={**one.suite, "annotator": {"error_rate": 0.1, "kind": "uniform"}}),
         "annotator.error_rate is 0.0 and 0.1"),
        (lambda one: changed_trials(one, lambda trial: with_learner(trial, OTHER_RECIPE)),
         f"learner.lr is {LEARNER['lr']} and 0.5"),
        (lambda one: changed_trials(one, lambda trial: replace(
            trial, records=(trial.records[0], replace(trial.records[1], regions=25)),
            spec={**trial.spec, "budgets": [10, 25]})), "budgets is [10, 20] and [10, 25]"),
        (lambda one: changed_records(one, test_classes=None),
         "mIoU is over 11 classes of the masks and over the classes of masks or prediction (schema 2)"),
        (lambda one: changed_records(one, picks_digest="1" * 64),
         f"the regions of round 0 of seed 0 are {'0' * 12} and {'1' * 12}"),
    ],
)  # fmt: skip
def test_what_differs_keeps_folders_apart_and_is_said(change: Callable[[Results], Results], phrase: str) -> None:
    found = find_settings({"mine": folder("random"), "yours": change(folder("entropy"))})
    assert sorted(entries(found)) == [["entropy"], ["random"]]
    (sentence,) = found.kept_apart
    assert "(yours) is not pooled with" in sentence and sentence.endswith(f": {phrase}.")
    assert len({setting.name for setting in found.settings}) == 2


def test_a_key_that_only_one_recipe_has_is_a_difference() -> None:
    """What an older version did without the key is not known here."""
    older = {key: value for key, value in LEARNER.items() if key != "crop_placement"}

    def of_older(trial: Trial) -> Trial:
        trial = with_learner(trial, LEARNER)
        return replace(trial, spec={**trial.spec, "learner": older}, records=tuple(
            replace(record, recipe=digest(older)) for record in trial.records))  # fmt: skip

    found = find_settings({"new": folder("random"), "old": changed_trials(folder("entropy"), of_older)})
    (sentence,) = found.kept_apart
    assert sentence.endswith(f": learner.crop_placement is {LEARNER['crop_placement']} and not set.")


def digest(learner: dict[str, Any]) -> str:
    import hashlib

    return hashlib.sha256(json.dumps(learner, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]


def test_what_changes_no_number_does_not_keep_apart() -> None:
    other = folder("entropy")
    suite = {**other.suite, "name": "another", "dataset": {**other.suite["dataset"], "root": "/elsewhere"}}
    other = changed_records(replace(other, suite=suite), suite="another", seconds={"fit": 9.0})
    assert len(find_settings({"mine": folder("random"), "yours": other}).settings) == 1


def test_names_are_the_same_in_any_order_of_the_folders() -> None:
    first = folder("random")
    second = changed_trials(folder("random"), lambda trial: with_learner(trial, OTHER_RECIPE))
    one, other = find_settings({"a": first, "b": second}), find_settings({"b": second, "a": first})
    names = [f"made up, 16 px, lr {LEARNER['lr']}", "made up, 16 px, lr 0.5"]
    assert [setting.name for setting in one.settings] == [setting.name for setting in other.settings] == names


def test_one_strategy_under_two_labels_is_one_entry_and_other_parameters_are_another() -> None:
    mine = folder("entropy-spatial")
    yours = changed_trials(folder("entropy-spatial"), lambda trial: replace(trial, label="ES"))
    yours = changed_records(yours, label="ES")
    tuned = changed_trials(folder("entropy-spatial"), lambda trial: replace(trial, params={"cutoff": 3.0}))
    found = find_settings({"mine": mine, "yours": yours, "tuned": tuned})
    (setting,) = found.settings
    usual, other = Entry("entropy-spatial", "{}"), Entry("entropy-spatial", '{"cutoff":3.0}')
    assert set(setting.trials) == {usual, other}
    assert found.labels[usual] == ("entropy-spatial", "ES")


def test_files_count_by_their_content_wherever_they_lie() -> None:
    def with_files(path: str, weights: str, replayed: str) -> Results:
        def change(trial: Trial) -> Trial:
            trial = with_learner(trial, {**LEARNER, "weights": f"{path}/w.pt"})
            files = {"learner.weights": weights, "params.folder": replayed}
            return replace(trial, params={"folder": f"{path}/picks"}, spec={**trial.spec, "files": files})

        return changed_trials(folder("precomputed"), change)

    alike = find_settings({"mine": with_files("/a", "w1", "p1"), "yours": with_files("/b", "w1", "p1")})
    assert entries(alike) == [["precomputed"]] and alike.left_out == alike.kept_apart == ()
    replayed = find_settings({"mine": with_files("/a", "w1", "p1"), "yours": with_files("/a", "w1", "p2")})
    assert entries(replayed) == [["precomputed", "precomputed"]]
    (sentence,) = find_settings({"a": with_files("/a", "w1", "p1"), "b": with_files("/a", "w2", "p1")}).kept_apart
    assert sentence.endswith(": files.learner.weights is w1 and w2.")


def test_a_trial_that_two_folders_have_counts_once_and_other_numbers_are_said() -> None:
    same = find_settings({"mine": folder("random"), "copy": folder("random")})
    assert same.left_out == ()
    found = find_settings({"mine": folder("random"), "other machine": folder("random", value=11.0)})
    assert found.left_out == (
        "random seed 0 is in mine and in other machine with other numbers (miou, iou of round 0): that of mine counts.",
        "random seed 1 is in mine and in other machine with other numbers (miou, iou of round 0): that of mine counts.",
    )
    trial = found.settings[0].trials[Entry("random", "{}")][0]
    assert trial.records[0].miou == 0.1


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"recipe": "f" * 16}, "the record of round 0 is of another recipe than suite.json says"),
        ({"regions": 12}, "round 0 has 12 labelled regions, its budget is 10"),
        ({"region_size": 8}, "the record of round 0 is of another region size, seed or strategy than suite.json says"),
    ],
)
def test_records_that_are_not_of_the_stated_protocol_are_left_out(changes: dict[str, Any], why: str) -> None:
    forged = changed_records(folder("entropy"), **changes)
    found = find_settings({"mine": folder("random"), "forged": forged})
    assert entries(found) == [["random"]]
    assert found.left_out == tuple(f"forged: entropy seed {seed} is left out: {why}." for seed in (0, 1))


def test_an_exhausted_pool_ends_below_the_budget() -> None:
    ended = changed_records(folder("entropy"), regions=12, exhausted=True)
    assert find_settings({"mine": ended}).left_out == ()


def test_trials_that_are_not_finished_are_left_out_and_said() -> None:
    started = changed_trials(folder("entropy", "margin"), lambda trial: (
        replace(trial, records=trial.records[:1]) if trial.label == "margin" else trial))  # fmt: skip
    found = find_settings({"mine": started})
    assert entries(found) == [["entropy"]]
    assert found.left_out == ("mine: trials that are not finished are left out: margin (2).",)


def test_full_supervision_of_two_lengths_is_left_out() -> None:
    long = folder("entropy", full=60.0)
    long = changed_trials(long, lambda trial: (
        replace(trial, records=tuple(replace(record, steps=900) for record in trial.records))
        if trial.is_full_supervision else trial))  # fmt: skip
    alike = find_settings({"mine": folder("random", full=50.0), "yours": folder("entropy", full=50.0)})
    assert list(alike.settings[0].full_supervision) == [0]
    found = find_settings({"mine": folder("random", full=50.0), "yours": long})
    assert dict(found.settings[0].full_supervision) == {}
    assert found.left_out == (
        "Full supervision is left out on made up, 16 px: mine and yours trained it in different ways (steps is 100 "
        "and 900).",
    )
