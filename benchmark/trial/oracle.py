"""The oracle: reveals the labels of selected regions, and meters what they cost and what they contain."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from quadrat.benchmark.data import VOID, Layout, PackedMasks
from quadrat.benchmark.trial.annotation import Annotation
from quadrat.benchmark.trial.labels import LabelState

__all__ = ["LabelCost", "Oracle", "RevealedLabels", "number_sets"]


@dataclass(frozen=True, kw_only=True)
class LabelCost:
    """Cumulative cost of the labels since the start of the trial.

    Attributes:
        regions: Number of labelled regions.
        labelled_px: Their area, pixels; clipped border cells count what they cover.
        labelled_fraction: That area as a share of all pixels that the pool offers.
        clicks: What it takes to draw and name their labels, see `quadrat.benchmark.data.clicks` for precise labels and
            `quadrat.benchmark.trial.annotation` for others.
        class_px: Labelled pixels of each class; void is in none of them.
        void_px: Labelled pixels that are void.
        void_regions: Labelled regions all of whose pixels are void.
        images_opened: Images with at least one labelled region.
    """

    regions: int
    labelled_px: int
    labelled_fraction: float
    clicks: int
    class_px: tuple[int, ...]
    void_px: int
    void_regions: int
    images_opened: int


class RevealedLabels:
    """The labels of the labelled regions, as the learner sees them: everything else is void.

    Pixels that are void in the ground truth are void in a precise label only: who names a region as a whole does not
    say where it is void.

    Args:
        masks: Ground truth of the pool.
        layout: The regions of the pool.
        labelled: bool (R,).
        annotation: What the annotator says; None for precise labels without errors.

    Attributes:
        layout: The regions of the pool.
        num_classes: C.
        regions: int64 (L,), labelled regions, ascending.
        key: What distinguishes these labels from precise ones of the same regions, JSON-plain; empty for those.
        sets_KC: bool (K, C), the sets of classes that multi-class labels stand for, row VOID empty; else None.
    """

    def __init__(
        self,
        masks: PackedMasks,
        layout: Layout,
        labelled: npt.NDArray[np.bool_],
        annotation: Annotation | None = None,
    ) -> None:
        self._masks = masks
        self._labelled = labelled
        self._annotation = annotation
        self.layout = layout
        self.num_classes = masks.num_classes
        self.regions = np.flatnonzero(labelled).astype(np.int64)
        self.key: dict[str, Any] = {} if annotation is None else annotation.key
        self.sets_KC: npt.NDArray[np.bool_] | None = None
        # Label of a region: a class, or a row of sets_KC; void where it is not labelled.
        self._label_R: npt.NDArray[np.uint8] | npt.NDArray[np.int32] | None = None
        if annotation is not None and annotation.class_R is not None:
            self._label_R = np.where(labelled, annotation.class_R, np.uint8(VOID))
        elif annotation is not None and annotation.sets_RC is not None:
            label_L, self.sets_KC = number_sets(annotation.sets_RC[self.regions])
            self._label_R = np.full(len(labelled), VOID, dtype=np.int32)
            self._label_R[self.regions] = label_L

    def crop(
        self, image: int, top: int, left: int, height: int, width: int
    ) -> npt.NDArray[np.uint8] | npt.NDArray[np.int32]:
        """Return the labels of a window, (height, width), void outside labelled regions and outside the image.

        Class ids, uint8; of multi-class labels rows of `sets_KC`, int32.
        """
        if self._label_R is not None:
            region = self.layout.window(image, top, left, height, width)
            return np.where(region >= 0, self._label_R[region], self._label_R.dtype.type(VOID))
        window = self._truth(image, top, left, height, width)
        if self._annotation is None or self._annotation.names_RC is None:
            return window
        known = window != VOID
        region = self.layout.window(image, top, left, height, width)[known]
        window[known] = self._annotation.names_RC[region, window[known]]
        return window

    def _truth(self, image: int, top: int, left: int, height: int, width: int) -> npt.NDArray[np.uint8]:
        """Return the true classes of a window, uint8 (height, width), void as in `crop`."""
        mask = self._masks.mask(image)
        bottom, right = min(top + height, mask.shape[0]), min(left + width, mask.shape[1])
        inner_top, inner_left = max(top, 0), max(left, 0)
        window = np.full((height, width), VOID, dtype=np.uint8)
        if inner_top < bottom and inner_left < right:
            box = image, self._labelled, inner_top, inner_left, bottom - inner_top, right - inner_left
            window[inner_top - top : bottom - top, inner_left - left : right - left] = np.where(
                self.layout.window_mask(*box), mask[inner_top:bottom, inner_left:right], np.uint8(VOID)
            )
        return window


def number_sets(sets_LC: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """Return a number for the set of classes of every labelled region, int32 (L,), and the sets by number, (K, C).

    Equal sets have equal numbers. The empty set has number VOID, and no other: void is the label that says nothing. K
    is a multiple of 256, so that a compiled loss meets few shapes.

    Examples:
        >>> label, sets = number_sets(np.array([[True, True], [False, False], [False, True], [True, True]]))
        >>> label, sets.shape, sets[:2].tolist(), sets[255].tolist()
        (array([  1, 255,   0,   1], dtype=int32), (256, 2), [[False, True], [True, True]], [False, False])
    """
    distinct_UC, number_L = np.unique(sets_LC, axis=0, return_inverse=True)
    is_set_U = distinct_UC.any(axis=1)
    label_U = np.full(len(distinct_UC), VOID, dtype=np.int32)
    label_U[is_set_U] = np.arange(int(is_set_U.sum()))
    label_U[is_set_U & (label_U >= VOID)] += 1
    num_rows = max(VOID, int(label_U.max(initial=0))) + 1
    sets_KC = np.zeros((-(-num_rows // 256) * 256, sets_LC.shape[1]), dtype=bool)
    sets_KC[label_U] = distinct_UC
    return label_U[number_L.reshape(-1)], sets_KC


class Oracle:
    """Labels regions: reveals their ground truth and meters the cost. Nothing else in a trial holds ground truth.

    Args:
        masks: Ground truth of the pool.
        layout: The regions of the pool.
        state: The trial's labelled regions, which `label` grows.
        clicks: int64 (R,), what each region costs in clicks.
        is_void: bool (R,), which regions are wholly void.
        offered: int64, the regions that can be labelled, ascending; None for all.
        annotation: What the annotator says; None for precise labels without errors.
    """

    def __init__(
        self,
        masks: PackedMasks,
        layout: Layout,
        state: LabelState,
        clicks: npt.NDArray[np.int64],
        is_void: npt.NDArray[np.bool_],
        offered: npt.NDArray[np.int64] | None = None,
        annotation: Annotation | None = None,
    ) -> None:
        self._masks = masks
        self._layout = layout
        self._state = state
        self._annotation = annotation
        self._clicks = clicks
        self._is_void = is_void
        self._offered_px = int((layout.pixels if offered is None else layout.pixels[offered]).sum())

    def label(self, regions: npt.NDArray[np.int64]) -> LabelCost:
        """Label `regions`, int64 (B,), and return the cost of all labels so far.

        Raises:
            ValueError: When a region does not exist or is labelled already; nothing is labelled then.
        """
        self._state.add(regions)
        return self.cost()

    def cost(self) -> LabelCost:
        """Return the cost of all labels so far."""
        labelled = self._state.regions
        labelled_px = int(self._layout.pixels[labelled].sum())
        class_px = self._class_px(labelled)
        return LabelCost(
            regions=int(labelled.size),
            labelled_px=labelled_px,
            labelled_fraction=labelled_px / self._offered_px,
            clicks=int(self._clicks[labelled].sum()),
            class_px=class_px,
            void_px=labelled_px - sum(class_px),
            void_regions=int(self._is_void[labelled].sum()),
            images_opened=int(np.unique(self._layout.image[labelled]).size),
        )

    def label_accuracy(self) -> float:
        """Return the share of the labelled non-void pixels whose label is right: the true class, or a set with it.

        1 where there are none. For records only: no strategy sees it.
        """
        if self._annotation is None:
            return 1.0
        labelled = self._state.regions
        class_px = int(self._annotation.class_px_R[labelled].sum())
        return int(self._annotation.right_px_R[labelled].sum()) / class_px if class_px else 1.0

    def _class_px(self, labelled: npt.NDArray[np.int64]) -> tuple[int, ...]:
        """Return the pixels of each class in `labelled`, int64 (L,), ascending: those of an image lie side by side."""
        counts = np.zeros(256, dtype=np.int64)
        for image in np.unique(self._layout.image[labelled]).tolist():
            mask = self._masks.mask(image)
            first, end = self._layout.first[image : image + 2]
            regions = labelled[slice(*np.searchsorted(labelled, (first, end)))]
            if self._layout.pixels[regions].sum() == mask.size:
                counts += np.bincount(mask.ravel(), minlength=256)
                continue
            for region in regions.tolist():
                counts += np.bincount(self._layout.values(region, mask), minlength=256)
        return tuple(counts[: self._masks.num_classes].tolist())

    def class_shares(self) -> npt.NDArray[np.float32]:
        """Return the true share of each class in every region, (R, C); void pixels count for no class.

        Only oracle strategies receive it.
        """
        num_classes = self._masks.num_classes
        shares = np.empty((self._layout.num_regions, num_classes), dtype=np.float32)
        for image in range(len(self._masks)):
            counts = self._layout.class_counts(image, self._masks.mask(image))
            regions = slice(*self._layout.first[image : image + 2].tolist())
            shares[regions] = counts[:, :num_classes] / self._layout.pixels[regions, None]
        return shares

    def reveal(self) -> RevealedLabels:
        """Return all labels so far, for the learner."""
        return RevealedLabels(self._masks, self._layout, self._state.labelled, self._annotation)
