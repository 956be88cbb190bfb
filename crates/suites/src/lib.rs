//! Suites: task lists, set-up and scoring.
//!
//! A suite sees a sandbox only through its capability traits, and brings along what its tasks need: MiniWoB++ serves its
//! pages itself, over loopback HTTP.

pub mod miniwob;
pub mod null;
pub mod pages;
mod site;

pub use miniwob::{MiniWob, MiniWobOptions, find_html};
pub use pages::{PageTask, Pages};
