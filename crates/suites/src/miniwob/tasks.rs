//! What is peculiar to single tasks of the package.

/// Tasks whose page brings itself back to its start, whatever an agent did in it: found by playing each at random and comparing
/// its restart with a fresh page, tree and picture. In the others the page's restart makes a new problem and leaves typed text,
/// an open calendar or a running timer beside it.
const RESTART: &str = "\
    bisect-angle choose-list circle-center click-button click-button-sequence click-checkboxes \
    click-checkboxes-large click-checkboxes-soft click-checkboxes-transfer click-color click-link click-option \
    click-shades click-shape click-test click-test-2 click-test-transfer click-widget count-shape count-sides \
    daily-calendar drag-box drag-circle drag-items drag-items-grid drag-shapes drag-shapes-2 drag-single-shape \
    drag-sort-numbers draw-circle draw-line enter-date enter-password enter-text enter-text-2 enter-text-dynamic \
    enter-time find-greatest find-midpoint find-word generate-number grid-coordinate guess-number highlight-text \
    highlight-text-2 identify-shape login-user login-user-popup number-checkboxes odd-or-even order-food phone-book \
    read-table read-table-2 right-angle sign-agreement simple-algebra simple-arithmetic text-transform tic-tac-toe \
    unicode-test visual-addition";

/// Tasks whose page goes on by itself.
const MOVING: &str = "button-delay chase-circle hover-shape moving-items simon-says stock-market";

/// Whether the page's own restart leaves nothing behind.
pub fn restarts_exactly(task: &str) -> bool {
    has(RESTART, task)
}

/// Whether the task stays at its start until somebody acts.
pub fn waits(task: &str) -> bool {
    !has(MOVING, task)
}

fn has(words: &str, task: &str) -> bool {
    words.split(' ').any(|word| word == task)
}
