"""The phases of a round as artefacts: fit, evaluate, preview, score; each computed once and found by its content."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from quadrat.benchmark.config.sharing import SharedNeeds, round_identity
from quadrat.benchmark.config.trial import TrialSpec
from quadrat.benchmark.results.previews import MAX_EDGE, fixed_images, pack_previews
from quadrat.benchmark.storage.atomic import atomic_write
from quadrat.benchmark.storage.store import Artefact
from quadrat.benchmark.trial.context import TrialContext
from quadrat.benchmark.trial.oracle import RevealedLabels

if TYPE_CHECKING:
    from quadrat.benchmark.learning.learner import Fitted, Scores

__all__ = ["Evaluation", "Phase", "Progress", "ProgressCallback", "Round"]

Phase = Literal["select", "fit", "evaluate", "score", "wait"]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a trial is, for displays.

    Attributes:
        trial_id: The trial.
        label: What its strategy is called.
        seed: Its seed.
        round: The round at work, counted from 0.
        num_rounds: Rounds in all.
        phase: What is being done; "wait" while another process computes what both need.
        done: Steps or images done in this phase.
        total: Steps or images of this phase, 0 where it has none.
        miou: mIoU of the last finished round.
    """

    trial_id: str
    label: str
    seed: int
    round: int
    num_rounds: int
    phase: Phase
    done: int
    total: int
    miou: float | None


