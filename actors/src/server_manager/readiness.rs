//! Whether a server is ready: asked, never slept. Health, then the model, then one real completion, each until it is
//! answered well or the deadline is over; and a second, short one where only it tells a template from words. The same for
//! servers we started and for endpoints that already run.

mod pulling;
mod redirect;
mod version;

use std::{
    error::Error,
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use hb_core::{
    counting::{Counting, LengthsBy, MOST_ADDED},
    http_version::HttpVersion,
    record::Kind,
    trial::{Api, Length, RequestSpec, ServiceSpec},
    units::Span,
};
use hb_services::{
    prompts::{PROBE_WORDS, SHORT_PROBE, SHORT_PROBE_WORDS, probe},
    protocol::Prompt,
    service::{Gathering, Service, Step, request_for},
    tokenize,
};
use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use tokio::time::{Instant, sleep, timeout};

use self::{pulling::Pulling, version::Clients};
use super::own_headers::OwnHeaders;
use crate::{
    body_form::{content_type, encoding},
    trust::{self, TrustError},
};

/// The time a question about health or models has.
const QUESTION_LIMIT: Duration = Duration::from_secs(5);
/// The pause after the first question; it doubles up to the recipe's interval, because some servers are up at once.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The time a first completion has: kernels may be compiled for it (28 s were seen).
const COMPLETION_LIMIT: Duration = Duration::from_secs(120);
/// The tokens of the first completion, where the recipe asks for no fewer.
const FIRST_TOKENS: u32 = 8;
/// How often a few words more are asked, where that does not go well.
const SHORT_TRIES: u32 = 3;
/// Fewer different ids than this make prompts that are too much alike.
const LEAST_IDS: usize = 16;
/// The longest answer to a question, in bytes.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// Everything about the server that is asked.
pub struct Question<'a> {
    /// Its base URL.
    pub url: &'a str,
    /// What it is.
    pub service: &'a dyn Service,
    /// What the recipe says about it.
    pub spec: &'a ServiceSpec,
    /// What its first completion is asked with.
    pub request: &'a RequestSpec,
    /// Headers that it wants, a key among them.
    pub headers: Option<&'a OwnHeaders>,
    /// The time it has from now on.
    pub limit: Span,
}

/// A server that gave its first completion.
#[derive(Debug, Clone, PartialEq)]
pub struct Ready {
    /// How long was asked.
    pub took: Span,
    /// What it told of its tokens, if anything.
    pub counting: Option<Counting>,
    /// What is spoken with it.
    pub http_version: HttpVersion,
}

/// Why a server is not ready.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// The deadline is over.
    #[error("not ready within {limit}: {step} at {url}: {last}")]
    TimedOut {
        /// The limit.
        limit: Span,
        /// What was asked.
        step: String,
        /// Whom.
        url: String,
        /// The last answer, or why there was none.
        last: String,
    },
    /// The answer was such that asking again is useless.
    #[error("{step} at {url}: {why}")]
    Refused {
        /// What was asked.
        step: String,
        /// Whom.
        url: String,
        /// What it said.
        why: String,
    },
    /// Our own side cannot ask.
    #[error("cannot ask over HTTP: {0}")]
    NoClient(String),
    /// Nobody says whom to trust behind `https`.
    #[error("cannot use https: {0}")]
    NoTrust(#[from] TrustError),
}

/// Why one question was not answered well.
enum Trouble {
    /// It may be later.
    Again(String),
    /// It will never be.
    Final(String),
    /// The prompt does not fit the model's context.
    TooLong,
}

/// Asks until the server is ready or the limit is over. `progress` is told what a person waits for.
///
/// # Errors
/// The step that failed, and the last that was heard.
pub async fn ask(question: &Question<'_>, progress: &(dyn Fn(String) + Send + Sync)) -> Result<Ready, NotReady> {
    ask_all(question, &question.service.readiness(question.spec), progress).await
}

