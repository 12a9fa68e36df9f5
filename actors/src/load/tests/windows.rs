//! Warm-up, think time, shares of one load, and lives of one share.

use hb_core::units::Nanos;

use super::*;

fn open(rate: f64, millis: u64, url: &str) -> LoadShare {
    share(LoadModel::Open { rate, arrivals: Arrivals::Constant }, Stop::After(Span::from_millis(millis)), url)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn warm_up_is_sent_and_kept_apart() {
    let server = server(Answer::Keep(whole())).await;
    let warmup = Span::from_millis(100);
    let mut scheduled = open(100.0, 200, &server.url);
    scheduled.load.warmup = warmup;
    let mut counted = closed(2, Stop::Requests(20), &server.url);
    counted.load.warmup = warmup;
    for (share, measured) in [(scheduled, 20), (counted, 20)] {
        let rows = driven(share).await;
        let (measure, warm): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.stage == Stage::Measure);
        assert_eq!(measure.len(), measured);
        assert!(!warm.is_empty() && warm.iter().all(|row| row.due < Nanos(100_000_000)));
        assert!(measure.iter().all(|row| row.due >= Nanos(100_000_000)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_thinks_between_an_answer_and_the_next_question() {
    let server = server(Answer::Keep(whole())).await;
    let think = Span::from_millis(30);
    let model = LoadModel::Closed { concurrency: NonZeroU32::MIN, think };
    let mut rows = driven(share(model, Stop::Requests(5), &server.url)).await;
    rows.sort_by_key(|row| row.index);
    assert_eq!(rows.len(), 5);
    assert!(rows.windows(2).all(|pair| pair[1].due.since(pair[0].end.unwrap()) >= think.0), "{rows:?}");
}

/// Both of two executors' rows, by index.
async fn of_two(share: LoadShare) -> Vec<Record> {
    let mut all = Vec::new();
    for executor in 0..2 {
        let clients = share.clients.iter().copied().filter(|client| client % 2 == executor).collect();
        let numbers = Numbers::of(executor, NonZeroU32::new(2).unwrap());
        let requests = match share.load.stop {
            Stop::Requests(total) => Some((total + u64::from(executor == 0)) / 2),
            Stop::After(_) => None,
        };
        all.extend(driven(LoadShare { executor, numbers, requests, clients, ..share.clone() }).await);
    }
    all.sort_by_key(|row| row.index);
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_executors_send_together_what_one_would() {
    let server = server(Answer::Keep(whole())).await;
    let counted = of_two(closed(4, Stop::Requests(21), &server.url)).await;
    assert_eq!(counted.iter().map(|row| row.index).collect::<Vec<_>>(), (0..21).collect::<Vec<_>>());
    let model = LoadModel::Open { rate: 100.0, arrivals: Arrivals::Poisson };
    let stop = Stop::After(Span::from_millis(200));
    let scheduled = of_two(share(model, stop, &server.url)).await;
    let schedule = Schedule::open(100.0, Arrivals::Poisson, Span::ZERO, stop, 7);
    let expected: Vec<_> = schedule.shard(0, NonZeroU32::MIN).map(|due| (due.index, due.at)).collect();
    assert_eq!(scheduled.iter().map(|row| (row.index, row.due)).collect::<Vec<_>>(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_take_turns() {
    let (one, other) = (server(Answer::Keep(whole())).await, server(Answer::Keep(whole())).await);
    let model = LoadModel::Open { rate: 200.0, arrivals: Arrivals::Constant };
    for mut share in [share(model, Stop::Requests(20), &one.url), closed(4, Stop::After(Span::from_millis(300)), &one.url)] {
        share.servers.push(other.url.clone());
        let before = [&one, &other].map(|server| server.requests.load(Ordering::SeqCst));
        let rows = driven(share).await;
        let asked = [&one, &other].map(|server| server.requests.load(Ordering::SeqCst));
        let by = [0, 1].map(|server| rows.iter().filter(|row| row.server == Some(server)).count() as u64);
        assert_eq!(by, [asked[0] - before[0], asked[1] - before[1]]);
        assert_eq!(by.iter().sum::<u64>(), rows.len() as u64);
        assert!(by.iter().all(|requests| *requests >= 1), "{by:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_that_comes_after_the_window_drops_what_it_missed() {
    let server = server(Answer::Keep(whole())).await;
    let prepared = Prepared::new(open(100.0, 200, &server.url), None).unwrap();
    let start = Instant::now().checked_sub(Duration::from_secs(5)).unwrap();
    let batches = told(prepared, &Ledger::new(source()), Clock::beginning(start)).await;
    let rows = rows(&batches);
    assert_eq!(Counts::of(&rows), Counts { dropped: 20, ..Counts::default() });
    assert!(rows.iter().all(|row| row.kind == Some(Kind::SenderLate) && row.sent.is_none()));
    assert_eq!(server.requests.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_open_loop_goes_on_where_the_schedule_is() {
    let (hanging, answering) = (server(Answer::Hang(String::new())).await, server(Answer::Keep(whole())).await);
    let mut share = open(100.0, 400, &hanging.url);
    share.load.timeouts.first_byte = Span::from_secs(60);
    let (ledger, panic, clock) = (Ledger::new(source()), PanicSwitch::default(), Clock::beginning(Instant::now()));
    let prepared = Arc::new(Prepared::new(share.clone(), None).unwrap());
    let driving = drive(prepared, ledger.clone(), clock, CancellationToken::new(), panic.clone());
    let (result, ()) = tokio::join!(driving, async {
        until_asked(&hanging, 3).await;
        panic.trip();
    });
    assert!(matches!(result, Err(LoadError::Panicked(_))), "{result:?}");
    let buried = ledger.bury(clock.now());
    share.servers = vec![answering.url.clone()];
    let second = told(Prepared::new(share, None).unwrap(), &ledger, clock).await;
    let (first, second) = (rows(&buried.batches), rows(&second));
    assert!(first.len() >= 3 && first.iter().all(|row| row.outcome == Outcome::Lost));
    let completed = Counts::of(&second).completed;
    assert_eq!(completed, answering.requests.load(Ordering::SeqCst));
    let all: Vec<_> = first.iter().chain(&second).map(|row| row.index).collect();
    assert_eq!((all.len(), all.iter().collect::<BTreeSet<_>>().len()), (40, 40), "each ends once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_that_is_ended_before_its_time_ends_as_a_planned_one_does() {
    let server = server(Answer::Keep(whole())).await;
    let hour = Stop::After(Span::from_secs(3600));
    let think = Span::from_secs(1800);
    let thinking = LoadModel::Closed { concurrency: NonZeroU32::MIN, think };
    let loads = [open(200.0, 3_600_000, &server.url), closed(2, hour, &server.url), share(thinking, hour, &server.url)];
    for (place, share) in loads.into_iter().enumerate() {
        let before = server.requests.load(Ordering::SeqCst);
        let (prepared, ledger) = (Arc::new(Prepared::new(share, None).unwrap()), Ledger::new(source()));
        let clock = Clock::beginning(Instant::now());
        let stop = CancellationToken::new();
        let load = tokio::spawn(drive(prepared.clone(), ledger.clone(), clock, stop, PanicSwitch::default()));
        while server.requests.load(Ordering::SeqCst) == before {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let at = Nanos(clock.now().0 + 50_000_000);
        prepared.end_window(at);
        prepared.end_window(Nanos(at.0 + 1_000_000_000));
        load.await.unwrap().unwrap();
        let batches = ledger.cut(clock.now(), true);
        let rows = rows(&batches);
        assert!(rows.iter().all(|row| row.outcome == Outcome::Completed && row.due < at), "{rows:?}");
        if place == 0 {
            let due = at.0.div_ceil(5_000_000);
            assert_eq!(rows.len() as u64, due, "all that the schedule has until then, and nothing else");
        } else {
            assert!(!rows.is_empty());
        }
    }
}
