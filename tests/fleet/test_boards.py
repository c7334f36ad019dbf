"""Lists of boards: what is wrong is told by its line, in one sentence that is safe to show on a terminal."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.errors import BadInput, Missing, PrivetError, Unreadable
from provisioning.fleet.boards import read_serials

WRONG_LISTS = {
    "twice": (b"serial\nA1\nB2\na1\n", "line 4: a1 stands in line 2 already"),
    "unicode": ("serial\nA1\nÄ2\n".encode(), "line 3: '\\xc42' is no serial number"),
    "bidi": ("serial\nA1\n\u202e2B\n".encode(), "line 3: '\\u202e2B' is no serial number"),
    "digits of another script": ("serial\n\u0661\u0662\n".encode(), "is no serial number"),
    "control": (b"serial\nA\x1b[2J\n", "'A\\x1b[2J' is no serial number"),
    "a gap": (b"serial,place\nA1,x\n,y\n", "line 3: there is no serial number"),
    "a short row": (b"place,serial\nx,A1\ny\n", "line 3: there is no serial number"),
    "no column of that name": (b"a,b\n1,2\n", "none is called serial"),
    "a heading of another name": (b"Seriennummer\n100000001\n", "call the column serial"),
    "heading alone": (b"serial\n", "a heading and no serial number"),
    "empty": (b"\n\n", "holds no serial number"),
    "not UTF-8": (b"serial\n\xff\xfe\n", "not UTF-8"),
    "endless": (b"serial\n" + b"A" * 65 + b"\n", "is no serial number"),
    "a broken quote": (b'serial\n"A1\n', "no CSV"),
    "NUL": (b"serial\nA\x001\n", "line"),
}


@pytest.mark.parametrize("wrong", WRONG_LISTS)
def test_a_wrong_list_is_told_by_its_line(tmp_path: Path, wrong: str):
    """One sentence, with the line where there is one, and nothing of the file that a terminal would obey."""
    content, sentence = WRONG_LISTS[wrong]
    (tmp_path / "boards.csv").write_bytes(content)
    with pytest.raises(BadInput) as told:
        read_serials(tmp_path / "boards.csv")
    assert sentence in str(told.value) and "; " in str(told.value)
    assert str(told.value).isascii() and str(told.value).isprintable()


def test_good_lists(tmp_path: Path):
    """With a heading or without, with a mark of byte order, with Windows' line ends, with other columns."""
    path = tmp_path / "boards.csv"
    for content in (
        b"A1\nB2\n",
        b"\xef\xbb\xbfserial\r\nA1\r\nB2\r\n",
        b'place,Serial\n"a, b",A1\n,B2\n\n',
        b" A1 \nB2",
    ):
        path.write_bytes(content)
        assert read_serials(path) == ["A1", "B2"]
    with pytest.raises(Missing):
        read_serials(tmp_path / "none.csv")
    with pytest.raises(Unreadable):
        read_serials(tmp_path)


@given(st.binary(max_size=200))
def test_no_file_makes_it_fail(tmp_path_factory: pytest.TempPathFactory, content: bytes):
    """Any bytes are a list of sound numbers, or one sentence."""
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(content)
    said, found = "", ["A1"]
    try:
        found = read_serials(path)
    except PrivetError as told:
        said = str(told)
    assert said.isprintable()
    assert found and all(one.isascii() and one.isprintable() and 0 < len(one) <= 64 for one in found)
