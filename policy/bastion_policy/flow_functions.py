"""What is known of functions by their names: what they keep, what they may be given, which of them never fail."""

from __future__ import annotations

from bastion_plan.functions.spec import Flow as FunctionFlow

#: flow classes that read other rows of the frame
CROSS_ROW = frozenset({FunctionFlow.WINDOW, FunctionFlow.FILTER, FunctionFlow.TIED})
#: functions that may be taken of a pristine column.
#: INVARIANT: none of them packs more into a sum than its own size: one sum of square roots or logarithms, with all its digits,
#: has a single solution among the whole numbers that ten people may have, and names them all.
ALLOWED = frozenset({"abs", "str.len_chars", "str.len_bytes"})
#: values of calendar parts, which are public: months exist whether or not anyone was born in one
CALENDAR: dict[str, tuple[int, int]] = {
    "dt.month": (1, 12),
    "dt.quarter": (1, 4),
    "dt.weekday": (1, 7),
    "dt.day": (1, 31),
    "dt.hour": (0, 23),
    "dt.minute": (0, 59),
    "dt.second": (0, 59),
    "dt.week": (1, 53),
    "dt.ordinal_day": (1, 366),
}
#: parts that may be taken of dates and lengths of time, with the ends of those that have any
DATE_PARTS: dict[str, tuple[float, float] | tuple[None, None]] = {
    **{name: (float(low), float(high)) for name, (low, high) in CALENDAR.items()},
    "dt.year": (None, None),
    "dt.iso_year": (None, None),
    "dt.date": (None, None),
    "dt.total_days": (None, None),
    "dt.total_hours": (None, None),
    "dt.total_minutes": (None, None),
    "dt.total_seconds": (None, None),
}
#: INVARIANT: of a value, which rows are null is public only where they are null in the table. All functions that are not
#: known to keep nulls where they are, and make no new ones, count as conditions in disguise.
NULL_KEEPING = frozenset(
    """
    add sub mul truediv eq ne lt le gt ge xor eq_missing ne_missing and_ or_ not_ neg is_in is_between is_close
    is_null is_not_null is_nan is_not_nan is_finite is_infinite fill_null fill_nan pl.coalesce pl.all_horizontal
    pl.any_horizontal abs sign sqrt cbrt exp log log10 log1p sin cos tan floor ceil round truncate clip cut
    bin_intervals str.contains str.starts_with str.ends_with str.len_bytes str.len_chars str.to_lowercase
    str.to_uppercase str.to_titlecase str.reverse str.strip_chars str.strip_chars_start str.strip_chars_end
    str.strip_prefix str.strip_suffix str.head str.tail str.slice str.replace str.replace_all str.pad_start
    str.pad_end str.zfill dt.year dt.iso_year dt.quarter dt.month dt.week dt.weekday dt.day dt.ordinal_day dt.hour
    dt.minute dt.second dt.date dt.time dt.truncate dt.round dt.month_start dt.month_end dt.is_leap_year
    dt.total_days dt.total_hours dt.total_minutes dt.total_seconds dt.strftime dt.to_string cat.len_chars
    cat.starts_with cat.ends_with
    """.split()
)


#: INVARIANT: the functions that private columns may be given to at all: none fails at any value, whatever its options.
#: An unlisted one may, and an error that depends on one row tells of that row.
TOTAL = frozenset(
    """
    add sub mul truediv floordiv truncdiv mod neg abs sign sqrt cbrt exp log log10 log1p sin cos tan sinh cosh tanh
    arcsin arccos arctan arctan2 degrees radians floor ceil round round_sig_figs truncate clip
    eq ne lt le gt ge eq_missing ne_missing and_ or_ xor not_ is_in is_between is_close is_null is_not_null is_nan
    is_not_nan is_finite is_infinite fill_null fill_nan cut bin_intervals replace
    pl.coalesce pl.all_horizontal pl.any_horizontal pl.sum_horizontal pl.mean_horizontal pl.min_horizontal
    pl.max_horizontal pl.concat_str pl.format pl.struct struct.field
    str.contains str.contains_any str.starts_with str.ends_with str.len_bytes str.len_chars str.to_lowercase
    str.to_uppercase str.to_titlecase str.reverse str.strip_chars str.strip_chars_start str.strip_chars_end
    str.strip_prefix str.strip_suffix str.head str.tail str.slice str.replace str.replace_all str.replace_many
    str.pad_start str.pad_end str.zfill str.extract str.count_matches str.find str.split str.split_exact str.splitn
    str.to_integer str.to_date str.to_datetime str.to_time str.strptime str.normalize
    cat.len_chars cat.len_bytes cat.starts_with cat.ends_with
    dt.year dt.iso_year dt.century dt.millennium dt.quarter dt.month dt.week dt.weekday dt.day dt.ordinal_day
    dt.days_in_month dt.hour dt.minute dt.second dt.millisecond dt.microsecond dt.nanosecond dt.date dt.time
    dt.truncate dt.round dt.month_start dt.month_end dt.is_leap_year dt.is_business_day
    dt.total_days dt.total_hours dt.total_minutes dt.total_seconds dt.total_milliseconds
    list.len list.contains list.sum list.mean list.min list.max list.median list.get list.first list.last list.n_unique
    list.count_matches list.unique list.sort list.any list.all list.std list.var list.join
    arr.len arr.contains arr.sum arr.mean arr.min arr.max arr.median arr.get arr.first arr.last arr.n_unique
    """.split()
)
#: of these, those that read the format off the rows where none is given
GUESSES = frozenset({"str.to_date", "str.to_datetime", "str.to_time", "str.strptime"})
#: functions that take a column in every argument, and never fail; the arguments of others after the first are written down
TAKES_COLUMNS = frozenset(
    """
    add sub mul truediv floordiv truncdiv mod eq ne lt le gt ge eq_missing ne_missing and_ or_ xor is_between is_close
    fill_null fill_nan pl.coalesce pl.all_horizontal pl.any_horizontal pl.sum_horizontal pl.mean_horizontal
    pl.min_horizontal pl.max_horizontal pl.concat_str pl.format pl.struct
    """.split()
)


#: reductions of one unit's rows that give a column of the unit; other functions of a column are binnings
PER_UNIT = frozenset(
    """
    sum mean min max median quantile std var first last len count n_unique null_count
    """.split()
)
#: of these, those that are sums of rows, each with a weight of its own, or change with every row; others may be what one row holds.
#: INVARIANT: none of them is bent. The spread of two rows is how far they lie apart: added up, what people gained and what they lost,
#: which beside the sums of both rows is what the only one lost who did.
OF_ALL_ROWS = frozenset(["sum", "mean", "len", "count", "n_unique", "null_count"])
#: of these, those that lie between the smallest and the largest of them
WITHIN = frozenset(["mean", "min", "max", "median", "quantile", "first", "last"])
#: the same for windows over one unit's rows
PER_UNIT_WINDOWS = PER_UNIT | frozenset(
    """
    shift diff cum_sum cum_min cum_max cum_count rank forward_fill backward_fill interpolate rolling_mean
    rolling_sum
    """.split()
)
#: functions that are affine where one of their arguments is written down
AFFINE = frozenset({"add", "sub", "mul", "truediv", "neg"})
#: functions that put texts together
JOINS_TEXT = frozenset({"pl.concat_str", "pl.format"})
