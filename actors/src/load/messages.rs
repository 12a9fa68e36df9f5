//! What servers said about failed requests: the first of each kind, with advice, for a person to read.

use std::collections::HashSet;

use hb_core::{facts::Fact, record::Kind};

/// Names of other models that are told: a server could name another in each of a million answers.
const NAMES_TOLD: usize = 8;

/// Messages that were not told yet.
#[derive(Debug, Default)]
pub(super) struct Messages {
    told: HashSet<Kind>,
    other_models: HashSet<String>,
    untold: Vec<Fact>,
}

impl Messages {
    /// Keeps the first message of its kind.
    pub fn add(&mut self, kind: Kind, message: &str, server: &str) {
        if self.told.insert(kind) {
            let advice = advice(kind).map(|advice| format!(" ({advice})")).unwrap_or_default();
            let what = format!("`{server}` failed a request with {kind}: {message}{advice}; others like it are only counted");
            self.untold.push(Fact::Warned { what });
        }
    }

    /// Another model answered than was asked; told once for each of its first names.
    pub fn other_model(&mut self, asked: &str, answered: &str, server: &str) {
        if self.other_models.len() == NAMES_TOLD || self.other_models.contains(answered) {
            return;
        }
        self.other_models.insert(answered.to_owned());
        let last = if self.other_models.len() == NAMES_TOLD { "; further names are not told" } else { "" };
        let what = format!("`{server}` was asked for the model `{asked}` and says that `{answered}` answered{last}");
        self.untold.push(Fact::OtherModel { answered: answered.to_owned(), what });
    }

    /// This machine has no file or port left for a connection; told once.
    pub fn no_connection_left(&mut self) {
        if self.told.insert(Kind::ClientLimit) {
            let what = "this machine had no open file or port left for a connection, which is no fault of the server: raise \
                        `ulimit -Hn` and net.ipv4.ip_local_port_range, or ask for less at a time; others like it are only counted";
            self.untold.push(Fact::Warned { what: what.to_owned() });
        }
    }

    pub fn take(&mut self) -> Vec<Fact> {
        std::mem::take(&mut self.untold)
    }
}

fn advice(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::ContextLength => Some("ask for a shorter `prompt_len` or `gen_tokens`, or raise the server's context"),
        Kind::Http(401 | 403) => {
            Some("name the key's place by `servers.api_key_env`, or that of a header of the server's own by `servers.headers`")
        }
        Kind::Http(404) => Some("look at the model's name, and whether the server knows this operation"),
        Kind::Http(422 | 400) => Some("the server does not take this request; look at `workload.sampling`"),
        Kind::Http(429) => Some("the server limits its clients; ask for less"),
        Kind::Http(503) => Some("the server says that it is not ready or overloaded"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(messages: &mut Messages) -> Vec<String> {
        let what = |fact| match fact {
            Fact::OtherModel { what, .. } | Fact::Warned { what } => what,
            other => panic!("{other:?}"),
        };
        messages.take().into_iter().map(what).collect()
    }

    #[test]
    fn a_server_that_names_ever_new_models_is_told_of_a_few_times() {
        let mut messages = Messages::default();
        (0..1000).for_each(|name| messages.other_model("m", &name.to_string(), "http://a"));
        let told = said(&mut messages);
        assert_eq!((told.len(), messages.other_models.len()), (NAMES_TOLD, NAMES_TOLD));
        assert!(told[NAMES_TOLD - 1].ends_with("`7` answered; further names are not told"), "{told:?}");
    }

    #[test]
    fn the_first_message_of_each_kind_is_told_once() {
        let mut messages = Messages::default();
        messages.add(Kind::Http(401), "no key", "http://a");
        messages.add(Kind::Http(401), "still no key", "http://b");
        messages.add(Kind::ErrorEvent, "out of memory", "http://a");
        let told = said(&mut messages);
        assert_eq!(told.len(), 2);
        assert!(told[0].contains("`http://a` failed a request with http_401: no key (name the key's place"), "{}", told[0]);
        assert!(told[1].contains("error_event: out of memory; others"), "{}", told[1]);
        messages.add(Kind::Http(401), "again", "http://a");
        assert!(messages.take().is_empty());
        messages.no_connection_left();
        messages.no_connection_left();
        assert_eq!(messages.take().len(), 1);
    }
}
