//! The provider with real processes: what must hold of a host's start, its end, and of what a killed farm leaves.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use envfarm_core::traits::Ready;
use envfarm_core::{Endpoints, HostId, HostSpec, Provider, ProviderError};
use envfarm_process::ProcessProvider;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(20);

fn shell(script: &str, ready: Ready) -> HostSpec {
    HostSpec {
        environment: "test".into(),
        program: "sh".into(),
        args: ["-c", script, "sh", "{dir}"].map(str::to_owned).to_vec(),
        ready,
        launch_timeout: LIMIT,
        ..HostSpec::default()
    }
}

fn port_file() -> Ready {
    Ready::PortFile { name: "port".into() }
}

fn id(name: &str) -> HostId {
    HostId(name.into())
}

async fn launch(provider: &ProcessProvider, name: &str, spec: &HostSpec) -> Result<Endpoints, ProviderError> {
    provider.launch(&id(name), spec, &CancellationToken::new()).await
}

fn provider() -> (TempDir, ProcessProvider) {
    let state = TempDir::new().expect("temp dir");
    let provider = ProcessProvider::new(state.path().join("state")).expect("provider");
    (state, provider)
}

/// Processes, zombies included, whose environment or command line names the folder, by number.
fn processes_of(folder: &Path) -> Vec<u32> {
    let folder = folder.canonicalize().expect("folder");
    let names = |file: PathBuf| {
        let text = fs::read(file).unwrap_or_default();
        text.windows(folder.as_os_str().len()).any(|window| window == folder.as_os_str().as_encoded_bytes())
    };
    let entries = fs::read_dir("/proc").expect("proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        *pid != std::process::id() && (names(format!("/proc/{pid}/environ").into()) || names(format!("/proc/{pid}/cmdline").into()))
    })
    .collect()
}

fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Names in all farms' folders below the state folder.
fn files(state: &TempDir) -> Vec<String> {
    let farms = fs::read_dir(state.path().join("state")).expect("state").flatten().filter(|entry| entry.path().is_dir());
    let names = farms.flat_map(|farm| fs::read_dir(farm.path()).expect("farm").flatten());
    names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[track_caller]
fn nothing_is_left(state: &TempDir) {
    assert_eq!(processes_of(state.path()), [0; 0]);
    assert_eq!(files(state), [""; 0]);
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < LIMIT, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_host_is_reached_by_its_port_file_and_ends_without_a_trace() {
    let (state, provider) = provider();
    let spec = shell("printf '4321\\n/devtools/x' > \"$1/port\"; exec sleep 600", port_file());
    let endpoints = launch(&provider, "web-1", &spec).await.expect("launch");
    assert_eq!(endpoints.urls, BTreeMap::from([("cdp".into(), "ws://127.0.0.1:4321/devtools/x".into())]));
    let pid = endpoints.pid.expect("a local process");
    assert!(exists(pid));
    let owned = provider.list_owned().await.expect("list");
    assert_eq!(owned.iter().map(|host| (host.id.0.as_str(), host.pid, host.orphaned)).collect::<Vec<_>>(), [("web-1", Some(pid), false)]);

    provider.destroy(&id("web-1")).await.expect("destroy");
    assert!(!exists(pid));
    nothing_is_left(&state);
    provider.destroy(&id("web-1")).await.expect("again");
    assert!(provider.list_owned().await.expect("list").is_empty());
    drop(provider);
    assert_eq!(fs::read_dir(state.path().join("state")).expect("state").count(), 0, "the farm's own files go with it");
}

#[tokio::test]
async fn the_folder_is_private_and_the_environment_is_given() {
    let (state, provider) = provider();
    let mut spec = shell("test \"$KEY\" = value && echo 1 > \"$1/port\"; exec sleep 600", port_file());
    spec.env.insert("KEY".into(), "value".into());
    launch(&provider, "web-1", &spec).await.expect("launch");
    let farm = fs::read_dir(state.path().join("state")).expect("state").flatten().find(|entry| entry.path().is_dir()).expect("farm");
    assert_eq!(fs::metadata(farm.path().join("web-1")).expect("folder").permissions().mode() & 0o777, 0o700);
    provider.destroy(&id("web-1")).await.expect("destroy");
}

/// What the provider says of a state folder that it refuses.
fn refusal(state: &Path) -> String {
    let Err(error) = ProcessProvider::new(state.to_owned()) else { panic!("{} was taken", state.display()) };
    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied, "{error}");
    error.to_string()
}

#[tokio::test]
async fn a_new_state_folder_is_private() {
    let (state, _provider) = provider();
    assert_eq!(fs::metadata(state.path().join("state")).expect("state").permissions().mode() & 0o7777, 0o700);
}

#[tokio::test]
async fn a_state_folder_that_somebody_else_may_have_filled_is_refused() {
    let dir = TempDir::new().expect("temp dir");
    let path = |name: &str| dir.path().join(name);
    for (name, mode) in [("group", 0o770), ("all", 0o1777)] {
        fs::create_dir(path(name)).expect("folder");
        fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).expect("open to others");
        let said = refusal(&path(name));
        assert!(said.contains(path(name).to_str().expect("text")) && said.contains(&format!("mode {mode:04o}")), "{said}");
    }
    fs::create_dir(path("own")).expect("folder");
    symlink(path("own"), path("link")).expect("link");
    for link in ["link", "link/"] {
        assert!(refusal(&path(link)).contains("is a link"));
    }
    // Only root can make this one.
    if chown(path("own"), Some(12_345), None).is_ok() {
        let said = refusal(&path("own"));
        assert!(said.contains("owner 12345"), "{said}");
    }
}

