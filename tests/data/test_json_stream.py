"""What is read row by row is what is read at once, wherever the reading is cut."""

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
    """The object in a text that is read by so many characters."""
    (folder / "a.json").write_bytes(text.encode(encoding, "surrogatepass"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_CHUNK", chunk)
        return read_object(folder / "a.json", LISTS)


def at_once(text):
    """The object in a text, without what is no list where one must be."""
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
def test_rows_that_are_read_singly_are_those_read_at_once(
    tmp_path, content, chunk, escaped, indent, encoding
):
    text = json.dumps(content, ensure_ascii=escaped, indent=indent)
    assert repr(read(tmp_path, text, chunk, encoding)) == repr(at_once(text))  # NaN is not NaN


@shared
@given(objects, chunks, st.data())
def test_a_text_that_is_cut_off_anywhere_is_refused(tmp_path, content, chunk, data):
    text = json.dumps(content)
    kept = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(ValueError, match=r"a\.json is no whole JSON file"):
        read(tmp_path, text[:kept], chunk)


@shared
@given(st.text('{}[]:,"\\ainfmgesu01.-eE \n', max_size=30), chunks)
def test_what_is_no_json_at_once_is_none_row_by_row(tmp_path, text, chunk):
    try:
        expected = at_once(text)
    except ValueError:
        with pytest.raises(ValueError, match="no whole JSON file"):
            read(tmp_path, text, chunk)
    else:
        assert repr(read(tmp_path, text, chunk)) == repr(expected)


@pytest.mark.parametrize("number", ["1.5e+16", "-0.25", "12E-3", "-Infinity", "1.0e5"])
def test_a_number_is_read_whole_wherever_it_is_cut(tmp_path, number):
    text = f'{{"images": [{number}, {number}], "info": {number}}}'
    for chunk in range(1, len(text)):
        assert read(tmp_path, text, chunk) == at_once(text)


@pytest.mark.parametrize("key", ["images", "info"])
def test_lists_in_lists_without_end_are_refused(tmp_path, key):
    with pytest.raises(ValueError, match="no whole JSON file"):
        read(tmp_path, f'{{"{key}": [{"[" * 100_000}', 1 << 22)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "a.json").write_bytes(b'{"images": ["\xff\xff"]}')
    with pytest.raises(ValueError, match="no whole JSON file"):
        read_object(tmp_path / "a.json", LISTS)


def test_an_error_is_told_with_its_place_in_the_file(tmp_path):
    with pytest.raises(ValueError, match="character 18"):
        read(tmp_path, '{"images": [1, 2, }', 3)
