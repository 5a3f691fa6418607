"""What `bastion upload` says of an owner's file before anything is sent."""

from __future__ import annotations

import gzip

import pytest
from bastion_cli.tables import read_table
from bastion_plan.errors import InputError

from bastion.client.text_tables import doubts

BROKEN = {
    "nothing in it": (b"", "input.file", "empty"),
    "Latin-1": ("id,name\n1,M\xfcller\n".encode("latin-1"), "input.file", "line 2"),
    "a row too long": (b"a,b\n1,2\n1,2,3\n", "input.file.long", "line 3"),
    "a row too short": (b"a,b\n1,2\n1\n", "input.file.short", "line 3"),
    "one name twice": (b"a,a\n1,2\n", "input.file.duplicate", "'a'"),
}


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("packed", [False, True])
def test_a_file_that_is_no_table_is_refused_with_its_line(tmp_path, case, packed):
    data, code, said = BROKEN[case]
    file = tmp_path / ("t.csv.gz" if packed else "t.csv")
    file.write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(InputError) as caught:
        read_table(file)
    assert caught.value.code == code
    assert said in caught.value.message
    assert caught.value.next_step


def test_a_spreadsheets_semicolons_are_read(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("\ufeffa;größe\n1;1,5\n2;2,5\n", encoding="utf-8")
    frame = read_table(file)
    assert frame.columns == ["a", "größe"]
    (doubt,) = doubts(frame)
    assert "'größe' is text, though most of its values are numbers" in doubt


def test_what_is_odd_is_told_without_a_value(tmp_path):
    file = tmp_path / "t.csv"
    days = "".join(f",{n if n < 9 else 'n/a'},{f'{n + 10}/02/2020' if n else 'n/a'},x{n}\n" for n in range(10))
    file.write_text(f",age,day,name\n{days}")
    said = "\n".join(doubts(read_table(file)))
    assert "Column 1 has no name" in said
    assert "'age' is text, though most of its values are numbers" in said
    assert "'day' is text, though most of its values are dates" in said
    assert "'name'" not in said and "n/a" not in said and "2020" not in said
    file.write_text("1,2\n3,4\n")
    assert "the first line" in doubts(read_table(file))[0]
    file.write_text("a,b\n1,2020-01-02\n")
    assert doubts(read_table(file)) == []
