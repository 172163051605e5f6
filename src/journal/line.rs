//! One record, one line: JSON with a CRC-32 of everything before it. A line stays valid JSON, so `jq` can read it.

use crate::core::Record;

/// `,"crc":"01234567"}` and the newline.
const TRAILER_BYTES: usize = 18;

/// Why a line is not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadLine {
    /// The bytes are not what was written.
    Damaged,
    /// The bytes are what was written, by a version that knows more than this one.
    Foreign,
}

/// The record as a line, with its newline.
pub(super) fn encode(record: &Record) -> serde_json::Result<String> {
    let mut line = serde_json::to_string(record)?;
    line.pop();
    let crc = crc32fast::hash(line.as_bytes());
    line.push_str(&format!(",\"crc\":\"{crc:08x}\"}}\n"));
    Ok(line)
}

/// The record in a line without its newline.
pub(super) fn decode(line: &[u8]) -> Result<Record, BadLine> {
    let split = line.len().checked_sub(TRAILER_BYTES).ok_or(BadLine::Damaged)?;
    let (body, trailer) = line.split_at(split);
    let crc = crc32fast::hash(body);
    if trailer != format!(",\"crc\":\"{crc:08x}\"}}").as_bytes() {
        return Err(BadLine::Damaged);
    }
    let mut json = body.to_vec();
    json.push(b'}');
    serde_json::from_slice(&json).map_err(|_| BadLine::Foreign)
}
