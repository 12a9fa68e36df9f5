//! What must never be left behind, and what must be told.

use std::{
    env,
    ffi::OsString,
    fs,
    io::Read,
    os::unix::ffi::OsStrExt,
    path::Path,
    process::{Command, ExitCode, Stdio},
    sync::Arc,
    time::Duration,
};

use hb_actors::child::{ChildError, Ending, GuardedChild, LineSink, StopPolicy, lines::MAX_LINE_BYTES};
use hb_core::{facts::LogLine, units::Span};
use hb_services::service::CommandLine;
use tokio::sync::mpsc;

use crate::cases::Case;

/// Makes this binary a process that holds a guarded child, and is then killed.
pub const HOLD_WORD: &str = "__hold";

pub const CASES: &[Case] = crate::cases![
    nothing_is_left_after_a_stop,
    a_program_that_ignores_the_signal_is_killed_after_the_grace,
    nothing_is_left_when_the_holder_is_killed,
    nothing_is_left_when_every_handle_is_dropped,
    nothing_is_left_of_a_program_that_ends_and_leaves_a_daemon,
    the_way_a_program_ended_is_told_with_its_last_words,
    the_drill_kills_the_program_and_what_it_started,
    a_program_that_is_not_there_is_named,
    a_killed_guardian_takes_the_programs_group_along,
    lines_are_cut_and_what_is_no_text_is_replaced,
    variables_are_inherited_and_stand_in_no_command_line,
    the_signal_of_the_policy_is_the_one_that_is_sent,
];

/// Descendants that try to get away: another session, no hang-up, a double fork, deaf to SIGTERM.
const FUGITIVES: &str = "setsid sleep 300 & nohup sleep 300 >/dev/null 2>&1 & (setsid sh -c 'sleep 300 & sleep 300' &) ; \
     setsid sh -c \"trap '' TERM; while :; do sleep 300; done\" & echo ready; wait";

fn shell(script: &str, mark: &str) -> CommandLine {
    let env = [("HB_TEST_MARK".to_owned(), mark.to_owned())].into();
    CommandLine { program: "/bin/sh".into(), args: vec!["-c".into(), script.into()], env }
}

fn policy(grace: Span) -> StopPolicy {
    StopPolicy { grace, ..StopPolicy::default() }
}

fn own_exe() -> std::path::PathBuf {
    env::current_exe().unwrap()
}

/// A sink, and where its lines come out.
fn sink() -> (LineSink, mpsc::UnboundedReceiver<LogLine>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Arc::new(move |lines: Vec<LogLine>| lines.into_iter().for_each(|line| drop(sender.send(line)))), receiver)
}

/// Starts the script and waits until it says `ready`.
async fn started(script: &str, mark: &str, grace: Span) -> GuardedChild {
    let (sink, mut lines) = sink();
    let child = GuardedChild::spawn(&shell(script, mark), &own_exe(), policy(grace), sink).await.unwrap();
    assert_eq!(lines.recv().await.unwrap().text, "ready");
    child
}

/// A mark that no other process has.
pub fn mark(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

/// The processes with this mark that still run, the guardian among them.
pub fn left(mark: &str) -> Vec<u32> {
    let wanted = format!("HB_TEST_MARK={mark}");
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
    })
    .collect()
}

async fn nothing_is_left_after_a_stop() {
    let mark = mark("stop");
    let child = started(FUGITIVES, &mark, Span::from_millis(300)).await;
    assert_ne!(left(&mark), [0; 0]);
    child.stop().await.unwrap();
    assert_eq!(left(&mark), [0; 0]);
    // A repeat is answered alike.
    child.stop().await.unwrap();
}

async fn a_program_that_ignores_the_signal_is_killed_after_the_grace() {
    let mark = mark("deaf");
    let child = started("trap '' TERM; echo ready; while :; do sleep 300; done", &mark, Span::from_millis(200)).await;
    assert_eq!(child.stop().await.unwrap().how, Ending::Signal(9));
    assert_eq!(left(&mark), [0; 0]);
}

/// The holder's part: it starts a child and waits to be killed. Words: mark, script, the child's own folder.
pub fn hold(words: &[OsString]) -> ExitCode {
    let [mark, script, scratch] = words else { return ExitCode::FAILURE };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let command = shell(script.to_str().unwrap(), mark.to_str().unwrap());
        let (policy, scratch) = (policy(Span::from_millis(300)), Some(Path::new(scratch)));
        let _child = GuardedChild::spawn_with(&command, &own_exe(), policy, scratch, sink().0).await.unwrap();
        std::future::pending::<()>().await;
    });
    ExitCode::SUCCESS
}

async fn nothing_is_left_when_the_holder_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("held");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let mark = mark("holder");
    let scratch = folder.path().join("scratch");
    fs::create_dir(&scratch).unwrap();
    fs::write(scratch.join("session"), "").unwrap();
    // Every descendant holds the fifo open: its end of file says that all of them are gone.
    let script = format!("exec 9>'{}'; {}", fifo.display(), FUGITIVES.replace("echo ready", "echo ready >&9"));
    let mut holder = Command::new(own_exe())
        .args([HOLD_WORD, &mark, &script])
        .arg(&scratch)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let read = tokio::task::spawn_blocking(move || {
        let mut file = fs::File::open(fifo).unwrap();
        let mut ready = [0; 6];
        file.read_exact(&mut ready).unwrap();
        assert_eq!(&ready, b"ready\n");
        holder.kill().unwrap();
        holder.wait().unwrap();
        let mut rest = Vec::new();
        file.read_to_end(&mut rest).unwrap();
        rest
    });
    assert_eq!(read.await.unwrap(), b"");
    while left(&mark) != [0; 0] {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!scratch.exists(), "its folder goes with the guardian");
}

