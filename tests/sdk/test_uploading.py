"""Files that come from a browser: read by their name's ending, gzipped ones up to a size."""

from __future__ import annotations

import gzip
import tracemalloc

import polars as pl
import pytest
from bastion_plan.errors import InputError

from bastion.client.uploading import table_from_bytes

TABLE = pl.DataFrame({"town": ["x", "y"], "pay": [1, 2]})


WHOLE = gzip.compress(b"a,b\n1,2\n", mtime=0)


@pytest.mark.parametrize("name", ["t.csv.gz", "My.Towns.CSV.GZ", "t.tsv.gz"])
def test_gzipped_text(name: str) -> None:
    text = TABLE.write_csv(separator="\t" if "tsv" in name else ",").encode()
    assert table_from_bytes(name, gzip.compress(text)).equals(TABLE)
    half = len(text) // 2
    assert table_from_bytes(name, gzip.compress(text[:half]) + gzip.compress(text[half:])).equals(TABLE)


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    few = gzip.compress(b"a,b\n" + b"1,2\n" * (16 << 20))
    assert len(few) < 1 << 20
    tracemalloc.start()
    with pytest.raises(InputError) as refused:
        table_from_bytes("t.csv.gz", few, most=4 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refused.value.code == "input.file.large"
    assert "4 MiB" in refused.value.message and "bastion upload" in refused.value.next_step
    assert peak < 16 << 20
    assert table_from_bytes("t.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 9), most=40).height == 9


@pytest.mark.parametrize(
    "data", [b"", b"a,b\n1,2\n", WHOLE[:-6], WHOLE[:12] + b"\xff" * 20], ids=["nothing", "text", "cut", "garbled"]
)
def test_what_is_no_gzip_is_broken(data: bytes) -> None:
    with pytest.raises(InputError) as refused:
        table_from_bytes("t.csv.gz", data)
    assert refused.value.code == "input.file"


@pytest.mark.parametrize("name", ["t.gz", "t.parquet.gz", "t.csv.zst", "gz", "t", ".csv.gz"])
def test_other_endings_name_those_that_are_read(name: str) -> None:
    with pytest.raises(InputError, match="not a kind of file") as refused:
        table_from_bytes(name, gzip.compress(b"a\n1\n"))
    assert ".csv.gz" in refused.value.next_step
