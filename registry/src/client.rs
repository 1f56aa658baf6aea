//! A registry: where its API is, and one call to it with all that belongs to it.

use std::sync::{Mutex, PoisonError};

use ureq::http::Uri;
use ureq::http::uri::Scheme;

use crate::authorization::{Authorization, Call};
use crate::credentials::Credentials;
use crate::http::{Answer, Http, Proxies, Request, host_of, same_place};
use crate::{Error, Host, Patience, Repository, Result};

#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Take any certificate, and do without TLS where there is none.
    pub insecure: bool,
    pub patience: Patience,
}

/// A registry. May be used from several threads; connections and tokens are shared.
pub struct Registry {
    host: Host,
    http: Http,
    authorization: Authorization,
    insecure: bool,
    /// Once it is known which.
    scheme: Mutex<Option<Scheme>>,
}

impl Registry {
    /// `name` is its host and port as image names have it. Nothing is sent yet.
    pub fn new(name: &str, credentials: Credentials, options: Options) -> Result<Registry> {
        let host = Host::parse(name)?;
        let proxies = if host.is_loopback() { Proxies::None } else { Proxies::Environment };
        let http = Http::new(options.patience, options.insecure, proxies);
        let authorization = Authorization::new(credentials);
        Ok(Registry { host, http, authorization, insecure: options.insecure, scheme: Mutex::default() })
    }

    pub fn host(&self) -> &Host {
        &self.host
    }

    /// One of its repositories, such as `library/debian`.
    pub fn repository<'r>(&'r self, name: &'r str) -> Repository<'r> {
        Repository::new(self, name)
    }

    /// Sees whether the credentials are good.
    pub fn check_login(&self) -> Result<()> {
        let action = "log in";
        let answer = self.call(action, &[], &mut Request::get, "/v2/")?;
        match answer.status {
            200..300 => Ok(()),
            401 | 403 => Err(Error::WrongPassword { host: self.host.name().into(), message: answer.message }),
            404 => Err(Error::NotFound { host: self.host.name().into(), what: "a registry (/v2/)".into() }),
            _ => Err(self.refusal(answer, action, "/v2/")),
        }
    }

    pub(crate) fn http(&self) -> &Http {
        &self.http
    }

