//! JSON, as `serde_json` reads it. No control character may stand in it, for it is printed to terminals.

use maestro_ci::text::json_safe;
use serde_json::{Value, json};

use crate::{holds, same};

pub fn check(text: &str) -> Result<(), String> {
    let value = json!({ "text": text, text: [text] });
    let pretty = json_safe(&serde_json::to_string_pretty(&value).unwrap());
    holds(!pretty.chars().any(|c| c.is_control() && c != '\n'), "a control character", &pretty)?;
    let read: Value = serde_json::from_str(&pretty).map_err(|e| format!("{e}: {pretty:?}"))?;
    same("the value", &read.to_string(), &value.to_string())?;
    let line = json_safe(&value.to_string());
    holds(!line.contains(char::is_control), "a control character", &line)?;
    let read: Value = serde_json::from_str(&line).map_err(|e| format!("{e}: {line:?}"))?;
    same("the value", &read.to_string(), &value.to_string())
}
