//! Asking the browser for what a request needs, and no more: all at one moment, in as few round trips as possible.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use envfarm_core::{BackendError, ObservationKind, ObservationRequest};
use futures::future::join_all;
use serde_json::json;
use serde_json::value::RawValue;

use super::PageState;
use super::dom::{Dom, Snapshot};
use super::merge;
use super::picture::{self, Shot};
use super::world::{FrameTable, MarkedFrame, WalkSpec};
use crate::cdp::{CdpError, Session};

/// Snapshots and trees of huge pages take seconds where the machine is busy.
const SNAPSHOT_LIMIT: Duration = Duration::from_secs(20);
/// Captures begun, while the page navigates under them.
const ATTEMPTS: usize = 3;

/// What a request needs of the page.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Plan {
    mark: Option<WalkSpec>,
    dom: Option<DomDetail>,
    tree: bool,
    title: bool,
    shots: Vec<Shot>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum DomDetail {
    /// Tree, attributes and boxes.
    Plain,
    /// And what of a box is rendered.
    Full,
}

impl Plan {
    pub fn of(want: &ObservationRequest) -> Self {
        use ObservationKind as Kind;
        let mut plan = Self::default();
        let mut walk = WalkSpec::default();
        let mut marks = false;
        for spec in &want.specs {
            let (needs_ids, dom) = match spec.kind {
                Kind::Browsergym | Kind::ScreenshotSom => (true, Some(DomDetail::Full)),
                Kind::AxtreeTxt | Kind::WebarenaTxt | Kind::Html => (true, Some(DomDetail::Plain)),
                Kind::FocusedElement => (true, None),
                _ => (false, None),
            };
            marks |= needs_ids;
            plan.dom = plan.dom.max(dom);
            plan.tree |= matches!(spec.kind, Kind::Browsergym | Kind::AxtreeTxt | Kind::WebarenaTxt);
            plan.title |= matches!(spec.kind, Kind::Title | Kind::Tabs);
            walk.geometry |= dom == Some(DomDetail::Full);
            walk.operable |= spec.kind == Kind::Html;
            let shot = match spec.kind {
                Kind::Screenshot => Some(Shot::plain(spec)),
                Kind::ScreenshotSom => Some(Shot::for_marks(spec)),
                _ => None,
            };
            if let Some(shot) = shot.filter(|s| !plan.shots.contains(s)) {
                plan.shots.push(shot);
            }
        }
        plan.mark = marks.then_some(walk);
        plan.title &= !marks;
        plan
    }
}

/// What the browser said of one moment. Failures are texts, for the observations that they concern.
pub(super) struct Moment {
    /// One a frame, in the order of the table.
    pub marked: Result<Vec<MarkedFrame>, String>,
    /// One a frame.
    pub trees: Vec<Result<Box<RawValue>, String>>,
    /// One a process, that of the main frame first.
    snapshots: Vec<Result<Box<RawValue>, String>>,
    /// Index of the snapshot in which each frame is.
    processes: Vec<usize>,
    /// Of the main document, where no walk was made.
    pub title: Option<String>,
    shots: Vec<(Shot, Result<Bytes, String>)>,
}

/// Calls that are made again after a navigation; `Err` of the outer result ends the capture.
type Asked<T> = Result<Result<T, CdpError>, BackendError>;

/// Sorts out errors that concern more than one observation.
fn sort<T>(result: Result<T, CdpError>) -> Asked<T> {
    match result {
        Err(error @ CdpError::Closed(_)) => Err(error.into()),
        Err(error) if error.is_target_gone() => Err(error.into()),
        other => Ok(other),
    }
}

pub(super) async fn gather(frames: &FrameTable, page: &PageState, plan: &Plan) -> Result<Moment, BackendError> {
    let Some(main) = frames.main() else { return Ok(Moment::failed("the page has no document".to_owned())) };
    // Pictures come last in the queue of the page, so that they show what the trees tell.
    let shoot = || async {
        let taken = join_all(plan.shots.iter().map(|shot| picture::take(&main.session, *shot, page.viewport))).await;
        plan.shots.iter().copied().zip(taken).collect::<Vec<_>>()
    };
    let mut attempt = 1;
    loop {
        let ((found, title), shots) = futures::join!(look(frames, plan), shoot());
        let (found, last) = (found?, attempt == ATTEMPTS);
        attempt += 1;
        let (marked, rest) = match found {
            Err(error) if error.is_gone() && !last => continue,
            Err(error) => (Err(error.to_string()), Looked::default()),
            Ok((marked, looked)) if looked.gone && !last => {
                drop(marked);
                continue;
            }
            Ok((marked, looked)) => (Ok(marked), looked),
        };
        let mut taken = Vec::with_capacity(shots.len());
        for (shot, result) in shots {
            taken.push((shot, sort(result)?.map_err(|e| e.to_string())));
        }
        let Looked { trees, snapshots, processes, .. } = rest;
        return Ok(Moment { marked, trees, snapshots, processes, title, shots: taken });
    }
}

