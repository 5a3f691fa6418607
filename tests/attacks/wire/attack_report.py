"""Plays every attack under every profile and with its rule off, and writes what came of it: `make attack-report`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree

import msgspec

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "support")]

import attack_suite  # noqa: E402, F401 - registers the attacks
from attack_list import ATTACKS, FAMILIES, PROFILES, SWITCHES, Attack, by_family  # noqa: E402
from training_list import ROOT, TRAINING  # noqa: E402
from wire_arena import EPSILON, ROUNDS, Arena, Played  # noqa: E402

Results = Mapping[str, Mapping[str, Played]]

INTRODUCTION = """\
# Attacks on the guard, and what became of them

Each attack is a scientist who is after one person's secret and speaks the wire protocol to a live server, without our
client. Each is played in two worlds that differ in nothing but the secret; it has the secret if what it returns is right
in both. So what counts is whether the value got out, not whether there was an error. Each attack is also played against
the same tables under a policy that switches its defending rule off, or of a server without that rule, and must have it then:
else it would test nothing.

- **default** and **strict** are the profiles of [guard.md](guard.md) with k = 10. **private** adds noise (epsilon {epsilon}
  for all answers together), so there an attack must be right {rounds} times in a row in both worlds.
- *stopped* is followed by what the server said: the rule of a review or refusal, or that it answered and the answer did
  not hold the secret.
- *how far* is what an attack gets although every rule holds: the honest limits.
- **BastionLab**: of 57 attempts against a faithful port of its policy code, driven by its real client, 37 returned exact
  individual values. Which ones was not written down attack by attack, so its column says *not known*.

This page is written by `make attack-report`; `make test-all` plays the same attacks and fails where one gets further than
this page says. `make test` plays a fixed sample that has every rule of every family. The code of each attack is the function
of its name in `tests/attacks/wire`.
"""


def play_all(arena: Arena, kept: Path | None = None) -> dict[str, dict[str, Played]]:
    """Play everything. kept: a file of results to go on from."""
    results: dict[str, dict[str, Played]] = {}
    if kept is not None and kept.exists():
        results = msgspec.json.decode(kept.read_bytes(), type=dict[str, dict[str, Played]])
    started = time.monotonic()
    for number, attack in enumerate(by_family()):
        if number % 50 == 0:
            print(f"{number} of {len(ATTACKS)} attacks after {time.monotonic() - started:.0f} s", flush=True)
        found = results.setdefault(attack.name, {})
        for setting in (*PROFILES, attack.off):
            if setting in found:
                continue
            found[setting] = arena.play(attack, setting)
            if not expected(attack, setting, found[setting]):
                print(f"not as expected: {attack.name} under {setting}: {found[setting]}", flush=True)
        if kept is not None:
            kept.write_bytes(msgspec.json.encode(results, enc_hook=repr))
    return results


def expected(attack: Attack, setting: str, played: Played) -> bool:
    """Whether an attack went as the registry says."""
    return played.got is (setting == attack.off or setting in attack.reached)


def outcome(attack: Attack, profile: str, played: Played) -> str:
    """Return the outcome under a profile in words."""
    if played.got:
        return f"how far: {attack.reached[profile]}" if profile in attack.reached else "**OBTAINED**"
    said = [t for t in played.told if not t.startswith("answered")]
    if not said:
        return "stopped (answered without it)"
    return f"stopped ({said[0]})"


def cell(text: str) -> str:
    """Return text that fits a table's cell."""
    return text.replace("|", "\\|").replace("\n", " ")


def summary(results: Results) -> Iterator[str]:
    """Yield the lines of the table of families."""
    yield "| family | attacks | " + " | ".join(PROFILES) + " | rule off |"
    yield "|---|---|" + "---|" * (len(PROFILES) + 1)
    for family in (*FAMILIES, ""):
        attacks = [a for a in ATTACKS.values() if a.family == family or not family]
        row = []
        for profile in PROFILES:
            played = [(a, results[a.name][profile]) for a in attacks]
            found = Counter(outcome(a, profile, p).partition(" (")[0].partition(":")[0] for a, p in played)
            row.append(", ".join(f"{found[k]} {k}" for k in sorted(found, key=lambda k: (-found[k], k))))
        off = sum(1 for a in attacks if results[a.name][a.off].got)
        name = family or "**all**"
        yield f"| {name} | {len(attacks)} | " + " | ".join(row) + f" | {off} obtained |"


