//! Cores, memory and network, by sysinfo.

use hb_core::facts::NodeReading;
use sysinfo::{Networks, System};

use super::probes::{Probe, ProbeError, Sampler};

fn failed(error: impl ToString) -> ProbeError {
    ProbeError::Failed(error.to_string())
}

/// The busy share of each core.
pub(super) struct Cpu;
struct CpuSampler(System);

impl Probe for Cpu {
    fn name(&self) -> &'static str {
        "cpu"
    }
    fn open(&self) -> Result<Box<dyn Sampler>, ProbeError> {
        let mut system = System::new().map_err(failed)?;
        system.refresh_cpu_usage();
        Ok(Box::new(CpuSampler(system)))
    }
}

impl Sampler for CpuSampler {
    fn sample(&mut self, reading: &mut NodeReading) -> Result<(), ProbeError> {
        self.0.refresh_cpu_usage();
        reading.cpu_percent = self.0.cpus().iter().map(|core| core.usage().clamp(0.0, 100.0)).collect();
        if reading.cpu_percent.is_empty() { Err(failed("no core is listed")) } else { Ok(()) }
    }
}

/// Memory of the machine, not of this job's share in it.
pub(super) struct Memory;
struct MemorySampler(System);

impl Probe for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }
    fn open(&self) -> Result<Box<dyn Sampler>, ProbeError> {
        Ok(Box::new(MemorySampler(System::new().map_err(failed)?)))
    }
}

impl Sampler for MemorySampler {
    fn sample(&mut self, reading: &mut NodeReading) -> Result<(), ProbeError> {
        self.0.refresh_memory();
        reading.memory_used_bytes = self.0.used_memory();
        reading.memory_total_bytes = self.0.total_memory();
        if reading.memory_total_bytes == 0 { Err(failed("no memory is listed")) } else { Ok(()) }
    }
}

/// Bytes over all interfaces but loopback.
pub(super) struct Network;
struct NetworkSampler(Networks);

impl Probe for Network {
    fn name(&self) -> &'static str {
        "network"
    }
    fn open(&self) -> Result<Box<dyn Sampler>, ProbeError> {
        Ok(Box::new(NetworkSampler(Networks::new_with_refreshed_list().map_err(failed)?)))
    }
}

impl Sampler for NetworkSampler {
    fn sample(&mut self, reading: &mut NodeReading) -> Result<(), ProbeError> {
        self.0.refresh(true);
        let others = self.0.iter().filter(|(name, _)| name.as_os_str() != "lo");
        reading.network_bytes = others.fold((0, 0), |(received, sent), (_, interface)| {
            (received + interface.total_received(), sent + interface.total_transmitted())
        });
        Ok(())
    }
}
