"""The pages of docs/functions/: as the registry has them, and each example runs, in every way the language is written."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from bastion_plan.nodes import Select

SUPPORT = str(Path(__file__).resolve().parents[1] / "support")
if SUPPORT not in sys.path:
    sys.path.insert(0, SUPPORT)

import function_page as page  # noqa: E402

FILES = sorted(page.FOLDER.glob("*.md"))
ENTRY = re.compile(r"^## (?P<name>\S+)\n(?P<body>.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)

#: the pages show deprecated spellings, too
pytestmark = pytest.mark.filterwarnings("ignore")


def entries() -> Iterator[tuple[str, str, str, str]]:
    """Yield name, Polars code, what the page says it gives, and SQL, as they stand in the pages."""
    for file in FILES:
        if file.name == "index.md":
            continue
        for entry in ENTRY.finditer(file.read_text(encoding="utf-8")):
            block = re.search(r"```python\n(.*?)\n# (.*?)\n```", entry["body"], re.DOTALL)
            assert block is not None, entry["name"]
            sql = re.search(r"```sql\n(.*?)\n```", entry["body"], re.DOTALL)
            yield entry["name"], block[1], block[2], sql[1] if sql else ""


ENTRIES = list(entries())


def same(one: pl.Series, other: pl.Series) -> bool:
    return (
        one.to_list() == other.to_list()
        or one.equals(other, null_equal=True)
        or str(one.to_list()) == str(other.to_list())
    )


def test_the_pages_are_those_of_the_registry() -> None:
    """If this fails: python tests/support/function_page.py"""
    made = page.pages()
    assert sorted(made) == [file.name for file in FILES]
    for file in FILES:
        assert file.read_text(encoding="utf-8") == made[file.name], file.name


def test_every_function_has_an_entry() -> None:
    assert sorted(name for name, *_ in ENTRIES) == sorted(f.name for f in page.all_functions())


def test_every_sql_name_has_an_example() -> None:
    with_sql = {name for name, _, _, sql in ENTRIES if sql}
    assert {f.name for f in page.all_functions() if f.sql} <= with_sql


def test_the_builder_and_polars_expressions_give_what_the_page_says() -> None:
    for name, code, said, _ in ENTRIES:
        built = page.run(page.built(code))
        translated = page.run(page.translated(code))
        assert built.dtype == translated.dtype, name
        if said == "(random)":
            continue
        assert page._shown(built) == said, name
        assert same(built, translated), name


def test_sql_gives_the_same() -> None:
    for name, code, said, sql in ENTRIES:
        if sql and said != "(random)":
            assert page.run_sql(sql).to_list() == page.run(page.built(code)).to_list(), name


def test_a_cell_of_the_kernel_gives_the_same() -> None:
    from fake_session import fake_connection

    from bastion.language import Environment, evaluate

    async def cells() -> None:
        env = Environment(fake_connection({"t": page.TABLE}, flavour="async"))
        await evaluate('t = dataset("t")', env)
        for name, code, said, _ in ENTRIES:
            given(name, code, said, (await evaluate(f"t.select(({code}).alias('out'))", env)).value)

    asyncio.run(cells())


def test_a_cell_of_the_magics_gives_the_same() -> None:
    from fake_session import fake_connection

    from bastion_magics.session import Session

    session = Session()
    session.environment.connection = fake_connection({"t": page.TABLE}, flavour="async")
    session.evaluate('t = dataset("t")')
    for name, code, said, _ in ENTRIES:
        given(name, code, said, session.evaluate(f"t.select(({code}).alias('out'))").value)
    session.environment.connection = None
    session.close()


def given(name: str, code: str, said: str, frame: Any) -> None:
    """Assert that a cell's frame computes what the builder's expression does."""
    root = frame.plan
    assert isinstance(root, Select), name
    if said != "(random)":
        assert same(page.run(root.exprs[0].input), page.run(page.built(code))), name
