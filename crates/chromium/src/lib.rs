//! Backend: Chromium by the DevTools protocol.
//!
//! A host is one browser process, a sandbox a fresh browser context in it. The crate knows nothing of where the browser
//! runs (that is a provider's) nor of tasks (a suite's).

pub mod cdp;
