//! What each slot does next and when: the decisions of the load, without clock or connection.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use envfarm_core::command::{Command, Done, Op, Outcome, Reset, ResetFrom, StepAction};
use envfarm_core::{ActionStatus, Dialect, ObservationSpec, ResetMode, ResetStrategy, TaskRef};
use fastrand::Rng;
use tokio::time::Instant;

use super::actions;
use super::report::Tally;

/// Long enough for a whole farm to be reset at once.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Seeds of one slot lie this far from the next slot's.
const SEEDS_PER_SLOT: u64 = 1_000_000;

/// What every slot is to do.
pub struct Plan {
    pub task: String,
    pub mode: ResetMode,
    /// `None`: episodes do not end.
    pub episode_steps: Option<u32>,
    pub prepare: bool,
    /// Zero: as fast as they come.
    pub interval: Duration,
}

struct Slot {
    episode: u64,
    step: u32,
    seed: u64,
    request: u64,
    /// When the command in flight was sent or, of a paced step, was due.
    asked: Instant,
    resetting: bool,
    /// When the last paced step was due; `None` before the first reset is over.
    due: Option<Instant>,
}

pub struct Schedule {
    plan: Plan,
    slots: Vec<Slot>,
    /// Paced steps to come.
    waiting: BinaryHeap<Reverse<(Instant, u32)>>,
    next_request: u64,
    random: Rng,
    /// Slots whose first reset has been answered.
    started: usize,
}

impl Schedule {
    pub fn new(plan: Plan, slots: u32, now: Instant) -> Self {
        let slot = |index: u32| Slot {
            episode: 0,
            step: 0,
            seed: u64::from(index) * SEEDS_PER_SLOT,
            request: 0,
            asked: now,
            resetting: true,
            due: None,
        };
        let slots = (0..slots).map(slot).collect();
        Self { plan, slots, waiting: BinaryHeap::new(), next_request: 1, random: Rng::with_seed(1), started: 0 }
    }

    /// The first command of every slot.
    pub fn begin(&mut self, now: Instant) -> Vec<Command> {
        (0..self.slots.len()).map(|index| self.reset(index, now)).collect()
    }

    /// Whether every slot has had its first reset.
    pub fn all_started(&self) -> bool {
        self.started == self.slots.len()
    }

    /// When the next paced step is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.waiting.peek().map(|Reverse((due, _))| *due)
    }

    /// Adds the paced steps that are due.
    pub fn release(&mut self, now: Instant, commands: &mut Vec<Command>) {
        while let Some(Reverse((due, index))) = self.waiting.peek().copied().filter(|Reverse((due, _))| *due <= now) {
            self.waiting.pop();
            // Counted from when it was due: being late to ask must not flatter the answer.
            commands.push(self.step(index as usize, due));
        }
    }

    /// Takes an outcome in, counts it where it counts, and adds what its slot does next.
    ///
    /// # Errors
    /// The farm refused a command: this client and the farm do not agree, and nothing measured would mean anything.
    pub fn take(&mut self, outcome: Outcome, now: Instant, tally: Option<&mut Tally>, commands: &mut Vec<Command>) -> anyhow::Result<()> {
        let index = outcome.slot as usize;
        let Some(slot) = self.slots.get_mut(index) else { bail!("outcome of slot {index}, which was not asked for") };
        if let Err(failure) = &outcome.result
            && failure.code.is_refusal()
        {
            bail!("the farm refused a command: {failure}");
        }
        if slot.request != outcome.request_id {
            return Ok(()); // of a preparation
        }
        (slot.episode, slot.step) = (outcome.episode, outcome.step);
        let resetting = slot.resetting;
        if let Some(tally) = tally {
            count(tally, &outcome, resetting, now.saturating_duration_since(slot.asked));
        }
        if resetting && slot.due.is_some() {
            // No agent acts on what it has not seen: its pace begins anew with the episode. The wait is the reset's.
            slot.due = Some(now);
        }
        if slot.due.is_none() {
            let phase = self.plan.interval.mul_f64(self.random.f64());
            slot.due = Some(now + phase);
            self.started += 1;
        }
        match outcome.result {
            Ok(Done::Transition(transition)) if !transition.terminated && transition.truncated.is_none() => {
                if resetting && self.plan.prepare {
                    commands.push(self.prepare(index));
                }
                self.go_on(index, now, commands);
            }
            _ => commands.push(self.reset(index, now)),
        }
        Ok(())
    }

    /// The slot's next step: at once, or when it is due.
    fn go_on(&mut self, index: usize, now: Instant, commands: &mut Vec<Command>) {
        if self.plan.interval.is_zero() {
            commands.push(self.step(index, now));
            return;
        }
        let due = self.slots[index].due.get_or_insert(now);
        *due += self.plan.interval;
        // Built from a u32.
        self.waiting.push(Reverse((*due, index as u32)));
    }

    fn step(&mut self, index: usize, asked: Instant) -> Command {
        let text = actions::text(&mut self.random);
        self.slots[index].resetting = false;
        self.slots[index].asked = asked;
        self.command(index, Op::Step(StepAction::Text { text, dialect: Dialect::Browsergym }))
    }

    fn reset(&mut self, index: usize, now: Instant) -> Command {
        let slot = &mut self.slots[index];
        slot.seed += 1;
        slot.resetting = true;
        slot.asked = now;
        let task = TaskRef { id: self.plan.task.clone(), seed: slot.seed };
        let step_limit = self.plan.episode_steps;
        self.command(index, Op::Reset(Reset { from: ResetFrom::Task(task), mode: Some(self.plan.mode), step_limit, time_limit: None }))
    }

    fn prepare(&mut self, index: usize) -> Command {
        let request = self.slots[index].request;
        let task = TaskRef { id: self.plan.task.clone(), seed: self.slots[index].seed + 1 };
        let command = self.command(index, Op::Prepare(task));
        // Answered at once and beside the slot's own command.
        self.slots[index].request = request;
        command
    }

    fn command(&mut self, index: usize, op: Op) -> Command {
        let slot = &mut self.slots[index];
        slot.request = self.next_request;
        self.next_request += 1;
        Command {
            request_id: slot.request,
            slot: index as u32,
            expected_episode: slot.episode,
            expected_step: slot.step,
            timeout: TIMEOUT,
            observations: None::<Arc<[ObservationSpec]>>,
            op,
        }
    }
}

