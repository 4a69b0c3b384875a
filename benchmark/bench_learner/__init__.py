"""Our learner against the plain way that a user would write it, in the same run."""

from quadrat.benchmark.bench_learner.case import Case, open_case
from quadrat.benchmark.bench_learner.compare import bench_fit, bench_score
from quadrat.benchmark.bench_learner.growth import bench_growth
from quadrat.benchmark.bench_learner.together import bench_together

__all__ = ["Case", "bench_fit", "bench_growth", "bench_score", "bench_together", "open_case"]
