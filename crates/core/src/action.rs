//! What an agent can do, typed, and what came of it.
//!
//! Every dialect of [`crate::dialect`] parses into [`Action`]; every backend performs it. A bad action is an
//! [`ActionResult`], never an error of the farm.

use serde::{Deserialize, Serialize};

/// The longest text that an action may carry, in bytes; longer ones are refused on receipt.
pub const MAX_TEXT_BYTES: usize = 1 << 20;

/// The most actions in one [`Action::Sequence`].
pub const MAX_SEQUENCE: usize = 64;

/// Where an action lands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Target {
    /// Element id as the observations show it (BrowserGym's bid): `"13"`, `"a4"`.
    Element(String),
    /// CSS pixels from the top left of the viewport.
    Pixel { x: f64, y: f64 },
    /// Shares of the viewport's width and height, 0 to 1.
    Point { x: f64, y: f64 },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MouseButton {
    #[default]
    Left,
    Middle,
    Right,
}

/// Keys held during a click.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Modifier {
    Alt,
    Control,
    Meta,
    Shift,
}

impl Modifier {
    /// Reads the names that BrowserGym and Playwright use; `ControlOrMeta` is Control here.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "Alt" => Self::Alt,
            "Control" | "ControlOrMeta" => Self::Control,
            "Meta" => Self::Meta,
            "Shift" => Self::Shift,
            _ => return None,
        })
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Action {
    Click {
        target: Target,
        button: MouseButton,
        count: u8,
        modifiers: Vec<Modifier>,
    },
    Hover {
        target: Target,
    },
    /// `target: None` is wherever the pointer is.
    MouseDown {
        target: Option<Target>,
        button: MouseButton,
    },
    MouseUp {
        target: Option<Target>,
        button: MouseButton,
    },
    Drag {
        from: Target,
        to: Target,
    },
    /// CSS pixels, positive is right and down; `at: None` is the middle of the viewport.
    Scroll {
        at: Option<Target>,
        dx: f64,
        dy: f64,
    },
    /// Scrolls the page by shares of the viewport's height; positive is down.
    ScrollPages {
        pages: f64,
    },
    /// Sets the value at once, in place of what was there.
    Fill {
        target: Target,
        text: String,
    },
    /// Types key by key; `target: None` is where the focus is.
    Type {
        target: Option<Target>,
        text: String,
        clear: bool,
        press_enter: bool,
    },
    /// Options by value or by label.
    Select {
        target: Target,
        options: Vec<String>,
    },
    SetChecked {
        target: Target,
        checked: bool,
    },
    Clear {
        target: Target,
    },
    Focus {
        target: Target,
    },
    /// A key or chord in Playwright's names: `Enter`, `Control+a`.
    Press {
        target: Option<Target>,
        keys: String,
    },
    KeyDown {
        key: String,
    },
    KeyUp {
        key: String,
    },
    /// Text without key events, as an input method would give it.
    InsertText {
        text: String,
    },
    /// Names of files that the environment offers to file choosers.
    Upload {
        target: Target,
        files: Vec<String>,
    },
    Goto {
        url: String,
        new_tab: bool,
    },
    Back,
    Forward,
    NewTab,
    CloseTab,
    FocusTab {
        index: usize,
    },
    /// Milliseconds, at most [`MAX_WAIT_MS`]; 0 does nothing.
    Wait {
        ms: u32,
    },
    /// Says something to the user; the episode goes on.
    Answer {
        text: String,
    },
    /// The agent holds the task for impossible; ends the episode.
    Infeasible {
        reason: String,
    },
    /// The agent is done; ends the episode.
    Finish {
        answer: String,
    },
    /// Several actions in one step; the first that fails ends the sequence.
    Sequence(Vec<Action>),
}

/// The longest [`Action::Wait`].
pub const MAX_WAIT_MS: u32 = 20_000;

impl Action {
    /// A plain left click.
    pub fn click(target: Target) -> Self {
        Self::Click { target, button: MouseButton::Left, count: 1, modifiers: Vec::new() }
    }

    /// Does nothing.
    pub const NOOP: Self = Self::Wait { ms: 0 };

    /// Kind as a short word for logs and metrics; a fixed set.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Click { .. } => "click",
            Self::Hover { .. } => "hover",
            Self::MouseDown { .. } => "mouse_down",
            Self::MouseUp { .. } => "mouse_up",
            Self::Drag { .. } => "drag",
            Self::Scroll { .. } => "scroll",
            Self::ScrollPages { .. } => "scroll_pages",
            Self::Fill { .. } => "fill",
            Self::Type { .. } => "type",
            Self::Select { .. } => "select",
            Self::SetChecked { .. } => "set_checked",
            Self::Clear { .. } => "clear",
            Self::Focus { .. } => "focus",
            Self::Press { .. } => "press",
            Self::KeyDown { .. } => "key_down",
            Self::KeyUp { .. } => "key_up",
            Self::InsertText { .. } => "insert_text",
            Self::Upload { .. } => "upload",
            Self::Goto { .. } => "goto",
            Self::Back => "back",
            Self::Forward => "forward",
            Self::NewTab => "new_tab",
            Self::CloseTab => "close_tab",
            Self::FocusTab { .. } => "focus_tab",
            Self::Wait { .. } => "wait",
            Self::Answer { .. } => "answer",
            Self::Infeasible { .. } => "infeasible",
            Self::Finish { .. } => "finish",
            Self::Sequence(_) => "sequence",
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActionStatus {
    #[default]
    Ok,
    /// The text is not of the dialect.
    ParseError,
    NoSuchElement,
    /// Hidden, covered, disabled or of the wrong kind.
    NotInteractable,
    /// Forbidden here, for example a `file:` URL.
    Refused,
    /// The page did not react in time; the episode goes on.
    TimedOut,
    /// No such action on this backend.
    Unsupported,
    /// Tried, and the page or the browser said no.
    Failed,
}

/// How the agent ended its own episode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    Finished(String),
    Infeasible(String),
}

/// What came of an action. Errors here are the agent's or the page's, not the farm's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionResult {
    pub status: ActionStatus,
    /// Empty if `status` is [`ActionStatus::Ok`].
    pub error: String,
    /// What the agent said with this action.
    pub answer: Option<String>,
    pub ending: Option<Ending>,
    /// What happened on the side: dialogs answered, downloads refused, tabs opened.
    pub notes: Vec<String>,
    /// Time spent waiting for the page to settle, of the whole of `act`, in microseconds.
    pub settle_us: u32,
}

impl ActionResult {
    pub fn ok() -> Self {
        Self::default()
    }

    pub fn error(status: ActionStatus, error: impl Into<String>) -> Self {
        Self { status, error: error.into(), ..Self::default() }
    }

    pub fn is_ok(&self) -> bool {
        self.status == ActionStatus::Ok
    }
}