#[tokio::test]
async fn links_in_the_state_folder_lead_to_no_host() {
    let (state, provider) = provider();
    let elsewhere = state.path().join("elsewhere");
    fs::create_dir_all(elsewhere.join("web-1")).expect("folder");
    fs::create_dir(state.path().join("state/farm-dead")).expect("farm");
    symlink(&elsewhere, state.path().join("state/farm-link")).expect("link");
    symlink(&elsewhere, state.path().join("state/farm-dead/web-2")).expect("link");
    assert_eq!(provider.collect_orphans().await.expect("collect"), []);
    provider.destroy(&id("web-1")).await.expect("no such host");
    assert!(elsewhere.join("web-1").exists());
}

#[tokio::test]
async fn a_host_that_cannot_be_removed_does_not_keep_the_others() {
    let (state, provider) = provider();
    let farms = ["farm-a", "farm-b"].map(|farm| state.path().join("state").join(farm));
    // Too deep to be walked with the few files that are allowed below: the one thing that stops root, too.
    let deep = farms[0].join("web-1").join(["d"; 300].join("/"));
    for folder in [&deep, &farms[0].join("web-2"), &farms[1].join("web-3")] {
        fs::create_dir_all(folder).expect("folder");
    }
    let limits = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(200), ..limits }).expect("fewer files");
    let mut collected = provider.collect_orphans().await.expect("collect");
    collected.sort();
    let destroyed = provider.destroy(&id("web-1")).await;
    setrlimit(Resource::Nofile, limits).expect("as before");
    assert_eq!(collected, [id("web-2"), id("web-3")]);
    assert!(destroyed.is_err(), "whoever asks for this one must know");
    assert!(farms[0].exists() && !farms[1].exists());
    assert_eq!(provider.collect_orphans().await.expect("collect"), [id("web-1")]);
    assert!(!farms[0].exists());
}

#[tokio::test]
async fn whoever_looks_into_a_hosts_folder_is_spared() {
    let (state, provider) = provider();
    launch(&provider, "web-1", &shell("echo > \"$1/log\"; echo 1 > \"$1/port\"; exec sleep 600", port_file())).await.expect("launch");
    let farm = fs::read_dir(state.path().join("state")).expect("state").flatten().find(|entry| entry.path().is_dir()).expect("farm");
    let log = farm.path().canonicalize().expect("farm").join("web-1/log");
    let mut onlooker = Command::new("tail").arg("-f").arg(log).spawn().expect("tail");
    provider.destroy(&id("web-1")).await.expect("destroy");
    assert!(onlooker.try_wait().expect("ours").is_none(), "the onlooker was killed");
    onlooker.kill().expect("kill");
    onlooker.wait().expect("reap");
    nothing_is_left(&state);
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let (state, provider) = provider();
    let spec = HostSpec { program: "no-such-browser".into(), ..shell("", port_file()) };
    let Err(ProviderError::Missing(text)) = launch(&provider, "web-1", &spec).await else { panic!("not missing") };
    assert!(text.contains("no-such-browser"), "{text}");
    nothing_is_left(&state);
}

