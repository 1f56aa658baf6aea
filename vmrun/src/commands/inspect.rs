//! `vmrun inspect`: all that is known of an image or a machine.

mod fields;
mod image;
mod machine;

use anyhow::{Result, anyhow};
use serde_json::Value;

use crate::arguments::{InspectArguments, InspectType};
use crate::home::Home;
use crate::output::{complain, say};
use fields::Template;

/// Shows what it finds, as Docker does: one name that leads nowhere does not keep the others.
pub fn inspect(home: &Home, arguments: &InspectArguments) -> Result<u8> {
    let template = match arguments.format.as_str() {
        "json" => None,
        text => Some(Template::parse(text)?),
    };
    let mut code = 0;
    let mut found = Vec::new();
    for name in &arguments.names {
        match find(home, name, arguments.r#type) {
            Ok(value) => found.push(value),
            Err(error) => {
                complain(&error);
                code = crate::FAILED;
            }
        }
    }
    match template {
        None => say(serde_json::to_string_pretty(&found)?)?,
        Some(template) => {
            for value in &found {
                say(template.fill(value)?)?;
            }
        }
    }
    Ok(code)
}

/// An image first, then a machine.
fn find(home: &Home, name: &str, wanted: Option<InspectType>) -> Result<Value> {
    if wanted == Some(InspectType::Machine) {
        return machine::find(home, name)?.ok_or_else(|| anyhow!("no such machine: {name}"));
    }
    match image::find(&home.images()?, name) {
        Err(error) if wanted.is_none() => match machine::find(home, name)? {
            Some(machine) => Ok(machine),
            None => Err(error),
        },
        found => found,
    }
}
