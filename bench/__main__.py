"""`python -m bench`: the command line. Run it from the root of the repository."""

from __future__ import annotations

import argparse
import datetime as dt
import resource
import shlex
import signal
import sys
from dataclasses import asdict
from pathlib import Path

from bench import install, machine, report, runner
from bench.measures import MEASURES, QUICK_SIZES, Bench, Measure, Sizes
from bench.native import OUT, Loadgen, build
from bench.peers import ALL, ON_REQUEST, QUICK, Peer, find
from bench.results import Results


def main() -> int:
    """Exit code 0, or 1 when bytes were wrong or nothing could be measured."""
    options = _options()
    if options.list:
        _list()
        return 0
    if options.setup or options.install_peers:
        install.install(long_compiles=options.install_peers)
        return 0
    if options.redraw:
        return _show(Results.read(options.redraw), options.redraw.with_suffix(""))
    results = _measure(options)
    if not results.samples:
        print(report.render(results), "nothing could be measured", sep="\n")
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    results.write(options.out / "results.json")
    return _show(results, options.out / "results")


def _measure(options: argparse.Namespace) -> Results:
    sizes = QUICK_SIZES if options.quick else Sizes()
    results = Results(
        command=shlex.join(["python", "-m", "bench", *sys.argv[1:]]),
        date=dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        machine=machine.facts(),
        repetitions=options.reps or (3 if options.quick else 7),
        sizes=asdict(sizes),
    )
    _be_a_good_neighbour()
    loadgen = Loadgen(build())
    with loadgen.serving("origin") as origin:
        bench = Bench(loadgen, origin, sizes)
        wanted = options.peers or (QUICK if options.quick else ALL)
        in_order = [kind for kind in (*ALL, *ON_REQUEST) if kind in wanted]
        usable = runner.probe(bench, in_order, results)
        for measure in options.measure or MEASURES:
            runner.run(bench, measure, usable, results)
    return results


def _show(results: Results, stem: Path) -> int:
    print(report.render(results))
    try:
        from bench import picture
    except ImportError:
        print("no picture: matplotlib is not installed", file=sys.stderr)
    else:
        picture.draw(results, stem)
    for path in (stem.with_suffix(suffix) for suffix in (".json", ".png", ".svg")):
        if path.exists():
            print(path)
    return 1 if results.wrong_bytes else 0


def _be_a_good_neighbour() -> None:
    """Room for thousands of sockets; and a polite end, processes included, when told to end."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("measure", nargs="*", type=_measure_named, help="all, when none is named")
    parser.add_argument("--quick", action="store_true", help="small sizes: about a minute")
    parser.add_argument("--reps", type=_positive, metavar="N", help="repetitions (7; quick: 3)")
    parser.add_argument(
        "--peers", nargs="+", type=_peer_named, metavar="PEER", help="only these (see --list)"
    )
    parser.add_argument(
        "--out", type=Path, default=OUT, metavar="DIR", help="for JSON and pictures"
    )
    parser.add_argument("--list", action="store_true", help="name the measures and the peers")
    parser.add_argument("--redraw", type=Path, metavar="JSON", help="show an earlier run again")
    parser.add_argument(
        "--setup", action="store_true", help="install what can be installed quickly"
    )
    parser.add_argument("--install-peers", action="store_true", help="also what compiles for long")
    return parser.parse_args()


def _measure_named(word: str) -> Measure:
    for measure in MEASURES:
        if measure.key == word:
            return measure
    raise argparse.ArgumentTypeError(
        f"no such measure; there are {', '.join(m.key for m in MEASURES)}"
    )


def _peer_named(word: str) -> type[Peer]:
    try:
        return find(word)
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


def _positive(word: str) -> int:
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError("a whole number above 0")
    return int(word)


def _list() -> None:
    print("measures")
    for measure in MEASURES:
        print(f"  {measure.key:<20}{measure.title}")
    print("\npeers")
    for peer in (*ALL, *ON_REQUEST):
        print(f"  {peer.name:<20}{peer.missing() or peer.note}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
