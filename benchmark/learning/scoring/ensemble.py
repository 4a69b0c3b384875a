"""Ensembles: networks of one recipe, trained on the same labels from other seeds.

The member with number 0 is the network of the round itself. The others differ in their random initial weights, the
order and augmentation of their batches, and their dropout masks; initial weights that come from a file are the same.

[Beluch2018]  Beluch, Genewein, Nuernberger, Koehler. The power of ensembles for active learning in image
              classification. CVPR 2018.
"""

from typing import Final

from quadrat.benchmark.seeds import torch_seed

__all__ = ["NUM_MEMBERS", "member_seed"]

NUM_MEMBERS: Final = 5
"""Members of an ensemble, the round's own network among them, as in [Beluch2018]."""


def member_seed(seed: int, member: int) -> int:
    """Return the seed that a member is trained with; that of the trial itself for member 0.

    Args:
        seed: The trial's seed.
        member: Number of the member, counted from 0.
    """
    return seed if member == 0 else torch_seed(seed, "ensemble", member)
