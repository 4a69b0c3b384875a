"""A record whose every field has a value of its own."""

from quadrat.benchmark.results.records import Record

RECORD = Record(
    suite="s",
    trial_id="random-r16-s0-abc",
    label="random",
    strategy="random",
    params={},
    dataset="scenes",
    region_size=16,
    recipe="0123",
    seed=0,
    round=0,
    regions=10,
    picked=10,
    labelled_px=2560,
    labelled_fraction=1 / 3,
    clicks=57,
    class_px=(2000, 400),
    void_px=160,
    void_regions=1,
    images_opened=4,
    exhausted=False,
    miou=0.1 + 0.2,
    iou=(0.5, None),
    test_classes=1,
    pixel_accuracy=0.75,
    steps=100,
    loss=1.25,
    picks_digest="ff",
    seconds={"fit": 1.5},
)
