"""The smallest agent: sixteen environments at once, each clicking somewhere on its page.

python examples/random_agent.py --steps 20
"""

from __future__ import annotations

import argparse
import random
import re

import envfarm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", default=["click-test", "click-test-2", "click-button"])
    parser.add_argument("--steps", type=int, default=20)
    args = parser.parse_args()

    envs = envfarm.make_vec("miniwob", tasks=args.tasks, num_envs=16, observations=["axtree_txt"])
    obs, infos = envs.reset(seed=0)
    episodes = rewarded = 0
    for _ in range(args.steps):
        elements = [re.findall(r"\[(\w+)\]", tree) for tree in obs["axtree_txt"]]
        actions = [f"click({random.choice(ids)!r})" if ids else "noop()" for ids in elements]
        obs, rewards, terminated, truncated, infos = envs.step(actions)
        over = terminated | truncated
        episodes += over.sum()
        rewarded += (rewards[over] > 0).sum()
    envs.close()
    print(f"{episodes} episodes, {rewarded} solved by chance")


if __name__ == "__main__":
    main()
