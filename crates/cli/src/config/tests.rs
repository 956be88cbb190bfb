use super::*;

/// The example with every commented key taken in. Explanations open with `# `, keys with `#` and a letter or bracket;
/// continued lines of a value are indented by two spaces.
fn uncommented() -> String {
    let take = |line: &str| -> String {
        match line.strip_prefix('#') {
            Some(rest) if rest.starts_with("  ") || !rest.starts_with(' ') => rest.to_owned(),
            _ => line.to_owned(),
        }
    };
    BUILT_IN.lines().map(take).collect::<Vec<_>>().join("\n")
}

fn refusal(text: &str) -> String {
    Config::parse(Path::new("farm.toml"), text).unwrap_err().to_string()
}

const MINIWOB: &str = "[environments.web]\nbackend = \"chromium\"\nsuite = \"miniwob\"\n";

#[test]
fn the_example_is_a_configuration_that_changes_no_default() {
    let config = Config::built_in().unwrap();
    assert_eq!((config.server, config.farm), (Server::default(), Farm::default()));
    assert_eq!(config.environments.keys().collect::<Vec<_>>(), ["miniwob", "null"]);
}

#[test]
fn the_example_with_every_commented_key_taken_in_is_a_configuration_too() {
    let config = Config::parse(Path::new("example"), &uncommented()).unwrap();
    assert_eq!(config.environments.len(), 3);
    assert_eq!(config.environments["shop"].pages.as_ref().map(|pages| pages.tasks.len()), Some(1));
}

#[test]
fn commented_keys_show_the_defaults() {
    let commented = Config::parse(Path::new("example"), &uncommented()).unwrap();
    assert_eq!(
        (commented.farm.drain_timeout, commented.farm.memory_budget),
        (Farm::default().drain_timeout, Farm::default().memory_budget)
    );
    assert_eq!(commented.farm.leases, Leases::default());
    assert_eq!(commented.farm.snapshots, Snapshots::default());
    assert_eq!((commented.server.listen, commented.server.http_listen), (Server::default().listen, Server::default().http_listen));
    let (commented, plain) = (&commented.environments["miniwob"], &Config::built_in().unwrap().environments["miniwob"]);
    assert_eq!((&commented.hosts, commented.max_slots, commented.warm), (&plain.hosts, plain.max_slots, plain.warm));
    assert_eq!((commented.provider, commented.reset), (plain.provider, plain.reset));
}

