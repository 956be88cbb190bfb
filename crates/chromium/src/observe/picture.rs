//! Screenshots, and marks drawn over them: a dashed box and the id for each element that invites a click.
//!
//! Marks are drawn here, over the finished picture: nothing that a page could see or be disturbed by.

use std::io::Cursor;

use base64::Engine;
use bytes::Bytes;
use envfarm_core::{Encoding, ObservationSpec};
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::codecs::webp::WebPEncoder;
use image::{DynamicImage, Rgb, RgbImage};
use serde::Deserialize;
use serde_json::json;

use super::font;
use crate::cdp::{CdpError, Session};

/// What the browser is asked for. Equal shots are taken once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shot {
    pub encoding: Encoding,
    pub quality: u8,
    pub scale: f32,
}

impl Shot {
    pub fn plain(spec: &ObservationSpec) -> Self {
        let quality = if spec.encoding == Encoding::Png { 0 } else { spec.quality };
        Self { encoding: spec.encoding, quality, scale: spec.scale }
    }

    /// Marks are drawn over a picture without loss.
    pub fn for_marks(spec: &ObservationSpec) -> Self {
        Self { encoding: Encoding::Png, quality: 0, scale: spec.scale }
    }
}

pub async fn take(session: &Session, shot: Shot, viewport: (u32, u32)) -> Result<Bytes, CdpError> {
    #[derive(Deserialize)]
    struct Taken {
        data: String,
    }
    const METHOD: &str = "Page.captureScreenshot";
    let format = match shot.encoding {
        Encoding::Jpeg => "jpeg",
        Encoding::Webp => "webp",
        _ => "png",
    };
    let mut params = json!({"format": format, "optimizeForSpeed": true, "captureBeyondViewport": false});
    if shot.encoding != Encoding::Png {
        params["quality"] = shot.quality.into();
    }
    if shot.scale != 1.0 {
        // A clip counts from the top left of the page, so it has to know how far the page is scrolled.
        let (x, y) = scrolled(session).await?;
        params["clip"] = json!({"x": x, "y": y, "width": viewport.0, "height": viewport.1, "scale": shot.scale});
    }
    let taken: Taken = session.call_as(METHOD, params).await?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(taken.data);
    bytes.map(Bytes::from).map_err(|e| CdpError::Malformed { method: METHOD, reason: e.to_string() })
}

async fn scrolled(session: &Session) -> Result<(f64, f64), CdpError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Metrics {
        css_visual_viewport: Viewport,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Viewport {
        page_x: f64,
        page_y: f64,
    }
    let metrics: Metrics = session.call_as("Page.getLayoutMetrics", json!({})).await?;
    Ok((metrics.css_visual_viewport.page_x, metrics.css_visual_viewport.page_y))
}

/// A box to draw: id, and x, y, width and height in pixels of the picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    pub id: String,
    pub bounds: [f64; 4],
}

const MARGIN: i64 = 3;
const DASH: i64 = 4;
const GAP: i64 = 8;
/// Boxes smaller than that many square pixels are not drawn.
const MIN_AREA: f64 = 20.0;
const BLACK: Rgb<u8> = Rgb([0, 0, 0]);
const WHITE: Rgb<u8> = Rgb([255, 255, 255]);

/// Draws marks over a PNG, and encodes the result. Takes milliseconds of computing: not for an async thread.
pub fn draw(png: &[u8], marks: &[Mark], spec: &ObservationSpec) -> Result<Bytes, image::ImageError> {
    let mut picture = image::load_from_memory_with_format(png, image::ImageFormat::Png)?.into_rgb8();
    for mark in marks {
        let [x, y, width, height] = mark.bounds;
        if width * height >= MIN_AREA {
            frame(&mut picture, [x, y, x + width, y + height].map(|v| v.round() as i64));
            tag(&mut picture, (x.round() as i64, y.round() as i64), &mark.id);
        }
    }
    let mut out = Cursor::new(Vec::new());
    let picture = DynamicImage::ImageRgb8(picture);
    match spec.encoding {
        Encoding::Jpeg => picture.write_with_encoder(JpegEncoder::new_with_quality(&mut out, spec.quality))?,
        // Without loss, whatever the quality: there is no other encoder without C code.
        Encoding::Webp => picture.write_with_encoder(WebPEncoder::new_lossless(&mut out))?,
        _ => picture.write_with_encoder(PngEncoder::new_with_quality(&mut out, CompressionType::Fast, FilterType::Sub))?,
    }
    Ok(out.into_inner().into())
}

