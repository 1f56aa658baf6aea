//! `vmrun events`: what happens to machines, as it happens.

use std::fs::{self, File, Metadata};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use rootfs_builder::image::parse_time;

use crate::age::moment;
use crate::arguments::{EventsArguments, Format};
use crate::events::{MachineEvent, log};
use crate::filter::{Label, split};
use crate::home::Home;
use crate::output::stdout;

/// How often the log is looked at.
const STEP: Duration = Duration::from_millis(200);

pub fn events(home: &Home, arguments: &EventsArguments) -> Result<u8> {
    let filter = Filter::parse(&arguments.filter)?;
    let since = match &arguments.since {
        Some(time) => moment(time)?,
        // Those that are there already are history.
        None if arguments.until.is_none() => SystemTime::now(),
        None => SystemTime::UNIX_EPOCH,
    };
    let until = arguments.until.as_ref().map(|time| moment(time)).transpose()?;
    let path = log(home);
    let mut paths = vec![path.with_added_extension("1"), path.clone()];
    let mut reader: Option<BufReader<File>> = None;
    let mut line = Vec::new();
    loop {
        if reader.is_none() {
            let next = if paths.is_empty() { path.clone() } else { paths.remove(0) };
            match File::open(&next) {
                Ok(file) => reader = Some(BufReader::new(file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(|| format!("cannot read {}", next.display())),
            }
        }
        while let Some(from) = &mut reader {
            if from.read_until(b'\n', &mut line)? == 0 || !line.ends_with(b"\n") {
                break;
            }
            if let Ok(event) = serde_json::from_slice::<MachineEvent>(&line) {
                let time = parse_time(&event.time).unwrap_or(SystemTime::UNIX_EPOCH);
                if time >= since && until.is_none_or(|until| time <= until) && filter.matches(&event) {
                    show(&event, arguments.format)?;
                }
            }
            line.clear();
        }
        if !paths.is_empty() {
            reader = None;
            continue;
        }
        if until.is_some_and(|until| SystemTime::now() >= until) {
            return Ok(0);
        }
        // Another log has taken its place.
        if reader.as_ref().is_some_and(|read| !is_same(read.get_ref(), &path)) {
            reader = None;
        }
        thread::sleep(STEP);
    }
}

fn is_same(file: &File, path: &Path) -> bool {
    let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(file), Ok(path)) => identity(file) == identity(path),
        _ => true,
    }
}

fn show(event: &MachineEvent, format: Format) -> Result<()> {
    let mut out = stdout();
    if format == Format::Json {
        writeln!(out, "{}", serde_json::to_string(event)?)?;
        return Ok(());
    }
    let MachineEvent { time, action, id, name, image, exit_code, labels } = event;
    let code = exit_code.map(|code| format!("exitCode={code}, ")).unwrap_or_default();
    let labels: String = labels.iter().map(|(key, value)| format!(", {key}={value}")).collect();
    writeln!(out, "{time} machine {action} {id} ({code}image={image}, name={name}{labels})")?;
    Ok(())
}

#[derive(Debug, Default)]
struct Filter {
    actions: Vec<String>,
    machines: Vec<String>,
    images: Vec<String>,
    labels: Vec<Label>,
}

impl Filter {
    fn parse(filters: &[String]) -> Result<Filter> {
        let mut parsed = Filter::default();
        for filter in filters {
            match split(filter)? {
                ("event", action) => parsed.actions.push(action.to_owned()),
                ("machine" | "container", machine) => parsed.machines.push(machine.to_owned()),
                ("image", image) => parsed.images.push(image.to_owned()),
                ("label", label) => parsed.labels.push(Label::parse(label)),
                (key, _) => bail!("'{key}' is no filter of events: there are event, machine, image, label"),
            }
        }
        Ok(parsed)
    }

    fn matches(&self, event: &MachineEvent) -> bool {
        let any =
            |wanted: &[String], is: &dyn Fn(&String) -> bool| wanted.is_empty() || wanted.iter().any(is);
        any(&self.actions, &|action| event.action == *action)
            && any(&self.machines, &|machine| {
                event.name == *machine || event.id.starts_with(machine.as_str())
            })
            && any(&self.images, &|image| event.image == *image)
            && self.labels.iter().all(|label| label.is_in(&event.labels))
    }
}
