"""BrowserGym as a line-oriented server on standard input and output, in its own Python without `envfarm`.

Each line in is a JSON object, each gets one line out:

    {"list": true}                  -> {"tasks": ["ascending-numbers", ...]}
    {"task": "...", "seed": 0, "pages": "http://.../"}  -> {"goal": "...", "text": "..."}  (a reset; the flattened tree)
    {"flatten": axtree_object}      -> {"text": "..."}

`pages` is where the task pages are: taken from where the other side has them, trees need not differ in addresses.

What fails gives {"error": "..."}. BrowserGym pins a Playwright whose own browser need not be there: a small launcher for
the system's Chromium is put where Playwright looks for it.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any


def install_launcher(root: str) -> None:
    program = shutil.which("chromium") or shutil.which("chromium-headless-shell")
    if program is None:
        raise SystemExit("BrowserGym needs chromium on PATH")
    from playwright._impl._driver import compute_driver_executable

    driver = compute_driver_executable()
    package = Path(driver[0] if isinstance(driver, tuple) else driver).parent / "package"
    browsers = json.loads((package / "browsers.json").read_text())["browsers"]
    revision = next(browser["revision"] for browser in browsers if browser["name"] == "chromium")
    folder = Path(root) / f"chromium-{revision}" / "chrome-linux"
    folder.mkdir(parents=True)
    launcher = folder / "chrome"
    quiet = (
        "--no-sandbox --no-first-run --disable-background-networking --disable-component-update --disable-sync --disable-quic"
    )
    launcher.write_text(f'#!/bin/sh\nexec {program} {quiet} "$@"\n')
    launcher.chmod(0o755)
    os.environ["PLAYWRIGHT_BROWSERS_PATH"] = root


def answer(request: "dict[str, Any]") -> "dict[str, Any]":
    import gymnasium
    from browsergym.utils.obs import flatten_axtree_to_str

    if "list" in request:
        from browsergym.miniwob import ALL_MINIWOB_TASKS

        return {"tasks": [task.subdomain for task in ALL_MINIWOB_TASKS]}
    if "flatten" in request:
        return {"text": flatten_axtree_to_str(request["flatten"])}
    os.environ["MINIWOB_URL"] = request["pages"]
    env = gymnasium.make(f"browsergym/miniwob.{request['task']}", slow_mo=0)
    try:
        obs, _ = env.reset(seed=request["seed"])
        return {"goal": obs["goal"], "text": flatten_axtree_to_str(obs["axtree_object"])}
    finally:
        env.close()


def main() -> None:
    # Whatever the libraries print must not mix with the answers.
    out, sys.stdout = sys.stdout, sys.stderr
    with tempfile.TemporaryDirectory(prefix="envfarm-peer-") as root:
        install_launcher(root)
        import browsergym.miniwob  # noqa: F401  (registers the environments)

        for line in sys.stdin:
            try:
                reply = answer(json.loads(line))
            except Exception as error:
                reply = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(reply), file=out, flush=True)


if __name__ == "__main__":
    main()
