//! `docs/recipe.md` from the schema: a section for each block, a row for each key.

use std::fmt::Write as _;

use hb_core::recipe::{Severity, unsupported_keys};
use serde_json::Value;

const HEAD: &str = "# Recipe keys

Generated from the types; `UPDATE_DOCS=1 cargo test -p hbnode --test manual` writes it anew. `hbnode validate RECIPE` shows every error of a
recipe at once, and editors complete keys with [recipe-format.yaml](../schemas/recipe-format.yaml). Examples lie in [recipes](../recipes).

A key that is not here is an error. *Sweeps* marks a key that takes a list: each value is a trial, and several lists give every combination.
Times are `90s`, `2m`, `1h 30m` or `02:00:00`. `--set workload.duration=30s` overrides any key on the command line.
";

/// The whole page.
pub fn text(schema: &Value) -> String {
    let page = Page { schema, text: HEAD.to_owned() };
    page.written()
}

struct Page<'a> {
    schema: &'a Value,
    text: String,
}

/// A block that gets a section of its own.
struct Block<'a> {
    path: String,
    schema: &'a Value,
}

impl<'a> Page<'a> {
    fn written(mut self) -> String {
        let mut blocks = vec![Block { path: String::new(), schema: self.schema }];
        // Depth first, in the order of the keys, so that a block's blocks follow it.
        while let Some(block) = blocks.pop() {
            let inner = self.block(&block);
            blocks.extend(inner.into_iter().rev());
        }
        self.unsupported(
            "Refused in this version",
            "These keys, or the values of them that the advice speaks of, are read and checked, and a run that asks for them is refused.",
            ("instead", Severity::Error),
        );
        self.unsupported(
            "Read, checked, and without effect",
            "A run that asks for these goes on, and a warning says this.",
            ("what is so all the same", Severity::Warning),
        );
        self.text
    }

