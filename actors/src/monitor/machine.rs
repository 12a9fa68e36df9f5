//! What a node says of its machine when it joins.

use nvml_wrapper::Nvml;
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

use super::amd;

/// A machine, as far as a run must know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Cores this process may use.
    pub cores: u32,
    /// Memory there is, bytes.
    pub memory_bytes: u64,
    /// Names of the GPUs this process may see.
    pub gpus: Vec<String>,
}

impl Machine {
    /// Looks at this machine. Loading the driver's library may take a moment.
    #[must_use]
    pub fn look() -> Self {
        let memory = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
        let cores = std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX));
        Self { cores, memory_bytes: System::new_with_specifics(memory).map_or(0, |system| system.total_memory()), gpus: gpus() }
    }
}

/// A machine without a driver has no GPUs.
fn gpus() -> Vec<String> {
    let mut gpus = nvidia();
    gpus.extend(amd::names());
    gpus
}

fn nvidia() -> Vec<String> {
    let Ok(nvml) = Nvml::init() else { return Vec::new() };
    let names = (0..nvml.device_count().unwrap_or(0)).map(|index| nvml.device_by_index(index).and_then(|device| device.name()));
    names.map(|name| name.unwrap_or_else(|error| format!("unknown: {error}"))).collect()
}
