//! What to observe, and what was observed. Pictures are shared with the message that carries them, never copied.

use std::sync::Arc;

use envfarm_core::{Encoding, Observation, ObservationKind, ObservationSpec};

use super::{At, ConvertError, Twin, fault};
use crate::v1;

/// Most observations in one set: every kind in each of its encodings, and room to spare.
pub const MAX_SPECS: usize = 32;

impl TryFrom<v1::ObservationSpec> for ObservationSpec {
    type Error = ConvertError;

    fn try_from(wire: v1::ObservationSpec) -> Result<Self, ConvertError> {
        let kind = ObservationKind::required(wire.kind).at("kind")?;
        let encoding = Encoding::from_wire(wire.encoding).at("encoding")?;
        let Some(mut spec) = Self::new(kind, encoding) else { return fault("not an encoding of this kind").at("encoding") };
        match wire.quality {
            0 => {}
            quality @ 1..=100 => spec.quality = quality as u8,
            quality => return fault(format!("{quality}, not within 1 and 100")).at("quality"),
        }
        match wire.scale {
            0.0 => {}
            scale if (0.05..=4.0).contains(&scale) => spec.scale = scale,
            scale => return fault(format!("{scale}, not within 0.05 and 4")).at("scale"),
        }
        Ok(spec)
    }
}

impl From<ObservationSpec> for v1::ObservationSpec {
    fn from(spec: ObservationSpec) -> Self {
        Self { kind: spec.kind.to_wire(), encoding: spec.encoding.to_wire(), quality: spec.quality.into(), scale: spec.scale }
    }
}

impl TryFrom<v1::ObservationSet> for Arc<[ObservationSpec]> {
    type Error = ConvertError;

    fn try_from(wire: v1::ObservationSet) -> Result<Self, ConvertError> {
        if wire.specs.len() > MAX_SPECS {
            return fault(format!("{} observations, of at most {MAX_SPECS}", wire.specs.len())).at("specs");
        }
        let specs = wire.specs.into_iter().enumerate();
        specs.map(|(i, spec)| ObservationSpec::try_from(spec).at_index("specs", i)).collect()
    }
}

impl From<&[ObservationSpec]> for v1::ObservationSet {
    fn from(specs: &[ObservationSpec]) -> Self {
        Self { specs: specs.iter().map(|spec| (*spec).into()).collect() }
    }
}

impl TryFrom<v1::Observation> for Observation {
    type Error = ConvertError;

    fn try_from(wire: v1::Observation) -> Result<Self, ConvertError> {
        Ok(Self {
            kind: ObservationKind::required(wire.kind).at("kind")?,
            encoding: Encoding::required(wire.encoding).at("encoding")?,
            data: if wire.error.is_empty() { Ok(wire.data) } else { Err(wire.error) },
            captured_unix_us: wire.captured_unix_us,
        })
    }
}

impl From<&Observation> for v1::Observation {
    fn from(observation: &Observation) -> Self {
        let (data, error) = match &observation.data {
            Ok(data) => (data.clone(), String::new()),
            // An empty text would read as success.
            Err(reason) if reason.is_empty() => (Default::default(), "unavailable".to_owned()),
            Err(reason) => (Default::default(), reason.clone()),
        };
        Self {
            kind: observation.kind.to_wire(),
            encoding: observation.encoding.to_wire(),
            data,
            error,
            captured_unix_us: observation.captured_unix_us,
            content_hash: observation.content_hash(),
        }
    }
}
