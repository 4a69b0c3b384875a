"""The phases of a round as artefacts: fit, evaluate, preview, score; each computed once and found by its content."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from quadrat.benchmark.config.sharing import SharedNeeds, fitted_models, round_identity
from quadrat.benchmark.config.trial import TrialSpec
from quadrat.benchmark.errors import ResultsError, StopRequested
from quadrat.benchmark.learning.scoring.ensemble import member_seed
from quadrat.benchmark.results.previews import MAX_EDGE, fixed_images, pack_previews, previews_path, read_previews
from quadrat.benchmark.storage.atomic import atomic_write
from quadrat.benchmark.storage.store import Artefact
from quadrat.benchmark.trial.context import TrialContext
from quadrat.benchmark.trial.oracle import RevealedLabels
from quadrat.benchmark.trial.progress import Reporter

if TYPE_CHECKING:
    from quadrat.benchmark.learning.learner import Fitted, Learner, Scores

__all__ = ["Evaluation", "Round"]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The result of evaluating one round's model on the test set.

    Attributes:
        confusion: int64 (C, C), rows = truth, columns = prediction.
        steps: Optimiser steps of the fit.
        loss: Mean training loss over the last tenth of the steps.
        fit_s: Seconds of the fit, when it was computed.
        evaluate_s: Seconds of the evaluation, when it was computed.
    """

    confusion: npt.NDArray[np.int64]
    steps: int
    loss: float
    fit_s: float
    evaluate_s: float


