"""Removes each defence of the contracts, one after the other, and shows that the attack's test then fails.

    scripts/contracts.sh defences [NAME...]

A defence is a file contracts/test/attacks/defences/NAME.patch:

    What: which defence it takes away
    Test: the test that has to fail without it
    -a line of the sources that goes
    +a line that comes
     a line that stays, to say which of several places is meant

Lines are compared without their indentation, and must be found together at one place of all sources. A blank line begins
another place. A patch that does not apply, does not compile, or lets its test pass is an error.
"""

import concurrent.futures
import os
import queue
import sys
import time

from altered import CONTRACTS, Altered

PATCHES = CONTRACTS / "test" / "attacks" / "defences"


class Patch:
    """One file of `defences/`."""

    def __init__(self, path):
        self.name = path.stem
        self.test = None
        self.hunks = [[]]
        for line in path.read_text().splitlines():
            if line.startswith("Test: "):
                self.test = line[6:].strip()
            elif not line.strip():
                self.hunks.append([])
            elif line[0] in "-+ ":
                self.hunks[-1].append(line)
        self.hunks = [hunk for hunk in self.hunks if hunk]

    def apply(self, sources):
        """Changes the sources, and gives the files that changed; what is wrong is raised as ValueError."""
        changed = set()
        for hunk in self.hunks:
            wanted = [line[1:].strip() for line in hunk if line[0] != "+"]
            found = []
            for path in sorted(sources.rglob("*.sol")):
                lines = path.read_text().splitlines()
                bare = [line.strip() for line in lines]
                found += [(path, at) for at in range(len(bare)) if bare[at : at + len(wanted)] == wanted]
            if len(found) != 1:
                raise ValueError(f"{len(found)} places have {wanted[0]!r}")
            path, at = found[0]
            lines = path.read_text().splitlines()
            lines[at : at + len(wanted)] = [line[1:] for line in hunk if line[0] != "-"]
            path.write_text("\n".join(lines) + "\n")
            changed.add(path.relative_to(sources.parent))
        return changed


def try_patch(altered, job, patch):
    """What is wrong with a patch, or None, and what its test said."""
    changed = set()
    try:
        try:
            changed = patch.apply(altered.jobs[job] / "src")
        except ValueError as refusal:
            return f"does not apply: {refusal}", ""
        said = altered.build(job)
        if said is not None:
            return "does not compile:\n" + "\n".join(said.splitlines()[-12:]), ""
        results = altered.test(job, "--match-test", f"^{patch.test}\\(")
        if any("setUp()" in name for name in results):
            return "breaks more than its defence: nothing can be set up", ""
        reasons = [reason for reason in results.values() if reason is not None]
        return (None, reasons[0][:150]) if reasons else (f"{patch.test} passes without it", "")
    finally:
        for path in changed or [p.relative_to(CONTRACTS) for p in (CONTRACTS / "src").rglob("*.sol")]:
            altered.restore(job, path)


def main():
    wanted = sys.argv[1:]
    patches = [Patch(path) for path in sorted(PATCHES.glob("*.patch"))]
    if unknown := set(wanted) - {patch.name for patch in patches}:
        raise SystemExit(f"no such defence: {', '.join(sorted(unknown))}")
    patches = [patch for patch in patches if not wanted or patch.name in wanted]
    jobs = min(len(patches), os.cpu_count() or 1)
    began = time.monotonic()
    altered = Altered(jobs, ["attacks", "support", "unit"])
    try:
        said = altered.build(0)
        if said is not None:
            raise SystemExit(said)
        names = "|".join(sorted({patch.test for patch in patches}))
        whole = altered.test(0, "--match-test", f"^({names})\\(")
        bad = [f"{name}: {reason}" for name, reason in whole.items() if reason is not None]
        bad += [patch.test for patch in patches if not any(f":{patch.test}(" in name for name in whole)]
        if bad:
            raise SystemExit("with all defences, these fail or are missing:\n" + "\n".join(bad))
        print(f"built in {time.monotonic() - began:.0f} s; with all defences, all {len(whole)} tests pass", flush=True)
        free = queue.SimpleQueue()
        for job in range(jobs):
            free.put(job)

        def work(patch):
            job = free.get()
            try:
                return patch, *try_patch(altered, job, patch)
            finally:
                free.put(job)

        wrong = 0
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            for patch, fault, reason in pool.map(work, patches):
                wrong += fault is not None
                print(f"{'ERROR' if fault else 'falls':5} {patch.name}: {fault or f'{patch.test}: {reason}'}", flush=True)
        print(f"{len(patches) - wrong} of {len(patches)} defences are needed, {time.monotonic() - began:.0f} s")
        raise SystemExit(1 if wrong else 0)
    finally:
        altered.close()


if __name__ == "__main__":
    main()
