"""Data types of columns and literals: Polars' types as plain, hashable data."""

from __future__ import annotations

import msgspec

#: kinds without parameters
SIMPLE = frozenset(
    "Int8 Int16 Int32 Int64 Int128 UInt8 UInt16 UInt32 UInt64 Float32 Float64 Boolean String Binary Date Time "
    "Categorical Null".split()
)
#: literals only: Polars' dynamic numbers, which take the width of the column they meet
DYNAMIC = frozenset({"DynInt", "DynFloat"})
INTEGERS = frozenset("Int8 Int16 Int32 Int64 Int128 UInt8 UInt16 UInt32 UInt64 DynInt".split())
SIGNED = frozenset("Int8 Int16 Int32 Int64 Int128".split())
FLOATS = frozenset({"Float32", "Float64", "DynFloat"})
TEMPORAL = frozenset({"Date", "Time", "Datetime", "Duration"})


class DType(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One data type.

    kind: Polars' class name ("Int64", "Datetime", "List", …).
    unit: "ms", "us" or "ns" for Datetime and Duration.
    zone: time zone of a Datetime.
    inner: element type of List and Array.
    width: length of an Array.
    fields: (name, type) of a Struct.
    categories: values of an Enum.
    precision, scale: of a Decimal.
    """

    kind: str
    unit: str | None = None
    zone: str | None = None
    inner: DType | None = None
    width: int | None = None
    fields: tuple[tuple[str, DType], ...] = ()
    categories: tuple[str, ...] = ()
    precision: int | None = None
    scale: int | None = None

    def __str__(self) -> str:
        match self.kind:
            case "Datetime":
                return f"Datetime({self.unit}{', ' + self.zone if self.zone else ''})"
            case "Duration":
                return f"Duration({self.unit})"
            case "List":
                return f"List({self.inner})"
            case "Array":
                return f"Array({self.inner}, {self.width})"
            case "Struct":
                return "Struct(" + ", ".join(f"{n}: {t}" for n, t in self.fields) + ")"
            case "Decimal":
                return f"Decimal({self.precision}, {self.scale})"
            case _:
                return self.kind

    @property
    def is_integer(self) -> bool:
        """Whether values are whole numbers."""
        return self.kind in INTEGERS

    @property
    def is_float(self) -> bool:
        """Whether values are floating-point numbers."""
        return self.kind in FLOATS

    @property
    def is_numeric(self) -> bool:
        """Whether values are numbers (Decimal included)."""
        return self.kind in INTEGERS or self.kind in FLOATS or self.kind == "Decimal"

    @property
    def is_temporal(self) -> bool:
        """Whether values are dates, times or durations."""
        return self.kind in TEMPORAL

    @property
    def is_nested(self) -> bool:
        """Whether values hold other values."""
        return self.kind in {"List", "Array", "Struct"}


INT8, INT16, INT32, INT64, INT128 = (DType(k) for k in ("Int8", "Int16", "Int32", "Int64", "Int128"))
UINT8, UINT16, UINT32, UINT64 = (DType(k) for k in ("UInt8", "UInt16", "UInt32", "UInt64"))
FLOAT32, FLOAT64 = DType("Float32"), DType("Float64")
BOOLEAN, STRING, BINARY, DATE, TIME = (DType(k) for k in ("Boolean", "String", "Binary", "Date", "Time"))
CATEGORICAL, NULL = DType("Categorical"), DType("Null")
DYN_INT, DYN_FLOAT = DType("DynInt"), DType("DynFloat")


def datetime(unit: str = "us", zone: str | None = None) -> DType:
    """Return a Datetime type; `unit` is "ms", "us" or "ns"."""
    return DType("Datetime", unit=unit, zone=zone)


def duration(unit: str = "us") -> DType:
    """Return a Duration type; `unit` is "ms", "us" or "ns"."""
    return DType("Duration", unit=unit)


def list_of(inner: DType) -> DType:
    """Return the type of lists of `inner`."""
    return DType("List", inner=inner)


#: column names and their types, in order
Schema = dict[str, DType]