fn count(tally: &mut Tally, outcome: &Outcome, resetting: bool, took: Duration) {
    let transition = match &outcome.result {
        Ok(Done::Transition(transition)) => transition,
        Ok(_) => return,
        Err(failure) => {
            *tally.failures.entry(failure.code.label().to_owned()).or_default() += 1;
            return;
        }
    };
    tally.observation_errors += transition.observations.iter().filter(|observation| observation.data.is_err()).count() as u64;
    if resetting {
        tally.episodes += 1;
        tally.reset_times.add(took);
        tally.reset_parts.add(&outcome.timing);
        if let Some(report) = &transition.reset_report {
            *tally.strategies.entry(strategy(report.strategy).to_owned()).or_default() += 1;
            tally.unclean += u64::from(!report.verified_clean);
        }
        return;
    }
    tally.steps += 1;
    tally.step_times.add(took);
    tally.step_parts.add(&outcome.timing);
    tally.bytes +=
        transition.observations.iter().filter_map(|observation| observation.data.as_ref().ok()).map(|data| data.len() as u64).sum::<u64>();
    let performed = transition.action_result.as_ref().is_some_and(|result| result.status == ActionStatus::Ok);
    tally.action_errors += u64::from(!performed);
}

fn strategy(strategy: ResetStrategy) -> &'static str {
    match strategy {
        ResetStrategy::Fresh => "fresh",
        ResetStrategy::Prepared => "prepared",
        ResetStrategy::InPlace => "in_place",
        ResetStrategy::Storage => "storage",
        ResetStrategy::Replay => "replay",
    }
}

#[cfg(test)]
mod tests {
    use envfarm_core::{Failure, FailureCode, SlotState, Timing, Transition, TruncationCause};

    use super::*;

    fn schedule(interval: Duration, prepare: bool) -> (Schedule, Instant) {
        let now = Instant::now();
        let plan = Plan { task: "noop".to_owned(), mode: ResetMode::Fresh, episode_steps: Some(2), prepare, interval };
        (Schedule::new(plan, 1, now), now)
    }

    fn answer(command: &Command, result: Result<Transition, Failure>) -> Outcome {
        Outcome {
            request_id: command.request_id,
            slot: command.slot,
            episode: 1,
            step: command.expected_step + u32::from(matches!(command.op, Op::Step(_))),
            state: SlotState::Running,
            result: result.map(|transition| Done::Transition(Box::new(transition))),
            timing: Timing::default(),
            replayed: false,
        }
    }

