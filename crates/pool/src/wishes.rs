//! What the next sandboxes are best opened for: what recent takes wished for, in turn, while those are few.
//!
//! A sandbox that waits where its episode begins saves that episode a page load. With many different wishes the chance to
//! guess right is small, and a plain sandbox, cheaper to open, is the better guess.

use std::collections::VecDeque;
use std::sync::Arc;

use envfarm_core::SandboxSpec;

/// How many takes are remembered.
const REMEMBERED: usize = 32;
/// Beyond so many different wishes among them there is no guessing.
const MAX_DIFFERENT: usize = 4;

#[derive(Default)]
pub(crate) struct Wishes {
    recent: VecDeque<Arc<SandboxSpec>>,
    turn: usize,
}

impl Wishes {
    pub(crate) fn remember(&mut self, wish: &Arc<SandboxSpec>) {
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        // Equal ones share one allocation.
        let known = self.recent.iter().find(|known| *known == wish).unwrap_or(wish);
        self.recent.push_back(Arc::clone(known));
    }

    /// What to open the next sandbox for; `None` for no particular purpose.
    pub(crate) fn next(&mut self) -> Option<Arc<SandboxSpec>> {
        let mut different: Vec<&Arc<SandboxSpec>> = Vec::new();
        for wish in &self.recent {
            if !different.contains(&wish) {
                different.push(wish);
            }
        }
        if different.is_empty() || different.len() > MAX_DIFFERENT {
            return None;
        }
        self.turn = self.turn.wrapping_add(1);
        // In turn over the takes and not over the wishes: what is taken often is opened often.
        Some(Arc::clone(&self.recent[self.turn % self.recent.len()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(url: &str) -> Arc<SandboxSpec> {
        Arc::new(SandboxSpec { viewport: (1, 1), start_url: Some(url.to_owned()) })
    }

    #[test]
    fn what_is_taken_often_is_opened_often() {
        let mut wishes = Wishes::default();
        assert!(wishes.next().is_none());
        for url in ["a", "a", "a", "b"].repeat(8) {
            wishes.remember(&wish(url));
        }
        let opened: Vec<_> = (0..32).filter_map(|_| wishes.next()).collect();
        assert_eq!(opened.iter().filter(|w| **w == wish("a")).count(), 24);
        assert_eq!(opened.len(), 32);
    }

    #[test]
    fn many_different_wishes_are_not_guessed_at_until_they_are_few_again() {
        let mut wishes = Wishes::default();
        for n in 0..10 {
            wishes.remember(&wish(&n.to_string()));
        }
        assert!(wishes.next().is_none());
        for _ in 0..REMEMBERED {
            wishes.remember(&wish("a"));
        }
        assert_eq!(wishes.next(), Some(wish("a")));
    }
}
