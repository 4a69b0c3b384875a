"""Verification: published rounds are run again from their selections in a scratch folder, and compared.

A round is a pure function of its labelled regions. So one round of one trial is recomputed from the selections up to
it, without its predecessors; its own selection is made again from the model of the round before. What follows from
selections alone (their digests and costs) is checked for every round, since that takes seconds.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from quadrat.benchmark.config.sharing import SharedNeeds, needs_of_trial, planned_round
from quadrat.benchmark.config.trial import FULL_SUPERVISION, TrialSpec, cuts
from quadrat.benchmark.data import check_against_data_set
from quadrat.benchmark.data.shapes import RegionMap, check_against_images
from quadrat.benchmark.errors import QuadratError, ResultsError
from quadrat.benchmark.results.published import Published
from quadrat.benchmark.results.records import Record, differing_fields
from quadrat.benchmark.results.selections import ARCHIVE, pack_selections, selection_digest
from quadrat.benchmark.seeds import rng
from quadrat.benchmark.storage.atomic import make_folders
from quadrat.benchmark.trial.context import TrialContext
from quadrat.benchmark.trial.data import OnPack
from quadrat.benchmark.trial.loop import run_round
from quadrat.benchmark.trial.progress import OnProgress
from quadrat.benchmark.trial.state import Selected, TrialState, first_selection
from quadrat.strategies import Selection

__all__ = [
    "RoundCheck",
    "check_selections",
    "estimate_s",
    "open_scratch",
    "recompute",
    "sample",
]


@dataclass(frozen=True, kw_only=True)
class RoundCheck:
    """The result of checking one round.

    Attributes:
        record: The published record.
        differences: One line each; none means equal, field by field.
    """

    record: Record
    differences: tuple[str, ...]

    @property
    def name(self) -> str:
        """The round's name in messages."""
        return self.record.name


def open_scratch(
    published: Published, scratch_dir: Path, *, cache_dir: Path | None = None, on_pack: OnPack | None = None
) -> TrialContext:
    """Return the context to run published trials again, with their selections copied to a results folder of its own.

    Args:
        published: What is verified.
        scratch_dir: The results folder to work in; nothing is written to that of `published`.
        cache_dir: Where packed splits and frozen features are kept; by default in `scratch_dir`. A packed split that is
            there already is compared with the files of the data set, by decoding all of them; clicks, void regions and
            classes of regions are counted again.
        on_pack: Called while packing or comparing.

    Raises:
        DataError: When the cache holds other images or masks than the data set.
        ResultsError: When the data are not those of the published results.
    """
    pack_selections([published.path], scratch_dir / ARCHIVE)
    context = TrialContext.open(published.suite, scratch_dir, cache_dir=cache_dir, on_pack=on_pack)
    if cache_dir is not None:
        for packed in (context.data.pool, context.data.test):
            check_against_data_set(
                packed,
                context.data.dataset,
                functools.partial(on_pack, f"comparing {packed.split}") if on_pack else None,
            )
            packed.derived = scratch_dir / "derived" / packed.split
            make_folders(packed.derived)
        _check_maps(context, on_pack)
    for split, here in (("pool", context.data.pool), ("test", context.data.test)):
        there = published.dataset[split]["fingerprint"]
        if there != here.fingerprint:
            raise ResultsError(
                f"{published.path} was made on {split} images with fingerprint {there[:12]}, got images with "
                f"fingerprint {here.fingerprint[:12]} here: other data can't verify it"
            )
    maps = context.data.describe(scratch_dir, published.suite)["pool"].get("maps", ())
    digests = {one["name"]: one["digest"] for one in maps}
    for one in published.dataset["pool"].get("maps", ()):
        if digests.get(one["name"], one["digest"]) != one["digest"]:
            raise ResultsError(
                f"{published.path} was made on regions {one['name']} with digest {one['digest'][:12]}, got regions "
                f"with digest {digests[one['name']][:12]} here: the maps, or the library that cuts images, are others"
            )
    return context


def _check_maps(context: TrialContext, on_pack: OnPack | None) -> None:
    """Cut the images again for every map that was packed already, and compare."""
    for region_size, regions in cuts(context.suite.trials()):
        found = context.data.layout(region_size, regions)
        if isinstance(found, RegionMap):
            on_progress = functools.partial(on_pack, regions.title) if on_pack else None
            check_against_images(found, context.data.pool, regions.kind(), on_progress)


def sample(published: Published, num: int | None) -> tuple[Record, ...]:
    """Return `num` of the rounds, drawn with a fixed seed, in the order of the suite; all of them for None.

    A larger sample contains a smaller one, so that a first look is not lost on the second.
    """
    if num is None or num >= len(published.rounds):
        return published.rounds
    order = rng(0, "verify").permutation(len(published.rounds))
    return tuple(published.rounds[index] for index in sorted(order[:num].tolist()))


