//! What is read of answers: counts, gaps, messages, and through TLS.

use hb_core::{
    counting::{Counting, LengthsBy},
    facts::Fact,
    histogram::Histogram,
    record::TokensSource,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{RootCertStore, ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::trust;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_in_one_piece_has_the_servers_counts() {
    let server = server(Answer::Counted).await;
    let mut share = closed(1, Stop::Requests(2), &server.url);
    share.request.stream = false;
    let rows = driven(share).await;
    for row in &rows {
        assert_eq!((row.outcome, row.output_tokens, row.tokens_source), (Outcome::Completed, Some(1), Some(TokensSource::Usage)));
        assert_eq!((row.input_tokens, row.chunks), (Some(5 + 2 * 8), 1), "eight words were sent");
    }
    assert_eq!(rows.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_choice_of_every_prompt_is_asked_for_as_many_tokens() {
    let end =
        |index: u32| format!("data: {{\"choices\":[{{\"index\":{index},\"text\":\"a\",\"finish_reason\":\"length\"}}]}}\n\n");
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":8,\"completion_tokens\":6}}\n\ndata: [DONE]\n\n";
    let server = server(Answer::Keep(chunked(&((0..6).map(end).collect::<String>() + usage)))).await;
    let mut share = closed(1, Stop::Requests(2), &server.url);
    share.request.sampling.insert("n".into(), 3.into());
    share.request.batch = 2.try_into().unwrap();
    for row in driven(share).await {
        assert_eq!((row.outcome, row.output_tokens, row.asked_tokens), (Outcome::Completed, Some(6), 2 * 3 * 3));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_an_answer_in_one_piece_that_nobody_counted_are_not_known() {
    let server = server(Answer::Keep(json(r#"{"choices":[{"text":"a b c","finish_reason":"length"}]}"#))).await;
    let mut share = closed(1, Stop::Requests(2), &server.url);
    share.request.stream = false;
    for row in driven(share).await {
        assert_eq!((row.outcome, row.output_tokens, row.tokens_source), (Outcome::Completed, None, None));
        assert_eq!((row.chunks, row.first_chunk_tokens, row.tpot()), (1, None, None));
    }
}

/// A model may be at its end where the asked length is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_stopped_early_if_it_has_fewer_tokens_than_were_asked_for() {
    let usage = |tokens: u32| format!(r#"{{"prompt_tokens":8,"completion_tokens":{tokens}}}"#);
    let whole = |reason: &str, usage: &str| {
        let last = format!(r#"{{"choices":[{{"text":"a","finish_reason":"{reason}"}}],"usage":{usage}}}"#);
        chunked(&format!("{EVENT}data: {last}\n\ndata: [DONE]\n\n"))
    };
    let cases = [("stop", usage(3), false), ("stop", usage(2), true), ("stop", "null".into(), true), ("length", usage(2), false)];
    for (reason, usage, expected) in cases {
        let server = server(Answer::Keep(whole(reason, &usage))).await;
        let rows = driven(closed(1, Stop::Requests(2), &server.url)).await;
        assert!(rows.iter().all(|row| row.asked_tokens == 3 && row.stopped_early == expected), "{reason} {usage}: {rows:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_s_time_stands_in_the_row_of_the_request_that_opened_it() {
    let server = server(Answer::Keep(whole())).await;
    let rows = driven(closed(3, Stop::Requests(60), &server.url)).await;
    let opened: Vec<_> = rows.iter().filter(|row| row.connect.is_some()).collect();
    assert_eq!(opened.len() as u64, server.connections.load(Ordering::SeqCst));
    for row in opened {
        assert!(
            row.connect.unwrap().0 > 0 && row.sent.unwrap().since(row.due) >= row.connect.unwrap().since(Nanos(0)),
            "{row:?}"
        );
    }
    assert!(rows.iter().all(|row| row.first_output.is_none()), "no reasoning came");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_output_behind_reasoning_has_its_own_stamp() {
    let thought = |text: &str| format!("data: {{\"choices\":[{{\"delta\":{{\"reasoning\":\"{text}\"}}}}]}}\n\n");
    let said = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    let end = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}]}\n\ndata: [DONE]\n\n";
    for (body, is_told) in [
        ([&thought("a"), &thought("b"), said, end].concat(), true),
        ([said, &thought("a"), end].concat(), false),
        ([&thought("a"), end].concat(), false),
    ] {
        let server = server(Answer::Keep(chunked(&body))).await;
        let rows = driven(closed(1, Stop::Requests(3), &server.url)).await;
        assert_eq!(Counts::of(&rows).completed, 3, "{body}");
        for row in rows {
            assert_eq!(row.first_output.is_some(), is_told, "{body}");
            assert_eq!(row.ended_in_reasoning, !body.contains("content"), "{body}");
            assert!(row.first_output.is_none_or(|output| Some(output) >= row.first && Some(output) <= row.last), "{row:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gaps_are_counted_once_for_each_token() {
    let server = server(Answer::Keep(whole())).await;
    let ledger = Ledger::new(source());
    let prepared = Prepared::new(closed(2, Stop::Requests(50), &server.url), None).unwrap();
    let batches = told(prepared, &ledger, Clock::beginning(Instant::now())).await;
    let count = |bytes: fn(&Batch) -> &[u8]| -> u64 {
        batches.iter().map(|batch| Histogram::from_bytes(bytes(batch)).unwrap().map_or(0, |gaps| gaps.count())).sum()
    };
    assert_eq!((count(|batch| &batch.itl), count(|batch| &batch.icl)), (100, 100), "three tokens have two gaps");
    assert_eq!(batches.iter().map(|batch| batch.health.tokens_read).sum::<u64>(), 150);
    let next = ledger.cut(Clock::beginning(Instant::now()).now(), true).remove(0);
    assert_eq!((next.health.tokens_read, next.itl.len(), next.health.lag_samples), (0, 0, 0), "a window starts empty");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_counts_more_tokens_than_events_has_a_gap_for_each() {
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":8,\"completion_tokens\":9}}\n\n";
    let server = server(Answer::Keep(chunked(&format!("{EVENT}{EVENT}{LAST}{usage}data: [DONE]\n\n")))).await;
    let prepared = Prepared::new(closed(2, Stop::Requests(50), &server.url), None).unwrap();
    let batches = told(prepared, &Ledger::new(source()), Clock::beginning(Instant::now())).await;
    let count = |bytes: fn(&Batch) -> &[u8]| -> u64 {
        batches.iter().map(|batch| Histogram::from_bytes(bytes(batch)).unwrap().map_or(0, |histogram| histogram.count())).sum()
    };
    assert_eq!((count(|batch| &batch.itl), count(|batch| &batch.icl)), (400, 100), "nine tokens in three events");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_says_how_the_client_itself_did() {
    let server = server(Answer::Keep(whole())).await;
    let model = LoadModel::Open { rate: 100.0, arrivals: Arrivals::Constant };
    let prepared = Prepared::new(share(model, Stop::Requests(30), &server.url), None).unwrap();
    let health = told(prepared, &Ledger::new(source()), Clock::beginning(Instant::now())).await[0].health;
    assert!(health.cpu_ratio > 0.0 && health.cpu_ratio < 1.5, "{health:?}");
    assert!(health.lag_samples > 0 && health.lag_max_seconds >= health.lag_mean_seconds, "{health:?}");
    assert_eq!((health.tokens_read, health.in_flight), (90, 0));
    assert!(health.unread.looks > 0 && health.unread.max_bytes <= health.unread.read_bytes, "{health:?}");
    let body = format!("{EVENT}{EVENT}{LAST}data: [DONE]\n\n");
    assert_eq!(health.unread.read_bytes, 30 * body.len() as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_said_is_told_once_for_each_kind() {
    let body = r#"{"error":{"message":"the key is wrong"}}"#;
    let refused = format!("HTTP/1.1 401 Unauthorized\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let server = server(Answer::Keep(refused)).await;
    let ledger = Ledger::new(source());
    let prepared = Prepared::new(closed(1, Stop::Requests(3), &server.url), None).unwrap();
    let batches = told(prepared, &ledger, Clock::beginning(Instant::now())).await;
    assert_eq!(Counts::of(&rows(&batches)).failed, 3);
    let messages = ledger.take_messages();
    let [Fact::Warned { what }] = messages.as_slice() else { panic!("{messages:?}") };
    assert!(what.contains("http_401: the key is wrong") && what.contains(&server.url), "{what}");
    assert!(ledger.take_messages().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_another_form_is_told_by_what_its_head_calls_it() {
    let cases = [
        ("content-type: text/html", "malformed: not an event stream, but text/html: <html>"),
        ("content-encoding: gzip", "malformed: the body is encoded as `gzip`, though no encoding was asked for"),
    ];
    for (header, told_so) in cases {
        let server = server(Answer::Keep(format!("HTTP/1.1 200 OK\r\n{header}\r\ncontent-length: 6\r\n\r\n<html>"))).await;
        let prepared = Prepared::build(closed(1, Stop::Requests(1), &server.url), None).await.unwrap();
        let ledger = Ledger::new(source());
        let batches = told(prepared, &ledger, Clock::beginning(Instant::now())).await;
        assert_eq!(rows(&batches)[0].kind, Some(Kind::Malformed));
        let messages = ledger.take_messages();
        assert!(matches!(&messages[..], [Fact::Warned { what }] if what.contains(told_so)), "{messages:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prompts_have_the_asked_tokens_by_what_a_word_has() {
    let server = server(Answer::Counted).await;
    let mut share = closed(1, Stop::Requests(3), &server.url);
    share.request.stream = false;
    share.request.prompt_len = Length::Fixed(300);
    let api = Api::Completions;
    share.counting =
        Some(Counting { by: LengthsBy::Usage, tokens_per_word: 2.0, overhead: 0, api, ids: Vec::new(), words: None });
    let prepared = Prepared::build(share, None).await.unwrap();
    assert_eq!(server.requests.load(Ordering::SeqCst), 0, "a trial's requests are all that it sends");
    let batches = told(prepared, &Ledger::new(source()), Clock::beginning(Instant::now())).await;
    let rows = rows(&batches);
    assert_eq!(
        rows.iter().map(|row| row.input_tokens).collect::<Vec<_>>(),
        [Some(305); 3],
        "150 words, and the five that this server adds"
    );
}

/// Takes off TLS before `to`, with a certificate for `localhost`; gives its URL and the authority.
async fn secured(to: &TestServer, tasks: &mut JoinSet<()>) -> (String, RootCertStore) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let (key, authority_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut roots = RootCertStore::empty();
    roots.add(authority.self_signed(&authority_key).unwrap().der().clone()).unwrap();
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &Issuer::new(authority, &authority_key)).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(vec![leaf.der().clone()], key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let plain = to.url.trim_start_matches("http://").to_owned();
    tasks.spawn(async move {
        let mut pipes = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, plain) = (acceptor.clone(), plain.clone());
            pipes.spawn(async move {
                // A client that does not trust the certificate ends here.
                let Ok(mut secure) = acceptor.accept(stream).await else { return };
                let mut plain = TcpStream::connect(plain).await.unwrap();
                tokio::io::copy_bidirectional(&mut secure, &mut plain).await.ok();
            });
        }
    });
    (url, roots)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn https_is_spoken_with_a_trusted_server_and_no_other() {
    let (server, mut tasks) = (server(Answer::Keep(whole())).await, JoinSet::new());
    let (url, roots) = secured(&server, &mut tasks).await;
    let share = closed(2, Stop::Requests(10), &url);
    let prepared = Prepared::trusting(share.clone(), None, || Ok(trust::only(roots.clone()))).unwrap();
    let batches = told(prepared, &Ledger::new(source()), Clock::beginning(Instant::now())).await;
    assert_eq!(Counts::of(&rows(&batches)), Counts { completed: 10, ..Counts::default() });
    let share = closed(1, Stop::Requests(1), &url);
    let stranger = Prepared::trusting(share, None, || Ok(trust::only(RootCertStore::empty()))).unwrap();
    let batches = told(stranger, &Ledger::new(source()), Clock::beginning(Instant::now())).await;
    assert_eq!(rows(&batches).iter().map(|row| row.kind).collect::<Vec<_>>(), [Some(Kind::Tls)]);
    assert_eq!(server.requests.load(Ordering::SeqCst), 10);
}
