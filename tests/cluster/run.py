#!/usr/bin/env python3
"""./dev cluster [minutes]: the cases of a cluster over and over, at random, and a report.

run.py [--minutes M] [--seed N] [--case NAME ...] [--rate R] [--clients N]   exit status 1 if anything was lost, doubled or out of order
run.py --soak [--minutes M] [--clients 300]   C16: all of them in one cluster behind HAProxy (soak.py)
"""
import argparse
import random
import shutil
import sys
import tempfile
import time

import cases
import soak


def bad(name, report):
    """What is wrong with this run; None: nothing."""
    if report["faults"]:
        return f"{len(report['faults'])} faults, such as {report['faults'][0]}"
    if name not in cases.GAPS and (report["gaps"] or report["missing"]):
        return f"{report['gaps']} gaps where none should be"
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=0, help="default: each case once")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--case", action="append", choices=list(cases.CASES))
    parser.add_argument("--rate", type=float, default=300)
    parser.add_argument("--clients", type=int)
    parser.add_argument("--soak", action="store_true")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    print(f"seed {args.seed}")
    if args.soak:
        return soak.main(rng, args.minutes or 1, args.clients or 300)
    args.clients = args.clients or 6
    print("| case | sent | received | hops | gaps | missing, told | mended | sent again | longest silence | |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    todo, failed, total = [], 0, 0
    end = time.monotonic() + args.minutes * 60
    while True:
        if not todo:
            if total and time.monotonic() > end:
                break
            todo = list(args.case or cases.CASES)
            rng.shuffle(todo)
        name = todo.pop()
        directory = tempfile.mkdtemp(prefix=f"cluster-{name}-")
        report = cases.run(name, directory, seed=rng.random(), append=rng.random() < 0.3, rate=args.rate, clients=args.clients)
        total += 1
        wrong = bad(name, report)
        failed += wrong is not None
        print(f"| {name} | {report['sent']} | {report['received']} | {report['hops']} | {report['gaps']} | {report['missing']} | "
              f"{report['mended']:.0f} | {report['redelivered']:.0f} | {report['silence']:.2f} s | {wrong or 'ok'} |", flush=True)
        if wrong:
            print(f"logs: {directory}")
        else:
            shutil.rmtree(directory)
        if args.minutes and time.monotonic() > end:
            break
    print(f"{total} runs, {failed} bad")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
