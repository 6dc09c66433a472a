"""The sites of a run: whose keys count, and what the run folder says of each."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fedstrata.config.load import Loaded, load_config
from fedstrata.deploy.flower.keys import make_site_key, read_public_key
from fedstrata.deploy.flower.sites import SiteBook, name_of, roster
from fedstrata.domain.ids import ClientId, LayerName
from fedstrata.engines.flower.envelope import Envelope
from fedstrata.engines.flower.traffic import Exchange
from fedstrata.errors import CheckpointError, ConfigError, StorageError
from flower_grid import FakeGrid, FakeNode

CONFIG = """\
model: {path: embedded:vit-digits}
data: {kind: digits, partition: {kind: iid, clients: 2}}
selector: top
budget: {kind: fixed, layers: 1}
engine: flower
flower:
  sites: """
A, B = ClientId("a"), ClientId("b")
Load = Callable[[object], Loaded]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Read a configuration whose key ``flower.sites`` has a value."""

    def read(sites: object) -> Loaded:
        (tmp_path / "run.yaml").write_text(
            CONFIG + yaml.safe_dump(sites, default_flow_style=True).removesuffix("...\n")
        )
        return load_config(tmp_path / "run.yaml")

    return read


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A folder with the public keys of two sites."""
    for name in ("A", "b"):
        make_site_key(tmp_path / "keys" / name)
        (tmp_path / "keys" / name).unlink()
    return tmp_path / "keys"


def silent(envelope: Envelope) -> Envelope:
    raise AssertionError("nobody is asked anything")


def check(loaded: Loaded, keys: Path) -> None:
    """The configuration's sites are those of the keys in a folder."""
    found = roster(loaded)
    found.refresh(
        FakeGrid({number: FakeNode(read_public_key(keys / f"{n}.pub"), silent) for number, n in enumerate("Ab")})
    )
    assert (found.names, found.strangers) == ((A, B), frozenset())
    assert [node.id for name in found.names if (node := found.node(name))] == [0, 1]


def refused(loaded: Loaded) -> str:
    with pytest.raises(ConfigError) as error:
        roster(loaded)
    lines = str(error.value).splitlines()
    assert len(lines) == 1
    assert ".yaml:7:3: flower.sites: " in lines[0]
    return lines[0].split("flower.sites: ", 1)[1]


def test_a_folder_names_its_sites_by_its_files(load: Load, keys: Path) -> None:
    (keys / "README.txt").touch()
    check(load("keys"), keys)


def test_a_mapping_names_its_sites_and_their_files(load: Load, keys: Path) -> None:
    check(load({"A": "keys/A.pub", "b": str(keys / "b.pub")}), keys)


def test_a_key_may_stand_in_the_configuration_itself(load: Load, keys: Path) -> None:
    check(load({"A": (keys / "A.pub").read_text().strip(), "b": "keys/b.pub"}), keys)


def test_paths_begin_at_the_users_home_where_they_say_so(
    load: Load, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(keys.parent))
    check(load("~/keys"), keys)
    check(load({"a": "~/keys/A.pub", "b": "~/keys/b.pub"}), keys)


def test_a_folder_that_is_not_there_is_an_error_at_its_key(load: Load, tmp_path: Path) -> None:
    said = refused(load("keys"))
    assert said == f"{tmp_path / 'keys'} is no folder; make it and copy each site's public key NAME.pub there"


def test_a_file_in_the_place_of_the_folder_is_an_error(load: Load, keys: Path) -> None:
    assert "A.pub is no folder" in refused(load("keys/A.pub"))


def test_a_folder_without_keys_is_an_error(load: Load, tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    assert "holds no public key NAME.pub" in refused(load("keys"))


def test_one_key_of_two_sites_is_an_error_that_names_both(load: Load, keys: Path) -> None:
    (keys / "c.pub").write_bytes((keys / "A.pub").read_bytes())
    assert refused(load("keys")) == "a and c have the same key; each site needs one of its own"


def test_two_files_of_one_site_are_an_error(load: Load, keys: Path) -> None:
    make_site_key(keys / "B")
    assert "'B' and 'b' would be the same site, 'b'; rename one" in refused(load("keys"))


def test_a_file_whose_name_is_no_site_is_an_error(load: Load, keys: Path) -> None:
    (keys / "st mary.pub").write_bytes((keys / "A.pub").read_bytes())
    assert "'st mary' is no name of a site" in refused(load("keys"))


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda file: file.unlink(), "cannot be read: No such file or directory"),
        (lambda file: (file.unlink(), file.mkdir()), "cannot be read: Is a directory"),
        (lambda file: file.write_bytes(b"\xff\x00"), "is no public key of a site"),
        (lambda file: file.write_bytes(other_kind()), "is a key of another kind than Flower takes"),
    ],
)
def test_a_key_that_cannot_be_used_is_an_error_with_its_file(
    load: Load, keys: Path, spoil: Callable[[Path], object], why: str
) -> None:
    spoil(keys / "b.pub")
    assert f"{keys / 'b.pub'} {why}" in refused(load({"a": "keys/A.pub", "b": "keys/b.pub"}))


