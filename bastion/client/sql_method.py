"""`sql` of frames: BastionLab's `RemoteLazyFrame.sql("… {} …", frame)`, and `frame.sql("… self …")`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from bastion_plan.errors import InputError

if TYPE_CHECKING:
    from bastion.client.frames import RemoteLazyFrame

#: quoted text and comments, in which {} means itself, or a place for a frame
_PIECES = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/|\{\}", re.DOTALL)


class SqlMethod:
    """The method on a frame and on the class. Whichever way it is called, it takes the same arguments."""

    def __get__(self, frame: RemoteLazyFrame | None, owner: type[RemoteLazyFrame]) -> Callable[..., RemoteLazyFrame]:
        def sql(query: str, *placed: Any, **frames: Any) -> RemoteLazyFrame:
            """Return the frame of an SQL query over frames.

            Args:
                query: the text; each `{}` in it stands for the next of `placed`. The frame whose method it is, is `self`.
                placed: frames, in the order of the `{}`. frames: others, by the name they have in the text.

            Raises:
                InputError: no frame, or as many `{}` as there are not frames. LanguageError: no SQL that is known.
            """
            from bastion.sql import parse_sql

            text, named = placeholders(query, placed)
            given = [*([] if frame is None else [frame]), *placed, *frames.values()]
            first = next((one for one in given if hasattr(one, "_then")), None)
            if first is None:
                msg = "An SQL query needs at least one frame."
                raise InputError(
                    msg, code="input.frame", next_step='Write RemoteLazyFrame.sql("select … from {}", frame).'
                )
            tables = {} if frame is None else {"self": frame}
            plans = {name: first._other(one) for name, one in {**tables, **frames, **named}.items()}
            return first._then(parse_sql(text, plans, first._connection._schema))  # type: ignore[no-any-return]

        return sql


def placeholders(query: str, placed: Iterable[Any]) -> tuple[str, dict[str, Any]]:
    """Return an SQL text with a name for each `{}`, and the frames by these names; the same frame has one name.

    Raises:
        InputError: as many `{}` as there are not frames.
    """
    if not isinstance(query, str):
        msg = "An SQL query is a text."
        raise InputError(msg, code="input.arguments", next_step='Write sql("select … from {}", frame).')
    waiting = list(placed)
    count = sum(piece.group() == "{}" for piece in _PIECES.finditer(query))
    if count != len(waiting):
        msg = f"The query has {count} places {{}} for {len(waiting)} frames."
        raise InputError(msg, code="input.arguments", next_step="Give one frame for each {}, in their order.")
    if not waiting:
        return query, {}
    base = "frame_"
    while base in query:
        base += "_"
    names: dict[str, Any] = {}

    def name_of(frame: Any) -> str:
        for name, known in names.items():
            if known is frame:
                return name
        names[f"{base}{len(names)}"] = frame
        return f"{base}{len(names) - 1}"

    def place(piece: re.Match[str]) -> str:
        return name_of(waiting.pop(0)) if piece.group() == "{}" else piece.group()

    return _PIECES.sub(place, query), names