def estimate_s(published: Published, chosen: Sequence[Record]) -> float:
    """Return how long recomputing `chosen` takes by the recorded seconds, what they share counted once.

    Packing the data and, for a frozen encoder, computing its features come on top when the cache does not hold them.
    """
    specs = published.specs
    fit_s = {planned_round(specs[one.trial_id], one.round): one.seconds.get("fit", 0.0) for one in published.rounds}
    fits = {planned_round(specs[one.trial_id], one.round) for one in chosen}
    for record in chosen:
        spec = specs[record.trial_id]
        if record.round > 0 and needs_of_trial(spec, record.round, SharedNeeds()) != SharedNeeds():
            fits.add(planned_round(spec, record.round - 1))
    others_s = sum(record.seconds.get(phase, 0.0) for record in chosen for phase in ("evaluate", "score", "select"))
    return others_s + sum(fit_s.get(fit, 0.0) for fit in fits)


def check_selections(published: Published, context: TrialContext) -> Iterator[RoundCheck]:
    """Yield the check of every round's selection and cost against its record; nothing is trained.

    Differences are another number, digest or cost of the selected regions, regions that are labelled already or that
    the pool does not have, a round 0 that is not the random one of its seed, a mIoU that is not the mean of the IoUs
    beside it, and a data set, region size or label type that is not that of suite.json.
    """
    for trial_id, records in itertools.groupby(published.rounds, key=lambda record: record.trial_id):
        trial = TrialState(published.specs[trial_id], context)
        for record in records:
            try:
                trial.label_up_to(record.round)
                selected = _published_selection(trial)
                cost = trial.label(selected)
            except ValueError as error:
                yield _not_replayed(record, error)
                continue
            regions = selected.selection.regions
            accuracy = {"label_accuracy": trial.label_accuracy()}
            expected = {"picked": regions.size, "picks_digest": selection_digest(selected.selection)}
            lines = [
                f"{name} is {getattr(record, name)} in the record and {value} by its selection"
                for name, value in {**expected, **dataclasses.asdict(cost), **accuracy}.items()
                if getattr(record, name) not in (value, None)  # None: the record is older than the field
            ]
            if record.round == 0 and trial.spec.strategy != FULL_SUPERVISION:
                first = first_selection(trial.offered, trial.budgets[0], trial.spec.seed)
                if not np.array_equal(first.regions, regions):
                    lines.append("the selection is not the random first batch of its seed")
            yield RoundCheck(record=record, differences=(*lines, *_contradictions(record, trial.spec)))


def _contradictions(record: Record, spec: TrialSpec) -> Iterator[str]:
    """Yield what a record says that its other fields, or its trial in suite.json, contradict."""
    there = [value for value in record.iou if value is not None]
    mean = sum(there) / len(there) if there else 0.0
    if not math.isclose(record.miou, mean, rel_tol=1e-9, abs_tol=1e-12):
        yield f"miou is {record.miou} in the record and {mean} by its IoUs"
    if record.test_classes not in (len(there), None):
        yield f"test_classes is {record.test_classes} in the record and {len(there)} by its IoUs"
    described = {"dataset": spec.dataset.name, "region_size": spec.region_size, "labels": spec.labels}
    for name, value in described.items():
        if getattr(record, name) != value:
            yield f"{name} is {getattr(record, name)} in the record and {value} in suite.json"


def recompute(
    published: Published, context: TrialContext, record: Record, on_progress: OnProgress | None = None
) -> RoundCheck:
    """Return the check of one round that is computed again: its selection from the model before, its record from both.

    The record is made from the published selection, so a selection that comes out otherwise does not hide whether the
    training reproduces.

    Args:
        published: What is verified.
        context: As `open_scratch` returns it.
        record: One of `published.rounds`.
        on_progress: Called with the round, its phase, and the steps done and total.
    """
    spec = published.specs[record.trial_id]
    try:
        TrialState(spec, context).label_up_to(record.round + 1)
    except ValueError as error:
        return _not_replayed(record, error)
    trial = TrialState(spec, context, on_progress)
    trial.label_up_to(record.round)
    lines = _selection_differences(trial)
    again = run_round(trial)
    lines += [
        f"{name} is {getattr(record, name)} in the record and {getattr(again, name)} here"
        for name in differing_fields(record, again)
    ]
    return RoundCheck(record=record, differences=tuple(lines))


def _published_selection(trial: TrialState) -> Selected:
    selected = trial.read_selection()
    assert selected is not None, "rounds without their selections are not among those to check"
    return selected


def _not_replayed(record: Record, error: Exception) -> RoundCheck:
    return RoundCheck(record=record, differences=(f"its selection can't be replayed: {error}",))


def _selection_differences(trial: TrialState) -> list[str]:
    """Return how the selection that the strategy makes here differs from the published one, in at most one line."""
    if trial.spec.strategy == FULL_SUPERVISION:
        return []
    published = _published_selection(trial).selection
    try:
        again = trial.make_selection().selection
    except QuadratError as error:  # such as a replay whose folder is not here: the record can still be checked
        return [f"the selection can't be made again: {error}"]
    return _compare(published, again)


def _compare(published: Selection, again: Selection) -> list[str]:
    if not np.array_equal(again.regions, published.regions):
        num = min(again.regions.size, published.regions.size)
        same = again.regions[:num] == published.regions[:num]
        place = int(same.argmin()) if not same.all() else num
        shared = np.intersect1d(again.regions, published.regions).size
        return [
            f"the selection is another: {shared} of {published.regions.size} regions are selected here too, the order "
            f"differs from place {place} on"
        ]
    if not np.array_equal(again.potential, published.potential, equal_nan=True):
        return ["the selection has the same regions with other potentials"]
    return []
