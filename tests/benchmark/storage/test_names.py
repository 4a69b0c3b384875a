"""Names from outside stay below the folder that they are meant for."""

from collections.abc import Callable
from pathlib import Path

import boto3
import pytest
from click.testing import CliRunner

from quadrat.benchmark.errors import ResultsError
from quadrat.benchmark.storage.names import check_name, is_name, is_part
from quadrat.benchmark.storage.remote import Remote
from quadrat.cluster.cli.main import cli

OUTSIDE = ("../evil", "a/../../evil", "a/..", "/etc/evil", "a//b", "./a", "a/", "", "a\\b", "a\0b", "a\nb", "x" * 256)


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_leaves_its_folder_is_refused(name: str) -> None:
    assert not is_name(name)
    with pytest.raises(ResultsError, match="expected names of files below s3://b/r"):
        check_name(name, "s3://b/r")


@pytest.mark.parametrize("name", ["records.jsonl", "store/fit/0a/artefact.json", "a b/ü.txt", "..a/b..", "x" * 255])
def test_a_name_below_its_folder_is_taken(name: str) -> None:
    assert check_name(name, "") == name


def test_a_part_has_no_slash() -> None:
    assert is_part("random-r8-s0-0123456789ab") and not is_part("a/b")


@pytest.mark.parametrize("key", ["selections/../../../evil", "selections//evil", "selections/a\\..\\evil"])
def test_a_key_of_a_bucket_writes_nothing_outside_the_working_folder(
    server: str, tmp_path: Path, machine: Callable[[str], None], key: str
) -> None:
    machine("mine")
    root = tmp_path.name
    boto3.client("s3").put_object(Bucket="results", Key=f"{root}/{key}", Body=b"evil")
    result = CliRunner().invoke(cli, ["report", f"s3://results/{root}"])
    assert (
        result.exit_code == 2 and "expected names of files below" in result.stderr and "Traceback" not in result.stderr
    )
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.read_bytes() == b"evil"] == []


@pytest.mark.parametrize("operation", ["read", "has", "delete"])
def test_no_operation_takes_a_name_outside(tmp_path: Path, operation: str) -> None:
    (tmp_path / "secret").write_text("secret")
    with pytest.raises(ResultsError, match="expected names"):
        getattr(Remote(f"file://{tmp_path}/there"), operation)("../secret")
    assert (tmp_path / "secret").is_file()
