"""Signals, features and profiles of every region of a pool, in one pass over its images.

Axes: B images of one size, D decoder channels, H W pixels, h w cells of 4 pixels, y x cells of a profile's map, k its
channels, r c grid rows and columns, R regions, K numbers of a profile.

Memory: at most one batch of images at full resolution. What leaves the device is one number per region and signal, D
per region for the features, K per region and profile.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quadrat.benchmark.data import Layout, RegionGrid
from quadrat.benchmark.errors import TrainingError
from quadrat.benchmark.learning.network.model import CELL
from quadrat.benchmark.learning.network.upsampling import upsample
from quadrat.benchmark.learning.scoring.mc_dropout import NUM_PASSES
from quadrat.benchmark.learning.scoring.pooling import pooling
from quadrat.benchmark.learning.scoring.predict import OnImage, Predict, Prediction, same_size_batches
from quadrat.benchmark.learning.scoring.profiles import Profile
from quadrat.benchmark.learning.scoring.rows import RegionRows
from quadrat.benchmark.learning.scoring.signals import Outputs, Signal
from quadrat.benchmark.learning.scoring.strips import pointwise_maps

__all__ = ["Scores", "score_regions"]

_FEATURES, _SIGNAL, _PROFILE = "features", "signal ", "profile "

DropoutSeed = Callable[[int, int], int]
"""(image, pass) -> seed of that image's dropout mask in that pass."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Signals, features and profiles by region id.

    Attributes:
        signals: Name to float32 (R,).
        features: Mean decoder features, float32 (R, D), or None where they were not asked for.
        profiles: Name to float32 (R, K).
    """

    signals: dict[str, NDArray[np.float32]]
    features: NDArray[np.float32] | None
    profiles: dict[str, NDArray[np.float32]] = field(default_factory=dict)


@torch.inference_mode()
def score_regions(
    predict: Predict,
    layout: Layout,
    signals: Mapping[str, Signal],
    *,
    with_features: bool,
    profiles: Mapping[str, Profile] | None = None,
    device: torch.device,
    dropout_seed: DropoutSeed | None = None,
    members: Sequence[Predict] = (),
    folder: Path | None = None,
    on_image: OnImage | None = None,
) -> Scores:
    """Return signals, features and profiles of every region of the pool in one pass.

    A signal is the mean of its per-pixel map over the region (or its own value per region), a feature vector the mean
    of the decoder's features over the region's area, a profile the means of its maps. All are exact for clipped regions
    and for any region size.

    Args:
        predict: Indices of images of one size to their prediction, on `device`.
        layout: The regions.
        signals: The signals to compute, by name.
        with_features: Whether to compute the decoder's features.
        profiles: The profiles to compute, by name.
        device: Where to compute.
        dropout_seed: Seeds of the Monte-Carlo dropout masks; needed by signals that read `passes`.
        members: The other members of the ensemble, as `predict`; needed by signals that read `members`.
        folder: Where features and profiles are streamed to as `features.npy` and `profile-<name>.npy` and then
            memory-mapped; None keeps them in memory.
        on_image: Called with (images done, images in total).

    Raises:
        TrainingError: The network's output is not finite somewhere.
        ResultsError: The disk is full or not writable.
    """
    profiles = profiles or {}
    pointwise = {name: signal for name, signal in signals.items() if signal.is_pointwise}
    others = {name: signal for name, signal in signals.items() if not signal.is_pointwise}
    collected = _Collected(layout, folder)
    means_over_regions = pooling(layout, device)
    for indices in same_size_batches(layout.sizes, device):
        height, width = (int(side) for side in layout.sizes[indices[0]])
        prediction = predict(indices)
        values: dict[str, Tensor] = {}
        if with_features:
            map_BhwD = prediction.features_BDhw.permute(0, 2, 3, 1)
            values[_FEATURES] = means_over_regions(map_BhwD, indices, CELL)
        maps_BHW = pointwise_maps(prediction.logits_BChw, height, width, pointwise)
        if others or profiles:
            outputs = Outputs(
                logits_BCHW=upsample(prediction.logits_BChw, CELL)[:, :, :height, :width],
                cells=prediction,
                run_passes=_passes(prediction, indices, dropout_seed, height, width),
                run_members=_members(prediction, members, indices, height, width),
            )
            for name, signal in others.items():
                if signal.per_region is not None:
                    values[f"{_SIGNAL}{name}"] = _per_region(name, signal, outputs, layout, indices)
                else:
                    assert signal.per_pixel is not None
                    maps_BHW[name] = signal.per_pixel(outputs)
            for name, profile in profiles.items():
                stride = {"pixel": 1, "cell": CELL}[profile.per]
                maps = [means_over_regions(map_Byxk, indices, stride) for map_Byxk in profile.maps(outputs)]
                values[f"{_PROFILE}{name}"] = torch.cat(maps, dim=1)
        for name, map_BHW in maps_BHW.items():
            values[f"{_SIGNAL}{name}"] = means_over_regions(map_BHW.unsqueeze(-1), indices, stride=1).reshape(-1)
        # Batches hold consecutive images, so their values come in the order of region ids.
        collected.add(values)
        if on_image is not None:
            on_image(indices[-1] + 1, len(layout.sizes))
    found = collected.finish()
    return Scores(
        signals={name: found[f"{_SIGNAL}{name}"] for name in signals},
        features=found.get(_FEATURES),
        profiles={name: found[f"{_PROFILE}{name}"] for name in profiles},
    )


def _per_region(name: str, signal: Signal, outputs: Outputs, layout: Layout, indices: list[int]) -> Tensor:
    """Return the values of a signal that is not a mean over pixels, (regions,)."""
    if isinstance(layout, RegionGrid):
        assert signal.per_region is not None
        return signal.per_region(outputs, layout.region_size).reshape(-1)
    if signal.per_shape is None:
        raise TrainingError(
            f"signal {name} is defined on squares only (`per_region`), the regions have other shapes: take "
            "regions: grid, or a signal with per_pixel or per_shape"
        )
    height, width = outputs.logits_BCHW.shape[2:]
    shapes_BHW = np.stack([layout.window(index, 0, 0, height, width) for index in indices])
    return signal.per_shape(outputs, np.where(shapes_BHW < 0, -1, shapes_BHW - layout.first[indices[0]]))


def _passes(
    prediction: Prediction, indices: list[int], dropout_seed: DropoutSeed | None, height: int, width: int
) -> Callable[[], Iterator[Tensor]] | None:
    """Return the function that runs a batch's dropout passes at full resolution, or None without seeds or dropout."""
    run, seed_of = prediction.dropout_passes, dropout_seed
    if run is None or seed_of is None:
        return None
    seeds = [[seed_of(image, number) for image in indices] for number in range(NUM_PASSES)]
    return lambda: (upsample(logits_BChw, CELL)[:, :, :height, :width] for logits_BChw in run(seeds))


