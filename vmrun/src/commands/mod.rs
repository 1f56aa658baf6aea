//! The verbs, one file each.

mod attach;
mod commit;
mod completions;
mod cp;
mod create;
mod df;
mod diff;
mod doctor;
mod emulate;
mod events;
mod exec;
mod export;
mod fsck;
mod generate;
mod history;
mod images;
mod import;
mod inspect;
mod kernel;
mod kernel_build;
mod kernel_image;
mod kernel_pull;
mod kernel_search;
mod kernel_source;
mod kill;
mod load;
mod login;
mod logs;
mod matrix;
mod pause;
mod prune;
mod ps;
mod pull;
mod push;
mod rename;
mod restart;
mod rm;
mod rmi;
mod rootfs;
mod run;
mod save;
mod start;
mod stats;
mod stop;
mod tag;
mod top;
mod wait;

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;

use anyhow::{Result, bail};

use crate::arguments::{Arguments, Command};
use crate::emulate::host;
use crate::home::Home;
use crate::output::{complain, stdout};

pub use create::{check, make};

/// Does something with each machine, as Docker does: one that cannot be helped does not keep the others.
fn each(names: &[String], mut act: impl FnMut(&str) -> Result<()>) -> Result<u8> {
    let mut code = 0;
    for name in names {
        if let Err(error) = act(name) {
            complain(&error);
            code = crate::FAILED;
        }
    }
    Ok(code)
}

/// Asks the user whether to do `what`.
fn agreed(what: &str) -> Result<bool> {
    if !io::stdin().is_terminal() {
        bail!("there is no terminal to ask on: say -f to remove without a question");
    }
    let mut out = stdout();
    write!(out, "{what} Go on? [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Carries out what the command line says; the result is the exit code.
pub fn dispatch(arguments: Arguments) -> Result<u8> {
    carry_out(arguments.command, arguments.root.as_deref())
}

fn carry_out(command: Command, root: Option<&Path>) -> Result<u8> {
    let home = || Home::locate(root);
    match command {
        Command::Image(image) => carry_out(image.into(), root),
        Command::Container(container) => carry_out(container.into(), root),
        Command::ContainerPrune(prune) => rm::prune(&home()?, &prune),
        Command::Generate(generate) => generate::generate(&home()?, generate),
        Command::System(system) => carry_out(system.into(), root),
        Command::Run(run) => run::run(&home()?, &run),
        Command::Matrix(matrix) => matrix::matrix(&home()?, &matrix),
        Command::Top(top) => top::top(&home()?, &top),
        Command::Stats(stats) => stats::stats(&home()?, &stats),
        Command::Exec(exec) => exec::exec(&home()?, &exec),
        Command::Create(create) => create::create(&home()?, &create),
        Command::Start(start) => start::start(&home()?, &start),
        Command::Stop(stop) => stop::stop(&home()?, &stop),
        Command::Restart(stop) => restart::restart(&home()?, &stop),
        Command::Kill(kill) => kill::kill(&home()?, &kill),
        Command::Pause(pause) => pause::pause(&home()?, &pause),
        Command::Unpause(unpause) => pause::unpause(&home()?, &unpause),
        Command::Wait(wait) => wait::wait(&home()?, &wait),
        Command::Rm(rm) => rm::rm(&home()?, &rm),
        Command::Ps(ps) => ps::ps(&home()?, &ps),
        Command::Logs(logs) => logs::logs(&home()?, &logs),
        Command::Attach(attach) => attach::attach(&home()?, &attach),
        Command::Rename(rename) => rename::rename(&home()?, &rename),
        Command::Events(events) => events::events(&home()?, &events),
        Command::Pull(pull) => pull::pull(&home()?, &pull),
        Command::Push(push) => push::push(&home()?, &push),
        Command::Login(login) => login::login(&login),
        Command::Logout(logout) => login::logout(&logout),
        Command::Images(listing) => images::images(&home()?, &listing),
        Command::Inspect(inspect) => inspect::inspect(&home()?, &inspect),
        Command::History(history) => history::history(&home()?, &history),
        Command::Tag(tag) => tag::tag(&home()?, &tag),
        Command::Cp(cp) => cp::cp(&home()?, &cp),
        Command::Commit(commit) => commit::commit(&home()?, &commit),
        Command::Diff(diff) => diff::diff(&home()?, &diff),
        Command::Export(export) => export::export(&home()?, &export),
        Command::Load(load) => load::load(&home()?, load),
        Command::Import(import) => import::import(&home()?, import),
        Command::Save(save) => save::save(&home()?, &save),
        Command::Rmi(rmi) => rmi::rmi(&home()?, &rmi),
        Command::Rootfs(rootfs) => rootfs::rootfs(&home()?, &rootfs),
        Command::Df(df) => df::df(&home()?, &df),
        Command::Prune(prune) => prune::prune(&home()?, &prune),
        Command::Fsck(fsck) => fsck::fsck(&home()?, &fsck),
        Command::Kernel(kernel) => kernel::kernel(&home()?, kernel),
        Command::Emulate(emulate) => emulate::emulate(&home()?, emulate),
        Command::EmulatedHost { memory } => host::holder(&home()?, memory),
        Command::EmulatedAgent => host::agent(),
        Command::Doctor => doctor::doctor(&home()?),
        Command::Completions { shell } => completions::completions(shell),
        Command::Man { directory } => completions::manual(&directory),
    }
}
