from __future__ import annotations

import errno
from pathlib import Path

import pytest

from fedstrata.data.find_sources import find, find_sites
from fedstrata.errors import DataError


def _touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def test_a_format_is_known_by_its_suffix(tmp_path: Path) -> None:
    _touch(tmp_path, "a.parquet", "b.CSV", "c.tsv", "d.jsonl")
    formats = [find(name, tmp_path)[0].format for name in ("a.parquet", "b.CSV", "c.tsv", "d.jsonl")]
    assert formats == ["parquet", "csv", "csv", "json"]


def test_a_glob_names_its_files_in_order(tmp_path: Path) -> None:
    _touch(tmp_path, "d/b.csv", "d/a.csv", "d/notes.txt")
    assert [s.path.name for s in find("d/*", tmp_path)] == ["a.csv", "b.csv"]


def test_an_absolute_glob_works(tmp_path: Path) -> None:
    _touch(tmp_path, "d/b.csv")
    assert [s.path.name for s in find(str(tmp_path / "**" / "*.csv"), Path("elsewhere"))] == ["b.csv"]


def test_a_folder_of_class_folders_is_an_image_folder(tmp_path: Path) -> None:
    _touch(tmp_path, "pets/cat/2.png", "pets/cat/1.PNG", "pets/dog/1.jpg", "pets/dog/readme.md")
    (source,) = find("pets", tmp_path)
    assert source.format == "imagefolder"
    assert [str(p.relative_to(source.path)) for p in source.images] == ["cat/1.PNG", "cat/2.png", "dog/1.jpg"]


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    _touch(tmp_path, "data/train.parquet", "data/test.parquet")
    with pytest.raises(DataError, match=r"'data/trian.parquet' does not exist.*did you mean 'train.parquet'"):
        find("data/trian.parquet", tmp_path)


def test_a_missing_folder_names_the_nearest(tmp_path: Path) -> None:
    _touch(tmp_path, "hospital/train.parquet")
    with pytest.raises(DataError, match=r"did you mean 'hospital'"):
        find("hospitl/train.parquet", tmp_path)


def test_a_glob_without_match_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no data file matches '\*.csv'"):
        find("*.csv", tmp_path)


def test_an_unknown_suffix_is_an_error(tmp_path: Path) -> None:
    _touch(tmp_path, "rows.xlsx")
    with pytest.raises(DataError, match=r"rows.xlsx: unknown format; known: .parquet"):
        find("rows.xlsx", tmp_path)


def test_a_folder_without_data_is_an_error(tmp_path: Path) -> None:
    _touch(tmp_path, "d/notes.txt")
    with pytest.raises(DataError, match=r"d/ holds neither data files"):
        find("d", tmp_path)


def test_a_folder_of_splits_is_not_taken_for_labels(tmp_path: Path) -> None:
    _touch(tmp_path, "pets/train/cat/1.png", "pets/test/cat/2.png")
    with pytest.raises(DataError, match=r"pets/ holds splits, not labels; .*'pets/train'"):
        find("pets", tmp_path)


def test_each_subfolder_is_a_site(tmp_path: Path) -> None:
    _touch(tmp_path, "sites/b/train.csv", "sites/b/test.csv", "sites/a/rows.parquet", "sites/c/cat/1.png")
    found = [(s.site, s.path.name, s.format) for s in find_sites("sites", tmp_path)]
    assert found == [("a", "rows.parquet", "parquet"), ("b", "train.csv", "csv"), ("c", "c", "imagefolder")]


def test_a_glob_of_files_takes_sites_from_their_folders(tmp_path: Path) -> None:
    _touch(tmp_path, "sites/b/train.csv", "sites/a/train.csv")
    assert [s.site for s in find_sites("sites/*/train.csv", tmp_path)] == ["a", "b"]


def test_a_folder_of_files_takes_sites_from_their_names(tmp_path: Path) -> None:
    _touch(tmp_path, "sites/berlin.csv", "sites/paris.csv")
    assert [s.site for s in find_sites("sites", tmp_path)] == ["berlin", "paris"]


def test_a_site_with_test_rows_only_is_an_error(tmp_path: Path) -> None:
    _touch(tmp_path, "sites/a/test.csv", "sites/a/rows.csv")
    with pytest.raises(DataError, match=r"site a/ has test rows but no 'train' file"):
        find_sites("sites", tmp_path)


def test_a_site_that_occurs_twice_is_an_error(tmp_path: Path) -> None:
    _touch(tmp_path, "x/a/train.csv", "y/a/train.csv")
    with pytest.raises(DataError, match=r"site 'a' occurs twice"):
        find_sites("*/a/train.csv", tmp_path)


def test_a_fingerprint_follows_the_content(tmp_path: Path) -> None:
    _touch(tmp_path, "a.csv", "b.csv", "c.csv")
    (tmp_path / "c.csv").write_bytes(b"y")
    a, b, c = (find(name, tmp_path)[0].fingerprint() for name in ("a.csv", "b.csv", "c.csv"))
    assert a == b != c


def test_a_glob_that_matches_one_site_names_it_after_its_folder(tmp_path: Path) -> None:
    _touch(tmp_path, "sites/a/train.csv")
    assert [s.site for s in find_sites("sites/*/train.csv", tmp_path)] == ["a"]


@pytest.mark.parametrize("pattern", ["x" * 300, "x" * 300 + "/*.csv", "x/" * 3000 + "a.csv"])
def test_a_path_that_no_file_can_have_is_an_error(tmp_path: Path, pattern: str) -> None:
    for search in (find, find_sites):
        with pytest.raises(DataError, match=r"bytes; (255|4095) at most"):
            search(pattern, tmp_path)


def test_a_glob_that_is_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'a\*\*\.csv' is no pattern"):
        find("a**.csv", tmp_path)


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "rows").mkdir()
    monkeypatch.setattr(Path, "iterdir", refuse)
    for search in (find, find_sites):
        with pytest.raises(DataError, match="rows/ cannot be listed: Permission denied"):
            search("rows", tmp_path)


def test_rows_in_a_folder_that_may_not_be_entered_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exists(path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "exists", exists)
        with pytest.raises(
            DataError, match=r"'of/others/rows.csv' cannot be reached: Permission denied; have its owner"
        ):
            find("of/others/rows.csv", tmp_path)
