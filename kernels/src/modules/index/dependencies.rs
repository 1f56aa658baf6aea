//! Which modules each module needs, and in which order.

use std::collections::HashMap;

use super::Module;
use crate::modules::Error;

/// A module's place in the list of all.
pub type Number = u32;

/// Of each module, all that it needs, directly or not, the ones that need others before those: to be loaded from
/// the last to the first.
pub struct Dependencies {
    all: Vec<Vec<Number>>,
}

impl Dependencies {
    /// Works them out for `modules`. Names that no module has are the kernel's own or nobody's.
    pub fn of(modules: &[Module]) -> Result<Dependencies, Error> {
        let numbers: HashMap<&str, Number> =
            (0..).zip(modules).map(|(number, module)| (module.name.as_str(), number)).collect();
        let direct: Vec<Vec<Number>> = modules
            .iter()
            .map(|module| {
                let mut needed = Vec::new();
                for name in &module.info.depends {
                    let number = numbers.get(name.as_str()).copied();
                    needed.extend(number.filter(|number| !needed.contains(number)));
                }
                needed
            })
            .collect();
        let places = places(modules, &direct)?;
        let all = (0..modules.len()).map(|module| reachable(module, &direct, &places)).collect();
        Ok(Dependencies { all })
    }

    pub fn of_module(&self, number: usize) -> &[Number] {
        self.all.get(number).map_or(&[], Vec::as_slice)
    }
}

/// Numbers the modules so that each comes before those that it needs. Where that leaves a choice, it is made as
/// depmod makes it: what became free last is next.
fn places(modules: &[Module], direct: &[Vec<Number>]) -> Result<Vec<u32>, Error> {
    let mut users = vec![0_u32; modules.len()];
    for needed in direct.iter().flatten() {
        users[*needed as usize] += 1;
    }
    let mut free: Vec<usize> = (0..modules.len()).filter(|module| users[*module] == 0).collect();
    let mut places = vec![u32::MAX; modules.len()];
    let mut next = 0;
    while let Some(module) = free.pop() {
        places[module] = next;
        next += 1;
        for needed in &direct[module] {
            let needed = *needed as usize;
            users[needed] -= 1;
            if users[needed] == 0 {
                free.push(needed);
            }
        }
    }
    match circle(&users, direct).as_slice() {
        [] => Ok(places),
        circle => {
            let names: Vec<_> = circle.iter().take(8).map(|module| modules[*module].name.as_str()).collect();
            Err(Error::Circle(names.join(", ")))
        }
    }
}

/// The modules of a circle, if there is one. Each that is left is in use by another that is left: going from users
/// to their users leads into a circle, wherever it begins.
fn circle(users: &[u32], direct: &[Vec<Number>]) -> Vec<usize> {
    let mut way: Vec<usize> = Vec::new();
    let mut next = users.iter().position(|users| *users > 0);
    while let Some(module) = next {
        if let Some(begin) = way.iter().position(|passed| *passed == module) {
            return way.split_off(begin);
        }
        way.push(module);
        let uses = |user: &usize| users[*user] > 0 && direct[*user].contains(&(module as Number));
        next = (0..direct.len()).find(uses);
    }
    Vec::new()
}

fn reachable(module: usize, direct: &[Vec<Number>], places: &[u32]) -> Vec<Number> {
    let mut found: Vec<Number> = Vec::new();
    let mut unseen: Vec<Number> = direct[module].clone();
    while let Some(next) = unseen.pop() {
        if !found.contains(&next) {
            found.push(next);
            unseen.extend(&direct[next as usize]);
        }
    }
    found.sort_by_key(|number| places[*number as usize]);
    found
}
