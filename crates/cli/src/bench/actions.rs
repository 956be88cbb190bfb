//! The actions of all measurements, the peer's included: clicks where they end no episode.

use fastrand::Rng;

/// Where clicks fall, in CSS pixels: the upper part of MiniWoB's task area, which shows the goal and has nothing to press.
/// So every episode has the length that was asked for.
const WIDTH: u32 = 160;
const HEIGHT: u32 = 50;

/// A click at a random place of the task area that has no button.
pub fn place(random: &mut Rng) -> (u32, u32) {
    (random.u32(1..WIDTH), random.u32(1..HEIGHT))
}

/// The same in BrowserGym's words.
pub fn text(random: &mut Rng) -> String {
    let (x, y) = place(random);
    format!("mouse_click({x}, {y})")
}
