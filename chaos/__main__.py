"""Puts real servers under load, does faults to them, and judges the history of all calls: what `make chaos` runs.

    chaos                        all profiles in turn, with new seeds, on all installed servers, for ten minutes
    chaos --profile short        a fixed list of runs, which is a part of CI: about a minute
    chaos --profile torn --seed 7 --server redis-7.0    one run
    chaos check FOLDER           judge a kept history again
    chaos list                   the profiles
    chaos soak --hours 1         one server for hours, with its memory watched
    chaos results FILE...        write chaos/results from the rows of several campaigns (.run/chaos/rows.json of each)
    chaos document [--check]     write chaos/results into docs/guarantees.md, or compare
    chaos prove [SEEDS]          show that the rules find seeded bugs of a simulated queue
    chaos wrong                  show that they find builds of the module that are wrong on purpose

It ends with 1 if anything was found. The history of such a run is kept in .run/chaos, and its story is printed.
"""

from __future__ import annotations

import argparse
import importlib
import random
import sys
from pathlib import Path

from harness.server import SERVERS

from chaos import results, short
from chaos.campaign import Judged, Plan, controls, execute, judged, missing, rounds, share, summary, write
from chaos.history import read
from chaos.profiles import PROFILES
from chaos.report import line
from chaos.run import OUTPUT
from chaos.simulated.prove import prove

# Commands that are modules of their own, with a function `main(words)`.
MODULES = {
    "results": "chaos.results",
    "document": "chaos.document",
    "wrong": "chaos.wrong.hunt",
    "soak": "chaos.soak",
}

# Words for all profiles, and for the list of CI.
ALL, SHORT = "all", "short"

# How many seeds prove the rules if none are given.
PROOF_SEEDS = 5


def main() -> int:
    """Run what the command line says."""
    words = sys.argv[1:]
    command = words[0] if words and not words[0].startswith("-") else ""
    if command in MODULES:
        return int(importlib.import_module(MODULES[command]).main(words[1:]) or 0)
    if command == "prove":
        return prove(int(words[1]) if len(words) > 1 else PROOF_SEEDS)
    if command == "check":
        return checked([Path(word) for word in words[1:]])
    if command == "list":
        return listed()
    return campaign(parsed(words))


def parsed(words: list[str]) -> argparse.Namespace:
    """The options of the command line."""
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__, formatter_class=as_written)
    parser.add_argument("--seconds", type=float, default=600, help="for all runs together (%(default)s)")
    parser.add_argument("--server", default="all", help="names, separated by commas, or all")
    parser.add_argument("--profile", default=ALL, help="names, separated by commas, or all, or short")
    parser.add_argument(
        "--seed",
        type=int,
        help="the first seed; with a single profile the only one (random); short has its own",
    )
    parser.add_argument(
        "--length", type=float, help="seconds of load of one run (4 to 20, by the time there is)"
    )
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time (%(default)s)")
    parser.add_argument(
        "--keep", action="store_true", help="keep all histories, not only those with findings"
    )
    parser.add_argument("--results", action="store_true", help="write chaos/results for the documents")
    options = parser.parse_args(words)
    options.servers = list(SERVERS) if options.server == "all" else options.server.split(",")
    options.profiles = list(PROFILES) if options.profile in (ALL, SHORT) else options.profile.split(",")
    for name, given, known in (("server", options.servers, SERVERS), ("profile", options.profiles, PROFILES)):
        if unknown := [one for one in given if one not in known]:
            parser.error(f"--{name}: {unknown[0]} is not one of {', '.join(known)}")
    return options


def campaign(options: argparse.Namespace) -> int:
    """Do the runs, tell what they found, and add them up. Returns 1 if anything was found."""
    left_out = [] if options.profile == SHORT else lacking(options.profiles)
    options.profiles = [name for name in options.profiles if name not in left_out]
    # A profile that nobody asked for by its name may be missing.
    is_missed = bool(left_out) and options.profile != ALL
    if not options.profiles:
        return int(is_missed)
    rows = execute(planned(options), tell)
    if len(sums := summary(rows)) < len(rows):
        print("\n==> all runs", *sums, sep="\n")
    if options.profile != SHORT:
        for name, kinds in missing(rows).items():
            print(f"Not in these runs: {name}: {', '.join(kinds)}")
    failed = controls(rows)
    print(*failed, sep="\n")
    write(OUTPUT, rows)
    if options.results:
        results.write(rows)
    is_bad = bool(failed) or any(one.findings or one.problems or one.exits for one in rows)
    print("Found something: see above" if is_bad else f"Nothing found in {len(rows)} runs")
    return int(is_bad or is_missed or not rows)


def planned(options: argparse.Namespace) -> Plan:
    """The list of CI, or rounds of the profiles. Says how long each run has load."""
    if options.profile == SHORT:
        listed = short.chosen(options.servers)
        length = options.length or short.LENGTH_S
        print(f"A list of {len(listed)} runs, {length:g} s of load in each", flush=True)
        return Plan(listed, len(listed), options.seconds, length, options.jobs, options.keep)
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    is_one = options.seed is not None and len(options.profiles) == 1
    length = options.length or share(options.seconds, options.jobs, len(options.profiles))
    print(
        f"Seed {seed}, {length:.0f} s of load in each run. What a seed can't fix is the servers' own timing."
    )
    runs = rounds(options.profiles, options.servers, seed, 1 if is_one else sys.maxsize)
    return Plan(runs, len(options.profiles), options.seconds, length, options.jobs, options.keep)


def lacking(names: list[str]) -> list[str]:
    """The profiles that cannot run on this machine. Says so, and why."""
    found = []
    for name in names:
        if why := PROFILES[name].lacks():
            print(f"{name}: skipped. {why}", flush=True)
            found.append(name)
    return found


def tell(one: Judged) -> None:
    """Print what a run showed, and the stories of what was found."""
    print(f"seed {one.row.seeds[0]:6} {line(one.row)}", flush=True)
    for story in one.told:
        print(f"\n{story}\n", flush=True)
    if one.told:
        kept = f"kept in {one.folder}; " if one.folder else ""
        again = f"--profile {one.row.profile} --server {one.row.server} --seed {one.row.seeds[0]}"
        length = f" --length {one.length:g}" if one.length else ""
        print(f"{kept}again: python -m chaos {again}{length}\n", flush=True)


def checked(folders: list[Path]) -> int:
    """Judge kept histories again. Returns 1 if anything was found."""
    found = [judged(read(folder)) for folder in folders]
    for one in found:
        tell(one)
    return int(any(one.told for one in found))


def listed() -> int:
    """Print all profiles."""
    for profile in PROFILES.values():
        print(f"{profile.name:16} {profile.what}; may lose: {profile.window}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
