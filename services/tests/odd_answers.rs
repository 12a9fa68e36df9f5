//! Answers that are right, wrong or merely strange in ways that no recording shows. Each is read whole and byte by byte.

#![expect(clippy::unwrap_used, reason = "a test says by a panic what is wrong")]

use std::num::NonZeroU32;

use hb_core::{
    record::{Kind, TokensSource},
    trial::{Api, Length, ProtocolName, RequestSpec},
};
use hb_services::{
    protocol,
    protocol::{Answer, Reader},
};
use serde_json::{Map, Value, json};

fn reader(name: ProtocolName, stream: bool, batch: u32) -> Box<dyn Reader> {
    protocol(name).reader(&RequestSpec {
        api: Api::Completions,
        stream,
        prompt_len: Length::Fixed(3),
        gen_tokens: Length::Fixed(8),
        batch: NonZeroU32::new(batch).unwrap(),
        shared_prefix: None,
        turns: None,
        sampling: Map::new(),
    })
}

fn read(reader: &mut dyn Reader, body: &[u8], piece: usize) -> Answer {
    // An error ends the feeding, as it does on the load path.
    let fed = body.chunks(piece).try_for_each(|bytes| reader.feed(bytes).map(drop));
    let answer = reader.finish();
    if let Err(kind) = fed {
        assert_eq!(answer.kind, Some(kind), "the reader forgot why it failed");
    }
    answer
}

/// The answer to a body, which must be the same read at once and byte by byte, twice over.
fn answer(name: ProtocolName, stream: bool, body: &[u8]) -> Answer {
    let mut reader = reader(name, stream, 1);
    let whole = read(&mut *reader, body, body.len().max(1));
    assert_eq!(read(&mut *reader, body, 1), whole, "byte by byte: {}", String::from_utf8_lossy(body));
    assert_eq!(read(&mut *reader, body, 7), whole, "seven bytes at a time: {}", String::from_utf8_lossy(body));
    whole
}

/// Kind, events with content, tokens.
type Expected = (Option<Kind>, u32, Option<u32>);

fn check_openai(body: &str, expected: Expected) {
    let answer = answer(ProtocolName::Openai, true, body.as_bytes());
    assert_eq!((answer.kind, answer.events, answer.output_tokens), expected, "{body}");
}

fn check_ollama(stream: bool, body: &str, expected: Expected) -> Answer {
    let answer = answer(ProtocolName::Ollama, stream, body.as_bytes());
    assert_eq!((answer.kind, answer.events, answer.output_tokens), expected, "{body}");
    answer
}

