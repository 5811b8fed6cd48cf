"""Tests of the contracts against sources that were altered on purpose, in a scratch copy.

The tests are built once, from the sources as they are; each alteration is built by itself, without the optimiser, and
tested by these. Compiled tests so show what the altered contracts do, and not how they were altered.
"""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
CONTRACTS = ROOT / "contracts"
FORGE = CONTRACTS / "node_modules" / ".bin" / "forge"


class Altered:
    """A scratch copy of some folders of tests, and one of the sources for each job."""

    def __init__(self, jobs, tests):
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="berth-altered-"))
        self.tests = self._copy("tests", ["src", "abi", "snapshots", "bin", "foundry.toml"] + [f"test/{name}" for name in tests])
        settings = self.tests / "foundry.toml"
        # Artifacts lie in a folder for each job.
        text = settings.read_text().replace("fs_permissions = [", 'fs_permissions = [\n  { access = "read", path = "./" },', 1)
        settings.write_text(text)
        self.jobs = [self._copy(f"sources-{job}", ["src"]) for job in range(jobs)]
        self.compilers = [
            subprocess.Popen(
                ["node", "--stack-size=4000", str(ROOT / "scripts" / "altered-solc.cjs")],
                text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )
            for _ in self.jobs
        ]
        built = self._forge(self.tests, {}, "test", "--list")
        if built.returncode != 0:
            raise SystemExit(f"the tests do not build:\n{built.stdout}")
        self.quick = False

    def _copy(self, name, parts):
        folder = self.scratch / name
        folder.mkdir()
        for part in parts:
            source = CONTRACTS / part
            if source.is_dir():
                shutil.copytree(source, folder / part)
            else:
                shutil.copy(source, folder / part)
        (folder / "node_modules").symlink_to(CONTRACTS / "node_modules")
        return folder

    @staticmethod
    def _forge(folder, environment, *arguments):
        environment = {**os.environ, "FOUNDRY_PROFILE": "lite", **environment}
        return subprocess.run(
            [str(FORGE), *arguments], cwd=folder, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, stdin=subprocess.DEVNULL,
        )

    def build(self, job):
        """Builds a job's sources: None if that worked, else what the compiler said."""
        compiler = self.compilers[job]
        asked = {"sources": str(self.jobs[job]), "artifacts": str(self.tests / f"out-{job}")}
        compiler.stdin.write(json.dumps(asked) + "\n")
        compiler.stdin.flush()
        return json.loads(compiler.stdout.readline())["error"]

    def test(self, job, *arguments, runs=None):
        """Runs tests against what a job has built: {name: None if it passed, else why it failed}."""
        environment = {"BERTH_ARTIFACTS": f"out-{job}"}
        if runs is not None:
            environment.update(FOUNDRY_FUZZ_RUNS=str(runs), FOUNDRY_INVARIANT_RUNS=str(max(1, runs // 8)))
        ran = self._forge(self.tests, environment, "test", "--json", *arguments)
        results = {}
        for line in ran.stdout.splitlines():
            if not line.startswith("{"):
                continue
            for suite, told in json.loads(line).items():
                for name, result in told["test_results"].items():
                    passed = result["status"] == "Success"
                    results[f"{suite}:{name}"] = None if passed else str(result.get("reason"))
        if not results:
            raise SystemExit(f"no test ran:\n{ran.stdout}")
        self._quicken()
        return results

    def _quicken(self):
        """Once everything is compiled: forge asks at each start for the version, and for one thing that it asked for
        before; either loads the whole compiler. The same question has the same answer, which is kept."""
        if self.quick:
            return
        solc, kept = self.tests / "bin" / "solc", self.tests / "kept"
        kept.mkdir()
        version = subprocess.run([str(solc), "--version"], text=True, stdout=subprocess.PIPE, check=True).stdout
        whole = solc.rename(solc.with_name("solc-whole"))
        solc.write_text(f"""#!/bin/sh
if [ "$1" != --version ]; then
  asked=$(mktemp {kept}/asked.XXXXXX)
  cat >"$asked"
  answer={kept}/$(sha256sum <"$asked" | cut -d' ' -f1)
  [ -f "$answer" ] || {{ {whole} "$@" <"$asked" >"$asked.answer" && mv "$asked.answer" "$answer"; }}
  rm "$asked"
  exec cat "$answer"
fi
cat <<'END'
{version}END
""")
        solc.chmod(0o755)
        self.quick = True

    def restore(self, job, path):
        """Puts a source back as it was."""
        shutil.copy(CONTRACTS / path, self.jobs[job] / path)

    def close(self):
        """Ends the compilers, and removes the scratch copy."""
        for compiler in self.compilers:
            compiler.stdin.close()
            compiler.wait()
        shutil.rmtree(self.scratch, ignore_errors=True)
