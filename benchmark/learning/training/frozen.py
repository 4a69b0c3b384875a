"""The frozen recipe: ASPP and decoder are trained on features of a fixed encoder, which are computed once."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from quadrat.benchmark.learning.inputs import Images, Labels
from quadrat.benchmark.learning.network.folding import fold_batchnorm
from quadrat.benchmark.learning.network.model import Encoded, build_decoder, build_encoder
from quadrat.benchmark.learning.network.weights import EncoderWeights, tensors_sha256
from quadrat.benchmark.learning.recipe import Recipe
from quadrat.benchmark.learning.scoring.predict import Predict, Prediction, predict_from
from quadrat.benchmark.learning.training.augment import sets_on
from quadrat.benchmark.learning.training.feature_cache import FeatureMaps, cut_feature_crops, open_or_encode
from quadrat.benchmark.learning.training.fit import Batch
from quadrat.benchmark.learning.training.sampler import Sampler
from quadrat.benchmark.seeds import torch_seed

__all__ = ["Frozen"]


class Frozen:
    """Networks, batches and predictions of a recipe whose encoder keeps its initial weights.

    The encoder runs in eval mode and fp32. Without pretrained weights it is drawn from a fixed seed, the same in every
    trial and round.
    """

    def __init__(
        self,
        recipe: Recipe,
        weights: EncoderWeights | None,
        *,
        train: Images,
        num_classes: int,
        device: torch.device,
        threads: int,
        cache_dir: Path,
    ) -> None:
        """Build the encoder; arguments as for `Learner`."""
        self.align = recipe.output_stride  # crops start at a cell of the coarser map
        self._recipe = recipe
        self._train = train
        self._num_classes = num_classes
        self._device = device
        self._threads = threads
        self._cache_dir = cache_dir
        encoder = build_encoder(recipe, weights, seed=torch_seed(0, "frozen-encoder"))
        self._encoder = encoder.to(device).eval().requires_grad_(False)
        self._weights_sha256 = weights.sha256 if weights else tensors_sha256(encoder.state_dict())
        self._maps: dict[str, FeatureMaps] = {}

    def features(self, images: Images, on_image: Callable[[int, int], None] | None = None) -> FeatureMaps:
        """Return the features of `images`, from the cache or computed.

        Args:
            images: An image set.
            on_image: Called with (images done, images in total) while they are computed.

        Raises:
            ResultsError: The cache can't be written.
            DataError: The cache is damaged.
        """
        if images.fingerprint not in self._maps:
            key = {
                "images": images.fingerprint,
                "encoder": self._recipe.encoder,
                "weights": self._weights_sha256,
                "output_stride": self._recipe.output_stride,
                # Kernels round differently on another device, and on a CPU with another number of threads.
                "device": self._device.type,
                "threads": self._threads if self._device.type == "cpu" else None,
            }
            self._maps[images.fingerprint] = open_or_encode(
                images, lambda index: self._encode(images.image(index)), key, self._cache_dir, on_image
            )
        return self._maps[images.fingerprint]

    def fresh_network(self, seed: int) -> nn.Module:
        """Return ASPP + decoder + classifier drawn from `seed`."""
        decoder = build_decoder(self._recipe, self._encoder.channels, self._num_classes, seed=seed)
        return decoder.to(self._device)

    def batches(self, network: nn.Module, sampler: Sampler, labels: Labels) -> Callable[[int], Batch]:
        """Return the function from an iteration number to its batch."""
        maps = self.features(self._train)
        sets_KC = sets_on(labels, self._device)

        def draw_batch(step: int) -> Batch:
            crops = cut_feature_crops(maps, labels, sampler.draws(step), self._recipe.output_stride, self._device)
            return Batch(inputs=crops.encoded, label_BHW=crops.label_BHW, sets_KC=sets_KC)

        return draw_batch

    def predictor(self, state: dict[str, Tensor], images: Images) -> Predict:
        """Return the trained decoder as a function of indices of `images`."""
        maps = self.features(images)
        decoder = build_decoder(self._recipe, self._encoder.channels, self._num_classes, seed=0).to(self._device)
        decoder.load_state_dict(state)
        decoder.eval()
        if self._recipe.fold_batchnorm:
            fold_batchnorm(decoder, maps.encoded([0], self._device))

        def predict(indices: Sequence[int]) -> Prediction:
            encoded = maps.encoded(indices, self._device)
            return predict_from(decoder, encoded, self._device, self._recipe.precision_of_inference)

        return predict

    @torch.inference_mode()
    def _encode(self, image_HWx: np.ndarray) -> Encoded:
        image_BHWx = torch.from_numpy(image_HWx.copy())[None].to(self._device)
        encoded: Encoded = self._encoder(self._encoder.prepare(image_BHWx))
        return encoded
