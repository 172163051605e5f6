//! What the model is asked and what it answers, in words that no API has for its own.

use serde_json::{Value, json};

/// What a call costs, in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Billed {
    /// All input, with what was read from and written to the cache.
    pub input: u64,
    /// Input read from the cache.
    pub cached: u64,
    /// Input written to the cache; Anthropic only.
    pub cache_write: u64,
    /// All output, with reasoning.
    pub output: u64,
    /// Output that was reasoning; not Anthropic.
    pub reasoning: u64,
}

impl Billed {
    /// Joins two, field by field.
    pub fn zip(self, other: Self, join: fn(u64, u64) -> u64) -> Self {
        Self {
            input: join(self.input, other.input),
            cached: join(self.cached, other.cached),
            cache_write: join(self.cache_write, other.cache_write),
            output: join(self.output, other.output),
            reasoning: join(self.reasoning, other.reasoning),
        }
    }

    /// The fields by name.
    pub fn json(&self) -> Value {
        json!({
            "input": self.input, "cached": self.cached, "cache_write": self.cache_write,
            "output": self.output, "reasoning": self.reasoning,
        })
    }

    /// Input that was neither read from nor written to the cache.
    pub fn fresh(&self) -> u64 {
        self.input - self.cached - self.cache_write
    }

    /// The bill of a run's `number`th call, counted from 1: no two of sixteen are the same, so that a mistake shows.
    /// A body of less than three bytes for each token is billed less: nobody bills more tokens than were sent.
    pub fn of_call(number: u64, body_bytes: usize, writes_cache: bool, reasons: bool) -> Self {
        let step = number % 16;
        let input = (1000 + 37 * step).min((body_bytes as u64 / 3).max(1));
        Self {
            input,
            cached: (300 + 11 * step).min(input / 3),
            cache_write: if writes_cache { (200 + 7 * step).min(input / 5) } else { 0 },
            output: 50 + 3 * step,
            reasoning: if reasons { 7 + step } else { 0 },
        }
    }

    /// The same with other output.
    pub fn with_output(self, output: u64) -> Self {
        Self { output, reasoning: self.reasoning.min(output / 2), ..self }
    }
}

/// A tool that a request offers.
#[derive(Clone, Debug)]
pub struct Tool {
    /// Its name, or its type where it has none.
    pub name: String,
    /// It takes free text (Responses' custom tools).
    pub custom: bool,
}

/// What a request says.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub model: String,
    pub streams: bool,
    pub tools: Vec<Tool>,
    /// Results of tools in the history: how far the script is.
    pub results: usize,
    /// Cap on output tokens.
    pub cap: Option<u64>,
    /// Chat: usage was asked for.
    pub wants_usage: bool,
    /// Gemini: the answer must be JSON.
    pub wants_json: bool,
}

/// A tool call.
#[derive(Clone, Debug)]
pub struct Call {
    pub name: String,
    /// An object, or a string for a custom tool.
    pub input: Value,
    pub custom: bool,
}

/// Why the model stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    Done,
    Tool,
    Cap,
}

/// What the model answers.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Unique in a server.
    pub id: String,
    pub model: String,
    pub text: String,
    pub call: Option<Call>,
    pub stop: Stop,
    /// None where the server keeps quiet about it.
    pub usage: Option<Billed>,
    /// Usage may be told before the end, as far as it is known.
    pub early: bool,
}

impl Answer {
    /// The arguments of a call as a JSON text.
    pub fn arguments(&self) -> String {
        self.call.as_ref().map_or_else(String::new, |call| call.input.to_string())
    }
}

/// One event of a stream.
pub fn event(name: Option<&str>, data: &Value) -> String {
    let name = name.map_or_else(String::new, |name| format!("event: {name}\n"));
    format!("{name}data: {data}\n\n")
}

/// Sets a field where there is usage to be told.
pub fn with_usage(mut value: Value, field: &str, usage: Option<Value>) -> Value {
    if let Some(usage) = usage {
        value[field] = usage;
    }
    value
}

/// The names of tools in a list of objects.
pub fn names(tools: &Value) -> Vec<Tool> {
    let tools = tools.as_array().map_or(&[][..], Vec::as_slice);
    let name = |tool: &Value| {
        [&tool["name"], &tool["function"]["name"], &tool["type"]].into_iter().find_map(Value::as_str).map(str::to_owned)
    };
    let tool = |tool: &Value| name(tool).map(|name| Tool { name, custom: tool["type"] == "custom" });
    tools.iter().filter_map(tool).collect()
}
