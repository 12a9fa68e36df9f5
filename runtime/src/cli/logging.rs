//! Where the program's own log goes: standard error, as much as `-v` and `-q` ask for.

use tracing_subscriber::{EnvFilter, fmt};

/// Starts the log. `HBNODE_LOG` overrides `-v` and `-q`, in the filter syntax of `tracing`.
pub fn start(verbose: u8, is_quiet: bool) {
    let ours = match (is_quiet, verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, _) => "debug",
    };
    // The frameworks print every message's payload at debug level; theirs stays at warnings, whatever is asked of ours.
    let default = format!("off,hbnode={ours},hb_actors={ours},hb_services={ours},hb_core={ours}");
    let asked = std::env::var("HBNODE_LOG").ok().map(|text| EnvFilter::try_new(&text).map_err(|error| (text, error)));
    let filter = asked.and_then(|asked| {
        let told = |(text, error)| eprintln!("warning: HBNODE_LOG is `{text}`, which is no filter ({error}); it is left out");
        asked.map_err(told).ok()
    });
    let filter = filter.unwrap_or_else(|| EnvFilter::new(default));
    let is_coloured = std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none();
    // A line that nobody can read any more is no reason to end: it would say so on standard error, and panic there.
    let log = fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    let is_started = log.with_ansi(is_coloured).with_target(false).try_init().is_ok();
    debug_assert!(is_started, "the log is started once");
}
