//! The open loop: one pacer walks the schedule and never waits for an answer.

use std::{collections::VecDeque, pin::pin, sync::Arc};

use hb_core::{
    record::{Kind, Outcome},
    schedule,
    units::Nanos,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};

use super::{LoadError, drive::Engine, ledger::Due, pacer::Pacer};

/// A sender that comes to a request so long after the window's end has missed it.
const SENDER_GRACE_NANOS: u64 = 100_000_000;

/// Walks this executor's part of the schedule to the window's end.
pub(super) async fn pace(engine: &Arc<Engine>, tasks: &mut JoinSet<()>, schedule: &schedule::Schedule) -> Result<(), LoadError> {
    let share = &engine.prepared.share;
    let first = engine.book.next_scheduled();
    let began = engine.clock.now();
    let is_restart = engine.book.epoch() > 0;
    let permits = share.max_in_flight.map(|limit| Arc::new(Semaphore::new(limit as usize)));
    let window = &engine.prepared.window;
    let mut waiting: VecDeque<Due> = VecDeque::new();
    let mut last = began;
    let mut is_first = true;
    let since = engine.clock.since;
    let ahead = schedule.of_numbers(&share.numbers).filter(move |due| due.index >= first && due.at >= since);
    let mut pacer = Pacer::start(ahead, engine.clock)?;
    let (mut is_halted, mut is_over) = (false, false);
    let mut passed = pin!(engine.window_passed());
    loop {
        let due = tokio::select! {
            biased;
            () = passed.as_mut(), if !is_over => {
                // The schedule may go on behind a window that was ended before its time.
                is_over = true;
                pacer.stop();
                continue;
            }
            () = engine.halted(), if !is_halted => {
                is_halted = true;
                pacer.stop();
                continue;
            }
            permit = permit(permits.as_ref()), if !waiting.is_empty() && !is_halted => {
                start(engine, tasks, waiting.pop_front().map(|due| held(engine, due)), permit);
                continue;
            }
            due = pacer.due() => match due {
                Some(due) => due,
                None => break,
            },
        };
        if engine.failed.is_cancelled() {
            // The next life says what becomes of this one and those after it.
            return Ok(());
        }
        if due.at >= window.end() && !is_halted {
            continue;
        }
        last = due.at;
        if is_restart && due.at < began {
            // It was due while nobody was there to send it.
            end_unsent(engine, due, Outcome::Lost, Kind::ExecutorLost);
            continue;
        }
        if std::mem::take(&mut is_first) {
            engine.prepared.supply.forget_before(due.index);
        }
        while tasks.try_join_next().is_some_and(|joined| joined.is_ok()) {}
        if is_halted {
            end_unsent(engine, due, Outcome::Cancelled, Kind::Stopped);
            continue;
        }
        if engine.clock.now().0 > window.end().0.saturating_add(SENDER_GRACE_NANOS) {
            end_unsent(engine, due, Outcome::Dropped, Kind::SenderLate);
            continue;
        }
        let Some(open) = engine.book.open_scheduled(due.index, due.stage, due.at) else { break };
        match &permits {
            None => start(engine, tasks, Some(open), None),
            Some(permits) => match permits.clone().try_acquire_owned() {
                Ok(permit) if waiting.is_empty() => start(engine, tasks, Some(open.held(Nanos(0))), Some(permit)),
                Ok(permit) => {
                    waiting.push_back(open);
                    start(engine, tasks, waiting.pop_front().map(|due| held(engine, due)), Some(permit));
                }
                Err(_) => waiting.push_back(open),
            },
        }
    }
    let end = Some(window.end()).filter(|end| end.0 < u64::MAX).unwrap_or(last);
    let end = engine.clock.instant(end);
    while !waiting.is_empty() {
        tokio::select! {
            biased;
            () = engine.halted() => break,
            () = tokio::time::sleep_until(end) => break,
            permit = permit(permits.as_ref()) => {
                start(engine, tasks, waiting.pop_front().map(|due| held(engine, due)), permit);
            }
        }
    }
    let is_stopped = engine.ending.kind().is_some();
    for due in waiting {
        if is_stopped {
            due.end_unsent(Outcome::Cancelled, Kind::Stopped);
        } else {
            due.end_unsent(Outcome::Dropped, Kind::MaxInFlight);
        }
    }
    Ok(())
}

fn end_unsent(engine: &Engine, due: schedule::Due, outcome: Outcome, kind: Kind) {
    if let Some(open) = engine.book.open_scheduled(due.index, due.stage, due.at) {
        open.end_unsent(outcome, kind);
    }
}

/// A request that waited until now for another one to end.
fn held(engine: &Engine, due: Due) -> Due {
    let since = due.due;
    due.held(Nanos(engine.clock.now().0.saturating_sub(since.0)))
}

async fn permit(permits: Option<&Arc<Semaphore>>) -> Option<OwnedSemaphorePermit> {
    permits?.clone().acquire_owned().await.ok()
}

fn start(engine: &Arc<Engine>, tasks: &mut JoinSet<()>, due: Option<Due>, permit: Option<OwnedSemaphorePermit>) {
    let Some(due) = due else { return };
    let engine = engine.clone();
    tasks.spawn(async move {
        let _alarm = engine.panic_alarm();
        let _permit = permit;
        let made = engine.prepared.supply.take(due.index);
        let server = engine.prepared.server_of_scheduled(due.index);
        engine.carry_out(due, made, server).await;
    });
}
