//! The DevTools ports of this farm's browsers. They ask for no password: a page shown from one of them lists the pages of
//! every sandbox of that browser and closes them on request, so no sandbox may go there.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

static PORTS: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

fn ports() -> MutexGuard<'static, HashSet<u16>> {
    PORTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps sandboxes off a browser's port while it lives.
pub struct Guard(Option<u16>);

impl Guard {
    /// `endpoint`: the browser's WebSocket.
    pub fn new(endpoint: &str) -> Self {
        let port = port(endpoint);
        ports().extend(port);
        Self(port)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(port) = self.0 {
            ports().remove(&port);
        }
    }
}

/// Whether a URL leads to one of the ports, under whatever name the machine goes.
pub fn leads_there(url: &str) -> bool {
    port(url).is_some_and(|port| ports().contains(&port))
}

fn port(url: &str) -> Option<u16> {
    let (_, rest) = url.split_once("://").filter(|(scheme, _)| scheme.bytes().all(|b| b.is_ascii_alphanumeric()))?;
    let authority = rest.split(['/', '?', '#']).next()?;
    authority.rsplit_once(':')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guarded_port_is_known_under_every_name_until_the_guard_goes() {
        let guard = Guard::new("ws://127.0.0.1:61234/devtools/browser/1");
        for url in ["http://127.0.0.1:61234/json", "http://localhost:61234", "http://[::1]:61234?a", "http://u:p@0.0.0.0:61234#x"] {
            assert!(leads_there(url), "{url}");
        }
        for url in ["http://127.0.0.1:61235/", "http://127.0.0.1/:61234", "about:blank", "data:text/html,a://b:61234"] {
            assert!(!leads_there(url), "{url}");
        }
        drop(guard);
        assert!(!leads_there("http://127.0.0.1:61234/json"));
    }
}
