"""Random generators by name, so that a draw depends on what it may depend on and on nothing else."""

import hashlib
import json

import numpy as np

__all__ = ["rng", "torch_seed"]


def _seed_bits(seed: int, names: tuple[str | int, ...]) -> int:
    payload = json.dumps([seed, *names], separators=(",", ":"), ensure_ascii=True)
    return int.from_bytes(hashlib.blake2b(payload.encode(), digest_size=16).digest(), "little")


def rng(seed: int, *names: str | int) -> np.random.Generator:
    """Return the generator that belongs to `names` under `seed`.

    The name is hashed, not added: `rng(0, "fit", 1)` and `rng(1, "fit", 0)` have nothing in common, while
    `seed + round` would make them equal. A name that leaves out the strategy is shared by all strategies of a seed.

    Args:
        seed: The trial's seed.
        *names: What the draw is for, from coarse to fine, e.g. `"fit", 3, 120` for batch 120 of round 3.

    Examples:
        >>> rng(0, "initial-labels").integers(1000) == rng(0, "initial-labels").integers(1000)
        np.True_
        >>> rng(0, "fit", 1).integers(2**60) == rng(1, "fit", 0).integers(2**60)
        np.False_
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(_seed_bits(seed, names))))


def torch_seed(seed: int, *names: str | int) -> int:
    """Return the seed, below 2**63, with which a torch generator for `names` under `seed` is started."""
    return _seed_bits(seed, names) % 2**63