#[derive(Default)]
struct Looked {
    trees: Vec<Result<Box<RawValue>, String>>,
    snapshots: Vec<Result<Box<RawValue>, String>>,
    processes: Vec<usize>,
    /// A navigation came between.
    gone: bool,
}

/// Marks, then snapshots and trees. With one frame whose world is known, all in one round trip: a page answers in order.
async fn look(frames: &FrameTable, plan: &Plan) -> (Asked<(Vec<MarkedFrame>, Looked)>, Option<String>) {
    let title = async {
        let main = frames.main().filter(|_| plan.title)?;
        frames.evaluate::<String>(main, "document.title").await.ok()
    };
    let Some(spec) = plan.mark else { return (Ok(Ok((Vec::new(), Looked::default()))), title.await) };
    if frames.frames.len() == 1 {
        let (marked, looked) = futures::join!(frames.mark_known(spec), snapshots_and_trees(frames, plan));
        match marked {
            Ok(Some(marked)) => return (join(sort(Ok(vec![marked])), looked), None),
            // The world was not there yet, so the snapshot came before the marks.
            Ok(None) => {}
            Err(error) if error.is_gone() => {}
            Err(error) => return (sort(Err(error)), None),
        }
    }
    let marked = sort(frames.mark(spec).await);
    let looked = match &marked {
        Ok(Ok(_)) => snapshots_and_trees(frames, plan).await,
        _ => Ok(Looked::default()),
    };
    (join(marked, looked), None)
}

fn join(marked: Asked<Vec<MarkedFrame>>, looked: Result<Looked, BackendError>) -> Asked<(Vec<MarkedFrame>, Looked)> {
    let looked = looked?;
    Ok(marked?.map(|marked| (marked, looked)))
}

async fn snapshots_and_trees(frames: &FrameTable, plan: &Plan) -> Result<Looked, BackendError> {
    let mut sessions: Vec<Session> = Vec::new();
    let mut index: HashMap<Option<&str>, usize> = HashMap::new();
    let mut processes = Vec::with_capacity(frames.frames.len());
    for frame in &frames.frames {
        processes.push(*index.entry(frame.session.id()).or_insert_with(|| {
            sessions.push(frame.session.with_limit(SNAPSHOT_LIMIT));
            sessions.len() - 1
        }));
    }
    let snapshot = async {
        let Some(detail) = plan.dom else { return Vec::new() };
        let full = detail == DomDetail::Full;
        let params = json!({"computedStyles": [], "includeDOMRects": full, "includePaintOrder": full});
        join_all(sessions.iter().map(|s| s.call_raw("DOMSnapshot.captureSnapshot", params.clone()))).await
    };
    let trees = async {
        if !plan.tree {
            return Vec::new();
        }
        let ask = frames
            .frames
            .iter()
            .zip(&processes)
            .map(|(frame, process)| sessions[*process].call_raw("Accessibility.getFullAXTree", json!({"frameId": frame.frame_id})));
        join_all(ask).await
    };
    let (snapshots, trees) = futures::join!(snapshot, trees);
    let mut looked = Looked { processes, ..Looked::default() };
    for (i, result) in snapshots.into_iter().enumerate() {
        let result = if i == 0 { sort(result)? } else { result };
        looked.gone |= i == 0 && result.as_ref().is_err_and(CdpError::is_gone);
        looked.snapshots.push(result.map_err(|e| e.to_string()));
    }
    for (i, result) in trees.into_iter().enumerate() {
        let result = if i == 0 { sort(result)? } else { result };
        looked.gone |= i == 0 && result.as_ref().is_err_and(CdpError::is_gone);
        looked.trees.push(result.map_err(|e| e.to_string()));
    }
    Ok(looked)
}

impl Moment {
    pub fn failed(why: String) -> Self {
        let nothing = Looked::default();
        Self {
            marked: Err(why),
            trees: nothing.trees,
            snapshots: nothing.snapshots,
            processes: nothing.processes,
            title: None,
            shots: Vec::new(),
        }
    }

    pub fn shot(&self, shot: Shot) -> Result<Bytes, String> {
        match self.shots.iter().find(|(s, _)| *s == shot) {
            Some((_, result)) => result.clone(),
            None => Err(self.marked.as_ref().err().cloned().unwrap_or_else(|| "no picture was taken".to_owned())),
        }
    }

