//! What the command line says when it cannot or need not start a farm.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod common;

use common::{NULL, envfarm, finish, serve};
use tempfile::TempDir;

const NO_BROWSER: &str = r#"
farm.state_dir = "STATE"
[environments.web]
backend = "chromium"
suite = "miniwob"
chromium = { program = "/nonexistent/chromium" }
"#;

#[tokio::test]
async fn a_bad_key_ends_the_start_and_is_named_with_its_line() {
    let dir = TempDir::new().unwrap();
    let (status, _, said) = finish(serve(dir.path(), &format!("{NULL}patience = 3\n"))).await;
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("farm.toml:4: farm.patience: unknown field `patience`"), "{said}");
}

#[tokio::test]
async fn a_configuration_that_is_not_there_is_named() {
    let mut command = envfarm();
    command.args(["serve", "--config", "/nonexistent/farm.toml"]);
    let (status, _, said) = finish(command).await;
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("/nonexistent/farm.toml"), "{said}");
}

#[tokio::test]
async fn an_address_that_is_not_loopback_demands_a_token() {
    let dir = TempDir::new().unwrap();
    let mut command = serve(dir.path(), NULL);
    command.args(["--listen", "0.0.0.0:0", "--http-listen", "127.0.0.1:0"]);
    let (status, _, said) = finish(command).await;
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("0.0.0.0") && said.contains("--token-file"), "{said}");
}

#[tokio::test]
async fn an_empty_token_is_no_token() {
    let dir = TempDir::new().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "\n").unwrap();
    let mut command = serve(dir.path(), NULL);
    command.args(["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--token-file"]).arg(&token);
    let (status, _, said) = finish(command).await;
    assert_eq!(status.code(), Some(1));
    assert!(said.contains(&token.display().to_string()), "{said}");
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = TempDir::new().unwrap();
    let mut command = serve(dir.path(), NULL);
    command.args(["--listen", &address, "--http-listen", "127.0.0.1:0"]);
    let (status, _, said) = finish(command).await;
    assert_eq!(status.code(), Some(1));
    assert!(said.contains(&address), "{said}");
}

#[tokio::test]
async fn a_planted_state_folder_is_refused_and_left_alone() {
    let dir = TempDir::new().unwrap();
    let others = dir.path().join("others");
    std::fs::create_dir_all(others.join("farm-x/web-1")).unwrap();
    let user = rustix::process::geteuid().as_raw();
    let planted = dir.path().join(format!("envfarm-{user}"));
    std::os::unix::fs::symlink(&others, &planted).unwrap();
    let mut command = serve(dir.path(), "environments.null = { backend = \"null\", suite = \"null\" }\n");
    command.args(["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]);
    command.env("TMPDIR", dir.path()).env_remove("XDG_RUNTIME_DIR");
    let (status, _, said) = finish(command).await;
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("{} is a link", planted.display())) && said.contains("farm.state_dir"), "{said}");
    assert!(others.join("farm-x/web-1").exists());
}

#[tokio::test]
async fn without_the_browser_it_refuses_to_start_and_says_what_mends_it() {
    let dir = TempDir::new().unwrap();
    let (status, _, said) = finish(serve(dir.path(), NO_BROWSER)).await;
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("/nonexistent/chromium") && said.contains("apt-get install chromium-headless-shell"), "{said}");
}

#[tokio::test]
async fn tasks_are_listed_without_a_farm() {
    let mut command = envfarm();
    command.args(["tasks", "null"]);
    let (status, listed, said) = finish(command).await;
    assert!(status.success(), "{said}");
    assert!(!listed.trim().is_empty());
}

#[tokio::test]
async fn an_unknown_environment_is_answered_with_those_there_are() {
    let mut command = envfarm();
    command.args(["tasks", "nul"]);
    let (status, _, said) = finish(command).await;
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("`nul`") && said.contains("miniwob, null"), "{said}");
}

#[tokio::test]
async fn the_doctor_names_what_is_missing_and_what_mends_it() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("farm.toml");
    std::fs::write(&file, NO_BROWSER).unwrap();
    let mut command = envfarm();
    command.args(["doctor", "--json", "--config"]).arg(&file);
    let (status, report, _) = finish(command).await;
    assert_eq!(status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["ok"], false);
    let checks = report["checks"].as_array().unwrap();
    let browser = checks.iter().find(|check| check["name"] == "chromium").unwrap();
    assert_eq!(browser["status"], "missing");
    assert_eq!(browser["mend"], "apt-get install chromium-headless-shell");
}
