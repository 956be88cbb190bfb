"""How many steps a second this client drives, against the `null` environment, which does nothing.

    python -m envfarm.load --slots 1000 --seconds 5

Prints one JSON object: steps/s over all slots, and the longest time without an outcome. The farm runs on the same machine.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from envfarm.errors import CommandFailed, FarmError
from envfarm.farm import Farm
from envfarm.launch import launch


def measure(farm: Farm, slots: int, seconds: float, environment: str = "null", task: str = "noop") -> dict[str, float]:
    """Steps every slot as soon as its last outcome is there."""
    with farm.acquire(environment, slots=slots) as lease, lease.session() as session:
        for slot in range(slots):
            session.reset(slot, task=task, seed=slot)
        for outcome in session.recv(min=slots, timeout=60):
            if outcome.failure is not None:
                raise CommandFailed(outcome.failure, outcome.slot)
            session.step(outcome.slot, "noop()")
        steps, longest = 0, 0.0
        began = last = time.perf_counter()
        while last - began < seconds:
            for outcome in session.recv():
                transition = outcome.transition
                if transition is None:
                    assert outcome.failure is not None
                    raise CommandFailed(outcome.failure, outcome.slot)
                steps += 1
                if transition.done:
                    session.reset(outcome.slot, task=task, seed=steps)
                else:
                    session.step(outcome.slot, "noop()")
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
        return {"slots": slots, "seconds": last - began, "steps_per_s": steps / (last - began), "longest_gap_s": longest}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m envfarm.load", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--slots", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--binary", type=Path, help="the farm's binary (default: as envfarm.launch finds it)")
    args = parser.parse_args()
    try:
        with launch(binary=args.binary) as farm:
            measure(farm, args.slots, 1.0)  # warms both sides up
            print(json.dumps(measure(farm, args.slots, args.seconds)))
    except FarmError as error:
        print(f"load: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
