"""What is not part of the language: refused with a code, a position and an alternative, and nothing of the cell runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from bastion_plan.errors import BastionError, LanguageError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bastion.language import Environment, evaluate
from bastion.language.check import ALLOWED, REFUSED

Run = Callable[..., Any]

CONSTRUCTS = {
    "language.functiondef": "def f():\n    return 1",
    "language.asyncfunctiondef": "async def f():\n    pass",
    "language.lambda": "f = lambda x: x",
    "language.classdef": "class A:\n    pass",
    "language.while": "while True:\n    pass",
    "language.with": "with connection as c:\n    pass",
    "language.try": "try:\n    x = 1\nexcept Exception:\n    pass",
    "language.raise": "raise ValueError",
    "language.assert": "assert 1",
    "language.namedexpr": "(x := 1)",
    "language.await": "await datasets()",
    "language.global": "global x",
    "language.match": "match 1:\n    case 1:\n        pass",
    "language.annassign": "x: int = 1",
    "language.matmult": "[1] @ [2]",
    "language.import": "import os",
    "language.shell": "!ls",
    "language.magic": "%%bash\nls",
    "language.complex": "1j",
    "language.ellipsis": "...",
    "language.for-else": "for i in [1]:\n    pass\nelse:\n    pass",
    "language.assign": "x = [1]\nx[0] = 2",
    "language.fixed-name": "len = 3",
    "language.underscore": "_x = 1",
    "language.name": "open('/etc/passwd')",
    "language.syntax": "1 +",
}


@pytest.mark.parametrize(("code", "cell"), CONSTRUCTS.items(), ids=list(CONSTRUCTS))
def test_refused_with_code_position_and_advice(run: Run, code: str, cell: str) -> None:
    with pytest.raises(LanguageError) as caught:
        run(cell)
    error = caught.value
    assert error.code == code
    assert error.details["line"] >= 1
    assert error.details["column"] >= 1
    assert error.message.endswith(".")
    if code not in {"language.syntax", "language.complex"}:
        assert error.next_step, "it says what to write instead"


@pytest.mark.parametrize(
    "cell", ["import matplotlib.pyplot as plt", "import seaborn as sns", "from matplotlib import pyplot"]
)
def test_who_imports_a_plotting_library_is_told_of_plots(run: Run, cell: str) -> None:
    with pytest.raises(LanguageError) as refused:
        run(cell)
    assert refused.value.code == "language.import"
    assert "frame.plot.hist" in refused.value.next_step
    assert "%%bastion" in refused.value.next_step


@pytest.mark.parametrize("cell", CONSTRUCTS.values(), ids=list(CONSTRUCTS))
def test_nothing_of_a_refused_cell_runs(env: Environment, run: Run, cell: str) -> None:
    with pytest.raises(LanguageError):
        run(f"marker = 1\nprint('ran')\n{cell}")
    assert "marker" not in env.names
    assert env.printed == []


ESCAPES = [
    "().__class__",
    "().__class__.__base__.__subclasses__()",
    "''.__class__.__mro__[1]",
    "pl.__builtins__",
    "pl.__dict__",
    "pl.col.__call__.__globals__",
    "print.__globals__",
    "len.call",
    "len.members",
    "pl.entries",
    "pl.absent",
    "dataset('titanic')._connection",
    "dataset('titanic').connection",
    "dataset('titanic').plan",
    "dataset('titanic').pipe(len)",
    "connection._session",
    "connection.client.polars._connection",
    "connection._sign({})",
    "pl.col('a')._plan",
    "pl.col('a').pipe(print)",
    "pl.col('a').str._owner",
    "'{0.__class__}'.format(1)",
    "'{0}'.format_map({})",
    "'%1000000000d' % 1",
    "f'{len!r:{10**9}}'",
    "f'{1:1000000000}'",
    "f'{1:.1000000000f}'",
    "f'{().__class__}'",
    "getattr(pl, 'col')",
    "type(1)",
    "eval('1')",
    "exec('1')",
    "globals()",
    "vars()",
    "__import__('os')",
    "__builtins__",
    "ｐｒｉｎｔ.__globals__",
    "().＿＿class＿＿",
    "().﹍﹍class﹍﹍",
    "[x for x in [1]].__iter__()",
    "(x for x in [1]).gi_frame",
    "str.__add__",
    "int.from_bytes([1])",
    "pl.Int64.mro()",
    "pl.Int64.__subclasses__()",
    "pl.Int64().from_python(1)",
    "pl.DataFrame({'a': [1]})",
    "pl.read_csv('/etc/passwd')",
    "pl.scan_parquet('x')",
    "pl.col('a').map_elements(print)",
    "pl.col('a').name.map(print)",
    "from os import system",
    "from polars import *",
    "import polars.io",
    "from . import x",
    "import builtins",
    "from datetime import sys",
    "import polars as len",
    "dataset('titanic').sink_csv('/tmp/x')",
    "upload('/etc/passwd')",
    "connect('tcp://127.0.0.1:1', identity='../../etc/passwd')",
    "connect('tcp://127.0.0.1:1', identity='/etc/passwd')",
    "date.today.__self__",
    "date(2020, 1, 1).strftime('%1000000d')",
    "r = denied",
    "print(sep=print).x",
    "dataset('titanic').fetch().write_csv('/tmp/x')",
    "dataset('titanic').select(pl.len()).fetch().write_csv('/tmp/x')",
    "dataset('titanic').select(pl.len()).fetch()['len'].map_elements(print)",
    "connection.client.polars.send_df({})",
    "dataset('titanic').schema.__class__",
    "help(pl).x",
    "print(**{'__class__': 1})",
    "[c for c in (1).__class__.__mro__]",
    "del len",
    "print.name",
]


@pytest.mark.parametrize("cell", ESCAPES)
def test_no_way_out(run: Run, cell: str) -> None:
    begin = time.process_time()
    with pytest.raises(BastionError) as caught:
        run(cell)
    assert time.process_time() - begin < 2
    assert not caught.value.code.startswith("internal")


BOMBS = [
    "10**10**10",
    "2**100000",
    "9" * 4000,
    "1 << 10**9",
    "x = 2**200\nx * x",
    "'a' * 10**10",
    "[0] * 10**9",
    "(0,) * 10**9",
    "range(10**12)",
    "[0 for i in range(10**9)]",
    "for i in range(10**9):\n    pass",
    "[[i for i in range(1000)] for j in range(1000)]",
    "x = ['a' * 100000] * 1000\nx = [x] * 1000",
    "x = [1] * 1000\ny = [x] * 1000\nz = [y] * 1000",
    "x = 'a' * 1000000\ny = x + x",
    "x = 'a' * 1000\nx.replace('a', x).replace('a', x)",
    "','.join(['a' * 100000] * 1000)",
    "x = 'ab' * 100000\n[x.upper() for i in range(10000)]",
    "x = [0]\nfor i in range(30):\n    x = x + x",
    "x = [0]\nfor i in range(10000):\n    x = [x]\nprint(x)",
    "x = 1\nfor i in range(10000):\n    x = x + x",
    "[" * 150 + "]" * 150,
    "f = dataset('titanic')\nfor i in range(9999):\n    f = f.vstack(f)",
    "f = dataset('titanic')\nfor i in range(9999):\n    f = f.select(pl.all())",
    "x = pl.col('a')\nfor i in range(9999):\n    x = x + 1",
    "-" * 5000 + "1",
    "not " * 3000 + "1",
    "[" * 90 + "]" * 90 + "[0]" * 90,
    "1" + "+1" * 30000,
    "x = " + "[" * 5000,
    "'a'\n" * 30000,
    "f'{1:>999999}'",
    "round(1.5, 10**9)",
    "int('9' * 100000)",
    "{i: {j: j for j in range(3000)} for i in range(3000)}",
    "sorted([[0] * 1000] * 1000)",
    "x = pl.col('a')\nfor i in range(9999):\n    x = x + x",
    "pl.lit([0] * 10**8)",
    "a = 'x' * 900000\n[a for i in range(9999)]",
]


@pytest.mark.parametrize("cell", BOMBS, ids=range(len(BOMBS)))
def test_bombs_are_refused_quickly(run: Run, cell: str) -> None:
    begin = time.process_time()
    with pytest.raises(BastionError):
        run(cell)
    assert time.process_time() - begin < 10


def test_comprehension_names_stay_inside(run: Run, env: Environment) -> None:
    assert run("x = 1\n[x for x in [7, 8]]\nx").value == 1
    with pytest.raises(LanguageError):
        run("[y for y in [1]]\ny")
    assert "y" not in env.names


def test_every_python_syntax_is_allowed_or_refused_by_name() -> None:
    import ast

    nodes = {
        c
        for c in vars(ast).values()
        if isinstance(c, type) and issubclass(c, ast.stmt | ast.expr | ast.operator | ast.cmpop | ast.unaryop)
    }
    concrete = {c for c in nodes if (not c.__subclasses__() and c.__module__ == "ast") or c in ALLOWED}
    unnamed = {c.__name__ for c in concrete if c not in ALLOWED} - set(REFUSED)
    old = {
        "Num",
        "Str",
        "Bytes",
        "NameConstant",
        "Ellipsis",
        "Index",
        "ExtSlice",
        "Param",
        "Suite",
        "AugLoad",
        "AugStore",
    }
    assert unnamed - old == set()


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(alphabet="abcxyz_.()[]{}'\"\\=+-*/%@:,!?&|~<>\n 0123456789πｐ", max_size=60))
def test_any_text_gives_a_result_or_one_of_our_errors(text: str) -> None:
    import asyncio

    code = "language"
    try:
        asyncio.run(evaluate(text, Environment()))
    except BastionError as error:
        code = error.code
    assert code.split(".")[0] in {"language", "plan", "input", "missing"}
