"""The fine-tuned recipe: encoder and decoder are trained together on augmented crops of the images."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from quadrat.benchmark.learning.graphs import Replayed
from quadrat.benchmark.learning.inputs import Images, Labels
from quadrat.benchmark.learning.network.folding import fold_batchnorm
from quadrat.benchmark.learning.network.model import Network, build_decoder, build_encoder
from quadrat.benchmark.learning.network.weights import EncoderWeights
from quadrat.benchmark.learning.recipe import Recipe
from quadrat.benchmark.learning.runtime import autocast, stack_on_device
from quadrat.benchmark.learning.scoring.predict import Predict, Prediction, predict_from
from quadrat.benchmark.learning.training.augment import Windows, cut_windows, resample, sets_on
from quadrat.benchmark.learning.training.device_pool import DevicePool, fits
from quadrat.benchmark.learning.training.fit import Batch
from quadrat.benchmark.learning.training.memory import check_memory
from quadrat.benchmark.learning.training.sampler import Sampler

__all__ = ["FineTuned", "Prefetched"]

# Batches that are cut ahead, and threads that cut: copying releases the interpreter's lock, and a GPU trains on a batch
# in less time than one thread takes to cut it.
_PREFETCH_DEPTH, _PREFETCH_THREADS = 3, 2
# Numbers of a batch of images up to which scoring it is a CUDA graph. Launches do not matter where a GPU computes for
# long, and a graph keeps its memory.
_GRAPH_NUMBERS = 3 << 21

Result = TypeVar("Result")


class FineTuned:
    """Networks, batches and predictions of a recipe whose encoder is trained."""

    align = 1  # crops may start at any pixel

    def __init__(
        self, recipe: Recipe, weights: EncoderWeights | None, *, train: Images, num_classes: int, device: torch.device
    ) -> None:
        """Arguments as for `Learner`."""
        self._recipe = recipe
        self._weights = weights
        self._train = train
        self._num_classes = num_classes
        self._device = device
        self._is_checked = False

    def fresh_network(self, seed: int) -> Network:
        """Return a network with the loaded encoder weights, the rest drawn from `seed`.

        Raises:
            TrainingError: No iteration can fit into the memory of the device.
        """
        network = self._build(self._weights, seed)
        if not self._is_checked:
            check_memory(network, self._recipe, self._device)
            self._is_checked = True
        return network

    def batches(self, network: nn.Module, sampler: Sampler, labels: Labels) -> Callable[[int], Batch]:
        """Return the function from an iteration number to its batch."""
        assert isinstance(network, Network)
        encoder, crop = network.encoder, self._recipe.crop
        is_unscaled = self._recipe.scale == (1.0, 1.0)

        mean_colour = encoder.mean_colour  # read once: it synchronises with the device
        sets_KC = sets_on(labels, self._device)

        windows_of = self._windows(sampler, labels, mean_colour)

        def draw_batch(step: int) -> Batch:
            image_BHWx, label_BHW = resample(windows_of(step).to(self._device), crop, is_unscaled=is_unscaled)
            return Batch(inputs=encoder.prepare(image_BHWx), label_BHW=label_BHW, sets_KC=sets_KC)

        return draw_batch

    def _windows(self, sampler: Sampler, labels: Labels, mean_colour: Sequence[int]) -> Callable[[int], Windows]:
        """Return the function from an iteration number to its windows; the way they are cut changes no number."""
        is_cuda = self._device.type == "cuda"
        if is_cuda and fits(self._train, labels, self._device):
            pool = DevicePool(self._train, labels, mean_colour, self._device)
            return lambda step: pool.windows(sampler.draws(step))

        def cut(step: int) -> Windows:
            return cut_windows(self._train, labels, sampler.draws(step), mean_colour, is_pinned=is_cuda)

        return Prefetched(cut) if _is_cut_ahead(self._device) else cut

    def predictor(self, state: dict[str, Tensor], images: Images) -> Predict:
        """Return the trained network as a function of indices of `images`."""
        network = self._build(None, seed=0)
        network.load_state_dict(state)
        network.eval()
        if self._recipe.fold_batchnorm:
            example_BHWx = torch.full((1, 64, 64, 3), 128, dtype=torch.uint8, device=self._device)
            fold_batchnorm(network, network.encoder.prepare(example_BHWx))

        precision = self._recipe.precision_of_inference
        if self._device.type == "cuda" and precision == "bf16":
            _cast_weights(network)

        def predict_images(image_BHWx: Tensor) -> Prediction:
            with autocast(self._device, precision):
                encoded = network.encoder(network.encoder.prepare(image_BHWx))
            return predict_from(network.decoder, encoded, self._device, precision)

        replayed: dict[torch.Size, Replayed] = {}

        def predict(indices: Sequence[int]) -> Prediction:
            image_BHWx = stack_on_device([images.image(index) for index in indices], self._device)
            shape = image_BHWx.shape
            if not (self._device.type == "cuda" and self._recipe.cuda_graphs and shape.numel() <= _GRAPH_NUMBERS):
                return predict_images(image_BHWx)
            if shape not in replayed:
                replayed.clear()  # sizes come one after the other: one graph's memory at a time
                replayed[shape] = Replayed(predict_images, self._device, lambda: None)
            prediction: Prediction = replayed[shape](image_BHWx)
            return prediction

        return predict

    def _build(self, weights: EncoderWeights | None, seed: int) -> Network:
        encoder = build_encoder(self._recipe, weights, seed=seed)
        decoder = build_decoder(self._recipe, encoder.channels, self._num_classes, seed=seed)
        return Network(encoder, decoder).to(self._device)


def _cast_weights(network: nn.Module) -> None:
    """Cast what autocast would cast again for every batch, to the same numbers."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.to(torch.bfloat16)


def _is_cut_ahead(device: torch.device) -> bool:
    """Return whether threads cut batches ahead; on a CPU they would compete with the training."""
    return device.type != "cpu"


class Prefetched(Generic[Result]):
    """A function of the iteration number, evaluated for the next iterations on threads.

    Results do not depend on the order of calls, so a resumed fit may start at any iteration.
    """

    def __init__(self, function: Callable[[int], Result]) -> None:
        """Take the function; it is called on other threads, for several iterations at a time."""
        self._function = function
        self._executor = ThreadPoolExecutor(max_workers=_PREFETCH_THREADS, thread_name_prefix="prefetch")
        self._ahead: dict[int, Future[Result]] = {}

    def __call__(self, step: int) -> Result:
        """Return the result of iteration `step`; re-raise the exception of that call if it failed."""
        upcoming = range(step, step + _PREFETCH_DEPTH + 1)
        for other in [other for other in self._ahead if other not in upcoming]:
            self._ahead.pop(other).cancel()
        for other in upcoming:
            if other not in self._ahead:
                self._ahead[other] = self._executor.submit(self._function, other)
        return self._ahead.pop(step).result()
