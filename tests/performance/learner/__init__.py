"""quadrat's learner against a naive baseline, the loop that a user would write, in the same run."""

from performance.learner.case import Case, open_case
from performance.learner.compare import bench_fit, bench_score
from performance.learner.growth import bench_growth
from performance.learner.profiling import profile_side
from performance.learner.shapes import bench_shapes
from performance.learner.together import bench_together

__all__ = [
    "Case",
    "bench_fit",
    "bench_growth",
    "bench_score",
    "bench_shapes",
    "bench_together",
    "open_case",
    "profile_side",
]
