//! Suites by their configuration: what `serve`, `tasks` and `doctor` share.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use envfarm_core::Suite;
use envfarm_suites::null::NullSuite;
use envfarm_suites::{MiniWob, MiniWobOptions, PageTask, Pages, miniwob};

use crate::config::{Environment, Miniwob, SuiteKind};

/// The command that mends missing task pages.
pub const MINIWOB_MEND: &str = "python3 -m venv .venv && .venv/bin/pip install miniwob";

/// Of the suite `pages` where the configuration names none, in CSS pixels.
const PAGES_VIEWPORT: (u32, u32) = (1280, 720);

/// Makes the suite of an environment; what it serves, it serves until it is dropped.
pub async fn build(environment: &Environment) -> anyhow::Result<Arc<dyn Suite>> {
    Ok(match environment.suite {
        SuiteKind::Null => Arc::new(NullSuite::default()),
        SuiteKind::Miniwob => {
            let html = miniwob_html(environment.miniwob.as_ref()).await?;
            let viewport = environment.viewport.unwrap_or(miniwob::VIEWPORT);
            MiniWob::start(MiniWobOptions { html, viewport }).await.context("start the suite miniwob")?
        }
        SuiteKind::Pages => {
            let tasks = environment.pages.iter().flat_map(|pages| &pages.tasks);
            let task = |page: &crate::config::Page| PageTask { id: page.id.clone(), url: page.url.clone(), goal: page.goal.clone() };
            Pages::new(tasks.map(task).collect(), environment.viewport.unwrap_or(PAGES_VIEWPORT))
        }
    })
}

/// The folder of MiniWoB++'s task pages: the configured one, or where the package is found.
pub async fn miniwob_html(options: Option<&Miniwob>) -> anyhow::Result<PathBuf> {
    if let Some(html) = options.and_then(|options| options.html.clone()) {
        return Ok(html);
    }
    // Asks a Python, perhaps.
    let found = tokio::task::spawn_blocking(miniwob::find_html).await.context("look for the task pages")?;
    found.with_context(|| format!("the task pages of MiniWoB++ are nowhere to be found; install them with: {MINIWOB_MEND}"))
}