ProgressCallback = Callable[[Phase, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What one round's model does on the test set.

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
        bench: What trials share.
        round_: The round, counted from 0.
        labels: The labels bought so far.
        labels_digest: Hash of the set of labelled regions.
        on_progress: Told of the phase and its steps.
    """

    def __init__(
        self,
        spec: TrialSpec,
        bench: TrialContext,
        *,
        round_: int,
        labels: RevealedLabels,
        labels_digest: str,
        on_progress: ProgressCallback,
    ) -> None:
        self._bench = bench
        self._seed = spec.seed
        self._round = round_
        self._labels = labels
        self._on_progress = on_progress
        self._key = round_identity(spec, round_, pool=bench.pool.fingerprint, labelled=labels_digest)
        if bench.weight_file_sha256 is not None:
            self._key["weights"] = bench.weight_file_sha256

    @property
    def _evaluation_key(self) -> dict[str, Any]:
        return {**self._key, "test": self._bench.test.fingerprint}

    def _scores_key(self, needs: SharedNeeds) -> dict[str, Any]:
        wanted = {"signals": list(needs.signals), "features": needs.features, "profiles": list(needs.profiles)}
        return {**self._key, **wanted}

    def _fit(self) -> tuple["Fitted", float]:
        from quadrat.benchmark.learning.learner import Fitted

        checkpoint = self._bench.store.checkpoint("fit", self._key)

        def compute(folder: Path) -> None:
            checkpoint.fetch()

            def on_step(done: int, total: int) -> None:
                checkpoint.upload()
                self._on_progress("fit", done, total)

            fitted = self._bench.learner.fit(
                self._labels,
                seed=self._seed,
                round=self._round,
                checkpoint=checkpoint.path,
                on_step=on_step,
            )
            fitted.save(folder / "fitted.pt")

        def load(artefact: Artefact) -> tuple[Fitted, float]:
            return Fitted.load(artefact.path / "fitted.pt"), artefact.elapsed_s

        loaded = self._bench.store.load_or_compute("fit", self._key, compute, load, on_wait=self._wait)
        checkpoint.remove()
        return loaded

    def evaluate(self) -> Evaluation:
        """Fit (or find the fit) and evaluate the last weights on the test set."""

        def compute(folder: Path) -> None:
            fitted, fit_s = self._fit()
            start = time.perf_counter()
            confusion = self._bench.learner.evaluate(
                fitted,
                self._bench.test.masks,
                on_step=lambda done, total: self._on_progress("evaluate", done, total),
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

        return self._bench.store.load_or_compute("evaluation", self._evaluation_key, compute, load, on_wait=self._wait)

    def preview(self, path: Path) -> None:
        """Write what the model says of a few fixed images of the pool to `path`, unless it is there already."""
        if path.is_file():
            return
        images = fixed_images(len(self._bench.pool.ids))

        def compute(folder: Path) -> None:
            fitted, _ = self._fit()
            previews = self._bench.learner.preview(fitted, images, max_edge=MAX_EDGE)
            (folder / "previews.npz").write_bytes(pack_previews(images, self._bench.pool.sizes[images], previews))

        artefact = self._bench.store.get_or_compute("preview", self._key, compute, on_wait=self._wait)
        atomic_write(path, (artefact.path / "previews.npz").read_bytes())

    def score(self, needs: SharedNeeds) -> tuple["Scores", float]:
        """Return signals, features and profiles of every region of the pool, and the seconds that took.

        Features and profiles are memory maps: they may be larger than what a trial should hold.
        """
        from quadrat.benchmark.learning.learner import Scores

        if needs == SharedNeeds(signals=(), features=False):
            return Scores(signals={}, features=None), 0.0

        def compute(folder: Path) -> None:
            fitted, _ = self._fit()
            start = time.perf_counter()
            scores = self._bench.learner.score(
                fitted,
                self._labels.grid,
                signals=needs.signals,
                features=needs.features,
                profiles=needs.profiles,
                seed=self._seed,
                round=self._round,
                folder=folder,  # features and profiles of a large pool are never held
                on_step=lambda done, total: self._on_progress("score", done, total),
            )
            arrays: dict[str, Any] = {f"signal/{name}": values for name, values in scores.signals.items()}
            np.savez(folder / "signals.npz", elapsed_s=np.float64(time.perf_counter() - start), **arrays)

        def load(artefact: Artefact) -> tuple[Scores, float]:
            with np.load(artefact.path / "signals.npz") as file:
                signals = {name: file[f"signal/{name}"] for name in needs.signals}
                elapsed_s = float(file["elapsed_s"])
            features = np.load(artefact.path / "features.npy", mmap_mode="r") if needs.features else None
            profiles = {name: np.load(artefact.path / f"profile-{name}.npy", mmap_mode="r") for name in needs.profiles}
            return Scores(signals=signals, features=features, profiles=profiles), elapsed_s

        return self._bench.store.load_or_compute("scores", self._scores_key(needs), compute, load, on_wait=self._wait)

    def errors(self) -> tuple[npt.NDArray[np.float32], float]:
        """Return the share of wrong pixels of every region of the pool, (R,), and the seconds that took.

        It is computed from the pool's ground truth, for oracle strategies only.
        """

        def compute(folder: Path) -> None:
            fitted, _ = self._fit()
            start = time.perf_counter()
            errors = self._bench.learner.errors(
                fitted,
                self._labels.grid,
                self._bench.pool.masks,
                on_step=lambda done, total: self._on_progress("score", done, total),
            )
            np.savez(folder / "errors.npz", errors=errors, elapsed_s=np.float64(time.perf_counter() - start))

        def load(artefact: Artefact) -> tuple[npt.NDArray[np.float32], float]:
            with np.load(artefact.path / "errors.npz") as file:
                return file["errors"], float(file["elapsed_s"])

        return self._bench.store.load_or_compute("errors", self._key, compute, load, on_wait=self._wait)

    def release(self, needs: SharedNeeds) -> None:
        """Drop what no later step of this trial needs. Round 0 stays: other strategies of the seed use it.

        In a store that suites share the weights stay as well, since the same trial may be part of another suite; scores
        are large, and come again from the weights in one pass.
        """
        if self._round == 0 or self._bench.suite.resources.keep == "all":
            return
        if not self._bench.store.is_shared:
            self._bench.store.drop("fit", self._key)
        self._bench.store.drop("scores", self._scores_key(needs))
        self._bench.store.drop("errors", self._key)

    def _wait(self) -> None:
        self._on_progress("wait", 0, 0)


def digest_of_picks(regions: npt.NDArray[np.int64]) -> str:
    """Return the SHA-256 of the picks in pick order, independent of byte order."""
    return hashlib.sha256(regions.astype("<i8").tobytes()).hexdigest()
