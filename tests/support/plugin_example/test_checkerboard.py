from quadrat.strategies.testing import StrategyContract


class TestCheckerboard(StrategyContract):
    name = "checkerboard"
