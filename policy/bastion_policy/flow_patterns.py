"""What a written pattern comes to: how much it matches at least, and how many states it has."""

from __future__ import annotations

import re
from math import inf

#: white space and comments in a pattern, which may hide parentheses
_VERBOSE = re.compile(r"\(\?[A-Za-z-]*x[A-Za-z-]*[:)]")
#: of patterns that are plain to see: characters and classes, each once or more often
_ATOM = re.compile(
    r"(?:\\[sdwSDW.+*?()\[\]{}|^$/\\-]|\[\^?(?:\\[sdw.-]|[A-Za-z0-9 .,_:;/'\"-])+\]|[A-Za-z0-9 .,_:;/'\"@%&!=<>~#-]|[^\x00-\x7f])"
    r"(?:\+|\{[1-9]\d*(?:,\d*)?\})?"
)
#: classes of letters of all scripts, and of digits of all scripts: how many states they count for. Each letter takes 0.24 ms to
#: make ready, a digit 0.02, where others take 0.002: and it is made ready only where there is a text to look at
_WIDE, _WIDE_STATES, _DIGIT_STATES = re.compile(r"\\[wWpP]"), 50.0, 5.0


def shortest_match(pattern: object, *, literal: bool) -> int:
    """Return the bytes that a pattern matches at least; 0 where that is not plain to see."""
    if not isinstance(pattern, str):
        return 0
    if literal:
        return len(pattern.encode())
    plain = re.sub(r"(?<!\\)[()]", "", pattern.removeprefix("(?i)")).removeprefix("^")
    plain = plain[:-1] if plain.endswith("$") and not plain.endswith("\\$") else plain
    return len(_ATOM.findall(plain)) if re.fullmatch(f"(?:{_ATOM.pattern})+", plain) else 0


def steps_of(pattern: object) -> float:
    """Return how many states a pattern has when its repetitions are written out, or more.

    For each letter of a text a match may be in all of them.
    """
    if not isinstance(pattern, str) or _VERBOSE.search(pattern):
        return inf  # comments may hide parentheses
    sums, last, i = [0.0], 0.0, 0
    while i < len(pattern):
        char, end = pattern[i], i + 1
        if char == "(":
            sums.append(0.0)
        elif char == ")":
            if len(sums) == 1:
                return inf
            last = sums.pop() + 1
            sums[-1] += last
        elif char == "{" and (end := pattern.find("}", i) + 1):
            most = max(map(float, re.findall("[0-9]+", pattern[i:end])), default=1.0)
            sums[-1] += last * most if last else 0.0
            last = last * (most + 1) if last else 0.0
        elif char in "*+?":  # may be repeated again
            sums[-1], last = sums[-1] + 1, last + 1
        else:
            end = _end_of_class(pattern, i) if char == "[" else _end_of_escape(pattern, i) if char == "\\" else i + 1
            last = max(float(len(char.encode())), _WIDE_STATES if _WIDE.search(pattern[i:end]) and char in "[\\" else 1.0)
            last = max(last, _DIGIT_STATES if "\\d" in pattern[i:end].lower() else 1.0)
            sums[-1] += last
        if not end:
            return inf
        i = end
    return sums[0] if len(sums) == 1 else inf


def _end_of_class(pattern: str, start: int) -> int:
    """Return where a class of characters ends, classes within it included; 0 where it does not."""
    depth, i = 0, start
    while i < len(pattern):
        if pattern[i] == "\\":
            i += 1
        elif pattern[i] == "[":
            depth += 1
            i += 1 if pattern[i + 1 : i + 2] == "^" else 0
            i += 1 if pattern[i + 1 : i + 2] == "]" else 0  # the first of a class is a character
        elif pattern[i] == "]":
            depth -= 1
            if not depth:
                return i + 1
        i += 1
    return 0


def _end_of_escape(pattern: str, start: int) -> int:
    named = pattern[start + 1 : start + 2] in {"p", "P", "x", "u", "U"} and pattern[start + 2 : start + 3] == "{"
    return pattern.find("}", start) + 1 if named else start + 2
