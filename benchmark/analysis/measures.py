"""The axes of a learning curve, computed from a record: costs, metrics, and the diversity of the labelled classes."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from quadrat.benchmark.results.records import Record

__all__ = [
    "ACCURACY",
    "CLICKS",
    "COSTS",
    "DIVERSITY",
    "FRACTION",
    "IMAGES",
    "LABEL_ACCURACY",
    "MIOU",
    "PRIMARY_COSTS",
    "REGIONS",
    "SELECT_SECONDS",
    "VOID_SHARE",
    "Cost",
    "Metric",
    "class_iou",
    "metrics_of",
]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One way to count the cost of labels.

    Attributes:
        key: Its name in figures and files.
        title: Axis title.
        format: d3 number format of its axis.
        of: Its value in a record.
    """

    key: str
    title: str
    format: str
    of: Callable[[Record], float]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One way to score a model, in percent unless it says otherwise.

    Attributes:
        key: Its name in figures and files.
        title: Axis title.
        of: Its value in a record in percent; None where it is not defined (a class that the test set lacks).
    """

    key: str
    title: str
    of: Callable[[Record], float | None]


REGIONS = Cost(key="regions", title="labelled regions", format=",d", of=lambda record: record.regions)
FRACTION = Cost(
    key="labelled-fraction",
    title="labelled pixels (% of the pool)",
    format="~r",
    of=lambda record: 100 * record.labelled_fraction,
)
IMAGES = Cost(key="images-opened", title="images opened", format=",d", of=lambda record: record.images_opened)
CLICKS = Cost(key="clicks", title="clicks", format="~s", of=lambda record: record.clicks)
COSTS = (REGIONS, FRACTION, CLICKS, IMAGES)
"""Every cost, in the order of the menus."""
PRIMARY_COSTS = (FRACTION, CLICKS)
"""The costs that claims are made over: labelled pixels and clicks."""

MIOU = Metric(key="miou", title="mIoU (%)", of=lambda record: 100 * record.miou)
ACCURACY = Metric(key="pixel-accuracy", title="pixel accuracy (%)", of=lambda record: 100 * record.pixel_accuracy)

SELECT_SECONDS = Metric(key="select", title="seconds", of=lambda record: record.seconds.get("select"))
"""Time of a round's selection. It describes the strategy, not a model."""


def _diversity(record: Record) -> float | None:
    if not any(record.class_px):
        return None
    shares = [px / sum(record.class_px) for px in record.class_px if px]
    return 100 * math.fsum(-share * math.log(share) for share in shares) / math.log(max(2, len(record.class_px)))


DIVERSITY = Metric(key="label-diversity", title="label diversity (%)", of=_diversity)
"""Entropy of the classes of the labelled pixels, in percent of its maximum (all classes equally frequent): 0 when only
one class is labelled, None when all labelled pixels are void. It describes the selections, not a model, so `metrics_of`
leaves it out."""


VOID_SHARE = Metric(
    key="void-share",
    title="void in what was labelled (%)",
    of=lambda record: 100 * record.void_px / record.labelled_px if record.labelled_px else None,
)
"""Share of the labelled pixels that are void: paid for, and nothing to learn from. It describes the selections."""


LABEL_ACCURACY = Metric(
    key="label-accuracy",
    title="labelled pixels whose label is right (%)",
    of=lambda record: 100 * record.label_accuracy,
)
"""Share of the labelled non-void pixels whose label is right: the true class, or a set of classes with it. It is below
100 for labels that are not precise, and for an annotator who errs. It describes the labels; no strategy sees it."""


def class_iou(classes: Sequence[str], index: int) -> Metric:
    """Return the IoU of class number `index`, undefined where the masks of the test set lack the class."""

    def of(record: Record) -> float | None:
        value = record.iou[index]
        return None if value is None else 100 * value

    return Metric(key=f"iou-{index}", title=f"IoU of {classes[index]} (%)", of=of)


def metrics_of(classes: Sequence[str]) -> tuple[Metric, ...]:
    """Return every metric: mIoU, pixel accuracy, and one IoU per class."""
    return (MIOU, ACCURACY, *(class_iou(classes, index) for index in range(len(classes))))