fn event(data: &Value) -> String {
    format!("data: {data}\n\n")
}
fn text(text: &str) -> String {
    event(&json!({"choices": [{"index": 0, "text": text, "finish_reason": null}]}))
}
fn delta(delta: &Value) -> String {
    event(&json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]}))
}
fn end(reason: &str) -> String {
    event(&json!({"choices": [{"index": 0, "text": "", "delta": {}, "finish_reason": reason}]}))
}
fn usage(tokens: u32) -> String {
    event(&json!({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": tokens}}))
}
const DONE: &str = "data: [DONE]\n\n";

#[test]
fn what_has_no_content_is_no_event() {
    let role = delta(&json!({"role": "assistant", "content": ""}));
    let null = delta(&json!({"role": "assistant", "content": null}));
    let body = [role, null, delta(&json!({})), text(""), text("a"), end("length"), DONE.into()].concat();
    check_openai(&body, (None, 1, Some(1)));
}

#[test]
fn comments_other_fields_and_any_line_end_change_nothing() {
    let plain = [text("a"), text("b"), end("stop"), usage(2), DONE.into()].concat();
    check_openai(&plain, (None, 2, Some(2)));
    check_openai(&plain.replace('\n', "\r\n"), (None, 2, Some(2)));
    check_openai(&plain.replace("data: ", "data:"), (None, 2, Some(2)));
    check_openai(&plain.replace("data: ", ": ping\nevent: token\nid: 7\nretry: 5\ndata: "), (None, 2, Some(2)));
    check_openai(&format!("\n\n: hello\n\n{plain}"), (None, 2, Some(2)));
    check_openai(plain.trim_end(), (None, 2, Some(2)));
    let told = [text("a"), end("length"), DONE.into()].concat();
    check_openai(&format!("\u{feff}{told}"), (None, 1, Some(1)));
    check_openai(&format!("\u{feff}: hello\n\n{told}"), (None, 1, Some(1)));
}

#[test]
fn data_over_several_lines_is_one_event() {
    let body = format!("data: {{\"choices\":\ndata: [{{\"text\":\"a\",\ndata: \"finish_reason\":\"length\"}}]}}\n\n{DONE}");
    check_openai(&body, (None, 1, Some(1)));
}

#[test]
fn reasoning_tool_calls_and_refusals_are_content() {
    let pieces = [
        delta(&json!({"reasoning": "let me"})),
        delta(&json!({"reasoning_content": " think", "content": null})),
        delta(&json!({"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]})),
        delta(&json!({"tool_calls": [], "content": ""})),
        delta(&json!({"refusal": "I cannot", "content": null})),
        delta(&json!({"refusal": " do that", "content": ""})),
        delta(&json!({"refusal": null, "content": "so"})),
    ];
    check_openai(&[pieces.concat(), end("tool_calls"), usage(9), DONE.into()].concat(), (None, 6, Some(9)));
}

#[test]
fn reasoning_is_told_from_output() {
    let said = |protocol: ProtocolName, line: &str| {
        let progress = reader(protocol, true, 1).feed(line.as_bytes()).unwrap();
        assert_eq!(progress.events > 0, progress.has_reasoning || progress.has_output, "{line}");
        (progress.has_reasoning, progress.has_output)
    };
    let openai = |piece: Value| said(ProtocolName::Openai, &delta(&piece));
    assert_eq!(openai(json!({"reasoning": "let me"})), (true, false));
    assert_eq!(openai(json!({"reasoning_content": "\"content\":\"x\"", "content": null})), (true, false));
    assert_eq!(openai(json!({"reasoning_content": "", "content": "so"})), (false, true));
    assert_eq!(openai(json!({"reasoning": "b", "content": "so"})), (false, true), "it did not come before");
    assert_eq!(openai(json!({"tool_calls": [{"index": 0}]})), (false, true));
    assert_eq!(openai(json!({"refusal": "no", "content": null})), (false, true));
    assert_eq!(openai(json!({"role": "assistant", "content": "", "refusal": null})), (false, false));
    assert_eq!(said(ProtocolName::Openai, &text("a")), (false, true));
    // The second of these is taken without being parsed.
    assert_eq!(said(ProtocolName::Openai, &[delta(&json!({"reasoning": "a"})), text("a"), text("b")].concat()), (true, true));
    assert_eq!(said(ProtocolName::Openai, &[text("a"), delta(&json!({"reasoning": "a"}))].concat()), (false, true));
    let ollama = |object: Value| said(ProtocolName::Ollama, &format!("{object}\n"));
    assert_eq!(ollama(json!({"response": "", "thinking": "hm", "done": false})), (true, false));
    assert_eq!(ollama(json!({"message": {"content": "", "thinking": "hm"}, "done": false})), (true, false));
    assert_eq!(ollama(json!({"message": {"content": "so"}, "done": false})), (false, true));
    assert_eq!(ollama(json!({"response": "so", "done": false})), (false, true));
    assert_eq!(ollama(json!({"response": "", "done": true})), (false, false));
}

#[test]
fn an_answer_of_reasoning_alone_is_known_in_every_form() {
    let thought = delta(&json!({"reasoning": "hm"}));
    let is_alone = |protocol, stream, body: &str| answer(protocol, stream, body.as_bytes()).is_reasoning_alone;
    for (pieces, expected) in [
        (vec![thought.clone(), thought.clone()], true),
        (vec![thought.clone(), text("so"), text("so")], false),
        (vec![delta(&json!({"reasoning": "hm", "content": "so"}))], false),
        (vec![text("so"), thought.clone()], false),
        (vec![], false),
    ] {
        let body = [pieces.concat(), end("length"), usage(9), DONE.into()].concat();
        assert_eq!(is_alone(ProtocolName::Openai, true, &body), expected, "{body}");
    }
    for (message, expected) in [
        (json!({"reasoning_content": "hm", "content": null}), true),
        (json!({"reasoning_content": "hm", "content": "so"}), false),
        (json!({"content": "so"}), false),
    ] {
        let body = json!({"choices": [{"message": message, "finish_reason": "length"}]}).to_string();
        assert_eq!(is_alone(ProtocolName::Openai, false, &body), expected, "{body}");
    }
    let done = r#""done":true,"done_reason":"length","eval_count":2"#;
    for (stream, body, expected) in [
        (true, format!("{{\"response\":\"\",\"thinking\":\"hm\",\"done\":false}}\n{{{done}}}"), true),
        (true, format!("{{\"thinking\":\"hm\",\"done\":false}}\n{{\"response\":\"so\",{done}}}"), false),
        (false, format!("{{\"message\":{{\"content\":\"\",\"thinking\":\"hm\"}},{done}}}"), true),
        (false, format!("{{\"message\":{{\"content\":\"so\",\"thinking\":\"hm\"}},{done}}}"), false),
    ] {
        assert_eq!(is_alone(ProtocolName::Ollama, stream, &body), expected, "{body}");
    }
}

#[test]
fn reasoning_that_is_counted_and_not_shown_is_told() {
    let usage = |details: &Value| json!({"prompt_tokens": 3, "completion_tokens": 9, "completion_tokens_details": details});
    let hidden = |pieces: &str, details: &Value| {
        let body = [pieces, &end("stop"), &event(&json!({"choices": [], "usage": usage(details)})), DONE].concat();
        let answer = answer(ProtocolName::Openai, true, body.as_bytes());
        assert_eq!((answer.kind, answer.output_tokens), (None, Some(9)), "{details}");
        answer.hidden_reasoning_tokens
    };
    let seven = json!({"reasoning_tokens": 7});
    assert_eq!(hidden(&text("so"), &seven), Some(7));
    assert_eq!(hidden(&[delta(&json!({"reasoning": "hm"})), text("so")].concat(), &seven), None, "it was shown");
    for details in
        [json!(null), json!({}), json!([]), json!("none"), json!({"reasoning_tokens": 0}), json!({"reasoning_tokens": "7"})]
    {
        assert_eq!(hidden(&text("so"), &details), None, "{details}");
    }
    let whole = json!({"choices": [{"message": {"content": "so"}, "finish_reason": "stop"}], "usage": usage(&seven)}).to_string();
    assert_eq!(answer(ProtocolName::Openai, false, whole.as_bytes()).hidden_reasoning_tokens, Some(7));
}

#[test]
fn an_answer_is_whole_only_with_its_reason_and_its_end_mark() {
    check_openai(&[text("a"), end("length"), usage(1)].concat(), (Some(Kind::Truncated), 1, Some(1)));
    check_openai(&[text("a"), usage(1), DONE.into()].concat(), (Some(Kind::Truncated), 1, Some(1)));
    check_openai(&[text("a"), "data: {\"choices\":[{\"te".into()].concat(), (Some(Kind::Truncated), 1, Some(1)));
    check_openai(&[text("a"), end("stop"), "data: [DO".into()].concat(), (Some(Kind::Truncated), 1, Some(1)));
    check_openai("", (Some(Kind::Truncated), 0, Some(0)));
    check_openai(&[end("stop"), DONE.into()].concat(), (Some(Kind::NoToken), 0, Some(0)));
    check_openai(&[text("a"), end("abort"), usage(1), DONE.into()].concat(), (Some(Kind::Aborted), 1, Some(1)));
}

#[test]
fn every_prompt_of_a_batch_must_end() {
    let of =
        |index: u32, reason: Option<&str>| event(&json!({"choices": [{"index": index, "text": "x", "finish_reason": reason}]}));
    let kind = |body: String| read(&mut *reader(ProtocolName::Openai, true, 2), body.as_bytes(), 5).kind;
    assert_eq!(kind([of(0, None), of(0, Some("length")), of(1, Some("length")), DONE.into()].concat()), None);
    assert_eq!(kind([of(0, Some("length")), of(1, None), DONE.into()].concat()), Some(Kind::Truncated));
}

#[test]
fn an_error_in_the_stream_is_a_failure_with_its_sentence() {
    for error in [json!({"error": {"message": "engine dead", "type": "oops"}}), json!({"error": "engine dead (oops)"})] {
        let body = [text("a"), event(&error), DONE.into()].concat();
        let answer = answer(ProtocolName::Openai, true, body.as_bytes());
        assert_eq!((answer.kind, answer.message.as_deref()), (Some(Kind::ErrorEvent), Some("engine dead (oops)")));
    }
    check_openai(&[text("a").replace("}]}", "}],\"error\":null}"), end("length"), DONE.into()].concat(), (None, 1, Some(1)));
}

#[test]
fn an_answer_that_is_no_stream_or_not_whole_says_so() {
    use Kind::{ErrorEvent, Malformed, NoEndMark};
    let piece = r#"{"choices":[{"text":"a","finish_reason":"length"}],"usage":{"prompt_tokens":3,"completion_tokens":1}}"#;
    let one_piece = "the server answered in one piece though a stream was asked for; write `workload.stream: false`";
    let html = format!("<html>{}", "x".repeat(100));
    let shown = format!("not an event stream, but text/html: <html>{}", "x".repeat(54));
    let lines = r#"not an event stream, but text/html: {"response":"a"} {"response":"b"}"#;
    let cases: [(&str, Kind, &str); 15] = [
        (&format!("event: error\ndata: {{\"message\":\"boom\"}}\n\n{DONE}"), ErrorEvent, "boom"),
        (&format!("event:error\r\ndata: boom\r\n\r\n{DONE}"), ErrorEvent, "boom"),
        (&format!("data: {{\"object\":\"error\",\"message\":\"boom\",\"code\":500}}\n\n{DONE}"), ErrorEvent, "boom"),
        (r#"{"error":{"message":"boom"}}"#, ErrorEvent, "boom"),
        ("{\n  \"error\": {\n    \"message\": \"boom\"\n  }\n}\n", ErrorEvent, "boom"),
        (r#"{"object":"error","message":"boom","code":500}"#, ErrorEvent, "boom"),
        (piece, Malformed, one_piece),
        (&html, Malformed, &shown),
        ("{\"response\":\"a\"}\n{\"response\":\"b\"}\n", Malformed, lines),
        ("", NoEndMark, "no event came"),
        (": ping\n\n", NoEndMark, "no event came"),
        (&[text("a"), usage(1)].concat(), NoEndMark, "neither a `finish_reason` nor `[DONE]` came"),
        (&[text("a"), usage(1), DONE.into()].concat(), NoEndMark, "`[DONE]` came, but no `finish_reason`"),
        (&[text("a"), end("stop")].concat(), NoEndMark, "`finish_reason` came, but no `[DONE]`"),
        ("{\"choices\":[{\"te", NoEndMark, "no event came"),
    ];
    for (body, kind, message) in cases {
        let mut reader = reader(ProtocolName::Openai, true, 1);
        for piece in [body.len().max(1), 1] {
            reader.begin("text/html");
            let answer = read(&mut *reader, body.as_bytes(), piece).of_whole_body(None);
            assert_eq!((answer.kind, answer.message.as_deref()), (Some(kind), Some(message)), "{body}");
            assert_eq!(answer.is_of_wrong_form(), kind == Malformed, "{body}");
        }
    }
    // A named event of another kind, and a name whose event never came, are nobody's error.
    let whole = ["event: error\n\nevent: token\n", &text("a"), &end("length"), DONE].concat();
    check_openai(&whole, (None, 1, Some(1)));
}

#[test]
fn an_encoding_that_nobody_asked_for_is_named() {
    let zipped = b"\x1f\x8b\x08\x00\x00\x00data\n\xff\n\n";
    for (name, stream) in [(ProtocolName::Openai, true), (ProtocolName::Openai, false), (ProtocolName::Ollama, true)] {
        let answer = answer(name, stream, zipped).of_whole_body(Some("gzip"));
        let told = "the body is encoded as `gzip`, though no encoding was asked for";
        assert_eq!((answer.kind, answer.message.as_deref()), (Some(Kind::Malformed), Some(told)), "{name:?} {stream}");
    }
}

#[test]
fn what_follows_the_end_mark_changes_nothing() {
    let whole = [text("a"), end("length"), usage(1), DONE.into()].concat();
    check_openai(&[&whole, text("b").as_str(), "data: nonsense\n\n", "data: [DONE]\n\n", "\u{0}"].concat(), (None, 1, Some(1)));
    let mut long = whole.into_bytes();
    long.resize(long.len() + 5 * 1024 * 1024, b'x');
    let mut reader = reader(ProtocolName::Openai, true, 1);
    assert_eq!(read(&mut *reader, &long, long.len()).kind, None, "an endless line in the same piece");
    assert_eq!(read(&mut *reader, &long, 65_536).kind, None, "an endless line in later pieces");
}

#[test]
fn bytes_that_are_no_events_are_malformed() {
    check_openai(&[text("a"), "data: {nonsense}\n\n".into(), DONE.into()].concat(), (Some(Kind::Malformed), 1, Some(1)));
    check_openai(&[text("a"), "data: 5\n\n".into()].concat(), (Some(Kind::Malformed), 1, Some(1)));
    let latin = [text("a").as_bytes(), b"data: {\"choices\":[{\"text\":\"\xe9t\xe9\",\"finish_reason\":null}]}\n\n"].concat();
    assert_eq!(answer(ProtocolName::Openai, true, &latin).kind, Some(Kind::Malformed));
    assert_eq!(answer(ProtocolName::Ollama, true, b"{\"response\":\"\xe9\",\"done\":false}\n").kind, Some(Kind::Malformed));
}

#[test]
fn a_line_or_an_answer_without_end_is_refused() {
    let endless = |name, stream: bool, bytes: usize| {
        let body = [b"data: ".as_slice(), &vec![b'x'; bytes]].concat();
        let mut reader = reader(name, stream, 1);
        [body.len(), 65_536].map(|piece| read(&mut *reader, &body, piece).kind)
    };
    for name in [ProtocolName::Openai, ProtocolName::Ollama] {
        assert_eq!(endless(name, true, 5 * 1024 * 1024), [Some(Kind::Oversize); 2], "{name:?}, a line");
        assert_eq!(endless(name, false, 33 * 1024 * 1024), [Some(Kind::Oversize); 2], "{name:?}, a body");
    }
    let lines = format!("data: {}\n", "x".repeat(1000)).into_bytes().repeat(5000);
    assert_eq!(
        read(&mut *reader(ProtocolName::Openai, true, 1), &lines, 65_536).kind,
        Some(Kind::Oversize),
        "an event of endless lines"
    );
}

#[test]
fn zeros_in_place_of_counts_are_no_counts() {
    // Ollama's /v1/completions sends them in every event but the last.
    let zero = |text: &str| {
        event(&json!({"choices": [{"text": text, "finish_reason": null}], "usage": {"prompt_tokens": 0, "completion_tokens": 0}}))
    };
    let body = [zero("a"), zero("b"), end("length"), usage(4), DONE.into()].concat();
    check_openai(&body, (None, 2, Some(4)));
    let never = [zero("a"), zero("b"), end("length"), DONE.into()].concat();
    let answer = answer(ProtocolName::Openai, true, never.as_bytes());
    assert_eq!((answer.kind, answer.output_tokens, answer.source), (None, Some(2), Some(TokensSource::Events)));
}

#[test]
fn a_total_in_the_last_event_is_the_answers_and_not_the_events() {
    let last = event(
        &json!({"choices": [{"text": "b", "finish_reason": "length"}], "usage": {"prompt_tokens": 3, "completion_tokens": 9}}),
    );
    let mut reader = reader(ProtocolName::Openai, true, 1);
    for (piece, is_over) in [(text("a"), false), ([last, DONE.into()].concat(), true)] {
        let progress = reader.feed(piece.as_bytes()).unwrap();
        assert_eq!((progress.events, progress.tokens, progress.is_over), (1, None, is_over));
    }
    let answer = reader.finish();
    assert_eq!((answer.output_tokens, answer.first_chunk_tokens), (Some(9), None));
}

#[test]
fn a_token_that_is_no_text_yet_counts_where_its_id_is_told() {
    let of = |text: &str, ids: &[u32]| event(&json!({"choices": [{"text": text, "finish_reason": null, "token_ids": ids}]}));
    let body = [of("", &[7]), of("é", &[8]), of("ab", &[9, 10]), end("length"), DONE.into()].concat();
    let answer = answer(ProtocolName::Openai, true, body.as_bytes());
    assert_eq!((answer.events, answer.output_tokens, answer.first_chunk_tokens), (3, Some(4), Some(1)));
}

#[test]
fn counts_that_make_no_sense_do_no_harm() {
    let of = |tokens: u32| {
        event(
            &json!({"choices": [{"text": "a", "finish_reason": null}], "usage": {"prompt_tokens": 1, "completion_tokens": tokens}}),
        )
    };
    let body = [of(u32::MAX), of(1), of(u32::MAX), of(2), of(u32::MAX), end("length"), DONE.into()].concat();
    check_openai(&body, (None, 5, Some(u32::MAX)));
}

#[test]
fn a_usage_of_odd_numbers_never_spoils_the_answer() {
    let cases = [("16.0", Some(16)), ("1.6e1", Some(16)), ("-1", None), ("1e20", None), ("16.5", None), ("null", None)];
    for (tokens, told) in cases {
        let usage = format!(r#""usage":{{"prompt_tokens":3.0,"completion_tokens":{tokens}}}"#);
        let streamed =
            [text("a"), text("b"), end("length"), format!("data: {{\"choices\":[],{usage}}}\n\n"), DONE.into()].concat();
        check_openai(&streamed, (None, 2, told.or(Some(2))));
        let whole = format!(r#"{{"choices":[{{"text":"ab","finish_reason":"length"}}],{usage}}}"#);
        let answer = answer(ProtocolName::Openai, false, whole.as_bytes());
        assert_eq!((answer.kind, answer.output_tokens), (None, told), "{tokens}: nobody knows what one piece holds");
        assert_eq!(answer.input_tokens, told.map(|_| 3), "{tokens}");
    }
}

#[test]
fn a_whole_answer_that_was_cut_is_truncated_and_nonsense_is_malformed() {
    let whole = r#"{"choices":[{"message":{"content":"häl"},"finish_reason":"length"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;
    let kind = |body: &[u8]| answer(ProtocolName::Openai, false, body).kind;
    assert_eq!(kind(whole.as_bytes()), None);
    for cut in 0..whole.len() {
        assert_eq!(kind(&whole.as_bytes()[..cut]), Some(Kind::Truncated), "cut at {cut}");
    }
    assert_eq!(kind(b"<html>"), Some(Kind::Malformed));
    assert_eq!(kind(br#"{"choices":[]}"#), Some(Kind::NoToken));
    assert_eq!(kind(br#"{"error":{"message":"no"}}"#), Some(Kind::ErrorEvent));
    assert_eq!(kind(br#"{"choices":[{"text":"a","finish_reason":"abort"}]}"#), Some(Kind::Aborted));
}

#[test]
fn ollama_lines_of_every_shape_are_read() {
    let done = r#"{"done":true,"done_reason":"length","prompt_eval_count":3,"eval_count":2}"#;
    check_ollama(true, &format!("{{\"response\":\"a\",\"done\":false}}\r\n\r\n{done}"), (None, 1, Some(2)));
    let chat = r#"{"message":{"role":"assistant","content":"","thinking":"hm"},"done":false}
{"message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f"}}]},"done":false}
{"message":{"role":"assistant","content":""},"done":false}
"#;
    check_ollama(true, &[chat, done, "\n"].concat(), (None, 2, Some(2)));
    let last = r#"{"response":"a","done":true,"done_reason":"stop"}"#;
    let answer = check_ollama(true, last, (None, 1, Some(1)));
    assert!(answer.stopped_early && answer.source == Some(TokensSource::Events) && answer.input_tokens.is_none());
    check_ollama(true, &[done, "\n{\"error\":\"late\"}\nnonsense\n"].concat(), (None, 0, Some(2)));
}

#[test]
fn ollama_answers_without_their_end_are_truncated() {
    let token = "{\"response\":\"a\",\"done\":false}\n";
    check_ollama(true, token, (Some(Kind::Truncated), 1, Some(1)));
    check_ollama(true, &[token, "{\"response\":\"b\",\"do"].concat(), (Some(Kind::Truncated), 1, Some(1)));
    check_ollama(true, &[token, "nonsense\n"].concat(), (Some(Kind::Malformed), 1, Some(1)));
    check_ollama(true, "", (Some(Kind::Truncated), 0, Some(0)));
    check_ollama(false, r#"{"response":"a","done":false}"#, (Some(Kind::Truncated), 1, None));
    check_ollama(false, r#"{"response":"a","done":true,"done_reason":"stop"}"#, (None, 1, None));
    assert_eq!(answer(ProtocolName::Ollama, false, br#"{"response":"a","do"#).kind, Some(Kind::Truncated));
    assert_eq!(answer(ProtocolName::Ollama, false, b"busy").kind, Some(Kind::Malformed));
    check_ollama(true, &[token, "{\"error\":\"gone\"}\n"].concat(), (Some(Kind::ErrorEvent), 1, Some(1)));
}
