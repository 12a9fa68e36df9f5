//! How many words make the asked tokens: two prompts of known words are sent before the trial, and the server's own
//! count of them is believed. They are counted nowhere.

use std::{num::NonZeroU32, time::Duration};

use hb_core::{orders::LoadShare, record::Kind, trial::RequestSpec};
use hb_services::{
    prompts::{Fit, PromptMaker},
    protocol::{Prompt, Protocol},
};
use tokio::time::{Instant, timeout_at};

use super::{Clock, server::Server};

/// Words of the text that is counted once and twice. Some tokenizers make one token of a word and five of another; over
/// so many words the mean is known to a hundredth. The same text twice has the same words, so that what is left over is
/// what every prompt has, to the token; two texts of different words blurred it by ten.
const WORDS: u32 = 256;
/// Both answers must have come by then.
const WITHIN: Duration = Duration::from_secs(30);
/// An answer of one token is not longer.
const MOST_BYTES: usize = 1024 * 1024;

/// Why no fit was learned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoFit {
    /// The server could not be asked.
    #[error("it failed a request with {0}")]
    Failed(Kind),
    /// Not in time.
    #[error("it did not answer within {} s", WITHIN.as_secs())]
    Late,
    /// Its answer has no count.
    #[error("its answer does not say how many tokens the prompt had")]
    Uncounted,
    /// The counts make no line.
    #[error("it counted {0} tokens in a text of {WORDS} words and {1} in twice that text")]
    Odd(u32, u32),
}

/// Asks `server`.
pub(super) async fn learn(server: &Server, protocol: &dyn Protocol, share: &LoadShare) -> Result<Fit, NoFit> {
    let prompts = PromptMaker::new(&share.request, share.seed, Fit::default());
    let Prompt::Text(once) = prompts.probe(WORDS) else { return Err(NoFit::Uncounted) };
    let twice = format!("{once} {once}");
    let by = Instant::now() + WITHIN;
    let mut counted = [0; 2];
    for (counted, text) in counted.iter_mut().zip([once, twice]) {
        let asked = ask(server, protocol, share, Prompt::Text(text), by);
        *counted = timeout_at(by, asked).await.map_err(|_| NoFit::Late)??;
    }
    let [few, many] = counted;
    Fit::from_two((WORDS, few), (2 * WORDS, many)).ok_or(NoFit::Odd(few, many))
}

/// The tokens that the server counts in a prompt.
async fn ask(server: &Server, protocol: &dyn Protocol, share: &LoadShare, prompt: Prompt, by: Instant) -> Result<u32, NoFit> {
    let mut request = RequestSpec { stream: false, batch: NonZeroU32::MIN, ..share.request.clone() };
    // One short answer is enough, and a least length above one would contradict it.
    ["n", "min_tokens"].iter().for_each(|field| drop(request.sampling.remove(*field)));
    let call = protocol.call(&share.service.model, &request, &[prompt], 1);
    let clock = Clock { start: std::time::Instant::now() };
    let link = server.connect(by, clock).await.map_err(NoFit::Failed)?;
    let (status, body) = link.whole(server.request(call.body), MOST_BYTES).await.map_err(NoFit::Failed)?;
    if !(200..300).contains(&status) {
        return Err(NoFit::Failed(protocol.refusal(status, &body).0));
    }
    let mut reader = protocol.reader(&request);
    reader.feed(&body).map_err(NoFit::Failed)?;
    reader.finish().input_tokens.filter(|tokens| *tokens > 0).ok_or(NoFit::Uncounted)
}
