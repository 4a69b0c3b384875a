"""The stages, in order of worth: the command of each and the seconds that it may take."""

import sys
from typing import NamedTuple

from support.paths import TESTS

__all__ = ["Options", "Stage", "gpu_test_files", "stages"]

_QUADRAT = (sys.executable, "-m", "quadrat.cluster")


class Options(NamedTuple):
    """What the stages have in common."""

    suite: str = "camvid"
    settings: tuple[str, ...] = ()
    device: str = "cuda"
    images: int = 96
    score_images: int = 736
    iterations: int = 60
    repeats: int = 3
    results: str = "results/runs/gpu/camvid"
    seconds: float = 240.0


class Stage(NamedTuple):
    """One command, which prints one JSON object."""

    name: str
    command: list[str]
    limit_s: float


def stages(options: Options) -> list[Stage]:
    """Return the stages in order."""
    settings = [part for setting in options.settings for part in ("--set", setting)]
    device = ["--device", options.device]

    def bench(what: str, *more: str, images: int = options.images) -> list[str]:
        return [
            sys.executable, "-m", "performance", what, options.suite, *settings, *device,
            "--images", str(images), "--repeats", str(options.repeats), "--json", *more,
        ]  # fmt: skip

    # Without a device the kernels are interpreted: a pool that shows whether the script works, no more.
    small = ["core-set", "--regions", "128", "--features", "8", "--labelled", "10", "--budget", "20"]
    small = [*small, "--repeats", "1"] if options.device == "cpu" else []
    length = ("--iterations", str(options.iterations))
    return [
        Stage("card", [sys.executable, "-m", "performance", "card", options.suite, *settings, *device, "--json"], 60),
        Stage("fit", bench("fit", *length), 120),
        Stage("score", bench("score", images=options.score_images), 120),
        Stage("fit-profile", bench("profile", "--side", "quadrat fit", "--count", "30"), 60),
        Stage("score-profile", bench("profile", "--side", "quadrat score", images=options.score_images), 60),
        Stage("tests", [sys.executable, "-m", "performance.gpu.tests", "--limit", "200"], 220),
        Stage("selection", [sys.executable, "-m", "performance", "device-selection", *small, *device], 120),
        Stage("plan", [*_QUADRAT, "show", options.suite, *settings, "--plan", "--json", "--devices", "1"], 120),
        Stage(
            "trials",
            [
                sys.executable,
                "-m",
                "performance.gpu.trials",
                options.suite,
                *settings,
                "--results",
                options.results,
                "--seconds",
                str(options.seconds),
            ],
            options.seconds + 120,
        ),
        Stage("together", bench("together", *length, "--trials", "2,4"), 120),
        Stage("fit-launched", bench("fit", *length, "--set", "learner.cuda_graphs=false"), 120),
        Stage("tests-compiled", [sys.executable, "-m", "performance.gpu.tests", "--only-compiled"], 220),
        Stage("fit-default", bench("fit", *length, "--set", "learner.compile=default"), 240),
        Stage("fit-reduce-overhead", bench("fit", *length, "--set", "learner.compile=reduce-overhead"), 240),
    ]


def gpu_test_files() -> list[str]:
    """Return the test files that hold a test for a GPU: the others may import what is not installed there."""
    return sorted(
        str(path) for path in TESTS.rglob("test_*.py") if "pytest.mark.gpu" in path.read_text(encoding="utf-8")
    )
