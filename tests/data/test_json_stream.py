"""Streamed JSON equals JSON parsed at once, whatever the chunk size."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tagpose.data import json_stream
from tagpose.data.json_stream import read_object

LISTS = {"images": list, "annotations": list}
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
keys = st.sampled_from([*LISTS, "info", 'a"\\', ""])
objects = st.dictionaries(keys, st.lists(values, max_size=4) | values)
chunks = st.integers(1, 30)
shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def read(folder, text, chunk, encoding="utf-8"):
    """Stream a JSON text in chunks of the given number of characters."""
    (folder / "a.json").write_bytes(text.encode(encoding, "surrogatepass"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_CHUNK", chunk)
        return read_object(folder / "a.json", LISTS)


def parse_at_once(text):
    """Parse a JSON text, dropping streamed keys whose value is not a list."""
    content = json.loads(text)
    if not isinstance(content, dict):
        return {}
    return {
        key: value for key, value in content.items() if key not in LISTS or isinstance(value, list)
    }


@shared
@given(
    objects, chunks, st.booleans(), st.sampled_from([None, 1]), st.sampled_from(["utf-8", "utf-16"])
)
def test_streamed_rows_equal_those_parsed_at_once(
    tmp_path, content, chunk, ensure_ascii, indent, encoding
):
    text = json.dumps(content, ensure_ascii=ensure_ascii, indent=indent)
    assert repr(read(tmp_path, text, chunk, encoding)) == repr(parse_at_once(text))  # NaN != NaN


@shared
@given(objects, chunks, st.data())
def test_a_truncated_text_is_rejected(tmp_path, content, chunk, data):
    text = json.dumps(content)
    length = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(ValueError, match=r"a\.json is not a valid JSON file"):
        read(tmp_path, text[:length], chunk)


@shared
@given(st.text('{}[]:,"\\ainfmgesu01.-eE \n', max_size=30), chunks)
def test_streaming_accepts_exactly_the_texts_that_parsing_accepts(tmp_path, text, chunk):
    try:
        expected = parse_at_once(text)
    except ValueError:
        with pytest.raises(ValueError, match="not a valid JSON file"):
            read(tmp_path, text, chunk)
    else:
        assert repr(read(tmp_path, text, chunk)) == repr(expected)


@pytest.mark.parametrize("number", ["1.5e+16", "-0.25", "12E-3", "-Infinity", "1.0e5"])
def test_a_number_may_be_split_between_chunks(tmp_path, number):
    text = f'{{"images": [{number}, {number}], "info": {number}}}'
    for chunk in range(1, len(text)):
        assert read(tmp_path, text, chunk) == parse_at_once(text)


@pytest.mark.parametrize("key", ["images", "info"])
def test_endless_nesting_is_rejected(tmp_path, key):
    with pytest.raises(ValueError, match="not a valid JSON file"):
        read(tmp_path, f'{{"{key}": [{"[" * 100_000}', 1 << 22)


def test_bytes_that_are_not_text_are_rejected(tmp_path):
    (tmp_path / "a.json").write_bytes(b'{"images": ["\xff\xff"]}')
    with pytest.raises(ValueError, match="not a valid JSON file"):
        read_object(tmp_path / "a.json", LISTS)


def test_an_error_is_reported_with_its_position_in_the_file(tmp_path):
    with pytest.raises(ValueError, match="character 18"):
        read(tmp_path, '{"images": [1, 2, }', 3)