def tables(results: Results) -> Iterator[str]:
    """Yield the lines of one table per family."""
    for family in FAMILIES:
        yield f"\n## {family.capitalize()}\n"
        yield "| attack | what it does | held by | " + " | ".join(PROFILES) + " | with the rule off | BastionLab |"
        yield "|---|---|---|" + "---|" * (len(PROFILES) + 2)
        for attack in (a for a in by_family() if a.family == family):
            off = results[attack.name][attack.off]
            got = "obtained" if off.got else "**NOT OBTAINED**"
            parts = [
                f"`{attack.name}`", attack.what, attack.rule,
                *(outcome(attack, p, results[attack.name][p]) for p in PROFILES),
                f"{got} ({SWITCHES[attack.off]})", attack.bastionlab,
            ]  # fmt: skip
            yield "| " + " | ".join(map(cell, parts)) + " |"


def limits(results: Results) -> Iterator[str]:
    """Yield the lines about what is not stopped."""
    yield "\n## How far attacks get that exact answers cannot stop\n"
    yield "Use the private profile, or a smaller audience, where one of these matters.\n"
    for attack in by_family():
        for profile, text in attack.reached.items():
            played = results[attack.name][profile]
            if played.got:
                yield f"- **{profile}**, `{attack.name}`: {text}."
    yield (
        "\nReconstruction of Booleans from many overlapping exact sums, membership, and searches for leaking expressions "
        "are measured by the harnesses of `tests/attacks`; `make utility-report` writes their numbers."
    )


MARK = "\n## Training\n"
TRAINING_INTRODUCTION = """\
Models, weights and descriptions that are made to carry a person's secret out, or to harm the server, against a live server (two of
them against a training worker's own code). Nothing of it depends on a profile: with noise a fit is paid, without it an owner
approved it. Where what holds an attack can be taken away, the same test sees what it gives then.
"""


def play_training() -> dict[str, tuple[int, int]]:
    """Play the attacks on training; return how many forms of each there are, and how many got something."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "found.xml"
        tests = [f"{each.file}::{each.test}" for each in TRAINING]
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *tests]
        subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.DEVNULL)
        cases = ElementTree.parse(report).getroot().iter("testcase")
        found: dict[str, tuple[int, int]] = {}
        for case in cases:
            name = str(case.get("name")).partition("[")[0]
            forms, bad = found.get(name, (0, 0))
            found[name] = forms + 1, bad + any(part.tag in ("failure", "error", "skipped") for part in case)
    return found


def training(played: Mapping[str, tuple[int, int]]) -> Iterator[str]:
    """Yield the lines about training."""
    yield f"{MARK}\n{TRAINING_INTRODUCTION}"
    yield "| attack | what it does | held by | outcome | without it |"
    yield "|---|---|---|---|---|"
    for each in TRAINING:
        forms, bad = played.get(each.test, (0, 1))
        outcome = "**OBTAINED**" if bad else f"stopped ({forms} forms)" if forms > 1 else "stopped"
        name = each.test.removeprefix("test_")
        yield "| " + " | ".join(map(cell, (f"`{name}`", each.what, each.rule, outcome, each.off or "-"))) + " |"


def write_training(path: Path, played: Mapping[str, tuple[int, int]]) -> None:
    """Write the part about training anew, and nothing else."""
    before = path.read_text().partition(MARK)[0].rstrip("\n")
    path.write_text("\n".join([before, *training(played)]) + "\n")


def write(path: Path, results: Results, played: Mapping[str, tuple[int, int]]) -> None:
    """Write the report."""
    lines = [
        INTRODUCTION.format(epsilon=EPSILON, rounds=ROUNDS), *summary(results), *limits(results), *tables(results),
        *training(played),
    ]  # fmt: skip
    path.write_text("\n".join(lines) + "\n")


def main(target: str, kept: str | None = None) -> int:
    """Play, write, and say whether something got out that should not."""
    started = time.monotonic()
    played = play_training()
    lost = sum(played.get(each.test, (0, 1))[1] > 0 for each in TRAINING)
    if kept == "training":  # that part alone
        write_training(Path(target), played)
        return 1 if lost else 0
    with tempfile.TemporaryDirectory() as folder, Arena(Path(folder) / "arena") as arena:
        results = play_all(arena, Path(kept) if kept else None)
    write(Path(target), results, played)
    worse = lost + sum(not expected(a, s, results[a.name][s]) for a in by_family() for s in (*PROFILES, a.off))
    print(
        f"{len(ATTACKS)} attacks, and {len(TRAINING)} on training, in {time.monotonic() - started:.0f} s; written to {target}; {worse} not as expected."
    )
    return 1 if worse else 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:] or ["docs/attacks.md"]))
