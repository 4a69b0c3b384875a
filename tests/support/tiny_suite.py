"""A whole suite that runs in seconds."""

from typing import Any

TINY_SUITE: dict[str, Any] = {
    "name": "tiny",
    "dataset": {"name": "scenes", "params": {"num_train": 8, "num_test": 3, "height": 48, "width": 64}},
    "region_size": 16,
    "budgets": [6, 12, 24],
    "learner": {
        "encoder": "test_resnet",
        "weights": "none",
        "decoder_channels": 8,
        "optimizer": "adamw",
        "lr": 0.003,
        "iterations": 3,
        "batch_size": 2,
        "crop": 32,
    },
    "strategies": ["random", "entropy-spatial"],
    "seeds": [0],
}
"""A whole suite that runs in seconds: real images, a real network, three rounds."""