def test_a_bad_key_in_the_configuration_is_an_error_with_its_name(load: Load, keys: Path) -> None:
    assert "b is no public key of a site" in refused(load({"a": "keys/A.pub", "b": "ecdsa-sha2-nistp384 AAAA"}))


def other_kind() -> bytes:
    return ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)


def exchange(
    client: ClientId = A, phase: str = "train", *, outcome: str = "ok", down: int = 10, up: int = 1
) -> Exchange:
    return Exchange(client, phase, 3, (LayerName("h.0"),), down, up, 0.51234, 0.25, outcome)


def wire(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "wire.jsonl").read_text().splitlines()]


def sites(folder: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads((folder / "status.json").read_text())["sites"]
    return found


def test_every_exchange_is_a_line_with_everything_that_is_known_of_it(tmp_path: Path) -> None:
    book = SiteBook(folder=tmp_path)
    for outcome in ("ok", "missing", "Flower reports error 5: gone"):
        book(exchange(outcome=outcome))
    assert [line["outcome"] for line in wire(tmp_path)] == ["ok", "missing", "Flower reports error 5: gone"]
    line = wire(tmp_path)[0]
    assert line.pop("at") > 1.7e9, "seconds since 1970"
    assert line == {
        "client": "a",
        "phase": "train",
        "round": 3,
        "layers_down": ["h.0"],
        "bytes_down": 10,
        "bytes_up": 1,
        "seconds": 0.51234,
        "seconds_work": 0.25,
        "outcome": "ok",
    }


def test_what_was_noted_before_there_was_a_folder_is_written_when_there_is_one(tmp_path: Path) -> None:
    book = SiteBook()
    book(exchange(phase="join"))
    book.write()
    assert list(tmp_path.iterdir()) == []
    book.folder = tmp_path
    book(exchange(B))
    book.write()
    assert [(line["client"], line["phase"]) for line in wire(tmp_path)] == [("a", "join"), ("b", "train")]
    assert list(sites(tmp_path)) == ["a", "b"]


def test_a_run_that_goes_on_adds_to_the_lines_that_are_there(tmp_path: Path) -> None:
    for _ in range(2):
        SiteBook(folder=tmp_path)(exchange())
    assert len(wire(tmp_path)) == 2


def test_the_state_of_a_site_counts_its_bytes_and_keeps_its_last_good_and_bad_moment(tmp_path: Path) -> None:
    book = SiteBook(folder=tmp_path)
    book(exchange(phase="probe"))
    book(exchange(outcome="missing", down=0))
    book(exchange(outcome="no room", up=0))
    book(exchange(B))
    assert sites(tmp_path)["a"] == {
        "bytes_down": 20,
        "bytes_up": 2,
        "last": {"phase": "probe", "round": 3, "seconds": 0.512},
        "last_failure": {"phase": "train", "round": 3, "why": "no room"},
    }
    assert "last_failure" not in sites(tmp_path)["b"]


def test_facts_of_a_site_stand_beside_its_traffic_and_may_change(tmp_path: Path) -> None:
    book = SiteBook(folder=tmp_path)
    book.about(A, rows=10, device="cpu")
    book.about(B, absent="it is not connected")
    book(exchange())
    book.about(A, rows=12)
    book.write()
    assert (sites(tmp_path)["a"]["rows"], sites(tmp_path)["a"]["device"]) == (12, "cpu")
    assert sites(tmp_path)["a"]["bytes_up"] == 1
    assert sites(tmp_path)["b"] == {"absent": "it is not connected"}


def test_a_run_folder_that_is_gone_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"wire\.jsonl cannot be written: No such file or directory"):
        SiteBook(folder=tmp_path / "gone")(exchange())
    book = SiteBook(folder=tmp_path / "gone")
    book.about(A, rows=1)
    with pytest.raises(StorageError, match=r"status\.json cannot be written: No such file or directory"):
        book.write()


def full(*arguments: object, **options: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_a_sentence_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = SiteBook(folder=tmp_path)
    book(exchange())
    with monkeypatch.context() as patch:
        patch.setattr("fedstrata.files._write_all", full)
        with pytest.raises(StorageError, match=r"wire\.jsonl cannot be written: No space left on device"):
            book(exchange(B))
    assert len(wire(tmp_path)) == 1
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(StorageError, match=r"status\.json cannot be written: No space left on device"):
            book.write()
    assert list(sites(tmp_path)) == ["a"]
    book.write()
    assert [line["client"] for line in wire(tmp_path)] == ["a", "b"]
    assert list(sites(tmp_path)) == ["a", "b"]


def test_a_run_keeps_the_name_that_sites_count_it_by(tmp_path: Path) -> None:
    SiteBook("abc", tmp_path).write()
    assert name_of(tmp_path) == "abc"


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"run"'])
def test_a_run_whose_name_is_lost_does_not_go_on_under_another(tmp_path: Path, text: str) -> None:
    (tmp_path / "status.json").write_text(text)
    with pytest.raises(CheckpointError, match="the run cannot go on under its name"):
        name_of(tmp_path)
