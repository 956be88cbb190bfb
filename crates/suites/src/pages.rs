//! Plain pages as tasks: a start URL and a goal, with no scoring.
//!
//! For one's own sites and for data collection: the reward is always 0 and an episode ends when the agent says so or a limit
//! is reached.

use std::sync::Arc;

use async_trait::async_trait;
use envfarm_core::{ActionResult, Goal, ResetMode, Sandbox, SandboxSpec, Score, Suite, SuiteError, TaskInfo, TaskRef};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageTask {
    pub id: String,
    pub url: String,
    pub goal: String,
}

pub struct Pages {
    pages: Vec<PageTask>,
    tasks: Vec<TaskInfo>,
    viewport: (u32, u32),
}

impl Pages {
    pub fn new(pages: Vec<PageTask>, viewport: (u32, u32)) -> Arc<Self> {
        let tasks = pages
            .iter()
            .map(|page| TaskInfo { id: page.id.clone(), description: page.goal.clone(), step_limit: None, time_limit: None })
            .collect();
        Arc::new(Self { pages, tasks, viewport })
    }
}

#[async_trait]
impl Suite for Pages {
    fn tasks(&self) -> &[TaskInfo] {
        &self.tasks
    }

    fn sandbox_spec(&self) -> SandboxSpec {
        SandboxSpec { viewport: self.viewport, start_url: None }
    }

    // A page of one's own site may be of any kind: it is not opened before an episode asks for it.

    async fn set_up(&self, sandbox: &mut dyn Sandbox, task: &TaskRef, _mode: ResetMode) -> Result<Goal, SuiteError> {
        let page = self.pages.iter().find(|p| p.id == task.id).ok_or_else(|| SuiteError::UnknownTask(task.id.clone()))?;
        let failed = |reason: &str| SuiteError::SetUp { task: task.id.clone(), reason: reason.to_owned() };
        let web = sandbox.web().ok_or_else(|| failed("the backend shows no web pages"))?;
        web.visit(&page.url).await?;
        Ok(Goal { text: page.goal.clone() })
    }

    async fn score(&self, _sandbox: &mut dyn Sandbox, _task: &TaskRef, _last: &ActionResult) -> Result<Score, SuiteError> {
        Ok(Score::default())
    }
}
