"""Greedy for feature terms on a CUDA device: the selections and potentials of the CPU, bit for bit.

As in ``lazy``, each region keeps an upper bound on its potential, and greedy runs inside a batch of the regions with
the largest bounds for as long as the best of them beats every bound outside. Here the bounds of all regions follow each
batch, by float32 matrix products with a known error, and what is selected comes from exact float64 distances, added in
numpy's order by the kernels of ``device_kernels``.

| step                                          | for                 | by                                       |
|-----------------------------------------------|---------------------|------------------------------------------|
| lower the bounds to the new members           | all regions         | float32 products (cuBLAS), no TF32       |
| draw the batch                                | all regions         | the N largest bounds                     |
| exact distances to the set                    | the batch           | products; float64 where they can matter  |
| exact distances inside the batch              | the batch           | float64                                  |
| greedy                                        | the batch           | one kernel; the host waits once a batch  |
| spatial distances, where there is such a term | images of the batch | numpy, on the host                       |

Imports torch and Triton, so it is imported only where there is a device.

Axes: R regions, D features, S labelled and selected, N regions of a batch, P new members.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quadrat.strategies.features import squared_distance
from quadrat.strategies.greedy import device_kernels as kernels
from quadrat.strategies.greedy.centres import PiecewiseDistance
from quadrat.strategies.greedy.objective import Objective, diameter_bound
from quadrat.strategies.greedy.spatial import Images
from quadrat.strategies.pool import Selection

__all__ = ["adds_like_numpy", "compile_kernels", "maximise_on_device", "needed_bytes"]

# Sizes that change speed and memory, never a result: regions of a batch, a power of 2; regions and numbers that are
# moved to the device at a time; numbers in a matrix product; new members in one; members that a batch is compared with
# at a time.
_BATCH, _STAGED, _PRODUCT, _NEW, _MEMBERS = 1 << 11, 1 << 22, 1 << 23, 1 << 10, 1 << 15
# Parts of the kernels: rows and columns of distances, members looked at together.
_TILE, _LOOK = 32, 128


def maximise_on_device(objective: Objective, budget: int, device: str = "cuda") -> Selection:
    """Return the greedy selection of a max-min objective with features, normalised once (``"round"``).

    Args:
        objective: What to maximise.
        budget: K, at most the number of unlabelled regions.
        device: Where to compute; ``"cpu"`` under Triton's interpreter, for tests.

    Returns:
        The regions and potentials of ``maximise_reference``, bit for bit. O(R S D), memory ``needed_bytes``.
    """
    with torch.no_grad(), _full_precision():
        greedy = _DeviceGreedy(objective, budget, torch.device(device))
        while greedy.num_selected < budget:
            greedy.select_batch()
        return Selection.of(greedy.region_K.cpu().numpy(), greedy.potential_K.cpu().numpy())


def needed_bytes(num_regions: int, num_features: int, num_members: int) -> int:
    """Return about how much memory of the device a selection needs, for ``num_members`` labelled and selected."""
    batch = min(_BATCH, num_regions)
    features = 8 * num_regions * num_features + 8 * num_members * num_features
    products = 4 * (_PRODUCT + batch * min(_MEMBERS, num_members)) + 4 * _STAGED
    return features + products + 2 * 8 * batch**2 + 200 * num_regions


def adds_like_numpy(num_features: int, device: str = "cuda") -> bool:
    """Return whether the device computes the bits of ``squared_distance`` for so many features, by trying it.

    The order in which numpy adds is no part of its interface.
    """
    rng = np.random.default_rng(0)
    left, right = (rng.standard_normal((count, num_features), np.float32) for count in (64, 3))
    expected = np.stack([squared_distance(left, row) for row in right], axis=1)
    found = _squared_distances(*(torch.from_numpy(rows).to(device).T.contiguous() for rows in (left, right)))
    return bool(np.array_equal(found.cpu().numpy(), expected))


def compile_kernels(num_features: int, device: str = "cuda") -> None:
    """Compile all kernels for so many features, by two selections from a pool of two regions."""
    place = np.zeros(2)
    objective = Objective(
        utility=np.zeros(2),
        labelled=np.array([True, False]),
        features=np.zeros((2, num_features), np.float32),
        spatial=PiecewiseDistance(Images.of(np.zeros(2, np.int32)), place, place, 2, cutoff=1.0, near=0.5, far=1.0),
    )
    for some in (objective, replace(objective, spatial=None)):
        maximise_on_device(some, 1, device)


class _Batch(NamedTuple):
    """The regions with the largest values, and the best key outside: the largest value, the lowest row that has it."""

    region_N: Tensor
    floor_value: Tensor
    floor_region: Tensor


class _DeviceGreedy:
    """State on the device: what is selected so far and an upper bound on every other region's potential."""

    def __init__(self, objective: Objective, budget: int, device: torch.device) -> None:
        assert objective.features is not None
        self._device, self._spatial = device, objective.spatial
        labelled = np.flatnonzero(objective.labelled)
        num_regions, num_features = objective.features.shape
        self.num_selected, self._num_free, self._budget = 0, num_regions - len(labelled), budget
        self.region_K = torch.empty(budget, dtype=torch.int64, device=device)
        self.potential_K = torch.empty(budget, dtype=torch.float64, device=device)
        self._feature_RD = _moved(objective.features, device)
        self._shifted_RD = self._feature_RD - self._feature_RD.mean(dim=0)
        self._own_R = _squared_length(self._shifted_RD)
        self._length_R = self._own_R.sqrt()
        capacity, self._size = len(labelled) + budget, 0
        self._member_DS = torch.empty(num_features, capacity, device=device)
        self._factor_SD = torch.empty(capacity, num_features, device=device)
        self._norm_S = torch.empty(capacity, device=device)
        self._longest = torch.zeros((), dtype=torch.float64, device=device)
        batch = min(_BATCH, num_regions) * min(_MEMBERS, capacity)
        self._buffer = torch.empty(max(_PRODUCT, batch), device=device)
        self._in_set_R = torch.from_numpy(objective.labelled.copy()).to(device)
        self._row_R = torch.arange(num_regions, device=device)
        largest = diameter_bound(objective.features) ** 2 if len(labelled) == 0 else np.inf
        self._squared_R = torch.full((num_regions,), largest, dtype=torch.float64, device=device)
        if len(labelled):
            self._add(torch.from_numpy(labelled).to(device))
            self._squared_R[self._in_set_R] = 0.0
        self._utility_R = torch.from_numpy(objective.utility.copy()).to(device)
        scale = float(np.sqrt(self._largest())) or 1.0
        self._factors = torch.tensor(
            [objective.w_feature, scale, objective.w_spatial], dtype=torch.float64, device=device
        )
        self._host_spatial_R: NDArray[np.float64] | None = None
        self._spatial_R: Tensor | None = None
        if self._spatial is not None:
            self._host_spatial_R = self._spatial.to_nearest(labelled)
            self._spatial_R = torch.from_numpy(self._host_spatial_R).to(device, copy=True)

    def select_batch(self) -> None:
        """Draw a batch and select from it while its best region comes before every region outside."""
        batch = self._largest_of(self._bounds(), min(_BATCH, self._num_free))
        regions = batch.region_N
        squared_N = self._refreshed(regions)
        left_DN = self._feature_RD[regions].T.contiguous()
        between_NN = _squared_distances(left_DN, left_DN)
        position_N, potential_N, num_new = self._greedy(batch, squared_N, between_NN)
        self._squared_R[regions] = squared_N
        if num_new:
            new = slice(self.num_selected, self.num_selected + num_new)
            self.region_K[new], self.potential_K[new] = regions[position_N[:num_new]], potential_N[:num_new]
            self._in_set_R[self.region_K[new]] = True
            self.num_selected, self._num_free = self.num_selected + num_new, self._num_free - num_new
            if self.num_selected < self._budget:
                self._add(self.region_K[new])
                self._update_spatial_term(self.region_K[new])

    def _greedy(self, batch: _Batch, squared_N: Tensor, between_NN: Tensor) -> tuple[Tensor, Tensor, int]:
        """Run greedy inside a batch and return the positions selected, their potentials, and how many there are.

        ``squared_N`` is lowered in place.
        """
        regions = batch.region_N
        spatial_N = spatial_NN = squared_N  # not read without a spatial term
        if self._spatial_R is not None:
            spatial_N, spatial_NN = self._spatial_R[regions], self._spatial_within(regions)
        position_N = torch.empty(_BATCH, dtype=torch.int64, device=self._device)
        potential_N = torch.empty(_BATCH, dtype=torch.float64, device=self._device)
        count = torch.empty(1, dtype=torch.int64, device=self._device)
        kernels.select_kernel[(1,)](
            regions, self._utility_R[regions], squared_N, between_NN, spatial_N, spatial_NN,
            batch.floor_value, batch.floor_region, self._factors, position_N, potential_N, count,
            len(regions), self._budget - self.num_selected,
            HAS_SPATIAL=self._spatial_R is not None, BLOCK=_BATCH, num_warps=min(16, max(1, _BATCH // 128)),
            **kernels.EXACT,
        )  # fmt: skip
        return position_N, potential_N, int(count)  # waits for the device

    def _bounds(self) -> Tensor:
        """Return an upper bound on the potential of every region, -inf for members of the set."""
        w_feature, scale, w_spatial = self._factors
        bound_R: Tensor = self._utility_R + w_feature * (self._squared_R.sqrt() / scale)
        if self._spatial_R is not None:
            bound_R = bound_R + w_spatial * self._spatial_R
        return bound_R.masked_fill_(self._in_set_R, -np.inf)

    def _largest_of(self, value_R: Tensor, count: int) -> _Batch:
        """Return the ``count`` regions of largest value, ties to the lowest row numbers, ascending."""
        last = torch.topk(value_R, count, sorted=False).values.amin()
        is_tie = value_R == last
        is_above = value_R > last
        is_in = is_above | (is_tie & (is_tie.cumsum(0) <= count - is_above.sum()))
        # The n-th region of the batch goes to place n, all others to the place behind the last.
        place_R = torch.where(is_in, is_in.cumsum(0) - 1, count)
        region_N = torch.empty(count + 1, dtype=torch.int64, device=self._device).scatter_(0, place_R, self._row_R)
        outside_R = value_R.masked_fill(is_in, -np.inf)
        floor_value = outside_R.amax().reshape(1)
        floor_region = torch.where(outside_R == floor_value, self._row_R, len(value_R)).amin().reshape(1)
        return _Batch(region_N[:count], floor_value, floor_region)

    def _largest(self) -> float:
        """Return the exact largest squared distance of any region to the set."""
        while True:
            batch = self._largest_of(self._squared_R, min(_BATCH, len(self._squared_R)))
            squared_N = self._refreshed(batch.region_N)
            self._squared_R[batch.region_N] = squared_N
            largest, floor = torch.cat([squared_N.amax().reshape(1), batch.floor_value]).tolist()
            if largest >= floor:
                return float(largest)

    def _refreshed(self, regions: Tensor) -> Tensor:
        """Return the exact squared distances of some regions to the set, (N,)."""
        squared_N = self._squared_R[regions]
        if self._size == 0:
            return squared_N
        left_DN, point_ND = self._feature_RD[regions].T.contiguous(), self._shifted_RD[regions]
        own_N, error_N = self._own_R[regions], self._error(self._length_R[regions], self._longest)
        num_features, num_regions = left_DN.shape
        for begin in range(0, self._size, _MEMBERS):
            members = slice(begin, min(begin + _MEMBERS, self._size))
            product_NM = self._product(point_ND, members)
            limit_N = torch.nextafter((squared_N - own_N + error_N).float(), torch.tensor(np.inf, device=self._device))
            kernels.lower_to_nearest_kernel[(num_regions,)](
                product_NM, limit_N, squared_N, left_DN, self._member_DS[:, begin:],
                num_regions, product_NM.shape[1], self._member_DS.shape[1], 8,
                D=num_features, BLOCK=_LOOK, num_warps=1, **kernels.EXACT,
            )  # fmt: skip
        return squared_N

    def _add(self, regions: Tensor) -> None:
        """Add regions to the set and lower the bounds of all regions to them."""
        new = slice(self._size, self._size + len(regions))
        self._member_DS[:, new] = self._feature_RD[regions].T
        torch.mul(self._shifted_RD[regions], -2.0, out=self._factor_SD[new])
        self._norm_S[new] = self._own_R[regions].float()
        longest = self._length_R[regions].amax()
        self._longest = torch.maximum(self._longest, longest)
        self._size = new.stop
        lowest_R = torch.full_like(self._own_R, np.inf, dtype=torch.float32)
        for begin in range(new.start, new.stop, _NEW):
            members = slice(begin, min(begin + _NEW, new.stop))
            num_rows = _PRODUCT // (members.stop - members.start)
            for start in range(0, len(lowest_R), num_rows):
                lowest_N = lowest_R[start : start + num_rows]
                product_NP = self._product(self._shifted_RD[start : start + num_rows], members)
                torch.minimum(lowest_N, product_NP.amin(dim=1), out=lowest_N)
        bound_R = (lowest_R + self._own_R).clamp_(min=0.0).add_(self._error(self._length_R, longest))
        torch.minimum(self._squared_R, bound_R, out=self._squared_R)

    def _product(self, point_ND: Tensor, members: slice) -> Tensor:
        """Return |x - s|^2 - |x|^2 of points and members in float32, in memory that the next product overwrites."""
        num_points, num_members = len(point_ND), members.stop - members.start
        out = self._buffer[: num_points * num_members].view(num_points, num_members)
        return torch.addmm(self._norm_S[members], point_ND, self._factor_SD[members].T, out=out)

    def _error(self, length_N: Tensor, longest: Tensor) -> Tensor:
        """Return ``product_error``: an upper bound on the error of a squared distance computed by a product."""
        num_roundings = self._shifted_RD.shape[1] + 16
        rounding = num_roundings * 2.0**-24
        return (length_N + longest).square_().mul_(rounding / (1 - rounding)).add_(num_roundings * 2.0**-125)

    def _spatial_within(self, regions: Tensor) -> Tensor:
        """Return the spatial distances inside a batch, (N, N), infinite between images."""
        assert self._spatial is not None
        pairs = self._spatial.within(regions.cpu().numpy())
        distance_NN = torch.full((len(regions),) * 2, np.inf, dtype=torch.float64, device=self._device)
        first, second = (torch.from_numpy(side).to(self._device) for side in (pairs.first, pairs.second))
        distance_NN[first, second] = torch.from_numpy(pairs.distance).to(self._device)
        return distance_NN

    def _update_spatial_term(self, selected: Tensor) -> None:
        if self._spatial is None or self._host_spatial_R is None or self._spatial_R is None:
            return
        self._spatial.update_nearest(self._host_spatial_R, selected.cpu().numpy())
        self._spatial_R.copy_(torch.from_numpy(self._host_spatial_R))


def _squared_distances(left_DN: Tensor, right_DM: Tensor) -> Tensor:
    """Return the exact squared distances of all left to all right regions, (N, M): the bits of ``squared_distance``."""
    (num_features, num_left), num_right = left_DN.shape, right_DM.shape[1]
    out = torch.empty(num_left, num_right, dtype=torch.float64, device=left_DN.device)
    grid = (-(-num_left // _TILE), -(-num_right // _TILE))
    kernels.squared_distance_kernel[grid](
        left_DN, right_DM, out, num_left, num_right, 8, D=num_features, BN=_TILE, BM=_TILE, **kernels.EXACT
    )
    return out


def _squared_length(points_RD: Tensor) -> Tensor:
    """Return |x|^2 of each row in float64, block by block."""
    size = max(1, _STAGED // points_RD.shape[1])
    return torch.cat([block.double().square_().sum(dim=1) for block in torch.split(points_RD, size)])


def _moved(features_RD: NDArray[np.float32], device: torch.device) -> Tensor:
    """Return the features on the device, moved block by block through pinned memory; they may be a memory map."""
    moved_RD = torch.empty(features_RD.shape, device=device)
    size = max(1, _STAGED // features_RD.shape[1])
    is_cuda = device.type == "cuda"
    # Two blocks: one is read by the host while the other is on its way.
    staged = [torch.empty(min(size, len(features_RD)), features_RD.shape[1], pin_memory=is_cuda) for _ in range(2)]
    done: list[torch.cuda.Event | None] = [None, None]
    for number, start in enumerate(range(0, len(features_RD), size)):
        block, event = features_RD[start : start + size], done[number % 2]
        if event is not None:
            event.synchronize()
        host = staged[number % 2][: len(block)]
        np.copyto(host.numpy(), block)
        moved_RD[start : start + size].copy_(host, non_blocking=True)
        if is_cuda:
            done[number % 2] = torch.cuda.current_stream().record_event()
    if is_cuda:
        torch.cuda.current_stream().synchronize()
    return moved_RD


@contextmanager
def _full_precision() -> Iterator[None]:
    """Keep TF32 and mixed precision out of matrix products: the bounds on their errors hold for float32."""
    before = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    try:
        with torch.autocast("cuda", enabled=False), torch.autocast("cpu", enabled=False):
            yield
    finally:
        torch.backends.cuda.matmul.fp32_precision = before
