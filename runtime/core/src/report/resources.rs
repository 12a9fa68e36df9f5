//! A node's samples, summed up while they come.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::facts::{GpuReading, NodeReading};

/// Nodes and what they used while the trial ran.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Resources {
    /// By node name.
    pub nodes: BTreeMap<String, NodeFigures>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct NodeFigures {
    /// `monitor`, `server`, `client`.
    pub roles: Vec<String>,
    /// The real host name.
    pub host: String,
    /// The address by which others reach it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// Cores it may use.
    pub cores: u32,
    /// Memory there is, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Names of its GPUs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpu_names: Vec<String>,
    /// Its clock minus the leader's, seconds, and the bound of that estimate.
    pub clock_offset_seconds: Option<f64>,
    /// Half the smallest round trip.
    pub clock_bound_seconds: Option<f64>,
    /// By how much its clock moved against the leader's while load ran, beyond the bounds of both estimates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_moved_seconds: Option<f64>,
    /// Mean busy share of all its cores, percent.
    pub cpu_percent_mean: Option<f64>,
    /// The most memory in use, bytes.
    pub memory_used_bytes_max: Option<u64>,
    /// By GPU index: utilisation, memory, energy, throttling.
    pub gpus: BTreeMap<String, Value>,
    /// When it was lost, seconds since the trial's start.
    pub lost_at_seconds: Option<f64>,
}

/// Sums over the samples of one node.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ReadingSums {
    samples: u64,
    cpu_percent: f64,
    memory_used_bytes_max: u64,
    gpus: BTreeMap<u32, GpuSums>,
}

#[derive(Debug, Clone, PartialEq, Default)]
struct GpuSums {
    name: String,
    samples: u64,
    utilization_percent: f64,
    memory_used_bytes_max: u64,
    /// The first and the newest reading of the energy counter.
    energy_joules: Option<(f64, f64)>,
    /// The same of the readings inside the measured window.
    window_joules: Option<(f64, f64)>,
    throttled: u64,
}

impl ReadingSums {
    /// Adds one sample, which came inside the measured window or not.
    pub fn take(&mut self, reading: &NodeReading, is_in_window: bool) {
        if !reading.cpu_percent.is_empty() {
            self.samples += 1;
            let sum: f64 = reading.cpu_percent.iter().copied().map(f64::from).sum();
            self.cpu_percent += sum / reading.cpu_percent.len() as f64;
        }
        self.memory_used_bytes_max = self.memory_used_bytes_max.max(reading.memory_used_bytes);
        reading.gpus.iter().for_each(|gpu| self.gpus.entry(gpu.index).or_default().take(gpu, is_in_window));
    }

    /// Writes the sums into the node's figures.
    pub fn fill(&self, figures: &mut NodeFigures) {
        figures.cpu_percent_mean = (self.samples > 0).then(|| self.cpu_percent / self.samples as f64);
        figures.memory_used_bytes_max = (self.memory_used_bytes_max > 0).then_some(self.memory_used_bytes_max);
        figures.gpus = self.gpus.iter().map(|(index, gpu)| (index.to_string(), gpu.figures())).collect();
    }

    /// Energy of all GPUs between their first and last sample; `None` where no GPU tells it.
    #[must_use]
    pub fn energy_joules(&self) -> Option<f64> {
        let told: Vec<f64> = self.gpus.values().filter_map(GpuSums::energy).collect();
        (!told.is_empty()).then(|| told.iter().sum())
    }

    /// The same between the first and last sample inside the measured window.
    #[must_use]
    pub fn window_joules(&self) -> Option<f64> {
        let told: Vec<f64> = self.gpus.values().filter_map(|gpu| between(gpu.window_joules)).collect();
        (!told.is_empty()).then(|| told.iter().sum())
    }

    /// GPUs whose clock was held down in any sample.
    #[must_use]
    pub fn throttled(&self) -> u32 {
        self.gpus.values().filter(|gpu| gpu.throttled > 0).count() as u32
    }
}

impl GpuSums {
    fn take(&mut self, gpu: &GpuReading, is_in_window: bool) {
        self.name.clone_from(&gpu.name);
        self.samples += 1;
        self.utilization_percent += f64::from(gpu.utilization_percent);
        self.memory_used_bytes_max = self.memory_used_bytes_max.max(gpu.memory_used_bytes);
        self.throttled += u64::from(gpu.is_throttled == Some(true));
        if let Some(now) = gpu.energy_joules {
            let newest = |span: Option<(f64, f64)>| Some((span.map_or(now, |(first, _)| first), now));
            self.energy_joules = newest(self.energy_joules);
            if is_in_window {
                self.window_joules = newest(self.window_joules);
            }
        }
    }

    fn energy(&self) -> Option<f64> {
        between(self.energy_joules)
    }

    fn figures(&self) -> serde_json::Value {
        json!({
            "name": self.name,
            "utilization_percent_mean": self.utilization_percent / self.samples.max(1) as f64,
            "memory_used_bytes_max": self.memory_used_bytes_max,
            "energy_joules": self.energy(),
            "throttled_share": self.throttled as f64 / self.samples.max(1) as f64,
        })
    }
}

fn between(readings: Option<(f64, f64)>) -> Option<f64> {
    readings.map(|(first, newest)| (newest - first).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_peaks_and_energy_are_those_of_the_samples() {
        let mut sums = ReadingSums::default();
        for (cpu, memory, energy) in [(10.0, 5, 100.0), (30.0, 9, 160.0), (20.0, 7, 250.0)] {
            let gpu = GpuReading { energy_joules: Some(energy), is_throttled: Some(energy > 200.0), ..GpuReading::default() };
            let reading =
                NodeReading { cpu_percent: vec![cpu, cpu], memory_used_bytes: memory, gpus: vec![gpu], ..NodeReading::default() };
            sums.take(&reading, energy > 150.0);
        }
        let mut figures = NodeFigures::default();
        sums.fill(&mut figures);
        assert_eq!((figures.cpu_percent_mean, figures.memory_used_bytes_max), (Some(20.0), Some(9)));
        assert_eq!((sums.energy_joules(), sums.throttled()), (Some(150.0), 1));
        assert_eq!(sums.window_joules(), Some(90.0), "warm-up is none of the window's");
        assert_eq!(figures.gpus["0"]["energy_joules"], 150.0);
        assert_eq!(ReadingSums::default().energy_joules(), None);
    }
}
