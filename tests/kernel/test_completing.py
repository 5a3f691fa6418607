"""Completion and help as a front end asks for them."""

from __future__ import annotations

from typing import Any


def ask(kernel: Any, kind: str, code: str) -> dict[str, Any]:
    getattr(kernel.client, kind)(code, len(code))
    return dict(kernel.client.get_shell_msg(timeout=20)["content"])


def types(kernel: Any, code: str) -> dict[str, str]:
    found = ask(kernel, "complete", code)
    assert found["status"] == "ok"
    return {entry["text"]: entry["type"] for entry in found["metadata"]["_jupyter_types_experimental"]}


def test_columns_come_with_their_types(kernel):
    found = types(kernel, 'dataset("titanic").select("')
    assert found["Age"] == "Float64"
    assert found["Sex"] == "String"
    assert found["Name"] == "hidden"


def test_datasets_and_parameters_are_marked(kernel):
    assert types(kernel, 'dataset("ti') == {"titanic": "dataset"}
    assert kernel.run('titanic = dataset("titanic")').status == "ok"
    assert types(kernel, "titan") == {"titanic": "dataset"}
    assert types(kernel, 'titanic.sort("Age", desc') == {"descending=": "param"}
    assert "Survived" in types(kernel, 'sql("select Surv')


def test_help_of_the_call_around_the_cursor(kernel):
    found = ask(kernel, "inspect", 'pl.col("Age").fill_null(0, strat')
    assert "fill_null" in found["data"]["text/plain"]


def test_help_of_a_query_names_its_dataset(kernel):
    kernel.run('old = dataset("titanic").select(pl.col("Age").mean())')
    text = ask(kernel, "inspect", "old")["data"]["text/plain"]
    assert "titanic.Age" in text
