//! From an element id to the element: its handle, and where a click on it goes in the main viewport.

use serde::Deserialize;
use serde_json::json;

use super::world::{FrameTable, WalkSpec};
use crate::cdp::{CdpError, Session};

/// An element of the page, brought into view.
#[derive(Clone)]
pub struct ResolvedElement {
    /// Session of the frame that it is in.
    pub session: Session,
    /// Remote object id, in the helper's world; valid until the next element is resolved.
    pub object_id: String,
    /// Where a click goes, in CSS pixels of the main viewport. Meaningless if it is not visible.
    pub x: f64,
    pub y: f64,
    pub visible: bool,
    pub enabled: bool,
    pub editable: bool,
    /// What a click there would hit instead.
    pub covered_by: Option<String>,
}

#[derive(Deserialize)]
struct Target {
    point: Option<(f64, f64)>,
    visible: bool,
    enabled: bool,
    editable: bool,
    covered: Option<String>,
}

#[derive(Deserialize)]
struct Outward {
    point: (f64, f64),
    covered: Option<String>,
}

/// Finds the element of an id; `None` if the page has none.
pub async fn resolve(frames: &FrameTable, id: &str) -> Result<Option<ResolvedElement>, CdpError> {
    let Some(owner) = owner_of(id) else { return Ok(None) };
    if let Some(found) = find(frames, owner, id).await? {
        return Ok(Some(found));
    }
    // The ids may never have been given: the first action may come before any observation.
    frames.mark(WalkSpec::default()).await?;
    find(frames, owner, id).await
}

/// Id of the element that holds the frame of `id`: what is before the number, or before the last letters of a frame's own
/// id. `None` for what cannot be an id.
fn owner_of(id: &str) -> Option<&str> {
    if !id.is_ascii() || id.is_empty() {
        return None;
    }
    let letters = id.trim_end_matches(|c: char| c.is_ascii_digit());
    if !letters.chars().all(|c| c.is_ascii_alphabetic()) {
        return None;
    }
    if letters.len() < id.len() {
        return Some(letters);
    }
    // Each frame's own part starts with a small letter and goes on in capitals.
    letters.rfind(|c: char| c.is_ascii_lowercase()).map(|at| &letters[..at])
}

async fn find(frames: &FrameTable, owner: &str, id: &str) -> Result<Option<ResolvedElement>, CdpError> {
    let Some(at) = frames.frames.iter().position(|f| frames.worlds.owner(f).as_deref() == Some(owner)) else { return Ok(None) };
    let frame = &frames.frames[at];
    let look = format!("target({}, true)", json!(id));
    let handle = format!("find({})", json!(id));
    let (target, handle) = futures::join!(frames.call::<Option<Target>>(frame, &look), frames.call_for_handle(frame, &handle));
    let (Some(target), Some(object_id)) = (target?, handle?) else { return Ok(None) };
    let mut found = ResolvedElement {
        session: frame.session.clone(),
        object_id,
        x: 0.0,
        y: 0.0,
        visible: target.visible,
        enabled: target.enabled,
        editable: target.editable,
        covered_by: target.covered,
    };
    (found.x, found.y) = target.point.unwrap_or_default();
    if target.point.is_none() {
        return Ok(Some(found));
    }
    // From frame to frame outwards, each brought into view in its parent.
    let mut inner = at;
    while let Some(outer) = frames.frames[inner].parent {
        let Some(holder) = frames.worlds.owner(&frames.frames[inner]) else { return Ok(None) };
        let ask = format!("outward({}, {}, {})", json!(holder), found.x, found.y);
        let Some(outward) = frames.call::<Option<Outward>>(&frames.frames[outer], &ask).await? else { return Ok(None) };
        (found.x, found.y) = outward.point;
        found.covered_by = found.covered_by.or(outward.covered);
        inner = outer;
    }
    Ok(Some(found))
}

#[cfg(test)]
mod tests {
    use super::owner_of;

    #[test]
    fn the_letters_of_an_id_name_its_frame() {
        assert_eq!(owner_of("13"), Some(""));
        assert_eq!(owner_of("a4"), Some("a"));
        assert_eq!(owner_of("abCD7"), Some("abCD"));
        assert_eq!(owner_of("a"), Some(""));
        assert_eq!(owner_of("aA"), Some(""));
        assert_eq!(owner_of("abCD"), Some("a"));
    }

    #[test]
    fn what_cannot_be_an_id_has_no_frame() {
        for id in ["", "-1", "13'", "1a", "é1", "A", "a 1"] {
            assert_eq!(owner_of(id), None, "{id}");
        }
    }
}
