"""Every shipped strategy passes StrategyContract."""

from quadrat.strategies import available
from quadrat.strategies.testing import StrategyContract

# precomputed needs a selection to replay: tests/strategies/test_replay.py
ELSEWHERE = {"precomputed"}


class TestRandom(StrategyContract):
    name = "random"
    draws = True


class TestEntropy(StrategyContract):
    name = "entropy"


class TestEntropyOfAnotherSignal(StrategyContract):
    name = "entropy"
    params = {"uncertainty": "margin"}  # noqa: RUF012


class TestEntropyRandom(StrategyContract):
    name = "entropy-random"
    draws = True


class TestMargin(StrategyContract):
    name = "margin"


class TestBvsb(StrategyContract):
    name = "bvsb"


class TestLeastConfidence(StrategyContract):
    name = "least-confidence"


class TestMcEntropy(StrategyContract):
    name = "mc-entropy"


class TestBald(StrategyContract):
    name = "bald"


class TestVoteEntropy(StrategyContract):
    name = "vote-entropy"


class TestEnsembleEntropy(StrategyContract):
    name = "ensemble-entropy"


class TestPowerEntropy(StrategyContract):
    name = "power-entropy"
    params = {"beta": 0.25}  # noqa: RUF012 - at 1, a region of low entropy is too rare for forty draws
    draws = True


class TestClassBalanced(StrategyContract):
    name = "class-balanced"


class TestBvsbClassBalanced(StrategyContract):
    name = "bvsb-class-balanced"


class TestClaspPe(StrategyContract):
    name = "clasp-pe"
    params = {"beta_first": 0.25, "last_share": 1.0}  # noqa: RUF012 - less noise makes some regions too rare
    draws = True


class TestPixelBalanced(StrategyContract):
    name = "pixel-balanced"


class TestRipu(StrategyContract):
    name = "ripu"


class TestNmsEntropy(StrategyContract):
    name = "nms-entropy"


class TestKMeansPlusPlus(StrategyContract):
    name = "k-means-plus-plus"
    draws = True


class TestKMeansPlusPlusOnTheMostUncertain(StrategyContract):
    name = "k-means-plus-plus"
    params = {"uncertainty": "entropy"}  # noqa: RUF012
    draws = True


class TestBadge(StrategyContract):
    name = "badge"
    draws = True


class TestTypiClust(StrategyContract):
    name = "typiclust"
    draws = True


class TestClue(StrategyContract):
    name = "clue"
    draws = True


class TestProbCover(StrategyContract):
    name = "prob-cover"
    params = {"purity": 0.0}  # noqa: RUF012 - large balls: the first cover the pool, so that every region can be drawn
    draws = True


class TestProbCoverOfOneRadius(StrategyContract):
    name = "prob-cover"
    params = {"radius": 1.3}  # noqa: RUF012
    draws = True


class TestMaxHerding(StrategyContract):
    name = "max-herding"


class TestScorePerClick(StrategyContract):
    name = "score-per-click"


class TestClassAwareRandom(StrategyContract):
    name = "class-aware-random"
    draws = True


class TestOracleError(StrategyContract):
    name = "oracle-error"


class TestCoreSet(StrategyContract):
    name = "core-set"


class TestFeatureSpatial(StrategyContract):
    name = "feature-spatial"


class TestEntropyFeature(StrategyContract):
    name = "entropy-feature"


class TestEntropySpatial(StrategyContract):
    name = "entropy-spatial"


class TestEntropyFeatureSpatial(StrategyContract):
    name = "entropy-feature-spatial"


class TestMaxSum(StrategyContract):
    name = "entropy-feature-spatial"
    params = {"set_function": "max-sum"}  # noqa: RUF012


class TestNeighboursThatShareABorder(StrategyContract):
    name = "entropy-spatial"
    params = {"distance": "adjacency"}  # noqa: RUF012


class TestFeaturesAndNeighboursThatShareABorder(StrategyContract):
    name = "entropy-feature-spatial"
    params = {"distance": "adjacency"}  # noqa: RUF012


class TestLinearDistanceNormalisedAtEveryStep(StrategyContract):
    name = "entropy-feature-spatial"
    params = {"distance": "linear", "norm_schedule": "step"}  # noqa: RUF012


def test_no_shipped_strategy_is_left_out() -> None:
    shipped = {name for name, plugin in available().items() if plugin.distribution == "quadrat"}
    tested = {contract.name for contract in StrategyContract.__subclasses__()}
    assert shipped <= tested | ELSEWHERE
