//! What types cannot say: values that are well written and make no sense, alone or together.
//!
//! Pure. Each finding carries the path of its key, from which [`super::source`] finds the line.

use std::collections::HashSet;

use super::{BackendKind, Config, Environment, Farm, Hosts, SuiteKind};

/// Largest number that a count may take: beyond it lies a slip of the pen, not a farm.
const MOST_SLOTS: u32 = 1_000_000;

/// Findings in the order of the file's sections: path of the key, what is wrong with it.
pub fn problems(config: &Config) -> Vec<(String, String)> {
    let mut found = Findings::default();
    farm(&config.farm, &mut found);
    for (name, environment) in &config.environments {
        let path = format!("environments.{name}");
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > 64 || !name.chars().all(allowed) {
            found.add("environments", format!("`{name}` is not a name: use 1 to 64 letters, digits, `-` and `_`"));
            continue;
        }
        parts(&path, environment, &mut found);
        limits(&path, environment, &mut found);
    }
    found.0
}

#[derive(Default)]
struct Findings(Vec<(String, String)>);

impl Findings {
    fn add(&mut self, path: impl Into<String>, what: impl Into<String>) {
        self.0.push((path.into(), what.into()));
    }

    fn positive(&mut self, path: String, value: u128) {
        if value == 0 {
            self.add(path, "must not be zero");
        }
    }
}

fn farm(farm: &Farm, found: &mut Findings) {
    let leases = &farm.leases;
    found.positive("farm.leases.ttl_min".into(), leases.ttl_min.0.as_millis());
    if leases.ttl_default < leases.ttl_min {
        found.add("farm.leases.ttl_default", format!("{} is less than ttl_min ({})", leases.ttl_default, leases.ttl_min));
    }
    if leases.ttl_max < leases.ttl_default {
        found.add("farm.leases.ttl_max", format!("{} is less than ttl_default ({})", leases.ttl_max, leases.ttl_default));
    }
    for (key, gate) in [("load", farm.gates.load), ("step", farm.gates.step)] {
        found.positive(format!("farm.gates.{key}"), gate.unwrap_or(1) as u128);
    }
    found.positive("farm.leases.max_count".into(), leases.max_count as u128);
    found.positive("farm.prepare_timeout".into(), farm.prepare_timeout.0.as_millis());
    found.positive("farm.memory_budget".into(), u128::from(farm.memory_budget.of(u64::MAX)));
}

/// Backend, suite and their sections must belong together.
fn parts(path: &str, environment: &Environment, found: &mut Findings) {
    let Environment { backend, suite, .. } = environment;
    let (needed, name) = match suite {
        SuiteKind::Null => (BackendKind::Null, "null"),
        SuiteKind::Miniwob | SuiteKind::Pages => (BackendKind::Chromium, "chromium"),
    };
    if *backend != needed {
        found.add(format!("{path}.suite"), format!("this suite needs backend = \"{name}\""));
    }
    for (key, present, wanted) in [
        ("chromium", environment.chromium.is_some(), *backend == BackendKind::Chromium),
        ("miniwob", environment.miniwob.is_some(), *suite == SuiteKind::Miniwob),
        ("pages", environment.pages.is_some(), *suite == SuiteKind::Pages),
    ] {
        if present && !wanted {
            let kind = if key == "chromium" { "backend" } else { "suite" };
            found.add(format!("{path}.{key}"), format!("has no effect here: the environment's {kind} is another"));
        }
    }
    match &environment.pages {
        None if *suite == SuiteKind::Pages => found.add(path, "the suite `pages` needs a `pages.tasks` list"),
        Some(pages) => {
            if pages.tasks.is_empty() {
                found.add(format!("{path}.pages.tasks"), "must not be empty");
            }
            let mut seen = HashSet::new();
            for (i, task) in pages.tasks.iter().enumerate() {
                let path = format!("{path}.pages.tasks[{i}]");
                if task.id.is_empty() {
                    found.add(format!("{path}.id"), "must not be empty");
                } else if !seen.insert(&task.id) {
                    found.add(format!("{path}.id"), format!("`{}` is the id of an earlier task", task.id));
                }
                if !["http://", "https://"].iter().any(|scheme| task.url.starts_with(scheme)) {
                    found.add(format!("{path}.url"), format!("`{}` is not an http or https address", task.url));
                }
            }
        }
        None => {}
    }
}

/// Numbers must leave room for what they promise.
fn limits(path: &str, environment: &Environment, found: &mut Findings) {
    let Environment { max_slots, warm, viewport, time_limit, hosts, .. } = environment;
    let Hosts { min, max, sandboxes, recycle_after_episodes, recycle_after, recycle_above } = hosts;
    for (key, value) in [
        ("max_slots", u128::from(*max_slots)),
        ("hosts.max", u128::from(*max)),
        ("hosts.sandboxes", u128::from(*sandboxes)),
        ("hosts.recycle_after_episodes", u128::from(*recycle_after_episodes)),
        ("hosts.recycle_after", recycle_after.0.as_millis()),
        ("hosts.recycle_above", u128::from(recycle_above.0)),
        ("time_limit", time_limit.map_or(1, |span| span.0.as_millis())),
    ] {
        found.positive(format!("{path}.{key}"), value);
    }
    if min > max {
        found.add(format!("{path}.hosts.min"), format!("{min} is more than hosts.max ({max})"));
    }
    if *max_slots > MOST_SLOTS {
        found.add(format!("{path}.max_slots"), format!("{max_slots} is more than {MOST_SLOTS}"));
    }
    let room = u64::from(*max) * u64::from(*sandboxes);
    if room > 0 && u64::from(*max_slots) > room {
        let text = format!("{max_slots} slots find no room in hosts.max × hosts.sandboxes = {max} × {sandboxes} sandboxes");
        found.add(format!("{path}.max_slots"), text);
    }
    if u64::from(*warm) > room {
        found.add(format!("{path}.warm"), format!("{warm} sandboxes find no room in {max} × {sandboxes}"));
    }
    if let Some((width, height)) = viewport
        && !((1..=8192).contains(width) && (1..=8192).contains(height))
    {
        found.add(format!("{path}.viewport"), format!("[{width}, {height}]: each must be 1 to 8192 CSS pixels"));
    }
    let chromium = environment.chromium.clone().unwrap_or_default();
    for (key, span) in [
        ("settle_cap", chromium.settle_cap),
        ("action_cap", chromium.action_cap),
        ("load_cap", chromium.load_cap),
        ("launch_timeout", chromium.launch_timeout),
    ] {
        found.positive(format!("{path}.chromium.{key}"), span.map_or(1, |span| span.0.as_millis()));
    }
}
