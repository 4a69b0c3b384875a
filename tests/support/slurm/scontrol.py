"""Stand-in for `scontrol requeue JOB`: notes it in the file `requeued` of the working directory."""

import os
import sys
from pathlib import Path

__all__: list[str] = []

if __name__ == "__main__":
    if sys.argv[1:] != ["requeue", os.environ["SLURM_JOB_ID"]]:
        raise SystemExit(f"scontrol (stand-in): unknown arguments {sys.argv[1:]}")
    with Path("requeued").open("a") as file:
        file.write(f"{sys.argv[2]}\n")
