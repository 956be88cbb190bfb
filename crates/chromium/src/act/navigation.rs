//! Going places: URLs, history, tabs. The one gate for what an agent may open is [`allowed_url`].

use std::time::Duration;

use chromiumoxide_cdp::cdp::browser_protocol::page::{GetNavigationHistoryParams, NavigateParams, NavigateToHistoryEntryParams};
use envfarm_core::ActionStatus;
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;

use super::ActError;
use crate::devtools;
use crate::sandbox::ChromiumSandbox;
use crate::tab::clip;

/// How long a tab may take to appear or go.
const TAB_LIMIT: Duration = Duration::from_secs(5);

/// Whether a sandbox may show this URL: http, https, `about:blank` and `data:` only. Compared on what Chromium would make
/// of it: leading blanks and control characters inside the scheme do not hide it.
pub fn allowed_url(url: &str) -> bool {
    let cleaned: String = url
        .chars()
        .filter(|c| !matches!(c, '\t' | '\n' | '\r'))
        .skip_while(|c| *c <= ' ')
        .take(64)
        .collect::<String>()
        .to_ascii_lowercase();
    cleaned == "about:blank"
        || cleaned.starts_with("about:blank#")
        || cleaned.starts_with("about:blank?")
        || ["http:", "https:", "data:"].iter().any(|scheme| cleaned.starts_with(scheme))
}

/// Adds the scheme that a person leaves out: `example.org/a` is `http://example.org/a`.
fn complete(url: &str) -> String {
    let trimmed = url.trim();
    let host_like = trimmed.split(['/', '?', '#']).next().unwrap_or_default();
    let has_scheme = trimmed.split_once(':').is_some_and(|(scheme, rest)| {
        !scheme.is_empty()
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
            // "host:8080/path" is a port, not a scheme.
            && !rest.starts_with(|c: char| c.is_ascii_digit())
    });
    if has_scheme || host_like.is_empty() { trimmed.to_owned() } else { format!("http://{trimmed}") }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Navigated {
    error_text: Option<String>,
    is_download: Option<bool>,
}

impl ChromiumSandbox {
    pub(super) async fn goto(&mut self, url: &str, new_tab: bool) -> Result<(), ActError> {
        let url = complete(url);
        if !allowed_url(&url) {
            let shown: String = url.chars().take(100).collect();
            return Err(ActError::Refused(
                ActionStatus::Refused,
                format!("{shown:?}: only http, https, about:blank and data: may be opened"),
            ));
        }
        if devtools::leads_there(&url) {
            return Err(ActError::Refused(ActionStatus::Refused, format!("{:?} is the farm's own", clip(&url))));
        }
        if new_tab {
            self.new_tab("about:blank").await?;
        }
        let session = self.session()?;
        let answer: Navigated = session.with_limit(self.options().load_cap).call_as("Page.navigate", NavigateParams::new(url)).await?;
        match answer.error_text {
            // A download or a 204 leaves the page where it was; what happened is in the notes.
            Some(error) if error == "net::ERR_ABORTED" => Ok(()),
            Some(error) if answer.is_download != Some(true) => Err(ActError::failed(format!("goto: {error}"))),
            _ => Ok(()),
        }
    }

    /// One step back (-1) or forward (1) in the active tab's history; nothing if there is none, as in a browser.
    pub(super) async fn history(&mut self, by: i64) -> Result<(), ActError> {
        let session = self.session()?;
        let history = session.call(GetNavigationHistoryParams::default()).await?;
        let entry = usize::try_from(history.current_index + by).ok().and_then(|i| history.entries.get(i));
        let Some(entry) = entry else { return Ok(()) };
        // The page that the tab waited on before the episode is not part of the agent's history.
        if self.is_waiting_page(&entry.url) {
            return Ok(());
        }
        if !allowed_url(&entry.url) {
            return Err(ActError::Refused(ActionStatus::Refused, format!("{:?} may not be opened", entry.url)));
        }
        session.call(NavigateToHistoryEntryParams::new(entry.id)).await?;
        Ok(())
    }

    /// Opens a tab and makes it the active one.
    pub async fn new_tab(&mut self, url: &str) -> Result<(), ActError> {
        let (tabs, _) = self.context.tabs();
        if tabs.len() >= crate::context::MAX_TABS {
            return Err(ActError::failed(format!("{} tabs are open, the most there may be", tabs.len())));
        }
        let target = self.create_target(url).await?;
        let found = self.context.wait_until(|c| c.tab(&target).is_some());
        timeout(TAB_LIMIT, found).await.map_err(|_| ActError::failed("the new tab did not appear"))?;
        self.context.activate(&target);
        Ok(())
    }

    /// Closes the active tab; the last one is replaced by an empty one.
    pub(super) async fn close_tab(&mut self) -> Result<(), ActError> {
        let Some(tab) = self.context.active() else { return Ok(()) };
        let (tabs, _) = self.context.tabs();
        if tabs.len() == 1 {
            self.new_tab("about:blank").await?;
        }
        self.host.browser().call_raw("Target.closeTarget", json!({"targetId": tab.target})).await?;
        let gone = self.context.wait_until(|c| c.tab(&tab.target).is_none());
        timeout(TAB_LIMIT, gone).await.map_err(|_| ActError::failed("the tab did not close"))?;
        Ok(())
    }

    pub(super) async fn focus_tab(&mut self, index: usize) -> Result<(), ActError> {
        let (tabs, _) = self.context.tabs();
        let Some(tab) = tabs.get(index) else {
            return Err(ActError::failed(format!("no tab {index}: there are {}", tabs.len())));
        };
        self.context.activate(&tab.target);
        tab.session.call_raw("Page.bringToFront", json!({})).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_web_schemes_are_allowed_however_they_are_written() {
        for url in ["http://a", "HTTPS://a", " http://a", "about:blank", "data:text/html,x", "ht\ntp://a"] {
            assert!(allowed_url(url), "{url:?}");
        }
        for url in [
            "file:///etc/passwd",
            " file:///etc/passwd",
            "fi\tle:///etc/passwd",
            "FILE:///x",
            "chrome://version",
            "devtools://devtools",
            "view-source:http://a",
            "javascript:alert(1)",
            "blob:http://a/1",
            "about:srcdoc",
            "about:version",
            "filesystem:http://a/",
            "",
        ] {
            assert!(!allowed_url(url), "{url:?}");
        }
    }

    #[test]
    fn a_missing_scheme_is_added_but_never_over_another() {
        assert_eq!(complete("example.org/a?b"), "http://example.org/a?b");
        assert_eq!(complete("localhost:8080/x"), "http://localhost:8080/x");
        assert_eq!(complete("file:///x"), "file:///x");
        assert_eq!(complete("about:blank"), "about:blank");
        assert_eq!(complete("data:text/html,a"), "data:text/html,a");
    }
}
