"""The command line: quick to answer, clear about mistakes, and the same results whichever command makes them."""

import dataclasses
import json
import resource
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from support.layouts import labels, pixels, save, write_folder

from quadrat.benchmark.results.records import append_record, read_records, without_timings
from quadrat.cluster.cli.main import cli


def test_help_imports_nothing_heavy() -> None:
    heavy = ("torch", "ray", "mlflow", "numpy", "pydantic", "rich", "yaml", "optuna", "PIL")
    code = f"import sys; import quadrat.cluster.cli.main; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_answers_in_under_a_second_of_cpu_time() -> None:
    """CPU time, because how long that takes on the clock depends on what else the machine does."""
    command = [sys.executable, "-c", "from quadrat.cluster.cli.main import main; main()", "--help"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "quadrat list suites" in " ".join(done.stdout.split())
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_standard_stream_that_is_closed_is_no_number_for_another_file(closed: str, tmp_path: Path) -> None:
    code = (
        "import sys, os\nfrom quadrat.cluster import __main__ as command\nfrom quadrat.cluster.cli import main\n"
        "main.cli = lambda **_: print('out', flush=True)\ncommand.main()\n"
        "with open(sys.argv[1], 'w') as file:\n    file.write(f'{file.fileno()} {os.get_inheritable(1)}')"
    )
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} opened {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    number, is_inherited = (tmp_path / "opened").read_text().split()
    assert int(number) > 2 and is_inherited == "True"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux: /dev/full")
def test_an_output_without_space_is_said_in_a_sentence() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "quadrat.cluster", "list", "suites"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot write the output of this command: No space left on device.")


def test_every_command_has_a_help_text(quadrat: Callable[..., Result]) -> None:
    for name in cli.commands:
        result = quadrat(name, "--help")
        assert result.exit_code == 0
        assert cli.commands[name].help


def test_an_unknown_suite_names_the_known_ones(quadrat: Callable[..., Result]) -> None:
    for command in (["run"], ["show"], ["trial", "--strategy", "random", "--seed", "0"], ["data", "pack"]):
        result = quadrat(*command, "quickstrat")
        assert result.exit_code == 2
        assert result.stderr.startswith("error: expected a suite file or a shipped suite")
        assert "Did you mean quickstart?" in result.stderr


def test_what_is_neither_results_nor_a_suite_is_said_so_with_a_suggestion(quadrat: Callable[..., Result]) -> None:
    for command in ("stats", "report", "ui"):
        result = quadrat(command, "quickstrat")
        assert result.exit_code == 2
        assert result.stderr.startswith("error: quickstrat: expected a results folder with suite.json, or a suite")
        assert "Did you mean quickstart?" in result.stderr and "cityscapes" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "learner.iterations=soon"], "error: --set learner.iterations: expected a valid integer"),
        (["--set", "learner.iteration=5"], "did you mean 'iterations'?"),
        (["--set", "learner.iterations"], "--set: expected key=value such as learner.iterations=50"),
        (
            ["--strategy", "entropi"],
            "--strategy: expected a label of suite 'tiny' (random, entropy-spatial), got 'entropi'",
        ),
        (["--seed", "7"], "--seed: expected a seed of suite 'tiny' (0), got 7; add it with --set seeds=[...]"),
        (["--ray", "nowhere"], "--ray (or RAY_ADDRESS): expected host:port"),
    ],
)
def test_a_wrong_argument_of_run_is_a_clear_error(
    quadrat: Callable[..., Result], write_suite: Callable[..., Path], arguments: list[str], message: str
) -> None:
    result = quadrat("run", write_suite(), "--mlflow", "none", *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert message in result.stderr


def test_a_data_set_that_is_not_there_is_a_clear_error_before_ray_starts(
    quadrat: Callable[..., Result], write_suite: Callable[..., Path], tmp_path: Path
) -> None:
    suite = write_suite(dataset={"name": "camvid", "root": str(tmp_path / "nowhere")})
    result = quadrat("run", suite)
    assert result.exit_code == 2
    assert str(tmp_path / "nowhere") in result.stderr
    assert "starting Ray" not in result.stdout


@pytest.mark.slow
def test_list_names_what_a_suite_can_name(quadrat: Callable[..., Result]) -> None:
    expected = {
        "strategies": "entropy-feature-spatial",
        "datasets": "scenes",
        "signals": "entropy",
        "profiles": "class-histogram",
        "suites": "quickstart",
    }
    for what, name in expected.items():
        listed = quadrat("list", what).stdout
        assert name in listed and "BROKEN" not in listed


def test_data_check_reports_and_its_exit_code_tells(quadrat: Callable[..., Result], tmp_path: Path) -> None:
    result = quadrat("data", "check", "scenes", "--param", "num_train=40", "--param", "num_test=24")
    assert result.exit_code == 0
    assert "train: 40 images" in result.stdout
    assert quadrat("data", "check", "scenes", "--param", "num_train").exit_code == 2
    assert quadrat("data", "check", "camvid", "--root", tmp_path).exit_code != 0


def test_masks_of_0_and_255_are_said_by_check_show_pack_run_and_report(
    quadrat: Callable[..., Result], write_suite: Callable[..., Path], tmp_path: Path
) -> None:
    """The commonest binary encoding: 255 is void, so that any model has an mIoU of 100 %."""
    root = write_folder(tmp_path / "cells", classes=("background", "cell"), height=48, width=64)
    for path in (root / "masks").rglob("*.png"):
        save(path, labels(path.stem, 48, 64, (0, 255)))
    problem = (
        "train: every labelled pixel is 'background' (50 % are void): a model that always says 'background' has an "
    )
    line = 'write "ids": {"0": "background", "255": "cell"} in manifest.json.'
    check = quadrat("data", "check", "folder", "--root", root)
    assert check.exit_code == 1 and problem in check.stdout and line in check.stdout
    assert "problem: a single class (2)" in check.stdout
    suite = write_suite(dataset={"name": "folder", "root": str(root)}, budgets=[6])
    for command in (("show", suite), ("data", "pack", suite)):
        said = " ".join(quadrat(*command).output.split())
        assert f"! {problem}" in said and line in said
    run = quadrat("trial", suite, "--strategy", "random", "--seed", "0")
    assert run.exit_code == 0 and f"! {problem}" in run.output
    stats = quadrat("stats", "results/runs/tiny")
    assert problem in " ".join(stats.output.split())


def test_data_pack_packs_where_run_looks(quadrat: Callable[..., Result], write_suite: Callable[..., Path]) -> None:
    suite = write_suite()
    assert "train: 8 images" in quadrat("data", "pack", suite).stdout
    assert len(list(Path("results/runs/tiny/cache/packed").glob("scenes-*"))) == 2


def test_report_track_and_ui_want_a_results_folder(quadrat: Callable[..., Result], tmp_path: Path) -> None:
    for command in ("report", "track", "ui"):
        result = quadrat(command, tmp_path)
        assert result.exit_code == 2
        assert result.stderr.startswith("error: ")


def test_track_says_what_is_wrong_with_a_store_but_no_password(quadrat: Callable[..., Result], tmp_path: Path) -> None:
    from support.fake_trials import make_suite, write_suite_json

    write_suite_json(make_suite(), tmp_path)
    result = quadrat("track", tmp_path, "--mlflow", "http://me:secret@127.0.0.1:9")
    assert result.exit_code == 2
    assert "expected an MLflow store at http://127.0.0.1:9" in result.stderr
    assert "secret" not in result.stderr
    assert quadrat("track", tmp_path, "--mlflow", "none").exit_code == 2


def test_track_says_how_an_experiment_that_was_deleted_comes_back(
    quadrat: Callable[..., Result], tmp_path: Path
) -> None:
    import mlflow
    from support.fake_trials import make_suite, write_suite_json
    from support.records import RECORD

    from quadrat.benchmark.results.records import append_record

    suite = make_suite()
    write_suite_json(suite, tmp_path)
    spec = suite.trials()[0]
    append_record(tmp_path, dataclasses.replace(RECORD, trial_id=spec.trial_id, label=spec.label, seed=spec.seed))
    uri = f"sqlite:///{tmp_path}/there.db"
    assert quadrat("track", tmp_path, "--mlflow", uri).exit_code == 0
    client = mlflow.MlflowClient(uri)
    (experiment,) = client.search_experiments(filter_string=f"name = '{suite.name}'")
    client.delete_experiment(experiment.experiment_id)
    result = quadrat("track", tmp_path, "--mlflow", uri)
    assert result.exit_code == 2
    assert "deleted" in result.stderr and "mlflow experiments restore --experiment-id" in result.stderr


def test_ui_says_how_to_make_a_store_that_is_not_there(quadrat: Callable[..., Result], tmp_path: Path) -> None:
    from support.fake_trials import make_suite, write_suite_json

    write_suite_json(make_suite(), tmp_path)
    result = quadrat("ui", tmp_path)
    assert result.exit_code == 2
    assert f"`quadrat track {tmp_path}` makes it" in result.stderr


def test_doctor_looks_at_everything(quadrat: Callable[..., Result]) -> None:
    result = quadrat("doctor")
    for name in ("versions", "device", "bf16", "weights", "plugins", "ray", "mlflow", "disk", "locks"):
        assert f" {name} " in result.stdout
    assert result.exit_code == 0, result.stdout


@pytest.mark.slow
def test_a_trial_in_the_foreground_is_complete_and_is_not_run_again(
    quadrat: Callable[..., Result], write_suite: Callable[..., Path]
) -> None:
    suite = write_suite()
    first = quadrat("trial", suite, "--strategy", "random", "--seed", 0)
    assert first.exit_code == 0, first.output
    assert "1 of 1 trials complete in results/runs/tiny" in first.stdout
    folder = Path("results/runs/tiny")
    before = (folder / "records.jsonl").read_bytes()
    assert [record.round for record in read_records(folder)] == [0, 1, 2]
    again = quadrat("trial", suite, "--strategy", "random", "--seed", 0)
    assert "1 of 1 trials are complete" in again.stdout
    assert (folder / "records.jsonl").read_bytes() == before


@pytest.mark.slow
@pytest.mark.cluster
def test_a_suite_on_ray_equals_its_trials_in_the_foreground(
    write_suite: Callable[..., Path], quadrat: Callable[..., Result], tmp_path: Path
) -> None:
    """The whole story: Ray, records, report, MLflow; in a process of its own, as a user calls it."""
    suite = write_suite()
    command = [sys.executable, "-c", "from quadrat.cluster.cli.main import main; main()", "run", str(suite)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2 trials complete in results/runs/tiny" in done.stdout
    assert f"report    {(tmp_path / 'results/runs/tiny/report/index.html').as_uri()}" in done.stdout
    assert "too few to test" in done.stdout  # the page's first sentence
    assert "MLflow    quadrat ui results/runs/tiny" in done.stdout
    folder = tmp_path / "results/runs/tiny"
    assert (folder / "report/index.html").is_file()
    for label in ("random", "entropy-spatial"):
        assert quadrat("trial", suite, "--strategy", label, "--seed", 0, "--results", "here").exit_code == 0
    there, here = ([without_timings(record) for record in read_records(path)] for path in (folder, tmp_path / "here"))
    assert there == here
    assert quadrat("track", folder).stdout.startswith("2 trials logged in sqlite:///")
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    assert len(runs) == 5, "two trials, two strategies above them, and the run that holds the report"


@pytest.mark.slow
def test_a_store_that_was_lost_brings_back_the_same_records(
    quadrat: Callable[..., Result], write_suite: Callable[..., Path]
) -> None:
    suite = write_suite()
    arguments = ("trial", suite, "--strategy", "entropy-spatial", "--seed", 0)
    assert quadrat(*arguments).exit_code == 0
    folder = Path("results/runs/tiny")
    records = read_records(folder)
    shutil.rmtree(folder / "store")
    (folder / "records.jsonl").unlink()
    append_record(folder, records[0])
    assert quadrat(*arguments).exit_code == 0
    assert [without_timings(record) for record in read_records(folder)] == [without_timings(r) for r in records]
    assert json.loads((folder / "suite.json").read_text())["suite"]["name"] == "tiny"


def test_data_init_describes_a_folder_so_that_it_can_be_checked_and_shown(
    quadrat: Callable[..., Result], tmp_path: Path
) -> None:
    for split in ("train", "test"):
        for number in range(3):
            save(tmp_path / "own" / split / f"{split}{number}.jpg", pixels(f"{split}{number}", 64, 64))
            save(tmp_path / "own" / f"{split}annot" / f"{split}{number}.png", labels(str(number), 64, 64, (0, 1, 255)))
    result = quadrat("data", "init", "own")
    assert result.exit_code == 0, result.output
    assert "assumed: images are {split}/{id}.jpg, masks are {split}annot/{id}.png." in result.output
    assert "quadrat data check folder --root own" in result.output
    assert quadrat("data", "check", "folder", "--root", "own").output.endswith("no problems\n")
    shown = quadrat("show", "own/own.yaml")
    assert shown.exit_code == 0 and "own" in shown.output, shown.output
    again = quadrat("data", "init", "own")
    assert again.exit_code == 1 and "own has manifest.json and own.yaml. Remove it, or overwrite" in again.output
    assert quadrat("data", "init", "own", "--force", "--name", "mine").exit_code == 0
    outside = quadrat("data", "init", "own", "--force", "--name", "../outside")
    assert outside.exit_code == 1 and "--name: expected letters" in outside.output
    assert not (tmp_path / "outside.yaml").exists()


def test_data_init_overwrites_no_list_of_images_that_is_there(quadrat: Callable[..., Result], tmp_path: Path) -> None:
    for number in range(6):
        save(tmp_path / "own" / "images" / f"a{number}.jpg", pixels(str(number), 64, 64))
        save(tmp_path / "own" / "masks" / f"a{number}.png", labels(str(number), 64, 64, (0, 1, 255)))
    (tmp_path / "own" / "train.txt").write_text("my own")
    result = quadrat("data", "init", "own")
    assert result.exit_code == 1 and "own has train.txt" in result.output
    assert (tmp_path / "own" / "train.txt").read_text() == "my own"
    assert not (tmp_path / "own" / "manifest.json").exists()