fn set(picture: &mut RgbImage, x: i64, y: i64, colour: Rgb<u8>) {
    if let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y))
        && x < picture.width()
        && y < picture.height()
    {
        picture.put_pixel(x, y, colour);
    }
}

/// A dashed box, two pixels wide.
fn frame(picture: &mut RgbImage, [left, top, right, bottom]: [i64; 4]) {
    let (width, height) = (i64::from(picture.width()), i64::from(picture.height()));
    let dashed = |offset: i64| offset % (DASH + GAP) < DASH;
    for x in left.max(-1)..=right.min(width) {
        if dashed(x - left) {
            for y in [top, top + 1, bottom - 1, bottom] {
                set(picture, x, y, BLACK);
            }
        }
    }
    for y in top.max(-1)..=bottom.min(height) {
        if dashed(y - top) {
            for x in [left, left + 1, right - 1, right] {
                set(picture, x, y, BLACK);
            }
        }
    }
}

/// The id in white on black, astride the top left corner of its box.
fn tag(picture: &mut RgbImage, (x, y): (i64, i64), id: &str) {
    let width = font::width(id) as i64 + 2 * MARGIN;
    let height = font::HEIGHT as i64 + 2 * MARGIN;
    let top = y - height / 2 + 4;
    for dy in 0..height {
        for dx in 0..width {
            let edge = dx == 0 || dy == 0 || dx == width - 1 || dy == height - 1;
            set(picture, x + dx, top + dy, if edge { WHITE } else { BLACK });
        }
    }
    font::draw(id, |dx, dy| set(picture, x + MARGIN + dx as i64, top + MARGIN + dy as i64, WHITE));
}

#[cfg(test)]
mod tests {
    use super::*;
    use envfarm_core::ObservationKind;

    fn blank() -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        let picture = DynamicImage::ImageRgb8(RgbImage::from_pixel(60, 40, WHITE));
        picture.write_to(&mut out, image::ImageFormat::Png).expect("encodes");
        out.into_inner()
    }

    fn drawn(marks: &[Mark], encoding: Encoding) -> RgbImage {
        let spec = ObservationSpec::new(ObservationKind::ScreenshotSom, Some(encoding)).expect("offered");
        let bytes = draw(&blank(), marks, &spec).expect("draws");
        image::load_from_memory(&bytes).expect("is a picture").into_rgb8()
    }

    #[test]
    fn a_mark_draws_its_box_and_its_id_in_every_encoding() {
        let marks = [Mark { id: "a1".to_owned(), bounds: [20.0, 15.0, 30.0, 20.0] }];
        for encoding in [Encoding::Png, Encoding::Webp] {
            let picture = drawn(&marks, encoding);
            assert_eq!(picture.dimensions(), (60, 40));
            // A dash of the lower edge begins where the box does; the tag's corner is white on black.
            assert_eq!(*picture.get_pixel(20, 35), BLACK);
            assert_eq!(*picture.get_pixel(20, 13), WHITE);
            assert_eq!(*picture.get_pixel(21, 14), BLACK);
        }
        assert_eq!(drawn(&marks, Encoding::Jpeg).dimensions(), (60, 40));
    }

    #[test]
    fn boxes_beyond_the_picture_are_cut_and_tiny_ones_left_out() {
        let far = [1e9, -1e9].map(|at| Mark { id: "7".to_owned(), bounds: [at, at, 1e9, 1e9] });
        let tiny = Mark { id: "8".to_owned(), bounds: [5.0, 5.0, 2.0, 2.0] };
        let picture = drawn(&[far.to_vec(), vec![tiny]].concat(), Encoding::Png);
        assert!(picture.pixels().all(|p| *p == WHITE));
    }
}