/// Asks these questions, until all are answered well or the limit is over.
///
/// # Errors
/// The step that failed, and the last that was heard.
pub async fn ask_all(
    question: &Question<'_>,
    steps: &[Step],
    progress: &(dyn Fn(String) + Send + Sync),
) -> Result<Ready, NotReady> {
    let begun = Instant::now();
    // The load trusts the same.
    let trusted = trust::of_urls([question.url])?;
    let clients = Clients::new(&trusted).map_err(|error| NotReady::NoClient(chain(&error)))?;
    let asking = Asking { question, clients, progress, counting: Mutex::new(None) };
    for step in steps {
        if question.spec.health.enabled || !matches!(step, Step::Healthy { .. }) {
            asking.until(step, begun).await?;
        }
        if matches!(step, Step::Completes) {
            asking.tell_template_apart(begun).await;
        }
    }
    let http_version = asking.clients.version();
    let counting = asking.counting.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Ready { took: Span(begun.elapsed()), counting, http_version })
}

/// A few names for a sentence.
fn named(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    let more = names.len().saturating_sub(SHOWN);
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

struct Asking<'a> {
    question: &'a Question<'a>,
    clients: Clients,
    progress: &'a (dyn Fn(String) + Send + Sync),
    /// Told by the first completion and what was asked beside it.
    counting: Mutex<Option<Counting>>,
}

