//! What is shown to a registry so that it lets us in.
//!
//! Nothing is shown before it is asked for. Then it is remembered what the registry wants: a password, or tokens,
//! of which each set of scopes has its own.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ureq::http::{HeaderMap, HeaderValue, Uri};

use crate::challenge::{Challenge, challenge};
use crate::credentials::{Credentials, Login};
use crate::header::{basic, bearer};
use crate::http::{Http, host_of};
use crate::token::{self, Token, TokenRequest};
use crate::{Error, Host, Result};

/// A call to a registry that has to be let in.
pub struct Call<'a> {
    pub http: &'a Http,
    pub host: &'a Host,
    /// The address of its API.
    pub registry: &'a Uri,
    pub scopes: &'a [String],
    /// What is to be done there, for messages.
    pub action: &'a str,
}

pub struct Authorization {
    credentials: Credentials,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    challenge: Option<Challenge>,
    /// Once they have been looked up.
    login: Option<Option<Login>>,
    /// By scopes, joined.
    tokens: HashMap<String, Token>,
}

impl Authorization {
    pub fn new(credentials: Credentials) -> Authorization {
        Authorization { credentials, state: Mutex::default() }
    }

    /// Takes note of what the registry asked for, before anything was requested.
    pub fn learn(&self, headers: &HeaderMap) {
        self.state().challenge = challenge(headers).ok();
    }

    /// What to send with a request, as far as it is known.
    pub fn header(&self, call: &Call) -> Result<Option<HeaderValue>> {
        let mut state = self.state();
        match state.challenge.is_some() {
            true => self.fulfil(&mut state, call),
            false => Ok(None),
        }
    }

    /// What to send after a 401 of the registry's own. `used` is what was sent before: somebody else may have renewed
    /// it meanwhile. None if there is nothing better to send.
    pub fn answer(
        &self,
        call: &Call,
        headers: &HeaderMap,
        used: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>> {
        let unsupported = |kind| Error::Challenge { host: host_of(call.registry), kind };
        let asked = challenge(headers).map_err(unsupported)?;
        // One at a time, so that several threads get one token.
        let mut state = self.state();
        state.challenge = Some(asked);
        state.tokens.retain(|key, token| *key != call.scopes.join(" ") || Some(&token.header) != used);
        let header = self.fulfil(&mut state, call)?;
        Ok(header.filter(|header| Some(header) != used))
    }

    /// Whether anything was shown that could have been refused.
    pub fn has_login(&self) -> bool {
        self.state().login.as_ref().is_some_and(Option::is_some)
    }

    fn fulfil(&self, state: &mut State, call: &Call) -> Result<Option<HeaderValue>> {
        if state.login.is_none() {
            state.login = Some(self.credentials.get(call.host)?);
        }
        let login = state.login.as_ref().and_then(Option::as_ref);
        if let Some(Login::RegistryToken(token)) = login {
            return Ok(bearer(token));
        }
        match &state.challenge {
            None => Ok(None),
            Some(Challenge::Basic) => match login {
                Some(Login::Password { user, password }) => Ok(Some(basic(user, password))),
                _ => Ok(None),
            },
            Some(Challenge::Bearer { realm, service }) => {
                let key = call.scopes.join(" ");
                if let Some(token) = state.tokens.get(&key).filter(|token| token.good_until > Instant::now())
                {
                    return Ok(Some(token.header.clone()));
                }
                let service = service.as_deref();
                let token = token::fetch(&TokenRequest { call, realm, service, login })?;
                let header = token.header.clone();
                state.tokens.insert(key, token);
                Ok(Some(header))
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panicked in between left nothing half done that matters.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
