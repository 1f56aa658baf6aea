//! Text with fields in it, `{{.Config.Cmd}}`: the part of Docker's templates that needs no template language.

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Text and fields in turn.
#[derive(Debug)]
pub struct Template(Vec<Part>);

#[derive(Debug)]
enum Part {
    Text(String),
    Field {
        path: Vec<String>,
        /// Strings in quotes, too.
        json: bool,
    },
}

impl Template {
    pub fn parse(text: &str) -> Result<Template> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (inside, after) =
                after.split_once("}}").with_context(|| format!("'{text}' has no }}}} for its {{{{"))?;
            parts.push(Part::Text(before.to_owned()));
            parts.push(field(inside.trim())?);
            rest = after;
        }
        if parts.is_empty() {
            bail!("--format takes json or text with fields such as {{{{.Config.Cmd}}}}, not '{text}'");
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Template(parts))
    }

    /// Text stands as it is, everything else as JSON.
    pub fn fill(&self, value: &Value) -> Result<String> {
        let mut filled = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Field { path, json } => match look_up(value, path)? {
                    Value::String(text) if !json => filled.push_str(text),
                    value => filled.push_str(&value.to_string()),
                },
            }
        }
        Ok(filled)
    }
}

fn field(inside: &str) -> Result<Part> {
    let (path, json) = match inside.strip_prefix("json ") {
        Some(path) => (path.trim(), true),
        None => (inside, false),
    };
    let names = path.strip_prefix('.').map(|path| path.split('.').filter(|name| !name.is_empty()));
    let plain =
        |name: &str| name.chars().all(|character| character.is_alphanumeric() || "_-/".contains(character));
    match names.map(|names| names.map(str::to_owned).collect::<Vec<_>>()) {
        Some(path) if path.iter().all(|name| plain(name)) => Ok(Part::Field { path, json }),
        _ => bail!(
            "'{{{{{inside}}}}}' is no field: only plain paths such as {{{{.Config.Cmd}}}} are understood"
        ),
    }
}

fn look_up<'a>(mut value: &'a Value, path: &[String]) -> Result<&'a Value> {
    for name in path {
        value = value.get(name).with_context(|| format!("there is no field .{}", path.join(".")))?;
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn filled(template: &str) -> Result<String> {
        let value = json!({ "Id": "x", "Config": { "Cmd": ["sh", "-c"], "User": "" }, "Size": 7 });
        Template::parse(template)?.fill(&value)
    }

    #[test]
    fn fields_are_filled_in() {
        assert_eq!(filled("{{.Id}}").unwrap(), "x");
        assert_eq!(filled("{{json .Id}}").unwrap(), "\"x\"");
        assert_eq!(filled("{{ .Config.Cmd }} in {{.Size}} bytes").unwrap(), r#"["sh","-c"] in 7 bytes"#);
    }

    #[test]
    fn what_is_no_plain_path_is_refused_in_one_line() {
        for bad in ["Id", "{{.Id", "{{Id}}", "{{range .Config.Cmd}}x{{end}}", "{{.Nothing}}", "{{.Id.More}}"]
        {
            let error = filled(bad).unwrap_err().to_string();
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
