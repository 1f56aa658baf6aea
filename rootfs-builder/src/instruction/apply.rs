//! What an instruction does to a configuration (OCI image-spec, config.md; `Healthcheck` is Docker's).

use serde_json::{Map, Value, json};

use super::{Instruction, Result};

impl Instruction {
    /// Applies all of `given`, and then the instructions in `lines`, to the member `config` of an image's
    /// configuration.
    pub fn apply_all(given: &[Instruction], lines: &[String], config: &mut Map<String, Value>) -> Result<()> {
        for instruction in given {
            instruction.apply(config);
        }
        let mut has_command = false;
        for line in lines {
            let instruction = Instruction::parse(line, &strings(config.get("Env")))?;
            match &instruction {
                Instruction::Cmd(_) => has_command = true,
                // Another entrypoint makes nothing of words that were meant for the one before.
                Instruction::Entrypoint(_) if !has_command => drop(config.remove("Cmd")),
                _ => {}
            }
            instruction.apply(config);
        }
        Ok(())
    }

    fn apply(&self, config: &mut Map<String, Value>) {
        match self {
            Instruction::Cmd(words) => set_list(config, "Cmd", words),
            Instruction::Entrypoint(words) => set_list(config, "Entrypoint", words),
            Instruction::Env(pairs) => {
                let mut variables = strings(config.get("Env"));
                for (name, value) in pairs {
                    let variable = format!("{name}={value}");
                    let is_it = |other: &&mut String| other.split('=').next() == Some(name);
                    match variables.iter_mut().find(is_it) {
                        Some(other) => *other = variable,
                        None => variables.push(variable),
                    }
                }
                set_list(config, "Env", &variables);
            }
            Instruction::Label(pairs) => {
                for (name, value) in pairs {
                    insert(config, "Labels", name, json!(value));
                }
            }
            Instruction::Expose(ports) => {
                ports.iter().for_each(|port| insert(config, "ExposedPorts", port, json!({})));
            }
            Instruction::Volume(paths) => {
                paths.iter().for_each(|path| insert(config, "Volumes", path, json!({})));
            }
            Instruction::User(user) => drop(config.insert("User".into(), json!(user))),
            Instruction::Workdir(path) => {
                let before = config.get("WorkingDir").and_then(Value::as_str).unwrap_or_default();
                let path = match path.starts_with('/') {
                    true => path.clone(),
                    false => format!("{}/{path}", before.trim_end_matches('/')),
                };
                let path = if path.starts_with('/') { path } else { format!("/{path}") };
                config.insert("WorkingDir".into(), json!(path));
            }
            Instruction::StopSignal(signal) => drop(config.insert("StopSignal".into(), json!(signal))),
            Instruction::Healthcheck(check) => drop(config.insert("Healthcheck".into(), check.to_json())),
        }
    }
}

fn set_list(config: &mut Map<String, Value>, key: &str, list: &[String]) {
    match list.is_empty() {
        true => drop(config.remove(key)),
        false => drop(config.insert(key.to_owned(), json!(list))),
    }
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let list = value.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn insert(config: &mut Map<String, Value>, key: &str, name: &str, value: Value) {
    let member = config.entry(key).or_insert_with(|| json!({}));
    // A null, or what is of no use to anybody.
    if !member.is_object() {
        *member = json!({});
    }
    if let Some(members) = member.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(config: Value, lines: &[&str]) -> Value {
        let Value::Object(mut config) = config else { panic!() };
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        Instruction::apply_all(&[], &lines, &mut config).unwrap();
        config.into()
    }

    #[test]
    fn instructions_change_what_they_name() {
        let config = json!({
            "Env": ["PATH=/bin", "A=1"], "Cmd": ["sh"], "WorkingDir": "/srv", "Volumes": null, "OnBuild": ["x"],
        });
        let lines =
            ["ENV A=2 B=$PATH", "ENV C=$B", "LABEL l=v", "EXPOSE 80", "WORKDIR app", "VOLUME /v", "USER www"];
        let expected = json!({
            "Env": ["PATH=/bin", "A=2", "B=/bin", "C=/bin"], "Cmd": ["sh"], "WorkingDir": "/srv/app",
            "Volumes": { "/v": {} }, "OnBuild": ["x"], "Labels": { "l": "v" },
            "ExposedPorts": { "80/tcp": {} }, "User": "www",
        });
        assert_eq!(applied(config, &lines), expected);
    }

    #[test]
    fn a_new_entrypoint_drops_the_command_that_was_not_given_with_it() {
        let config = json!({ "Entrypoint": ["/a"], "Cmd": ["x"] });
        assert_eq!(applied(config.clone(), &[r#"ENTRYPOINT ["/b"]"#]), json!({ "Entrypoint": ["/b"] }));
        let both = applied(config.clone(), &[r#"CMD ["y"]"#, r#"ENTRYPOINT ["/b"]"#]);
        assert_eq!(both, json!({ "Entrypoint": ["/b"], "Cmd": ["y"] }));
        assert_eq!(applied(config, &["ENTRYPOINT []", "CMD []"]), json!({}));
    }
}
