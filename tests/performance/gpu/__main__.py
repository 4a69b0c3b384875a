"""`python -m performance.gpu --out DIR`: run the stages that have no file there yet, then print the table.

Every stage is a process of its own with a limit of seconds, and leaves one JSON file: command, commit, card, versions,
result. The same command goes on where it was stopped. Exit code 1 where a stage failed or an aim is missed. `--device
cpu` tries the stages themselves on a machine without a GPU.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

from performance.gpu.running import about_machine, is_done, read_ahead, run_stage
from performance.gpu.stages import Options, stages
from performance.gpu.table import rows, write_table


def main() -> int:
    """Run what is not there yet, and say what was reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the files")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--suite", default="camvid")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    for name in ("images", "score_images", "iterations", "repeats"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(Options(), name))
    parser.add_argument("--results", default=Options().results, help="folder of the records of stage trials")
    parser.add_argument("--seconds", type=float, default=Options().seconds, help="length of stage trials")
    parser.add_argument("--stage", dest="names", action="append", help="only this stage (repeatable)")
    options = vars(parser.parse_args())
    folder, names = options.pop("out"), options.pop("names")
    folder.mkdir(parents=True, exist_ok=True)
    if options["device"] == "cuda":
        print(f"libraries: {read_ahead() / 2**30:.1f} GiB read", flush=True)
    about, num_failed = about_machine(), 0
    if options["device"] == "cpu":
        os.environ["TRITON_INTERPRET"] = "1"  # the kernels of a selection are interpreted
    for stage in stages(Options(**{**options, "settings": tuple(options["settings"])})):
        if names and stage.name not in names:
            continue
        if is_done(folder / f"{stage.name}.json"):
            print(f"{stage.name}: there", flush=True)
            continue
        print(f"{stage.name}: at most {stage.limit_s:.0f} s", flush=True)
        begin = time.monotonic()
        num_failed += not run_stage(stage, folder, about)
        print(f"  {time.monotonic() - begin:.0f} s", flush=True)
    files = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")}
    found = list(rows({name: file["result"] for name, file in files.items()}))
    table = write_table(found, about)
    (folder / "table.md").write_text(table, encoding="utf-8")
    print(f"\n{table}", end="")
    return 1 if num_failed or not all(row.is_met for row in found if row.bound is not None) else 0


if __name__ == "__main__":
    sys.exit(main())
