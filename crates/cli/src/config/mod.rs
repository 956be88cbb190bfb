//! The farm's configuration: one typed TOML file.
//!
//! Text becomes a [`Config`] in one place, [`Config::parse`], and everything that can be wrong with it is said there, with
//! file and line. Without a file, and for environments where the file names none, the farm takes those of
//! `envfarm.example.toml`, which is also where every key is explained.

mod check;
mod source;
mod values;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use source::ConfigError;
pub use values::{Memory, Size, Span};

/// The example is the built-in configuration, so that what is documented is what runs.
const BUILT_IN: &str = include_str!("../../../../envfarm.example.toml");

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub server: Server,
    pub farm: Farm,
    pub environments: BTreeMap<String, Environment>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Address of the gRPC API.
    pub listen: SocketAddr,
    /// Address of metrics and health.
    pub http_listen: SocketAddr,
    /// File whose first line every call must carry as its bearer token.
    pub token_file: Option<PathBuf>,
    pub tls: Option<Tls>,
}

impl Default for Server {
    fn default() -> Self {
        Self { listen: ([127, 0, 0, 1], 50051).into(), http_listen: ([127, 0, 0, 1], 50052).into(), token_file: None, tls: None }
    }
}

/// PEM files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    pub cert: PathBuf,
    pub key: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Farm {
    /// Folder of everything that hosts leave while they run. `None`: see [`Farm::state_dir`].
    pub state_dir: Option<PathBuf>,
    /// Measured memory that all hosts together may take.
    pub memory_budget: Memory,
    /// How long running episodes may go on once the farm stops.
    pub drain_timeout: Span,
    /// For making an episode ready ahead of its reset.
    pub prepare_timeout: Span,
    pub gates: Gates,
    pub leases: Leases,
    pub snapshots: Snapshots,
}

impl Default for Farm {
    fn default() -> Self {
        Self {
            state_dir: None,
            memory_budget: Memory::Percent(70.0),
            drain_timeout: Span::seconds(30),
            prepare_timeout: Span::seconds(120),
            gates: Gates::default(),
            leases: Leases::default(),
            snapshots: Snapshots::default(),
        }
    }
}

impl Farm {
    /// The configured folder, or one for this user under the runtime folder, or under the temporary one.
    pub fn state_dir(&self) -> PathBuf {
        if let Some(dir) = &self.state_dir {
            return dir.clone();
        }
        let user = rustix::process::geteuid().as_raw();
        // Another user's may be left in the environment, as by `sudo -E`.
        let own = |dir: &PathBuf| std::fs::metadata(dir).is_ok_and(|found| found.is_dir() && found.uid() == user);
        match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(own) {
            Some(dir) => dir.join("envfarm"),
            None => std::env::temp_dir().join(format!("envfarm-{user}")),
        }
    }
}

/// How much of the work that eats a core may run at once. `None`: sized to the cores.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gates {
    /// Page loads, boots and the opening of sandboxes.
    pub load: Option<usize>,
    /// Steps.
    pub step: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Leases {
    /// Leases at once, of all environments.
    pub max_count: usize,
    pub ttl_min: Span,
    pub ttl_default: Span,
    pub ttl_max: Span,
}

impl Default for Leases {
    fn default() -> Self {
        Self { max_count: 1024, ttl_min: Span::seconds(1), ttl_default: Span::seconds(60), ttl_max: Span::seconds(86_400) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Snapshots {
    /// How many are kept; one more is refused.
    pub max_count: usize,
    /// How large all may be together.
    pub max_bytes: Size,
}

impl Default for Snapshots {
    fn default() -> Self {
        Self { max_count: 256, max_bytes: Size::mib(256) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendKind {
    Chromium,
    Null,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SuiteKind {
    Miniwob,
    Pages,
    Null,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderKind {
    #[default]
    Process,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResetKind {
    #[default]
    Fresh,
    InPlace,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    pub backend: BackendKind,
    pub suite: SuiteKind,
    #[serde(default)]
    pub provider: ProviderKind,
    /// Slots that all leases together may hold.
    #[serde(default = "Environment::default_max_slots")]
    pub max_slots: u32,
    /// Sandboxes kept ready beyond those in use.
    #[serde(default = "Environment::default_warm")]
    pub warm: u32,
    /// How a reset treats the sandbox where a trainer does not say.
    #[serde(default)]
    pub reset: ResetKind,
    /// Width and height in CSS pixels. `None`: the suite's.
    #[serde(default)]
    pub viewport: Option<(u32, u32)>,
    /// Of an episode. `None`: the task's.
    #[serde(default)]
    pub time_limit: Option<Span>,
    #[serde(default)]
    pub hosts: Hosts,
    #[serde(default)]
    pub chromium: Option<Chromium>,
    #[serde(default)]
    pub miniwob: Option<Miniwob>,
    #[serde(default)]
    pub pages: Option<Pages>,
}

impl Environment {
    fn default_max_slots() -> u32 {
        256
    }

    fn default_warm() -> u32 {
        8
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hosts {
    pub min: u32,
    pub max: u32,
    /// Sandboxes on one host.
    pub sandboxes: u32,
    pub recycle_after_episodes: u64,
    pub recycle_after: Span,
    /// Measured memory of one host.
    pub recycle_above: Size,
}

impl Default for Hosts {
    fn default() -> Self {
        Self {
            min: 1,
            max: 16,
            sandboxes: 32,
            recycle_after_episodes: 2000,
            recycle_after: Span::seconds(3600),
            recycle_above: Size::gib(2),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Chromium {
    /// Name or path. `None`: the first that is installed.
    pub program: Option<PathBuf>,
    /// After the farm's own.
    pub args: Vec<String>,
    /// Longest wait for a page to come to rest after an action. `None`: the backend's, as with the others.
    pub settle_cap: Option<Span>,
    /// Longest that an action itself may take.
    pub action_cap: Option<Span>,
    /// Longest wait for a server to answer a navigation.
    pub load_cap: Option<Span>,
    pub launch_timeout: Option<Span>,
    /// Folder whose files agents may upload, by name.
    pub uploads: Option<PathBuf>,
    /// Cross-site frames in processes of their own.
    pub site_isolation: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Miniwob {
    /// Folder of the task pages. `None`: found.
    pub html: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pages {
    pub tasks: Vec<Page>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    pub id: String,
    pub url: String,
    pub goal: String,
}

impl Config {
    /// Reads `file`, or takes the built-in configuration.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(file) = file else { return Self::built_in() };
        let text = std::fs::read_to_string(file).map_err(|error| ConfigError::unreadable(file, &error))?;
        let mut config = Self::parse(file, &text)?;
        if config.environments.is_empty() {
            config.environments = Self::built_in()?.environments;
        }
        Ok(config)
    }

    fn built_in() -> Result<Self, ConfigError> {
        Self::parse(Path::new("(built-in configuration)"), BUILT_IN)
    }

    /// The only way from text to a configuration. `file` is for messages.
    fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| ConfigError::refused(file, text, &error))?;
        let found = check::problems(&config);
        if found.is_empty() { Ok(config) } else { Err(ConfigError::unsound(file, text, found)) }
    }
}
