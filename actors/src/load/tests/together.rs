//! Requests that are due at one instant, several at a time.

use tokio::sync::Barrier;

use super::*;

/// How many requests are in flight at a server, and the most that were.
#[derive(Default)]
struct Held {
    now: AtomicU64,
    peak: AtomicU64,
}

/// A server that answers nobody before `size` requests wait for it.
async fn answering_by(size: usize) -> (TestServer, Arc<Held>) {
    let (held, barrier) = (Arc::new(Held::default()), Arc::new(Barrier::new(size)));
    let counted = held.clone();
    let server = accepting(move |mut stream, requests| {
        let (held, barrier) = (counted.clone(), barrier.clone());
        async move {
            while read_request(&mut stream).await.is_some() {
                requests.fetch_add(1, Ordering::SeqCst);
                held.peak.fetch_max(held.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                barrier.wait().await;
                // Before it answers: what the client then asks is in flight without this one.
                held.now.fetch_sub(1, Ordering::SeqCst);
                if stream.write_all(whole().as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    });
    (server.await, held)
}

/// Nobody is given up who waits for others.
fn patient(mut share: LoadShare) -> LoadShare {
    (share.load.timeouts.first_byte, share.load.timeouts.total) = (Span::from_secs(20), Span::from_secs(30));
    share
}

fn by(together: u32, share: LoadShare) -> LoadShare {
    LoadShare { load: LoadSpec { together: NonZeroU32::new(together).unwrap(), ..share.load }, ..share }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_asks_several_at_a_time_and_goes_on_when_all_have_ended() {
    let (server, held) = answering_by(6).await;
    let rows = driven(patient(by(3, closed(2, Stop::Requests(24), &server.url)))).await;
    assert_eq!(Counts::of(&rows), Counts { completed: 24, ..Counts::default() });
    assert_eq!(rows.iter().map(|row| row.index).collect::<BTreeSet<_>>(), (0..24).collect());
    assert_eq!((server.requests.load(Ordering::SeqCst), held.peak.load(Ordering::SeqCst)), (24, 6));
    assert_eq!(server.connections.load(Ordering::SeqCst), 6);
    // Each round of each client has one due instant; those of the first round have the same one.
    let mut dues: BTreeMap<Nanos, usize> = BTreeMap::new();
    rows.iter().for_each(|row| *dues.entry(row.due).or_default() += 1);
    assert!(dues.values().all(|count| count % 3 == 0), "{dues:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_count_that_is_no_multiple_is_kept_exactly() {
    let server = server(Answer::Keep(whole())).await;
    let rows = driven(by(5, closed(4, Stop::Requests(203), &server.url))).await;
    assert_eq!(Counts::of(&rows), Counts { completed: 203, ..Counts::default() });
    assert_eq!(rows.iter().map(|row| row.index).collect::<BTreeSet<_>>(), (0..203).collect());
    assert_eq!(server.requests.load(Ordering::SeqCst), 203);
    assert!(server.connections.load(Ordering::SeqCst) <= 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_arrival_of_an_open_loop_is_several_requests_at_one_instant() {
    let (server, held) = answering_by(4).await;
    let model = LoadModel::Open { rate: 200.0, arrivals: Arrivals::Constant };
    let mut rows = driven(patient(by(4, share(model, Stop::After(Span::from_millis(400)), &server.url)))).await;
    rows.sort_by_key(|row| row.index);
    assert_eq!(Counts::of(&rows), Counts { completed: 80, ..Counts::default() });
    let dues: Vec<_> = rows.iter().map(|row| (row.index, row.due)).collect();
    let expected: Vec<_> = (0..80).map(|index| (index, Nanos(index / 4 * 20_000_000))).collect();
    assert_eq!(dues, expected);
    assert_eq!(server.requests.load(Ordering::SeqCst), 80);
    assert!(held.peak.load(Ordering::SeqCst) >= 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_that_a_server_never_answers_have_an_outcome_each() {
    let server = server(Answer::Hang(String::new())).await;
    let rows = driven(by(3, closed(2, Stop::Requests(6), &server.url))).await;
    let ended: Vec<_> = rows.iter().map(|row| row.kind).collect();
    assert_eq!(ended, [Some(Kind::FirstByteTimeout); 6]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_that_ends_before_its_answers_leaves_none_of_them_open() {
    let server = server(Answer::Drip(HEAD.into())).await;
    let mut prepared = Prepared::new(by(3, closed(2, Stop::After(Span::from_millis(100)), &server.url)), None).unwrap();
    prepared.drain = Duration::from_millis(100);
    let rows = rows(&told(prepared, &Ledger::new(source()), Clock::beginning(Instant::now())).await);
    let ended: Vec<_> = rows.iter().map(|row| (row.outcome, row.kind)).collect();
    assert_eq!(ended, [(Outcome::Cancelled, Some(Kind::DrainEnded)); 6]);
}
