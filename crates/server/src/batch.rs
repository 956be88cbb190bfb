//! Outcomes into messages: as many as are there, bounded in count and bytes.

use std::collections::VecDeque;

use envfarm_core::{FailureCode, SlotState};
use envfarm_proto::convert::Twin;
use envfarm_proto::v1;
use envfarm_rollout::Unread;
use prost::Message;

/// Most outcomes in one message.
pub(crate) const MAX_OUTCOMES: usize = 4096;
/// A message is closed once it has so many bytes: the client can use none of it before it has all of it.
const FULL_BYTES: usize = 4 << 20;
/// Largest single outcome. The difference to the message limit leaves room for what surrounds it.
pub(crate) const MAX_OUTCOME_BYTES: usize = 48 << 20;

/// Outcomes that wait for the connection. Filled only when empty, so it holds at most [`MAX_OUTCOMES`].
#[derive(Default)]
pub(crate) struct Batcher {
    waiting: VecDeque<Unread>,
    /// Converted already, and too big for the message before.
    next: Option<v1::Outcome>,
}

impl Batcher {
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.next.is_none()
    }

    pub fn fill(&mut self, outcomes: &mut Vec<Unread>) {
        self.waiting.extend(outcomes.drain(..));
    }

    /// The next message; empty only if nothing waits.
    pub fn take(&mut self) -> v1::OutcomeBatch {
        let mut outcomes = Vec::with_capacity(self.waiting.len());
        let mut bytes = 0;
        while let Some(outcome) = self.next.take().or_else(|| self.convert_next()) {
            let size = outcome.encoded_len();
            if bytes + size > FULL_BYTES && !outcomes.is_empty() {
                self.next = Some(outcome);
                break;
            }
            bytes += size;
            outcomes.push(outcome);
        }
        v1::OutcomeBatch { outcomes }
    }

    fn convert_next(&mut self) -> Option<v1::Outcome> {
        self.waiting.pop_front().map(|outcome| fit((&*outcome).into(), MAX_OUTCOME_BYTES))
    }
}

/// Makes an outcome small enough to travel. Observations give way first, the largest before the others, each with an error
/// that says so: the step was taken, and its reward must not be lost over a picture.
fn fit(mut outcome: v1::Outcome, limit: usize) -> v1::Outcome {
    loop {
        let size = outcome.encoded_len();
        if size <= limit {
            return outcome;
        }
        let reason = format!("outcome of {size} bytes does not fit a message of {limit}");
        let largest = match &mut outcome.result {
            Some(v1::outcome::Result::Transition(transition)) => transition.observations.iter_mut().max_by_key(|o| o.data.len()),
            _ => None,
        };
        match largest.filter(|observation| !observation.data.is_empty()) {
            Some(observation) => {
                observation.data.clear();
                observation.content_hash = 0;
                observation.error = reason;
            }
            None => outcome.result = Some(v1::outcome::Result::Failure(too_large(reason, outcome.state))),
        }
    }
}

fn too_large(reason: String, slot_state: i32) -> v1::Failure {
    v1::Failure {
        code: FailureCode::Backend.to_wire(),
        reason,
        slot_state,
        action_may_have_applied: slot_state != SlotState::Empty.to_wire(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use envfarm_core::command::{Done, Outcome};
    use envfarm_core::{Encoding, Failure, Observation, ObservationKind, Timing, Transition};

    use super::*;

    fn outcome(sizes: &[usize]) -> Arc<Outcome> {
        let observation = |size: &usize| Observation {
            kind: ObservationKind::Screenshot,
            encoding: Encoding::Png,
            data: Ok(vec![0; *size].into()),
            captured_unix_us: 1,
        };
        let observations = sizes.iter().map(observation).collect();
        Arc::new(Outcome {
            request_id: 1,
            slot: 0,
            episode: 1,
            step: 1,
            state: SlotState::Running,
            result: Ok(Done::Transition(Box::new(Transition { observations, reward: 1.0, ..Transition::default() }))),
            timing: Timing::default(),
            replayed: false,
        })
    }

    #[test]
    fn small_outcomes_travel_together_and_in_order() {
        let mut batcher = Batcher::default();
        batcher.fill(&mut vec![outcome(&[10]).into(), outcome(&[20]).into(), outcome(&[]).into()]);
        assert_eq!(batcher.take().outcomes.len(), 3);
        assert!(batcher.is_empty());
        assert!(batcher.take().outcomes.is_empty());
    }

    #[test]
    fn a_message_is_closed_when_it_is_full() {
        let mut batcher = Batcher::default();
        batcher.fill(&mut vec![outcome(&[FULL_BYTES / 2]); 3].into_iter().map(Unread::from).collect());
        let sizes: Vec<_> = std::iter::repeat_with(|| batcher.take().outcomes.len()).take_while(|n| *n > 0).collect();
        assert_eq!(sizes, [1, 1, 1]);
        batcher.fill(&mut vec![outcome(&[FULL_BYTES / 4]); 4].into_iter().map(Unread::from).collect());
        let sizes: Vec<_> = std::iter::repeat_with(|| batcher.take().outcomes.len()).take_while(|n| *n > 0).collect();
        assert_eq!(sizes, [3, 1]);
    }

    #[test]
    fn an_outcome_that_is_too_large_loses_its_largest_observation_but_not_its_reward() {
        let fitted = fit((&*outcome(&[100, 5000, 200])).into(), 1000);
        let Some(v1::outcome::Result::Transition(transition)) = fitted.result else { panic!("not a transition") };
        assert_eq!(transition.reward, 1.0);
        assert_eq!(transition.observations.iter().map(|o| o.data.len()).collect::<Vec<_>>(), [100, 0, 200]);
        assert!(transition.observations[1].error.contains("does not fit"));
    }

    #[test]
    fn an_outcome_that_nothing_makes_fit_becomes_a_failure() {
        let mut large = (*outcome(&[])).clone();
        large.result = Err(Failure::new(FailureCode::SetupFailed, "x".repeat(5000)));
        let fitted = fit((&large).into(), 1000);
        let Some(v1::outcome::Result::Failure(failure)) = fitted.result else { panic!("not a failure") };
        assert_eq!(failure.code, FailureCode::Backend.to_wire());
    }
}