#[tokio::test]
async fn a_program_that_dies_at_once_says_why() {
    let (state, provider) = provider();
    let spec = shell("echo 'cannot open display' >&2; exit 7", port_file());
    let Err(ProviderError::Launch(text)) = launch(&provider, "web-1", &spec).await else { panic!("launched") };
    assert!(text.contains("exit status: 7") && text.contains("cannot open display"), "{text}");
    nothing_is_left(&state);
}

#[tokio::test]
async fn a_program_that_never_becomes_ready_is_ended() {
    let (state, provider) = provider();
    let spec = HostSpec { launch_timeout: Duration::from_millis(100), ..shell("sleep 600 & wait", port_file()) };
    let error = launch(&provider, "web-1", &spec).await.expect_err("not ready");
    assert!(matches!(error, ProviderError::NotReady(limit) if limit == spec.launch_timeout), "{error}");
    nothing_is_left(&state);
}

#[tokio::test]
async fn a_chatty_host_does_not_block_on_its_output() {
    let (_state, provider) = provider();
    let spec = shell("head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2; echo 1 > \"$1/port\"; exec sleep 600", port_file());
    launch(&provider, "web-1", &spec).await.expect("launch");
    provider.destroy(&id("web-1")).await.expect("destroy");
}

#[tokio::test]
async fn descendants_die_with_their_host_wherever_they_fled() {
    let (state, provider) = provider();
    // One in the group, one in a session of its own and orphaned, one that also shed its environment.
    let script = "sleep 600 & (setsid sleep 600 &); setsid env -i sh -c 'sleep 600 & echo 1 > \"$1/port\"; wait' sh \"$1\" & wait";
    let pid = launch(&provider, "web-1", &shell(script, port_file())).await.expect("launch").pid.expect("pid");
    eventually("all run", || processes_of(state.path()).len() >= 4).await;
    let running = processes_of(state.path());
    provider.destroy(&id("web-1")).await.expect("destroy");
    assert!(!exists(pid));
    eventually("the orphans are reaped", || !running.iter().any(|pid| exists(*pid))).await;
    nothing_is_left(&state);
}

#[tokio::test]
async fn a_cancelled_launch_leaves_nothing() {
    let (state, provider) = provider();
    let cancel = CancellationToken::new();
    let spec = shell("sleep 600 & wait", port_file());
    let (id, launching) = (id("web-1"), cancel.clone());
    let (result, ()) = tokio::join!(provider.launch(&id, &spec, &launching), async {
        eventually("it runs", || processes_of(state.path()).len() == 2).await;
        cancel.cancel();
    });
    assert!(matches!(result, Err(ProviderError::Cancelled)), "{result:?}");
    nothing_is_left(&state);
    assert!(matches!(provider.launch(&id, &spec, &cancel).await, Err(ProviderError::Cancelled)));
}

#[tokio::test]
async fn a_launch_that_is_dropped_leaves_nothing() {
    let (state, provider) = provider();
    let spec = shell("sleep 600 & wait", port_file());
    tokio::select! {
        _ = launch(&provider, "web-1", &spec) => panic!("it cannot become ready"),
        () = eventually("it runs", || processes_of(state.path()).len() == 2) => {}
    }
    eventually("all is gone", || processes_of(state.path()).is_empty() && files(&state).is_empty()).await;
}

#[tokio::test]
async fn a_host_that_ends_by_itself_is_reaped_and_forgotten() {
    let (state, provider) = provider();
    let spec = shell("(setsid sleep 600 &); sleep 600 & exec sleep 0.2", Ready::Started);
    let pid = launch(&provider, "web-1", &spec).await.expect("launch").pid.expect("pid");
    eventually("all is gone", || !exists(pid) && files(&state).is_empty()).await;
    eventually("the orphans are reaped", || processes_of(state.path()).is_empty()).await;
    // Its folder goes first, and whoever watches the folder may see that before the provider has forgotten it.
    let web = id("web-1");
    let forgotten = async {
        loop {
            match provider.usage(&web).await {
                Err(ProviderError::UnknownHost(_)) => return,
                other => assert!(other.is_ok(), "{other:?}"),
            }
        }
    };
    tokio::time::timeout(LIMIT, forgotten).await.expect("forgotten");
    provider.destroy(&web).await.expect("destroy");
}

