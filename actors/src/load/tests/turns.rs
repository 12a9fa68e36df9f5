//! Conversations: each turn carries what was said before.

use hb_core::record::Turn;
use serde_json::{Value, json as value};

use super::*;

/// A streamed answer of these pieces, the first with an escape.
fn streamed(pieces: &[&str]) -> String {
    let (last, before) = pieces.split_last().unwrap();
    let event = |text: &str, reason: Value| {
        let choice = value!({"text": text, "delta": {"content": text}, "finish_reason": reason});
        format!("data: {}\n\n", value!({"choices": [choice]}))
    };
    let events: String = before.iter().map(|text| event(text, Value::Null)).collect();
    chunked(&format!("{events}{}data: [DONE]\n\n", event(last, "length".into())))
}

/// Drives one client against these answers; gives its rows and what the server was asked.
async fn talked(answers: Vec<String>, change: impl FnOnce(&mut LoadShare)) -> (Vec<Record>, Vec<Value>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let server = server(Answer::Heard(heard.clone(), answers)).await;
    let mut share = closed(1, Stop::Requests(5), &server.url);
    share.request.turns = Some(Length::Fixed(3));
    change(&mut share);
    let mut rows = driven(share).await;
    rows.sort_by_key(|row| row.index);
    let heard = heard.lock().unwrap().iter().map(|body| serde_json::from_str(body).unwrap()).collect();
    (rows, heard)
}

fn turns(rows: &[Record]) -> Vec<(u64, u32)> {
    rows.iter().map(|row| row.turn.map(|Turn { conversation, turn, .. }| (conversation, turn)).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_carries_the_former_questions_and_the_servers_real_answers() {
    let answers = vec![streamed(&[" the \"first\"\n", " answer", " é"]), streamed(&[" another"])];
    let said = " the \"first\"\n answer é";
    let (rows, heard) = talked(answers.clone(), |_| {}).await;
    assert_eq!(turns(&rows), [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]);
    assert_eq!(Counts::of(&rows), Counts { completed: 5, ..Counts::default() });
    let prompts: Vec<&str> = heard.iter().map(|body| body["prompt"].as_str().unwrap()).collect();
    assert!(prompts[1].starts_with(&format!("{}{said}\n", prompts[0])), "{prompts:?}");
    assert!(prompts[2].starts_with(&format!("{} another\n", prompts[1])), "{prompts:?}");
    assert_eq!(prompts.iter().map(|prompt| prompt.split('\n').count()).collect::<Vec<_>>(), [1, 3, 4, 1, 2]);

    let (_, heard) = talked(answers, |share| share.request.api = Api::Chat).await;
    let roles = |body: &Value| -> Vec<String> {
        body["messages"].as_array().unwrap().iter().map(|message| message["role"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(roles(&heard[2]), ["user", "assistant", "user", "assistant", "user"]);
    assert_eq!(heard[1]["messages"][0], heard[0]["messages"][0]);
    assert_eq!(heard[1]["messages"][1]["content"], said);
    assert_eq!(heard[2]["messages"][3]["content"], " another");
    assert_ne!(heard[1]["messages"][2], heard[0]["messages"][0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_in_one_piece_is_carried_on_as_well() {
    let whole =
        r#"{"choices":[{"text":" so\tit is","finish_reason":"length"}],"usage":{"prompt_tokens":3,"completion_tokens":3}}"#;
    let (rows, heard) = talked(vec![json(whole)], |share| share.request.stream = false).await;
    assert_eq!(rows.len(), 5);
    let first = heard[0]["prompt"].as_str().unwrap();
    assert!(heard[1]["prompt"].as_str().unwrap().starts_with(&format!("{first} so\tit is\n")), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_that_fails_ends_its_conversation_and_the_rest_of_it_is_never_due() {
    let (rows, _) = talked(vec![streamed(&["a"]), status(500), streamed(&["a"])], |_| {}).await;
    assert_eq!(turns(&rows), [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]);
    assert_eq!(Counts::of(&rows), Counts { completed: 4, failed: 1, ..Counts::default() });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_thinks_between_turns() {
    let think = Span::from_millis(20);
    let (rows, _) = talked(vec![streamed(&["a"])], |share| {
        share.load.model = LoadModel::Closed { concurrency: NonZeroU32::MIN, think };
    })
    .await;
    assert!(rows.windows(2).all(|pair| pair[1].due.since(pair[0].end.unwrap()) >= think.0), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conversations_of_a_dataset_have_the_turns_they_have() {
    let text = r#"[{"system": "Be brief.", "conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}, {"from": "human", "value": "Then?"}, {"from": "gpt", "value": "Because it is."}]},
        {"conversations": [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "That."}]}]"#;
    let mut file = None;
    let (rows, heard) = talked(vec![streamed(&["real"])], |share| {
        let (kept, changed) = with_dataset(text, share.clone());
        (file, *share) = (Some(kept), changed);
        share.request.api = Api::Chat;
    })
    .await;
    assert_eq!(turns(&rows), [(0, 0), (0, 1), (1, 0), (2, 0), (2, 1)]);
    assert_eq!(rows.iter().map(|row| row.asked_tokens).collect::<Vec<_>>(), [1, 4, 2, 1, 4]);
    let contents = |body: &Value| -> Vec<Value> {
        body["messages"].as_array().unwrap().iter().map(|message| message["content"].clone()).collect()
    };
    assert_eq!(contents(&heard[1]), ["Be brief.", "Why?", "real", "Then?"]);
    assert_eq!(contents(&heard[2]), ["What?"]);

    let (_file, mut share) = with_dataset("Why?\nWhat?\n", closed(1, Stop::Requests(1), "http://127.0.0.1:1"));
    share.request.turns = Some(Length::Fixed(2));
    let refused = Prepared::new(share, None).err().unwrap().to_string();
    assert!(refused.contains("no conversations") && refused.contains("only sharegpt"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_begins_conversations_that_nobody_had() {
    let hanging = server(Answer::Hang(String::new())).await;
    let mut share = closed(2, Stop::Requests(6), &hanging.url);
    (share.load.timeouts.first_byte, share.request.turns) = (Span::from_secs(60), Some(Length::Fixed(2)));
    let (ledger, panic, clock) = (Ledger::new(source()), PanicSwitch::default(), Clock::beginning(Instant::now()));
    let prepared = Arc::new(Prepared::new(share.clone(), None).unwrap());
    let driving = drive(prepared, ledger.clone(), clock, CancellationToken::new(), panic.clone());
    let (result, ()) = tokio::join!(driving, async {
        until_asked(&hanging, 2).await;
        panic.trip();
    });
    assert!(result.is_err());
    let lost = rows(&ledger.bury(clock.now()).batches);
    // Whose request is the first is the clients' affair.
    let mut lost: Vec<_> = lost.iter().map(|row| (row.turn.unwrap().conversation, row.outcome)).collect();
    lost.sort_unstable_by_key(|(conversation, _)| *conversation);
    assert_eq!(lost, [(0, Outcome::Lost), (1, Outcome::Lost)]);
    let answering = server(Answer::Keep(whole())).await;
    share.servers = vec![answering.url.clone()];
    let prepared = Prepared::new(share, None).unwrap();
    let more = rows(&told(prepared, &ledger, clock).await);
    assert_eq!((more.len(), more.iter().map(|row| row.turn.unwrap().conversation).min()), (4, Some(2)));
}
