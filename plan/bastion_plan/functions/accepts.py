"""Classes of data types in words: what an argument accepts, tested by the binder and named in its messages.

A description is one or more words joined by " or "; "list of X" and "array of X" describe the elements.

>>> fits("numeric or duration", DType("Int8"))
True
>>> fits("list of string", DType("List", inner=DType("Int8")))
False
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from bastion_plan.dtypes import DType

_PREDICATES: dict[str, Callable[[DType], bool]] = {
    "any": lambda t: True,
    "null": lambda t: t.kind == "Null",
    "numeric": lambda t: t.is_numeric,
    "number": lambda t: t.is_integer or t.is_float,
    "integer": lambda t: t.is_integer,
    "signed integer": lambda t: t.kind in {"Int8", "Int16", "Int32", "Int64", "Int128", "DynInt"},
    "wide number": lambda t: t.kind in {"Int32", "Int64", "UInt32", "UInt64", "Float32", "Float64"},
    "float": lambda t: t.is_float,
    "decimal": lambda t: t.kind == "Decimal",
    "boolean": lambda t: t.kind == "Boolean",
    "string": lambda t: t.kind == "String",
    "binary": lambda t: t.kind == "Binary",
    "date": lambda t: t.kind == "Date",
    "datetime": lambda t: t.kind == "Datetime",
    "time": lambda t: t.kind == "Time",
    "duration": lambda t: t.kind == "Duration",
    "temporal": lambda t: t.is_temporal,
    "categorical": lambda t: t.kind in {"Categorical", "Enum"},
    "list": lambda t: t.kind == "List",
    "array": lambda t: t.kind == "Array",
    "struct": lambda t: t.kind == "Struct",
    "flat": lambda t: not t.is_nested,
    "comparable": lambda t: t.kind not in {"List", "Array", "Struct", "Null"},
}

#: every word a description may be made of
WORDS = frozenset(_PREDICATES)


def fits(accepts: str, dtype: DType) -> bool:
    """Return whether a dtype belongs to the class that `accepts` describes.

    Raises:
        KeyError: a word that is not known (a mistake in the registry, not in a plan).
    """
    return any(_fits_one(word, dtype) for word in _words(accepts))


@lru_cache(maxsize=512)
def _words(accepts: str) -> tuple[str, ...]:
    return tuple(accepts.split(" or "))


def words(accepts: str) -> set[str]:
    """Return the words of a description without "list of" and "array of", for the check of the register."""
    return {word.removeprefix("list of ").removeprefix("array of ") for word in _words(accepts)}


def _fits_one(word: str, dtype: DType) -> bool:
    for kind, prefix in (("List", "list of "), ("Array", "array of ")):
        if word.startswith(prefix):
            return dtype.kind == kind and dtype.inner is not None and _fits_one(word.removeprefix(prefix), dtype.inner)
    return _PREDICATES[word](dtype)