    fn block(&mut self, block: &Block<'a>) -> Vec<Block<'a>> {
        let title = if block.path.is_empty() { "The recipe".to_owned() } else { format!("`{}`", block.path) };
        let _ = write!(self.text, "\n## {title}\n\n");
        if let Some(about) = block.schema["description"].as_str() {
            let _ = write!(self.text, "{about}\n\n");
        }
        self.text.push_str("| key | takes | meaning |\n| --- | --- | --- |\n");
        let required: Vec<&str> = block.schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let mut inner = Vec::new();
        for (name, field) in block.schema["properties"].as_object().into_iter().flatten() {
            let path = if block.path.is_empty() { name.clone() } else { format!("{}.{name}", block.path) };
            let mut takes = self.takes(field, &path, &mut inner);
            if required.contains(&name.as_str()) {
                takes += "; required";
            }
            let meaning = [self.about(field), self.values(field)].concat();
            let _ = writeln!(self.text, "| `{name}` | {takes} | {} |", cell(&meaning));
        }
        inner
    }

    /// What stands behind a reference, and what is left when `null` is taken out of a choice.
    fn resolved(&self, mut schema: &'a Value) -> &'a Value {
        loop {
            let named = schema["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/"));
            let choices =
                schema["anyOf"].as_array().map(|all| all.iter().filter(|one| one["type"] != "null").collect::<Vec<_>>());
            schema = match (named, choices.as_deref()) {
                (Some(name), _) => &self.schema["$defs"][name],
                (None, Some([only])) => only,
                _ => return schema,
            };
        }
    }

    fn about(&self, field: &'a Value) -> String {
        let own = field["description"].as_str();
        own.or_else(|| self.resolved(field)["description"].as_str()).unwrap_or_default().to_owned()
    }

    /// The words of a closed family, each with its sentence.
    fn values(&self, field: &'a Value) -> String {
        let one = self.one(field);
        let Some(words) = one["oneOf"].as_array() else { return String::new() };
        let told = words.iter().filter_map(|word| Some((word["const"].as_str()?, word["description"].as_str()?)));
        told.map(|(word, about)| format!(" `{word}`: {}.", about.trim_end_matches('.'))).collect()
    }

    /// A swept field's single value.
    fn one(&self, field: &'a Value) -> &'a Value {
        let schema = self.resolved(field);
        let is_swept = self.is_swept(schema);
        if is_swept { self.resolved(&schema["anyOf"][0]) } else { schema }
    }

    fn is_swept(&self, schema: &Value) -> bool {
        schema["anyOf"]
            .as_array()
            .is_some_and(|choices| choices.len() == 2 && choices[1]["type"] == "array" && choices[1]["items"] == choices[0])
    }

    fn takes(&self, field: &'a Value, path: &str, inner: &mut Vec<Block<'a>>) -> String {
        let schema = self.resolved(field);
        if self.is_swept(schema) {
            return format!("{}; sweeps", self.takes(&schema["anyOf"][0], path, inner));
        }
        if schema["x-span"] == true {
            return "time".to_owned();
        }
        if let Some(choices) = schema["anyOf"].as_array() {
            let all: Vec<String> =
                choices.iter().filter(|one| one["type"] != "null").map(|one| self.takes(one, path, inner)).collect();
            return all.join(", or ");
        }
        if let Some(words) = schema["oneOf"].as_array().or(schema["enum"].as_array()) {
            let all: Vec<String> = words
                .iter()
                .filter_map(|word| word["const"].as_str().or(word.as_str()))
                .map(|word| format!("`{word}`"))
                .collect();
            return all.join(" · ");
        }
        if let Some(word) = schema["const"].as_str() {
            return format!("`{word}`");
        }
        let kinds: Vec<&str> = match &schema["type"] {
            Value::String(kind) => vec![kind],
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null").collect(),
            _ => Vec::new(),
        };
        // A plain text may look like a number or a switch.
        if kinds == ["string", "number", "boolean"] {
            return "text".to_owned();
        }
        let all: Vec<String> = kinds.iter().map(|kind| self.kind(kind, schema, path, inner)).collect();
        if all.is_empty() { "anything".to_owned() } else { all.join(" or ") }
    }

    fn kind(&self, kind: &str, schema: &'a Value, path: &str, inner: &mut Vec<Block<'a>>) -> String {
        match kind {
            "string" => "text".to_owned(),
            "boolean" => "true or false".to_owned(),
            "integer" => format!("whole number{}", bounds(schema)),
            "number" => format!("number{}", bounds(schema)),
            "array" => format!("list of {}", self.takes(&schema["items"], &format!("{path}[]"), inner)),
            _ if schema["properties"]["uniform"].is_object() => {
                "`{uniform: [a, b]}`, `{normal: [mean, sd]}`, `{lognormal: [median, sigma]}`".to_owned()
            }
            _ if schema["properties"].is_object() => {
                inner.push(Block { path: path.to_owned(), schema });
                "block".to_owned()
            }
            _ if schema["additionalProperties"].is_object() => {
                let each = self.takes(&schema["additionalProperties"], &format!("{path}.NAME"), inner);
                format!("names, each with {}", each.replace("; sweeps", ", or a list of them"))
            }
            _ => "fields of your own".to_owned(),
        }
    }

    fn unsupported(&mut self, title: &str, about: &str, (column, severity): (&str, Severity)) {
        let _ = write!(self.text, "\n## {title}\n\n{about}\n\n| key | {column} |\n| --- | --- |\n");
        for (path, _, sentence) in unsupported_keys().filter(|(_, found, _)| *found == severity) {
            let _ = writeln!(self.text, "| `{path}` | {} |", cell(sentence));
        }
    }
}

/// A text as one cell of a table: on one line, and with no `|` that would end it.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// ` from 1`, ` above 0`, ` from 0 to 1`; bounds that only a type's width sets are left out.
fn bounds(schema: &Value) -> String {
    let number = |name: &str| schema[name].as_f64();
    let low = match (number("minimum"), number("exclusiveMinimum")) {
        (Some(low), _) if low > 0.0 || number("maximum").is_some() => format!(" from {low}"),
        (_, Some(low)) => format!(" above {low}"),
        _ => String::new(),
    };
    let high = number("maximum").filter(|high| ![255.0, 65_535.0].contains(high)).map(|high| format!(" to {high}"));
    low + &high.unwrap_or_default()
}
