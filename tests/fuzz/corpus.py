"""Inputs that decoders meet or once tripped over. Each is a seed of the fuzzer and a case of the regression test."""

DEEP = b"[" * 100_000
AVRO_READING = (
    '{"type": "record", "name": "Reading", "fields": [{"name": "sensor", "type": "string"},'
    ' {"name": "time", "type": "long"}, {"name": "value", "type": ["null", "double"]}]}'
)
PROTOBUF_READING = (
    "CgdyLnByb3RvIkUKB1JlYWRpbmcSDgoGc2Vuc29yGAEgASgJEgwKBHRpbWUYAiABKAMSEgoFdmFsdWUY"
    "AyABKAFIAIgBAUIICgZfdmFsdWViBnByb3RvMw=="
)
"""Its descriptor in base64."""

READING = b'{"sensor":"x1","time":"2026-05-01T00:02:00Z","value":12.5}'

JSON_RECORDS: tuple[bytes, ...] = (
    READING,
    b'{"sensor":"x1","time":1777593720,"value":1}',
    b'{"sensor":"x1","time":1777593720000,"value":1}',
    b'{"sensor":"x1","time":1777593720000000,"value":1}',
    b'{"sensor":"x1","time":1777593720000000000,"value":1}',
    b'{"time":"2026-05-01T00:02:00Z","values":{"x1":1.0,"x2":null}}',
    b'{"time":"2026-05-01T00:02:00Z","values":{"x1":1.0,"2\\" pipe":2}}',
    b'{"sensor":"x1","time":0,"step_seconds":8.33e-5,"values":[1,2,3]}',
    b'{"time":"2026-05-01T00:02:00Z","event":"break"}',
    b"", b"null", b"true", b"[]", b"{}", b'"text"', b"12", b"\xff\xfe", b"\x00", b"\xef\xbb\xbf{}",
    READING + b" ", READING + b"," + READING, b"[" + READING + b"]", READING[:-1], b" \n\t" + READING,
    b'{"sensor":"x1","time":"2026-05-01T00:02:00Z","value":1e999}',
    b'{"sensor":"x1","time":1e300,"value":1}',
    b'{"sensor":"x1","time":-1e300,"value":1}',
    b'{"sensor":"x1","time":1e999,"value":1}',
    b'{"sensor":"x1","time":NaN,"value":NaN}',
    b'{"sensor":"x1","time":"2026-05-01T00:02:00Z","value":Infinity}',
    b'{"sensor":"x1","time":"2026-05-01T00:02:00Z","value":-0}',
    b'{"sensor":"x1","time":"2026-05-01T00:02:00Z","value":"12.5"}',
    b'{"sensor":"x1","time":"2026-05-01T00:02:00Z","value":true}',
    b'{"sensor":"x1","time":"2026-05-01T00:02:00Z","value":[1]}',
    b'{"sensor":"x1","time":"2026-05-01T00:02:00","value":1}',
    b'{"sensor":"x1","time":"0001-01-01T00:00:00Z","value":1}',
    b'{"sensor":"x1","time":"9999-12-31T23:59:59Z","value":1}',
    b'{"sensor":"x1","time":"9999-12-31T23:59:59-12:00","value":1}',
    b'{"sensor":"x1","time":"","value":1}',
    b'{"sensor":"\\ud800","time":"2026-05-01T00:02:00Z","value":1}',
    b'{"sensor":"x1","sensor":"x2","time":"2026-05-01T00:02:00Z","value":1,"value":2}',
    b'{"sensor":"' + b"x" * 1_000_000 + b'","time":0,"value":1}',
    b'{"sensor":"x1","time":"' + b"2" * 1_000_000 + b'","value":1}',
    b'{"sensor":"x1","time":0,"value":' + b"9" * 5_000 + b"}",
    b'{"sensor":"x1","time":0,"value":1,"asset":"' + b"a" * 100_000 + b'"}',
    b'{"sensor":"x1","time":0,"value":1,"asset":7}',
    b'{"sensor":"x1","time":0,"value":1,"quality":"bad"}',
    b'{"sensor":"x1","time":0,"value":1,"quality":3}',
    b'{"time":0,"values":{}}',
    b'{"time":0,"values":{"x1":"1"}}',
    b'{"time":0,"values":{"x1":1e999}}',
    b'{"time":0,"values":{"x1":{"y":1}}}',
    b'{"time":0,"values":[]}',
    b'{"sensor":"x1","time":0,"step_seconds":0,"values":[1]}',
    b'{"sensor":"x1","time":0,"step_seconds":-1,"values":[1]}',
    b'{"sensor":"x1","time":0,"step_seconds":1e-300,"values":[1]}',
    b'{"sensor":"x1","time":0,"step_seconds":1,"values":[1,"2"]}',
    b'{"time":0,"event":""}', b'{"time":0,"event":7}', b'{"event":"break"}',
    b'{"sensor":"x1","value":1}', b'{"time":0,"value":1}', b'{"sensor":null,"time":0,"value":1}',
    DEEP, b'{"a":' * 50_000, b'{"sensor":"x1","time":0,"value":' + DEEP,
)  # fmt: skip