async fn nothing_is_left_when_every_handle_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("held");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let script = format!("exec 9>'{}'; {FUGITIVES}", fifo.display());
    let opened = tokio::task::spawn_blocking(move || fs::File::open(fifo).unwrap());
    let child = started(&script, &mark("drop"), Span::from_millis(300)).await;
    let mut file = opened.await.unwrap();
    drop(child);
    let rest = tokio::task::spawn_blocking(move || file.read_to_end(&mut Vec::new()).unwrap());
    assert_eq!(rest.await.unwrap(), 0);
}

async fn nothing_is_left_of_a_program_that_ends_and_leaves_a_daemon() {
    let mark = mark("daemon");
    let child = started("setsid sleep 300 & (setsid sleep 300 &); echo ready; exit 3", &mark, Span::from_millis(300)).await;
    assert_eq!(child.wait().await.how, Ending::Code(3));
    assert_eq!(left(&mark), [0; 0]);
}

async fn the_way_a_program_ended_is_told_with_its_last_words() {
    for (script, how, text) in [
        (
            "echo ready; echo out of memory >&2; exit 7",
            Ending::Code(7),
            "exited with code 7; its last lines:\nready\nout of memory",
        ),
        ("echo ready; exec >&- 2>&-; kill -SEGV $$", Ending::Signal(11), "was ended by SIGSEGV; its last lines:\nready"),
    ] {
        let command = shell(script, &mark("ended"));
        let child = GuardedChild::spawn(&command, &own_exe(), policy(Span::ZERO), sink().0).await.unwrap();
        let ended = child.wait().await;
        assert_eq!(ended.how, how);
        // The two pipes are read side by side, so only the lines are sure.
        let mut said: Vec<String> = ended.to_string().lines().map(str::to_owned).collect();
        let mut expected: Vec<String> = text.lines().map(str::to_owned).collect();
        said.sort();
        expected.sort();
        assert_eq!(said, expected);
    }
}

async fn the_drill_kills_the_program_and_what_it_started() {
    let mark = mark("drill");
    let child = started(FUGITIVES, &mark, Span::from_millis(300)).await;
    child.kill_now().await;
    assert_eq!(child.wait().await.how, Ending::Signal(9));
    assert_eq!(left(&mark), [0; 0]);
    // Nobody is left to be killed, and nobody minds.
    child.kill_now().await;
}

async fn a_program_that_is_not_there_is_named() {
    let command = CommandLine { program: "/no/such/program".into(), args: Vec::new(), env: [].into() };
    let error = GuardedChild::spawn(&command, &own_exe(), StopPolicy::default(), sink().0).await.unwrap_err();
    assert!(matches!(error, ChildError::Program { .. }), "{error}");
    assert!(error.to_string().starts_with("cannot start `/no/such/program`: No such file"), "{error}");
    let error = GuardedChild::spawn(&command, Path::new("/no/such/hbnode"), StopPolicy::default(), sink().0).await.unwrap_err();
    assert!(matches!(error, ChildError::Guardian { .. }), "{error}");
}

async fn a_killed_guardian_takes_the_programs_group_along() {
    let mark = mark("guardian");
    let child = started("sleep 300 & echo ready; wait", &mark, Span::from_secs(5)).await;
    let status = fs::read_to_string(format!("/proc/{}/status", child.pid())).unwrap();
    let guardian = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().to_owned();
    assert!(Command::new("kill").args(["-KILL", &guardian]).status().unwrap().success());
    assert_eq!(child.wait().await.how, Ending::GuardianLost);
}

async fn lines_are_cut_and_what_is_no_text_is_replaced() {
    let (sink, mut lines) = sink();
    let script = format!("head -c {} /dev/zero | tr '\\0' x; echo; printf 'a\\377b\\n'; printf 'no end'", 3 * MAX_LINE_BYTES);
    let child = GuardedChild::spawn(&shell(&script, &mark("lines")), &own_exe(), StopPolicy::default(), sink).await.unwrap();
    let tail = child.wait().await.tail;
    drop(child);
    let mut seen = Vec::new();
    while let Some(line) = lines.recv().await {
        assert!(!line.is_stderr && line.unix_nanos > 0);
        seen.push(line.text);
    }
    assert_eq!(seen, ["x".repeat(MAX_LINE_BYTES), "a\u{fffd}b".into(), "no end".into()]);
    assert_eq!(tail, seen);
}

async fn variables_are_inherited_and_stand_in_no_command_line() {
    let (sink, mut lines) = sink();
    let mark = mark("secret");
    let script = "echo \"$HB_TEST_MARK\"; read never || sleep 300";
    let child = GuardedChild::spawn(&shell(script, &mark), &own_exe(), policy(Span::ZERO), sink).await.unwrap();
    assert_eq!(lines.recv().await.unwrap().text, mark);
    for pid in left(&mark) {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        assert!(!words.windows(mark.len()).any(|window| window == std::ffi::OsStr::new(&mark).as_bytes()));
    }
    child.stop().await.unwrap();
}

async fn the_signal_of_the_policy_is_the_one_that_is_sent() {
    let (sink, mut lines) = sink();
    let policy = StopPolicy { signal: "SIGUSR1".parse().unwrap(), grace: Span::from_secs(30) };
    let script = "trap 'echo told; exit 5' USR1; echo ready; while :; do sleep 0.05; done";
    let child = GuardedChild::spawn(&shell(script, &mark("signal")), &own_exe(), policy, sink).await.unwrap();
    assert_eq!(lines.recv().await.unwrap().text, "ready");
    let ended = child.stop().await.unwrap();
    assert_eq!(ended.how, Ending::Code(5));
    assert!(ended.tail.iter().any(|line| line == "told"), "{ended}");
}
