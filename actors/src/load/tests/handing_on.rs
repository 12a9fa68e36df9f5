//! What a share does when nodes or servers are lost: joins late, leaves a server, waits for its leader.

use super::*;
use crate::lease::Lease;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_that_joins_late_sends_what_is_due_from_then_on_and_nothing_else() {
    let server = server(Answer::Keep(whole())).await;
    let stop = Stop::After(Span::from_millis(400));
    let mut share = share(LoadModel::Open { rate: 200.0, arrivals: Arrivals::Poisson }, stop, &server.url);
    share.numbers = Numbers::new(1, NonZeroU64::new(3).unwrap());
    let since = Nanos(200_000_000);
    let schedule = Schedule::of(&share.load, share.seed).unwrap();
    let expected: Vec<_> =
        schedule.of_numbers(&share.numbers).filter(|due| due.at >= since).map(|due| (due.index, due.at)).collect();
    // It is told so late that some of it is due already.
    let clock = Clock::beginning(Instant::now() - Duration::from_millis(250)).joining(since);
    let batches = told(Prepared::new(share, None).unwrap(), &Ledger::new(source()), clock).await;
    let mut sent: Vec<_> = rows(&batches).iter().map(|row| (row.index, row.due)).collect();
    sent.sort_unstable();
    assert_eq!(sent, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_join_late_begin_then_and_use_their_own_numbers() {
    let server = server(Answer::Keep(whole())).await;
    let mut share = closed(2, Stop::Requests(100), &server.url);
    share.numbers = Numbers::new(1 << 20, NonZeroU64::new(4).unwrap());
    share.requests = Some(7);
    let since = Nanos(50_000_000);
    let clock = Clock::beginning(Instant::now()).joining(since);
    let batches = told(Prepared::new(share, None).unwrap(), &Ledger::new(source()), clock).await;
    let mut rows = rows(&batches);
    rows.sort_by_key(|row| row.index);
    assert_eq!(rows.iter().map(|row| row.index).collect::<Vec<_>>(), (0..7).map(|turn| (1 << 20) + 4 * turn).collect::<Vec<_>>());
    assert!(rows.iter().all(|row| row.due >= since && row.sent >= Some(since)), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_left_keeps_nobody_and_is_asked_no_more() {
    let (silent, whole_one) = (server(Answer::Hang(String::new())).await, server(Answer::Keep(whole())).await);
    let mut share = closed(4, Stop::Requests(40), &silent.url);
    share.servers.push(whole_one.url.clone());
    (share.load.timeouts.first_byte, share.load.timeouts.total) = (Span::from_secs(60), Span::from_secs(60));
    let prepared = Arc::new(Prepared::new(share, None).unwrap());
    let ledger = Ledger::new(source());
    let clock = Clock::beginning(Instant::now());
    let load = tokio::spawn(drive(prepared.clone(), ledger.clone(), clock, CancellationToken::new(), PanicSwitch::default()));
    while silent.requests.load(std::sync::atomic::Ordering::SeqCst) < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    prepared.leave_server(0);
    load.await.unwrap().unwrap();
    let rows = rows(&ledger.cut(clock.now(), true));
    assert_eq!(rows.len(), 40);
    let lost: Vec<_> = rows.iter().filter(|row| row.kind.is_some()).map(|row| (row.kind, row.outcome, row.server)).collect();
    assert_eq!(lost, [(Some(Kind::ServerLost), Outcome::Failed, Some(0)); 2], "what was in flight there");
    assert_eq!(silent.requests.load(std::sync::atomic::Ordering::SeqCst), 2, "nothing more is sent there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_word_from_its_leader_a_share_sends_nothing_new() {
    let server = server(Answer::Keep(whole())).await;
    let lease = Lease::ended();
    let prepared = Prepared::new(closed(2, Stop::Requests(6), &server.url), None).unwrap().under(lease.clone());
    let ledger = Ledger::new(source());
    let clock = Clock::beginning(Instant::now());
    let load = tokio::spawn(drive(Arc::new(prepared), ledger.clone(), clock, CancellationToken::new(), PanicSwitch::default()));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(server.requests.load(std::sync::atomic::Ordering::SeqCst), 0);
    lease.answers(1);
    lease.renew(1);
    load.await.unwrap().unwrap();
    let rows = rows(&ledger.cut(clock.now(), true));
    assert_eq!(rows.iter().filter(|row| row.outcome == Outcome::Completed).count(), 6, "they were late, and not lost");
}
