//! The load on a farm: one client, one stream, every slot busy, or paced.

use std::time::Duration;

use anyhow::{Context, bail};
use envfarm_core::command::Command;
use envfarm_proto::{Client, Rollout, RolloutSender};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::Args;
use super::memory::Memory;
use super::report::{Report, Tally};
use super::schedule::{Plan, Schedule};

/// For the first reset of every slot.
const START_LIMIT: Duration = Duration::from_secs(180);
/// Between two looks at the memory of a long run. A look costs the kernel a walk over every host's page tables.
const MEMORY_INTERVAL: Duration = Duration::from_secs(60);
const LEASE_TTL: Duration = Duration::from_secs(60);

pub async fn run(args: &Args) -> anyhow::Result<Report> {
    let client = Client::connect(&format!("http://{}", args.connect), None, None).await.context("connect to the farm")?;
    let name = format!("bench-{:016x}", fastrand::u64(..));
    let lease = client.acquire(&name, &args.environment, args.slots, LEASE_TTL).await.context("lease the slots")?;
    let measured = measure(args, &client, &lease.id).await;
    // Also after an error: the farm need not wait for the lease to expire.
    let released = client.release(&lease.id).await.context("release the slots");
    let report = measured?;
    released?;
    Ok(report)
}

async fn measure(args: &Args, client: &Client, lease: &str) -> anyhow::Result<Report> {
    let Rollout { sender, mut receiver, .. } = client.rollout(lease, &args.observations()?).await.context("attach to the lease")?;
    let plan = Plan {
        task: args.task.clone(),
        mode: args.mode.into(),
        episode_steps: (args.episode_steps > 0).then_some(args.episode_steps),
        prepare: args.prepare,
        interval: args.interval.0,
    };
    let began = Instant::now();
    let mut schedule = Schedule::new(plan, args.slots, began);
    // Each slot has at most one step or reset and one preparation on the way, so this never fills.
    let (outbox, batches) = mpsc::channel(2 * args.slots as usize);
    let _sending = AbortOnDropHandle::new(tokio::spawn(send(sender, batches)));
    let send = |commands: Vec<Command>| outbox.try_send(commands).context("the stream takes no more commands");

    send(schedule.begin(began))?;
    let peak = watch::Sender::new(None);
    let long = args.time.0 > 2 * MEMORY_INTERVAL;
    let _watching = long.then(|| AbortOnDropHandle::new(tokio::spawn(watch_memory(client.clone(), peak.clone()))));
    let (mut tally, mut outcomes) = (Tally::default(), Vec::new());
    // Unknown until every slot has started.
    let mut window: Option<(Instant, Instant)> = None;
    loop {
        let end = window.map_or(began + START_LIMIT, |(_, end)| end);
        let wake = schedule.next_due().map_or(end, |due| due.min(end));
        tokio::select! {
            biased;
            received = receiver.recv_many(&mut outcomes) => { received.context("receive outcomes")?; }
            () = sleep_until(wake) => {}
        }
        let now = Instant::now();
        if now >= end {
            break;
        }
        let mut commands = Vec::with_capacity(outcomes.len());
        let counts = window.is_some_and(|(start, _)| now >= start);
        for outcome in outcomes.drain(..) {
            schedule.take(outcome, now, counts.then_some(&mut tally), &mut commands)?;
        }
        schedule.release(now, &mut commands);
        if !commands.is_empty() {
            send(commands)?;
        }
        if window.is_none() && schedule.all_started() {
            let start = now + args.warmup.0;
            window = Some((start, start + args.time.0));
        }
    }
    if window.is_none() {
        bail!("after {START_LIMIT:?} not every slot has an episode");
    }
    // While the slots still hold their sandboxes.
    let last = Memory::measure(client).await?;
    let memory = peak.borrow().clone().map_or(last.clone(), |peak: Memory| peak.max(last));
    Ok(tally.report(args.slots, args.time.0, Some(memory)))
}

/// Keeps the largest of what it sees, until it is aborted.
async fn watch_memory(client: Client, peak: watch::Sender<Option<Memory>>) {
    let mut ticks = tokio::time::interval(MEMORY_INTERVAL);
    loop {
        ticks.tick().await;
        match Memory::measure(&client).await {
            Ok(memory) => peak.send_modify(|peak| *peak = Some(peak.take().map_or(memory.clone(), |before| before.max(memory)))),
            Err(error) => tracing::warn!(%error, "memory was not measured"),
        }
    }
}

async fn send(sender: RolloutSender, mut batches: mpsc::Receiver<Vec<Command>>) {
    while let Some(mut commands) = batches.recv().await {
        while let Ok(more) = batches.try_recv() {
            commands.extend(more);
        }
        // The receiving side reports why the stream ended.
        if sender.send(commands).await.is_err() {
            return;
        }
    }
}
