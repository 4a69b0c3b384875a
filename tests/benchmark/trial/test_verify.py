"""Verification: equal results pass, a change of any kind is found, and what can't be checked is said."""

import errno
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from filelock import FileLock
from support.tiny_suite import TINY_SUITE

from quadrat.benchmark.config.suite import Suite
from quadrat.benchmark.data.packed import meta_content
from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.reporting.bundle import write_bundle
from quadrat.benchmark.results.comparison import differences
from quadrat.benchmark.results.environment import environment_differences
from quadrat.benchmark.results.published import Published, read_published
from quadrat.benchmark.results.records import Record, append_record, read_records
from quadrat.benchmark.storage.digest import digest_of
from quadrat.benchmark.trial.context import TrialContext
from quadrat.benchmark.trial.loop import run_trial
from quadrat.benchmark.trial.verify import (
    check_selections,
    estimate_s,
    open_scratch,
    recompute,
    sample,
)
from quadrat.cluster.cli.main import cli


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two strategies and full supervision; its cache lies inside."""
    folder = tmp_path_factory.mktemp("original")
    suite = Suite.model_validate({**TINY_SUITE, "full_supervision": True})
    context = TrialContext.open(suite, folder)
    context.prepare_results()
    for spec in suite.trials():
        for record in run_trial(spec, context):
            append_record(folder, record)
    return folder


@pytest.fixture
def copy(original: Path, tmp_path: Path) -> Path:
    """What is committed of it: no store."""
    return Path(shutil.copytree(original, tmp_path / "copy", ignore=shutil.ignore_patterns("store", "cache")))


@pytest.fixture
def scratch(original: Path, tmp_path: Path) -> Callable[[Published], TrialContext]:
    """Returns the context that runs published trials again, on the images of the original run."""
    return lambda published: open_scratch(published, tmp_path / "scratch", cache_dir=original / "cache")


def change(folder: Path, label: str, round_: int, **changes: object) -> None:
    """Replace fields of one record."""
    records = read_records(folder)
    (folder / "records.jsonl").unlink()
    for record in records:
        is_meant = (record.label, record.round) == (label, round_)
        append_record(folder, replace(record, **changes) if is_meant else record)  # type: ignore[arg-type]


def record_of(folder: Path, label: str, round_: int) -> Record:
    return next(record for record in read_records(folder) if (record.label, record.round) == (label, round_))


@pytest.mark.parametrize(("label", "round_"), [("random", 0), ("entropy-spatial", 2), ("full-supervision", 0)])
def test_a_round_is_recomputed_alone_and_equal(
    copy: Path, scratch: Callable[[Published], TrialContext], label: str, round_: int
) -> None:
    published = read_published(copy)
    context = scratch(published)
    check = recompute(published, context, record_of(copy, label, round_))
    assert check.differences == ()
    fits = len(list((context.artefacts.results_dir / "store" / "fit").glob("[0-9a-f]*")))
    assert fits == (2 if round_ else 1)  # the round's own, and that of the round before which made the selection


def test_a_number_that_training_does_not_give_is_found(
    copy: Path, scratch: Callable[[Published], TrialContext]
) -> None:
    change(copy, "random", 1, pixel_accuracy=0.987, loss=0.5)
    published = read_published(copy)
    context = scratch(published)
    assert all(check.differences == () for check in check_selections(published, context))
    check = recompute(published, context, record_of(copy, "random", 1))
    assert [line.split(" in the record")[0] for line in check.differences] == ["pixel_accuracy is 0.987", "loss is 0.5"]


def test_what_a_record_says_against_itself_or_its_suite_is_found_without_training(
    copy: Path, scratch: Callable[[Published], TrialContext]
) -> None:
    change(copy, "random", 1, miou=0.987, test_classes=99)
    change(copy, "entropy-spatial", 0, dataset="other", region_size=5)
    published = read_published(copy)
    found = {check.name: check.differences for check in check_selections(published, scratch(published))}
    starts = {name: [line.split(" in the record")[0] for line in lines] for name, lines in found.items() if lines}
    assert starts == {
        "random seed 0 round 1": ["miou is 0.987", "test_classes is 99"],
        "entropy-spatial seed 0 round 0": ["dataset is other", "region_size is 5"],
    }


def test_selections_and_costs_of_every_round_are_checked_without_training(
    copy: Path, scratch: Callable[[Published], TrialContext]
) -> None:
    change(copy, "entropy-spatial", 1, clicks=7, labelled_px=8)
    published = read_published(copy)
    context = scratch(published)
    found = {check.name: check.differences for check in check_selections(published, context)}
    assert len(found) == 7
    faults = found.pop("entropy-spatial seed 0 round 1")
    assert [line.split(" in the record")[0] for line in faults] == ["labelled_px is 8", "clicks is 7"]
    assert set(found.values()) == {()}
    assert not (context.artefacts.results_dir / "store" / "fit").exists()


def test_a_selection_that_the_strategy_does_not_make_is_found(
    copy: Path, scratch: Callable[[Published], TrialContext]
) -> None:
    record = record_of(copy, "entropy-spatial", 1)
    path = copy / "selections" / record.trial_id / "round-1.npz"
    arrays = dict(np.load(path))
    for name in ("regions", "potential", "image", "row", "col"):
        arrays[name] = arrays[name][::-1].copy()
    np.savez(path, **arrays)
    published = read_published(copy)
    context = scratch(published)
    (line,) = recompute(published, context, replace(record, picks_digest="0")).differences[:1]
    assert line == "the selection is another: 6 of 6 regions are selected here too, the order differs from place 0 on"
    static = {check.name: check.differences for check in check_selections(published, context)}
    assert "picks_digest" in static["entropy-spatial seed 0 round 1"][0]


def test_a_first_batch_of_another_seed_is_found(copy: Path, scratch: Callable[[Published], TrialContext]) -> None:
    record = record_of(copy, "random", 0)
    path = copy / "selections" / record.trial_id / "round-0.npz"
    arrays = dict(np.load(path))
    order = np.argsort(arrays["regions"])[::-1]
    np.savez(path, **{name: array[order] if array.ndim else array for name, array in arrays.items()})
    published = read_published(copy)
    context = scratch(published)
    found = {check.name: check.differences for check in check_selections(published, context)}
    assert "the selection is not the random first batch of its seed" in found["random seed 0 round 0"]


def test_a_region_that_is_labelled_twice_is_found(copy: Path, scratch: Callable[[Published], TrialContext]) -> None:
    folder = copy / "selections" / record_of(copy, "random", 0).trial_id
    shutil.copy(folder / "round-0.npz", folder / "round-1.npz")
    published = read_published(copy)
    context = scratch(published)
    found = {check.name: check.differences for check in check_selections(published, context)}
    assert (
        "its selection can't be replayed: expected regions that are not labelled yet"
        in found["random seed 0 round 1"][0]
    )


def test_a_damaged_selection_is_found_with_and_without_training(
    copy: Path, scratch: Callable[[Published], TrialContext]
) -> None:
    record = record_of(copy, "random", 2)
    (copy / "selections" / record.trial_id / "round-1.npz").write_bytes(b"PK")
    published = read_published(copy)
    context = scratch(published)
    found = {check.name: check.differences for check in check_selections(published, context)}
    assert "its selection can't be replayed" in found["random seed 0 round 2"][0]
    assert "its selection can't be replayed" in recompute(published, context, record).differences[0]


def test_a_published_copy_with_its_selections_in_one_zip_file_is_verified_like_the_folder(
    copy: Path, tmp_path: Path, scratch: Callable[[Published], TrialContext]
) -> None:
    write_bundle(copy, tmp_path / "published")
    assert differences(copy, tmp_path / "published") == []
    published = read_published(tmp_path / "published")
    assert (len(published.rounds), published.uncheckable) == (7, ())
    context = scratch(published)
    assert all(check.differences == () for check in check_selections(published, context))
    assert recompute(published, context, record_of(copy, "entropy-spatial", 1)).differences == ()


def test_a_suite_of_another_version_is_a_clear_error(copy: Path) -> None:
    path = copy / "suite.json"
    document = json.loads(path.read_text())
    document["suite"]["of_the_future"] = 1
    path.write_text(json.dumps(document))
    with pytest.raises(ResultsError, match=r"that this quadrat can run, got 1 mistakes \(`of_the_future`"):
        read_published(copy)
    del document["suite"]["of_the_future"]
    document["trials"][0]["spec"]["of_the_future"] = 1
    path.write_text(json.dumps(document))
    with pytest.raises(ResultsError, match=r"that this quadrat can run, got 1 mistakes \(`of_the_future`"):
        read_published(copy)


def test_rounds_without_their_selections_are_named_and_the_others_stay_checkable(copy: Path) -> None:
    trial_id = record_of(copy, "random", 0).trial_id
    (copy / "selections" / trial_id / "round-1.npz").unlink()
    published = read_published(copy)
    assert published.uncheckable == tuple(
        f"random seed 0 round {round_}: its selections are not all there, first missing that of round 1"
        for round_ in (1, 2)
    )
    assert len(published.rounds) == 5


def test_a_larger_sample_holds_the_smaller_one(original: Path) -> None:
    published = read_published(original)
    two, four = sample(published, 2), sample(published, 4)
    assert len(two) == 2 and len(four) == 4 and set(r.key for r in two) < set(r.key for r in four)
    assert sample(published, None) == sample(published, 99) == published.rounds


def test_the_estimate_counts_shared_fits_once(copy: Path) -> None:
    for label, rounds in (("random", 3), ("entropy-spatial", 3)):
        for round_ in range(rounds):
            change(copy, label, round_, seconds={"fit": 10.0, "evaluate": 1.0, "score": 2.0, "select": 0.5})
    published = read_published(copy, labels=["random", "entropy-spatial"])
    by_name = {(record.label, record.round): record for record in published.rounds}
    # Random asks no model: its round 1 needs one fit; entropy-spatial's needs that of round 0 too.
    assert estimate_s(published, [by_name["random", 1]]) == 13.5
    assert estimate_s(published, [by_name["entropy-spatial", 1]]) == 23.5
    # Six rounds, whose round 0 is the same fit for both strategies: five fits.
    assert estimate_s(published, published.rounds) == 5 * 10 + 6 * 3.5


def test_only_asked_for_strategies_and_seeds_are_read(original: Path) -> None:
    assert {record.label for record in read_published(original, labels=["random"]).rounds} == {"random"}
    with pytest.raises(ResultsError, match=r"--strategy: expected one that .* has records of .*, got randon"):
        read_published(original, labels=["randon"])
    with pytest.raises(ResultsError, match=r"--seed: expected one that .* has records of \(0\), got 4"):
        read_published(original, seeds=[4])


def test_a_renamed_strategy_is_read_by_its_name_of_today(
    copy: Path, scratch: Callable[[Published], TrialContext]
) -> None:
    document = json.loads((copy / "suite.json").read_text())
    for one in (*document["trials"], *document["suite"]["strategies"]):
        one["label"] = "drawn" if one["label"] == "random" else one["label"]
    (copy / "suite.json").write_text(json.dumps(document))
    published = read_published(copy, labels=["drawn"])
    assert {record.label for record in published.rounds} == {"drawn"} and published.uncheckable == ()
    assert recompute(published, scratch(published), published.rounds[0]).differences == ()


def test_environments_are_compared_where_it_matters() -> None:
    there = {
        "device": "cpu",
        "threads": 1,
        "cores": 8,
        "packages": {"torch": "2.11", "faiss-cpu": "1.1"},
        "commit": "a",
    }
    here = {"device": "cuda", "threads": 1, "cores": 2, "packages": {"torch": "2.12"}, "commit": "b"}
    assert environment_differences(there, here) == [
        "device cpu there, cuda here",
        "faiss-cpu 1.1 there, absent here",
        "torch 2.11 there, 2.12 here",
    ]


@pytest.fixture
def verify(original: Path) -> Callable[..., Result]:
    def call(folder: Path, *arguments: object) -> Result:
        cache = ["--cache", str(original / "cache")]
        return CliRunner().invoke(cli, ["verify", str(folder), *cache, *map(str, arguments)])

    return call


def test_the_command_says_the_same_and_writes_nothing_to_the_folder(copy: Path, verify: Callable[..., Result]) -> None:
    before = sorted(copy.rglob("*"))
    result = verify(copy, "--rounds", 1)
    assert result.exit_code == 0, result.output
    assert "selections and costs of 7 rounds, without training: 7 as recorded" in result.stdout
    assert "1 of 7 rounds are trained again, about " in result.stdout
    assert "equal    " in result.stdout
    assert result.stdout.endswith("the same, as far as it was checked: 1 round trained again\n")
    assert sorted(copy.rglob("*")) == before


def test_the_command_ends_with_1_where_something_differs_or_is_missing(
    copy: Path, verify: Callable[..., Result]
) -> None:
    change(copy, "random", 2, clicks=1)
    result = verify(copy, "--rounds", 0)
    assert result.exit_code == 1
    assert "differs  random seed 0 round 2: clicks is 1 in the record and" in result.stdout
    shutil.rmtree(copy / "selections")
    result = verify(copy, "--rounds", 0)
    assert result.exit_code == 1
    assert "can't be checked: random seed 0 rounds 0, 1, 2: its selections are not all there" in result.stdout


def test_a_wrong_cache_is_not_believed_whatever_it_says_of_itself(original: Path, copy: Path, tmp_path: Path) -> None:
    """A quarter of the test masks is zeroed, with digests that fit: as if the run had packed them so."""
    cache = tmp_path / "cache"
    shutil.copytree(original / "cache", cache)
    (path,) = cache.glob("packed/scenes-test-*/masks.bin")
    data = path.read_bytes()
    path.write_bytes(bytes(len(data) // 4) + data[len(data) // 4 :])
    meta = json.loads((path.parent / "meta.json").read_text())
    values = {name: value for name, value in meta.items() if name not in ("format", "version", "digest")}
    values["digests"]["masks.bin"] = digest_of(path.read_bytes())
    (path.parent / "meta.json").write_text(json.dumps(meta_content(values)))
    result = CliRunner().invoke(cli, ["verify", str(copy), "--cache", str(cache), "--rounds", "1"])
    assert result.exit_code == 2
    assert "expected the images and masks of scenes test in" in result.stderr
    shutil.copytree(cache, copy / "cache")  # that of the folder itself is not looked at, and nothing is written there
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    result = CliRunner().invoke(cli, ["verify", str(copy), "--rounds", "1"])
    assert result.exit_code == 0, result.output
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before


def test_clicks_that_the_cache_counts_otherwise_are_not_believed(original: Path, copy: Path, tmp_path: Path) -> None:
    """As when polygons were replaced; numbers of the records are those of the data set."""
    cache = tmp_path / "cache"
    shutil.copytree(original / "cache", cache)
    (path,) = cache.glob("packed/scenes-train-*/clicks-*.npz")
    with np.load(path) as found:
        np.savez(path, clicks=found["clicks"] + 1)
    result = CliRunner().invoke(cli, ["verify", str(copy), "--cache", str(cache), "--rounds", "0"])
    assert result.exit_code == 0, result.output


def test_a_cache_that_cannot_be_written_is_used_as_it_is(
    original: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acquire = FileLock._acquire

    def refuse(lock: FileLock, *arguments: object, **options: object) -> None:
        if str(original) in lock.lock_file:
            raise PermissionError(errno.EROFS, "Read-only file system", lock.lock_file)
        acquire(lock, *arguments, **options)

    monkeypatch.setattr(FileLock, "_acquire", refuse)
    result = CliRunner().invoke(cli, ["verify", str(copy), "--cache", str(original / "cache"), "--rounds", "0"])
    assert result.exit_code == 0, result.output


def test_other_data_are_refused(copy: Path, verify: Callable[..., Result]) -> None:
    path = copy / "suite.json"
    document = json.loads(path.read_text())
    document["dataset"]["test"]["fingerprint"] = "0" * 64
    path.write_text(json.dumps(document))
    result = verify(copy)
    assert result.exit_code == 2
    assert "was made on test images with fingerprint 000000000000, got images with fingerprint" in result.stderr
