"""Fault injection: hit quadrat repeatedly, run the same command again, compare with a run that nobody disturbed.

    cd tests && python -m support.chaos                      # 100 kills over all stories
    cd tests && python -m support.chaos --kills 1000 --out ../results/chaos
    cd tests && python -m support.chaos --story trial --story report --kills 20

Exit code 1 when anything is lost, doubled, different, left over or ended wrongly. With --out, counts are written after
every scenario: the same command goes on after an interruption, and with more --kills it adds to them. A story in which
something went wrong is not gone on with: remove its file to run it from its beginning.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from quadrat.benchmark.storage.atomic import atomic_write
from support.chaos import forked, nodes, on_ray
from support.chaos.check import KINDS
from support.chaos.forked_run import HungError
from support.chaos.tally import Tally, table


class _Story(NamedTuple):
    title: str
    run: Callable[[Path, Tally, int, random.Random], None]
    share: int
    """Kills (bad nodes, late nodes) out of about a hundred."""


STORIES: Mapping[str, _Story] = {
    "trial": _Story("`quadrat trial`, results in a folder", forked.trials, 38),
    "shapes": _Story("`quadrat trial` on superpixels, dominant and multi-class labels, an ensemble", forked.shapes, 6),
    "file-url": _Story("`quadrat trial`, results on `file://`", forked.trials_on_files, 10),
    "s3": _Story("`quadrat trial`, results on S3", forked.trials_on_s3, 10),
    "suspend": _Story("machine suspended, another takes over (S3)", forked.pauses, 5),
    "partition": _Story("machine cut off the network, another takes over (S3)", forked.partitions, 5),
    "report": _Story("`quadrat report`", forked.reports, 8),
    "track": _Story("`quadrat track`: MLflow's store is made and filled", forked.tracks, 8),
    "cluster": _Story("`quadrat run` on a cluster of two nodes", on_ray.clusters, 4),
    "own-ray": _Story("`quadrat run` with a Ray of its own, MLflow and report", on_ray.own_rays, 4),
    "study": _Story("`quadrat study`", on_ray.studies, 2),
    "bad-node": _Story("`quadrat run` on a cluster with a node on which all trials fail", nodes.bad_nodes, 2),
    "late-node": _Story("`quadrat run` whose only node is lost and whose next one comes late", nodes.late_nodes, 2),
}


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100, help="kills of all stories together (default 100)")
    parser.add_argument("--story", action="append", choices=STORIES, help="only this story (repeatable); default: all")
    parser.add_argument("--seed", type=int, default=0, help="of the places that are drawn (default 0)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write the table and a file for each story here")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where to work; default: a folder that is removed")
    options = parser.parse_args()
    # Imported before the forks; nothing of it may compute here: threads of torch do not survive a fork.
    from quadrat.benchmark.learning import learner  # noqa: F401
    from quadrat.cluster.runner import driver, engine  # noqa: F401

    stories = {name: STORIES[name] for name in options.story or STORIES}
    shares = sum(story.share for story in stories.values())
    rows, start_s = [], time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chaos-") as scratch:
        for name, story in stories.items():
            kept = options.out / f"{name}.json" if options.out else None
            before = json.loads(kept.read_text(encoding="utf-8")) if kept is not None and kept.is_file() else None
            number = max(1, round(options.kills * story.share / shares))
            if before is not None and (before["kills"] >= number or any(before[kind] for kind in KINDS)):
                rows.append(before)
                continue
            tally = Tally(story.title, _say, before, partial(_write, kept))
            _say(f"\n{name}: {number} kills" + (f", {tally.num_kills} of them before" if tally.num_kills else ""))
            work = (options.keep.absolute() if options.keep else Path(scratch)) / name
            shutil.rmtree(work, ignore_errors=True)  # of a scenario that was interrupted
            work.mkdir(parents=True)
            try:
                story.run(work, tally, number, random.Random(f"{name} {options.seed} {tally.num_kills or ''}".rstrip()))
            except HungError as error:
                tally.hang(str(error))
            for fault in tally.faults:
                _say(f"FAULT {fault.kind}: {fault.text}")
            rows.append(tally.row())
    text = table(rows)
    _say(f"\n{text}\n{time.monotonic() - start_s:.0f} s")
    if options.out:
        atomic_write(options.out / "table.md", f"{text}\n".encode())
    return 1 if any(row[kind] for row in rows for kind in KINDS) else 0


def _write(path: Path | None, row: dict[str, object]) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, (json.dumps(row, indent=1) + "\n").encode())


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
