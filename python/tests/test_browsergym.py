from __future__ import annotations

import numpy as np
import pytest

from envfarm.browsergym import page_action, task_seed


@pytest.mark.parametrize(
    ("action", "sent"),
    [
        ("mouse_click(150, 30)", "mouse_click(100, 20)"),
        ("mouse_click(x=150, y=30.0, button='left')", "mouse_click(x=100, y=20, button='left')"),
        ("mouse_drag_and_drop(3, 6, 9, 12)", "mouse_drag_and_drop(2, 4, 6, 8)"),
        ("scroll(0, -300)", "scroll(0, -200)"),
        ("scroll_at(15, 15, 0, 3)", "scroll_at(10, 10, 0, 2)"),
        ("I will mouse_move(1.5, .75) now", "I will mouse_move(1, 0.5) now"),
        ("mouse_upload_file(15, 15, 'a3.txt')", "mouse_upload_file(10, 10, 'a3.txt')"),
        ("fill('12', 'mouse_click(150, 30)')", "fill('12', 'mouse_click(150, 30)')"),
        ("click('13')\nmouse_click(3, 3)", "click('13')\nmouse_click(2, 2)"),
        ("noop(1000)", "noop(1000)"),
        ("keyboard_type('mouse')", "keyboard_type('mouse')"),
    ],
)
def test_coordinates_of_the_screenshot_become_those_of_the_page(action: str, sent: str) -> None:
    assert page_action(action) == sent


def test_the_page_gets_the_seed_that_browsergym_draws() -> None:
    assert task_seed(0) == np.random.RandomState(0).randint(0, 1000000) == 985772