    #[test]
    fn an_episode_that_ended_is_reset_and_one_that_runs_is_stepped() {
        let (mut schedule, now) = schedule(Duration::ZERO, false);
        let (reset, mut next, mut tally) = (schedule.begin(now).remove(0), Vec::new(), Tally::default());
        schedule.take(answer(&reset, Ok(Transition::default())), now, Some(&mut tally), &mut next).unwrap();
        let step = next.pop().unwrap();
        assert!(matches!(step.op, Op::Step(_)) && schedule.all_started());
        let over = Transition { truncated: Some(TruncationCause::StepLimit), ..Transition::default() };
        schedule.take(answer(&step, Ok(over)), now, Some(&mut tally), &mut next).unwrap();
        assert!(matches!(next.pop().unwrap().op, Op::Reset(_)));
        assert_eq!((tally.steps, tally.episodes), (1, 1));
    }

    #[test]
    fn a_failure_is_no_step_and_its_slot_begins_again() {
        let (mut schedule, now) = schedule(Duration::ZERO, false);
        let (reset, mut next, mut tally) = (schedule.begin(now).remove(0), Vec::new(), Tally::default());
        schedule.take(answer(&reset, Ok(Transition::default())), now, None, &mut next).unwrap();
        let step = next.pop().unwrap();
        let lost = Failure::new(FailureCode::HostLost, "gone");
        schedule.take(answer(&step, Err(lost)), now, Some(&mut tally), &mut next).unwrap();
        assert!(matches!(next.pop().unwrap().op, Op::Reset(_)));
        assert_eq!((tally.steps, tally.failures["host_lost"]), (0, 1));
    }

    #[test]
    fn a_refused_command_ends_the_measurement() {
        let (mut schedule, now) = schedule(Duration::ZERO, false);
        let reset = schedule.begin(now).remove(0);
        let refused = Failure::new(FailureCode::UnknownTask, "no such task");
        assert!(schedule.take(answer(&reset, Err(refused)), now, None, &mut Vec::new()).is_err());
    }

    #[test]
    fn a_late_answer_makes_the_next_paced_step_late_and_that_counts() {
        let interval = Duration::from_secs(5);
        let (mut schedule, now) = schedule(interval, false);
        let (reset, mut next, mut tally) = (schedule.begin(now).remove(0), Vec::new(), Tally::default());
        schedule.take(answer(&reset, Ok(Transition::default())), now, None, &mut next).unwrap();
        let due = schedule.next_due().unwrap();
        assert!(due >= now + interval && due <= now + 2 * interval);
        schedule.release(due, &mut next);
        let step = next.pop().unwrap();
        // The answer takes two intervals: the next step was due one ago.
        schedule.take(answer(&step, Ok(Transition::default())), due + 2 * interval, None, &mut next).unwrap();
        schedule.release(due + 2 * interval, &mut next);
        let step = next.pop().unwrap();
        schedule.take(answer(&step, Ok(Transition::default())), due + 2 * interval, Some(&mut tally), &mut next).unwrap();
        assert_eq!(tally.report(1, interval, None).step_ms.unwrap().max, 5000.0);
    }

    #[test]
    fn the_wait_for_a_reset_is_the_resets_and_not_the_next_steps() {
        let interval = Duration::from_secs(5);
        let (mut schedule, now) = schedule(interval, false);
        let (reset, mut next, mut tally) = (schedule.begin(now).remove(0), Vec::new(), Tally::default());
        schedule.take(answer(&reset, Ok(Transition::default())), now, None, &mut next).unwrap();
        let due = schedule.next_due().unwrap();
        schedule.release(due, &mut next);
        let over = Transition { terminated: true, ..Transition::default() };
        schedule.take(answer(&next.pop().unwrap(), Ok(over)), due, None, &mut next).unwrap();
        let ready = due + 4 * interval;
        schedule.take(answer(&next.pop().unwrap(), Ok(Transition::default())), ready, Some(&mut tally), &mut next).unwrap();
        assert_eq!(schedule.next_due(), Some(ready + interval));
        assert_eq!(tally.report(1, interval, None).reset_ms.unwrap().max, 20_000.0);
    }

    #[test]
    fn what_is_prepared_is_what_is_reset_to_next() {
        let (mut schedule, now) = schedule(Duration::ZERO, true);
        let (reset, mut next) = (schedule.begin(now).remove(0), Vec::new());
        schedule.take(answer(&reset, Ok(Transition::default())), now, None, &mut next).unwrap();
        let (prepare, step) = (next.remove(0), next.remove(0));
        let Op::Prepare(prepared) = prepare.op else { panic!("nothing was prepared") };
        let over = Transition { terminated: true, ..Transition::default() };
        schedule.take(answer(&step, Ok(over)), now, None, &mut next).unwrap();
        let Op::Reset(Reset { from: ResetFrom::Task(task), .. }) = next.remove(0).op else { panic!("no reset") };
        assert_eq!(task, prepared);
    }
}
