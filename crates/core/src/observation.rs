//! What an agent sees: kinds, encodings, and the request for a set of them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObservationKind {
    Screenshot,
    /// Screenshot with set-of-marks boxes and element ids drawn over it.
    ScreenshotSom,
    /// JSON object with BrowserGym's keys (`dom_object`, `axtree_object`, `extra_element_properties`, `focused_element_bid`,
    /// `open_pages_urls`, `open_pages_titles`, `active_page_index`, `url`, `last_action`, `last_action_error`,
    /// `elapsed_time`, `goal`, `goal_object`, `chat_messages`); the screenshot travels on its own.
    Browsergym,
    /// BrowserGym's flattened accessibility tree.
    AxtreeTxt,
    /// WebArena's accessibility text.
    WebarenaTxt,
    /// Simplified HTML in AutoWebGLM's manner, with tabs, position and previous actions.
    Html,
    Url,
    Title,
    /// JSON `{"active": i, "tabs": [{"url", "title"}]}`.
    Tabs,
    /// Id of the focused element, or empty.
    FocusedElement,
    LastActionError,
    Goal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    Png,
    Jpeg,
    Webp,
    Text,
    Json,
}

impl ObservationKind {
    pub const ALL: [Self; 12] = [
        Self::Screenshot,
        Self::ScreenshotSom,
        Self::Browsergym,
        Self::AxtreeTxt,
        Self::WebarenaTxt,
        Self::Html,
        Self::Url,
        Self::Title,
        Self::Tabs,
        Self::FocusedElement,
        Self::LastActionError,
        Self::Goal,
    ];

    /// Encodings that this kind can have, the default first.
    pub fn encodings(self) -> &'static [Encoding] {
        match self {
            Self::Screenshot => &[Encoding::Png, Encoding::Jpeg, Encoding::Webp],
            Self::ScreenshotSom => &[Encoding::Png, Encoding::Jpeg, Encoding::Webp],
            Self::Browsergym | Self::Tabs => &[Encoding::Json],
            Self::AxtreeTxt
            | Self::WebarenaTxt
            | Self::Html
            | Self::Url
            | Self::Title
            | Self::FocusedElement
            | Self::LastActionError
            | Self::Goal => &[Encoding::Text],
        }
    }

    pub fn is_picture(self) -> bool {
        matches!(self, Self::Screenshot | Self::ScreenshotSom)
    }
}

/// One observation to take. Built by [`ObservationSpec::new`], so the encoding always fits the kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ObservationSpec {
    pub kind: ObservationKind,
    pub encoding: Encoding,
    /// Of JPEG and WebP, 1 to 100.
    pub quality: u8,
    /// Of pictures: pixels of the picture for one CSS pixel, 0.05 to 4.
    pub scale: f32,
}

impl ObservationSpec {
    pub const DEFAULT_QUALITY: u8 = 80;

    /// The kind in its default encoding, or in `encoding` if the kind has it.
    pub fn new(kind: ObservationKind, encoding: Option<Encoding>) -> Option<Self> {
        let offered = kind.encodings();
        let encoding = match encoding {
            None => offered[0],
            Some(wanted) => *offered.iter().find(|e| **e == wanted)?,
        };
        Some(Self { kind, encoding, quality: Self::DEFAULT_QUALITY, scale: 1.0 })
    }
}

/// Facts that only the episode knows and that some observations repeat to the agent.
#[derive(Clone, Debug, Default)]
pub struct EpisodeContext {
    pub goal: String,
    /// As the agent wrote it; empty before the first step.
    pub last_action: String,
    pub last_action_error: String,
    /// The last few actions, oldest first, as the agent wrote them.
    pub previous_actions: Vec<String>,
    pub elapsed_s: f64,
    /// What was said, oldest first: (role, text), role as in BrowserGym's chat.
    pub chat: Vec<(&'static str, String)>,
}

#[derive(Clone, Debug, Default)]
pub struct ObservationRequest {
    pub specs: Vec<ObservationSpec>,
    pub context: EpisodeContext,
}

impl ObservationRequest {
    pub fn wants(&self, kind: ObservationKind) -> bool {
        self.specs.iter().any(|s| s.kind == kind)
    }
}

/// One observation, or why it could not be had. Others of the same step may have succeeded.
#[derive(Clone, Debug)]
pub struct Observation {
    pub kind: ObservationKind,
    pub encoding: Encoding,
    pub data: Result<Bytes, String>,
    /// Microseconds since the Unix epoch.
    pub captured_unix_us: u64,
}

impl Observation {
    /// XXH3-64 of the data; 0 where there is none.
    pub fn content_hash(&self) -> u64 {
        self.data.as_ref().map_or(0, |data| xxhash_rust::xxh3::xxh3_64(data))
    }
}
