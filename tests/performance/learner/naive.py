"""The naive baseline: segmentation-models-pytorch, a DataLoader over image files, torchvision transforms, numpy scores.

It follows torchvision's own reference training of segmentation networks (resize, flip, crop, normalise; the loss is
read every iteration for the log). It is what is compared with, so nothing in it is slowed down on purpose: worker
processes stay alive, the loader never runs dry at the end of an epoch, region means are two calls of numpy.
"""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import segmentation_models_pytorch as smp
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tvf

from performance.learner.case import Case
from quadrat.benchmark.data import RegionGrid
from quadrat.benchmark.learning.inputs import VOID
from quadrat.benchmark.learning.network.weights import fit_to, load_weights
from quadrat.benchmark.learning.recipe import Recipe

__all__ = [
    "LabelledCrops",
    "WholeImages",
    "build",
    "make_optimizer",
    "region_entropies",
    "training_batches",
    "whole_images",
]


class LabelledCrops(Dataset[tuple[Tensor, Tensor]]):
    """Augmented crops of the pool's images; labels outside the labelled regions are void."""

    def __init__(self, case: Case) -> None:
        split = case.split()
        grid = RegionGrid(split.sizes, case.region_size)
        labelled = np.zeros(grid.num_regions, dtype=np.bool_)
        labelled[list(case.labelled)] = True
        self._files = [case.files[image] for image in np.unique(grid.image[labelled]).tolist()]
        # What a user would keep: one map of labelled pixels an image.
        self._labelled = [
            grid.window_mask(image, labelled, 0, 0, *split.sizes[image].tolist())
            for image in np.unique(grid.image[labelled]).tolist()
        ]
        self._scale = case.recipe.scale
        self._stride = case.recipe.output_stride
        mean, std = _normalisation(case.recipe)
        fill = {tv_tensors.Image: [round(255 * value) for value in mean], tv_tensors.Mask: VOID}
        flip = [v2.RandomHorizontalFlip()] if case.recipe.flip else []
        self._augment = v2.Compose(
            [*flip, v2.RandomCrop(case.recipe.crop, pad_if_needed=True, fill=fill), *_to_input(mean, std)]
        )

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = Image.open(self._files[index].image).convert("RGB")
        label = self._files[index].read_mask()
        label[~self._labelled[index]] = VOID
        pair = tv_tensors.Image(tvf.pil_to_tensor(image)), tv_tensors.Mask(torch.from_numpy(label))
        if self._scale != (1.0, 1.0):
            factor = random.uniform(*self._scale)
            size = [max(1, round(side * factor)) for side in label.shape]
            pair = tvf.resize(pair[0], size), tvf.resize(pair[1], size)
        crop, crop_label = self._augment(*pair)
        return _padded(crop, self._stride, 0.0), _padded(crop_label.long(), self._stride, VOID)


class WholeImages(Dataset[Tensor]):
    """The pool's images, normalised and padded to a multiple of the output stride, as smp's models want them."""

    def __init__(self, case: Case) -> None:
        self._files = case.files
        self._stride = case.recipe.output_stride
        self._to_input = v2.Compose(_to_input(*_normalisation(case.recipe)))

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Tensor:
        image = tvf.pil_to_tensor(Image.open(self._files[index].image).convert("RGB"))
        input_xHW: Tensor = self._to_input(tv_tensors.Image(image))
        return _padded(input_xHW, self._stride, 0.0)


def build(case: Case) -> nn.Module:
    """Return smp's DeepLabV3Plus with the recipe's encoder, widths, rates and initial weights."""
    recipe = case.recipe
    network: nn.Module = smp.DeepLabV3Plus(
        encoder_name=f"tu-{recipe.encoder}",
        encoder_weights=None,
        encoder_output_stride=recipe.output_stride,
        decoder_channels=recipe.decoder_channels,
        decoder_atrous_rates=recipe.atrous_rates,
        decoder_aspp_dropout=recipe.dropout,
        classes=case.num_classes,
    )
    weights = load_weights(recipe.encoder, recipe.weights)
    if weights is not None:
        encoder = network.get_submodule("encoder.model")
        encoder.load_state_dict(fit_to(encoder.state_dict(), weights))
    if recipe.frozen:
        network.get_submodule("encoder").requires_grad_(False)
    return network.to(case.device)


def make_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the recipe's optimiser over what is trained, with torch's own choice of kernels."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(trained, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    return torch.optim.AdamW(trained, lr=recipe.lr, weight_decay=recipe.weight_decay)


def training_batches(case: Case) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches for ever, with replacement, so that no epoch's end empties the queue."""
    crops = LabelledCrops(case)
    forever = RandomSampler(crops, replacement=True, num_samples=10**9)
    yield from DataLoader(crops, batch_size=case.recipe.batch_size, sampler=forever, **_workers(case))


def whole_images(case: Case) -> DataLoader[Tensor]:
    """Return the loader of the pool's images, one at a time; its workers stay from one pass to the next."""
    return DataLoader(WholeImages(case), persistent_workers=case.workers > 0, **_workers(case))


def _workers(case: Case) -> dict[str, Any]:
    """Return how a loader's processes start: on CUDA not as copies of this one, whose threads may hold a lock then."""
    options: dict[str, Any] = {"num_workers": case.workers, "pin_memory": case.device != "cpu"}
    if case.workers and case.device != "cpu":
        options["multiprocessing_context"] = "forkserver"
    return options


def region_entropies(logits_CHW: Tensor, region_size: int) -> NDArray[np.float32]:
    """Return the mean entropy of every region of an image, (r, c)."""
    prob_CHW = torch.softmax(logits_CHW, dim=0).cpu().numpy()
    entropy_HW = -(prob_CHW * np.log(prob_CHW + 1e-12)).sum(axis=0)
    height, width = entropy_HW.shape
    tops, lefts = np.arange(0, height, region_size), np.arange(0, width, region_size)
    sums = np.add.reduceat(np.add.reduceat(entropy_HW, tops, axis=0), lefts, axis=1)
    areas = np.diff(np.append(tops, height))[:, None] * np.diff(np.append(lefts, width))
    means: NDArray[np.float32] = (sums / areas).astype(np.float32)
    return means


def _padded(map_xHW: Tensor, stride: int, value: float) -> Tensor:
    """Return a map padded at the bottom and the right to multiples of `stride`: smp's models refuse other sides."""
    bottom, right = (-map_xHW.shape[-2]) % stride, (-map_xHW.shape[-1]) % stride
    return torch.nn.functional.pad(map_xHW, (0, right, 0, bottom), value=value)


def _normalisation(recipe: Recipe) -> tuple[tuple[float, ...], tuple[float, ...]]:
    settings = timm.get_pretrained_cfg(recipe.encoder)
    return tuple(settings.mean), tuple(settings.std)


def _to_input(mean: tuple[float, ...], std: tuple[float, ...]) -> list[Any]:
    kinds = {tv_tensors.Image: torch.float32, "others": None}
    return [v2.ToDtype(kinds, scale=True), v2.Normalize(mean=list(mean), std=list(std))]
