//! Puts masks in place in a copy of the text.

use std::ops::Range;
use std::sync::Arc;

use super::{Payload, StoredPayload};
use crate::domain::redaction::MASK;

/// A stretch of text that a scanner has passed over, without what it noted to be masked. `masks`
/// are in order, and each inside of `source` or outside of it.
pub(crate) fn redact(text: &str, source: Range<usize>, masks: &[Range<usize>]) -> Payload {
    let masks = inside(masks, &source);
    let piece = |range: Range<usize>| text.get(range).unwrap_or_default();
    let copy: Arc<str> = if masks.is_empty() {
        piece(source).into()
    } else {
        let mut copy = String::with_capacity(source.len() + masks.len() * MASK.len());
        let mut at = source.start;
        for mask in masks {
            copy.push_str(piece(at..mask.start));
            copy.push_str(MASK);
            at = mask.end;
        }
        copy.push_str(piece(at..source.end));
        copy.into()
    };
    Payload {
        stored: StoredPayload::new(copy),
        masked: masks.len(),
    }
}

fn inside<'m>(masks: &'m [Range<usize>], place: &Range<usize>) -> &'m [Range<usize>] {
    let from = masks.partition_point(|mask| mask.start < place.start);
    let to = masks.partition_point(|mask| mask.start < place.end);
    masks.get(from..to).unwrap_or_default()
}

#[cfg(feature = "n8n")]
impl Payload {
    /// The part of what [`redact`] made of `source` that stood at `place` in the text before.
    /// Shares its memory.
    pub(crate) fn part(
        &self,
        source: &Range<usize>,
        masks: &[Range<usize>],
        place: Range<usize>,
    ) -> Self {
        let moved = |at: usize| {
            inside(masks, &(source.start..at))
                .iter()
                .fold(at - source.start, |at, mask| at - mask.len() + MASK.len())
        };
        Self {
            stored: StoredPayload {
                text: Arc::clone(&self.stored.text),
                range: moved(place.start)..moved(place.end),
            },
            masked: inside(masks, &place).len(),
        }
    }
}