class Round:
    """What one round computes, as a pure function of (images, region size, recipe, seed, round, labelled regions).

    Args:
        spec: The trial.
        context: What trials share.
        round_: The round, counted from 0.
        labels: All labels so far.
        labels_digest: Hash of the set of labelled regions.
        report: Called with the phase, and the steps done and total.
    """

    def __init__(
        self,
        spec: TrialSpec,
        context: TrialContext,
        *,
        round_: int,
        labels: RevealedLabels,
        labels_digest: str,
        report: Reporter,
    ) -> None:
        self.number = round_
        self._spec = spec
        self._context = context
        self._data = context.data
        self._store = context.artefacts.store
        self._labels = labels
        self._report = report
        self._key = round_identity(
            spec, round_, pool=context.data.pool.fingerprint, labelled=labels_digest, borders=labels.layout.digest
        )
        if context.weights_sha256 is not None:
            self._key["weights"] = context.weights_sha256

    @property
    def _learner(self) -> "Learner":
        return self._context.learner(self._spec.learner)

    def _fit(self, member: int = 0) -> tuple["Fitted", float]:
        """Return the round's network, or another member of its ensemble, and the seconds that its fit took."""
        from quadrat.benchmark.learning.learner import CheckpointError, Fitted

        key = self._member_key(member)
        checkpoint = self._store.checkpoint("fit", key)

        def compute(folder: Path) -> None:
            checkpoint.fetch()

            def on_step(done: int, total: int) -> None:
                checkpoint.upload()
                self._report("fit", done, total)

            def fit() -> Fitted:
                try:
                    return self._learner.fit(
                        self._labels,
                        seed=member_seed(self._spec.seed, member),
                        round=self.number,
                        checkpoint=checkpoint.path,
                        on_step=on_step,
                    )
                except StopRequested:  # the fit has written a checkpoint
                    checkpoint.upload()
                    raise

            try:
                fitted = fit()
            except CheckpointError as error:
                self._note(f"{error}; the fit begins again")
                checkpoint.remove()
                fitted = fit()
            fitted.save(folder / "fitted.pt")

        def load(artefact: Artefact) -> tuple[Fitted, float]:
            return Fitted.load(artefact.path / "fitted.pt"), artefact.elapsed_s

        loaded = self._store.load_or_compute("fit", key, compute, load, on_wait=self._wait, on_damage=self._note)
        checkpoint.remove()
        return loaded

    def evaluate(self) -> Evaluation:
        """Fit (or find the fit) and evaluate the last weights on the test set."""
        key = {**self._key, "test": self._data.test.fingerprint}

        def compute(folder: Path) -> None:
            self._prepare()
            fitted, fit_s = self._fit()
            start = time.perf_counter()
            confusion = self._learner.evaluate(
                fitted,
                self._data.test.masks,
                on_step=lambda done, total: self._report("evaluate", done, total),
            )
            np.save(folder / "confusion.npy", confusion)
            summary = {
                "steps": fitted.steps,
                "loss": fitted.loss,
                "fit_s": fit_s,
                "evaluate_s": time.perf_counter() - start,
            }
            (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")

        def load(artefact: Artefact) -> Evaluation:
            return Evaluation(
                confusion=np.load(artefact.path / "confusion.npy"),
                **json.loads((artefact.path / "summary.json").read_text(encoding="utf-8")),
            )

        return self._store.load_or_compute("evaluation", key, compute, load, on_wait=self._wait, on_damage=self._note)

    def write_previews(self) -> None:
        """Write the model's predictions for a few fixed images of the pool, if they are not there or damaged."""
        artefacts = self._context.artefacts
        path = artefacts.sync(previews_path(artefacts.results_dir, self._spec.trial_id, self.number))
        try:
            if read_previews(path):
                return
        except ResultsError as error:
            self._note(f"{error}: it is made again")
            path.unlink()
            artefacts.delete_remote(path)
        images = fixed_images(len(self._data.pool.ids))

        def compute(folder: Path) -> None:
            fitted, _ = self._fit()
            previews = self._learner.preview(fitted, images, max_edge=MAX_EDGE)
            (folder / "previews.npz").write_bytes(pack_previews(images, self._data.pool.sizes[images], previews))

        def load(artefact: Artefact) -> bytes:
            return (artefact.path / "previews.npz").read_bytes()

        data = self._store.load_or_compute(
            "preview", self._key, compute, load, on_wait=self._wait, on_damage=self._note
        )
        atomic_write(path, data)
        artefacts.sync(path)

    def score(self, needs: SharedNeeds) -> tuple["Scores", float]:
        """Return signals, features and profiles of every region of the pool, and the seconds that took.

        The seconds are those of the pass and, for a strategy with an ensemble, of its other members' fits, whoever has
        computed them. Features and profiles are memory maps: they may be larger than what a trial should hold.
        """
        from quadrat.benchmark.learning.learner import Scores

        if needs == SharedNeeds():
            return Scores(signals={}, features=None), 0.0

        def compute(folder: Path) -> None:
            self._prepare()
            fitted, _ = self._fit()
            members = [self._fit(member) for member in range(1, needs.num_models)]
            start = time.perf_counter()
            scores = self._learner.score(
                fitted,
                self._labels.layout,
                signals=needs.signals,
                features=needs.features,
                profiles=needs.profiles,
                seed=self._spec.seed,
                round=self.number,
                members=[member for member, _ in members],
                folder=folder,  # features and profiles of a large pool are never held
                on_step=lambda done, total: self._report("score", done, total),
            )
            arrays: dict[str, Any] = {f"signal/{name}": values for name, values in scores.signals.items()}
            elapsed_s, members_s = time.perf_counter() - start, sum(fit_s for _, fit_s in members)
            np.savez(folder / "signals.npz", elapsed_s=np.float64(elapsed_s), members_s=np.float64(members_s), **arrays)

        def load(artefact: Artefact) -> tuple[Scores, float]:
            with np.load(artefact.path / "signals.npz") as file:
                signals = {name: file[f"signal/{name}"] for name in needs.signals}
                elapsed_s = float(file["elapsed_s"])
                if fitted_models(self._spec, self.number) > 1:
                    elapsed_s += float(file["members_s"])
            features = np.load(artefact.path / "features.npy", mmap_mode="r") if needs.features else None
            profiles = {name: np.load(artefact.path / f"profile-{name}.npy", mmap_mode="r") for name in needs.profiles}
            return Scores(signals=signals, features=features, profiles=profiles), elapsed_s

        return self._store.load_or_compute(
            "scores", self._scores_key(needs), compute, load, on_wait=self._wait, on_damage=self._note
        )

    def errors(self) -> tuple[npt.NDArray[np.float32], float]:
        """Return the share of wrong pixels of every region of the pool, (R,), and the seconds that took.

        It is computed from the pool's ground truth, and only for strategies that may see labels.
        """

        def compute(folder: Path) -> None:
            self._prepare()
            fitted, _ = self._fit()
            start = time.perf_counter()
            errors = self._learner.errors(
                fitted,
                self._labels.layout,
                self._data.pool.masks,
                on_step=lambda done, total: self._report("score", done, total),
            )
            np.savez(folder / "errors.npz", errors=errors, elapsed_s=np.float64(time.perf_counter() - start))

        def load(artefact: Artefact) -> tuple[npt.NDArray[np.float32], float]:
            with np.load(artefact.path / "errors.npz") as file:
                return file["errors"], float(file["elapsed_s"])

        return self._store.load_or_compute("errors", self._key, compute, load, on_wait=self._wait, on_damage=self._note)

    def release(self, needs: SharedNeeds) -> None:
        """Drop what no later step of this trial needs. Round 0 stays: other strategies of the seed use it.

        In a store that suites share the weights stay as well, since the same trial may be part of another suite; scores
        are large, and come again from the weights in one pass.
        """
        if self.number == 0 or self._context.suite.resources.keep == "all":
            return
        if not self._store.is_shared:
            for member in range(needs.num_models):
                self._store.drop("fit", self._member_key(member))
        self._store.drop("scores", self._scores_key(needs))
        self._store.drop("errors", self._key)

    def _member_key(self, member: int) -> dict[str, Any]:
        return self._key if member == 0 else {**self._key, "member": member}

    def _scores_key(self, needs: SharedNeeds) -> dict[str, Any]:
        return {**self._key, **asdict(needs)}

    def _prepare(self) -> None:
        """Have the learner do what is done once in a process, before the clock of a phase starts."""
        self._learner.prepare(lambda done, total: self._report("encode", done, total))

    def _wait(self) -> None:
        self._report("wait")

    def _note(self, text: str) -> None:
        self._report.note(text)
