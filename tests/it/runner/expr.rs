//! GitHub's expressions, as far as the project's own action and templates use them: paths, strings, `==`, `!=`, `&&`,
//! `||`, `always()`, `fromJSON()`. Anything else fails the test that met it.

use serde_json::Value;

/// The value of `text`, in which `${{ … }}` may stand; a text that is one expression keeps its type.
pub fn interpolate(text: &str, context: &Value) -> Value {
    if let Some(whole) = text.strip_prefix("${{").and_then(|t| t.strip_suffix("}}"))
        && !whole.contains("${{")
    {
        return eval(whole, context);
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${{") {
        let (inside, after) = after.split_once("}}").expect("an expression ends");
        out.push_str(before);
        out.push_str(&as_text(&eval(inside, context)));
        rest = after;
    }
    Value::from(out + rest)
}

/// A value as the runner writes it into a text.
pub fn as_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

pub fn is_true(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false)) && *value != "" && *value != 0
}

pub fn eval(text: &str, context: &Value) -> Value {
    let mut parser = Parser { tokens: tokens(text), at: 0, context };
    let value = parser.or();
    assert_eq!(parser.at, parser.tokens.len(), "the harness does not know all of `{text}`");
    value
}

fn tokens(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let length = if let Some(string) = rest.strip_prefix('\'') {
            string.find('\'').expect("a string ends") + 2
        } else if ["&&", "||", "==", "!="].iter().any(|operator| rest.starts_with(operator)) {
            2
        } else {
            let word = |c: char| c.is_alphanumeric() || "._-".contains(c);
            rest.find(|c| !word(c)).unwrap_or(rest.len()).max(1)
        };
        found.push(rest[..length].to_owned());
        rest = rest[length..].trim_start();
    }
    found
}

struct Parser<'a> {
    tokens: Vec<String>,
    at: usize,
    context: &'a Value,
}

impl Parser<'_> {
    fn takes(&mut self, token: &str) -> bool {
        let is_next = self.tokens.get(self.at).is_some_and(|t| t == token);
        self.at += usize::from(is_next);
        is_next
    }

    fn or(&mut self) -> Value {
        let mut value = self.and();
        while self.takes("||") {
            let other = self.and();
            value = if is_true(&value) { value } else { other };
        }
        value
    }

    fn and(&mut self) -> Value {
        let mut value = self.compared();
        while self.takes("&&") {
            let other = self.compared();
            value = if is_true(&value) { other } else { value };
        }
        value
    }

    fn compared(&mut self) -> Value {
        let value = self.one();
        if self.takes("==") {
            return Value::from(as_text(&value) == as_text(&self.one()));
        }
        if self.takes("!=") {
            return Value::from(as_text(&value) != as_text(&self.one()));
        }
        value
    }

    fn one(&mut self) -> Value {
        if self.takes("(") {
            let value = self.or();
            assert!(self.takes(")"));
            return value;
        }
        let token = self.tokens.get(self.at).expect("a value").clone();
        self.at += 1;
        if let Some(string) = token.strip_prefix('\'') {
            return Value::from(string.trim_end_matches('\''));
        }
        if self.takes("(") {
            let value = match token.as_str() {
                "always" => Value::from(true),
                "fromJSON" => serde_json::from_str(&as_text(&self.or())).expect("JSON in fromJSON"),
                other => panic!("the harness does not know {other}()"),
            };
            assert!(self.takes(")"));
            return value;
        }
        let path = token.split('.');
        path.fold(self.context.clone(), |value, name| value.get(name).cloned().unwrap_or(Value::Null))
    }
}

#[test]
fn expressions_have_the_values_that_the_runner_gives_them() {
    let context = serde_json::json!({
        "inputs": {"a": "x'y", "on": "true"}, "steps": {"s": {"outputs": {"n-m": "7"}}}, "list": "[\"p\", \"q\"]"
    });
    for (text, expected) in [
        ("${{ inputs.a }}", "x'y"),
        ("a ${{ steps.s.outputs.n-m }} b ${{ inputs.none }}.", "a 7 b ."),
        ("${{ inputs.none || 'auto' }}", "auto"),
        ("${{ inputs.on == 'true' && inputs.a != '' }}", "true"),
        ("${{ always() && steps.s.outputs.none != '' }}", "false"),
        ("${{ fromJSON(list) }}", "[\"p\",\"q\"]"),
    ] {
        assert_eq!(as_text(&interpolate(text, &context)), expected, "{text}");
    }
}
