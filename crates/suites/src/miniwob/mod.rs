//! MiniWoB++: small web tasks that score themselves in the page.
//!
//! The pages come from the PyPI package `miniwob` (Farama Foundation, MIT), unchanged, served over loopback HTTP. An episode
//! starts as BrowserGym starts it: seed, time limit, `core.startEpisodeReal()`, with the display meant for humans taken out
//! of the page, so that goals, element ids and accessibility trees agree with BrowserGym's.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, io};

use async_trait::async_trait;
use envfarm_core::{ActionResult, Goal, ResetMode, Sandbox, SandboxSpec, Score, Suite, SuiteError, TaskInfo, TaskRef, WebPage};
use serde::Deserialize;
use serde_json::json;

use crate::site::{BLANK, Site};

mod tasks;

/// CSS pixels; BrowserGym's variant of the tasks uses the same.
pub const VIEWPORT: (u32, u32) = (332, 214);
/// The page's own clock must not end an episode: limits are the farm's, and the page may have been prepared long before its
/// episode. The longest that a page's timer can wait.
const PAGE_TIME_LIMIT_MS: u32 = i32::MAX as u32;

const START: &str = include_str!("start.js");
/// Raw reward and whether the task is over; `null` if this is no task page any more.
pub const SCORE: &str = "typeof WOB_DONE_GLOBAL === 'undefined' ? null : [Number(WOB_RAW_REWARD_GLOBAL), Boolean(WOB_DONE_GLOBAL)]";

#[derive(Clone, Debug)]
pub struct MiniWobOptions {
    /// The `html` folder of the package.
    pub html: PathBuf,
    pub viewport: (u32, u32),
}

pub struct MiniWob {
    site: Site,
    tasks: Vec<TaskInfo>,
    viewport: (u32, u32),
}

impl MiniWob {
    /// Reads the task list from the folder and starts serving it.
    pub async fn start(options: MiniWobOptions) -> io::Result<Arc<Self>> {
        let tasks = list(&options.html)?;
        let site = Site::start(options.html).await?;
        Ok(Arc::new(Self { site, tasks, viewport: options.viewport }))
    }

    /// Where a task's page is served.
    pub fn url(&self, task: &str) -> String {
        self.site.url(&match task.strip_prefix("flight.") {
            Some(airline) => format!("/flight/{airline}/wrapper.html"),
            None => format!("/miniwob/{task}.html"),
        })
    }
}

/// Every task page of the package: `miniwob/*.html` by name, `flight/*/wrapper.html` as `flight.<name>`.
pub fn list(html: &Path) -> io::Result<Vec<TaskInfo>> {
    let named = |error: io::Error, path: &Path| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let folder = html.join("miniwob");
    let mut pages: Vec<(String, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(|e| named(e, &folder))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "html")
            && let Some(id) = path.file_stem().and_then(|s| s.to_str())
        {
            pages.push((id.to_owned(), path.clone()));
        }
    }
    for entry in std::fs::read_dir(html.join("flight")).into_iter().flatten() {
        let entry = entry?;
        let page = entry.path().join("wrapper.html");
        if let (true, Some(name)) = (page.is_file(), entry.file_name().to_str()) {
            pages.push((format!("flight.{name}"), page));
        }
    }
    if pages.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("{} holds no task page", folder.display())));
    }
    pages.sort();
    Ok(pages.into_iter().map(|(id, path)| TaskInfo { id, description: title(&path), step_limit: None, time_limit: None }).collect())
}

/// Starts an episode when evaluated in a task's page, whether it has loaded by then or not; a promise of `{goal}`.
pub fn start_expression(seed: u64) -> String {
    format!("({START})({}, {PAGE_TIME_LIMIT_MS})", json!(seed))
}

fn title(page: &Path) -> String {
    let text = std::fs::read(page).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let title = text.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>")).map_or("", |(title, _)| title);
    title.trim().to_owned()
}

/// The agent left the task's page: there is nothing more to win.
const LEFT: Score = Score { reward: 0.0, raw_reward: -1.0, done: true };

#[derive(Deserialize)]
struct Started {
    goal: String,
}

