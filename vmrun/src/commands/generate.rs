//! `vmrun generate`: what other programs need to run machines.

use std::env;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::arguments::{GenerateCommand, SystemdArguments};
use crate::home::Home;
use crate::machine::restart::RestartPolicy;
use crate::machine::{MachineConfig, Machines};
use crate::output::stdout;

/// What systemd waits beside the machine's own time to stop, in seconds.
const SPARE: u64 = 30;

pub fn generate(home: &Home, command: GenerateCommand) -> Result<u8> {
    match command {
        GenerateCommand::Systemd(arguments) => systemd(home, &arguments),
    }
}

/// A unit that starts the machine with the host and stops it with it.
fn systemd(home: &Home, arguments: &SystemdArguments) -> Result<u8> {
    let machine = Machines::open(home).find(&arguments.machine)?;
    let config = machine.config()?;
    if config.remove {
        bail!("machine {} is removed when it ends: make one without --rm for a unit", arguments.machine);
    }
    let own = env::current_exe().context("cannot find vmrun's own executable")?;
    stdout().write_all(unit(&config, &machine.name()?, &own, home.root())?.as_bytes())?;
    Ok(0)
}

fn unit(config: &MachineConfig, name: &str, program: &Path, home: &Path) -> Result<String> {
    let restart = match config.restart {
        RestartPolicy::No => "no",
        RestartPolicy::OnFailure { .. } => "on-failure",
        RestartPolicy::Always | RestartPolicy::UnlessStopped => "always",
    };
    let (program, home, id) = (word(program)?, word(home)?, config.id.as_str());
    let stop = config.stop_timeout.saturating_add(SPARE);
    Ok(format!(
        "# Made by `vmrun generate systemd {name}`.\n\
         [Unit]\n\
         Description=vmrun machine {name} ({id})\n\
         Wants=network-online.target\n\
         After=network-online.target\n\
         RequiresMountsFor={home}\n\
         \n\
         [Service]\n\
         Type=exec\n\
         ExecStart={program} --root {home} start --attach {id}\n\
         ExecStop={program} --root {home} stop {id}\n\
         Restart={restart}\n\
         TimeoutStopSec={stop}\n\
         KillMode=mixed\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n"
    ))
}

/// A path as one word of a unit's line.
fn word(path: &Path) -> Result<String> {
    let text = path.to_str().filter(|text| !text.contains(['\n', '"', '\\', '\'']));
    let text = text.with_context(|| format!("{} cannot be written in a unit", path.display()))?;
    let text = text.replace('%', "%%").replace('$', "$$");
    Ok(if text.contains(char::is_whitespace) { format!("\"{text}\"") } else { text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_one_word() {
        assert_eq!(word(Path::new("/var/lib/vmrun")).unwrap(), "/var/lib/vmrun");
        assert_eq!(word(Path::new("/a b/100%$")).unwrap(), "\"/a b/100%%$$\"");
        assert!(word(Path::new("/a\nExecStart=x")).is_err());
    }
}
