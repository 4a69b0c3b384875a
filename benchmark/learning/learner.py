"""The learner: trains, scores and evaluates networks of one recipe, fine-tuned or with a frozen encoder."""

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from quadrat.benchmark.data import Layout
from quadrat.benchmark.errors import DataError
from quadrat.benchmark.learning.inputs import Images, Labels, Masks
from quadrat.benchmark.learning.network.weights import EncoderWeights, load_weights
from quadrat.benchmark.learning.recipe import Recipe
from quadrat.benchmark.learning.runtime import resolve_device, torch_settings
from quadrat.benchmark.learning.scoring.evaluation import confusion_matrix, region_errors
from quadrat.benchmark.learning.scoring.preview import Preview, preview
from quadrat.benchmark.learning.scoring.profiles import load_profiles
from quadrat.benchmark.learning.scoring.score import Scores, score_regions
from quadrat.benchmark.learning.scoring.signals import load_signals
from quadrat.benchmark.learning.training.checkpoint import (
    CheckpointError,
    CheckpointFile,
    Fitted,
    read_before,
    write_before,
)
from quadrat.benchmark.learning.training.finetuned import FineTuned
from quadrat.benchmark.learning.training.fit import Batch, train
from quadrat.benchmark.learning.training.frozen import Frozen
from quadrat.benchmark.learning.training.pseudo_labels import disambiguate
from quadrat.benchmark.learning.training.sampler import Sampler
from quadrat.benchmark.seeds import torch_seed

__all__ = ["CheckpointError", "Fitted", "Learner", "Scores", "Training"]

OnStep = Callable[[int, int], None]


class Training(NamedTuple):
    """Everything that the training loop of one fit needs."""

    network: nn.Module
    draw_batch: Callable[[int], Batch]  # iteration -> batch
    num_steps: int


