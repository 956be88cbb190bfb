//! Joins the DOM snapshots of frames that live in processes of their own to that of the page.
//!
//! A snapshot names strings by their index in a table and documents by their index in a list; both are shifted, and the
//! element that holds such a frame is made to point at its document, as for a frame of the same process.

use serde_json::Value;
use serde_json::value::RawValue;

pub struct Inner<'a> {
    pub raw: &'a RawValue,
    /// Id of the element that holds the frame.
    pub owner: &'a str,
}

/// Fields of a document whose numbers are indices into the table of strings, as JSON pointers.
const STRINGS: [&str; 20] = [
    "/documentURL",
    "/title",
    "/baseURL",
    "/contentLanguage",
    "/encodingName",
    "/publicId",
    "/systemId",
    "/frameId",
    "/nodes/nodeName",
    "/nodes/nodeValue",
    "/nodes/attributes",
    "/nodes/shadowRootType/value",
    "/nodes/textValue/value",
    "/nodes/inputValue/value",
    "/nodes/pseudoType/value",
    "/nodes/pseudoIdentifier/value",
    "/nodes/currentSourceURL/value",
    "/nodes/originURL/value",
    "/layout/styles",
    "/layout/text",
];

pub fn merge(main: &RawValue, others: &[Inner]) -> Result<Box<RawValue>, serde_json::Error> {
    let mut whole: Value = serde_json::from_str(main.get())?;
    for inner in others {
        let mut more: Value = serde_json::from_str(inner.raw.get())?;
        let strings = whole["strings"].as_array().map_or(0, Vec::len);
        let documents = whole["documents"].as_array().map_or(0, Vec::len);
        let owner = find_owner(&whole, inner.owner);
        for document in more["documents"].as_array_mut().into_iter().flatten() {
            for field in STRINGS {
                if let Some(indices) = document.pointer_mut(field) {
                    shift(indices, strings);
                }
            }
            if let Some(indices) = document.pointer_mut("/nodes/contentDocumentIndex/value") {
                shift(indices, documents);
            }
        }
        if let Some((document, node)) = owner {
            let content = &mut whole["documents"][document]["nodes"]["contentDocumentIndex"];
            for (field, value) in [("index", node), ("value", documents)] {
                if let Some(list) = content[field].as_array_mut() {
                    list.push(value.into());
                }
            }
        }
        for field in ["documents", "strings"] {
            if let (Some(to), Some(from)) = (whole[field].as_array_mut(), more[field].as_array_mut()) {
                to.append(from);
            }
        }
    }
    serde_json::value::to_raw_value(&whole)
}

/// Shifts every index; -1 stays none.
fn shift(indices: &mut Value, by: usize) {
    match indices {
        Value::Array(items) => items.iter_mut().for_each(|item| shift(item, by)),
        Value::Number(n) => {
            if let Some(index) = n.as_u64() {
                *indices = (index + by as u64).into();
            }
        }
        _ => {}
    }
}

/// Document and node of the element with an id.
fn find_owner(whole: &Value, id: &str) -> Option<(usize, usize)> {
    let strings = whole["strings"].as_array()?;
    let name = strings.iter().position(|s| s == "bid")? as u64;
    let has = |attributes: &Value| {
        attributes.as_array().is_some_and(|list| {
            list.chunks_exact(2).any(|pair| {
                pair[0].as_u64() == Some(name) && pair[1].as_u64().and_then(|i| strings.get(i as usize)).is_some_and(|s| s == id)
            })
        })
    };
    whole["documents"].as_array()?.iter().enumerate().find_map(|(d, document)| {
        let attributes = document["nodes"]["attributes"].as_array()?;
        Some((d, attributes.iter().position(has)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_inner_page_keeps_its_strings_and_hangs_below_its_holder() {
        let document = |name: u64, attributes: Value| {
            json!({"documentURL": 0, "frameId": -1, "nodes": {"nodeName": [name], "attributes": [attributes],
                "contentDocumentIndex": {"index": [], "value": []}}, "layout": {"text": [-1, name]}})
        };
        let raw = |v: &Value| serde_json::value::to_raw_value(v).expect("JSON");
        let main = raw(&json!({"strings": ["u", "IFRAME", "bid", "a"], "documents": [document(1, json!([2, 3]))]}));
        let inner = raw(&json!({"strings": ["v", "HTML"], "documents": [document(1, json!([]))]}));
        let merged = merge(&main, &[Inner { raw: &inner, owner: "a" }]).expect("merges");
        let merged: Value = serde_json::from_str(merged.get()).expect("JSON");
        assert_eq!(merged["strings"], json!(["u", "IFRAME", "bid", "a", "v", "HTML"]));
        assert_eq!(merged["documents"][0]["nodes"]["contentDocumentIndex"], json!({"index": [0], "value": [1]}));
        let second = &merged["documents"][1];
        assert_eq!((&second["documentURL"], &second["frameId"]), (&json!(4), &json!(-1)));
        assert_eq!((&second["nodes"]["nodeName"], &second["layout"]["text"]), (&json!([5]), &json!([-1, 5])));
    }
}
