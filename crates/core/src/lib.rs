//! The words of envfarm as types, the traits between its parts, and the action dialects.
//!
//! Everything here is plain data and decisions: no clock, no I/O, no protobuf. Whatever talks to the outside world lives in
//! a crate of its own and implements one of the traits in [`traits`].

pub mod action;
pub mod command;
pub mod dialect;
pub mod error;
pub mod failure;
pub mod ids;
pub mod observation;
pub mod outcome;
pub mod snapshot;
pub mod task;
pub mod traits;

pub use action::{Action, ActionResult, ActionStatus, MouseButton, Target};
pub use dialect::{Dialect, ParseError};
pub use error::{BackendError, ProviderError, SuiteError};
pub use failure::{Failure, FailureCode, SlotState};
pub use ids::{HostId, SnapshotId};
pub use observation::{Encoding, Observation, ObservationKind, ObservationRequest, ObservationSpec};
pub use outcome::{ResetReport, ResetStrategy, Timing, Transition, TruncationCause};
pub use snapshot::{Snapshot, SnapshotLevel};
pub use task::{Goal, Score, TaskInfo, TaskRef};
pub use traits::{
    Backend, Capabilities, Endpoints, Fork, Host, HostSpec, ObservedHost, Provider, ResetMode, Sandbox, SandboxSpec, Suite, Usage, WebPage,
};
