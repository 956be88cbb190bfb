//! The server from outside: a real farm of null environments on free ports, driven through the Rust client.

#![allow(clippy::unwrap_used)]

mod access;
mod endings;
mod farm;
mod rollout;
mod side;
