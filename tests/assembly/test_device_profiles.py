from __future__ import annotations

from pathlib import Path

import pytest

from fedstrata.assembly.device_profiles import load_devices, read_device
from fedstrata.config.load import check_config
from fedstrata.domain.ids import ClientId
from fedstrata.errors import ConfigError

PHONE = "name: phone\nforward: 1.0e+9\ncarry: 2.0e+9\nweight: 3.0e+9\nupdate: 4.0e+9\nmemory: 5.0e+9\n"
A, B = ClientId("a"), ClientId("b")


def config(devices: object, base: Path) -> object:
    values = {"model": {"path": "embedded:vit-digits"}, "data": {"kind": "digits"}, "devices": devices}
    return check_config(values, base=base)


def test_one_machine_for_everybody_or_one_each(tmp_path: Path) -> None:
    (tmp_path / "phone.yaml").write_text(PHONE, encoding="utf-8")
    everybody = load_devices(config("phone.yaml", tmp_path), [A, B])  # type: ignore[arg-type]
    assert [everybody[c].weight for c in (A, B)] == [3e9, 3e9]
    alone = load_devices(config({"a": "phone.yaml"}, tmp_path), [A, B])  # type: ignore[arg-type]
    assert list(alone) == [A]
    assert load_devices(config(None, tmp_path), [A]) == {}  # type: ignore[arg-type]


def test_a_client_that_does_not_exist_is_refused_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "phone.yaml").write_text(PHONE, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"devices\.hospitl: no client is called 'hospitl'.*'hospital'"):
        load_devices(config({"hospitl": "phone.yaml"}, tmp_path), [ClientId("hospital")])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (PHONE + "sped: 1\n", "a device profile has no 'sped'; known: forward"),
        (PHONE.replace("weight", "weigth"), "did you mean 'weight'"),
        (PHONE.replace("1.0e+9", "0"), "forward: 0.0; it must be above 0"),
        (PHONE.replace("1.0e+9", "fast"), "forward: has to be a number"),
        ("forward: 1\n", "carry"),
        ("- 1\n", "is not a device profile"),
        ("{", "is not YAML"),
    ],
)
def test_a_file_that_is_no_profile_is_refused(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "phone.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=words):
        read_device(path)


def test_a_missing_file_says_what_writes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'fedstrata bench client' writes one"):
        read_device(tmp_path / "none.yaml")