impl Asking<'_> {
    /// Asks one step until it is answered well.
    async fn until(&self, step: &Step, begun: Instant) -> Result<(), NotReady> {
        let Question { url, limit, spec, .. } = *self.question;
        let mut last = String::new();
        let mut pause = FIRST_PAUSE;
        loop {
            let Some(left) = limit.0.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) else {
                return Err(NotReady::TimedOut { limit, step: Named(step).to_string(), url: url.to_owned(), last });
            };
            let patience = match step {
                Step::Healthy { .. } | Step::ModelListed { .. } | Step::Gathered { .. } => left.min(QUESTION_LIMIT),
                Step::Completes => left.min(COMPLETION_LIMIT),
                // A model of a hundred gigabytes takes its time, and tells of it.
                Step::ModelPulled { .. } => left,
            };
            let why = match timeout(patience, self.once(step)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(Trouble::Final(why))) => {
                    return Err(NotReady::Refused { step: Named(step).to_string(), url: url.to_owned(), why });
                }
                Ok(Err(Trouble::Again(why))) => why,
                Ok(Err(Trouble::TooLong)) => "its context is too short for the shortest prompt".to_owned(),
                // The deadline cut it short: what was answered before says more.
                Err(_) if patience == left && !last.is_empty() => last.clone(),
                Err(_) => format!("no answer within {}", Span(Duration::from_millis(patience.as_millis() as u64))),
            };
            if why != last {
                (self.progress)(format!("{}: {why}", Named(step)));
                last = why;
            }
            let left = limit.0.saturating_sub(begun.elapsed());
            sleep(pause.min(spec.health.interval.0).min(left)).await;
            pause = pause.saturating_mul(2);
        }
    }

    async fn once(&self, step: &Step) -> Result<(), Trouble> {
        match step {
            Step::Healthy { path } => self.get(path).await.map(drop),
            Step::ModelListed { path } => self.model(path).await,
            Step::ModelPulled { list_path, path, body } => match self.is_listed(list_path).await? {
                true => Ok(()),
                false => self.pull(path, body).await,
            },
            Step::Completes => self.complete().await,
            Step::Gathered { path, nodes } => self.gathered(path, *nodes).await,
        }
    }

    /// Whether the model is there, by the list or by its own name: some servers answer to names that they do not list.
    async fn model(&self, path: &str) -> Result<(), Trouble> {
        let Question { service, spec, .. } = *self.question;
        let (status, body) = self.got(path).await?;
        if !status.is_success() {
            if !spec.endpoints.is_empty() && matches!(status.as_u16(), 404 | 405) {
                (self.progress)(format!("it has no {path}; whether it has the model, the first completion tells"));
                return Ok(());
            }
            return Err(self.refusal(status, &body, is_final_for_a_question(status)));
        }
        let model = &spec.model;
        if service.lists_model(&body, model) {
            return Ok(());
        }
        match service.settled_models(&body).as_slice() {
            [] => Err(Trouble::Again(format!("it does not list the model `{model}`"))),
            others => match self.got(&format!("{path}/{model}")).await {
                Ok((status, _)) if status.is_success() => Ok(()),
                _ => Err(Trouble::Final(format!("it has no model `{model}`; it lists {}", named(others)))),
            },
        }
    }

    async fn gathered(&self, path: &str, nodes: u32) -> Result<(), Trouble> {
        let body = self.get(path).await?;
        match self.question.service.gathered(&body, nodes, self.question.spec) {
            Gathering::Whole => Ok(()),
            Gathering::Incomplete(why) => Err(Trouble::Again(why)),
            Gathering::Refused(why) => Err(Trouble::Final(why)),
        }
    }

    async fn is_listed(&self, path: &str) -> Result<bool, Trouble> {
        let body = self.get(path).await?;
        Ok(self.question.service.lists_model(&body, &self.question.spec.model))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        // Endpoints are often written with the `/v1` that the path has, too.
        let base = self.question.url.trim_end_matches('/');
        let base =
            if path.starts_with("/v1/") || path == tokenize::PATH { base.strip_suffix("/v1").unwrap_or(base) } else { base };
        let slash = if path.starts_with('/') { "" } else { "/" };
        let request = self.clients.client().request(method, format!("{base}{slash}{path}"));
        match self.question.headers {
            Some(own) => request.headers(own.map()),
            None => request,
        }
    }

    fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
        self.request(Method::POST, path).header(header::CONTENT_TYPE, "application/json").body(body)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Trouble> {
        let came = async {
            let request = request.build()?;
            let again = request.try_clone();
            let came = self.clients.client().execute(request).await;
            match again {
                Some(again) if self.clients.is_other(self.question.url, &came).await => {
                    self.clients.client().execute(again).await
                }
                _ => came,
            }
        };
        came.await.map_err(|error| {
            let is_ours = error.is_builder();
            let error = error.without_url();
            match trust::refused(&error) {
                Some(why) => Trouble::Final(why),
                None if is_ours => Trouble::Final(chain(&error)),
                None => Trouble::Again(chain(&error)),
            }
        })
    }

    /// The body of an answer that is well.
    async fn get(&self, path: &str) -> Result<Vec<u8>, Trouble> {
        let (status, body) = self.got(path).await?;
        if status.is_success() { Ok(body) } else { Err(self.refusal(status, &body, is_final_for_a_question(status))) }
    }

    /// An answer of whatever status, with its body.
    async fn got(&self, path: &str) -> Result<(StatusCode, Vec<u8>), Trouble> {
        let answer = self.send(self.request(Method::GET, path)).await?;
        if answer.status().is_redirection() {
            return Err(Trouble::Again(self.redirection(&answer, path)));
        }
        Ok((answer.status(), whole(answer).await?))
    }

    /// What a server that points elsewhere says, and what to write for it.
    fn redirection(&self, answer: &Response, path: &str) -> String {
        let protocol = hb_services::protocol(self.question.service.protocol());
        let (kind, _) = protocol.refusal(answer.status().as_u16(), b"");
        format!("{kind}: {}", redirect::sentence(answer, path))
    }

    /// A refusal in the words of the protocol.
    fn refusal(&self, status: StatusCode, body: &[u8], is_final: bool) -> Trouble {
        let protocol = hb_services::protocol(self.question.service.protocol());
        let (kind, message) = protocol.refusal(status.as_u16(), body);
        let why = match message {
            Some(message) => format!("{kind}: {message}"),
            None => kind.to_string(),
        };
        if is_final { Trouble::Final(why) } else { Trouble::Again(why) }
    }

    /// Brings the model, line by line.
    async fn pull(&self, path: &str, body: &str) -> Result<(), Trouble> {
        let mut answer = self.send(self.post(path, body.to_owned())).await?;
        let status = answer.status();
        if !status.is_success() {
            return Err(self.refusal(status, &whole(answer).await?, is_final_for_a_request(status)));
        }
        let mut pulling = Pulling::new(self.question.service, self.progress);
        while let Some(bytes) = answer.chunk().await.map_err(|error| Trouble::Again(chain(&error)))? {
            if pulling.feed(&bytes)? {
                return Ok(());
            }
        }
        // The last line may lack its end.
        if pulling.feed(b"\n")? { Ok(()) } else { Err(Trouble::Again("the pull ended without saying that it is done".into())) }
    }

    /// One real completion, through the very reader of the load path. Its prompt holds every word that prompts are made
    /// of, so that the server's count of it tells how many words make the tokens that are asked for.
    async fn complete(&self) -> Result<(), Trouble> {
        let text = probe(0);
        let ids = self.tokenized(&text).await;
        let counting = match &ids {
            Some(ids) => self.complete_with_ids(ids).await,
            None => None,
        };
        let counting = match counting {
            Some(counting) => Some(counting),
            None => {
                let counted = match self.complete_with(&Prompt::Text(text)).await {
                    // A model of a short context is ready all the same.
                    Err(Trouble::TooLong) => self.complete_with(&Prompt::Text("Hello".into())).await.map(|_| None),
                    counted => counted,
                };
                self.counted_words(ids.as_deref(), counted?)
            }
        };
        *self.counting.lock().unwrap_or_else(PoisonError::into_inner) = counting;
        Ok(())
    }

    /// Asks a few words more where lengths go by the usage and a template is put around prompts: of one count nobody can say
    /// which tokens are whose. Whatever else comes of it, the server is ready, and the first count is all that is known.
    async fn tell_template_apart(&self, begun: Instant) {
        let known = || self.counting.lock().unwrap_or_else(PoisonError::into_inner);
        let has_template = hb_services::protocol(self.question.service.protocol()).has_template(self.question.request);
        let Some(counting) = known().clone().filter(|counting| has_template && counting.by == LengthsBy::Usage) else { return };
        let left = self.question.limit.0.saturating_sub(begun.elapsed());
        if let Ok(Some(tokens)) = timeout(left.min(COMPLETION_LIMIT), self.short_count()).await {
            *known() = Some(counting.told_apart(SHORT_PROBE_WORDS, tokens));
        }
    }

    /// The tokens that the server counts in a few words, if it answers one of several tries: some close a kept connection just
    /// when it is used again.
    async fn short_count(&self) -> Option<u32> {
        for _ in 0..SHORT_TRIES {
            match self.complete_with(&Prompt::Text(SHORT_PROBE.into())).await {
                Ok(tokens) => return tokens,
                Err(Trouble::Again(_)) => sleep(FIRST_PAUSE).await,
                Err(Trouble::Final(_) | Trouble::TooLong) => return None,
            }
        }
        None
    }

    /// The server's own ids of a text, if it tells them.
    async fn tokenized(&self, text: &str) -> Option<Vec<u32>> {
        let path = self.question.service.tokenize_path()?;
        let asked = self.post(path, tokenize::body(&self.question.spec.model, text));
        let answer = async {
            let answer = self.send(asked).await.ok().filter(|answer| answer.status().is_success())?;
            whole(answer).await.ok()
        };
        tokenize::ids(&timeout(QUESTION_LIMIT, answer).await.ok()??)
    }

    /// The first completion, asked by ids: what it tells, if the server takes them as what they are. Whatever else comes
    /// of it, a text is asked then.
    async fn complete_with_ids(&self, ids: &[u32]) -> Option<Counting> {
        let request = self.question.request;
        if request.api != Api::Completions || request.turns.is_some() {
            return None;
        }
        let count = ids.len() as u32;
        let prompt = Prompt::TokenIds(ids.to_vec());
        let counted = timeout(COMPLETION_LIMIT / 2, self.complete_with(&prompt)).await.ok()?.ok()?;
        // A server that reads the list as something else counts something else.
        let overhead = counted.unwrap_or(count).checked_sub(count).filter(|overhead| *overhead <= MOST_ADDED)?;
        let mut different = ids.to_vec();
        different.sort_unstable();
        different.dedup();
        let counting = self.counted_words(Some(ids), Some(count + overhead))?;
        (different.len() >= LEAST_IDS).then_some(Counting { ids: different, ..counting })
    }

    /// What is known of words by the ids of all of them, or by the tokens that a completion of them had.
    fn counted_words(&self, ids: Option<&[u32]>, counted: Option<u32>) -> Option<Counting> {
        let Question { service, request, .. } = *self.question;
        let (by, tokens) = match ids {
            Some(ids) => (LengthsBy::Tokenize, ids.len() as u32),
            None => (LengthsBy::Usage, counted?),
        };
        // What a server adds to a prompt beside a template nobody asked for, and the verdict is to see it.
        let most = if hb_services::protocol(service.protocol()).has_template(request) { u32::MAX } else { MOST_ADDED };
        let overhead = counted.and_then(|counted| counted.checked_sub(tokens)).filter(|added| *added <= most).unwrap_or(0);
        let tokens_per_word = f64::from(tokens) / f64::from(PROBE_WORDS);
        Some(Counting { by, tokens_per_word, overhead, api: request.api, ids: Vec::new(), words: None })
    }

    /// A completion of this prompt; the tokens that the server counts in one such prompt, if it does.
    async fn complete_with(&self, prompt: &Prompt) -> Result<Option<u32>, Trouble> {
        let Question { service, spec, .. } = *self.question;
        let request = request_for(service, spec, self.question.request);
        let protocol = hb_services::protocol(service.protocol());
        let batch = request.batch.get();
        let prompts: Vec<Prompt> = (0..batch).map(|_| prompt.clone()).collect();
        let call = protocol.call(&spec.model, &request, &prompts, first_tokens(&request));
        let mut answer = self.send(self.post(call.path, call.body)).await?;
        let status = answer.status();
        if status.is_redirection() {
            return Err(Trouble::Final(self.redirection(&answer, call.path)));
        }
        if !status.is_success() {
            let body = whole(answer).await?;
            if protocol.refusal(status.as_u16(), &body).0 == Kind::ContextLength {
                return Err(Trouble::TooLong);
            }
            let refused = self.refusal(status, &body, is_final_for_a_request(status));
            return Err(match (refused, protocol.advice(&String::from_utf8_lossy(&body))) {
                (Trouble::Final(why), Some(advice)) => Trouble::Final(format!("{why}; {advice}")),
                (refused, _) => refused,
            });
        }
        let mut reader = protocol.reader(&request);
        reader.begin(content_type(answer.headers()));
        let encoding = encoding(answer.headers());
        while let Some(bytes) = answer.chunk().await.map_err(|error| Trouble::Again(chain(&error)))? {
            if reader.feed(&bytes).is_ok_and(|progress| !progress.is_over) {
                continue;
            }
            break;
        }
        let answer = reader.finish().of_whole_body(encoding.as_deref());
        let is_final = answer.is_of_wrong_form();
        let why = match (answer.kind, answer.message) {
            (None, _) => return Ok(answer.input_tokens.map(|tokens| tokens / batch).filter(|tokens| *tokens > 0)),
            (Some(kind), Some(message)) => format!("{kind}: {message}"),
            (Some(kind), None) => kind.to_string(),
        };
        Err(if is_final { Trouble::Final(why) } else { Trouble::Again(why) })
    }
}

