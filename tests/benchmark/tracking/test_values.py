"""Names and values of what is logged to MLflow, without a store."""

from dataclasses import replace

import pytest
from support.records import RECORD

from quadrat.benchmark.tracking.values import metrics


def test_the_share_of_void_in_what_was_labelled_is_a_metric() -> None:
    found = metrics(replace(RECORD, labelled_px=2560, void_px=640), ["sky", "road"])
    assert found["cost/void_fraction"] == pytest.approx(0.25)
    assert set(found) >= {"accuracy/miou", "class_iou/sky", "cost/clicks"} and "class_iou/road" not in found
