//! Whether there is a browser, which, and whether it really starts and answers here.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use envfarm_chromium::{ChromiumBackend, ChromiumOptions};
use envfarm_core::{Backend, HostId, Provider, SandboxSpec};
use envfarm_process::ProcessProvider;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Check;
use crate::browser;
use crate::config::Chromium;
use crate::serve::chromium_options;

/// Far more than a cold start takes.
const DEADLINE: Duration = Duration::from_secs(30);

const PROGRAM: &str = "chromium";
const START: &str = "chromium starts";

pub async fn check(options: Option<&Chromium>) -> Vec<Check> {
    let options = match chromium_options(options) {
        Ok(options) => options,
        Err(error) => return vec![Check::missing(PROGRAM, error.to_string(), browser::MEND)],
    };
    vec![version(Path::new(&options.program)).await, start(options).await]
}

async fn version(program: &Path) -> Check {
    let shown = program.display();
    let run = tokio::process::Command::new(program).arg("--version").kill_on_drop(true).output();
    match timeout(DEADLINE, run).await {
        Ok(Ok(output)) if output.status.success() => {
            let found = format!("{} at {shown}", String::from_utf8_lossy(&output.stdout).trim());
            if program.file_name().is_some_and(|name| name.to_string_lossy().contains("headless")) {
                Check::ok(PROGRAM, found)
            } else {
                Check::weak(PROGRAM, format!("{found}; the headless shell is twice as fast in a third of the memory"), browser::MEND)
            }
        }
        Ok(Ok(output)) => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Check::missing(PROGRAM, format!("{shown} --version failed: {said}"), browser::MEND)
        }
        Ok(Err(error)) => Check::missing(PROGRAM, format!("{shown} does not run: {error}"), browser::MEND),
        Err(_) => Check::missing(PROGRAM, format!("{shown} --version gave nothing within {DEADLINE:?}"), browser::MEND),
    }
}

/// Starts one as the farm would, in a folder of its own, up to an empty page.
async fn start(options: ChromiumOptions) -> Check {
    // The command to look closer is the browser's own: without a page to show it says what it misses.
    let mend = format!("{} --headless --no-sandbox --dump-dom about:blank (and read what it says)", options.program);
    let tried = async {
        let folder = tempfile::tempdir().context("make a folder for it")?;
        let provider = ProcessProvider::new(folder.path().to_owned()).context("use a folder for it")?;
        let id = HostId("doctor-0".to_owned());
        let page = timeout(DEADLINE, first_page(options, &provider, &id)).await;
        let ended = provider.destroy(&id).await;
        let found = page.with_context(|| format!("no page within {DEADLINE:?}"))??;
        ended.context("end it again")?;
        anyhow::Ok(found)
    };
    match tried.await {
        Ok(found) => Check::ok(START, found),
        Err(error) => Check::missing(START, format!("{error:#}"), mend),
    }
}

async fn first_page(options: ChromiumOptions, provider: &ProcessProvider, id: &HostId) -> anyhow::Result<String> {
    let backend = ChromiumBackend::new(options);
    let (begun, never) = (Instant::now(), CancellationToken::new());
    let endpoints = provider.launch(id, &backend.host_spec("doctor"), &never).await.context("start it")?;
    let host = backend.connect(&endpoints, &never).await.context("speak CDP to it")?;
    let sandbox = host.open(&SandboxSpec { viewport: (332, 214), start_url: None }).await.context("open a page")?;
    let took = begun.elapsed();
    let memory = provider.usage(id).await.map_or(0, |usage| usage.memory_bytes) >> 20;
    sandbox.close().await;
    Ok(format!("first page after {:.2} s, {memory} MiB", took.as_secs_f64()))
}
