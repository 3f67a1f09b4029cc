"""./dev bench: measures Sluice, its peers and the floor in turn, in one run, interleaved, and reports.

Needs what ./dev bench installs and builds. Exit status 1 if Sluice lost, doubled or disordered a message or did not run.
"""
import argparse
import datetime
import json
import pathlib
import resource
import signal
import subprocess
import sys
import time

import figures
import measure
import peers
import report
import scenarios


def arguments():
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one round of the main scenarios and peers, 2-3 minutes; no report file")
    parser.add_argument("--scenarios", metavar="A,B", help=f"of: {', '.join(s.name for s in scenarios.ALL)}")
    parser.add_argument("--peers", metavar="A,B", help=f"of: {', '.join(p.name for p in peers.ALL)}")
    parser.add_argument("--rounds", type=int, help="repetitions (3; 1 with --quick)")
    parser.add_argument("--minutes", type=float, default=25, help="no new round begins after so long (25)")
    parser.add_argument("--report", metavar="FILE", help="Markdown file to write, plots beside it (docs/benchmarks/peers.md; none with --quick, "
                        "--scenarios or --peers)")
    parser.add_argument("--note", default="", help="a sentence for the report, such as what else the machine was doing")
    parser.add_argument("--tls", action="store_true", help="TLS, storms after kill -9 and tokens instead, with nginx and nchan beside them, "
                        "5 minutes (tests/bench/tls.py); no report file")
    parser.add_argument("--render", action="store_true", help="measure nothing: report what the last full run gave, from build/bench/")
    return parser.parse_args()


def chosen(names, known, what):
    if names is None:
        return known
    by_name = {item.name: item for item in known}
    unknown = [name for name in names.split(",") if name not in by_name]
    if unknown:
        sys.exit(f"no {what} {', '.join(unknown)}; there are: {', '.join(by_name)}")
    return [by_name[name] for name in names.split(",")]


def plan(args):
    """[(scenario, peers)] and the number of rounds."""
    picked = chosen(args.scenarios, scenarios.ALL, "scenario")
    wanted = {peer.name: peer for peer in chosen(args.peers, peers.ALL, "peer")}
    if args.quick and not args.scenarios:
        picked = [scenario for scenario in picked if scenario.quick]
    if args.quick and not args.peers:
        wanted = {name: wanted[name] for name in scenarios.QUICK}
    return [(scenario, [wanted[name] for name in scenario.peers if name in wanted]) for scenario in picked], args.rounds or (1 if args.quick else 3)


def run(todo, rounds, minutes, keep):
    """Round by round, so that a disturbance meets everybody; each round begins with another server. `keep` gets what there is so far."""
    results = {}
    begin = time.monotonic()
    for number in range(rounds):
        for scenario, its_peers in todo:
            if number >= (scenario.rounds or rounds):
                continue
            if number and time.monotonic() - begin > minutes * 60:
                print(f"{minutes:g} minutes are over: no more rounds", flush=True)
                return results
            shift = number * 2 % max(1, len(its_peers))
            for peer in its_peers[shift:] + its_peers[:shift]:
                result = measure.once(peer, scenario)
                results.setdefault(scenario.name, {}).setdefault(peer.name, []).append(result)
                print(f"{number + 1}/{rounds} {scenario.name:16} {peer.name:12} {report.brief(result, scenario)}", flush=True)
            keep(results)
    return results


def main():
    args = arguments()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(130))  # so that servers are ended
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if args.tls:
        script = [sys.executable, str(pathlib.Path(__file__).parents[1] / "tls.py")]
        return max(subprocess.run([*script, what]).returncode for what in ("idle", "accept", "paced", "saturated", "storm", "tokens"))
    part = bool(args.quick or args.scenarios or args.peers)
    kept = peers.ROOT / "build/bench" / ("part.json" if part else "results.json")
    if args.render:
        if not kept.exists():
            sys.exit(f"nothing to render: {kept} is not there")
        facts, results = json.loads(kept.read_text())
        facts["note"] = args.note or facts["note"]
        kept.write_text(json.dumps([facts, results]))
    else:
        todo, rounds = plan(args)
        facts = report.facts(args.note)
        begin = time.monotonic()
        kept.parent.mkdir(parents=True, exist_ok=True)

        def keep(results):
            facts["took"] = str(datetime.timedelta(seconds=round(time.monotonic() - begin)))
            kept.write_text(json.dumps([facts, results]))
        results = run(todo, rounds, args.minutes, keep)
    print(report.text(results))
    target = args.report or (None if part else "docs/benchmarks/peers.md")
    if target:
        report.write(pathlib.Path(target), facts, results)
        print(f"written: {target}")
    bad = [(name, peer) for name, by_peer in results.items() for peer in by_peer
           if peer.startswith("sluice") and figures.failures(results, name, peer)]
    for name, peer in bad:
        print(f"FAILED: {name} {peer}: {figures.failures(results, name, peer)[0]}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
