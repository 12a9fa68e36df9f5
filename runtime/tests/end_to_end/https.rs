//! Endpoints behind `https`: measured where they are trusted, and a clear cause where they are not.

use std::process::Command;

use crate::support::{Dummy, Ended, Scene, Secured, assert_balanced};

/// A short measurement of this URL with this file of authorities.
fn bench(scene: &Scene, url: &str, authority: &str) -> Ended {
    let mut command: Command = scene.hbnode();
    command.args(["bench", url, "--model", "dummy", "--concurrency", "2", "--duration", "2s", "--warmup", "0s"]);
    command.args(["--prompt-len", "8", "--gen-tokens", "4", "--json"]).arg("--results").arg(scene.path("results"));
    command.env("SSL_CERT_FILE", authority).env_remove("SSL_CERT_DIR");
    scene.spawn(command).wait()
}

#[test]
fn a_server_behind_https_is_measured_under_an_authority_of_ones_own() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=5ms", "--tpot=1ms"]);
    let secured = Secured::before(&scene, &dummy.address, "localhost");
    for path in ["", "/v1"] {
        let before = dummy.received();
        let url = format!("https://localhost:{}{path}", secured.port);
        let ended = bench(&scene, &url, secured.authority.to_str().unwrap());
        let run = ended.run(ended.code.unwrap());
        assert_eq!(run.report["run"]["complete"], true, "{}", ended.stderr);
        let (trial, rows) = (run.trial(), run.rows());
        assert_balanced(trial, &rows);
        let completed = trial["accounting"]["completed"].as_u64().unwrap();
        assert!(completed > 0 && trial["accounting"]["due"] == completed, "{:#}", trial["accounting"]);
        assert_eq!(rows.len() as u64 + 1, dummy.received() - before, "the first completion and one request per row");
        assert!(rows.iter().all(|row| row["server"] == rows[0]["server"]));
    }
}

#[test]
fn http_2_is_spoken_where_nothing_else_is() {
    let scene = Scene::new();
    let flags = ["--ttft=5ms", "--tpot=1ms"];
    let (http1, http2) = (Dummy::start(&scene, &flags), Dummy::start(&scene, &[flags[0], flags[1], "--http2=true"]));
    // One that has both, of which the door knows more than the server behind it: HTTP/1.1 is what is asked for.
    for (dummy, versions, is_http2) in [(&http2, &["h2"][..], true), (&http2, &[], true), (&http1, &["h2", "http/1.1"], false)] {
        let secured = Secured::speaking(&scene, &dummy.address, "localhost", versions);
        let before = dummy.received();
        let ended = bench(&scene, &format!("https://localhost:{}", secured.port), secured.authority.to_str().unwrap());
        let run = ended.run(ended.code.unwrap());
        let (trial, rows) = (run.trial(), run.rows());
        assert_balanced(trial, &rows);
        let completed = trial["accounting"]["completed"].as_u64().unwrap();
        assert!(completed > 0 && trial["accounting"]["due"] == completed, "{versions:?}: {:#}", trial["accounting"]);
        assert_eq!(rows.len() as u64 + 1, dummy.received() - before, "{versions:?}");
        assert_eq!(trial["server"].get("http_version").is_some(), is_http2, "{versions:?}: {:#}", trial["server"]);
        assert!(!trial["latency"]["connect_seconds"].is_null(), "{versions:?}");
    }
}

#[test]
fn a_certificate_that_nobody_else_signed_is_trusted_where_it_is_named_itself() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &["--ttft=5ms", "--tpot=1ms"]);
    let [secured, other] = [0, 1].map(|_| Secured::of_itself(&scene, &dummy.address, "localhost"));
    let url = format!("https://localhost:{}", secured.port);
    let run = bench(&scene, &url, secured.authority.to_str().unwrap());
    let run = run.run(run.code.unwrap());
    assert!(run.trial()["accounting"]["completed"].as_u64().unwrap() > 0);
    let before = dummy.received();
    for (url, cause) in [
        (url.clone(), "holds neither that authority nor the certificate itself"),
        (format!("https://127.0.0.1:{}", other.port), "made out to another name"),
    ] {
        let ended = bench(&scene, &url, other.authority.to_str().unwrap());
        assert!(ended.stderr.contains(cause), "{url}: {}", ended.stderr);
    }
    assert_eq!(dummy.received(), before);
}

#[test]
fn a_certificate_that_is_not_trusted_is_a_clear_cause_at_once() {
    let scene = Scene::new();
    let dummy = Dummy::start(&scene, &[]);
    let [secured, other] = [0, 1].map(|_| Secured::before(&scene, &dummy.address, "localhost"));
    let elsewhere = Secured::before(&scene, &dummy.address, "elsewhere.example");
    let (own, missing) = (secured.authority.to_str().unwrap(), scene.path("nothing.pem"));
    let no_tls = format!("https://{}", dummy.address);
    let cases = [
        (format!("https://localhost:{}", other.port), own, "an authority that is not trusted here"),
        (format!("https://localhost:{}", elsewhere.port), elsewhere.authority.to_str().unwrap(), "made out to another name"),
        (
            format!("https://localhost:{}", secured.port),
            missing.to_str().unwrap(),
            "nothing.pem`, which the variable SSL_CERT_FILE",
        ),
        (no_tls, own, "it does not speak TLS there"),
    ];
    for (url, authority, cause) in cases {
        let ended = bench(&scene, &url, authority);
        let run = ended.run(1);
        assert!(ended.stderr.contains(cause), "{url}: {}", ended.stderr);
        assert!(run.complaints().contains(cause), "{url}: {}", run.complaints());
    }
    assert_eq!(dummy.received(), 0);
}
