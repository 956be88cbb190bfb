//! A session with one target: typed calls where the answer is small, raw ones where it is large or its types are brittle.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use chromiumoxide_types::Command;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::{CdpError, Connection};

/// Calls take milliseconds; one that takes this long never comes back.
const CALL_LIMIT: Duration = Duration::from_secs(10);

/// Cheap to clone. `id: None` speaks to the browser itself.
#[derive(Clone)]
pub struct Session {
    connection: Arc<Connection>,
    id: Option<Arc<str>>,
    limit: Duration,
}

impl Session {
    pub fn browser(connection: Arc<Connection>) -> Self {
        Self { connection, id: None, limit: CALL_LIMIT }
    }

    pub fn attached(connection: Arc<Connection>, id: &str) -> Self {
        Self { connection, id: Some(id.into()), limit: CALL_LIMIT }
    }

    /// The same session with another deadline for each call.
    #[must_use]
    pub fn with_limit(&self, limit: Duration) -> Self {
        Self { limit, ..self.clone() }
    }

    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// A typed command and its typed answer.
    pub async fn call<C: Command>(&self, command: C) -> Result<C::Response, CdpError> {
        let method = match command.identifier() {
            Cow::Borrowed(name) => name,
            Cow::Owned(_) => "custom command",
        };
        let result = self.call_raw(method, &command).await?;
        parse(method, &result)
    }

    /// Any method; the answer unparsed.
    pub async fn call_raw(&self, method: &'static str, params: impl Serialize) -> Result<Box<RawValue>, CdpError> {
        self.connection.call(self.id.as_deref(), method, params, self.limit).await
    }

    /// Any method; the fields of the answer that `T` names.
    pub async fn call_as<T: DeserializeOwned>(&self, method: &'static str, params: impl Serialize) -> Result<T, CdpError> {
        let result = self.call_raw(method, params).await?;
        parse(method, &result)
    }

    /// See [`Connection::notify`].
    pub fn notify(&self, method: &'static str, params: impl Serialize) {
        self.connection.notify(self.id.as_deref(), method, params);
    }
}

fn parse<T: DeserializeOwned>(method: &'static str, result: &RawValue) -> Result<T, CdpError> {
    serde_json::from_str(result.get()).map_err(|e| CdpError::Malformed { method, reason: e.to_string() })
}
