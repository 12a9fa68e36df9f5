//! The closed loop: clients that ask again some time after each answer, or the last of those that they asked for together,
//! in conversations where a recipe wants turns.

use std::sync::Arc;

use hb_core::{
    record::{Kind, Stage, TURNED_AWAY_PAUSE},
    schedule::presence,
    units::Nanos,
};
use tokio::task::JoinSet;

use super::{drive::Engine, ledger::Due, talk::Talk};

/// Plays client `client`, whenever there is to be one, until the window is over.
pub(super) async fn client(engine: Arc<Engine>, client: u32, limit: Option<u64>) {
    let share = &engine.prepared.share;
    let think = share.load.model.think().0;
    let mut present = presence(&share.load, client).into_iter().peekable();
    let warmup = Nanos::from(share.load.warmup.0);
    let numbers = &share.numbers;
    let since = engine.clock.since;
    let start = engine.clock.instant(since);
    let starting = async {
        // All clients ask at the start, and what opening a connection takes would be in no answer's time but the first.
        if tokio::time::Instant::now() < start && present.peek().is_some_and(|stretch| stretch.start <= since) {
            engine.prepared.connect_ahead(client, start).await;
        }
        tokio::time::sleep_until(start).await;
    };
    let started = engine.ending.unless(starting).await;
    let mut due = if engine.book.epoch() == 0 { since } else { engine.clock.now() };
    let mut asked = 0;
    let mut talk: Option<Talk> = None;
    while started.is_ok() && engine.ending.kind().is_none() {
        while present.next_if(|stretch| stretch.end <= due).is_some() {}
        // There is no such client any more; of the others there may be some.
        let Some(stretch) = present.peek() else { return };
        if due < stretch.start {
            // Who was away does not go on with what was said before.
            (due, talk) = (stretch.start, None);
            if !waited(&engine, tokio::time::sleep_until(engine.clock.instant(due))).await {
                break;
            }
        }
        if due >= engine.prepared.window.end() {
            break;
        }
        let stage = if due < warmup { Stage::Warmup } else { Stage::Measure };
        let supply = &engine.prepared.supply;
        if talk.is_none() && supply.has_conversations() {
            talk = engine.book.next_conversation(numbers).map(|conversation| supply.talk(conversation));
        }
        let turn = talk.as_ref().map(Talk::turn);
        let Some(open) = engine.book.open_next(stage, due, numbers, limit, turn) else { break };
        let index = open.index;
        let made = match &mut talk {
            Some(talk) => supply.ask(talk),
            None => supply.take(index),
        };
        let server = engine.prepared.server_of(client, asked, index);
        let beside = ask_beside(&engine, client, asked, &open, limit);
        asked += 1 + beside.len() as u64;
        let ended = engine.carry_out(open, made, server).await;
        let kind = ended.kind;
        let is_off = beside.join_all().await.into_iter().chain([kind]).flatten().any(is_turned_away);
        // A turn without an answer leaves nothing to go on with: its conversation ends, and a new one begins.
        talk = talk.filter(|_| kind.is_none()).and_then(|talk| talk.answered(&ended.text.unwrap_or_default()));
        let pause = if is_off { think.max(TURNED_AWAY_PAUSE.0) } else { think };
        if !pause.is_zero() && !waited(&engine, tokio::time::sleep(pause)).await {
            break;
        }
        due = engine.clock.now();
    }
    engine.window_over.cancel();
}

/// Asks all that the client asks together with `first`, its request number `asked`: each in a task of its own, so that none
/// is read later for another's sake. The limit may leave fewer.
fn ask_beside(engine: &Arc<Engine>, client: u32, asked: u64, first: &Due, limit: Option<u64>) -> JoinSet<Option<Kind>> {
    let share = &engine.prepared.share;
    let mut beside = JoinSet::new();
    for asked in (asked + 1..).take(share.load.together.get() as usize - 1) {
        let Some(open) = engine.book.open_next(first.stage, first.due, &share.numbers, limit, None) else { break };
        let server = engine.prepared.server_of(client, asked, open.index);
        let engine = engine.clone();
        beside.spawn(async move {
            let _alarm = engine.panic_alarm();
            let made = engine.prepared.supply.take(open.index);
            engine.carry_out(open, made, server).await.kind
        });
    }
    beside
}

/// Whether the server let nobody in.
fn is_turned_away(kind: Kind) -> bool {
    let is_unreachable =
        matches!(kind, Kind::ServerLost | Kind::Connect | Kind::Resolve | Kind::Tls | Kind::ClientLimit | Kind::ConnectTimeout);
    is_unreachable || matches!(kind, Kind::Http(429 | 503))
}

/// Waits, unless load or window end before; whether it did.
async fn waited(engine: &Engine, pause: tokio::time::Sleep) -> bool {
    tokio::select! {
        waited = engine.ending.unless(pause) => waited.is_ok(),
        () = engine.window_passed() => false,
    }
}
