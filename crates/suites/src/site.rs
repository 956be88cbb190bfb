//! A static site over loopback HTTP, from a folder, kept in memory once read.
//!
//! Task pages are served and not opened as `file://`: pages of one origin per suite behave as the web does, and no sandbox
//! ever needs to read a file.

use std::io;
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::{collections::HashMap, sync::PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Where warm sandboxes wait: a page of the tasks' origin, so that a task's page needs no new process.
pub const BLANK: &str = "/blank.html";
const BLANK_HTML: &str = "<!doctype html><title>envfarm</title>";
/// Files above this size are read anew each time.
const MAX_CACHED_BYTES: usize = 4 << 20;

/// Serves until dropped.
pub struct Site {
    pub address: SocketAddr,
    _serving: DropGuard,
}

struct Folder {
    root: PathBuf,
    cache: RwLock<HashMap<PathBuf, Bytes>>,
}

impl Site {
    pub async fn start(root: PathBuf) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let folder = Arc::new(Folder { root, cache: RwLock::default() });
        let router = Router::new().fallback(serve).with_state(folder);
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
                tracing::error!(%error, "task pages are no longer served");
            }
        });
        Ok(Self { address, _serving: stop.drop_guard() })
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

async fn serve(State(folder): State<Arc<Folder>>, uri: Uri) -> Response {
    let path = percent_decode(uri.path());
    if path == BLANK {
        return ([(header::CONTENT_TYPE, "text/html")], BLANK_HTML).into_response();
    }
    match folder.read(&path).await {
        Some(body) => ([(header::CONTENT_TYPE, content_type(&path)), (header::CACHE_CONTROL, "max-age=3600")], body).into_response(),
        None => (StatusCode::NOT_FOUND, format!("no {path} here\n")).into_response(),
    }
}

impl Folder {
    async fn read(&self, path: &str) -> Option<Bytes> {
        // One file has one entry, however a page writes its path.
        let relative = Path::new(path.strip_prefix('/')?).components().map(|c| matches!(c, Component::Normal(_)).then_some(c));
        let relative: PathBuf = relative.collect::<Option<_>>()?;
        if let Some(body) = self.cache.read().unwrap_or_else(PoisonError::into_inner).get(&relative) {
            return Some(body.clone());
        }
        let body = Bytes::from(tokio::fs::read(self.root.join(&relative)).await.ok()?);
        if body.len() <= MAX_CACHED_BYTES {
            self.cache.write().unwrap_or_else(PoisonError::into_inner).insert(relative, body.clone());
        }
        Some(body)
    }
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" | "htm" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" => "application/json",
        "png" => "image/png",
        "gif" => "image/gif",
        "jpg" | "jpeg" => "image/jpeg",
        "svg" => "image/svg+xml",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        _ => "application/octet-stream",
    }
}

fn percent_decode(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| path.get(at + 1..at + 3)).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(value) => {
                out.push(value);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_outside_the_folder_are_not_served() {
        let outer = tempfile::tempdir().unwrap();
        std::fs::write(outer.path().join("secret.txt"), "secret").unwrap();
        let root = outer.path().join("root");
        std::fs::create_dir(&root).unwrap();
        std::fs::write(root.join("page one.html"), "page").unwrap();
        let folder = Folder { root, cache: RwLock::default() };
        assert_eq!(folder.read(&percent_decode("/page%20one.html")).await.unwrap(), "page");
        for path in ["/./page one.html", "/page one.html/", "/.//page one.html"] {
            folder.read(path).await;
        }
        assert_eq!(folder.cache.read().unwrap().len(), 1, "one file is kept once, whatever it is called");
        for path in ["/../secret.txt", "/%2e%2e/secret.txt", "//../secret.txt", "/a/../../secret.txt", "secret.txt", "/", ""] {
            assert!(folder.read(&percent_decode(path)).await.is_none(), "{path}");
        }
    }

    #[test]
    fn odd_escapes_are_left_as_they_are() {
        assert_eq!(percent_decode("/a%20b"), "/a b");
        assert_eq!(percent_decode("/100%"), "/100%");
        assert_eq!(percent_decode("/%zz%e"), "/%zz%e");
        assert_eq!(percent_decode("/%é"), "/%é");
    }
}
