//! `hbnode`: words in, exit code out.

fn main() -> std::process::ExitCode {
    hbnode::main()
}
