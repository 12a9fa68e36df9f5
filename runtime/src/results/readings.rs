//! `metrics.csv`: every sample of every node, a line for the node and one for each of its GPUs.

use std::io;

use hb_core::facts::{GpuReading, NodeReading};
use serde::Serialize;

use super::instant;

/// A line. The header is the names of these fields, and stays so whatever machines take part.
#[derive(Debug, Default, Serialize)]
struct Line<'a> {
    time: String,
    node: &'a str,
    device: String,
    cpu_usage_percent: Option<f32>,
    cpu_busiest_core_percent: Option<f32>,
    memory_used_bytes: Option<u64>,
    memory_total_bytes: Option<u64>,
    network_received_bytes: Option<u64>,
    network_sent_bytes: Option<u64>,
    gpu_uuid: Option<&'a str>,
    gpu_name: Option<&'a str>,
    gpu_utilization_percent: Option<f32>,
    gpu_memory_used_bytes: Option<u64>,
    gpu_memory_total_bytes: Option<u64>,
    gpu_power_watts: Option<f32>,
    gpu_energy_joules: Option<f64>,
    gpu_temperature_celsius: Option<f32>,
    gpu_sm_clock_mhz: Option<u32>,
    gpu_is_throttled: Option<bool>,
}

/// The lines of one sample, with the header before them if asked for.
pub(crate) fn lines(reading: &NodeReading, with_header: bool) -> io::Result<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new().has_headers(with_header).from_writer(Vec::new());
    writer.serialize(of_node(reading))?;
    for gpu in &reading.gpus {
        writer.serialize(of_gpu(reading, gpu))?;
    }
    writer.into_inner().map_err(|error| io::Error::other(error.to_string()))
}

fn of_node(reading: &NodeReading) -> Line<'_> {
    let cores = &reading.cpu_percent;
    Line {
        time: instant(reading.unix_nanos),
        node: reading.node.as_str(),
        device: "node".to_owned(),
        cpu_usage_percent: (!cores.is_empty()).then(|| cores.iter().sum::<f32>() / cores.len() as f32),
        cpu_busiest_core_percent: cores.iter().copied().reduce(f32::max),
        memory_used_bytes: Some(reading.memory_used_bytes),
        memory_total_bytes: Some(reading.memory_total_bytes),
        network_received_bytes: Some(reading.network_bytes.0),
        network_sent_bytes: Some(reading.network_bytes.1),
        ..Line::default()
    }
}

fn of_gpu<'a>(reading: &'a NodeReading, gpu: &'a GpuReading) -> Line<'a> {
    Line {
        time: instant(reading.unix_nanos),
        node: reading.node.as_str(),
        device: format!("gpu{}", gpu.index),
        gpu_uuid: Some(&gpu.uuid),
        gpu_name: Some(&gpu.name),
        gpu_utilization_percent: Some(gpu.utilization_percent),
        gpu_memory_used_bytes: Some(gpu.memory_used_bytes),
        gpu_memory_total_bytes: Some(gpu.memory_total_bytes),
        gpu_power_watts: gpu.power_watts,
        gpu_energy_joules: gpu.energy_joules,
        gpu_temperature_celsius: gpu.temperature_celsius,
        gpu_sm_clock_mhz: gpu.sm_clock_mhz,
        gpu_is_throttled: gpu.is_throttled,
        ..Line::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_the_same_with_and_without_gpus() {
        let mut reading = NodeReading { node: "n\"0".into(), cpu_percent: vec![10.0, 30.0], ..NodeReading::default() };
        let plain = String::from_utf8(lines(&reading, true).unwrap()).unwrap();
        reading.gpus.push(GpuReading { name: "A100, 40 GB".to_owned(), ..GpuReading::default() });
        let with_gpu = String::from_utf8(lines(&reading, true).unwrap()).unwrap();
        assert_eq!(plain.lines().next(), with_gpu.lines().next());
        assert!(plain.lines().nth(1).unwrap().starts_with("1970-01-01T00:00:00Z,\"n\"\"0\",node,20.0,30.0,"), "{plain}");
        assert!(with_gpu.lines().nth(2).unwrap().contains(",gpu0,,,,,,,,\"A100, 40 GB\","), "{with_gpu}");
    }
}
