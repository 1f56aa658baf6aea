//! All machines of a state directory.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

use super::config::MachineConfig;
use super::directory::{MachineDirectory, MachineLock};
use super::state::{State, Status};
use super::{MachineId, name, upper};
use crate::home::{Home, private_directory};
use crate::place::Place;

/// Prefixes of directories that are being made or removed: no machines (any more).
const NEW: &str = ".new-";
const GONE: &str = ".gone-";

/// The machines, each a directory.
#[derive(Debug)]
pub struct Machines {
    path: PathBuf,
    place: Place,
}

/// A machine as listings show it.
#[derive(Debug)]
pub struct MachineSummary {
    pub directory: MachineDirectory,
    pub name: String,
    pub config: MachineConfig,
    pub state: State,
}

impl Machines {
    pub fn open(home: &Home) -> Machines {
        Machines { path: home.machines(), place: Place::of(home.root()) }
    }

    /// Makes a machine: its directory appears whole, under a name that no other has.
    pub fn create(&self, config: &MachineConfig, wanted: Option<&str>) -> Result<MachineDirectory> {
        if let Some(wanted) = wanted {
            name::check(wanted)?;
        }
        private_directory(&self.path)?;
        let draft_id = format!("{NEW}{}", config.id.as_str());
        let draft = self.path.join(&draft_id);
        DirBuilder::new()
            .mode(0o700)
            .create(&draft)
            .with_context(|| format!("cannot make {}", draft.display()))?;
        let made = self.fill(&draft, config, wanted);
        if made.is_err() {
            let _ = fs::remove_dir_all(&draft);
        }
        made
    }

    fn fill(
        &self,
        draft: &std::path::Path,
        config: &MachineConfig,
        wanted: Option<&str>,
    ) -> Result<MachineDirectory> {
        let machine = MachineDirectory::new(&self.path, config.id.clone(), &self.place);
        let drafted = MachineDirectory::at(draft, config.id.clone(), &self.place);
        drafted.write_config(config)?;
        upper::make(&self.path, &drafted.upper(), config)?;
        let _names = self.lock_names()?;
        let name = match wanted {
            Some(wanted) => {
                self.check_free(wanted)?;
                wanted.to_owned()
            }
            None => name::free(|name| self.check_free(name).is_ok())?,
        };
        drafted.write_name(&name, !config.remove)?;
        fs::rename(draft, machine.path())
            .with_context(|| format!("cannot make {}", machine.path().display()))?;
        Ok(machine)
    }

    /// Gives a machine another name.
    pub fn rename(&self, machine: &MachineDirectory, wanted: &str) -> Result<()> {
        name::check(wanted)?;
        let _names = self.lock_names()?;
        self.check_free(wanted)?;
        machine.write_name(wanted, true)
    }

    /// Removes a machine whose lock the caller has.
    pub fn remove(&self, machine: &MachineDirectory, lock: MachineLock) -> Result<()> {
        let gone = self.path.join(format!("{GONE}{}", machine.id().as_str()));
        let cannot = || format!("cannot remove {}", machine.path().display());
        fs::rename(machine.path(), &gone).with_context(cannot)?;
        drop(lock);
        match fs::remove_dir_all(&gone) {
            // Somebody has swept it away.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done.with_context(cannot),
        }
    }

    /// Every machine whose files can be read, the newest first. Those that cannot are left out, for one may just
    /// be removed.
    pub fn list(&self) -> Result<Vec<MachineSummary>> {
        let mut machines = Vec::new();
        for directory in self.directories()? {
            if let Ok(summary) = MachineSummary::read(directory) {
                machines.push(summary);
            }
        }
        machines.sort_by(|one, other| other.config.created.cmp(&one.config.created));
        Ok(machines)
    }

    /// The machine of that name, that ID, or the only one whose ID begins so.
    pub fn find(&self, wanted: &str) -> Result<MachineDirectory> {
        let directories = self.directories()?;
        if let Some(exact) = directories.iter().find(|machine| machine.id().as_str() == wanted) {
            return Ok(exact.clone());
        }
        let mut names = Vec::new();
        for machine in &directories {
            match machine.name() {
                Ok(name) if name == wanted => return Ok(machine.clone()),
                Ok(name) => names.push(name),
                Err(_) => {}
            }
        }
        let begins =
            |machine: &&MachineDirectory| !wanted.is_empty() && machine.id().as_str().starts_with(wanted);
        let mut found = directories.iter().filter(begins);
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one.clone()),
            (Some(_), Some(_)) => {
                bail!("'{wanted}' is the beginning of several machines' IDs: give more digits")
            }
            _ => match name::nearest(wanted, &names) {
                Some(near) => bail!("there is no machine '{wanted}': did you mean '{near}'?"),
                None => bail!("there is no machine '{wanted}': `vmrun ps -a` lists them"),
            },
        }
    }

    /// Whether [`Machines::find`] has something to say about `wanted` but that it does not know it.
    pub fn has(&self, wanted: &str) -> Result<bool> {
        let is_it = |machine: &MachineDirectory| {
            machine.id().as_str().starts_with(wanted) || machine.name().is_ok_and(|name| name == wanted)
        };
        Ok(!wanted.is_empty() && self.directories()?.iter().any(is_it))
    }

    /// The images that machines are made of.
    pub fn images(&self) -> Result<HashSet<String>> {
        Ok(self.list()?.into_iter().map(|machine| machine.config.image_id).collect())
    }

    /// Removes what killed commands have left.
    pub fn sweep(&self) -> Result<()> {
        for name in self.entries()? {
            if name.starts_with(GONE) || (name.starts_with(NEW) && self.is_old(&name)) {
                let _ = fs::remove_dir_all(self.path.join(name));
            }
        }
        Ok(())
    }

    fn is_old(&self, name: &str) -> bool {
        let made = fs::metadata(self.path.join(name)).and_then(|metadata| metadata.modified()).ok();
        let age = made.and_then(|made| made.elapsed().ok());
        age.is_some_and(|age| age.as_secs() > 60)
    }

    fn directories(&self) -> Result<Vec<MachineDirectory>> {
        let ids = self.entries()?.into_iter().filter_map(|name| MachineId::parse(&name));
        Ok(ids.map(|id| MachineDirectory::new(&self.path, id, &self.place)).collect())
    }

    fn entries(&self) -> Result<Vec<String>> {
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(|| format!("cannot read {}", self.path.display()))?,
        };
        let names = entries.map_while(Result::ok).filter_map(|entry| entry.file_name().into_string().ok());
        Ok(names.collect())
    }

    fn check_free(&self, wanted: &str) -> Result<()> {
        for machine in self.directories()? {
            if machine.name().is_ok_and(|name| name == wanted) {
                bail!(
                    "the name '{wanted}' is in use by machine {}: remove or rename that one, or choose another",
                    machine.id().as_str()
                );
            }
        }
        Ok(())
    }

    fn lock_names(&self) -> Result<File> {
        let path = self.path.join("names.lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        flock(&file, FlockOperation::LockExclusive)
            .with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(file)
    }
}

impl MachineSummary {
    pub fn read(directory: MachineDirectory) -> Result<MachineSummary> {
        let (name, config, state) = (directory.name()?, directory.config()?, directory.state()?);
        Ok(MachineSummary { directory, name, config, state })
    }

    pub fn is_running(&self) -> bool {
        matches!(self.state.status, Status::Running | Status::Paused | Status::Restarting)
    }
}
