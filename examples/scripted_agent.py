"""A small scripted agent: reads goal and accessibility tree, and solves a good part of two dozen MiniWoB++ tasks by rules.

    python examples/scripted_agent.py --episodes 50

It looks only at the page as it is now: what is filled in or ticked already shows in the tree. `act` is all of it.
"""

from __future__ import annotations

import argparse
import ast
import random
import re
from collections import Counter
from dataclasses import dataclass

import envfarm

TASKS = [
    "click-test", "click-test-2", "click-button", "click-dialog", "click-dialog-2", "click-tab", "click-widget",
    "click-checkboxes", "click-option", "choose-list", "focus-text", "focus-text-2", "enter-text", "enter-password",
    "login-user", "simple-arithmetic", "simple-algebra", "read-table", "find-word", "copy-paste",
]  # fmt: skip

_LINE = re.compile(r"\t*(?:\[(?P<bid>\w+)\] )?(?P<role>\w+) (?P<name>'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\")(?P<rest>.*)")
_VALUE = re.compile(r" value=('(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\")")
_CLICKABLE = {"button", "link", "tab", "checkbox", "radio", "textbox", "option", "combobox"}


@dataclass
class Element:
    """One line of the tree."""

    bid: str
    role: str
    name: str
    value: str
    rest: str


def parse(tree: str) -> list[Element]:
    """The lines of a flattened accessibility tree; those without an id have an empty one."""
    elements = []
    for line in filter(None, map(_LINE.fullmatch, tree.split("\n"))):
        found = _VALUE.search(line["rest"])
        name, value = ast.literal_eval(line["name"]), ast.literal_eval(found[1]) if found else ""
        elements.append(Element(line["bid"] or "", line["role"], name, value, line["rest"]))
    return elements


def act(goal: str, tree: str) -> str:
    """The next action, in BrowserGym's language."""
    page = parse(tree)
    entries = texts_to_enter(goal, page)
    for element, text in entries:
        hidden = set(element.value) == {"•"} and len(element.value) == len(text)  # a password that is filled in
        if element.value != text and not hidden:
            return f"fill({element.bid!r}, {text!r})"
    wanted = re.search(r"Select (.+?)(?: from the list)? and click", goal)
    if wanted:
        for element in page:
            if element.role == "combobox" and element.value != wanted[1]:
                return f"select_option({element.bid!r}, {wanted[1]!r})"
            if element.name in wanted[1].split(", ") and "checked='false'" in element.rest:
                return f"click({element.bid!r})"
    target = submit(page) if entries or wanted else named(goal, page)
    if target is None:
        target = random.choice([element for element in page if element.role in _CLICKABLE and element.bid] or [None])
    return f"click({target.bid!r})" if target else "noop()"


def texts_to_enter(goal: str, page: list[Element]) -> list[tuple[Element, str]]:
    """Which text belongs into which box."""
    boxes = [element for element in page if element.role == "textbox"]
    quoted = re.findall(r'"(.*?)"', goal)
    texts = [element.name for element in page if element.role == "StaticText"]
    if not boxes:
        return []
    if re.match(r"Enter (the username )?\"", goal):
        return list(zip(boxes, quoted, strict=False))
    if goal.startswith("Enter the password"):
        return [(box, quoted[0]) for box in boxes]
    if goal.startswith("Copy the text"):
        return [(boxes[0], boxes[-1].value)]
    if goal.startswith("Solve"):
        return [(boxes[0], answer) for answer in filter(None, map(solve, texts))][:1]
    if cell := re.match(r"Enter the value of (.+) into", goal):
        cells = [element.name for element in page if element.role in ("cell", "gridcell")]
        return [(boxes[0], cells[cells.index(cell[1]) + 1])] if cell[1] in cells else []
    if word := re.match(r"Find the (\d+)\w\w word", goal):
        words = re.findall(r"[^\s,.]+", " ".join(texts))
        return [(boxes[0], words[int(word[1]) - 1])] if int(word[1]) <= len(words) else []
    return []


def solve(text: str) -> str | None:
    """`9 x 3 =` or `x + 9 = 6`."""
    if sum_ := re.fullmatch(r"(-?\d+) ([-+x]) (-?\d+) =", text.strip()):
        a, b = int(sum_[1]), int(sum_[3])
        return str({"+": a + b, "-": a - b, "x": a * b}[sum_[2]])
    if equation := re.fullmatch(r"(x|-?\d+) ([-+]) (x|-?\d+) = (-?\d+)", text.strip()):
        left, sign, right, result = equation.groups()
        if left == "x":
            return str(int(result) - int(right) if sign == "+" else int(result) + int(right))
        return str(int(result) - int(left) if sign == "+" else int(left) - int(result))
    return None


def submit(page: list[Element]) -> Element | None:
    return next((element for element in page if element.role == "button" and element.name in ("Submit", "Login")), None)


def named(goal: str, page: list[Element]) -> Element | None:
    """The element that the goal names: by its text, by its kind, or by being the n-th of its kind."""
    if widget := re.search(r'a "(\w+)" widget', goal):
        roles = {"text": "textbox", "textarea": "textbox"}
        return next((element for element in page if element.role == roles.get(widget[1], widget[1])), None)
    if goal.startswith("Focus"):
        boxes = [element for element in page if element.role == "textbox"]
        nth = re.search(r"(\d+)\w\w input", goal)
        return boxes[int(nth[1]) - 1 if nth else 0]
    said = (re.findall(r'"(.*?)"', goal) or re.findall(r"(?:button |on )(\w+ ?#?\d*)\.?$", goal) or [""])[0]
    names = {"x": "close"}.get(said, said.lower())
    clickable = [element for element in page if element.bid and element.role in _CLICKABLE]
    return next((element for element in clickable if element.name.lower() == names), None) or submit(page)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=50)
    args = parser.parse_args()
    todo = [(TASKS[i % len(TASKS)], i) for i in reversed(range(args.episodes))]
    tasks: dict[int, str] = {}
    goals: dict[int, str] = {}
    played, solved = Counter(), Counter()

    with (
        envfarm.launch() as farm,
        farm.acquire("miniwob", slots=8) as lease,
        lease.session(observations=["axtree_txt"]) as session,
    ):

        def begin(slot: int) -> None:
            if todo:
                tasks[slot], seed = todo.pop()
                session.reset(slot, task=tasks[slot], seed=seed, step_limit=10)

        for slot in range(lease.slots):
            begin(slot)
        while session.in_flight:
            for outcome in session.recv():
                slot, transition = outcome.slot, outcome.transition
                if transition is None:
                    print(f"{tasks[slot]}: {outcome.failure}")
                    begin(slot)
                    continue
                if transition.reset_report:
                    goals[slot] = transition.reset_report.goal
                if transition.done:
                    played[tasks[slot]] += 1
                    solved[tasks[slot]] += transition.reward > 0
                    begin(slot)
                else:
                    session.step(slot, act(goals[slot], transition.obs["axtree_txt"]))

    for task in TASKS:
        print(f"{task:20} {solved[task]:3} of {played[task]:3}")


if __name__ == "__main__":
    main()