/// Paths of all keys, with names of environments taken out.
fn keys_of(value: &serde_json::Value, path: &str, keys: &mut std::collections::BTreeSet<String>) {
    match value {
        serde_json::Value::Object(object) => {
            for (key, value) in object {
                let key = if path == "environments" { "*" } else { key };
                let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
                keys_of(value, &path, keys);
                keys.insert(path);
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| keys_of(item, path, keys)),
        _ => {}
    }
}

#[test]
fn every_key_of_the_configuration_is_in_the_example() {
    let text = uncommented();
    let (mut known, mut shown) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    let config = Config::parse(Path::new("example"), &text).unwrap();
    keys_of(&serde_json::to_value(config).unwrap(), "", &mut known);
    keys_of(&toml::from_str(&text).unwrap(), "", &mut shown);
    assert_eq!(known, shown);
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let text = format!("{MINIWOB}\n[environments.web.hosts]\nmin = 1\nmost = 4\n");
    let refusal = refusal(&text);
    assert!(refusal.starts_with("farm.toml:7: environments.web.hosts.most: unknown field `most`"), "{refusal}");
}

#[test]
fn a_bad_value_is_named_with_its_line_and_says_what_is_allowed() {
    for (line, path, says) in [
        ("backend = \"firefox\"\nsuite = \"miniwob\"", "farm.toml:2: environments.web.backend: ", "`chromium`"),
        ("backend = \"chromium\"\nsuite = \"alfworld\"", "farm.toml:3: environments.web.suite: ", "`miniwob`"),
        ("backend = \"null\"\nsuite = \"null\"\nprovider = \"cloud\"", "farm.toml:4: environments.web.provider: ", "`process`"),
        ("backend = \"null\"\nsuite = \"null\"\nmax_slots = -1", "farm.toml:4: environments.web.max_slots: ", "-1"),
        ("backend = \"null\"\nsuite = \"null\"\ntime_limit = \"5\"", "farm.toml:4: environments.web.time_limit: ", "not a duration"),
        ("suite = \"null\"", "farm.toml:1: environments.web: ", "missing field `backend`"),
    ] {
        let refusal = refusal(&format!("[environments.web]\n{line}\n"));
        assert!(refusal.starts_with(path) && refusal.contains(says), "{refusal}");
    }
    let refusal = refusal("[server]\nlisten = \"localhost\"\n[farm]\n");
    assert!(refusal.starts_with("farm.toml:2: server.listen: invalid socket address"), "{refusal}");
}

#[test]
fn text_that_is_no_toml_is_named_with_its_line() {
    let refusal = refusal("[server]\nlisten = \n");
    assert!(refusal.starts_with("farm.toml:2: `listen =`: "), "{refusal}");
}

#[test]
fn an_environment_given_twice_is_refused() {
    let refusal = refusal(&format!("{MINIWOB}\n{MINIWOB}"));
    assert!(refusal.starts_with("farm.toml:5: `[environments.web]`: duplicate key"), "{refusal}");
}

#[test]
fn what_makes_no_sense_is_named_with_key_and_line_all_at_once() {
    let refusal = refusal(&format!(
        "[farm.leases]\nttl_min = \"2m\"\n{MINIWOB}max_slots = 0\nviewport = [0, 9]\n[environments.web.hosts]\nmin = 5\nmax = 4\n"
    ));
    let lines: Vec<&str> = refusal.lines().collect();
    assert_eq!(
        lines,
        [
            "farm.toml:1: farm.leases.ttl_default: 1m is less than ttl_min (2m)",
            "farm.toml:6: environments.web.max_slots: must not be zero",
            "farm.toml:9: environments.web.hosts.min: 5 is more than hosts.max (4)",
            "farm.toml:7: environments.web.viewport: [0, 9]: each must be 1 to 8192 CSS pixels",
        ]
    );
}

#[test]
fn more_slots_than_sandboxes_are_refused() {
    let refusal = refusal(&format!("{MINIWOB}max_slots = 65\nhosts = {{ max = 2, sandboxes = 32 }}\n"));
    assert!(refusal.starts_with("farm.toml:4: environments.web.max_slots: 65 slots find no room"), "{refusal}");
}

#[test]
fn a_suite_on_the_wrong_backend_is_refused() {
    let refusal = refusal("[environments.web]\nbackend = \"null\"\nsuite = \"miniwob\"\n");
    assert_eq!(refusal, "farm.toml:3: environments.web.suite: this suite needs backend = \"chromium\"");
}

#[test]
fn a_section_without_effect_is_refused() {
    let refusal = refusal("[environments.n]\nbackend = \"null\"\nsuite = \"null\"\nchromium = { args = [] }\n");
    assert_eq!(refusal, "farm.toml:4: environments.n.chromium: has no effect here: the environment's backend is another");
}

#[test]
fn tasks_of_pages_have_distinct_ids_and_web_addresses() {
    let page = |id: &str, url: &str| format!("[[environments.web.pages.tasks]]\nid = \"{id}\"\nurl = \"{url}\"\ngoal = \"\"\n");
    let head = "[environments.web]\nbackend = \"chromium\"\nsuite = \"pages\"\n";
    let refusal = refusal(&format!("{head}{}{}", page("a", "http://x/"), page("a", "file:///etc/passwd")));
    let lines: Vec<&str> = refusal.lines().collect();
    assert_eq!(lines[0], "farm.toml:9: environments.web.pages.tasks[1].id: `a` is the id of an earlier task");
    assert_eq!(lines[1], "farm.toml:10: environments.web.pages.tasks[1].url: `file:///etc/passwd` is not an http or https address");
}

#[test]
fn a_name_that_cannot_be_a_file_name_is_refused() {
    let refusal = refusal("[environments.\"a/b\"]\nbackend = \"null\"\nsuite = \"null\"\n");
    assert!(refusal.contains("environments: `a/b` is not a name"), "{refusal}");
}

#[test]
fn a_file_without_environments_has_the_built_in_ones() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[farm]\ndrain_timeout = \"1s\"\n").unwrap();
    let config = Config::load(Some(file.path())).unwrap();
    assert_eq!(config.farm.drain_timeout, Span::seconds(1));
    assert_eq!(config.environments.len(), 2);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let refusal = Config::load(Some(Path::new("/nonexistent/farm.toml"))).unwrap_err().to_string();
    assert!(refusal.starts_with("/nonexistent/farm.toml: read it: "), "{refusal}");
}
