"""The learner: one front for the fine-tuned and for the frozen recipe."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from quadrat.benchmark.errors import DataError
from quadrat.benchmark.learning.inputs import Grid, Images, Labels, Masks
from quadrat.benchmark.learning.network.weights import EncoderWeights, load_weights
from quadrat.benchmark.learning.recipe import Recipe
from quadrat.benchmark.learning.runtime import resolve_device, torch_settings
from quadrat.benchmark.learning.scoring.preview import Preview, preview
from quadrat.benchmark.learning.scoring.profiles import load_profiles
from quadrat.benchmark.learning.scoring.region_errors import region_errors
from quadrat.benchmark.learning.scoring.score import confusion_matrix, score_regions
from quadrat.benchmark.learning.scoring.signals import load_signals
from quadrat.benchmark.learning.training.checkpoint import CheckpointFile, load_tensors, save_tensors
from quadrat.benchmark.learning.training.finetuned import FineTuned
from quadrat.benchmark.learning.training.fit import Batch, train
from quadrat.benchmark.learning.training.frozen import Frozen
from quadrat.benchmark.learning.training.sampler import Sampler
from quadrat.benchmark.seeds import torch_seed

__all__ = ["Fitted", "Learner", "Scores", "Training"]

OnStep = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a fit leaves.

    Attributes:
        state: Trained tensors and buffers by name, on the CPU; without the encoder where it is frozen.
        steps: Iterations.
        loss: Mean training loss in nats over the last tenth of the iterations.
    """

    state: dict[str, Tensor]
    steps: int
    loss: float

    def save(self, path: Path) -> None:
        """Write to `path`, whole or not at all.

        Raises:
            ResultsError: The disk is full or not writable.
        """
        save_tensors({"state": self.state, "steps": self.steps, "loss": self.loss}, path)

    @classmethod
    def load(cls, path: Path) -> "Fitted":
        """Read what `save` wrote.

        Raises:
            TrainingError: The file can't be read.
        """
        return cls(**load_tensors(path))


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What one scoring pass gives, by region id.

    Attributes:
        signals: Name to float32 (R,).
        features: Mean decoder features, float32 (R, D), or None where nobody asked.
        profiles: Name to float32 (R, K).
    """

    signals: dict[str, NDArray[np.float32]]
    features: NDArray[np.float32] | None
    profiles: dict[str, NDArray[np.float32]] = field(default_factory=dict)


class Training(NamedTuple):
    """What a fit consists of."""

    network: nn.Module
    draw_batch: Callable[[int], Batch]  # iteration to batch
    num_steps: int


class Learner:
    """Fits, scores and evaluates networks of one recipe on one pool and one test set.

    Nothing is loaded until it is needed, and what rounds share (encoder weights, a frozen encoder's features) is kept.
    A fit, its scores and its confusion matrix are functions of their arguments: same inputs, device and thread count
    give the same bits, whatever was done with the learner before.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        train: Images,
        test: Images,
        num_classes: int,
        device: str,
        threads: int,
        cache_dir: Path,
        checkpoint_every_s: float = 60.0,
    ) -> None:
        """Take what all rounds share.

        Args:
            recipe: How networks are built and trained.
            train: Images of the pool.
            test: Images of the set that is reported on.
            num_classes: C.
            device: `"cpu"`, `"cuda"` or `"cuda:<number>"`.
            threads: CPU threads of torch in every phase.
            cache_dir: Where a frozen encoder's features are kept, shared by processes.
            checkpoint_every_s: Seconds between two checkpoints of a fit.

        Raises:
            TrainingError: There is no such device.
        """
        self.recipe = recipe
        self._train = train
        self._test = test
        self._num_classes = num_classes
        self._device = resolve_device(device)
        self._threads = threads
        self._cache_dir = Path(cache_dir)
        self._checkpoint_every_s = checkpoint_every_s

    @cached_property
    def weights(self) -> EncoderWeights | None:
        """What every fit's encoder starts from; None where it is random."""
        return load_weights(self.recipe.encoder, self.recipe.weights)

    def prepare(self, on_step: OnStep | None = None) -> None:
        """Compute what all rounds share, if nobody has: a frozen encoder's features of the pool and the test set."""
        if not isinstance(self._variant, Frozen):
            return
        total = len(self._train) + len(self._test)
        with torch_settings(self._device, self._threads):
            for images, before in ((self._train, 0), (self._test, len(self._train))):
                self._variant.features(images, None if on_step is None else _shifted(on_step, before, total))

    def fit(
        self,
        labels: Labels,
        *,
        seed: int,
        round: int,
        checkpoint: Path | None = None,
        on_step: OnStep | None = None,
    ) -> Fitted:
        """Train a network from fresh weights on what is labelled.

        Args:
            labels: What has been bought.
            seed: The trial's seed.
            round: The round, counted from 0.
            checkpoint: File to resume from and to keep the half-way state in; it is left there at the end.
            on_step: Told (iterations done, iterations in all).

        Raises:
            TrainingError: Nothing is labelled, the loss is not finite, the encoder or its weights can't be had, or the
                checkpoint is another fit's.
        """
        with torch_settings(self._device, self._threads):
            network, draw_batch, num_steps = self.training(labels, seed=seed, round=round)
            losses = train(
                network,
                draw_batch,
                self.recipe,
                num_steps,
                dropout_seed=lambda step: torch_seed(seed, "fit", round, "dropout", step),
                device=self._device,
                checkpoint=self._checkpoint_file(checkpoint, labels, seed, round),
                on_step=on_step,
            )
        state = {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}
        return Fitted(state=state, steps=num_steps, loss=float(losses[-max(1, num_steps // 10) :].mean()))

    def training(self, labels: Labels, *, seed: int, round: int) -> Training:
        """Return what a fit trains, on what, and for how long; for those who measure a fit from inside.

        Args:
            labels: What has been bought.
            seed: The trial's seed.
            round: The round, counted from 0.

        Raises:
            TrainingError: Nothing is labelled, or the encoder or its weights can't be had.
        """
        if labels.num_classes != self._num_classes:
            raise DataError(f"expected labels of {self._num_classes} classes, got {labels.num_classes}")
        recipe = self.recipe
        sampler = Sampler(
            labels,
            batch_size=recipe.batch_size,
            crop=recipe.crop,
            scale=recipe.scale,
            flip=recipe.flip,
            align=self._variant.align,
            seed=seed,
            round=round,
        )
        network = self._variant.fresh_network(torch_seed(seed, "fit", round, "weights"))
        draw_batch = self._variant.batches(network, sampler, labels)
        return Training(network, draw_batch, recipe.num_steps(sampler.num_images))

    def score(
        self,
        fitted: Fitted,
        grid: Grid,
        *,
        signals: Sequence[str],
        features: bool,
        profiles: Sequence[str] = (),
        seed: int,
        round: int,
        folder: Path | None = None,
        on_step: OnStep | None = None,
    ) -> Scores:
        """Return signals, features and profiles of every region of the pool, in one pass.

        Args:
            fitted: The trained network.
            grid: Regions of the pool.
            signals: Registered names; only these are computed.
            features: Whether the mean decoder features are wanted.
            profiles: Registered names; only these are computed.
            seed: The trial's seed, for the dropout of signals that want several passes.
            round: The round, counted from 0.
            folder: Where features and profiles are streamed to, as .npy files that are then mapped; None keeps them
                in memory.
            on_step: Told (images done, images in all).

        Raises:
            PluginError: A signal or profile is unknown or broken.
            TrainingError: The network's output is not finite.
            ResultsError: The disk is full or not writable.
        """
        wanted, wanted_profiles = load_signals(signals), load_profiles(profiles)
        with torch_settings(self._device, self._threads):
            scores = score_regions(
                self._variant.predictor(fitted.state, self._train),
                grid,
                wanted,
                with_features=features,
                profiles=wanted_profiles,
                device=self._device,
                dropout_seed=lambda image, number: torch_seed(seed, "score", round, "dropout", image, number),
                folder=folder,
                on_image=on_step,
            )
        return Scores(signals=scores.signals, features=scores.features, profiles=scores.profiles)

    def evaluate(self, fitted: Fitted, masks: Masks, on_step: OnStep | None = None) -> NDArray[np.int64]:
        """Return the confusion matrix over the test set, int64 (C, C), rows = truth; void is left out.

        Args:
            fitted: The trained network.
            masks: The test set's ground truth, image for image.
            on_step: Told (images done, images in all).

        Raises:
            DataError: The masks are not the test images', or hold an unknown class id.
        """
        if not np.array_equal(masks.sizes, self._test.sizes):
            raise DataError(
                f"expected masks of the {len(self._test)} test images in their sizes, got {len(masks)} of other sizes"
            )
        with torch_settings(self._device, self._threads):
            predict = self._variant.predictor(fitted.state, self._test)
            return confusion_matrix(predict, masks, self._num_classes, device=self._device, on_image=on_step)

    def errors(self, fitted: Fitted, grid: Grid, masks: Masks, on_step: OnStep | None = None) -> NDArray[np.float32]:
        """Return the share of wrong pixels of every region of the pool, (R,): for references, through the oracle.

        Args:
            fitted: The trained network.
            grid: Regions of the pool.
            masks: The pool's ground truth, image for image.
            on_step: Told (images done, images in all).
        """
        with torch_settings(self._device, self._threads):
            predict = self._variant.predictor(fitted.state, self._train)
            return region_errors(predict, grid, masks, device=self._device, on_image=on_step)

    def preview(self, fitted: Fitted, images: Sequence[int], *, max_edge: int) -> list[Preview]:
        """Return prediction and entropy of a few images of the pool, for people to look at.

        Args:
            fitted: The trained network.
            images: Indices into the pool.
            max_edge: Longest edge of the maps, pixels.
        """
        sizes = self._train.sizes[list(images)].tolist()
        with torch_settings(self._device, self._threads):
            predict = self._variant.predictor(fitted.state, self._train)
            return [
                preview(predict, index, height, width, max_edge=max_edge)
                for index, (height, width) in zip(images, sizes, strict=True)
            ]

    @cached_property
    def _variant(self) -> FineTuned | Frozen:
        """What differs between the two recipes: the network, its batches, and how images are encoded."""
        recipe, weights = self.recipe, self.weights
        if recipe.frozen:
            return Frozen(
                recipe,
                weights,
                train=self._train,
                num_classes=self._num_classes,
                device=self._device,
                threads=self._threads,
                cache_dir=self._cache_dir,
            )
        return FineTuned(recipe, weights, train=self._train, num_classes=self._num_classes, device=self._device)

    def _checkpoint_file(self, path: Path | None, labels: Labels, seed: int, round: int) -> CheckpointFile | None:
        if path is None:
            return None
        regions = np.ascontiguousarray(labels.regions, dtype="<i8")
        identity: dict[str, Any] = {
            "recipe": self.recipe.digest(),
            "images": self._train.fingerprint,
            "weights": self.weights.sha256 if self.weights else "none",
            "region_size": int(labels.grid.region_size),
            "labelled": hashlib.sha256(regions.tobytes()).hexdigest(),
            "seed": seed,
            "round": round,
        }
        return CheckpointFile(path, identity, self._checkpoint_every_s)


def _shifted(on_step: OnStep, before: int, total: int) -> OnStep:
    return lambda done, _: on_step(before + done, total)
