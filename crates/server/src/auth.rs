//! Who may call: one bearer token for everything on the gRPC port.
//!
//! The check sits in front of the router, so that a stranger cannot even learn which methods exist. Open is only the health
//! check, which orchestrators probe without credentials and which says no more than "serving" or "not serving".

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::Response;
use std::fmt;
use subtle::ConstantTimeEq;
use thiserror::Error;
use tonic::Status;

/// Longest token, in bytes.
pub const MAX_TOKEN_BYTES: usize = 256;

const OPEN_PATH: &str = "/grpc.health.v1.Health/Check";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a token is 1 to {MAX_TOKEN_BYTES} visible ASCII characters")]
pub struct BadToken;

/// The secret that callers must show. Held padded, so that comparing takes as long for every length.
#[derive(Clone)]
pub struct Token {
    padded: [u8; MAX_TOKEN_BYTES],
    len: usize,
}

impl Token {
    pub fn new(secret: &str) -> Result<Self, BadToken> {
        let bytes = secret.as_bytes();
        if bytes.is_empty() || !bytes.iter().all(u8::is_ascii_graphic) {
            return Err(BadToken);
        }
        Self::pad(bytes).ok_or(BadToken)
    }

    fn pad(bytes: &[u8]) -> Option<Self> {
        let mut padded = [0; MAX_TOKEN_BYTES];
        padded.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Self { padded, len: bytes.len() })
    }

    /// Compares in a time that depends on the shown text only.
    fn matches(&self, shown: &[u8]) -> bool {
        let Some(shown) = Self::pad(shown) else { return false };
        bool::from(self.padded.ct_eq(&shown.padded) & self.len.ct_eq(&shown.len))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Lets a request pass if it shows the token.
pub(crate) async fn check(State(token): State<Token>, request: Request, next: Next) -> Response {
    if request.uri().path() == OPEN_PATH || bearer(&request).is_some_and(|shown| token.matches(shown)) {
        return next.run(request).await;
    }
    Status::unauthenticated("a valid bearer token is required").into_http::<Body>()
}

fn bearer(request: &Request) -> Option<&[u8]> {
    let (scheme, token) = request.headers().get(AUTHORIZATION)?.as_bytes().split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_token_matches() {
        let token = Token::new("secret").unwrap();
        assert!(token.matches(b"secret"));
        let long = [b'a'; MAX_TOKEN_BYTES + 1];
        for other in [&b""[..], b"secre", b"secret\0", b"secrets", b"Secret", &long] {
            assert!(!token.matches(other), "{other:?}");
        }
    }

    #[test]
    fn a_token_is_refused_rather_than_cut() {
        assert!(Token::new(&"a".repeat(MAX_TOKEN_BYTES)).is_ok());
        for bad in ["", "with space", "tab\t", "é", &"a".repeat(MAX_TOKEN_BYTES + 1)] {
            assert!(Token::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_token_is_not_shown_in_logs() {
        assert!(!format!("{:?}", Token::new("secret").unwrap()).contains("secret"));
    }
}
