//! Which modules each module needs, and in which order.

use std::collections::HashMap;

use super::{FACTS_LIMIT, Module};
use crate::modules::Error;

/// A module's place in the list of all.
pub type Number = u32;

/// Of each module, all that it needs, directly or not, the ones that need others before those: to be loaded from
/// the last to the first.
pub struct Dependencies {
    all: Vec<Vec<Number>>,
}

impl Dependencies {
    /// Works them out for `modules`. Names that no module has are the kernel's own or nobody's. Few modules can make
    /// a great many entries: as many as they may say facts of themselves are accepted.
    pub fn of(modules: &[Module]) -> Result<Dependencies, Error> {
        let numbers: HashMap<&str, Number> =
            (0..).zip(modules).map(|(number, module)| (module.name.as_str(), number)).collect();
        let direct: Vec<Vec<Number>> = {
            let mut seen = Seen::new(modules.len());
            modules.iter().map(|module| named(module, &numbers, seen.of_next())).collect()
        };
        let places = places(modules, &direct)?;
        let mut seen = Seen::new(modules.len());
        let mut left = FACTS_LIMIT;
        let mut all = Vec::with_capacity(modules.len());
        for needed in &direct {
            let reachable =
                reachable(needed, &direct, &places, seen.of_next(), left).ok_or(Error::TooMuch)?;
            left -= reachable.len();
            all.push(reachable);
        }
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
    let mut user_left: Vec<Option<usize>> = vec![None; direct.len()];
    for (user, needed) in direct.iter().enumerate().filter(|(user, _)| users[*user] > 0) {
        for needed in needed {
            user_left[*needed as usize].get_or_insert(user);
        }
    }
    let mut way: Vec<usize> = Vec::new();
    let mut place_in_way: Vec<Option<usize>> = vec![None; direct.len()];
    let mut next = users.iter().position(|users| *users > 0);
    while let Some(module) = next {
        if let Some(begin) = place_in_way[module] {
            return way.split_off(begin);
        }
        place_in_way[module] = Some(way.len());
        way.push(module);
        next = user_left[module];
    }
    Vec::new()
}

/// All that `needed` leads to, in the order of `places`; `None` if these are more than `limit`.
fn reachable(
    needed: &[Number],
    direct: &[Vec<Number>],
    places: &[u32],
    mut is_new: impl FnMut(Number) -> bool,
    limit: usize,
) -> Option<Vec<Number>> {
    let mut found: Vec<Number> = needed.iter().copied().filter(|number| is_new(*number)).collect();
    let mut followed = 0;
    while let Some(next) = found.get(followed).copied() {
        followed += 1;
        found.extend(direct[next as usize].iter().filter(|number| is_new(**number)));
        if found.len() > limit {
            return None;
        }
    }
    found.sort_unstable_by_key(|number| places[*number as usize]);
    (found.len() <= limit).then_some(found)
}

/// The modules that a module names, each once.
fn named(
    module: &Module,
    numbers: &HashMap<&str, Number>,
    mut is_new: impl FnMut(Number) -> bool,
) -> Vec<Number> {
    let known = module.info.depends.iter().filter_map(|name| numbers.get(name.as_str()).copied());
    known.filter(|number| is_new(*number)).collect()
}

/// Which modules were seen, for one list after another: the number of the last list that each is in, so that no
/// list costs more than what it has.
struct Seen {
    last: Vec<u32>,
    list: u32,
}

impl Seen {
    fn new(modules: usize) -> Seen {
        Seen { last: vec![0; modules], list: 0 }
    }

    /// Begins the next list: whether a module is new to it.
    fn of_next(&mut self) -> impl FnMut(Number) -> bool {
        self.list += 1;
        let list = self.list;
        let last = &mut self.last;
        move |number| std::mem::replace(&mut last[number as usize], list) != list
    }
}
