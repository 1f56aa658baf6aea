//! `vmrun ps`: the machines, and what has become of them.

use anyhow::{Result, bail};
use rootfs_builder::image::parse_time;

use crate::age::age;
use crate::arguments::{Format, PsArguments};
use crate::filter::{Label, split};
use crate::home::Home;
use crate::machine::{MachineSummary, Machines, State, Status};
use crate::output::{say, table};
use crate::size;

/// Characters of a command that are shown.
const COMMAND: usize = 24;

pub fn ps(home: &Home, arguments: &PsArguments) -> Result<u8> {
    let filter = Filter::parse(&arguments.filter)?;
    let mut machines = Machines::open(home).list()?;
    let all = arguments.all || arguments.latest || arguments.last.is_some() || filter.status.is_some();
    machines.retain(|machine| (all || machine.is_running()) && filter.matches(machine));
    machines.truncate(arguments.last.unwrap_or(if arguments.latest { 1 } else { usize::MAX }));
    if arguments.quiet {
        machines.iter().try_for_each(|machine| say(machine.config.id.as_str()))?;
    } else if arguments.format == Format::Json {
        let list: Vec<_> = machines.iter().map(json).collect();
        say(serde_json::to_string_pretty(&list)?)?;
    } else if arguments.size {
        let rows: Vec<_> =
            machines.iter().map(|machine| with_size(machine, row(machine, arguments.no_trunc))).collect();
        table(["MACHINE ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "KERNEL", "NAME", "SIZE"], &rows)?;
    } else {
        let rows: Vec<_> = machines.iter().map(|machine| row(machine, arguments.no_trunc)).collect();
        table(["MACHINE ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "KERNEL", "NAME"], &rows)?;
    }
    Ok(0)
}

fn row(machine: &MachineSummary, whole: bool) -> [String; 7] {
    let config = &machine.config;
    [
        config.id.as_str().to_owned(),
        config.image.clone(),
        format!("\"{}\"", shortened(&config.command(), if whole { usize::MAX } else { COMMAND })),
        age(parse_time(&config.created)),
        status(&machine.state),
        config.kernel.clone(),
        machine.name.clone(),
    ]
}

fn with_size(machine: &MachineSummary, row: [String; 7]) -> [String; 8] {
    let [id, image, command, created, status, kernel, name] = row;
    [id, image, command, created, status, kernel, name, size::show(machine.directory.upper_size())]
}

fn shortened(command: &str, length: usize) -> String {
    let plain: String =
        command.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    match plain.char_indices().nth(length) {
        Some(_) => plain.chars().take(length - 1).chain(['…']).collect(),
        None => plain,
    }
}

/// As Docker says it.
fn status(state: &State) -> String {
    let since = |time: &Option<String>| age(time.as_deref().and_then(parse_time));
    let up = || since(&state.started_at).trim_end_matches(" ago").to_owned();
    let code = state.exit_code.unwrap_or(0);
    match state.status {
        Status::Created => "Created".into(),
        Status::Running => format!("Up {}", up()),
        Status::Paused => format!("Up {} (Paused)", up()),
        Status::Restarting => format!("Restarting ({code}) {}", since(&state.finished_at)),
        // Nobody saw it end.
        Status::Exited if state.finished_at.is_none() => format!("Exited ({code})"),
        Status::Exited => format!("Exited ({code}) {}", since(&state.finished_at)),
    }
}

fn json(machine: &MachineSummary) -> serde_json::Value {
    let (config, state) = (&machine.config, &machine.state);
    serde_json::json!({
        "id": config.id,
        "name": machine.name,
        "image": config.image,
        "image_id": config.image_id,
        "kernel": config.kernel,
        "command": config.args,
        "created": config.created,
        "status": state.status,
        "started_at": state.started_at,
        "finished_at": state.finished_at,
        "exit_code": state.exit_code,
        "error": state.error,
        "restarts": state.restarts,
        "labels": config.labels,
        "disk": machine.directory.upper_size(),
    })
}

/// Docker's filters of containers. Of several of one kind, one must hold; labels must all.
#[derive(Debug, Default)]
struct Filter {
    ids: Vec<String>,
    names: Vec<String>,
    labels: Vec<Label>,
    status: Option<Vec<String>>,
    exited: Vec<u8>,
    ancestors: Vec<String>,
}

impl Filter {
    fn parse(filters: &[String]) -> Result<Filter> {
        let mut parsed = Filter::default();
        for filter in filters {
            let (key, value) = split(filter)?;
            match key {
                "id" => parsed.ids.push(value.to_owned()),
                "name" => parsed.names.push(value.trim_start_matches('/').to_owned()),
                "label" => parsed.labels.push(Label::parse(value)),
                "status" => parsed.status.get_or_insert_default().push(value.to_owned()),
                "exited" => {
                    parsed
                        .exited
                        .push(value.parse().map_err(|_| anyhow::anyhow!("'{value}' is no exit code"))?);
                    parsed.status.get_or_insert_default().push("exited".into());
                }
                "ancestor" => parsed.ancestors.push(value.to_owned()),
                _ => bail!("'{key}' is no filter: there are id, name, label, status, exited, ancestor"),
            }
        }
        Ok(parsed)
    }

    fn matches(&self, machine: &MachineSummary) -> bool {
        let any = |wanted: &[String], is: &dyn Fn(&str) -> bool| {
            wanted.is_empty() || wanted.iter().any(|one| is(one))
        };
        let (config, state) = (&machine.config, &machine.state);
        any(&self.ids, &|id| config.id.as_str().starts_with(id))
            && any(&self.names, &|name| machine.name.contains(name))
            && self.labels.iter().all(|label| label.is_in(&config.labels))
            && any(self.status.as_deref().unwrap_or_default(), &|status| state.status.as_str() == status)
            && (self.exited.is_empty() || state.exit_code.is_some_and(|code| self.exited.contains(&code)))
            && any(&self.ancestors, &|image| {
                config.image == image
                    || config.image.split(':').next() == Some(image)
                    || config
                        .image_id
                        .trim_start_matches("sha256:")
                        .starts_with(image.trim_start_matches("sha256:"))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_command_is_cut() {
        assert_eq!(shortened("sh -c\n'x'", 24), "sh -c 'x'");
        assert_eq!(shortened("abcdef", 3), "ab…");
    }

    #[test]
    fn statuses_read_as_dockers() {
        let state = State { status: Status::Exited, exit_code: Some(3), ..State::default() };
        assert_eq!(status(&state), "Exited (3)");
        assert_eq!(status(&State::default()), "Created");
    }
}
