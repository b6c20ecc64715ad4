from pathlib import Path

import pytest

from stream_detector.errors import UsageError
from stream_detector.settings import Settings
from stream_detector.streaming.repartition import Repartition, read_map


@pytest.fixture
def repartition() -> Repartition:
    return Repartition(Settings(), {"s1": "pump", "s2": "mill"})


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        (b"s1", b'{"sensor":"s1","time":1,"value":2}', b"pump"),
        (None, b'{"sensor":"s2","time":1,"value":2}', b"mill"),
        (b"s1", b'{"sensor":"s1","asset":"other","time":1,"value":2}', b"other"),
        (None, b'{"time":1,"values":{"s2":1.0}}', b"mill"),
        (b"k", b'{"sensor":"unheard","time":1,"value":2}', b"k"),
        (b"k", b'{"time":1,"event":"break","asset":"mill"}', b"mill"),
        (b"k", b"{broken", b"k"),
        (b"k", b"\xff", b"k"),
        (None, None, None),
    ],
)
def test_a_record_goes_to_its_sensors_asset_or_stays_as_it_is(
    repartition: Repartition, key: bytes | None, value: bytes | None, expected: bytes | None
) -> None:
    assert repartition.key_of(key, value) == expected


def test_a_map_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "map.json").write_text('["s1"]')
    with pytest.raises(UsageError, match=r"map\.json"):
        read_map(tmp_path / "map.json")
    with pytest.raises(UsageError, match=r"nothing\.json"):
        read_map(tmp_path / "nothing.json")
