"""What one trial may use of a machine, and how many trials a machine holds."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, field_validator

__all__ = ["Resources"]


class Resources(BaseModel):
    """What one trial may use; none of it is part of a trial's identity.

    Attributes:
        cpus: Cores of one trial and number of torch threads. Byte-equal records need the same number.
        gpus: GPUs of one trial, at most 1; 0.25 lets four trials share one.
        device: `auto` is CUDA when the trial has a GPU, else the CPU.
        max_in_flight: Trials at a time; by default as many as the cluster's CPUs and GPUs hold.
        retries: How often a trial that failed on its own is tried again before it is recorded as failed.
        keep: `light` drops what no later step needs (scores, weights of inner rounds); `all` keeps everything.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpus: PositiveInt = 1
    gpus: float = Field(default=0, ge=0)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    max_in_flight: PositiveInt | None = None
    retries: int = Field(default=1, ge=0)
    keep: Literal["light", "all"] = "light"

    @field_validator("gpus")
    @classmethod
    def _at_most_one(cls, gpus: float) -> float:
        if gpus > 1:
            raise ValueError(f"0 to 1, since a trial trains on one GPU ({gpus:g} would leave others idle)")
        return gpus

    def slots(self, *, num_cpus: float | None, num_gpus: float) -> int:
        """Return how many trials a machine holds at a time.

        A GPU is shared by whole fractions only: three trials of 0.4 do not fit on one, and 1.5 GPUs are one device.

        Args:
            num_cpus: Its cores; None, for trials with a GPU: enough of them.
            num_gpus: Its GPUs; not looked at when a trial needs none.

        Examples:
            >>> Resources(gpus=0.4).slots(num_cpus=16, num_gpus=2), Resources(cpus=4).slots(num_cpus=18, num_gpus=0)
            (4, 4)
        """
        by_gpu = int(num_gpus) * int(1 / self.gpus + 1e-9) if self.gpus else None
        by_cpu = None if num_cpus is None else int(num_cpus // self.cpus)
        return min(number for number in (by_cpu, by_gpu) if number is not None)
