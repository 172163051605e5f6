//! Untrusted text and the encoders that are its only ways out.
//!
//! What agents, tools and PRDs wrote flows in; text that is inert in one output format flows out: XML, Markdown, a
//! terminal or CI log. Nothing here decides, reads or writes.
//! Cut first (`clip`, `head_tail`, `one_line`), encode last, so that no cut runs through an escape.

mod clip;
mod diagnostic;
mod json;
mod markdown;
mod terminal;
mod untrusted;
mod xml;

pub use clip::{clip, count, head_tail, one_line};
pub use diagnostic::Diagnostic;
pub use json::json_safe;
pub use markdown::{markdown_code_block, markdown_inline};
pub use terminal::terminal_line;
pub use untrusted::is_visible;
pub use xml::xml_text;
