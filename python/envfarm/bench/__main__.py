"""Takes every figure, prints the table, writes report.json, report.png and runs.json.

python -m envfarm.bench --out out/bench --peer .venv-peer/bin/python [--quick]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from envfarm.bench import picture, rows
from envfarm.bench.measure import FULL, QUICK, Bench
from envfarm.bench.runs import BenchError, Runner
from envfarm.errors import FarmError
from envfarm.launch import find_binary


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m envfarm.bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    parser.add_argument("--peer", type=Path, default=Path(".venv-peer/bin/python"), help="a Python that has BrowserGym")
    parser.add_argument("--quick", action="store_true", help="less than three minutes; skips the long rows by name")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:4.0f} s] {text}", file=sys.stderr, flush=True)

    try:
        runner = Runner(find_binary(), args.peer)
        found = Bench(runner, QUICK if args.quick else FULL, say).rows()
    except (BenchError, FarmError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    (args.out / "runs.json").write_text(json.dumps(runner.log, indent=2) + "\n")
    rows.write(found, args.out / "report.json")
    picture.draw(found, runner.log, args.out / "report.png")
    print(rows.table(found))
    print(f"\n{args.out}/report.json, {args.out}/report.png; every single run in {args.out}/runs.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