#[tokio::test]
async fn a_host_whose_name_begins_like_another_is_spared() {
    let (state, provider) = provider();
    let spec = shell("exec sleep 600", Ready::Started);
    launch(&provider, "web-1", &spec).await.expect("launch");
    let other = launch(&provider, "web-10", &spec).await.expect("launch").pid.expect("pid");
    assert!(launch(&provider, "web-10", &spec).await.is_err(), "a name is taken while its host lives");
    provider.destroy(&id("web-1")).await.expect("destroy");
    assert!(exists(other));
    assert!(provider.usage(&id("web-10")).await.is_ok());
    provider.destroy(&id("web-10")).await.expect("destroy");
    nothing_is_left(&state);
    assert!(launch(&provider, "../web", &spec).await.is_err());
}

#[tokio::test]
async fn usage_is_that_of_the_whole_tree() {
    let (_state, provider) = provider();
    let burn = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
    launch(&provider, "one", &shell("exec sleep 600", Ready::Started)).await.expect("launch");
    let script = format!("for n in 1 2 3 4; do sleep 600 & done; ({burn}); echo 1 > \"$1/port\"; wait");
    launch(&provider, "many", &shell(&script, port_file())).await.expect("launch");
    let (one, many) = (provider.usage(&id("one")).await.expect("usage"), provider.usage(&id("many")).await.expect("usage"));
    assert!(one.memory_bytes > 50_000 && many.memory_bytes > 2 * one.memory_bytes, "{one:?} {many:?}");
    assert!(many.cpu_seconds > 0.01, "{many:?}");
    for name in ["one", "many"] {
        provider.destroy(&id(name)).await.expect("destroy");
    }
}

#[tokio::test]
async fn dropping_the_provider_ends_its_hosts() {
    let (state, provider) = provider();
    launch(&provider, "web-1", &shell("sleep 600 & wait", Ready::Started)).await.expect("launch");
    drop(provider);
    eventually("all is gone", || processes_of(state.path()).is_empty()).await;
    eventually("and its files", || fs::read_dir(state.path().join("state")).expect("state").count() == 0).await;
}

/// Not a test by itself: the farm that the next ones start, to be killed.
#[tokio::test]
async fn the_farm_of_other_tests() {
    let Some(state) = std::env::var_os("ENVFARM_TEST_STATE") else { return };
    let provider = ProcessProvider::new(state.into()).expect("provider");
    let begin = std::env::var("ENVFARM_TEST_SCRIPT").expect("given with the other");
    let spec = shell(&format!("{begin}; echo 1 > \"$1/port\"; wait"), port_file());
    for name in ["web-1", "web-2"] {
        launch(&provider, name, &spec).await.expect("launch");
    }
    fs::write(std::env::var_os("ENVFARM_TEST_READY").expect("given with the other"), "").expect("tell");
    tokio::time::sleep(6 * LIMIT).await;
}

struct OtherFarm(std::process::Child);

impl OtherFarm {
    async fn start(state: &TempDir) -> Self {
        Self::start_with(state, "sleep 600 & (setsid sleep 600 &)").await
    }

    /// Starts a farm whose hosts begin with a script.
    async fn start_with(state: &TempDir, script: &str) -> Self {
        let ready = state.path().join("ready");
        let child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "the_farm_of_other_tests"])
            .env("ENVFARM_TEST_STATE", state.path().join("state"))
            .env("ENVFARM_TEST_READY", &ready)
            .env("ENVFARM_TEST_SCRIPT", script)
            .stdout(Stdio::null())
            .spawn()
            .expect("start");
        let farm = Self(child);
        eventually("the other farm runs", || ready.exists()).await;
        farm
    }

    fn kill(&mut self) {
        self.0.kill().expect("kill -9");
        self.0.wait().expect("reap");
    }
}