    pub fn process_of(&self, frame: usize) -> usize {
        self.processes.get(frame).copied().unwrap_or(0)
    }

    /// Prefix of the ids in a frame.
    pub fn prefix(&self, frame: usize) -> &str {
        self.marked.as_ref().ok().and_then(|m| m.get(frame)).map_or("", |m| &m.prefix)
    }

    /// The snapshots, parsed, one a process; an unreadable one of a frame is left out, with all after it.
    pub fn doms(&self, frames: &FrameTable) -> Result<Vec<Dom>, String> {
        let mut doms: Vec<Dom> = Vec::with_capacity(self.snapshots.len());
        for (i, raw) in self.snapshots.iter().enumerate() {
            let parsed = raw
                .as_ref()
                .map_err(Clone::clone)
                .and_then(|raw| serde_json::from_str::<Snapshot>(raw.get()).map_err(|e| format!("DOM snapshot: {e}")));
            match parsed {
                Ok(snapshot) => doms.push(Dom::new(snapshot)),
                Err(error) if i == 0 => return Err(error),
                Err(_) => break,
            }
            if i > 0
                && let Some(at) = self.holder_bounds(frames, i, &doms)
            {
                doms[i].place_documents((at[0], at[1]));
            }
        }
        Ok(doms)
    }

    /// The frame with which process `i` begins, and the one that holds it.
    fn first_frame(&self, frames: &FrameTable, process: usize) -> Option<(usize, usize)> {
        let first = self.processes.iter().position(|p| *p == process)?;
        Some((first, frames.frames.get(first)?.parent?))
    }

    /// Of each process but the first: the process and the id of the element that hold its frame.
    pub fn holders(&self, frames: &FrameTable) -> Vec<Option<(usize, &str)>> {
        let holder = |process| self.first_frame(frames, process).map(|(first, parent)| (self.process_of(parent), self.prefix(first)));
        (1..self.snapshots.len()).map(holder).collect()
    }

    fn holder_bounds(&self, frames: &FrameTable, process: usize, doms: &[Dom]) -> Option<[f64; 4]> {
        let (first, parent) = self.first_frame(frames, process)?;
        let outer = doms.get(self.process_of(parent))?;
        outer.bounds(outer.by_bid(self.prefix(first))?)
    }

    /// The snapshot as the browser wrote it, those of other processes joined to it.
    pub fn dom_object(&self, frames: &FrameTable) -> Result<Box<RawValue>, String> {
        let main = self.snapshots.first().ok_or("no snapshot was taken")?.as_ref().map_err(Clone::clone)?;
        let others: Vec<merge::Inner> = (1..self.snapshots.len())
            .filter_map(|process| {
                let (first, _) = self.first_frame(frames, process)?;
                Some(merge::Inner { raw: self.snapshots[process].as_ref().ok()?, owner: self.prefix(first) })
            })
            .collect();
        if others.is_empty() {
            return Ok(main.clone());
        }
        merge::merge(main, &others).map_err(|e| format!("DOM snapshots: {e}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use envfarm_core::{Encoding, ObservationSpec};

    fn plan(kinds: &[ObservationKind]) -> Plan {
        let specs = kinds.iter().filter_map(|k| ObservationSpec::new(*k, None)).collect();
        Plan::of(&ObservationRequest { specs, ..Default::default() })
    }

    #[test]
    fn a_picture_alone_asks_for_nothing_else() {
        let plan = plan(&[ObservationKind::Screenshot, ObservationKind::Url, ObservationKind::Goal]);
        assert_eq!(plan, Plan { shots: plan.shots.clone(), ..Plan::default() });
        assert_eq!(plan.shots.len(), 1);
    }

    #[test]
    fn text_asks_for_no_geometry() {
        let plan = plan(&[ObservationKind::AxtreeTxt, ObservationKind::FocusedElement]);
        assert_eq!(plan.mark, Some(WalkSpec::default()));
        assert_eq!(plan.dom, Some(DomDetail::Plain));
        assert!(plan.tree && plan.shots.is_empty());
    }

    #[test]
    fn one_picture_serves_both_the_plain_and_the_marked_one() {
        let plan = plan(&[ObservationKind::Screenshot, ObservationKind::ScreenshotSom]);
        assert_eq!(plan.shots, [Shot { encoding: Encoding::Png, quality: 0, scale: 1.0 }]);
        assert!(!plan.tree, "marks need no accessibility tree");
    }

    #[test]
    fn the_title_is_asked_for_only_where_no_walk_tells_it() {
        assert!(plan(&[ObservationKind::Title]).title);
        assert!(!plan(&[ObservationKind::Title, ObservationKind::AxtreeTxt]).title);
    }
}
