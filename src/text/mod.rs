//! Untrusted text and the encoders that are its only ways out.
//!
//! What agents, tools and PRDs wrote flows in; text that is inert in one output format flows out: XML, Markdown, a
//! terminal or CI log, a runner's command. Secrets are taken out where it comes in. Nothing here decides, reads or
//! writes.
//! Cut first (`clip`, `head_tail`, `one_line`), encode last, so that no cut runs through an escape.

mod clip;
mod cut;
mod diagnostic;
mod html;
mod json;
mod markdown;
mod redact;
mod redact_stream;
mod shapes;
mod terminal;
mod token;
mod untrusted;
mod workflow;
mod xml;

pub use clip::{clip, count, head_tail, one_line};
pub use cut::{Measure, cut_markdown};
pub use diagnostic::Diagnostic;
pub use html::html_text;
pub use json::json_safe;
pub use markdown::{inert_title, markdown_code_block, markdown_inline, markdown_link};
pub use redact::{Found, Redactor};
pub use redact_stream::RedactedStream;
pub use shapes::secret_lines;
pub use terminal::terminal_line;
pub use untrusted::is_visible;
pub use workflow::{runner_page, workflow_command, workflow_data, workflow_masks, workflow_property};
pub use xml::xml_text;