impl Drop for OtherFarm {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn what_a_killed_farm_left_is_collected_and_a_living_one_is_spared() {
    let (state, provider) = provider();
    launch(&provider, "mine", &shell("exec sleep 600", Ready::Started)).await.expect("launch");
    let mine = provider.list_owned().await.expect("list");
    let mut other = OtherFarm::start(&state).await;
    assert!(provider.collect_orphans().await.expect("collect").is_empty(), "the other farm lives");
    assert_eq!(provider.list_owned().await.expect("list"), mine);

    other.kill();
    let mut orphans: Vec<_> = provider.list_owned().await.expect("list").into_iter().filter(|host| host.orphaned).collect();
    orphans.sort_by(|a, b| a.id.cmp(&b.id));
    let pids: Vec<u32> = orphans.iter().filter_map(|host| host.pid).collect();
    assert_eq!(orphans.iter().map(|host| host.id.0.as_str()).collect::<Vec<_>>(), ["web-1", "web-2"]);
    assert!(pids.len() == 2 && pids.iter().all(|pid| exists(*pid)), "hosts outlive their farm");

    provider.destroy(&id("web-2")).await.expect("destroy one orphan");
    assert_eq!(provider.collect_orphans().await.expect("collect"), [id("web-1")]);
    let mine = mine[0].pid.expect("pid");
    eventually("only ours is left", || processes_of(state.path()) == [mine]).await;
    assert_eq!(provider.collect_orphans().await.expect("again"), []);
    provider.destroy(&id("mine")).await.expect("destroy");
    nothing_is_left(&state);
}

#[tokio::test]
async fn what_outlives_its_leader_is_found_by_group_and_folder() {
    let (state, provider) = provider();
    // Beside those that have the environment, one that shed it.
    let script = "sleep 600 & (setsid sleep 600 &); (env -i sh -c 'sleep 600; :' sh \"$1\" &)";
    let mut other = OtherFarm::start_with(&state, script).await;
    other.kill();
    let owned = provider.list_owned().await.expect("list");
    for leader in owned.iter().filter_map(|host| host.pid) {
        kill_process(Pid::from_raw(leader.cast_signed()).expect("a number"), Signal::KILL).expect("kill");
        eventually("the leader is reaped", || !exists(leader)).await;
    }
    assert!(!processes_of(state.path()).is_empty());
    assert_eq!(provider.collect_orphans().await.expect("collect").len(), 2);
    eventually("nothing runs", || processes_of(state.path()).is_empty()).await;
    nothing_is_left(&state);
}

#[tokio::test]
async fn a_process_that_only_has_an_orphans_number_is_spared() {
    let (state, provider) = provider();
    let mut other = OtherFarm::start(&state).await;
    other.kill();
    let mut bystander = Command::new("sleep").arg("600").spawn().expect("sleep");
    // As if the host had died, and its number had been given to somebody else, in this boot or in another.
    let farms = fs::read_dir(state.path().join("state")).expect("state").flatten().map(|farm| farm.path());
    let farm = farms.filter(|farm| farm.is_dir()).find(|farm| farm.join("web-1").exists()).expect("the dead farm");
    for (host, field) in [("web-1", "start"), ("web-2", "boot")] {
        let path = farm.join(format!("{host}.json"));
        let mut record: serde_json::Value = serde_json::from_slice(&fs::read(&path).expect("record")).expect("json");
        let start = fs::read_to_string(format!("/proc/{}/stat", bystander.id())).expect("stat");
        record["pid"] = bystander.id().into();
        record["start"] =
            start.rsplit(' ').collect::<Vec<_>>().into_iter().rev().nth(21).and_then(|ticks| ticks.parse::<u64>().ok()).into();
        record[field] = if field == "start" { 1.into() } else { "another-boot".into() };
        fs::write(&path, record.to_string()).expect("forge");
    }
    let mut collected = provider.collect_orphans().await.expect("collect");
    collected.sort();
    assert_eq!(collected, [id("web-1"), id("web-2")]);
    assert!(bystander.try_wait().expect("ours").is_none(), "the bystander was killed");
    bystander.kill().expect("kill");
    bystander.wait().expect("reap");
    eventually("the folder tells the hosts' processes all the same", || processes_of(state.path()).is_empty()).await;
    nothing_is_left(&state);
}
