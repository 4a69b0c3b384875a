"""First bounds on the distance to a set: each region is compared with the members in the cells nearest to it.

Axes: R regions, N regions of a block, M members of the set, m members of one cell, C cells, D features; E = D + 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quadrat.strategies.features import cluster_centres, has_gpu, nearest_bound, nearest_rows, product_error

__all__ = ["bound_by_cells"]

# Speed only: cells that each region looks into, rows handled at a time, and members up to which all are compared.
_PROBES, _BLOCK, _FEW = 2, 1 << 15, 1 << 10


def bound_by_cells(
    features_RD: NDArray[np.float32], members_MD: NDArray[np.float32], mean_D: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return, for every region, a bound from above on its squared distance to the nearest of ``members_MD``.

    K-means puts the members into about sqrt(M) cells, and a region is compared with those in its two nearest cells:
    2 sqrt(M) products in place of M, and most regions find their nearest member there. The float32 rounding is added,
    so the true distance is never above the bound, whatever the cells are. A few members, or any number on a GPU, are
    all compared.

    Args:
        features_RD: Features; may be a memory map, read once, block by block.
        members_MD: At least one member.
        mean_D: Taken from both before the products, which keeps the rounding small.

    Returns:
        (R,) bounds. O(R sqrt(M) D), memory O(R + M D).
    """
    if len(members_MD) <= _FEW or has_gpu():
        return nearest_bound(features_RD, members_MD, mean_D)
    shifted_MD = members_MD - mean_D
    centre_CD = cluster_centres(shifted_MD, round(len(members_MD) ** 0.5))
    own_M = np.einsum("md,md->m", shifted_MD, shifted_MD, dtype=np.float64)
    factor_ME = np.column_stack([-2.0 * shifted_MD, own_M.astype(np.float32)])
    inside = _by_cell(nearest_rows(shifted_MD, centre_CD, 1), len(centre_CD))
    is_used_C = np.array([len(members) > 0 for members in inside])
    # Without the empty cells every region is compared with a member at least.
    centre_CD, cell_factors = centre_CD[is_used_C], [factor_ME[members] for members in inside if len(members)]
    longest = float(np.sqrt(own_M.max()))
    bound_R = np.empty(len(features_RD))
    for start in range(0, len(features_RD), _BLOCK):
        block = slice(start, start + _BLOCK)
        shifted_ND = features_RD[block] - mean_D
        own_N = np.einsum("nd,nd->n", shifted_ND, shifted_ND, dtype=np.float64)
        lowest_N = _lowest_products(shifted_ND, centre_CD, cell_factors)
        bound_R[block] = np.maximum(lowest_N + own_N, 0.0)
        bound_R[block] += product_error(features_RD.shape[1], np.sqrt(own_N), longest)
    return bound_R


def _lowest_products(
    shifted_ND: NDArray[np.float32], centre_CD: NDArray[np.float32], cell_factors: list[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Return the least |x - s|^2 - |x|^2 of each x over the members s of its nearest cells, (N,)."""
    factor_NE = np.column_stack([shifted_ND, np.ones(len(shifted_ND), np.float32)])
    lowest_N = np.full(len(shifted_ND), np.inf, np.float32)
    nearest_NP = nearest_rows(shifted_ND, centre_CD, min(_PROBES, len(centre_CD)))
    for rows, factor_mE in zip(_by_cell(nearest_NP, len(centre_CD)), cell_factors, strict=True):
        if len(rows):
            # Members along the first axis: the least of each column is found by whole rows.
            lowest_N[rows] = np.minimum(lowest_N[rows], (factor_mE @ factor_NE[rows].T).min(axis=0))
    return lowest_N


def _by_cell(cell_NP: NDArray[np.int64], num_cells: int) -> list[NDArray[np.int64]]:
    """Return, for every cell, the rows that name it."""
    flat = cell_NP.ravel()
    order = np.argsort(flat, kind="stable")
    return np.split(order // cell_NP.shape[1], np.searchsorted(flat[order], np.arange(1, num_cells)))
