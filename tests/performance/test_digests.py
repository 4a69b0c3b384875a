"""What `make bench ARGS=digests` compares."""

from pathlib import Path

from performance.digests import bench_digests, read_file


def test_both_sides_read_the_whole_file_and_every_pair_has_a_ratio(tmp_path: Path) -> None:
    found = bench_digests(tmp_path, mib=16, repeats=2)
    assert read_file(tmp_path / "data.bin") == 16 * 2**20
    assert [row["from"] for row in found["rows"]] == ["page cache", "disk"]
    assert all(len(row["ratios"]) == 2 and row["ratio"] > 0 for row in found["rows"])
