//! What must hold of every dialect whatever an agent writes.

use proptest::prelude::*;

use super::Dialect;
use crate::action::{Action, MAX_WAIT_MS, Modifier, MouseButton, Target};

fn dialect() -> impl Strategy<Value = Dialect> {
    prop::sample::select(&Dialect::ALL[..])
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        "[a-z]{0,2}[0-9]{1,4}".prop_map(Target::Element),
        (-1e4..1e4f64, -1e4..1e4f64).prop_map(|(x, y)| Target::Pixel { x, y }),
        (0.0..1.0f64, 0.0..1.0f64).prop_map(|(x, y)| Target::Point { x, y }),
    ]
}

/// Texts with what breaks parsers in them.
fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "\\PC{0,6}",
        prop::sample::select(&["'", "\"\"\"", "\\", "\n", "\r\n", "]", "[1]", "```", "#", "\0", "\t"][..]).prop_map(str::to_owned)
    ];
    prop::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
}

fn action() -> impl Strategy<Value = Action> {
    let button = prop::sample::select(&[MouseButton::Left, MouseButton::Middle, MouseButton::Right][..]);
    let modifiers = prop::collection::vec(prop::sample::select(&[Modifier::Alt, Modifier::Shift][..]), 0..2);
    prop_oneof![
        (target(), button.clone(), 1..4u8, modifiers).prop_map(|(target, button, count, modifiers)| Action::Click {
            target,
            button,
            count,
            modifiers
        }),
        target().prop_map(|target| Action::Hover { target }),
        (prop::option::of(target()), button).prop_map(|(target, button)| Action::MouseUp { target, button }),
        (target(), target()).prop_map(|(from, to)| Action::Drag { from, to }),
        (prop::option::of(target()), -1e4..1e4f64, -1e4..1e4f64).prop_map(|(at, dx, dy)| Action::Scroll { at, dx, dy }),
        prop::sample::select(&[1.0, -1.0, 2.0 / 3.0, 0.5][..]).prop_map(|pages| Action::ScrollPages { pages }),
        (target(), text()).prop_map(|(target, text)| Action::Fill { target, text }),
        (prop::option::of(target()), text(), any::<bool>(), any::<bool>()).prop_map(|(target, text, clear, press_enter)| Action::Type {
            target,
            text,
            clear,
            press_enter
        }),
        (target(), prop::collection::vec(text(), 0..3)).prop_map(|(target, options)| Action::Select { target, options }),
        (target(), prop::collection::vec(text(), 0..3)).prop_map(|(target, files)| Action::Upload { target, files }),
        (prop::option::of(target()), text()).prop_map(|(target, keys)| Action::Press { target, keys }),
        (text(), any::<bool>()).prop_map(|(url, new_tab)| Action::Goto { url, new_tab }),
        (0..9usize).prop_map(|index| Action::FocusTab { index }),
        (0..=MAX_WAIT_MS).prop_map(|ms| Action::Wait { ms }),
        text().prop_map(|text| Action::Answer { text }),
        text().prop_map(|answer| Action::Finish { answer }),
        text().prop_map(|reason| Action::Infeasible { reason }),
        Just(Action::Back),
        Just(Action::CloseTab),
    ]
}

proptest! {
    #[test]
    fn any_text_gives_an_action_or_an_error_within_it(dialect in dialect(), text in "\\PC{0,200}|[a-z_ \\[\\]()'\"`\\\\,=#\n\0\r0-9.-]{0,200}") {
        if let Err(error) = dialect.parse(&text) {
            prop_assert!(error.at <= text.len() && !error.reason.is_empty());
            prop_assert!(error.reason.len() < 400);
        }
    }

    #[test]
    fn a_damaged_action_gives_an_action_or_an_error_within_it(
        dialect in dialect(),
        action in action(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), "\\PC{0,2}|['\"\\\\(\\[`]", 0..4usize), 1..4),
    ) {
        let Some(mut text) = dialect.render(&action) else { return Ok(()) };
        for (place, insert, remove) in damage {
            let mut chars: Vec<char> = text.chars().collect();
            let start = place.index(chars.len() + 1);
            let end = (start + remove).min(chars.len());
            chars.splice(start..end, insert.chars());
            text = chars.into_iter().collect();
        }
        if let Err(error) = dialect.parse(&text) {
            prop_assert!(error.at <= text.len() && !error.reason.is_empty());
        }
    }

    #[test]
    fn what_is_rendered_is_read_back(dialect in dialect(), action in action()) {
        if let Some(text) = dialect.render(&action) {
            prop_assert_eq!(dialect.parse(&text), Ok(action), "{}", text);
        }
    }

    #[test]
    fn sequences_are_read_back(actions in prop::collection::vec(action(), 2..5)) {
        let action = Action::Sequence(actions);
        if let Some(text) = Dialect::Browsergym.render(&action) {
            prop_assert_eq!(Dialect::Browsergym.parse(&text), Ok(action), "{}", text);
        }
    }
}

#[test]
fn megabytes_of_nonsense_are_answered_at_once() {
    for dialect in Dialect::ALL {
        for unit in ["x", "(", "[", "click('", "click [", "``` ", "do(\"\"\"", "\\", "\u{1f600}", "\0"] {
            let text = unit.repeat((1 << 20) / unit.len());
            assert!(dialect.parse(&text).is_err(), "{dialect}: {unit}");
        }
    }
}
