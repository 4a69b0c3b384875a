"""What an annotator says of a region: how truth becomes labels of another type than the precise one, and with errors.

Axes: R regions, C classes, N images.

Everything starts from the pixels of each class in each region. The annotator *names* classes: of a region's classes one
(dominant) or all (precise, multi-class). Names may be wrong, see `draw_names`; where a class lies is never wrong.

Clicks of a region, beside those of precise labels (`quadrat.benchmark.data.clicks`):

- *dominant*: one, for the name [Cai2021b],
- *multi-class*: one for each class that is named, at least one, for saying that there is none [Hwang2023].

The border of a region is given by the tool and costs nothing, whatever the type.

References:
    [Cai2021b] Cai, Xu, Liew, Foo, "Revisiting superpixels for active learning in semantic segmentation with realistic
        annotation costs", CVPR 2021: dominant labels.
    [Hwang2023] Hwang, Lee, Kim, Oh, Ok, Kwak, "Active learning for semantic segmentation with multi-class label query",
        NeurIPS 2023: multi-class labels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from quadrat.benchmark.config.trial import PRECISE, Annotator, LabelType, TrialSpec, identity
from quadrat.benchmark.data import VOID
from quadrat.benchmark.seeds import rng

__all__ = ["MIN_SHARE", "Annotation", "annotate", "dominant_classes", "draw_names", "present_classes"]

MIN_SHARE: Final = 0.02
"""Share of a region's non-void pixels at or below which a class is overlooked in a multi-class label. Our choice: an
annotator who looks at a region does not see a class of a few pixels, which is often the blur of a border."""


_CHUNK: Final = 65_536
"""Regions whose errors are drawn at a time: a pool may have millions."""


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """What the annotator says of every region of the pool, if it is asked. One of the three arrays is there.

    Attributes:
        key: Label type and errors, JSON-plain, for what depends on the labels.
        clicks_R: int64 (R,), what each region costs.
        right_px_R: int64 (R,), non-void pixels of each region whose label is right: the true class, or a set with it.
        class_px_R: int64 (R,), non-void pixels of each region.
        names_RC: uint8 (R, C): precise labels with errors. What each class is named.
        class_R: uint8 (R,): dominant labels; void for a region that is wholly void.
        sets_RC: bool (R, C): multi-class labels; none for a region that is wholly void.
    """

    key: dict[str, Any]
    clicks_R: npt.NDArray[np.int64]
    right_px_R: npt.NDArray[np.int64]
    class_px_R: npt.NDArray[np.int64]
    names_RC: npt.NDArray[np.uint8] | None = None
    class_R: npt.NDArray[np.uint8] | None = None
    sets_RC: npt.NDArray[np.bool_] | None = None


def annotate(
    spec: TrialSpec,
    counts_RC: Callable[[], npt.NDArray[np.int32]],
    image_R: npt.NDArray[np.int32],
    precise_clicks_R: Callable[[], npt.NDArray[np.int64]],
) -> Annotation | None:
    """Return what the annotator of a trial says of every region; None for precise labels without errors.

    It depends on the seed, the regions, the label type and the annotator: neither on the strategy nor on the order in
    which regions are selected. Types of labels share the errors of a seed.

    Args:
        spec: The trial.
        counts_RC: Returns the pixels of each class in every region, int32 (R, C), void in none.
        image_R: int32 (R,), image of every region.
        precise_clicks_R: Returns what precise labels cost, int64 (R,).
    """
    if spec.labels == PRECISE and spec.annotator.error_rate == 0:
        return None
    counts = counts_RC()
    names_RC = draw_names(spec.annotator, counts, image_R, spec.seed)
    shared = {"key": _key(spec.labels, spec.annotator), "class_px_R": counts.sum(axis=1, dtype=np.int64)}
    if spec.labels == "dominant":
        class_R = _named(names_RC, dominant_classes(counts))
        return Annotation(
            **shared,
            clicks_R=np.ones(len(counts), dtype=np.int64),
            right_px_R=_pixels_of(counts, class_R),
            class_R=class_R,
        )
    if spec.labels == "multi-class":
        seen_RC = present_classes(counts)
        sets_RC = _sets_named(names_RC, seen_RC)
        return Annotation(
            **shared,
            clicks_R=np.maximum(seen_RC.sum(axis=1, dtype=np.int64), 1),
            right_px_R=counts.sum(axis=1, dtype=np.int64, where=sets_RC),
            sets_RC=sets_RC,
        )
    is_right_RC = names_RC == np.arange(counts.shape[1], dtype=np.uint8)
    return Annotation(
        **shared,
        clicks_R=precise_clicks_R(),
        right_px_R=counts.sum(axis=1, dtype=np.int64, where=is_right_RC),
        names_RC=names_RC,
    )


def _key(labels: LabelType, annotator: Annotator) -> dict[str, Any]:
    return {"labels": labels, "annotator": identity(annotator)}


def dominant_classes(counts_RC: npt.NDArray[np.int32]) -> npt.NDArray[np.uint8]:
    """Return the class of most non-void pixels of every region, uint8 (R,); ties go to the lowest class.

    Void pixels have no vote. A region without any other is void.

    Examples:
        >>> dominant_classes(np.array([[3, 5, 5], [0, 0, 0]], dtype=np.int32))
        array([  1, 255], dtype=uint8)
    """
    classes_R = counts_RC.argmax(axis=1).astype(np.uint8)
    return np.where(counts_RC.any(axis=1), classes_R, np.uint8(VOID))


def present_classes(counts_RC: npt.NDArray[np.int32], min_share: float = MIN_SHARE) -> npt.NDArray[np.bool_]:
    """Return which classes an annotator sees in every region, bool (R, C).

    A class is seen whose share of the non-void pixels is above `min_share`, and the dominant one whatever its share.

    Examples:
        >>> present_classes(np.array([[98, 2, 0], [90, 3, 7]], dtype=np.int32)).tolist()
        [[True, False, False], [True, True, True]]
    """
    is_seen_RC: npt.NDArray[np.bool_] = counts_RC > min_share * counts_RC.sum(axis=1, keepdims=True)
    is_dominant_RC = np.arange(counts_RC.shape[1]) == dominant_classes(counts_RC)[:, None]
    is_seen_RC |= is_dominant_RC
    return is_seen_RC


def draw_names(
    annotator: Annotator, counts_RC: npt.NDArray[np.int32], image_R: npt.NDArray[np.int32], seed: int
) -> npt.NDArray[np.uint8]:
    """Return what the annotator calls each class in every region, uint8 (R, C): mostly what it is.

    Each name is wrong with the annotator's error rate, independently; the generator `rng(seed, "annotator")` is drawn
    once for all regions and classes. So the same errors are made at a higher rate, and more. What is named instead:
    `uniform`: each other class equally likely. `confused`: class d with probability in proportion to the pixels of d in
    the same image, uniform where the image has no other class.

    Args:
        annotator: Error rate and kind.
        counts_RC: Pixels of each class in every region, int32 (R, C).
        image_R: Image of every region, int32 (R,).
        seed: The trial's seed.
    """
    num_regions, num_classes = counts_RC.shape
    names_RC = np.broadcast_to(np.arange(num_classes, dtype=np.uint8), counts_RC.shape).copy()
    if annotator.error_rate == 0:
        return names_RC
    generator = rng(seed, "annotator")
    of_image_NC = None if annotator.kind == "uniform" else _sums_by_image(counts_RC, image_R)
    for begin in range(0, num_regions, _CHUNK):
        chunk = slice(begin, begin + _CHUNK)
        # Row by row, so that the draws do not depend on the size of a chunk.
        draw_R2C = generator.random((len(counts_RC[chunk]), 2, num_classes))
        # Names of classes that are not there are never asked for.
        region, true = np.nonzero((draw_R2C[:, 0] < annotator.error_rate) & (counts_RC[chunk] > 0))
        of_image = None if of_image_NC is None else of_image_NC[image_R[chunk][region]]
        names_RC[begin + region, true] = _other_names(true, draw_R2C[region, 1, true], num_classes, of_image)
    return names_RC


def _sums_by_image(counts_RC: npt.NDArray[np.int32], image_R: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """Return the pixels of each class in every image, int64 (N, C); regions are numbered image by image."""
    sums_NC = np.zeros((int(image_R.max(initial=-1)) + 1, counts_RC.shape[1]), dtype=np.int64)
    if len(image_R):
        images, first = np.unique(image_R, return_index=True)
        sums_NC[images] = np.add.reduceat(counts_RC, first, axis=0, dtype=np.int64)
    return sums_NC


def _other_names(
    true_W: npt.NDArray[np.int64],
    draw_W: npt.NDArray[np.float64],
    num_classes: int,
    pixels_WC: npt.NDArray[np.int64] | None,
) -> npt.NDArray[np.uint8]:
    """Return a wrong name of each of W classes: by the pixels of the others, uniform where there are none or None."""
    is_other_WC = np.arange(num_classes) != true_W[:, None]
    weight_WC = is_other_WC.astype(np.float64)
    if pixels_WC is not None:
        in_image_WC = np.where(is_other_WC, pixels_WC, 0)
        weight_WC = np.where(in_image_WC.any(axis=1, keepdims=True), in_image_WC, weight_WC)
    cumulated_WC = weight_WC.cumsum(axis=1)
    # The first class whose cumulated weight is above the draw: one without weight can't be the first.
    drawn_W = (cumulated_WC <= (draw_W * cumulated_WC[:, -1])[:, None]).sum(axis=1)
    last_W = cumulated_WC.argmax(axis=1)  # with weight: where rounding lifts a draw to the whole sum
    named_W: npt.NDArray[np.uint8] = np.minimum(drawn_W, last_W).astype(np.uint8)
    return named_W


def _named(names_RC: npt.NDArray[np.uint8], class_R: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return what the annotator calls one class of every region; void stays void."""
    is_void_R = class_R == VOID
    names_R: npt.NDArray[np.uint8] = names_RC[np.arange(len(class_R)), np.where(is_void_R, 0, class_R)]
    return np.where(is_void_R, np.uint8(VOID), names_R)


def _sets_named(names_RC: npt.NDArray[np.uint8], seen_RC: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the names of the classes that are seen; two classes may get the same."""
    sets_RC = np.zeros_like(seen_RC)
    region, true = np.nonzero(seen_RC)
    sets_RC[region, names_RC[region, true]] = True
    return sets_RC


def _pixels_of(counts_RC: npt.NDArray[np.int32], class_R: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return the pixels of one class of every region, 0 for void."""
    is_void_R = class_R == VOID
    pixels_R = counts_RC[np.arange(len(class_R)), np.where(is_void_R, 0, class_R)].astype(np.int64)
    return np.where(is_void_R, 0, pixels_R)
