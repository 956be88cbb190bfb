//! Enums that core and the API both have, kept in step by the compiler: a variant on either side without its twin does not
//! build.

use envfarm_core as core;

use super::{ConvertError, fault};
use crate::v1;

/// A core enum with a twin in the API, whose zero there means "unspecified".
pub trait Twin: Copy {
    fn to_wire(self) -> i32;
    /// `None` for "unspecified"; an error for a number that this version does not know.
    fn from_wire(value: i32) -> Result<Option<Self>, ConvertError>;

    fn required(value: i32) -> Result<Self, ConvertError> {
        Self::from_wire(value)?.map_or_else(|| fault("not specified"), Ok)
    }
}

macro_rules! twins {
    ($($core:ty = $wire:ident { $($variant:ident),+ $(,)? })+) => {$(
        impl Twin for $core {
            fn to_wire(self) -> i32 {
                match self {
                    $(Self::$variant => v1::$wire::$variant as i32,)+
                }
            }

            fn from_wire(value: i32) -> Result<Option<Self>, ConvertError> {
                match v1::$wire::try_from(value) {
                    Ok(v1::$wire::Unspecified) => Ok(None),
                    $(Ok(v1::$wire::$variant) => Ok(Some(Self::$variant)),)+
                    Err(_) => fault(format!("unknown value {value}")),
                }
            }
        }
    )+};
}

twins! {
    core::ActionStatus = ActionStatus {
        Ok, ParseError, NoSuchElement, NotInteractable, Refused, TimedOut, Unsupported, Failed,
    }
    core::Dialect = Dialect { Browsergym, Webarena, Autowebglm, Webrl }
    core::Encoding = Encoding { Png, Jpeg, Webp, Text, Json }
    core::FailureCode = FailureCode {
        InvalidArgument, UnknownTask, SlotOutOfRange, WrongEpisode, WrongStep, SlotBusy, NoEpisode, DeadlineExceeded,
        Cancelled, HostLost, SandboxLost, NoCapacity, SetupFailed, ScoreFailed, UnknownSnapshot, SnapshotDiverged,
        Unsupported, ShuttingDown, Backend,
    }
    core::MouseButton = MouseButton { Left, Middle, Right }
    core::ObservationKind = ObservationKind {
        Screenshot, ScreenshotSom, Browsergym, AxtreeTxt, WebarenaTxt, Html, Url, Title, Tabs, FocusedElement,
        LastActionError, Goal,
    }
    core::ResetMode = ResetMode { Fresh, InPlace }
    core::ResetStrategy = ResetStrategy { Fresh, Prepared, InPlace, Storage, Replay }
    core::SlotState = SlotState { Empty, Running, Over, Lost }
    core::SnapshotLevel = SnapshotLevel { Storage, Replay }
    core::TruncationCause = TruncationCause { StepLimit, TimeLimit, Shutdown }
}