def _members(
    own: Prediction, others: Sequence[Predict], indices: list[int], height: int, width: int
) -> Callable[[], Iterator[Tensor]] | None:
    """Return the function that runs the members on a batch at full resolution, one after another; None without any."""
    if not others:
        return None

    def run() -> Iterator[Tensor]:
        yield upsample(own.logits_BChw, CELL)[:, :, :height, :width]
        for predict in others:
            yield upsample(predict(indices).logits_BChw, CELL)[:, :, :height, :width]

    return run


class _Copied:
    """A batch's values on their way to the host: the copies are enqueued here and waited for when they are asked for.

    A copy that waits at once would wait for everything that is enqueued, and the device would idle until the next batch
    is.
    """

    def __init__(self, values: dict[str, Tensor]) -> None:
        self._event: torch.cuda.Event | None = None
        if not any(value.is_cuda for value in values.values()):
            self._values = values
            return
        self._values = {
            key: torch.empty(value.shape, dtype=value.dtype, pin_memory=True).copy_(value, non_blocking=True)
            for key, value in values.items()
        }
        self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._event.record()

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Return the values."""
        if self._event is not None:
            self._event.synchronize()
        return {key: value.cpu().numpy() for key, value in self._values.items()}


class _Collected:
    """Values of the regions so far. A batch's values are read on the host only when the next batch is enqueued."""

    def __init__(self, layout: Layout, folder: Path | None) -> None:
        self._layout = layout
        self._folder = folder
        self._rows: dict[str, RegionRows] = {}
        self._pending = _Copied({})

    def add(self, values: dict[str, Tensor]) -> None:
        """Append the values of the next batch, which are still on the device."""
        before, self._pending = self._pending, _Copied(values)
        for key, rows in before.arrays().items():
            if key not in self._rows:
                name = key.removeprefix(_SIGNAL).removeprefix(_PROFILE)
                self._rows[key] = RegionRows(name, self._layout, self._path(key, name))
            self._rows[key].append(rows)

    def finish(self) -> dict[str, NDArray[np.float32]]:
        """Return the values of all regions by key."""
        self.add({})
        return {key: rows.finish() for key, rows in self._rows.items()}

    def _path(self, key: str, name: str) -> Path | None:
        if self._folder is None or key.startswith(_SIGNAL):
            return None
        return self._folder / (f"{_FEATURES}.npy" if key == _FEATURES else f"profile-{name}.npy")
