"""Makes small changes to the contracts, one at a time, and tells which of them no test notices.

    scripts/contracts.sh mutate [COUNT [SEED [MINUTES]]]     COUNT (20) of all that are possible, drawn by SEED (1), or
                                                             as many of them as are tried in MINUTES (any time)

The operators are those of slither-mutate (relations, arithmetic, logic, constants, statements and conditions that go),
and the same for assembly, which it leaves alone. slither-mutate itself builds everything twice for each mutant, and has
neither a sample nor a seed. What survives is either missing a test, or stands in contracts/test/attacks/survivors.txt with
the reason for which it changes nothing.
"""

import random
import re
import sys
import time

from altered import CONTRACTS, Altered

ARGUED = CONTRACTS / "test" / "attacks" / "survivors.txt"

# What stands for what. Spaces around an operator tell it from a type's brackets or a comment.
SWAPS = [
    (" < ", " <= "), (" <= ", " < "), (" > ", " >= "), (" >= ", " > "), (" == ", " != "), (" != ", " == "),
    (" && ", " || "), (" || ", " && "), (" + ", " - "), (" - ", " + "), (" * ", " / "), (" / ", " * "),
    (" >> ", " << "), (" << ", " >> "), (" & ", " | "), (" | ", " & "), (" += ", " -= "), (" -= ", " += "),
    (" |= ", " &= "), ("++", "--"), ("true", "false"), ("false", "true"),
    ("add(", "sub("), ("sub(", "add("), ("mul(", "div("), ("lt(", "gt("), ("gt(", "lt("), ("and(", "or("),
    ("or(", "and("), ("shl(", "shr("), ("shr(", "shl("), ("eq(", "lt("), ("iszero(", "not("),
]
NUMBER = re.compile(r"(?<![\w.\"])(\d+)(?![\w.\"])")
# A statement on a line of its own that may go: a check, a write, an addition.
STATEMENT = re.compile(r"^\s*(require\(.*\);|[\w.\[\]]+ ([+\-|&]?=) .*;|_\w+\(.*\);|mstore\(.*\))$")
CONDITION = re.compile(r"^(\s*(?:\} else )?if \()(.*)(\) (?:\{|\w.*;))$")
# Assembly names are only such within assembly, but no Solidity function here is called so.
WORD_BEFORE = re.compile(r"[\w.]$")


def mutants(path):
    """Each (line, text that replaces it) of a source."""
    inside = False
    for at, whole in enumerate(path.read_text().splitlines()):
        # What is said beside a statement does nothing.
        line = whole.split(" // ")[0]
        bare = line.strip()
        inside |= bare.startswith(("contract ", "abstract contract ", "library ", "function "))
        if not inside or bare.startswith(("//", "/*", "*", "import", "function", "event", "error", "using")):
            continue
        if "constant" in bare and '"' in bare:
            continue
        if STATEMENT.match(line):
            yield at, ""
        if condition := CONDITION.match(line):
            yield at, f"{condition[1]}true{condition[3]}"
            yield at, f"{condition[1]}false{condition[3]}"
        for old, new in SWAPS:
            for found in re.finditer(re.escape(old), line):
                if old[0].isalpha() and WORD_BEFORE.search(line[: found.start()]):
                    continue
                yield at, line[: found.start()] + new + line[found.end() :]
        for found in NUMBER.finditer(line):
            yield at, line[: found.start()] + str(int(found[1]) + 1) + line[found.end() :]


def argued():
    """What survives with a reason: lines "old line => new line -- reason"."""
    if not ARGUED.exists():
        return {}
    lines = [line for line in ARGUED.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split(" -- ", 1) for line in lines)


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    most_s = 60 * float(sys.argv[3]) if len(sys.argv) > 3 else float("inf")
    sources = [path for path in sorted((CONTRACTS / "src").rglob("*.sol")) if path.parent.name not in ("interfaces", "mocks")]
    drawn = [(path, at, text) for path in sources for at, text in mutants(path)]
    total = len(drawn)
    random.Random(seed).shuffle(drawn)
    reasons = argued()
    tried = killed = allowed = 0
    altered = Altered(1, ["attacks", "fuzz", "support", "unit", "vectors"])
    try:
        if (said := altered.build(0)) is not None:
            raise SystemExit(said)
        if bad := [name for name, reason in altered.test(0, runs=16).items() if reason is not None and "Shape" not in name]:
            raise SystemExit(f"without any change, these fail: {', '.join(bad)}")
        # What is measured is mutants, not what they wait for.
        began = time.monotonic()
        for path, at, text in drawn:
            if tried == count or time.monotonic() - began > most_s:
                break
            place = path.relative_to(CONTRACTS)
            lines = path.read_text().splitlines()
            change = f"{lines[at].strip()} => {text.strip() or 'nothing'}"
            lines[at] = text
            (altered.jobs[0] / place).write_text("\n".join(lines) + "\n")
            try:
                if altered.build(0) is not None:
                    continue
                tried += 1
                # Shape measures sizes, which are of another build.
                results = altered.test(0, "--fail-fast", "--no-match-contract", "^Shape$", runs=16)
            finally:
                altered.restore(0, place)
            if any(reason is not None for reason in results.values()):
                killed += 1
                print(f"killed   {place}:{at + 1}: {change}", flush=True)
            elif change in reasons:
                allowed += 1
                print(f"argued   {place}:{at + 1}: {change} -- {reasons[change]}", flush=True)
            else:
                print(f"SURVIVES {place}:{at + 1}: {change}", flush=True)
    finally:
        altered.close()
    took = time.monotonic() - began
    print(
        f"seed {seed}: {killed} of {tried} mutants killed, {allowed} argued, {tried - killed - allowed} survive; "
        f"{total} possible; {took:.0f} s, {60 * tried / took:.1f} a minute"
    )
    raise SystemExit(1 if tried > killed + allowed else 0)


if __name__ == "__main__":
    main()
