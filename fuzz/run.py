"""Fuzz what taskslot reads from files, peers and clients, with libFuzzer. docs/fuzzing.md explains it.

    fuzz/run.py                          every target for a minute, two at a time
    fuzz/run.py stored --seconds 600     one target for longer
    fuzz/run.py stored --input FILE      run one input again, such as a crash

It needs Python, Rust and a C++ compiler. Programs and found inputs are kept in target/fuzz. A crash is kept in
fuzz/crashes, and the exit code is 1.
"""

import argparse
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILT = ROOT / "target/fuzz"
CRASHES = ROOT / "fuzz/crashes"
TARGETS = sorted(program.stem for program in (ROOT / "fuzz/fuzz_targets").glob("*.rs"))

# What cargo-fuzz passes too: each edge is counted, and libFuzzer sees what is compared. No sanitizer: engine and node
# have no unsafe code, and without one stable Rust is enough.
FLAGS = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=fuzzing",
]
# An input that takes longer, in seconds, counts as a crash. Beside other work, a program can stand still for seconds.
SLOW_S = 100
# So does one that takes more memory, in MB.
LARGE_MB = 1024
# The lines of libFuzzer's output that are shown of a crash.
SHOWN_LINES = 40


@dataclass
class Fuzzed:
    """What came of one target."""

    target: str
    crash: Path | None  # the input; None without a crash
    failed: bool
    output: str

    def line(self) -> str:
        """Executions, covered edges, and inputs that reached something new."""
        return (
            f"{self.target:<10} {self.number('number_of_executed_units'):>12,} executions"
            f" {self.last('cov'):>7,} edges {self.number('new_units_added'):>7,} new inputs"
            f" {self.number('peak_rss_mb'):>5,} MB"
        )

    def number(self, name: str) -> int:
        """One of libFuzzer's final figures."""
        found = re.search(rf"^stat::{name}:\s*(\d+)", self.output, re.M)
        return int(found[1]) if found else 0

    def last(self, name: str) -> int:
        """The last value of a figure that libFuzzer writes while it runs."""
        found = re.findall(rf"^#\d+\t.*\b{name}: (\d+)", self.output, re.M)
        return int(found[-1]) if found else 0


def host() -> str:
    """The platform to build for. With it named, the flags are not used for build scripts."""
    return re.search(r"^host: (\S+)", subprocess.check_output(["rustc", "-vV"], text=True), re.M)[1]


def build(targets: list[str]) -> Path:
    """Build the programs, and return their folder."""
    platform = host()
    command = ["cargo", "build", "--release", "--locked", "--manifest-path", str(ROOT / "fuzz/Cargo.toml")]
    command += ["--target", platform, "--target-dir", str(BUILT)]
    command += [word for target in targets for word in ("--bin", target)]
    environment = {**os.environ, "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(FLAGS)}
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    return BUILT / platform / "release"


def fuzz(program: Path, seconds: int) -> Fuzzed:
    """Run one target. Its new inputs are kept beside the programs, and are the first inputs of the next run."""
    found = BUILT / "found" / program.name
    found.mkdir(parents=True, exist_ok=True)
    CRASHES.mkdir(exist_ok=True)
    known = set(CRASHES.iterdir())
    command = [
        str(program),
        str(found),
        str(ROOT / "fuzz/corpus" / program.name),
        f"-max_total_time={seconds}",
        f"-timeout={SLOW_S}",
        f"-rss_limit_mb={LARGE_MB}",
        f"-artifact_prefix={CRASHES}/{program.name}-",
        "-print_final_stats=1",
    ]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = done.stdout.decode(errors="replace")
    (BUILT / f"{program.name}.log").write_text(output)
    new = [path for path in sorted(CRASHES.iterdir()) if path not in known]
    mine = [path for path in new if path.name.startswith(f"{program.name}-")]
    return Fuzzed(program.name, mine[0] if mine else None, done.returncode != 0, output)


def report(fuzzed: Fuzzed) -> None:
    """Print the figures, and of a crash its end and how to repeat it."""
    print(fuzzed.line(), flush=True)
    if not fuzzed.failed:
        return
    print("\n".join(fuzzed.output.splitlines()[-SHOWN_LINES:]))
    if fuzzed.crash:
        crash = fuzzed.crash.relative_to(ROOT)
        print(
            f"{fuzzed.target} failed. Repeat it: python3 fuzz/run.py {fuzzed.target} --input {crash}",
            flush=True,
        )
    else:
        print(f"{fuzzed.target} failed without an input", flush=True)


def main() -> int:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument(
        "targets", nargs="*", metavar="target", help=f"some of: {', '.join(TARGETS)} (default: all)"
    )
    parser.add_argument(
        "--seconds", type=int, default=60, help="how long each target runs (default: %(default)s)"
    )
    parser.add_argument("--jobs", type=int, default=2, help="how many run at a time (default: %(default)s)")
    parser.add_argument("--input", type=Path, help="only run this input, of one target")
    options = parser.parse_args()
    targets = options.targets or TARGETS
    if unknown := sorted(set(targets) - set(TARGETS)):
        parser.error(f"no target: {', '.join(unknown)}")
    if options.input and len(targets) != 1:
        parser.error("--input needs the one target that it is for")
    if options.seconds < 1 or options.jobs < 1:
        parser.error("--seconds and --jobs are at least 1")

    programs = build(targets)
    if options.input:
        return subprocess.run([programs / targets[0], options.input.resolve()], cwd=ROOT).returncode
    failed = False
    with ThreadPoolExecutor(options.jobs) as pool:
        for fuzzed in pool.map(lambda target: fuzz(programs / target, options.seconds), targets):
            report(fuzzed)
            failed |= fuzzed.failed
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
