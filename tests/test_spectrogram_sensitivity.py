"""The table of hydrophones."""
import json

import pytest

from spectrogram.sensitivity import HydrophoneSensitivity

CERTIFICATES = {"201359382": -172.7, "6272": -176.2, "5675": -176.5, "6872": -177.6, "7805": -175.6, "6871": -176.3, "8295": -165.1, "5725": -175.7}


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "hydrophones.json"
    path.write_text('{"6872": -177.6}', encoding="utf-8")
    return HydrophoneSensitivity(path)


def test_hydrophones_known_from_the_start():
    shipped = HydrophoneSensitivity()
    assert {serial: shipped.get(serial) for serial in CERTIFICATES} == {serial: (db, True) for serial, db in CERTIFICATES.items()}


def test_unknown_hydrophone_works_and_is_not_calibrated(table):
    assert table.get("4711") == table.get(None) == (-170.0, False)
    assert table.get("6872") == (-177.6, True)


def test_added_hydrophone_is_there_the_next_time(table):
    table.add("4711", -165.2)
    table.add(6872, "-177.9", replace=True)
    again = HydrophoneSensitivity(table.path)
    assert again.get("4711") == (-165.2, True) and again.get("6872") == (-177.9, True) and len(again) == 2
    table.add("12", -160, save=False)
    assert "12" in table and "12" not in HydrophoneSensitivity(table.path)
    assert [p.name for p in table.path.parent.iterdir()] == ["hydrophones.json"]  # no draft left behind


@pytest.mark.parametrize("value", [176.3, 0, "high", None, float("nan"), -1000, [-176.3]])
def test_value_that_is_no_sensitivity_is_refused_and_nothing_changes(table, value):
    with pytest.raises(ValueError, match="hydrophone 4711: sensitivity .*; enter the certificate's value with a minus sign"):
        table.add("4711", value)
    assert "4711" not in table and json.loads(table.path.read_text(encoding="utf-8")) == {"6872": -177.6}


@pytest.mark.parametrize("content", [b"", b'{"6872": -177.6', b'["6872", -177.6]', b"-177.6", b"null", b"\xff\xfe\x00garbage\x80", b'{"6872": 177.6}', b'{"6872": "x"}'])
def test_broken_table_is_named_with_the_mend(tmp_path, content):
    path = tmp_path / "hydrophones.json"
    path.write_bytes(content)
    with pytest.raises(ValueError) as error:
        HydrophoneSensitivity(path)
    assert str(path) in str(error.value) and "e.g." in str(error.value)