/// As few tokens as make an answer, but never fewer than the recipe's own minimum.
fn first_tokens(request: &RequestSpec) -> u32 {
    let most = match request.gen_tokens {
        Length::Fixed(tokens) => tokens,
        Length::Uniform(_, most) => most,
        Length::Normal(..) | Length::Lognormal(..) => FIRST_TOKENS,
    };
    let least = request.sampling.get("min_tokens").and_then(serde_json::Value::as_u64).unwrap_or(0);
    most.clamp(1, FIRST_TOKENS).max(u32::try_from(least).unwrap_or(u32::MAX))
}

/// A server that does not let us in will not do so later. Everything else may be a start under way.
fn is_final_for_a_question(status: StatusCode) -> bool {
    matches!(status.as_u16(), 401 | 403)
}

/// A server that says the request itself is wrong will say so again.
fn is_final_for_a_request(status: StatusCode) -> bool {
    status.is_client_error() && !matches!(status.as_u16(), 408 | 425 | 429 | 499)
}

async fn whole(mut answer: Response) -> Result<Vec<u8>, Trouble> {
    let mut body = Vec::new();
    while let Some(bytes) = answer.chunk().await.map_err(|error| Trouble::Again(chain(&error)))? {
        body.extend_from_slice(&bytes);
        if body.len() > MAX_ANSWER_BYTES {
            return Err(Trouble::Again(format!("the answer is longer than {MAX_ANSWER_BYTES} bytes")));
        }
    }
    Ok(body)
}

/// The last cause says what the first ones only hint at.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// A step in words.
struct Named<'a>(&'a Step);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Step::Healthy { path } => write!(f, "asking {path}"),
            Step::ModelListed { path } => write!(f, "looking for the model in {path}"),
            Step::ModelPulled { path, .. } => write!(f, "pulling the model with {path}"),
            Step::Completes => f.write_str("the first completion"),
            Step::Gathered { path, nodes } => write!(f, "waiting for {nodes} nodes of its cluster in {path}"),
        }
    }
}

#[cfg(test)]
mod tests;