    /// Sends a request to a path of the API, with what authorizes it, and once more if that was not enough. Answers
    /// that are errors come back like others.
    pub(crate) fn call<'a>(
        &self,
        action: &str,
        scopes: &[String],
        request: &mut dyn FnMut(Uri) -> Request<'a>,
        path: &str,
    ) -> Result<Answer> {
        let url = format!("{}{path}", self.base()?);
        let url: Uri = url.parse().map_err(|_| Error::Host(crate::error::shown(&url)))?;
        self.authorized(action, scopes, request, url, &|request| self.http.send(request))
    }

    /// The same for an address that the registry has given, and without repeating what fails. Credentials only go
    /// to the registry itself.
    pub(crate) fn call_url_once<'a>(
        &self,
        action: &str,
        scopes: &[String],
        request: &mut dyn FnMut(Uri) -> Request<'a>,
        url: Uri,
    ) -> Result<Answer> {
        self.authorized(action, scopes, request, url, &|request| self.http.send_once(request))
    }

    fn authorized<'a>(
        &self,
        action: &str,
        scopes: &[String],
        request: &mut dyn FnMut(Uri) -> Request<'a>,
        url: Uri,
        send: &dyn Fn(&Request) -> Result<Answer>,
    ) -> Result<Answer> {
        let registry = self.base_url()?;
        let own = same_place(&url, &registry);
        let call = Call { http: &self.http, host: &self.host, registry: &registry, scopes, action };
        let mut used = match own {
            true => self.authorization.header(&call)?,
            false => None,
        };
        let mut attempted = false;
        loop {
            let request = Request { authorization: used.clone(), ..request(url.clone()) };
            let answer = send(&request)?;
            if answer.status != 401 || !own {
                return Ok(answer);
            }
            // What a redirect has led to may be anybody's, and could name a token server of its own.
            let better = match attempted || !same_place(&answer.url, &registry) {
                true => None,
                false => self.authorization.answer(&call, &answer.headers, used.as_ref())?,
            };
            match better {
                Some(header) => used = Some(header),
                None => return Err(self.refusal(answer, action, "")),
            }
            attempted = true;
        }
    }

    /// What an answer means that is no success. `what` was asked for.
    pub(crate) fn refusal(&self, answer: Answer, action: &str, what: &str) -> Error {
        let (host, action) = (self.host.name().to_owned(), action.to_owned());
        let has_login = self.authorization.has_login();
        let wait = answer.retry_after();
        let elsewhere = self.base_url().is_ok_and(|registry| !same_place(&answer.url, &registry));
        let to = host_of(&answer.url);
        let (status, message) = (answer.status, answer.message);
        match status {
            401 if elsewhere => Error::LoginElsewhere { host, to, message },
            403 if elsewhere => Error::Status { host: to, status, action, message },
            401 if has_login => Error::LoginRefused { login: host.clone(), host, action },
            401 => Error::LoginNeeded { login: host.clone(), host, action },
            403 if !has_login => Error::LoginNeeded { login: host.clone(), host, action },
            403 => Error::Denied { host, action, message },
            404 => Error::NotFound { host, what: what.to_owned() },
            429 => Error::TooManyRequests { host, wait, message },
            _ => Error::Status { host, status, action, message },
        }
    }

    fn base_url(&self) -> Result<Uri> {
        self.base()?.parse().map_err(|_| Error::Host(self.host.name().to_owned()))
    }

    /// `SCHEME://HOST[:PORT]`. On loopback, and with `insecure`, it has to be found out which scheme.
    fn base(&self) -> Result<String> {
        let mut known = self.scheme.lock().unwrap_or_else(PoisonError::into_inner);
        let scheme = match &*known {
            Some(scheme) => scheme.clone(),
            None => known.insert(self.find_scheme()?).clone(),
        };
        Ok(format!("{scheme}://{}", self.host.address()))
    }

    fn find_scheme(&self) -> Result<Scheme> {
        let loopback = self.host.is_loopback();
        let (first, second) = match (loopback, self.insecure) {
            // A registry on loopback hardly ever has TLS, and there is nobody to keep secrets from on the way.
            (true, _) => (Scheme::HTTP, Scheme::HTTPS),
            (false, true) => (Scheme::HTTPS, Scheme::HTTP),
            (false, false) => return Ok(Scheme::HTTPS),
        };
        match self.greet(&first) {
            Ok(true) => Ok(first),
            // It speaks TLS, but not so that we could go on; or nobody is there at all.
            Err(error) if is_about_trust(&error) => Err(error),
            Err(error @ Error::Unreachable { .. }) if self.has_port() => Err(error),
            tried => match self.greet(&second) {
                Ok(true) => Ok(second),
                Err(error) if is_about_trust(&error) => Err(error),
                second => Err(tried.err().or(second.err()).unwrap_or_else(|| Error::NotFound {
                    host: self.host.name().to_owned(),
                    what: "a registry".into(),
                })),
            },
        }
    }

    fn has_port(&self) -> bool {
        let authority = self.host.address().parse::<ureq::http::uri::Authority>();
        authority.is_ok_and(|authority| authority.port().is_some())
    }

    /// Whether there is a registry behind that scheme. A server that expects TLS answers 400 to what is none.
    fn greet(&self, scheme: &Scheme) -> Result<bool> {
        let url = format!("{scheme}://{}/v2/", self.host.address());
        let url: Uri = url.parse().map_err(|_| Error::Host(self.host.name().to_owned()))?;
        let answer = self.http.send_once(&Request::get(url.clone()))?;
        if answer.status == 401 && same_place(&answer.url, &url) {
            self.authorization.learn(&answer.headers);
        }
        Ok(answer.status != 400)
    }
}

fn is_about_trust(error: &Error) -> bool {
    matches!(error, Error::Certificate { .. } | Error::Clock { .. } | Error::NoAuthorities(_))
}
