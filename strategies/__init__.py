"""Public API of strategies: use one, or write one. Imports neither torch nor faiss nor optuna."""

from quadrat.strategies.base import Space, Strategy, lazy_space
from quadrat.strategies.errors import PluginError, QuadratError, StrategyError
from quadrat.strategies.oracle_strategies import OracleStrategy, Truth
from quadrat.strategies.pool import Needs, Pool, Selection
from quadrat.strategies.registry import Plugin, Registry, available, load, sees_labels
from quadrat.strategies.validation import check_choice, check_count, check_number, check_signal

__all__ = [
    "Needs",
    "OracleStrategy",
    "Plugin",
    "PluginError",
    "Pool",
    "QuadratError",
    "Registry",
    "Selection",
    "Space",
    "Strategy",
    "StrategyError",
    "Truth",
    "available",
    "check_choice",
    "check_count",
    "check_number",
    "check_signal",
    "lazy_space",
    "load",
    "sees_labels",
]
