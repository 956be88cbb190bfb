//! What the events that tell of tabs and targets carry, as far as it is read. Borrowed from the message.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DetachedFromTarget<'a> {
    #[serde(borrow)]
    pub session_id: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FrameEvent<'a> {
    #[serde(borrow)]
    pub frame_id: Cow<'a, str>,
    #[serde(borrow)]
    pub parent_frame_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub reason: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub navigation_type: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub struct FrameNavigated<'a> {
    #[serde(borrow)]
    pub frame: NavigatedFrame<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NavigatedFrame<'a> {
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    #[serde(borrow)]
    pub parent_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub url: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestEvent<'a> {
    #[serde(borrow)]
    pub request_id: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    pub kind: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub struct DialogOpening<'a> {
    #[serde(borrow)]
    pub message: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    pub kind: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DownloadBegins<'a> {
    #[serde(borrow)]
    pub url: Cow<'a, str>,
    #[serde(borrow)]
    pub suggested_filename: Cow<'a, str>,
}

#[derive(Deserialize)]
pub struct DragIntercepted {
    pub data: Box<RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttachedToTarget<'a> {
    #[serde(borrow)]
    pub session_id: Cow<'a, str>,
    #[serde(borrow)]
    pub target_info: TargetInfo<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetInfo<'a> {
    #[serde(borrow)]
    pub target_id: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    pub kind: Cow<'a, str>,
    #[serde(borrow)]
    pub title: Cow<'a, str>,
    #[serde(borrow)]
    pub url: Cow<'a, str>,
    #[serde(borrow)]
    pub browser_context_id: Option<Cow<'a, str>>,
}

pub fn read<'a, T: Deserialize<'a>>(params: &'a RawValue) -> Option<T> {
    serde_json::from_str(params.get()).ok()
}