_ALARM = (
    b'{"id":"a1","asset":"pm-1","state":"raised","raised_at":"2026-05-01T00:02:00Z","expected_from":'
    b'"2026-05-01T00:04:00Z","expected_until":"2026-05-01T00:06:00Z","probability":0.12,"score":3,"threshold":0.05,'
    b'"top_sensors":[{"sensor":"x7","share":0.6,"value":12.5,"expected":10.25}],"bundle":"b1","recipe":"r",'
    b'"costs":{"tn":0,"fp":5,"fn":100,"tp":5},"step_seconds":120}'
)
_SHELVE = (
    b'{"asset":"px","action":"shelve","who":"x","reason":"r","at":"2026-05-01T00:00:00Z",'
    b'"until":"2026-05-01T08:00:00Z"}'
)
_CHANGE = (
    b'{"asset":"pm-1","alarm":null,"state":"shelved","previous":"normal","at":"2026-05-01T00:00:00Z","who":"w",'
    b'"why":"w","until":"2026-05-01T08:00:00Z"}'
)

OPERATIONS_RECORDS: tuple[bytes, ...] = (
    _ALARM, _SHELVE, _CHANGE,
    _SHELVE.replace(b"2026-05-01T08:00:00Z", b"9999-12-31T23:59:59-14:00"),
    _SHELVE.replace(b"2026-05-01T08:00:00Z", b"9999-12-31T23:59:59Z"),
    _SHELVE.replace(b"2026-05-01T08:00:00Z", b"2299-12-31T23:59:59Z"),
    _SHELVE.replace(b"2026-05-01T00:00:00Z", b"0001-01-01T00:00:00+14:00"),
    _CHANGE.replace(b"2026-05-01T08:00:00Z", b"9999-12-31T23:59:59-14:00"),
    _CHANGE.replace(b"2026-05-01T00:00:00Z", b"yesterday"),
    *(
        _ALARM.replace(b'"raised_at":"2026-05-01T00:02:00Z"', b'"raised_at":"' + time + b'"')
        for time in (b"garbage", b"0001-01-01T00:00:00+14:00", b"9999-12-31T23:59:59-14:00", b"2026-05-01T00:02:00")
    ),
    _ALARM.replace(b"2026-05-01T00:04:00Z", b"garbage"),
    _ALARM.replace(b'"step_seconds":120', b'"step_seconds":5e-324'),
    _ALARM.replace(b'"step_seconds":120', b'"step_seconds":1.7e308'),
    _ALARM.replace(b'"fn":100', b'"fn":1e308').replace(b'"fp":5', b'"fp":1e308'),
    _ALARM.replace(b'"probability":0.12', b'"probability":1e308'),
    _ALARM.replace(b'"asset":"pm-1"', b'"asset":"\\u001b[2J\\nRAISED"'),
    b'{"time":"0001-01-01T00:00:00+14:00","event":"break"}',
    b'{"time":"9999-12-31T23:59:59-14:00","event":"break","logged_at":1e300}',
    b"", b"null", b"[]", b"{}", b"\xff\xfe", DEEP, b'{"a":' * 50_000,
)  # fmt: skip
"""What once stopped, or could stop, those who read alarms, their states, feedback and events."""

SEEDS: dict[str, tuple[bytes, ...]] = {
    "record": JSON_RECORDS,
    **dict.fromkeys(("alarms", "feedback", "events", "alarm_states"), OPERATIONS_RECORDS),
    "manifest": (b"{}", b'{"format":1}', b'{"format":1,"bundle_id":"x"}', b"[1]", b'{"format":1e999}', DEEP),
    "arrays": (b"", b"\x00" * 8, b"\xff" * 16, b"\x02\x00\x00\x00\x00\x00\x00\x00{}"),
    "recipe": (
        b'title = "t"\n[grid]\nstep_seconds = 120\n[window]\nsteps = 15\n',
        b"[grid]\nstep_seconds = inf\n",
        b"a = " + b"[" * 2_000,
        b'name = "../x"\n',
        b"\xef\xbb\xbftitle = 1",
    ),
    "csv": (
        b"time,x1,x2\n2026-05-01T00:00:00Z,1,2\n2026-05-01T00:02:00Z,1,\n",
        b"time;y;x1\n5/1/99 0:00;0;1,5\n",
        b"",
        b"\x00",
        b"time\n",
        b"time,time\n1,2\n",
        b"time,column 1,column 1\n1,2,3\n",
        b"time,x1\n1e999,1\n",
        b"time,x1\n1,2,3,4\n",
        b'time,x1\n"unclosed,1\n',
        b"\xff\xfet\x00i\x00",
        b"time,x1\nnan,nan\n",
    ),
    "event-time": (b"2026-05-01T00:02:00Z", b"2026-W01-1T00Z", b"", b"9999-12-31T23:59:59-23:59", b"20260501T000200Z"),
    "sparkplug": (
        b"",
        b"\x12\x03\x0a\x01\xff",
        b"\x08\x01\x18\x01\x12\x04\x10\x01\x50\x07",
        b"\x12\x06\x92\x01\x03\x12\x01\x00",
    ),
    "under-a-schema": (b"", b"\x02a\x00\x00", b"\0\x0a\x01a", b"\xff" * 40, b"\x02\xff", b"\x7e" + b"\x02" * 70, DEEP),
    "settings": (b"localhost:9092", b"[::1]:9092,:1", b"a:99999999999999999999"),
}
