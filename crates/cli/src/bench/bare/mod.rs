//! The bare loop: what the same work costs without farm and gRPC, as an upper bound for the farm.
//!
//! It runs the same browser with the same flags, keeps as many episodes going, and does per step and per reset what the farm
//! does for a trainer, but nothing for safety: no pool, no checks, no settling, no recovery.

mod page;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use envfarm_chromium::cdp::{Connection, EventSink, Session};
use envfarm_chromium::{CDP_ENDPOINT, ChromiumBackend, ChromiumOptions};
use envfarm_core::{Backend, HostId, Observation, ObservationRequest, Provider};
use envfarm_process::ProcessProvider;
use envfarm_suites::{MiniWob, MiniWobOptions, miniwob};
use fastrand::Rng;
use serde_json::value::RawValue;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::report::{Report, Tally};
use super::{Args, Mode, actions};
use crate::{browser, suite};
use page::Page;

/// For the first episode of every slot.
const START_LIMIT: Duration = Duration::from_secs(120);
/// Contexts that may wait to be disposed of.
const DISPOSALS: usize = 64;
/// Contexts disposed of at once.
const DISPOSING: usize = 2;

/// Events of the browser itself, of which none matters here.
struct Ignored;

impl EventSink for Ignored {
    fn event(&self, _session: Option<&str>, _method: &str, _params: &RawValue) {}
}

/// What one slot tells: how long something took, and what came of it.
enum Event {
    Reset(anyhow::Result<Duration>),
    Step(anyhow::Result<(Duration, Vec<Observation>)>),
}

struct Loop {
    suite: Arc<MiniWob>,
    task: String,
    mode: Mode,
    episode_steps: u32,
    request: ObservationRequest,
    loads: Semaphore,
    steps: Semaphore,
    events: mpsc::Sender<Event>,
    disposals: mpsc::Sender<Page>,
}

pub async fn run(args: &Args) -> anyhow::Result<Report> {
    let html = suite::miniwob_html(None).await?;
    let suite = MiniWob::start(MiniWobOptions { html, viewport: miniwob::VIEWPORT }).await.context("serve the task pages")?;
    let folder = tempfile::tempdir().context("make a folder for the browsers")?;
    let provider = ProcessProvider::new(folder.path().to_owned()).context("keep browsers in a folder")?;
    let ids: Vec<_> = (0..args.hosts.max(1)).map(|index| HostId(format!("bare-{index}"))).collect();
    let mut browsers = Vec::new();
    for id in &ids {
        browsers.push(launch(&provider, id).await?);
    }
    let measured = measure(args, suite, &browsers).await;
    for id in &ids {
        provider.destroy(id).await.context("end a browser")?;
    }
    measured
}

async fn launch(provider: &ProcessProvider, id: &HostId) -> anyhow::Result<Session> {
    let program = browser::find(None)?.to_string_lossy().into_owned();
    let backend = ChromiumBackend::new(ChromiumOptions { program, ..ChromiumOptions::default() });
    let endpoints = provider.launch(id, &backend.host_spec("bare"), &CancellationToken::new()).await.context("launch a browser")?;
    let url = endpoints.urls.get(CDP_ENDPOINT).context("the browser tells no address")?;
    Ok(Session::browser(Connection::open(url, Arc::new(Ignored)).await.context("connect to a browser")?))
}

