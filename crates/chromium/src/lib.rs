//! Backend: Chromium by the DevTools protocol.
//!
//! A host is one browser process, a sandbox a fresh browser context in it. The crate knows nothing of where the browser
//! runs (that is a provider's) nor of tasks (a suite's).

mod act;
pub mod cdp;
mod context;
mod devtools;
mod events;
mod host;
pub mod observe;
mod sandbox;
mod settle;
mod storage;
mod tab;

pub use act::allowed_url;
pub use host::{CDP_ENDPOINT, ChromiumBackend, ChromiumOptions};
