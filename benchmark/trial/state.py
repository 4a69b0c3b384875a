"""The state of a trial between two phases, and the steps that change it."""

import time
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from quadrat.benchmark.config.contents import WEIGHTS
from quadrat.benchmark.config.sharing import SharedNeeds, fitted_models, needs_of_trial
from quadrat.benchmark.config.trial import FULL_SUPERVISION, TrialSpec
from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.learning.scoring.metrics import iou_per_class, mean_iou, pixel_accuracy
from quadrat.benchmark.results.records import Record
from quadrat.benchmark.results.selections import (
    DamagedSelectionError,
    Selections,
    put_aside,
    selection_digest,
    selection_path,
    write_selection,
)
from quadrat.benchmark.seeds import rng
from quadrat.benchmark.trial.annotation import annotate
from quadrat.benchmark.trial.context import TrialContext
from quadrat.benchmark.trial.labels import LabelState
from quadrat.benchmark.trial.oracle import LabelCost, Oracle
from quadrat.benchmark.trial.progress import OnProgress, Reporter
from quadrat.benchmark.trial.round import Evaluation, Round
from quadrat.benchmark.trial.usage import Usage
from quadrat.strategies import OracleStrategy, Pool, Selection, Truth, load
from quadrat.strategies.diversity import Diversification
from quadrat.strategies.features import load_engine

__all__ = ["Selected", "TrialState", "first_selection"]


Entry = TypeVar("Entry", bound=np.generic)


class Selected(NamedTuple):
    """The selection of a round.

    Attributes:
        selection: The regions, in the order selected.
        score_s: Seconds of the scoring pass before it.
        select_s: Seconds that the strategy took.
    """

    selection: Selection
    score_s: float = 0.0
    select_s: float = 0.0


