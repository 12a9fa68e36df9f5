//! AMD GPUs, by the files of their kernel driver.

use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use hb_core::facts::{GpuReading, NodeReading};

use super::probes::{Probe, ProbeError, Sampler};

/// Where the kernel lists its graphics devices.
const DRM: &str = "/sys/class/drm";
/// The vendor's number on the bus.
const VENDOR: &str = "0x1002";

/// All GPUs that the `amdgpu` driver shows.
pub(super) struct Amd;
struct AmdSampler(Vec<PathBuf>);

impl Probe for Amd {
    fn name(&self) -> &'static str {
        "amd"
    }
    fn open(&self) -> Result<Box<dyn Sampler>, ProbeError> {
        let cards = cards(Path::new(DRM));
        if cards.is_empty() {
            return Err(ProbeError::Absent(format!("no AMD GPU in {DRM}")));
        }
        Ok(Box::new(AmdSampler(cards)))
    }
}

impl Sampler for AmdSampler {
    fn sample(&mut self, reading: &mut NodeReading) -> Result<(), ProbeError> {
        let lost: Vec<String> = self
            .0
            .iter()
            .zip(0..)
            .filter_map(|(card, index)| match read(card, index) {
                Some(gpu) => {
                    reading.gpus.push(gpu);
                    None
                }
                None => Some(card.display().to_string()),
            })
            .collect();
        if lost.is_empty() { Ok(()) } else { Err(ProbeError::Failed(lost.join(", "))) }
    }
}

/// Names of all GPUs that the driver shows.
pub(super) fn names() -> Vec<String> {
    cards(Path::new(DRM)).iter().map(|card| name_of(card)).collect()
}

fn name_of(device: &Path) -> String {
    text(&device.join("product_name")).filter(|name| !name.is_empty()).unwrap_or_else(|| "AMD GPU".into())
}

/// The device folders of the cards, in order. `card0-DP-1` is a connector of one.
fn cards(drm: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(drm) else { return Vec::new() };
    let mut numbered: Vec<(u32, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.strip_prefix("card")?.parse().ok()?, entry.path().join("device"))))
        .filter(|(_, device)| text(&device.join("vendor")).is_some_and(|vendor| vendor == VENDOR))
        // Integrated graphics count no memory of their own.
        .filter(|(_, device)| device.join("mem_info_vram_total").exists())
        .collect();
    numbered.sort();
    numbered.into_iter().map(|(_, device)| device).collect()
}

fn read(device: &Path, index: u32) -> Option<GpuReading> {
    let sensors = fs::read_dir(device.join("hwmon")).ok().and_then(|mut entries| entries.next()?.ok()).map(|entry| entry.path());
    let sensor = |name: &str| sensors.as_ref().and_then(|folder| number::<f64>(&folder.join(name)));
    Some(GpuReading {
        index,
        uuid: text(&device.join("unique_id")).unwrap_or_default(),
        name: name_of(device),
        utilization_percent: number(&device.join("gpu_busy_percent"))?,
        memory_used_bytes: number(&device.join("mem_info_vram_used"))?,
        memory_total_bytes: number(&device.join("mem_info_vram_total"))?,
        // Newer cards tell the power of the moment, older ones its mean; both in microwatts.
        power_watts: sensor("power1_average").or_else(|| sensor("power1_input")).map(|microwatts| (microwatts / 1e6) as f32),
        energy_joules: None,
        temperature_celsius: sensor("temp1_input").map(|millidegrees| (millidegrees / 1e3) as f32),
        sm_clock_mhz: sensor("freq1_input").map(|hertz| (hertz / 1e6) as u32),
        is_throttled: None,
    })
}

fn text(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn number<T: FromStr>(path: &Path) -> Option<T> {
    text(path)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: PathBuf, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_card_is_read_from_its_files_and_strangers_are_left_out() {
        let drm = tempfile::tempdir().unwrap();
        let card = drm.path().join("card1/device");
        for (name, value) in [
            ("vendor", "0x1002\n"),
            ("gpu_busy_percent", "37\n"),
            ("mem_info_vram_used", "1024\n"),
            ("mem_info_vram_total", "4096\n"),
            ("unique_id", "abc\n"),
            ("hwmon/hwmon3/power1_average", "150000000\n"),
            ("hwmon/hwmon3/temp1_input", "41000\n"),
            ("hwmon/hwmon3/freq1_input", "1700000000\n"),
        ] {
            write(card.join(name), value);
        }
        write(drm.path().join("card0/device/vendor"), "0x10de\n");
        write(drm.path().join("card1-DP-1/status"), "connected\n");
        assert_eq!(cards(drm.path()), std::slice::from_ref(&card));
        let mut reading = NodeReading::default();
        AmdSampler(vec![card.clone()]).sample(&mut reading).unwrap();
        let gpu = &reading.gpus[0];
        assert_eq!((gpu.utilization_percent, gpu.memory_used_bytes, gpu.memory_total_bytes), (37.0, 1024, 4096));
        assert_eq!((gpu.power_watts, gpu.temperature_celsius, gpu.sm_clock_mhz), (Some(150.0), Some(41.0), Some(1700)));
        fs::remove_file(card.join("gpu_busy_percent")).unwrap();
        assert!(AmdSampler(vec![card]).sample(&mut NodeReading::default()).is_err());
    }
}