async fn measure(args: &Args, suite: Arc<MiniWob>, browsers: &[Session]) -> anyhow::Result<Report> {
    let (events, mut happened) = mpsc::channel(args.slots as usize);
    let (disposals, disposed) = mpsc::channel(DISPOSALS);
    let work = Arc::new(Loop {
        suite,
        task: args.task.clone(),
        mode: args.mode,
        episode_steps: if args.episode_steps == 0 { u32::MAX } else { args.episode_steps },
        request: ObservationRequest { specs: args.observations()?, ..ObservationRequest::default() },
        loads: Semaphore::new(args.loads.max(1)),
        steps: Semaphore::new(args.steps.max(1)),
        events,
        disposals,
    });
    // Aborts what runs when it is dropped.
    let mut tasks = JoinSet::new();
    tasks.spawn(dispose(disposed));
    for (slot, browser) in (0..args.slots).zip(browsers.iter().cycle()) {
        tasks.spawn(episodes(work.clone(), browser.clone(), slot));
    }

    let began = Instant::now();
    let (mut tally, mut started) = (Tally::default(), 0);
    let mut window: Option<(Instant, Instant)> = None;
    loop {
        let end = window.map_or(began + START_LIMIT, |(_, end)| end);
        let Ok(event) = timeout_at(end, happened.recv()).await else { break };
        let now = Instant::now();
        if window.is_none() && matches!(event, Some(Event::Reset(_))) {
            // Slots take turns at the gate, which is fair: so many resets are one of each.
            started += 1;
            if started == args.slots {
                window = Some((now + args.warmup.0, now + args.warmup.0 + args.time.0));
            }
        }
        if let Some(event) = event.filter(|_| window.is_some_and(|(start, _)| now >= start)) {
            count(&mut tally, event);
        }
    }
    window.context("the browsers are too slow: not every slot has an episode")?;
    Ok(tally.report(args.slots, args.time.0, None))
}

fn count(tally: &mut Tally, event: Event) {
    match event {
        Event::Reset(Ok(took)) => {
            tally.episodes += 1;
            tally.reset_times.add(took);
        }
        Event::Step(Ok((took, observations))) => {
            tally.steps += 1;
            tally.step_times.add(took);
            tally.bytes +=
                observations.iter().filter_map(|observation| observation.data.as_ref().ok()).map(|data| data.len() as u64).sum::<u64>();
            tally.observation_errors += observations.iter().filter(|observation| observation.data.is_err()).count() as u64;
        }
        Event::Reset(Err(error)) | Event::Step(Err(error)) => {
            tracing::warn!(%error, "bare episode failed");
            *tally.failures.entry("bare".to_owned()).or_default() += 1;
        }
    }
}

/// One slot: episode after episode, until it is aborted.
async fn episodes(work: Arc<Loop>, browser: Session, slot: u32) {
    let mut random = Rng::with_seed(slot.into());
    let mut seed = u64::from(slot) * 1_000_000;
    let mut last: Option<Page> = None;
    loop {
        seed += 1;
        let began = Instant::now();
        let page = reset(&work, &browser, seed, last.take()).await;
        let done = page.as_ref().map(|_| began.elapsed()).map_err(|error| anyhow::anyhow!("{error:#}"));
        if work.events.send(Event::Reset(done)).await.is_err() {
            return;
        }
        let Ok(mut page) = page else { continue };
        for _ in 0..work.episode_steps {
            let began = Instant::now();
            let step = step(&work, &mut page, &mut random).await;
            let over = !matches!(&step, Ok((_, false)));
            let done = step.map(|(observations, _)| (began.elapsed(), observations));
            if work.events.send(Event::Step(done)).await.is_err() {
                return;
            }
            if over {
                break;
            }
        }
        last = Some(page);
    }
}

async fn reset(work: &Loop, browser: &Session, seed: u64, last: Option<Page>) -> anyhow::Result<Page> {
    let again = match (work.mode, last) {
        (Mode::InPlace, last) => last,
        (Mode::Fresh, None) => None,
        (Mode::Fresh, Some(page)) => {
            // Full only if disposing cannot keep up: then the loop has to wait for it, as a farm has.
            let _ = work.disposals.send(page).await;
            None
        }
    };
    let permit = work.loads.acquire().await?;
    let mut page = match again {
        Some(page) => {
            page.restart(seed).await?;
            page
        }
        None => Page::open(browser, &work.suite.url(&work.task), seed).await?,
    };
    drop(permit);
    // The first observation is part of a reset.
    let _permit = work.steps.acquire().await?;
    page.observe(&work.request).await?;
    Ok(page)
}

async fn step(work: &Loop, page: &mut Page, random: &mut Rng) -> anyhow::Result<(Vec<Observation>, bool)> {
    let _permit = work.steps.acquire().await?;
    page.click(actions::place(random)).await?;
    let over = page.is_over().await?;
    Ok((page.observe(&work.request).await?, over))
}

async fn dispose(mut pages: mpsc::Receiver<Page>) {
    let mut closing = JoinSet::new();
    while let Some(page) = pages.recv().await {
        closing.spawn(page.close());
        if closing.len() >= DISPOSING {
            closing.join_next().await;
        }
    }
}