class TrialState:
    """One trial: which regions are labelled so far, and the model that is trained on them.

    Args:
        spec: The trial.
        context: What the trials of this process share.
        on_progress: Called with the round, its phase, and the steps done and total.

    Attributes:
        offered: int64, the regions that can be labelled, ascending: all, or without those that are wholly void.
        budgets: Cumulative number of labelled regions after each round; full supervision labels all in its one round.
        round: The round that is selected next, counted from 0.
    """

    def __init__(self, spec: TrialSpec, context: TrialContext, on_progress: OnProgress | None = None) -> None:
        self.spec = spec
        self._context = context
        self._layout = context.data.layout(spec.region_size, spec.regions)
        self._selections = Selections(context.artefacts.results_dir)
        self._labels = LabelState(self._layout.num_regions)
        annotation = annotate(
            spec,
            lambda: context.data.class_counts(spec.region_size, spec.regions),
            self._layout.image,
            lambda: context.data.clicks(spec.region_size, spec.regions),
        )
        clicks = context.data.clicks(spec.region_size, spec.regions) if annotation is None else annotation.clicks_R
        is_void = context.data.void_regions(spec.region_size, spec.regions)
        self.offered = np.flatnonzero(~is_void) if spec.void_regions == "withhold" else np.arange(len(is_void))
        self._oracle = Oracle(
            context.data.pool.masks, self._layout, self._labels, clicks, is_void, self.offered, annotation
        )
        self._strategy = None if spec.strategy == FULL_SUPERVISION else load(spec.strategy, **spec.params)
        self._report = Reporter(spec, on_progress)
        self._usage = Usage()
        self._last: Round | None = None
        self._before_last: Round | None = None
        self.budgets = spec.budgets or (len(self.offered),)
        self.round = 0

    def check_files(self) -> None:
        """Check that files which the trial depends on hold here what its identity says.

        Raises:
            QuadratError: When one is missing, or was changed since the suite was read, or differs on this machine.
        """
        found = {} if self._strategy is None else self._strategy.contents()
        here = {f"params.{name}": digest for name, digest in found.items()}
        here |= {f"regions.{name}": digest for name, digest in self.spec.regions.kind().contents().items()}
        if self._context.weights_sha256 is not None:
            here[WEIGHTS] = self._context.weights_sha256
        for key in sorted({*here, *self.spec.files}):
            if here.get(key) != self.spec.files.get(key):
                raise ResultsError(
                    f"{key} of {self.spec.trial_id}: expected the content with digest {self.spec.files.get(key)}, got "
                    f"{here.get(key)} on this machine; use the same file everywhere, and start the run again when it "
                    "has changed"
                )

    def select(self) -> Selected:
        """Return the selection of the next round: from its file if it was made before, else made now and written."""
        self._report("select")
        selected = self._read_intact_selection()
        if selected is None:
            selected = self.make_selection()
            path = self._selection_path()
            write_selection(
                path, selected.selection, self._layout, score_s=selected.score_s, select_s=selected.select_s
            )
            self._context.artefacts.sync(path)
        return selected

    def _read_intact_selection(self) -> Selected | None:
        """Return the next round's selection if it is there and intact; a damaged one is put aside.

        Raises:
            ResultsError: When it is damaged inside a published zip file, from which it can't be made again.
        """
        for _ in range(2):  # the file here, then the one at the remote
            try:
                return self.read_selection()
            except DamagedSelectionError as error:
                if not isinstance(error.path, Path):
                    raise
                self._report.note(f"{error.path} is damaged and put aside; it is restored or made again")
                put_aside(error.path)
        self._context.artefacts.delete_remote(self._selection_path())
        return None

    def read_selection(self) -> Selected | None:
        """Return the next round's selection if it has been made; full supervision always selects every region."""
        if self._strategy is None:
            return Selected(Selection.of(self.offered))
        self._context.artefacts.sync(self._selection_path())
        file = self._selections.read(self.spec.trial_id, self.round, self._layout)
        return None if file is None else Selected(file.selection, file.score_s, file.select_s)

    def make_selection(self) -> Selected:
        """Return what the strategy selects for the next round; no file of a selection is read or written."""
        assert self._strategy is not None, "full supervision selects every region"
        budget = self.budgets[self.round] - self._labels.regions.size
        if self._last is None:
            start = time.perf_counter()
            first = first_selection(self.offered, budget, self.spec.seed)
            return Selected(first, select_s=time.perf_counter() - start)
        scores, score_s = self._last.score(self._needs(self._last))
        needs = self._strategy.needs
        pool = Pool(
            image=self._of_offered(self._layout.image),
            row=self._of_offered(self._layout.row),
            col=self._of_offered(self._layout.col),
            pixels=self._of_offered(self._layout.pixels),
            labelled=self._of_offered(self._labels.labelled),
            signals={name: self._of_offered(scores.signals[name]) for name in needs.signals},
            features=self._of_offered(scores.features) if needs.features and scores.features is not None else None,
            profiles={name: self._of_offered(scores.profiles[name]) for name in needs.profiles},
            borders=self._borders_of_offered() if needs.borders else None,
        )
        if needs.features or needs.profiles:
            # Takes seconds the first time, which are no time of the selection.
            load_engine()
            if isinstance(self._strategy, Diversification):
                self._strategy.load_engine(pool)
        generator = rng(self.spec.seed, "select", self.round, self.spec.strategy)
        if isinstance(self._strategy, OracleStrategy):
            truth, truth_s = self._truth_for(self._strategy, self._last)
            start = time.perf_counter()
            selection = self._strategy.select(pool, budget, generator, truth)
            return Selected(self._in_layout(selection), score_s + truth_s, time.perf_counter() - start)
        start = time.perf_counter()
        selection = self._strategy.select(pool, budget, generator)
        return Selected(self._in_layout(selection), score_s, time.perf_counter() - start)

    def _of_offered(self, values: npt.NDArray[Entry]) -> npt.NDArray[Entry]:
        """Return the entries of the regions that are offered, of an array over all regions; without a copy if all are.

        A strategy's pool has no others, so that neither its normalisation nor its distances know of them.
        """
        return values if len(self.offered) == len(values) else values[self.offered]

    def _borders_of_offered(self) -> npt.NDArray[np.int64] | None:
        """Return the pairs of neighbours that are both offered, as rows of the pool; None for a grid."""
        if (borders := self._layout.borders) is None:
            return None
        row_of = np.full(self._layout.num_regions, -1)
        row_of[self.offered] = np.arange(len(self.offered))
        rows: npt.NDArray[np.int64] = row_of[borders]
        return rows[(rows >= 0).all(axis=1)]

    def _in_layout(self, selection: Selection) -> Selection:
        """Return a selection of rows of the pool as regions of the layout."""
        return Selection(regions=self.offered[selection.regions], potential=selection.potential)

    def label(self, selected: Selected) -> LabelCost:
        """Have the oracle label a selection, and return the cost of all labels so far.

        Raises:
            ValueError: When a region does not exist, or is labelled already; nothing is changed then.
        """
        cost = self._oracle.label(selected.selection.regions)
        self._before_last = self._last
        self._last = Round(
            self.spec,
            self._context,
            round_=self.round,
            labels=self._oracle.reveal(),
            labels_digest=self._labels.digest,
            report=self._report,
        )
        self.round += 1
        return cost

    def label_accuracy(self) -> float:
        """Return the share of the labelled non-void pixels whose label is right, for the record."""
        return self._oracle.label_accuracy()

    def label_up_to(self, round_: int) -> None:
        """Label the selections of all rounds before `round_`, as their files give them, without training.

        Raises:
            ResultsError: When a selection has not been made, is damaged, or is of another layout.
            ValueError: As `label`.
        """
        while self.round < round_:
            selected = self.read_selection()
            if selected is None:
                raise ResultsError(f"expected the selection of round {self.round} of {self.spec.trial_id}, got none")
            self.label(selected)

    def evaluate(self) -> Evaluation:
        """Train a model on all labels so far, or find it, and evaluate it on the test set."""
        assert self._last is not None, "labels before training"
        return self._last.evaluate()

    def record(self, selected: Selected, cost: LabelCost, evaluation: Evaluation) -> Record:
        """Return the record of the round that was labelled last."""
        round_ = self.round - 1
        iou = iou_per_class(evaluation.confusion)
        return Record(
            suite=self._context.suite.name,
            trial_id=self.spec.trial_id,
            label=self.spec.label,
            strategy=self.spec.strategy,
            params=self.spec.params,
            dataset=self.spec.dataset.name,
            region_size=self.spec.region_size,
            labels=self.spec.labels,
            label_accuracy=self.label_accuracy(),
            recipe=self.spec.recipe_digest,
            seed=self.spec.seed,
            round=round_,
            regions=cost.regions,
            picked=len(selected.selection),
            labelled_px=cost.labelled_px,
            labelled_fraction=cost.labelled_fraction,
            clicks=cost.clicks,
            class_px=cost.class_px,
            void_px=cost.void_px,
            void_regions=cost.void_regions,
            images_opened=cost.images_opened,
            exhausted=cost.regions < self.budgets[round_],
            miou=float(mean_iou(evaluation.confusion)),
            iou=tuple(None if np.isnan(value) else float(value) for value in iou),
            test_classes=int((~np.isnan(iou)).sum()),
            pixel_accuracy=float(pixel_accuracy(evaluation.confusion)),
            steps=evaluation.steps,
            fits=1 if round_ == 0 else fitted_models(self.spec, round_ - 1),
            loss=evaluation.loss,
            picks_digest=selection_digest(selected.selection),
            seconds={
                "score": selected.score_s,
                "select": selected.select_s,
                "fit": evaluation.fit_s,
                "evaluate": evaluation.evaluate_s,
            },
            ended_at=round(time.time(), 3),
            usage=self._usage.read(),
        )

    def end_round(self, record: Record) -> None:
        """Write previews of the first seed; drop what no later step needs: model and scores of the round before."""
        if self._last is not None and self.spec.seed == self._context.suite.seeds[0]:
            self._last.write_previews()
        if self._before_last is not None:
            self._before_last.release(self._needs(self._before_last))
        self._report = self._report.next_round(record.miou)
        self._usage = Usage()

    def _selection_path(self) -> Path:
        return selection_path(self._context.artefacts.results_dir, self.spec.trial_id, self.round)

    def _needs(self, round_: Round) -> SharedNeeds:
        return needs_of_trial(self.spec, round_.number, self._context.suite_needs)

    def _truth_for(self, strategy: OracleStrategy, last: Round) -> tuple[Truth, float]:
        """Return what a strategy that may see labels asks of the oracle, and the seconds that it took."""
        if strategy.asks == "class_shares":
            start = time.perf_counter()
            shares = self._of_offered(self._oracle.class_shares())
            return Truth(class_shares=shares), time.perf_counter() - start
        errors, errors_s = last.errors()
        return Truth(errors=self._of_offered(errors)), errors_s


def first_selection(offered: npt.NDArray[np.int64], budget: int, seed: int) -> Selection:
    """Return round 0: `budget` of the offered regions uniformly at random, the same for every strategy of a seed.

    Budgets that differ share their beginning: a smaller selection is the beginning of a larger one.
    """
    return Selection.of(offered[rng(seed, "initial-labels").permutation(len(offered))[:budget]])