fn page_of<'a>(sandbox: &'a mut dyn Sandbox, task: &str) -> Result<&'a mut dyn WebPage, SuiteError> {
    sandbox.web().ok_or_else(|| SuiteError::SetUp { task: task.to_owned(), reason: "the backend shows no web pages".to_owned() })
}

#[async_trait]
impl Suite for MiniWob {
    fn tasks(&self) -> &[TaskInfo] {
        &self.tasks
    }

    /// By the page's own restart where that is exact ([`tasks::restarts_exactly`]), else by loading the page again.
    fn resets_in_place(&self) -> bool {
        true
    }

    fn waits(&self, task: &TaskRef) -> bool {
        tasks::waits(&task.id)
    }

    fn sandbox_spec(&self) -> SandboxSpec {
        SandboxSpec { viewport: self.viewport, start_url: Some(self.site.url(BLANK)) }
    }

    fn sandbox_spec_for(&self, task: &TaskRef) -> SandboxSpec {
        SandboxSpec { viewport: self.viewport, start_url: Some(self.url(&task.id)) }
    }

    async fn set_up(&self, sandbox: &mut dyn Sandbox, task: &TaskRef, mode: ResetMode) -> Result<Goal, SuiteError> {
        if !self.tasks.iter().any(|t| t.id == task.id) {
            return Err(SuiteError::UnknownTask(task.id.clone()));
        }
        let failed = |reason: String| SuiteError::SetUp { task: task.id.clone(), reason };
        let page = page_of(sandbox, &task.id)?;
        let url = self.url(&task.id);
        if mode == ResetMode::InPlace {
            page.only_first_tab().await?;
            page.start_over().await?;
        }
        // A fresh sandbox may have waited on the task's page.
        let restarts = mode == ResetMode::Fresh || tasks::restarts_exactly(&task.id);
        if !restarts || page.url().await? != url {
            page.navigate(&url).await?;
        }
        let value = page.evaluate(&start_expression(task.seed)).await?.map_err(failed)?;
        let started: Started = serde_json::from_value(value).map_err(|e| failed(format!("the page gave no goal: {e}")))?;
        Ok(Goal { text: started.goal })
    }

    async fn score(&self, sandbox: &mut dyn Sandbox, task: &TaskRef, _last: &ActionResult) -> Result<Score, SuiteError> {
        let page = page_of(sandbox, &task.id)?;
        // Any other page may claim what it likes.
        let shown = page.url().await?;
        if shown.split(['?', '#']).next() != Some(self.url(&task.id).as_str()) {
            return Ok(LEFT);
        }
        let answer = page.evaluate(SCORE).await?;
        let state = answer.ok().and_then(|value| serde_json::from_value::<(f64, bool)>(value).ok());
        Ok(match state {
            Some((raw_reward, done)) => Score { reward: if done && raw_reward > 0.0 { 1.0 } else { 0.0 }, raw_reward, done },
            None => LEFT,
        })
    }
}

/// The package's `html` folder: `ENVFARM_MINIWOB_HTML`, then a virtual environment (the active one, or `.venv` in this folder
/// or above), then wherever `python3` would import the package from.
pub fn find_html() -> Option<PathBuf> {
    let is_html = |path: &PathBuf| path.join("core/core.js").is_file() && path.join("miniwob").is_dir();
    if let Some(path) = env::var_os("ENVFARM_MINIWOB_HTML").map(PathBuf::from) {
        return Some(path).filter(is_html);
    }
    let here = env::current_dir().unwrap_or_default();
    let beside = env::current_exe().unwrap_or_default();
    let venvs = env::var_os("VIRTUAL_ENV")
        .map(PathBuf::from)
        .into_iter()
        .chain(here.ancestors().chain(beside.ancestors()).map(|folder| folder.join(".venv")));
    for venv in venvs {
        for lib in std::fs::read_dir(venv.join("lib")).into_iter().flatten().flatten() {
            let html = lib.path().join("site-packages/miniwob/html");
            if is_html(&html) {
                return Some(html);
            }
        }
    }
    let ask = "import importlib.util as u; print(u.find_spec('miniwob').submodule_search_locations[0])";
    let output = std::process::Command::new("python3").args(["-c", ask]).stderr(std::process::Stdio::null()).output().ok()?;
    let package = String::from_utf8(output.stdout).ok()?;
    Some(PathBuf::from(package.trim()).join("html")).filter(is_html)
}