class Learner:
    """Fits, scores and evaluates networks of one recipe on one pool and one test set.

    Encoder weights and a frozen encoder's features are loaded on first use and shared by all rounds. A fit, its scores
    and its confusion matrix are pure functions of their arguments: equal inputs, device and thread count give equal
    bits, whatever the learner computed before.
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
        """Configure the learner; loads nothing.

        Args:
            recipe: How networks are built and trained.
            train: Images of the pool.
            test: Images of the test set.
            num_classes: C.
            device: `"cpu"`, `"cuda"` or `"cuda:<number>"`.
            threads: CPU threads of torch.
            cache_dir: Cache of a frozen encoder's features, shared by processes.
            checkpoint_every_s: Seconds between two checkpoints of a fit.

        Raises:
            TrainingError: The device does not exist.
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
        """Initial weights of every fit's encoder; None where they are random."""
        return load_weights(self.recipe.encoder, self.recipe.weights)

    def prepare(self, on_step: OnStep | None = None) -> None:
        """Do what is done once, so that no fit, scoring pass or evaluation is timed with it: load the encoder, encode.

        A frozen encoder's features of pool and test set are computed unless they are cached.

        Args:
            on_step: Called with (images done, images in total) while they are computed.
        """
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
        """Train a network from its initial weights on the labelled regions.

        With the recipe's `pseudo_labels` and sets of classes it is trained twice: the result is the second network, its
        iterations are those of both fits.

        Args:
            labels: The labelled regions.
            seed: The trial's seed.
            round: The round, counted from 0.
            checkpoint: File to resume from and to save intermediate states to; not deleted at the end.
            on_step: Called with (iterations done, iterations in total).

        Raises:
            TrainingError: No region is labelled, the loss is not finite, the encoder or its weights are not available,
                or the checkpoint belongs to another fit.
        """
        with torch_settings(self._device, self._threads):
            if self.recipe.num_fits(of_sets=labels.sets_KC is not None) == 1:
                return self._fit_once(
                    labels, self._checkpoint_file(checkpoint, labels, seed, round), on_step, seed, round
                )
            return self._fit_twice(labels, checkpoint, on_step, seed, round)

    def _fit_twice(
        self, labels: Labels, checkpoint: Path | None, on_step: OnStep | None, seed: int, round: int
    ) -> Fitted:
        """Train on sets of classes, then on pseudo labels; a checkpoint of the second fit holds the first network."""
        first_file = self._checkpoint_file(checkpoint, labels, seed, round, stage=1)
        second_file = self._checkpoint_file(checkpoint, labels, seed, round, stage=2)
        before = None if second_file is None else read_before(second_file)
        if before is None:
            before = self._fit_once(labels, first_file, _first_half(on_step), seed, round).state
            if second_file is not None:
                write_before(second_file._replace(before=before))
        if second_file is not None:
            second_file = second_file._replace(before=before)
        pseudo = disambiguate(self._variant.predictor(before, self._train), labels, self._cache_dir)
        second = self._fit_once(pseudo, second_file, _second_half(on_step), seed, round)
        return Fitted(state=second.state, steps=2 * second.steps, loss=second.loss)

    def _fit_once(
        self, labels: Labels, checkpoint: CheckpointFile | None, on_step: OnStep | None, seed: int, round: int
    ) -> Fitted:
        network, draw_batch, num_steps = self.training(labels, seed=seed, round=round)
        losses = train(
            network,
            draw_batch,
            self.recipe,
            num_steps,
            dropout_seed=lambda step: torch_seed(seed, "fit", round, "dropout", step),
            device=self._device,
            checkpoint=checkpoint,
            on_step=on_step,
        )
        state = {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}
        return Fitted(state=state, steps=num_steps, loss=float(losses[-max(1, num_steps // 10) :].mean()))

    def training(self, labels: Labels, *, seed: int, round: int) -> Training:
        """Return network, batches and length of a fit without running it; for benchmarks of the training loop.

        Args:
            labels: The labelled regions.
            seed: The trial's seed.
            round: The round, counted from 0.

        Raises:
            TrainingError: No region is labelled, or the encoder or its weights are not available.
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
            placement=recipe.crop_placement,
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
        layout: Layout,
        *,
        signals: Sequence[str],
        features: bool,
        profiles: Sequence[str] = (),
        seed: int,
        round: int,
        members: Sequence[Fitted] = (),
        folder: Path | None = None,
        on_step: OnStep | None = None,
    ) -> Scores:
        """Return signals, features and profiles of every region of the pool, in one pass.

        Args:
            fitted: The trained network.
            layout: Regions of the pool.
            signals: Registered names of the signals to compute.
            features: Whether to compute the mean decoder features.
            profiles: Registered names of the profiles to compute.
            seed: The trial's seed, for Monte-Carlo dropout.
            round: The round, counted from 0.
            members: The other networks of the ensemble, trained on the same labels, for signals that read them.
            folder: Where features and profiles are streamed to as .npy files and then memory-mapped; None keeps them in
                memory.
            on_step: Called with (images done, images in total).

        Raises:
            PluginError: A signal or profile is unknown or broken.
            TrainingError: The network's output is not finite.
            ResultsError: The disk is full or not writable.
        """
        loaded_signals, loaded_profiles = load_signals(signals), load_profiles(profiles)
        with torch_settings(self._device, self._threads):
            return score_regions(
                self._variant.predictor(fitted.state, self._train),
                layout,
                loaded_signals,
                with_features=features,
                profiles=loaded_profiles,
                members=[self._variant.predictor(member.state, self._train) for member in members],
                device=self._device,
                dropout_seed=lambda image, number: torch_seed(seed, "score", round, "dropout", image, number),
                folder=folder,
                on_image=on_step,
            )

    def evaluate(self, fitted: Fitted, masks: Masks, on_step: OnStep | None = None) -> NDArray[np.int64]:
        """Return the confusion matrix over the test set, int64 (C, C), rows = truth; void is left out.

        Args:
            fitted: The trained network.
            masks: The test set's ground truth, image for image.
            on_step: Called with (images done, images in total).

        Raises:
            DataError: The masks do not match the test images in size, or hold an unknown class id.
        """
        if not np.array_equal(masks.sizes, self._test.sizes):
            raise DataError(
                f"expected masks of the {len(self._test)} test images in their sizes, got {len(masks)} of other sizes"
            )
        with torch_settings(self._device, self._threads):
            predict = self._variant.predictor(fitted.state, self._test)
            return confusion_matrix(predict, masks, self._num_classes, device=self._device, on_image=on_step)

    def errors(
        self, fitted: Fitted, layout: Layout, masks: Masks, on_step: OnStep | None = None
    ) -> NDArray[np.float32]:
        """Return the share of misclassified pixels of every region of the pool, float32 (R,).

        For oracle strategies only, which get it through the oracle.

        Args:
            fitted: The trained network.
            layout: Regions of the pool.
            masks: The pool's ground truth, image for image.
            on_step: Called with (images done, images in total).
        """
        with torch_settings(self._device, self._threads):
            predict = self._variant.predictor(fitted.state, self._train)
            return region_errors(predict, layout, masks, device=self._device, on_image=on_step)

    def preview(self, fitted: Fitted, images: Sequence[int], *, max_edge: int) -> list[Preview]:
        """Return predicted classes and entropy of a few images of the pool at low resolution, for figures.

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
        """The part that depends on whether the encoder is frozen: network, batches, encoding of images."""
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

    def _checkpoint_file(
        self, path: Path | None, labels: Labels, seed: int, round: int, stage: int | None = None
    ) -> CheckpointFile | None:
        if path is None:
            return None
        regions = np.ascontiguousarray(labels.regions, dtype="<i8")
        weights = self.weights.sha256 if self.weights else None
        identity: dict[str, Any] = {
            "recipe": self.recipe.digest(weights if self.recipe.has_weight_file else None),
            "images": self._train.fingerprint,
            "weights": weights or "none",
            "region_size": int(labels.layout.region_size),
            "labelled": hashlib.sha256(regions.tobytes()).hexdigest(),
            **labels.key,
            "seed": seed,
            "round": round,
        }
        if labels.layout.digest is not None:
            identity["borders"] = labels.layout.digest
        if stage is not None:
            identity["stage"] = stage
        return CheckpointFile(path, identity, self._checkpoint_every_s)


def _shifted(on_step: OnStep, before: int, total: int) -> OnStep:
    return lambda done, _: on_step(before + done, total)


def _first_half(on_step: OnStep | None) -> OnStep | None:
    return None if on_step is None else lambda done, total: on_step(done, 2 * total)


def _second_half(on_step: OnStep | None) -> OnStep | None:
    return None if on_step is None else lambda done, total: on_step(total + done, 2 * total)
