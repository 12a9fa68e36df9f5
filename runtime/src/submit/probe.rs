//! What the target is, asked once and before anything is copied.

use hb_core::launch::{Partition, shell};

use super::target::{Target, TargetError};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The processor, as `uname -m` names it.
    pub processor: String,
    /// The version of the GNU C library, where there is one.
    pub c_library: Option<(u32, u32)>,
    /// Where `sbatch` is, where there is one.
    pub sbatch: Option<String>,
    /// The folder for binaries and jobs, absolute.
    pub remote_dir: String,
    /// Whether it, or the nearest folder above it that is there, can be written to.
    pub is_writable: bool,
    /// Free room there, KiB.
    pub free_kib: Option<u64>,
    /// The partitions; empty where the scheduler tells of none.
    pub partitions: Vec<Partition>,
}

/// Asks the target, once.
///
/// # Errors
/// The host cannot be reached, or answers nothing that can be read.
pub fn probe(target: &Target, remote_dir: &str) -> Result<Found, TargetError> {
    found(target, &target.run("looking around", &probe_script(remote_dir))?)
}

/// What the answer to the script says.
///
/// # Errors
/// It says nothing that can be read.
pub fn found(target: &Target, said: &str) -> Result<Found, TargetError> {
    let found = read(said);
    if found.processor.is_empty() || !found.remote_dir.starts_with('/') {
        let said = format!("the answer cannot be read: {}", super::target::one_line(said));
        return Err(TargetError::Failed { doing: "looking around".into(), place: target.place().to_string(), said });
    }
    Ok(found)
}

/// The question. A login shell is asked where `sbatch` is only if the plain one does not know.
#[must_use]
pub fn probe_script(remote_dir: &str) -> String {
    let folder = shell(remote_dir);
    format!(
        r#"dir={folder}
case $dir in /*) ;; '~/'*) dir=$HOME/${{dir#'~/'}} ;; *) dir=$HOME/$dir ;; esac
sbatch=$(command -v sbatch || bash -lc 'command -v sbatch' 2>/dev/null | tail -n 1)
[ -z "$sbatch" ] || PATH=${{sbatch%/*}}:$PATH
there=$dir
while [ ! -d "$there" ]; do there=$(dirname -- "$there"); done
echo "=processor $(uname -m)"
echo "=library $(getconf GNU_LIBC_VERSION 2>/dev/null)"
echo "=sbatch $sbatch"
echo "=dir $dir"
[ ! -w "$there" ] || echo "=writable"
echo "=free $(df -Pk -- "$there" 2>/dev/null | awk 'NR == 2 {{ print $4 }}')"
[ -z "$sbatch" ] || sinfo -h -o '%R|%D|%l|%G' 2>/dev/null | sed 's/^/=partition /'
exit 0"#
    )
}

/// Reads the marked lines; what a login file prints beside is passed over.
fn read(said: &str) -> Found {
    let value = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned());
    let partitions: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("=partition ")).collect();
    let version = |text: String| {
        let (major, minor) = text.strip_prefix("glibc ")?.split_once('.')?;
        Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
    };
    Found {
        processor: value("=processor ").unwrap_or_default(),
        c_library: value("=library ").and_then(version),
        sbatch: value("=sbatch ").filter(|path| path.starts_with('/')),
        remote_dir: value("=dir ").unwrap_or_default(),
        is_writable: said.lines().any(|line| line == "=writable"),
        free_kib: value("=free ").and_then(|free| free.parse().ok()),
        partitions: Partition::read_all(&partitions.join("\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marked_lines_are_read_and_others_passed_over() {
        let said = "Welcome!\n=processor x86_64\n=library glibc 2.36\n=sbatch /usr/bin/sbatch\n=dir /home/u/hbnode\n=writable\n\
                    =free 1024\n=partition cpu|3|2-00:00:00|(null)\n";
        let found = read(said);
        assert_eq!((found.processor.as_str(), found.c_library, found.free_kib), ("x86_64", Some((2, 36)), Some(1024)));
        assert_eq!((found.sbatch.as_deref(), found.is_writable, found.partitions.len()), (Some("/usr/bin/sbatch"), true, 1));
    }

    #[test]
    fn this_machine_can_be_asked_and_a_hostile_folder_stays_a_name() {
        let target = Target::open(super::super::Where::default()).unwrap();
        let found = probe(&target, "/tmp/no $(id) 'such/one").unwrap();
        assert_eq!(found.remote_dir, "/tmp/no $(id) 'such/one");
        assert!(found.is_writable && found.free_kib.is_some());
        assert_eq!(found.processor, std::env::consts::ARCH);
    }
}
